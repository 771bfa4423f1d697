"""hyperrec: recommendations, neighbours and readable topics from logs."""

from hyperrec.hypergraph import Hypergraph
from hyperrec.model import TopicModel, load
from hyperrec.topics.contexts import Mean

__version__ = "0.1.0"
__all__ = ["Hypergraph", "Mean", "TopicModel", "load"]

"""hyperrec: recommendations, neighbours and readable topics from logs, by one topic model of typed hyperedges.

import hyperrec as hr
graph = hr.read_logs("movielens-1m", "ml-1m/")
model = hr.TopicModel(n_topics=200, container="user", edges={"rated": 1.0}).fit(graph)
model.recommend(users=[1], k=10)
"""

from __future__ import annotations

from hyperrec.errors import DataError, HyperrecError, ModelError, SchemaError
from hyperrec.evaluate import evaluate
from hyperrec.hypergraph import Hypergraph
from hyperrec.logs import read_logs
from hyperrec.model import TopicModel, load
from hyperrec.schema import LogSchema
from hyperrec.split import split
from hyperrec.topics.contexts import FoldIn, Mean, Mixture, Recency, TwoSided, Window
from hyperrec.topics.simplex import maximize_on_simplices

__version__ = "0.1.0"
__all__ = [
    "DataError", "FoldIn", "Hypergraph", "HyperrecError", "LogSchema", "Mean", "Mixture", "ModelError", "Recency", "SchemaError",
    "TopicModel", "TwoSided", "Window", "evaluate", "load", "maximize_on_simplices", "read_logs", "split",
]  # fmt: skip

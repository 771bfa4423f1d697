"""hyperrec: recommendations, neighbours and readable topics from logs, by one topic model of typed hyperedges.

import hyperrec as hr
graph = hr.read_logs("movielens-1m", "ml-1m/")
model = hr.TopicModel(n_topics=200, container="user", edges={"rated": 1.0}).fit(graph)
model.recommend(users=[1], k=10)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hyperrec.errors import DataError, HyperrecError, ModelError, SchemaError

if TYPE_CHECKING:
    from hyperrec import report, text
    from hyperrec.attributes import Attributes
    from hyperrec.config import read_config, write_config
    from hyperrec.evaluation import evaluate
    from hyperrec.hypergraph import Hypergraph
    from hyperrec.logs import read_logs
    from hyperrec.model import TopicModel, load
    from hyperrec.neighbours import Neighbours
    from hyperrec.schema import LogSchema
    from hyperrec.splits import split
    from hyperrec.store import StoredHypergraph, open_store, write_store
    from hyperrec.topics import scores
    from hyperrec.topics.contexts import FoldIn, Mean, Mixture, Recency, TwoSided, Window
    from hyperrec.topics.online import Online
    from hyperrec.topics.regularizers import Decorrelate, Smooth
    from hyperrec.topics.simplex import maximize_on_simplices
    from hyperrec.tuning import tune
    from hyperrec.words import Tokenizer

__version__ = "0.1.0"
__all__ = [
    "Attributes", "DataError", "Decorrelate", "FoldIn", "Hypergraph", "HyperrecError", "LogSchema", "Mean", "Mixture",
    "ModelError", "Neighbours", "Online", "Recency", "SchemaError", "Smooth", "StoredHypergraph", "Tokenizer", "TopicModel",
    "TwoSided", "Window", "evaluate", "load", "maximize_on_simplices", "open_store", "read_config", "read_logs", "report",
    "scores", "split", "text", "tune", "write_config", "write_store",
]  # fmt: skip

_MODULES = {
    "attributes": ("Attributes",),
    "config": ("read_config", "write_config"),
    "evaluation": ("evaluate",),
    "hypergraph": ("Hypergraph",),
    "logs": ("read_logs",),
    "model": ("TopicModel", "load"),
    "neighbours": ("Neighbours",),
    "schema": ("LogSchema",),
    "splits": ("split",),
    "store": ("StoredHypergraph", "open_store", "write_store"),
    "topics.contexts": ("FoldIn", "Mean", "Mixture", "Recency", "TwoSided", "Window"),
    "topics.online": ("Online",),
    "topics.regularizers": ("Decorrelate", "Smooth"),
    "topics.simplex": ("maximize_on_simplices",),
    "tuning": ("tune",),
    "words": ("Tokenizer",),
}
"""Where the names live that are imported when they are first asked for (PEP 562): numba, polars and scipy take their time.
None may be called as its own module is, which would take its place here once imported."""

_NAMED = {"report": "report", "scores": "topics.scores", "text": "text"}
"""Modules that are asked by name: hr.scores.coherence."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _NAMED:
            return import_module(f"hyperrec.{_NAMED[name]}")
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"hyperrec.{module}"), name)
                return value
        raise AttributeError(f"module 'hyperrec' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

"""Peers that know items by their attributes: items that nobody has had yet can be listed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from hyperrec.benchmark.search import Options, Scored
from hyperrec.benchmark.task import Task
from hyperrec.hypergraph import Hypergraph


def attributes(graph: Hypergraph, edge_type: str, item: str) -> sp.csr_matrix:
    """(I, A) CSR float64: total weight of the edges between items and the vertices of the other modality."""
    arrays = graph.to_arrays(edge_type)
    at = arrays.modalities.index(item)
    other = arrays.modalities[1 - at]
    shape = len(graph.vocabulary(item)), len(graph.vocabulary(other))
    return sp.csr_matrix((arrays.weight.astype(np.float64), (arrays.vertices[:, at], arrays.vertices[:, 1 - at])), shape)


def tf_idf(counts: sp.csr_matrix, *, damped: bool) -> sp.csr_matrix:
    """Rows of unit length: count (damped: 1 + ln count) times ln(items / items with the attribute)."""
    tf = counts.copy()
    if damped:
        tf.data = 1 + np.log(tf.data)
    met = np.bincount(counts.indices, minlength=counts.shape[1])
    return _unit(tf @ sp.diags(np.log(counts.shape[0] / np.maximum(met, 1))))


def _unit(matrix: sp.csr_matrix) -> sp.csr_matrix:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.maximum(length, 1e-30)) @ matrix)


class ContentKNN(Scored):
    """The sum over the user's items of their cosine to an item, of tf-idf attributes.

    weights : edge type -> factor of its part of the vectors, which has unit length before. damped : counts by their logarithm.
    """

    def __init__(self, weights: Mapping[str, float], *, damped: bool) -> None:
        self.weights, self.damped = weights, damped

    def fit(self, task: Task) -> ContentKNN:
        parts = [
            weight * tf_idf(attributes(task.train, kind, task.item), damped=self.damped) for kind, weight in self.weights.items()
        ]
        self.vectors = _unit(sp.hstack(parts, format="csr"))
        self.profiles = sp.csr_matrix(task.pairs @ self.vectors)
        return self

    def scores(self, task: Task, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.asarray((self.profiles[task.users[queries]] @ self.vectors[items].T).toarray())


class WarpFactors(Scored):
    """LightFM with the WARP loss: an item is the mean of the vectors of itself and of its attributes (Kula 2015)."""

    def __init__(self, kinds: tuple[str, ...], epochs: int, **options: Any) -> None:
        self.kinds, self.epochs, self.options = kinds, epochs, options

    def fit(self, task: Task) -> WarpFactors:
        from lightfm import LightFM

        counts = [attributes(task.train, kind, task.item) for kind in self.kinds]
        known = np.asarray(task.pairs.sum(axis=0)).ravel() > 0
        own = sp.diags(known.astype(np.float64))  # nothing is learned of the vector of an item that nobody has
        features = sp.hstack([own, *(tf_idf(one, damped=True) for one in counts)], format="csr")
        total = np.asarray(features.sum(axis=1)).ravel()
        self.features = sp.csr_matrix(sp.diags(1 / np.maximum(total, 1e-30)) @ features, dtype=np.float32)
        self.model = LightFM(loss="warp", random_state=0, **self.options)
        self.model.fit(task.pairs.tocoo(), item_features=self.features, epochs=self.epochs, num_threads=1)
        return self

    def scores(self, task: Task, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        vectors = self.features[items] @ self.model.item_embeddings
        biases = self.features[items] @ self.model.item_biases
        return np.asarray(self.model.user_embeddings[task.users[queries]] @ vectors.T + biases)


def fit_content(task: Task, options: Options, *, kinds: tuple[str, ...]) -> ContentKNN:
    return ContentKNN({kind: options[kind] for kind in kinds}, damped=options["damped"]).fit(task)


def draw_content(rng: np.random.Generator, task: Task, *, kinds: tuple[str, ...]) -> dict[str, Any]:
    return {"damped": bool(rng.integers(2)), **{kind: float(f"{10 ** rng.uniform(-1, 0):.3g}") for kind in kinds}}


def fit_warp(task: Task, options: Options, *, kinds: tuple[str, ...]) -> WarpFactors:
    return WarpFactors(kinds, **options).fit(task)


def draw_warp(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        "no_components": int(rng.choice([32, 64])),  # a pass over twice as many takes minutes
        "learning_rate": float(f"{10 ** rng.uniform(-2, -1):.3g}"),
        "item_alpha": float(f"{10 ** rng.uniform(-7, -4):.3g}"),
        "epochs": int(rng.integers(3, 21)),
    }


def no_lightfm(task: Task) -> str:
    return "" if importlib.util.find_spec("lightfm") else "LightFM is not installed: pip install lightfm-next"

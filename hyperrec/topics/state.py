"""The parameters of a model, and how their table is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hyperrec.topics.kernels.pairs import fill_rows


@dataclass(frozen=True)
class State:
    """The parameters: p(t|v) (V, T), p(t) (T,), lift (V, T), the one table that the E-step reads, shares (K,) of the contexts.

    weight (V,): of each vertex in phi_vt = p(v|t), where it is another one than that of its edges, by regularizers or an exact
    `FoldIn`; else None.
    """

    embedding: np.ndarray
    prior: np.ndarray
    lift: np.ndarray
    shares: np.ndarray = field(default_factory=lambda: np.ones(1))
    weight: np.ndarray | None = None

    @cached_property
    def n_kept(self) -> np.ndarray:
        """(V,) the number of lifts of each row that are not zero."""
        return np.asarray(np.count_nonzero(self.lift, axis=1))

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lifts that are not zero: indptr (V + 1,) int64, topics uint32, values float32."""
        indptr = np.append(0, np.cumsum(self.n_kept)).astype(np.int64)
        topics, values = np.empty(indptr[-1], np.uint32), np.empty(indptr[-1], np.float32)
        fill_rows(self.lift, indptr, topics, values)
        return indptr, topics, values


@dataclass(frozen=True)
class Layout:
    """Where the rows of the table belong.

    sizes: vertices of each modality, in the order of their rows. mass (V,) float64: weight of the edges of each vertex, an
    edge's weight shared among its vertices. phi_weight (V,): the whole weight of the edges of each vertex that is read as
    phi_vt = p(v|t), which sums to one over its modality (all but the container in the container form, companions in the localized
    E-step); zeros for vertices that are read as p(t|v). exponents: the power of each modality's lifts, 1 for all by default;
    below 1 for companions, as several of them in one edge tell much the same. gradient: the counts are phi_vt times a derivative in
    phi (`FoldIn(exact=True)`): phi_vt = norm_v of them, p(t|v) = norm_t(phi_vt p(t)).
    """

    sizes: tuple[int, ...]
    mass: np.ndarray
    phi_weight: np.ndarray | None = None
    exponents: tuple[float, ...] = ()
    gradient: bool = False


def sums(weight: np.ndarray, table: np.ndarray) -> np.ndarray:
    """sum_v weight_v table_vt, float64. Not by BLAS: its threads go on spinning, and the next E-step takes twice its time."""
    return np.asarray(np.einsum("v,vt->t", weight, table))


def phi_of(embedding: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """phi_vt = p(t|v) n_v / sum_u p(t|u) n_u, (V, T) float32, of p(t|v) and n_v; zeros for a topic without any."""
    joint = embedding * (weight / max(weight.sum(), 1e-300))[:, None]
    total = joint.sum(axis=0)
    return np.asarray(np.divide(joint, total, out=np.zeros_like(joint), where=total > 0), dtype=np.float32)


def from_vertices(weight: np.ndarray, n_v: np.ndarray) -> float:
    """sum_v n_v ln(p(v) / (n_v / sum n)), 0 or less, with p(v) by weight (V,), and n_v (V,) the weights of the edges of vertices.

    Lifts say how much more probable a vertex is than its p(v) = sum_t phi_vt p(t). With this the log-likelihood of lifts is again
    relative to what is fixed.
    """
    there = n_v > 0
    p = weight / weight.sum()
    return float((n_v[there] * np.log(p[there] / (n_v[there] / n_v.sum()))).sum())


def make_state(
    embedding: np.ndarray,
    prior: np.ndarray,
    layout: Layout,
    shares: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> State:
    """The state of p(t|v) and p(t): divides each row by the topic totals it is read against. shares: of one context by default;
    weight: in the place of the layout's phi_weight, where regularizers changed it."""
    prior = np.maximum(prior, 1e-12)
    prior = (prior / prior.sum()).astype(np.float32)
    lift = np.empty_like(embedding)
    start = 0
    for number, size in enumerate(layout.sizes):
        rows = slice(start, start + size)
        base = prior
        if layout.phi_weight is not None and layout.phi_weight[rows].any():
            base = sums((layout.phi_weight if weight is None else weight)[rows], embedding[rows])
            base = (np.maximum(base, 1e-30) / base.sum()).astype(np.float32)
        np.divide(embedding[rows], np.maximum(base, 1e-12), out=lift[rows])
        if layout.exponents and layout.exponents[number] != 1:
            np.power(lift[rows], np.float32(layout.exponents[number]), out=lift[rows])
        start += size
    return State(embedding, prior, lift, np.ones(1) if shares is None else shares, weight)

"""Shards: the edges, as the E-step takes them; every kind has `expected_counts(state) -> Statistics`, and em.py knows no more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from hyperrec.topics.contexts import IN_MEAN, NO_PLAN, Plan
from hyperrec.topics.kernels import edges as edge_kernels
from hyperrec.topics.kernels import pairs as pair_kernels
from hyperrec.topics.state import State
from hyperrec.topics.statistics import Statistics

MAX_CHUNKS = 8
CHUNK_BYTES = 2**29  # all the chunks' tables together, where more than two are worth it
BLOCK = 2048  # containers whose sums the caches hold, at a few hundred topics
PARTS = 32  # of a block, for the threads to share
SPARSE = 1 / 12  # share of lifts that are not zero, met by the edges, below which entries are gone through one by one


class History:
    """The positions of each container, in their order, or ascending by vertex where the context knows no order.

    indptr (D + 1,) int64; vertices (N,) int32; weight (N,) float32. importance (N,): factor of the gammas of moving averages, 1 by
    default; 0 ignores the position, a large one forgets what was before. starts (N,) bool: the position begins a new document.
    """

    def __init__(
        self,
        indptr: np.ndarray,
        vertices: np.ndarray,
        weight: np.ndarray,
        importance: np.ndarray | None = None,
        starts: np.ndarray | None = None,
    ) -> None:
        self.indptr, self.vertices, self.weight = indptr, vertices, weight
        self.importance = np.ones(len(vertices), np.float32) if importance is None else importance
        self.starts = np.zeros(len(vertices), bool) if starts is None else starts

    @classmethod
    def of(cls, owners: np.ndarray, vertices: np.ndarray, weight: np.ndarray, n_containers: int, **more: np.ndarray) -> History:
        """From one list of positions, ascending by their containers."""
        indptr = np.searchsorted(owners, np.arange(n_containers + 1)).astype(np.int64)
        return cls(indptr, vertices.astype(np.int32), weight.astype(np.float32), **more)

    @property
    def owners(self) -> np.ndarray:
        """(N,) the container of each position."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def matrix(self, n_vertices: int) -> sp.csr_matrix:
        """(D, V) CSR of the weights."""
        return sp.csr_matrix((self.weight, self.vertices, self.indptr), shape=(len(self.indptr) - 1, n_vertices))

    @classmethod
    def none(cls, n_containers: int) -> History:
        return cls(np.zeros(n_containers + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def take(self, containers: np.ndarray) -> History:
        """The histories of these containers, in this order."""
        indptr, at = _lines(self.indptr, containers)
        return History(indptr, self.vertices[at], self.weight[at], self.importance[at], self.starts[at])


def _lines(indptr: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The indptr of these lines alone, and where their entries are."""
    lengths = np.diff(indptr)[rows]
    taken = np.append(0, np.cumsum(lengths)).astype(np.int64)
    return taken, np.repeat(indptr[rows] - taken[:-1], lengths) + np.arange(taken[-1])


@dataclass(frozen=True)
class Blocks:
    """Histories, cut into blocks of containers, and the vertices of each block with the containers that hold them.

    slices (B, P + 1), groups (B, P + 1): in each block, the containers and the rows that each part of the work takes; they
    depend on the data alone, never on the threads. row_vertex (R,), row_indptr (R + 1,): the vertex of a row and where its
    members begin. members (N,) int16: containers, counted from the block's first; weight (N,): that of the vertex in them.
    """

    slices: np.ndarray
    groups: np.ndarray
    row_vertex: np.ndarray
    row_indptr: np.ndarray
    members: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, history: History, size: int) -> Blocks:
        n_containers, n_entries = len(history.indptr) - 1, len(history.vertices)
        firsts = np.append(np.arange(0, max(n_containers, 1), size), n_containers).astype(np.int64)
        starts = np.zeros(len(firsts), np.int64)
        vertex, indptr = np.empty(n_entries, np.int32), np.empty(n_entries + 1, np.int64)
        members, weight = np.empty(n_entries, np.int16), np.empty(n_entries, np.float32)
        n_vertices = int(history.vertices.max(initial=-1)) + 1
        pair_kernels.turn_blocks(
            history.indptr, history.vertices, history.weight, firsts, n_vertices, starts, vertex, indptr, members, weight
        )
        vertex, indptr = vertex[: starts[-1]].copy(), indptr[: starts[-1] + 1].copy()
        return cls(_cuts(history.indptr, firsts), _cuts(indptr, starts), vertex, indptr, members, weight)


def _cuts(indptr: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """(B, PARTS + 1) bounds of parts that have about equally many of the entries of lines firsts[b] to firsts[b + 1]."""
    begin, end = indptr[firsts[:-1], None], indptr[firsts[1:], None]
    cuts = np.searchsorted(indptr, begin + (end - begin) * np.arange(PARTS + 1) // PARTS).astype(np.int64)
    cuts[:, 0], cuts[:, -1] = firsts[:-1], firsts[1:]
    return np.asarray(np.clip(cuts, firsts[:-1, None], firsts[1:, None]))


@dataclass(frozen=True)
class Pairs:
    """A shard of (container, vertex) edges read in `Mean` or `FoldIn`: the histories are the edges. damping (D,) scales counts."""

    history: History
    damping: np.ndarray
    plan: Plan = IN_MEAN

    n_contexts = 1
    contained = True

    @property
    def n_units(self) -> int:
        """Containers: what a mini-batch takes."""
        return len(self.damping)

    def take(self, units: np.ndarray) -> Pairs:
        """The shard of these containers."""
        return Pairs(self.history.take(units), self.damping[units], self.plan)

    def totals(self, n_vertices: int) -> tuple[np.ndarray, float]:
        """n_v (V,) float64, the weight of the edges of each vertex, and of all edges."""
        n_v = np.bincount(self.history.vertices, self.history.weight * self.damping[self.history.owners], n_vertices)
        return n_v, float(n_v.sum())

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks.of(self.history, BLOCK)

    @cached_property
    def n_met(self) -> np.ndarray:
        """(V',) how often each vertex is met, to the last that is."""
        return np.bincount(self.history.vertices)

    def _is_sparse(self, state: State) -> bool:
        few = SPARSE * state.lift.shape[1]
        if state.n_kept.min() >= few:
            return False
        return bool(self.n_met @ state.n_kept[: len(self.n_met)] < few * self.n_met.sum())

    def expected_counts(self, state: State) -> Statistics:
        """E-step of the shard."""
        n_vertices, n_topics = state.lift.shape
        statistics = Statistics.empty(n_vertices, n_topics, len(state.shares))
        if self.plan.kinds[0] == edge_kernels.MEAN and self._is_sparse(state):
            return self._expected_sparse(state, statistics)
        history, blocks = self.history, self.blocks
        size = int((blocks.slices[:, -1] - blocks.slices[:, 0]).max())
        room, amounts, scores = np.empty((size, n_topics), np.float32), np.empty(size), np.zeros((PARTS, 3))
        edges = (
            history.indptr, history.vertices, history.weight, self.damping,
            blocks.slices, blocks.groups, blocks.row_vertex, blocks.row_indptr, blocks.members, blocks.weight,
        )  # fmt: skip
        if self.plan.kinds[0] == edge_kernels.MEAN:
            own = np.einsum("vt,vt,t->v", state.lift, state.lift, state.prior).astype(np.float32)
            pair_kernels.add_pairs_in_mean(*edges, state.lift, state.prior, own, room, amounts, statistics.n_vt, scores)
            statistics.n_t[:] = statistics.n_vt.sum(axis=0, dtype=np.float64)
        else:
            iterations, uniform, exact = self.plan.params[0]
            scale = 1 / np.maximum(np.einsum("vt,t->v", state.lift, state.prior), np.float32(1e-30))
            gradients, n_t = np.empty((size if exact else 0, n_topics), np.float32), np.zeros((PARTS, n_topics))
            edge_kernels.add_pairs_folded_in(
                *edges, state.lift, state.prior, scale, bool(uniform), int(iterations), bool(exact),
                room, gradients, amounts, statistics.n_vt, n_t, scores,
            )  # fmt: skip
            statistics.n_t[:] = n_t.sum(axis=0)
        return statistics.scored(scores)

    def _expected_sparse(self, state: State, statistics: Statistics) -> Statistics:
        history, (indptr, topics, values) = self.history, state.rows
        query = state.prior[topics] * values
        own = np.add.reduceat(np.append(query * values, np.float32(0)), indptr[:-1]) * (np.diff(indptr) > 0)
        bounds = _bounds(history.indptr, max(len(topics), 1), 1)
        n_chunks = len(bounds) - 1
        sums, backs = np.zeros((n_chunks, len(topics)), np.float32), np.zeros((n_chunks, len(own)), np.float32)
        scores = np.zeros((n_chunks, 3))
        pair_kernels.add_sparse_pairs_in_mean(
            history.indptr, history.vertices, history.weight, self.damping, indptr, topics, values, query, own, len(state.prior),
            bounds, sums, backs, scores,
        )  # fmt: skip
        pair_kernels.merge_sparse(sums, backs, values, query, indptr, topics, statistics.n_vt)
        statistics.n_t[:] = statistics.n_vt.sum(axis=0, dtype=np.float64)
        return statistics.scored(scores)


@dataclass(frozen=True)
class Edges:
    """A shard of hyperedges of one order, grouped by container, each read in the context of its place in the history.

    indptr (D + 1,), vertices (E, h) int32 rows of the table, weight (E,) float32, history of the D containers (empty in the
    symmetric form), place (E,) int64: the position that the edge is, or the number of positions for none of them; plan: contexts.
    folded: the context is `FoldIn`, of these edges with all their vertices instead of the history.
    """

    indptr: np.ndarray
    vertices: np.ndarray
    weight: np.ndarray
    place: np.ndarray
    history: History
    plan: Plan = NO_PLAN
    folded: bool = False

    @classmethod
    def symmetric(cls, vertices: np.ndarray, weight: np.ndarray) -> Edges:
        """Edges without a container: cut into slices so that threads can share them."""
        indptr = np.linspace(0, len(weight), MAX_CHUNKS + 1).astype(np.int64)
        return cls(indptr, vertices, weight, np.zeros(len(weight), np.int64), History.none(MAX_CHUNKS))

    @property
    def n_contexts(self) -> int:
        return max(len(self.plan.kinds), 1)

    @property
    def contained(self) -> bool:
        return len(self.plan.kinds) > 0

    @property
    def n_units(self) -> int:
        """What a mini-batch takes: containers, or edges where there are none."""
        return len(self.indptr) - 1 if self.contained else len(self.weight)

    def take(self, units: np.ndarray) -> Edges:
        """The shard of these containers, or edges."""
        if not self.contained:
            return Edges.symmetric(self.vertices[units], self.weight[units])
        indptr, at = _lines(self.indptr, units)
        return Edges(indptr, self.vertices[at], self.weight[at], self.place[at], self.history.take(units), self.plan, self.folded)

    def totals(self, n_vertices: int) -> tuple[np.ndarray, float]:
        """n_v (V,) float64, the weight of the edges of each vertex, and of all edges."""
        n_v = sum((np.bincount(column, self.weight, n_vertices) for column in self.vertices.T), start=np.zeros(n_vertices))
        return n_v, float(self.weight.sum(dtype=np.float64))

    def expected_counts(self, state: State) -> Statistics:
        """E-step of the shard."""
        n_vertices, n_topics = state.lift.shape
        statistics = Statistics.empty(n_vertices, n_topics, len(state.shares))
        history, bounds = self.history, _bounds(self.indptr, n_vertices, n_topics)
        n_chunks = len(bounds) - 1
        sums, scores = np.zeros((n_chunks, n_vertices, n_topics), np.float32), np.zeros((n_chunks, 3))
        shares = np.zeros((n_chunks, len(state.shares)))
        if self.folded:
            iterations, uniform, _ = self.plan.params[0]
            edge_kernels.add_folded_edges(
                self.indptr, self.vertices, self.weight, bool(uniform), int(iterations), state.lift, state.prior, bounds, sums,
                scores,
            )  # fmt: skip
        else:
            edge_kernels.add_edges(
                self.indptr, self.vertices, self.weight, self.place,
                history.indptr, history.vertices, history.weight, history.importance, history.starts,
                *self.plan, state.shares, state.lift, state.prior, bounds, sums, shares, scores,
            )  # fmt: skip
        edge_kernels.merge_chunks(sums, statistics.n_vt)
        statistics.n_t[:] = statistics.n_vt.sum(axis=0, dtype=np.float64) / self.vertices.shape[1]  # every edge once
        statistics.shares[:] = shares.sum(axis=0)
        return statistics.scored(scores)


class Shard(Protocol):
    """What `em.py` knows of a shard; one in a file is another (stored.py). history: where the initial state is drawn from."""

    @property
    def history(self) -> History: ...

    @property
    def n_contexts(self) -> int: ...

    def expected_counts(self, state: State) -> Statistics: ...


def _bounds(indptr: np.ndarray, n_vertices: int, n_topics: int) -> np.ndarray:
    """Containers of each chunk, of about equal numbers of edges; depends on the data alone, never on the threads."""
    worth = min(CHUNK_BYTES // (4 * n_vertices * n_topics), indptr[-1] // n_vertices)
    n_chunks = int(np.clip(worth, 2, MAX_CHUNKS))
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], n_chunks + 1)).astype(np.int64)
    cuts[0], cuts[-1] = 0, len(indptr) - 1
    return np.maximum.accumulate(cuts)

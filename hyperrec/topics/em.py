"""The EM loop. Read this file first: a shard of edges -> Statistics -> merge -> M-step.

All models are one: with lift_vt = p(t|v) / p(t), an edge e has the posterior

    p_te = norm_t( p(t) * prod_{v in e} lift_vt * context_t )                                    (E-step)
    p(t|v) = norm_t( sum_{e ni v} n_e p_te ),   p(t) = norm_t( sum_e n_e p_te )                     (M-step)

- symmetric hypergraph: no context; p(t) prod lift = p(t)^(1-h) prod p(t|v).
- container form: the lift of a vertex is phi_vt / p(v), normalized by the topic totals of its own modality; that of the
  container is p(t|d) / p(t), so that an edge has the posterior norm_t( p(t|d) prod phi_vt ).
- localized E-step: the container has no row; the context is the average lift of other positions of its history, and of several
  contexts their mixture, whose shares the M-step makes of the weight that each explained. Companions of
  an edge (its hour, its store) enter as phi_ct / p(c): they say which topics are theirs, not which topics are large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from hyperrec.topics import kernels
from hyperrec.topics.contexts import NO_PLAN, Plan
from hyperrec.topics.statistics import Statistics

MAX_CHUNKS = 8
CHUNK_BYTES = 2**29  # all the chunks' tables together, where more than two are worth it
BLOCK = 2048  # containers whose sums the caches hold, at a few hundred topics
PARTS = 32  # of a block, for the threads to share


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
        lengths = np.diff(self.indptr)[containers]
        indptr = np.append(0, np.cumsum(lengths)).astype(np.int64)
        at = np.repeat(self.indptr[containers] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return History(indptr, self.vertices[at], self.weight[at], self.importance[at], self.starts[at])


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
        kernels.turn_blocks(
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
    """A shard of (container, vertex) edges read in `Mean`: the histories are the edges. damping (D,) scales counts."""

    history: History
    damping: np.ndarray

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks.of(self.history, BLOCK)


@dataclass(frozen=True)
class Edges:
    """A shard of hyperedges of one order, grouped by container, each read in the context of its place in the history.

    indptr (D + 1,), vertices (E, h) int32 rows of the table, weight (E,) float32, history of the D containers (empty in the
    symmetric form), place (E,) int64: the position that the edge is, or the number of positions for none of them; plan: contexts.
    """

    indptr: np.ndarray
    vertices: np.ndarray
    weight: np.ndarray
    place: np.ndarray
    history: History
    plan: Plan = NO_PLAN

    @classmethod
    def symmetric(cls, vertices: np.ndarray, weight: np.ndarray) -> Edges:
        """Edges without a container: cut into slices so that threads can share them."""
        indptr = np.linspace(0, len(weight), MAX_CHUNKS + 1).astype(np.int64)
        return cls(indptr, vertices, weight, np.zeros(len(weight), np.int64), History.none(MAX_CHUNKS))


Shard = Pairs | Edges


@dataclass(frozen=True)
class State:
    """The parameters: p(t|v) (V, T), p(t) (T,), lift (V, T), the one table that the E-step reads, shares (K,) of the contexts."""

    embedding: np.ndarray
    prior: np.ndarray
    lift: np.ndarray
    shares: np.ndarray = field(default_factory=lambda: np.ones(1))


@dataclass(frozen=True)
class Layout:
    """Where the rows of the table belong.

    sizes: vertices of each modality, in the order of their rows. mass (V,) float64: weight of the edges of each vertex, an
    edge's weight shared among its vertices. phi_weight (V,): the whole weight of the edges of each vertex that is read as
    phi_vt = p(v|t), which sums to one over its modality (all but the container in the container form, companions in the localized
    E-step); zeros for vertices that are read as p(t|v). exponents: the power of each modality's lifts, 1 for all by default;
    below 1 for companions, as several of them in one edge tell much the same.
    """

    sizes: tuple[int, ...]
    mass: np.ndarray
    phi_weight: np.ndarray | None = None
    exponents: tuple[float, ...] = ()


@dataclass
class Fit:
    """The result of `fit`: the state, a row of history a pass, which rows had no counts at the end, and the weights n_v (V,)
    of the edges of each vertex, and of all of them: with the state they are the expected counts, n_vt = n_v p(t|v)."""

    state: State
    history: list[dict[str, float | int | bool]] = field(default_factory=list)
    empty: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    n_v: np.ndarray = field(default_factory=lambda: np.zeros(0))
    weight: float = 0.0


def _bounds(indptr: np.ndarray, n_vertices: int, n_topics: int) -> np.ndarray:
    """Containers of each chunk, of about equal numbers of edges; depends on the data alone, never on the threads."""
    worth = min(CHUNK_BYTES // (4 * n_vertices * n_topics), indptr[-1] // n_vertices)
    n_chunks = int(np.clip(worth, 2, MAX_CHUNKS))
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], n_chunks + 1)).astype(np.int64)
    cuts[0], cuts[-1] = 0, len(indptr) - 1
    return np.maximum.accumulate(cuts)


def expected_counts(shard: Shard, state: State) -> Statistics:
    """E-step of one shard."""
    n_vertices, n_topics = state.lift.shape
    statistics = Statistics.empty(n_vertices, n_topics, len(state.shares))
    history = shard.history
    if isinstance(shard, Pairs):
        blocks = shard.blocks
        own = np.einsum("vt,vt,t->v", state.lift, state.lift, state.prior).astype(np.float32)
        size = int((blocks.slices[:, -1] - blocks.slices[:, 0]).max())
        totals, amounts, scores = np.empty((size, n_topics), np.float32), np.empty(size), np.zeros((PARTS, 3))
        kernels.add_pairs_in_mean(
            history.indptr, history.vertices, history.weight, shard.damping,
            blocks.slices, blocks.groups, blocks.row_vertex, blocks.row_indptr, blocks.members, blocks.weight,
            state.lift, state.prior, own, totals, amounts, statistics.n_vt, scores,
        )  # fmt: skip
        statistics.n_t[:] = statistics.n_vt.sum(axis=0, dtype=np.float64)
    else:
        bounds = _bounds(shard.indptr, n_vertices, n_topics)
        n_chunks = len(bounds) - 1
        sums, scores = np.zeros((n_chunks, n_vertices, n_topics), np.float32), np.zeros((n_chunks, 3))
        n_t, shares = np.zeros((n_chunks, n_topics)), np.zeros((n_chunks, len(state.shares)))
        kernels.add_edges(
            shard.indptr, shard.vertices, shard.weight, shard.place,
            history.indptr, history.vertices, history.weight, history.importance, history.starts,
            *shard.plan, state.shares, state.lift, state.prior, bounds, sums, n_t, shares, scores,
        )  # fmt: skip
        kernels.merge_chunks(sums, statistics.n_vt)
        statistics.n_t[:] = n_t.sum(axis=0)
        statistics.shares[:] = shares.sum(axis=0)
    statistics.log_likelihood, degenerate, statistics.weight = scores.sum(axis=0)
    statistics.n_degenerate = int(degenerate)
    return statistics


def e_step(shards: Sequence[Shard], state: State) -> Statistics:
    """E-step of all shards, merged in their order."""
    n_vertices, n_topics = state.lift.shape
    total = Statistics.empty(n_vertices, n_topics, len(state.shares))
    for shard in shards:
        total.merge(expected_counts(shard, state))
    return total


def _sums(weight: np.ndarray, table: np.ndarray) -> np.ndarray:
    """sum_v weight_v table_vt, float64. Not by BLAS: its threads go on spinning, and the next E-step takes twice its time."""
    return np.asarray(np.einsum("v,vt->t", weight, table))


def make_state(embedding: np.ndarray, prior: np.ndarray, layout: Layout, shares: np.ndarray | None = None) -> State:
    """The state of p(t|v) and p(t): divides each row by the topic totals it is read against. shares: of one context by default."""
    prior = np.maximum(prior, 1e-12)
    prior = (prior / prior.sum()).astype(np.float32)
    lift = np.empty_like(embedding)
    start = 0
    for number, size in enumerate(layout.sizes):
        rows = slice(start, start + size)
        base = prior
        if layout.phi_weight is not None and layout.phi_weight[rows].any():
            base = _sums(layout.phi_weight[rows], embedding[rows])
            base = (np.maximum(base, 1e-30) / base.sum()).astype(np.float32)
        np.divide(embedding[rows], np.maximum(base, 1e-12), out=lift[rows])
        if layout.exponents and layout.exponents[number] != 1:
            np.power(lift[rows], np.float32(layout.exponents[number]), out=lift[rows])
        start += size
    return State(embedding, prior, lift, np.ones(1) if shares is None else shares)


def initial_state(layout: Layout, n_topics: int, seed: int, history: History | None = None, n_contexts: int = 1) -> State:
    """Random p(t|v), and the p(t) that follows from them; equal shares of the contexts.

    With a history each topic starts from the vertices of one container, drawn by its length: EM from there ends at a
    higher likelihood than from noise (by .02 per event on MovieLens-100K at T = 400), and ranks better.
    """
    rng = np.random.default_rng(seed)
    embedding = 0.2 * rng.random((len(layout.mass), n_topics), dtype=np.float32) + np.float32(0.1)
    if history is not None and len(history.vertices):
        lengths = np.diff(history.indptr).astype(float)
        drawn = rng.choice(len(lengths), n_topics, replace=bool(n_topics > np.count_nonzero(lengths)), p=lengths / lengths.sum())
        for topic, container in enumerate(drawn):
            embedding[np.unique(history.vertices[history.indptr[container] : history.indptr[container + 1]]), topic] += 1
    embedding /= embedding.sum(axis=1, keepdims=True)
    return make_state(embedding, _sums(layout.mass, embedding), layout, np.full(n_contexts, 1 / n_contexts))


def m_step(state: State, statistics: Statistics, layout: Layout, eta: float = 1.0) -> tuple[State, np.ndarray]:
    """M-step: eta = 1 is plain EM, eta in (1, 2) over-relaxes by p <- p (p_em / p)^eta.

    Returns the new state and a (V,) bool: rows without counts, which are put at p(t).
    """
    n_t = statistics.n_t / statistics.n_t.sum()
    empty = np.zeros(len(layout.mass), bool)
    embedding = np.empty_like(state.embedding)
    fallback = n_t.astype(np.float32)
    kernels.maximize(statistics.n_vt, state.embedding, np.float32(eta), fallback, embedding, empty)
    if eta != 1.0:  # p(t) stays tied to the counts: it moves as the relaxed rows move it
        n_v = statistics.n_vt.sum(axis=1, dtype=np.float64)
        share = np.divide(layout.mass, n_v, out=np.zeros_like(n_v), where=n_v > 0)
        plain = _sums(share, statistics.n_vt)
        n_t = n_t * _sums(layout.mass, embedding) / np.maximum(plain, 1e-30)
    explained = statistics.shares.sum()
    shares = statistics.shares / explained if explained > 0 else state.shares
    return make_state(embedding, n_t, layout, shares), empty


def fit(
    shards: Sequence[Shard],
    layout: Layout,
    *,
    n_topics: int,
    n_passes: int,
    tolerance: float = 0.0,
    over_relaxation: float = 1.8,
    seed: int = 0,
    on_pass: Callable[[dict[str, float | int | bool]], None] | None = None,
) -> Fit:
    """Maximize the likelihood from a random start.

    A pass that over-relaxed and lost likelihood is taken back: the M-step is done again, plainly, from the better state; the
    last one, which no E-step follows, is plain. Where a plain pass loses likelihood (it may in the localized E-step, and when
    orders are mixed), the better state is the result. Stops after n_passes, or when the likelihood per unit of weight
    gains less than `tolerance` in a pass, and no more than in the pass before: from a random start the gains are small, and grow.
    """
    n_contexts = max((len(shard.plan.kinds) for shard in shards if isinstance(shard, Edges)), default=1)
    state = initial_state(layout, n_topics, seed, shards[0].history, max(n_contexts, 1))
    result = Fit(state)
    best: tuple[State, Statistics] | None = None
    eta, gain = 1.0, -np.inf
    for number in range(1, n_passes + 1):
        statistics = e_step(shards, state)
        value = statistics.log_likelihood / statistics.weight
        before = best[1].log_likelihood / best[1].weight if best else -np.inf
        fell, slowing = value < before, value - before <= gain
        gain = value - before if best else -np.inf
        stop = best is not None and gain < tolerance and (fell or slowing)
        row = _row(number, statistics, eta, fell and (eta > 1.0 or stop))
        result.history.append(row)
        if on_pass:
            on_pass(row)
        if best and fell and eta > 1.0:
            eta = 1.0
            state, result.empty = m_step(best[0], best[1], layout)
            continue
        if best and stop:
            state = best[0] if fell else state
            break
        best = (state, statistics)
        eta = over_relaxation if 2 < number < n_passes else 1.0
        state, result.empty = m_step(state, statistics, layout, eta)
    result.state, result.n_v, result.weight = state, statistics.n_vt.sum(axis=1, dtype=np.float64), float(statistics.weight)
    return result


def _row(number: int, statistics: Statistics, eta: float, stepped_back: bool) -> dict[str, float | int | bool]:
    """A row of the history of a fit."""
    return {
        "pass": number,
        "log_likelihood": float(statistics.log_likelihood),
        "per_weight": float(statistics.log_likelihood / statistics.weight),
        "eta": float(eta),
        "stepped_back": bool(stepped_back),
        "degenerate_edges": statistics.n_degenerate,
    }


def update(
    old: Fit, shards: Sequence[Shard], layout: Layout, *, n_passes: int, keep: float, gain: float
) -> Fit:
    """Go on from a fit with new edges: n_vt := keep n_vt + gain ñ_vt, ñ the expected counts of the new ones, then the M-step.

    Passes over the new edges refine ñ; the old counts, n_v p(t|v), stay as they are. Slides: "Online EM with a localized E-step".
    """
    state, result = old.state, Fit(old.state, list(old.history))
    before = Statistics(
        (keep * old.n_v[:, None] * state.embedding).astype(np.float32), keep * old.weight * state.prior.astype(np.float64),
        keep * old.weight * state.shares, weight=keep * old.weight,
    )  # fmt: skip
    for _ in range(n_passes):
        statistics = e_step(shards, state)
        result.history.append(_row(len(result.history) + 1, statistics, 1.0, False))
        statistics.n_vt *= np.float32(gain)
        statistics.n_t *= gain
        statistics.shares *= gain
        statistics.weight *= gain
        statistics.merge(before)
        state, result.empty = m_step(state, statistics, layout)
    result.state, result.n_v, result.weight = state, statistics.n_vt.sum(axis=1, dtype=np.float64), float(statistics.weight)
    return result


def contexts_after(history: History, plan: Plan, state: State) -> np.ndarray:
    """Lifts of the context of a new position after the last of each container, (D, T) float32; 1 where there is none."""
    contexts = np.empty((len(history.indptr) - 1, state.lift.shape[1]), np.float32)
    kernels.read_contexts(
        history.indptr, history.vertices, history.weight, history.importance, history.starts,
        *plan, state.shares, state.lift, state.prior, True, contexts, np.empty((0, 0), np.float32),
    )  # fmt: skip
    return contexts


def contexts_of(history: History, plan: Plan, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Of the one container of a history: lifts of the contexts of its n positions and of a new one, (n + 1, T), and of what was
    averaged, (n, T): p(t|w_i) / p(t), or the contextual vectors of the pass before."""
    n, n_topics = len(history.vertices), state.lift.shape[1]
    contexts, values = np.empty((n + 1, n_topics), np.float32), np.empty((n, n_topics), np.float32)
    kernels.read_contexts(
        history.indptr, history.vertices, history.weight, history.importance, history.starts,
        *plan, state.shares, state.lift, state.prior, False, contexts, values,
    )  # fmt: skip
    return contexts, values


def weights_after(history: History, plan: Plan, state: State) -> np.ndarray:
    """alpha(u|n) (n,) of the positions of the one container of a history, for a new one after them; the background left out.

    A context is linear in what it averages: reading unit vectors gives its weights.
    """
    n, block = len(history.vertices), 512
    units = History(history.indptr, np.arange(n, dtype=np.int32), history.weight, history.importance, history.starts)
    shares = np.where(plan.kinds == kernels.BACKGROUND, 0, state.shares)
    weights = np.zeros(n, np.float32)
    for start in range(0, n, block):
        unit = np.eye(n, min(block, n - start), -start, dtype=np.float32)
        here = State(unit, np.ones(unit.shape[1], np.float32), unit, shares)
        weights[start : start + block] = contexts_after(units, plan._replace(passes=0), here)[0]
    return weights

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
- Theta-less family: the context is p(t|d) of the whole container, found anew in each pass by a few iterations, or, exactly, its
  mean p(t|w), with counts that are the derivative of the likelihood through it as well.

Regularizers R add phi_vt dR/dphi_vt to the expected counts before the M-step, and their value to the likelihood: regularizers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hyperrec.topics.kernels.tables import maximize
from hyperrec.topics.regularizers import Regularization
from hyperrec.topics.shards import History, Shard
from hyperrec.topics.state import Layout, State, from_vertices, make_state, sums
from hyperrec.topics.statistics import Statistics

DROP_GROWTH, DROP_WHOLE = 1.2, 20  # by how much the threshold grows in a pass, and in which it is whole
Row = dict[str, float | int | bool]
FAINT = 1e-20  # of all weight: what is left of counts that faded, so that a row knows its topics


@dataclass
class Progress:
    """All that the loop carries from one pass to the next: whoever writes it down after a pass can go on from there, to the bit.

    state: of the pass to come. best: the state with the highest likelihood so far, and its expected counts. eta: the exponent
    with which state was made. gain: of likelihood, in the last pass. history: a row for each pass; empty, best_empty: rows of
    state and of best that are put at p(t).
    Online EM has no best state, but the weight n_v that is behind each row now (with regularizers, the counts n_vt), and the
    number of batches that it was made from.
    """

    state: State
    best: tuple[State, Statistics] | None = None
    eta: float = 1.0
    gain: float = -np.inf
    history: list[Row] = field(default_factory=list)
    empty: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    best_empty: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    n_v: np.ndarray = field(default_factory=lambda: np.zeros(0))
    n_vt: np.ndarray | None = None
    n_batches: int = 0
    done: bool = False


@dataclass
class Fit:
    """The result of `fit`: the state, a row of history a pass, which rows are put at p(t) at the end, and the weights n_v (V,)
    of the edges of each vertex, and of all of them: with the state they are the expected counts, n_vt = n_v p(t|v); with
    regularizers they are another thing, and kept in n_vt (V, T)."""

    state: State
    history: list[Row] = field(default_factory=list)
    empty: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    n_v: np.ndarray = field(default_factory=lambda: np.zeros(0))
    weight: float = 0.0
    n_vt: np.ndarray | None = None


def e_step(shards: Sequence[Shard], state: State) -> Statistics:
    """E-step of all shards, merged in their order."""
    n_vertices, n_topics = state.lift.shape
    total = Statistics.empty(n_vertices, n_topics, len(state.shares))
    for shard in shards:
        total.merge(shard.expected_counts(state))
    return total


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
    return make_state(embedding, sums(layout.mass, embedding), layout, np.full(n_contexts, 1 / n_contexts))


def m_step(
    state: State,
    statistics: Statistics,
    layout: Layout,
    eta: float = 1.0,
    drop_below: float = 0.0,
    regularize: Regularization | None = None,
) -> tuple[State, np.ndarray]:
    """M-step: eta = 1 is plain EM, eta in (1, 2) over-relaxes by p <- p (p_em / p)^eta.

    Entries of p(t|v) under drop_below become zero, and stay so unless a regularizer gives them counts, but for the largest of a
    row. Returns the new state and a (V,)
    bool: rows without counts, or left without any by regularizers, which are put at p(t).
    """
    n_t = statistics.n_t / statistics.n_t.sum()
    n_vt, emptied = regularize.counts(state, statistics) if regularize else (statistics.n_vt, None)
    empty = np.zeros(len(layout.mass), bool)
    embedding = np.empty_like(state.embedding)
    fallback = n_t.astype(np.float32)
    if layout.gradient:
        n_vt, without = _phi_counts(n_vt, statistics.n_t)
        emptied = without if emptied is None else emptied | without
    weight = n_vt.sum(axis=1, dtype=np.float64) if regularize or layout.gradient else None
    maximize(n_vt, state.embedding, np.float32(eta), fallback, np.float32(drop_below), embedding, empty)
    if eta != 1.0:  # p(t) stays tied to the counts: it moves as the relaxed rows move it
        n_v = n_vt.sum(axis=1, dtype=np.float64)
        share = np.divide(layout.mass, n_v, out=np.zeros_like(n_v), where=n_v > 0)
        plain = sums(share, n_vt)
        n_t = n_t * sums(layout.mass, embedding) / np.maximum(plain, 1e-30)
    explained = statistics.shares.sum()
    shares = statistics.shares / explained if explained > 0 else state.shares
    repaired = empty if emptied is None else empty | emptied
    embedding[repaired] = n_t / n_t.sum()  # the whole of it, neither relaxed nor dropped
    return make_state(embedding, n_t, layout, shares, weight), repaired


def _phi_counts(gradient: np.ndarray, n_t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """phi_vt n_t (V, T), phi_vt = norm_v of a gradient whose sums over v are not n_t; a (V,) bool: rows that it left without any,
    which are given counts as p(t)."""
    n_v = gradient.sum(axis=1, dtype=np.float64)
    counts = np.maximum(gradient, 0)
    totals = counts.sum(axis=0, dtype=np.float64)
    counts *= np.divide(n_t, totals, out=np.zeros_like(totals), where=totals > FAINT * n_t.sum()).astype(np.float32)
    emptied = (n_v > 0) & ~(counts > 0).any(axis=1)
    counts[emptied] = n_v[emptied, None] * (n_t / n_t.sum())
    return counts, emptied


def fit(
    shards: Sequence[Shard],
    layout: Layout,
    *,
    n_topics: int,
    n_passes: int,
    tolerance: float = 0.0,
    over_relaxation: float = 1.8,
    drop_below: float = 0.0,
    seed: int = 0,
    start: Progress | None = None,
    on_pass: Callable[[Progress], None] | None = None,
    regularize: Regularization | None = None,
) -> Fit:
    """Maximize the likelihood from a random start, or go on from where an earlier call with the same arguments was; with
    regularizers, the likelihood + R, in all that follows.

    A pass that over-relaxed and lost likelihood is taken back: the M-step is done again, plainly, from the better state; the
    last one, which no E-step follows, is plain. Where a plain pass loses likelihood (it may in the localized E-step, and when
    orders are mixed), the better state is the result. Stops after n_passes, or when the likelihood per unit of weight
    gains less than `tolerance` in a pass, and no more than in the pass before: from a random start the gains are small, and grow.

    The threshold drop_below comes slowly, up to its whole in pass 20: what is dropped at once takes likelihood with it, and with
    the early passes, which know nothing yet, the wrong entries.
    """
    n_contexts = max(shard.n_contexts for shard in shards)
    now = start or Progress(initial_state(layout, n_topics, seed, shards[0].history, n_contexts))
    while not now.done:
        number, statistics = len(now.history) + 1, _scored(e_step(shards, now.state), now.state, layout, regularize)
        drop = drop_below * min(1.0, DROP_GROWTH ** (number - DROP_WHOLE))
        value, before = statistics.objective, now.best[1].objective if now.best else -np.inf
        fell, slowing = value < before, value - before <= now.gain
        now.gain = value - before if now.best else -np.inf
        stop = number > 2 and now.gain < tolerance and (fell or slowing)  # the random start is no result
        now.done = number == n_passes
        now.history.append(row_of(number, statistics, now.eta, fell and (now.eta > 1.0 or stop)))
        if now.best and fell and now.eta > 1.0:
            now.eta = 1.0
            now.state, now.empty = m_step(*now.best, layout, 1.0, drop, regularize)
        elif now.best and fell and stop:
            (now.state, _), now.empty, now.done = now.best, now.best_empty, True
        elif stop:
            now.best, now.done = (now.state, statistics), True
        else:
            now.best, now.best_empty = (now.state, statistics), now.empty
            now.eta = over_relaxation if 2 < number < n_passes else 1.0
            now.state, now.empty = m_step(now.state, statistics, layout, now.eta, drop, regularize)
        if on_pass:
            on_pass(now)
    assert now.best
    counts = now.best[1]
    n_vt = counts.n_vt if regularize else None
    return Fit(now.state, now.history, now.empty, counts.n_v, float(counts.weight), n_vt)


def _scored(statistics: Statistics, state: State, layout: Layout, regularize: Regularization | None) -> Statistics:
    """With R, and with the log-likelihood relative to the data's p(v) where p(v) = sum_t phi_vt p(t) is another."""
    n_v = statistics.n_v if regularize or layout.gradient else np.zeros(0)
    if regularize:
        statistics.log_likelihood += regularize.from_vertices(state, n_v)
        statistics.regularizers = regularize.value(state, n_v)
    elif layout.gradient and state.weight is not None:
        statistics.log_likelihood += from_vertices(state.weight, n_v)
    return statistics


def row_of(number: int, statistics: Statistics, eta: float = 1.0, stepped_back: bool = False) -> Row:
    """A row of the history of a fit."""
    row: dict[str, float | int | bool] = {
        "pass": number,
        "log_likelihood": float(statistics.log_likelihood),
        "per_weight": float(statistics.per_weight),
        "eta": float(eta),
        "stepped_back": bool(stepped_back),
        "degenerate_edges": statistics.n_degenerate,
    }
    return row if statistics.regularizers is None else {**row, "regularizers": statistics.regularizers}


def blend(old: Fit, new: Statistics, keep: float, gain: float) -> Statistics:
    """n_vt := keep n_vt + gain ñ_vt, in place of ñ, with the old counts n_v p(t|v), or those that are kept as such.

    Slides: "Online EM with a localized E-step".

    However often they are kept by a part, the old counts of a row stay above nothing: what is not met for long is not forgotten.
    """
    n_v = old.n_v if old.n_vt is None else np.abs(old.n_vt).sum(axis=1, dtype=np.float64)
    kept = np.where((n_v > 0) & (keep > 0), np.maximum(keep * n_v, FAINT * old.weight), 0)
    new.scale(gain)
    if old.n_vt is None:
        new.n_vt += kept[:, None].astype(np.float32) * old.state.embedding
    else:
        new.n_vt += np.divide(kept, n_v, out=np.zeros_like(n_v), where=n_v > 0)[:, None].astype(np.float32) * old.n_vt
    new.n_t += keep * old.weight * old.state.prior.astype(np.float64)
    new.shares += keep * old.weight * old.state.shares
    new.weight += keep * old.weight
    return new


def update(
    old: Fit,
    shards: Sequence[Shard],
    layout: Layout,
    *,
    n_passes: int,
    keep: float,
    gain: float,
    drop_below: float = 0.0,
    regularize: Regularization | None = None,
) -> Fit:
    """Go on from a fit with new edges: `blend` the counts, then the M-step.

    Passes over the new edges refine ñ; the old counts stay as they are, and regularizers are of both.
    """
    result = Fit(old.state, list(old.history))
    for _ in range(n_passes):
        statistics = e_step(shards, result.state)
        if regularize:
            statistics.regularizers = regularize.value(result.state, old.n_v)
        result.history.append(row_of(len(result.history) + 1, statistics))
        counts = blend(old, statistics, keep, gain)
        result.state, result.empty = m_step(result.state, counts, layout, 1.0, drop_below, regularize)
        result.n_v, result.weight, result.n_vt = counts.n_v, float(counts.weight), counts.n_vt if regularize else None
    return result

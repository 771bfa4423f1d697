"""Properties of the EM: conservation, ascent, symmetries, determinism, stepping back, planted topics."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any
from unittest import mock

import naive
import numba
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrec.topics import em
from hyperrec.topics.contexts import FoldIn, Mean, Mixture, TwoSided, Window
from hyperrec.topics.em import fit, m_step
from hyperrec.topics.shards import MAX_CHUNKS, Edges, History, Pairs, Shard, _bounds
from hyperrec.topics.state import Layout, State, make_state
from hyperrec.topics.statistics import Statistics

examples = settings(max_examples=30, deadline=None, derandomize=True)
any_problem = st.one_of(
    strategies.pairs_and_states(), strategies.edges_and_states(), strategies.edges_in_context_and_states(),
    strategies.sequences_and_states(),
)  # fmt: skip


def assert_same(found: Statistics, wanted: Statistics, factor: float = 1.0, rtol: float = 1e-4) -> None:
    """found equals factor * wanted, small counts to 3e-5 of all that a vertex has."""
    scale = 3e-5 * factor * wanted.n_vt.sum(axis=1, keepdims=True)
    assert (np.abs(found.n_vt - factor * wanted.n_vt) <= rtol * factor * wanted.n_vt + scale).all(), (found.n_vt, wanted.n_vt)
    np.testing.assert_allclose(found.n_t, factor * wanted.n_t, rtol=rtol, atol=1e-5 * factor * wanted.weight)
    np.testing.assert_allclose(found.log_likelihood, factor * wanted.log_likelihood, rtol=rtol, atol=1e-5 * wanted.weight)
    np.testing.assert_allclose(found.weight, factor * wanted.weight, rtol=1e-6)


def likelihoods(result: em.Fit) -> np.ndarray:
    return np.array([row["per_weight"] for row in result.history])


def layout_of(shard: Edges, n_vertices: int) -> Layout:
    return Layout((n_vertices,), strategies.mass_of([shard], n_vertices))


def blocks(n_edges: int, order: int, seed: int, size: int = 20) -> np.ndarray:
    """Edges within three blocks of vertices, 0..size-1 and so on; one vertex in ten is of any block."""
    rng = np.random.default_rng(seed)
    inside = size * rng.integers(3, size=(n_edges, 1)) + rng.integers(size, size=(n_edges, order))
    return np.where(rng.random((n_edges, order)) < 0.1, rng.integers(3 * size, size=inside.shape), inside).astype(np.int32)


def history_of(containers: np.ndarray, vertices: np.ndarray, n_containers: int, n_vertices: int) -> History:
    """History of pairs, repeated ones added."""
    cells, counts = np.unique(containers.astype(np.int64) * n_vertices + vertices, return_counts=True)
    indptr = np.searchsorted(cells, n_vertices * np.arange(n_containers + 1)).astype(np.int64)
    return History(indptr, (cells % n_vertices).astype(np.int32), counts.astype(np.float32))


# ------------------------------------------------------------------------------------------------ conservation


@examples
@given(strategies.edges_and_states())
def test_counts_of_edges_are_conserved(problem: tuple[Edges, State]) -> None:
    shard, state = problem
    found = shard.expected_counts(state)
    degree = np.zeros(len(state.embedding))
    np.add.at(degree, shard.vertices, np.float64(shard.weight)[:, None])
    np.testing.assert_allclose(found.n_vt.sum(axis=1), degree, rtol=1e-4)
    np.testing.assert_allclose(found.n_vt.sum(), shard.vertices.shape[1] * shard.weight.sum(), rtol=1e-4)
    np.testing.assert_allclose([found.n_t.sum(), found.weight], shard.weight.sum(), rtol=1e-4)


@examples
@given(strategies.pairs_and_states())
def test_counts_of_pairs_are_conserved(problem: tuple[Pairs, State]) -> None:
    shard, state = problem
    found = shard.expected_counts(state)
    history = shard.history
    weight = history.weight * np.repeat(shard.damping, np.diff(history.indptr))
    degree = np.bincount(history.vertices, weight, len(state.embedding))
    np.testing.assert_allclose(found.n_vt.sum(axis=1), degree, rtol=2e-4)
    np.testing.assert_allclose([found.n_vt.sum(), found.n_t.sum(), found.weight], weight.sum(), rtol=2e-4)


# ------------------------------------------------------------------------------------------------ M-step and states


@examples
@given(strategies.edges_and_states(), st.sampled_from([1.0, 1.5, 1.9]))
def test_m_step_matches_naive_and_stays_on_the_simplex(problem: tuple[Edges, State], eta: float) -> None:
    shard, state = problem
    layout = layout_of(shard, len(state.embedding))
    statistics = shard.expected_counts(state)
    after, empty = m_step(state, statistics, layout, eta)
    embedding, prior, without = naive.m_step(statistics.n_vt, statistics.n_t, state.embedding, layout.mass, eta)
    np.testing.assert_allclose(after.embedding, embedding, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(after.prior, prior, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(empty, without)
    np.testing.assert_allclose(after.embedding.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(after.prior.sum(), 1, rtol=1e-5)
    assert after.embedding.min() >= 0
    assert np.isfinite(after.lift).all()


@examples
@given(strategies.seeded(), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_make_state_matches_naive(rng: np.random.Generator, sizes: list[int], container: bool, powers: bool) -> None:
    """In container form phi = lift p(v) sums to one over the vertices of each modality but the first, the container's."""
    n_vertices = sum(sizes)
    embedding, prior = strategies.simplex_rows(rng, n_vertices, 4, 0.3), strategies.simplex_rows(rng, 1, 4, 0.0)[0]
    embedding[np.cumsum([0, *sizes[:-1]])] = 0.25
    weight = np.float64(strategies.weights(rng, n_vertices))
    weight[: sizes[0]] = 0
    exponents = tuple(rng.choice([0.15, 1.0], len(sizes))) if powers else ()
    phi_weight = weight if container else None
    state = make_state(embedding, prior, Layout(tuple(sizes), np.ones(n_vertices), phi_weight, exponents))
    np.testing.assert_allclose(state.lift, naive.lifts(embedding, prior, sizes, phi_weight, exponents), rtol=1e-4)
    if container and not powers:
        np.testing.assert_allclose(state.lift[: sizes[0]] * state.prior, embedding[: sizes[0]], rtol=1e-4)
        for rows in np.split(np.arange(n_vertices), np.cumsum(sizes)[:-1])[1:]:
            phi = state.lift[rows] * (weight[rows] / weight[rows].sum())[:, None]
            np.testing.assert_allclose(phi.sum(axis=0), 1, rtol=1e-4)


def test_container_form_of_several_edge_types_repeats_the_naive_steps() -> None:
    """theta_td prod phi_vt for edges (d, item) and (d, item, hour) together, the likelihood up to sum n ln p(v)."""
    rng = np.random.default_rng(8)
    sizes = (5, 7, 3)  # containers, items, hours
    users, items, hours = (np.concatenate([np.arange(n), rng.integers(n, size=50 - n)]) for n in sizes)
    bought = items[::-1]
    once, at_hour = strategies.weights(rng, 50), 0.3 * strategies.weights(rng, 50)
    shards = [
        Edges.symmetric(np.stack([users, 5 + bought], axis=1).astype(np.int32), once),
        Edges.symmetric(np.stack([users, 5 + items, 12 + hours], axis=1).astype(np.int32), at_hour),
    ]
    weight = strategies.phi_weight_of(shards, sizes)
    layout = Layout(sizes, strategies.mass_of(shards, sum(sizes)), weight)
    state = em.initial_state(layout, 3, 0)
    rows_of = (slice(5, 12), slice(12, 15))
    p_item, p_hour = p_v = [weight[rows] / weight[rows].sum() for rows in rows_of]

    def phi_of(state: State) -> list[np.ndarray]:
        return [np.float64(state.lift[rows]) * p[:, None] for rows, p in zip(rows_of, p_v, strict=True)]

    theta, phis = np.float64(state.embedding[:5]), phi_of(state)
    apart = float(once @ np.log(p_item[bought]) + at_hour @ np.log(p_item[items] * p_hour[hours]))
    naive_shards = [(users, bought[:, None], (0,), once), (users, np.stack([items, hours], axis=1), (0, 1), at_hour)]
    for _ in range(6):
        statistics = em.e_step(shards, state)
        theta, phis, log_likelihood = naive.container_pass(theta, phis, naive_shards)
        state, _ = m_step(state, statistics, layout)
        np.testing.assert_allclose(statistics.log_likelihood, log_likelihood - apart, rtol=1e-5)
        np.testing.assert_allclose(state.embedding[:5], theta, rtol=1e-3, atol=1e-5)
        for found, wanted in zip(phi_of(state), phis, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_vertices_without_edges_are_put_at_prior() -> None:
    shard = Edges.symmetric(np.array([[0, 1], [1, 3], [3, 0]], np.int32), np.array([1, 2, 3], np.float32))
    result = fit([shard], layout_of(shard, 5), n_topics=3, n_passes=6, tolerance=-np.inf, over_relaxation=1.0)
    assert result.empty.tolist() == [False, False, True, False, True]
    np.testing.assert_array_equal(result.state.embedding[[2, 4]], np.tile(result.state.prior, (2, 1)))
    np.testing.assert_allclose(result.state.lift[[2, 4]], 1, rtol=1e-6)


# ------------------------------------------------------------------------------------------------ ascent


@examples
@given(strategies.edges_and_states(), st.integers(1, 5))
def test_likelihood_never_falls_in_symmetric_form(problem: tuple[Edges, State], n_topics: int) -> None:
    shard, state = problem
    layout = layout_of(shard, len(state.embedding))
    result = fit([shard], layout, n_topics=n_topics, n_passes=12, tolerance=-np.inf, over_relaxation=1.0)
    path = likelihoods(result)
    assert len(path) == 12
    assert np.diff(path).min() > -1e-6 * (1 + np.abs(path).max())


@examples
@given(strategies.layouts_and_edges(), st.integers(1, 5))
def test_likelihood_never_falls_in_container_form(problem: tuple[Layout, Edges], n_topics: int) -> None:
    layout, shard = problem
    path = likelihoods(fit([shard], layout, n_topics=n_topics, n_passes=12, tolerance=-np.inf, over_relaxation=1.0))
    assert len(path) == 12
    assert np.diff(path).min() > -1e-6 * (1 + np.abs(path).max())


def test_order_two_is_plsa() -> None:
    """The same path of likelihood, up to sum n ln p(item), which does not depend on the topics."""
    rng = np.random.default_rng(5)
    n_users, n_items, n_topics = 7, 9, 3
    users, items = (np.concatenate([np.arange(n), rng.integers(n, size=60 - n)]) for n in (n_users, n_items))
    edges, weight = np.stack([users, items], axis=1), strategies.weights(rng, 60)
    shard = Edges.symmetric((edges + np.array([0, n_users])).astype(np.int32), weight)
    layout = layout_of(shard, n_users + n_items)
    first = em.initial_state(layout, n_topics, 0)
    state, _ = m_step(first, shard.expected_counts(first), layout)
    p_item = np.bincount(items, weight, n_items) / weight.sum()
    theta = np.float64(state.embedding[:n_users])
    phi = state.embedding[n_users:] * p_item[:, None] / state.prior
    wanted = []
    for _ in range(8):
        theta, phi, log_likelihood = naive.plsa_pass(theta, phi, edges, weight)
        wanted.append(log_likelihood - float(weight @ np.log(p_item[items])))
    result = fit([shard], layout, n_topics=n_topics, n_passes=9, tolerance=-np.inf, over_relaxation=1.0)
    np.testing.assert_allclose([row["log_likelihood"] for row in result.history[1:]], wanted, rtol=1e-5)
    np.testing.assert_allclose(result.state.embedding[:n_users], theta, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(result.state.embedding[n_users:] * p_item[:, None] / result.state.prior, phi, rtol=1e-3, atol=1e-5)


def test_fit_of_pairs_repeats_the_naive_steps() -> None:
    rng = np.random.default_rng(2)
    shard = Pairs(strategies.history_of(rng, 15, 8), rng.uniform(0.1, 1, 15).astype(np.float32))
    mass = np.bincount(shard.history.vertices, shard.history.weight * np.repeat(shard.damping, np.diff(shard.history.indptr)), 8)
    result = fit([shard], Layout((8,), mass), n_topics=3, n_passes=6, tolerance=-np.inf, over_relaxation=1.5, seed=1)
    start = em.initial_state(Layout((8,), mass), 3, 1, shard.history)
    p, prior = start.embedding, start.prior
    for number, row in enumerate(result.history, 1):
        counts = naive.expected_pairs(shard, p, prior)
        assert row["log_likelihood"] == pytest.approx(counts.log_likelihood, rel=1e-4)
        p, prior, _ = naive.m_step(counts.n_vt, counts.n_t, p, mass, 1.5 if 2 < number < 6 else 1.0)
    np.testing.assert_allclose(result.state.embedding, p, rtol=2e-3, atol=1e-5)
    assert [row["eta"] for row in result.history] == [1, 1, 1, 1.5, 1.5, 1.5]


# ------------------------------------------------------------------------------------------------ symmetries


@examples
@given(strategies.edges_and_states(), st.data())
def test_weight_two_equals_the_edge_twice(problem: tuple[Edges, State], data: st.DataObject) -> None:
    shard, state = problem
    twice = np.array(data.draw(st.lists(st.booleans(), min_size=len(shard.weight), max_size=len(shard.weight))), bool)
    heavy = Edges.symmetric(shard.vertices, np.where(twice, 2 * shard.weight, shard.weight).astype(np.float32))
    repeated = np.repeat(np.arange(len(twice)), 1 + twice)
    doubled = Edges.symmetric(shard.vertices[repeated], shard.weight[repeated])
    assert_same(heavy.expected_counts(state), doubled.expected_counts(state))


@examples
@given(strategies.pairs_and_states())
def test_damping_scales_the_counts_and_the_scale_of_weights_leaves_the_context(problem: tuple[Pairs, State]) -> None:
    shard, state = problem
    history = History(shard.history.indptr, shard.history.vertices, 4 * shard.history.weight)
    found = Pairs(history, np.float32(0.5) * shard.damping).expected_counts(state)
    assert_same(found, shard.expected_counts(state), factor=2.0)


@examples
@given(any_problem, strategies.seeded())
def test_renaming_vertices_and_topics_renames_the_counts(problem: tuple[Shard, State], rng: np.random.Generator) -> None:
    shard, state = problem
    vertices, topics = (rng.permutation(n) for n in state.lift.shape)
    renamed = State(*(np.empty_like(one) for one in (state.embedding, state.prior, state.lift)), state.shares)
    renamed.prior[topics] = state.prior
    for table, old in ((renamed.embedding, state.embedding), (renamed.lift, state.lift)):
        table[np.ix_(vertices, topics)] = old
    old = shard.history
    history = History(old.indptr, vertices[old.vertices].astype(np.int32), old.weight, old.importance, old.starts)
    if isinstance(shard, Pairs):
        other: Shard = Pairs(history, shard.damping)
    else:
        other = replace(shard, vertices=vertices[shard.vertices].astype(np.int32), history=history)
    found, wanted = other.expected_counts(renamed), shard.expected_counts(state)
    n_vt, n_t = found.n_vt[np.ix_(vertices, topics)], found.n_t[topics]
    back = Statistics(n_vt, n_t, found.shares, found.log_likelihood, 0, found.weight)
    assert_same(back, wanted, rtol=2e-4)
    assert found.n_degenerate == wanted.n_degenerate


@examples
@given(any_problem, st.integers(0, 8))
def test_one_shard_equals_two(problem: tuple[Shard, State], cut: int) -> None:
    shard, state = problem
    parts = list(cuts(shard, cut))
    found, wanted = em.e_step(parts, state), em.e_step([shard], state)
    assert_same(found, wanted)
    assert found.n_degenerate == wanted.n_degenerate


def cuts(shard: Shard, cut: int) -> Iterator[Shard]:
    """The containers before `cut`, and the others."""
    n_containers = len(shard.history.indptr) - 1
    cut = min(cut, n_containers)
    for begin, end in ((0, cut), (cut, n_containers)):
        old = shard.history
        history = old.take(np.arange(begin, end))
        if isinstance(shard, Pairs):
            yield Pairs(history, shard.damping[begin:end], shard.plan)
        else:
            rows = slice(shard.indptr[begin], shard.indptr[end])
            indptr = shard.indptr[begin : end + 1] - shard.indptr[begin]
            yield Edges(indptr, shard.vertices[rows], shard.weight[rows], shard.place[rows], history, shard.plan, shard.folded)


# ------------------------------------------------------------------------------------------------ determinism


def big_shards() -> tuple[list[Shard], Layout]:
    """60,000 pairs, and as many edges of order 3, alone and in contexts, of 60 vertices: many blocks and chunks."""
    rng = np.random.default_rng(11)
    n_edges, n_vertices, n_containers = 60_000, 60, 20_000
    containers = np.sort(rng.integers(n_containers, size=n_edges))
    edges = blocks(n_edges, 3, seed=12)
    history = history_of(containers, edges[:, 0], n_containers, n_vertices)
    pairs = Pairs(history, np.ones(n_containers, np.float32))
    indptr = np.searchsorted(containers, np.arange(n_containers + 1)).astype(np.int64)
    weight = strategies.weights(rng, n_edges)
    lengths = np.diff(history.indptr)[containers]
    in_context = Edges(indptr, edges, weight, lengths, history, Mean().plan())
    symmetric = Edges.symmetric(edges, weight)
    folded_edges = Edges(indptr, edges, weight, lengths, history, FoldIn(iterations=3).plan(), folded=True)
    folded = Pairs(history, np.ones(n_containers, np.float32), FoldIn(iterations=3).plan())
    sequence = History(history.indptr, history.vertices, history.weight, strategies.weights(rng, len(history.vertices)))
    both = Mixture(TwoSided(0.3, 0.2), Window(2), passes=1).plan()
    in_order = Edges(indptr, edges, weight, np.minimum(rng.integers(5, size=n_edges), lengths), sequence, both)
    shards: list[Shard] = [pairs, folded, symmetric, in_context, in_order, folded_edges]
    return shards, Layout((n_vertices,), strategies.mass_of([symmetric], n_vertices))


def fits_of_all_kernels(n_threads: int) -> list[bytes]:
    """A fit with every kind of shard, and a fit of each kind alone, as bytes."""
    shards, layout = big_shards()
    assert len(shards[0].blocks.slices) > 5
    assert all(len(_bounds(one.indptr, 60, 7)) == MAX_CHUNKS + 1 for one in shards[2:])
    numba.set_num_threads(n_threads)
    results = [fit(some, layout, n_topics=7, n_passes=4, seed=3) for some in (shards, *([one] for one in shards))]
    with mock.patch("hyperrec.topics.shards.SPARSE", 2.0):
        sparse = [fit(shards[:1], layout, n_topics=7, n_passes=4, tolerance=0, seed=3, drop_below=0.1)]
    exact = replace(shards[0], plan=FoldIn(exact=True).plan())
    results += [*sparse, fit([exact], replace(layout, gradient=True), n_topics=7, n_passes=4, seed=3)]
    tables = [getattr(one.state, name).tobytes() for one in results for name in ("embedding", "prior", "lift", "shares")]
    return [*tables, repr([one.history for one in results]).encode()]


def pieces(shard: Shard, size: int) -> list[Shard]:
    """The shard in shards of so many containers."""
    first, rest = cuts(shard, size)
    return [first, *pieces(rest, size)] if len(shard.history.indptr) - 1 > size else [shard]


@pytest.mark.parametrize("n_shards", [1, 3, 10])
def test_shards_may_be_counted_in_any_order_and_again(n_shards: int) -> None:
    """However many shards of a size there are, and whoever counts which first: merged in their order they give the same bits."""
    shards, layout = big_shards()
    rng = np.random.default_rng(n_shards)
    state = em.initial_state(layout, 7, 3, n_contexts=max(shard.n_contexts for shard in shards))
    for kind in (shards[0], shards[1], shards[3], shards[4], shards[5]):
        some = pieces(kind, 2000)[:n_shards]
        assert len(some) == n_shards
        wanted = em.e_step(some, state)
        counted: dict[int, Statistics] = {}
        for number in [*rng.permutation(n_shards), 0]:
            numba.set_num_threads(int(rng.integers(1, numba.config.NUMBA_NUM_THREADS + 1)))
            counted[number] = some[number].expected_counts(state)
        found = Statistics.empty(*state.lift.shape, n_contexts=len(state.shares))
        for number in range(n_shards):
            found.merge(counted[number])
        assert found.n_vt.tobytes() == wanted.n_vt.tobytes()
        assert found.n_t.tobytes() == wanted.n_t.tobytes()
        assert found.shares.tobytes() == wanted.shares.tobytes()
        assert (found.log_likelihood, found.weight) == (wanted.log_likelihood, wanted.weight)


def test_the_number_of_threads_changes_no_bit() -> None:
    """1, 2, 3 and 8 threads, in a process that has as many, whatever the machine."""
    script = (
        "import hashlib, test_em\n"
        "for n in (1, 2, 3, 8): print(n, [hashlib.sha256(one).hexdigest() for one in test_em.fits_of_all_kernels(n)])"
    )
    environment = {**os.environ, "NUMBA_NUM_THREADS": "8", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, *others = (line.partition(" ")[2] for line in done.stdout.splitlines())
    assert len(others) == 3
    assert all(other == one for other in others)


def test_another_seed_starts_elsewhere() -> None:
    layout = Layout((6,), np.ones(6))
    same, again, other = (em.initial_state(layout, 4, seed).embedding for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert np.abs(same - other).max() > 0.01


def test_topics_start_from_the_histories_of_containers() -> None:
    """Each topic begins at the vertices of one container that has some."""
    history = History(np.array([0, 2, 2, 3]), np.array([0, 1, 3], np.int32), np.ones(3, np.float32))
    state = em.initial_state(Layout((4,), np.ones(4)), 2, 0, history)
    by_topic = state.embedding > 0.6
    assert sorted(map(tuple, np.argwhere(by_topic.T).tolist())) in ([(0, 0), (0, 1), (1, 3)], [(0, 3), (1, 0), (1, 1)])
    np.testing.assert_allclose(state.embedding.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(state.prior, state.embedding.mean(axis=0), rtol=1e-6)


# ------------------------------------------------------------------------------------------------ the loop


def test_a_pass_that_lost_likelihood_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps far too long some pass falls; the next state is the plain M-step of the best one."""
    shard = Edges.symmetric(blocks(300, 3, seed=4), np.ones(300, np.float32))
    layout = layout_of(shard, 60)
    states: list[State] = []
    e_step = em.e_step

    def recorded(shards: Any, state: State) -> Statistics:
        states.append(state)
        return e_step(shards, state)

    monkeypatch.setattr(em, "e_step", recorded)
    result = fit([shard], layout, n_topics=4, n_passes=21, tolerance=-np.inf, over_relaxation=6.0)
    path = likelihoods(result)
    back = [i for i, row in enumerate(result.history) if row["stepped_back"]]
    assert back
    assert back[-1] < 20
    for i in back:
        assert result.history[i]["eta"] == 6
        assert path[i] < path[i - 1]
        assert not result.history[i - 1]["stepped_back"]
        plain, _ = m_step(states[i - 1], shard.expected_counts(states[i - 1]), layout)
        np.testing.assert_array_equal(states[i + 1].embedding, plain.embedding)
        assert result.history[i + 1]["eta"] == 1
        assert path[i + 1] >= path[i - 1] - 1e-6
    kept = np.delete(path, back)
    assert np.diff(kept).min() > -1e-6


def test_fit_stops_when_a_pass_gains_less_than_tolerance() -> None:
    shard = Edges.symmetric(blocks(400, 2, seed=6), np.ones(400, np.float32))
    layout = layout_of(shard, 60)
    free = likelihoods(fit([shard], layout, n_topics=3, n_passes=40, tolerance=-np.inf, over_relaxation=1.0))
    tolerance = 0.003
    stop = 1 + int(np.argmax(np.diff(free) < tolerance))
    result = fit([shard], layout, n_topics=3, n_passes=40, tolerance=tolerance, over_relaxation=1.0)
    assert 1 < stop < 39
    np.testing.assert_array_equal(likelihoods(result), free[: stop + 1])
    final = shard.expected_counts(result.state)
    assert final.log_likelihood / final.weight == pytest.approx(free[stop], abs=1e-9)


def test_each_pass_is_told() -> None:
    shard = Edges.symmetric(np.array([[0, 1], [2, 3]], np.int32), np.array([1, 3], np.float32))
    told: list[em.Row] = []

    def tell(now: em.Progress) -> None:
        assert now.done == (len(now.history) == 3)
        told.append(now.history[-1])

    result = fit([shard], layout_of(shard, 4), n_topics=2, n_passes=3, tolerance=-np.inf, on_pass=tell)
    assert told == result.history
    assert [row["pass"] for row in told] == [1, 2, 3]
    for row in told:
        assert row["log_likelihood"] == pytest.approx(4 * row["per_weight"])
        assert (row["stepped_back"], row["degenerate_edges"]) == (False, 0)


# ------------------------------------------------------------------------------------------------ planted topics


def planted(form: str) -> tuple[Shard, Layout]:
    edges = blocks(1500, 2 if form == "container" else 3, seed=8)
    if form == "pairs":
        rng = np.random.default_rng(9)
        containers = rng.integers(100, size=1500)
        anywhere, inside = rng.integers(60, size=1500), 20 * (containers % 3) + rng.integers(20, size=1500)
        vertices = np.where(rng.random(1500) < 0.1, anywhere, inside)
        history = history_of(containers, vertices, 100, 60)
        return Pairs(history, np.ones(100, np.float32)), Layout((60,), np.bincount(history.vertices, history.weight, 60))
    if form == "container":
        edges += np.array([0, 60], np.int32)
    shard = Edges.symmetric(edges, np.ones(len(edges), np.float32))
    sizes = (60, 60) if form == "container" else (60,)
    phi_weight = strategies.phi_weight_of([shard], sizes) if form == "container" else None
    return shard, Layout(sizes, strategies.mass_of([shard], sum(sizes)), phi_weight)


@pytest.mark.parametrize("form", ["symmetric", "container", "pairs"])
@pytest.mark.parametrize("over_relaxation", [1.0, 1.8])
def test_planted_topics_come_back(form: str, over_relaxation: float) -> None:
    shard, layout = planted(form)
    starts = [fit([shard], layout, n_topics=3, n_passes=60, over_relaxation=over_relaxation, seed=seed) for seed in range(3)]
    embedding = max(starts, key=lambda one: likelihoods(one)[-1]).state.embedding
    block = np.arange(len(embedding)) % 60 // 20
    overlap = [embedding[np.arange(len(block)), np.array(order)[block]].mean() for order in permutations(range(3))]
    assert max(overlap) > 0.9


def test_a_plain_pass_that_loses_likelihood_ends_at_the_better_state() -> None:
    """Edges of orders 2 and 4 together: p(t)^(1-h) makes plain EM fall now and then."""
    fell = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shards = [Edges.symmetric(rng.integers(0, 8, (30, h)).astype(np.int32), np.ones(30, np.float32)) for h in (2, 4)]
        mass = sum(np.bincount(s.vertices.ravel(), minlength=8) / s.vertices.shape[1] for s in shards)
        result = fit(shards, Layout((8,), mass), n_topics=3, n_passes=200, tolerance=0.0, seed=seed)
        path = [row["log_likelihood"] for row in result.history]
        if result.history[-1]["stepped_back"] and len(path) < 200:
            fell += 1
            reached = em.e_step(shards, result.state).log_likelihood
            assert reached == max(path)
            assert path[-1] < reached
    assert fell


def test_a_modality_without_mass_is_read_against_the_prior() -> None:
    rows = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)
    state = make_state(rows, np.array([0.9, 0.1]), Layout((1, 1), np.array([1.0, 0.0]), np.array([1.0, 0.0])))
    np.testing.assert_allclose(state.lift, 1, rtol=1e-6)

"""The kernels against their slow twins, and at the edges of float32."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrec.topics import em, reading, shards
from hyperrec.topics.contexts import Mean
from hyperrec.topics.kernels.ranking import best_unseen
from hyperrec.topics.kernels.tables import maximize
from hyperrec.topics.shards import Blocks, Edges, History, Pairs
from hyperrec.topics.state import Layout, State, make_state
from hyperrec.topics.statistics import Statistics

examples = settings(max_examples=40, deadline=None, derandomize=True)


def assert_same(found: Statistics, wanted: naive.Counts, rtol: float = 2e-4) -> None:
    """Counts agree to rtol, small ones to 3e-5 of all that a vertex has: float32 differences leave as much."""
    scale = 3e-5 * wanted.n_vt.sum(axis=1, keepdims=True)
    assert (np.abs(found.n_vt - wanted.n_vt) <= rtol * wanted.n_vt + scale).all(), (found.n_vt, wanted.n_vt)
    np.testing.assert_allclose(found.n_t, wanted.n_t, rtol=rtol, atol=1e-5 * wanted.weight)
    np.testing.assert_allclose(found.log_likelihood, wanted.log_likelihood, rtol=rtol, atol=1e-5 * wanted.weight)
    np.testing.assert_allclose(found.weight, wanted.weight, rtol=1e-6)
    assert found.n_degenerate == wanted.n_degenerate


def state_of(rows: list[list[float]], prior: list[float]) -> State:
    return make_state(np.array(rows, np.float32), np.array(prior), Layout((len(rows),), np.ones(len(rows))))


def history_of(*rows: dict[int, float]) -> History:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    vertices, weight = zip(*(pair for row in rows for pair in row.items()), strict=True)
    return History(indptr, np.array(vertices, np.int32), np.array(weight, np.float32))


@examples
@given(strategies.pairs_and_states())
def test_pairs_in_mean_match_naive(problem: tuple[Pairs, State]) -> None:
    shard, state = problem
    assert_same(shard.expected_counts(state), naive.expected_pairs(shard, state.embedding, state.prior))


@examples
@given(strategies.edges_and_states())
def test_symmetric_edges_match_naive(problem: tuple[Edges, State]) -> None:
    shard, state = problem
    wanted = naive.expected_symmetric(shard.vertices, shard.weight, state.embedding, state.prior)
    assert_same(shard.expected_counts(state), wanted)


@examples
@given(strategies.edges_in_context_and_states())
def test_edges_in_context_match_naive(problem: tuple[Edges, State]) -> None:
    shard, state = problem
    assert_same(shard.expected_counts(state), naive.expected_in_context(shard, state.embedding, state.prior))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(strategies.sequences_and_states())
def test_edges_of_sequences_match_naive(problem: tuple[Edges, State]) -> None:
    shard, state = problem
    found = shard.expected_counts(state)
    wanted = naive.expected_in_context(shard, state.embedding, state.prior, state.shares)
    assert_same(found, wanted)
    if len(state.shares) > 1:
        np.testing.assert_allclose(found.shares, wanted.shares, rtol=2e-4, atol=1e-5 * wanted.weight)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(strategies.sequences_and_states())
def test_contexts_of_all_positions_match_naive(problem: tuple[Edges, State]) -> None:
    shard, state = problem
    history, prior = shard.history, np.float64(state.prior)
    after = reading.contexts_after(history, shard.plan, state)
    together = reading.contexts_of(history, shard.plan, state)
    for d in range(len(history.indptr) - 1):
        thetas, x, _ = naive.context_vectors(history, d, shard.plan, state.shares, np.float64(state.embedding), prior)
        contexts, values = reading.contexts_of(history.take(np.array([d])), shard.plan, state)
        wanted = np.array([theta / prior if theta is not None else np.ones_like(prior) for theta in thetas])
        np.testing.assert_allclose(contexts, wanted, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(values, x / prior, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(after[d], wanted[-1], rtol=1e-3, atol=1e-5)
        start, stop = history.indptr[d : d + 2]
        assert (together[0][start + d : stop + d + 1] == contexts).all()
        assert (together[1][start:stop] == values).all()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_every_block_is_counted_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BLOCK", size)
    rng = np.random.default_rng(3)
    history, state = strategies.history_of(rng, 120, 5), strategies.state_of(rng, 5, 17, 0.3)
    pairs = Pairs(history, np.ones(120, np.float32))
    edges = Edges.symmetric(rng.integers(5, size=(400, 3)).astype(np.int32), strategies.weights(rng, 400))
    assert_same(pairs.expected_counts(state), naive.expected_pairs(pairs, state.embedding, state.prior))
    wanted = naive.expected_symmetric(edges.vertices, edges.weight, state.embedding, state.prior)
    assert_same(edges.expected_counts(state), wanted)


@examples
@given(strategies.seeded(), st.integers(1, 5), st.integers(0, 12), st.integers(1, 6))
def test_turned_blocks_match_naive(rng: np.random.Generator, size: int, n_lines: int, n_vertices: int) -> None:
    lines = [rng.integers(n_vertices, size=rng.integers(5)) for _ in range(n_lines)]
    vertices = np.concatenate([*lines, np.zeros(0)]).astype(np.int32)
    indptr = np.cumsum([0, *map(len, lines)]).astype(np.int64)
    weight = np.arange(len(vertices), dtype=np.float32)  # tells where an entry was
    blocks = Blocks.of(History(indptr, vertices, weight), size)
    wanted = naive.turned(lines, size)
    found = []
    for b, (first, stop) in enumerate(zip(blocks.groups[:, 0], blocks.groups[:, -1], strict=True)):
        for r in range(first, stop):
            at = slice(blocks.row_indptr[r], blocks.row_indptr[r + 1])
            found.append((b, int(blocks.row_vertex[r]), list(zip(blocks.members[at], blocks.weight[at], strict=True))))
    assert found == wanted
    for bounds, last in ((blocks.slices, n_lines), (blocks.groups, len(blocks.row_vertex))):  # the parts are all of it, once
        assert bounds[0, 0] == 0
        assert bounds[-1, -1] == last
        assert (np.diff(bounds.ravel()) >= 0).all()
        assert (bounds[1:, 0] == bounds[:-1, -1]).all()


@pytest.mark.parametrize("share", [1e2, 1e3, 1e4])
def test_an_item_that_is_nearly_the_whole_history(share: float) -> None:
    """Its own part is subtracted term by term: what other containers say of the item is not drowned, zeros stay zero."""
    state = state_of([[0.7, 0.3, 0.0], [0.2, 0.3, 0.5], [0.0, 0.4, 0.6]], [0.4, 0.3, 0.3])
    history = history_of({0: share, 2: 1.0}, {0: 1.0, 1: 2.0}, {0: 2.0, 1: 1.0, 2: 3.0})
    shard = Pairs(history, np.array([1e-3 / share, 1, 1], np.float32))
    found, wanted = shard.expected_counts(state), naive.expected_pairs(shard, state.embedding, state.prior)
    assert_same(found, wanted, rtol=1e-5)
    only = Pairs(history_of({0: share, 2: 1.0}), np.ones(1, np.float32))
    np.testing.assert_allclose(only.expected_counts(state).n_vt[0], [0, share, 0], rtol=1e-6, atol=0)


def test_a_product_of_eight_does_not_underflow() -> None:
    """Each vertex has a topic of its own, and 1e-6 and 2e-6 of the two that all share: posterior 1 / 257 and 256 / 257."""
    rows = np.zeros((8, 10))
    rows[:, 0], rows[:, 1] = 1e-6, 2e-6
    rows[np.arange(8), np.arange(2, 10)] = 1 - 3e-6
    state = state_of(rows.tolist(), [0.1] * 10)
    found = Edges.symmetric(np.arange(8, dtype=np.int32)[None], np.array([3], np.float32)).expected_counts(state)
    wanted = np.array([3 / 257, 3 * 256 / 257] + [0.0] * 8)
    np.testing.assert_allclose(found.n_vt, np.tile(wanted, (8, 1)), rtol=1e-4)
    np.testing.assert_allclose(found.n_t, wanted, rtol=1e-4)
    np.testing.assert_allclose(found.log_likelihood, 3 * (7 * np.log(10) + 8 * np.log(1e-6) + np.log(257)), rtol=1e-5)
    assert found.n_degenerate == 0


def test_a_product_of_eight_does_not_overflow() -> None:
    """Seven vertices of a rare topic: the product passes 1e38 before the eighth, which has none of it, sets it to zero."""
    rare = [1 - 1e-3, 1e-3, 0.0]
    state = state_of([rare, [0.0, 0.5, 0.5]], [1e-8, 0.5, 0.5])
    vertices = np.array([[0] * 7 + [1], [0] * 8], np.int32)
    found = Edges.symmetric(vertices, np.array([2, 1], np.float32)).expected_counts(state)
    wanted = naive.expected_symmetric(vertices, np.array([2, 1]), state.embedding, state.prior)
    assert_same(found, wanted)
    np.testing.assert_allclose(found.n_t, [1, 2, 0], rtol=1e-5)
    assert found.n_degenerate == 0


APART = [[1.0, 0.0, 0.0], [0.0, 0.6, 0.4], [1.0, 0.0, 0.0]]
PRIOR = [0.5, 0.3, 0.2]


def test_edges_without_a_shared_topic_are_kept_at_prior() -> None:
    shard = Edges.symmetric(np.array([[0, 1, 1]], np.int32), np.array([4], np.float32))
    found = shard.expected_counts(state_of(APART, PRIOR))
    at_prior = np.multiply(4, PRIOR)
    np.testing.assert_allclose(found.n_vt, [at_prior, 2 * at_prior, [0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(found.n_t, at_prior, rtol=1e-6)
    assert (found.n_degenerate, found.log_likelihood, found.weight) == (1, 0, 4)


def test_edges_apart_from_their_context_are_kept_at_prior() -> None:
    edges = Edges(
        np.array([0, 1]), np.array([[0, 2]], np.int32), np.array([4], np.float32), np.array([0]),
        history_of({0: 0.3, 1: 0.7}), Mean().plan(),
    )  # fmt: skip
    found = edges.expected_counts(state_of(APART, PRIOR))
    np.testing.assert_allclose(found.n_vt, [np.multiply(4, PRIOR), [0, 0, 0], np.multiply(4, PRIOR)], rtol=1e-6)
    np.testing.assert_allclose(found.n_t, np.multiply(4, PRIOR), rtol=1e-6)
    assert found.n_degenerate == 1
    assert found.log_likelihood == pytest.approx(0, abs=1e-6)


def test_pairs_apart_from_their_context_are_kept_at_their_row() -> None:
    found = Pairs(history_of({0: 0.3, 1: 0.7}), np.ones(1, np.float32)).expected_counts(state_of(APART, PRIOR))
    np.testing.assert_allclose(found.n_vt, [[0.3, 0, 0], [0, 0.42, 0.28], [0, 0, 0]], rtol=1e-6)
    assert (found.n_degenerate, found.log_likelihood) == (2, 0)


def test_containers_with_one_vertex_have_no_context() -> None:
    state = state_of([[0.1, 0.9, 0.0], [0.5, 0.3, 0.2]], PRIOR)
    history = history_of({0: 5.0}, {1: 2.0})
    pairs = Pairs(history, np.ones(2, np.float32)).expected_counts(state)
    np.testing.assert_allclose(pairs.n_vt, [[0.5, 4.5, 0], [1, 0.6, 0.4]], rtol=1e-6)
    assert (pairs.n_degenerate, pairs.log_likelihood, pairs.weight) == (2, 0, 7)
    vertices, weight = np.array([[0, 1], [1, 0]], np.int32), np.array([5, 2], np.float32)
    edges = Edges(np.array([0, 1, 2]), vertices, weight, np.zeros(2, np.int64), history, Mean().plan()).expected_counts(state)
    wanted = naive.expected_symmetric(vertices, weight, state.embedding, state.prior)
    assert_same(edges, wanted._replace(n_degenerate=2))


@examples
@given(
    strategies.seeded(), st.integers(1, 12), st.integers(1, 20), st.sampled_from([1.0, 1.5, 1.9]), st.sampled_from([0, 1e-3, 0.2])
)
def test_maximize_matches_naive(
    rng: np.random.Generator, n_vertices: int, n_topics: int, eta: float, drop_below: float
) -> None:
    old = strategies.simplex_rows(rng, n_vertices, n_topics, 0.3)
    n_vt = (rng.gamma(0.5, size=(n_vertices, n_topics)) * rng.choice([-1e-3, 0, 1], (n_vertices, n_topics))).astype(np.float32)
    n_vt[rng.random(n_vertices) < 0.2] = 0
    fallback = strategies.simplex_rows(rng, 1, n_topics, 0.0)[0]
    new, empty = np.empty_like(old), np.zeros(n_vertices, bool)
    maximize(n_vt, old, np.float32(eta), fallback, np.float32(drop_below), new, empty)
    wanted, without = naive.maximize(n_vt, old, eta, fallback, drop_below)
    np.testing.assert_allclose(new, wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(empty, without)


@examples
@given(strategies.seeded(), st.integers(1, 6), st.integers(1, 15), st.integers(1, 17))
def test_best_unseen_matches_naive(rng: np.random.Generator, n_rows: int, n_items: int, k: int) -> None:
    """Few different scores make many ties; often fewer than k items are left."""
    scores = rng.integers(-2, 3, (n_rows, n_items)).astype(np.float32)
    seen = [np.flatnonzero(rng.random(n_items) < 0.4) for _ in range(n_rows)]
    allowed = rng.random(n_items) < 0.8
    indptr = np.cumsum([0, *map(len, seen)]).astype(np.int64)
    rows, values = np.empty((n_rows, k), np.int32), np.empty((n_rows, k), np.float32)
    best_unseen(scores, indptr, np.concatenate(seen).astype(np.int32), allowed, k, rows, values)
    wanted_rows, wanted_values = naive.best_unseen(scores, [set(one) for one in seen], allowed, k)
    np.testing.assert_array_equal(rows, wanted_rows)
    np.testing.assert_array_equal(values, wanted_values)


def test_best_unseen_by_hand() -> None:
    scores = np.array([[1, 3, 3, 2, 3]], np.float32)
    rows, values = np.empty((1, 4), np.int32), np.empty((1, 4), np.float32)
    allowed = np.array([True, True, True, False, True])
    best_unseen(scores, np.array([0, 1]), np.array([2], np.int32), allowed, 4, rows, values)
    assert rows.tolist() == [[1, 4, 0, -1]]
    assert values.tolist() == [[3, 3, 1, -np.inf]]


def test_over_relaxation_of_a_probability_near_zero_stays_finite() -> None:
    new, empty = np.empty((1, 2), np.float32), np.empty(1, bool)
    for small in (1e-17, 1e-19, 1e-22, 1e-30):
        old, counts = np.array([[small, 1]], np.float32), np.array([[1, 0]], np.float32)
        maximize(counts, old, np.float32(1.99), np.full(2, 0.5, np.float32), np.float32(0), new, empty)
        np.testing.assert_allclose(new, [[1, 0]])


@examples
@given(strategies.seeded(), st.integers(2, 8), st.sampled_from([1, 2, 30]))
def test_orders_2_to_8_and_weights_from_a_millionth_to_a_billion(rng: np.random.Generator, order: int, n_topics: int) -> None:
    state = strategies.state_of(rng, 9, n_topics, 0.0)
    sharp = np.float32(rng.uniform(1, 9))  # rows of a fitted model are nearly zero nearly everywhere
    rows = state.embedding**sharp
    state = make_state(rows / rows.sum(axis=1, keepdims=True), state.prior, Layout((9,), np.ones(9)))
    vertices = rng.integers(9, size=(40, order)).astype(np.int32)
    weight = (10.0 ** rng.uniform(-6, 9, 40)).astype(np.float32)
    found = Edges.symmetric(vertices, weight).expected_counts(state)
    assert_same(found, naive.expected_symmetric(vertices, weight, state.embedding, state.prior))
    assert np.isfinite(found.n_vt).all()
    np.testing.assert_allclose(found.n_t.sum(), weight.sum(dtype=np.float64), rtol=1e-5)


def test_edge_types_ten_million_times_apart_and_items_in_every_history() -> None:
    """The light type moves what only it holds; nothing becomes nan or zero."""
    rng = np.random.default_rng(2)
    light = Edges.symmetric(rng.integers(0, 4, (50, 2)).astype(np.int32), np.full(50, 1e-3, np.float32))
    heavy = Edges.symmetric(rng.integers(4, 9, (50, 3)).astype(np.int32), np.full(50, 1e4, np.float32))
    everywhere = Pairs(strategies.history_of(rng, 30, 3, shortest=2), np.ones(30, np.float32))
    shards = [light, heavy, everywhere]
    mass = strategies.mass_of([light, heavy], 9) + np.bincount(everywhere.history.vertices, everywhere.history.weight, 9)
    result = em.fit(shards, Layout((9,), mass), n_topics=3, n_passes=30, tolerance=0)
    assert np.isfinite(result.state.embedding).all()
    assert np.isfinite(result.state.lift).all()
    np.testing.assert_allclose(result.state.embedding.sum(axis=1), 1, rtol=1e-5)
    assert not result.empty.any()


def test_one_topic_and_users_of_one_event() -> None:
    state = strategies.state_of(np.random.default_rng(0), 3, 1, 0.0)
    history = history_of({0: 1.0}, {1: 2.0, 2: 1.0})
    found = Pairs(history, np.ones(2, np.float32)).expected_counts(state)
    np.testing.assert_allclose(found.n_vt[:, 0], [1, 2, 1], rtol=1e-6)
    assert (found.n_degenerate, found.log_likelihood) == (1, pytest.approx(0, abs=1e-6))

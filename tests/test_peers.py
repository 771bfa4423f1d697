"""The recommenders beside hyperrec: what they compute, and that they show unseen items only."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import world

import hyperrec as hr
from hyperrec.benchmark.content import ContentKNN, WarpFactors, no_lightfm
from hyperrec.benchmark.histories import Markov, OwnHistory, in_order
from hyperrec.benchmark.ials import FrequencyScaledALS
from hyperrec.benchmark.splitting import cold_items
from hyperrec.benchmark.task import Task
from hyperrec.errors import HyperrecError
from hyperrec.peers import EASE, ImplicitALS, ItemKNN, Popularity, rank

PEERS: dict[str, Callable[[], Any]] = {
    "popularity": Popularity,
    "EASE": lambda: EASE(2.0),
    "item-kNN cosine": lambda: ItemKNN("cosine", 5),
    "item-kNN BM25": lambda: ItemKNN("bm25", 5, K1=1.2, B=0.5),
    "implicit ALS": lambda: ImplicitALS(factors=4, iterations=3),
    "frequency-scaled iALS": lambda: FrequencyScaledALS(factors=4, iterations=3),
}


@pytest.fixture(scope="module")
def users() -> sp.csr_matrix:
    """(30, 12): every user has some of the items, the first all but two."""
    dense = np.random.default_rng(3).random((30, 12)) < 0.35
    dense[0] = True
    dense[0, [4, 9]] = False
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.mark.parametrize("name", PEERS)
def test_only_unseen_items_then_padding(users: sp.csr_matrix, name: str) -> None:
    if name.startswith(("item-kNN", "implicit")):
        pytest.importorskip("implicit")
    peer = PEERS[name]().fit(users)
    asked = np.array([7, 0, 3])
    rows, scores = peer.recommend_rows(asked, 15, users[asked])
    assert peer.name == name
    assert rows.shape == scores.shape == (3, 15)
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)
    for user, shown, value in zip(asked, rows, scores, strict=True):
        unseen = np.flatnonzero(users[user].toarray().ravel() == 0)
        np.testing.assert_array_equal(np.sort(shown[: len(unseen)]), unseen)
        assert (shown[len(unseen) :] == -1).all()
        assert (np.diff(value[: len(unseen)]) <= 0).all()
        assert np.isneginf(value[len(unseen) :]).all()


@pytest.mark.parametrize("name", PEERS)
def test_without_seen_all_items_are_ranked(users: sp.csr_matrix, name: str) -> None:
    if name.startswith(("item-kNN", "implicit")):
        pytest.importorskip("implicit")
    rows, _ = PEERS[name]().fit(users).recommend_rows(np.arange(30), 14)
    np.testing.assert_array_equal(np.sort(rows[:, :12], axis=1), np.tile(np.arange(12), (30, 1)))
    assert (rows[:, 12:] == -1).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 12))
def test_rank_is_a_stable_sort(seed: int, n_items: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (4, n_items)).astype(np.float64)
    seen = sp.csr_matrix(rng.random((4, n_items)) < 0.4, dtype=np.float32)
    rows, values = rank(scores, k, seen)
    for user in range(4):
        order = [int(i) for i in np.argsort(-scores[user], kind="stable") if not seen[user, i]][:k]
        assert rows[user].tolist() == order + [-1] * (k - len(order))
        assert values[user, : len(order)].tolist() == scores[user, order].tolist()


def test_popularity_by_hand() -> None:
    users = sp.csr_matrix(np.array([[1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1]], np.float32))
    peer = Popularity().fit(users)
    rows, scores = peer.recommend_rows(np.array([1, 0]), 3)
    assert rows.tolist() == [[2, 3, 0]] * 2
    assert scores.tolist() == [[3, 3, 2]] * 2
    rows, scores = peer.recommend_rows(np.array([1, 0]), 3, users[[1, 0]])
    assert rows.tolist() == [[0, 1, -1], [3, 1, -1]]
    assert scores[:, :2].tolist() == [[2, 0], [3, 0]]


def test_ease_is_the_closed_form(users: sp.csr_matrix) -> None:
    """Steck (2019), equation 8: B_ij = -P_ij / P_jj, B_jj = 0, P = (X'X + regularization I)^-1."""
    dense = users.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 7.5 * np.eye(12))
    expected = np.array([[0.0 if i == j else -inverse[i, j] / inverse[j, j] for j in range(12)] for i in range(12)])
    peer = EASE(7.5).fit(users)
    assert (np.diag(peer.weights) == 0).all()
    np.testing.assert_allclose(peer.weights, expected, rtol=1e-5, atol=1e-8)
    rows, scores = peer.recommend_rows(np.arange(30), 12)
    np.testing.assert_allclose(scores, np.take_along_axis(dense @ expected, rows, axis=1), rtol=1e-4, atol=1e-6)


def test_ease_of_fewer_users_than_items_is_the_same(users: sp.csr_matrix) -> None:
    wide = sp.csr_matrix(users[:9])
    dense = wide.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 7.5 * np.eye(12))
    expected = dense @ (np.eye(12) - inverse / np.diag(inverse))
    rows, scores = EASE(7.5).fit(wide).recommend_rows(np.arange(9), 12)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, rows, axis=1), rtol=1e-4, atol=1e-6)
    rows, _ = EASE(7.5).fit(wide).recommend_rows(np.array([0, 3]), 12, wide[[0, 3]])
    assert (rows[0] >= 0).sum() == 2


def test_ease_minimizes_its_loss_under_a_zero_diagonal(users: sp.csr_matrix) -> None:
    """The gradient X'(XB - X) + regularization B is zero off the diagonal."""
    dense, weights = users.toarray().astype(np.float64), EASE(7.5).fit(users).weights
    gradient = dense.T @ (dense @ weights - dense) + 7.5 * weights
    np.testing.assert_allclose(gradient[~np.eye(12, dtype=bool)], 0, atol=1e-4)


def test_item_knn_scores_are_cosines_of_the_nearest(users: sp.csr_matrix) -> None:
    pytest.importorskip("implicit")
    dense = users.toarray().astype(np.float64)
    unit = dense / np.linalg.norm(dense, axis=0)
    cosine = unit.T @ unit
    rows, scores = ItemKNN("cosine", 12).fit(users).recommend_rows(np.arange(30), 12)
    np.testing.assert_allclose(scores, np.take_along_axis(dense @ cosine, rows, axis=1), rtol=1e-5)


def test_als_ranks_by_its_factors(users: sp.csr_matrix) -> None:
    pytest.importorskip("implicit")
    peer = ImplicitALS(factors=4, iterations=3).fit(users)
    rows, scores = peer.recommend_rows(np.arange(30), 5)
    expected = np.asarray(peer.model.user_factors @ peer.model.item_factors.T)
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :5], rtol=1e-4, atol=1e-5)
    again = ImplicitALS(factors=4, iterations=3).fit(users).recommend_rows(np.arange(30), 5)
    np.testing.assert_array_equal(rows, again[0])


@pytest.mark.parametrize("name", ["item-kNN cosine", "item-kNN BM25", "implicit ALS"])
def test_without_implicit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, users: sp.csr_matrix, name: str) -> None:
    for module in ("implicit", "implicit.cpu", "implicit.cpu.als", "implicit.nearest_neighbours", "threadpoolctl"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HyperrecError, match=r"needs the package implicit: pip install 'hyperrec\[bench\]'"):
        PEERS[name]().fit(users)


def exact_ials(pairs: np.ndarray, peer: FrequencyScaledALS) -> tuple[np.ndarray, np.ndarray]:
    """Each half of an iteration solved exactly: the normal equations of Rendle et al. (2022), section 3."""
    rng = np.random.default_rng(peer.seed)
    scale = 0.1 / np.sqrt(peer.factors)
    x, y = (scale * rng.standard_normal((n, peer.factors)) for n in pairs.shape)
    for _ in range(peer.iterations):
        for seen, mine, other in ((pairs, x, y), (pairs.T, y, x)):
            n = seen.sum(axis=1) + peer.unseen * seen.shape[1]
            for row in range(len(mine)):
                ridge = peer.regularization * (n[row] / n.mean()) ** peer.exponent
                matrix = peer.unseen * other.T @ other + other.T @ np.diag(seen[row]) @ other + ridge * np.eye(peer.factors)
                mine[row] = np.linalg.solve(matrix, other.T @ seen[row])
    return x, y


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_ials_solves_its_normal_equations(
    users: sp.csr_matrix, monkeypatch: pytest.MonkeyPatch, exponent: float, weighted: bool
) -> None:
    if weighted:
        users = users.copy()
        users.data = np.random.default_rng(3).uniform(0.2, 3, users.nnz).astype(np.float32)
    monkeypatch.setattr("hyperrec.benchmark.ials.STEPS", 12)  # more than factors: conjugate gradients end at the solution
    peer = FrequencyScaledALS(3, regularization=0.2, unseen=0.3, exponent=exponent, iterations=6).fit(users)
    x, y = exact_ials(users.toarray().astype(np.float64), peer)
    np.testing.assert_allclose(peer.user_factors, x, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(peer.item_factors, y, rtol=2e-3, atol=2e-4)


def test_ials_comes_near_in_few_steps_and_in_any_number_of_threads(users: sp.csr_matrix) -> None:
    peer = FrequencyScaledALS(3, regularization=0.2, unseen=0.3, iterations=12).fit(users)
    x, y = exact_ials(users.toarray().astype(np.float64), peer)
    np.testing.assert_allclose(peer.user_factors @ peer.item_factors.T, x @ y.T, atol=0.02)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    again = FrequencyScaledALS(3, regularization=0.2, unseen=0.3, iterations=12).fit(users)
    numba.set_num_threads(before)
    np.testing.assert_array_equal(again.item_factors, peer.item_factors)


def test_events_in_order_of_time_then_of_the_log() -> None:
    log = {"user": [0, 1, 0, 2, 0, 1, 1, 0], "item": [3, 1, 1, 1, 2, 2, 1, 1], "time": [5, 1, 7, 2, 9, 6, 6, 3]}
    graph = hr.Hypergraph.from_frames(seen=pl.DataFrame(log))
    items = graph.vocabulary("item").ids
    events = in_order(graph, "seen").with_columns(item=items.gather(in_order(graph, "seen")["item"]))
    wanted = [(0, 1, 3), (0, 3, 5), (0, 1, 7), (0, 2, 9), (1, 1, 1), (1, 2, 6), (1, 1, 6), (2, 1, 2)]
    assert events.select("user", "item", "time").rows() == wanted


def naive_markov(events: list[tuple[int, int]], user: int, item: int, smoothing: float) -> float:
    mine = [i for u, i in events if u == user]
    pairs = itertools.pairwise(events) if mine else []
    follows = sum(a == mine[-1] and b == item and u == v for (u, a), (v, b) in pairs)
    return follows + smoothing * sum(i == item for _, i in events) / len(events)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([0.0, 0.7, 5.0]))
def test_markov_counts_what_followed_the_last_item(seed: int, n: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    events = pl.DataFrame({"user": np.sort(rng.integers(0, 5, n)), "item": rng.integers(0, 6, n)})
    rows, scores = Markov(smoothing).fit(events, (6, 6)).recommend_rows(np.arange(6), 6)
    for user in range(6):
        wanted = [naive_markov(events.rows(), user, int(item), smoothing) for item in rows[user]]
        np.testing.assert_allclose(scores[user], wanted, rtol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([0.0, 0.3]), st.sampled_from([1.0, 0.5]))
def test_own_history_weighs_baskets_by_how_long_ago_they_were(seed: int, n: int, smoothing: float, decay: float) -> None:
    rng = np.random.default_rng(seed)
    users, items, times = rng.integers(0, 5, n), rng.integers(0, 6, n), rng.integers(0, 8, n)
    events = pl.DataFrame({"user": users, "item": items, "time": times})
    rows, scores = OwnHistory(smoothing, decay).fit(events, (6, 6)).recommend_rows(np.arange(6), 6)
    for user in range(6):
        for item, score in zip(rows[user], scores[user], strict=True):
            wanted = smoothing * (items == item).sum() / n
            for event in np.flatnonzero((users == user) & (items == item)):
                wanted += decay ** len({t for u, t in zip(users, times, strict=True) if u == user and t > times[event]})
            np.testing.assert_allclose(score, wanted, rtol=1e-5)


def naive_content(task: Task, weights: dict[str, float], damped: bool) -> np.ndarray:
    """(U, I): sums over the user's items of cosines of tf-idf vectors, one attribute at a time."""
    n_items = task.n_items
    vectors = np.zeros((n_items, 0))
    for kind, weight in weights.items():
        table = task.train.edge_table(kind)
        other = next(m for m in table.modalities if m != "item")
        tf = np.zeros((n_items, len(task.train.vocabulary(other))))
        for row in table.frame.iter_rows(named=True):
            tf[row["item"], row[other]] += row["weight"]
        idf = np.array([np.log(n_items / max((column > 0).sum(), 1)) for column in tf.T])
        part = np.where(tf > 0, 1 + np.log(np.maximum(tf, 1e-9)), 0) * idf if damped else tf * idf
        norm = np.linalg.norm(part, axis=1, keepdims=True)
        vectors = np.hstack([vectors, weight * part / np.where(norm > 0, norm, 1)])
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norm > 0, norm, 1)
    return task.pairs.toarray() @ (vectors @ vectors.T)


@pytest.mark.parametrize("damped", [False, True])
def test_content_knn_sums_cosines_of_tf_idf(damped: bool) -> None:
    graph = world("citeulike-t")
    doubled = graph.edges["word"].frame.with_columns(weight=pl.Series(1.0 + np.arange(graph.edges["word"].n_edges) % 3))
    graph = graph.with_edges({**graph.edges, "word": hr.hypergraph.EdgeTable(("item", "word"), doubled)})
    task, _ = cold_items(graph, "has")
    weights = {"word": 0.7, "tag": 0.2}
    wanted = naive_content(task, weights, damped)[:, task.among]
    peer = ContentKNN(weights, damped=damped).fit(task)
    every = np.arange(len(task.users))
    np.testing.assert_allclose(peer.scores(task, every, task.among), wanted[task.users], rtol=1e-9, atol=1e-12)
    ranked = peer.rank(task, 100)
    assert ranked.shape == (len(every), 100)
    for query, rows in enumerate(ranked):
        assert sorted(rows[rows >= 0]) == task.among.tolist()
        found = naive_content(task, weights, damped)[task.users[query], rows[rows >= 0]]
        assert (np.diff(found) <= 1e-6).all()


def test_lightfm_learns_kinds_from_attributes() -> None:
    pytest.importorskip("lightfm")
    task, _ = cold_items(world("citeulike-t"), "has")
    peer = WarpFactors(("word", "tag"), epochs=30, no_components=8, learning_rate=0.05).fit(task)
    ranked = peer.rank(task, 1)[:, 0]
    assert set(ranked) <= set(task.among.tolist())
    assert np.mean(ranked % 3 == task.users % 3) > 0.8  # users have the taste of their number, items the kind of theirs
    np.testing.assert_allclose(np.asarray(peer.features.sum(axis=1)).ravel(), 1, rtol=1e-5)


def test_what_lightfm_needs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = cold_items(world("citeulike-t"), "has")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert no_lightfm(task) == "LightFM is not installed: pip install lightfm-next"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert no_lightfm(task) == ""

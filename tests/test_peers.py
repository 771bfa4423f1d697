"""The recommenders beside hyperrec: what they compute, and that they show unseen items only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrec.errors import HyperrecError
from hyperrec.peers import EASE, ImplicitALS, ItemKNN, Popularity, rank

PEERS: dict[str, Callable[[], Any]] = {
    "popularity": Popularity,
    "EASE": lambda: EASE(2.0),
    "item-kNN cosine": lambda: ItemKNN("cosine", 5),
    "item-kNN BM25": lambda: ItemKNN("bm25", 5, K1=1.2, B=0.5),
    "implicit ALS": lambda: ImplicitALS(factors=4, iterations=3),
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

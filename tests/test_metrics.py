"""Ranking metrics: worked by hand, beside plain loops, and beside implicit's own evaluator."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.evaluation import pair_matrix
from hyperrec.metrics import hits, per_user
from hyperrec.peers import ImplicitALS

NAMES = ("ndcg", "precision", "recall", "recall_capped", "hit_rate", "mrr", "map")
quick = settings(max_examples=50, deadline=None, derandomize=True)


@st.composite
def lists(draw: st.DrawFn) -> tuple[np.ndarray, sp.csr_matrix]:
    """Ranked lists (n, k), some of them short, and the held-out items (n, I), one or more a user."""
    n_users, n_items, k = draw(st.integers(1, 5)), draw(st.integers(2, 12)), draw(st.integers(1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ranked = np.full((n_users, k), -1)
    held = np.zeros((n_users, n_items))
    for row in range(n_users):
        length = rng.integers(0, min(k, n_items), endpoint=True)
        ranked[row, :length] = rng.permutation(n_items)[:length]
        held[row, rng.permutation(n_items)[: rng.integers(1, n_items, endpoint=True)]] = 1
    return ranked, sp.csr_matrix(held)


def naive(ranked: list[int], held: set[int], k: int) -> dict[str, float]:
    gains = [1 if item in held else 0 for item in ranked]
    best = sum(1 / log2(place + 1) for place in range(1, min(k, len(held)) + 1))
    first = [place for place, gain in enumerate(gains, 1) if gain]
    return {
        "ndcg": sum(gain / log2(place + 1) for place, gain in enumerate(gains, 1)) / best,
        "precision": sum(gains) / k,
        "recall": sum(gains) / len(held),
        "recall_capped": sum(gains) / min(k, len(held)),
        "hit_rate": float(sum(gains) > 0),
        "mrr": 1 / first[0] if first else 0.0,
        "map": sum(sum(gains[:place]) / place for place in first) / min(k, len(held)),
    }


def measured(ranked: np.ndarray, held: sp.csr_matrix) -> dict[str, np.ndarray]:
    return per_user(hits(ranked, held), np.diff(held.indptr))


@pytest.mark.parametrize(
    ("ranked", "held", "expected"),
    [
        pytest.param(
            [4, 0, 2, 1], {0, 1, 9},
            {
                "ndcg": (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / 2), "precision": 2 / 4, "recall": 2 / 3,
                "recall_capped": 2 / 3, "hit_rate": 1.0, "mrr": 1 / 2, "map": (1 / 2 + 2 / 4) / 3,
            },
            id="fewer held-out items than k",
        ),
        pytest.param(
            [0, 7], {0, 1, 2, 3},
            {
                "ndcg": 1 / (1 + 1 / log2(3)), "precision": 1 / 2, "recall": 1 / 4,
                "recall_capped": 1 / 2, "hit_rate": 1.0, "mrr": 1.0, "map": 1 / 2,
            },
            id="more held-out items than k",
        ),
        pytest.param(
            [5, 3, -1, -1], {3},
            {
                "ndcg": 1 / log2(3), "precision": 1 / 4, "recall": 1.0,
                "recall_capped": 1.0, "hit_rate": 1.0, "mrr": 1 / 2, "map": 1 / 2,
            },
            id="a short list",
        ),
        pytest.param([5, 6, 7], {1}, dict.fromkeys(NAMES, 0.0), id="no hit"),
    ],
)  # fmt: skip
def test_by_hand(ranked: list[int], held: set[int], expected: dict[str, float]) -> None:
    test = sp.csr_matrix((np.ones(len(held)), (np.zeros(len(held), int), sorted(held))), shape=(1, 10))
    got = measured(np.array([ranked]), test)
    assert {name: float(values[0]) for name, values in got.items()} == pytest.approx(expected, abs=1e-12)


def test_the_padding_of_a_user_is_no_hit_of_the_user_before() -> None:
    held = sp.csr_matrix([[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(hits(np.array([[2, 0, -1], [-1, 0, -1]]), held), [[1, 0, 0], [0, 1, 0]])


@quick
@given(lists())
def test_like_plain_loops(case: tuple[np.ndarray, sp.csr_matrix]) -> None:
    ranked, held = case
    got = measured(ranked, held)
    for user, row in enumerate(ranked):
        expected = naive([item for item in row.tolist() if item >= 0], set(held[user].indices.tolist()), ranked.shape[1])
        assert {name: float(values[user]) for name, values in got.items()} == pytest.approx(expected, abs=1e-12)


@quick
@given(lists())
def test_between_zero_and_one_and_a_longer_list_finds_no_less(case: tuple[np.ndarray, sp.csr_matrix]) -> None:
    ranked, held = case
    shorter = None
    for k in range(1, ranked.shape[1] + 1):
        got = measured(ranked[:, :k], held)
        for values in got.values():
            assert values.min() >= 0
            assert values.max() <= 1 + 1e-12
        for name in ("recall", "hit_rate", "mrr"):
            assert shorter is None or (got[name] >= shorter[name]).all()
        shorter = got


@quick
@given(lists())
def test_the_held_out_items_first_is_the_best_list(case: tuple[np.ndarray, sp.csr_matrix]) -> None:
    ranked, held = case
    best = np.argsort(-held.toarray(), axis=1, kind="stable")[:, : ranked.shape[1]]
    got = measured(best, held)
    for name in ("ndcg", "recall_capped", "hit_rate", "mrr", "map"):
        np.testing.assert_allclose(got[name], 1, atol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_like_the_evaluator_of_implicit(films: hr.Hypergraph, k: int) -> None:
    """Its precision is all hits over the sum of min(k, held-out items): recall_capped, users weighted by that."""
    evaluation = pytest.importorskip("implicit.evaluation")
    train, test = hr.split(films, "watched", fraction=0.3)
    seen, held = pair_matrix(train, "watched"), pair_matrix(test, "watched")
    peer = ImplicitALS(factors=8, iterations=3).fit(seen)
    theirs = evaluation.ranking_metrics_at_k(peer.model, seen, held, K=k, show_progress=False)
    ours = hr.evaluate(peer, train, test, k)
    n_test = np.diff(held.indptr)[ours.users]
    assert ours[f"ndcg@{k}"] == pytest.approx(theirs["ndcg"], abs=1e-9)
    assert ours[f"map@{k}"] == pytest.approx(theirs["map"], abs=1e-9)
    weighted = np.average(ours.per_user[f"recall_capped@{k}"], weights=np.minimum(n_test, k))
    assert weighted == pytest.approx(theirs["precision"], abs=1e-9)
    of_hits = ours.per_user[f"precision@{k}"].sum() * k / np.minimum(n_test, k).sum()
    assert of_hits == pytest.approx(evaluation.precision_at_k(peer.model, seen, held, K=k, show_progress=False), abs=1e-9)
    assert 0.05 < theirs["ndcg"] < 0.95

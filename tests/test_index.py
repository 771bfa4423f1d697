"""The index against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.index import RECALL_GOAL, Index

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


def ranked(vectors: np.ndarray, query: np.ndarray, left: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    """The k best rows of `left` for one query, in float64; -1 and -inf where there are no more."""
    scores = {int(row): float(vectors[row].astype(float) @ query.astype(float)) for row in left}
    best = sorted(scores, key=lambda row: (-scores[row], row))[:k]
    return best + [-1] * (k - len(best)), [scores[row] for row in best] + [-np.inf] * (k - len(best))


@st.composite
def searches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, int]:
    """vectors, queries, seen rows of each query, allowed rows, k; whole numbers, so that ties are frequent and products exact."""
    n_rows, n_queries, k = draw(st.integers(1, 12)), draw(st.integers(0, 4)), draw(st.integers(1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors, queries = (rng.integers(-3, 4, size=(n, 3)).astype(np.float32) for n in (n_rows, n_queries))
    subsets = st.sets(st.integers(0, n_rows - 1))
    seen = [np.array(sorted(draw(subsets)), dtype=np.int32) for _ in range(n_queries)]
    return vectors, queries, seen, np.array(sorted(draw(subsets)), dtype=np.int64), k


@pytest.fixture(scope="module")
def clustered() -> np.ndarray:
    """5,000 vectors around 50 centres."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(50, 16))
    return (centres[rng.integers(50, size=5000)] + 0.3 * rng.normal(size=(5000, 16))).astype(np.float32)


@pytest.fixture(scope="module")
def inverted(clustered: np.ndarray) -> Index:
    return Index(clustered, exact_up_to=500, seed=1)


def recall(vectors: np.ndarray, queries: np.ndarray, found: np.ndarray, allowed: np.ndarray) -> float:
    products = queries.astype(float) @ vectors[allowed].T.astype(float)
    best = allowed[np.argsort(-products, axis=1)[:, : found.shape[1]]]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]))


@SETTINGS
@given(searches())
def test_search_unseen_is_brute_force(case: tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, int]) -> None:
    vectors, queries, seen, allowed, k = case
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in seen])]).astype(np.int64)
    flat = np.concatenate([*seen, np.zeros(0, np.int32)]).astype(np.int32)
    for chosen in (None, allowed):
        rows, scores = Index(vectors).search_unseen(queries, indptr, flat, k, allowed=chosen)
        assert rows.shape == scores.shape == (len(queries), k)
        for query, own, row, score in zip(queries, seen, rows, scores, strict=True):
            left = np.setdiff1d(np.arange(len(vectors)) if chosen is None else chosen, own)
            best, values = ranked(vectors, query, left, k)
            assert row.tolist() == best
            assert score.tolist() == values


@SETTINGS
@given(searches())
def test_search_is_brute_force(case: tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, int]) -> None:
    vectors, queries, _, allowed, k = case
    for chosen in (None, allowed):
        rows, scores = Index(vectors).search(queries, k, allowed=chosen)
        left = np.arange(len(vectors)) if chosen is None else chosen
        for query, row, score in zip(queries, rows, scores, strict=True):
            n_found = min(k, len(left))
            assert (row[n_found:] == -1).all()
            assert len(set(row[:n_found])) == n_found
            assert set(row[:n_found]) <= set(left.tolist())
            assert score[:n_found].tolist() == ranked(vectors, query, left, n_found)[1]
            assert score[:n_found].tolist() == (vectors[row[:n_found]] @ query).tolist()


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    vectors, queries = (rng.random((n, 4), dtype=np.float32) for n in (30, 11))
    indptr, seen = np.arange(12, dtype=np.int64), rng.integers(30, size=11).astype(np.int32)
    whole = Index(vectors).search_unseen(queries, indptr, seen, 5)
    monkeypatch.setattr("hyperrec.index.BLOCK_BYTES", 4 * 30 * 3)
    parts = Index(vectors).search_unseen(queries, indptr, seen, 5)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_allclose(whole[1], parts[1], rtol=1e-6)


def test_exact_up_to_is_the_last_exact_size() -> None:
    vectors = np.random.default_rng(0).random((60, 4), dtype=np.float32)
    assert not hasattr(Index(vectors, exact_up_to=60).faiss, "nprobe")
    assert hasattr(Index(vectors, exact_up_to=59).faiss, "nprobe")
    assert Index(vectors, exact_up_to=60).recall == 1


def test_inverted_lists_reach_the_recall_they_tell(clustered: np.ndarray, inverted: Index) -> None:
    assert 0 < inverted.faiss.nprobe < inverted.faiss.nlist
    assert RECALL_GOAL <= inverted.recall <= 1
    found, scores = inverted.search(clustered, 10)
    everything = np.arange(len(clustered))
    measured = recall(clustered, clustered, found, everything)
    assert measured >= 0.95
    assert measured == pytest.approx(inverted.recall, abs=0.03)
    np.testing.assert_allclose(scores, np.einsum("qt,qkt->qk", clustered, clustered[found]), rtol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_probes_grow_until_the_recall_is_reached() -> None:
    noise = np.random.default_rng(2).normal(size=(2000, 24)).astype(np.float32)
    index = Index(noise, exact_up_to=500)
    assert index.faiss.nprobe > 8
    assert recall(noise, noise[:300], index.search(noise[:300], 10)[0], np.arange(2000)) >= 0.92


def test_inverted_lists_are_seeded(clustered: np.ndarray, inverted: Index) -> None:
    again = Index(clustered, exact_up_to=500, seed=1)
    assert again.recall == inverted.recall
    np.testing.assert_array_equal(again.search(clustered[:50], 10)[0], inverted.search(clustered[:50], 10)[0])


@pytest.mark.parametrize("n_allowed", [3, 20, 1000])
def test_inverted_lists_with_allowed_rows_are_exact(clustered: np.ndarray, inverted: Index, n_allowed: int) -> None:
    allowed = np.random.default_rng(n_allowed).choice(5000, n_allowed, replace=False)
    found, scores = inverted.search(clustered[:100], 10, allowed=allowed)
    n_found = min(10, n_allowed)
    assert recall(clustered, clustered[:100], found[:, :n_found], allowed) > 0.999
    np.testing.assert_allclose(
        scores[:, :n_found], np.einsum("qt,qkt->qk", clustered[:100], clustered[found[:, :n_found]]), rtol=1e-4
    )
    assert (found[:, n_found:] == -1).all()


def test_many_allowed_rows_go_through_the_inverted_lists(
    clustered: np.ndarray, inverted: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperrec.index.COPY_UP_TO", 100)
    allowed = np.flatnonzero(np.arange(5000) % 3)
    found, scores = inverted.search(clustered[:300], 10, allowed=allowed)
    assert np.isin(found, allowed).all()
    assert recall(clustered, clustered[:300], found, allowed) >= 0.93
    np.testing.assert_allclose(scores, np.einsum("qt,qkt->qk", clustered[:300], clustered[found]), rtol=1e-4)


def test_inverted_lists_leave_out_what_was_seen(clustered: np.ndarray, inverted: Index) -> None:
    """Users who have seen none, some and most of what is best for them, in one batch."""
    queries = clustered[:40]
    best = np.argsort(-(queries @ clustered.T), axis=1)
    seen = [np.sort(best[i, : 7 * (i % 9)]).astype(np.int32) for i in range(40)]
    indptr = np.append(0, np.cumsum([len(one) for one in seen])).astype(np.int64)
    rows, scores = inverted.search_unseen(queries, indptr, np.concatenate(seen), 10)
    for query, own, row, score in zip(queries, seen, rows, scores, strict=True):
        assert not np.isin(row, own).any()
        assert (row >= 0).all()
        np.testing.assert_allclose(score, clustered[row] @ query, rtol=1e-4)
    wanted = [np.setdiff1d(order, own, assume_unique=True)[:10] for order, own in zip(best, seen, strict=True)]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, rows, strict=True)]) >= 0.93
    few, _ = inverted.search_unseen(queries[:1], np.array([0, 0], np.int64), seen[0], 10, allowed=np.array([4, 7]))
    assert sorted(few[0]) == [-1] * 8 + [4, 7]


def test_recall_is_that_of_the_queries_that_are_asked() -> None:
    """Queries of another kind than the rows: a few large topics, rows scaled by popularity."""
    rng = np.random.default_rng(0)
    rows = (rng.dirichlet(np.full(40, 0.1), 6000) * rng.pareto(1.2, (6000, 1))).astype(np.float32)
    users = rng.dirichlet(np.full(40, 0.3), 500).astype(np.float32)
    index = Index(rows, exact_up_to=500, queries=users[:200])
    found, _ = index.search(users[200:], 10)
    assert index.recall >= RECALL_GOAL
    assert recall(rows, users[200:], found, np.arange(6000)) >= 0.93


def test_the_index_of_items_is_measured_on_users(films: hr.Hypergraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperrec.ranking.EXACT_UP_TO", 10)
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=2).fit(films, progress=False)
    sample = model._items.alone._sample
    assert sample.shape == (120, 3)
    np.testing.assert_allclose(sample.sum(axis=1), 1, rtol=1e-5)

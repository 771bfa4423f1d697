"""Diverse lists: as the slow twin makes them; the budget holds, diversity never falls, nothing given up changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from strategies import seeded, simplex_rows

import hyperrec as hr
from hyperrec import diversity
from hyperrec.diversity import STRENGTHS, dcg, diversified, diversify, list_diversity, user_vectors
from hyperrec.errors import DataError, ModelError
from hyperrec.evaluation import pair_matrix
from hyperrec.peers import Popularity

examples = settings(max_examples=50, deadline=None, derandomize=True)
Lists = tuple[np.ndarray, np.ndarray, int]


@st.composite
def candidates(draw: st.DrawFn) -> Lists:
    """Scores (n, N), best first, some negative or missing at the end; unit vectors (n, N, T) float64; k."""
    rng = draw(seeded())
    n, n_candidates, n_topics = draw(st.integers(1, 4)), draw(st.integers(2, 12)), draw(st.integers(2, 6))
    scores = -np.sort(-(rng.lognormal(0, 1, (n, n_candidates)) - draw(st.sampled_from([0.0, 0.5]))), axis=1)
    for row in scores:
        row[n_candidates - rng.integers(3) :] = -np.inf
    vectors = np.sqrt(simplex_rows(rng, n * n_candidates, n_topics, 0.0).astype(float)).reshape(n, n_candidates, n_topics)
    return scores, vectors, draw(st.integers(1, n_candidates))


@examples
@given(candidates(), st.floats(0, 1))
def test_lists_match_naive(lists: Lists, share: float) -> None:
    scores, vectors, k = lists
    found = diversify(scores, vectors, k, share)
    expected = [naive.diversify(one, of, k, share, STRENGTHS) for one, of in zip(scores, vectors, strict=True)]
    assert found.tolist() == expected


@examples
@given(candidates(), st.lists(st.floats(0, 1), min_size=2, max_size=4).map(sorted))
def test_the_budget_holds_and_diversity_never_falls(lists: Lists, shares: list[float]) -> None:
    scores, vectors, k = lists
    gains = np.maximum(scores, 0)
    before = None
    for share in [0.0, *shares]:
        places = diversify(scores, vectors, k, share)
        assert (np.diff(places, axis=1) > 0).all()  # no item twice, and best first
        assert (dcg(np.take_along_axis(gains, places, axis=1)) >= (1 - share) * dcg(gains[:, :k]) * (1 - 1e-12)).all()
        now = [list_diversity(row[None], of)[0] for row, of in zip(places, vectors, strict=True)]
        assert before is None or (np.array(now) >= np.array(before) - 1e-9).all()
        before = now


@examples
@given(candidates())
def test_nothing_given_up_changes_nothing(lists: Lists) -> None:
    scores, vectors, k = lists
    assert (diversify(scores, vectors, k, 0.0) == np.arange(k)).all()


def test_of_two_alike_one_gives_way() -> None:
    """The third is as unlike as can be, and costs (1 - .8) / log2(3) of 1 + 1 / log2(3): 7.7 %."""
    scores, vectors = np.array([[1.0, 1.0, 0.8]]), np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    assert diversify(scores, vectors, 2, 0.077).tolist() == [[0, 1]]
    assert diversify(scores, vectors, 2, 0.078).tolist() == [[0, 2]]


@examples
@given(seeded(), st.sampled_from([0.0, 0.5]))
def test_list_diversity_matches_naive(rng: np.random.Generator, zeros: float) -> None:
    items = rng.random((9, 5)) * (rng.random((9, 5)) >= zeros)
    ranked = np.array([rng.permutation(9)[:4] for _ in range(6)])
    ranked[rng.random(ranked.shape) < 0.3] = -1
    np.testing.assert_allclose(list_diversity(ranked, items), naive.list_diversity(ranked, items), atol=1e-12)
    sparse = sp.csr_matrix((items.ravel(), np.tile(np.arange(5), 9), np.arange(0, 46, 5)))  # zeros, too, are written down
    np.testing.assert_allclose(list_diversity(ranked, sparse), list_diversity(ranked, items), atol=1e-12)
    assert sparse.toarray().tolist() == items.tolist()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = np.sqrt(simplex_rows(rng, 30, 4, 0.3))
    rows = np.array([rng.permutation(30)[:10] for _ in range(20)])
    scores = -np.sort(-rng.random((20, 10)).astype(np.float32), axis=1)
    whole = diversified(rows, scores, vectors, 4, 0.1)
    assert (whole[0] != rows[:, :4]).any()
    monkeypatch.setattr(diversity, "BLOCK", 1)
    parts = diversified(rows, scores, vectors, 4, 0.1)
    assert all((one == other).all() for one, other in zip(whole, parts, strict=True))
    assert diversified(rows[:0], scores[:0], vectors, 4, 0.1)[0].shape == (0, 4)


def test_vectors_of_a_sample_of_many_users(monkeypatch: pytest.MonkeyPatch) -> None:
    users = sp.random(50, 6, 0.5, random_state=1, format="csr")
    assert (user_vectors(users) != users.T).nnz == 0
    monkeypatch.setattr(diversity, "SAMPLE", 20)
    drawn = user_vectors(users, 3)
    assert drawn.shape == (6, 20)
    assert (drawn != user_vectors(users, 3)).nnz == 0
    rows = {tuple(row) for row in users.toarray()}
    assert all(tuple(column) in rows for column in drawn.toarray().T)


# ------------------------------------------------------------------------------------------------- of a model


def test_recommend_keeps_its_share_of_the_dcg(model: hr.TopicModel) -> None:
    plain = model.recommend(k=6)
    assert_frame_equal(model.recommend(k=6, diversify=0), plain)
    by_user = plain["score"].to_numpy().reshape(-1, 6).astype(float)
    vectors = np.sqrt(model.embedding("item"))
    items = model.vocabularies["item"]
    before = list_diversity(items.rows(plain["item"]).reshape(-1, 6), vectors)
    for share in (0.02, 0.1):
        frame = model.recommend(k=6, diversify=share)
        scores = frame["score"].to_numpy().reshape(-1, 6).astype(float)
        assert (np.diff(scores, axis=1) <= 0).all()
        assert frame["rank"].to_list() == plain["rank"].to_list()
        assert (dcg(scores) >= (1 - share) * dcg(by_user) * (1 - 1e-6)).all()
        after = list_diversity(items.rows(frame["item"]).reshape(-1, 6), vectors)
        assert (after >= before - 1e-6).all()
        assert after.mean() > before.mean()
        before = after


def test_diverse_lists_leave_out_what_they_must(model: hr.TopicModel) -> None:
    among = [f"film-{n}" for n in range(0, 60, 2)]
    frame = model.recommend(["user-3"], k=6, among=among, exclude=["film-0"], diversify=1)
    seen = model.vocabularies["item"].decode(model.seen[model.vocabularies["user"].rows(["user-3"])[0]].indices)
    assert set(frame["item"]) <= set(among) - {"film-0"} - set(seen)
    few = model.recommend(["user-3"], k=6, among=["film-1", "film-2"], filter_seen=False, diversify=1)
    assert_frame_equal(few, model.recommend(["user-3"], k=6, among=["film-1", "film-2"], filter_seen=False))


def test_diverse_rows_are_those_of_recommend(model: hr.TopicModel) -> None:
    rows, scores = model.recommend_rows(np.arange(120), 6, model.seen, diversify=0.1)
    frame = model.recommend(k=6, diversify=0.1)
    assert model.vocabularies["item"].decode(rows.ravel()).to_list() == frame["item"].to_list()
    np.testing.assert_allclose(scores.ravel(), frame["score"], rtol=1e-6)
    assert model.recommend_rows(np.arange(3), 100, diversify=0.1)[0].shape == (3, 100)  # more than there are


@pytest.mark.parametrize("share", [-0.1, 1.5, True, "much"])
def test_a_share_is_a_number_from_0_to_1(model: hr.TopicModel, share: Any) -> None:
    with pytest.raises(ModelError, match=r"diversify must be a number, 0 to 1; got"):
        model.recommend(k=6, diversify=share)


# ---------------------------------------------------------------------------------------------- of an evaluation


def test_evaluate_measures_all_models_by_the_same_vectors(films: hr.Hypergraph) -> None:
    train, test = hr.split(films, "watched")
    seen = pair_matrix(train, "watched")
    popular = Popularity().fit(seen)
    got = hr.evaluate(popular, train, test, (1, 5))
    ranked = popular.recommend_rows(got.users, 5, seen[got.users])[0]
    np.testing.assert_allclose(got.per_user["diversity@5"], naive.list_diversity(ranked, seen.T.toarray()), atol=1e-12)
    assert "diversity@1" not in got.per_user
    items = np.eye(60)
    assert hr.evaluate(popular, train, test, 5, items=items)["diversity@5"] == 1
    assert hr.evaluate(popular, train, test, 5, items=np.ones((60, 2)))["diversity@5"] == pytest.approx(0, abs=1e-12)


def test_diverse_lists_are_measured_as_such(films: hr.Hypergraph) -> None:
    train, test = hr.split(films, "watched")
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=10).fit(train, progress=False)

    class Diverse:
        name = "diverse"
        recommend_rows: Callable[..., Any] = staticmethod(lambda *asked: model.recommend_rows(*asked, diversify=0.2))

    plain, diverse = hr.evaluate(model, train, test, 5), hr.evaluate(Diverse(), train, test, 5)
    assert diverse.compare(plain, "diversity@5")["ci_low"] > 0


@pytest.mark.parametrize("items", [np.ones((59, 3)), np.ones(60)])
def test_vectors_of_other_items(films: hr.Hypergraph, items: np.ndarray) -> None:
    train, test = hr.split(films, "watched")
    with pytest.raises(DataError, match=r"items must be the vectors \(60, D\) of all items in train; got the shape \("):
        hr.evaluate(Popularity().fit(pair_matrix(train, "watched")), train, test, items=items)

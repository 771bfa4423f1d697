"""Items in contexts: their lifts, lists, explanations, saving, going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import naive
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

import hyperrec as hr
from hyperrec.attributes import LENGTH
from hyperrec.situated import STRENGTHS, Situated, ln_lifts, situated_of

COUNTRIES = 4


def used(n: int = 1500, seed: int = 0) -> pl.DataFrame:
    """Things of the morning and of the evening, half of each kind; a user has one country, and her taste is of it."""
    rng = np.random.default_rng(seed)
    user, evening = rng.integers(40, size=n), rng.integers(2, size=n)
    item = 2 * (5 * (user % COUNTRIES) + rng.integers(10, size=n)) + np.where(rng.random(n) < 0.9, evening, 1 - evening)
    when = np.array(["morning", "evening"])[evening]
    frame = pl.DataFrame({"user": user, "item": item, "when": when, "country": user % COUNTRIES, "day": rng.integers(7, size=n)})
    return frame.unique(maintain_order=True)


def counts_of(situated: Situated, modality: str) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    at = situated.modalities.index(modality)
    return situated.found[at], situated.expected[at]


def fit(frame: Any, **options: Any) -> hr.TopicModel:
    return hr.TopicModel(6, n_passes=5, **options).fit(frame, progress=False)


@pytest.fixture(scope="module")
def found() -> hr.TopicModel:
    return fit(used())


def test_lifts(found: hr.TopicModel) -> None:
    frame, situated = used(), found.situated
    assert situated is not None
    assert situated.modalities == ("when", "country", "day")
    assert list(situated.lifts) == ["when"]  # where users differ, and items of their own do not, and where nothing differs, it is 1
    n, expected = (one.toarray() for one in counts_of(situated, "when"))
    rows = [tuple(found.vocabularies[m].rows([one])[0] for m, one in zip(("user", "item", "when"), event, strict=True))
            for event in frame.select("user", "item", "when").iter_rows()]  # fmt: skip
    counted, wanted = naive.in_contexts(rows, *n.shape)
    np.testing.assert_allclose(n, counted, rtol=1e-5)
    np.testing.assert_allclose(expected, wanted, rtol=1e-5)
    likely = [naive.gamma_poisson(counted, wanted, kappa) for kappa in STRENGTHS]
    prior = STRENGTHS[int(np.argmax(likely))] * wanted.sum(axis=1, keepdims=True) / wanted.sum()
    lifts = np.where(wanted > 0, (counted + prior) / (wanted + prior), 1)
    places = situated.places({"when": np.array([1])}, 2)
    assert places is not None
    assert places.tolist() == [[1], [1]]
    np.testing.assert_allclose(situated.factor(places[0], n.shape[1] + 1), np.append(lifts[1], 1), rtol=1e-4)
    assert situated.places({"day": np.array([1])}, 2) is None


def test_users_of_one_country_say_nothing_of_its_items(found: hr.TopicModel) -> None:
    assert found.situated is not None
    n, expected = counts_of(found.situated, "country")
    np.testing.assert_allclose(n.toarray(), expected.toarray(), atol=1e-5)
    assert ln_lifts(n[:0], expected[:0]) is None


@pytest.mark.parametrize("neighbours", [hr.Neighbours(regularization=5.0), None], ids=["weights", "topics"])
@pytest.mark.parametrize("filter_seen", [True, False])
def test_lists(neighbours: hr.Neighbours | None, filter_seen: bool) -> None:
    model = fit(used(), neighbours=neighbours, context_exponent=0)
    plain = model.recommend(k=5, given={"day": 2}, filter_seen=filter_seen)
    lists = {when: model.recommend(k=5, given={"when": when, "day": 2}, filter_seen=filter_seen) for when in ("morning", "evening")}
    for odd, (when, one) in enumerate(lists.items()):
        right = (one["item"] % 2 == odd).mean()
        assert right > (plain["item"] % 2 == odd).mean() + 0.1, when
    whens = model.vocabularies["when"].rows(["morning", "evening"])
    users = model.vocabularies["user"].rows([3, 3])
    seen = model.seen[users] if filter_seen else None
    rows, scores = model.recommend_rows(users, 5, seen, given={"when": whens, "day": model.vocabularies["day"].rows([2])})
    for n, one in enumerate(lists.values()):
        assert model.vocabularies["item"].decode(rows[n]).to_list() == one.filter(user=3)["item"].to_list()
        np.testing.assert_allclose(scores[n], one.filter(user=3)["score"], rtol=1e-5)


@pytest.mark.parametrize("filter_seen", [True, False])
@pytest.mark.parametrize("context", [{"when": "evening"}, {"when": "evening", "country": 1, "day": 3}], ids=str)
def test_contributions_sum_to_the_score(found: hr.TopicModel, context: dict[str, Any], filter_seen: bool) -> None:
    for item, score in found.recommend(4, k=8, given=context, filter_seen=filter_seen).select("item", "score").iter_rows():
        why = found.explain(4, item, given=context, filter_seen=filter_seen)
        assert why.score == pytest.approx(score, rel=1e-4)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-4)
        assert why.topics["contribution"].sum() == pytest.approx(score, rel=1e-4)


def test_scores_are_a_distribution() -> None:
    model = fit(used(), neighbours=None)
    model.memory = None
    found = model.recommend(4, k=100, given={"when": "evening"}, filter_seen=False)
    assert found["score"].sum() == pytest.approx(1, rel=1e-4)


def test_goes_on(found: hr.TopicModel, tmp_path: Path) -> None:
    again = hr.load(found.save(tmp_path / "model"))
    asked: dict[str, Any] = {"users": [4, 7], "k": 5, "given": {"when": "evening"}}
    assert again.recommend(**asked).equals(found.recommend(**asked))
    assert found.situated is not None
    before = counts_of(found.situated, "when")[0].sum()
    night = pl.DataFrame({"user": [4, 5, 99], "item": [77, 77, 1], "when": ["night"] * 3, "country": [0, 1, 2], "day": [0] * 3})
    again.partial_fit(night, keep=0.5, gain=2.0)
    assert again.situated is not None
    assert counts_of(again.situated, "when")[0].sum() == pytest.approx(0.5 * before + 2 * 3, rel=1e-5)
    assert again.recommend([99], k=3, given={"when": "night"}).height == 3


def test_contexts_of_single_users_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperrec.situated.MOST", 1200)
    situated = fit(used()).situated
    assert situated is not None
    assert situated.modalities == ("country",)
    monkeypatch.setattr("hyperrec.situated.MOST", 1)
    assert fit(used()).situated is None


def test_logs_without_contexts_have_none(films: hr.Hypergraph) -> None:
    assert situated_of(films.select("watched"), {"watched": 1.0}, "user", "item") is None
    assert fit(used().select("user", "item")).situated is None


def test_going_on_with_other_edges_forgets_no_context(tmp_path: Path) -> None:
    bought = used().select("user", "item", "when", "day")
    viewed = bought.select("user", "item", "when").unique()
    others = {"viewed": viewed, "season": pl.DataFrame({"when": ["noon"], "mood": ["calm"]})}
    model = fit({"bought": bought, "viewed": viewed, "season": pl.DataFrame({"when": ["morning"], "mood": ["calm"]})})
    assert model.situated is not None
    assert model.situated.edge_type == "bought"
    before = counts_of(model.situated, "when")
    for name, frame in others.items():
        model.partial_fit({name: frame}, keep=0.5)
        after = counts_of(model.situated, "when")
        assert model.situated.modalities == ("when", "day")
        for old, new in zip(before, after, strict=True):
            assert new.sum() == pytest.approx(0.5 * old.sum(), rel=1e-5)  # views are not purchases
        before = after
    assert before[0].shape[0] == 3
    again = hr.load(model.save(tmp_path / "model"))
    for when in ("morning", "noon"):
        assert again.recommend(k=3, given={"when": when}).equals(model.recommend(k=3, given={"when": when}))


def test_new_items_have_the_lifts_of_those_that_they_are_like(tmp_path: Path) -> None:
    kind = pl.DataFrame({"item": [*range(32), 100, 101], "kind": [*(["a", "b"] * 16), "a", "b"]})
    graph = hr.Hypergraph.from_frames(used=used(), kind=kind)
    model = fit(graph, edges={"used": 1.0}, attributes=hr.Attributes(), neighbours=None)
    assert model.situated is not None
    assert model.described is not None
    plain = model.situated.lifts["when"].toarray()
    met = np.bincount(model.seen.indices, minlength=model.seen.shape[1]) > 0
    new = model.vocabularies["item"].rows([100, 101])
    features = model.described[1].features.toarray()
    like = naive.likeness(features, np.flatnonzero(met), new, LENGTH)
    assert model._situated is not None
    found = model._situated.lifts["when"].toarray()
    np.testing.assert_allclose(found[:, met], plain[:, met])
    np.testing.assert_allclose(found[:, new], plain[:, met] @ (like / like.sum(axis=0)), rtol=1e-4, atol=1e-6)
    for when, best in (("morning", 100), ("evening", 101)):
        lists = model.recommend([1, 2, 3], k=2, among=[100, 101], given={"when": when})
        assert lists.filter(rank=1)["item"].to_list() == [best] * 3
    why = model.explain(1, 100, given={"when": "morning"})
    listed = model.recommend(1, k=2, among=[100], given={"when": "morning"})["score"][0]
    assert why.score == pytest.approx(listed, rel=1e-4)
    longer = model.with_items(pl.DataFrame({"item": [200], "kind": ["a"]}))
    both = longer.recommend(1, k=2, among=[100, 200], given={"when": "morning"})["score"]
    assert both[0] == pytest.approx(both[1], rel=1e-4)
    again = hr.load(model.save(tmp_path / "model"))
    asked: dict[str, Any] = {"k": 40, "given": {"when": "evening"}}
    assert again.recommend([1, 2], **asked).equals(model.recommend([1, 2], **asked))

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp

import hyperrec as hr
from hyperrec.histories import read_histories
from hyperrec.ranking import asked_for, known_users, new_users

FORMS: dict[str, dict[str, Any]] = {
    "mean": {},
    "topics alone": {"neighbours": None},
    "in order": {"context": hr.Recency(0.3)},
    "own vectors": {"context": None},
    "symmetric": {"container": None},
}


def friends() -> pl.DataFrame:
    """A circle, each a friend of the next three: who is nearest to a user is the user."""
    rows = [(f"u{u:02}", f"u{(u + step) % 30:02}") for u in range(30) for step in (1, 2, 3)]
    return pl.DataFrame(rows, schema=["user", "user#2"], orient="row")


@pytest.fixture(scope="module", params=FORMS)
def circle(request: pytest.FixtureRequest) -> hr.TopicModel:
    return hr.TopicModel(4, n_passes=10, **FORMS[request.param]).fit(friends(), progress=False)


@pytest.mark.parametrize("diversify", [0.0, 0.3])
def test_no_one_is_recommended_to_herself(circle: hr.TopicModel, diversify: float) -> None:
    found = circle.recommend(k=30, filter_seen=False, diversify=diversify)
    assert found.height == 30 * 29
    assert found.filter(pl.col("user") == pl.col("item")).is_empty()
    users = np.array([7, 2])
    for seen in (None, sp.csr_matrix((2, 30), dtype=np.float32)):
        rows, _ = circle.recommend_rows(users, 30, seen, diversify=diversify)
        assert [sorted({*range(-1, 30)} - {*one}) for one in rows.tolist()] == [[7], [2]]
    assert circle.recommend("u07", filter_seen=False, among=["u07"]).is_empty()


def test_nor_to_whom_others_have_told_of(circle: hr.TopicModel) -> None:
    told = pl.DataFrame({"user": ["u07", "new"], "user#2": ["u08", "u08"]})
    found = circle.recommend(histories=told, k=30, filter_seen=False)
    items = {user: {*part["item"]} for (user,), part in found.group_by("user")}
    everyone = {*circle.vocabularies["user"].ids}
    assert items == {"u07": everyone - {"u07"}, "new": everyone}
    both = circle.recommend("u03", histories=told, k=30, filter_seen=False)
    assert both.filter(pl.col("user") == pl.col("item")).is_empty()
    assert both.height == 29 + 29 + 30


@pytest.mark.parametrize("filter_seen", [True, False])
def test_a_friend_is_explained_by_her_score(circle: hr.TopicModel, filter_seen: bool) -> None:
    for item, score in circle.recommend("u07", k=3, filter_seen=filter_seen).select("item", "score").iter_rows():
        why = circle.explain("u07", item, filter_seen=filter_seen)
        assert why.score == pytest.approx(score, rel=1e-4)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-4)
        assert set(why.history["modality"]) <= {"user", "prior"}


@pytest.fixture(scope="module")
def coming_back() -> tuple[pl.DataFrame, hr.TopicModel]:
    rng = np.random.default_rng(5)
    users = rng.integers(0, 30, 400)
    log = pl.DataFrame({"user": users, "item": (users % 3) + 3 * rng.integers(0, 6, 400), "time": np.arange(400)})
    return log, hr.TopicModel(3, n_passes=8).fit(log, progress=False)


@pytest.mark.parametrize("back", [False, True])
def test_new_users_are_asked_for_as_known_ones_of_the_same_history(
    coming_back: tuple[pl.DataFrame, hr.TopicModel], back: bool
) -> None:
    log, model = coming_back
    rows = np.array([4, 11])
    known = known_users(model, rows)
    new = new_users(model, read_histories(model, log.filter(pl.col("user").is_in([4, 11])).sort("user", maintain_order=True)))
    np.testing.assert_array_equal(new.met.toarray() > 0, known.met.toarray() > 0)
    a, b = (asked_for(model, one, {}, None if back else one.met) for one in (known, new))
    np.testing.assert_allclose(a.lifts, b.lifts, rtol=1e-5)
    np.testing.assert_allclose(a.amount, b.amount, rtol=1e-5)
    assert (a.own is None, a.direct is None, a.left_out is None) == (not back, back, back)
    np.testing.assert_allclose((a.own if back else a.direct).toarray(), (b.own if back else b.direct).toarray(), rtol=1e-5)
    both = a.then(b)
    assert both.lifts.shape == (4, 3)
    assert (both.left_out is None) == back


def test_a_stream_of_histories_is_read_once() -> None:
    rng = np.random.default_rng(0)
    seen = pl.DataFrame({"user": rng.integers(40, size=400), "item": rng.integers(20, size=400)}).unique(maintain_order=True)
    age = pl.DataFrame({"user": range(40), "age": [f"a{u % 2}" for u in range(40)]})
    model = hr.TopicModel(3, attributes=hr.Attributes(), n_passes=3).fit({"seen": seen, "age": age}, progress=False)
    histories = pa.table({"user": ["x", "x", "y"], "item": [1, None, None], "age": [None, "a1", "a0"]})
    stream = pa.RecordBatchReader.from_batches(histories.schema, histories.to_batches())
    assert model.recommend(histories=stream, k=5).equals(model.recommend(histories=histories, k=5))


@pytest.mark.parametrize("tau", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("context", [hr.Mean(), hr.Recency(0.4)], ids=str)
def test_a_new_user_with_the_history_of_a_known_one_has_her_list(tau: float, context: Any) -> None:
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"user": rng.integers(30, size=400), "item": rng.integers(40, size=400)}).unique(maintain_order=True)
    model = hr.TopicModel(5, context=context, edges={"seen": tau}, n_passes=5).fit({"seen": rows}, progress=False)
    known = model.recommend([3], k=8)
    new = model.recommend(histories=rows.filter(user=3).with_columns(user=pl.lit("new")), k=8)
    assert new["item"].to_list() == known["item"].to_list()
    np.testing.assert_allclose(new["score"], known["score"], rtol=1e-4)


def test_what_is_known_of_a_user_without_a_history_is_all_of_her_score() -> None:
    rng = np.random.default_rng(0)
    seen = pl.DataFrame({"user": rng.integers(30, size=400), "item": rng.integers(40, size=400)}).unique(maintain_order=True)
    age = pl.DataFrame({"user": [*range(30), 99], "age": ["old", "young"] * 15 + ["old"]})
    for options in ({"history_prior": 0}, {"context": None}):
        model = hr.TopicModel(3, edges={"seen": 1.0, "age": 1.0}, n_passes=5, neighbours=None, **options)
        model.fit({"seen": seen, "age": age}, progress=False)
        why = model.explain(99, 5)
        assert why.score > 0
        assert why.history["contribution"].sum() == pytest.approx(why.score, rel=1e-4)


@pytest.mark.parametrize("exponent", [-0.5, 0.4])
@pytest.mark.parametrize("case", ["mean", "topics alone", "in order", "own events", "cold items"])
def test_scores_are_multiplied_by_a_power_of_popularity(case: str, exponent: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = pl.DataFrame({"user": rng.integers(30, size=400), "item": (20 * rng.random(400) ** 2).astype(int), "time": range(400)})
    genre = pl.DataFrame({"item": range(24), "genre": ["a", "b", "c"] * 8})  # the last four are in no history
    options: dict[str, Any] = {"edges": {"seen": 1.0, "genre": 1.0}, "n_passes": 5, **FORMS.get(case, {})}
    if case == "cold items":
        options |= {"edges": {"seen": 1.0}, "attributes": hr.Attributes()}
    if case != "own events":
        seen = seen.unique(["user", "item"], keep="first", maintain_order=True)
    asked: dict[str, Any] = {"k": 24, "filter_seen": case != "own events"}
    plain, model = (
        hr.TopicModel(3, popularity_exponent=one, **options).fit({"seen": seen, "genre": genre}) for one in (0.0, exponent)
    )
    counts = np.bincount(seen["item"], minlength=24) + 0.1
    popularity = counts / counts.sum()
    if case == "cold items":
        popularity[20:] = np.maximum(plain._items.probabilities(np.arange(20, 24)) @ plain.state.prior, popularity[20:])
    factor = popularity**exponent
    factor /= np.average(factor, weights=popularity)
    np.testing.assert_allclose(model._items.factor, factor, rtol=1e-3)
    lists = (one.recommend([3, 7], **asked).sort("user", "item") for one in (plain, model))
    before, after = lists
    assert before["item"].equals(after["item"])
    np.testing.assert_allclose(after["score"], before["score"] * factor[after["item"]], rtol=1e-3, atol=1e-6)
    for item, score in model.recommend(7, **asked).select("item", "score").iter_rows():
        why = model.explain(7, item, filter_seen=asked["filter_seen"])
        assert why.score == pytest.approx(score, rel=1e-3, abs=1e-6)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-3, abs=1e-6)
    assert hr.load(model.save(tmp_path / "model")).recommend(**asked).equals(model.recommend(**asked))

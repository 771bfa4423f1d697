"""A user's own events, which come back: the classes and their weights, lists, explanations, new users, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import naive
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.memory import LAGS, STEADY, TOPICS, fitted, memory_of

CONTEXTS = ("place", "day")


def used(n: int = 900, *, timed: bool = False, seed: int = 0) -> pl.DataFrame:
    """Each user has an app for each place, and comes back to it there."""
    rng = np.random.default_rng(seed)
    user, place = rng.integers(15, size=n), rng.integers(3, size=n)
    habit = np.where(rng.random(n) < 0.8, (7 * user + 5 * place) % 30, rng.integers(30, size=n))
    frame = pl.DataFrame({"user": user, "item": habit, "place": place, "day": rng.integers(2, size=n)})
    return frame.with_columns(time=pl.Series(rng.integers(60, size=n))) if timed else frame


def fit(frame: pl.DataFrame, **options: Any) -> hr.TopicModel:
    return hr.TopicModel(3, n_passes=5, **options).fit(frame, progress=False)


def events_of(model: hr.TopicModel, user: int) -> list[tuple[int, float, tuple[int, ...]]]:
    memory = model.memory
    assert memory is not None
    return [
        (int(memory.items[e]), float(memory.ago[e]), tuple(map(int, memory.places[e])))
        for e in range(memory.indptr[user], memory.indptr[user + 1])
    ]


@pytest.mark.parametrize("timed", [False, True])
def test_what_own_events_say(timed: bool) -> None:
    model = fit(used(timed=timed))
    memory = model.memory
    assert memory is not None
    assert memory.contexts == CONTEXTS
    assert memory.n_lags == (LAGS if timed else 1)
    users = np.array([3, 0, 3])
    asked = {"place": np.array([0, 2, 1]), "day": np.array([1, 0, 0])}
    found, rest = memory.of(users, 30, asked)
    for n, user in enumerate(users):
        query = (int(asked["place"][n]), int(asked["day"][n]))
        expected, left = naive.own_events(events_of(model, user), query, memory.weights, memory.n_lags, memory.returns)
        np.testing.assert_allclose(found[[n]].toarray().ravel(), expected, rtol=1e-5, atol=1e-7)
        assert rest[n] == pytest.approx(left, rel=1e-5)
    plain, _ = memory.of(users[:1], 30)
    alone = [(item, ago, ()) for item, ago, _ in events_of(model, 3)]
    expected, _ = naive.own_events(alone, (), memory.plain, memory.n_lags, memory.returns)
    np.testing.assert_allclose(plain.toarray().ravel(), expected, rtol=1e-5, atol=1e-7)


def test_times_are_counted_back_from_the_last() -> None:
    frame = pl.DataFrame({"user": [1, 1, 1, 1, 2, 2], "item": ["a", "a", "b", "c", "a", "a"], "time": [5, 9, 9, 20, 1, 1]})
    memory = hr.TopicModel(2, n_passes=2).fit(frame).memory
    assert memory is not None
    assert memory.ago.tolist() == [3, 2, 2, 1, 1, 1]


def test_weights_learn_where_a_user_comes_back() -> None:
    memory = fit(used()).memory
    assert memory is not None
    neither, place, day, both = memory.weights[:-1]
    assert place > 5 * neither
    assert both > 5 * neither
    assert day < 0.2 * place  # which of the contexts it is that is the same


@pytest.mark.parametrize("timed", [False, True])
def test_returns(timed: bool) -> None:
    """Each user has one item of the first ten every time, and one of the others once in five."""
    rng = np.random.default_rng(1)
    rows = [(user, item, time) for user in range(60) for time in range(10)
            for item in (user % 10, 10 + int(rng.integers(20)), 30 + (user + time) % 60)]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    memory = fit(frame if timed else frame.drop("time")).memory
    assert memory is not None
    assert memory.returns[:10].min() > 1 > memory.returns[30:].max()
    share = np.bincount(memory.items, minlength=90) / len(memory.items)
    events = [events_of(fit(frame if timed else frame.drop("time")), user) for user in range(60)]
    weights = np.append(memory.plain[:-1], memory.plain[-1] / TOPICS)
    expected = naive.returns(events, weights, memory.n_lags, share, STEADY)
    np.testing.assert_allclose(memory.returns, expected, rtol=1e-5)


def test_many_contexts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = used(timed=True)
    monkeypatch.setattr("hyperrec.memory.CLASSES", 31)  # of 8 lags and 4 matches
    memory = fit(frame).memory
    assert memory is not None
    assert len(memory.weights) == LAGS * 3 + 1
    found, rest = memory.of(np.array([3]), 30, {"place": np.array([2]), "day": np.array([1])})
    model = fit(frame)
    expected, left = naive.own_events(events_of(model, 3), (2, 1), memory.weights, LAGS, memory.returns)
    np.testing.assert_allclose(found.toarray().ravel(), expected, rtol=1e-5, atol=1e-7)
    assert rest[0] == pytest.approx(left, rel=1e-5)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_likelihood_never_falls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, size=(40, 4)).astype(float)
    hits, background = rng.binomial(counts.astype(int), 0.3).astype(float), rng.random(40) * 0.1 + 1e-3

    def likelihood(weights: np.ndarray) -> float:
        explained = hits @ weights[:-1] + background * weights[-1]
        return float(np.log(explained / (counts @ weights[:-1] + weights[-1])).sum())

    prior = np.append(rng.random(4), 1.0)
    found, near = [], []
    for passes in (1, 2, 3, 10, 200):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hyperrec.memory.PASSES", passes)
            found.append(likelihood(fitted(hits, counts, background)))
            weights = fitted(hits, counts, background, prior)
            near.append(likelihood(weights) + float((np.log(weights) - weights / prior).sum()))
    assert (np.diff(found) >= -1e-9).all()
    assert (np.diff(near) >= -1e-9).all()


def test_classes_without_events_keep_the_weight_of_their_number() -> None:
    weights = fitted(np.zeros((1, 2)), np.array([[3.0, 0.0]]), np.array([0.1]), np.array([0.4, 0.3, 1.0]))
    assert weights[0] < 0.4
    assert weights[1] == pytest.approx(0.3)


def test_lists_of_those_who_come_back() -> None:
    frame = used()
    model = fit(frame)
    places = sorted(frame["place"].unique())
    right = 0
    for user in range(15):
        for place in places:
            best = model.recommend(user, k=1, given={"place": place, "day": 0}, filter_seen=False)
            right += best["item"][0] == (7 * user + 5 * place) % 30
    assert right > 40  # of 45
    everything = model.recommend(2, k=30, given={"place": 1, "day": 0}, filter_seen=False)
    assert everything["score"].sum() == pytest.approx(1, rel=1e-3)  # a distribution
    new = model.recommend(2, k=30, given={"place": 1, "day": 0})
    assert not set(new["item"]) & set(frame.filter(user=2)["item"])


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("context", [None, {"place": 1, "day": 0}, {"place": 1}], ids=str)
def test_contributions_sum_to_the_score(timed: bool, context: dict[str, int] | None) -> None:
    model = fit(used(timed=timed))
    for item, score in model.recommend(4, k=12, given=context, filter_seen=False).select("item", "score").iter_rows():
        why = model.explain(4, item, given=context, filter_seen=False)
        assert why.score == pytest.approx(score, rel=1e-4)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-4)
        assert why.topics["contribution"].sum() == pytest.approx(score, rel=1e-4)
    new = pl.DataFrame({"user": ["a"] * 4 + ["b"] * 12, "item": [5, 6, 7, 7, 1, 2, *[9] * 10], "time": range(16)})
    for user, item, score in model.recommend(histories=new, k=5, given=context, filter_seen=False).select(
        "user", "item", "score"
    ).iter_rows():
        why = model.explain(user, item, histories=new, given=context, filter_seen=False)
        assert why.score == pytest.approx(score, rel=1e-4)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-4)
    best = model.recommend(4, k=1, given=context, filter_seen=False)["item"][0]
    assert "through own events (" in model.explain(4, best, given=context, filter_seen=False).sentence


def test_new_users_come_back_too() -> None:
    model = fit(used(timed=True))
    history = pl.DataFrame({"user": ["new"] * 12, "item": [1, 2, *[9] * 10], "time": range(12)})
    found = model.recommend(histories=history, k=2, filter_seen=False)
    assert found["item"][0] == 9
    assert 9 not in model.recommend(histories=history, k=5)["item"]


def test_rows_are_asked_in_contexts_of_their_own() -> None:
    model = fit(used())
    rows, scores = model.recommend_rows(np.array([4, 4]), 3, given={"place": np.array([0, 2]), "day": np.array([0, 0])})
    for n, place in enumerate((0, 2)):
        found = model.recommend(4, k=3, given={"place": place, "day": 0}, filter_seen=False)
        assert model.vocabularies["item"].decode(rows[n]).to_list() == found["item"].to_list()
        np.testing.assert_allclose(scores[n], found["score"], rtol=1e-5)


def test_logs_without_repeats_have_no_memory(films: hr.Hypergraph, model: hr.TopicModel) -> None:
    assert model.memory is None
    assert memory_of(films.select("genre"), {"genre": 1.0}, "user", "item") is None


def test_memory_goes_on(tmp_path: Path) -> None:
    frame = used(timed=True)
    model = fit(frame)
    again = hr.load(model.save(tmp_path / "model"))
    asked: dict[str, Any] = {"users": [4, 7], "k": 5, "given": {"place": 1, "day": 0}, "filter_seen": False}
    assert again.recommend(**asked).equals(model.recommend(**asked))
    later = pl.DataFrame({"user": [4] * 30, "item": [99] * 30, "place": [1] * 30, "day": [0] * 30, "time": range(100, 130)})
    again.partial_fit(later)
    assert again.memory is not None
    assert len(again.memory.items) == len(frame) + 30
    assert again.recommend(**asked)["item"][0] == 99


def test_new_users_without_times_have_no_events_in_memory() -> None:
    frame = used(timed=True)
    model = hr.TopicModel(3, n_passes=3).fit({"bought": frame.select("user", "item").unique(), "used": frame})
    model.partial_fit({"bought": pl.DataFrame({"user": [999], "item": [3]})})
    assert model.recommend([999], k=3, filter_seen=False).height == 3
    assert model.memory is not None
    assert len(model.memory.indptr) == len(model.vocabularies["user"]) + 1


def test_very_long_histories_are_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(used()).memory
    monkeypatch.setattr("hyperrec.memory.READ", 20_000)
    part = fit(used()).memory
    assert whole is not None
    assert part is not None
    assert not np.array_equal(whole.weights, part.weights)
    assert part.weights[1:-1].max() > 5 * part.weights[0]


def test_new_events_alone_make_no_memory() -> None:
    model = fit(used().unique(["user", "item"]).select("user", "item"))
    assert model.memory is None
    model.partial_fit(pl.DataFrame({"user": [0, 0], "item": [1, 1]}))
    assert model.memory is None

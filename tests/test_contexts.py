"""Contexts as values: what they refuse, how they are saved, and what they do for a model that is asked for the next item."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec.topics.contexts import Context, from_json

ALL = [
    hr.Mean(),
    hr.Mean(passes=2),
    hr.FoldIn(iterations=3, start="uniform"),
    hr.Recency(0.3, pause=60, importance={"a": 0.5}),
    hr.TwoSided(0.1, 0.2, 0.7, passes=1),
    hr.Window(2),
    hr.Window(2, (0.5, 1.0, 2.0, 0.0)),
    hr.Mixture(hr.Recency(0.5), hr.Mean(), hr.Window(3), background=False, passes=1, pause=5.0),
]


@pytest.mark.parametrize("context", [*ALL, hr.Window(2, importance={3: 0.5, 7: 0})], ids=repr)
def test_json_gives_the_same_context_back(context: Context) -> None:
    again = from_json(json.loads(json.dumps(context.as_json())))
    assert again == context
    assert repr(again) == repr(context)
    for mine, other in zip(again.plan(), context.plan(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_repr_tells_what_is_not_usual() -> None:
    assert repr(hr.Mean()) == "Mean()"
    assert repr(hr.Recency(0.3, pause=60)) == "Recency(pause=60, gamma=0.3)"
    assert repr(hr.Recency(0.4)) == "Recency(gamma=0.4)"
    assert repr(hr.Mixture(hr.Mean())) == "Mixture(contexts=(Mean(),), background=True)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hr.Recency(0), r"gammas lie in \(0, 1\], beta in \[0, 1\]; got Recency\(gamma=0\)"),
        (lambda: hr.Recency(1.5), r"gammas lie in \(0, 1\]"),
        (lambda: hr.Recency("x"), r"gammas lie in \(0, 1\]"),
        (lambda: hr.TwoSided(beta=-0.1), r"beta in \[0, 1\]"),
        (lambda: hr.Window(0), "Window: h must be a whole number, 1 or more; got 0"),
        (lambda: hr.Window(2, (1.0,)), r"weights must be 2 or 4 numbers, 0 or more and not all 0; got \(1.0,\)"),
        (lambda: hr.Window(1, (0.0,)), "not all 0"),
        (lambda: hr.Window(1, (-1.0,)), "0 or more"),
        (lambda: hr.Mean(passes=-1), "passes must be a whole number, 0 or more; got -1"),
        (lambda: hr.Recency(pause=-1), "pause must be a number, 0 or more, or None; got -1"),
        (lambda: hr.Recency(importance={"a": -1.0}), "importance must say item -> a finite factor, 0 or more"),
        (lambda: hr.Recency(importance=[1.0]), "importance must say item -> a finite factor"),
        (lambda: hr.Mixture(), "Mixture takes one or more contexts"),
        (lambda: hr.Mixture(hr.Mixture(hr.Mean())), "Mixture takes one or more contexts"),
        (lambda: hr.Mixture(hr.Recency(passes=1)), "passes, pause, importance belong to the mixture, not to Recency"),
    ],
)
def test_what_makes_no_context(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(hr.ModelError, match=message):
        make()


def walks(n_users: int = 300, length: int = 20, n_places: int = 30, seed: int = 0) -> pl.DataFrame:
    """Walks on a circle of places: the next is one or two steps on; a longer history says nothing that the last place does not."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 3, (n_users, length))
    places = (rng.integers(n_places, size=(n_users, 1)) + steps.cumsum(axis=1)) % n_places
    users = np.repeat(np.arange(n_users), length)
    return pl.DataFrame({"user": users, "item": places.ravel(), "time": np.tile(np.arange(length), n_users)})


@pytest.fixture(scope="module")
def walk() -> tuple[hr.Hypergraph, hr.Hypergraph]:
    return hr.split(hr.Hypergraph.from_frames(went=walks()), "went", by="last")


def hit_rate(context: Context, walk: tuple[hr.Hypergraph, hr.Hypergraph]) -> tuple[float, hr.TopicModel]:
    train, test = walk
    model = hr.TopicModel(20, context=context, n_passes=30, tolerance=0).fit(train, progress=False)
    return hr.evaluate(model, train, test, 4, filter_seen=False)["hit_rate@4"], model


def test_the_next_place_is_known_from_the_last(walk: tuple[hr.Hypergraph, hr.Hypergraph]) -> None:
    in_order, without = (hit_rate(context, walk)[0] for context in (hr.Recency(0.8), hr.Mean()))
    assert in_order > 0.5
    assert in_order > without + 0.2


def test_a_mixture_learns_which_context_tells_more(walk: tuple[hr.Hypergraph, hr.Hypergraph]) -> None:
    value, model = hit_rate(hr.Mixture(hr.Recency(0.9), hr.Mean()), walk)
    recent, mean, background = model.state.shares
    assert recent + mean + background == pytest.approx(1)
    assert recent > 0.6 > background + mean
    assert value > 0.5


@pytest.mark.parametrize("context", [hr.TwoSided(0.7, 0.7), hr.Window(1), hr.Recency(0.8, passes=1)], ids=repr)
def test_all_contexts_fit_and_rank(context: Context, walk: tuple[hr.Hypergraph, hr.Hypergraph]) -> None:
    value, model = hit_rate(context, walk)
    assert value > 0.3
    np.testing.assert_allclose(model.embedding("user").sum(axis=1), 1, rtol=1e-5)


def test_a_new_history_is_read_like_a_known_one(walk: tuple[hr.Hypergraph, hr.Hypergraph]) -> None:
    _, model = hit_rate(hr.Recency(0.8, pause=1000, importance={3: 0.5}), walk)
    of_three = walk[0].table("went").filter(pl.col("user") < 3)
    shuffled = of_three.sample(fraction=1, shuffle=True, seed=1)
    wanted = model.recommend([0, 1, 2], k=5)
    found = model.recommend(histories=shuffled, k=5).sort("user", "rank")
    assert found["item"].to_list() == wanted["item"].to_list()
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-5)
    in_rows = model.recommend(histories=of_three.drop("time"), k=5)
    assert in_rows["item"].to_list() == wanted["item"].to_list()
    backwards = model.recommend(histories=of_three.reverse().drop("time"), k=5).sort("user", "rank")
    assert backwards["item"].to_list() != wanted["item"].to_list()


def test_explanations_name_the_last_positions(walk: tuple[hr.Hypergraph, hr.Hypergraph]) -> None:
    _, model = hit_rate(hr.Recency(0.8), walk)
    best = model.recommend([7], k=1)["item"][0]
    why = model.explain(7, best)
    assert why.history["contribution"].sum() == pytest.approx(why.score, rel=1e-4)
    last = walk[0].table("went").filter(pl.col("user") == 7).sort("time")["item"][-1]
    assert why.history["id"][0] == str(last)
    with_background = hit_rate(hr.Mixture(hr.Recency(0.8)), walk)[1].explain(7, best)
    assert with_background.history["contribution"].sum() == pytest.approx(with_background.score, rel=1e-4)


@pytest.mark.parametrize("context", ALL[1:], ids=repr)
def test_saved_models_read_in_the_same_context(context: Context, tmp_path: Any) -> None:
    log = walks(40, 8).with_columns(pl.concat_str(pl.lit("ab"), "item").alias("item"))
    log = log.with_columns(pl.when(pl.col("item") == "ab0").then(pl.lit("a")).otherwise("item").alias("item"))
    model = hr.TopicModel(4, context=context, n_passes=3).fit(hr.Hypergraph.from_frames(went=log), progress=False)
    again = hr.load(model.save(tmp_path / "model"))
    assert again.context == model.context
    assert again.state.shares.tolist() == model.state.shares.tolist()
    assert again.recommend(k=3).equals(model.recommend(k=3))
    assert again.recommend(histories=log.head(8), k=3).equals(model.recommend(histories=log.head(8), k=3))


# ------------------------------------------------------------------------------------------------ positions


def test_the_five_vectors_of_a_position() -> None:
    log = pl.DataFrame({"user": ["u"] * 4 + ["w"] * 3, "item": list("abca") + list("bcd"), "time": [1, 2, 3, 4, 1, 2, 3]})
    context = hr.TwoSided(0.5, 0.25, 0.75)
    model = hr.TopicModel(3, context=context, n_passes=2).fit(hr.Hypergraph.from_frames(read=log), progress=False)
    found = model.positions("u")
    assert found["id"].to_list() == list("abca")
    assert found["position"].to_list() == [1, 2, 3, 4]
    free, left, right, around, contextual = (
        found[name].to_numpy() for name in ("context_free", "left", "right", "context", "contextual")
    )
    np.testing.assert_allclose(free, model.embedding("item")[model.vocabularies["item"].rows(list("abca"))], rtol=1e-5)
    np.testing.assert_allclose(left[0], model.state.prior, rtol=1e-5)
    np.testing.assert_allclose(left[3], 0.5 * free[2] + 0.25 * free[1] + 0.25 * free[0], rtol=1e-5)
    np.testing.assert_allclose(right[1], 0.25 * free[2] + 0.75 * free[3], rtol=1e-5)
    np.testing.assert_allclose(right[3], model.state.prior, rtol=1e-5)
    np.testing.assert_allclose(around[1], 0.75 * left[1] + 0.25 * right[1], rtol=1e-5)
    np.testing.assert_allclose(around[3], left[3], rtol=1e-5)
    joint = free * around / model.state.prior
    np.testing.assert_allclose(contextual, joint / joint.sum(axis=1, keepdims=True), rtol=1e-4)
    again = model.positions(history=log.filter(pl.col("user") == "u").with_columns(user=pl.lit("new")))
    for name in ("left", "right", "context", "contextual"):
        np.testing.assert_allclose(again[name].to_numpy(), found[name].to_numpy(), rtol=1e-5)


def test_positions_of_a_window_and_of_what_knows_no_order() -> None:
    log = pl.DataFrame({"user": ["u"] * 4, "item": list("abca")})
    graph = hr.Hypergraph.from_frames(read=log)
    window = hr.TopicModel(2, context=hr.Window(2, (1.0, 0.5)), n_passes=2).fit(graph, progress=False).positions("u")
    free, left, right = (window[name].to_numpy() for name in ("context_free", "left", "right"))
    np.testing.assert_allclose(left[2], (free[1] + 0.5 * free[0]) / 1.5, rtol=1e-5)
    np.testing.assert_allclose(right[0], (free[1] + 0.5 * free[2]) / 1.5, rtol=1e-5)
    mean = hr.TopicModel(2, n_passes=2).fit(graph, progress=False).positions("u")
    assert sorted(mean["id"]) == list("abc")  # the two of a are one position
    np.testing.assert_allclose(mean["left"].to_numpy(), mean["context"].to_numpy())


def test_positions_refuses_what_it_cannot_read() -> None:
    graph = hr.Hypergraph.from_frames(went=walks(5, 4))
    model = hr.TopicModel(2, context=hr.Recency(), n_passes=2).fit(graph, progress=False)
    with pytest.raises(hr.ModelError, match="positions takes the id of a user, or history= of a new one"):
        model.positions()
    with pytest.raises(hr.DataError, match="positions reads the history of one user; got 5"):
        model.positions(history=walks(5, 4))
    with pytest.raises(hr.DataError, match="unknown user 77"):
        model.positions(77)
    with pytest.raises(hr.ModelError, match="positions are read by a model with a context"):
        hr.TopicModel(2, context=None, n_passes=2).fit(graph, progress=False).positions(1)

"""Asking a fitted model: recommend, similar, explain, fold_in, topics."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import naive
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.ranking import UNSEEN_ITEM

EDGES = {"watched": 1.0, "genre": 0.2, "watched_at": 0.1}
GENRES, HOURS = ["drama", "comedy", "horror"], ["day", "evening", "night"]
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def free(films: hr.Hypergraph) -> hr.TopicModel:
    """The same world with a vector of her own for each user."""
    return hr.TopicModel(3, context=None, edges=EDGES, n_passes=6, seed=1).fit(films, progress=False)


@pytest.fixture(scope="module")
def alike(films: hr.Hypergraph) -> hr.TopicModel:
    """The same world in the symmetric form."""
    return hr.TopicModel(3, container=None, edges=EDGES, n_passes=6, seed=1).fit(films, progress=False)


@pytest.fixture(params=["expressed", "container", "symmetric"])
def any_model(request: pytest.FixtureRequest, model: hr.TopicModel, free: hr.TopicModel, alike: hr.TopicModel) -> hr.TopicModel:
    return {"expressed": model, "container": free, "symmetric": alike}[request.param]


def number(item: str) -> int:
    return int(item.split("-")[1])


def watched_by(films: hr.Hypergraph, user: str) -> list[str]:
    return films.table("watched").filter(pl.col("user") == user)["item"].to_list()


def favourite(films: hr.Hypergraph, user: str) -> int:
    return int(np.bincount([number(one) % 3 for one in watched_by(films, user)], minlength=3).argmax())


def scores_by_hand(model: hr.TopicModel, user: str, context: tuple[str, str] | None = None) -> np.ndarray:
    """What is expected of every item: p(item | user, context), and what the user's items say directly, in float64 and loops."""
    prior, lift = model.state.prior.astype(float), model.state.lift.astype(float)
    row = model.vocabularies["user"].rows([user])[0]
    if model.expressed:
        history = model.histories.take(np.array([row]))
        n = history.weight.sum() / model.histories.weight.mean()
        of_user = sum(a * lift[v] for a, v in zip(history.weight, history.vertices, strict=True)) / history.weight.sum()
        of_user = naive.steadied(of_user, np.ones(len(of_user)), n, model.history_prior)
    else:
        of_user = lift[model.offsets["user"] + row]
    if context:
        modality, one = context
        of_user = of_user * lift[model.offsets[modality] + model.vocabularies[modality].rows([one])[0]]
    start = model.offsets["item"]
    counts = model.counts[start : start + model.sizes["item"]].astype(float) + UNSEEN_ITEM
    of_user /= (of_user * prior).sum()
    topics = np.array([counts[i] / counts.sum() * (lift[start + i] * of_user * prior).sum() for i in range(len(counts))])
    items = model.seen[row].indices
    assert model.neighbours is not None
    assert model.item_weights is not None
    n_items = max(len(items), model.seen.nnz / np.count_nonzero(np.diff(model.seen.indptr)))
    scores = np.array(model.neighbours.share * n_items * topics + model.item_weights[items].toarray().sum(axis=0))
    assert model.situated is not None
    if context and context[0] in model.situated.lifts:
        lifts = np.exp(model.situated.lifts[modality].toarray()[model.vocabularies[modality].rows([one])[0]])
        scores *= lifts / (topics * lifts).sum()
    return scores


# ---------------------------------------------------------------------------------------------------------- recommend


@pytest.mark.parametrize("context", [None, ("hour", "night"), ("genre", "drama")])
def test_recommend_is_brute_force(films: hr.Hypergraph, any_model: hr.TopicModel, context: tuple[str, str] | None) -> None:
    for user in ("user-3", "user-77"):
        expected = scores_by_hand(any_model, user, context)
        found = any_model.recommend(user, k=60, given=dict([context]) if context else None, filter_seen=False)
        rows = any_model.vocabularies["item"].rows(found["item"])
        assert sorted(rows) == list(range(60))
        np.testing.assert_allclose(found["score"], expected[rows], rtol=1e-4, atol=1e-6)
        unseen = any_model.recommend(user, k=60, given=dict([context]) if context else None)
        left = found.filter(~pl.col("item").is_in(watched_by(films, user)))
        assert sorted(unseen["item"]) == sorted(left["item"])
        np.testing.assert_allclose(unseen["score"], left["score"], rtol=1e-5)


def test_recommend_frame(model: hr.TopicModel) -> None:
    found = model.recommend(["user-7", "user-3"], k=2)
    assert found.schema == {"user": pl.String, "item": pl.String, "score": pl.Float32, "rank": pl.Int64}
    assert found["user"].to_list() == ["user-7", "user-7", "user-3", "user-3"]
    assert found["rank"].to_list() == [1, 2, 1, 2]


def test_recommend_to_all_users(films: hr.Hypergraph, any_model: hr.TopicModel) -> None:
    everyone = any_model.recommend(k=3)
    users = films.vocabulary("user").ids.to_list()
    assert everyone["user"].to_list() == [user for user in users for _ in range(3)]
    one_by_one = pl.concat([any_model.recommend(user, k=3) for user in users[:9]])
    assert everyone.head(27).drop("score").equals(one_by_one.drop("score"))
    np.testing.assert_allclose(everyone["score"].head(27), one_by_one["score"], rtol=1e-5)


@pytest.mark.parametrize("kind", [np.array, pl.Series, tuple, iter, set])
def test_recommend_takes_ids_in_any_list(model: hr.TopicModel, kind: Any) -> None:
    assert model.recommend(kind(["user-3"])).equals(model.recommend("user-3"))


def test_recommend_to_nobody(any_model: hr.TopicModel) -> None:
    for filter_seen in (True, False):
        found = any_model.recommend([], filter_seen=filter_seen)
        assert found.height == 0
        assert found.columns == ["user", "item", "score", "rank"]


def test_integer_ids() -> None:
    frame = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [10, 20, 10, 30, 20]})
    model = hr.TopicModel(2, n_passes=5).fit(frame)
    found = model.recommend(3)
    assert found.schema["item"] == pl.Int64
    assert sorted(found["item"]) == [10, 30]
    assert model.recommend("3").equals(found)


@SETTINGS
@given(
    users=st.lists(st.integers(0, 119), max_size=5),
    k=st.integers(1, 80),
    among=st.none() | st.lists(st.integers(0, 59), max_size=20),
    exclude=st.none() | st.lists(st.integers(0, 59), max_size=20),
    filter_seen=st.booleans(),
)
def test_lists_keep_their_promises(
    films: hr.Hypergraph, model: hr.TopicModel, users: list[int], k: int, among: list[int] | None, exclude: list[int] | None,
    filter_seen: bool,
) -> None:  # fmt: skip
    wanted = set(range(60) if among is None else among) - set(exclude or [])
    names = {name: None if ids is None else [f"film-{n}" for n in ids] for name, ids in (("among", among), ("exclude", exclude))}
    found = model.recommend([f"user-{u}" for u in users], k=k, filter_seen=filter_seen, **names)
    at = 0
    for user in users:
        left = wanted - {number(one) for one in watched_by(films, f"user-{user}")} if filter_seen else wanted
        part = found.slice(at, min(k, len(left)))
        at += part.height
        assert part.height == min(k, len(left))
        assert (part["user"] == f"user-{user}").all()
        assert part["rank"].to_list() == list(range(1, part.height + 1))
        assert part["score"].is_sorted(descending=True)
        assert part["score"].is_finite().all()
        assert len({number(one) for one in part["item"]} & left) == part.height
    assert found.height == at


@pytest.mark.parametrize("k", [60, 61, 10**12])
def test_k_above_the_number_of_items(films: hr.Hypergraph, model: hr.TopicModel, k: int) -> None:
    assert model.recommend("user-3", k=k).height == 60 - len(watched_by(films, "user-3"))
    assert model.recommend("user-3", k=k, filter_seen=False).height == 60


def test_among_and_exclude(model: hr.TopicModel) -> None:
    ask = {"k": 60, "filter_seen": False}
    assert model.recommend("user-3", among="film-5", **ask)["item"].to_list() == ["film-5"]
    both = model.recommend("user-3", among=["film-5", "film-6", "film-7"], exclude="film-6", **ask)
    assert sorted(both["item"]) == ["film-5", "film-7"]
    assert set(model.recommend("user-3", exclude=["film-5"], **ask)["item"]) == {f"film-{n}" for n in range(60) if n != 5}
    for nothing in ({"among": []}, {"among": ["film-5"], "exclude": ["film-5"]}):
        assert model.recommend("user-3", **nothing).height == 0
        assert model.recommend("user-3", filter_seen=False, **nothing).height == 0


def test_users_get_the_genre_they_like(films: hr.Hypergraph, any_model: hr.TopicModel) -> None:
    first = any_model.recommend(k=1)
    hits = [number(item) % 3 == favourite(films, user) for user, item in first.select("user", "item").iter_rows()]
    assert np.mean(hits) > 0.9


@pytest.mark.parametrize("hour", [0, 1, 2])
def test_the_hour_shifts_the_list(films: hr.Hypergraph, any_model: hr.TopicModel, hour: int) -> None:
    def share(given: dict[str, str] | None) -> float:
        found = any_model.recommend(k=10, given=given)
        return float(np.mean([number(one) % 3 == hour for one in found["item"]]))

    assert share({"hour": HOURS[hour]}) > share(None) + 0.05


def test_given_nothing_is_no_context(model: hr.TopicModel) -> None:
    assert model.recommend(["user-1"], given={}).equals(model.recommend(["user-1"]))


def test_two_contexts_multiply(model: hr.TopicModel) -> None:
    one, other = (
        model.recommend("user-4", k=60, given=context, filter_seen=False)
        for context in ({"hour": "night", "genre": "drama"}, {"genre": "drama", "hour": "night"})
    )
    np.testing.assert_allclose(one.sort("item")["score"], other.sort("item")["score"], rtol=1e-5)
    assert not one["score"].equals(model.recommend("user-4", k=60, given={"hour": "night"}, filter_seen=False)["score"])


def test_a_context_that_shares_no_topic_leaves_the_users_own_list() -> None:
    rows = [(f"u{g}{u}", f"i{g}{i}", f"h{g}") for g in range(2) for u in range(6) for i in range(6) if u != i]
    watched = pl.DataFrame(rows, schema=["user", "item", "hour"], orient="row")
    model = hr.TopicModel(2, context=None, n_passes=30, tolerance=0).fit(watched)
    np.testing.assert_array_equal(np.sort(model.embedding("hour"), axis=1), [[0, 1], [0, 1]])
    found = model.recommend("u00", given={"hour": "h1"})
    assert found.equals(model.recommend("u00"))
    assert found["item"][0] == "i00"
    assert model.explain("u00", "i00", given={"hour": "h1"}).score == pytest.approx(found["score"][0], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"users": ["user-1", "usr-1"]}, hr.DataError, "unknown user 'usr-1': the model knows 120 of them, such as 'user-0'."),
        ({"users": ["user-1", "usr-1"]}, hr.DataError, "Did you mean 'user-1'?"),
        ({"users": ["nobody", "nothing"]}, hr.DataError, "unknown user 'nobody' (and 1 more unknown)"),
        ({"users": [None]}, hr.DataError, "unknown user None"),
        ({"users": "user-1", "among": ["film-1", "film-60"]}, hr.DataError, "unknown item 'film-60': the model knows 60 of them"),
        ({"users": "user-1", "exclude": "filn-10"}, hr.DataError, "Did you mean 'film-10'?"),
        ({"users": "user-1", "given": {"hours": "day"}}, hr.ModelError, "unknown modality 'hours': the model has"),
        ({"users": "user-1", "given": {"hours": "day"}}, hr.ModelError, "Did you mean 'hour'?"),
        ({"users": "user-1", "given": {"hour": "days"}}, hr.DataError, "unknown hour 'days': the model knows 3 of them, such as"),
        ({"users": "user-1", "filter_seen": "no"}, hr.ModelError, "filter_seen must be True or False; got 'no'."),
        ({"users": "user-1", "given": {"user": "user-2"}}, hr.ModelError, "given['user'] is not a context of a recommendation"),
        ({"users": "user-1", "given": {"item": "film-2"}}, hr.ModelError, "expected one of genre, hour."),
        ({"users": "user-1", "k": 0}, hr.ModelError, "k must be a whole number, 1 or more; got 0."),
        ({"users": "user-1", "k": -3}, hr.ModelError, "k must be a whole number, 1 or more; got -3."),
        ({"users": "user-1", "k": 2.5}, hr.ModelError, "k must be a whole number, 1 or more; got 2.5."),
        ({"users": "user-1", "k": True}, hr.ModelError, "k must be a whole number, 1 or more; got True."),
        (
            {"users": "user-1", "histories": pl.DataFrame({"user": ["user-1"], "item": ["film-1"]})},
            hr.DataError,
            "recommend: 'user-1' is in users= and in histories=; name each user once.",
        ),
    ],
    ids=str,
)
def test_recommend_refuses(any_model: hr.TopicModel, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        any_model.recommend(**arguments)
    assert message in str(caught.value)


# ---------------------------------------------------------------------------------------------------------- histories


def test_a_history_is_as_good_as_the_user(films: hr.Hypergraph, model: hr.TopicModel) -> None:
    users = [f"user-{u}" for u in (5, 3, 90)]
    history = films.table("watched").filter(pl.col("user").is_in(users)).select(pl.format("new {}", "user").alias("user"), "item")
    order = history["user"].unique(maintain_order=True).to_list()
    for context in (None, {"hour": "night"}):
        found = model.recommend(histories=history, k=60, given=context)
        assert found["user"].unique(maintain_order=True).to_list() == order
        known = model.recommend([one.removeprefix("new ") for one in order], k=60, given=context)
        assert found["item"].to_list() == known["item"].to_list()
        np.testing.assert_allclose(found["score"], known["score"], rtol=1e-5)


def test_a_history_for_users_with_vectors(films: hr.Hypergraph, free: hr.TopicModel) -> None:
    dramas = pl.DataFrame({"user": ["new"] * 3, "item": ["film-0", "film-3", "film-6"]})
    found = free.recommend(histories=dramas, k=10)
    assert {number(one) % 3 for one in found["item"]} == {0}
    assert not {"film-0", "film-3", "film-6"} & set(found["item"])
    again = free.recommend(histories=dramas, k=60, filter_seen=False)
    assert {"film-0", "film-3", "film-6"} < set(again["item"])


def test_histories_weigh_and_repeat(model: hr.TopicModel) -> None:
    twice = pl.DataFrame({"user": ["a", "a", "a"], "item": ["film-0", "film-1", "film-0"]})
    weighed = pl.DataFrame({"user": ["a", "a"], "item": ["film-0", "film-1"], "weight": [2, 1]})
    assert model.recommend(histories=twice).equals(model.recommend(histories=weighed))
    for n, weight in ((1, [1.0, 50.0]), (0, [50.0, 1.0])):
        other = weighed.with_columns(weight=pl.Series(weight))
        assert number(model.recommend(histories=other)["item"][0]) % 3 == n


@pytest.mark.parametrize("prior", [0.0, 5.0, 1e9])
def test_few_events_are_read_beside_a_prior(films: hr.Hypergraph, prior: float) -> None:
    model = hr.TopicModel(3, n_passes=5, neighbours=None, history_prior=prior).fit(films, progress=False)
    frame = pl.DataFrame({"user": ["new"] * 2, "item": ["film-0", "film-1"], "weight": [2.0, 1.0]})
    found = model.recommend(histories=frame, k=60, filter_seen=False)
    lift = model.state.lift[model.offsets["item"] + model.vocabularies["item"].rows(["film-0", "film-1"])].astype(float)
    n = 3 / model.histories.weight.mean()
    mixed = naive.steadied((2 * lift[0] + lift[1]) / 3, np.ones(3), n, prior)
    expected = model._items.alone.vectors.astype(float) @ (mixed * model.state.prior)
    np.testing.assert_allclose(found["score"], expected[model.vocabularies["item"].rows(found["item"])], rtol=1e-4)
    popular = model._items.alone.vectors @ model.state.prior
    if prior == 1e9:
        np.testing.assert_allclose(found["score"], np.sort(popular)[::-1], rtol=1e-4)


def test_histories_of_any_library_and_of_integers(model: hr.TopicModel) -> None:
    frame = pl.DataFrame({"user": [7, 7, 2], "item": ["film-0", "film-3", "film-1"]})
    found = model.recommend(histories=frame, k=2)
    assert found["user"].to_list() == [7, 7, 2, 2]
    assert model.recommend(histories=frame.to_pandas(), k=2).equals(found)
    assert model.recommend(histories=frame.to_arrow(), k=2).equals(found)
    assert model.recommend(histories=frame.clear()).height == 0


def test_histories_by_the_names_of_the_modalities() -> None:
    rows = pl.DataFrame({"reader": ["a", "a", "b", "b"], "paper": ["p", "q", "q", "r"]})
    model = hr.TopicModel(2, container="reader", n_passes=5).fit(rows)
    named = model.recommend(histories=pl.DataFrame({"reader": ["new"], "paper": ["q"]}))
    assert named.equals(model.recommend(histories=pl.DataFrame({"user": ["new"], "item": ["q"]})))
    assert sorted(named["item"]) == ["p", "r"]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"user": ["a"], "items": ["film-1"]}, "need a column 'item'; the frame has user, items. Did you mean 'items'?"),
        ({"item": ["film-1"]}, "histories need a column 'user'; the frame has item."),
        ({"user": ["a"], "item": ["film-99"]}, "unknown item 'film-99': the model knows 60 of them"),
        ({"user": ["a"], "item": [None]}, "histories: column 'item' has nulls; every row needs an item."),
        ({"user": ["a", None], "item": ["film-1"] * 2}, "column 'user' has nulls; every row needs the id of its user."),
        ({"user": ["a"], "item": ["film-1"], "weight": [float("nan")]}, "weight must be positive and finite in every row."),
        ({"user": ["a"], "item": ["film-1"], "weight": [-1.0]}, "weight must be positive and finite in every row."),
        ({"user": ["a"], "item": ["film-1"], "weight": [0]}, "weight must be positive and finite in every row."),
        (
            {"user": ["a"], "item": ["film-1"], "tme": [3]},
            "histories: column 'tme' is unknown; expected some of user, item, weight, time, genre, hour. Did you mean 'time'?",
        ),
        ({"user": ["a", "b"], "item": ["film-1", None]}, "histories: column 'item' has nulls; every row needs an item"),
        ({"user": ["a", "b"], "item": ["film-1"] * 2, "weight": [1, None]}, "histories: weight must be positive and finite"),
        ({"user": ["a"], "item": ["film-1"], "weight": ["1"]}, "histories: weight must be a column of numbers; got String."),
    ],
    ids=str,
)
def test_histories_refuse(model: hr.TopicModel, history: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(hr.DataError) as caught:
        model.recommend(histories=pl.DataFrame(history))
    assert message in str(caught.value)


def test_histories_that_are_no_frame(model: hr.TopicModel) -> None:
    with pytest.raises(hr.DataError, match=r"expected a frame \(polars, pandas, pyarrow\)"):
        model.recommend(histories=5)


# -------------------------------------------------------------------------------------------------------- cold vertices


@pytest.fixture(scope="module", params=[{}, {"context": None}, {"container": None}], ids=["expressed", "container", "symmetric"])
def with_cold(request: pytest.FixtureRequest, films: hr.Hypergraph) -> hr.TopicModel:
    """Three films that nobody has watched yet, one of each genre."""
    new = pl.DataFrame({"item": [f"new-{g}" for g in range(3)], "genre": GENRES})
    genre = pl.concat([films.table("genre").select("item", "genre"), new])
    frames = {"watched": films.table("watched"), "genre": genre}
    return hr.TopicModel(3, edges={"watched": 1.0, "genre": 0.2}, n_passes=8, seed=1, **request.param).fit(frames, progress=False)


def test_an_item_never_watched_is_recommended_by_its_genre(with_cold: hr.TopicModel, films: hr.Hypergraph) -> None:
    found = with_cold.recommend(k=63).filter(pl.col("item").str.starts_with("new"))
    assert found.height == 3 * 120
    assert (found["score"] > 0).all()
    best = found.unique("user", keep="first", maintain_order=True)
    assert np.mean([number(item) == favourite(films, user) for user, item in best.select("user", "item").iter_rows()]) > 0.95
    only = with_cold.recommend("user-1", among=["new-0", "new-1", "new-2"])
    assert only["item"][0] == f"new-{favourite(films, 'user-1')}"


def test_an_item_never_watched_has_neighbours(with_cold: hr.TopicModel) -> None:
    assert {number(one) % 3 for one in with_cold.similar("item", "new-2", k=10)["neighbour"]} == {2}


# ------------------------------------------------------------------------------------------------------------ similar


@pytest.mark.parametrize("modality", ["item", "user", "genre", "hour"])
def test_similar_is_brute_force(any_model: hr.TopicModel, modality: str) -> None:
    embedding = any_model.embedding(modality).astype(float)
    ids = any_model.vocabularies[modality].ids.to_list()
    expected = np.sqrt(embedding) @ np.sqrt(embedding).T
    found = any_model.similar(modality, ids, k=len(ids))
    assert found.columns == ["id", "neighbour", "score", "rank"]
    assert found.height == len(ids) * (len(ids) - 1)
    rows, others = (any_model.vocabularies[modality].rows(found[name]) for name in ("id", "neighbour"))
    np.testing.assert_allclose(found["score"], expected[rows, others], rtol=1e-4, atol=1e-6)
    assert (found["id"] != found["neighbour"]).all()
    for one, part in found.group_by("id", maintain_order=True):
        assert part["neighbour"].n_unique() == len(ids) - 1, one
        assert part["rank"].to_list() == list(range(1, len(ids)))
        assert part["score"].is_sorted(descending=True)


def test_neighbours_of_a_film_share_its_genre(any_model: hr.TopicModel) -> None:
    found = any_model.similar("item", [f"film-{n}" for n in range(60)], k=5)
    assert found.height == 300
    same = [number(a) % 3 == number(b) % 3 for a, b in found.select("id", "neighbour").iter_rows()]
    assert np.mean(same) > 0.95


def test_similar_keeps_the_order_asked(model: hr.TopicModel) -> None:
    found = model.similar("item", ["film-9", "film-2"], k=3)
    assert found["id"].to_list() == ["film-9"] * 3 + ["film-2"] * 3
    assert model.similar("item", "film-9", k=3).equals(found.head(3))
    assert model.similar("item", []).height == 0


def test_vertices_with_equal_vectors_do_not_hide_each_other() -> None:
    same = pl.DataFrame({"user": [f"u{n}" for n in range(8)] * 2, "item": ["a"] * 8 + ["b"] * 8})
    model = hr.TopicModel(2, n_passes=3).fit(same)
    found = model.similar("user", [f"u{n}" for n in range(8)], k=3)
    assert (found["id"] != found["neighbour"]).all()
    assert found["id"].value_counts()["count"].to_list() == [3] * 8
    np.testing.assert_allclose(found["score"], 1, rtol=1e-5)


def test_similar_to_the_only_vertex() -> None:
    model = hr.TopicModel(1, n_passes=2).fit(pl.DataFrame({"user": ["a", "b"], "item": ["x", "x"]}))
    assert model.similar("item", "x").height == 0
    assert model.recommend("a").height == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("items", ["film-1"]), hr.ModelError, "unknown modality 'items': the model has"),
        (("item", ["film-61"]), hr.DataError, "unknown item 'film-61': the model knows 60 of them"),
    ],
)
def test_similar_refuses(model: hr.TopicModel, arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        model.similar(*arguments)
    with pytest.raises(hr.ModelError, match="k must be a whole number, 1 or more; got 0"):
        model.similar("item", ["film-1"], k=0)


# ------------------------------------------------------------------------------------------------------------ explain


@pytest.mark.parametrize("context", [None, {"hour": "night"}, {"hour": "day", "genre": "drama"}], ids=str)
def test_contributions_sum_to_the_score(any_model: hr.TopicModel, context: dict[str, str] | None) -> None:
    for user in ("user-3", "user-41", "user-119"):
        ranked = any_model.recommend(user, k=60, given=context, filter_seen=False)
        for item in (ranked["item"][0], ranked["item"][30], ranked["item"][59]):
            why = any_model.explain(user, item, given=context)
            assert (why.user, why.item) == (user, item)
            assert why.score == pytest.approx(ranked.filter(pl.col("item") == item)["score"][0], rel=1e-4)
            assert why.topics["contribution"].sum() == pytest.approx(why.score, rel=1e-4)
            assert why.history["contribution"].sum() == pytest.approx(why.score, rel=1e-4)
            assert why.history["contribution"].is_sorted(descending=True)
            assert why.topics["contribution"].is_sorted(descending=True)
            assert (why.topics.drop_nulls("topic")["contribution"] >= 0).all()


def test_explanation_frames(films: hr.Hypergraph, any_model: hr.TopicModel) -> None:
    why = any_model.explain("user-3", "film-2")
    assert why.history.columns == ["modality", "id", "name", "contribution"]
    of_all = why.history.filter(modality="prior")
    assert of_all["name"].to_list() == (["what every user likes"] if any_model.expressed else [])
    assert sorted(why.history["id"].drop_nulls()) == sorted(watched_by(films, "user-3"))
    assert set(why.history["modality"]) == {"item", *of_all["modality"]}
    assert why.topics.columns == ["topic", "name", "share", "contribution"]
    assert why.topics["topic"].null_count() == 1  # what the items of her history say directly
    assert sorted(why.topics["topic"].drop_nulls()) == [0, 1, 2]
    row = any_model.vocabularies["user"].rows(["user-3"])[0]
    share = any_model.embedding("user")[row]
    if any_model.expressed:  # lists read it beside the prior
        n = any_model.histories.take(np.array([row])).weight.sum() / any_model.histories.weight.mean()
        share = naive.steadied(share, any_model.state.prior, n, 20)
    np.testing.assert_allclose(why.topics.drop_nulls("topic").sort("topic")["share"], share, rtol=1e-4, atol=1e-6)


def test_films_of_a_genre_speak_for_its_films(films: hr.Hypergraph, any_model: hr.TopicModel) -> None:
    mixed = next(u for u in films.vocabulary("user").ids if len({number(one) % 3 for one in watched_by(films, u)}) == 3)
    for genre in range(3):
        of_genre = [f"film-{n}" for n in range(genre, 60, 3)]
        best = any_model.explain(mixed, any_model.recommend(mixed, k=1, among=of_genre)["item"][0])
        assert number(best.history.filter(modality="item")["id"][0]) % 3 == genre


def test_the_sentence_names_the_item_and_why(model: hr.TopicModel) -> None:
    item = model.recommend("user-3", k=1)["item"][0]
    why = model.explain("user-3", item, k=1)
    first, topic = why.history.filter(modality="item").row(0, named=True), why.topics.row(0, named=True)
    because, through = (f"{100 * one['contribution'] / why.score:.0f} %" for one in (first, topic))
    assert why.sentence == (
        f"item {item} for user user-3: because of item {first['id']} ({because}); through topic {topic['topic']} ({through})."
    )
    assert str(why) == why.sentence
    assert model.explain("user-3", item, k=3).sentence.count("item film-") == 4


def test_the_sentence_says_what_is_most_of_it(films: hr.Hypergraph) -> None:
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=5, neighbours=None, history_prior=1000).fit(films, progress=False)
    assert ": because of what every user likes (" in model.explain("user-3", "film-5").sentence


def test_the_sentence_says_labels(films: hr.Hypergraph) -> None:
    ids = films.vocabulary("item").ids
    labels = pl.DataFrame({"id": ids, "label": [f"The Film {number(one)}" for one in ids]}).filter(pl.col("id") != "film-2")
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=5).fit(replace(films, labels={"item": labels}), progress=False)
    why = model.explain("user-3", "film-5")
    assert why.sentence.startswith("The Film 5 for user user-3: because of The Film ")
    assert why.history.filter(pl.col("id") != "film-2")["name"].str.starts_with("The Film").all()
    assert model.explain("user-3", "film-2").sentence.startswith("item film-2 for user")


def test_an_item_without_a_common_topic() -> None:
    rows = [(f"u{g}{u}", f"i{g}{i}") for g in range(2) for u in range(6) for i in range(6) if u != i]
    model = hr.TopicModel(2, context=None, n_passes=30, tolerance=0).fit(pl.DataFrame(rows, schema=["user", "item"], orient="row"))
    why = model.explain("u00", "i10")
    assert why.score == 0
    assert why.sentence == "item i10 for user u00: they share no topic."
    assert why.history["contribution"].sum() == 0


@pytest.mark.parametrize(
    ("user", "item", "message"),
    [("user-120", "film-1", "unknown user 'user-120': the model knows 120 of them"), ("user-1", "film", "unknown item 'film'")],
)
def test_explain_refuses(model: hr.TopicModel, user: str, item: str, message: str) -> None:
    with pytest.raises(hr.DataError, match=message):
        model.explain(user, item)
    with pytest.raises(hr.ModelError, match=r"given\['user'\] is not a context"):
        model.explain("user-1", "film-1", given={"user": "user-2"})
    with pytest.raises(hr.ModelError, match="filter_seen must be True or False; got 'no'"):
        model.explain("user-1", "film-1", filter_seen="no")  # type: ignore[arg-type]


def test_a_model_without_contexts_says_so() -> None:
    model = hr.TopicModel(2, n_passes=2).fit(pl.DataFrame({"user": [1, 1, 2, 2], "item": list("abbc")}))
    with pytest.raises(hr.ModelError, match=r"given\['item'\] is not a context of a recommendation: the model has none\."):
        model.recommend([1], given={"item": "a"})


# ------------------------------------------------------------------------------------------------------------ fold_in


def vectors(folded: pl.DataFrame) -> np.ndarray:
    return folded["embedding"].to_numpy()


def test_fold_in_an_item_by_its_genre(any_model: hr.TopicModel) -> None:
    new = pl.DataFrame({"item": ["z", "a", "mixed", "mixed"], "genre": ["horror", "drama", "drama", "horror"]})
    folded = any_model.fold_in("item", new)
    assert folded["id"].to_list() == ["a", "mixed", "z"]
    assert folded.schema["embedding"] == pl.Array(pl.Float32, 3)
    np.testing.assert_allclose(vectors(folded).sum(axis=1), 1, atol=1e-5)
    drama, horror = (any_model.embedding("genre")[any_model.vocabularies["genre"].rows([one])[0]] for one in ("drama", "horror"))
    np.testing.assert_allclose(vectors(folded), [drama, (drama + horror) / 2, horror], rtol=1e-4, atol=1e-7)


def test_fold_in_a_user_from_a_history(films: hr.Hypergraph, model: hr.TopicModel) -> None:
    folded = model.fold_in("user", pl.DataFrame({"item": watched_by(films, "user-3")}).with_columns(user=pl.lit("new")))
    known = model.embedding("user")[model.vocabularies["user"].rows(["user-3"])]
    np.testing.assert_allclose(vectors(folded), known, rtol=1e-4, atol=1e-6)


def test_fold_in_skips_nulls(model: hr.TopicModel) -> None:
    full = model.fold_in("item", pl.DataFrame({"item": ["a", "b", "b"], "genre": ["drama", "horror", "comedy"]}))
    genres = ["drama", "horror", "comedy", None, None]
    folded = model.fold_in("item", pl.DataFrame({"item": ["a", "b", "b", "a", "c"], "genre": genres, "hour": [None] * 5}))
    assert vectors(folded)[:2].tolist() == vectors(full).tolist()
    np.testing.assert_allclose(vectors(folded)[2], model.state.prior, rtol=1e-6)


def test_fold_in_weighs_rows_and_edge_types(model: hr.TopicModel) -> None:
    new = pl.DataFrame({"item": ["a", "a"], "genre": ["drama", None], "user": [None, "user-3"], "weight": [3.0, 2.0]})
    drama = model.embedding("genre")[model.vocabularies["genre"].rows(["drama"])[0]]
    user = model.embedding("user")[model.vocabularies["user"].rows(["user-3"])[0]]
    expected = 3 * EDGES["genre"] * drama + 2 * EDGES["watched"] * user
    np.testing.assert_allclose(vectors(model.fold_in("item", new))[0], expected / expected.sum(), rtol=1e-4, atol=1e-7)


def test_fold_in_weighs_citations_by_their_own_tau() -> None:
    genre = pl.DataFrame({"item": ["a", "b", "c", "d"], "genre": ["x", "x", "y", "y"]})
    cites = pl.DataFrame({"item": ["a", "c"], "item#2": ["b", "d"]})
    model = hr.TopicModel(2, container=None, edges={"genre": 0.5, "cites": 4.0}, n_passes=4).fit({"genre": genre, "cites": cites})
    folded = model.fold_in("item", pl.DataFrame({"item": ["new", "new"], "item#2": ["a", None], "genre": [None, "y"]}))
    expected = 4 * model.embedding("item")[0] + 0.5 * model.embedding("genre")[1]
    np.testing.assert_allclose(vectors(folded)[0], expected / 4.5, rtol=1e-4)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        ({"film": ["a"], "genre": ["drama"]}, hr.DataError, "needs a column 'item' with the new ids; the frame has film, genre."),
        ({"item": ["a"]}, hr.DataError, "needs a column of another modality beside 'item', such as item, genre, hour."),
        ({"item": ["a"], "genres": ["drama"]}, hr.ModelError, "unknown modality 'genres'"),
        ({"item": ["a"], "genre": ["dramas"]}, hr.DataError, "unknown genre 'dramas': the model knows 3 of them"),
        ({"item": ["a", None], "genre": ["drama", "drama"]}, hr.DataError, "fold_in: column 'item' has nulls; every row needs the"),
        ({"item": ["a"], "genre": ["drama"], "weight": [-1.0]}, hr.DataError, "fold_in: weight must be positive and finite"),
        ({"item": ["a"], "genre": ["drama"], "weight": [float("nan")]}, hr.DataError, "weight must be positive and finite"),
        ({"item": ["a"], "genre": ["drama"], "weight": ["x"]}, hr.DataError, "fold_in: weight must be a column of numbers"),
    ],
    ids=str,
)
def test_fold_in_refuses(model: hr.TopicModel, frame: dict[str, list[Any]], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        model.fold_in("item", pl.DataFrame(frame))
    assert message in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- topics


@pytest.mark.parametrize("modality", ["item", "user", "genre", "hour"])
def test_a_topic_is_a_distribution_over_vertices(any_model: hr.TopicModel, modality: str) -> None:
    n = len(any_model.vocabularies[modality])
    found = any_model.topics(modality, k=n)
    assert found.columns == ["topic", "share", "rank", "id", "probability", "lift"]
    assert found.height == 3 * n
    np.testing.assert_allclose(found.group_by("topic").agg(pl.col("probability").sum())["probability"], 1, rtol=1e-5)
    np.testing.assert_allclose(found.unique("topic")["share"].sum(), 1, rtol=1e-5)
    assert found["share"].is_sorted(descending=True)
    for _, part in found.group_by("topic"):
        assert part["rank"].to_list() == list(range(1, n + 1))
        assert part["probability"].is_sorted(descending=True)
        assert part["id"].n_unique() == n
    rows = any_model.vocabularies[modality].rows(found["id"])
    topic = found["topic"].to_numpy()
    np.testing.assert_allclose(found["lift"], any_model.embedding(modality)[rows, topic] / any_model.state.prior[topic], rtol=1e-5)
    short = any_model.topics(modality, k=2)
    assert short.equals(found.filter(pl.col("rank") <= 2))


def test_topics_are_genres(any_model: hr.TopicModel) -> None:
    top = any_model.topics("item", k=10)
    assert top.equals(any_model.topics())
    for _, part in top.group_by("topic"):
        assert len({number(one) % 3 for one in part["id"]}) == 1


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_stand_after_ids(films: hr.Hypergraph, labelled: bool) -> None:
    labels = {"item": pl.DataFrame({"id": ["film-1", "film-2"], "label": ["Eins", "Zwei"]})} if labelled else {}
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=5).fit(replace(films, labels=labels), progress=False)
    frames = {
        "id": model.topics(k=60),
        "item": model.recommend("user-3", k=60, filter_seen=False),
        "neighbour": model.similar("item", "film-5", k=60),
    }
    for on, frame in frames.items():
        assert ("label" in frame.columns) == labelled
        if labelled:
            assert frame.columns.index("label") == frame.columns.index(on) + 1
            named = dict(frame.select(on, "label").iter_rows())
            assert (named["film-1"], named["film-2"], named["film-3"]) == ("Eins", "Zwei", None)
    assert "label" not in model.topics("user").columns


def test_topics_refuse(model: hr.TopicModel) -> None:
    with pytest.raises(hr.ModelError, match=re.escape("unknown modality 'itms': the model has") + ".*Did you mean 'item'"):
        model.topics("itms")
    with pytest.raises(hr.ModelError, match=r"k must be a whole number, 1 or more; got 1\.5"):
        model.topics("item", k=1.5)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- models of other shapes


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.recommend(["a"]),
        lambda model: model.recommend(histories=pl.DataFrame({"user": ["a"], "item": ["b"]})),
        lambda model: model.similar("item", ["a"]),
        lambda model: model.explain("a", "b"),
        lambda model: model.fold_in("item", pl.DataFrame({"item": ["a"], "genre": ["b"]})),
        lambda model: model.topics("item"),
        lambda model: model.topics(),
        lambda model: model.embedding("item"),
        lambda model: model.save("nowhere"),
    ],
)
def test_a_model_that_is_not_fitted_says_so(ask: Any) -> None:
    with pytest.raises(hr.ModelError, match=r"^the model is not fitted: call fit\(graph\) first\.$"):
        ask(hr.TopicModel(3))


def test_embedding_refuses_a_modality_that_was_left_out(films: hr.Hypergraph) -> None:
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=2).fit(films, progress=False)
    with pytest.raises(hr.ModelError, match=r"unknown modality 'genre': the model has"):
        model.embedding("genre")


@pytest.mark.parametrize("context", [hr.Mean(), None], ids=str)
def test_friends_help_who_has_watched_nothing(films: hr.Hypergraph, context: hr.Mean | None) -> None:
    fans = [
        [u for u in films.vocabulary("user").ids if np.mean([number(one) % 3 == g for one in watched_by(films, u)]) > 0.9]
        for g in range(3)
    ]
    pairs = [(a, b) for group in fans for n, a in enumerate(group) for b in group[n + 1 : n + 4]]
    pairs += [(f"silent-{g}", friend) for g in range(3) for friend in fans[g][:5]]
    friends = pl.DataFrame(pairs, schema=["user", "user#2"], orient="row")
    frames = {"watched": films.table("watched"), "friends": friends}
    model = hr.TopicModel(3, context=context, n_passes=30, seed=1).fit(frames, progress=False)
    np.testing.assert_allclose(model.embedding("user").sum(axis=1), 1, atol=1e-5)
    assert (model.user_modality, model.item_modality) == ("user", "item")
    for g in range(3):
        found = model.recommend(f"silent-{g}", k=10)
        assert np.mean([number(one) % 3 == g for one in found["item"]]) > 0.8
        if context:
            why = model.explain(f"silent-{g}", found["item"][0])
            assert set(why.history["modality"]) == {"user", "prior"}
            assert set(why.history["id"].drop_nulls()) == set(fans[g][:5])
            assert why.history["contribution"].sum() == pytest.approx(why.score, rel=1e-4)


@pytest.mark.parametrize("form", [{"container": None}, {"container": "item"}, {"container": "item", "context": None}], ids=str)
def test_citations_alone(form: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    chosen = [(g, a, b) for g in range(3) for a in range(20) for b in rng.choice(20, 6, replace=False) if a != b]
    cites = [(f"p{3 * a + g:02}", f"p{3 * b + g:02}") for g, a, b in chosen]
    graph = pl.DataFrame(cites, schema=["item", "item#2"], orient="row")
    model = hr.TopicModel(3, n_passes=40, **form).fit(graph, progress=False)
    np.testing.assert_allclose(model.embedding("item").sum(axis=1), 1, atol=1e-5)
    everyone = model.recommend(k=5)
    assert np.mean([int(a[1:]) % 3 == int(b[1:]) % 3 for a, b in everyone.select("user", "item").iter_rows()]) > 0.95
    known = {*cites, *((b, a) for a, b in cites)}
    assert all(a != b and (a, b) not in known for a, b in everyone.select("user", "item").iter_rows())
    why = model.explain("p03", everyone.filter(pl.col("user") == "p03")["item"][0])
    assert why.history["contribution"].sum() == pytest.approx(why.score, rel=1e-4)
    new = pl.DataFrame({"item": ["new"] * 3, "item#2": ["p03", "p06", "p09"]})
    assert [int(one[1:]) % 3 for one in model.recommend(histories=new, k=5)["item"]] == [0] * 5
    of_cited = model.embedding("item")[model.vocabularies["item"].rows(["p03", "p06", "p09"])].mean(axis=0)
    np.testing.assert_allclose(vectors(model.fold_in("item", new))[0], of_cited, rtol=1e-3, atol=1e-6)
    with pytest.raises(hr.DataError, match="histories need a column 'item#2'; the frame has user, item"):
        model.recommend(histories=pl.DataFrame({"user": ["new"], "item": ["p03"]}))


def test_ids_and_contexts_of_a_wrong_kind(model: hr.TopicModel) -> None:
    with pytest.raises(hr.DataError, match=r"expected an id or a list of ids; got 3\.5"):
        model.recommend(users=3.5)  # type: ignore[arg-type]
    with pytest.raises(hr.ModelError, match=r"given is \{modality: id\}.*got 'day'"):
        model.recommend(["user-0"], given="day")  # type: ignore[arg-type]
    with pytest.raises(hr.DataError, match=r"the id of one user is a string or an integer; got \['user-1'\]\."):
        model.explain(["user-1"], "film-3")


def test_topics_that_say_nothing_of_a_modality_are_left_out() -> None:
    silent = hr.TopicModel(2, "user", edges={"seen": 1.0, "kind": 1.0}, n_passes=60, tolerance=0).fit(
        {
            "seen": pl.DataFrame({"user": [1, 1, 2, 2, 3, 3, 4, 4], "item": list("ababcdcd")}),
            "kind": pl.DataFrame({"item": ["a", "b"], "kind": ["k", "k"]}),
        },
        progress=False,
    )
    assert silent.topics("item")["topic"].n_unique() == 2
    assert silent.topics("kind")["topic"].n_unique() == 1


def test_rows_in_contexts_and_among_items_are_what_recommend_says(films: hr.Hypergraph) -> None:
    model = hr.TopicModel(6, edges={"watched": 1.0, "watched_at": 0.3}, n_passes=10).fit(films, progress=False)
    users, hours = np.array([3, 0, 3]), np.array([0, 1, 2])
    among = [f"film-{n}" for n in range(0, 60, 4)]
    allowed = model.vocabularies["item"].rows(among)
    found, scores = model.recommend_rows(users, 7, model.seen[users], given={"hour": hours}, among=allowed)
    for user, hour, rows, values in zip(users, hours, found, scores, strict=True):
        asked = [model.vocabularies["user"].ids[int(user)]]
        wanted = model.recommend(asked, k=7, given={"hour": model.vocabularies["hour"].ids[int(hour)]}, among=among)
        assert model.vocabularies["item"].decode(rows[rows >= 0]).to_list() == wanted["item"].to_list()
        np.testing.assert_allclose(values[rows >= 0], wanted["score"], rtol=1e-6)

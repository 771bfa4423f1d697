"""Splits: no edge is lost, nothing of the test stays in train."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import hyperrec as hr
from hyperrec.errors import DataError
from hyperrec.splits import RULES

quick = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def logs(draw: st.DrawFn) -> hr.Hypergraph:
    """Timed edges of few users and items, some of them twice, and a second type with the same pairs."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 20)), min_size=8, max_size=60))
    rows = pl.DataFrame([*pairs, (0, 0, 30), (1, 1, 31)], schema=["user", "item", "time"], orient="row")
    return hr.Hypergraph.from_frames(bought=rows, bought_at=rows.with_columns(hour=pl.col("time") % 3))


def pairs(graph: hr.Hypergraph, edge_type: str = "watched") -> set[tuple[Any, ...]]:
    return set(graph.table(edge_type).select("user", "item").iter_rows())


def split_that_leaves_both(graph: hr.Hypergraph, **options: Any) -> tuple[hr.Hypergraph, hr.Hypergraph]:
    try:
        return hr.split(graph, "bought", **options)
    except DataError as error:
        assume("leaves nothing in" not in str(error))
        raise


def per_user(graph: hr.Hypergraph, edge_type: str) -> dict[Any, int]:
    return dict(graph.table(edge_type).group_by("user").len().iter_rows())


@quick
@given(logs(), st.sampled_from(RULES), st.floats(0.05, 0.95), st.integers(0, 9))
def test_no_edge_is_lost_and_none_is_twice(graph: hr.Hypergraph, by: str, fraction: float, seed: int) -> None:
    train, test = split_that_leaves_both(graph, by=by, fraction=fraction, seed=seed)
    both = pl.concat([train.table("bought"), test.table("bought")])
    assert_frame_equal(both, graph.table("bought"), check_row_order=False)
    assert list(test.edges) == ["bought"]
    without = graph.table("bought_at").join(test.table("bought"), on=["user", "item"], how="anti", maintain_order="left")
    assert_frame_equal(train.table("bought_at"), without)


def test_types_without_time_that_join_users_to_items_tell_nothing_of_what_is_later(caplog: pytest.LogCaptureFixture) -> None:
    rows = pl.DataFrame({"user": [1, 1, 1, 2, 2], "item": list("aaabc"), "time": [1, 8, 9, 2, 3]})
    often = rows.group_by("user", "item", maintain_order=True).agg(weight=pl.len())
    again = hr.Hypergraph.from_frames(bought=rows, again=rows.drop("time"), pairs=rows.select("user", "item").unique())
    assert list(hr.split(again, "bought", by="time")[0].edges) == ["bought", "pairs"]
    genre = pl.DataFrame({"item": list("abc"), "genre": list("xyx")})
    graph = hr.Hypergraph.from_frames(bought=rows, often=often, genre=genre)
    caplog.set_level("INFO", "hyperrec")
    for by in ("time", "last"):
        train, _ = hr.split(graph, "bought", by=by)
        assert list(train.edges) == ["bought", "genre"]
        assert "split: 'often' has no time, and its weights may count what is later: it is left out of train" in caplog.text
        caplog.clear()
    assert list(hr.split(graph, "bought")[0].edges) == ["bought", "often", "genre"]


@quick
@given(logs(), st.floats(0.05, 0.95), st.integers(0, 9))
def test_random_holds_out_a_fraction_of_each_user_and_leaves_one_edge(graph: hr.Hypergraph, fraction: float, seed: int) -> None:
    train, test = split_that_leaves_both(graph, fraction=fraction, seed=seed)
    left, held = per_user(train, "bought"), per_user(test, "bought")
    for user, length in per_user(graph, "bought").items():
        assert left[user] >= 1
        assert abs(held.get(user, 0) - min(fraction * length, length - 1)) <= 0.5 + 1e-9


def test_random_draws_from_the_whole_history(films: hr.Hypergraph) -> None:
    """Every place in the order of a user's edges is held out about equally often."""
    _, test = hr.split(films, "watched", fraction=0.5)
    ranks = films.table("watched").with_columns(place=pl.col("time").rank().over("user") / pl.len().over("user"))
    mean = ranks.join(test.table("watched"), on=["user", "item"], how="semi")["place"].mean()
    assert mean == pytest.approx(ranks["place"].mean(), abs=0.03)


@pytest.mark.parametrize("by", RULES)
def test_the_vertices_stay_and_the_graph_is_unchanged(films: hr.Hypergraph, by: str) -> None:
    before = {name: films.table(name) for name in films.edges}
    train, test = hr.split(films, "watched", by=by)
    assert list(train.edges) == list(films.edges)
    assert train.vocabularies == films.vocabularies == test.vocabularies
    assert_frame_equal(train.table("genre"), before["genre"])
    for name, frame in before.items():
        assert_frame_equal(films.table(name), frame)


@pytest.mark.parametrize("by", ["random", "cold_items", "cold_users"])
def test_the_seed_decides(films: hr.Hypergraph, by: str) -> None:
    first, again, other = (pairs(hr.split(films, "watched", by=by, seed=seed)[1]) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_last_is_the_last_in_time() -> None:
    log = pl.DataFrame({"user": list("aaabbc"), "item": list("xyzxyx"), "time": [3, 9, 5, 8, 2, 1]})
    train, test = hr.split(hr.Hypergraph.from_frames(seen=log), "seen", by="last")
    assert pairs(test, "seen") == {("a", "y"), ("b", "x")}
    assert pairs(train, "seen") == {("a", "x"), ("a", "z"), ("b", "y"), ("c", "x")}


def test_time_cuts_all_timed_types_at_one_moment(films: hr.Hypergraph) -> None:
    tags = films.table("watched").with_columns(tag=pl.lit("t"), item=pl.lit("film-0"))
    graph = hr.Hypergraph.from_frames(
        watched=films.table("watched"), genre=films.table("genre"), tagged=tags.select("user", "item", "tag", "time")
    )
    train, test = hr.split(graph, "watched", by="time", fraction=0.3)
    cut = test.table("watched")["time"].min()
    assert test.edges["watched"].frame.height == round(0.3 * graph.edges["watched"].frame.height)
    assert train.table("watched")["time"].max() < cut
    assert train.table("tagged")["time"].max() < cut
    expected = tags.filter(pl.col("time") < cut).join(test.table("watched"), on=["user", "item"], how="anti")
    assert train.edges["tagged"].frame.height == expected.height > 0
    assert_frame_equal(train.table("genre"), graph.table("genre"))


@pytest.mark.parametrize(("fraction", "held"), [(0.9, 9), (0.7, 7), (0.2, 2), (0.01, 1)])
def test_time_holds_out_the_fraction_it_was_asked_for(fraction: float, held: int) -> None:
    log = pl.DataFrame({"user": [0, 1] * 5, "item": range(10), "time": range(10)})
    _, test = hr.split(hr.Hypergraph.from_frames(seen=log), "seen", by="time", fraction=fraction)
    assert sorted(test.table("seen")["item"]) == list(range(10 - held, 10))


@pytest.mark.parametrize(("by", "column", "total"), [("cold_items", "item", 60), ("cold_users", "user", 120)])
def test_cold_vertices_have_attributes_only(films: hr.Hypergraph, by: str, column: str, total: int) -> None:
    log = films.table("watched").select("user", "item")
    clicks = log.select(pl.col("user").reverse(), "item")
    town = log.select("user").unique(maintain_order=True).with_columns(town=pl.lit("Omsk"))
    graph = hr.Hypergraph.from_frames(watched=log, clicked=clicks, genre=films.table("genre"), town=town)
    train, test = hr.split(graph, "watched", by=by, fraction=0.2)
    cold = set(test.table("watched")[column])
    assert len(cold) == round(0.2 * total)
    for edge_type in ("watched", "clicked"):
        expected = graph.table(edge_type).filter(~pl.col(column).is_in(list(cold)))
        assert_frame_equal(train.table(edge_type), expected)
    for edge_type in ("genre", "town"):
        assert_frame_equal(train.table(edge_type), graph.table(edge_type))


def test_a_held_out_pair_leaves_every_type_that_holds_it() -> None:
    seen_at = pl.DataFrame({"user": list("aaabbb"), "item": list("xyzxyz"), "hour": [1, 2, 3] * 2, "time": [1, 2, 3] * 2})
    graph = hr.Hypergraph.from_frames(
        seen_at=seen_at,
        seen=seen_at.select("user", "item"),
        after=pl.DataFrame({"user": ["a", "a", "a"], "item": ["x", "z", "x"], "item#2": ["y", "x", "z"]}),
        friend=pl.DataFrame({"user": ["a"], "user#2": ["b"]}),
        like=pl.DataFrame({"item": ["x", "x"], "item#2": ["z", "y"]}),
    )
    train, test = hr.split(graph, "seen_at", by="last")
    assert pairs(test, "seen_at") == {("a", "z"), ("b", "z")}
    assert pairs(train, "seen") == {("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")}
    assert train.table("after").select("item", "item#2").rows() == [("x", "y")]
    for unrelated in ("friend", "like"):
        assert_frame_equal(train.table(unrelated), graph.table(unrelated))


def test_a_held_out_friendship_leaves_in_both_directions() -> None:
    friends = pl.DataFrame({"user": [0, 0, 1, 1, 4, 4], "user#2": [1, 2, 2, 3, 3, 4], "time": range(6)})
    back = friends.select(pl.col("user#2").alias("user"), pl.col("user").alias("user#2"))
    train, test = hr.split(hr.Hypergraph.from_frames(follows=friends, fan=back), "follows", by="last")
    assert test.table("follows").select("user", "user#2").rows() == [(0, 2), (1, 3), (4, 4)]
    assert train.table("fan").select("user", "user#2").rows() == [(1, 0), (2, 1), (3, 4)]


@pytest.mark.parametrize(
    ("edge_type", "options", "parts"),
    [
        ("watched", {"by": "randm"}, [f"by must be one of {', '.join(RULES)}; got 'randm'", "Did you mean 'random'"]),
        ("watched", {"fraction": 0}, ["fraction must lie between 0 and 1, exclusive", "got 0"]),
        ("watched", {"fraction": 1.0}, ["fraction must lie between 0 and 1, exclusive", "got 1.0"]),
        ("watched", {"fraction": float("nan")}, ["fraction must lie between 0 and 1, exclusive", "got nan"]),
        ("genre", {"by": "last"}, ["by='last' needs times", "'genre' has none", "in the schema"]),
        ("genre", {"by": "time"}, ["by='time' needs times", "'genre' has none", "in the schema"]),
        ("wached", {}, ["unknown edge type 'wached'", "watched, genre, watched_at", "Did you mean 'watched'"]),
        ("genre", {}, ["by='random', fraction=0.2 leaves nothing in test", "'genre' has 60 edges"]),
        ("genre", {"by": "cold_users", "fraction": 0.999}, ["by='cold_users'", "leaves nothing in train", "'genre' has 60 edges"]),
    ],
)  # fmt: skip
def test_messages(films: hr.Hypergraph, edge_type: str, options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        hr.split(films, edge_type, **options)
    for part in parts:
        assert part in str(caught.value)


def test_edges_of_one_vertex_cannot_be_split() -> None:
    graph = hr.Hypergraph.from_frames(alone=pl.DataFrame({"user": [1, 2]}))
    with pytest.raises(DataError, match="edge type 'alone' joins no users to items: it has one vertex"):
        hr.split(graph, "alone")


def test_the_train_arrays_are_of_the_same_kind(films: hr.Hypergraph) -> None:
    for part in hr.split(films, "watched", by="cold_items"):
        arrays = part.to_arrays("watched")
        assert (arrays.vertices.dtype, arrays.weight.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be a whole number, 0 or more; got -1."),
        ({"seed": 1.5}, "seed must be a whole number, 0 or more; got 1.5."),
        ({"fraction": "x"}, "fraction must lie between 0 and 1, exclusive; got 'x'."),
    ],
)
def test_seeds_and_fractions_that_are_none(options: dict[str, Any], message: str) -> None:
    graph = hr.Hypergraph.from_frames(seen=pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"]}))
    with pytest.raises(hr.DataError, match=message):
        hr.split(graph, "seen", **options)

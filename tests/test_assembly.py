"""From a hypergraph to rows, shards and histories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec.assembly import Assembly, assemble
from hyperrec.roles import check_edges, roles
from hyperrec.topics.shards import Edges, Pairs

BOUGHT = pl.DataFrame({"user": ["ann", "ann", "bob", "ann"], "item": ["tea", "jam", "tea", "tea"], "weight": [1.0, 2.0, 3.0, 4.0]})
VIEWED = pl.DataFrame({"user": ["bob", "cid"], "item": ["jam", "tea"]})
TAGGED = pl.DataFrame({"item": ["tea", "jam", "rye"], "tag": ["hot", "sweet", "sweet"]})
AT = pl.DataFrame({"user": ["ann", "bob"], "item": ["tea", "jam"], "hour": ["noon", "night"], "weight": [1.0, 5.0]})
FRIENDS = pl.DataFrame({"user": ["ann", "bob"], "user#2": ["bob", "cid"]})


def laid_out(frames: Mapping[str, pl.DataFrame], edges: Mapping[str, float] | None = None, **options: Any) -> Assembly:
    graph = hr.Hypergraph.from_frames(**frames)
    container = options.get("container", "user")
    context = hr.Mean() if container is not None else None
    settings = {"container": container, "context": context, "length_damping": 0.25, "context_exponent": 0.15}
    return assemble(graph, check_edges(graph, edges, container), **{**settings, **options})


def dense(found: Assembly) -> np.ndarray:
    """(D, V) weights of the histories."""
    return np.asarray(found.history.matrix(sum(found.sizes.values())).toarray())


@pytest.mark.parametrize(
    ("frames", "container", "expected"),
    [
        ({"bought": BOUGHT, "tagged": TAGGED}, "user", ("user", "item")),
        ({"tagged": TAGGED, "bought": BOUGHT}, "user", ("user", "item")),
        ({"tagged": TAGGED, "bought": BOUGHT}, None, ("item", "tag")),
        ({"tagged": TAGGED}, "tag", ("tag", "item")),
        ({"at": AT.select("hour", "user", "item")}, "user", ("user", "hour")),
        ({"friends": FRIENDS, "bought": BOUGHT}, "user", ("user", "item")),
        ({"friends": FRIENDS}, "user", ("user", "user")),
        ({"friends": FRIENDS}, None, ("user", "user")),
    ],
)
def test_roles(frames: dict[str, pl.DataFrame], container: str | None, expected: tuple[str, str]) -> None:
    graph = hr.Hypergraph.from_frames(**frames)
    assert roles(graph, dict.fromkeys(frames, 1.0), container) == expected


@pytest.mark.parametrize(
    ("frames", "container", "who"),
    [({"tagged": TAGGED}, "user", "user"), ({"seen": BOUGHT.select("user")}, None, "its first modality")],
)
def test_no_edge_type_of_the_container(frames: dict[str, pl.DataFrame], container: str | None, who: str) -> None:
    graph = hr.Hypergraph.from_frames(bought=BOUGHT, **frames)
    (name,) = frames
    with pytest.raises(hr.ModelError, match=f"no edge type joins {who} to another modality: edges has {name}. Add one"):
        roles(graph, dict.fromkeys(frames, 1.0), container)


def test_rows_of_an_expressed_container() -> None:
    found = laid_out({"bought": BOUGHT, "tagged": TAGGED})
    assert found.sizes == {"item": 3, "tag": 2}
    assert found.offsets == {"item": 0, "tag": 3}
    assert found.layout.sizes == (3, 2)
    assert found.layout.phi_weight is None


@pytest.mark.parametrize("container", ["user", None])
def test_rows_of_a_container_with_vectors(container: str | None) -> None:
    found = laid_out({"bought": BOUGHT, "tagged": TAGGED}, container=container, context=None)
    assert found.offsets == {"user": 0, "item": 2, "tag": 5}
    assert (found.layout.phi_weight is not None) == (container is not None)
    assert found.layout.exponents == (1, 1, 1)
    assert len(found.history.vertices) == 0


def test_history_sums_weights_times_tau() -> None:
    found = laid_out({"bought": BOUGHT, "viewed": VIEWED}, {"bought": 2.0, "viewed": 0.5})
    jam, tea = 0, 1
    np.testing.assert_array_equal(dense(found)[:, [jam, tea]], [[4, 10], [0.5, 6], [0, 0.5]])
    assert found.history.weight.dtype == np.float32
    assert found.history.vertices.tolist() == [jam, tea, jam, tea, tea]


def test_seen_are_the_items_of_every_type_that_joins() -> None:
    found = laid_out({"bought": BOUGHT, "at": AT, "tagged": TAGGED})
    jam, rye, tea = 0, 1, 2
    np.testing.assert_array_equal(found.seen.toarray()[:, [tea, jam, rye]], [[1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(laid_out({"bought": BOUGHT, "viewed": VIEWED}).seen.toarray(), [[1, 1], [1, 1], [0, 1]])


def test_counts_of_items_come_from_users_alone() -> None:
    found = laid_out({"bought": BOUGHT, "tagged": TAGGED}, {"bought": 2.0, "tagged": 0.5})
    jam, rye, tea, hot, sweet = found.counts
    assert (jam, rye, tea) == (4, 0, 16)
    assert (hot, sweet) == (0.5, 1)


def test_counts_of_containers_with_vectors() -> None:
    found = laid_out({"bought": BOUGHT, "tagged": TAGGED}, context=None)
    ann, bob = found.counts[:2]
    assert (ann, bob) == (7, 3)


def test_pairs_of_all_types_are_one_shard() -> None:
    (shard,) = laid_out({"bought": BOUGHT, "viewed": VIEWED}).shards
    assert isinstance(shard, Pairs)
    assert shard.history.indptr.tolist() == [0, 2, 4, 5]
    assert shard.history.indptr.dtype == np.int64
    assert shard.history.vertices.dtype == np.int32


def test_free_edge_types_of_one_order_are_one_shard() -> None:
    triples = AT.select("item", pl.col("hour").alias("shelf"), pl.lit("x").alias("shop"))
    frames = {"bought": BOUGHT, "tagged": TAGGED, "made": TAGGED.rename({"tag": "maker"}), "stands": triples}
    pairs, of_two, of_three = laid_out(frames, {"bought": 1, "tagged": 2, "made": 3, "stands": 4}).shards
    assert isinstance(pairs, Pairs)
    assert isinstance(of_two, Edges)
    assert isinstance(of_three, Edges)
    assert of_two.vertices.shape == (6, 2)
    assert of_two.weight.tolist() == [2, 2, 2, 3, 3, 3]
    assert of_three.vertices.shape == (2, 3)
    assert of_three.weight.tolist() == [4, 4]


def test_free_edges_point_to_rows_of_their_modalities() -> None:
    found = laid_out({"bought": BOUGHT, "tagged": TAGGED}, container=None)
    (shard,) = found.shards
    assert isinstance(shard, Edges)
    ann, bob, jam, rye, tea, hot, sweet = range(7)
    expected = [(ann, tea, 1), (ann, jam, 2), (bob, tea, 3), (ann, tea, 4), (tea, hot, 1), (jam, sweet, 1), (rye, sweet, 1)]
    found_edges = [(*edge, weight) for edge, weight in zip(shard.vertices.tolist(), shard.weight.tolist(), strict=True)]
    assert sorted(found_edges) == sorted(expected)
    assert shard.vertices.dtype == np.int32
    assert len(shard.history.vertices) == 0


def test_length_damping() -> None:
    damping = [laid_out({"bought": BOUGHT}, length_damping=power).shards[0].damping for power in (0.0, 0.25, 1.0)]
    np.testing.assert_array_equal(damping[0], [1, 1])
    np.testing.assert_allclose(damping[1], [7**-0.25, 3**-0.25], rtol=1e-6)
    np.testing.assert_allclose(damping[2], [1 / 7, 1 / 3], rtol=1e-6)


def test_length_damping_of_users_without_edges_is_one() -> None:
    graph = hr.Hypergraph.from_frames(bought=BOUGHT, viewed=VIEWED)
    found = assemble(graph, {"bought": 1.0}, container="user", context=hr.Mean(), length_damping=1.0, context_exponent=0.15)
    np.testing.assert_allclose(found.shards[0].damping, [1 / 7, 1 / 3, 1], rtol=1e-6)


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_length_damping_counts_in_units_of_tau(factor: float) -> None:
    frames = {"bought": BOUGHT, "viewed": VIEWED, "at": AT}
    plain = laid_out(frames, {"bought": 1.0, "viewed": 0.5, "at": 4.0})
    scaled = laid_out(frames, {"bought": factor, "viewed": 0.5 * factor, "at": 4 * factor})
    np.testing.assert_array_equal(scaled.shards[0].damping, plain.shards[0].damping)
    np.testing.assert_allclose(scaled.shards[1].weight, factor * plain.shards[1].weight, rtol=1e-6)
    np.testing.assert_allclose(scaled.layout.mass, factor * plain.layout.mass, rtol=1e-6)


def test_edges_in_context_are_damped_and_know_their_place() -> None:
    pairs, at = laid_out({"bought": BOUGHT, "at": AT}, {"bought": 1.0, "at": 0.5}, length_damping=1.0).shards
    assert isinstance(pairs, Pairs)
    assert isinstance(at, Edges)
    jam, tea, night, noon = range(4)
    assert at.vertices.tolist() == [[tea, noon], [jam, night]]
    assert at.indptr.tolist() == [0, 1, 2]
    np.testing.assert_allclose(at.weight, [0.5 / 7, 2.5 / 3], rtol=1e-6)
    assert at.place.tolist() == [1, 1]  # ann's tea; bob has not bought jam
    assert at.history is pairs.history


@pytest.mark.parametrize("columns", [("hour", "user", "item"), ("item", "hour", "user"), ("user", "hour", "item")])
def test_an_edge_in_context_starts_with_its_item(columns: tuple[str, ...]) -> None:
    expected = laid_out({"bought": BOUGHT, "at": AT})
    found = laid_out({"bought": BOUGHT, "at": AT.select(*columns, "weight")})
    assert found.shards[1].vertices.tolist() == expected.shards[1].vertices.tolist()
    assert found.shards[1].place.tolist() == expected.shards[1].place.tolist()
    assert found.layout.exponents == expected.layout.exponents


def test_without_pairs_the_history_is_that_of_the_longer_edges() -> None:
    found = laid_out({"at": AT}, {"at": 2.0})
    jam, tea = 0, 1
    np.testing.assert_array_equal(dense(found)[:, [tea, jam]], [[2, 0], [0, 10]])
    (shard,) = found.shards
    assert shard.place.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("frames", "exponents"),
    [
        ({"bought": BOUGHT, "at": AT}, {"item": 1, "hour": 0.15}),
        ({"bought": BOUGHT, "at": AT, "tagged": TAGGED}, {"item": 1, "hour": 0.15, "tag": 1}),
        ({"at": AT, "open": AT.select("hour", shop=pl.lit("x"))}, {"item": 1, "hour": 1, "shop": 1}),
        ({"bought": BOUGHT, "likes": AT.select("user", "hour")}, {"item": 1, "hour": 1}),
    ],
    ids=["context alone", "attribute", "context with edges of its own", "second kind of history"],
)
def test_exponents_are_below_one_for_those_who_only_accompany(frames: dict[str, pl.DataFrame], exponents: dict[str, float]) -> None:
    found = laid_out(frames)
    assert dict(zip(found.sizes, found.layout.exponents, strict=True)) == exponents


def test_those_who_only_accompany_are_read_as_phi() -> None:
    found = laid_out({"bought": BOUGHT, "at": AT, "tagged": TAGGED}, {"bought": 1.0, "at": 2.0, "tagged": 1.0}, length_damping=0.0)
    of_hour = slice(found.offsets["hour"], found.offsets["hour"] + 2)
    assert found.layout.phi_weight is not None
    assert found.layout.phi_weight[of_hour].tolist() == [10, 2]  # night, noon
    assert found.layout.phi_weight.sum() == 12


@pytest.mark.parametrize("exponent", [0.15, 1.0])
def test_companions_tell_of_the_topics_that_are_theirs_not_of_the_large_ones(exponent: float) -> None:
    """Hours at which people buy alike have the lift 1 in every topic, though their edges are of one topic far more than all are."""
    rng = np.random.default_rng(1)

    def events(share: float) -> pl.DataFrame:
        first = rng.random(4000) < share
        user = np.where(first, rng.integers(30, size=4000), 30 + rng.integers(30, size=4000))
        item = np.where(first, rng.integers(20, size=4000), 20 + rng.integers(20, size=4000))
        return pl.DataFrame({"user": user, "item": item, "hour": rng.integers(3, size=4000)})

    graph = hr.Hypergraph.from_frames(bought=events(0.2).drop("hour"), at=events(0.8))
    model = hr.TopicModel(2, n_passes=20, context_exponent=exponent, edges={"bought": 1.0, "at": 1.0}).fit(graph, progress=False)
    start = model.offsets["hour"]
    np.testing.assert_allclose(model.state.lift[start : start + 3], 1, atol=0.1)


@pytest.mark.parametrize("first", ["bought", "viewed"])
def test_popularity_is_that_of_the_first_type_between_users_and_items(first: str) -> None:
    frames = {"bought": BOUGHT, "viewed": VIEWED}
    found = laid_out(frames, {first: 2.0, **{name: 1.0 for name in frames if name != first}})
    assert found.counts.tolist() == {"bought": [4, 16], "viewed": [2, 2]}[first]  # jam, tea


def test_mass_is_the_weight_of_all_edges_shared_among_their_vertices() -> None:
    symmetric = laid_out({"bought": BOUGHT, "tagged": TAGGED}, {"bought": 2.0, "tagged": 1.0}, container=None)
    ann, bob, jam, rye, tea, hot, sweet = symmetric.layout.mass
    assert (ann, bob, jam, rye, tea, hot, sweet) == (7, 3, 2.5, 0.5, 8.5, 0.5, 1)
    expressed = laid_out({"bought": BOUGHT}, length_damping=0.0)
    assert expressed.layout.mass.tolist() == [2, 8]


def test_friends_are_histories_of_each_other() -> None:
    found = laid_out({"bought": BOUGHT, "friends": FRIENDS}, {"bought": 1.0, "friends": 0.5})
    assert found.offsets == {"user": 0, "item": 3}
    np.testing.assert_array_equal(
        dense(found), [[0, 0.5, 0, 2, 5], [0.5, 0, 0.5, 0, 3], [0, 0.5, 0, 0, 0]]
    )
    np.testing.assert_array_equal(found.seen.toarray(), [[1, 1], [0, 1], [0, 0]])


@pytest.mark.parametrize(("container", "context"), [("user", hr.Mean()), ("user", None), (None, None)])
def test_friends_alone_have_seen_themselves_and_each_other(container: str | None, context: hr.Mean | None) -> None:
    found = laid_out({"friends": FRIENDS}, container=container, context=context)
    np.testing.assert_array_equal(found.seen.toarray(), [[1, 1, 0], [1, 1, 1], [0, 1, 1]])


def test_a_container_alone_is_no_edge_in_mean() -> None:
    frames = {"bought": BOUGHT, "joined": BOUGHT.select("user")}
    with pytest.raises(hr.ModelError, match="edge type 'joined' holds nothing but the container 'user': leave it out of edges="):
        laid_out(frames)
    assert laid_out(frames, context=None).shards[1].vertices.shape == (4, 1)


def test_all_edge_types_weigh_one_by_default() -> None:
    graph = hr.Hypergraph.from_frames(bought=BOUGHT, tagged=TAGGED)
    assert check_edges(graph, None, "user") == check_edges(graph, {}, "user") == {"bought": 1.0, "tagged": 1.0}
    assert check_edges(graph, {"tagged": 0.5}, None) == {"tagged": 0.5}


# ------------------------------------------------------------------------------------------------ in order

LOG = pl.DataFrame(
    {"user": ["ann", "bob", "ann", "ann", "ann"], "item": ["tea", "tea", "jam", "tea", "rye"], "time": [30, 5, 10, 20, 500]}
)
LOG_AT = LOG.with_columns(hour=pl.Series(["noon", "noon", "night", "night", "noon"]))


def test_positions_stand_in_the_order_of_their_times_repeats_kept() -> None:
    found = laid_out({"bought": LOG}, {"bought": 2.0}, context=hr.Recency(0.5), length_damping=0.0)
    jam, rye, tea = 0, 1, 2
    assert found.history.vertices.tolist() == [jam, tea, tea, rye, tea]
    assert found.history.indptr.tolist() == [0, 4, 5]
    assert not found.history.starts.any()
    (shard,) = found.shards
    assert isinstance(shard, Edges)
    assert shard.vertices[:, 0].tolist() == found.history.vertices.tolist()
    assert shard.place.tolist() == [0, 1, 2, 3, 0]
    assert shard.weight.tolist() == [2] * 5
    assert found.layout.mass.tolist() == [2, 2, 6]


def test_rows_without_times_stand_as_they_are_and_before_those_with() -> None:
    found = laid_out({"bought": LOG, "liked": VIEWED.vstack(VIEWED)}, context=hr.Recency())
    jam, rye, tea = 0, 1, 2
    assert found.history.vertices[found.history.owners == 1].tolist() == [jam, jam, tea]
    assert laid_out({"bought": LOG.drop("time")}, context=hr.Recency()).history.vertices.tolist() == [tea, jam, tea, rye, tea]


def test_a_pause_begins_a_new_document_and_importance_is_of_the_item() -> None:
    context = hr.Recency(pause=60, importance={"tea": 0.25, "rye": 0})
    found = laid_out({"bought": LOG}, context=context)
    assert found.history.starts.tolist() == [False, False, False, True, False]
    assert found.history.importance.tolist() == [1, 0.25, 0.25, 0, 0.25]
    with pytest.raises(hr.DataError, match="unknown item 'coffee'"):
        laid_out({"bought": LOG}, context=hr.Recency(importance={"coffee": 1.0}))


def test_a_pause_of_dates_is_in_seconds() -> None:
    log = LOG.with_columns(pl.from_epoch("time", "s").dt.cast_time_unit("us"))
    found = laid_out({"bought": log}, context=hr.Recency(pause=60))
    assert found.history.starts.tolist() == [False, False, False, True, False]


def test_events_of_one_second_stand_in_the_order_of_their_milliseconds() -> None:
    times = pl.Series([900, 100, 500]).cast(pl.Datetime("ms"))
    log = pl.DataFrame({"user": ["ann"] * 3, "item": ["tea", "jam", "rye"], "time": times})
    assert laid_out({"bought": log}, context=hr.Recency()).history.vertices.tolist() == [0, 1, 2]  # jam, rye, tea


def test_longer_edges_find_their_place_by_item_and_time() -> None:
    found = laid_out({"bought": LOG, "at": LOG_AT}, context=hr.TwoSided())
    at = found.shards[1]
    assert isinstance(at, Edges)
    assert at.place.tolist() == [2, 0, 1, 3, 0]  # ann: tea 30, jam 10, tea 20, rye 500; bob: tea


def test_longer_edges_of_other_events_come_before_what_is_not_earlier() -> None:
    other = pl.DataFrame({"user": ["ann"] * 3, "item": ["rye"] * 3, "hour": ["noon"] * 3, "time": [1, 15, 900]})
    at = laid_out({"bought": LOG, "at": other}, context=hr.Recency()).shards[1]
    assert at.place.tolist() == [0, 1, 4]
    untimed = laid_out({"bought": LOG, "at": other.drop("time")}, context=hr.Recency()).shards[1]
    assert untimed.place.tolist() == [3, 3, 3]


def test_longer_edges_alone_are_the_history() -> None:
    (shard,) = laid_out({"at": LOG_AT}, context=hr.Recency()).shards
    assert isinstance(shard, Edges)
    assert shard.history.vertices.tolist() == [0, 2, 2, 1, 2]
    assert shard.place.tolist() == [2, 0, 1, 3, 0]
    assert shard.vertices.shape == (5, 2)

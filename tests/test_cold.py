from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import naive
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.attributes import LENGTH, NEAREST, Described

GENRES, AGES = ["drama", "comedy", "horror"], ["young", "mid", "old"]


def graph_of(n_users: int = 120, n_items: int = 60, n_cold: int = 9) -> hr.Hypergraph:
    """Users of three tastes, whom their ages tell; the last items have a genre, a word and no events."""
    rng = np.random.default_rng(0)
    tastes = rng.dirichlet([0.2] * 3, size=n_users)
    met = (n_items - n_cold) // 3
    rows = [(f"u{u}", f"i{3 * rng.integers(met) + rng.choice(3, p=tastes[u])}") for u in range(n_users - 5) for _ in range(10)]
    items = [f"i{i}" for i in range(n_items)]
    return hr.Hypergraph.from_frames(
        watched=pl.DataFrame(rows, schema=["user", "item"], orient="row").unique(maintain_order=True),
        genre=pl.DataFrame({"item": items, "genre": GENRES * (n_items // 3)}),
        word=pl.DataFrame({"item": items, "word": [f"w{i % 7}" for i in range(n_items)]}).with_columns(weight=pl.lit(2)),
        age=pl.DataFrame({"user": [f"u{u}" for u in range(n_users)], "age": [AGES[int(t.argmax())] for t in tastes]}),
    )


KINDS = {
    "neighbours": {},
    "topics alone": {"neighbours": None},
    "in order": {"context": hr.Recency(0.3), "neighbours": None},
    "no likeness": {"attributes": hr.Attributes(likeness=0)},
    "own vectors": {"context": None, "neighbours": None},
}


@pytest.fixture(scope="module")
def graph() -> hr.Hypergraph:
    return graph_of()


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, graph: hr.Hypergraph) -> hr.TopicModel:
    return hr.TopicModel(4, n_passes=15, **{"attributes": hr.Attributes(), **KINDS[request.param]}).fit(graph)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_features_and_what_they_say_match_naive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (8, 5)) * rng.integers(0, 2, (8, 5))
    counts[0, 0] = 1
    at = counts.nonzero()
    frame = pl.DataFrame({"item": at[0], "word": at[1], "weight": counts[at].astype(float)})
    others = pl.DataFrame({"item": np.arange(8), "word": np.full(8, 5)})
    graph = hr.Hypergraph.from_frames(word=frame, tag=others.rename({"word": "tag"}))
    told = hr.Attributes(edges={"word": 2.0, "tag": 1.0}).chosen(graph, (), "user", "item")
    items = Described.of("item", graph, told, np.arange(8))
    words = graph.vocabulary("word").ids.to_list()
    whole = np.column_stack([counts[:, words], np.ones(8)])
    features = naive.tf_idf(whole, np.array([2.0] * len(words) + [1.0]))
    np.testing.assert_allclose(items.features.toarray(), features, rtol=1e-5, atol=1e-6)
    rows, targets = np.arange(6), rng.random((6, 3))
    known = (features[:6] != 0).any(axis=1)
    found = items.learned(rows, targets, 0.5)
    expected = naive.ridge(naive.unit(features[:6][known]), targets[known], 0.5)
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-3, atol=1e-5)
    said = found.says(items.features[6:], LENGTH)
    np.testing.assert_allclose(said, naive.unit(features[6:], LENGTH) @ expected, rtol=1e-3, atol=1e-4)
    like = naive.likeness(features, rows, np.array([6, 7]), LENGTH)
    np.testing.assert_allclose(items.likeness(items.features[6:], rows).toarray()[:6], like, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(items.nearest(rows).toarray(), naive.nearest(features, rows, NEAREST), rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_nearest_to_each_match_naive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.random((90, 12)) * (rng.random((90, 12)) < 0.7)
    rows = np.sort(rng.choice(90, 80, replace=False))
    items = Described("item", [], [], np.ones(12), sp.csr_matrix(features.astype(np.float32)), np.zeros((12, 0), np.float32))
    np.testing.assert_allclose(items.nearest(rows).toarray(), naive.nearest(features, rows, NEAREST), rtol=1e-4, atol=1e-5)


def test_edges_between_items_and_edges_of_three_describe_items() -> None:
    cites = pl.DataFrame({"item": [0, 1, 1, 4], "item#2": [1, 0, 2, 0], "weight": [1.0, 2.0, 1.0, 1.0]})
    tagged = pl.DataFrame({"user": [0, 1, 1], "item": [0, 0, 3], "tag": ["new", "new", "old"]})
    graph = hr.Hypergraph.from_frames(cites=cites, tagged=tagged)
    chosen = hr.Attributes(edges={"cites": 2.0, "tagged": 1.0}).chosen(graph, (), "user", "item")
    ids = graph.vocabulary("item").ids.to_list()
    met = np.array([row for row, one in enumerate(ids) if one != 4])
    items = Described.of("item", graph, chosen, met)
    assert Described.of("user", graph, chosen, np.arange(2)).features.shape == (2, 0)
    edges = [(ids.index(a), ids.index(b), w) for a, b, w in cites.iter_rows()]
    tags = np.zeros((len(ids), 2))
    tags[ids.index(0), graph.vocabulary("tag").rows(["new"])[0]] = 2
    tags[ids.index(3), graph.vocabulary("tag").rows(["old"])[0]] = 1
    counts = np.hstack([naive.joined(edges, len(ids)), tags])
    counts[ids.index(4), ids.index(4)] = 0  # without events
    features = naive.tf_idf(counts, np.array([2.0] * len(ids) + [1.0] * 2))
    np.testing.assert_allclose(items.features.toarray(), features, rtol=1e-5, atol=1e-6)
    assert not hr.Attributes().chosen(graph, (), "user", "item")  # such types have to be named


def cited_graph() -> hr.Hypergraph:
    """Items cite others of their kind; the last one has no events."""
    watched = graph_of().table("watched").select("user", "item")
    rows = [(f"i{i}", f"i{j}") for i in range(60) for j in range(i % 3, i, 3) if (i + j) % 4 == 0]
    return hr.Hypergraph.from_frames(watched=watched, cites=pl.DataFrame(rows, schema=["item", "item#2"], orient="row"))


def test_few_items_with_attributes_do_not_outweigh_the_others() -> None:
    watched = graph_of().table("watched").select("user", "item")
    rare = watched.group_by("item").len().sort("len", "item").head(4)["item"]
    tags = pl.DataFrame({"item": rare, "tag": ["x", "x", "y", "y"]})
    model = hr.TopicModel(4, n_passes=5, attributes=hr.Attributes(warm_likeness=0.1)).fit({"watched": watched, "tag": tags})
    plain = hr.TopicModel(4, n_passes=5, attributes=hr.Attributes(warm_likeness=0)).fit({"watched": watched, "tag": tags})
    assert model.item_weights is not None
    more = (model.item_weights - plain.item_weights).toarray()
    rows = model.vocabularies["item"].rows(rare)
    assert 0 < more.max() == pytest.approx(0.1, rel=1e-4)
    assert {*more.nonzero()[0]} == {*rows.tolist()}


def test_a_new_item_scores_as_one_without_events_of_the_log() -> None:
    cites = cited_graph().table("cites").select("item", "item#2")
    cold = pl.DataFrame({"item": ["cold"] * 2, "item#2": ["i3", "i6"]})
    watched = graph_of().table("watched").select("user", "item")
    options: dict[str, Any] = {"edges": {"watched": 1.0}, "n_passes": 5, "attributes": hr.Attributes(edges={"cites": 1.0})}
    model = hr.TopicModel(4, **options).fit({"watched": watched, "cites": pl.concat([cites, cold])})
    longer = model.with_items(cold.with_columns(item=pl.lit("new")))
    first, second = longer.recommend("u0", k=2, among=["cold", "new"])["score"]
    assert first == pytest.approx(second, rel=1e-3)


def test_items_that_are_as_alike_are_taken_by_their_number() -> None:
    features = sp.csr_matrix(np.ones((120, 1), np.float32))
    items = Described("item", [], [], np.ones(1), features, np.zeros((1, 0), np.float32))
    found = items.nearest(np.arange(120)[::-1])
    assert (np.diff(found.tocsc().indptr) <= NEAREST).all()
    assert set(found[:, [3]].tocoo().row) == set(range(119, 119 - NEAREST, -1))


@pytest.mark.parametrize("neighbours", [hr.Neighbours(), None], ids=["beside neighbours", "alone"])
def test_items_that_are_alike_speak_for_each_other(neighbours: hr.Neighbours | None, tmp_path: Path) -> None:
    graph = cited_graph()
    options: dict[str, Any] = {"edges": {"watched": 1.0}, "container": "user", "n_passes": 10, "neighbours": neighbours}
    plain = hr.TopicModel(4, **options, attributes=hr.Attributes(edges={"cites": 1.0}, warm_likeness=0)).fit(graph)
    model = hr.TopicModel(4, **options, attributes=hr.Attributes(edges={"cites": 1.0}, warm_likeness=0.2)).fit(graph)
    assert model.item_weights is not None
    assert model.described is not None
    features = model.described[1].features.toarray()
    met = np.flatnonzero((np.bincount(model.seen.indices, minlength=60) > 0) & features.any(axis=1))
    before = plain.item_weights.toarray() if plain.item_weights is not None else 0
    alike = naive.nearest(features, met, NEAREST)
    each = [alike[item].sum() for item in model.seen.indices if features[item].any()]  # what an event gives to others
    expected = before + 0.2 * alike / np.mean(each)
    np.testing.assert_allclose(model.item_weights.toarray(), expected, rtol=1e-4, atol=1e-5)
    best = model.recommend(["u0"], k=1)
    told = model.explain("u0", best["item"][0])
    np.testing.assert_allclose(told.score, best["score"][0], rtol=1e-4)
    np.testing.assert_allclose(told.history["contribution"].sum(), told.score, rtol=1e-3)
    model.save(tmp_path / "cited")
    assert hr.load(tmp_path / "cited").recommend(k=5).equals(model.recommend(k=5))
    new = pl.DataFrame({"item": ["new", "new"], "item#2": ["i0", "i3"]})
    longer = model.with_items(new)
    placed = model.fold_in("item", new)["embedding"].to_numpy()[0]
    kin = [f"i{i}" for i in range(0, 51, 3)]
    like = [float(np.sqrt(placed) @ np.sqrt(model.embedding("item")[row])) for row in model.vocabularies["item"].rows(kin)]
    others = model.vocabularies["item"].rows([f"i{i}" for i in range(51) if i % 3])
    assert np.mean(like) > np.mean(np.sqrt(model.embedding("item")[others]) @ np.sqrt(placed))
    assert longer.recommend(["u0"], among=["new"])["item"].to_list() == ["new"]
    assert "because of item i" in str(model.explain("u0", "i0")) or neighbours is None


def test_items_without_events_are_ranked_by_their_attributes(model: hr.TopicModel) -> None:
    cold = [f"i{i}" for i in range(51, 60)]
    assert list(model.fitted_edges) == ["watched"]
    listed = model.recommend(["u0", "u1", "u2"], k=9, among=cold)
    assert listed.height == 27
    for user in ("u0", "u1", "u2"):
        seen = model.recommend([user], k=1)["item"][0]
        best = listed.filter(pl.col("user") == user).sort("score", descending=True)["item"].head(3)
        if user == "u0" and not (model.context and model.context.ordered):  # the taste is sharp, the last items are by chance
            assert {int(item[1:]) % 3 for item in best} == {int(seen[1:]) % 3}


def test_one_list_of_both_kinds_is_calibrated(graph: hr.Hypergraph) -> None:
    model = hr.TopicModel(4, n_passes=15, neighbours=None, attributes=hr.Attributes()).fit(graph)
    scores = model.recommend(k=60, filter_seen=False)
    cold = scores["item"].str.slice(1).cast(pl.Int64) >= 51
    ratio = scores.filter(cold)["score"].mean() / scores.filter(~cold)["score"].mean()  # type: ignore[operator]
    assert 0.5 < ratio < 2


def test_own_events_leave_items_without_events_their_share(graph: hr.Hypergraph) -> None:
    rows = graph.table("watched")
    frames = {"watched": pl.concat([rows, rows]), **{one: graph.table(one) for one in ("genre", "word")}}
    known = hr.Attributes(likeness=0)
    model, plain = (hr.TopicModel(4, n_passes=15, neighbours=one, attributes=known).fit(frames) for one in (hr.Neighbours(), None))
    assert model.memory is not None
    cold = [f"i{i}" for i in range(51, 60)]
    ours, topics = (one.recommend(["u0"], k=9, among=cold, filter_seen=False) for one in (model, plain))
    np.testing.assert_allclose(ours["score"], topics["score"], rtol=1e-4)
    assert model.explain("u0", cold[0], filter_seen=False).score == pytest.approx(
        ours.filter(item=cold[0])["score"][0], rel=1e-4
    )


def test_the_largest_edge_type_is_the_log(graph: hr.Hypergraph) -> None:
    frames = {one: graph.table(one) for one in ("age", "watched", "genre")}
    model = hr.TopicModel(4, n_passes=3, attributes=hr.Attributes()).fit(frames)
    assert (model.user_modality, model.item_modality, [*model.fitted_edges]) == ("user", "item", ["watched"])


def test_explanations_sum_to_scores(model: hr.TopicModel) -> None:
    longer = model.with_items(pl.DataFrame({"item": ["new"], "genre": ["horror"]}))
    for user in ("u0", "u119"):  # the last one has no history
        for item in ("i0", "i59", "new"):
            score = longer.recommend([user], among=[item], filter_seen=False)["score"][0]
            told = longer.explain(user, item)
            np.testing.assert_allclose(told.score, score, rtol=1e-3, atol=1e-7)
            np.testing.assert_allclose(told.topics["contribution"].sum(), score, rtol=1e-3, atol=1e-7)
            if model.expressed or user == "u0":
                np.testing.assert_allclose(told.history["contribution"].sum(), score, rtol=1e-3, atol=1e-7)


def test_explanations_of_new_users_sum_to_scores(model: hr.TopicModel) -> None:
    histories = pl.DataFrame(
        {"user": ["a", "a", "b", "b"], "item": ["i3", "i4", None, "i5"], "age": [None, None, "young", None]}
    )
    lists = model.recommend(histories=histories, k=60, filter_seen=False)
    for user, item, score in lists.filter(pl.col("rank") % 9 == 1).select("user", "item", "score").iter_rows():
        told = model.explain(user, item, histories=histories, filter_seen=False)
        for frame in (told.history, told.topics):
            np.testing.assert_allclose(frame["contribution"].sum(), score, rtol=1e-3, atol=1e-7)
    told = model.explain("a", "i9", histories=histories.head(2).with_columns(age=pl.lit("young")))
    assert told.history.filter(modality="attributes").height == 1  # also where known users have vectors of their own
    by_age = pl.DataFrame({"user": [7], "age": ["young"]})
    best = model.recommend(histories=by_age, k=1)
    assert model.explain(7, best["item"][0], histories=by_age).score == pytest.approx(best["score"][0], rel=1e-3)
    days = pl.DataFrame({"user": [dt.date(2026, 1, 2)] * 2, "item": ["i3", "i4"]})
    assert model.explain("2026-01-02", "i9", histories=days).score == model.explain(dt.date(2026, 1, 2), "i9", histories=days).score
    assert model.explain(7.0, "i9", histories=by_age).score == model.explain(7, "i9", histories=by_age).score
    with pytest.raises(hr.DataError, match=r"explain: histories tell of 7, and not of 7\.9"):
        model.explain(7.9, "i9", histories=by_age)
    with pytest.raises(hr.DataError, match="explain: histories tell of a, b, and not of 'c'; leave them out for a known"):
        model.explain("c", "i3", histories=histories)


def test_explanation_names_what_is_known_of_a_user(graph: hr.Hypergraph) -> None:
    model = hr.TopicModel(4, n_passes=15, attributes=hr.Attributes()).fit(graph)
    age = graph.edges["age"].frame.filter(pl.col("user") == graph.vocabulary("user").rows(["u119"])[0])["age"][0]
    assert f"because of age {graph.vocabulary('age').ids[age]} (100 %)" in str(model.explain("u119", "i0"))


def test_users_are_drawn_to_what_is_known_of_them(graph: hr.Hypergraph) -> None:
    model = hr.TopicModel(4, n_passes=15, neighbours=None, history_prior=3.0, attributes=hr.Attributes()).fit(graph)
    assert model.described is not None
    users = model.described[0]
    row = graph.vocabulary("user").rows(["u0"])
    n = np.diff(model.histories.indptr)[row][0]
    known = np.maximum(1 + naive.unit(users.features[row].toarray()) @ users.vectors, 0)
    history = model.histories.take(row)
    mean = np.average(model.state.lift[history.vertices], axis=0, weights=history.weight)
    np.testing.assert_allclose(model._user_lifts(row), naive.steadied(mean, known, n, 3), rtol=1e-4)


def test_few_events_do_not_outweigh_the_topics(graph: hr.Hypergraph) -> None:
    model = hr.TopicModel(4, n_passes=15, attributes=hr.Attributes()).fit(graph)
    assert model.neighbours is not None
    found = model.recommend(histories=pl.DataFrame({"user": ["warm"], "item": ["i0"]}), k=60)
    assert model.item_weights is not None
    usual = model.seen.nnz / (np.diff(model.seen.indptr) > 0).sum()
    row = model.vocabularies["item"].rows(["i0"])[0]
    lifts = naive.steadied(model.state.lift[model.offsets["item"] + row], np.ones(4), 1, 20)
    topics = model._items.beside.vectors @ (lifts * model.state.prior)
    scores = model.neighbours.share * usual * topics + model.item_weights[[row]].toarray()[0]
    np.testing.assert_allclose(found["score"], scores[model.vocabularies["item"].rows(found["item"])], rtol=1e-3, atol=1e-6)


def test_hot_warm_and_cold_users_in_one_call(model: hr.TopicModel) -> None:
    histories = pl.DataFrame(
        {"user": ["warm", "warm", "cold", "nobody"], "item": ["i0", "i3", None, None], "age": ["old", None, "old", None]}
    )
    found = model.recommend(["u0", "u119"], histories=histories, k=5)
    assert found["user"].unique(maintain_order=True).to_list() == ["u0", "u119", "warm", "cold", "nobody"]
    for user, alone in (("u0", model.recommend(["u0"], k=5)), ("cold", model.recommend(histories=histories[2:3], k=5))):
        together = found.filter(pl.col("user") == user)["score"]
        np.testing.assert_allclose(together, alone["score"], rtol=1e-4, atol=1e-7)
    assert not {"i0", "i3"} & {*found.filter(pl.col("user") == "warm")["item"]}
    listed = model.recommend(histories=histories.drop("item"), k=5)
    assert set(listed["user"]) == {"warm", "cold", "nobody"}
    new = model.recommend(["u0"], histories=pl.DataFrame({"user": [7], "item": ["i0"]}), k=1)
    assert new["user"].to_list() == ["u0", "7"]


def test_of_whom_nothing_is_known_gets_what_is_popular(graph: hr.Hypergraph) -> None:
    model = hr.TopicModel(4, n_passes=15, neighbours=None, attributes=hr.Attributes(likeness=0)).fit(graph)
    listed = model.recommend(histories=pl.DataFrame({"user": ["nobody"], "age": [None]}, schema_overrides={"age": pl.String}), k=5)
    counts = np.bincount(model.seen.indices, minlength=60)
    popular = counts[model.vocabularies["item"].rows(listed["item"])]
    assert popular.min() >= np.sort(counts)[-8]


def test_a_new_item_is_as_one_that_was_there_without_events(model: hr.TopicModel) -> None:
    frame = pl.DataFrame({"item": ["new", "new"], "genre": ["drama", None], "word": [None, "w0"], "weight": [1, 1]})
    before = model.recommend(["u0"], k=60, filter_seen=False)
    longer = model.with_items(frame)
    after = longer.recommend(["u0"], k=61, filter_seen=False)
    both = before.join(after, on="item")
    assert after["item"].n_unique() == 61
    assert both.height == 60
    np.testing.assert_allclose(both["score"], both["score_right"], rtol=1e-3, atol=1e-7)  # the pseudo-counts are shared by one more
    assert model.recommend(["u0"], k=60, filter_seen=False).equals(before)  # this model stays as it is
    twin = longer.with_items(frame.with_columns(item=pl.lit("twin"))).recommend(["u1"], among=["new", "twin"])["score"]
    np.testing.assert_allclose(twin[0], twin[1], rtol=1e-5)
    assert longer.similar("item", ["new"], k=3).height == 3
    placed = model.fold_in("item", frame.drop("weight"))["embedding"].to_numpy()
    np.testing.assert_allclose(placed.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(longer.embedding("item")[-1], placed[0], rtol=1e-3, atol=1e-5)


def test_saved_and_loaded_gives_the_same_bits(model: hr.TopicModel, tmp_path: Path) -> None:
    model.with_items(pl.DataFrame({"item": ["new"], "genre": ["horror"]})).save(tmp_path / "model")
    again = hr.load(tmp_path / "model")
    histories = pl.DataFrame({"user": ["warm", "cold"], "item": ["i0", None], "age": [None, "old"]})
    longer = model.with_items(pl.DataFrame({"item": ["new"], "genre": ["horror"]}))
    assert again.recommend(["u0"], histories=histories).equals(longer.recommend(["u0"], histories=histories))
    assert again.with_items(pl.DataFrame({"item": ["two"], "word": ["w1"]})).recommend(["u0"], among=["two"]).height == 1
    assert again.attributes == model.attributes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"edges": {}},
            "Attributes: edges must say edge type -> weight > 0, such as {'genre': 1.0}; got {}.",
        ),
        ({"warm_likeness": -1}, "Attributes: warm_likeness must be a number, 0 or more; got -1."),
        ({"likeness": np.nan}, "Attributes: likeness must be a number, 0 or more; got nan."),
        ({"regularization": 0}, "Attributes: regularization must be a number, above 0; got 0."),
        ({"edges": ["genre"]}, "Attributes: edges must say edge type -> weight > 0, such as {'genre': 1.0}; got ['genre']."),
    ],
    ids=str,
)
def test_attributes_refuse(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        hr.Attributes(**arguments)
    assert str(caught.value) == message


def message(call: Any) -> str:
    with pytest.raises(hr.HyperrecError) as caught:
        call()
    return str(caught.value)


def test_messages(graph: hr.Hypergraph, tmp_path: Path) -> None:
    known, plain = (hr.TopicModel(3, n_passes=2, attributes=one, edges={"watched": 1.0}) for one in (hr.Attributes(), None))
    known.fit(graph)
    plain.fit(graph)
    frame = pl.DataFrame({"item": ["new"], "genre": ["horror"]})
    wrong: Any = "age"
    assert message(lambda: hr.TopicModel(3, attributes=wrong)) == "attributes must be hr.Attributes(...) or None; got 'age'."
    assert message(lambda: hr.TopicModel(3, attributes=hr.Attributes(edges={"gener": 1.0})).fit(graph)) == (
        "Attributes: 'gener' is no edge type that describes users or items: there are genre, word, age. "
        "Did you mean 'genre'?"
    )
    assert message(lambda: plain.with_items(frame)) == (
        "with_items reads attributes: fit with TopicModel(attributes=hr.Attributes())."
    )
    assert message(lambda: known.with_items(frame.with_columns(item=pl.lit("i3")))) == (
        "with_items: the model knows item 'i3' already; give new items only."
    )
    assert message(lambda: known.with_items(frame.drop("item"))) == (
        "with_items needs a column 'item' with the new ids; the frame has genre."
    )
    assert message(lambda: known.with_items(frame.rename({"genre": "gener"}))) == (
        "with_items: column 'gener' is unknown; expected some of item, weight, genre, word. Did you mean 'genre'?"
    )
    assert message(lambda: known.recommend(histories=pl.DataFrame({"user": ["a"], "agee": ["old"]}))) == (
        "histories: column 'agee' is unknown; expected some of user, item, weight, time, age. Did you mean 'age'?"
    )
    assert message(lambda: known.with_items(frame.clear())) == "with_items: the frame has no rows."
    assert message(lambda: known.fold_in("item", frame.clear())) == "fold_in: the frame has no rows."
    nameless = pl.DataFrame({"item": [None, "new"], "genre": ["drama", "drama"]})
    for name, ask in (("with_items", known.with_items), ("fold_in", lambda frame: known.fold_in("item", frame))):
        wanted = f"{name}: column 'item' has nulls; every row needs the id of its item."
        assert message(lambda ask=ask: ask(nameless)) == wanted  # type: ignore[misc]
    assert message(lambda: known.fold_in("item", pl.DataFrame({"item": ["x"], "item#7": ["i1"]}))) == (
        "fold_in: column 'item#7' is unknown: no edge of the model joins so many 'item'."
    )
    of_item, of_user = (
        f"'{kind}' is an attribute of {of} and no part of the topics, which have item, user. To make it one, name its edge type in "
        "TopicModel(edges=...)."
        for kind, of in (("genre", "item"), ("age", "user"))
    )
    for ask in (
        lambda: known.topics("genre"),
        lambda: known.fold_in("genre", pl.DataFrame({"genre": ["noir"], "item": ["i3"]})),
        lambda: known.fold_in("item", pl.DataFrame({"item": ["x"], "genre": ["drama"], "user": ["u1"]})),
        lambda: known.recommend("u1", given={"genre": "drama"}),
    ):
        assert message(ask) == of_item
    assert message(lambda: known.fold_in("item", pl.DataFrame({"item": ["x"], "age": ["old"]}))) == of_user
    assert message(lambda: known.topics("gener")) == "unknown modality 'gener': the model has item, user."
    assert message(lambda: known.partial_fit(graph)) == (
        "partial_fit: what attributes say is learned from a whole graph: fit anew, or leave attributes= out."
    )
    assert message(lambda: known.fit(graph.store(tmp_path / "store", container="user"))) == (
        "attributes= are read from a graph in memory: fit to a store without them."
    )


def test_attributes_that_say_nothing(graph: hr.Hypergraph) -> None:
    options: dict[str, Any] = {"attributes": hr.Attributes(), "n_passes": 2}
    every = dict.fromkeys(graph.edges, 1.0)
    assert message(lambda: hr.TopicModel(4, edges=every, **options).fit(graph)) == (
        "attributes= says nothing: every edge type of user and item is fitted. Leave those of attributes out of "
        "TopicModel(edges=), or name them in Attributes(edges=)."
    )
    words = graph.table("word").select("item", "word")
    twice = hr.Hypergraph.from_frames(watched=graph.table("watched").select("user", "item"), word=words, title=words)
    assert message(lambda: hr.TopicModel(4, **options).fit(twice)) == (
        "Attributes: 'word' and 'title' both describe item by word: name one of them in Attributes(edges=)."
    )
    at = graph.table("watched").select("user", "item", hour=pl.lit("noon"))
    only = hr.Hypergraph.from_frames(watched=at, genre=graph.table("genre").select("item", "genre"))
    assert message(lambda: hr.TopicModel(4, attributes=hr.Attributes(edges={"watched": 1})).fit(only)) == (
        "Attributes: no edge type between user and item is left for the topics; leave one of watched out of Attributes(edges=)."
    )


@pytest.mark.parametrize("kind", ["age", "genre"])
def test_attributes_of_one_side_alone_are_enough(graph: hr.Hypergraph, kind: str) -> None:
    model = hr.TopicModel(4, n_passes=15, attributes=hr.Attributes()).fit(graph.select("watched", kind))
    if kind == "age":
        new = pl.DataFrame({"user": ["x"], "item": [None], "age": ["young"]}, schema_overrides={"item": pl.String})
        items = model.recommend(histories=new, k=5)["item"]
        assert (items.str.slice(1).cast(pl.Int32) % 3 == 0).sum() >= 4  # dramas, which the young like
    else:
        drama = model.with_items(pl.DataFrame({"item": ["premiere"], "genre": ["drama"]})).similar("item", ["premiere"], k=5)
        assert (drama["neighbour"].str.slice(1).cast(pl.Int32) % 3 == 0).all()


def test_what_is_known_of_one_side_alone() -> None:
    rng = np.random.default_rng(0)
    seen = pl.DataFrame({"user": rng.integers(40, size=400), "item": rng.integers(20, size=400)}).unique(maintain_order=True)
    genre = pl.DataFrame({"item": range(25), "genre": [f"g{i % 3}" for i in range(25)]})
    model = hr.TopicModel(3, attributes=hr.Attributes(), n_passes=3).fit({"seen": seen, "genre": genre})
    assert model.recommend(histories=pl.DataFrame({"user": ["a"], "item": [1]}), k=3).height == 3
    age = pl.DataFrame({"user": range(40), "age": [f"a{u % 2}" for u in range(40)]})
    model = hr.TopicModel(3, attributes=hr.Attributes(), n_passes=3).fit({"seen": seen, "age": age})
    assert model.with_items(pl.DataFrame({"item": [100]})).recommend([3], k=30).height > 0


def test_users_with_vectors_of_their_own_are_known_by_attributes_too() -> None:
    rows = [(user, 2 * item + user % 2) for user in range(60) for item in range(8)]
    seen = pl.DataFrame(rows, schema=["user", "item"], orient="row")
    age = pl.DataFrame({"user": range(60), "age": ["young" if u % 2 else "old" for u in range(60)]})
    model = hr.TopicModel(2, context=None, attributes=hr.Attributes(), n_passes=20, seed=1).fit({"seen": seen, "age": age})
    new = pl.DataFrame({"user": ["a", "b"], "item": [None, None], "age": ["old", "young"]}, schema_overrides={"item": pl.Int64})
    found = model.recommend(histories=new, k=4)
    assert {item % 2 for item in found.filter(user="a")["item"]} == {0}
    assert {item % 2 for item in found.filter(user="b")["item"]} == {1}


def test_new_items_change_no_topic_of_an_exact_fold_in() -> None:
    rng = np.random.default_rng(0)
    seen = pl.DataFrame({"user": rng.integers(40, size=400), "item": rng.integers(20, size=400)}).unique(maintain_order=True)
    genre = pl.DataFrame({"item": range(20), "genre": [f"g{i % 3}" for i in range(20)]})
    options: dict[str, Any] = {"context": hr.FoldIn(exact=True), "attributes": hr.Attributes(), "n_passes": 3}
    model = hr.TopicModel(3, **options).fit({"seen": seen, "genre": genre})
    longer = model.with_items(pl.DataFrame({"item": [100], "genre": ["g1"]}))
    assert longer.layout.gradient
    known = longer.vocabularies["item"].rows(model.vocabularies["item"].ids)
    np.testing.assert_allclose(longer.phi("item")[known], model.phi("item"), rtol=1e-4, atol=1e-6)

"""Items with text and history in one model: vertices near one of another modality, and new ones by their text alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive
import numpy as np
import polars as pl
import pytest

import hyperrec as hr

TEXTS = [
    "An alarm clock that wakes you, and no alarm or clock",
    "Kill zombies, kill aliens: new game",
    "Bank accounts and money, money",
]
STOPS = ["an", "and", "no", "or", "that", "you"]
KINDS = {"attributes": {"attributes": hr.Attributes()}, "edges": {"edges": {"used": 1.0, "word": 0.1, "says": 0.1}}}
WORD = {"column": "text", "tokenize": True, "stop_words": STOPS, "collocations": 1}


def graph_of() -> hr.Hypergraph:
    """Apps of three kinds, a text of each, and people who use those of one kind, but for the last three, and say what they want."""
    rng = np.random.default_rng(0)
    apps = pl.DataFrame({"app": [f"app-{i}" for i in range(45)], "text": [TEXTS[i % 3] for i in range(45)]})
    uses = [(u, f"app-{3 * rng.integers(14) + u % 3}") for u in range(60) for _ in range(8)]
    says = pl.DataFrame({"user": range(60), "wish": [["wake", "fight", "pay"][u % 3] + " me" for u in range(60)]})
    schema = {
        "name": "apps",
        "tables": {name: {"file": f"{name}.csv"} for name in ("uses", "apps", "says")},
        "edges": {
            "used": {"table": "uses", "vertices": {"user": "user", "app": "app"}},
            "word": {"table": "apps", "vertices": {"app": "app", "word": WORD}},
            "says": {"table": "says", "vertices": {"user": "user", "wish": {"column": "wish", "tokenize": True}}},
        },
    }
    uses_frame = pl.DataFrame(uses, schema=["user", "app"], orient="row").unique(maintain_order=True)
    return hr.read_logs(schema, {"uses": uses_frame, "apps": apps, "says": says})


@pytest.fixture(scope="module")
def graph() -> hr.Hypergraph:
    return graph_of()


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, graph: hr.Hypergraph) -> hr.TopicModel:
    return hr.TopicModel(3, seed=0, n_passes=15, neighbours=None, **KINDS[request.param]).fit(graph, progress=False)


@pytest.fixture(scope="module")
def placing(graph: hr.Hypergraph) -> hr.TopicModel:
    return hr.TopicModel(3, seed=0, n_passes=15, attributes=hr.Attributes()).fit(graph, progress=False)


def kind(app: Any) -> int:
    return int(app.removeprefix("app-")) % 3


# ------------------------------------------------------------------------------------------------ another modality


def test_similar_to_another_modality_is_brute_force(films: hr.Hypergraph) -> None:
    model = hr.TopicModel(3, n_passes=10, seed=1).fit(films, progress=False)
    for one, to in (("genre", "item"), ("item", "genre"), ("user", "genre"), ("genre", "user")):
        ids, others = (model.vocabularies[m].ids for m in (one, to))
        found = model.similar(one, ids, to=to, k=len(others) + 5)
        assert found.columns == ["id", "neighbour", "score", "rank"]
        assert found.height == len(ids) * len(others)  # none is left out, also where ids are alike
        rows, columns = model.vocabularies[one].rows(found["id"]), model.vocabularies[to].rows(found["neighbour"])
        of_one, of_to = ((model.embedding(m), model._mass(m) / model._mass(m).sum()) for m in (one, to))
        expected = naive.ochiai(*of_one, *of_to, model.state.prior)
        np.testing.assert_allclose(found["score"], expected[rows, columns], rtol=1e-4, atol=1e-6)
        for _, part in found.group_by("id", maintain_order=True):
            assert part["score"].is_sorted(descending=True)
            assert part["rank"].to_list() == list(range(1, len(others) + 1))
    assert model.similar("item", ["film-1"], to="item").equals(model.similar("item", ["film-1"]))


def test_items_of_a_word_and_words_of_an_item_and_of_a_user(model: hr.TopicModel) -> None:
    for word, of in (("alarm", 0), ("zombies", 1), ("bank", 2)):
        apps = model.similar("word", [word], to="app", k=15)["neighbour"]
        assert {kind(app) for app in apps} == {of}
        assert f"app-{42 + of}" in apps  # which nobody uses
        assert word in model.similar("app", [f"app-{of + 3}"], to="word", k=5)["neighbour"].to_list()
        assert word in model.similar("user", [of], to="word", k=5)["neighbour"].to_list()
    assert model.similar("word", "alarm", k=2)["neighbour"].is_in(["clock", "wakes", "alarm_clock"]).all()


def test_an_attribute_stands_where_an_item_would_of_which_nothing_else_is_known(placing: hr.TopicModel) -> None:
    lone = placing.fold_in("app", pl.DataFrame({"app": ["x"], "word": ["zombies"]}))["embedding"].to_numpy()
    found = placing.similar("word", "zombies", to="app", k=45)
    words, apps = placing.similar("word", "zombies", k=99).height + 1, placing._mass("app")
    apps = np.maximum(apps, apps[apps > 0].min())
    p_word, p_app = np.array([1 / words]), apps / apps.sum()  # every word is in as many texts
    expected = naive.ochiai(lone, p_word, placing.embedding("app"), p_app, placing.state.prior)[0]
    rows = placing.vocabularies["app"].rows(found["neighbour"])
    np.testing.assert_allclose(found["score"], expected[rows], rtol=1e-4, atol=1e-6)
    wish = placing.similar("wish", "fight", to="app", k=5)["neighbour"]  # what users say
    assert {kind(app) for app in wish} == {1}


def test_labels_are_those_of_the_neighbours(films: hr.Hypergraph) -> None:
    labels = {"genre": pl.DataFrame({"id": ["drama"], "label": ["a drama"]})}
    graph = hr.Hypergraph(films.edges, films.vocabularies, labels)
    model = hr.TopicModel(3, n_passes=3, seed=1).fit(graph, progress=False)
    found = model.similar("item", "film-0", to="genre", k=3)
    assert found.filter(neighbour="drama")["label"].to_list() == ["a drama"]
    assert "label" not in model.similar("genre", "drama", to="item").columns


def test_attributes_keep_their_labels(graph: hr.Hypergraph, tmp_path: Path) -> None:
    labels = {"word": pl.DataFrame({"id": ["wakes"], "label": ["it wakes"]})}
    graph = hr.Hypergraph(graph.edges, graph.vocabularies, labels)
    model = hr.TopicModel(3, n_passes=3, attributes=hr.Attributes(), neighbours=None).fit(graph, progress=False)
    model.save(tmp_path / "model")
    for one in (model, hr.load(tmp_path / "model")):
        assert one.similar("app", "app-0", to="word", k=11).filter(neighbour="wakes")["label"].to_list() == ["it wakes"]


def test_similar_to_what_there_is_not(model: hr.TopicModel) -> None:
    with pytest.raises(hr.ModelError, match=r"^unknown modality 'apps': the model has .*\. Did you mean 'app'\?$"):
        model.similar("word", "zombies", to="apps")
    with pytest.raises(hr.DataError, match=r"^unknown word 'zombie': the model knows .* Did you mean 'zombies'"):
        model.similar("word", "zombie", to="app")


# ------------------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    "cell",
    ["Alarm Clock, alarm clock! CLOCK", ["alarm_clock", "alarm_clock", "clock"], None],
    ids=["text", "list", "rows"],
)
def test_a_text_is_the_bag_of_its_words(model: hr.TopicModel, cell: Any) -> None:
    words = {"app": ["new", "new"], "word": ["alarm_clock", "clock"], "weight": [4, 2]}
    told = pl.DataFrame(words) if cell is None else pl.DataFrame({"app": ["new"], "word": [cell], "weight": [2]})
    if cell is None:
        told = told.with_columns(word=pl.concat_list("word"))
    wanted = model.fold_in("app", pl.DataFrame(words))
    vectors = (one["embedding"].to_numpy() for one in (model.fold_in("app", told), wanted))
    np.testing.assert_allclose(*vectors, rtol=1e-5, atol=1e-9)
    if model.attributes:
        longer, by_rows = model.with_items(told), model.with_items(pl.DataFrame(words))
        np.testing.assert_allclose(longer.embedding("app"), by_rows.embedding("app"), rtol=1e-5, atol=1e-9)


def test_a_new_item_by_its_text_alone_is_near_items_of_the_same_words(placing: hr.TopicModel) -> None:
    new = pl.DataFrame({"app": ["waking", "fighting", "silent"], "word": ["This ALARM wakes", "Aliens!\nand zombies", "Hm."]})
    longer = placing.with_items(new)
    for app, of in (("waking", 0), ("fighting", 1)):
        assert {kind(one) for one in longer.similar("app", app, k=8)["neighbour"]} == {of}
        assert longer.recommend([of], among=["waking", "fighting"], k=1)["item"].to_list() == [app]
    np.testing.assert_allclose(longer.embedding("app")[-2], placing.state.prior, rtol=1e-5)  # nothing is known of it


def test_texts_beside_other_columns(placing: hr.TopicModel) -> None:
    """Each vertex of a cell counts as many times as it stands there, and the other cells of its row once."""
    frame = pl.DataFrame({"app": ["new"], "word": ["clock, clock, clock"]})
    described = placing.described
    assert described is not None
    alone = placing.with_items(frame).described
    assert alone is not None
    row = alone[1].features[placing.with_items(frame).vocabularies["app"].rows(["new"])]
    count = np.exp(row.data[0] / described[1].idf[row.indices[0]] - 1)
    assert row.nnz == 1
    np.testing.assert_allclose(count, 3, rtol=1e-5)


def test_histories_with_texts(graph: hr.Hypergraph, placing: hr.TopicModel) -> None:
    new = pl.DataFrame({"user": ["a", "b", "b"], "app": [None, "app-1", "app-4"], "wish": ["Wake me, wake!", "fight", None]})
    words = new[[0, 0, 0, 1, 2]].with_columns(wish=pl.Series(["wake", "me", "wake", "fight", None]))
    assert placing.recommend(histories=new, k=5).equals(placing.recommend(histories=words, k=5))
    assert {kind(app) for app in placing.recommend(histories=new[:1], k=3)["item"]} == {0}


def test_a_new_document_is_read_in_the_order_of_its_words(graph: hr.Hypergraph) -> None:
    model = hr.TopicModel(3, "app", context=hr.Recency(0.4), edges={"word": 1.0}, neighbours=None, n_passes=5).fit(graph)
    text = pl.DataFrame({"app": ["x", "y"], "word": ["Money for aliens, an alarm clock", "?"], "weight": [2.0, 1.0]})
    words = pl.DataFrame({"app": "x", "word": ["money", "aliens", "alarm_clock"], "weight": 2.0})
    read = model.positions(history=text[:1])
    assert read["id"].to_list() == words["word"].to_list()
    assert read.equals(model.positions(history=words))
    assert model.recommend(histories=text, k=3, filter_seen=False)["user"].unique(maintain_order=True).to_list() == ["x", "y"]
    listed = words.group_by("app", "weight").agg("word")
    assert model.positions(history=listed).equals(read)


def test_words_that_the_model_does_not_know(model: hr.TopicModel, caplog: pytest.LogCaptureFixture) -> None:
    texts = pl.DataFrame({"app": ["x", "y", "z"], "word": ["clocks and walls", "alarm of walls", None]})
    with caplog.at_level(logging.INFO, "hyperrec"):
        found = model.fold_in("app", texts)["embedding"].to_numpy()
    assert caplog.messages == ["fold_in: 1 of 3 texts of 'word' have no word that the model knows"]
    np.testing.assert_allclose(found[[0, 2]], [model.state.prior] * 2, rtol=1e-5)
    assert found[1].max() > 0.9
    if not model.attributes:
        with pytest.raises(hr.DataError, match="unknown word 'walls'"):
            model.fold_in("app", pl.DataFrame({"app": ["x"], "word": [["alarm", "walls"]]}))


def test_a_loaded_model_cuts_texts_alike(placing: hr.TopicModel, tmp_path: Path) -> None:
    placing.save(tmp_path / "model")
    text = pl.DataFrame({"app": ["x"], "word": ["An alarm clock, money"]})
    again = hr.load(tmp_path / "model")
    assert again.fold_in("app", text).equals(placing.fold_in("app", text))
    assert again.similar("word", "clock", to="app").equals(placing.similar("word", "clock", to="app"))


def test_real_apps_that_nobody_used_are_near_those_of_their_category(data: Callable[[str], Path]) -> None:
    graph = hr.read_logs("frappe", data("frappe"))
    about = pl.read_csv(data("frappe") / "meta.csv", separator="\t", quote_char=None, infer_schema=False).drop_nulls("description")
    kinds = dict(graph.table("category").select("item", "category").iter_rows())
    new = graph.table("word")["item"].unique().sort().gather_every(10)
    warm = {name: graph.table(name).filter(~pl.col("item").is_in(new.implode())) for name in ("used", "word")}
    learned = hr.Hypergraph.from_frames(**warm)
    learned = hr.Hypergraph(learned.edges, learned.vocabularies, tokenizers=graph.tokenizers)
    model = hr.TopicModel(20, n_passes=10, edges={"used": 1.0, "word": 0.5}, neighbours=None, seed=0).fit(learned, progress=False)
    texts = about.select(pl.col("item").cast(pl.Int64), word="description").filter(pl.col("item").is_in(new.implode()))
    placed, known = model.fold_in("item", texts), model.vocabularies["item"].ids
    near = np.argsort(-np.sqrt(placed["embedding"].to_numpy()) @ np.sqrt(model.embedding("item")).T, axis=1)[:, :5]
    pairs = [(app, known[int(row)]) for app, rows in zip(placed["id"], near, strict=True) for row in rows]
    alike = np.mean([kinds[a] == kinds[b] for a, b in pairs if a in kinds and b in kinds])
    by_chance = (pl.Series(list(kinds.values())).value_counts(normalize=True)["proportion"] ** 2).sum()
    assert alike > 2 * by_chance

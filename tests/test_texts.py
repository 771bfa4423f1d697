"""Edges of texts: bags and ordered texts, what graphs, stores and models keep of the cutting, and what is wrong with a text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec import Tokenizer

SCHEMA: dict[str, Any] = {
    "name": "notes",
    "tables": {"notes": {"file": "notes.csv"}},
    "edges": {"text": {"table": "notes", "vertices": {"note": "id"}, "weight": "n"}},
}
NOTES = pl.DataFrame({"id": [2, 1, 2, 3], "text": ["b1 a1 b1", "c1 the b1", "a1 a1", None], "n": [1, 2, 1, 1]})


def notes(frame: pl.DataFrame = NOTES, edge: dict[str, Any] | None = None, **options: Any) -> hr.Hypergraph:
    return hr.read_logs(schema(edge, **options), frame)


def schema(edge: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    told: dict[str, Any] = {**SCHEMA["edges"]["text"], **(edge or {})}
    vertices = {**told["vertices"], "word": {"column": "text", "tokenize": True, **options}}
    return {**SCHEMA, "edges": {"text": {**told, "vertices": vertices}}}


def test_a_bag_counts_the_words_of_a_row() -> None:
    assert notes().table("text").rows() == [(2, "b1", 2), (2, "a1", 1), (1, "c1", 2), (1, "the", 2), (1, "b1", 2), (2, "a1", 2)]


def test_an_ordered_text_has_an_edge_for_each_word_where_it_stands() -> None:
    graph = notes(ordered=True, stop_words=["the"])
    assert graph.table("text").rows() == [
        (2, "b1", 1), (2, "a1", 1), (2, "b1", 1), (1, "c1", 2), (1, "b1", 2), (2, "a1", 1), (2, "a1", 1),
    ]  # fmt: skip
    model = hr.TopicModel(2, container="note", context=hr.TwoSided(0.5, 0.5), neighbours=None, n_passes=2, seed=0)
    model.fit(graph, progress=False)
    histories = np.split(model.histories.vertices - model.offsets["word"], model.histories.indptr[1:-1])
    read = {note: graph.vocabulary("word").ids.gather(rows).to_list() for note, rows in zip([1, 2], histories, strict=True)}
    assert read == {1: ["c1", "b1"], 2: ["b1", "a1", "b1", "a1", "a1"]}


def test_rows_of_a_document_are_read_in_the_order_of_time() -> None:
    frame = NOTES.with_columns(when=pl.Series([9, 1, 3, 4]))
    graph = notes(frame, {"time": "when"}, ordered=True)
    model = hr.TopicModel(2, container="note", context=hr.Recency(0.5), neighbours=None, n_passes=2, seed=0)
    model.fit(graph, progress=False)
    second = model.histories.vertices[model.histories.indptr[1] :] - model.offsets["word"]
    assert graph.vocabulary("word").ids.gather(second).to_list() == ["a1", "a1", "b1", "a1", "b1"]


def test_texts_are_rows_however_many_edges_a_row_makes() -> None:
    frame = NOTES.with_columns(tags=pl.Series(["x y z", "x", "x", "x"]))
    edge = {"vertices": {"note": "id", "tag": {"column": "tags", "split": " "}}}
    assert notes(frame, edge, min_df=2).tokenizers["word"].vocabulary == ("a1", "b1")


def test_the_graph_and_the_model_keep_the_tokenizer(tmp_path: Path) -> None:
    graph = notes(min_df=2)
    made = Tokenizer(vocabulary=("a1", "b1"))
    assert graph.tokenizers == graph.select("text").tokenizers == {"word": made}
    train, _ = hr.split(graph, "text", by="random", fraction=0.5, seed=0)
    assert train.tokenizers == {"word": made}
    store = graph.store(tmp_path / "store", container="note")
    assert store.tokenizers == store.read().tokenizers == hr.open_store(tmp_path / "store").tokenizers == {"word": made}
    for data in (graph, store):
        model = hr.TopicModel(2, container="note", context=hr.Mean(), n_passes=2, seed=0).fit(data, progress=False)
        assert model.tokenizers == {"word": made}
    model.partial_fit({"text": graph.table("text")})
    assert model.tokenizers == {"word": made}
    model.save(tmp_path / "model")
    assert hr.load(tmp_path / "model").tokenizers == {"word": made}


def test_of_two_columns_the_first_edge_type_is_remembered() -> None:
    both = schema(min_df=2)
    both["edges"]["more"] = schema(stop_words=["a1"])["edges"]["text"]
    assert hr.read_logs(both, NOTES).tokenizers == {"word": Tokenizer(vocabulary=("a1", "b1"))}


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        ([None, "", "4 5"], {}, ", 'text' has no words."),
        (["the", "and the"], {"stop_words": "en"}, ", 'text' has no words that its options keep (stop_words = en)."),
        (["a1", "b1"], {"min_df": 2}, ", 'text' has no words that its options keep (min_df = 2)."),
    ],
)
def test_no_words_are_left(texts: list[str | None], options: dict[str, Any], said: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(len(texts)), "text": texts, "n": 1}, schema_overrides={"text": pl.String})
    with pytest.raises(hr.DataError) as caught:
        notes(frame, **options)
    assert str(caught.value) == f"table 'notes': edges.text: no edges left: {len(texts)} rows read, 0 broke a rule{said}"
    if "min_df" not in options:
        with pytest.raises(hr.DataError, match=r"no edges left: \d rows read, 0 broke a rule, 'text' has no words"):
            hr.write_store(schema(**options), frame, tmp_path / "store")


def test_texts_without_words_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hyperrec"):
        notes(stop_words=["c1", "the", "b1"])
    assert "table 'notes': edges.text: 1 of 4 texts of 'text' give no words" in caplog.messages


def test_a_language_that_is_not_known_is_told_with_its_place() -> None:
    with pytest.raises(hr.SchemaError) as caught:
        notes(stop_words="klingon")
    assert str(caught.value).startswith("table 'notes': edges.text.vertices.word: stop_words = 'klingon': no such language")


def test_a_store_refuses_what_looks_at_all_the_texts(tmp_path: Path) -> None:
    with pytest.raises(hr.SchemaError) as caught:
        hr.write_store(schema(min_df=2, collocations=3, ordered=True), NOTES, tmp_path / "store")
    assert str(caught.value) == (
        "schema 'notes': edges.text.vertices.word: for collocations, min_df all the texts are read first, but a store is made "
        "part by part: leave that out, or take read_logs(...).store(folder), in memory."
    )
    assert not (tmp_path / "store").exists()


def test_a_file_is_a_row(tmp_path: Path) -> None:
    for name, text in {"in/x/1": "b1 a1\n", "in/y/1": "b1, \"c1", "in/y/2": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    made = schema({"vertices": {"note": "path"}, "weight": "1"}, ordered=True)
    made["tables"] = {"notes": {"file": "**/in/*/*", "whole_files": True}}
    expected = [("in/x/1", "b1", 1), ("in/x/1", "a1", 1), ("in/y/1", "b1", 1), ("in/y/1", "c1", 1)]
    for source in (tmp_path, tmp_path / "in" / "*" / "*"):
        assert hr.read_logs(made, source).table("text").rows() == expected
    assert hr.write_store(made, tmp_path, tmp_path / "store", container="note").read().edges["text"].n_edges == 4
    (tmp_path / "in/x/folder").mkdir()
    (tmp_path / "in/x/1").write_bytes(b"caf\xe9")
    with pytest.raises(hr.DataError, match=r"in/x/1: not utf-8 text at byte 3; correct `encoding` in the schema\.$"):
        hr.read_logs(made, tmp_path)

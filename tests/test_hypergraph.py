"""Hypergraph: tables of edges, the way to arrays, and what is said of what is not there."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec.hypergraph import vertex_columns


@pytest.fixture
def graph() -> hr.Hypergraph:
    return hr.Hypergraph.from_frames(
        bought=pl.DataFrame({"user": ["b", "a", None, "a"], "item": [7, 7, 7, 3], "weight": [2.0, 1.0, 1.0, -1.0]}),
        friends=pl.DataFrame({"user": ["a"], "user#2": ["c"], "time": [5]}),
        genre=pl.DataFrame({"item": [3, 7], "genre": ["drama", "comedy"]}),
    )


def test_repr_counts_edges_vertices_and_rejected_rows(graph: hr.Hypergraph) -> None:
    assert repr(graph).splitlines() == [
        "Hypergraph",
        "  bought: 2 edges user x item",
        "  friends: 1 edges user x user (timed)",
        "  genre: 2 edges item x genre",
        "  3 user, 2 item, 2 genre",
        "  rejected: 1 rows of bought: null id: user",
        "  rejected: 1 rows of bought: weight <= 0",
    ]


def test_modalities_share_a_vocabulary_over_edge_types(graph: hr.Hypergraph) -> None:
    assert graph.modalities == ["user", "item", "genre"]
    assert graph.vocabulary("user").ids.to_list() == ["a", "b", "c"]
    assert graph.vocabulary("item").ids.to_list() == [3, 7]
    assert graph.edge_table("friends").modalities == ("user", "user")
    assert graph.edge_table("friends").vertex_columns == ["user", "user#2"]
    assert graph.edge_table("friends").order == 2


def test_table_has_the_ids_of_the_log(graph: hr.Hypergraph) -> None:
    assert graph.table("bought").rows() == [("b", 7, 2.0), ("a", 7, 1.0)]
    assert graph.table("friends").to_dicts() == [{"user": "a", "user#2": "c", "weight": 1.0, "time": 5}]


@pytest.mark.parametrize(
    ("edge_type", "vertices", "weight"),
    [("bought", [[1, 1], [0, 1]], [2.0, 1.0]), ("friends", [[0, 2]], [1.0]), ("genre", [[0, 1], [1, 0]], [1.0, 1.0])],
)
def test_to_arrays(graph: hr.Hypergraph, edge_type: str, vertices: list[list[int]], weight: list[float]) -> None:
    arrays = graph.to_arrays(edge_type)
    assert arrays.vertices.tolist() == vertices
    assert arrays.weight.tolist() == weight
    assert (arrays.vertices.dtype, arrays.weight.dtype) == (np.int32, np.float32)
    assert arrays.vertices.flags.c_contiguous
    assert arrays.weight.flags.c_contiguous
    assert arrays.order == 2
    assert arrays.modalities == graph.edge_table(edge_type).modalities


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_to_arrays_of_any_length_and_order(rows: int) -> None:
    ids = list(range(1000))
    frame = pl.DataFrame({"a": ids, "b": ids[::-1], "c": [one % 7 for one in ids]})
    whole = hr.Hypergraph.from_frames(seen=frame)
    table = whole.edge_table("seen")
    part = whole.with_edges({"seen": type(table)(table.modalities, table.frame.head(rows))})
    arrays = part.to_arrays("seen")
    assert arrays.vertices.shape == (rows, 3)
    assert arrays.vertices.flags.c_contiguous
    np.testing.assert_array_equal(arrays.vertices, frame.head(rows).to_numpy())


def test_select_keeps_the_vertices(graph: hr.Hypergraph) -> None:
    one = graph.select("genre")
    assert list(one.edges) == ["genre"]
    assert one.vocabularies == graph.vocabularies
    assert one.table("genre").equals(graph.table("genre"))
    assert list(graph.edges) == ["bought", "friends", "genre"]


def test_rejected_rows_are_kept_and_counted(graph: hr.Hypergraph) -> None:
    assert graph.rejected_counts().to_dicts() == [
        {"edges": "bought", "rule": "null id: user", "rows": 1},
        {"edges": "bought", "rule": "weight <= 0", "rows": 1},
    ]
    assert graph.rejected["bought"].rows() == [(None, 7, 1.0, "null id: user"), ("a", 3, -1.0, "weight <= 0")]
    assert graph.rejected["genre"].height == 0


def test_no_rejected_rows_are_an_empty_table() -> None:
    counts = hr.Hypergraph.from_frames(seen={"user": ["a"]}).rejected_counts()
    assert counts.schema == {"edges": pl.String, "rule": pl.String, "rows": pl.Int64}
    assert counts.height == 0


def test_unknown_names_are_errors_with_a_close_one(graph: hr.Hypergraph) -> None:
    for ask in (graph.edge_table, graph.table, graph.to_arrays, graph.select):
        with pytest.raises(hr.DataError) as caught:
            ask("bougt")
        assert str(caught.value) == "unknown edge type 'bougt': the graph has bought, friends, genre. Did you mean 'bought'?"
    with pytest.raises(hr.DataError) as caught:
        graph.vocabulary("itm")
    assert str(caught.value) == "unknown modality 'itm': the graph has user, item, genre. Did you mean 'item'?"


def test_a_modality_that_stands_again_is_numbered() -> None:
    assert vertex_columns(("user", "item", "user", "user")) == ["user", "item", "user#2", "user#3"]

"""Logs to hypergraphs: every form of vertex, weights, times, files, frames, and rows that break a rule."""

from __future__ import annotations

import datetime as dt
import gzip
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr

NAN, INF = math.nan, math.inf
TIMES = [
    "2017-03-01 18:30:00",
    "2017-03-05T06:05:00",
    "2017-12-31",
    "2017-03-06 00:00:00.250",
    "2017-03-01T18:30:00Z",
    "2017-03-01 18:30:00+02:00",
    "2017-03-01 18:30",
]


def log(vertices: dict[str, Any], *, table: dict[str, Any] | None = None, **edge: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "tables": {"log": {"file": "log.csv", **(table or {})}},
        "edges": {"e": {"table": "log", "vertices": vertices, **edge}},
    }


UI = {"user": "user", "item": "item"}


def read(vertices: dict[str, Any], columns: Any, **options: Any) -> hr.Hypergraph:
    frame = columns if not isinstance(columns, dict) else pl.DataFrame(columns, strict=False)
    return hr.read_logs(log(vertices, **options), frame)


def rows(graph: hr.Hypergraph) -> list[tuple[Any, ...]]:
    return graph.table("e").rows()


def ids(graph: hr.Hypergraph, modality: str) -> list[Any]:
    return graph.vocabulary(modality).ids.to_list()


def rules(graph: hr.Hypergraph) -> dict[str, int]:
    return dict(graph.rejected_counts().select("rule", "rows").iter_rows())


@pytest.mark.parametrize(
    ("cut", "values", "expected"),
    [
        ({"split": "|"}, ["a|b", "a", None, "", " b | |c"], [(0, "a"), (0, "b"), (1, "a"), (4, "b"), (4, "c")]),
        ({"split": " "}, ["1 20", "3", "1"], [(0, 1), (0, 20), (1, 3), (2, 1)]),
        ({"split": " "}, ["1 007", "x"], [(0, "1"), (0, "007"), (1, "x")]),
        ({"split": ", "}, ["a, b,c"], [(0, "a"), (0, "b,c")]),
        ({"split": "|"}, [["a", "b"], [], None, ["c d"]], [(0, "a"), (0, "b"), (3, "c d")]),
        ({"split": "|"}, [[1, 2], [], None, [3]], [(0, 1), (0, 2), (3, 3)]),
        ({"split": "|"}, [5, 6], [(0, 5), (1, 6)]),
        ({"tokenize": True}, ["War 24/7 wars", None, "été O'Neil"], [(0, "war"), (0, "wars"), (2, "été"), (2, "o'neil")]),
    ],
)
def test_a_vertex_cut_in_pieces_gives_an_edge_for_each(cut: dict[str, Any], values: list[Any], expected: list[Any]) -> None:
    graph = read({"item": "item", "part": {"column": "x", **cut}}, {"item": range(len(values)), "x": values})
    assert rows(graph) == [(item, part, 1.0) for item, part in expected]
    assert rules(graph) == {}


def test_two_split_vertices_of_a_row_make_all_the_pairs() -> None:
    graph = read({"a": {"column": "a", "split": "|"}, "b": {"column": "b", "split": " "}}, {"a": ["x|y", "z"], "b": ["p q", ""]})
    assert rows(graph) == [("x", "p", 1.0), ("x", "q", 1.0), ("y", "p", 1.0), ("y", "q", 1.0)]


def test_count_multiplies_the_weight_and_bad_counts_are_kept_aside() -> None:
    vertices = {"item": "item", "word": {"column": "words", "split": " ", "count": ":"}}
    columns = {"item": [1, 2, 3], "words": ["a:2 b:1.5", "a:0 c:1", "a:-1 b:x c:nan d:2 e:inf f"], "n": [1, 2, 3]}
    graph = read(vertices, columns, weight="n")
    assert rows(graph) == [(1, "a", 2.0), (1, "b", 1.5), (2, "c", 2.0), (3, "d", 6.0)]
    assert rules(graph) == {"count not a positive number: words": 2}
    assert graph.rejected["e"]["item"].to_list() == [2, 3]  # a row once, however many of its pieces
    with pytest.raises(hr.DataError, match=r"edges\.e: 2 rows break a rule \(count not a positive number: words: 2\)"):
        hr.read_logs(log(vertices), pl.DataFrame(columns), on_bad_rows="error")


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ("hour_of_day", [18, 6, 0, 0, 18, 16, 18]),
        ("day_of_week", ["Wed", "Sun", "Sun", "Mon", "Wed", "Wed", "Wed"]),
        ("week", ["2017-02-27", "2017-02-27", "2017-12-25", "2017-03-06", "2017-02-27", "2017-02-27", "2017-02-27"]),
        ("month", ["2017-03", "2017-03", "2017-12", "2017-03", "2017-03", "2017-03", "2017-03"]),
        ("6h", ["03-01T18:00", "03-05T06:00", "12-31T00:00", "03-06T00:00", "03-01T18:00", "03-01T12:00", "03-01T18:00"]),
        ("15m", ["03-01T18:30", "03-05T06:00", "12-31T00:00", "03-06T00:00", "03-01T18:30", "03-01T16:30", "03-01T18:30"]),
        ("1d", ["03-01", "03-05", "12-31", "03-06", "03-01", "03-01", "03-01"]),
        ("1w", ["02-27", "02-27", "12-25", "03-06", "02-27", "02-27", "02-27"]),
    ],
)
def test_clock_buckets(bucket: str, expected: list[Any]) -> None:
    graph = read({"u": "u", "bucket": {"column": "t", "bucket": bucket}}, {"u": range(7), "t": TIMES})
    year = "2017-" if bucket[0].isdigit() else ""
    assert graph.table("e")["bucket"].to_list() == [f"{year}{one}" if year else one for one in expected]


@pytest.mark.parametrize(
    "times",
    [
        [1_488_393_000, 1_488_693_900],
        [1_488_393_000_000, 1_488_693_900_000],
        [1_488_393_000_000_000, 1_488_693_900_000_000],
        [1_488_393_000_000_000_000, 1_488_693_900_000_000_000],
        ["1488393000", "1488693900"],
        [1_488_393_000.0, 1_488_693_900.5],
        [dt.datetime(2017, 3, 1, 18, 30), dt.datetime(2017, 3, 5, 6, 5)],
        [dt.datetime(2017, 3, 1, 19, 30, tzinfo=dt.timezone(dt.timedelta(hours=1))), dt.datetime(2017, 3, 5, 6, 5, tzinfo=dt.UTC)],
    ],
)
def test_times_are_seconds_milliseconds_texts_or_dates(times: list[Any]) -> None:
    graph = read({"u": "u", "bucket": {"column": "t", "bucket": "6h"}}, {"u": [0, 1], "t": times})
    assert graph.table("e")["bucket"].to_list() == ["2017-03-01T18:00", "2017-03-05T06:00"]


def test_times_before_1970() -> None:
    graph = read({"bucket": {"column": "t", "bucket": "6h"}}, {"t": [-1]})
    assert ids(graph, "bucket") == ["1969-12-31T18:00"]


@pytest.mark.parametrize(("zone", "hours"), [(None, [6, 7]), ("America/New_York", [1, 3]), ("Asia/Kolkata", [12, 13])])
def test_buckets_read_the_clock_of_the_time_zone(zone: str | None, hours: list[int]) -> None:
    times = ["2017-03-12 06:59:00", "2017-03-12 07:59:00"]  # summer time begins between them in New York
    graph = read({"u": "u", "h": {"column": "t", "bucket": "hour_of_day"}}, {"u": [0, 1], "t": times}, table={"time_zone": zone})
    assert graph.table("e")["h"].to_list() == hours


@pytest.mark.parametrize(
    ("n", "values", "expected", "labels"),
    [
        (2, [1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], [(0, "1 to 2"), (1, "3 to 4")]),
        (4, [1, 1, 1, 1, 1, 9], [0, 0, 0, 0, 0, 1], [(0, "1 to 1"), (1, "9 to 9")]),
        (5, [5, 4, 3, 2, 1], [4, 3, 2, 1, 0], [(n, f"{n + 1} to {n + 1}") for n in range(5)]),
        (3, [7.5, 7.5], [0, 0], [(0, "7.5 to 7.5")]),
    ],
)
def test_quantile_buckets_keep_equal_values_together(
    n: int, values: list[float], expected: list[int], labels: list[tuple[int, str]]
) -> None:
    graph = read({"u": "u", "q": {"column": "x", "bucket": f"quantile:{n}"}}, {"u": range(len(values)), "x": values})
    assert graph.table("e")["q"].to_list() == expected
    assert graph.labels["q"].rows() == labels


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=60, unique=True), st.integers(1, 10))
def test_quantile_buckets_are_about_equal(values: list[float], n: int) -> None:
    graph = read({"u": "u", "q": {"column": "x", "bucket": f"quantile:{n}"}}, {"u": range(len(values)), "x": values})
    table = graph.table("e").with_columns(x=pl.Series(values))
    sizes = table.group_by("q").len()["len"].to_list()
    assert len(sizes) == n
    assert max(sizes) - min(sizes) <= 2
    assert table.sort("x")["q"].is_sorted()


def test_null_buckets_break_a_rule() -> None:
    graph = read({"u": "u", "q": {"column": "x", "bucket": "quantile:2"}}, {"u": range(4), "x": [1.0, None, NAN, 2.0]})
    assert rows(graph) == [(0, 0, 1.0), (3, 1, 1.0)]
    assert rules(graph) == {"null id: x": 2}
    graph = read({"u": "u", "h": {"column": "t", "bucket": "6h"}}, {"u": range(3), "t": ["2017-03-01", "yesterday", None]})
    assert rules(graph) == {"null id: t": 2}


def test_two_vertices_of_one_modality_share_its_ids() -> None:
    graph = read({"user": ["a", "b"]}, {"a": [1, 2], "b": [2, 5]})
    assert graph.table("e").columns == ["user", "user#2", "weight"]
    assert rows(graph) == [(1, 2, 1.0), (2, 5, 1.0)]
    assert ids(graph, "user") == [1, 2, 5]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("n", [1.0, 4.0]),
        ("n * 2", [2.0, 8.0]),
        ("LN(1 + n)", [math.log(2), math.log(5)]),
        ("SQRT(twice)", [math.sqrt(2), math.sqrt(8)]),
        (3, [3.0, 3.0]),
    ],
)
def test_weights_are_columns_numbers_or_sql(weight: Any, expected: list[float]) -> None:
    graph = read({"u": "u"}, {"u": [0, 1], "n": [1, 4]}, weight=weight, table={"derive": {"twice": "2 * n"}})
    assert graph.to_arrays("e").weight.tolist() == pytest.approx(expected)


def test_derived_columns_in_any_order_and_as_vertices() -> None:
    derive = {"label": "CONCAT(kind, '-', size)", "size": "CASE WHEN n > 2 THEN 'big' ELSE 'small' END", "unused": "n + 1"}
    graph = read({"u": "u", "label": "label"}, {"u": [0, 1], "n": [1, 4], "kind": ["a", "b"]}, table={"derive": derive})
    assert rows(graph) == [(0, "a-small", 1.0), (1, "b-big", 1.0)]


def test_where_leaves_out_false_and_null() -> None:
    graph = read({"u": "u"}, {"u": [0, 1, 2, None], "n": [1, None, 0, 0]}, where="n > 0")
    assert rows(graph) == [(0, 1.0)]
    assert rules(graph) == {}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("t", [dt.datetime(2017, 3, 2), dt.datetime(2017, 3, 1, 12)]),
        ("STRPTIME(d, '%d.%m.%Y')", [dt.datetime(2017, 3, 2), dt.datetime(2017, 3, 1)]),
        ("s", [100, 90]),
        ("s * 2", [200, 180]),
    ],
)
def test_time_is_a_column_or_sql(time: str, expected: list[Any]) -> None:
    columns = {"u": [0, 1], "t": ["2017-03-02", "2017-03-01 12:00"], "d": ["02.03.2017", "01.03.2017"], "s": [100, 90]}
    graph = read({"u": "u"}, columns, time=time)
    assert graph.edge_table("e").timed
    assert graph.table("e")["time"].to_list() == expected


def test_distinct_keeps_the_first_in_time() -> None:
    columns = {"u": [1, 1, 1, 2], "i": [2, 2, 3, 2], "t": [5, 4, 9, 1], "n": [1, 2, 3, 4]}
    graph = read({"u": "u", "i": "i"}, columns, time="t", weight="n", distinct=True)
    assert sorted(rows(graph)) == [(1, 2, 2.0, 4), (1, 3, 3.0, 9), (2, 2, 4.0, 1)]
    assert len(rows(read({"u": "u", "i": "i"}, columns))) == 4
    assert rows(read({"i": "i"}, columns, weight="n", distinct=True)) == [(2, 1.0), (3, 3.0)]


def test_distinct_edges_weigh_what_sql_says_of_all_of_theirs() -> None:
    columns = {"u": [1, 1, 1, 2], "i": [2, 2, 3, 2], "t": [5, 4, 9, 1], "n": [1, 2, 3, 4]}
    by_count = (math.log(3), math.log(2), math.log(2))
    for said, expected in (("SUM(weight)", (3, 3, 4)), ("LN(1 + COUNT(*))", by_count), ("MAX(weight)", (2, 3, 4))):
        found = sorted(rows(read({"u": "u", "i": "i"}, columns, weight="n", distinct=said)))
        assert [pair for *pair, _ in found] == [[1, 2], [1, 3], [2, 2]]
        np.testing.assert_allclose([weight for *_, weight in found], expected, rtol=1e-6)
    for said, first in (("SUM(weight) - 3", "0.0"), ("STDDEV(weight)", "None"), ("SUM(weight) / 0", "inf")):
        message = rf"^edges\.e\.distinct '.*' weighs \d of 3 edges by no number above 0, but by {first}: it must be one for"
        with pytest.raises(hr.DataError, match=message):
            read({"u": "u", "i": "i"}, columns, weight="n", distinct=said)


@pytest.mark.parametrize("weight", ["SUM(n)", "COUNT(*)", "MAX(n) / 2"])
def test_a_weight_is_of_each_row(weight: str) -> None:
    with pytest.raises(hr.SchemaError, match=r"weight '.*' gives one value for all rows, expected one for each; of equal edges"):
        read({"u": "u"}, {"u": [1, 1, 2], "n": [1, 2, 3]}, weight=weight)
    with pytest.raises(hr.SchemaError, match=r"where 'MAX\(n\) > 2' gives one value for all rows, expected one for each\.$"):
        read({"u": "u"}, {"u": [1, 1, 2], "n": [1, 2, 3]}, where="MAX(n) > 2")
    assert rows(read({"u": "u"}, {"u": [1, 1], "n": [1, 2]}, weight="1 + 1")) == [(1, 2.0), (1, 2.0)]


def test_labels_are_those_of_vertices_in_their_order() -> None:
    schema = log({"user": "user", "item": "item"})
    schema["tables"]["goods"] = {"file": "goods.csv"}
    schema["labels"] = {"item": {"table": "goods", "id": "sku", "text": "CONCAT(name, '!')"}}
    seen = pl.DataFrame({"user": ["a", "b", "c"], "item": [30, 4, 7]})
    goods = pl.DataFrame({"sku": ["7", "30", "30", "99"], "name": ["salt", "tea", "second tea", "unseen"]})
    graph = hr.read_logs(schema, {"log": seen, "goods": goods})
    assert graph.labels["item"].rows() == [(7, "salt!"), (30, "tea!")]
    assert list(graph.labels) == ["item"]


RATED = "user::item::n\n1::x::2\n2::café::3\n"


@pytest.mark.parametrize(
    ("name", "content", "table"),
    [
        ("log.csv", RATED.replace("::", ",").encode(), {}),
        ("log.tsv", RATED.replace("::", "\t").encode(), {}),
        ("log.dat", RATED.replace("::", ";").encode(), {"separator": ";"}),
        ("log.dat", RATED.encode(), {"separator": "::"}),
        ("log.dat", RATED.encode("latin-1"), {"separator": "::", "encoding": "latin-1"}),
        ("log.csv", RATED.replace("::", ",").encode("utf-16"), {"encoding": "utf-16"}),
        ("log.csv", RATED.replace("::", ",").encode("utf-8-sig"), {}),
        ("log.csv", RATED.replace("::", ",").replace("\n", "\r\n").encode(), {}),
        ("log.csv", RATED.replace("::", ",").rstrip("\n").encode(), {}),
        ("log.csv", RATED.replace("::", ",").replace("café", '"café"').encode(), {}),
        ("log.csv.gz", gzip.compress(RATED.replace("::", ",").encode(), mtime=0), {}),
        ("log.dat", RATED.partition("\n")[2].encode(), {"separator": "::", "columns": ["user", "item", "n"]}),
        ("log.csv", RATED.partition("\n")[2].replace("::", ",").encode(), {"columns": ["user", "item", "n"]}),
    ],
)
def test_files_of_many_kinds(tmp_path: Path, name: str, content: bytes, table: dict[str, Any]) -> None:
    (tmp_path / name).write_bytes(content)
    schema = log(UI, table={**table, "file": name}, weight="n")
    for source in (tmp_path, str(tmp_path), tmp_path / name, {"log": tmp_path / name}, {"log": str(tmp_path / "log.*")}):
        assert rows(hr.read_logs(schema, source)) == [(1, "x", 2.0), (2, "café", 3.0)]


def test_a_line_as_one_column_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "log.dat").write_text("3 4\n\n5, 3\n", "utf-8")
    table = {"file": "log.dat", "separator": "", "columns": ["line"], "row_number": "user"}
    graph = hr.read_logs(log({"user": "user", "item": {"column": "line", "split": " "}}, table=table), tmp_path)
    assert rows(graph) == [(0, "3", 1.0), (0, "4", 1.0), (2, "5,", 1.0), (2, "3", 1.0)]


def test_row_numbers_of_a_frame() -> None:
    assert rows(read({"n": "n", "i": "i"}, {"i": ["a", "b"]}, table={"row_number": "n"})) == [(0, "a", 1.0), (1, "b", 1.0)]


def test_types_and_null_values(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("zip,n\n00501,1\n02134,?\n-,2\n00501,none\n", "utf-8")
    table = {"types": {"zip": "string", "n": "number"}, "null_values": ["-", "?", "none"]}
    graph = hr.read_logs(log({"zip": "zip"}, table=table, weight="n"), tmp_path)
    assert rows(graph) == [("00501", 1.0)]
    assert rules(graph) == {"null id: zip": 1, "weight not a number": 2}
    assert ids(hr.read_logs(log({"zip": "zip"}, table={"null_values": ["-"]}), tmp_path), "zip") == [501, 2134]


def test_a_glob_of_csv_and_of_parquet(tmp_path: Path) -> None:
    for month in (1, 2, 10):
        frame = pl.DataFrame({"user": [f"u{month}", "u0"], "item": [month, 5]})
        frame.write_csv(tmp_path / f"log-{month}.csv")
        (tmp_path / "deep" / "er").mkdir(parents=True, exist_ok=True)
        frame.write_parquet(tmp_path / "deep" / "er" / f"log-{month}.parquet")
    expected = [("u1", 1, 1.0), ("u0", 5, 1.0), ("u10", 10, 1.0), ("u0", 5, 1.0), ("u2", 2, 1.0), ("u0", 5, 1.0)]
    for pattern in ("log-*.csv", "**/*.parquet"):
        assert rows(hr.read_logs(log(UI, table={"file": pattern}), tmp_path)) == expected
        assert rows(hr.read_logs(log(UI), str(tmp_path / pattern))) == expected


def test_a_folder_may_have_magic_characters(tmp_path: Path) -> None:
    folder = tmp_path / "log [2017]*"
    folder.mkdir()
    (folder / "log.csv").write_text("user,item\na,1\n", "utf-8")
    assert rows(hr.read_logs(log(UI), folder)) == [("a", 1, 1.0)]
    assert rows(hr.read_logs(log(UI), folder / "log.csv")) == [("a", 1, 1.0)]


@pytest.mark.parametrize("kind", ["utf-8", "latin-1", "parquet"])
@pytest.mark.parametrize("turned", [False, True])
def test_ids_that_are_integers_in_one_file_and_text_in_another(tmp_path: Path, kind: str, turned: bool) -> None:
    frames = [pl.DataFrame({"user": [7, 12], "item": [1, 2]}), pl.DataFrame({"user": ["u7", "7"], "item": [2, 3]})]
    for number, frame in enumerate(frames[::-1] if turned else frames):
        if kind == "parquet":
            frame.write_parquet(tmp_path / f"log{number}.parquet")
        else:
            (tmp_path / f"log{number}.csv").write_text(frame.write_csv(), kind)
    name = f"log*.{'parquet' if kind == 'parquet' else 'csv'}"
    graph = hr.read_logs(log(UI, table={"file": name, "encoding": "utf-8" if kind == "parquet" else kind}), tmp_path)
    assert sorted(rows(graph)) == [("12", 2, 1.0), ("7", 1, 1.0), ("7", 3, 1.0), ("u7", 2, 1.0)]


def test_parquet_files_with_columns_in_another_order(tmp_path: Path) -> None:
    pl.DataFrame({"user": [1], "item": [5]}).write_parquet(tmp_path / "log0.parquet")
    pl.DataFrame({"item": [6], "user": [2]}).write_parquet(tmp_path / "log1.parquet")
    assert rows(hr.read_logs(log(UI), str(tmp_path / "*.parquet"))) == [(1, 5, 1.0), (2, 6, 1.0)]


LATE = 12_000  # rows; types are guessed from fewer


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_values_far_down_a_file_that_are_not_of_the_guessed_type(tmp_path: Path, encoding: str) -> None:
    late = "abc,2,1,5\n1,2,2.5,5\n1,3,many,5\n1,3,,5\n1,3,7,\n"
    (tmp_path / "log.csv").write_text("user,item,n,other\n" + "1,2,3,4\n" * LATE + late, encoding)
    graph = hr.read_logs(log(UI, weight="n", table={"encoding": encoding}), tmp_path)
    assert ids(graph, "user") == ["1", "abc"]
    assert ids(graph, "item") == [2, 3]
    assert graph.table("e").tail(3).rows() == [("abc", 2, 1.0), ("1", 2, 2.5), ("1", 3, 7.0)]
    assert rules(graph) == {"not a number: n": 1, "weight not a number": 1}
    assert graph.rejected["e"]["n as written"].to_list() == ["many", None]


def test_a_late_text_among_numbers_is_not_lost_by_where(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,n\n" + "1,2,3\n" * LATE + "8,2,bad\n9,2,0\n", "utf-8")
    graph = hr.read_logs(log(UI, where="n >= 1"), tmp_path)
    assert graph.edges["e"].frame.height == LATE
    assert rules(graph) == {"not a number: n": 1}
    assert graph.rejected["e"]["user"].to_list() == [8]


SEEN = {"user": ["b", "a", "b"], "item": [10, 9, 9], "n": [1.0, 2.0, 0.5], "t": [dt.datetime(2017, 3, day) for day in (3, 1, 2)]}


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame(SEEN),
        pl.LazyFrame(SEEN),
        pd.DataFrame(SEEN),
        pd.DataFrame(SEEN, index=[7, 7, 1]).astype({"user": "category"}),
        pa.table(SEEN),
        pa.Table.from_pandas(pd.DataFrame(SEEN)),
        SEEN,
    ],
    ids=["polars", "lazy", "pandas", "pandas-category", "pyarrow", "pyarrow-pandas", "dict"],
)
def test_frames_of_any_library_under_the_name_of_the_table(frame: Any) -> None:
    graph = hr.read_logs(log(UI, weight="n", time="t"), {"log": frame})
    expected = [
        ("b", 10, 1.0, dt.datetime(2017, 3, 3)),
        ("a", 9, 2.0, dt.datetime(2017, 3, 1)),
        ("b", 9, 0.5, dt.datetime(2017, 3, 2)),
    ]
    assert rows(graph) == expected
    assert ids(graph, "item") == [9, 10]
    if not isinstance(frame, dict):  # a mapping alone is {table: frame}
        assert rows(hr.read_logs(log(UI, weight="n", time="t"), frame)) == expected


def test_nullable_integers_of_pandas_stay_integers() -> None:
    frame = pd.DataFrame({"user": [17850.0, NAN, 3.0], "item": pd.array([1, None, 2], dtype="Int64")})
    graph = hr.read_logs(log(UI), frame)
    assert rows(graph) == [(17850, 1, 1.0), (3, 2, 1.0)]
    assert rules(graph) == {"null id: user": 1}


def test_tables_that_are_not_given_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    ratings = pl.DataFrame({"user": [1], "item": [2], "rating": [5], "time": [978300760]})
    with caplog.at_level(logging.WARNING, "hyperrec"):
        graph = hr.read_logs("movielens-1m", {"ratings": ratings})
    assert list(graph.edges) == ["rated", "rated_at"]
    left_out = "genre, word, year, gender, age, occupation"
    assert caplog.messages == [f"movielens-1m: edges left out, as their tables were not given: {left_out}"]


def test_one_file_of_a_schema_with_several_tables_is_known_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n", "utf-8")
    graph = hr.read_logs("movielens-1m", tmp_path / "ratings.dat")
    assert graph.table("rated").rows() == [(1, 1193, 1.0, 978300760)]
    assert ids(graph, "hour") == [22]


def test_events_from_a_frame_and_from_files(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["u", "u"], "item": [3, 1], "time": [20, 10], "more": [0, 0]})
    frame.write_parquet(tmp_path / "events.parquet")
    for source in (frame, {"events": frame}, tmp_path, tmp_path / "events.parquet"):
        graph = hr.read_logs("events", source)
        assert graph.table("seen").rows() == [("u", 3, 1.0, 20), ("u", 1, 1.0, 10)]


def test_from_frames_reads_columns_as_modalities() -> None:
    graph = hr.Hypergraph.from_frames(
        bought=pd.DataFrame({"user": ["b", "a"], "item": [2, 1], "weight": [2.0, 1.0], "time": ["2017-03-02", "2017-03-01"]}),
        friends=pa.table({"user": ["a"], "user#2": ["c"], "user#3": ["b"]}),
        genre=pl.LazyFrame({"item": [1], "genre": ["drama"]}),
    )
    assert graph.table("bought").rows() == [("b", 2, 2.0, dt.datetime(2017, 3, 2)), ("a", 1, 1.0, dt.datetime(2017, 3, 1))]
    assert graph.table("friends").rows() == [("a", "c", "b", 1.0)]
    assert graph.edge_table("friends").modalities == ("user", "user", "user")
    assert [edges.timed for edges in graph.edges.values()] == [True, False, False]


@pytest.mark.parametrize(
    ("first", "second", "read_first", "read_second"),
    [
        ([10, 9], [100], [10, 9], [100]),
        ([10, 9], ["a", "9"], ["10", "9"], ["a", "9"]),
        ([10.0, 9.0], [9], [10, 9], [9]),
        ([10.0, 9.0], ["a"], ["10", "9"], ["a"]),
        ([7], ["007", "7"], ["7"], ["007", "7"]),
        ([-(2**62), 2**62], [0], [-(2**62), 2**62], [0]),
        ([True, False], ["x"], ["true", "false"], ["x"]),
        (pl.Series([2**63 + 1], dtype=pl.UInt64), [5], ["9223372036854775809"], ["5"]),
        (pl.Series(["b", "a"], dtype=pl.Categorical), ["c"], ["b", "a"], ["c"]),
        (["b", "é", "B", "z"], ["a"], ["b", "é", "B", "z"], ["a"]),
    ],
)
def test_ids_of_a_modality_get_one_type(first: Any, second: Any, read_first: list[Any], read_second: list[Any]) -> None:
    graph = hr.Hypergraph.from_frames(first=pl.DataFrame({"user": first}), second=pl.DataFrame({"user": second}))
    assert graph.table("first")["user"].to_list() == read_first
    assert graph.table("second")["user"].to_list() == read_second
    assert ids(graph, "user") == sorted({*read_first, *read_second})


BAD = {
    "user": ["a", None, "", "b", "c", "d", "e", "f", "g", None],
    "item": [1, 2, 3, None, 5, 6, 7, 8, 9, None],
    "n": [1.0, 1.0, 1.0, 1.0, 0.0, -2.0, NAN, INF, 1.0, 0.0],
    "t": ["2017-03-01"] * 8 + ["soon", "2017-03-01"],
}


def test_rows_that_break_a_rule_are_counted_by_the_first_that_they_break(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hyperrec"):
        graph = read(UI, BAD, weight="n", time="t")
    assert rows(graph) == [("a", 1, 1.0, dt.datetime(2017, 3, 1))]
    assert rules(graph) == {
        "null id: user": 3,
        "null id: item": 1,
        "weight <= 0": 2,
        "weight not a number": 1,
        "weight infinite": 1,
        "unparsable time": 1,
    }
    assert graph.rejected["e"].columns == ["user", "item", "n", "t", "rule"]
    assert graph.rejected["e"].filter(rule="weight infinite").row(0) == ("f", 8, INF, "2017-03-01", "weight infinite")
    assert "table 'log': edges.e: 3 rows kept aside in graph.rejected: null id: user" in caplog.messages
    assert len(caplog.messages) == 6


def test_from_frames_counts_the_same_rules() -> None:
    frame = pl.DataFrame(BAD).rename({"n": "weight", "t": "time"})
    assert rules(hr.Hypergraph.from_frames(e=frame)) == rules(read(UI, BAD, weight="n", time="t"))


@pytest.mark.parametrize("weights", [["1", "x", "0", "nan", "inf"], [1.0, None, -0.0, NAN, INF], [1e-3, NAN, 1e-300, NAN, 1e300]])
def test_weights_of_any_type_that_break_a_rule(weights: list[Any]) -> None:
    graph = read({"u": "u"}, {"u": range(5), "n": weights}, weight="n")
    assert graph.table("e")["u"].to_list() == [0]
    assert rules(graph) == {"weight <= 0": 1, "weight infinite": 1, "weight not a number": 2}


maybe_id = st.one_of(st.none(), st.sampled_from(["", "a", "b", "café", "c d"]))
log_rows = st.lists(
    st.tuples(
        maybe_id,
        st.one_of(st.none(), st.integers(-3, 3)),
        st.one_of(st.none(), st.sampled_from([NAN, INF, -INF, 0.0, -1.0, 0.5, 1.0, 2.0])),
        st.one_of(st.none(), st.sampled_from(["2017-03-01", "2017-03-01 10:00:00", "soon"])),
        st.one_of(st.none(), st.booleans()),
    ),
    max_size=30,
)
COLUMNS = {"user": pl.String, "item": pl.Int64, "n": pl.Float64, "t": pl.String, "ok": pl.Boolean}
SURE = ("sure", 0, 1.0, "2017-03-01", True)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(log_rows)
def test_no_row_is_lost(given_rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame([*given_rows, SURE], schema=COLUMNS, orient="row")
    graph = read(UI, frame, weight="n", time="t", where="ok")
    left_out = frame.filter(~pl.col("ok").fill_null(False)).height
    edges, rejected = graph.edges["e"].frame.height, graph.rejected["e"].height
    assert edges + rejected + left_out == frame.height
    assert graph.rejected_counts()["rows"].sum() == rejected
    good = [
        (user, item, n)
        for user, item, n, time, ok in [*given_rows, SURE]
        if ok and user and item is not None and n is not None and 0 < n < INF and time not in (None, "soon")
    ]
    assert graph.table("e").select("user", "item", "weight").rows() == good


texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(texts, st.integers(-(2**63), 2**63 - 1)), min_size=1), st.randoms())
def test_ids_come_back_and_the_order_of_rows_is_no_matter(pairs: list[tuple[str, int]], random: Any) -> None:
    graph = read(UI, {"user": [user for user, _ in pairs], "item": [item for _, item in pairs]})
    assert graph.table("e").select("user", "item").rows() == pairs
    assert ids(graph, "user") == sorted({user for user, _ in pairs}, key=str.encode)
    assert ids(graph, "item") == sorted({item for _, item in pairs})
    shuffled = random.sample(pairs, len(pairs))
    again = read(UI, {"user": [user for user, _ in shuffled], "item": [item for _, item in shuffled]})
    assert again.vocabularies == graph.vocabularies
    assert again.table("e").select("user", "item").rows() == shuffled


def test_the_order_of_lines_and_of_files_changes_no_vocabulary(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lines = [f"u{u},{i}" for u, i in rng.integers(50, size=(400, 2))]
    graphs = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        order = rng.permutation(len(lines))
        for part, some in enumerate(np.array_split(order, number + 1)):
            (folder / f"log-{part}.csv").write_text("user,item\n" + "\n".join(lines[i] for i in some) + "\n", "utf-8")
        graphs.append(hr.read_logs(log(UI, table={"file": "log-*.csv"}), folder))
    assert graphs[0].vocabularies == graphs[1].vocabularies == graphs[2].vocabularies
    first, *others = [sorted(rows(graph)) for graph in graphs]
    assert all(other == first for other in others)
    assert len(first) == 400


def test_one_number_among_dates_is_the_bad_one() -> None:
    columns = {"user": list("abcd"), "item": list("wxyz"), "time": ["2017-03-01", "2017-03-02 10:00", "0", "2017"]}
    graph = read({"user": "user", "item": "item"}, columns, time="time")
    assert graph.table("e")["user"].to_list() == ["a", "b"]
    assert rules(graph) == {"unparsable time": 2}
    mostly = read({"user": "user", "item": "item"}, {**columns, "time": ["5", "7", "9", "2017-03-01"]}, time="time")
    assert mostly.table("e")["time"].to_list() == [5, 7, 9]

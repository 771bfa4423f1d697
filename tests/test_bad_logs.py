"""Broken logs: each gives one line that names the place and says what to do."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import hyperrec as hr

GOOD = "user,item,n,time\na,x,1,2017-03-01\nb,y,2,2017-03-02\n"
MANY = "a,x,1,2017-03-01\n" * 12_000
FRAME = pl.DataFrame({"buyer": ["a", "b"], "item": ["x", "y"], "n": [1, 2], "price": [1.5, 2.5], "time": ["2017-03-01"] * 2})


def shop(*, table: dict[str, Any] | None = None, **edge: Any) -> dict[str, Any]:
    vertices = {"user": "user", "item": "item"}
    return {
        "name": "shop",
        "tables": {"log": {"file": "log.csv", **(table or {})}},
        "edges": {"bought": {"table": "log", "vertices": vertices, **edge}},
    }


def complaint(schema: Any, source: Any, error: type[hr.HyperrecError] = hr.DataError, **options: Any) -> str:
    with pytest.raises(hr.HyperrecError) as caught:
        hr.read_logs(schema, source, **options)
    message = str(caught.value)
    assert caught.type is error, message
    assert "\n" not in message
    return message


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """put("log.csv", content) writes a file and gives its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


Put = Callable[[str, str | bytes], Path]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert complaint(shop(), tmp_path / "log.csv") == f"table 'log': no such file: {tmp_path / 'log.csv'}."
    assert complaint(shop(), {"log": str(tmp_path / "*.csv")}) == f"table 'log': no file matches '{tmp_path / '*.csv'}'."
    assert complaint(shop(), {"log": tmp_path}) == f"table 'log': expected a file or a glob; {tmp_path} is a folder."


def test_a_folder_without_the_file_lists_what_it_has(put: Put) -> None:
    folder = put("lgo.csv", GOOD).parent
    assert complaint(shop(), folder) == (
        f"{folder}: no file 'log.csv' (table 'log' of schema 'shop'); the folder has: lgo.csv. Did you mean 'lgo.csv'?"
    )
    assert "no file matches '*.parquet'" in complaint(shop(table={"file": "*.parquet"}), folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert complaint("movielens-1m", tmp_path / "none") == f"no such file or folder: {tmp_path / 'none'}."


def test_one_file_for_a_schema_of_several(put: Put) -> None:
    path = put("other.dat", GOOD)
    message = complaint("movielens-1m", path)
    assert message.startswith(f"{path}: expected a folder with ratings.dat, movies.dat, users.dat, or one of these files, for ")


def test_an_empty_file(put: Put) -> None:
    path = put("log.csv", "")
    assert complaint(shop(), path) == f"{path}: the file is empty."


def test_a_header_alone(put: Put) -> None:
    path = put("log.csv", "user,item\n")
    assert complaint(shop(), path) == f"{path}: edges.bought: no edges left: 0 rows read, 0 broke a rule."


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (shop(), "edges.bought.vertices.user names column 'user'; the log has: usr, item, n. Did you mean 'usr'?"),
        (
            shop(vertices={"item": "itm"}),
            "edges.bought.vertices.item names column 'itm'; the log has: usr, item, n. Did you mean 'item'?",
        ),
        (shop(vertices={"item": "item"}, time="tme"), "edges.bought.time names column 'tme'; the log has: usr, item, n."),
        (shop(vertices={"item": "item"}, weight="LN(m)"), "edges.bought.weight names column 'm'; the log has: usr, item, n."),
        (
            shop(vertices={"item": "item"}, weight="x", table={"derive": {"x": "usrs"}}),
            "tables.log.derive.x names column 'usrs'; the log has: usr, item, n, x. Did you mean 'usr'?",
        ),
        (
            shop(vertices={"item": "item"}, table={"types": {"itme": "string"}}),
            "tables.log.types names column 'itme'; the log has: usr, item, n. Did you mean 'item'?",
        ),
    ],
)
def test_a_missing_column_is_an_error_with_a_close_one(put: Put, schema: dict[str, Any], said: str) -> None:
    path = put("log.csv", "usr,item,n\na,x,1\n")
    assert complaint(schema, path, hr.SchemaError) == f"{path}: {said}"


def test_the_label_of_a_missing_column(put: Put) -> None:
    path = put("log.csv", GOOD)
    schema = {**shop(), "labels": {"item": {"table": "log", "id": "item", "text": "titel"}}}
    assert complaint(schema, path, hr.SchemaError).startswith(f"{path}: labels.item.text names column 'titel'; the log has: user,")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.parquet", GOOD, "expected Parquet by its name, but the content is none; rename or replace the file."),
        ("log.csv", "PARQUET", "expected delimited text by its name, but the content is a Parquet file; rename or replace"),
        ("log.csv", "ZIP", "this is a zip archive; unpack it first."),
    ],
)
def test_a_file_that_is_not_what_its_name_says(put: Put, tmp_path: Path, name: str, content: str, said: str) -> None:
    if content == "PARQUET":
        FRAME.write_parquet(tmp_path / "real.parquet")
        path = put(name, (tmp_path / "real.parquet").read_bytes())
    elif content == "ZIP":
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("log.csv", GOOD)
    else:
        path = put(name, content)
    assert complaint(shop(), path).startswith(f"{path}: {said}")


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_parquet_file_with_its_tail_cut(put: Put, tmp_path: Path, keep: float) -> None:
    pl.DataFrame({"user": range(10_000), "item": range(10_000)}).write_parquet(tmp_path / "real.parquet")
    whole = (tmp_path / "real.parquet").read_bytes()
    path = put("log.parquet", whole[: int(len(whole) * keep)])
    message = complaint(shop(), path)
    assert message.startswith(f"{path}: cannot be read: ")
    assert "must end with PAR1" in message


def test_a_parquet_file_with_a_hole(put: Put, tmp_path: Path) -> None:
    pl.DataFrame({"user": range(10_000), "item": range(10_000)}).write_parquet(tmp_path / "real.parquet")
    whole = (tmp_path / "real.parquet").read_bytes()
    path = put("log.parquet", whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    assert complaint(shop(), path).startswith(f"{path}: cannot be read: ")


@pytest.mark.parametrize("before", ["", MANY])
def test_invalid_utf8_names_the_line(put: Put, before: str) -> None:
    path = put("log.csv", GOOD.encode() + before.encode() + b"a,caf\xe9,1,2017-03-01\n")
    assert complaint(shop(), path) == (
        f"{path}: line {4 + before.count(chr(10))} is not valid UTF-8 (byte 0xE9); "
        'say encoding = "latin-1" (or what it is) under this table in the schema.'
    )


def test_a_wrong_encoding(put: Put) -> None:
    path = put("log.csv", b"user,item\na,\x80\xff\n")
    assert complaint(shop(table={"encoding": "shift_jis"}), path) == (
        f"{path}: not shift_jis text at byte 12; correct `encoding` in the schema."
    )
    assert complaint(shop(table={"encoding": "latin-7x"}), path, hr.SchemaError) == (
        "schema 'shop': no encoding is called 'latin-7x'; try utf-8 or latin-1."
    )


@pytest.mark.parametrize("before", ["", MANY])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_ragged_line_is_named(put: Put, before: str, encoding: str) -> None:
    path = put("log.csv", GOOD + before + "a,x,1,2017-03-01,more\n")
    assert complaint(shop(table={"encoding": encoding}), path) == (
        f"{path}: line {4 + before.count(chr(10))} has 5 fields, expected 4; check `separator` and `quote`, or mend the line."
    )


@pytest.mark.parametrize("before", ["", MANY])
@pytest.mark.parametrize("edge", [{}, {"weight": "n"}])
def test_a_quote_that_is_not_closed(put: Put, before: str, edge: dict[str, str]) -> None:
    path = put("log.csv", GOOD + before + 'a,"x,1,2017-03-01\nb,y,2,2017-03-01\n')
    assert complaint(shop(**edge), path) == (
        f'{path}: the quote " that opens in line {4 + before.count(chr(10))} is not closed; '
        'close it, or say quote = "" under this table in the schema if quotes are plain characters.'
    )
    assert hr.read_logs(shop(table={"quote": ""}, **edge), path).vocabulary("item").ids.to_list() == ['"x', "x", "y"]


@pytest.mark.parametrize("separator", [",", "::"])
def test_columns_of_another_number(put: Put, separator: str) -> None:
    path = put("log.dat", "a,x,1\nb,y,2\n".replace(",", separator))
    schema = shop(table={"separator": separator, "columns": ["user", "item"]})
    assert complaint(schema, path, hr.SchemaError) == (
        "schema 'shop': columns names 2 columns (user, item), but a line of 'log.csv' has 3 fields; "
        "check `columns` and `separator`."
    )


def test_a_separator_that_holds_nothing(put: Put) -> None:
    path = put("log.dat", "a::x\x1fy\n")
    message = complaint(shop(table={"separator": "::", "columns": ["user", "item"]}), path)
    assert message == f"{path}: holds the control character 0x1F, which stands for '::' while reading; remove it."


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([["a", "x", "b"]], columns=["user", "item", "user"]),
        pa.table([pa.array(["a"]), pa.array(["x"]), pa.array(["b"])], names=["user", "item", "user"]),
    ],
    ids=["pandas", "pyarrow"],
)
def test_a_frame_with_a_column_name_twice(frame: Any) -> None:
    said = "the column name user stands more than once; rename one."
    assert complaint(shop(), frame) == f"table 'log': {said}"
    with pytest.raises(hr.DataError) as caught:
        hr.Hypergraph.from_frames(bought=frame)
    assert str(caught.value) == f"frame 'bought': {said}"


def test_a_header_with_a_column_name_twice(put: Put) -> None:
    path = put("log.csv", "user,item,user\na,x,b\n")
    assert complaint(shop(), path) == f"{path}: the column name 'user' stands more than once in the header; rename one."


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_files_of_one_table_with_other_columns(put: Put, tmp_path: Path, encoding: str) -> None:
    first, second = put("log1.csv", "user,item\na,x\n"), put("log2.csv", "user,sku\nb,y\n")
    message = complaint(shop(table={"encoding": encoding}), tmp_path / "log*.csv")
    assert message.startswith(f"{first}, {second}: ")
    assert message.endswith("; the files of a table need the same columns in the same order.")


def test_parquet_files_of_one_table_with_other_columns(tmp_path: Path) -> None:
    for number, column in enumerate(["item", "sku"]):
        pl.DataFrame({"user": ["a"], column: ["x"]}).write_parquet(tmp_path / f"log{number}.parquet")
    assert complaint(shop(), tmp_path / "log*.parquet") == (
        f"{tmp_path / 'log1.parquet'}: has the columns user, sku, log0.parquet has user, item; "
        "the files of a table need the same columns."
    )


def test_files_of_two_kinds(put: Put, tmp_path: Path) -> None:
    csv = put("log.csv", GOOD)
    FRAME.write_parquet(tmp_path / "log.parquet")
    assert complaint(shop(), tmp_path / "log.*") == (
        f"{csv}, {tmp_path / 'log.parquet'}: expected files of one kind; some are Parquet, some are delimited text."
    )


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        ({"where": "n + 1"}, "edges.bought.where 'n + 1' is no condition: it gives Int64, expected true or false."),
        ({"where": "n >\n  (("}, "edges.bought.where 'n > ((' is neither a column nor an SQL expression: unable to parse"),
        ({"weight": "FOO(n)"}, "edges.bought.weight 'FOO(n)' is neither a column nor an SQL expression: unsupported function"),
        ({"weight": "LN(buyer)"}, "edges.bought.weight 'LN(buyer)' does not work on these columns: "),
        ({"time": "STRPTIME(buyer, '%Y')"}, "edges.bought.time 'STRPTIME(buyer, '%Y')' does not work on these columns: "),
    ],
)
def test_sql_that_does_not_work(edge: dict[str, str], said: str) -> None:
    message = complaint(shop(vertices={"user": "buyer"}, **edge), FRAME, hr.SchemaError)
    assert message.startswith(f"table 'log': {said}")


def test_a_column_called_like_an_sql_keyword_wants_quotes() -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": ["x", "y"]})
    message = complaint(shop(where="user > 1"), frame, hr.SchemaError)
    assert message.endswith("unsupported function 'user' (SQL reads user as a keyword: write the column in double quotes).")
    assert hr.read_logs(shop(where='"user" > 1'), frame).table("bought").rows() == [(2, "y", 1.0)]


@pytest.mark.parametrize(
    ("derive", "said"),
    [
        ({"p": "q", "q": "p"}, "tables.log.derive: p, q need each other in a circle."),
        ({"p": "n", "n": "price"}, "tables.log.derive.n would replace a column of the log; take another name."),
        ({"p": "n ("}, "tables.log.derive.p 'n (' is neither a column nor an SQL expression: unable to parse 'n (' as Expr."),
    ],
)
def test_derived_columns_that_do_not_work(derive: dict[str, str], said: str) -> None:
    schema = shop(vertices={"user": "buyer"}, weight="p", table={"derive": derive})
    assert complaint(schema, FRAME, hr.SchemaError) == f"table 'log': {said}"


def test_a_derived_column_that_fails_on_the_values() -> None:
    schema = shop(vertices={"user": "buyer"}, weight="p", table={"derive": {"p": "LN(buyer)"}})
    assert complaint(schema, FRAME, hr.SchemaError).startswith("schema 'shop': tables.log.derive.p does not work on table 'log': ")


def test_a_row_number_that_is_a_column_already() -> None:
    schema = shop(vertices={"user": "buyer"}, table={"row_number": "n"})
    assert complaint(schema, FRAME, hr.SchemaError) == (
        "table 'log': tables.log.row_number 'n' is a column of the log; take another name."
    )


def test_an_unknown_time_zone() -> None:
    schema = shop(vertices={"hour": {"column": "time", "bucket": "hour_of_day"}}, table={"time_zone": "Mars/City"})
    assert complaint(schema, FRAME, hr.SchemaError) == (
        "table 'log': edges.bought.vertices.hour: no time zone is called 'Mars/City'; expected a name such as Europe/Paris."
    )


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([1.5, 2.0], "ids must be strings or integers; 'user' holds 1.5. Bucket it (quantile:10) or cast it."),
        ([float("inf"), 2.0], "ids must be strings or integers; 'user' holds inf. Bucket it (quantile:10) or cast it."),
        ([2.0**60, 2.0], "'user' holds integers that a float cannot tell apart; read it as text or as integers."),
        ([["a"], ["b"]], "ids must be strings or integers; 'user' is List(String). Bucket a time, or cast the column."),
        (
            pl.Series(["2017-03-01"] * 2).str.to_date(),
            "ids must be strings or integers; 'user' is Date. Bucket a time, or cast the column.",
        ),
    ],
)
def test_ids_of_a_wrong_type(ids: Any, said: str) -> None:
    frame = pl.DataFrame({"user": ids, "item": ["x", "y"]})
    assert complaint(shop(), frame) == f"table 'log': edges.bought.vertices.user: {said}"
    with pytest.raises(hr.DataError) as caught:
        hr.Hypergraph.from_frames(bought=frame)
    assert str(caught.value) == f"frame 'bought': column 'user': {said}"


@pytest.mark.parametrize(
    ("cut", "column", "said"),
    [
        ({"bucket": "quantile:4"}, "buyer", "quantile buckets need numbers; 'buyer' is String."),
        ({"bucket": "6h"}, "flag", "expected times (integers, dates, or ISO text such as 2017-03-01 18:30:00); got Boolean."),
        ({"split": "|"}, "bytes", "expected texts or lists of ids; 'bytes' is Binary."),
    ],
)
def test_a_vertex_of_a_wrong_type(cut: dict[str, str], column: str, said: str) -> None:
    frame = FRAME.with_columns(flag=pl.col("n") == 1, bytes=pl.lit(b"\xff"))
    schema = shop(vertices={"user": "buyer", "part": {"column": column, **cut}})
    assert complaint(schema, frame) == f"table 'log': edges.bought.vertices.part: {said}"


def test_a_weight_or_a_time_of_a_wrong_type() -> None:
    frame = FRAME.with_columns(flag=pl.col("n") == 1, when=pl.col("time").str.to_date())
    assert complaint(shop(vertices={"user": "buyer"}, weight="when"), frame) == (
        "table 'log': edges.bought: edges.bought.weight: expected numbers, got Date."
    )
    assert complaint(shop(vertices={"user": "buyer"}, time="flag"), frame).endswith(
        "time: expected times (integers, dates, or ISO text such as 2017-03-01 18:30:00); got Boolean."
    )


def test_no_edges_left_says_where_they_went() -> None:
    frame = pl.DataFrame({"user": ["a", None, "b", "c"], "item": ["x", "y", "z", "u"], "n": [-1, 1, 0, 9]})
    assert complaint(shop(weight="n", where="n < 5"), frame) == (
        "table 'log': edges.bought: no edges left: 4 rows read, 1 left out by where, "
        "3 broke a rule (weight <= 0: 2, null id: user: 1)."
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"lgo": FRAME}, "schema 'shop' has no table 'lgo'; its tables are: log. Did you mean 'log'?"),
        ({}, "schema 'shop': no edges come from no tables; its tables are: log."),
        (5, "table 'log': expected a frame (polars, pandas, pyarrow) or a path; got int."),
        ([1, 2], "table 'log': expected a frame (polars, pandas, pyarrow) or a path; got list."),
        ({"log": None}, "table 'log': expected a frame (polars, pandas, pyarrow) or a path; got NoneType."),
        ({"log": {"user": ["a"], "item": ["x", "y"]}}, "table 'log': cannot be read as a table: "),
    ],
)
def test_something_that_is_no_log(source: Any, said: str) -> None:
    assert complaint(shop(), source).startswith(said)


def test_one_frame_for_several_tables_must_say_which() -> None:
    message = complaint("movielens-1m", FRAME)
    assert message.endswith("has the tables ratings, movies, users: give {table: frame} to say which one this is.")
    message = complaint("movielens-1m", 5)
    assert message == "expected a folder, a file, a frame or {table: frame}; got int."


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({}, "no frames: give at least one edge type, from_frames(bought=frame)."),
        ({"bought": 3}, "frame 'bought': expected a frame (polars, pandas, pyarrow) or a path; got int."),
        (
            {"bought": {"weight": [1.0]}},
            "frame 'bought': no vertex columns; expected user, item, ... beside weight and time, got weight.",
        ),
        ({"bought": {"": ["a"]}}, "frame 'bought': a column is called ''; its name must be that of a modality."),
        ({"bought": {"#2": ["a"]}}, "frame 'bought': a column is called '#2'; its name must be that of a modality."),
        ({"bought": {"user": []}}, "frame 'bought': no edges left: 0 rows read, 0 broke a rule."),
    ],
)
def test_frames_that_are_no_edges(frames: dict[str, Any], said: str) -> None:
    with pytest.raises(hr.DataError) as caught:
        hr.Hypergraph.from_frames(**frames)
    assert str(caught.value) == said


@pytest.mark.parametrize("read", [hr.read_logs, lambda schema, frame, **options: hr.Hypergraph.from_frames(log=frame, **options)])
def test_a_misspelt_policy(read: Callable[..., hr.Hypergraph]) -> None:
    with pytest.raises(hr.DataError, match=r"^on_bad_rows is 'keep' or 'error'; got 'eror'\. Did you mean 'error'\?$"):
        read(shop(), FRAME, on_bad_rows="eror")


def test_bad_rows_as_an_error_shows_the_first_one() -> None:
    frame = pl.DataFrame({"user": ["a", None, "b"], "item": ["x", "y", "z"], "n": [1, 1, 0]})
    assert complaint(shop(weight="n"), frame, on_bad_rows="error") == (
        "table 'log': edges.bought: 2 rows break a rule (null id: user: 1, weight <= 0: 1); the first: "
        "{'user': None, 'item': 'y', 'n': 1}. Mend the log, filter with `where`, or pass on_bad_rows='keep'."
    )
    assert hr.read_logs(shop(weight="n", where="n > 0 AND item <> 'y'"), frame, on_bad_rows="error").table("bought").height == 1

"""LogSchema: what it takes, and the one line that says what is wrong."""

from __future__ import annotations

import copy
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hyperrec as hr
from hyperrec import schema as schemas
from hyperrec.schema import LogSchema

ROOT = Path(schemas.__file__).resolve().parents[1]
SHIPPED = [
    "20newsgroups", "citeulike-t", "complete-journey", "events", "frappe", "hetrec-lastfm", "movielens-100k", "movielens-1m",
    "nips", "online-retail",
]  # fmt: skip
ITEM = "edges.bought.vertices.item"
WORDS = {"column": "sku", "tokenize": True}
SHOP = """
name = "shop"

[tables.log]
file = "log.csv"

[edges.bought]
table = "log"
vertices = { user = "user", item = { column = "sku" } }

[labels.item]
table = "log"
id = "sku"
text = "title"
"""


def shop(changes: dict[str, Any]) -> dict[str, Any]:
    """SHOP with a value put at every 'dotted.path', or the key taken away for None."""
    raw = tomllib.loads(SHOP)
    for path, value in changes.items():
        *above, key = path.split(".")
        part = raw
        for name in above:
            part = part[name]
        part[key] = copy.deepcopy(value)
        if value is None:
            del part[key]
    return raw


def complaint(source: Any) -> str:
    with pytest.raises(hr.SchemaError) as caught:
        LogSchema.load(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_schema_is_a_name_a_path_a_mapping_or_itself(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(SHOP, "utf-8")
    from_path = LogSchema.load(path)
    assert from_path == LogSchema.load(str(path))
    assert from_path.model_dump() == LogSchema.load(tomllib.loads(SHOP)).model_dump()
    assert LogSchema.load(from_path) is from_path
    assert from_path.modalities == ["user", "item"]
    assert from_path.origin == str(path)
    assert LogSchema.load(tomllib.loads(SHOP)).origin == "schema 'shop'"
    assert LogSchema.load("events").edges["seen"].time == "time"


def test_a_shipped_name_needs_no_file_but_a_file_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert LogSchema.load("events").name == "events"
    Path("events").write_text(SHOP, "utf-8")
    assert LogSchema.load("events").name == "shop"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_schema_loads(name: str) -> None:
    schema = LogSchema.load(name)
    assert schema.name == name
    assert schema.description


def test_shipped_lists_them_all() -> None:
    assert schemas.shipped() == SHIPPED


@pytest.mark.parametrize(
    ("given", "modalities"),
    [
        ("buyer", [("user", "buyer")]),
        ({"column": "buyer"}, [("user", "buyer")]),
        (["a", "b"], [("user", "a"), ("user", "b")]),
        (["a", {"column": "b", "split": " "}], [("user", "a"), ("user", "b")]),
    ],
)
def test_forms_of_vertices(given: Any, modalities: list[tuple[str, str]]) -> None:
    edge = LogSchema.load(shop({"edges.bought.vertices": {"user": given}, "labels": {}})).edges["bought"]
    assert [(modality, vertex.column) for modality, vertex in edge.vertex_list] == modalities


@pytest.mark.parametrize(("weight", "text"), [(2, "2"), (0.5, "0.5"), ("LN(n)", "LN(n)")])
def test_a_weight_may_be_a_number(weight: Any, text: str) -> None:
    assert LogSchema.load(shop({"edges.bought.weight": weight})).edges["bought"].weight == text


@pytest.mark.parametrize("bucket", ["hour_of_day", "day_of_week", "week", "month", "15m", "6h", "2d", "1w", "quantile:10"])
def test_buckets_that_are_known(bucket: str) -> None:
    LogSchema.load(shop({"edges.bought.vertices.item.bucket": bucket}))


@pytest.mark.parametrize(
    ("path", "expected", "meant"),
    [
        ("edgs", "name, description, tables, edges, labels", "edges"),
        ("tables.log.separater", "file, separator, quote, columns", "separator"),
        ("edges.bought.wieght", "table, vertices, weight, where, time, distinct", "weight"),
        ("edges.bought.vertices.item.splitt", "column, split, count, bucket, tokenize", "split"),
        ("labels.item.txt", "table, id, text", "text"),
    ],
)
def test_a_misspelt_key_at_every_level(path: str, expected: str, meant: str) -> None:
    message = complaint(shop({path: "x"}))
    assert message.startswith(f"schema 'shop': {path} is not a key; expected one of: {expected}")
    assert message.endswith(f" Did you mean '{meant}'?")


def test_a_misspelt_key_in_a_list_of_vertices_is_counted_from_zero() -> None:
    message = complaint(shop({"edges.bought.vertices.item": ["a", {"column": "b", "tokenise": True}]}))
    assert "edges.bought.vertices.item[1].tokenise is not a key" in message
    assert "Did you mean 'tokenize'?" in message


def test_a_misspelt_key_is_named_before_what_it_leaves_missing() -> None:
    raw = tomllib.loads(SHOP)
    raw["edgs"] = raw.pop("edges")
    message = complaint(raw)
    assert "edgs is not a key" in message
    assert message.endswith("Did you mean 'edges'? (1 more like this.)")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "schema 'without a name': name is missing."),
        ({"edges": None}, "edges is missing."),
        ({"edges": {}}, "edges is empty: name at least one."),
        ({"tables": None}, "tables is missing."),
        ({"tables": {}}, "tables is empty: name at least one."),
        ({"edges.bought.vertices": {}}, "edges.bought.vertices is empty: name at least one."),
        ({"edges.bought.vertices.item": []}, "edges.bought.vertices.item is empty: name at least one."),
        ({"edges.bought.table": "lgo"}, "edges.bought.table names 'lgo'; the tables are: log. Did you mean 'log'?"),
        ({"labels.item.table": "lgo"}, "labels.item.table names 'lgo'; the tables are: log. Did you mean 'log'?"),
        (
            {"labels": {"itm": {"table": "log", "id": "a", "text": "b"}}},
            "labels.itm names no modality; the edges have: user, item. Did you mean 'item'?",
        ),
        (
            {"edges.bought.vertices.item.bucket": "hours_of_day"},
            "edges.bought.vertices.item.bucket; got 'hours_of_day': expected hour_of_day, day_of_week, week, month, "
            "a duration such as 15m, 6h, 2d, or quantile:10. Did you mean 'hour_of_day'?",
        ),
        ({"edges.bought.vertices.item.bucket": "0h"}, "got '0h': expected hour_of_day"),
        ({"edges.bought.vertices.item.bucket": "quantile:0"}, "got 'quantile:0': expected hour_of_day"),
        ({"edges.bought.vertices.item.count": ":"}, "edges.bought.vertices.item: count needs split."),
        ({"edges.bought.vertices.weight": "n"}, "'weight' cannot name a modality: weight, time, rule, and names with # are taken."),
        ({"edges.bought.vertices": {"user#2": "n"}}, "'user#2' cannot name a modality"),
        ({"edges.bought.vertices.item": 5}, "edges.bought.vertices.item: Input should be a valid dictionary"),
        ({"edges.bought.weight": True}, "edges.bought.weight: Input should be a valid string; got True."),
        ({"tables.log.types": {"sku": "int"}}, "tables.log.types.sku: Input should be 'string', 'integer' or 'number'; got 'int'."),
        ({"tables.log.separator": ""}, 'tables.log: separator = "" makes a line one column: give columns = ["its name"].'),
        ({"tables.log.columns": ["a", "b", "a"]}, "tables.log: columns repeats a."),
        (
            {"tables.log.whole_files": True, "tables.log.quote": ""},
            "tables.log: whole_files makes a file one row, without quote: leave one of them out.",
        ),
        ({"edges.bought.vertices.item.min_df": 2}, "edges.bought.vertices.item: min_df needs tokenize = true."),
        ({ITEM: {"column": "sku", "lemmas": "en", "ordered": True}}, "item: ordered, lemmas need tokenize = true."),
        ({ITEM: WORDS | {"min_df": 0}}, ".min_df; got 0: expected a number of rows, 1 or more, or a share of them, 0.0 to 1.0."),
        ({ITEM: WORDS | {"max_df": 1.5}}, f"{ITEM}.max_df; got 1.5: expected a number of rows, 1 or more, or a share"),
        ({ITEM: WORDS | {"max_df": True}}, f"{ITEM}.max_df; got True: expected a number of rows"),
        ({ITEM: WORDS | {"min_df": 5, "max_df": 2}}, "min_df = 5 and max_df = 2 leave no words: expected min_df <= max_df."),
        ({ITEM: WORDS | {"stop_words": 5}}, f'{ITEM}.stop_words; got 5: expected a list of words, or a language such as "en".'),
        ({ITEM: WORDS | {"strip": ["header"]}}, "item.strip[0]: Input should be 'headers', 'quotes' or 'footers'; got 'header'."),
        (
            {ITEM: WORDS | {"ordered": True}, "edges.bought.distinct": True},
            "edges.bought: distinct leaves each word of a text once, but 'item' is ordered: leave one of them out.",
        ),
        ({"edges.bought.distinct": "SUM(weight)", "edges.bought.time": "day"}, "they have none: leave time or the SQL out."),
        ({"edges.bought.distinct": "SUM("}, "edges.bought.distinct; got 'SUM(': no SQL of the `weight`s of equal edges: "),
        ({"edges.bought.distinct": "SUM(n)"}, "got 'SUM(n)': no SQL of the `weight`s of equal edges: unable to find column \"n\""),
        ({"edges.bought.distinct": "weight"}, "got 'weight': no one number for equal edges: expected true, or SQL such as"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes: dict[str, Any], said: str) -> None:
    message = complaint(shop(changes))
    assert said in message
    assert "more like this" not in message


@pytest.mark.parametrize(
    "two",
    [
        {"split": "|", "bucket": "6h"},
        {"split": "|", "tokenize": True},
        {"bucket": "6h", "tokenize": True},
    ],
)
def test_a_vertex_is_cut_in_one_way_only(two: dict[str, Any]) -> None:
    message = complaint(shop({"edges.bought.vertices.item": {"column": "sku", **two}}))
    assert message == "schema 'shop': edges.bought.vertices.item: only one of split, bucket, tokenize can be said of one vertex."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = \n", ": not valid TOML: Invalid value (at line 1, column 8)."),
        (b'name = "caf\xe9"\n', ": a schema is UTF-8 text; byte 11 is not."),
        (b"", ": name is missing. (2 more like this.)"),
    ],
)
def test_a_file_that_is_no_schema_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    assert complaint(path) == f"{path}{said}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert complaint(path) == f"{path}: cannot read this schema: No such file or directory."


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    message = complaint("movielens-1x")
    assert message.startswith("no schema 'movielens-1x': expected a path to a .toml file or one of 20newsgroups, citeulike-t,")
    assert message.endswith("Did you mean 'movielens-1m'?")


def test_what_is_neither_name_nor_path_nor_mapping() -> None:
    assert complaint(5).startswith("a schema is a name, a path, a mapping or a LogSchema; got int. Shipped: 20newsgroups,")


def test_the_json_schema_is_up_to_date() -> None:
    shipped = (ROOT / "schemas" / "log.schema.json").read_text("utf-8")
    assert shipped == schemas.json_schema(), "run hyperrec.schema.write_json_schema()"


def test_every_toml_names_the_json_schema_beside_it() -> None:
    for path in (ROOT / "schemas").glob("*.toml"):
        assert path.read_text("utf-8").startswith("#:schema ./log.schema.json\n"), path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes the schema module believe that it is installed in a folder."""

    def move(package: Path) -> None:
        package.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(schemas, "__file__", str(package / "schema.py"))

    return move


def test_a_wheel_has_the_schemas_inside_the_package(tmp_path: Path, installed: Callable[[Path], None]) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    inside = build["wheel"]["force-include"]["schemas"]
    shutil.copytree(ROOT / "schemas", tmp_path / inside)
    installed(tmp_path / build["wheel"]["packages"][0])
    assert schemas.schema_folder() == tmp_path / "hyperrec" / "schemas"
    assert schemas.shipped() == SHIPPED
    assert LogSchema.load("movielens-1m").origin == str(tmp_path / "hyperrec" / "schemas" / "movielens-1m.toml")


def test_the_json_schema_is_written_beside_the_schemas(tmp_path: Path, installed: Callable[[Path], None]) -> None:
    (tmp_path / "schemas").mkdir()
    installed(tmp_path / "hyperrec")
    path = schemas.write_json_schema()
    assert path == tmp_path / "schemas" / "log.schema.json"
    assert path.read_text("utf-8") == schemas.json_schema()

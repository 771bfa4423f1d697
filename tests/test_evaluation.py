"""Evaluation: worked by hand, best and worst recommenders, intervals, paired differences."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from polars.testing import assert_frame_equal

import hyperrec as hr
from hyperrec.errors import DataError, ModelError
from hyperrec.evaluation import Evaluation, pair_matrix
from hyperrec.hypergraph import EdgeTable
from hyperrec.peers import Popularity, rank

Worlds = tuple[hr.Hypergraph, hr.Hypergraph]
PER_USER = ["ndcg", "precision", "recall", "recall_capped", "hit_rate", "mrr", "map", "diversity"]


class Fixed:
    """Shows each user the best items of a table of scores, and keeps what it was asked."""

    name = "fixed"

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.asked = scores, []

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Any:
        self.asked.append((user_rows.tolist(), k, None if seen is None else seen.toarray().tolist()))
        return rank(self.scores[user_rows], k, seen)


def only(graph: hr.Hypergraph, edge_type: str, rows: Any) -> hr.Hypergraph:
    """The graph with some of the edges of one type."""
    table = graph.edges[edge_type]
    return graph.with_edges({edge_type: EdgeTable(table.modalities, table.frame.filter(rows))})


@pytest.fixture(scope="module")
def worlds(films: hr.Hypergraph) -> Worlds:
    return hr.split(films, "watched", fraction=0.3)


@pytest.fixture(scope="module")
def measured(worlds: Worlds) -> Evaluation:
    return hr.evaluate(Popularity().fit(pair_matrix(worlds[0], "watched")), *worlds, (5, 10))


@pytest.fixture(scope="module")
def tiny() -> Worlds:
    """Users a, b, c; items 0..3. Train: a 0 1, b 0, c 0 2. Test: a 2, b 1 and 0 once more; c nothing."""
    graph = hr.Hypergraph.from_frames(
        bought=pl.DataFrame({"user": list("aabccabbc"), "item": [0, 1, 0, 0, 2, 2, 1, 0, 3], "time": range(9)})
    )
    return only(graph, "bought", pl.col("time") < 5), only(graph, "bought", pl.col("time").is_between(5, 7))


LISTS = np.array([[0.0, 0.0, 3.0, 2.0], [3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_by_hand_with_seen_items(tiny: Worlds) -> None:
    """a is shown 2 3, b 0 1; b is expected to find 0 and 1. Shares of the five training edges: .6 .2 .2 0."""
    model = Fixed(LISTS)
    got = hr.evaluate(model, *tiny, 2, filter_seen=False)
    assert model.asked == [([0, 1], 2, None)]
    assert got.per_user["ndcg@2"].tolist() == [1, 1]
    assert got.per_user["precision@2"].tolist() == [0.5, 1]
    assert got["precision@2"] == 0.75
    assert got["coverage@2"] == 1
    assert got["novelty@2"] == pytest.approx((3 * log2(5) + log2(1 / 0.6)) / 4)
    assert got["popularity_lift@2"] == pytest.approx((0.2 + 0 + 0.6 + 0.2) / 4 / ((3 * 0.6 + 0.2 + 0.2) / 5))


def test_by_hand_without_seen_items(tiny: Worlds) -> None:
    """b is shown 1 2 and not expected to find 0 again."""
    model = Fixed(LISTS)
    got = hr.evaluate(model, *tiny, (1, 3))
    assert model.asked == [([0, 1], 3, [[1, 1, 0, 0], [1, 0, 0, 0]])]
    assert got.users.tolist() == [0, 1]
    assert got.per_user["recall@1"].tolist() == [1, 1]
    assert got.per_user["precision@3"].tolist() == [1 / 3, 1 / 3]
    assert got["coverage@1"] == 2 / 4
    assert got["coverage@3"] == 3 / 4
    assert got["popularity_lift@1"] == pytest.approx(0.2 / 0.44)
    assert got["popularity_lift@3"] == pytest.approx((0.2 + 0 + 0.2 + 0.2 + 0) / 5 / 0.44)


@pytest.mark.parametrize(("scores", "expected"), [(lambda held: held, 1.0), (lambda held: -held, 0.0)], ids=["best", "worst"])
def test_the_best_and_the_worst(worlds: Worlds, scores: Callable[[np.ndarray], np.ndarray], expected: float) -> None:
    got = hr.evaluate(Fixed(scores(pair_matrix(worlds[1], "watched").toarray())), *worlds, (1, 10))
    for metric in ("ndcg", "recall_capped", "hit_rate", "mrr", "map"):
        for k in (1, 10):
            assert got[f"{metric}@{k}"] == pytest.approx(expected, abs=1e-12)
    exact = got.metrics.filter(pl.col("metric") == "ndcg@10").row(0, named=True)
    assert (exact["ci_low"], exact["ci_high"]) == pytest.approx((expected, expected))


def test_columns_and_intervals(measured: Evaluation) -> None:
    frame = measured.metrics
    assert frame.columns == ["metric", "value", "ci_low", "ci_high", "n_users"]
    whole = ["coverage", "novelty", "popularity_lift"]
    assert frame["metric"].to_list() == [f"{name}@{k}" for k in (5, 10) for name in [*PER_USER, *whole]]
    each = frame.filter(pl.col("metric").str.contains("|".join(f"^{name}@" for name in PER_USER)))
    assert each.select(((pl.col("ci_low") < pl.col("value")) & (pl.col("value") < pl.col("ci_high"))).all()).item()
    rest = frame.join(each, on="metric", how="anti")
    assert rest["ci_low"].null_count() == rest["ci_high"].null_count() == 6
    for metric, value in each.select("metric", "value").iter_rows():
        assert measured.per_user[metric].mean() == pytest.approx(value)


def test_the_interval_is_as_wide_as_the_normal_one(measured: Evaluation) -> None:
    values = measured.per_user["ndcg@10"]
    row = measured.metrics.row(by_predicate=pl.col("metric") == "ndcg@10", named=True)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(len(values)), rel=0.1)


def test_every_test_user_is_counted(worlds: Worlds, measured: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    users = worlds[1].edges["watched"].frame["user"].unique().sort().to_list()
    assert measured.users.tolist() == users
    assert measured.metrics["n_users"].unique().to_list() == [len(users)]
    monkeypatch.setitem(hr.evaluate.__globals__, "BATCH", 7)
    batched = hr.evaluate(Popularity().fit(pair_matrix(worlds[0], "watched")), *worlds, (5, 10))
    assert_frame_equal(batched.metrics, measured.metrics)


def test_the_same_twice(worlds: Worlds, model: hr.TopicModel, measured: Evaluation) -> None:
    first, again = (hr.evaluate(model, *worlds, 10) for _ in range(2))
    assert first.name == "hyperrec"
    assert_frame_equal(first.metrics, again.metrics, check_exact=True)
    other = hr.evaluate(model, *worlds, 10, seed=1)
    assert first["ndcg@10"] == other["ndcg@10"]
    assert first.metrics["ci_low"].to_list() != other.metrics["ci_low"].to_list()


def test_topics_find_more_than_popularity(worlds: Worlds, measured: Evaluation) -> None:
    edges = {"watched": 1.0, "genre": 0.2}
    fitted = hr.TopicModel(3, edges=edges, n_passes=30, seed=1).fit(worlds[0], progress=False)
    difference = hr.evaluate(fitted, *worlds, (5, 10)).compare(measured)
    assert difference["ci_low"] > 0.1


def test_a_model_is_no_better_than_itself(measured: Evaluation) -> None:
    assert measured.compare(measured) == {"difference": 0, "ci_low": 0, "ci_high": 0}


def test_the_paired_difference_is_that_of_the_means(worlds: Worlds, measured: Evaluation) -> None:
    other = hr.evaluate(Fixed(np.random.default_rng(0).random((120, 60))), *worlds, (5, 10))
    for metric in ("ndcg@10", "recall@5"):
        there, back = measured.compare(other, metric), other.compare(measured, metric)
        assert there["difference"] == pytest.approx(measured[metric] - other[metric])
        assert there["ci_low"] < there["difference"] < there["ci_high"]
        assert [-back["ci_high"], -back["ci_low"]] == pytest.approx([there["ci_low"], there["ci_high"]])


def test_different_users_are_not_compared(worlds: Worlds) -> None:
    train, test = worlds
    model = Popularity().fit(pair_matrix(train, "watched"))
    without_first, without_last = (
        hr.evaluate(model, train, only(test, "watched", rows)) for rows in (pl.col("user") > 0, pl.col("user") < 119)
    )
    assert len(without_first.users) == len(without_last.users) == 119
    with pytest.raises(DataError, match="popularity and popularity were measured on different users: use one split for both"):
        without_first.compare(without_last)


def test_only_metrics_that_were_measured(measured: Evaluation) -> None:
    with pytest.raises(DataError, match=r"no metric 'ndgc@10': measured were ndcg@5, .*Did you mean 'ndcg@10'\?"):
        measured["ndgc@10"]
    with pytest.raises(DataError, match="no metric 'coverage@10' per user: there are ndcg@5, precision@5"):
        measured.compare(measured, "coverage@10")


def test_a_person_reads_it(measured: Evaluation) -> None:
    lines = repr(measured).splitlines()
    assert lines[0] == "popularity, 120 users"
    row = measured.metrics.row(0, named=True)
    assert lines[1].split() == ["ndcg@5", f"{row['value']:.4f}", f"[{row['ci_low']:.4f},", f"{row['ci_high']:.4f}]"]
    assert lines[9].split() == ["coverage@5", f"{measured['coverage@5']:.4f}"]


@pytest.mark.parametrize("k", [0, [], -3, (10, 0)])
def test_k_is_one_or_more(worlds: Worlds, k: Any) -> None:
    with pytest.raises(ModelError, match="k must be 1 or more, got ") as caught:
        hr.evaluate(Fixed(np.zeros((120, 60))), *worlds, k)
    assert str(k) in str(caught.value)


def test_lists_of_some_items_alone(films: hr.Hypergraph) -> None:
    train, test = hr.split(films, "watched", by="cold_items", seed=3)
    cold = test.table("watched")["item"].unique()
    model = hr.TopicModel(3, edges={"watched": 1.0}, attributes=hr.Attributes(), n_passes=5).fit(train, progress=False)
    found = hr.evaluate(model, train, test, 5, among=cold)
    held = dict(test.table("watched").group_by("user").agg("item").iter_rows())
    lists = dict(model.recommend(list(held), k=5, among=cold).group_by("user").agg("item").iter_rows())
    share = [len({*lists[user]} & {*held[user]}) / len(held[user]) for user in held]
    assert found["recall@5"] == pytest.approx(np.mean(share))
    assert found["recall@5"] > hr.evaluate(model, train, test, 5)["recall@5"]
    assert found["coverage@5"] == pytest.approx(len({one for items in lists.values() for one in items}) / len(cold))
    with pytest.raises(DataError, match="among= names no item that is to be found in the test split"):
        hr.evaluate(model, train, test, among=[])
    with pytest.raises(DataError, match="unknown item 'film'"):
        hr.evaluate(model, train, test, among=["film"])


def test_more_than_all_items(worlds: Worlds) -> None:
    got = hr.evaluate(Fixed(np.zeros((120, 60))), *worlds, 100)
    assert got["recall@100"] == got["coverage@100"] == 1


def test_a_test_split_without_edges(worlds: Worlds) -> None:
    train, test = worlds
    for nothing, options in ((only(test, "watched", False), {}), (train, {"edge_type": "watched"})):
        with pytest.raises(DataError, match="the test split has no edges of 'watched' to find: nothing can be measured"):
            hr.evaluate(Fixed(np.zeros((120, 60))), train, nothing, **options)
    with pytest.raises(DataError, match="the test split has no edge type: nothing can be measured"):
        hr.evaluate(Fixed(np.zeros((120, 60))), train, test.with_edges({}))
    with pytest.raises(DataError, match=r"unknown edge type 'wached'.*Did you mean 'watched'"):
        hr.evaluate(Fixed(np.zeros((120, 60))), train, test, edge_type="wached")


def test_a_model_of_another_graph_is_refused(films: hr.Hypergraph) -> None:
    train, test = hr.split(films, "watched")
    other = hr.Hypergraph.from_frames(watched=films.table("watched").filter(pl.col("item") != "film-0"))
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=2).fit(other, progress=False)
    with pytest.raises(hr.ModelError, match="the model knows other item vertices than train has"):
        hr.evaluate(model, train, test)
    with pytest.raises(hr.ModelError, match="the model is not fitted"):
        hr.evaluate(hr.TopicModel(3), train, test)
    with pytest.raises(hr.ModelError, match="the model is not fitted"):
        hr.TopicModel(3).recommend_rows(np.arange(2), 5)


def test_a_test_of_another_numbering_is_refused(films: hr.Hypergraph) -> None:
    train, test = hr.split(films, "watched")
    model = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=2).fit(train, progress=False)
    own = hr.Hypergraph.from_frames(watched=test.table("watched").with_columns(pl.col("user").str.replace("user-1$", "user-x")))
    with pytest.raises(hr.DataError, match=r"train and test number their user vertices differently: make both with hr\.split"):
        hr.evaluate(model, train, own)
    with pytest.raises(hr.DataError, match="evaluate takes the two hypergraphs that"):
        hr.evaluate(model, train, test.table("watched"))  # type: ignore[arg-type]
    renamed = hr.Hypergraph.from_frames(watched=films.table("watched").rename({"user": "person"}))
    other_train, other_test = hr.split(renamed, "watched")
    with pytest.raises(hr.ModelError, match="the model knows other person vertices than train has"):
        hr.evaluate(model, other_train, other_test)

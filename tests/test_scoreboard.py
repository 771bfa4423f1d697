"""The scoreboard: what each situation asks and hides, every situation from a log to its table, and the page it is written to."""

from __future__ import annotations

import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from worlds import HOUSEHOLD, world

import hyperrec as hr
from hyperrec.benchmark import SITUATIONS, Candidate, Situation, Task, board, candidates, frequent, put, scoreboard, search, table
from hyperrec.benchmark.candidates import POPULARITY, told
from hyperrec.benchmark.splitting import later
from hyperrec.cli import main
from hyperrec.errors import DataError, ModelError
from hyperrec.evaluation import pair_matrix
from hyperrec.metrics import per_user
from hyperrec.peers import Popularity

NAMES = [one.name for one in SITUATIONS]
pytest.importorskip("implicit")


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small logs in place of the data sets, and everything in one process."""
    monkeypatch.setattr(board, "locate", lambda name, data: name)
    monkeypatch.setattr(board, "read_logs", lambda name, source: world(name))
    monkeypatch.setattr(search, "apart", search.measured)


@pytest.mark.parametrize("situation", SITUATIONS, ids=NAMES)
def test_from_the_log_to_the_block(situation: Situation, worlds: None, capsys: pytest.CaptureFixture[str]) -> None:
    written: list[tuple[str, str]] = []
    scoreboard(trials=1, only=[situation.name], write=lambda name, text: written.append((name, text)))
    assert {name for name, _ in written} == {f"scoreboard-{situation.name}"}
    lines = [line.split(" | ") for line in written[-1][1].splitlines() if line.startswith("| ")]
    header, rows = lines[0], lines[2:]
    assert header[0] == "| model"
    measured = [row[0].removeprefix("| ") for row in rows]
    absent = re.findall(r"Left out: (.*?):", written[-1][1])
    assert list(dict.fromkeys(measured)) == [one.name for one in situation.candidates if one.name not in absent]
    for metric in situation.metrics:
        cells = [row[header.index(search.short(metric))] for row in rows]
        assert all(0 <= float(low) <= float(value) <= float(high) <= 1 for value, low, high in map(numbers, cells))
        assert max(numbers(cell)[0] for cell in cells) > 0.02
    assert situation.protocol in written[-1][1]
    assert "Not yet measured" not in written[-1][1]
    assert len(written) == len(set(measured))
    assert "Not yet measured: " in written[0][1] or len(written) == 1
    trials = [line for line in capsys.readouterr().err.splitlines() if ", trial 1 of 1: validation " in line]
    assert len(trials) >= len(written) - 2


@pytest.mark.parametrize("situation", SITUATIONS, ids=NAMES)
def test_candidates_can_be_sent_to_a_process_of_their_own(situation: Situation) -> None:
    for candidate in situation.candidates:
        again = pickle.loads(pickle.dumps(candidate))
        assert (again.name, again.absent) == (candidate.name, candidate.absent)
        for one, other in ((again.fit, candidate.fit), (again.draw, candidate.draw)):
            if isinstance(other, partial):
                assert (one.func, one.keywords) == (other.func, other.keywords)
            else:
                assert one == other


def test_pairs_by_their_weights() -> None:
    rows = {"user": [1, 1, 1, 2, 2], "item": list("abaab"), "weight": [1.0, 9.0, 3.0, 2.0, 2.0]}
    train = hr.Hypergraph.from_frames(bought=pl.DataFrame(rows))
    task = Task(train, "bought", sp.csr_matrix((2, 2)), np.arange(2))
    assert not task.alike
    np.testing.assert_allclose(task.weighted(0.5).toarray(), [[0.8, 1.2], [1, 1]], rtol=1e-6)
    pairs, rest = told(task, {"weight_exponent": 0.5, "factors": 3})
    np.testing.assert_allclose(pairs.toarray(), [[0.8, 1.2], [1, 1]], rtol=1e-6)
    assert rest == {"factors": 3}
    assert (told(task, {})[0].toarray() == 1).all()
    assert Task(hr.Hypergraph.from_frames(bought=pl.DataFrame(rows).drop("weight").unique()), "bought", task.held, task.users).alike


def numbers(cell: str) -> tuple[float, ...]:
    return tuple(map(float, re.findall(r"[-+]?\d+\.\d+", cell)))


@pytest.mark.parametrize("situation", SITUATIONS, ids=NAMES)
def test_what_is_held_out_is_in_no_training_part(situation: Situation) -> None:
    """Nor is it filtered, out of what may be listed, or empty; and validation comes from the training part of test."""
    validation, *_, test = situation.split(world(situation.data))
    for task in (validation, test):
        assert (np.diff(task.held.indptr) > 0).all()
        assert task.held.shape == (len(task.users), len(task.train.vocabulary(task.item)))
        if task.seen is not None:
            assert task.seen.multiply(task.held).nnz == 0
        if task.among is not None:
            assert set(task.held.indices) <= set(task.among.tolist())
            assert task.pairs[:, task.among].nnz == 0
        if task.told is None:
            assert (np.diff(task.pairs.indptr)[task.users] > 0).all()
        if task.seen is not None:  # else things come back
            assert task.pairs[task.users].multiply(task.held).nnz == 0
    user, item = test.user, test.item
    inner, outer = (one.train.table(one.edge_type).select(user, item) for one in (validation, test))
    assert inner.height < outer.height
    assert validation.train.vocabularies == test.train.vocabularies
    assert inner.join(outer, on=[user, item], how="anti").height == 0
    askers = np.repeat(validation.users, np.diff(validation.held.indptr))
    decoded = {
        name: validation.train.vocabulary(name).decode(rows) for name, rows in ((user, askers), (item, validation.held.indices))
    }
    asked = pl.DataFrame(decoded)
    assert asked.join(outer, on=[user, item], how="anti").height == 0


def test_later_is_after_all_of_train() -> None:
    graph = world("movielens-1m")
    situation = next(one for one in SITUATIONS if one.name == "later-movielens-1m")
    log, users = graph.table("rated"), graph.vocabulary("user").ids.to_list()
    *validation, test = situation.split(graph)
    assert len(validation) == 4
    for task in (*validation, test):
        cut = task.train.table("rated")["time"].max()
        away = {}
        for (user,), events in log.filter(pl.col("time") <= test.train.table("rated")["time"].max()).group_by("user"):
            before, after = (events.filter(one)["time"] for one in (pl.col("time") <= cut, pl.col("time") > cut))
            if len(before) and len(after):
                away[users.index(user)] = after.min() - before.max()
        if task is test:
            assert set(task.users) <= {users.index(user) for user in log.filter(pl.col("time") > cut)["user"]}
        else:
            assert min(away.values()) < 7 * 86_400
            assert set(task.users) == {user for user, gap in away.items() if gap >= 7 * 86_400}


def test_nobody_comes_back() -> None:
    rows = world("movielens-1m").table("rated").with_columns(pl.col("time") // 100)
    with pytest.raises(DataError, match="no user comes back to 'rated' after a week: nothing can be measured"):
        later(hr.Hypergraph.from_frames(rated=rows), "rated")


def test_next_holds_the_last_item_of_each_user() -> None:
    graph = world("movielens-100k")
    situation = next(one for one in SITUATIONS if one.name == "next-movielens-100k")
    validation, *_, test = situation.split(graph)
    log = graph.table("rated").sort("user", "time", maintain_order=True)
    for task, place in ((test, -1), (validation, -2)):
        wanted = log.group_by("user", maintain_order=True).agg(pl.col("item").get(place)).sort("user")
        found = task.train.vocabulary("item").decode(task.held.indices)
        assert task.train.vocabulary("user").decode(task.users).to_list() == wanted["user"].to_list()
        assert found.to_list() == wanted["item"].to_list()


def test_a_row_of_contexts_is_a_query() -> None:
    graph = world("frappe")
    every, new = (next(one for one in SITUATIONS if one.name == name) for name in ("context-frappe", "context-new-frappe"))
    (_, test), (_, fresh) = every.split(graph), new.split(graph)
    log = graph.table("used_in").drop("weight")
    asked = {"user": test.users, "item": test.held.indices, **test.given}
    found = pl.DataFrame({name: graph.vocabulary(name).decode(rows) for name, rows in asked.items()})
    rest = test.train.table("used_in").drop("weight")
    assert pl.concat([found, rest]).select(log.columns).sort(log.columns).equals(log.sort(log.columns))
    assert rest.select("user", "item").sort("user", "item").equals(test.train.table("used").drop("weight").sort("user", "item"))
    known = test.pairs[test.users].multiply(test.held).sum(axis=1).A1 > 0
    assert 0 < known.sum() < len(known)
    assert fresh.users.tolist() == test.users[~known].tolist()
    assert fresh.held.indices.tolist() == test.held.indices[~known].tolist()
    assert test.seen is None


def test_the_last_basket_is_held_out_and_its_products_may_have_been_bought_before() -> None:
    graph = world("complete-journey")
    log = graph.table("bought_at").filter(pl.len().over("product") >= 20)
    situation = next(one for one in SITUATIONS if one.name == "next-basket-complete-journey")
    validation, *_, test = situation.split(graph)
    for task, place in ((test, -1), (validation, -2)):
        households, products = task.train.vocabulary("household").ids, task.train.vocabulary("product").ids
        assert task.seen is None
        again = 0
        for user, held in zip(task.users, task.held, strict=True):
            mine = log.filter(pl.col("household") == households[int(user)])
            times = mine["time"].unique().sort()
            assert set(products.gather(held.indices)) == set(mine.filter(pl.col("time") == times[place])["product"])
            known = task.train.table("bought_at").filter(pl.col("household") == households[int(user)])
            assert known["time"].max() == times[place - 1]
            assert known.height == mine.filter(pl.col("time") < times[place]).height
            again += len(set(products.gather(held.indices)) & set(known["product"]))
        assert again > 0


def test_users_of_one_basket_are_not_asked_for_the_next() -> None:
    split = next(one for one in SITUATIONS if one.name == "next-basket-complete-journey").split
    graph = world("complete-journey")
    once = graph.table("bought_at").with_columns(time=pl.lit(1_500_000_000))
    with pytest.raises(DataError) as caught:
        split(hr.Hypergraph.from_frames(bought_at=once))
    assert str(caught.value) == "no household has edges of 'bought_at' at two times: nothing can be measured."


@pytest.mark.parametrize(
    ("name", "kinds", "attributes"),
    [("typed-hetrec-lastfm", ["friends"], ["tagged"]), ("typed-citeulike-t", [], ["cites"])],
)
def test_with_and_without_edges_is_the_same_model_and_the_same_draws(name: str, kinds: list[str], attributes: list[str]) -> None:
    situation = next(one for one in SITUATIONS if one.name == name)
    task, *_, test = situation.split(world(situation.data))
    ours, without = situation.candidates
    drawn, plain = ([one.draw(rng, task) for _ in range(5)] for one, rng in ((ours, rng_of(3)), (without, rng_of(3))))
    weights = [*kinds, "warm_likeness"]
    assert [{key: value for key, value in one.items() if key not in weights} for one in drawn] == plain
    fewer = {**plain[0], "n_topics": 6, "n_passes": 4}
    model = ours.fit(task, {**fewer, **dict.fromkeys(weights, 0.5)}).model
    assert list(model.fitted_edges) == [task.edge_type, *kinds]
    assert model.attributes == hr.Attributes(edges=dict.fromkeys(attributes, 1.0), warm_likeness=0.5)
    model = without.fit(task, fewer).model
    assert (list(model.fitted_edges), model.attributes) == ([task.edge_type], None)
    assert list(test.train.edges) == [test.edge_type, *kinds, *attributes]


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def cold_users(graph: hr.Hypergraph) -> tuple[Task, Task]:
    return next(one for one in SITUATIONS if one.name == "cold-users-complete-journey").split(graph)


def test_cold_users_are_told_by_their_first_items() -> None:
    graph = world("complete-journey")
    log = graph.table("bought").sort("household", "time", maintain_order=True)
    log = log.filter(pl.len().over("product") >= 20)
    for task in cold_users(graph):
        assert list(dict.fromkeys(task.parts)) == ["0 items told", "1 item told", "3 items told", "5 items told", "10 items told"]
        households, products = task.train.vocabulary("household").ids, task.train.vocabulary("product").ids
        for query, (part, user) in enumerate(zip(task.parts, task.users, strict=True)):
            mine = log.filter(pl.col("household") == households[int(user)])["product"].to_list()
            told, seen, held = (set(products.gather(one[query].indices)) for one in (task.told, task.seen, task.held))
            assert told == set(mine[: int(part.split()[0])])
            assert seen == set(mine[:10])
            assert held == set(mine[10:])
        assert task.pairs[task.users].nnz == 0
        assert task.train.edges["age"].n_edges == 90


def test_of_whom_nothing_is_known_is_not_asked_without_items() -> None:
    graph = world("complete-journey")
    few = {name: graph.table(name).filter(pl.col("household") % 2 == 0) for name in HOUSEHOLD}
    graph = hr.Hypergraph.from_frames(bought=graph.table("bought"), **few)
    _, task = cold_users(graph)
    households = task.train.vocabulary("household").ids
    alone = households.gather(task.users[task.parts == "0 items told"])
    everyone = households.gather(task.users[task.parts == "1 item told"])
    assert alone.to_list() == everyone.filter(everyone % 2 == 0).to_list()
    assert len(alone) < len(everyone)


def test_too_short_histories_of_cold_users_are_told() -> None:
    graph = world("complete-journey")
    short = graph.table("bought").filter(pl.int_range(pl.len()).over("household") < 10)
    kinds = {name: graph.table(name) for name in HOUSEHOLD}
    with pytest.raises(DataError) as caught:
        cold_users(hr.Hypergraph.from_frames(bought=short, **kinds))
    assert str(caught.value) == "no user held out of 'bought' has more than 10 items: nothing can be measured."


def test_lists_of_told_users_are_those_of_recommend() -> None:
    task, _ = cold_users(world("complete-journey"))
    candidate = next(one for one in SITUATIONS if one.name == "cold-users-complete-journey").candidates[0]
    ranker = candidate.fit(task, {"n_topics": 5, "n_passes": 8, "length_damping": 0.2, "ridge": 3.0, "history_prior": 10.0})
    ranked = ranker.rank(task, 6)
    model, products, households = ranker.model, task.train.vocabulary("product"), task.train.vocabulary("household")
    for query in (0, len(task.users) // 2, len(task.users) - 1):
        told, seen = products.decode(task.told[query].indices), products.decode(task.seen[query].indices)
        household = households.ids[int(task.users[query])]
        parts = [pl.DataFrame({"user": ["new"] * len(told), "item": told})]
        for kind in ranker.kinds:
            known = task.train.table(kind).filter(household=household)
            parts.append(known.select(pl.lit("new").alias("user"), kind))
        wanted = model.recommend(histories=pl.concat(parts, how="diagonal_relaxed"), k=6, exclude=seen)
        rows = ranked[query][ranked[query] >= 0]
        assert products.decode(rows).to_list() == wanted["item"].to_list()


def test_folded_in_als_solves_for_the_told_items() -> None:
    task, _ = cold_users(world("complete-journey"))
    options = {"factors": 4, "regularization": 2.0, "alpha": 3.0, "iterations": 5}
    peer = candidates.fit_fold_in(task, options)
    items = np.arange(task.n_items)
    scores = peer.scores(task, np.arange(len(task.users)), items)
    y = peer.model.item_factors.astype(np.float64)
    for query in range(len(task.users)):
        told = task.told[query].indices
        if len(told):  # Hu, Koren, Volinsky (2008), equation 4, with confidence alpha for what was met and 1 for the rest
            matrix = y.T @ y + (3 - 1) * y[told].T @ y[told] + 2 * np.eye(4)
            wanted = y @ np.linalg.solve(matrix, 3 * y[told].sum(axis=0))
        else:
            wanted = task.pairs.sum(axis=0).A1
        np.testing.assert_allclose(scores[query], wanted, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- tasks


def a_task(**changes: Any) -> Task:
    """Three users; the second is asked twice."""
    log = pl.DataFrame({"user": [0, 0, 1, 2], "item": [0, 1, 2, 3]})
    held = sp.csr_matrix(np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32))
    known = {"train": hr.Hypergraph.from_frames(seen=log), "edge_type": "seen", "held": held, "users": np.array([0, 1, 1, 2])}
    return Task(**known | changes)


def test_queries_count_alike_and_users_are_drawn() -> None:
    ranked = np.array([[2, 3], [0, 1], [1, 2], [0, -1]])  # ndcg@2 by hand: 1, 1, 1, 0
    task = a_task()
    assert task.value(ranked, "ndcg@2") == pytest.approx(3 / 4)
    found = task.evaluate("ours", ranked, [2])[""]
    assert found["ndcg@2"] == pytest.approx(3 / 4)
    assert found.users.tolist() == [0, 1, 2]
    assert found.n_lists.tolist() == [1, 2, 1]
    np.testing.assert_allclose(found.per_user["recall@2"], [1, 1, 0])
    row = found.metrics.row(by_predicate=pl.col("metric") == "ndcg@2", named=True)
    assert (row["ci_low"], row["ci_high"]) == (0, 1)
    other = task.evaluate("other", np.array([[0, 1], [0, 1], [1, 2], [0, -1]]), [2])[""]
    assert found.compare(other, "ndcg@2")["difference"] == pytest.approx(1 / 4)
    assert found["coverage@2"] == 1
    assert task.evaluate("ours", ranked[:, :1], [1])[""]["coverage@1"] == 3 / 4


def test_parts_are_reported_apart_and_weigh_alike() -> None:
    ranked = np.array([[2, 3], [0, 1], [3, 2], [0, -1]])
    task = a_task(parts=np.array(["new", "new", "old", "old"]))
    parts = task.evaluate("ours", ranked, [2])
    assert {part: one["ndcg@2"] for part, one in parts.items()} == {"new": 1.0, "old": 0.0}
    assert task.value(ranked, "ndcg@2") == pytest.approx(0.5)


def test_a_user_asked_once_is_measured_as_evaluate_does() -> None:
    graph = world("movielens-100k")
    train, test = hr.split(frequent(graph, "rated", 1), "rated")
    *_, task = next(one for one in SITUATIONS if one.name == "warm-movielens-100k").split(graph)
    model = Popularity().fit(pair_matrix(train, "rated"))
    ranked = search.ByRows(model).rank(task, 20)
    there, here = hr.evaluate(model, train, test, (10, 20)), task.evaluate("popularity", ranked, [10, 20])[""]
    assert here.metrics.equals(there.metrics)
    assert task.value(ranked, "recall@20") == pytest.approx(there["recall@20"])
    hit = np.array([[i in set(task.held[q].indices) for i in row[:10]] for q, row in enumerate(ranked)])
    assert there["map@10"] == pytest.approx(per_user(hit, np.diff(task.held.indptr))["map"].mean())


@pytest.mark.parametrize("situation", SITUATIONS, ids=NAMES)
def test_a_small_task_is_a_task(situation: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperrec.benchmark.task.FEW", 7)
    task, *_ = situation.split(world(situation.data))
    small = task.small()
    assert max(map(len, small.train.vocabularies.values())) <= 7
    assert list(small.train.edges) == list(task.train.edges)
    assert small.held.shape == (min(100, len(task.users)), 7)
    assert small.users.max() < 7
    assert small.pairs.shape == (7, 7)
    for rows in (small.given or {}).values():
        assert rows.max() < 7
    assert small.among is None or small.among.max() < 7


# -------------------------------------------------------------------------------------------------------------- table


def test_lift_and_novelty_of_unknown_items_are_left_out() -> None:
    task = a_task(held=sp.csr_matrix(np.eye(4, dtype=np.float32)[[3, 3, 3, 3]]), train=hr.Hypergraph.from_frames(
        seen=pl.DataFrame({"user": [0, 1, 2], "item": [0, 1, 2]}), name=pl.DataFrame({"item": [3], "name": ["d"]}),
    ), among=np.array([3]))  # fmt: skip
    ranked = np.full((4, 1), 3)
    result = search.Measured("ours", {}, 0.5, task.evaluate("ours", ranked, [1]), 1.0, 1.0, 1.0, 1.0)
    row = table([result], ("recall@1",)).row(0, named=True)
    assert row["popularity lift@1"] == row["novelty@1, bits"] == "-"
    assert row["coverage@1"] == "1.000"


def test_every_part_has_its_rows() -> None:
    task = a_task(parts=np.array(["new", "new", "old", "old"]))
    good, bad = np.array([[2], [0], [1], [2]]), np.array([[0], [1], [2], [3]])
    results = [
        search.Measured(name, {}, 0.5, task.evaluate(name, ranked, [1]), 1.0, 1.0, 1.0, 1.0)
        for name, ranked in (("a", good), ("b", bad))
    ]
    frame = table(results, ("hit_rate@1",))
    assert frame.select("model", "of whom").rows() == [("a", "new"), ("b", "new"), ("a", "old"), ("b", "old")]
    assert frame["a minus it, HR@1"].to_list() == ["-", "+1.0000 [+1.0000, +1.0000]"] * 2


# --------------------------------------------------------------------------------------------------------------- page


def test_a_block_is_added_then_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    put(page, "a", "one\n")
    put(page, "b", "two\n")
    put(page, "a", "three\n")
    begin, end = "<!-- benchmark:{} begin -->\n", "<!-- benchmark:{} end -->\n"
    assert page.read_text() == f"{begin.format('a')}three\n{end.format('a')}\n{begin.format('b')}two\n{end.format('b')}"
    page.write_text(f"before\n{begin.format('b')}old\n{end.format('b')}after\n")
    put(page, "b", "new\n")
    assert page.read_text() == f"before\n{begin.format('b')}new\n{end.format('b')}after\n"
    assert [one.name for one in tmp_path.iterdir()] == ["page.md"]


def test_a_new_block_comes_after_the_last_of_its_family(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    lines = "<!-- benchmark:{0} begin -->\n{0}\n<!-- benchmark:{0} end -->\n"
    blocks = {name: lines.format(name) for name in ("board-a", "bo", "board-b")}
    page.write_text(f"head\n{blocks['board-a']}\n## More\n{blocks['bo']}tail\n")
    put(page, "board-b", "board-b\n")
    assert page.read_text() == f"head\n{blocks['board-a']}\n{blocks['board-b']}\n## More\n{blocks['bo']}tail\n"


def test_a_block_without_an_end_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmark:a begin -->\nhalf")
    with pytest.raises(DataError) as caught:
        put(page, "a", "one\n")
    assert str(caught.value) == f"{page}: the block benchmark:a begins and has no end; add the line <!-- benchmark:a end -->"
    assert page.read_text() == "<!-- benchmark:a begin -->\nhalf"


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"page\.md: cannot be written: No such file or directory\."):
        put(tmp_path / "none" / "page.md", "a", "one\n")


# ---------------------------------------------------------------------------------------------------------- command line


def test_names_and_their_beginnings() -> None:
    assert [one.name for one in board.chosen(["next"])] == [
        "next-movielens-100k", "next-movielens-1m", "next-basket-complete-journey",
    ]  # fmt: skip
    assert [one.name for one in board.chosen(["later-movielens-1m", "warm-hetrec-lastfm"])] == [
        "warm-hetrec-lastfm", "later-movielens-1m",
    ]  # fmt: skip
    assert [one.name for one in board.chosen([])] == NAMES
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trials": 0}, ModelError, "trials must be 1 or more; got 0."),
        (
            {"only": ["warm-movilens-1m"]}, ModelError,
            f"no situation is called 'warm-movilens-1m'; there are {', '.join(NAMES)}. Did you mean 'warm-movielens-1m'?",
        ),
    ],
)  # fmt: skip
def test_messages(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        scoreboard(**options)
    assert str(caught.value) == message


def test_a_data_set_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"movielens-1m: expected 'ml-1m' .* it is not there\."):
        scoreboard(tmp_path, only=["later"])


@pytest.fixture
def one_situation(worlds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    situation = next(one for one in SITUATIONS if one.name == "next-movielens-1m")
    random = Candidate("random", POPULARITY.fit, absent=lambda task: "nobody has it")
    few = Situation(situation.name, situation.data, situation.protocol, situation.split, (POPULARITY, random))
    monkeypatch.setattr(board, "SITUATIONS", (few,))


def test_the_command_prints_tables(one_situation: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["benchmark", "all", "--trials", "1"])
    out, err = capsys.readouterr()
    assert out.startswith("### next-movielens-1m\n\n| model | NDCG@10 | Recall@20 | popularity minus it, NDCG@10 |")
    assert "| popularity | 0." in out
    assert "Left out: random: nobody has it." in out
    assert "random is left out: nobody has it" in err


def test_the_command_writes_a_page(one_situation: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "board.md"
    with pytest.raises(SystemExit, match="0"):
        main(["benchmark", "all", "--trials", "1", "--only", "next", "--out", str(page)])
    assert page.read_text().startswith("<!-- benchmark:scoreboard-next-movielens-1m begin -->\n### next-movielens-1m\n\n| model | ")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "board.csv"], 'Invalid value "board.csv" for --out. the ending must be .md.'),
        (["--out", "none/board.md"], "no page can be written there"),
        (["--only", "warm"], "no situation is called 'warm'"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str, one_situation: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["benchmark", "all", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err

"""Weights between items: what they are, what they add to scores, how they are kept, and who may not have them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import naive
import numba
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.neighbours import expected_from, weights_between
from hyperrec.topics import reading


def watched(n_users: int = 60, n_items: int = 20, n: int = 500, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"user": rng.integers(n_users, size=n), "item": (n_items * rng.random(n) ** 1.5).astype(int)})
    return frame.unique(maintain_order=True).with_columns(time=pl.int_range(pl.len()))


def items_of(model: hr.TopicModel) -> list[list[int]]:
    """Rows of the items of each history, in its order."""
    start = model.offsets["item"]
    history = model.histories
    return [
        (history.vertices[history.indptr[u] : history.indptr[u + 1]] - start).tolist() for u in range(len(history.indptr) - 1)
    ]


def by_topics(model: hr.TopicModel, lifts: np.ndarray) -> np.ndarray:
    return np.asarray((lifts.astype(float) * model.state.prior) @ model._items.alone.vectors.T.astype(float))


def ridge_of(model: hr.TopicModel, regularization: float, exponent: float) -> np.ndarray:
    n_users = np.bincount(model.seen.indices, minlength=model.sizes["item"]).astype(float)
    mean = np.average(n_users**exponent, weights=n_users)
    return np.asarray(regularization * n_users**exponent / mean)


@pytest.mark.parametrize("context", [hr.Mean(), hr.FoldIn(), None], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("size", [(60, 20), (20, 60)], ids=["over items", "over users"])
@pytest.mark.parametrize("exponent", [0.0, 0.6, -0.3])
def test_sets_are_ridge_regression_on_what_topics_leave(
    context: Any, share: float, size: tuple[int, int], exponent: float
) -> None:
    options = hr.Neighbours(regularization=20, exponent=exponent, share=share)
    model = hr.TopicModel(3, context=context, n_passes=8, length_damping=0.4, neighbours=options).fit(watched(*size))
    x = model.seen.toarray().astype(float)
    x[x > 0] = 1
    lengths = x.sum(axis=1)
    expected = lengths[:, None] * by_topics(model, model._user_lifts(np.arange(len(x))))
    weight = lengths**-0.4
    found = naive.weights_between_sets(x, expected, weight / weight.mean(), ridge_of(model, 20, exponent), share)
    assert model.item_weights is not None
    np.testing.assert_allclose(model.item_weights.toarray(), found, rtol=1e-3, atol=1e-5)
    assert (model.item_weights.diagonal() == 0).all()
    assert (found < -0.01).any()  # an item can speak against another


@pytest.mark.parametrize("size", [(60, 20), (20, 60)], ids=["over items", "over users"])
@pytest.mark.parametrize(("sharpness", "exponent", "share"), [(1.0, 0.3, 0.4), (1.5, 0.0, 0.5), (2.0, 0.5, 0.2), (3.0, -0.2, 0.0)])
def test_sharper_weights_are_of_the_spectrum(size: tuple[int, int], sharpness: float, exponent: float, share: float) -> None:
    options = hr.Neighbours(regularization=20, exponent=exponent, sharpness=sharpness, share=share)
    model = hr.TopicModel(3, n_passes=8, length_damping=0.4, neighbours=options).fit(watched(*size))
    x = (model.seen.toarray() > 0).astype(float)
    lengths = x.sum(axis=1)
    expected = lengths[:, None] * by_topics(model, model._user_lifts(np.arange(len(x))))
    weight = lengths**-0.4 / (lengths**-0.4).mean()
    found = naive.sharper_weights(x, expected, weight, ridge_of(model, 20, exponent), share, sharpness)
    if sharpness == 1:
        ridge = naive.weights_between_sets(x, expected, weight, ridge_of(model, 20, exponent), share)
        np.testing.assert_allclose(found, ridge, rtol=1e-6, atol=1e-9)
    assert model.item_weights is not None
    np.testing.assert_allclose(model.item_weights.toarray(), found, rtol=2e-3, atol=2e-5)


def played(seed: int = 0) -> pl.DataFrame:
    """Events that come again, with weights."""
    rng = np.random.default_rng(seed)
    again = pl.concat([watched(seed=seed), watched(seed=seed).sample(200, seed=seed)]).drop("time")
    return again.with_columns(weight=rng.choice([0.5, 1.0, 4.0, 30.0], again.height))


def by_weight(model: hr.TopicModel, frame: pl.DataFrame, exponent: float) -> np.ndarray:
    """x (U, I): weights of pairs to a power, over their mean for each user."""
    x = np.zeros((len(model.vocabularies["user"]), len(model.vocabularies["item"])))
    users, items = (model.vocabularies[name].encode(frame[name]) for name in ("user", "item"))
    for user, item, weight in zip(users, items, frame["weight"], strict=True):
        x[user, item] += weight
    there = x > 0
    x[there] **= exponent
    return np.asarray(x / (x.sum(axis=1) / there.sum(axis=1))[:, None])


@pytest.mark.parametrize("context", [hr.Mean(), hr.FoldIn()], ids=str)
@pytest.mark.parametrize(("exponent", "sharpness"), [(0.5, 1.0), (1.0, 2.0), (1.5, 1.0), (-0.5, 1.0)])
def test_items_count_by_their_weights(context: Any, exponent: float, sharpness: float) -> None:
    frame, options = played(), hr.Neighbours(regularization=20, sharpness=sharpness, share=0.4, weight_exponent=exponent)
    model = hr.TopicModel(3, context=context, n_passes=8, length_damping=0.4, neighbours=options).fit(frame)
    x = by_weight(model, frame, exponent)
    np.testing.assert_allclose(expected_from(model, model.histories, model.seen).toarray(), x, rtol=1e-5)
    lengths = (x > 0).sum(axis=1)
    expected = lengths[:, None] * by_topics(model, model._user_lifts(np.arange(len(x))))
    weight = lengths**-0.4 / (lengths**-0.4).mean()
    found = naive.sharper_weights(x, expected, weight, np.full(x.shape[1], 20.0), 0.4, sharpness)
    assert model.item_weights is not None
    np.testing.assert_allclose(model.item_weights.toarray(), found, rtol=2e-3, atol=3e-5)
    for item, score in model.recommend(5, k=20).select("item", "score").iter_rows():
        why = model.explain(5, item)
        assert why.score == pytest.approx(score, rel=1e-4, abs=1e-6)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-4, abs=1e-6)


def test_weights_of_histories_do_not_count_at_the_power_0_or_where_they_are_one() -> None:
    frame = played()
    once = frame.with_columns(weight=pl.lit(3.0)).unique(["user", "item"], maintain_order=True)
    for events, power, context in ((frame, 0, hr.Mean()), (frame, 1, None), (once, 1, hr.Mean())):
        model = hr.TopicModel(3, context=context, n_passes=8, neighbours=hr.Neighbours(weight_exponent=power)).fit(events)
        assert (expected_from(model, model.histories, model.seen).data == 1).all()


def test_what_a_new_user_tells_counts_by_its_weights() -> None:
    options = hr.Neighbours(regularization=5, share=0, weight_exponent=0.5)  # no topics
    model = hr.TopicModel(3, n_passes=8, neighbours=options).fit(played())
    assert model.item_weights is not None
    told, weights = [1, 2, 3], np.array([1.0, 4.0, 25.0])
    rows = model.vocabularies["item"].rows(told)
    scores = (3 * np.sqrt(weights) / np.sqrt(weights).sum()) @ model.item_weights[rows].toarray()
    for more in (1, 7):
        history = pl.DataFrame({"user": ["new"] * 3, "item": told, "weight": more * weights})
        found = model.recommend(histories=history, k=5)
        np.testing.assert_allclose(found["score"], scores[model.vocabularies["item"].rows(found["item"])], rtol=1e-4, atol=1e-6)


def test_items_that_pairs_do_not_have_count_one() -> None:
    pairs = pl.DataFrame({"user": [1, 1, 1, 2, 2], "item": list("abcab"), "weight": [1.0, 4.0, 9.0, 1.0, 1.0]})
    there = pl.DataFrame({"user": [1, 1], "item": ["d", "a"], "place": ["x", "y"], "weight": [50.0, 70.0]})
    options = hr.Neighbours(weight_exponent=0.5)
    model = hr.TopicModel(2, edges={"bought": 1.0, "bought_at": 0.5}, n_passes=3, neighbours=options)
    model.fit({"bought": pairs, "bought_at": there})
    x = expected_from(model, model.histories, model.seen).toarray()
    np.testing.assert_allclose(x, [[0.5, 1.0, 1.5, 1.0], [1.0, 1.0, 0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize(("scale", "exponent"), [(1e-30, 2.0), (1e12, -1.0), (1e-37, -0.5)])
def test_the_unit_of_weights_is_nothing_to_lists(scale: float, exponent: float) -> None:
    frame, options = played(), hr.Neighbours(weight_exponent=exponent)
    each = [frame, frame.with_columns(weight=pl.col("weight").cast(pl.Float32) * np.float32(scale))]
    models = [hr.TopicModel(3, n_passes=2, neighbours=options).fit(one) for one in each]
    one, other = (expected_from(model, model.histories, model.seen).toarray() for model in models)
    np.testing.assert_allclose(other, one, rtol=2e-3)


def test_sharper_weights_in_order_and_in_threads() -> None:
    options, before = hr.Neighbours(regularization=20, sharpness=2), numba.get_num_threads()
    lists = []
    for threads in (1, before):
        numba.set_num_threads(threads)
        model = hr.TopicModel(3, context=hr.Recency(0.4), n_passes=8, neighbours=options).fit(watched())
        lists.append(model.recommend(k=5))
    numba.set_num_threads(before)
    assert lists[0].equals(lists[1])
    plain = hr.TopicModel(3, context=hr.Recency(0.4), n_passes=8, neighbours=hr.Neighbours(regularization=20)).fit(watched())
    assert plain.item_weights is not None
    assert model.item_weights is not None
    assert abs(plain.item_weights - model.item_weights).max() > 1e-3


@pytest.mark.parametrize(("gamma", "exponent"), [(0.15, 0.0), (0.6, 0.5), (1.0, -0.5)])
def test_orders_are_ridge_regression_on_the_next_item(gamma: float, exponent: float) -> None:
    options = hr.Neighbours(regularization=20, exponent=exponent, share=0.5, gamma=gamma)
    model = hr.TopicModel(3, context=hr.Recency(0.4), n_passes=8, neighbours=options).fit(watched())
    plan, n_items = model._reading.plan(), model.sizes["item"]
    contexts = []
    for user in range(len(model.histories.indptr) - 1):
        lifts, _ = reading.contexts_of(model.histories.take(np.array([user])), plan, model.state)
        contexts.append(list(by_topics(model, lifts)))
    found = naive.weights_in_order(items_of(model), contexts, 0.25, ridge_of(model, 20, exponent), 0.5, gamma, n_items)
    assert model.item_weights is not None
    np.testing.assert_allclose(model.item_weights.toarray(), found, rtol=1e-3, atol=1e-5)


def test_decays_reach_back_in_one_document_only() -> None:
    frame = pl.DataFrame({"user": [1] * 4 + [2] * 2, "item": list("abcdba"), "time": [0, 1, 100, 101, 0, 1]})
    model = hr.TopicModel(2, context=hr.Recency(0.4, pause=50), n_passes=3, neighbours=hr.Neighbours(gamma=0.5)).fit(frame)
    x = expected_from(model, model.histories, model.seen).toarray()
    ids = model.vocabularies["item"].ids.to_list()
    assert {ids[i]: x[0, i] for i in range(4)} == {"a": 0, "b": 0, "c": 0.5, "d": 1}
    assert {ids[i]: x[1, i] for i in range(4)} == {"a": 1, "b": 0.5, "c": 0, "d": 0}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("context", [hr.Mean(), hr.Recency(0.4)], ids=str)
def test_new_users_with_a_known_history_get_its_list(context: Any, weighted: bool) -> None:
    frame = watched()
    if weighted:
        frame = frame.with_columns(weight=1 + pl.col("time") % 7)
    options = hr.Neighbours(regularization=5, weight_exponent=0.5)
    model = hr.TopicModel(3, context=context, n_passes=8, neighbours=options).fit(frame)
    known = model.recommend(users=[3, 7], k=5)
    histories = frame.filter(pl.col("user").is_in([3, 7])).sort("user", "time")
    new = model.recommend(histories=histories, k=5)
    assert new["item"].to_list() == known["item"].to_list()
    np.testing.assert_allclose(new["score"], known["score"], rtol=1e-4, atol=1e-6)
    for item in new.filter(user=7)["item"]:
        ours, hers = model.explain(7, item, histories=histories), model.explain(7, item)
        np.testing.assert_allclose(ours.history["contribution"], hers.history["contribution"], rtol=1e-4, atol=1e-6)
        assert ours.sentence == hers.sentence


@pytest.mark.parametrize("context", [hr.Mean(), hr.Recency(0.4)], ids=str)
def test_contributions_sum_to_the_score(context: Any) -> None:
    model = hr.TopicModel(3, context=context, n_passes=8, neighbours=hr.Neighbours(regularization=5)).fit(watched())
    for item, score in model.recommend(5, k=20).select("item", "score").iter_rows():
        why = model.explain(5, item)
        assert why.score == pytest.approx(score, rel=1e-4, abs=1e-6)
        assert why.history["contribution"].sum() == pytest.approx(score, rel=1e-4, abs=1e-6)
        assert why.topics["contribution"].sum() == pytest.approx(score, rel=1e-4, abs=1e-6)
    assert why.topics["topic"].null_count() == 1


def test_a_sentence_tells_what_speaks_against() -> None:
    model = hr.TopicModel(3, n_passes=8, neighbours=hr.Neighbours(regularization=5, share=0.2)).fit(watched())
    last = model.recommend(k=20).sort("score").row(0, named=True)
    why = model.explain(last["user"], last["item"])
    assert why.score == pytest.approx(last["score"], rel=1e-4)
    assert why.score < 0
    most = why.history.row(-1, named=True)
    assert most["contribution"] < 0
    assert f"; against it: {most['name']}" in why.sentence


def test_a_sentence_tells_of_neighbours() -> None:
    rows = [(user, item) for user in range(30) for item in (("tea", "milk") if user % 2 else ("beer", "nuts"))]
    frame = pl.DataFrame([*rows, (99, "tea")], schema=["user", "item"], orient="row")
    model = hr.TopicModel(1, n_passes=3, neighbours=hr.Neighbours(regularization=1)).fit(frame)
    assert model.recommend(99, k=1)["item"].to_list() == ["milk"]
    why = model.explain(99, "milk")
    assert "through its neighbours (" in why.sentence
    assert "what every user likes" not in why.sentence  # it names things of hers where there are any
    assert why.sentence.startswith("item milk for user 99: because of item tea (")
    against = model.explain(99, "beer")
    assert against.score < model.explain(99, "milk").score
    assert against.topics.row(by_predicate=pl.col("topic").is_null(), named=True)["contribution"] < 0


def test_only_the_largest_weights_and_the_most_frequent_items() -> None:
    frame = watched()
    whole, few = (
        hr.TopicModel(3, n_passes=4, neighbours=hr.Neighbours(regularization=5, kept=kept)).fit(frame).item_weights
        for kept in (20, 4)
    )
    assert whole is not None
    assert few is not None
    for column in range(20):
        values = np.abs(whole.toarray()[:, column])
        left = np.flatnonzero(few.toarray()[:, column])
        assert set(left) == set(np.argsort(-values)[:4])
    frequent = hr.TopicModel(3, n_passes=4, neighbours=hr.Neighbours(max_items=5)).fit(frame)
    most = frame["item"].value_counts(sort=True)["item"][:5]
    assert frequent.item_weights is not None
    assert set(np.unique(frequent.item_weights.indices)) == set(frequent.vocabularies["item"].rows(most))
    assert frequent.recommend(3, k=20).height == 20 - frame.filter(user=3).height


def test_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    model = hr.TopicModel(3, n_passes=4, neighbours=hr.Neighbours(regularization=7, kept=6)).fit(watched())
    again = hr.load(model.save(tmp_path / "model"))
    assert again.neighbours == model.neighbours
    assert again.recommend(k=5).equals(model.recommend(k=5))
    alone = hr.TopicModel(3, n_passes=4, neighbours=None).fit(watched())
    assert alone.item_weights is None
    assert hr.load(alone.save(tmp_path / "alone")).neighbours is None
    assert hr.load(tmp_path / "alone").recommend(k=5).equals(alone.recommend(k=5))


def test_weights_wait_until_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("hyperrec.cold.weights_between", lambda model: (asked.append(model), weights_between(model))[1])
    model = hr.TopicModel(3, n_passes=4).fit(watched())
    model.topics("item")
    model.similar("item", [3])
    assert not asked
    model.recommend(3)
    model.recommend(4)
    assert len(asked) == 1
    model.partial_fit(watched(seed=1))
    assert len(asked) == 1
    again = hr.load(model.save(tmp_path / "model"))
    assert len(asked) == 2
    again.recommend(3)
    assert len(asked) == 2


def test_new_events_are_in_the_weights() -> None:
    model = hr.TopicModel(2, n_passes=4, neighbours=hr.Neighbours(regularization=1)).fit(watched())
    model.partial_fit(pl.DataFrame({"user": [100] * 2, "item": [0, 99]}))
    assert model.item_weights is not None
    row, column = model.vocabularies["item"].rows([0, 99])
    assert model.item_weights.shape == (21, 21)
    assert model.item_weights[row, column] > 0


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_ids_and_the_order_of_users_change_no_weight(seed: int) -> None:
    frame = watched(seed=seed)
    options: dict[str, Any] = {"n_passes": 4, "neighbours": hr.Neighbours(regularization=5, share=0)}
    one = hr.TopicModel(3, **options).fit(frame).item_weights
    other = hr.TopicModel(3, **options).fit(frame.with_columns(user=1000 - pl.col("user"))).item_weights
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.toarray(), other.toarray(), rtol=1e-3, atol=1e-5)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba
    from threadpoolctl import threadpool_limits

    frame, found = watched(n_items=150, n=4000), []
    for threads in (1, 2):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        with threadpool_limits(threads, "blas"):
            found.append(hr.TopicModel(3, n_passes=3).fit(frame).item_weights)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert found[0] is not None
    assert found[1] is not None
    np.testing.assert_array_equal(found[0].data, found[1].data)


def test_pieces_of_histories_make_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    for context in (hr.Mean(), hr.Recency(0.4)):
        found = []
        for piece in (2**18, 50):
            monkeypatch.setattr("hyperrec.neighbours.PIECE", piece)
            model = hr.TopicModel(3, context=context, n_passes=3, neighbours=hr.Neighbours(regularization=5)).fit(watched())
            assert model.item_weights is not None
            found.append(model.item_weights.toarray())
        np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regularization": 0}, "Neighbours: regularization must be a number above 0; got 0."),
        ({"regularization": float("nan")}, "Neighbours: regularization must be a number above 0; got nan."),
        ({"exponent": -1.5}, "Neighbours: exponent must be a number from -1 to 1; got -1.5."),
        ({"sharpness": 0.5}, "Neighbours: sharpness must be a number from 1 to 4; got 0.5."),
        ({"share": 1.5}, "Neighbours: share must be a number from 0 to 1; got 1.5."),
        ({"weight_exponent": 2.5}, "Neighbours: weight_exponent must be a number from -1 to 2; got 2.5."),
        ({"weight_exponent": None}, "Neighbours: weight_exponent must be a number from -1 to 2; got None."),
        ({"gamma": 0}, "Neighbours: gamma must be a number above 0 to 1; got 0."),
        ({"gamma": "much"}, "Neighbours: gamma must be a number above 0 to 1; got 'much'."),
        ({"kept": 0}, "Neighbours: kept must be a whole number, 1 or more; got 0."),
        ({"max_items": 2.5}, "Neighbours: max_items must be a whole number, 1 or more; got 2.5."),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(hr.ModelError, match=re.escape(message)):
        hr.Neighbours(**options)
    with pytest.raises(hr.ModelError, match=re.escape("neighbours must be hr.Neighbours(...) or None; got 500.")):
        hr.TopicModel(neighbours=500)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_saved(tmp_path: Path) -> None:
    options = hr.Neighbours(kept=np.int64(5), regularization=np.float32(7))  # type: ignore[arg-type]
    model = hr.TopicModel(3, n_passes=2, neighbours=options).fit(watched())
    assert hr.load(model.save(tmp_path / "model")).neighbours == hr.Neighbours(kept=5, regularization=7.0)


def test_weights_that_cannot_be_solved_are_told() -> None:
    rows = [(user, item) for user in range(3000) for item in ("a", "b", f"c{user % 7}")]
    frame = pl.DataFrame(rows, schema=["user", "item"], orient="row")
    model = hr.TopicModel(2, n_passes=2, neighbours=hr.Neighbours(regularization=1e-4)).fit(frame)
    with pytest.raises(hr.ModelError, match=r"Neighbours: regularization=0.0001 is too small for this log: take a larger one\."):
        model.recommend(3)


def test_threads_that_ask_first_fit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("hyperrec.cold.weights_between", lambda model: (asked.append(model), weights_between(model))[1])
    model = hr.TopicModel(3, n_passes=2).fit(watched())
    with ThreadPoolExecutor(4) as pool:
        lists = list(pool.map(lambda user: model.recommend(user, k=5), [3] * 8))
    assert len(asked) == 1
    assert all(one.equals(lists[0]) for one in lists)

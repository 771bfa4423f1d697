"""Online EM: batches are the log, one batch at full rate is a pass of EM, and a pass of many batches is worth many passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import killed
import numba
import numpy as np
import polars as pl
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import bits

import hyperrec as hr
from hyperrec.assembly import Assembly, assemble
from hyperrec.topics import em
from hyperrec.topics.online import batches
from hyperrec.topics.shards import Edges, Pairs
from hyperrec.topics.state import Layout, State, make_state
from hyperrec.topics.statistics import Statistics

FORMS = {name: options for name, options in killed.FORMS.items() if name != "online"}
EDGES = {"watched": 1.0, "at": 0.5, "genre": 0.2}


def fit(form: str, online: hr.Online | None, **parameters: Any) -> hr.TopicModel:
    defaults = {"n_topics": 5, "edges": EDGES, "n_passes": 3, "tolerance": 0, "over_relaxation": 1}
    return hr.TopicModel(**{**defaults, **FORMS[form], **parameters}, online=online).fit(killed.frames(), progress=False)


def assembled(form: str) -> Assembly:
    graph = hr.Hypergraph.from_frames(**killed.frames())
    options = {"container": "user", "context": hr.Mean(), **FORMS[form]}
    return assemble(graph, EDGES, length_damping=0.25, context_exponent=0.15, **options)


# ------------------------------------------------------------------------------------------------- batches


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.one_of(
        strategies.pairs_and_states(), strategies.edges_and_states(), strategies.edges_in_context_and_states(),
        strategies.sequences_and_states(),
    ),
    st.integers(1, 4),
)  # fmt: skip
def test_the_batches_are_the_shard(problem: tuple[Pairs | Edges, State], size: int) -> None:
    shard, state = problem
    layout = Layout((len(state.lift),), np.ones(len(state.lift)))
    total = Statistics.empty(*state.lift.shape, len(state.shares))
    parts = list(batches([shard], layout, size, np.random.default_rng(0)))
    for (part,) in parts:
        total.merge(part.expected_counts(state))
    whole = shard.expected_counts(state)
    assert len(parts) == -(-(shard.n_units if shard.contained else len(state.lift)) // size)
    scale = 1e-4 * whole.n_vt.sum(axis=1, keepdims=True) + 1e-6
    assert (np.abs(total.n_vt - whole.n_vt) <= scale).all()
    np.testing.assert_allclose(total.log_likelihood, whole.log_likelihood, rtol=1e-4, atol=1e-5 * whole.weight)
    np.testing.assert_allclose(total.shares, whole.shares, rtol=1e-3, atol=1e-5 * whole.weight)
    np.testing.assert_allclose(total.weight, whole.weight, rtol=1e-6)
    assert total.n_degenerate == whole.n_degenerate
    n_v, weight = shard.totals(len(state.lift))
    np.testing.assert_allclose(n_v, whole.n_v, rtol=1e-3)
    np.testing.assert_allclose(weight, whole.weight, rtol=1e-5)


def test_a_container_goes_into_one_batch_with_all_its_edges() -> None:
    one = assembled("mean")
    pairs, longer, genres = one.shards
    assert (type(pairs), longer.contained, genres.contained) == (Pairs, True, False)
    parts = list(batches(one.shards, one.layout, 16, np.random.default_rng(0)))
    assert [[part.n_units for part in batch] for batch in parts] == [[13, 13, 10], [13, 13, 10], [14, 14, 10]]
    histories = {row.tobytes() for row in np.split(pairs.history.vertices, pairs.history.indptr[1:-1])}
    for of_pairs, of_longer, _ in parts:
        assert of_pairs.history.vertices.tobytes() == of_longer.history.vertices.tobytes()
        assert {row.tobytes() for row in np.split(of_pairs.history.vertices, of_pairs.history.indptr[1:-1])} <= histories
    orders = [[batch[0].history.vertices.tobytes() for batch in batches(one.shards, one.layout, 16, np.random.default_rng(s))]
              for s in (0, 0, 1)]  # fmt: skip
    assert orders[0] == orders[1] != orders[2]


# ------------------------------------------------------------------------------------------------- passes


@pytest.mark.parametrize("form", [form for form in FORMS if form != "sparse"])  # whose threshold grows otherwise
def test_one_batch_at_full_rate_is_a_pass_of_em(form: str) -> None:
    plain, online = fit(form, None), fit(form, hr.Online(batch_size=1000, rate=1))
    np.testing.assert_allclose(online.state.lift, plain.state.lift, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(online.state.shares, plain.state.shares, rtol=1e-4)
    np.testing.assert_allclose(online.n_v, plain.n_v, rtol=1e-4)
    assert online.weight == pytest.approx(plain.weight)
    assert online.history.columns == plain.history.columns
    for column in ("log_likelihood", "per_weight"):
        np.testing.assert_allclose(online.history[column], plain.history[column], rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"regularizers": [hr.Smooth(-0.1, "item"), hr.Decorrelate(10, "item")]}, {"context": hr.FoldIn(iterations=3)},
        {"context": hr.FoldIn(exact=True)},
    ],
)  # fmt: skip
def test_one_batch_is_a_pass_also_with_regularizers_and_in_a_fold_in(options: dict[str, Any]) -> None:
    log = {"watched": killed.frames()["watched"].drop("time")}
    common = {"n_topics": 5, "n_passes": 6, "tolerance": 0, "over_relaxation": 1.0, **options}
    plain, online = (hr.TopicModel(**common, online=how).fit(log) for how in (None, hr.Online(batch_size=1000, rate=1)))
    np.testing.assert_allclose(online.state.embedding, plain.state.embedding, rtol=1e-3, atol=1e-4)
    several = hr.TopicModel(**common, online=hr.Online(batch_size=8)).fit(log)
    np.testing.assert_allclose(several.state.embedding.sum(axis=1), 1, rtol=1e-5)
    assert several.history["per_weight"][-1] > several.history["per_weight"][0]


def test_online_and_a_store(tmp_path: Path) -> None:
    store = hr.Hypergraph.from_frames(**killed.frames()).store(tmp_path / "store", container="user")
    with pytest.raises(hr.ModelError, match=r"online= takes its mini-batches from a graph in memory: fit to a store without it\."):
        hr.TopicModel(5, online=hr.Online()).fit(store)


@pytest.mark.parametrize("form", ["mean", "mixture"])
def test_one_online_pass_is_worth_many_passes(form: str) -> None:
    rng = np.random.default_rng(6)
    tastes = rng.integers(8, size=1500)
    user = np.repeat(np.arange(1500), 12)
    anything = rng.integers(160, size=len(user))
    item = np.where(rng.random(len(user)) < 0.2, anything, 20 * tastes[user] + anything % 20)
    log = {"seen": pl.DataFrame({"user": user, "item": item, "time": np.arange(len(user))})}
    options = {"n_topics": 8, "tolerance": 0, **FORMS[form]}
    reached = []
    for more in ({"n_passes": 1, "online": hr.Online(batch_size=50)}, {"n_passes": 6}, {"n_passes": 6, "over_relaxation": 1}):
        model = hr.TopicModel(**options, **more).fit(log, progress=False)
        graph = hr.Hypergraph.from_frames(**log)
        one = assemble(
            graph, {"seen": 1.0}, container="user", context=model.context, length_damping=0.25, context_exponent=0.15
        )
        reached.append(em.e_step(one.shards, model.state).per_weight)
        if model.online:
            assert model.history["per_weight"][0] < reached[0]
    assert reached[0] > max(reached[1:])


@pytest.fixture
def n_threads() -> Iterator[None]:
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
@pytest.mark.parametrize("form", FORMS)
def test_the_same_bits_for_any_number_of_threads_and_the_same_seed(form: str, n_threads: None) -> None:
    found = []
    for threads, seed in ((1, 0), (2, 0), (2, 1)):
        numba.set_num_threads(threads)
        found.append(bits(fit(form, hr.Online(batch_size=7), seed=seed)))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_what_is_not_met_for_long_keeps_its_topics(keep: float) -> None:
    """2^-500 is no float32; and where nothing is kept, p(t)."""
    layout = Layout((2,), np.ones(2))
    table = np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
    fit = em.Fit(make_state(table, np.array([0.5, 0.5]), layout), n_v=np.ones(2), weight=2.0)
    for _ in range(500):
        new = Statistics(np.array([[0, 0], [1, 3]], np.float32), np.array([1.0, 3.0]), np.zeros(1), weight=4.0)
        counts = em.blend(fit, new, keep, 0.25)
        state, empty = em.m_step(fit.state, counts, layout)
        fit = em.Fit(state, n_v=counts.n_v, weight=float(counts.weight))
    np.testing.assert_allclose(fit.state.embedding, [[0.9, 0.1], [0.25, 0.75]] if keep else [[0.25, 0.75]] * 2, rtol=1e-4)
    assert empty.tolist() == [not keep, False]


def test_rates() -> None:
    decaying, constant = hr.Online(kappa=0.5, tau0=4), hr.Online(rate=0.2)
    assert [decaying.rho(u) for u in (0, 5, 12)] == pytest.approx([1 / 2, 1 / 3, 1 / 4])
    assert [constant.rho(u) for u in (0, 99)] == [0.2, 0.2]
    assert hr.Online().rho(0) == 1
    assert type(hr.Online(batch_size=np.int64(3)).batch_size) is int  # type: ignore[arg-type]


def test_a_saved_model_fits_and_goes_on_alike(tmp_path: Path) -> None:
    model = fit("mean", hr.Online(batch_size=8, kappa=0.6, tau0=2))
    again = hr.load(model.save(tmp_path / "model"))
    assert again.online == model.online == hr.Online(batch_size=8, kappa=0.6, tau0=2)
    assert bits(again.fit(killed.frames(), progress=False)) == bits(model)
    more = {"watched": pl.DataFrame({"user": [1, 99], "item": [2, 3], "time": [900, 901]})}
    plain = fit("mean", None)
    for one in (model, plain):
        one.partial_fit(more)
    np.testing.assert_allclose(model.n_v, plain.n_v, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "Online: batch_size must be a whole number, 1 or more; got 0."),
        ({"batch_size": 2.5}, "Online: batch_size must be a whole number, 1 or more; got 2.5."),
        ({"kappa": -0.1}, "Online: kappa must be a number, 0 to 1; got -0.1."),
        ({"kappa": "1"}, "Online: kappa must be a number, 0 to 1; got '1'."),
        ({"tau0": 0}, "Online: tau0 must be a number, 1 or more; got 0."),
        ({"tau0": float("inf")}, "Online: tau0 must be a number, 1 or more; got inf."),
        ({"rate": 0}, "Online: rate must be a number above 0, up to 1, or None; got 0."),
        ({"rate": float("nan")}, "Online: rate must be a number above 0, up to 1, or None; got nan."),
    ],
    ids=str,
)
def test_refuses_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        hr.Online(**options)
    assert str(caught.value) == message


def test_online_is_an_online() -> None:
    with pytest.raises(hr.ModelError, match=r"online must be hr\.Online\(\.\.\.\) or None; got True"):
        hr.TopicModel(2, online=True)  # type: ignore[arg-type]

"""Regularizers: their gradients, what they make of an M-step, LDA, what they do to real topics, and that nothing breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conftest
import naive
import numba
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.growth import extended, grown
from hyperrec.topics import em
from hyperrec.topics.em import fit
from hyperrec.topics.regularizers import Part, Regularization
from hyperrec.topics.shards import Edges, Pairs, Shard
from hyperrec.topics.state import Layout, State, phi_of
from hyperrec.vocabulary import Vocabulary

examples = settings(max_examples=40, deadline=None, derandomize=True)
WEIGHTS = {"watched": 1.0, "genre": 0.2, "watched_at": 0.1}
TWINS = {hr.Smooth: naive.smooth, hr.Decorrelate: naive.decorrelate}


@dataclass(frozen=True)
class Given:
    """A user's own regularizer: what it answers is given."""

    added: Any
    values: Any = 0.0
    modality: str = "item"

    def value(self, phi: np.ndarray) -> float:
        return next(self.values) if isinstance(self.values, Iterator) else self.values

    def addend(self, phi: np.ndarray) -> np.ndarray:
        return self.added(phi) if callable(self.added) else self.added


def over(rows: slice, *regularizers: Any, is_theta: bool = False) -> Regularization:
    return Regularization((Part(rows, is_theta, list(regularizers)),))


def regularizers(n_topics: int) -> st.SearchStrategy[Any]:
    """Any of this package, of all topics or of some."""
    topics = st.none() | st.sets(st.integers(0, n_topics - 1), min_size=1).map(tuple)
    tau = st.sampled_from([1e-6, 0.3, 20.0, 1e4, 1e9, -1e-6, -0.3, -20.0, -1e4, -1e9])
    return st.builds(lambda kind, tau, topics: kind(tau, "item", topics), st.sampled_from([hr.Smooth, hr.Decorrelate]), tau, topics)


# ------------------------------------------------------------------------------------------------ value and addend


@examples
@given(strategies.seeded(), st.integers(1, 8), st.integers(1, 5), st.data())
def test_the_addend_is_phi_times_the_gradient(
    rng: np.random.Generator, n_vertices: int, n_topics: int, data: st.DataObject
) -> None:
    """By central differences, and beside plain loops."""
    one = data.draw(regularizers(n_topics))
    phi = strategies.simplex_rows(rng, n_topics, n_vertices, 0.0).T.astype(np.float64)
    value, addend = TWINS[type(one)](phi, one.tau, one.topics or range(n_topics))
    assert one.value(phi) == pytest.approx(value, rel=1e-6, abs=1e-9 * abs(one.tau))
    np.testing.assert_allclose(one.addend(phi), addend, rtol=1e-6, atol=1e-7 * abs(one.tau))
    for v, t in np.ndindex(phi.shape):
        step = np.zeros(phi.shape)
        step[v, t] = 1e-4 * phi[v, t]
        slope = (one.value(phi + step) - one.value(phi - step)) / (2 * step[v, t])
        assert one.addend(phi)[v, t] == pytest.approx(phi[v, t] * slope, rel=1e-3, abs=1e-5 * abs(one.tau))


def test_values_by_hand() -> None:
    phi = np.array([[0.5, 0.25, 0.0], [0.5, 0.75, 1.0]])
    assert hr.Decorrelate(2, "item").value(phi) == pytest.approx(-2 * (0.125 + 0.375 + 0.5 + 0.75))
    assert hr.Decorrelate(2, "item", topics=(0, 1)).value(phi) == pytest.approx(-2 * (0.125 + 0.375))
    np.testing.assert_allclose(hr.Decorrelate(2, "item").addend(phi)[0], [-2 * 0.5 * 0.25, -2 * 0.25 * 0.5, 0])
    assert hr.Smooth(3, "item", topics=[0]).value(phi) == pytest.approx(3 * 2 * np.log(0.5))
    assert hr.Smooth(-3, "item", topics=[2]).value(phi) == pytest.approx(-3 * np.log(1e-12))
    np.testing.assert_array_equal(hr.Smooth(3, "item", topics=[1]).addend(phi), [[0, 3, 0], [0, 3, 0]])


# ------------------------------------------------------------------------------------------------ one M-step


@examples
@given(strategies.edges_and_states(), strategies.seeded(), st.booleans(), st.sampled_from([0.1, 1.0, 30.0]))
def test_counts_match_naive(problem: tuple[Edges, State], rng: np.random.Generator, is_theta: bool, scale: float) -> None:
    """Any addend, that empties some entries, rows and topics, on some of the rows: the topic totals stay where a topic is left."""
    shard, state = problem
    statistics = shard.expected_counts(state)
    rows = slice(0, len(state.lift) - 1)
    n_vt = statistics.n_vt[rows]
    addend = scale * rng.normal(size=n_vt.shape) * n_vt.max()
    addend[rng.random(len(addend)) < 0.3] = -1e9
    addend[:, rng.random(n_vt.shape[1]) < 0.2] = -1e9
    found, emptied = over(rows, Given(addend), is_theta=is_theta).counts(state, statistics)
    wanted, without = naive.regularized(n_vt, addend, statistics.n_t / statistics.n_t.sum(), not is_theta)
    np.testing.assert_allclose(found[rows], wanted, rtol=1e-4, atol=1e-30)
    np.testing.assert_array_equal(emptied[rows], without)
    np.testing.assert_array_equal(found[-1], statistics.n_vt[-1])
    assert not emptied[-1]
    if not is_theta:
        totals, left = n_vt.sum(axis=0), found[rows][~emptied[rows]].sum(axis=0)
        np.testing.assert_allclose(left[left > 0], totals[left > 0], rtol=1e-4)


@examples
@given(strategies.edges_and_states(), st.floats(-1e3, 1e3))
def test_several_regularizers_add_up(problem: tuple[Edges, State], tau: float) -> None:
    shard, state = problem
    statistics, rows = shard.expected_counts(state), slice(0, len(state.lift))
    one, other = hr.Smooth(tau, "item"), hr.Decorrelate(3 * tau, "item")
    n_v = statistics.n_vt.sum(axis=1)
    phi = phi_of(state.embedding, n_v)
    both = over(rows, one, other)
    np.testing.assert_allclose(both.value(state, n_v), one.value(phi) + other.value(phi), rtol=1e-6, atol=1e-6)
    summed = over(rows, Given(one.addend(phi) + np.float64(other.addend(phi))))
    for found, wanted in zip(both.counts(state, statistics), summed.counts(state, statistics), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * n_v.max())


def pairs_of(form: str, seed: int = 5) -> tuple[np.ndarray, np.ndarray, Edges, Layout]:
    """Edges of 7 users and 9 items, their weights, and the same as a shard over 16 rows."""
    rng = np.random.default_rng(seed)
    users, items = (np.concatenate([np.arange(n), rng.integers(n, size=60 - n)]) for n in (7, 9))
    edges, weight = np.stack([users, items], axis=1), strategies.weights(rng, 60)
    shard = Edges.symmetric((edges + np.array([0, 7])).astype(np.int32), weight)
    mass, phi_weight = strategies.mass_of([shard], 16), strategies.phi_weight_of([shard], [7, 9])
    return edges, weight, shard, Layout((7, 9), mass, phi_weight if form == "container" else None)


@pytest.mark.parametrize("beta", [0.05, 3.0, 1e5])
@pytest.mark.parametrize(("form", "alpha"), [("container", 0.0), ("container", 2.0), ("symmetric", 0.0)])
def test_smoothing_is_lda(form: str, alpha: float, beta: float) -> None:
    """Pass by pass phi, theta, the likelihood (up to sum n ln p(item)) and R of LDA by MAP; the objective never falls."""
    edges, weight, shard, layout = pairs_of(form)
    items = slice(7, 16)
    parts = [Part(items, False, [hr.Smooth(beta, "item")])]
    if alpha:
        parts.append(Part(slice(0, 7), True, [hr.Smooth(alpha, "user")]))
    regularize = Regularization(tuple(parts))
    p_item = np.bincount(edges[:, 1], weight, 9) / weight.sum()
    apart = float(weight @ np.log(p_item[edges[:, 1]]))
    state = em.initial_state(layout, 3, 0)
    state, _ = em.m_step(state, shard.expected_counts(state), layout, 1.0, regularize=regularize)
    theta, phi, path = np.float64(state.embedding[:7]), np.float64(phi_of(state.embedding[items], state.weight[items])), []
    for number in range(8):
        statistics = shard.expected_counts(state)
        n_v = statistics.n_vt.sum(axis=1, dtype=np.float64)
        log_likelihood, value = statistics.log_likelihood + regularize.from_vertices(state, n_v), regularize.value(state, n_v)
        theta, phi, wanted, of_prior = naive.lda_pass(theta, phi, edges, weight, alpha, beta)
        assert log_likelihood == pytest.approx(wanted - apart, rel=1e-4, abs=1e-5 * float(weight.sum())), number
        assert value == pytest.approx(of_prior, rel=1e-5)
        path.append(log_likelihood + value)
        state, _ = em.m_step(state, statistics, layout, 1.0, regularize=regularize)
        np.testing.assert_allclose(state.embedding[:7], theta, rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(phi_of(state.embedding[items], state.weight[items]), phi, rtol=2e-3, atol=1e-5)
    assert np.diff(path).min() > -1e-6 * (np.abs(path).max() + weight.sum())


def test_a_vertex_without_counts_is_smoothed_and_not_repaired() -> None:
    """phi_vt = tau / (n_t + V tau), as in LDA: no row to repair."""
    shard = Edges.symmetric(np.array([[0, 2], [1, 3], [0, 3]], np.int32), np.array([5, 2, 1], np.float32))
    layout = Layout((2, 3), strategies.mass_of([shard], 5), strategies.phi_weight_of([shard], [2, 3]))
    result = fit([shard], layout, n_topics=2, n_passes=5, regularize=over(slice(2, 5), hr.Smooth(1, "item")))
    assert not result.empty.any()
    totals = result.n_vt[2:].sum(axis=0, dtype=np.float64)
    phi = phi_of(result.state.embedding[2:], result.state.weight[2:])
    np.testing.assert_allclose(phi[2], 1 / (totals + 3), rtol=1e-4)


# ------------------------------------------------------------------------------------------------ nothing breaks


any_problem = st.one_of(
    strategies.pairs_and_states(), strategies.edges_and_states(max_order=8), strategies.edges_in_context_and_states(),
    strategies.sequences_and_states(), strategies.layouts_and_edges(),
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(any_problem, st.data(), st.integers(1, 5))
def test_nothing_becomes_nan_and_what_was_repaired_is_told(problem: Any, data: st.DataObject, n_topics: int) -> None:
    """Any shard, order, form and tau; after every pass rows are on the simplex, and rows emptied are at p(t) and counted."""
    if isinstance(problem[0], Layout):
        layout, shard = problem
        parts = [Part(slice(0, layout.sizes[0]), True, [data.draw(regularizers(n_topics))])] if data.draw(st.booleans()) else []
    else:
        shard: Shard = problem[0]
        layout, parts = Layout((len(problem[1].lift),), mass_of(shard, len(problem[1].lift))), []
    n_vertices = len(layout.mass)
    first = layout.sizes[0] if len(layout.sizes) > 1 else 0
    if first < n_vertices:
        parts.append(Part(slice(first, n_vertices), False, [data.draw(regularizers(n_topics)) for _ in range(2)]))
    regularize = Regularization(tuple(parts))
    if not shard.expected_counts(em.initial_state(layout, n_topics, 0, None, shard.n_contexts)).weight > 0:
        return
    result = fit([shard], layout, n_topics=n_topics, n_passes=6, tolerance=-np.inf, regularize=regularize)
    for state, empty in ((result.state, result.empty), one_more_step(shard, layout, result, regularize)):
        np.testing.assert_allclose(state.embedding.sum(axis=1), 1, rtol=1e-4)
        np.testing.assert_allclose(state.prior.sum(), 1, rtol=1e-4)
        assert all((table >= 0).all() and np.isfinite(table).all() for table in (state.embedding, state.lift, state.weight))
        np.testing.assert_allclose(state.embedding[empty], np.tile(state.prior, (empty.sum(), 1)), rtol=1e-4, atol=1e-6)
    assert (result.empty | (result.n_vt.sum(axis=1) > 0) | (result.state.weight > 0)).all()
    assert all(np.isfinite([row["log_likelihood"], row["regularizers"]]).all() for row in result.history)


def one_more_step(shard: Shard, layout: Layout, result: em.Fit, regularize: Regularization) -> tuple[State, np.ndarray]:
    return em.m_step(result.state, shard.expected_counts(result.state), layout, 1.0, regularize=regularize)


def mass_of(shard: Shard, n_vertices: int) -> np.ndarray:
    if isinstance(shard, Pairs):
        history = shard.history
        return np.bincount(history.vertices, history.weight * np.repeat(shard.damping, np.diff(history.indptr)), n_vertices)
    return strategies.mass_of([shard], n_vertices)


@pytest.mark.parametrize("form", ["container", "symmetric"])
def test_a_topic_emptied_everywhere_dies_without_nan(form: str) -> None:
    _, _, shard, layout = pairs_of(form)
    regularize = over(slice(7, 16), hr.Smooth(-1e9, "item", topics=(1,)))
    result = fit([shard], layout, n_topics=3, n_passes=6, tolerance=-np.inf, regularize=regularize)
    phi = phi_of(result.state.embedding[7:], result.state.weight[7:])
    np.testing.assert_array_equal(phi[:, 1], 0)
    np.testing.assert_allclose(phi[:, [0, 2]].sum(axis=0), 1, rtol=1e-5)
    assert result.state.prior[1] < 1e-6
    assert not result.empty.any()
    assert np.isfinite(result.state.lift).all()


def test_rows_that_a_regularizer_empties_are_at_prior_and_counted() -> None:
    _, _, shard, layout = pairs_of("container")

    def without_two(phi: np.ndarray) -> np.ndarray:
        addend = np.zeros(phi.shape)
        addend[[3, 5]] = -1e12
        return addend

    result = fit([shard], layout, n_topics=3, n_passes=6, regularize=over(slice(7, 16), Given(without_two)))
    assert np.flatnonzero(result.empty).tolist() == [10, 12]
    np.testing.assert_allclose(result.state.embedding[[10, 12]], np.tile(result.state.prior, (2, 1)), rtol=1e-5)
    np.testing.assert_allclose(result.state.weight[[10, 12]], result.n_v[[10, 12]], rtol=1e-5)


# ------------------------------------------------------------------------------------------------ the loop


def test_the_value_of_a_regularizer_decides_what_fell() -> None:
    """The likelihood rises, R falls in pass 6: it is taken back; and in the plain pass after it: it ends at the better state."""
    _, _, shard, layout = pairs_of("container")

    def run(values: list[float], n_passes: int, tolerance: float) -> em.Fit:
        told = Given(lambda phi: np.zeros(phi.shape), iter(values))
        options = {"n_topics": 3, "n_passes": n_passes, "tolerance": tolerance}
        return fit([shard], layout, regularize=over(slice(7, 16), told), **options)

    free, fell = run([0.0] * 9, 9, -np.inf), run([0.0] * 5 + [-1e6] + [0.0] * 3, 9, -np.inf)
    assert [row["stepped_back"] for row in free.history] == [False] * 9
    assert [row["stepped_back"] for row in fell.history] == [False] * 5 + [True] + [False] * 3
    assert [row["log_likelihood"] for row in fell.history][:6] == [row["log_likelihood"] for row in free.history][:6]
    assert fell.history[5]["log_likelihood"] > fell.history[4]["log_likelihood"]
    assert fell.history[5]["regularizers"] == -1e6
    assert [row["eta"] for row in fell.history][3:8] == [1.8, 1.8, 1.8, 1.0, 1.8]
    ended = run([0.0] * 5 + [-1e6] * 4, 9, 1e-9)
    assert [row["stepped_back"] for row in ended.history] == [False] * 5 + [True, True]
    reached = shard.expected_counts(ended.state)
    assert reached.log_likelihood == pytest.approx(ended.history[4]["log_likelihood"], rel=1e-6)


def test_what_was_repaired_is_of_the_state_that_is_the_result() -> None:
    """From the M-step of pass 5 on a row is emptied, and passes 6 and 7 fall: the result is the state before, with all its rows."""
    _, _, shard, layout = pairs_of("container")
    calls = iter(range(9))

    def of_late(phi: np.ndarray) -> np.ndarray:
        return np.where((np.arange(9) == 3) & (next(calls) >= 4), -1e12, 0.0)[:, None] * np.ones(phi.shape)

    told = Given(of_late, iter([0.0] * 5 + [-1e6] * 2))
    result = fit([shard], layout, n_topics=3, n_passes=9, tolerance=1e-9, regularize=over(slice(7, 16), told))
    assert [row["stepped_back"] for row in result.history] == [False] * 5 + [True, True]
    assert not result.empty.any()
    assert np.abs(result.state.embedding[10] - result.state.prior).max() > 1e-3


def test_the_random_start_is_no_result() -> None:
    """Where R falls in the first M-step the fit goes on, and tells what it had to repair."""
    _, _, shard, layout = pairs_of("container")
    result = fit([shard], layout, n_topics=3, n_passes=9, regularize=over(slice(7, 16), hr.Decorrelate(1e9, "item")))
    assert len(result.history) > 2
    assert result.history[1]["regularizers"] < result.history[0]["regularizers"]
    assert result.empty[7:].all()
    np.testing.assert_allclose(result.state.embedding[7:], np.tile(result.state.prior, (9, 1)), rtol=1e-5)


def test_a_fit_without_regularizers_tells_of_none() -> None:
    _, _, shard, layout = pairs_of("symmetric")
    result = fit([shard], layout, n_topics=2, n_passes=2)
    assert "regularizers" not in result.history[0]
    assert result.n_vt is None
    assert result.state.weight is None


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_threads_change_no_bit() -> None:
    _, _, shard, layout = pairs_of("container")
    regularize = over(slice(7, 16), hr.Smooth(0.1, "item"), hr.Decorrelate(50, "item"))
    before, found = numba.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            result = fit([shard], layout, n_topics=5, n_passes=9, regularize=regularize)
            found.append((result.state.embedding.tobytes(), result.n_vt.tobytes(), repr(result.history)))
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]


# ------------------------------------------------------------------------------------------------ models


FORMS: dict[str, dict[str, Any]] = {
    "mean": {}, "recency": {"context": hr.Recency(0.3)}, "container": {"context": None}, "symmetric": {"container": None}
}  # fmt: skip
SOME = (hr.Smooth(0.5, "item"), hr.Decorrelate(40.0, "item"), hr.Smooth(2, "hour", topics=[1]))


def fitted(films: hr.Hypergraph, form: str = "mean", some: Any = SOME, **more: Any) -> hr.TopicModel:
    options = {"n_topics": 3, "edges": WEIGHTS, "n_passes": 8, "seed": 1, **FORMS[form], **more}
    return hr.TopicModel(**options, regularizers=some).fit(films, progress=False)


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_model_goes_on_with_the_same_bits(form: str, films: hr.Hypergraph, tmp_path: Path) -> None:
    model = fitted(films, form)
    again = hr.load(model.save(tmp_path / "model"))
    assert again.regularizers == model.regularizers == (*SOME[:2], hr.Smooth(2.0, "hour", topics=(1,)))
    assert repr(again) == repr(model)
    assert again.phi("item").tobytes() == model.phi("item").tobytes()
    more = {"watched": pl.DataFrame({"user": ["user-1", "new"], "item": ["film-2", "film-new"], "time": [1_900_000_000] * 2})}
    for one in (model, again):
        one.partial_fit(more)
    assert again.state.embedding.tobytes() == model.state.embedding.tobytes()
    assert again.history.equals(model.history)
    assert model.history.height == 13
    assert model.history["regularizers"].is_finite().all()
    for modality in ("user", "item", "hour"):
        np.testing.assert_allclose(model.embedding(modality).sum(axis=1), 1, rtol=1e-4)
        np.testing.assert_allclose(model.phi(modality).sum(axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_going_on_regularizes_once(form: str, films: hr.Hypergraph) -> None:
    """The counts are added without what the regularizer added to them: phi is again norm_v(n_vt + tau), with tau once."""
    tau = 3.0
    model = fitted(films, form, [hr.Smooth(tau, "item")], length_damping=0)
    items, n_vt = model._rows("item"), model.n_vt.copy()
    frame = pl.DataFrame({"user": ["user-1", "user-2"], "item": ["film-2", "film-5"], "time": [1_900_000_000] * 2})
    model.partial_fit({"watched": frame}, n_passes=2)
    told = model.vocabularies["item"].rows(["film-2", "film-5"])
    added = (model.n_vt - n_vt)[items]
    np.testing.assert_allclose(added[told].sum(axis=1), 1, rtol=1e-3)
    np.testing.assert_allclose(np.delete(added, told, axis=0), 0, atol=1e-3)
    counts = np.float64(model.n_vt[items]) + tau
    np.testing.assert_allclose(model.phi("item"), counts / counts.sum(axis=0), rtol=1e-3)


def test_regularizers_may_be_set_before_going_on_and_taken_away(films: hr.Hypergraph) -> None:
    more = {"watched": films.table("watched").head(50)}
    model = fitted(films, "container", ()).partial_fit(more, n_passes=110)
    passes = model.history.height
    assert passes > 100
    model.regularizers = [hr.Smooth(3, "item")]
    model.partial_fit(more, n_passes=2)
    counts = np.float64(model.n_vt[model._rows("item")]) + 3
    np.testing.assert_allclose(model.phi("item"), counts / counts.sum(axis=0), rtol=1e-3)
    assert model.history["regularizers"].is_null().to_list() == [True] * passes + [False] * 2
    counts = model.n_vt[model._rows("item")]
    model.regularizers = ()
    model.partial_fit(more, n_passes=1, gain=0)
    np.testing.assert_allclose(model.embedding("item"), counts / counts.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)
    assert (model.n_vt, model.state.weight) == (None, None)


@pytest.mark.parametrize("form", FORMS)
def test_going_on_starts_where_the_fit_ended(form: str, films: hr.Hypergraph) -> None:
    model = fitted(films, form)
    state = grown(model, films.vocabularies)[0].state
    for name in ("embedding", "lift", "weight"):
        np.testing.assert_allclose(getattr(state, name), getattr(model.state, name), rtol=1e-5)


def test_the_container_is_regularized_in_theta(films: hr.Hypergraph) -> None:
    """Smooth on it is LDA's alpha: p(t|u) = norm_t(n_ut + alpha)."""
    model = fitted(films, "container", [hr.Smooth(4, "user")])
    counts = np.float64(model.n_vt[model._rows("user")]) + 4
    np.testing.assert_allclose(model.embedding("user"), counts / counts.sum(axis=1, keepdims=True), rtol=1e-3)
    far = fitted(films, "container", [hr.Smooth(1e9, "user")])
    np.testing.assert_allclose(far.embedding("user"), 1 / 3, rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_smoothed_to_the_end_an_item_says_nothing(form: str, films: hr.Hypergraph) -> None:
    """phi is the same in all topics, p(t|v) = p(t): the pull is towards p(t), not towards equal topics."""
    model = fitted(films, form, [hr.Smooth(1e9, "item")], edges={"watched": 1.0})
    np.testing.assert_allclose(model.phi("item"), 1 / 60, rtol=1e-3)
    np.testing.assert_allclose(model.embedding("item"), np.tile(model.state.prior, (60, 1)), rtol=1e-2, atol=1e-4)


def test_what_was_repaired_is_told_in_words(films: hr.Hypergraph, tmp_path: Path) -> None:
    model = fitted(films, some=[Given(lambda phi: -1e12 * (np.arange(len(phi)) < 7)[:, None] * np.ones_like(phi))])
    assert model.degenerate == {"item": 7, "genre": 0, "hour": 0}
    assert model.emptied == {"item": 7, "genre": 0, "hour": 0}
    assert ", fitted, emptied by regularizers and put at p(t): 7 item)" in repr(model)
    np.testing.assert_allclose(model.embedding("item")[:7], np.tile(model.state.prior, (7, 1)), rtol=1e-4)
    never = Vocabulary("item", pl.Series(["film-never", "film-nowhere"]))
    longer = films.over({m: extended(one, never if m == "item" else None) for m, one in films.vocabularies.items()}, {})
    both = fitted(longer, some=model.regularizers)
    assert both.degenerate["item"] == 9
    assert both.emptied["item"] == 7
    words = ", fitted, without counts and put at p(t): 2 item, emptied by regularizers and put at p(t): 7 item)"
    assert words in repr(both)
    again = hr.load(both.save(tmp_path / "model"))
    assert (again.degenerate, again.emptied) == (both.degenerate, both.emptied)
    assert fitted(longer, some=[hr.Smooth(0.1, "item")]).degenerate["item"] == 0
    assert ", fitted, without counts and put at p(t): 2 item)" in repr(fitted(longer, some=()))


def test_shows_its_regularizers() -> None:
    model = hr.TopicModel(7, regularizers=[hr.Smooth(1, "item")])
    told = "regularizers=(Smooth(tau=1.0, modality='item', topics=None),)"
    assert repr(model) == f"TopicModel(n_topics=7, container='user', context=Mean(), {told}, not fitted)"


def test_ones_own_regularizer_is_named_when_it_is_missed(films: hr.Hypergraph, tmp_path: Path) -> None:
    """A model fitted with it is saved, and asked as before; it does not go on as if there were none."""
    own = Given(lambda phi: 0.1 * phi)
    model = fitted(films, some=[own, hr.Smooth(0.1, "hour")])
    again = hr.load(hr.load(model.save(tmp_path / "model")).save(tmp_path / "copy"))
    assert again.recommend(k=3).equals(model.recommend(k=3))
    assert again.phi("item").tobytes() == model.phi("item").tobytes()
    with pytest.raises(hr.ModelError) as caught:
        again.partial_fit(films)
    assert f"a regularizer of your own, {own!r}, which is not saved with it: set model.regularizers" in str(caught.value)
    again.regularizers = model.regularizers
    assert again.partial_fit(films).state.embedding.tobytes() == model.partial_fit(films).state.embedding.tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hr.Smooth("1", "item"), "Smooth: tau must be a finite number; got '1'."),
        (lambda: hr.Smooth(float("nan"), "item"), "Smooth: tau must be a finite number; got nan."),
        (lambda: hr.Decorrelate(float("inf"), "item"), "Decorrelate: tau must be a finite number; got inf."),
        (lambda: hr.Smooth(1, 3), "Smooth: modality must be the name of one, such as 'item'; got 3."),
        (lambda: hr.Smooth(1, "item", topics=[]), "topics must be different numbers of topics, from 0, or None for all; got []."),
        (lambda: hr.Smooth(1, "item", topics=(1, 1)), "topics must be different numbers of topics, from 0, or None for all; got ("),
        (lambda: hr.Smooth(1, "item", topics=2), "topics must be different numbers of topics, from 0, or None for all; got 2."),
        (lambda: hr.TopicModel(2, regularizers=hr.Smooth(1, "item")), "regularizers must be a list, such as [hr.Smooth(0.1, 'it"),
        (lambda: hr.TopicModel(2, regularizers=3), "regularizers must be a list, such as [hr.Smooth(0.1, 'item')]; got 3."),
        (lambda: hr.TopicModel(2, regularizers=["smooth"]), "a regularizer has modality, value(phi), addend(phi), such as"),
        (lambda: hr.TopicModel(2, regularizers=[hr.Smooth]), "such as hr.Smooth(0.1, 'item'); got <class"),
        (lambda: hr.TopicModel(2, regularizers=[hr.Smooth(1, "item", [2])]), "names topic 2, but there are 2, from 0."),
    ],
)
def test_refuses(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("some", "message"),
    [
        (hr.Smooth(1, "items"), "modality 'items' has no topic vectors of its own to regularize; item, genre, hour have. Did"),
        (hr.Smooth(1, "user"), "modality 'user' has no topic vectors of its own to regularize; item, genre, hour have."),
        (Given(np.zeros((2, 3))), "addend(phi) must have the shape of phi, (60, 3); got (2, 3)."),
        (Given(np.full((60, 3), np.nan)), "addend(phi) has nan, infinity, or numbers beyond 1e+30."),
        (Given(np.full((60, 3), 1e31)), "addend(phi) has nan, infinity, or numbers beyond 1e+30."),
        (Given(np.zeros((60, 3)), np.nan), "value(phi) must be a finite number; got nan."),
    ],
)
def test_refuses_what_does_not_fit_the_graph(some: Any, message: str, films: hr.Hypergraph) -> None:
    with pytest.raises(hr.ModelError) as caught:
        fitted(films, some=[some])
    assert message in str(caught.value)
    assert repr(some) in str(caught.value)


# ------------------------------------------------------------------------------------------------ real topics


@pytest.fixture(scope="module")
def papers() -> tuple[hr.Hypergraph, sp.csr_matrix]:
    """Every third NIPS paper, and the matrix of its words, in the order of the vocabularies."""
    path = conftest.DATA / "nips-bow" / "nips_train.npz"
    if not path.exists():
        pytest.skip(f"no {path}: set HYPERREC_DATA to the folder of nips-bow")
    counts = sp.load_npz(path).tocsr()[::3].tocoo()
    log = pl.DataFrame({"paper": counts.row, "word": counts.col, "weight": counts.data.astype(np.float32)})
    graph = hr.Hypergraph.from_frames(has=log)
    ids = graph.vocabulary("paper").ids.to_numpy(), graph.vocabulary("word").ids.to_numpy()
    return graph, counts.tocsr()[ids[0]][:, ids[1]]


@pytest.mark.parametrize("context", [None, hr.Mean()])
def test_sparsing_makes_sparse_and_decorrelation_distinct(context: Any, papers: tuple[hr.Hypergraph, sp.csr_matrix]) -> None:
    graph, counts = papers
    weight = float(counts.sum())

    def run(*some: Any) -> tuple[np.ndarray, hr.TopicModel]:
        options = {"container": "paper", "context": context, "n_passes": 12, "length_damping": 0, "regularizers": some}
        model = hr.TopicModel(8, **options).fit(graph, progress=False)
        return model.phi("word"), model

    (plain, _), (sparse, by_sparsing), (distinct, by_decorrelation), (smooth, _) = (
        run(), run(hr.Smooth(-0.5, "word")), run(hr.Decorrelate(weight / 2, "word")), run(hr.Smooth(0.5, "word"))
    )  # fmt: skip
    assert hr.scores.sparsity(sparse) > hr.scores.sparsity(plain) + 0.2
    assert hr.scores.sparsity(smooth) == 0
    assert hr.scores.distinctness(distinct) > hr.scores.distinctness(plain) + 0.01
    assert hr.scores.jaccard(distinct) < hr.scores.jaccard(plain)
    assert hr.scores.distinctness(smooth) < hr.scores.distinctness(plain)
    assert hr.scores.coherence(distinct, counts) > 0
    assert hr.scores.perplexity(distinct, by_decorrelation.embedding("paper"), counts) < 0.8 * plain.shape[0]
    assert by_sparsing.history["regularizers"][-1] > by_sparsing.history["regularizers"][0]
    assert by_decorrelation.history["regularizers"][-1] > by_decorrelation.history["regularizers"][0]

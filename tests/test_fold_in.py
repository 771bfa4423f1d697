"""The whole container as context: PLSA with theta found anew in each pass, and the Theta-less family."""

from __future__ import annotations

from dataclasses import replace

import naive
import numpy as np
import polars as pl
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import assert_same, history_of

import hyperrec as hr
from hyperrec.topics import em
from hyperrec.topics.shards import Edges, History, Pairs
from hyperrec.topics.state import Layout, State, make_state, phi_of

examples = settings(max_examples=60, deadline=None, derandomize=True)
EXACT = hr.FoldIn(exact=True).plan()


def documents(rng: np.random.Generator, n_documents: int, n_words: int) -> tuple[np.ndarray, History]:
    """Counts (D, W), no word and no document empty, and the same as a history."""
    n_dw = rng.poisson(1.5, (n_documents, n_words)).astype(float)
    n_dw[np.arange(n_documents), rng.integers(n_words, size=n_documents)] += 1
    n_dw[rng.integers(n_documents, size=n_words), np.arange(n_words)] += 1
    owners, words = np.nonzero(n_dw)
    return n_dw, History.of(owners, words, n_dw[owners, words], n_documents)


def state_of_phi(phi: np.ndarray, p_t: np.ndarray, p_w: np.ndarray) -> State:
    """A state whose lifts are phi_wt / p(w)."""
    embedding = phi * p_t / (phi @ p_t)[:, None]
    return State(embedding.astype(np.float32), p_t.astype(np.float32), (phi / p_w[:, None]).astype(np.float32))


@examples
@given(strategies.folded_pairs_and_states())
def test_folded_pairs_match_naive(problem: tuple[Pairs, State]) -> None:
    shard, state = problem
    assert_same(shard.expected_counts(state), naive.expected_folded(shard, state.embedding, state.prior))


@examples
@given(strategies.folded_pairs_and_states())
def test_pairs_and_edges_are_read_alike(problem: tuple[Pairs, State]) -> None:
    """One kernel goes by vertices, the other by containers: the same E-step."""
    shard, state = problem
    history = shard.history
    place = np.arange(len(history.vertices)) - history.indptr[:-1][history.owners]
    weight = history.weight * shard.damping[history.owners]
    edges = Edges(history.indptr, history.vertices[:, None], weight, place, history, shard.plan)
    found, wanted = edges.expected_counts(state), shard.expected_counts(state)
    scale = 3e-5 * wanted.n_vt.sum(axis=1, keepdims=True)
    assert (np.abs(found.n_vt - wanted.n_vt) <= 2e-4 * wanted.n_vt + scale).all()
    np.testing.assert_allclose(found.log_likelihood, wanted.log_likelihood, rtol=2e-4, atol=1e-5 * wanted.weight)


@examples
@given(
    strategies.edges_in_context_and_states(),
    st.builds(hr.FoldIn, iterations=st.integers(1, 4), start=st.sampled_from(["prior", "uniform"])),
)
def test_folded_edges_match_naive(problem: tuple[Edges, State], context: hr.FoldIn) -> None:
    shard, state = problem
    shard = replace(shard, plan=context.plan(), folded=True)
    assert_same(shard.expected_counts(state), naive.expected_folded_edges(shard, state.embedding, state.prior))


@pytest.mark.parametrize("order", range(2, 9))
def test_folded_edges_of_extreme_vertices_and_weights(order: int) -> None:
    rng = np.random.default_rng(order)
    state = strategies.state_of(rng, 9, 12, 0.0)
    rows = state.embedding ** np.float32(8)
    state = make_state(rows / rows.sum(axis=1, keepdims=True), state.prior, Layout((9,), np.ones(9)))
    vertices, weight = rng.integers(9, size=(60, order)).astype(np.int32), (10.0 ** rng.uniform(-6, 9, 60)).astype(np.float32)
    indptr, plan = np.arange(0, 61, 5), hr.FoldIn(iterations=3).plan()
    shard = Edges(indptr, vertices, weight, np.zeros(60, np.int64), History.none(12), plan, folded=True)
    found = shard.expected_counts(state)
    assert_same(found, naive.expected_folded_edges(shard, state.embedding, state.prior))
    assert np.isfinite(found.n_vt).all()


def test_longer_edges_are_folded_in_with_all_their_vertices() -> None:
    """Two kinds of documents that the second vertex tells apart, never the first."""
    rng = np.random.default_rng(3)
    kind = np.repeat(np.arange(40) % 2, 30)
    word, year = rng.integers(5, size=1200), kind * 10 + rng.integers(3, size=1200)
    frame = pl.DataFrame({"document": np.repeat(np.arange(40), 30), "word": word, "year": year})
    model = hr.TopicModel(2, "document", context=hr.FoldIn(iterations=5), n_passes=40, context_exponent=1, seed=1).fit(frame)
    years = model.embedding("year").argmax(axis=1)
    assert len({*years[:3]}) == len({*years[3:]}) == 1
    assert years[0] != years[3]


@examples
@given(strategies.seeded(), st.integers(1, 6), st.integers(2, 9), st.integers(1, 7))
def test_exact_form_matches_the_slides(rng: np.random.Generator, n_documents: int, n_words: int, n_topics: int) -> None:
    n_dw, history = documents(rng, n_documents, n_words)
    phi, p_t = rng.dirichlet(np.ones(n_words), n_topics).T + 1e-4, rng.dirichlet(np.full(n_topics, 3.0)) + 1e-2
    phi, p_t, p_w = phi / phi.sum(axis=0), p_t / p_t.sum(), n_dw.sum(axis=0) / n_dw.sum()
    state = state_of_phi(phi, p_t, p_w)
    found = Pairs(history, np.ones(n_documents, np.float32), EXACT).expected_counts(state)
    counts, n_t, new_phi = naive.thetaless_pass(phi, p_t, n_dw)
    np.testing.assert_allclose(found.n_vt, counts, rtol=1e-3, atol=3e-4 * n_dw.sum())
    np.testing.assert_allclose(found.n_t, n_t, rtol=1e-3)
    likelihood = naive.thetaless_likelihood(phi, p_t, n_dw) - (n_dw.sum(axis=0) * np.log(p_w)).sum()
    np.testing.assert_allclose(found.log_likelihood, likelihood, rtol=1e-4, atol=1e-4 * n_dw.sum())
    new, _ = em.m_step(state, found, Layout((n_words,), n_dw.sum(axis=0), gradient=True))
    kept = new_phi.sum(axis=1) > 1e-3 / n_words
    assert new.weight is not None
    np.testing.assert_allclose(phi_of(new.embedding, new.weight)[kept], new_phi[kept], rtol=1e-2, atol=1e-3)
    wanted = np.array([naive.norm(row * n_t) for row in new_phi[kept]])
    np.testing.assert_allclose(new.embedding[kept], wanted, rtol=1e-2, atol=3e-3)


def test_exact_counts_are_phi_times_the_numerical_gradient() -> None:
    rng = np.random.default_rng(5)
    n_dw, history = documents(rng, 12, 9)
    phi, p_t, p_w = rng.dirichlet(np.ones(9), 4).T, rng.dirichlet(np.full(4, 3.0)), n_dw.sum(axis=0) / n_dw.sum()
    found = Pairs(history, np.ones(12, np.float32), EXACT).expected_counts(state_of_phi(phi, p_t, p_w))
    step = 1e-6
    for w, t in np.ndindex(phi.shape):
        up, down = phi.copy(), phi.copy()
        up[w, t] += step * phi[w, t]
        down[w, t] -= step * phi[w, t]
        rise = naive.thetaless_likelihood(up, p_t, n_dw) - naive.thetaless_likelihood(down, p_t, n_dw)
        np.testing.assert_allclose(found.n_vt[w, t], rise / (2 * step), rtol=1e-3, atol=1e-4)


def test_fold_in_is_plsa_where_it_iterates_long() -> None:
    """With theta at its optimum under phi, the M-step of phi is that of PLSA."""
    rng = np.random.default_rng(0)
    n_dw, history = documents(rng, 6, 8)
    phi = rng.dirichlet(np.ones(8), 3).T
    p_w, p_t = n_dw.sum(axis=0) / n_dw.sum(), np.full(3, 1 / 3)
    long = hr.FoldIn(iterations=3000).plan()
    found = Pairs(history, np.ones(6, np.float32), long).expected_counts(state_of_phi(phi, p_t, p_w))
    edges = np.argwhere(n_dw)
    theta = np.full((6, 3), 1 / 3)
    for _ in range(3000):
        theta, _, _ = naive.plsa_pass(theta, phi, edges, n_dw[tuple(edges.T)])
    _, new_phi, likelihood = naive.plsa_pass(theta, phi, edges, n_dw[tuple(edges.T)])
    np.testing.assert_allclose(found.n_vt / found.n_vt.sum(axis=0), new_phi, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.log_likelihood, likelihood - (n_dw.sum(axis=0) * np.log(p_w)).sum(), rtol=1e-4)


@pytest.mark.parametrize("context", [hr.FoldIn(iterations=5), hr.FoldIn(), hr.FoldIn(start="uniform"), hr.FoldIn(exact=True)])
def test_the_family_finds_planted_topics(context: hr.FoldIn) -> None:
    rng = np.random.default_rng(1)
    topics = np.repeat(np.arange(60), 40) % 3
    frame = pl.DataFrame({"document": np.repeat(np.arange(60), 40), "word": topics * 10 + rng.integers(10, size=2400)})
    frame = frame.group_by("document", "word", maintain_order=True).len("weight")
    model = hr.TopicModel(3, "document", context=context, over_relaxation=1, tolerance=0, n_passes=40).fit(frame)
    best = model.topics("word", k=10).group_by("topic").agg((pl.col("id") // 10).n_unique().alias("kinds"))
    assert best["kinds"].to_list() == [1, 1, 1]
    likelihood = model.history["per_weight"].to_numpy()
    assert likelihood[-1] > likelihood[0] + 0.5
    assert (np.diff(likelihood) > -1e-3).all()
    theta = model.embedding("document")
    np.testing.assert_allclose(theta.sum(axis=1), 1, rtol=1e-5)
    assert (theta.max(axis=1) > 0.9).all()


def test_a_saved_exact_model_answers_the_same(tmp_path: object) -> None:
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"user": rng.integers(30, size=400), "item": rng.integers(12, size=400)}).unique(maintain_order=True)
    model = hr.TopicModel(4, context=hr.FoldIn(exact=True), n_passes=5).fit(frame)
    again = hr.load(model.save(f"{tmp_path}/model"))
    assert again.context == model.context
    assert again.layout.gradient
    assert again.recommend(k=3).equals(model.recommend(k=3))


def test_explain_and_positions_read_the_whole_container() -> None:
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"user": rng.integers(30, size=400), "item": rng.integers(12, size=400)}).unique(maintain_order=True)
    for context in (hr.FoldIn(iterations=3), hr.FoldIn(start="uniform")):
        model = hr.TopicModel(4, context=context, n_passes=5).fit(frame)
        best = model.recommend([3], k=1)
        told = model.explain(3, best["item"][0])
        np.testing.assert_allclose(told.history["contribution"].sum(), best["score"][0], rtol=1e-3)
        np.testing.assert_allclose(told.topics["contribution"].sum(), best["score"][0], rtol=1e-3)
        assert model.positions(3).height == frame.filter(user=3).height
        more = pl.DataFrame({"user": [3, 31], "item": [0, 1]})
        assert model.partial_fit(more).recommend([31], k=2).height == 2


def test_an_item_alone_in_a_history_is_explained_by_itself() -> None:
    state = make_state(np.array([[0.7, 0.3], [0.2, 0.8]], np.float32), np.array([0.5, 0.5]), Layout((2,), np.ones(2)))
    found = Pairs(history_of({0: 2.0}), np.ones(1, np.float32), hr.FoldIn().plan()).expected_counts(state)
    np.testing.assert_allclose(found.n_vt[0], 2 * np.array([0.49, 0.09]) / 0.58, rtol=1e-5)


def test_exact_wants_pairs_alone() -> None:
    frame = pl.DataFrame({"user": [1, 1, 2], "item": [1, 2, 2]})
    genre = pl.DataFrame({"item": [1, 2], "genre": ["a", "b"]})
    model = hr.TopicModel(2, context=hr.FoldIn(exact=True), n_passes=2)
    with pytest.raises(hr.ModelError, match=r"FoldIn\(exact=True\) takes pairs, container x vertex, alone: the edges are bought"):
        model.fit({"bought": frame, "genre": genre})
    with pytest.raises(hr.ModelError, match=r"FoldIn\(exact=True\) has no partial_fit: fit anew"):
        model.fit({"bought": frame}).partial_fit({"bought": frame})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": 0}, "FoldIn: iterations must be a whole number, 1 or more; got 0."),
        ({"start": "zero"}, "FoldIn: start must be 'prior' or 'uniform'; got 'zero'."),
        ({"passes": 1}, "FoldIn has no passes: its theta is one for all positions; ask for more iterations instead."),
        ({"exact": True, "iterations": 2}, "FoldIn: exact goes with one iteration from the prior"),
    ],
)
def test_bad_fold_in(values: dict[str, object], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        hr.FoldIn(**values)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_exact_is_no_part_of_a_mixture() -> None:
    with pytest.raises(hr.ModelError, match=r"Mixture: FoldIn\(exact=True\) is a context by itself"):
        hr.Mixture(hr.Mean(), hr.FoldIn(exact=True))

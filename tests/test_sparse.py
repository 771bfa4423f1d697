"""Large T: entries under a threshold are dropped and stay zero, and the E-step goes through those that are left."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import naive
import numpy as np
import polars as pl
import pytest
import strategies
from hypothesis import given, settings
from test_kernels import assert_same, history_of

import hyperrec as hr
from hyperrec.topics import em, shards
from hyperrec.topics.shards import Pairs
from hyperrec.topics.state import Layout, State


@settings(max_examples=80, deadline=None, derandomize=True)
@given(strategies.pairs_and_states())
def test_sparse_pairs_match_naive(problem: tuple[Pairs, State]) -> None:
    shard, state = problem
    with mock.patch.object(shards, "SPARSE", 2.0):
        found = shard.expected_counts(state)
    assert_same(found, naive.expected_pairs(shard, state.embedding, state.prior))


@pytest.mark.parametrize("share", [1e2, 1e4])
def test_an_item_that_is_nearly_the_whole_history(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SPARSE", 2.0)
    state = strategies.state_of(np.random.default_rng(1), 3, 5, 0.4)
    shard = Pairs(history_of({0: share, 2: 1.0}, {0: 1.0, 1: 2.0}), np.array([1e-3 / share, 1], np.float32))
    assert_same(shard.expected_counts(state), naive.expected_pairs(shard, state.embedding, state.prior))


def problem(n_topics: int = 60) -> tuple[list[Pairs], Layout, int]:
    """2,000 users of 20 groups, who choose among their group's ten items, mostly."""
    rng = np.random.default_rng(4)
    owners = np.repeat(np.arange(2000), 12)
    own, any_item = owners % 20 * 10 + rng.integers(10, size=len(owners)), rng.integers(200, size=len(owners))
    items = np.where(rng.random(len(owners)) < 0.9, own, any_item)
    owners, items = np.unique(np.stack([owners, items]), axis=1)
    history = shards.History.of(owners, items, np.ones(len(items)), 2000)
    return [Pairs(history, np.ones(2000, np.float32))], Layout((200,), np.bincount(items, minlength=200).astype(float)), n_topics


def test_dropped_entries_stay_zero_and_cost_no_likelihood() -> None:
    edges, layout, n_topics = problem()
    dense = em.fit(edges, layout, n_topics=n_topics, n_passes=40, tolerance=0, seed=1)
    zeros: list[np.ndarray] = []
    m_step = em.m_step

    def watched(*args: object, **options: object) -> tuple[State, np.ndarray]:
        state, empty = m_step(*args, **options)  # type: ignore[arg-type]
        zeros.append(state.embedding == 0)
        return state, empty

    with mock.patch.object(em, "m_step", watched):
        sparse = em.fit(edges, layout, n_topics=n_topics, n_passes=40, tolerance=0, seed=1, drop_below=5e-2)
    assert edges[0]._is_sparse(sparse.state)
    steps = [row["stepped_back"] for row in sparse.history]
    grown = [(a <= b).all() for a, b, back in zip(zeros, zeros[1:], steps[1:], strict=False) if not back]
    assert len(grown) > 10
    assert all(grown)
    assert zeros[-1].mean() > 0.8
    least = np.where(sparse.state.embedding > 0, sparse.state.embedding, 1).min()
    assert least >= 5e-2 * 0.999
    np.testing.assert_allclose(sparse.state.embedding.sum(axis=1), 1, rtol=1e-5)
    assert sparse.history[-1]["per_weight"] > dense.history[-1]["per_weight"] - 0.03


def test_both_kernels_lead_to_the_same_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    edges, layout, n_topics = problem(12)
    options = {"n_topics": n_topics, "n_passes": 12, "tolerance": 0.0, "seed": 1, "drop_below": 1e-3}
    dense = em.fit(edges, layout, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(shards, "SPARSE", 2.0)
    sparse = em.fit(edges, layout, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(sparse.state.embedding, dense.state.embedding, atol=2e-3)


def test_the_largest_entry_of_a_row_stays() -> None:
    """However many topics there are, and however high the threshold."""
    edges, layout, _ = problem()
    fit = em.fit(edges, layout, n_topics=150, n_passes=25, tolerance=0, drop_below=0.5)
    assert (fit.state.embedding.max(axis=1) > 0).all()
    assert np.isfinite(fit.state.lift).all()


def test_a_sparse_model_is_saved_small_and_answers_the_same(tmp_path: Path) -> None:
    edges, _, _ = problem()
    frame = pl.DataFrame({"user": edges[0].history.owners, "item": edges[0].history.vertices})
    models = {drop: hr.TopicModel(60, n_passes=30, tolerance=0, drop_below=drop).fit(frame) for drop in (0.0, 5e-2)}
    folders = {drop: model.save(tmp_path / f"model-{drop}") for drop, model in models.items()}
    bytes_of = {drop: (folder / "arrays.safetensors").stat().st_size for drop, folder in folders.items()}
    tables = 2 * 200 * 60 * 4
    assert bytes_of[0.0] - bytes_of[5e-2] > 0.6 * tables
    again, model = hr.load(folders[5e-2]), models[5e-2]
    assert again.drop_below == 5e-2
    np.testing.assert_array_equal(again.state.embedding, model.state.embedding)
    np.testing.assert_array_equal(again.state.lift, model.state.lift)
    assert again.recommend(k=5).equals(model.recommend(k=5))
    more = pl.DataFrame({"user": [0, 2001], "item": [3, 3]})
    assert (again.partial_fit(more).embedding("item") == 0).mean() > 0.8


def test_drop_below_is_checked() -> None:
    with pytest.raises(hr.ModelError, match=r"drop_below must be a number, 0 to 0.5; got 0.7."):
        hr.TopicModel(drop_below=0.7)


def test_edges_of_other_kinds_read_the_zeros_too() -> None:
    """An attribute's edges, dense, beside sparse pairs."""
    edges, _, _ = problem()
    frame = pl.DataFrame({"user": edges[0].history.owners, "item": edges[0].history.vertices})
    group = pl.DataFrame({"item": np.arange(200), "group": np.arange(200) // 10})
    model = hr.TopicModel(60, n_passes=40, tolerance=0, drop_below=5e-2).fit({"bought": frame, "group": group})
    for modality in ("item", "group"):
        assert (model.embedding(modality) == 0).mean() > 0.7

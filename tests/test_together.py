"""Features that meet: dropping, regularizers, exact fold-ins, online EM, checkpoints and stores in one fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import killed
import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec.hypergraph import EdgeTable
from hyperrec.streaming import scratch_folder
from hyperrec.topics import em
from hyperrec.topics.kernels.tables import maximize
from hyperrec.topics.statistics import Statistics


class OnlyEven:
    """Takes all counts from the odd vertices of the items; no repr of its own."""

    modality = "item"

    def value(self, phi: np.ndarray) -> float:
        return 0.0

    def addend(self, phi: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(phi))[:, None] % 2 == 1, np.float32(-1e9), np.float32(0)) * np.ones_like(phi)


def log() -> dict[str, pl.DataFrame]:
    return {"watched": killed.frames()["watched"].drop("time")}


@pytest.mark.parametrize("context", [hr.Mean(), hr.FoldIn(), hr.FoldIn(exact=True), None], ids=repr)
@pytest.mark.parametrize("drop_below", [0.0, 0.1])
def test_rows_that_a_regularizer_empties_are_at_p_t_and_told(context: Any, drop_below: float) -> None:
    model = hr.TopicModel(12, context=context, drop_below=drop_below, regularizers=[OnlyEven()], n_passes=12).fit(log())
    odd = model.embedding("item")[1::2]
    np.testing.assert_allclose(odd, np.broadcast_to(model.state.prior, odd.shape), rtol=1e-4, atol=1e-7)
    assert model.degenerate["item"] == model.emptied["item"] == len(odd)
    assert f"emptied by regularizers and put at p(t): {len(odd)} item" in repr(model)


@pytest.mark.parametrize("options", [{"regularizers": [hr.Smooth(0.0, "item")]}, {"context": hr.FoldIn(exact=True)}], ids=str)
@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_online_counts_that_are_kept_as_such_fade_but_are_not_forgotten(options: dict[str, Any], rate: float) -> None:
    """Items that only the first of many batches has."""
    event = np.arange(1600)
    frame = pl.DataFrame({"user": event // 4, "item": event % 20 + np.where(event < 160, 20, 0)})
    model = hr.TopicModel(4, online=hr.Online(batch_size=1, rate=rate), n_passes=1, **options).fit(frame)
    assert np.isfinite(model.embedding("item")).all()
    np.testing.assert_allclose(model.embedding("item").sum(axis=1), 1, rtol=1e-5)
    if "context" not in options:
        assert model.degenerate == {"item": 0}
        assert "regularizers" in model.history.columns


def test_counts_too_small_to_divide_by_are_none() -> None:
    counts = np.array([[1e-39, 0, 0], [0, 2, 2]], np.float32)
    new, empty = np.empty_like(counts), np.zeros(2, bool)
    maximize(counts, np.full_like(counts, 1 / 3), np.float32(1), np.array([0.2, 0.3, 0.5], np.float32), np.float32(0), new, empty)
    np.testing.assert_allclose(new, [[0.2, 0.3, 0.5], [0, 0.5, 0.5]], rtol=1e-6)
    assert empty.tolist() == [True, False]
    phi, emptied = em._phi_counts(counts, np.array([5.0, 3.0, 2.0]))
    assert np.isfinite(phi).all()
    assert emptied.tolist() == [True, False]


def test_blend_floors_what_fades() -> None:
    state = em.initial_state(em.Layout((2,), np.ones(2)), 3, 0)
    old = em.Fit(state, n_v=np.array([1.0, 1.0]), weight=2.0, n_vt=np.float32([[1e-30, 0, 0], [1, 1, 1]]))
    new = em.blend(old, Statistics.empty(2, 3), 1e-9, 1.0)
    assert new.n_vt[0, 0] > 0
    np.testing.assert_allclose(new.n_vt[1], 1e-9, rtol=1e-5)


def test_a_checkpoint_of_a_fit_with_a_regularizer_of_ones_own(tmp_path: Path) -> None:
    first = hr.TopicModel(5, n_passes=4, regularizers=[OnlyEven()]).fit(log(), checkpoint=tmp_path)
    again = hr.TopicModel(5, n_passes=4, regularizers=[OnlyEven()]).fit(log(), checkpoint=tmp_path)
    assert again.state.embedding.tobytes() == first.state.embedding.tobytes()


def test_a_folder_of_other_things_is_no_place_for_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("mine")
    with pytest.raises(hr.ModelError, match=r"what is not of a checkpoint \(ratings\.csv\): it is left alone\. Choose another"):
        hr.TopicModel(5, n_passes=2).fit(log(), checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.csv"]


def test_a_loaded_online_model_asks_for_the_regularizer_that_is_not_saved(tmp_path: Path) -> None:
    model = hr.TopicModel(5, n_passes=2, online=hr.Online(), regularizers=[OnlyEven()]).fit(log())
    with pytest.raises(hr.ModelError, match=r"a regularizer of your own, .*OnlyEven.*, which is not saved with it"):
        hr.load(model.save(tmp_path / "model")).fit(log())


def test_what_a_killed_fit_has_left_in_a_store_is_removed_and_in_nobodys_way(tmp_path: Path) -> None:
    graph = hr.Hypergraph.from_frames(**killed.frames())
    store = graph.store(tmp_path / "store", container="user")
    (store.folder / ".fit-dead").mkdir()
    (store.folder / ".fit-dead" / "lock").touch()
    with scratch_folder(store) as mine, scratch_folder(store) as other:
        assert sorted(path.name for path in store.folder.glob(".fit-*")) == sorted([mine.name, other.name])
    assert not [name for name in os.listdir(store.folder) if name.startswith(".fit-")]
    (store.folder / ".fit-dead").mkdir()
    assert hr.TopicModel(5, n_passes=2).fit(graph.store(tmp_path / "store", container="user")).fitted


@pytest.mark.parametrize("context", [hr.FoldIn(iterations=2), hr.FoldIn(exact=True)], ids=repr)
def test_a_fold_in_goes_on_from_a_checkpoint_of_a_store(context: hr.FoldIn, tmp_path: Path) -> None:
    store = hr.Hypergraph.from_frames(**log()).store(tmp_path / "store", container="user")
    options: dict[str, Any] = {"n_topics": 5, "context": context, "tolerance": 0, "n_passes": 6}
    wanted = hr.TopicModel(**options).fit(store)
    kept = hr.TopicModel(**options).fit(store, checkpoint=tmp_path / "kept", every=1)
    again = hr.TopicModel(**options).fit(store, checkpoint=tmp_path / "kept")
    for model in (kept, again):
        assert model.state.embedding.tobytes() == wanted.state.embedding.tobytes()


def test_partial_fit_and_checkpoints_refuse() -> None:
    graph = hr.Hypergraph.from_frames(**log())
    model, table = hr.TopicModel(5, n_passes=2).fit(graph), graph.edges["watched"]
    with pytest.raises(hr.ModelError, match=r"^partial_fit: there are no edges\.$"):
        model.partial_fit(graph.with_edges({"watched": EdgeTable(table.modalities, table.frame.head(0))}))
    with pytest.raises(hr.ModelError, match=r"^gain must be a number, 0 or more; got -1\.$"):
        model.partial_fit(log(), gain=-1)
    with pytest.raises(hr.ModelError, match=r"^every must be a whole number, 1 or more; got 0\.$"):
        model.fit(log(), every=0)

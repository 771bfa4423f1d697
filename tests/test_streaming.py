"""Fits to a store: what a fit in memory gives, from shards in files, whose model asks its histories on disk."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal
from strategies import (
    edges_and_states,
    edges_in_context_and_states,
    folded_pairs_and_states,
    pairs_and_states,
    sequences_and_states,
)

import hyperrec as hr
from hyperrec import storage, streaming
from hyperrec import store as stores
from hyperrec.assembly import Assembly, Settings, assemble
from hyperrec.roles import check_edges
from hyperrec.streaming import assemble_stored
from hyperrec.topics.shards import Edges, Pairs
from hyperrec.topics.state import State
from hyperrec.topics.statistics import Statistics
from hyperrec.topics.stored import StoredShard, mapped

FORMS: dict[str, dict[str, Any]] = {
    "mean": {},
    "mean in passes": {"context": hr.Mean(passes=1)},
    "recency": {"context": hr.Recency(0.3, pause=7200.0)},
    "two-sided": {"context": hr.TwoSided(0.3, 0.2, importance={"film-1": 0.0, "film-2": 3.0})},
    "window": {"context": hr.Window(2)},
    "mixture": {"context": hr.Mixture(hr.Recency(0.5), hr.Mean())},
    "container": {"context": None},
    "symmetric": {"container": None},
    "folded": {"context": hr.FoldIn(iterations=2)},
    "sparse": {"drop_below": 0.2},
}
WEIGHTS = {"watched": 1.0, "genre": 0.2, "watched_at": 0.1}


@pytest.fixture(scope="module")
def world(films: hr.Hypergraph) -> hr.Hypergraph:
    """`films`, the friends of their users, and users who watched nothing."""
    friends = pl.DataFrame({"user": [f"user-{k}" for k in range(150)], "user#2": [f"user-{k * 11 % 150}" for k in range(150)]})
    tables = {name: films.table(name) for name in films.edges}
    return hr.Hypergraph.from_frames(**tables, friends=friends)


@pytest.fixture(scope="module")
def folder(world: hr.Hypergraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of the world: `one` part, and `many`."""
    folder = tmp_path_factory.mktemp("stores")
    world.store(folder / "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "PART_EDGES", 400)
        assert len(world.store(folder / "many").firsts) > 5
    return folder


@given(pairs_and_states() | folded_pairs_and_states() | edges_and_states() | edges_in_context_and_states() | sequences_and_states())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_shard_in_a_file_counts_the_same(tmp_path_factory: pytest.TempPathFactory, case: tuple[Pairs | Edges, State]) -> None:
    shard, state = case
    stored = StoredShard.write(tmp_path_factory.getbasetemp() / "shard", shard)
    assert stored.n_contexts == shard.n_contexts
    assert_same_statistics(stored.expected_counts(state), shard.expected_counts(state))


def assert_same_statistics(a: Statistics, b: Statistics) -> None:
    for name, value in vars(b).items():
        np.testing.assert_array_equal(getattr(a, name), value)


def options_of(form: str) -> Settings:
    given: dict[str, Any] = {"container": "user", "context": hr.Mean(), **FORMS[form]}
    given.pop("drop_below", None)
    return {**given, "length_damping": 0.25, "context_exponent": 0.15}  # type: ignore[typeddict-item, return-value]


def fitted(form: str, graph: Any, edges: dict[str, float] | None = None) -> hr.TopicModel:
    options = {"edges": edges or WEIGHTS, "n_passes": 8, "seed": 1, **FORMS[form]}
    return hr.TopicModel(3, **options).fit(graph, progress=False)


@pytest.mark.parametrize("edges", [WEIGHTS, {"friends": 1.0, "watched": 2.0}, {"watched_at": 1.0}], ids=lambda e: " ".join(e))
@pytest.mark.parametrize("form", FORMS)
def test_the_problem_is_that_in_memory(
    form: str, edges: dict[str, float], world: hr.Hypergraph, folder: Path, tmp_path: Path
) -> None:
    options = options_of(form)
    whole = assemble(world, check_edges(world, edges, options["container"]), **options)
    stored = assemble_stored(hr.open_store(folder / "many"), edges, tmp_path, **options)
    for name in ("counts", "offsets", "sizes"):
        np.testing.assert_allclose(*([*one.values()] if isinstance(one, dict) else one for one in both(whole, stored, name)))
    for name in ("mass", "phi_weight"):
        a, b = both(whole.layout, stored.layout, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert whole.layout.exponents == stored.layout.exponents
    assert (whole.seen != stored.seen).nnz == 0
    for name in ("indptr", "vertices", "weight", "importance", "starts"):
        np.testing.assert_array_equal(*both(whole.history, stored.history, name))
    assert n_edges(whole) == n_edges(stored)


def both(a: Any, b: Any, name: str) -> tuple[Any, Any]:
    return getattr(a, name), getattr(b, name)


def n_edges(assembly: Assembly) -> int:
    read = [shard.read() if isinstance(shard, StoredShard) else shard for shard in assembly.shards]
    return sum(len(shard.history.vertices if isinstance(shard, Pairs) else shard.weight) for shard in read)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", FORMS)
def test_a_fit_is_that_in_memory(form: str, world: hr.Hypergraph, folder: Path) -> None:
    """Of the graph as it stands in the store: the same bits in one part, and but for float32 rounding in many."""
    in_memory = fitted(form, hr.open_store(folder / "one").read())
    one, many = (fitted(form, hr.open_store(folder / name)) for name in ("one", "many"))
    np.testing.assert_array_equal(in_memory.state.embedding, one.state.embedding)
    np.testing.assert_array_equal(in_memory.state.shares, one.state.shares)
    assert in_memory.history.equals(one.history)
    np.testing.assert_allclose(many.history["per_weight"], one.history["per_weight"], rtol=1e-5)
    np.testing.assert_allclose(many.state.embedding, one.state.embedding, atol=2e-3)
    np.testing.assert_allclose(many.n_v, one.n_v, rtol=1e-3)


@pytest.mark.parametrize("form", ["mean", "mixture", "symmetric"])
def test_the_same_bits_for_any_number_of_threads(form: str, folder: Path) -> None:
    before, embeddings = numba.get_num_threads(), []
    try:
        for n in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n)
            embeddings.append(fitted(form, hr.open_store(folder / "many")).state.embedding)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(embeddings[0], embeddings[-1])


def is_mapped(array: np.ndarray) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base  # type: ignore[assignment]
    return array is not None


def test_what_was_read_of_a_map_is_let_go(tmp_path: Path) -> None:
    """A saved map is as it was, and its pages are no longer resident; arrays that may have been written to are left alone."""
    n = 2**23
    for name in ("a", "b"):
        np.arange(n, dtype=np.int64).tofile(tmp_path / name)
    kept, written = mapped(tmp_path / "a", np.dtype(np.int64)), mapped(tmp_path / "b", np.dtype(np.int64), mode="c")
    written[3] = 7
    assert written.sum() == kept.sum() + 4
    before = resident()
    storage.write_arrays(tmp_path / "both", {"kept": kept, "written": written})
    assert resident() < before - 6 * n or not hasattr(mmap, "MADV_DONTNEED") or not before
    assert written[3] == 7
    found = safetensors.numpy.load_file(tmp_path / "both")
    np.testing.assert_array_equal(found["kept"], np.arange(n))
    np.testing.assert_array_equal(found["written"], written)


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    told = Path("/proc/self/statm")
    return int(told.read_text().split()[1]) * mmap.PAGESIZE if told.exists() else 0


@pytest.mark.parametrize("form", FORMS)
def test_asking_a_model_of_a_store(form: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories and seen items stay on disk, also of a loaded model; answers are those of the model in memory."""
    store = hr.open_store(folder / "one")
    in_memory, model = fitted(form, store.read()), fitted(form, store)
    assert not list(store.folder.glob(".fit-*"))
    users = ["user-3", "user-77", "user-5"]
    monkeypatch.setattr(storage, "MAPPED_FROM", 0)
    model.save(tmp_path / "model")
    in_memory.save(tmp_path / "in-memory")
    for one in (model, hr.load(tmp_path / "model")):
        assert is_mapped(one.seen.indices)
        assert not one.expressed or (is_mapped(one.histories.vertices) and is_mapped(one.histories.weight))
        assert_frame_equal(one.recommend(users, k=5), in_memory.recommend(users, k=5))
        assert_frame_equal(one.recommend(k=3), in_memory.recommend(k=3))
        assert str(one.explain("user-3", "film-1")) == str(in_memory.explain("user-3", "film-1"))
        np.testing.assert_array_equal(one.embedding("user"), in_memory.embedding("user"))
        assert_frame_equal(one.topics("user"), in_memory.topics("user"))
    arrays = safetensors.numpy.load_file(tmp_path / "model" / "arrays.safetensors")
    expected = safetensors.numpy.load_file(tmp_path / "in-memory" / "arrays.safetensors")
    expected = {name: array for name, array in expected.items() if not name.startswith("situated-")}  # of graphs in memory alone
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("form", ["mean", "recency", "container"])
def test_going_on_from_a_store(form: str, folder: Path, tmp_path: Path) -> None:
    store = hr.open_store(folder / "one")
    more = {"watched": pl.DataFrame({"user": ["user-1", "new"], "item": ["film-3", "film-4"], "time": [2e9, 2e9]})}
    in_memory, model = (fitted(form, graph).partial_fit(more) for graph in (store.read(), store))
    np.testing.assert_array_equal(in_memory.state.embedding, model.state.embedding)
    assert_frame_equal(in_memory.recommend(["user-1", "new"]), model.recommend(["user-1", "new"]))
    later = hr.Hypergraph.from_frames(**more).store(tmp_path / "later")
    again = fitted(form, store).partial_fit(later)
    np.testing.assert_array_equal(in_memory.state.embedding, again.state.embedding)


def test_users_that_the_store_is_not_sorted_by(world: hr.Hypergraph, tmp_path: Path) -> None:
    store = world.select("watched", "genre").store(tmp_path / "store", container="item")
    with pytest.raises(hr.ModelError) as caught:
        hr.TopicModel(3).fit(store)
    assert str(caught.value) == (
        f"{store.folder} is sorted by 'item', but the histories of this model are those of 'user': make the store with "
        "container='user', or choose other edges= or container=."
    )
    assert not list(store.folder.glob(".fit-*"))
    with pytest.raises(hr.ModelError, match="unknown edge type 'wached' in edges"):
        hr.TopicModel(3, edges={"wached": 1.0}).fit(store)


def test_a_disk_without_room_for_the_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming.StoredShard, "write", full)
    with pytest.raises(hr.ModelError, match=r"cannot write to .*\.fit-.*: No space left on device\. A fit lays out about"):
        fitted("mean", hr.open_store(folder / "many"))
    assert not list((folder / "many").glob(".fit-*"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_to(folder: Path) -> None:
    (folder / "many").chmod(0o555)
    try:
        assert fitted("mean", hr.open_store(folder / "many")).fitted
    finally:
        (folder / "many").chmod(0o755)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], films: hr.Hypergraph) -> None:
    from hyperrec.cli import main

    films.table("watched").write_parquet(tmp_path / "events.parquet")
    store, model = str(tmp_path / "store"), str(tmp_path / "model")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["store", "events", str(tmp_path), "--out", store])
    out, err = capsys.readouterr()
    assert out.strip() == store
    assert err.startswith(f"StoredHypergraph {store}, sorted by user, 1 parts\n  seen: ")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["fit", store, "--out", model, "--topics", "3", "--passes", "3"])
    assert capsys.readouterr().out.strip() == model
    expected = hr.TopicModel(3, "user", n_passes=3).fit(hr.open_store(store), progress=False)
    np.testing.assert_array_equal(hr.load(model).state.embedding, expected.state.embedding)


@pytest.mark.parametrize(("arguments", "message"), [
    (["fit", "movielens-100", "--out", "model"], "movielens-100 does not exist: give the folder of a store"),
    (["store", "events", ".", "--out", "full"], "full exists and holds what is not of a hyperrec store (x)"),
    (["store", "events", ".", "--out", "new"], "no file matches 'events.*'"),
])  # fmt: skip
def test_commands_refuse(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyperrec.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_real_log_by_user(data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All edge types of MovieLens-100K, in 7 parts."""
    monkeypatch.setattr(stores, "PART_EDGES", 30_000)
    store = hr.write_store("movielens-100k", data("movielens-100k"), tmp_path / "store")
    in_memory, model = (hr.TopicModel(20, n_passes=5).fit(graph, progress=False) for graph in (store.read(), store))
    np.testing.assert_allclose(model.history["per_weight"], in_memory.history["per_weight"], rtol=1e-6)
    np.testing.assert_allclose(model.state.embedding, in_memory.state.embedding, atol=1e-3)

"""Checkpoints: a fit that is killed at any moment ends with the bits of one that never was; what does not fit is refused."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import killed
import numba
import numpy as np
import pytest
from killed import FORMS, MOMENTS, bits, fit

import hyperrec as hr
from hyperrec import checkpoint
from hyperrec.topics import em
from hyperrec.topics.state import State
from hyperrec.topics.statistics import Statistics

FILE = "checkpoint.safetensors"


def refusal(folder: Path, **parameters: Any) -> str:
    with pytest.raises(hr.ModelError) as caught:
        hr.TopicModel(**{"n_topics": 5, "n_passes": 3, **parameters}).fit(killed.frames(), progress=False, checkpoint=folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Of many short fits beside other tests, two threads would wait for each other most of the time."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of a checkpoint of a fit of three passes."""
    hr.TopicModel(5, n_passes=3).fit(killed.frames(), progress=False, checkpoint=tmp_path / "kept")
    return tmp_path / "kept"


# ------------------------------------------------------------------------------------------------- killed


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_any_moment_and_started_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Half of the kills come at a moment of the loop or of the writing, the others at a time; 4 or more for each form."""
    rng = np.random.default_rng(2)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hyperrec.model"])
    moments: Counter[str] = Counter()
    timed = 0
    for form in FORMS:
        wanted, every, n_killed = bits(fit(form)), int(rng.integers(1, 3)), 0
        for attempt in itertools.count():
            folder = tmp_path / f"{form}-{attempt}"
            for life in itertools.count():
                ready = context.Event()
                moment = str(rng.choice(list(MOMENTS))) if life % 2 == 0 else None
                task = (form, str(folder), every, moment, int(rng.integers(1, 17)), ready)
                process = context.Process(target=killed.run, args=task)
                process.start()
                if moment is None and ready.wait(60):
                    process.join(float(rng.uniform(0, 0.2)))
                    process.kill()
                process.join(60)
                if process.exitcode != -signal.SIGKILL:
                    break
                n_killed += 1
                moments[moment or "by time"] += 1
                timed += moment is None and (folder / FILE).exists()
            assert process.exitcode == 0
            assert bits(fit(form, checkpoint=folder, every=every)) == wanted
            if n_killed >= 4:
                break
    assert moments.total() >= 20
    assert moments["in the draft"]
    assert moments["before the rename"]
    assert timed


@pytest.mark.parametrize("form", FORMS)
def test_from_every_pass_the_same_bits(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, write, files = bits(fit(form)), checkpoint.Checkpoint.write, []

    def keep(self: checkpoint.Checkpoint, now: em.Progress) -> None:
        write(self, now)
        files.append(shutil.copytree(tmp_path / "kept", tmp_path / f"{len(now.history)}-{len(files)}"))

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.Checkpoint, "write", keep)
        assert bits(fit(form, checkpoint=tmp_path / "kept", every=1)) == wanted
    history = fit(form).history
    assert len(files) == history.height > 10
    assert history["stepped_back"][:-1].any() == (form != "online")
    for folder in files:
        assert bits(fit(form, checkpoint=folder)) == wanted


@pytest.mark.parametrize("with_best", [True, False])
def test_all_that_the_loop_carries_comes_back(with_best: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)

    def state() -> State:
        return State(*(rng.random(shape).astype(np.float32) for shape in ((5, 3), (3,), (5, 3))), rng.random(2))

    counts = Statistics(rng.random((5, 3)).astype(np.float32), rng.random(3), rng.random(2), -0.1 * rng.random(), 7, rng.random())
    row: em.Row = {"pass": 1, "per_weight": 1 / 3, "stepped_back": True}
    best = (state(), counts) if with_best else None
    gain = rng.random() if with_best else -np.inf
    now = em.Progress(state(), best, 1.7, gain, [row, row], rng.random(5) < 0.5, rng.random(5), 3, with_best)
    kept = checkpoint.Checkpoint.of(tmp_path / "new" / "folder", {}, [])
    assert kept.read() is None
    kept.write(now)
    again = kept.read()
    assert again
    assert vars(again).keys() == vars(now).keys()
    assert checkpoint.digest(again) == checkpoint.digest(now)
    assert again.gain == now.gain
    assert os.listdir(kept.path.parent) == [FILE]


def test_what_is_finished_is_not_done_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(em, "e_step", None)
    assert hr.TopicModel(5, n_passes=3).fit(killed.frames(), progress=False, checkpoint=kept).history.height == 3


def test_every_so_many_passes_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, bool]] = []
    monkeypatch.setattr(checkpoint.Checkpoint, "write", lambda _, now: written.append((len(now.history), now.done)))
    hr.TopicModel(5, n_passes=10, tolerance=0).fit(killed.frames(), progress=False, checkpoint=tmp_path, every=4)
    assert written == [(4, False), (8, False), (10, True)]


# ------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"n_topics": 6}, "n_topics 5 there, 6 here"),
        ({"n_passes": 4, "seed": 1}, "seed 0 there, 1 here, n_passes 3 there, 4 here"),
        ({"edges": {"watched": 1.0}}, "edges {'watched': 1.0, 'at': 1.0, 'genre': 1.0} there, {'watched': 1.0} here"),
        ({"online": hr.Online(rate=1)}, "online None there, {'batch_size': 128, 'kappa': 0.3, 'tau0': 1.0, 'rate': 1} here"),
        ({"context": None}, "context {'kind': 'Mean', 'passes': 0} there, None here"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_fit(parameters: dict[str, Any], told: str, kept: Path) -> None:
    before = (kept / FILE).read_bytes()
    wanted = f"{kept / FILE} is of another fit ({told}). Delete it to begin this fit, or choose another folder."
    assert refusal(kept, **parameters) == wanted
    assert (kept / FILE).read_bytes() == before


def test_options_of_lists_alone_do_not_make_another_fit(kept: Path) -> None:
    other = hr.TopicModel(5, n_passes=3, history_prior=3, popularity_exponent=-0.1)
    other.fit(killed.frames(), progress=False, checkpoint=kept)
    assert np.array_equal(other.state.lift, hr.TopicModel(5, n_passes=3).fit(killed.frames(), progress=False).state.lift)


def test_a_checkpoint_of_other_edges(kept: Path) -> None:
    frames = killed.frames()
    frames["watched"] = frames["watched"].with_columns(item=frames["watched"]["item"].reverse())
    with pytest.raises(hr.ModelError, match=r"is of another fit \(other edges\)\. Delete it"):
        hr.TopicModel(5, n_passes=3).fit(frames, progress=False, checkpoint=kept)


@pytest.mark.parametrize("damage", ["cut", "bit in an array", "bit in the header", "empty", "text", "folder"])
def test_a_damaged_checkpoint(damage: str, kept: Path) -> None:
    path = kept / FILE
    raw = bytearray(path.read_bytes())
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        raw[-50] ^= 1
        at = raw.index(b"n_degenerate")
        changed = {
            "cut": raw[: len(raw) // 2], "empty": b"", "text": b"not a checkpoint at all", "bit in an array": raw,
            "bit in the header": raw[:at] + raw[at : at + 20].replace(b"0", b"1") + raw[at + 20 :],
        }  # fmt: skip
        path.write_bytes(changed[damage])
    assert refusal(kept) == (
        f"{path} is no checkpoint that can be read: truncated, edited, or of another version. Delete it to begin the fit again."
    )


@pytest.mark.parametrize("target", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_fit(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(em, "fit", None)
    message = refusal(tmp_path / target)
    assert message.startswith(f"cannot write checkpoints to {tmp_path / target}: ")
    assert message.endswith("Choose another folder.")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_read_only_is_refused_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(em, "fit", None)
    monkeypatch.setattr(Path, "touch", refused)  # root may write anywhere
    assert refusal(tmp_path) == f"cannot write checkpoints to {tmp_path}: Permission denied. Choose another folder."


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file size")
def test_a_full_disk_leaves_the_last_checkpoint(kept: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for the full disk."""
    script = """
import resource, sys
import killed, hyperrec as hr
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    hr.TopicModel(5, n_passes=3).fit(killed.frames(), progress=False, checkpoint=sys.argv[1], every=1)
except hr.ModelError as error:
    print(error)
"""
    folder = tmp_path / "full"
    path = [str(Path(killed.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot write {folder / FILE}: ")
    assert done.stdout.endswith("Make room and fit again: it goes on from the last checkpoint.\n")
    assert not (folder / FILE).exists()


def test_every_is_a_number(tmp_path: Path) -> None:
    with pytest.raises(hr.ModelError, match="every must be a whole number, 1 or more; got 0"):
        hr.TopicModel(2).fit(killed.frames(), checkpoint=tmp_path, every=0)

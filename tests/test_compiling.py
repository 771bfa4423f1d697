"""Kernels run what is stored in numba's cache: the process that compiles them has the bits of later ones."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FITS = """
import hashlib, hyperrec as hr, numpy as np, polars as pl
rng = np.random.default_rng(0)
frame = pl.DataFrame({"document": rng.integers(90, size=4000), "word": rng.integers(150, size=4000)})
for context in (hr.Mean(), hr.TwoSided(0.1, 0.1), hr.FoldIn(3)):
    model = hr.TopicModel(100, "document", context=context, n_passes=5).fit(frame, progress=False)
    print(hashlib.sha256(model.state.embedding.tobytes()).hexdigest())
"""
NOTICE = "compiling the kernels, once after an install or an update"
TWICE = """
from hyperrec.topics.kernels import kernel

@kernel(parallel=False)
def twice(values):
    for i in range(len(values)):
        values[i] *= 2
"""


def test_the_process_that_compiles_gets_the_bits_of_later_ones(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", FITS], env=environment, capture_output=True, text=True, check=True) for _ in range(2)
    )
    assert first.stderr.count(NOTICE) == 1
    assert NOTICE not in second.stderr
    assert first.stdout == second.stdout
    assert len(set(first.stdout.split())) == 3


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A kernel that nobody has compiled."""
    (tmp_path / "kernel_of_a_test.py").write_text(TWICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "kernel_of_a_test", raising=False)
    return importlib.import_module("kernel_of_a_test").twice


def test_another_process_compiles(twice: Any) -> None:
    values = np.arange(3.0)
    twice(values)
    twice(values[:2])
    assert values.tolist() == [0, 4, 4]
    stats = twice._made.stats
    assert sum(stats.cache_hits.values()) == 1  # read, not compiled, here
    assert [*Path(stats.cache_path).glob("kernel_of_a_test.twice-*.nbc")]


def test_where_no_process_can_be_started(twice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr(subprocess, "run", refuse)
    values = np.arange(3, dtype=np.float32)
    twice(values)
    assert values.tolist() == [0, 2, 4]

"""What a start costs: `import hyperrec` imports nothing heavy, and a first call that compiles says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hyperrec as hr

HEAVY = ("cyclopts", "faiss", "numba", "numpy", "polars", "pydantic", "safetensors", "scipy", "tqdm")


def python(code: str, **environment: str) -> tuple[str, str]:
    """(stdout, stderr) of a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("first", "absent"),
    [
        ("import hyperrec", HEAVY),
        ("import hyperrec.cli", tuple(name for name in HEAVY if name != "cyclopts")),
        ("from hyperrec import TopicModel", ("faiss", "pydantic", "tqdm")),
    ],
)
def test_imports_wait_until_they_are_needed(first: str, absent: tuple[str, ...]) -> None:
    found, _ = python(f"{first}; import sys; print(*sys.modules)")
    assert not set(absent) & set(found.split())


def test_every_public_name_is_there() -> None:
    names, _ = python("import hyperrec as hr; print(*dir(hr)); assert all(getattr(hr, name) for name in hr.__all__)")
    assert set(hr.__all__) <= set(names.split())


def test_no_public_name_is_that_of_a_module() -> None:
    """Importing the module would put it in the name's place; two names are those modules."""
    modules = {path.stem for path in Path(hr.__file__).parent.iterdir()}
    assert modules & set(hr.__all__) == {"report", "text"}
    assert hr.text.__name__ == "hyperrec.text"
    assert hr.report.__name__ == "hyperrec.report"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hyperrec' has no attribute 'TopcModel'"):
        hr.TopcModel  # noqa: B018


def test_the_first_call_says_that_it_compiles_and_the_second_does_not(tmp_path: Path) -> None:
    m_step = """
import numpy as np
from hyperrec.topics.kernels.tables import maximize
counts, new, empty = np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), np.zeros(2, bool)
for _ in range(2):
    maximize(counts, counts, np.float32(1), counts[0], np.float32(0), new, empty)
print(new.sum())
"""
    first = python(m_step, NUMBA_CACHE_DIR=str(tmp_path))
    assert first == ("2.0\n", "hyperrec: compiling the kernels, once after an install or an update (up to half a minute) ...\n")
    assert python(m_step, NUMBA_CACHE_DIR=str(tmp_path)) == ("2.0\n", "")

"""A fit with checkpoints that kills its own process at a given moment; `run` is the target of a child process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl

import hyperrec as hr
from hyperrec import checkpoint
from hyperrec.topics import em

FORMS: dict[str, dict[str, Any]] = {
    "mean": {},
    "mixture": {"context": hr.Mixture(hr.Recency(0.5), hr.Mean(), passes=1)},
    "container": {"context": None},
    "symmetric": {"container": None},
    "sparse": {"n_topics": 30, "drop_below": 0.3},
    "online": {"online": hr.Online(batch_size=16)},
}
"""Pairs in their mean, longer edges in a context with learned shares, and edges without any; each has genres beside. Sparse: a
few of the entries, which the E-step then goes through one by one."""


def frames() -> dict[str, pl.DataFrame]:
    """Three kinds of users and of items, so plain that a fit comes to its end, and steps back there."""
    rng = np.random.default_rng(11)
    user, anything = rng.integers(40, size=500), rng.integers(30, size=500)
    item = np.where(rng.random(500) < 0.1, anything, anything // 3 * 3 + user % 3)
    watched = pl.DataFrame({"user": user, "item": item, "time": np.arange(500)})
    genre = pl.DataFrame({"item": np.arange(30), "genre": np.arange(30) % 4})
    return {"watched": watched, "at": watched.with_columns(hour=item % 3).head(300), "genre": genre}


def fit(form: str, **options: Any) -> hr.TopicModel:
    parameters = {"n_topics": 5, "n_passes": 40, "tolerance": 0, "over_relaxation": 1.99, **FORMS[form]}
    return hr.TopicModel(**parameters).fit(frames(), progress=False, **options)


def bits(model: hr.TopicModel) -> tuple[bytes | str | float, ...]:
    state = model.state
    arrays = (state.embedding, state.prior, state.lift, state.shares, model.n_v)
    return (*(one.tobytes() for one in arrays), model.weight, model.history.write_json(), str(model.degenerate))


def _cut_short(_: dict[str, np.ndarray], draft: Path, *__: Any) -> None:
    os.truncate(draft, draft.stat().st_size // 2)


MOMENTS: dict[str, tuple[Any, str, bool]] = {
    "before the E-step": (em, "e_step", True),
    "before the M-step": (em, "m_step", True),
    "before the draft": (checkpoint, "save_file", True),
    "in the draft": (checkpoint, "save_file", False),
    "before the rename": (os, "replace", True),
    "after the rename": (os, "replace", False),
}
"""moment: the function, and whether the process ends before it or after it."""


def arm(moment: str, count: int) -> None:
    """Let this process be killed at the moment when it comes for the count-th time."""
    where, name, before = MOMENTS[moment]
    real: Callable[..., Any] = getattr(where, name)
    left = count

    def doomed(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        result = None if before and not left else real(*arguments)
        if not left:
            if moment == "in the draft":
                _cut_short(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(where, name, doomed)


def run(form: str, folder: str, every: int, moment: str | None, count: int, ready: Any) -> None:
    numba.set_num_threads(1)  # two threads of many processes wait for each other most of the time
    if moment:
        arm(moment, count)
    e_step = em.e_step

    def told(*arguments: Any) -> Any:
        ready.set()
        return e_step(*arguments)

    em.e_step = told
    fit(form, checkpoint=folder, every=every)

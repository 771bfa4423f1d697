"""The scoreboard: every situation with its peers, each table in a block of a Markdown page, written as its rows come."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hyperrec.benchmark.search import Measured, run, short
from hyperrec.benchmark.situations import SITUATIONS, Situation
from hyperrec.benchmark.splitting import SEED
from hyperrec.benchmark.tables import markdown, table
from hyperrec.benchmark.task import Task
from hyperrec.datasets import locate
from hyperrec.errors import DataError, ModelError, did_you_mean, listed
from hyperrec.logs import read_logs


def scoreboard(
    data: Path | None = None,
    *,
    trials: int = 40,
    only: Sequence[str] = (),
    seed: int = SEED,
    write: Callable[[str, str], None] | None = None,
) -> None:
    """Run situations, all by default, and write the table of each whenever a row is added to it.

    Parameters
    ----------
    data : the folder of the data sets; $HYPERREC_DATA by default.
    only : names of situations, or their beginnings: 'warm', 'next-movielens-1m'.
    seed : of the drawn options; the splits have one of their own.
    write : takes the name of a block and its text; by default a finished block is printed.

    Raises
    ------
    ModelError : trials below 1, an unknown name in only. DataError : a data set is not there.
    """
    if trials < 1:
        raise ModelError(f"trials must be 1 or more; got {trials}.")
    for situation in chosen(only):
        graph = read_logs(situation.data, locate(situation.data, data))
        tasks = situation.split(graph)
        results: list[Measured] = []
        text = ""
        for result in run(tasks, situation.candidates, situation.metrics, trials=trials, seed=seed):
            results.append(result)
            text = block(situation, results, tasks[-1], trials, seed)
            if write:
                write(f"scoreboard-{situation.name}", text)
        if not write:
            print(text, flush=True)


def chosen(only: Sequence[str]) -> list[Situation]:
    """The situations of these names or beginnings of names. Raises ModelError where one is of none."""
    for name in only:
        if not any(_called(one, name) for one in SITUATIONS):
            names = [one.name for one in SITUATIONS]
            raise ModelError(f"no situation is called '{name}'; there are {listed(names, most=40)}.{did_you_mean(name, names)}")
    return [one for one in SITUATIONS if not only or any(_called(one, name) for name in only)]


def _called(situation: Situation, name: str) -> bool:
    return situation.name == name or situation.name.startswith(f"{name}-")


def block(situation: Situation, results: Sequence[Measured], test: Task, trials: int, seed: int) -> str:
    """The table of a situation under its name, whole or so far, and how it was made."""
    absent = {one.name: reason for one in situation.candidates if (reason := one.absent(test))}
    done = {one.name for one in results}
    to_come = [one.name for one in situation.candidates if one.name not in done and one.name not in absent]
    n_users, n_lists = len(np.unique(test.users)), len(test.users)
    lists = f", {n_lists:,} lists" if n_lists > n_users else ""
    note = (
        f"{situation.data}: {situation.protocol}. {n_users:,} users{lists}; {trials} trials for each model that has options, half "
        f"of them random and the others near the best, for {short(situation.metrics[0])}, seed {seed}; 95 % intervals by bootstrap "
        "over users, differences paired."
    )
    if absent:
        note += f" Left out: {'; '.join(f'{name}: {reason}' for name, reason in absent.items())}."
    if to_come:
        note += f" Not yet measured: {', '.join(to_come)}."
    return f"### {situation.name}\n\n{markdown(table(results, situation.metrics))}\n\n{note}\n"


def put(page: Path, name: str, text: str) -> None:
    """Replace the block of that name in a Markdown page, or add it: after the last one with the same beginning of its name, up to
    the hyphen, or else at the end. The page is written whole or not at all."""
    begin, end = f"<!-- benchmark:{name} begin -->\n", f"<!-- benchmark:{name} end -->\n"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    head, found, rest = old.partition(begin)
    if found and end not in rest:
        raise DataError(f"{page}: the block benchmark:{name} begins and has no end; add the line {end.strip()}")
    tail = rest.partition(end)[2]
    if not found:
        family = re.escape(name.partition("-")[0])
        ends = [one.end() for one in re.finditer(rf"<!-- benchmark:{family}(-[^ ]+)? end -->\n", old)]
        at = ends[-1] if ends else len(old)
        head, tail = old[:at] + ("\n" if at else ""), old[at:]
    draft = page.with_name(f".{page.name}-{os.getpid()}")
    try:
        draft.write_text(head + begin + text + end + tail, encoding="utf-8")
        draft.replace(page)
    except OSError as error:
        raise DataError(f"{page}: cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)

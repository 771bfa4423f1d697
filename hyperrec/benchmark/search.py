"""Search on validation, the same number of trials for every model; the best of each measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hyperrec.benchmark.task import Task
from hyperrec.evaluation import BATCH, Evaluation, Recommender
from hyperrec.peers import rank

Options = Mapping[str, Any]
HELD = 2 / 3  # of the options of the best trial so far, in each of the second half
TOGETHER = {"regularization": "alpha"}  # option -> one that it is drawn with, where both are there
SHORT = {"ndcg": "NDCG", "hit_rate": "HR", "recall": "Recall"}
SMALL = {"n_topics": 8, "factors": 8, "no_components": 8, "n_passes": 4, "epochs": 1}  # options of a fit that only warms up


class Ranker(Protocol):
    """A fitted model: item rows (Q, k) for the queries of a task, best first, -1 where there are no more."""

    def rank(self, task: Task, k: int) -> np.ndarray: ...


@dataclass(frozen=True)
class ByRows:
    """Anything with recommend_rows, asked for the users of the queries."""

    model: Recommender

    def rank(self, task: Task, k: int) -> np.ndarray:
        seen = task.seen
        return np.concatenate(
            [self.model.recommend_rows(task.users[one], k, seen[one] if seen is not None else None)[0] for one in batches(task)]
        )


class Scored:
    """A ranker by scores of the queries' users for the items that may be listed."""

    def scores(self, task: Task, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, m) for the rows of n queries and of m items."""
        raise NotImplementedError

    def rank(self, task: Task, k: int) -> np.ndarray:
        items = task.among if task.among is not None else np.arange(task.n_items)
        found = []
        for queries in batches(task):
            seen = task.seen[queries][:, items] if task.seen is not None else None
            rows, _ = rank(self.scores(task, queries, items), k, seen)
            found.append(np.append(items, -1)[rows])
        return np.concatenate(found)


def batches(task: Task) -> list[np.ndarray]:
    rows = np.arange(len(task.users))
    return np.split(rows, range(BATCH, len(rows), BATCH))


def nothing(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """There is nothing to tune."""
    return {}


def always(task: Task) -> str:
    return ""


@dataclass(frozen=True)
class Candidate:
    """A model of a situation: how it is fitted with options, how these are drawn, and why it is absent from a task, if it is.

    The functions are of some module, or partials of such: a process of its own must find them.
    """

    name: str
    fit: Callable[[Task, Options], Ranker]
    draw: Callable[[np.random.Generator, Task], dict[str, Any]] = nothing
    absent: Callable[[Task], str] = always


@dataclass(frozen=True)
class Measured:
    """One model on the test task: part -> evaluation; seconds of its fit, peak MiB of its process, lists a second."""

    name: str
    options: Options
    validation: float
    evaluations: Mapping[str, Evaluation]
    fit_cpu: float
    fit_wall: float
    peak_mib: float
    lists_per_second: float

    @property
    def evaluation(self) -> Evaluation:
        """That of the only part, or of the first."""
        return next(iter(self.evaluations.values()))


def run(
    tasks: Sequence[Task], candidates: Sequence[Candidate], metrics: Sequence[str], *, trials: int, seed: int
) -> Iterator[Measured]:
    """Tune each candidate for the first of the metrics on the validation tasks, then measure its best on the last one, the test."""
    *validation, test = tasks
    for candidate in candidates:
        if reason := candidate.absent(test):
            say(f"{candidate.name} is left out: {reason}")
            continue
        options, value = best(candidate, validation, metrics[0], trials, seed)
        yield apart(candidate, options, value, test, metrics)


def best(candidate: Candidate, tasks: Sequence[Task], metric: str, trials: int, seed: int) -> tuple[dict[str, Any], float]:
    """The options with the highest metric, its mean over the tasks, and that; nothing is fitted where there is nothing to tune.

    Half of the trials are drawn at random, the others near the best so far.
    """
    rng, held = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    chosen, best_value = candidate.draw(np.random.default_rng(seed), tasks[0]), -1.0
    k = int(metric.partition("@")[2])
    for number in range(trials if chosen else 0):
        options = candidate.draw(rng, tasks[0])
        if 2 * number >= trials:
            options = near(chosen, options, held)
        start = time.perf_counter()
        value = float(np.mean([task.value(candidate.fit(task, options).rank(task, k), metric) for task in tasks]))
        seconds = time.perf_counter() - start
        say(
            f"{candidate.name}, trial {number + 1} of {trials}: validation {short(metric)} {value:.4f} ({told(options)}; "
            f"{seconds:.1f} s)"
        )
        if value > best_value:
            chosen, best_value = options, value
    return chosen, best_value


def near(best: Options, drawn: Options, rng: np.random.Generator) -> dict[str, Any]:
    """The options of the best, but for some, one at least: those are as drawn, and numbers halfway to it."""
    groups = {name: other if (other := TOGETHER.get(name, name)) in drawn else name for name in drawn}
    names = sorted({*groups.values()})
    kept = {name for name in names if rng.random() < HELD} - {names[int(rng.integers(len(names)))]}
    moved = {name: _halfway(best.get(name), value) for name, value in drawn.items()}
    return {name: best.get(name, value) if groups[name] in kept else moved[name] for name, value in drawn.items()}


def _halfway(best: Any, drawn: Any) -> Any:
    """Between two floats, on a log scale where both are above 0; other options have no middle and are as drawn."""
    if not (isinstance(best, float) and isinstance(drawn, float)):
        return drawn
    middle = (best * drawn) ** 0.5 if min(best, drawn) > 0 else (best + drawn) / 2
    return float(f"{middle:.3g}")


def apart(*measuring: Any) -> Measured:
    """`measured` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, *measuring).result()


def measured(candidate: Candidate, options: Options, value: float, task: Task, metrics: Sequence[str]) -> Measured:
    """Fit and measure, after a small fit that loads and compiles what is needed."""
    lengths = sorted({int(metric.partition("@")[2]) for metric in metrics})
    few = task.small()
    candidate.fit(few, {name: min(one, SMALL[name]) if name in SMALL else one for name, one in options.items()}).rank(few, 2)
    wall, cpu = time.perf_counter(), time.process_time()
    ranker = candidate.fit(task, options)
    fit_wall, fit_cpu = time.perf_counter() - wall, time.process_time() - cpu
    evaluations = task.evaluate(candidate.name, ranker.rank(task, lengths[-1]), lengths)
    wall = time.perf_counter()
    ranker.rank(task, lengths[-1])
    speed = len(task.users) / (time.perf_counter() - wall)
    return Measured(candidate.name, options, value, evaluations, fit_cpu, fit_wall, _peak_mib(), speed)


def _peak_mib() -> float:
    """The most memory that this process has held."""
    if (status := Path("/proc/self/status")).exists():  # getrusage of a child starts from its parent's peak there
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def short(metric: str) -> str:
    """'ndcg@10' as tables name it."""
    name, _, length = metric.partition("@")
    return f"{SHORT[name]}@{length}"


def told(options: Options) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

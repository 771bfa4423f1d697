"""hyperrec as it stands in each situation, and how its options are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from hyperrec.benchmark.search import ByRows, Candidate, Options
from hyperrec.benchmark.task import Task
from hyperrec.model import TopicModel
from hyperrec.topics.contexts import Recency


def draw_warm(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        "n_topics": min(int(rng.choice([200, 400, 800, 1600, 3200])), task.n_items),
        "n_passes": int(rng.integers(20, 101)),
        "length_damping": round(float(rng.uniform(0, 0.5)), 3),
    }


def draw_next(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        "n_topics": min(int(rng.choice([200, 400, 800])), task.n_items),
        "n_passes": int(rng.integers(8, 41)),  # more of them overfit
        "length_damping": round(float(rng.uniform(0, 0.5)), 3),
        "gamma": round(float(rng.uniform(0.2, 0.7)), 3),
    }


def fit_warm(task: Task, options: Options) -> ByRows:
    return ByRows(_fitted(task, {task.edge_type: 1.0}, options))


def fit_next(task: Task, options: Options) -> ByRows:
    rest = dict(options)
    return ByRows(_fitted(task, {task.edge_type: 1.0}, {"context": Recency(rest.pop("gamma")), **rest}))


def _fitted(task: Task, edges: dict[str, float], options: Options) -> TopicModel:
    return TopicModel(container=task.user, edges=edges, **options).fit(task.train, progress=False)


WARM = Candidate("hyperrec", fit_warm, draw_warm)
NEXT = Candidate("hyperrec", fit_next, draw_next)

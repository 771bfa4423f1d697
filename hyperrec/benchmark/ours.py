"""hyperrec as it stands in each situation, and how its options are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hyperrec.benchmark.search import ByRows, Candidate, Options, batches
from hyperrec.benchmark.task import Task
from hyperrec.model import TopicModel
from hyperrec.topics.contexts import Recency


@dataclass(frozen=True)
class InContext:
    """A model asked in the context of each query, among the items that may be listed."""

    model: TopicModel

    def rank(self, task: Task, k: int) -> np.ndarray:
        return np.concatenate([self._ranked(task, k, rows) for rows in batches(task)])

    def _ranked(self, task: Task, k: int, rows: np.ndarray) -> np.ndarray:
        seen = task.seen[rows] if task.seen is not None else None
        given = {modality: contexts[rows] for modality, contexts in (task.given or {}).items()}
        return self.model.recommend_rows(task.users[rows], k, seen, given=given, among=task.among)[0]


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


def draw_context(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        "n_topics": min(int(rng.choice([100, 200, 400])), task.n_items),
        "n_passes": int(rng.integers(20, 81)),
        "length_damping": round(float(rng.uniform(0, 0.5)), 3),
        "context_exponent": round(float(rng.uniform(0, 0.5)), 3),
        "tau": float(f"{10 ** rng.uniform(-2, 0):.3g}"),
    }


def draw_cold_items(rng: np.random.Generator, task: Task, *, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The weights of the attributes of items are drawn under the names of their edge types."""
    return {
        "n_topics": min(int(rng.choice([100, 200, 400])), task.n_items),
        "n_passes": int(rng.integers(15, 61)),
        "length_damping": round(float(rng.uniform(0, 0.5)), 3),
        **{kind: float(f"{10 ** rng.uniform(-2, 0):.3g}") for kind in kinds},
    }


def fit_warm(task: Task, options: Options) -> ByRows:
    return ByRows(_fitted(task, {task.edge_type: 1.0}, options))


def fit_next(task: Task, options: Options) -> ByRows:
    rest = dict(options)
    return ByRows(_fitted(task, {task.edge_type: 1.0}, {"context": Recency(rest.pop("gamma")), **rest}))


def fit_context(task: Task, options: Options, *, accompanied: str) -> InContext:
    """accompanied: the edge type of users, items and contexts."""
    rest = dict(options)
    edges = {task.edge_type: 1.0, accompanied: rest.pop("tau")}
    return InContext(_fitted(task, edges, rest))


def fit_with(task: Task, options: Options, *, kinds: tuple[str, ...]) -> InContext:
    """kinds: more edge types of the model, whose weights are among the options."""
    rest = dict(options)
    edges = {task.edge_type: 1.0, **{kind: rest.pop(kind) for kind in kinds}}
    return InContext(_fitted(task, edges, rest))


def _fitted(task: Task, edges: dict[str, float], options: Options) -> TopicModel:
    return TopicModel(container=task.user, edges=edges, **options).fit(task.train, progress=False)


WARM = Candidate("hyperrec", fit_warm, draw_warm)
NEXT = Candidate("hyperrec", fit_next, draw_next)


def of_attributes(*kinds: str) -> Candidate:
    """Cold items by these edge types."""
    return Candidate("hyperrec", partial(fit_with, kinds=kinds), partial(draw_cold_items, kinds=kinds))


CONTEXT = Candidate("hyperrec", partial(fit_context, accompanied="used_in"), draw_context)

"""hyperrec as it stands in each situation, and how its options are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.attributes import Attributes
from hyperrec.benchmark.candidates import OF_NEW_APPS, draw_weights
from hyperrec.benchmark.search import ByRows, Candidate, Options, batches
from hyperrec.benchmark.task import Task
from hyperrec.model import TopicModel
from hyperrec.neighbours import Neighbours
from hyperrec.topics.contexts import Recency

OF_NEIGHBOURS = ("regularization", "exponent", "sharpness", "share", "kept", "gamma", "weight_exponent")


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


@dataclass(frozen=True)
class OfTold:
    """A model asked for users by what is told of them and nothing else: some items, and attributes by edges of these kinds."""

    model: TopicModel
    kinds: tuple[str, ...]

    def rank(self, task: Task, k: int) -> np.ndarray:
        told = task.told if task.told is not None else task.pairs[task.users]
        seen = task.seen if task.seen is not None else sp.csr_matrix(told.shape, dtype=np.float32)
        histories = self._histories(task, told)
        ranked = np.full((len(task.users), k), -1)
        silent = np.setdiff1d(np.arange(len(task.users)), histories["user"])
        ranked[silent] = self.model.recommend_rows(task.users[silent], k, seen[silent])[0]
        # what is seen but not told has to be left out here
        more = k + int(np.diff(seen.indptr).max())
        found = self.model.recommend(histories=histories, k=min(more, task.n_items))
        asked, rows = found["user"].to_numpy(), self.model.vocabularies[task.item].encode(found["item"])
        new = ~np.asarray(seen[asked, rows]).ravel().astype(bool)
        asked, rows = asked[new], rows[new]
        place = np.arange(len(asked)) - np.searchsorted(asked, asked)
        ranked[asked[place < k], place[place < k]] = rows[place < k]
        return ranked

    def _histories(self, task: Task, told: sp.csr_matrix) -> pl.DataFrame:
        """A row for each item that is told, and for each attribute; users are numbered as the queries are."""
        queries = np.arange(len(task.users))
        items = self.model.vocabularies[task.item].decode(told.indices)
        parts = [pl.DataFrame({"user": np.repeat(queries, np.diff(told.indptr)), "item": items})]
        asked = pl.DataFrame({"user": queries, "id": task.train.vocabulary(task.user).decode(task.users)})
        for kind in self.kinds:
            table = task.train.table(kind)
            attribute = next(one for one in task.train.edge_table(kind).modalities if one != task.user)
            known = asked.join(table.select(id=task.user, **{attribute: attribute}), on="id", maintain_order="left")
            parts.append(known.select("user", attribute))
        return pl.concat(parts, how="diagonal_relaxed").sort("user", maintain_order=True)


def _draw_within(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


def _draw_power(rng: np.random.Generator, low: float, high: float) -> float:
    """10 to a power from low to high."""
    return float(f"{10 ** rng.uniform(low, high):.3g}")


def _draw_topics(rng: np.random.Generator, task: Task, n_topics: list[int], n_passes: tuple[int, int]) -> dict[str, Any]:
    """What every model has: n_topics is one of these, n_passes from the first to the last."""
    return {
        "n_topics": min(int(rng.choice(n_topics)), task.n_items),
        "n_passes": int(rng.integers(*n_passes, endpoint=True)),
        "length_damping": _draw_within(rng, 0, 0.7),
    }


def _draw_neighbours(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "regularization": _draw_power(rng, 2, 3.3),
        "share": _draw_within(rng, 0.2, 0.7),
        "kept": int(rng.choice([100, 300, 1000])),
    }


def draw_warm(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        **_draw_topics(rng, task, [200, 400], (20, 80)),
        "regularization": _draw_power(rng, 1.8, 3.2),
        "exponent": _draw_within(rng, -0.1, 0.6),
        "sharpness": max(_draw_within(rng, 0.5, 2.5), 1.0),
        "share": _draw_within(rng, 0.1, 0.6),
        "kept": int(rng.choice([100, 1000, 3000])),
        "popularity_exponent": _draw_within(rng, -0.25, 0.05),
        **draw_weights(rng, task),
    }


def draw_later(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """What comes later is less like the histories: more regularization, and more popular items."""
    return {
        **_draw_topics(rng, task, [20, 50, 200], (20, 60)),
        "regularization": _draw_power(rng, 3, 5.3),
        "share": _draw_within(rng, 0, 0.6),
        "history_prior": _draw_power(rng, 1.3, 3.3),
        "popularity_exponent": _draw_within(rng, -0.1, 0.5),
    }


def draw_next(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        **_draw_topics(rng, task, [200, 400, 800], (8, 40)),  # more passes overfit
        "recency": _draw_within(rng, 0.1, 0.6),
        **_draw_neighbours(rng),
        "gamma": _draw_power(rng, -1.5, -0.5),
        "popularity_exponent": _draw_within(rng, -0.3, 0.05),
    }


def draw_context(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        **_draw_topics(rng, task, [100, 200, 400], (20, 80)),
        "context_exponent": _draw_within(rng, 0, 0.2),
        "tau": _draw_power(rng, -2.5, -0.7),
        "regularization": _draw_power(rng, 1, 2),
        "share": _draw_within(rng, 0.2, 0.7),
        "popularity_exponent": _draw_within(rng, -0.2, 0.05),
        "kept": 10_000,  # all: of weights of few users, small ones count
    }


def draw_new_apps(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {**draw_context(rng, task), **draw_weights(rng, task, OF_NEW_APPS)}


def draw_cold_items(rng: np.random.Generator, task: Task, *, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The weights of the attributes of items are drawn under the names of their edge types; that of the first is 1."""
    return {
        **_draw_topics(rng, task, [200, 400, 800], (20, 60)),
        **{kind: _draw_power(rng, -0.7, 0.7) for kind in kinds[1:]},
        "ridge": _draw_power(rng, -0.5, 1.5),
        "likeness": _draw_power(rng, -2.5, -0.5),
        "popularity_exponent": _draw_within(rng, -0.6, 0),
    }


def draw_people(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        **_draw_topics(rng, task, [50, 100, 200, 400], (15, 60)),
        "ridge": _draw_power(rng, 0, 3),
        "history_prior": _draw_power(rng, 0.5, 2.5),
        **_draw_neighbours(rng),
        **draw_weights(rng, task),
    }


def draw_basket(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return _draw_topics(rng, task, [50, 100, 200], (8, 30))


def draw_typed(rng: np.random.Generator, task: Task, *, kinds: tuple[str, ...], used: bool) -> dict[str, Any]:
    """The same draws with the edges and without them, but for the weights of edge types among topics (`kinds`), and for the
    likeness that the others tell."""
    weights = {**{kind: _draw_power(rng, -2, 0) for kind in kinds}, "warm_likeness": _draw_power(rng, -1.7, -0.3)}
    base = draw_warm(rng, task)
    return {**base, **weights} if used else base


def fit_warm(task: Task, options: Options) -> ByRows:
    return ByRows(_fitted(task, {task.edge_type: 1.0}, options))


def fit_next(task: Task, options: Options) -> ByRows:
    rest = dict(options)
    return ByRows(_fitted(task, {task.edge_type: 1.0}, {"context": Recency(rest.pop("recency")), **rest}))


def fit_basket(task: Task, options: Options) -> ByRows:
    """Without weights between items: they say what else she may want, and nothing of what comes back."""
    model = TopicModel(container=task.user, edges={task.edge_type: 1.0}, neighbours=None, **options)
    return ByRows(model.fit(task.train, progress=False))


def fit_context(task: Task, options: Options, *, accompanied: str) -> InContext:
    """accompanied: the edge type of users, items and contexts."""
    rest = dict(options)
    edges = {task.edge_type: 1.0, accompanied: rest.pop("tau")}
    return InContext(_fitted(task, edges, rest))


def fit_with(task: Task, options: Options, *, kinds: tuple[str, ...], attributes: tuple[str, ...]) -> ByRows:
    """kinds: more edge types of the topics, whose weights are among the options; attributes: those by which items are alike."""
    rest = dict(options)
    edges = {task.edge_type: 1.0, **{kind: rest.pop(kind) for kind in kinds}}
    known = Attributes(edges=dict.fromkeys(attributes, 1.0), warm_likeness=rest.pop("warm_likeness")) if attributes else None
    return ByRows(_fitted(task, edges, rest, known))


def _fitted(task: Task, edges: dict[str, float], options: Options, attributes: Attributes | None = None) -> TopicModel:
    rest = dict(options)
    drawn = {name: rest.pop(name) for name in OF_NEIGHBOURS if name in rest}
    neighbours = Neighbours(**drawn)
    model = TopicModel(container=task.user, edges=edges, neighbours=neighbours, attributes=attributes, **rest)
    model.fit(task.train, progress=False)
    assert model.item_weights is not None  # fitted now: their time is the fit's
    return model


WARM = Candidate("hyperrec", fit_warm, draw_warm)
LATER = Candidate("hyperrec", fit_warm, draw_later)
NEXT = Candidate("hyperrec", fit_next, draw_next)


def fit_people(task: Task, options: Options, *, kinds: tuple[str, ...]) -> OfTold:
    """kinds: the edge types that describe users."""
    rest = dict(options)
    known = Attributes(edges=dict.fromkeys(kinds, 1.0), regularization=rest.pop("ridge"))
    return OfTold(_fitted(task, {task.edge_type: 1.0}, rest, known), kinds)


def fit_unseen(task: Task, options: Options, *, kinds: tuple[str, ...]) -> InContext:
    """kinds: the edge types that describe items."""
    rest = dict(options)
    weights = {kind: rest.pop(kind, 1.0) for kind in kinds}
    known = Attributes(edges=weights, regularization=rest.pop("ridge"), likeness=rest.pop("likeness"))
    return InContext(_fitted(task, {task.edge_type: 1.0}, rest, known))


def of_people(*kinds: str) -> Candidate:
    """Cold users by these edge types."""
    return Candidate("hyperrec", partial(fit_people, kinds=kinds), draw_people)


def of_attributes(*kinds: str) -> Candidate:
    """Cold items by these edge types."""
    return Candidate("hyperrec", partial(fit_unseen, kinds=kinds), partial(draw_cold_items, kinds=kinds))


def with_and_without(kinds: tuple[str, ...], attributes: tuple[str, ...], said: str) -> tuple[Candidate, Candidate]:
    """The same model with the edges of these types, and without them."""
    used, unused = (partial(draw_typed, kinds=kinds, used=one) for one in (True, False))
    return (
        Candidate("hyperrec", partial(fit_with, kinds=kinds, attributes=attributes), used),
        Candidate(f"without {said}", partial(fit_with, kinds=(), attributes=()), unused),
    )


BASKET = Candidate("hyperrec", fit_basket, draw_basket)
CONTEXT = Candidate("hyperrec", partial(fit_context, accompanied="used_in"), draw_context)
NEW_APPS = Candidate("hyperrec", partial(fit_context, accompanied="used_in"), draw_new_apps)

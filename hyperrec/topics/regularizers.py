"""Regularizers: criteria R(phi) beside the likelihood, and how the M-step of the EM takes them.

    phi_vt = norm_v( n_vt + phi_vt dR/dphi_vt ),   p(t|v) = norm_t( phi_vt n_t )

with phi = p(v|t) over the vertices of a modality, and n_t = sum_v n_vt, which stays what it was counted to be: without R this is
p(t|v) = norm_t(n_vt). In the container form the container is regularized in theta_dt = p(t|d):

    theta_dt = norm_t( n_dt + theta_dt dR/dtheta_dt )

Slides: "ARTM: additive regularization of topic models".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from hyperrec.errors import ModelError, did_you_mean, listed
from hyperrec.topics.state import State, from_vertices, phi_of
from hyperrec.topics.statistics import Statistics

TINY = 1e-12  # a probability below it counts as this in a logarithm
LARGE = 1e30


@runtime_checkable
class Regularizer(Protocol):
    """What a regularizer is: any object with these.

    phi (V, T) float32 = p(v|t), columns sum to one, or are zeros for a topic that is dead in the modality; of the container in the
    container form theta (D, T) = p(t|d), rows sum to one.
    """

    @property
    def modality(self) -> str:
        """Whose vertices."""

    def value(self, phi: np.ndarray) -> float:
        """R(phi), in the units of the log-likelihood."""

    def addend(self, phi: np.ndarray) -> np.ndarray:
        """phi * dR/dphi (V, T), in the units of n_vt; where it takes more than there is, p(v|t) becomes zero."""


@dataclass(frozen=True)
class _OfTopics:
    tau: float
    modality: str
    topics: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        if isinstance(self.tau, bool) or not isinstance(self.tau, (int, float, np.number)) or not abs(self.tau) < LARGE:
            raise ModelError(f"{name}: tau must be a finite number; got {self.tau!r}.")
        object.__setattr__(self, "tau", float(self.tau))
        if not isinstance(self.modality, str):
            raise ModelError(f"{name}: modality must be the name of one, such as 'item'; got {self.modality!r}.")
        if self.topics is None:
            return
        topics = list(self.topics) if isinstance(self.topics, Iterable) else []
        if not topics or not all(isinstance(one, (int, np.integer)) and one >= 0 for one in topics) or len({*topics}) < len(topics):
            raise ModelError(f"{name}: topics must be different numbers of topics, from 0, or None for all; got {self.topics!r}.")
        object.__setattr__(self, "topics", tuple(map(int, topics)))

    def _chosen(self, n_topics: int) -> np.ndarray:
        """(T,) float32: 1 for the topics that are regularized."""
        chosen = np.zeros(n_topics, np.float32)
        chosen[slice(None) if self.topics is None else list(self.topics)] = 1
        return chosen


@dataclass(frozen=True)
class Smooth(_OfTopics):
    """R = tau sum_t sum_v ln phi_vt: smoothing where tau > 0, as in LDA, sparsing where tau < 0.

    Every n_vt gets the addend tau. tau > 0 is LDA's beta - 1 (Dirichlet prior of phi; MAP), or its alpha - 1 for the container in
    the container form; for tau < 0 all n_vt below -tau become zero, and so the topics sparse.

    tau : in counts n_vt, that is in units of the weights of edges, tau of edge types and damping of lengths included.
    modality : whose vertices. topics : numbers of topics; all by default.

    Slides: "PLSA and LDA", "Regularizers for interpretable topics".
    """

    def value(self, phi: np.ndarray) -> float:
        """R(phi); a probability below 1e-12 counts as 1e-12, so that zeros have a finite value."""
        return float(self.tau * (np.log(np.maximum(phi, TINY), dtype=np.float64) * self._chosen(phi.shape[1])).sum())

    def addend(self, phi: np.ndarray) -> np.ndarray:
        """tau, (V, T), in the topics that are regularized."""
        return np.broadcast_to(np.float32(self.tau) * self._chosen(phi.shape[1]), phi.shape)


@dataclass(frozen=True)
class Decorrelate(_OfTopics):
    """R = -tau/2 sum_{t != s} sum_v phi_vt phi_vs: topics are made distinct.

    The addend of n_vt = n_t phi_vt is -tau phi_vt sum_{s != t} phi_vs: the share tau sum_{s != t} phi_vs / n_t of it is taken
    away, so that a vertex stays in the topics where it is most probable. Since phi are small numbers, tau is a large one. While the
    topics are still alike the share is tau T^2 p(v) / n, n the weight of all the edges: where it is above 1 for the most frequent
    vertices, these are emptied at once, and the fit soon ends.

    tau : in counts n_vt, as in `Smooth`. modality : whose vertices. topics : numbers of topics, compared with one another; all by
        default.

    Slides: "Regularizers for interpretable topics". Tan & Ou (2010), "Topic-weak-correlated LDA".
    """

    def value(self, phi: np.ndarray) -> float:
        """R(phi)."""
        part = phi * self._chosen(phi.shape[1])
        total, squares = part.sum(axis=1, dtype=np.float64), np.einsum("vt,vt->v", part, part, dtype=np.float64)
        return float(-self.tau / 2 * (total**2 - squares).sum())

    def addend(self, phi: np.ndarray) -> np.ndarray:
        """-tau phi_vt sum_{s != t} phi_vs, (V, T)."""
        part = phi * self._chosen(phi.shape[1])
        return np.asarray(-self.tau * part * (part.sum(axis=1, keepdims=True) - part))


@dataclass(frozen=True)
class Unsaved:
    """In the place of a user's own regularizer in a loaded model: it answers as before, but does not fit on without it."""

    what: str
    modality: str

    def value(self, phi: np.ndarray) -> float:
        raise self._refusal

    def addend(self, phi: np.ndarray) -> np.ndarray:
        raise self._refusal

    @property
    def _refusal(self) -> ModelError:
        return ModelError(
            f"the model was fitted with a regularizer of your own, {self.what}, which is not saved with it: "
            "set model.regularizers to your regularizers before you fit on."
        )


KINDS: dict[str, type[Any]] = {one.__name__: one for one in (Smooth, Decorrelate, Unsaved)}


def as_json(regularizer: Regularizer) -> dict[str, Any]:
    """{'kind': ..., parameters}: what `from_json` reads; of a user's own the name only."""
    if type(regularizer) not in KINDS.values():
        regularizer = Unsaved(repr(regularizer), regularizer.modality)
    return {"kind": type(regularizer).__name__, **asdict(regularizer)}  # type: ignore[call-overload]


def from_json(values: Mapping[str, Any]) -> Regularizer:
    """The regularizer that `as_json` wrote."""
    kind: Regularizer = KINDS[values["kind"]](**{name: value for name, value in values.items() if name != "kind"})
    return kind


def checked(regularizers: Iterable[Regularizer], n_topics: int) -> tuple[Regularizer, ...]:
    """A tuple of regularizers.

    Raises
    ------
    ModelError : one is no regularizer, or names topics that there are not.
    """
    if isinstance(regularizers, Regularizer) or not isinstance(regularizers, Iterable):
        raise ModelError(f"regularizers must be a list, such as [hr.Smooth(0.1, 'item')]; got {regularizers!r}.")
    regularizers = tuple(regularizers)
    for one in regularizers:
        if isinstance(one, type) or not isinstance(one, Regularizer):
            raise ModelError(f"a regularizer has modality, value(phi), addend(phi), such as hr.Smooth(0.1, 'item'); got {one!r}.")
        if isinstance(one, _OfTopics) and max(one.topics or (0,)) >= n_topics:
            raise ModelError(f"{one!r} names topic {max(one.topics or ())}, but there are {n_topics}, from 0.")
    return regularizers


class Part(NamedTuple):
    """Rows of one modality, whether they are regularized in theta = p(t|d) rather than in phi, and the regularizers."""

    rows: slice
    is_theta: bool
    regularizers: list[Regularizer]


@dataclass(frozen=True)
class Regularization:
    """The regularizers of a model, over the rows of its table; what `em.fit` and `em.update` take."""

    parts: tuple[Part, ...]

    @classmethod
    def of(
        cls, regularizers: Sequence[Regularizer], offsets: Mapping[str, int], sizes: Mapping[str, int], theta: str | None
    ) -> Regularization | None:
        """None where there are no regularizers. theta: the container, in the container form.

        Raises
        ------
        ModelError : a modality that has no rows in the table.
        """
        by_modality: dict[str, list[Regularizer]] = {}
        for one in regularizers:
            if one.modality not in sizes:
                raise ModelError(
                    f"{one!r}: modality '{one.modality}' has no topic vectors of its own to regularize; {listed(sizes)} have."
                    f"{did_you_mean(one.modality, sizes)}"
                )
            by_modality.setdefault(one.modality, []).append(one)
        parts = [Part(slice(offsets[m], offsets[m] + sizes[m]), m == theta, some) for m, some in by_modality.items()]
        return cls(tuple(parts)) if parts else None

    def value(self, state: State, n_v: np.ndarray) -> float:
        """Sum of R. n_v (V,): weights of the edges of each vertex."""
        total = 0.0
        for part in self.parts:
            phi = _phi(part, state, n_v)
            for one in part.regularizers:
                value = float(one.value(phi))
                if not np.isfinite(value):
                    raise ModelError(f"{one!r}: value(phi) must be a finite number; got {value}.")
                total += value
        return total

    def from_vertices(self, state: State, n_v: np.ndarray) -> float:
        """`state.from_vertices` of the modalities that are regularized in phi."""
        if state.weight is None:
            return 0.0
        rows = [part.rows for part in self.parts if not part.is_theta and n_v[part.rows].any()]
        return sum(from_vertices(state.weight[one], n_v[one]) for one in rows)

    def counts(self, state: State, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        """n_vt as the M-step takes them: max(0, n_vt + addend), in phi with the topic totals n_t as they were.

        Returns (V, T) float32, and a (V,) bool: rows that had counts and were left without any, which are given counts as p(t).

        Raises
        ------
        ModelError : an addend of another shape, or with nan or infinity.
        """
        n_vt, n_v = statistics.n_vt.copy(), statistics.n_vt.sum(axis=1, dtype=np.float64)
        emptied = np.zeros(len(n_vt), bool)
        for part in self.parts:
            phi = _phi(part, state, n_v)
            n = n_vt[part.rows]
            totals, new = n.sum(axis=0, dtype=np.float64), n.astype(np.float64)
            for one in part.regularizers:
                new += _addend(one, phi)
            np.maximum(new, 0, out=new)
            if not part.is_theta:
                left = new.sum(axis=0)
                new *= np.divide(totals, left, out=np.zeros_like(left), where=left > 0)
            n[:] = new
            empty = (n_v[part.rows] > 0) & ~(n > 0).any(axis=1)
            n[empty] = n_v[part.rows][empty, None] * (statistics.n_t / statistics.n_t.sum())
            emptied[part.rows] = empty
        return n_vt, emptied


def _phi(part: Part, state: State, n_v: np.ndarray) -> np.ndarray:
    """p(v|t) (V, T) float32 of the rows of a part, or their p(t|d)."""
    embedding = state.embedding[part.rows]
    if part.is_theta:
        return embedding
    return phi_of(embedding, n_v[part.rows] if state.weight is None else state.weight[part.rows])


def _addend(regularizer: Regularizer, phi: np.ndarray) -> np.ndarray:
    addend = np.asarray(regularizer.addend(phi))
    if addend.shape != phi.shape:
        raise ModelError(f"{regularizer!r}: addend(phi) must have the shape of phi, {phi.shape}; got {addend.shape}.")
    if not (np.abs(addend) < LARGE).all():
        raise ModelError(f"{regularizer!r}: addend(phi) has nan, infinity, or numbers beyond {LARGE:g}.")
    return addend

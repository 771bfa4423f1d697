"""Contexts: how the other positions of a container become the topic vector in which each of its positions is read.

The context of position i is a weighted average over other positions of its container, theta_i = sum_u alpha(u|i) p(t|w_u), u != i.
Slides: "EM-algorithm with a localized E-step", "Fast computation of two-sided context vectors".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from hyperrec.errors import ModelError, listed
from hyperrec.topics.kernels.edges import AVERAGES, BACKGROUND, FOLD_IN, MEAN, WINDOW


class Plan(NamedTuple):
    """Contexts as the kernels take them: kinds (K,) int64, params (K, 3) float32 (gamma_left, gamma_right, beta; of a fold-in:
    iterations, uniform, exact), lags (K, 2h) float32, and passes: how often contextual vectors take the place of the context-free
    ones."""

    kinds: np.ndarray
    params: np.ndarray
    lags: np.ndarray
    passes: int

    def one_sided(self, *, left: bool) -> Plan:
        """The same contexts with what comes before only, or with what comes after only."""
        params, lags = self.params.copy(), self.lags.copy()
        params[self.kinds == AVERAGES, 2] = left
        half = lags.shape[1] // 2
        lags[:, slice(half, None) if left else slice(0, half)] = 0
        return self._replace(params=params, lags=lags)


@dataclass(frozen=True, kw_only=True, repr=False)
class Context:
    """What all contexts have in common.

    passes : L, so many times the contextual vectors p(t|C_i, w_i) take the place of the context-free p(t|w_i) and the contexts
        are averaged again. Slides: "Analogy of the localized E-step with the transformer".
    """

    passes: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.passes, bool) or not isinstance(self.passes, int) or self.passes < 0:
            raise ModelError(f"passes must be a whole number, 0 or more; got {self.passes!r}.")

    def __repr__(self) -> str:
        own = [one for one in fields(self) if one.name not in COMMON or getattr(self, one.name) != one.default]
        told = [f"{one.name}={getattr(self, one.name)!r}" for one in own]
        return f"{type(self).__name__}({', '.join(told)})"

    @property
    def ordered(self) -> bool:
        """Whether the order of a history counts; if not, its repeated vertices are one position."""
        return False

    @property
    def parts(self) -> tuple[Context, ...]:
        return (self,)

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        raise NotImplementedError

    def plan(self) -> Plan:
        kinds, params, lags = zip(*(part._row() for part in self.parts), strict=True)
        width = max(map(len, lags))
        padded = [[0.0] * ((width - len(row)) // 2) + list(row) + [0.0] * ((width - len(row)) // 2) for row in lags]
        table = np.array(padded, np.float32).reshape(len(kinds), width)
        return Plan(np.array(kinds, np.int64), np.array(params, np.float32), table, self.passes)

    def as_json(self) -> dict[str, Any]:
        """{'kind': ..., parameters}: what `from_json` reads."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if isinstance(self, Mixture):
            values["contexts"] = [part.as_json() for part in self.contexts]
        if isinstance(self, Ordered) and self.importance is not None:  # as pairs: the keys of JSON are strings
            plain = {item.item() if isinstance(item, np.generic) else item: factor for item, factor in self.importance.items()}
            values["importance"] = list(plain.items())
        return {"kind": type(self).__name__, **values}


@dataclass(frozen=True, repr=False)
class Mean(Context):
    """Leave-one-out mean: the context of a vertex is the average of the container's other vertices.

    The context of position i is sum_{u != i} a_u p(t|w_u) / sum_{u != i} a_u, with a_u the weight of u in the container. Alone it
    knows no order, and all occurrences of a vertex are one position: a model never learns an item from the item.
    """

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        return MEAN, (0, 0, 0), ()


@dataclass(frozen=True, repr=False)
class FoldIn(Context):
    """The whole container, the vertex itself included: theta_t = p(t|d) is found by EM iterations within each pass.

    theta <- sum_w n_dw / n_d norm_t(phi_wt theta_t), from p(t) or from 1/T; containers have no parameters. With many iterations
    this is PLSA with theta never stored (Hofmann, 1999); with one it is the Theta-less family of the slides ("EM-algorithm for
    ARTM with linear thematization of documents"):

    - `FoldIn()`: simplified; theta_td = sum_w n_dw / n_d p(t|w), and the usual M-step;
    - `FoldIn(start="uniform")`: naive; one iteration of the usual EM;
    - `FoldIn(exact=True)`: the derivative of the likelihood in phi, through theta too: counts are n_dw p'_tdw, and
      phi_wt = norm_w of their sums. Takes pairs alone.

    Where the edges of containers are longer than pairs, theta is that of the edges: theta <- sum_e n_e / n norm_t(theta_t prod
    phi). Afterwards a container is read from its items.

    A vertex is explained by itself too: for recommendations `Mean` leaves it out.
    """

    iterations: int = 1
    start: str = "prior"
    exact: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.iterations, bool) or not isinstance(self.iterations, int) or self.iterations < 1:
            raise ModelError(f"FoldIn: iterations must be a whole number, 1 or more; got {self.iterations!r}.")
        if self.start not in ("prior", "uniform"):
            raise ModelError(f"FoldIn: start must be 'prior' or 'uniform'; got {self.start!r}.")
        if self.passes:
            raise ModelError("FoldIn has no passes: its theta is one for all positions; ask for more iterations instead.")
        if self.exact and (self.iterations > 1 or self.start != "prior"):
            raise ModelError("FoldIn: exact goes with one iteration from the prior, theta_td = sum_w n_dw / n_d p(t|w).")

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        return FOLD_IN, (self.iterations, self.start == "uniform", self.exact), ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Ordered(Context):
    """What the contexts have in common that read a history in its order: by time, and as the rows stand where there is none.

    pause : after a longer gap a new document begins, and no context reaches over it; seconds for dates, else the log's own unit.
    importance : item -> factor of its weight in contexts, 1 by default; 0: it is read, but tells nothing of the others.
    """

    pause: float | None = None
    importance: Mapping[Any, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pause is not None and not (isinstance(self.pause, (int, float)) and self.pause >= 0):
            raise ModelError(f"pause must be a number, 0 or more, or None; got {self.pause!r}.")
        if self.importance is not None:
            factors = self.importance.values() if isinstance(self.importance, Mapping) else [None]
            if not all(isinstance(one, (int, float)) and np.isfinite(one) and one >= 0 for one in factors):
                raise ModelError("importance must say item -> a finite factor, 0 or more, such as {'film-1': 0.5}.")

    @property
    def ordered(self) -> bool:
        return True


@dataclass(frozen=True, repr=False)
class _Averages(Ordered):
    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in zip(("gamma", "gamma_right", "beta"), self._row()[1], strict=True):
            low = 0 if name == "beta" else np.nextafter(0, 1)
            if not (isinstance(value, (int, float)) and low <= value <= 1):
                raise ModelError(f"{type(self).__name__}: gammas lie in (0, 1], beta in [0, 1]; got {self!r}.")


@dataclass(frozen=True, repr=False)
class Recency(_Averages):
    """Exponential moving average of what came before: alpha(u|i) = gamma (1 - gamma)^(i - 1 - u), without gamma for the first u.

    Takes `pause`, `importance` and `passes` too, as all contexts that know an order: see `Mixture`. Events of one time stand in the
    order of the log: where that tells nothing, as in baskets that are sorted by product, shuffle the rows before.

    gamma : about 1 / (number of positions that matter); 1: the last position only.
    """

    gamma: float = 0.4

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        return AVERAGES, (self.gamma, self.gamma, 1.0), ()


@dataclass(frozen=True, repr=False)
class TwoSided(_Averages):
    """Exponential moving averages of what came before and of what comes after, with shares beta and 1 - beta, in two sweeps."""

    gamma_left: float = 0.2
    gamma_right: float = 0.2
    beta: float = 0.5

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        return AVERAGES, (self.gamma_left, self.gamma_right, self.beta), ()


@dataclass(frozen=True, repr=False)
class Window(Ordered):
    """Weighted average of the h positions before and the h after.

    weights : h numbers for the distances 1..h, or 2h for the lags -h..-1 and 1..h; ones by default.
    """

    h: int = 5
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.h, bool) or not isinstance(self.h, int) or self.h < 1:
            raise ModelError(f"Window: h must be a whole number, 1 or more; got {self.h!r}.")
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(map(float, self.weights)))
            good = len(self.weights) in (self.h, 2 * self.h) and all(np.isfinite(w) and w >= 0 for w in self.weights)
            if not good or not any(self.weights):
                raise ModelError(
                    f"Window: weights must be {self.h} or {2 * self.h} numbers, 0 or more and not all 0; got {self.weights}."
                )

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        weights = self.weights or (1.0,) * self.h
        return WINDOW, (0, 0, 0), weights if len(weights) == 2 * self.h else (*weights[::-1], *weights)


@dataclass(frozen=True, repr=False)
class Background(Context):
    """The context that says nothing: p(t). A part of a `Mixture`."""

    def _row(self) -> tuple[int, tuple[float, float, float], tuple[float, ...]]:
        return BACKGROUND, (0, 0, 0), ()


@dataclass(frozen=True, init=False, repr=False)
class Mixture(Ordered):
    """Several contexts and the background p(t); each has the share of the posterior mass that it explained, learned by the EM.

    theta_i = sum_c alpha_c theta_ci over the contexts that are not empty at i; alpha_c <- share of c in the expected counts.

    pause : after a longer gap a new document begins, and no context reaches over it; seconds for dates, else the log's own unit.
    importance : item -> factor of its weight in contexts, 1 by default; 0: it is read, but tells nothing of the others.
    passes : so many times the contextual vectors take the place of the context-free ones, and the contexts are averaged again.
    """

    contexts: tuple[Context, ...] = ()
    background: bool = True

    def __init__(
        self,
        *contexts: Context,
        background: bool = True,
        passes: int = 0,
        pause: float | None = None,
        importance: Mapping[Any, float] | None = None,
    ) -> None:
        values = {"contexts": contexts, "background": background, "passes": passes, "pause": pause, "importance": importance}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.contexts or not all(isinstance(one, Context) and not isinstance(one, Mixture) for one in self.contexts):
            raise ModelError(f"Mixture takes one or more contexts, such as hr.Recency(0.4), hr.Mean(); got {self.contexts!r}.")
        if any(isinstance(one, FoldIn) and one.exact for one in self.contexts):
            raise ModelError("Mixture: FoldIn(exact=True) is a context by itself.")
        if wrong := [one for one in self.contexts if any(getattr(one, name, none) != none for name, none in COMMON.items())]:
            raise ModelError(f"Mixture: {', '.join(COMMON)} belong to the mixture, not to {wrong[0]!r}.")

    @property
    def parts(self) -> tuple[Context, ...]:
        return (*self.contexts, Background()) if self.background else self.contexts


COMMON = {"passes": 0, "pause": None, "importance": None}
KINDS: dict[str, type[Context]] = {one.__name__: one for one in (Mean, FoldIn, Recency, TwoSided, Window, Background, Mixture)}


def from_json(values: Mapping[str, Any] | None) -> Context | None:
    """The context that `as_json` wrote."""
    if values is None:
        return None
    if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
        raise ValueError(f'context must have a kind, one of {listed(KINDS)}, as {{"kind": "Mean"}}; got {values!r}')
    values = dict(values)
    if values.get("importance") is not None:
        values["importance"] = dict(values["importance"])
    kind = KINDS[values.pop("kind")]
    if kind is Mixture:
        return Mixture(*map(from_json, values.pop("contexts")), **values)  # type: ignore[arg-type]
    return kind(**values)


IN_MEAN = Mean().plan()
NO_PLAN = Plan(np.zeros(0, np.int64), np.zeros((0, 3), np.float32), np.zeros((0, 0), np.float32), 0)
"""The symmetric form: no contexts."""

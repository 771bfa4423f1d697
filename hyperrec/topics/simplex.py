"""Maximization of a smooth function of probability vectors: the lemma that every EM of this package is a case of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hyperrec.errors import ModelError

Simplices = list[np.ndarray]
HALVINGS = 40


@dataclass(frozen=True)
class Maximum:
    """Where the iterations ended.

    omega : arrays as they were given, float64, every last axis sums to one.
    history : a row per iteration: iteration, ascent = H(omega), step, degenerate, and objective where one was given.
    converged : the last iteration moved no coordinate by more than the tolerance.
    """

    omega: Simplices
    history: list[dict[str, float | int]] = field(default_factory=list)
    converged: bool = False


def norm(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """max(x, 0) / sum max(x, 0) along the last axis, and which vectors are degenerate: they have no positive part and are 0."""
    positive = np.maximum(x, 0)
    total = positive.sum(axis=-1, keepdims=True)
    return positive / np.where(total > 0, total, 1), ~(total[..., 0] > 0)


def ascent(omega: Sequence[np.ndarray], gradient: Sequence[np.ndarray]) -> float:
    """H(omega) = 1/2 sum_j sum_{i,k} (df/d omega_ij - df/d omega_kj)^2 omega_ij omega_kj, never negative.

    It is zero just where the iteration stands still. Where lambda_j = sum_i omega_ij df/d omega_ij and nothing is cut off at
    zero, an iteration raises f by sum_j H_j / lambda_j in the linear approximation. Slides: "Open problem: the fourth condition".
    """
    total = 0.0
    for w, g in zip(omega, gradient, strict=True):
        kept = np.where(w > 0, g, 0)  # what is zero stays zero, whatever its gradient
        centred = kept - (w * kept).sum(axis=-1, keepdims=True)
        total += float((w * centred**2).sum())
    return total


def maximize_on_simplices(
    gradient: Callable[..., object],
    omega: np.ndarray | Sequence[np.ndarray],
    *,
    objective: Callable[..., float] | None = None,
    n_iterations: int = 200,
    tolerance: float = 1e-9,
) -> Maximum:
    """Local maximum of a differentiable f over unit simplices, by iterating omega_j = norm_i(omega_ij df/d omega_ij).

    No step size; what is zero stays zero; a component whose product with its gradient is negative becomes zero.

    Parameters
    ----------
    gradient : the arrays of omega, as positional arguments, -> df/d omega: an array, or a sequence of arrays of their shapes.
    omega : one array or several, where to start; the last axis of each is a simplex: not negative, it sums to one.
    objective : f of the same arguments. With it f never falls: a step that lowers it is halved towards the point that it
        started from, until f is not lower (H >= 0 says that a short enough one will do). Without it every step is taken whole.
    n_iterations : at most so many. tolerance : stop when no coordinate moves by more.

    Returns
    -------
    Maximum : omega, history, converged. A vector without a positive product is degenerate: it is kept as it was, and counted.

    Raises
    ------
    ModelError : omega does not lie on simplices; a gradient of another shape; nan or infinity.

    Examples
    --------
    Shares of three known dice in 1,000 throws, the maximum of sum_v n_v ln sum_k w_k p_kv:

    >>> import numpy as np
    >>> dice = np.array([[1, 1, 1, 1, 1, 1], [5, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 5]]) / np.array([[6], [10], [10]])
    >>> n = 1000 * np.array([0.5, 0.2, 0.3]) @ dice
    >>> found = maximize_on_simplices(lambda w: dice @ (n / (w @ dice)), np.ones(3) / 3,
    ...                               objective=lambda w: n @ np.log(w @ dice), n_iterations=2000, tolerance=1e-12)
    >>> found.omega[0].round(3).tolist(), found.converged
    ([0.5, 0.2, 0.3], True)

    Notes
    -----
    Slides: "Necessary conditions and the method of simple iterations", "Theorem of convergence".
    """
    now = [np.array(one, dtype=np.float64) for one in ([omega] if isinstance(omega, np.ndarray) else omega)]
    for number, one in enumerate(now):
        if one.ndim == 0 or not (np.isfinite(one).all() and (one >= 0).all() and np.allclose(one.sum(axis=-1), 1, atol=1e-6)):
            raise ModelError(f"omega[{number}] must hold vectors that are not negative and sum to one along the last axis.")
    value = _value(objective, now)
    history: list[dict[str, float | int]] = []
    converged = False
    for iteration in range(1, n_iterations + 1):
        slope = _slope(gradient, now)
        new, degenerate = [], 0
        for w, g in zip(now, slope, strict=True):
            one, empty = norm(np.where(w > 0, w * g, 0))
            one[empty] = w[empty]
            degenerate += int(empty.sum())
            new.append(one)
        step = 1.0
        target, reached = new, _value(objective, new)
        while reached < value and step > 0.5**HALVINGS:
            step /= 2
            new = [w + step * (one - w) for w, one in zip(now, target, strict=True)]
            reached = _value(objective, new)
        if reached < value:  # rounding: there is no way up any more
            new, reached, step = now, value, 0.0
        row: dict[str, float | int] = {"iteration": iteration, "ascent": ascent(now, slope), "step": step, "degenerate": degenerate}
        history.append(row if objective is None else {**row, "objective": reached})
        moved = max(float(np.abs(one - w).max(initial=0)) for w, one in zip(now, new, strict=True))
        now, value = new, reached
        if moved <= tolerance:
            converged = True
            break
    return Maximum(now, history, converged)


def _value(objective: Callable[..., float] | None, omega: Simplices) -> float:
    value = 0.0 if objective is None else float(objective(*omega))
    return -np.inf if np.isnan(value) else value


def _slope(gradient: Callable[..., object], omega: Simplices) -> Simplices:
    given = gradient(*omega)
    parts = [given] if isinstance(given, np.ndarray) else list(given)  # type: ignore[call-overload]
    slope = [np.asarray(one, dtype=np.float64) for one in parts]
    if [one.shape for one in slope] != [one.shape for one in omega]:
        shapes = [one.shape for one in omega]
        raise ModelError(f"gradient must return arrays of the shapes {shapes}; got {[one.shape for one in slope]}.")
    for number, (one, w) in enumerate(zip(slope, omega, strict=True)):
        if not np.isfinite(one[w > 0]).all():
            raise ModelError(f"gradient[{number}] is nan or infinite where omega is positive.")
    return slope

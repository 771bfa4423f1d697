"""Implicit alternating least squares with regularization by frequency (Rendle, Krichene, Zhang, Koren 2022)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit, prange

from hyperrec.peers import Ranked, rank

STEPS = 3  # of conjugate gradients in each half of an iteration, from where the last one ended


class FrequencyScaledALS:
    """Minimizes, over x_u and y_i,

        sum_(u,i seen) weight_ui (1 - x_u y_i)^2 + unseen sum_(u,i) (x_u y_i)^2 + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2,
        ridge_u = regularization (n_u / m)^exponent,  n_u = (weight of u) + unseen (all items),  m the mean of n_u; items alike.

    The paper has no m: with it, the strength changes neither with the exponent nor with the number of items.
    """

    name = "frequency-scaled iALS"

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 10.0,
        unseen: float = 0.2,
        exponent: float = 1.0,
        iterations: int = 16,
        seed: int = 0,
    ) -> None:
        self.factors, self.regularization, self.unseen, self.exponent = factors, regularization, unseen, exponent
        self.iterations, self.seed = iterations, seed

    def fit(self, users: sp.csr_matrix) -> FrequencyScaledALS:
        rng = np.random.default_rng(self.seed)
        sides = [users, users.T.tocsr()]
        scale = 0.1 / np.sqrt(self.factors)
        tables = [(scale * rng.standard_normal((one.shape[0], self.factors))).astype(np.float32) for one in sides]
        ridges = [self._ridge(one) for one in sides]
        for _ in range(self.iterations):
            for side, other in ((0, 1), (1, 0)):
                gram = (self.unseen * (tables[other].T @ tables[other])).astype(np.float32)
                one = sides[side]
                _solve(one.indptr.astype(np.int64), one.indices, one.data, tables[other], gram, ridges[side], tables[side], STEPS)
        self.user_factors, self.item_factors = tables
        return self

    def _ridge(self, pairs: sp.csr_matrix) -> np.ndarray:
        n = np.asarray(pairs.sum(axis=1)).ravel() + self.unseen * pairs.shape[1]
        ridge: np.ndarray = (self.regularization * (n / n.mean()) ** self.exponent).astype(np.float32)
        return ridge

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        return rank(self.user_factors[user_rows] @ self.item_factors.T, k, seen)


@njit(nogil=True, cache=True, parallel=True, fastmath={"reassoc", "contract", "nsz"})
def _solve(
    indptr: np.ndarray, indices: np.ndarray, weight: np.ndarray, fixed: np.ndarray, gram: np.ndarray, ridge: np.ndarray,
    solved: np.ndarray, steps: int,
) -> None:  # fmt: skip
    """Conjugate gradients for (gram + sum_j w_j y_j y_j' + ridge I) x = sum_j w_j y_j, row by row of solved (N, F), from what is
    there."""
    for row in prange(len(ridge)):
        x = solved[row]
        left = np.zeros_like(x)
        mine, weights = indices[indptr[row] : indptr[row + 1]], weight[indptr[row] : indptr[row + 1]]
        _times(mine, weights, fixed, gram, ridge[row], x, left)
        for f in range(len(x)):
            left[f] = -left[f]
        for j in range(len(mine)):
            y = fixed[mine[j]]
            for f in range(len(x)):
                left[f] += weights[j] * y[f]
        direction, image = left.copy(), np.empty_like(x)
        length = _dot(left, left)
        for _ in range(steps):
            if length < 1e-20:
                break
            _times(mine, weights, fixed, gram, ridge[row], direction, image)
            size = length / _dot(direction, image)
            for f in range(len(x)):
                x[f] += size * direction[f]
                left[f] -= size * image[f]
            before, length = length, _dot(left, left)
            for f in range(len(x)):
                direction[f] = left[f] + length / before * direction[f]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _times(
    mine: np.ndarray, weight: np.ndarray, fixed: np.ndarray, gram: np.ndarray, ridge: float, x: np.ndarray, out: np.ndarray
) -> None:
    """out = (gram + sum_j w_j y_j y_j' + ridge I) x over the rows `mine` of fixed."""
    for f in range(len(x)):
        out[f] = ridge * x[f]
    for g in range(len(x)):
        row, value = gram[g], x[g]
        for f in range(len(x)):
            out[f] += value * row[f]
    for j in range(len(mine)):
        y = fixed[mine[j]]
        value = weight[j] * _dot(y, x)
        for f in range(len(x)):
            out[f] += value * y[f]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(a: np.ndarray, b: np.ndarray) -> np.float32:
    total = np.float32(0)
    for f in range(len(a)):
        total += a[f] * b[f]
    return total

"""The recommenders that hyperrec is measured against. Each: fit(user x item CSR), recommend_rows(user_rows, k, seen)."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from hyperrec.errors import HyperrecError
from hyperrec.topics.kernels.ranking import best_unseen

Ranked = tuple[np.ndarray, np.ndarray]


def rank(scores: np.ndarray, k: int, seen: sp.csr_matrix | None) -> Ranked:
    """The k best items of each row of scores (n, I) but the seen ones: rows (n, k) int32, scores (n, k) float32."""
    seen = seen if seen is not None else sp.csr_matrix(scores.shape, dtype=np.float32)
    seen = seen.sorted_indices()
    rows, values = np.empty((len(scores), k), np.int32), np.empty((len(scores), k), np.float32)
    allowed = np.ones(scores.shape[1], bool)
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    best_unseen(scores, seen.indptr.astype(np.int64), seen.indices.astype(np.int32), allowed, k, rows, values)
    return rows, values


class Popularity:
    """The items with most users."""

    name = "popularity"

    def fit(self, users: sp.csr_matrix) -> Popularity:
        self.counts = np.asarray(users.sum(axis=0), dtype=np.float32).ravel()
        return self

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        return rank(np.broadcast_to(self.counts, (len(user_rows), len(self.counts))), k, seen)


class EASE:
    """Linear item-item model in closed form (Steck 2019).

    B = I - P diag(P)^-1, P = (X'X + regularization I)^-1 over items; where there are fewer users, the scores XB come from the same
    inverse over users: XP = (XX' + regularization I)^-1 X, and P = (I - X' XP) / regularization.
    """

    name = "EASE"

    def __init__(self, regularization: float = 250.0) -> None:
        self.regularization = regularization

    def fit(self, users: sp.csr_matrix) -> EASE:
        pairs = users.astype(np.float64)
        if users.shape[0] < users.shape[1]:
            product = (pairs.T @ self._inverse(pairs @ pairs.T)).T
            diagonal = (1 - np.asarray(pairs.multiply(product).sum(axis=0)).ravel()) / self.regularization
            self.weights, self.users = None, (pairs.toarray() - product / diagonal).astype(np.float32)
            return self
        inverse = self._inverse(pairs.T @ pairs)
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0
        self.weights, self.users = weights.astype(np.float32), users
        return self

    def _inverse(self, gram: sp.csr_matrix) -> np.ndarray:
        """(gram + regularization I)^-1 by Cholesky, in half the time of a general inverse."""
        dense = gram.toarray(order="F")  # the order that LAPACK overwrites
        dense[np.diag_indices_from(dense)] += self.regularization
        factor, _ = scipy.linalg.lapack.dpotrf(dense, lower=True, overwrite_a=True)
        lower, _ = scipy.linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
        inverse: np.ndarray = np.tril(lower) + np.tril(lower, -1).T
        return inverse

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        mine = self.users[user_rows]
        return rank(mine if self.weights is None else mine @ self.weights, k, seen)


class ItemKNN:
    """Items near the user's items, by cosine or BM25 weights, as implicit builds them."""

    def __init__(self, kind: str = "cosine", neighbours: int = 100, **options: float) -> None:
        self.kind, self.neighbours, self.options = kind, neighbours, options  # options of BM25: K1, B
        self.name = f"item-kNN {'BM25' if kind == 'bm25' else kind}"

    def fit(self, users: sp.csr_matrix) -> ItemKNN:
        implicit = _implicit()
        kinds = implicit.nearest_neighbours
        model = (kinds.CosineRecommender if self.kind == "cosine" else kinds.BM25Recommender)(K=self.neighbours, **self.options)
        with warnings.catch_warnings():  # implicit converts its own COO matrix and says so
            warnings.simplefilter("ignore")
            model.fit(users, show_progress=False)
        self.similarity, self.users = model.similarity, users
        return self

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        return rank(np.asarray((self.users[user_rows] @ self.similarity).todense()), k, seen)


class ImplicitALS:
    """Alternating least squares of implicit (Hu, Koren, Volinsky 2008; conjugate gradient of Takacs et al.)."""

    name = "implicit ALS"

    def __init__(
        self, factors: int = 64, regularization: float = 0.01, alpha: float = 1.0, iterations: int = 15, seed: int = 0
    ) -> None:
        self.options: dict[str, Any] = {
            "factors": factors, "regularization": regularization, "alpha": alpha, "iterations": iterations, "random_state": seed,
        }  # fmt: skip

    def fit(self, users: sp.csr_matrix) -> ImplicitALS:
        implicit = _implicit()
        from threadpoolctl import threadpool_limits  # implicit needs it too

        with threadpool_limits(1, "blas"):  # as implicit asks for: its own threads do the work
            self.model = implicit.cpu.als.AlternatingLeastSquares(**self.options)
            self.model.fit(users, show_progress=False)
        return self

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        n_items = len(self.model.item_factors)
        blank = sp.csr_matrix((len(user_rows), n_items), dtype=np.float32)
        rows, scores = self.model.recommend(
            user_rows, seen if seen is not None else blank, N=min(k, n_items), filter_already_liked_items=seen is not None
        )
        none = scores == np.finfo(np.float32).min  # implicit's score of what it left out
        short = ((0, 0), (0, max(k - n_items, 0)))
        rows = np.pad(np.where(none, -1, rows).astype(np.int32), short, constant_values=-1)
        return rows, np.pad(np.where(none, -np.inf, scores).astype(np.float32), short, constant_values=-np.inf)


def _implicit() -> Any:
    try:
        import implicit.cpu.als
        import implicit.nearest_neighbours
    except ImportError as error:
        raise HyperrecError("this needs the package implicit: pip install 'hyperrec[bench]'.") from error
    logging.getLogger("implicit").setLevel(logging.ERROR)
    return implicit

"""What items of histories add to scores: products of sparse rows and weights between items."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numba import get_num_threads

from hyperrec.topics.kernels.gram import add_dense_products, add_products

COLUMNS = 512  # of the scores, that are added to at once
DENSE = 1 / 15  # share of the weights that are not zero, above which dense rows are added faster


class Products:
    """X W for sparse X and a W (K, V) CSR float32 that is kept, by columns too once many rows of X have been asked for.

    The bits of a row are the same whether few or many are asked for: each score adds up in the order of the row.
    """

    def __init__(self, weights: sp.csr_matrix) -> None:
        self.weights = weights

    def add(self, x: sp.csr_matrix, scores: np.ndarray) -> None:
        """scores += X W of X (B, K) CSR float32; scores (B, V) float32."""
        weights = self.weights
        if x.nnz < 10 * weights.shape[0] or weights.nnz < DENSE * np.prod(self._by_column[2].shape):
            add_products(x.indptr, x.indices, x.data, weights.indptr, weights.indices, weights.data, scores)
            return
        told, asked, by_column = self._by_column
        x = x[:, told]

        def add(places: np.ndarray) -> None:
            dense = by_column[:, places].toarray(order="C")
            add_dense_products(x.indptr, x.indices, x.data, dense, asked[places], scores)

        with ThreadPoolExecutor(get_num_threads()) as pool:
            list(pool.map(add, np.split(np.arange(len(asked)), range(COLUMNS, len(asked), COLUMNS))))

    @cached_property
    def _by_column(self) -> tuple[np.ndarray, np.ndarray, sp.csc_matrix]:
        """The rows and the columns of W that hold anything, and these alone."""
        told = np.flatnonzero(np.diff(self.weights.indptr))
        by_column = self.weights[told].tocsc()
        asked = np.flatnonzero(np.diff(by_column.indptr))
        return told, asked, by_column[:, asked]


def times_dense(x: sp.csr_matrix, weights: np.ndarray) -> np.ndarray:
    """X W (B, V) of X (B, K) CSR and W (K, V) dense, all of float32."""
    found = np.zeros((x.shape[0], weights.shape[1]), np.float32)
    add_dense_products(x.indptr, x.indices, x.data, np.ascontiguousarray(weights), np.arange(weights.shape[1]), found)
    return found

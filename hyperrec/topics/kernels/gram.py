"""Products of sparse rows: their Gram matrix, and scores that they add."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hyperrec.topics.kernels import kernel

TILE = 64  # columns that are added up at once: vector registers


@kernel()
def add_gram(column_indptr, column_rows, column_values, indptr, columns, values, weight, gram):
    """gram += X' diag(weight) X of a sparse X (D, K), given by columns and by rows; each thread owns whole rows of gram (K, K).

    A row is added up in float64, in the order of X's rows.
    """
    for i in prange(gram.shape[0]):
        begin = column_indptr[i]
        end = column_indptr[i + 1]
        if begin == end:
            continue
        total = np.zeros(gram.shape[1])
        for p in range(begin, end):
            d = column_rows[p]
            factor = np.float64(column_values[p]) * weight[d]
            for q in range(indptr[d], indptr[d + 1]):
                total[columns[q]] += factor * values[q]
        row = gram[i]
        for j in range(row.shape[0]):
            row[j] += total[j]


@njit(nogil=True, cache=True)
def add_products(indptr, columns, values, weight_indptr, weight_columns, weight_values, scores):
    """scores += X W of sparse X (B, K) and W (K, V); scores (B, V) float32. Not parallel: servers ask from several threads."""
    for b in range(scores.shape[0]):
        line = scores[b]
        for p in range(indptr[b], indptr[b + 1]):
            j = columns[p]
            factor = values[p]
            for q in range(weight_indptr[j], weight_indptr[j + 1]):
                line[weight_columns[q]] += factor * weight_values[q]


@njit(nogil=True, cache=True)
def add_dense_products(indptr, columns, values, weights, places, scores):
    """The same with a dense W (K, n), for the columns `places` (n,) of the scores: in the same order and so with the same bits. All
    rows of X meet the same few columns of W, which stay in the cache of a core."""
    n_rows, n_columns = weights.shape
    tile = np.zeros((n_rows, TILE), np.float32)
    total = np.zeros(TILE, np.float32)
    for start in range(0, n_columns, TILE):
        width = min(TILE, n_columns - start)
        for j in range(n_rows):
            for c in range(width):
                tile[j, c] = weights[j, start + c]
        for b in range(scores.shape[0]):
            total[:] = 0
            for c in range(width):
                total[c] = scores[b, places[start + c]]
            for p in range(indptr[b], indptr[b + 1]):
                row = tile[columns[p]]
                factor = values[p]
                for c in range(TILE):
                    total[c] += factor * row[c]
            for c in range(width):
                scores[b, places[start + c]] = total[c]

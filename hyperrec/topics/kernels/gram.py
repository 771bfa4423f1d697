"""Products of sparse rows: their Gram matrix, and scores that they add."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hyperrec.topics.kernels import kernel


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

"""The best columns of rows of scores."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def best_unseen(scores, seen_indptr, seen_items, allowed, k, rows, values):
    """The k best columns of each row of scores, best first; ties go to the lower column.

    scores (B, V) float32; seen_indptr (B + 1,), seen_items: columns to leave out, ascending in each row; allowed (V,) bool.
    rows (B, k) int32, -1 where nothing is left; values (B, k) float32. Not parallel: servers ask from several threads at once, and
    not every thread pool of numba may be entered twice.
    """
    n_items = scores.shape[1]
    for b in range(scores.shape[0]):
        at = seen_indptr[b]
        stop = seen_indptr[b + 1]
        count = 0
        line = scores[b]
        row = rows[b]
        value = values[b]
        for i in range(n_items):
            if at < stop and seen_items[at] == i:
                at += 1
                continue
            s = line[i]
            if count == k and s <= value[k - 1]:
                continue
            if not allowed[i]:
                continue
            place = count if count < k else k - 1
            while place > 0 and value[place - 1] < s:
                value[place] = value[place - 1]
                row[place] = row[place - 1]
                place -= 1
            value[place] = s
            row[place] = i
            if count < k:
                count += 1
        for place in range(count, k):
            row[place] = -1
            value[place] = -np.inf


@njit(nogil=True, cache=True)
def pair_likeness(lists, indptr, columns, values, total, alike):
    """alike[b] = sum over the pairs of items of lists[b] (-1: none) of the inner product of their vectors.

    indptr (I + 1,), columns, values float64: CSR of the vectors (I, D); total (D,) float64: a place to add up in.
    """
    for b in range(lists.shape[0]):
        total[:] = 0.0
        alike[b] = 0.0
        for item in lists[b]:
            if item >= 0:
                product = 0.0  # with all items before it
                for j in range(indptr[item], indptr[item + 1]):
                    product += total[columns[j]] * values[j]
                    total[columns[j]] += values[j]
                alike[b] += product

"""M-step of the rows of a table."""

from __future__ import annotations

import numpy as np
from numba import prange

from hyperrec.topics.kernels import REORDER, kernel

NOTHING = np.float32(1e-37)  # 1 / NOTHING is still a float32
SMALL = np.float32(1e-18)  # (1 / SMALL)^1.99 is still a float32


@kernel(fastmath=REORDER)
def maximize(n_vt, old, eta, fallback, drop_below, new, empty):
    """M-step of every row: new = norm_t(old * (norm_t(n) / old)^eta); rows without counts become `fallback`.

    Entries under `drop_below` are dropped, but for the largest of a row, and the rest is normalized again; zeros stay zero.
    n_vt (V, T), old (V, T), fallback (T,), new (V, T) float32; empty (V,) bool, True where a row had no counts.
    """
    n_vertices, n_topics = n_vt.shape
    for v in prange(n_vertices):
        counts = n_vt[v]
        into = new[v]
        before = old[v]
        total = np.float32(0)
        for t in range(n_topics):
            total += max(counts[t], np.float32(0))
        empty[v] = not total > NOTHING
        if empty[v]:
            for t in range(n_topics):
                into[t] = fallback[t]
            continue
        norm = np.float32(0)
        for t in range(n_topics):
            p = max(counts[t], np.float32(0)) / total
            if eta != 1 and before[t] > SMALL and p > 0:
                p = before[t] * (p / before[t]) ** eta
            into[t] = p
            norm += p
        kept = norm
        if drop_below > 0:
            largest = np.float32(0)
            for t in range(n_topics):
                largest = max(largest, into[t])
            least = min(drop_below * norm, largest)
            kept = np.float32(0)
            for t in range(n_topics):
                into[t] = into[t] if into[t] >= least else np.float32(0)
                kept += into[t]
        for t in range(n_topics):
            into[t] /= kept

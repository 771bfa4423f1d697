"""Ranking metrics of ranked lists against held-out items, one value a user."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def hits(ranked: np.ndarray, test: sp.csr_matrix) -> np.ndarray:
    """Which recommended items were held out: ranked (n, k) item rows (-1: none), test (n, I) CSR -> (n, k) bool."""
    n_users, n_items = test.shape
    keys = np.repeat(np.arange(n_users), np.diff(test.indptr)) * np.int64(n_items) + test.indices
    asked = np.arange(n_users)[:, None] * np.int64(n_items) + ranked
    return np.isin(asked, keys) & (ranked >= 0)


def per_user(hit: np.ndarray, n_test: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics at k = hit.shape[1], each (n,) float64.

    hit (n, k) bool, best first; n_test (n,) held-out items of each user, > 0.

    ndcg: binary gain, discount 1 / log2(rank + 1), over the best list of min(k, n_test) hits (Jarvelin & Kekalainen 2002).
    precision: hits / k; implicit's precision_at_k is another one, the hits of all users over the sum of their min(k, n_test).
    recall: hits / n_test. recall_capped: hits / min(k, n_test). hit_rate: any hit. mrr: 1 / rank of the first hit. map: mean
    precision at the hits over min(k, n_test).
    """
    k = hit.shape[1]
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)
    capped = np.minimum(n_test, k)
    count = hit.sum(axis=1)
    place = np.arange(1, k + 1)
    return {
        "ndcg": (hit * discount).sum(axis=1) / ideal[capped - 1],
        "precision": count / k,
        "recall": count / n_test,
        "recall_capped": count / capped,
        "hit_rate": (count > 0).astype(float),
        "mrr": np.where(count > 0, 1 / (hit.argmax(axis=1) + 1.0), 0.0),
        "map": (hit * np.cumsum(hit, axis=1) / place).sum(axis=1) / capped,
    }

"""Nearest vectors: FAISS inner product, exact up to 200,000 vectors, inverted lists above; and top-k of whole batches."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from hyperrec.topics import kernels

EXACT_UP_TO = 200_000
RECALL_GOAL = 0.95
BLOCK_BYTES = 2**27


class Index:
    """Inner-product index over the rows of a table.

    Parameters
    ----------
    vectors : (V, T) float32, already scaled.
    exact_up_to : above this number of rows an IVF index is built, and `nprobe` raised until the recall@10 measured
        against exact search on 200 of the rows is at least .95; `recall` keeps the measured value.
    """

    def __init__(self, vectors: np.ndarray, *, exact_up_to: int = EXACT_UP_TO, seed: int = 0) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        n_rows, dim = self.vectors.shape
        self.recall = 1.0
        self.faiss: Any
        if n_rows <= exact_up_to:
            self.faiss = faiss.IndexFlatIP(dim)
            self.faiss.add(self.vectors)
        else:
            self._build_ivf(n_rows, dim, seed)

    def _build_ivf(self, n_rows: int, dim: int, seed: int) -> None:
        n_lists = int(4 * np.sqrt(n_rows))
        self.faiss = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_lists, faiss.METRIC_INNER_PRODUCT)
        self.faiss.cp.seed = seed + 1
        self.faiss.train(self.vectors)
        self.faiss.add(self.vectors)
        sample = np.random.default_rng(seed).choice(n_rows, min(200, n_rows), replace=False)
        exact = np.argpartition(-(self.vectors[sample] @ self.vectors.T), 10, axis=1)[:, :10]
        self.faiss.nprobe = 8
        while True:
            found = self.faiss.search(self.vectors[sample], 10)[1]
            self.recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]))
            if self.recall >= RECALL_GOAL or self.faiss.nprobe >= n_lists:
                return
            self.faiss.nprobe = min(2 * self.faiss.nprobe, n_lists)

    def search(self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query, best first.

        queries (Q, T) float32; allowed (n,) row numbers to choose from, all by default.
        Returns rows (Q, k) int64, -1 where there are no more, and scores (Q, k) float32.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        params: Any = None
        parameters: Any = faiss.SearchParameters
        if allowed is not None:
            allowed = np.unique(allowed).astype(np.int64)
            if hasattr(self.faiss, "nprobe"):  # a few allowed rows lie in lists that no probe opens: search them alone
                among = faiss.IndexFlatIP(self.vectors.shape[1])
                among.add(self.vectors[allowed])
                scores, places = among.search(queries, k)
                return np.append(allowed, -1)[places], scores
            params = parameters(sel=faiss.IDSelectorBatch(allowed))
        scores, rows = self.faiss.search(queries, k, params=params)
        return rows, scores

    def search_unseen(
        self, queries: np.ndarray, seen_indptr: np.ndarray, seen: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows of each query but for those that its user has seen; exact, for whole batches of users.

        seen_indptr (Q + 1,), seen: row numbers, ascending within a query. Returns rows (Q, k) int32 (-1: none), scores (Q, k).
        A selector per query would cost a FAISS call per user; here a block of scores is one matrix product.
        """
        n_rows = len(self.vectors)
        mask = np.ones(n_rows, bool)
        if allowed is not None:
            mask[:] = False
            mask[allowed] = True
        rows = np.empty((len(queries), k), np.int32)
        scores = np.empty((len(queries), k), np.float32)
        block = max(1, BLOCK_BYTES // (4 * n_rows))
        for start in range(0, len(queries), block):
            stop = min(start + block, len(queries))
            products = queries[start:stop] @ self.vectors.T
            indptr = np.ascontiguousarray(seen_indptr[start : stop + 1], dtype=np.int64)
            kernels.best_unseen(products, indptr, seen, mask, k, rows[start:stop], scores[start:stop])
        return rows, scores

"""Nearest vectors by inner product: exact up to 200,000 vectors, FAISS inverted lists above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hyperrec.topics.kernels.ranking import best_unseen

EXACT_UP_TO = 200_000
COPY_UP_TO = 20_000  # allowed rows that are searched alone
RECALL_GOAL = 0.95
SAMPLE = 200
BLOCK_BYTES = 2**27
Step = Callable[[slice, np.ndarray], None]
"""Changes the scores (n, V) of the queries in a slice."""


class Index:
    """Inner-product index over the rows of a table.

    Parameters
    ----------
    vectors : (V, T) float32, already scaled.
    exact_up_to : above this number of rows FAISS's inverted lists are built, at the first search, and `nprobe` raised until the
        recall@10 measured against exact search is at least .95; `recall` keeps the measured value.
    queries : (Q, T) float32 of the kind that will be asked, to measure the recall on; some of the vectors by default.
    """

    def __init__(
        self, vectors: np.ndarray, *, exact_up_to: int = EXACT_UP_TO, queries: np.ndarray | None = None, seed: int = 0
    ) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.exact = len(self.vectors) <= exact_up_to
        self.seed = seed
        self._sample = queries

    @property
    def faiss(self) -> Any:
        """The FAISS index: flat, or inverted lists with the `nprobe` that reaches the recall."""
        return self._built[0]

    @property
    def recall(self) -> float:
        """Measured recall@10 against exact search; 1 where the search is exact."""
        return self._built[1]

    @cached_property
    def _built(self) -> tuple[Any, float]:
        import faiss

        n_rows, dim = self.vectors.shape
        if self.exact:
            flat = faiss.IndexFlatIP(dim)
            flat.add(self.vectors)
            return flat, 1.0
        n_lists = int(4 * np.sqrt(n_rows))
        lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_lists, faiss.METRIC_INNER_PRODUCT)
        lists.cp.seed = self.seed + 1
        lists.train(self.vectors)
        lists.add(self.vectors)
        asked = self.vectors if self._sample is None else self._sample
        chosen = np.random.default_rng(self.seed).choice(len(asked), min(SAMPLE, len(asked)), replace=False)
        sample = np.ascontiguousarray(asked[chosen], dtype=np.float32)
        best = np.argpartition(-(sample @ self.vectors.T), 10, axis=1)[:, :10]
        lists.nprobe = 8
        while True:
            found = lists.search(sample, 10)[1]
            recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]))
            if recall >= RECALL_GOAL or lists.nprobe >= n_lists:
                return lists, recall
            lists.nprobe = min(2 * lists.nprobe, n_lists)

    def search(self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query, best first.

        queries (Q, T) float32; allowed (n,) row numbers to choose from, all by default.
        Returns rows (Q, k) int64, -1 where there are no more, and scores (Q, k) float32.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        options: Any = None
        if allowed is not None:
            import faiss

            allowed = np.unique(allowed).astype(np.int64)
            if not self.exact and len(allowed) <= COPY_UP_TO:  # a few lie in lists that no probe opens: they are searched alone
                among = faiss.IndexFlatIP(self.vectors.shape[1])
                among.add(self.vectors[allowed])
                scores, places = among.search(queries, k)
                return np.append(allowed, -1)[places], scores
            selector = faiss.IDSelectorBatch(allowed)
            flat: Any = faiss.SearchParameters
            lists: Any = faiss.SearchParametersIVF
            options = flat(sel=selector) if self.exact else lists(sel=selector, nprobe=self.faiss.nprobe)
        scores, rows = self.faiss.search(queries, k, params=options)
        return rows, scores

    def search_unseen(
        self,
        queries: np.ndarray,
        seen_indptr: np.ndarray,
        seen: np.ndarray,
        k: int,
        *,
        allowed: np.ndarray | None = None,
        steps: Sequence[Step] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows of each query but for those that its user has seen, for whole batches of users.

        seen_indptr (Q + 1,), seen: row numbers, ascending within a query. Returns rows (Q, k) int32 (-1: none), scores (Q, k).
        Exact up to `exact_up_to` rows, where a block of scores is one matrix product (a FAISS selector per user would cost a call
        per user); above, inverted lists give each user k rows more than she has seen, and the seen ones are left out.

        steps : what is done to blocks of scores, in place and in their order; the search then is exact.
        """
        rows = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        n_rows = len(self.vectors)
        lengths = np.diff(seen_indptr)
        if not self.exact and not steps:
            order = np.argsort(lengths, kind="stable")
            for batch in np.array_split(order, max(1, len(order) // 1024)):
                if not len(batch):
                    continue
                found, values = self.search(queries[batch], min(k + int(lengths[batch].max()), n_rows), allowed=allowed)
                for query, one, value in zip(batch, found, values, strict=True):
                    left = (one >= 0) & ~np.isin(one, seen[seen_indptr[query] : seen_indptr[query + 1]])
                    count = min(k, int(left.sum()))
                    rows[query, :count], scores[query, :count] = one[left][:k], value[left][:k]
            return rows, scores
        mask = np.ones(n_rows, bool)
        if allowed is not None:
            mask[:] = False
            mask[allowed] = True
        block = max(1, BLOCK_BYTES // (4 * n_rows))
        for start in range(0, len(queries), block):
            stop = min(start + block, len(queries))
            products = queries[start:stop] @ self.vectors.T
            for step in steps:
                step(slice(start, stop), products)
            indptr = np.ascontiguousarray(seen_indptr[start : stop + 1], dtype=np.int64)
            best_unseen(products, indptr, seen, mask, k, rows[start:stop], scores[start:stop])
        return rows, scores

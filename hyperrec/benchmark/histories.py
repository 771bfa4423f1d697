"""Peers that read what a user did, and when: her own counts, and what follows what."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.hypergraph import Hypergraph
from hyperrec.peers import Ranked, rank


def in_order(graph: Hypergraph, edge_type: str) -> pl.DataFrame:
    """user, item (rows), time if there is one, by user and time; events of one time as they stand in the log."""
    table = graph.edge_table(edge_type)
    time = ["time"] if table.timed else []
    frame = table.frame.select(*time, user=table.vertex_columns[0], item=table.vertex_columns[1])
    return frame.sort("user", *time, maintain_order=True)


class Markov:
    """What followed the user's last item: n(last, i) + smoothing p(i), n over all users, p(i) the share of i in the events."""

    name = "Markov chain"

    def __init__(self, smoothing: float = 1.0) -> None:
        self.smoothing = smoothing

    def fit(self, events: pl.DataFrame, shape: tuple[int, int]) -> Markov:
        """events: user, item, in order; shape (users, items)."""
        users, items = events["user"].to_numpy(), events["item"].to_numpy()
        follows = users[1:] == users[:-1]
        pairs = items[:-1][follows], items[1:][follows]
        self.after = sp.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), (shape[1] + 1, shape[1]))
        self.last = np.full(shape[0], shape[1])  # the row of those without an event, after which nothing came
        self.last[users] = items
        self.share = np.bincount(items, minlength=shape[1]) / max(len(items), 1)
        return self

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        return rank(self.after[self.last[user_rows]].toarray() + self.smoothing * self.share, k, seen)


class OwnHistory:
    """The user's own items: sum over her events of decay^(how many of her later times there were) + smoothing p(i).

    A time is a basket; with decay 1 these are counts.
    """

    name = "own history"

    def __init__(self, smoothing: float = 0.1, decay: float = 1.0) -> None:
        self.smoothing, self.decay = smoothing, decay

    def fit(self, events: pl.DataFrame, shape: tuple[int, int]) -> OwnHistory:
        """events: user, item, and time where there is a decay."""
        users, items = events["user"].to_numpy(), events["item"].to_numpy()
        weight = np.ones(len(users))
        if self.decay < 1:
            ago = events.select(pl.col("time").rank("dense", descending=True).over("user"))["time"].to_numpy() - 1.0
            weight = self.decay**ago
        self.own = sp.csr_matrix((weight, (users, items)), shape)
        self.share = np.bincount(items, minlength=shape[1]) / max(len(items), 1)
        return self

    def recommend_rows(self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None) -> Ranked:
        return rank(self.own[user_rows].toarray() + self.smoothing * self.share, k, seen)

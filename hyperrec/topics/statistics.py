"""Statistics: what one pass over a shard of edges yields, and the only thing that shards send."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Statistics:
    """Expected counts of a pass.

    n_vt (V, T) float32: expected count of topic t at vertex v.
    n_t (T,) float64: expected count of topic t, each edge once.
    shares (K,) float64: weight that each of several contexts explained; zeros for one.
    log_likelihood: sum of weight * ln sum_t p(t) prod lift; n_degenerate: edges without any context or shared topic;
    weight: total weight of the edges.
    regularizers: the value of R, None without regularizers.
    """

    n_vt: np.ndarray
    n_t: np.ndarray
    shares: np.ndarray
    log_likelihood: float = 0.0
    n_degenerate: int = 0
    weight: float = 0.0
    regularizers: float | None = None

    @property
    def objective(self) -> float:
        """What the EM maximizes, log-likelihood + R, per unit of weight."""
        return (self.log_likelihood + (self.regularizers or 0.0)) / self.weight

    @classmethod
    def empty(cls, n_vertices: int, n_topics: int, n_contexts: int = 1) -> Statistics:
        return cls(np.zeros((n_vertices, n_topics), np.float32), np.zeros(n_topics), np.zeros(n_contexts))

    @property
    def per_weight(self) -> float:
        """Log-likelihood per unit of weight."""
        return self.log_likelihood / self.weight

    @property
    def n_v(self) -> np.ndarray:
        """(V,) float64, the weight of the edges of each vertex."""
        return np.asarray(self.n_vt.sum(axis=1, dtype=np.float64))

    def scored(self, scores: np.ndarray) -> Statistics:
        """Take what a kernel summed up part by part: (P, 3) log-likelihood, edges without context, weight."""
        self.log_likelihood, degenerate, self.weight = scores.sum(axis=0)
        self.n_degenerate = int(degenerate)
        return self

    def merge(self, other: Statistics) -> Statistics:
        """Add the statistics of another shard, in place; merge shards in their order to get the same bits."""
        self.n_vt += other.n_vt
        self.n_t += other.n_t
        self.shares += other.shares
        return self.add_scores(other)

    def add_scores(self, other: Statistics) -> Statistics:
        """Add all but the counts."""
        self.log_likelihood += other.log_likelihood
        self.n_degenerate += other.n_degenerate
        self.weight += other.weight
        return self

    def scale(self, factor: float) -> Statistics:
        """Let every edge count factor times, in place; the log-likelihood stays that of the edges as they are."""
        self.n_vt *= np.float32(factor)
        self.n_t *= factor
        self.shares *= factor
        self.weight *= factor
        return self

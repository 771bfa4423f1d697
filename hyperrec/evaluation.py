"""Measuring a recommender on a held-out split, with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.diversity import list_diversity, user_vectors
from hyperrec.errors import DataError, ModelError, did_you_mean, listed
from hyperrec.histories import listed_ids
from hyperrec.hypergraph import Hypergraph
from hyperrec.metrics import hits, per_user

BATCH = 4096
RESAMPLES = 1000


class Recommender(Protocol):
    """What can be evaluated: anything that ranks item rows for user rows; with `evaluate(among=)` it gets their rows as among=."""

    name: str

    def recommend_rows(
        self, user_rows: np.ndarray, k: int, seen: sp.csr_matrix | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one recommender.

    metrics: frame metric, value, ci_low, ci_high, n_users (the interval is empty for metrics of the whole list set).
    per_user: metric -> (n,) means over the lists of each of the users whose rows are `users` (n,), ascending. n_lists (n,): how
    many lists she had; metrics are means over lists, their intervals by drawing users.
    """

    name: str
    metrics: pl.DataFrame
    per_user: dict[str, np.ndarray]
    users: np.ndarray
    n_lists: np.ndarray

    def __getitem__(self, metric: str) -> float:
        values = dict(self.metrics.select("metric", "value").iter_rows())
        if metric not in values:
            raise DataError(f"no metric '{metric}': measured were {listed(values, most=30)}.{did_you_mean(metric, values)}")
        return float(values[metric])

    def __repr__(self) -> str:
        lines = [f"{self.name}, {int(self.metrics['n_users'][0])} users"]
        for metric, value, low, high in self.metrics.drop("n_users").iter_rows():
            interval = f"  [{low:.4f}, {high:.4f}]" if low is not None else ""
            lines.append(f"  {metric:<18} {value:.4f}{interval}")
        return "\n".join(lines)

    def compare(self, other: Evaluation, metric: str = "ndcg@10", *, seed: int = 0) -> dict[str, float]:
        """Paired difference self - other of a metric over users: difference, ci_low, ci_high (95 %, bootstrap).

        Raises DataError when the two were measured on different users, or the metric is not one value a user.
        """
        if metric not in self.per_user or metric not in other.per_user:
            raise DataError(f"no metric '{metric}' per user: there are {listed(self.per_user, most=30)}.")
        if not np.array_equal(self.users, other.users):
            raise DataError(f"{self.name} and {other.name} were measured on different users: use one split for both.")
        difference = self.per_user[metric] - other.per_user[metric]
        low, high = _interval(difference, self.n_lists, seed)
        return {"difference": float(np.average(difference, weights=self.n_lists)), "ci_low": low, "ci_high": high}


def pair_matrix(graph: Hypergraph, edge_type: str) -> sp.csr_matrix:
    """(users, items) CSR float32 of ones: which pairs an edge type holds."""
    arrays = graph.to_arrays(edge_type)
    shape = tuple(len(graph.vocabulary(modality)) for modality in arrays.modalities[:2])
    ones = np.ones(len(arrays.weight), np.float32)
    matrix = sp.csr_matrix((ones, (arrays.vertices[:, 0], arrays.vertices[:, 1])), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def evaluate(
    model: Recommender | Any,
    train: Hypergraph,
    test: Hypergraph,
    k: int | Sequence[int] = (10, 20),
    *,
    edge_type: str | None = None,
    filter_seen: bool = True,
    among: Iterable[Any] | None = None,
    items: np.ndarray | sp.csr_matrix | None = None,
    seed: int = 0,
) -> Evaluation:
    """Rank all items for every user with held-out edges, and measure the lists.

    k : list lengths. edge_type : the held-out type; the only one of `test` by default. filter_seen : items of the user's training
        edges are neither recommended nor expected. among : ids of the items that lists may show and are expected to, such as those
        without events; all by default. seed : of the bootstrap. items : (I, D) vectors of all items, for the diversity.

    Returns
    -------
    Evaluation with, for each k: ndcg, precision, recall, recall_capped, hit_rate, mrr, map (see `metrics.per_user`),
    diversity (mean over the pairs of a list of 1 - the cosine of the vectors of two items; not for k = 1), coverage (share of
    the items that anyone is shown), novelty (mean -log2 of the share of the training edges that a shown item has),
    popularity_lift (mean popularity of the shown items over that of the users' training items).

    The vector of an item is that of its users in train (of 20,000 of them, where there are more): it belongs to no model, so that
    all can be measured by it. With items=, give the same vectors to all models that are compared.

    Raises
    ------
    DataError : the test split has no edges for any user. ModelError : k <= 0, a model that is not fitted, or of another graph.
    """
    if not (isinstance(train, Hypergraph) and isinstance(test, Hypergraph)):
        raise DataError("evaluate takes the two hypergraphs that hr.split makes.")
    lengths = sorted({*np.atleast_1d(k).tolist()})
    if not lengths or not all(isinstance(one, int) and one > 0 for one in lengths):
        raise ModelError(f"k must be 1 or more, got {k}.")
    edge_type = edge_type or next(iter(test.edges), None)
    if edge_type is None:
        raise DataError("the test split has no edge type: nothing can be measured.")
    if getattr(model, "fitted", True) is False:
        raise ModelError("the model is not fitted: call fit(graph) first.")
    for modality in test.edge_table(edge_type).modalities[:2]:
        if test.vocabulary(modality) != train.vocabulary(modality):
            raise DataError(f"train and test number their {modality} vertices differently: make both with hr.split of one graph.")
        vocabularies = getattr(model, "vocabularies", None)
        if vocabularies is not None and vocabularies.get(modality) != train.vocabulary(modality):
            raise ModelError(f"the model knows other {modality} vertices than train has: evaluate it on the split that it saw.")
    seen, held = pair_matrix(train, edge_type), pair_matrix(test, edge_type)
    if filter_seen:
        held = (held - held.multiply(seen)).tocsr()
        held.eliminate_zeros()
    options: dict[str, Any] = {}
    if among is not None:
        shown = np.unique(train.vocabulary(train.edge_table(edge_type).modalities[1]).rows(listed_ids(among)))
        options["among"], held = shown, (held @ _only(shown, held.shape[1])).tocsr()
        if not held.nnz:
            raise DataError("evaluate: among= names no item that is to be found in the test split.")
    users = np.flatnonzero(np.diff(held.indptr))
    if not len(users):
        raise DataError(f"the test split has no edges of '{edge_type}' to find: nothing can be measured.")
    if items is not None and (np.ndim(items) != 2 or items.shape[0] != seen.shape[1]):
        raise DataError(f"items must be the vectors ({seen.shape[1]}, D) of all items in train; got the shape {np.shape(items)}.")
    ranked = np.concatenate(
        [
            model.recommend_rows(batch, lengths[-1], seen[batch] if filter_seen else None, **options)[0]
            for batch in np.split(users, range(BATCH, len(users), BATCH))
        ]
    )
    n_listed = len(options["among"]) if options else None
    name = getattr(model, "name", "model")
    return measure(name, ranked, held[users], users, seen, lengths, n_listed=n_listed, items=items, seed=seed)


def _only(rows: np.ndarray, n: int) -> sp.csr_matrix:
    """(n, n): what keeps these columns and makes the others empty."""
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, rows)), (n, n))


def measure(
    name: str,
    ranked: np.ndarray,
    held: sp.csr_matrix,
    users: np.ndarray,
    train: sp.csr_matrix,
    lengths: Sequence[int],
    *,
    n_listed: int | None = None,
    items: np.ndarray | sp.csr_matrix | None = None,
    seed: int = 0,
) -> Evaluation:
    """Metrics of lists, as `evaluate` names them.

    ranked (n, k) item rows, -1: none; held (n, I) CSR: what was to be found, something in every row; users (n,): whose list it is,
    a user may have several; train (U, I) CSR of ones: the training pairs; n_listed: how many items could be listed, all by default;
    items: their vectors, for the diversity.
    """
    vectors = user_vectors(train, seed) if items is None else items
    hit = hits(ranked, held)
    n_test = np.diff(held.indptr)
    owners, owner = np.unique(users, return_inverse=True)
    n_lists = np.bincount(owner)
    popularity = np.bincount(train.indices, minlength=train.shape[1]) / max(train.nnz, 1)
    baseline = float((train @ popularity).sum() / max(train.nnz, 1))
    rows: list[tuple[str, float, float | None, float | None, int]] = []
    values: dict[str, np.ndarray] = {}
    for length in lengths:
        measured = per_user(hit[:, :length], n_test)
        if length > 1:
            measured["diversity"] = list_diversity(ranked[:, :length], vectors)
        for metric, lists in measured.items():
            values[f"{metric}@{length}"] = one = np.bincount(owner, lists) / n_lists
            low, high = _interval(one, n_lists, seed)
            rows.append((f"{metric}@{length}", float(lists.mean()), low, high, len(owners)))
        shown = ranked[:, :length][ranked[:, :length] >= 0]
        smallest = 1 / max(train.nnz, 1)
        whole = {
            "coverage": len(np.unique(shown)) / (n_listed or train.shape[1]),
            "novelty": float(-np.log2(np.maximum(popularity[shown], smallest)).mean()),
            "popularity_lift": float(popularity[shown].mean() / max(baseline, 1e-30)),
        }
        rows += [(f"{metric}@{length}", value, None, None, len(owners)) for metric, value in whole.items()]
    schema = {"metric": pl.String, "value": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "n_users": pl.Int64}
    return Evaluation(name, pl.DataFrame(rows, schema=schema, orient="row"), values, owners, n_lists)


def _interval(values: np.ndarray, n_lists: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over lists: users are drawn, with all of theirs."""
    rng = np.random.default_rng(seed)
    n = len(values)
    sums = values * n_lists
    draws = (rng.integers(0, n, n) for _ in range(RESAMPLES if n < 20_000 else 200))
    means = [sums[drawn].sum() / n_lists[drawn].sum() for drawn in draws]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)

"""Neighbours: what items say of one another beyond their topics, as weights between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numba import get_num_threads

from hyperrec.errors import ModelError
from hyperrec.products import times_dense
from hyperrec.topics import reading
from hyperrec.topics.contexts import Context, FoldIn, Mean
from hyperrec.topics.kernels.gram import add_gram

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.topics.shards import History

LEAST = 0.01  # of the weight of the last item, under which an earlier one is forgotten
PIECE = 2**25  # numbers, of T for each entry, that are gone through at once
COLUMNS = 512
TINY = float(np.finfo(np.float32).tiny)
WORKERS = 8  # each holds some tables of COLUMNS x items


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Weights W between items, fitted to what the topics leave unexplained; they may be negative, as topics cannot.

    The score of item i for user u is share * N_u p(i|u) + sum_j x_uj W_ji: the topics' part of what the N_u items of the user (of
    who has fewer than users have on the average: as many as that) lead to expect, and what each of her items adds to it. W
    minimizes the squared error of that score plus regularization * |W|^2:

    - where histories are sets (`Mean`, `FoldIn`, no context), x_u are the user's items, by their weights, and what is expected are
      these items, with W_ii = 0, so that none speaks for itself: EASE (Steck 2019) of the residuals, beside topics as in Koren
      (2008);
    - where they have an order (`Recency` and the others), x holds (1 - gamma)^lag of the items before, and what is expected is
      the next one: N = 1.

    They belong to lists of new items: where users' own events come back (`filter_seen=False`), they are left out.
    Users count N_u^-length_damping, as in the topics. All is done in closed form: K^3 operations for K items; for
    sets of fewer users, D^3 for D of them and K^2 for each topic and each item of a user.

    regularization : in users, or events. exponent : the weights of item j, which n_j users have, are regularized in proportion to
    n_j^exponent, by `regularization` on the average over events (as Rendle et al. 2022 do with factors). sharpness : s; an
    eigenvector of x' x with eigenvalue l counts l^s / (l^s + regularization^s), 1 is ridge regression. Above 1 what many users
    share counts more and what few do less, as in models of low rank and low-pass filters (Shen et al. 2021): better on sparse
    logs, with an exponent of .3 to .5. It takes all eigenvectors of the items, or of the users where they are fewer, in
    several times as long as ridge regression. share : of the topics in what is expected; 0 leaves them out of
    it. kept : the largest weights to an item that are kept, by their absolute values.
    weight_exponent : x_uj is the weight of the item in the history to this power, over the mean of them of the user; 0: all her
    items count alike. The weight is of her edges with it, times those of their types in `TopicModel(edges=)`; where there are edges
    of users and items alone, of these. Above 0 what is played or bought more often tells more of her; of apps those that are open
    all day tell less, at -.2 or so. It is not read where histories have an order, or where `context` is None. One item that
    outweighs all others asks for more regularization.
    gamma : of the decay; it is not read where histories are sets.
    max_items : the most frequent items have weights; the others are ranked by their topics.

    Raises
    ------
    ModelError : a parameter outside its range.
    """

    regularization: float = 500.0
    exponent: float = 0.0
    sharpness: float = 1.0
    share: float = 0.5
    kept: int = 1000
    weight_exponent: float = 0.0
    gamma: float = 0.15
    max_items: int = 10_000

    def __post_init__(self) -> None:
        for name in ("kept", "max_items"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ModelError(f"Neighbours: {name} must be a whole number, 1 or more; got {value!r}.")
        tiny = np.finfo(float).tiny
        for name, low, high, limits in (
            ("regularization", tiny, np.finfo(float).max, "above 0"), ("exponent", -1, 1, "from -1 to 1"),
            ("sharpness", 1, 4, "from 1 to 4"), ("share", 0, 1, "from 0 to 1"), ("weight_exponent", -1, 2, "from -1 to 2"),
            ("gamma", tiny, 1, "above 0 to 1"),
        ):  # fmt: skip
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise ModelError(f"Neighbours: {name} must be a number {limits}; got {value!r}.")


def in_order(context: Context | None) -> bool:
    """Whether histories have an order for a context: what is expected then is what comes next."""
    return context is not None and not isinstance(context, (Mean, FoldIn))


def expected_from(model: Answers, history: History, seen: sp.csr_matrix) -> sp.csr_matrix:
    """x (D, I) CSR float32 of histories: their items, or decays of the last ones."""
    if not in_order(model.context):
        return _weighted(model, history, seen)
    items, documents, owners = _items(model, history)
    lasts = np.flatnonzero(np.append(owners[1:] != owners[:-1], True)) if len(owners) else owners
    return _decays(items, documents, lasts, owners[lasts], seen.shape, _gamma(model), at_end=True)


def _weighted(model: Answers, history: History, seen: sp.csr_matrix) -> sp.csr_matrix:
    """seen (D, I) with, for each item, its weight in the history to the power `weight_exponent`, over the mean of them of its
    container; 1 for an item that the history has not."""
    x = sp.csr_matrix((np.ones(seen.nnz, np.float32), seen.indices, seen.indptr), seen.shape)
    power = model.neighbours.weight_exponent if model.neighbours else 0.0
    if not power or not model.expressed or not len(history.weight) or history.weight.min() == history.weight.max():
        return x
    told = history.matrix(len(model.state.lift))[:, model._rows(model.item_modality)].astype(float)
    told.sum_duplicates()
    lengths = np.diff(told.indptr)

    def of_each(row: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(row).ravel(), lengths)

    told.data /= of_each(np.maximum(told.max(axis=1).toarray(), TINY))  # no power of it is out of range
    told.data = np.maximum(told.data, TINY) ** power
    told.data *= of_each(lengths / np.maximum(told.sum(axis=1).ravel(), TINY))
    return _plain((told if told.nnz == x.nnz else told + (x - told.astype(bool))).tocsr().astype(np.float32))


def amounts(model: Answers, expected: sp.csr_matrix) -> np.ndarray:
    """N (D,) float32 of users: how many items are expected, no fewer than users have on the average.

    The few items of a new user are the first of many: else the weights of one or two would be most of her list.
    """
    if in_order(model.context):
        return np.ones(expected.shape[0], np.float32)
    usual = model.seen.nnz / max(np.count_nonzero(np.diff(model.seen.indptr)), 1)
    return np.asarray(np.maximum(np.diff(expected.indptr), usual), np.float32)


def weights_between(model: Answers) -> sp.csr_matrix:
    """W (I, I) CSR float32; row j: what having item j adds to the score of each item."""
    from threadpoolctl import threadpool_limits

    options = model.neighbours
    assert options is not None
    popularity = np.bincount(model.seen.indices, minlength=model.seen.shape[1])
    most = np.argsort(-popularity, kind="stable")[: options.max_items]
    items = np.sort(most[popularity[most] > 0])
    n = len(items)
    scale = _scale(popularity[items], options.exponent)
    profile = np.zeros((n, model.n_topics))
    following: sp.csr_matrix | None = sp.csr_matrix((n, n), dtype=np.float32) if in_order(model.context) else None
    weight_of = _damping(model)
    n_told = int(np.count_nonzero(np.diff(model.seen.indptr)))
    over_users: list[sp.csr_matrix] | None = [] if following is None and n_told < n else None
    gram = np.zeros((n, n) if over_users is None else (0, 0), np.float32)
    for rows, x, lifts, following_here in _pieces(model, items):
        weight, x = weight_of[rows], _plain(x @ sp.diags_array(scale))
        if over_users is None:
            _add_gram(x, weight, gram)
        else:
            over_users.append(sp.diags_array(np.sqrt(weight)) @ x)
        size = 1 if following_here is not None else np.diff(model.seen.indptr)[rows]
        profile += x.T @ ((weight * size)[:, None] * lifts)
        if following is not None:
            following = following + x.T @ sp.diags_array(weight) @ following_here
    topics = (profile * model.state.prior).astype(np.float32)
    with threadpool_limits(1, "blas"):  # sums are cut by the number of threads
        ridge = _OverItems.of(gram, options) if over_users is None else _OverUsers.of(sp.vstack(over_users, format="csr"), options)
        small = _solved(ridge, topics, following, model._items.probabilities(items), scale, options)
    size = model.seen.shape[1]
    to_all = sp.csr_matrix((np.ones(n, np.float32), (items, np.arange(n))), (size, n))
    weights = (to_all @ small @ to_all.T).tocsr().astype(np.float32)
    weights.sort_indices()
    return weights


def _add_gram(x: sp.csr_matrix, weight: np.ndarray, gram: np.ndarray) -> None:
    """gram += X' diag(weight) X."""
    by_column = x.tocsc()
    add_gram(by_column.indptr, by_column.indices, by_column.data, x.indptr, x.indices, x.data, weight, gram)


def _solved(
    ridge: _OverItems | _OverUsers, profile: np.ndarray, following: sp.csr_matrix | None, vectors: np.ndarray, scale: np.ndarray,
    options: Neighbours,
) -> sp.csr_matrix:  # fmt: skip
    """S P (what followed - share * what the topics expected) of items (n, n), P = (X' X + regularization)^-1 of an X whose columns
    were multiplied by the scale S (n,), or its sharper form; of what is expected of an item the largest weights are kept.
    profile (n, T): X' lifts; vectors (n, T)."""
    n, regularization = len(vectors), np.float32(options.regularization)
    kept = min(options.kept, n)
    topics = options.share * ridge.times(profile)
    by_target = following.tocsc() if following is not None else None

    def solve(at: np.ndarray) -> sp.csr_matrix:
        weights = -(vectors[at] @ topics.T)  # a row for an item that is expected
        if by_target is not None:
            weights += ridge.times(by_target[:, at].toarray()).T
        else:  # P X' X = 1 - r P, then the multipliers that bring the diagonal to 0
            inverse, own = ridge.rows(at), (np.arange(len(at)), at)
            weights -= (regularization / scale[at])[:, None] * inverse
            weights -= inverse * ((weights[own] + 1 / scale[at]) / inverse[own])[:, None]
            weights[own] = 0
        weights *= scale
        if kept < n:
            size = np.abs(weights)
            weights[size < np.partition(size, n - kept, axis=1)[:, n - kept, None]] = 0
        return sp.csr_matrix(weights)

    with ThreadPoolExecutor(min(get_num_threads(), WORKERS)) as pool:
        found = list(pool.map(solve, np.split(np.arange(n), range(COLUMNS, n, COLUMNS))))
    return sp.vstack(found, format="csr").T


@dataclass(frozen=True)
class _OverItems:
    """What is made of a Gram matrix G of items, (n, n): filtered, G^(s - 1) (G^s + r^s)^-1, and left, r^(s - 1) (G^s + r^s)^-1, the
    same where s is 1."""

    filtered: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, gram: np.ndarray, options: Neighbours) -> _OverItems:
        if options.sharpness == 1:
            inverse = _inverse(gram, options)
            return cls(inverse, inverse)
        s, r = options.sharpness, options.regularization
        return cls(*_spectral(gram / r, *(lambda one, p=p: one**p / (one**s + 1) / r for p in (s - 1, 0))))

    def times(self, table: np.ndarray) -> np.ndarray:
        """Filtered columns (n, m)."""
        return np.asarray(self.filtered @ table)

    def rows(self, at: np.ndarray) -> np.ndarray:
        """Rows of what is left, which is symmetric."""
        return np.asarray(self.left[at])


@dataclass(frozen=True)
class _OverUsers:
    """The same by the smaller matrix, where there are fewer users: (G + r)^-1 = (1 - X' (X X' + r)^-1 X) / r.

    x (D, n) CSR float32; of users, (D, D): with left, what is left is (1 - X' left X) / r; with filtered, X' filtered X are columns
    that are made of rows of X, filtered; None where s is 1, and what is left is that. regularization: r.
    """

    x: sp.csr_matrix
    left: np.ndarray
    filtered: np.ndarray | None
    regularization: np.float32

    @classmethod
    def of(cls, x: sp.csr_matrix, options: Neighbours) -> _OverUsers:
        x = x[np.flatnonzero(np.diff(x.indptr))].astype(np.float32)
        x.sort_indices()
        gram, s, r = np.zeros((x.shape[0], x.shape[0]), np.float32), options.sharpness, options.regularization
        _add_gram(_plain(x.T.tocsr()), np.ones(x.shape[1], np.float32), gram)
        if s == 1:
            return cls(x, _inverse(gram, options), None, np.float32(r))
        left, filtered = _spectral(gram / r, *(lambda one, p=p: one ** (s - p) / (one**s + 1) / r**p for p in (1, 2)))
        return cls(x, left, filtered, np.float32(r))

    def times(self, table: np.ndarray) -> np.ndarray:
        """Filtered columns (n, m)."""
        if self.filtered is not None:
            return np.asarray(self.x.T @ (self.filtered @ (self.x @ table)))
        return np.asarray((table - self.x.T @ (self.left @ (self.x @ table))) / self.regularization)

    def rows(self, at: np.ndarray) -> np.ndarray:
        """Rows of what is left."""
        found = times_dense(self.x.T.tocsr(), times_dense(self.x[:, at].T.tocsr(), self.left).T)
        found[at, np.arange(len(at))] -= 1
        return np.ascontiguousarray(found.T) / -self.regularization


def _spectral(gram: np.ndarray, *of: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Functions of a symmetric matrix (n, n), by its eigenvalues; those that are 0 but for rounding are the least that is not."""
    values, vectors = np.linalg.eigh(gram)
    least = len(values) * np.finfo(np.float32).eps * max(float(values[-1]), 1e-30)
    values = np.maximum(values.astype(np.float64), least)
    return [(vectors * one(values).astype(np.float32)) @ vectors.T for one in of]


def _inverse(gram: np.ndarray, options: Neighbours) -> np.ndarray:
    """(gram + regularization)^-1 by Cholesky; gram is overwritten."""
    from scipy.linalg import lapack

    lost = options.regularization < np.finfo(np.float32).eps * gram.diagonal().max(initial=0)
    gram[np.diag_indices(len(gram))] += np.float32(options.regularization)
    factor, failed = lapack.spotrf(gram.T, lower=True, overwrite_a=True, clean=False)
    if lost or failed or not np.isfinite(np.diag(factor)).all():
        nearer = f", or weight_exponent={options.weight_exponent:g} nearer 0" if options.weight_exponent else ""
        raise ModelError(
            f"Neighbours: regularization={options.regularization:g} is too small for this log: take a larger one{nearer}."
        )
    inverse, _ = lapack.spotri(factor, lower=True, overwrite_c=True)
    for start in range(0, len(inverse), COLUMNS):  # its upper half too
        at, after = slice(start, start + COLUMNS), slice(start + COLUMNS, None)
        inverse[at, after] = inverse[after, at].T
        inverse[at, at] = np.tril(inverse[at, at]) + np.tril(inverse[at, at], -1).T
    return np.asarray(inverse.T)  # by rows


def _scale(n_users: np.ndarray, exponent: float) -> np.ndarray:
    """(n,) float32: what columns are multiplied by, so that one regularization for all stands for one of each."""
    grown = n_users.astype(float) ** exponent
    return np.asarray(np.sqrt(np.average(grown, weights=n_users) / grown), np.float32)


def _damping(model: Answers) -> np.ndarray:
    """(D,) float32 N_u^-length_damping, 1 on the average over what is expected."""
    lengths = np.maximum(np.diff(model.seen.indptr), 1).astype(float)
    weight = lengths**-model.length_damping
    counted = np.diff(model.seen.indptr) > 0
    mean = np.average(weight[counted], weights=lengths[counted] if in_order(model.context) else None) if counted.any() else 1.0
    return np.asarray(weight / mean, np.float32)


Piece = tuple[np.ndarray, sp.csr_matrix, np.ndarray, sp.csr_matrix | None]


def _pieces(model: Answers, items: np.ndarray) -> Iterator[Piece]:
    """Users and what is expected of them, a piece of the histories after the other: user rows (n,), x (n, K) CSR, lifts (n, T) of
    what the topics read, and the next items (n, K) where there is an order."""
    lengths = np.diff(model.histories.indptr) if in_order(model.context) else np.diff(model.seen.indptr)
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // max(PIECE // model.n_topics, 1))) + 1
    for rows in np.split(np.arange(len(lengths)), cuts):
        seen, history = model.seen[rows], model.histories.take(rows)
        if not in_order(model.context):
            x = expected_from(model, history, seen)[:, items]
            yield rows, _plain(x), model._user_lifts(rows), None
            continue
        places, documents, owners = _items(model, history)
        x = _decays(places, documents, np.arange(len(places)), np.arange(len(places)), (len(places), seen.shape[1]), _gamma(model))
        told = np.flatnonzero(np.diff(x.indptr))
        following = sp.csr_matrix(
            (np.ones(len(told), np.float32), (np.arange(len(told)), places[told])), (len(told), seen.shape[1])
        )
        yield rows[owners[told]], _plain(x[told][:, items]), _contexts(model, history)[told], following[:, items]


def _plain(x: sp.csr_matrix) -> sp.csr_matrix:
    x.sort_indices()
    return x


def _gamma(model: Answers) -> float:
    return float((model.neighbours or Neighbours()).gamma)


def _items(model: Answers, history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The positions of histories that are items: their rows, the documents that they are in, and the containers."""
    rows = model._rows(model.item_modality)
    chosen = (history.vertices >= rows.start) & (history.vertices < rows.stop)
    begins = history.starts.copy()
    begins[history.indptr[:-1][np.diff(history.indptr) > 0]] = True
    return history.vertices[chosen] - rows.start, np.cumsum(begins)[chosen], history.owners[chosen]


def _contexts(model: Answers, history: History) -> np.ndarray:
    """Lifts (n, T) of the contexts of the positions of histories that are items."""
    rows = model._rows(model.item_modality)
    chosen = (history.vertices >= rows.start) & (history.vertices < rows.stop)
    contexts = reading.contexts_of(history, model._reading.plan(), model.state)[0]
    return np.asarray(contexts[np.flatnonzero(chosen) + history.owners[chosen]])  # after each history stands what would come next


def _decays(
    items: np.ndarray, documents: np.ndarray, positions: np.ndarray, rows: np.ndarray, shape: tuple[int, int], gamma: float,
    *, at_end: bool = False,
) -> sp.csr_matrix:  # fmt: skip
    """(1 - gamma)^lag of the items before each of the positions in its document; at_end, of those up to it. CSR float32."""
    firsts = np.searchsorted(documents, documents)
    reach = 1 + int(np.log(LEAST) / np.log1p(-gamma)) if gamma < 1 else 1
    parts = []
    for lag in range(reach):
        before = positions - lag - (0 if at_end else 1)
        there = np.flatnonzero(before >= firsts[positions])
        if not len(there):
            break
        parts.append((rows[there], items[before[there]], np.full(len(there), (1 - gamma) ** lag, np.float32)))
    if not parts:
        return sp.csr_matrix(shape, dtype=np.float32)
    at, columns, values = (np.concatenate(one) for one in zip(*parts, strict=True))
    return sp.csr_matrix((values, (at, columns)), shape)

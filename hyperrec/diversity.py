"""Lists that differ within: how diverse they are, and a re-ranking that gives up a bounded share of their own score for it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hyperrec.topics.kernels.ranking import pair_likeness

CANDIDATES = 5  # times k: the best items that a diverse list is made from
BLOCK = 2**24  # entries of the vectors that are gathered at once
STRENGTHS = np.geomspace(0.01, 10, 31)
"""How much the likeness to an item of the list takes from a candidate, in scores of the best candidate."""

SAMPLE = 20_000  # users, of whom the vectors of items are made


def dcg(scores: np.ndarray) -> np.ndarray:
    """What lists of scores (n, k), best first, promise: sum_r scores_r / log2(r + 1), (n,) float64."""
    gains: np.ndarray = scores @ (1 / np.log2(np.arange(2, scores.shape[1] + 2)))
    return gains


def diversify(scores: np.ndarray, vectors: np.ndarray, k: int, share: float) -> np.ndarray:
    """Lists of k candidates that are as different as can be found while they keep 1 - share of the best lists' DCG.

    Lists by maximal marginal relevance: the next item has the highest score / best score - strength * (likeness to the item of the
    list that it is most like). Of the lists for all `STRENGTHS`, 0 among them, the one with the least mean likeness of its pairs is
    taken whose own DCG, with its items in the order of their scores, is at least (1 - share) times that of the k best candidates.

    Parameters
    ----------
    scores : (n, N) of the candidates of n lists, best first; -inf where there are no more; what is below 0 promises nothing.
    vectors : (n, N, T) unit vectors of the candidates, N >= k: their inner product is their likeness.
    share : from 0 (the best candidates as they are) to 1.

    Returns
    -------
    places (n, k) of the candidates that make the lists, ascending, so that scores never rise in a list.

    Notes
    -----
    Carbonell & Goldstein (1998). More share never gives a list that is less diverse: what it may choose from holds what less may.
    """
    there = np.isfinite(scores)
    gains = np.where(there, np.maximum(scores, 0), 0).astype(np.float64)
    best = np.tile(np.arange(k), (len(scores), 1))
    if not share:
        return best
    likeness = vectors @ vectors.transpose(0, 2, 1)
    least = (1 - share) * dcg(gains[:, :k])
    relevance = np.where(there, gains / np.maximum(gains[:, :1], 1e-300), -np.inf)
    alike = _likeness(likeness, best)
    for strength in STRENGTHS:
        places = _marginal(relevance, likeness, k, strength)
        value = _likeness(likeness, places)
        better = (value < alike) & (dcg(np.take_along_axis(gains, places, axis=1)) >= least) & there[:, k - 1]
        best[better], alike[better] = places[better], value[better]
    return best


def diversified(rows: np.ndarray, scores: np.ndarray, vectors: np.ndarray, k: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Lists (n, k) of items and their scores by `diversify`, from candidates rows, scores (n, N) and the vectors (I, T) of all
    items; row -1: none, with score -inf."""
    size = max(1, BLOCK // (rows.shape[1] * vectors.shape[1]))
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    places = [np.zeros((0, k), np.int64), *(diversify(scores[one], vectors[rows[one]], k, share) for one in parts)]
    chosen = np.concatenate(places)
    return np.take_along_axis(rows, chosen, axis=1), np.take_along_axis(scores, chosen, axis=1)


def _marginal(relevance: np.ndarray, likeness: np.ndarray, k: int, strength: float) -> np.ndarray:
    """Places (n, k) of lists by maximal marginal relevance, ascending."""
    lists = np.arange(len(relevance))
    value, nearest = relevance.copy(), np.zeros(relevance.shape, likeness.dtype)
    places = np.empty((len(relevance), k), np.int64)
    for rank in range(k):
        places[:, rank] = value.argmax(axis=1)
        np.maximum(nearest, likeness[lists, places[:, rank]], out=nearest)
        value = relevance - strength * nearest
        value[lists[:, None], places[:, : rank + 1]] = -np.inf
    places.sort(axis=1)
    return places


def _likeness(likeness: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Sum of the likeness of the items of each list, (n,) float64; of the same number of pairs for all."""
    among = likeness[np.arange(len(places))[:, None, None], places[:, :, None], places[:, None, :]]
    total: np.ndarray = among.sum(axis=(1, 2), dtype=np.float64)
    return total


def user_vectors(users: sp.csr_matrix, seed: int = 0) -> sp.csr_matrix:
    """Items as the users who have them: (I, U) of a users x items CSR; of `SAMPLE` users, drawn by seed, where there are more."""
    if users.shape[0] > SAMPLE:
        users = users[np.sort(np.random.default_rng(seed).choice(users.shape[0], SAMPLE, replace=False))]
    return users.T.tocsr()


def list_diversity(ranked: np.ndarray, items: np.ndarray | sp.csr_matrix) -> np.ndarray:
    """Mean over the pairs of each list of 1 - the cosine of the vectors of two items, (n,) float64.

    ranked : (n, k) rows of items, -1: none. items : (I, D) vectors; one of zeros is like no other. A list of one item or none: 0.
    """
    vectors = sp.csr_matrix(items, dtype=np.float64, copy=True)
    vectors.eliminate_zeros()
    norms = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    vectors.data /= np.repeat(norms, np.diff(vectors.indptr))
    alike, total = np.empty(len(ranked)), np.zeros(vectors.shape[1])
    pair_likeness(ranked, vectors.indptr, vectors.indices, vectors.data, total, alike)
    size = (ranked >= 0).sum(axis=1)
    pairs = size * (size - 1) / 2
    diversity: np.ndarray = np.where(pairs > 0, 1 - alike / np.maximum(pairs, 1), 0.0)
    return diversity

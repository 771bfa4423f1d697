"""Scores of topics: how sparse, distinct, coherent and predictive they are. Arrays in, a number out, for any modality.

`model.phi(modality)` is a phi = p(v|t), `model.embedding(modality)` a theta = p(t|d), `model.state.prior` is p(t). A topic that is
dead in the modality (its column of phi is zeros) is left out of the means over topics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from hyperrec.errors import ModelError

BLOCK = 2**22  # numbers that `perplexity` holds at a time


def sparsity(phi: np.ndarray, *, threshold: float = 1e-9) -> float:
    """Share of zeros in a table of probabilities.

    Parameters
    ----------
    phi : (V, T) p(v|t), or any other table.
    threshold : what is not above it counts as zero.

    Returns
    -------
    0 to 1; the higher, the sparser. Vorontsov & Potapenko (2014), "Additive regularization of topic models".
    """
    return float(np.mean(_table(phi, "phi") <= threshold))


def distinctness(phi: np.ndarray) -> float:
    """Mean over pairs of topics of the Hellinger distance sqrt(1 - sum_v sqrt(p(v|t) p(v|s))).

    Parameters
    ----------
    phi : (V, T) p(v|t).

    Returns
    -------
    0 (all topics are the same) to 1 (no two share a vertex).

    Raises
    ------
    ModelError : phi is no p(v|t), or fewer than two of its topics are alive.
    """
    root = np.sqrt(_pairs_of(phi))
    overlap = np.minimum(root.T @ root, 1.0)
    return float(np.sqrt(1 - overlap[np.triu_indices(len(overlap), 1)]).mean())


def jaccard(phi: np.ndarray, *, k: int = 10) -> float:
    """Mean over pairs of topics of the Jaccard similarity of their k most probable vertices: |A and B| / |A or B|.

    Parameters
    ----------
    phi : (V, T) p(v|t).
    k : so many vertices a topic, all of them where there are fewer; of equal ones the first.

    Returns
    -------
    0 (no two topics share any) to 1 (all have the same).

    Raises
    ------
    ModelError : phi is no p(v|t), or fewer than two of its topics are alive; k < 1.
    """
    columns = _pairs_of(phi)
    member = np.zeros(columns.shape)
    np.put_along_axis(member, _top(columns, k, 1), 1.0, axis=0)
    both = (member.T @ member)[np.triu_indices(columns.shape[1], 1)]
    return float((both / (2 * member[:, 0].sum() - both)).mean())


def coherence(phi: np.ndarray, documents: sp.csr_matrix, *, k: int = 10, measure: str = "npmi") -> float:
    """Mean over topics of the mean over pairs of their k most probable vertices of how they go together in documents.

    npmi : ln(p(u, v) / (p(u) p(v))) / -ln p(u, v), with p the share of documents that have the vertices (Bouma 2009; Lau et al.
        2014): -1 where no document has both, 0 where every one has, and where they are independent, 1 where none has one alone.
    umass : ln((D(v, u) + 1) / D(u)), with D the number of documents and u the more probable one (Mimno et al. 2011).

    Parameters
    ----------
    phi : (V, T) p(v|t).
    documents : (D, V) CSR; what is not zero is there. For users and items: the histories.
    k : so many vertices a topic, 2 or more; all of them where there are fewer.
    measure : "npmi" or "umass".

    Returns
    -------
    npmi: -1 to 1; umass: rarely above 0. The higher, the more coherent.

    Raises
    ------
    ModelError : the shapes do not fit; another measure; for umass a vertex that no document has, since D(u) = 0 divides.
    """
    if measure not in ("npmi", "umass"):
        raise ModelError(f"measure must be 'npmi' or 'umass'; got {measure!r}.")
    columns = _alive(phi)
    there = _documents(documents, len(columns)).astype(bool).astype(np.float64).tocsc()
    if there.shape[0] == 0:
        raise ModelError("coherence needs documents; got none.")
    top = _top(columns, k, 2)
    first, second = np.triu_indices(len(top), 1)  # pairs, the more probable vertex first
    total = 0.0
    for vertices in top.T:
        part = there[:, vertices]
        together = (part.T @ part).toarray()
        alone, both = np.diag(together), together[first, second]
        if measure == "umass":
            if not alone.all():
                missing = vertices[alone == 0][0]
                raise ModelError(
                    f"umass: no document has vertex {missing}, one of the {len(top)} most probable of a topic. "
                    "Take the documents that the topics were fitted to, or measure='npmi'."
                )
            total += np.log((both + 1) / alone[first]).mean()
        else:
            total += _npmi(both / there.shape[0], alone[first] / there.shape[0], alone[second] / there.shape[0]).mean()
    return float(total / top.shape[1])


def _npmi(both: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """NPMI of pairs, from the shares of documents that have both, and either."""
    found = np.where(both < 1, -1.0, 0.0)
    some = (both > 0) & (both < 1)
    p = both[some]
    found[some] = np.log(p / (one[some] * other[some])) / -np.log(p)
    return found


def perplexity(phi: np.ndarray, theta: np.ndarray, documents: sp.csr_matrix) -> float:
    """exp(-sum_dv n_dv ln sum_t p(v|t) p(t|d) / sum_dv n_dv).

    Parameters
    ----------
    phi : (V, T) p(v|t). theta : (D, T) p(t|d). documents : (D, V) CSR of counts n_dv.

    Returns
    -------
    1 or more, about the number of vertices among which the model is left to guess; infinite where it excludes what is there.

    Raises
    ------
    ModelError : the shapes do not fit; there are no counts. Hofmann (1999).
    """
    table, rows = _table(phi, "phi"), _table(theta, "theta")
    counts = _documents(documents, len(table)).tocoo()
    if rows.shape != (counts.shape[0], table.shape[1]):
        raise ModelError(f"theta must be (D, T) = {(counts.shape[0], table.shape[1])}; got {rows.shape}.")
    if not counts.data.sum() > 0:
        raise ModelError("perplexity needs documents with counts; got none.")
    likelihood, step = 0.0, max(BLOCK // table.shape[1], 1)
    for start in range(0, counts.nnz, step):
        some = slice(start, start + step)
        p = np.einsum("et,et->e", rows[counts.row[some]], table[counts.col[some]])
        n = counts.data[some]
        with np.errstate(divide="ignore"):
            likelihood += float(n[n > 0] @ np.log(p[n > 0]))
    return float(np.exp(-likelihood / counts.data.sum()))


def completion(phi: np.ndarray, prior: np.ndarray, documents: sp.csr_matrix, *, iterations: int = 10, seed: int = 0) -> float:
    """Perplexity of one half of each held-out document, with p(t|d) folded in from the other half.

    Occurrences are dealt to the halves at random, so that no occurrence is predicted from itself. Documents with fewer than two
    are left out.

    Parameters
    ----------
    phi : (V, T) p(v|t). prior : (T,) p(t), the start of the fold-in. documents : (D, V) CSR of whole counts n_dv.
    iterations : of the EM that finds p(t|d).

    Returns
    -------
    1 or more, the lower, the better. Asuncion et al. (2009), "On smoothing and inference for topic models"; Wallach et al. (2009).

    Raises
    ------
    ModelError : the shapes do not fit; counts that are not whole; no document has two occurrences.
    """
    table, start = _table(phi, "phi"), _prior(prior, phi)
    counts = _documents(documents, len(table))
    if not (counts.data == np.round(counts.data)).all():
        raise ModelError("completion deals occurrences to two halves: documents must hold whole counts.")
    counts = counts[np.asarray(counts.sum(axis=1)).ravel() >= 2]
    if not counts.shape[0]:
        raise ModelError("completion needs documents of two occurrences or more; got none.")
    kept = np.random.default_rng(seed).binomial(counts.data.astype(np.int64), 0.5)
    told = sp.csr_matrix((kept, counts.indices, counts.indptr), counts.shape, dtype=np.float64)
    return perplexity(table, _folded_in(told, table, start, iterations), counts - told)


def _folded_in(counts: sp.csr_matrix, phi: np.ndarray, start: np.ndarray, iterations: int) -> np.ndarray:
    """p(t|d) (D, T) by EM from `start`, of which a document without counts is left with all."""
    owners = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    theta = np.tile(start, (counts.shape[0], 1))
    for _ in range(iterations):
        p, step = np.empty(counts.nnz), max(BLOCK // phi.shape[1], 1)
        for first in range(0, counts.nnz, step):
            some = slice(first, first + step)
            p[some] = np.einsum("et,et->e", theta[owners[some]], phi[counts.indices[some]])
        ratio = sp.csr_matrix((counts.data / np.maximum(p, 1e-300), counts.indices, counts.indptr), counts.shape)
        found = theta * (ratio @ phi)
        total = found.sum(axis=1, keepdims=True)
        theta = np.where(total > 0, found / np.where(total > 0, total, 1), theta)
    return theta


def windows(texts: Iterable[np.ndarray], n_vertices: int, *, width: int = 10) -> sp.csr_matrix:
    """Windows of ordered histories as documents, for `coherence`: which vertices stand within `width` positions of each other.

    Parameters
    ----------
    texts : the vertices (rows of phi) of each history, in their order. n_vertices : V. width : positions in a window.

    Returns
    -------
    (W, V) CSR of ones: every run of `width` positions, one after the other by a position; a shorter history is one window.
    Newman et al. (2010), "Automatic evaluation of topic coherence".

    Raises
    ------
    ModelError : width below 2, a vertex that there is not.
    """
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 2:
        raise ModelError(f"width must be a whole number, 2 or more; got {width!r}.")
    parts = [np.empty((0, width), np.int64)]
    for text in texts:
        rows = np.asarray(text, dtype=np.int64).ravel()
        if len(rows) and not (rows.min() >= 0 and rows.max() < n_vertices):
            raise ModelError(f"windows: vertices are 0 to {n_vertices - 1}; got {rows.min()} to {rows.max()}.")
        if 0 < len(rows) < width:
            rows = np.append(rows, np.full(width - len(rows), rows[0]))  # the same vertices, once each
        if len(rows):
            parts.append(np.lib.stride_tricks.sliding_window_view(rows, width))
    found = np.concatenate(parts)
    places = np.arange(0, found.size + 1, width)
    there = sp.csr_matrix((np.ones(found.size, np.float32), found.ravel(), places), (len(found), n_vertices))
    there.sum_duplicates()
    there.data[:] = 1
    return there


def mass(prior: np.ndarray) -> np.ndarray:
    """Shares p(t) of the topics, the largest first, (T,); they sum to one.

    Raises
    ------
    ModelError : prior is no p(t).
    """
    shares = np.asarray(prior, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-3:
        raise ModelError(f"prior must be p(t), (T,), not negative, and sum to one; got {prior!r}.")
    return np.sort(shares)[::-1]


def background(phi: np.ndarray, prior: np.ndarray, *, threshold: float = 0.5) -> float:
    """Share of the occurrences whose vertex says little of topics: sum_t p(t) ln(p(t) / p(t|v)) is not above the threshold.

    Parameters
    ----------
    phi : (V, T) p(v|t). prior : (T,) p(t). threshold : of the divergence, in nats.

    Returns
    -------
    0 to 1, by p(v) = sum_t p(v|t) p(t). Vorontsov, Potapenko, Plavin (2015), "Additive regularization of topic models for topic
    selection and sparse factorization".

    Raises
    ------
    ModelError : the shapes do not fit.
    """
    table, shares = _table(phi, "phi"), _prior(prior, phi)
    joint = table * shares
    p = joint.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(shares > 0, shares * np.log(shares * p[:, None] / joint), 0.0)
    return float(p[(terms.sum(axis=1) <= threshold) & (p > 0)].sum() / p.sum())


class Kernel(NamedTuple):
    """Of the kernels W_t = {v: p(t|v) > threshold}, means over the topics. size: vertices; purity: sum_{v in W_t} p(v|t);
    contrast: mean_{v in W_t} p(t|v). A topic without a kernel counts with zeros."""

    size: float
    purity: float
    contrast: float


def kernel(phi: np.ndarray, prior: np.ndarray, *, threshold: float = 0.25) -> Kernel:
    """Size, purity and contrast of the kernels of topics: the vertices that tell a topic from the others.

    Parameters
    ----------
    phi : (V, T) p(v|t). prior : (T,) p(t).
    threshold : of p(t|v) = norm_t(p(v|t) p(t)), above which a vertex is in the kernel of t.

    Returns
    -------
    Kernel : size 0 to V, purity and contrast 0 to 1.

    Raises
    ------
    ModelError : the shapes do not fit. Vorontsov & Potapenko (2014), "Additive regularization of topic models".
    """
    table, prior = _table(phi, "phi"), _prior(prior, phi)
    alive = _alive(table)
    joint = alive * prior[table.any(axis=0)]
    embedding = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
    member = embedding > threshold
    size = member.sum(axis=0)
    contrast = (embedding * member).sum(axis=0) / np.maximum(size, 1)
    return Kernel(float(size.mean()), float((alive * member).sum(axis=0).mean()), float(contrast.mean()))


def _table(table: np.ndarray, name: str) -> np.ndarray:
    """A table of probabilities in float64, checked."""
    checked = np.asarray(table, dtype=np.float64)
    if checked.ndim != 2 or not checked.size or not (np.isfinite(checked).all() and (checked >= 0).all()):
        raise ModelError(f"{name} must be a table of probabilities, two axes, finite and not negative; got {checked.shape}.")
    return checked


def _prior(prior: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """p(t) in float64, of as many topics as phi has."""
    shares = np.asarray(prior, dtype=np.float64)
    if shares.shape != phi.shape[1:]:
        raise ModelError(f"prior must be p(t), (T,) = {phi.shape[1:]}; got {shares.shape}.")
    return shares


def _alive(phi: np.ndarray) -> np.ndarray:
    """The columns of phi that are not zeros, which must sum to one."""
    table = _table(phi, "phi")
    alive = table[:, table.any(axis=0)]
    off = np.abs(alive.sum(axis=0) - 1) > 1e-3
    if off.any() or not alive.size:
        what = f"one sums to {alive.sum(axis=0)[off][0]:.3g}" if off.any() else "all are zeros"
        raise ModelError(f"phi must be p(v|t), (V, T), whose columns sum to one; {what}. model.phi(modality) is one.")
    return np.asarray(alive)


def _pairs_of(phi: np.ndarray) -> np.ndarray:
    columns = _alive(phi)
    if columns.shape[1] < 2:
        raise ModelError("pairs of topics are compared, and there is one topic only.")
    return columns


def _top(columns: np.ndarray, k: int, least: int) -> np.ndarray:
    """(k, T) the most probable vertices of each topic, best first."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < least or len(columns) < least:
        raise ModelError(f"k must be a whole number, {least} or more, of as many vertices; got {k!r} of {len(columns)}.")
    return np.asarray(np.argsort(-columns, axis=0, kind="stable")[:k])


def _documents(documents: sp.csr_matrix, n_vertices: int) -> sp.csr_matrix:
    if not sp.issparse(documents) or documents.shape[1] != n_vertices:
        got = documents.shape if sp.issparse(documents) else type(documents).__name__
        raise ModelError(f"documents must be a sparse matrix (D, V) with V = {n_vertices}; got {got}.")
    counts = documents.tocsr(copy=True)
    counts.sum_duplicates()
    if not (np.isfinite(counts.data).all() and (counts.data >= 0).all()):
        raise ModelError("documents must hold counts, finite and not negative.")
    return counts

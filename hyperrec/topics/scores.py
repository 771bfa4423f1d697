"""Scores of topics: how sparse, distinct, coherent and predictive they are. Arrays in, a number out, for any modality.

`model.phi(modality)` is a phi = p(v|t), `model.embedding(modality)` a theta = p(t|d), `model.state.prior` is p(t). A topic that is
dead in the modality (its column of phi is zeros) is left out of the means over topics.
"""

from __future__ import annotations

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
    table, prior = _table(phi, "phi"), np.asarray(prior, dtype=np.float64)
    if prior.shape != (table.shape[1],):
        raise ModelError(f"prior must be p(t), (T,) = {(table.shape[1],)}; got {prior.shape}.")
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

"""Items in contexts: what a context says of single items, beyond what their users and their topics say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from hyperrec.hypergraph import Hypergraph

STRENGTHS = 2.0 ** np.arange(15)  # of the prior, in users
MOST = 5e6  # products of a user's items with her contexts that are added up; a modality with more, such as baskets, says nothing
READ = 200_000  # entries that the strength of the prior is learned from


@dataclass(frozen=True)
class Situated:
    """How many users each item has in each context, and how many were to be expected.

    A user of an item counts one, shared among its contexts as her events with the item are: n_ic. She would be expected in each
    context as often as she is with all of her items: E_ic = sum_u p(c|u), over the users of the item, so that where users differ
    (countries) and items do not, n = E. The lift of an item in a context is the mean of a Gamma posterior,

        (n_ic + kappa p(c)) / (E_ic + kappa p(c)),    n_ic ~ Poisson(lift E_ic),

    with the kappa that is the most likely, for each modality: one that says nothing of single items has lifts of 1.

    edge_type: what is counted. modalities: contexts. found, expected: of each, n and E, (C, I) CSR. kin (I, I) CSR: the items that
    those without events are like, columns of weights that sum to 1; their ln lifts are the mean of these.
    """

    edge_type: str
    modalities: tuple[str, ...]
    found: tuple[sp.csr_matrix, ...]
    expected: tuple[sp.csr_matrix, ...]
    kin: sp.csr_matrix | None = None

    @cached_property
    def lifts(self) -> dict[str, sp.csr_matrix]:
        """modality -> ln lift (C, I) CSR, of those that say something."""
        read = zip(self.modalities, self.found, self.expected, strict=True)
        lifts = {modality: ln_lifts(found, expected) for modality, found, expected in read}
        return {modality: self._and_kin(one) for modality, one in lifts.items() if one is not None}

    def _and_kin(self, lifts: sp.csr_matrix) -> sp.csr_matrix:
        if self.kin is None:
            return lifts
        lifts.resize(lifts.shape[0], self.kin.shape[0])
        return (lifts + lifts @ self.kin).tocsr()

    def factor(self, places: np.ndarray, n_items: int) -> np.ndarray:
        """(I,) float32, the lifts of all items in a context: rows (M,) of the modalities of `lifts`, -1 where nothing is given.

        Contexts and items that came later have a lift of 1.
        """
        ln_factor = np.zeros(n_items, np.float32)
        for one, place in zip(self.lifts.values(), places, strict=True):
            if 0 <= place < one.shape[0]:
                ln_factor[: one.shape[1]] += one[[place]].toarray().ravel()
        return np.exp(ln_factor)

    def places(self, given: Mapping[str, np.ndarray], n: int) -> np.ndarray | None:
        """(n, M) rows of the contexts asked for, of the modalities of `lifts`; None where none of them is given."""
        if not set(given) & set(self.lifts):
            return None
        return np.stack([np.broadcast_to(given.get(one, np.array([-1])), n) for one in self.lifts], axis=1)


def situated_of(graph: Hypergraph, edges: Mapping[str, float], user: str, item: str) -> Situated | None:
    """Of the longest edge type that joins users, items and contexts; None where there is none."""
    joining = [name for name in edges if {user, item} < set(graph.edges[name].modalities) and user != item]
    if not joining:
        return None
    name = max(joining, key=lambda name: len(graph.edges[name].modalities))
    counts = _counts(graph, name, user, item)
    return Situated(name, tuple(counts), *zip(*counts.values(), strict=True)) if counts else None


def longer(known: Situated, graph: Hypergraph, user: str, item: str, *, keep: float, gain: float) -> Situated:
    """keep * known + gain * what new edges tell, over the vocabularies of their graph."""
    new = _counts(graph, known.edge_type, user, item) if known.edge_type in graph.edges else {}
    n_items = len(graph.vocabulary(item))

    def together(modality: str, old: sp.csr_matrix, which: int) -> sp.csr_matrix:
        whole = keep * old
        whole.resize(len(graph.vocabulary(modality)), n_items)
        return (whole + gain * new[modality][which]).tocsr() if modality in new else whole

    found, expected = (
        tuple(together(modality, old, which) for modality, old in zip(known.modalities, counts, strict=True))
        for which, counts in enumerate((known.found, known.expected))
    )
    return Situated(known.edge_type, known.modalities, found, expected)


def _counts(graph: Hypergraph, edge_type: str, user: str, item: str) -> dict[str, tuple[sp.csr_matrix, sp.csr_matrix]]:
    """context -> n, E."""
    arrays = graph.to_arrays(edge_type)
    columns, n_items = list(arrays.modalities), len(graph.vocabulary(item))
    users, items = (arrays.vertices[:, columns.index(one)].astype(np.int64) for one in (user, item))
    pairs, of_pair, times = np.unique(users * n_items + items, return_inverse=True, return_counts=True)
    weight = 1 / times[of_pair]
    met = sp.csr_matrix((np.ones(len(pairs)), np.divmod(pairs, n_items)), (len(graph.vocabulary(user)), n_items))
    counts = {}
    for modality in dict.fromkeys(one for one in columns if one not in (user, item)):
        contexts, n_contexts = arrays.vertices[:, columns.index(modality)], len(graph.vocabulary(modality))
        shares = sp.csr_matrix((weight, (users, contexts)), (met.shape[0], n_contexts))
        if np.diff(shares.indptr) @ np.diff(met.indptr).astype(float) > MOST:
            continue
        shares = sp.diags_array(1 / np.maximum(np.diff(met.indptr), 1)) @ shares
        found, expected = sp.csr_matrix((weight, (contexts, items)), (n_contexts, n_items)), (shares.T @ met).tocsr()
        found.sort_indices()
        expected.sort_indices()
        counts[modality] = found.astype(np.float32), expected.astype(np.float32)
    return counts


def ln_lifts(found: sp.csr_matrix, expected: sp.csr_matrix) -> sp.csr_matrix | None:
    """ln of the lifts (C, I) CSR where anything is expected, of n and E; None where the likelihood wants the strongest prior."""
    both = expected.tocoo()
    rows, columns, e = both.row, both.col, both.data.astype(np.float64)
    if not len(rows):
        return None
    n, found = np.zeros(len(rows)), found.copy()
    found.eliminate_zeros()
    found.sort_indices()
    place = np.arange(1, len(rows) + 1)  # of each expected entry; who is found somewhere is expected there
    at = (sp.csr_matrix((place, (rows, columns)), expected.shape).multiply(found != 0)).tocsr()
    at.sort_indices()
    n[at.data - 1] = found.data
    share = np.asarray(expected.sum(axis=1), np.float64).ravel() / expected.sum()
    read = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), READ)).astype(np.int64))
    best = max(range(len(STRENGTHS)), key=lambda one: _likelihood(n[read], e[read], STRENGTHS[one] * share[rows[read]]))
    if best == len(STRENGTHS) - 1:
        return None
    prior = STRENGTHS[best] * share[rows]
    lifts = np.log((n + prior) / (e + prior)).astype(np.float32)
    return sp.csr_matrix((lifts, (rows, columns)), expected.shape)


def _likelihood(n: np.ndarray, expected: np.ndarray, prior: np.ndarray) -> float:
    """ln p of n, Poisson with a mean of expected * Gamma(prior, prior), but for what does not depend on the prior."""
    from scipy.special import gammaln

    return float((gammaln(n + prior) - gammaln(prior) + prior * np.log(prior) - (n + prior) * np.log(expected + prior)).sum())

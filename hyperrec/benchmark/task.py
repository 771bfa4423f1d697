"""Task: what one split asks of a model, and what its lists are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from hyperrec.errors import DataError
from hyperrec.evaluation import Evaluation, measure, pair_matrix
from hyperrec.hypergraph import EdgeTable, Hypergraph
from hyperrec.metrics import hits, per_user
from hyperrec.vocabulary import Vocabulary

FEW = 1000  # vertices of a modality in a small task


@dataclass(frozen=True)
class Task:
    """Lists to be made from a training graph, one for each query, and what they are to find.

    train: all that a model may be fitted to. edge_type: joins users to items, its first two modalities. held (Q, I) CSR: what each
    query is to find. users (Q,): the row of its user. seen (Q, I) CSR: what its list leaves out; None: nothing. given: modality ->
    (Q,) rows of the context in which each query is asked. among: rows of the items that may be listed; None: all. told (Q, I) CSR:
    what is known of users whom the training graph has no such edges of; None: their training edges. parts (Q,): names of the parts
    of the queries that are reported apart.
    """

    train: Hypergraph
    edge_type: str
    held: sp.csr_matrix
    users: np.ndarray
    seen: sp.csr_matrix | None = None
    given: Mapping[str, np.ndarray] | None = None
    among: np.ndarray | None = None
    told: sp.csr_matrix | None = None
    parts: np.ndarray | None = None

    @property
    def user(self) -> str:
        return self.train.edge_table(self.edge_type).modalities[0]

    @property
    def item(self) -> str:
        return self.train.edge_table(self.edge_type).modalities[1]

    @property
    def n_items(self) -> int:
        return int(self.held.shape[1])

    @cached_property
    def pairs(self) -> sp.csr_matrix:
        """(U, I) CSR of ones: the training pairs."""
        return pair_matrix(self.train, self.edge_type)

    @cached_property
    def alike(self) -> bool:
        """Whether all training pairs have one weight."""
        weight = self.weighted(1.0).data
        return bool(len(weight) == 0 or np.ptp(weight) < 1e-6)

    def weighted(self, exponent: float) -> sp.csr_matrix:
        """(U, I) CSR float32: the weights of the training pairs to a power, over the mean of those of their user."""
        arrays = self.train.to_arrays(self.edge_type)
        pairs = arrays.vertices[:, 0], arrays.vertices[:, 1]
        weight = sp.csr_matrix((arrays.weight.astype(float), pairs), self.pairs.shape)
        weight.sum_duplicates()
        weight.data **= exponent
        lengths = np.diff(weight.indptr)
        weight.data /= np.repeat(np.asarray(weight.sum(axis=1)).ravel()[lengths > 0] / lengths[lengths > 0], lengths[lengths > 0])
        return weight.astype(np.float32)

    def value(self, ranked: np.ndarray, metric: str) -> float:
        """A metric such as 'ndcg@10' of lists (Q, k): the mean over queries, then over the parts."""
        name, _, length = metric.partition("@")
        values = per_user(hits(ranked[:, : int(length)], self.held), np.diff(self.held.indptr))[name]
        return float(np.mean([values[rows].mean() for rows in self._parts().values()]))

    def evaluate(self, name: str, ranked: np.ndarray, lengths: Sequence[int]) -> dict[str, Evaluation]:
        """The evaluation of each part; of all queries under '' where there are no parts."""
        n_listed = len(self.among) if self.among is not None else None
        return {
            part: measure(name, ranked[rows], self.held[rows], self.users[rows], self.pairs, lengths, n_listed=n_listed)
            for part, rows in self._parts().items()
        }

    def small(self) -> Task:
        """A hundred of the queries, over no more than the first FEW vertices of each modality, which stand for all the others."""
        few, vocabularies = {}, {}
        for modality, vocabulary in self.train.vocabularies.items():
            vocabularies[modality] = Vocabulary(modality, vocabulary.ids.head(FEW))
        for name, table in self.train.edges.items():
            frame = table.frame.head(20 * FEW)
            for modality, column in zip(table.modalities, table.vertex_columns, strict=True):
                frame = frame.with_columns(frame[column] % len(vocabularies[modality]))
            few[name] = EdgeTable(table.modalities, frame)
        first = slice(100)
        columns = [None if one is None else one[first, :FEW] for one in (self.held, self.seen, self.told)]
        given = self.given and {m: rows[first] % len(vocabularies[m]) for m, rows in self.given.items()}
        return replace(
            self,
            train=replace(self.train, edges=few, vocabularies=vocabularies, labels={}, rejected={}),
            users=self.users[first] % len(vocabularies[self.user]),
            held=columns[0], seen=columns[1], told=columns[2], given=given, parts=None,
            among=None if self.among is None else np.unique(self.among % min(FEW, self.n_items)),
        )  # fmt: skip

    def _parts(self) -> dict[str, np.ndarray]:
        if self.parts is None:
            return {"": np.arange(len(self.users))}
        return {str(part): np.flatnonzero(self.parts == part) for part in dict.fromkeys(self.parts.tolist())}


def of_pairs(train: Hypergraph, test: Hypergraph, edge_type: str, *, among: np.ndarray | None = None) -> Task:
    """Which items users have in test, of those that they do not have in train; for users whom train knows.

    Raises DataError where nothing is left to find.
    """
    seen, held = pair_matrix(train, edge_type), pair_matrix(test, edge_type)
    held = (held - held.multiply(seen)).tocsr()
    held.eliminate_zeros()
    users = np.flatnonzero((np.diff(held.indptr) > 0) & (np.diff(seen.indptr) > 0))
    if not len(users):
        raise DataError(f"the test split has no edges of '{edge_type}' to find: nothing can be measured.")
    return Task(train, edge_type, held[users], users, seen[users], among=among)

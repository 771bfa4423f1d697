"""Answers: what a fitted model is asked, by the ids of the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Self

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.assembly import Positions, collect_history, importance_of
from hyperrec.attributes import Attributes, Described, check_columns
from hyperrec.cold import place_unmet, placed, steadied, unmet_vectors, with_items, with_likeness
from hyperrec.diversity import CANDIDATES, diversified
from hyperrec.errors import DataError, ModelError, did_you_mean, listed
from hyperrec.explain import Explanation, explain, named_rows, normalized
from hyperrec.hypergraph import as_numbers, vertex_columns
from hyperrec.index import EXACT_UP_TO, SAMPLE, Index
from hyperrec.logs import as_frame
from hyperrec.logs.vertices import as_times
from hyperrec.memory import Memory
from hyperrec.neighbours import Neighbours, amounts, expected_from, weights_between
from hyperrec.topics import reading
from hyperrec.topics.contexts import Context, Mean
from hyperrec.topics.regularizers import Regularizer
from hyperrec.topics.shards import History
from hyperrec.topics.state import Layout, State, phi_of
from hyperrec.vocabulary import Vocabulary

SILENT = 1e-3  # of its share, which a topic must have of a modality to be told
FITTING = Lock()  # of weights between items: not every thread pool may be entered twice
TAKEN = 2**16  # histories that are read at once
UNSEEN_ITEM = 0.1  # pseudo-count that lets an item without events be ranked by its attributes


@dataclass(frozen=True)
class Asked:
    """What lists are asked for: lifts (n, T) of users in their contexts; direct (n, I): what the weights between items are
    multiplied by; or own (n, I): what the users' own events say, which come back, and rest (n,): what that leaves to the topics."""

    lifts: np.ndarray
    direct: sp.csr_matrix | None = None
    own: sp.csr_matrix | None = None
    rest: np.ndarray | None = None

    def then(self, others: Asked) -> Asked:
        """For these users, and others after them."""

        def both(a: sp.csr_matrix | None, b: sp.csr_matrix | None) -> sp.csr_matrix | None:
            return sp.vstack([a, b], format="csr") if a is not None and b is not None else None

        rest = np.concatenate([self.rest, others.rest]) if self.rest is not None and others.rest is not None else None
        return Asked(np.concatenate([self.lifts, others.lifts]), both(self.direct, others.direct), both(self.own, others.own), rest)


class Answers:
    """What a model holds once it is fitted, and what it answers from it; `TopicModel` is how it comes to be fitted.

    vocabularies, labels: by modality. offsets, sizes: rows of each modality in the tables of `state`. layout: how they are read.
    counts (V,): weights of the edges of vertices. histories, seen: of the containers. edge_modalities, fitted_edges: by edge type.
    memory: of logs in which users come back to items. described: what `attributes` know of users and items.
    """

    fitted = False
    n_topics: int
    seed: int
    length_damping: float
    history_prior: float
    container: str | None
    context: Context | None
    regularizers: tuple[Regularizer, ...]
    user_modality: str
    item_modality: str
    vocabularies: dict[str, Vocabulary]
    labels: dict[str, pl.DataFrame]
    offsets: dict[str, int]
    sizes: dict[str, int]
    counts: np.ndarray
    state: State
    n_v: np.ndarray
    n_vt: np.ndarray | None
    weight: float
    history: pl.DataFrame
    layout: Layout
    histories: History
    seen: sp.csr_matrix
    neighbours: Neighbours | None
    _item_weights: sp.csr_matrix | None
    memory: Memory | None
    attributes: Attributes | None
    described: tuple[Described, Described] | None
    edge_modalities: dict[str, tuple[str, ...]]
    fitted_edges: dict[str, float]
    _indexes: dict[str, Index]

    @property
    def expressed(self) -> bool:
        """True when containers are read from their histories instead of having vectors of their own."""
        return self.container is not None and self.context is not None

    @property
    def item_weights(self) -> sp.csr_matrix | None:
        """Weights between items (I, I) CSR float32, of `neighbours`, and of `attributes` to items without events; None where there
        are none. Row j: what having item j adds to the score of each item. They are fitted when a list, or `save`, first asks for
        them: who reads topics alone does not wait. Servers may ask from several threads: one of them fits, the others wait."""
        with FITTING:
            if self._item_weights is None:
                self._item_weights = with_likeness(self._fitted(), weights_between(self) if self.neighbours else None)
        return self._item_weights

    # --------------------------------------------------------------------------------------------- embeddings

    def embedding(self, modality: str) -> np.ndarray:
        """p(t|v) of all vertices of a modality: (V, T) float32, every row sums to one; rows as in the vocabulary.

        Of containers that are read from their histories, it is what these say; with `attributes`, beside what is known of them.
        """
        self._check_modality(modality)
        if self._has_rows(modality):
            return self.state.embedding[self._rows(modality)]
        rows = np.arange(len(self.vocabularies[modality]))
        if self.described:
            return normalized(self._user_lifts(rows) * self.state.prior)
        lifts = [self._history_lifts(self.histories.take(one)) for one in self._in_pieces(rows)]
        return normalized(np.concatenate(lifts) * self.state.prior)

    def phi(self, modality: str) -> np.ndarray:
        """p(v|t) of all vertices of a modality: (V, T) float32, rows as in the vocabulary, columns sum to one.

        p(t|v) p(v) / p(t), with p(v) the share of the vertex in the edges, for items in those that join them to users; of a
        modality with regularizers, what they made of phi. A topic that no vertex of the modality has is a column of zeros.
        """
        self._check_modality(modality)
        return phi_of(self.embedding(modality), self._mass(modality))

    def topics(self, modality: str | None = None, *, k: int = 10) -> pl.DataFrame:
        """The k vertices of a modality that each topic gives the highest p(v|t).

        A topic that has nothing to do with a modality (less than a thousandth of its share p(t)) is left out.

        Returns a frame: topic, share = p(t), rank from 1, id, [label], probability = p(v|t), lift = p(t|v) / p(t).
        """
        modality = modality or self._fitted().item_modality
        self._check_modality(modality)
        k = min(check_number("k", k, 1, whole=True), len(self.vocabularies[modality]))
        joint = self.embedding(modality) * self._mass(modality)[:, None]
        by_topic = joint / np.maximum(joint.sum(axis=0), 1e-30)
        best = np.argsort(-by_topic, axis=0, kind="stable")[:k]
        there = joint.sum(axis=0) / max(joint.sum(), 1e-30) > SILENT * self.state.prior
        order = [topic for topic in np.argsort(-self.state.prior, kind="stable") if there[topic]]
        rows = best[:, order].T.ravel()
        topic = np.repeat(np.array(order, dtype=np.int64), k)
        frame = pl.DataFrame(
            {
                "topic": topic,
                "share": self.state.prior[topic],
                "rank": np.tile(np.arange(1, k + 1), len(order)),
                "id": self.vocabularies[modality].decode(rows),
                "probability": by_topic[rows, topic],
                "lift": self.embedding(modality)[rows, topic] / self.state.prior[topic],
            }
        )
        return self._labelled(frame, modality)

    # -------------------------------------------------------------------------------------------------- asking

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        *,
        histories: Any = None,
        k: int = 10,
        given: Mapping[str, Any] | None = None,
        filter_seen: bool = True,
        among: Iterable[Any] | None = None,
        exclude: Iterable[Any] | None = None,
        diversify: float = 0.0,
    ) -> pl.DataFrame:
        """The k best items for users, best first.

        users : ids of known users; all when neither users nor histories are given.
        histories : frame of users never seen, who come after the known ones: a column of the user modality (or `user`), one of
            items (or `item`), maybe `weight`, and `time` for a context that knows an order; without it the rows are in order. With
            `attributes`, also columns of what is known of the users; a null cell says nothing, and items may be missing.
        given : modality -> id, the context to recommend in, such as {"hour": 18}.
        filter_seen : leave out the items of the user's history; if not, and users come back to items in the log, her own events
            count, by how long ago they were and, when all contexts of the log are given, in how many of them (`hyperrec.memory`).
        among, exclude : ids of items to choose from, or to leave out.
        diversify : the share of a list's DCG, as the model's scores promise it, that may be given up at most for items of other
            topics: .05 keeps 95 % of it or more. Among the 5 k best candidates, by `hyperrec.diversity.diversify`.

        Returns
        -------
        frame user, item, [label], score, rank; score is p(item | user, context), that of the context to the power
        `context_exponent`, or with `neighbours` how many such items are expected (see `Neighbours`); rank starts at 1.

        Raises
        ------
        DataError : an unknown id. ModelError : k <= 0, an unknown modality, a model that is not fitted.
        """
        self._fitted()
        k = min(check_number("k", k, 1, whole=True), self.sizes[self.item_modality])
        check_number("diversify", diversify, 0, 1)
        vocabulary = self.vocabularies[self.user_modality]
        chosen = vocabulary.rows(_listed_ids(users if users is not None else []))
        rows = chosen if users is not None or histories is not None else np.arange(len(vocabulary))
        ids, seen, asked = vocabulary.decode(rows), self.seen[rows], self._asked(rows, given, own=not filter_seen)
        if histories is not None:
            new, history, events = self._read_histories(histories)
            start = self.offsets[self.item_modality]
            met = history.matrix(len(self.state.lift))[:, start : start + self.sizes[self.item_modality]]
            met.sum_duplicates()
            lifts = self._in_context(steadied(self, history, self._told_of(histories, new)), given)
            if not filter_seen and self.memory is not None:
                added = self._remembering(lifts, self._memory_of(events, len(new)), np.arange(len(new)), None)
            else:
                added = Asked(lifts, self._direct(history, met))
            if users is None:
                ids, seen, asked = new, met, added
            else:
                ids, seen, asked = _one_after_other(ids, new), sp.vstack([seen, met], format="csr"), asked.then(added)
        allowed = self._allowed(among, exclude)
        found, scores = self._best(asked, k, seen if filter_seen else None, allowed, diversify)
        keep = found.ravel() >= 0
        frame = pl.DataFrame(
            {
                "user": ids.gather(np.repeat(np.arange(len(ids)), k)[keep]),
                "item": self.vocabularies[self.item_modality].decode(found.ravel()[keep]),
                "score": scores.ravel()[keep],
                "rank": np.tile(np.arange(1, k + 1), len(ids))[keep],
            }
        )
        return self._labelled(frame, self.item_modality, on="item")

    def recommend_rows(
        self,
        user_rows: np.ndarray,
        k: int,
        seen: sp.csr_matrix | None = None,
        *,
        given: Mapping[str, np.ndarray] | None = None,
        among: np.ndarray | None = None,
        diversify: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like `recommend`, in row numbers: items (n, k) int32, -1 where there are no more, and scores (n, k) float32.

        seen (n, I) CSR: the items to leave out, a row for each of user_rows. given: modality -> (n,) rows, the context that each
        list is asked in. among: rows of the items to choose from.
        """
        rows = np.asarray(user_rows)
        lifts = self._fitted()._user_lifts(rows)
        contexts = [self.state.lift[self.offsets[modality] + one] for modality, one in (given or {}).items()]
        lifts = self._under(lifts, np.prod(contexts, axis=0)) if contexts else lifts
        if seen is None and self.memory is not None:
            asked = self._remembering(lifts, self.memory, rows, given)
        else:
            asked = Asked(lifts, self._direct_of(rows))
        return self._best(asked, k, seen, among, diversify)

    def similar(self, modality: str, ids: Iterable[Any], *, k: int = 10) -> pl.DataFrame:
        """The k nearest vertices of the same modality.

        Returns a frame: id, neighbour, [label], score, rank; score = sum_t sqrt(p(t|a) p(t|b)), 1 for equal topics (the
        Bhattacharyya coefficient, 1 minus the squared Hellinger distance).
        """
        self._check_modality(modality)
        vocabulary = self.vocabularies[modality]
        k = min(check_number("k", k, 1, whole=True), max(len(vocabulary) - 1, 1))
        rows = vocabulary.rows(_listed_ids(ids))
        index = self._neighbours(modality)
        found, scores = index.search(index.vectors[rows], k + 1)
        own = found == rows[:, None]
        own[~own.any(axis=1), -1] = True  # equal vectors may push the vertex itself out: drop the last instead
        keep = ~own & (found >= 0)
        rank = np.cumsum(keep, axis=1)
        at = np.nonzero(keep)
        frame = pl.DataFrame(
            {
                "id": vocabulary.decode(rows[at[0]]),
                "neighbour": vocabulary.decode(found[at]),
                "score": scores[at],
                "rank": rank[at],
            }
        )
        return self._labelled(frame, modality, on="neighbour")

    def explain(
        self, user: Any, item: Any, *, given: Mapping[str, Any] | None = None, filter_seen: bool = True, k: int = 3
    ) -> Explanation:
        """Which vertices of the user's history speak for an item, and through which topics; the sentence names k of each.

        Raises
        ------
        DataError : an unknown id.
        """
        return explain(self._fitted(), user, item, given=given, filter_seen=filter_seen, k=k)

    def positions(self, user: Any = None, *, history: Any = None) -> pl.DataFrame:
        """The five topic vectors of each position of a history, in the order in which the context reads it.

        user : id of a known user; or history : frame of a new one, as `recommend(histories=...)` takes it.

        Returns
        -------
        frame position from 1, modality, id, and five vectors (T float32, each sums to one): context_free p(t|w_i); left and right,
        the contexts of what comes before and after alone (without an order, of the whole); context theta_i, in which the model
        reads the position; contextual p(t|C_i, w_i). A context of nothing is p(t). Slides: "Analogy of the localized E-step with
        the transformer".

        Raises
        ------
        DataError : an unknown id. ModelError : containers have vectors of their own (context=None).
        """
        self._fitted()
        if not self.expressed:
            raise ModelError("positions are read by a model with a context; this one has vectors of its own for its containers.")
        if (user is None) == (history is None):
            raise ModelError("positions takes the id of a user, or history= of a new one.")
        if history is not None:
            ids, read, _ = self._read_histories(history)
            if len(ids) != 1:
                raise DataError(f"positions reads the history of one user; got {len(ids)}.")
        else:
            read = self.histories.take(self.vocabularies[self.user_modality].rows([user]))
        plan, prior = self._reading.plan(), self.state.prior
        word = self.state.lift[read.vertices]
        left, right = (reading.contexts_of(read, plan.one_sided(left=side), self.state)[0][:-1] for side in (True, False))
        context = reading.contexts_of(read, plan, self.state)[0][:-1]
        joint = word * context * prior
        joint[joint.sum(axis=1) <= 0] = prior
        vectors = {"context_free": word, "left": left, "right": right, "context": context, "contextual": joint / prior}
        named = named_rows(self, read.vertices, np.zeros(len(word))).select("modality", "id")
        kind = pl.Array(pl.Float32, self.n_topics)
        columns = {name: pl.Series(normalized(lift * prior), dtype=kind) for name, lift in vectors.items()}
        return named.with_columns(**columns).with_row_index("position", offset=1)

    def fold_in(self, modality: str, frame: Any) -> pl.DataFrame:
        """Embeddings of vertices that were not in training, from what is known of them; nothing is refitted.

        frame : a column named as the modality with the new ids, other columns named as modalities of the model (an item's
        genre and words, a user's items; `item#2` for what a new item cites); a null cell is skipped; `weight` is optional, `time`
        is not read.

        Returns
        -------
        frame id, embedding (T float32, sums to one): the mean p(t|neighbour) of the vertex's edges, tau included; with
        `attributes`, what those of a user or an item say.
        """
        self._check_modality(modality)
        table = _as_frame(frame)
        if modality not in table.columns:
            raise DataError(f"fold_in needs a column '{modality}' with the new ids; the frame has {listed(table.columns)}.")
        others = {name: name.split("#")[0] for name in table.columns if name not in (modality, "weight", "time")}
        for other in () if self._describing(modality, others.values()) else others.values():
            self._check_modality(other)
        if not others:
            raise DataError(f"fold_in needs a column of another modality beside '{modality}', such as {listed(self.sizes)}.")
        ids = table[modality].unique(maintain_order=True)
        row_of = Vocabulary(modality, ids.sort()).encode(table[modality])
        weight = _weights(table, "fold_in")
        if described := self._describing(modality, others.values()):
            embedding = placed(self, described, described.read(table, row_of, len(ids), weight))
            return pl.DataFrame({"id": ids.sort(), "embedding": pl.Series(embedding, dtype=pl.Array(pl.Float32, self.n_topics))})
        total = np.zeros((len(ids), self.n_topics))
        for name, other in others.items():
            known = table[name].is_not_null().to_numpy()
            rows = self.vocabularies[other].rows(table[name].filter(pl.Series(known)))
            np.add.at(total, row_of[known], self.embedding(other)[rows] * (weight[known] * self._tau(modality, other))[:, None])
        total[total.sum(axis=1) == 0] = self.state.prior
        embedding = normalized(total.astype(np.float32))
        return pl.DataFrame(
            {"id": ids.sort(), "embedding": pl.Series(embedding, dtype=pl.Array(pl.Float32, self.n_topics))}
        )

    def with_items(self, frame: Any) -> Self:
        """A model that also knows new items, by their attributes: it recommends, compares and explains them as any other. Nothing
        is refitted, and this model stays as it is.

        frame : a column of the item modality with the new ids, and columns of their attributes (`genre`, `word`); a null cell is
        skipped; `weight` is optional (how often a word occurs).

        Raises
        ------
        ModelError : the model was fitted without `attributes`. DataError : an item is known already; no or unknown columns.
        """
        table = _as_frame(frame)
        return with_items(self._fitted(), table, _weights(table, "with_items"))

    # ------------------------------------------------------------------------------------------------ internal

    def _fitted(self) -> Self:
        if not self.fitted:
            raise ModelError("the model is not fitted: call fit(graph) first.")
        return self

    def _check_modality(self, modality: str) -> None:
        known = self._fitted().vocabularies
        if modality not in known:
            raise ModelError(f"unknown modality '{modality}': the model has {listed(known)}.{did_you_mean(modality, known)}")

    @property
    def _reading(self) -> Context:
        """How histories are read; those of new users also where containers have vectors of their own."""
        return self.context or Mean()

    def _rows(self, modality: str) -> slice:
        return slice(self.offsets[modality], self.offsets[modality] + self.sizes[modality])

    def _has_rows(self, modality: str) -> bool:
        """Whether the vertices of a modality have vectors of their own; an expressed container's are read from its history."""
        return modality in self.offsets and not (self.expressed and modality == self.container)

    def _forget_caches(self) -> None:
        self._indexes = {}
        self._item_weights = None
        for name in ("_item_vectors", "_vectors_beside", "_item_index", "_index_beside", "_unmet_vectors", "_usual_weight"):
            self.__dict__.pop(name, None)

    @cached_property
    def _item_vectors(self) -> np.ndarray:
        """p(i) lift_it = p(i|t): what a query is multiplied by."""
        unseen = UNSEEN_ITEM * self._tau(self.user_modality, self.item_modality)
        counts = self.counts[self._rows(self.item_modality)] + unseen
        popularity = (counts / counts.sum()).astype(np.float32)
        vectors: np.ndarray = self.state.lift[self._rows(self.item_modality)] * popularity[:, None]
        if self.described is not None:
            rows, said = self._unmet_vectors
            vectors[rows] = said
        return vectors

    @cached_property
    def _vectors_beside(self) -> np.ndarray:
        """The same beside weights between items: items without events have none, so that topics say the whole of their scores."""
        share = self.neighbours.share if self.neighbours else 1.0
        if self.described is None or share in (0, 1) or not len(rows := self._unmet_vectors[0]):
            return self._item_vectors
        vectors = self._item_vectors.copy()
        vectors[rows] /= share
        return vectors

    @cached_property
    def _item_index(self) -> Index:
        return self._indexed(self._item_vectors)

    @cached_property
    def _index_beside(self) -> Index:
        same = self._vectors_beside is self._item_vectors
        return self._item_index if same else self._indexed(self._vectors_beside)

    def _indexed(self, vectors: np.ndarray) -> Index:
        rows = np.arange(len(self.vocabularies[self.user_modality]))
        sample = np.random.default_rng(self.seed).choice(rows, min(SAMPLE, len(rows)), replace=False)
        queries = self._user_lifts(sample) * self.state.prior if len(vectors) > EXACT_UP_TO else None
        return Index(vectors, queries=queries)

    def _neighbours(self, modality: str) -> Index:
        if modality not in self._indexes:
            self._indexes[modality] = Index(np.sqrt(self.embedding(modality)))
        return self._indexes[modality]

    def _mass(self, modality: str) -> np.ndarray:
        """Total weight of the edges of each vertex; of a modality with regularizers of phi, or of an exact FoldIn, that in phi."""
        in_phi = self._has_rows(modality) and not (self.context is None and modality == self.container)
        changed = self.layout.gradient or any(one.modality == modality for one in self.regularizers)
        if self.state.weight is not None and in_phi and changed:
            return self.state.weight[self._rows(modality)]
        if self._has_rows(modality):
            return self.counts[self._rows(modality)]
        return np.bincount(self.histories.owners, self.histories.weight, len(self.vocabularies[modality]))

    def _history_lifts(self, histories: History) -> np.ndarray:
        """Lifts of the contexts of what comes after the histories, (D, T) float32; 1 (that is, p(t)) where there is none."""
        if self._reading.passes or not isinstance(self._reading, Mean):
            return reading.contexts_after(histories, self._reading.plan(), self.state)
        matrix = histories.matrix(len(self.state.lift))
        amount = np.asarray(matrix.sum(axis=1)).ravel()
        lifts = np.asarray(matrix @ self.state.lift, dtype=np.float32)
        lifts /= np.maximum(amount, 1e-30)[:, None].astype(np.float32)
        lifts[amount == 0] = 1
        return lifts

    def _user_lifts(self, rows: np.ndarray) -> np.ndarray:
        """Query lifts of users by row number: p(t|u) / p(t), (n, T) float32."""
        if self._has_rows(self.user_modality):
            start = self.offsets[self.user_modality]
            return np.asarray(self.state.lift[start + rows])
        known = self.described[0].features if self.described else None
        read = [
            steadied(self, self.histories.take(one), known[one] if known is not None else None) for one in self._in_pieces(rows)
        ]
        return np.concatenate(read)

    def _in_pieces(self, rows: np.ndarray) -> list[np.ndarray]:
        """Histories may be on disk, and larger than memory."""
        return np.split(rows, range(TAKEN, len(rows), TAKEN))

    @cached_property
    def _usual_weight(self) -> float:
        """Of an event in a history."""
        return float(np.mean(self.histories.weight, dtype=np.float64)) if len(self.histories.weight) else 1.0

    def _context_lift(self, given: Mapping[str, Any] | None) -> np.ndarray:
        """Product of the lifts of the context's vertices, (T,); ones without a context."""
        product = np.ones(self.n_topics, np.float32)
        if given is not None and not isinstance(given, Mapping):
            raise ModelError(f"given is {{modality: id}}, such as {{'hour': 18}}; got {given!r}.")
        for modality, one in (given or {}).items():
            self._check_modality(modality)
            contexts = [m for m in self.offsets if m not in (self.item_modality, self.user_modality)]
            if modality not in contexts:
                raise ModelError(f"given['{modality}'] is not a context of a recommendation: expected one of {listed(contexts)}.")
            product *= self.state.lift[self.offsets[modality] + self.vocabularies[modality].rows([one])[0]]
        return product

    def _in_context(self, lifts: np.ndarray, given: Mapping[str, Any] | None) -> np.ndarray:
        return self._under(lifts, self._context_lift(given))

    def _under(self, lifts: np.ndarray, context: np.ndarray) -> np.ndarray:
        """Lifts (n, T) of users times those of the context; a context that shares no topic with a user says nothing to her."""
        product: np.ndarray = lifts * context
        mass = product @ self.state.prior
        product[~(mass > 0)] = lifts[~(mass > 0)]
        product /= (product @ self.state.prior)[:, None]  # a distribution again, to which weights between items can be added
        return product

    def _allowed(self, among: Iterable[Any] | None, exclude: Iterable[Any] | None) -> np.ndarray | None:
        """Row numbers of the items that may be recommended; None: all."""
        if among is None and exclude is None:
            return None
        vocabulary = self.vocabularies[self.item_modality]
        mask = np.full(len(vocabulary), among is None)
        if among is not None:
            mask[vocabulary.rows(_listed_ids(among))] = True
        if exclude is not None:
            mask[vocabulary.rows(_listed_ids(exclude))] = False
        return np.flatnonzero(mask)

    def _best(
        self, asked: Asked, k: int, seen: sp.csr_matrix | None, allowed: np.ndarray | None, diversify: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lists of k, of which a share of the DCG may be given up for other topics."""
        if not diversify:
            return self._rank(asked, k, seen, allowed)
        most = max(k, min(CANDIDATES * k, self.sizes[self.item_modality]))
        candidates = self._rank(asked, most, seen, allowed)
        return diversified(*candidates, self._neighbours(self.item_modality).vectors, k, diversify)

    def _rank(
        self, asked: Asked, k: int, seen: sp.csr_matrix | None, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        queries = np.ascontiguousarray(asked.lifts * self.state.prior, dtype=np.float32)
        queries *= self._amount(asked)[:, None]
        index = self._item_index if asked.direct is None else self._index_beside
        added = []
        if asked.direct is not None:
            added.append((asked.direct, self.item_weights))
        if asked.own is not None:
            n_items = asked.own.shape[1]
            added.append((asked.own, sp.eye_array(n_items, dtype=np.float32, format="csr")))
        if added and seen is None:
            seen = sp.csr_matrix((len(queries), len(self._item_vectors)), dtype=np.float32)
        if seen is None:
            rows, scores = index.search(queries, k, allowed=allowed)
            return rows.astype(np.int32), scores
        if not seen.has_sorted_indices:
            seen = seen.sorted_indices()
        return index.search_unseen(queries, seen.indptr, seen.indices.astype(np.int32), k, allowed=allowed, added=added)

    def _direct(self, histories: History, seen: sp.csr_matrix) -> sp.csr_matrix | None:
        """What the weights between items are multiplied by, for users with such histories; None where there are no weights."""
        return expected_from(self, histories, seen) if self.item_weights is not None else None

    def _asked(self, rows: np.ndarray, given: Mapping[str, Any] | None, *, own: bool) -> Asked:
        """For known users by row number; own: their events come back."""
        lifts = self._in_context(self._user_lifts(rows), given)
        if not own or self.memory is None:
            return Asked(lifts, self._direct_of(rows))
        contexts = {m: np.repeat(self.vocabularies[m].rows([one]), len(rows)) for m, one in (given or {}).items()}
        return self._remembering(lifts, self.memory, rows, contexts)

    def _remembering(self, lifts: np.ndarray, memory: Memory, rows: np.ndarray, given: Mapping[str, np.ndarray] | None) -> Asked:
        own, rest = memory.of(rows, self.sizes[self.item_modality], given)
        return Asked(lifts, None, own, rest)  # weights between items say what else she may want: nothing of what comes back

    def _memory_of(self, events: Positions, n_users: int) -> Memory:
        """The memory of new users; where they tell no times, the rows stand in their order."""
        assert self.memory is not None
        time = events.time if events.time is not None else np.arange(len(events.owners))
        items = events.rows[:, 0] - self.offsets[self.item_modality]
        return self.memory.of_new(events.owners, items, time if len(self.memory.time) else None, n_users)

    def _amount(self, asked: Asked) -> np.ndarray:
        """What p(i|u) is multiplied by, (n,) float32, where something else is added to it."""
        if asked.rest is not None:
            return asked.rest
        if asked.direct is None:
            return np.ones(len(asked.lifts), np.float32)
        return np.float32(self.neighbours.share if self.neighbours else 1) * amounts(self, asked.direct)

    def _direct_of(self, rows: np.ndarray) -> sp.csr_matrix | None:
        return self._direct(self.histories.take(rows), self.seen[rows]) if self.item_weights is not None else None

    def _read_histories(self, frame: Any) -> tuple[pl.Series, History, Positions]:
        """(ids of the new users, their histories, row by row too) of a frame with a column of users and one of items."""
        table = _as_frame(frame)
        user, item = vertex_columns((self.user_modality, self.item_modality))
        if self.user_modality != self.item_modality:
            names = {"user": user, "item": item}
            table = table.rename({a: b for a, b in names.items() if a in table.columns and b not in table.columns})
        if self.described:
            check_columns(table, self.described[:1], [user, item, "weight", "time"], "histories")
            if item not in table.columns:
                table = table.with_columns(pl.lit(None, self.vocabularies[self.item_modality].ids.dtype).alias(item))
        for needed in (user, item):
            if needed not in table.columns:
                raise DataError(
                    f"histories need a column '{needed}'; the frame has {listed(table.columns)}."
                    f"{did_you_mean(needed, table.columns)}"
                )
        ids = table[user].unique(maintain_order=True)
        if ids.null_count():
            raise DataError(f"histories: column '{user}' has nulls; every row needs the id of its user.")
        at = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
        if self.described:
            table = table.filter(pl.col(item).is_not_null())
        users = table.select(pl.col(user).alias("id")).join(at, on="id", how="left", maintain_order="left")["row"]
        weight = _weights(table, "histories")
        rows = self.offsets[self.item_modality] + self.vocabularies[self.item_modality].rows(table[item])
        owners, time = users.to_numpy(), None
        if "time" in table.columns:
            time = as_numbers(as_times(table["time"], "histories"))
        part = Positions(owners, rows[:, None], weight, time)
        return ids, self._histories_of(part, len(ids)), part

    def _describing(self, modality: str, others: Iterable[str]) -> Described | None:
        """What is known of a modality, when the others are attributes of it."""
        for one in self.described or ():
            if one.modality == modality and {*others} <= {kind for kind, _ in one.kinds} and len({*others}):
                return one
        return None

    def _told_of(self, frame: Any, ids: pl.Series) -> sp.csr_matrix | None:
        """Features of new users, by the attributes in the frame of their histories."""
        if self.described is None:
            return None
        table, user = _as_frame(frame), vertex_columns((self.user_modality, self.item_modality))[0]
        column = user if user in table.columns else "user"
        owners = table.select(pl.col(column).alias("id")).join(
            pl.DataFrame({"id": ids, "row": np.arange(len(ids))}), on="id", how="left", maintain_order="left"
        )["row"]
        return self.described[0].read(table, owners.to_numpy(), len(ids), np.ones(table.height, np.float32))

    @cached_property
    def _unmet_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the items without events of which something is known, and their p(i|t) (n, T)."""
        assert self.described is not None
        return unmet_vectors(self, self.described[1])

    def _place_unmet(self) -> None:
        """Give items without events a place among the topics."""
        if self.described is not None:
            self.state = place_unmet(self)
            self._forget_caches()

    def _histories_of(self, part: Positions, n_users: int) -> History:
        history, _ = collect_history([part], self._reading, n_users, len(self.state.lift))
        items = self.vocabularies[self.item_modality]
        factor = importance_of(self._reading, items, self.offsets[self.item_modality], len(self.state.lift))
        history.importance = factor[history.vertices]
        return history

    def _tau(self, *modalities: str) -> float:
        """Weight of the first fitted edge type between modalities; 1 when there is none."""
        for name, members in self.edge_modalities.items():
            if Counter(modalities) <= Counter(members):
                return float(self.fitted_edges[name])
        return 1.0

    def _labelled(self, frame: pl.DataFrame, modality: str, *, on: str = "id") -> pl.DataFrame:
        """The frame with a column `label` after `on`, when the modality has labels."""
        if modality not in self.labels:
            return frame
        labels = self.labels[modality].rename({"id": on})
        at = frame.columns.index(on) + 1
        joined = frame.join(labels, on=on, how="left", maintain_order="left")
        return joined.select(*frame.columns[:at], "label", *frame.columns[at:])


def check_number(name: str, value: Any, low: float, high: float = np.inf, *, whole: bool = False) -> Any:
    good = isinstance(value, (int, np.integer)) if whole else isinstance(value, (int, float, np.number))
    if isinstance(value, bool) or not good or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        upper = f" to {high:g}" if np.isfinite(high) else " or more"
        raise ModelError(f"{name} must be {kind}, {low:g}{upper}; got {value!r}.")
    return value


def _weights(table: pl.DataFrame, what: str) -> np.ndarray:
    """Column `weight` (n,) float32, checked; ones where there is none."""
    if "weight" not in table.columns:
        return np.ones(table.height, np.float32)
    if not table["weight"].dtype.is_numeric():
        raise DataError(f"{what}: weight must be a column of numbers; got {table['weight'].dtype}. Cast the column.")
    weight = table["weight"].cast(pl.Float32).to_numpy()
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise DataError(f"{what}: weight must be positive and finite in every row.")
    return weight


def _listed_ids(ids: Any) -> Sequence[Any]:
    """A list of ids; a single string or number becomes a list of one."""
    if isinstance(ids, (str, int, np.integer)):
        return [ids]
    if not isinstance(ids, Iterable):
        raise DataError(f"expected an id or a list of ids; got {ids!r}.")
    return list(ids)


def _one_after_other(ids: pl.Series, more: pl.Series) -> pl.Series:
    """Known ids, then new ones, as strings where they are not of one type. Raises DataError for an id of both."""
    more = more.cast(pl.Int64) if more.dtype.is_integer() else more.cast(pl.String)
    if ids.dtype != more.dtype:
        ids, more = ids.cast(pl.String), more.cast(pl.String)
    if len(both := ids.filter(ids.is_in(more.implode()))):
        raise DataError(f"recommend: {both[0]!r} is in users= and in histories=; name each user once.")
    return pl.concat([ids, more.rename(ids.name)])


def _as_frame(frame: Any) -> pl.DataFrame:
    return as_frame(frame, "the frame")

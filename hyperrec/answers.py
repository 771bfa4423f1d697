"""Answers: what a fitted model is asked, by the ids of the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from threading import Lock
from typing import Any, Self

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.attributes import Attributes, Described
from hyperrec.cold import folded_in, place_unmet, situated_with_kin, steadied, weights_of, with_items
from hyperrec.errors import DataError, ModelError, did_you_mean, listed
from hyperrec.explain import Explanation, explain, normalized, position_vectors
from hyperrec.histories import listed_ids, one_after_other, read_histories
from hyperrec.index import Index
from hyperrec.logs import as_frame
from hyperrec.memory import Memory
from hyperrec.nearest import index_of, nearest
from hyperrec.neighbours import Neighbours
from hyperrec.products import Products
from hyperrec.ranking import Asked, Items, Users, allowed_rows, asked_for, best, context_rows, known_users, new_users
from hyperrec.situated import Situated
from hyperrec.text import THRESHOLD, WIDTH, read
from hyperrec.topics import reading
from hyperrec.topics.contexts import Context, Mean
from hyperrec.topics.regularizers import Regularizer
from hyperrec.topics.shards import History
from hyperrec.topics.state import Layout, State, phi_of
from hyperrec.vocabulary import Vocabulary
from hyperrec.words import Tokenizer

SILENT = 1e-3  # of its share, which a topic must have of a modality to be told
FITTING = Lock()  # of weights between items: not every thread pool may be entered twice
TAKEN = 2**16  # histories that are read at once


class Answers:
    """What a model holds once it is fitted, and what it answers from it; `TopicModel` is how it comes to be fitted.

    vocabularies, labels: by modality. offsets, sizes: rows of each modality in the tables of `state`. layout: how they are read.
    counts (V,): weights of the edges of vertices. histories, seen: of the containers. edge_modalities, fitted_edges: by edge type.
    memory: of logs in which users come back to items. situated: of logs with contexts. described: what `attributes` know of users
    and items. tokenizers: by modality, of words that were cut out of texts.
    """

    fitted = False
    n_topics: int
    seed: int
    length_damping: float
    history_prior: float
    popularity_exponent: float
    container: str | None
    context: Context | None
    regularizers: tuple[Regularizer, ...]
    user_modality: str
    item_modality: str
    vocabularies: dict[str, Vocabulary]
    labels: dict[str, pl.DataFrame]
    tokenizers: dict[str, Tokenizer]
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
    situated: Situated | None
    attributes: Attributes | None
    described: tuple[Described, Described] | None
    edge_modalities: dict[str, tuple[str, ...]]
    fitted_edges: dict[str, float]
    _indexes: dict[tuple[str, bool], tuple[Vocabulary, Index]]

    @property
    def expressed(self) -> bool:
        """True when containers are read from their histories instead of having vectors of their own."""
        return self.container is not None and self.context is not None

    @property
    def item_weights(self) -> sp.csr_matrix | None:
        """Weights between items (I, I) CSR float32, of `neighbours` and of `attributes` (see `likeness` there); None where there
        are none. Row j: what having item j adds to the score of each item. They are fitted when a list, or `save`, first asks for
        them: who reads topics alone does not wait. Servers may ask from several threads: one of them fits, the others wait."""
        with FITTING:
            if self._item_weights is None:
                self._item_weights = weights_of(self._fitted())
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

        A topic that has nothing to do with a modality (less than a thousandth of its share p(t)) is left out, and so are vertices
        that a topic has not.

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
        return self._labelled(frame.filter(pl.col("probability") > 0), modality)

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
            `attributes`, also columns of what is known of the users; a null cell says nothing, and items may be missing. Cells may
            be texts or lists, as in `fold_in`.
        given : modality -> id, the context to recommend in, such as {"hour": 18}: by the lifts of topics in it, and of items
            that users choose more in it than elsewhere (`hyperrec.situated`).
        filter_seen : leave out the items of the user's history; if not, and users come back to items in the log, her own events
            count, by how long ago they were and, when all contexts of the log are given, in which of them (`hyperrec.memory`).
            No user is recommended to herself.
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
        check_flag("filter_seen", filter_seen)
        vocabulary = self.vocabularies[self.user_modality]
        chosen = vocabulary.rows(listed_ids(users if users is not None else []))
        rows = chosen if users is not None or histories is not None else np.arange(len(vocabulary))
        context = context_rows(self, given)

        def asked(of: Users) -> Asked:
            return asked_for(self, of, context, of.met if filter_seen else None)

        ids, lists = vocabulary.decode(rows), asked(known_users(self, rows))
        if histories is not None:
            told = read_histories(self, histories)
            added = asked(new_users(self, told))
            ids, lists = (told.ids, added) if users is None else (one_after_other(ids, told.ids), lists.then(added))
        found, scores = best(self, lists, k, allowed_rows(self, among, exclude), diversify)
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
        list is asked in. among: rows of the items to choose from. Users among the items are in no list of their own.
        """
        users = known_users(self._fitted(), np.asarray(user_rows))
        return best(self, asked_for(self, users, given or None, seen), k, among, diversify)

    def similar(self, modality: str, ids: Iterable[Any], *, to: str | None = None, k: int = 10) -> pl.DataFrame:
        """The k nearest vertices of the same modality, or of another one: items that a word tells of, words of a user's taste.

        to : the modality of the neighbours; that of the ids when left out. An attribute (`attributes`) stands where an item, or a
            user, would of which nothing else is known.

        Returns a frame: id, neighbour, [label], score, rank. score = sum_t sqrt(p(t|a) p(t|b)), 1 for equal topics (the
        Bhattacharyya coefficient, 1 minus the squared Hellinger distance); between modalities p(a, b) / sqrt(p(a) p(b)), with
        p(a, b) = p(a) p(b) sum_t p(t|a) p(t|b) / p(t) (the Ochiai coefficient): rare words of one topic would be in front else.
        """
        to = modality if to is None else to
        return self._labelled(nearest(self._fitted(), modality, ids, to, check_number("k", k, 1, whole=True)), to, on="neighbour")

    def explain(
        self, user: Any, item: Any, *, histories: Any = None, given: Mapping[str, Any] | None = None, filter_seen: bool = True,
        k: int = 3,
    ) -> Explanation:  # fmt: skip
        """Which vertices of the user's history speak for an item, and through which topics; the sentence names k of each.

        histories : frame of users never seen, of whom she is one; given, filter_seen: as in `recommend`, all three.

        Raises
        ------
        DataError : an unknown id.
        """
        check_flag("filter_seen", filter_seen)
        return explain(self._fitted(), user, item, histories=histories, given=given, filter_seen=filter_seen, k=k)

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
            told = read_histories(self, history)
            if len(told.ids) != 1:
                raise DataError(f"positions reads the history of one user; got {len(told.ids)}.")
            read = told.history
        else:
            read = self.histories.take(self.vocabularies[self.user_modality].rows([user]))
        return position_vectors(self, read)

    def read(
        self, text: Any, *, modality: str | None = None, width: float = WIDTH, threshold: float = THRESHOLD
    ) -> pl.DataFrame:
        """A text word by word: the topics of each word in its context, and where the topics change.

        text : a text, which is cut into words as those of the log were (`hr.Tokenizer`), or a list of texts, each a string or a
            list of words. modality : of the words; by default the only one that was cut out of texts, or that of the items.
        width : about so many words on each side are the context of a word, gamma = 1 / width; the model may have been fitted with
            any context. threshold : a boundary is where what is left and what is right are so far apart, and farther than within
            2 width words around; a segment has 2 width words or more, width at the ends of a text.

        Returns
        -------
        frame, a row for each word that the model knows: document from 0; position from 1, of its words; word, as the vocabulary has
        it; start, stop, in characters of the text without what its tokenizer strips, null for lists of words; topic, the most
        probable; parting, the Hellinger distance between the left context up to the word before and the right one from this word
        on; segment from 1; contextual p(t|C_i, w_i), and left, right: moving averages of it up to this word, and from it on
        (T float32). `hr.text` has what can be asked of it: `segments`, `between`, `fragments`; `positions` has the five vectors
        of the model's own context. Slides: "Using two-sided context vectors".

        Raises
        ------
        DataError : it is no text. ModelError : an unknown modality, a width below 1, a threshold outside 0 to 1.
        """
        if modality is not None:
            self._check_modality(modality)
        check_number("width", width, 1)
        check_number("threshold", threshold, 0, 1)
        return read(self._fitted(), text, modality=modality, width=width, threshold=threshold)

    def fold_in(self, modality: str, frame: Any) -> pl.DataFrame:
        """Embeddings of vertices that were not in training, from what is known of them; nothing is refitted.

        frame : a column named as the modality with the new ids, other columns named as modalities of the model (an item's
        genre and words, a user's items; `item#2` for what a new item cites); a null cell is skipped; `weight` is optional, `time`
        is not read. Of a modality that was cut out of texts (`model.tokenizers`), a cell is a text: it is cut as those of the log
        were, and words that the model does not know are left out; one that is a term is that term. A list holds ids as they are.

        Returns
        -------
        frame id, embedding (T float32, sums to one): the mean p(t|neighbour) of the vertex's edges, tau included; with
        `attributes`, what those of a user or an item say.
        """
        self._check_modality(modality)
        return folded_in(self, modality, as_frame(frame, "the frame"))

    def with_items(self, frame: Any) -> Self:
        """A model that also knows new items, by their attributes: it recommends, compares and explains them as any other. Nothing
        is refitted, and this model stays as it is.

        frame : a column of the item modality with the new ids, and columns of their attributes (`genre`, `word`), which may hold
        texts and lists, as in `fold_in`; a null cell is skipped; `weight` is optional (how often a word occurs).

        Raises
        ------
        ModelError : the model was fitted without `attributes`. DataError : an item is known already; no or unknown columns.
        """
        return with_items(self._fitted(), as_frame(frame, "the frame"))

    # ------------------------------------------------------------------------------------------------ internal

    def _fitted(self) -> Self:
        if not self.fitted:
            raise ModelError("the model is not fitted: call fit(graph) first.")
        return self

    def _check_modality(self, modality: str) -> None:
        known = self._fitted().vocabularies
        if modality in known:
            return
        for one in self.described or ():
            if modality in (kind for kind, _ in one.kinds):
                raise ModelError(
                    f"'{modality}' is an attribute of {one.modality} and no part of the topics, which have {listed(known)}. "
                    "To make it one, name its edge type in TopicModel(edges=...)."
                )
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
        for name in ("_items", "_usual_weight", "_weight_products", "_situated"):
            self.__dict__.pop(name, None)

    @cached_property
    def _items(self) -> Items:
        return Items.of(self)

    @cached_property
    def _situated(self) -> Situated | None:
        return situated_with_kin(self)

    @cached_property
    def _weight_products(self) -> Products:
        assert self.item_weights is not None
        weights = self.item_weights
        if self.popularity_exponent:
            scaled = weights.data * self._items.factor[weights.indices]
            weights = sp.csr_matrix((scaled, weights.indices, weights.indptr), weights.shape)
        return Products(weights)

    def _neighbours(self, modality: str, *, joint: bool = False) -> tuple[Vocabulary, Index]:
        key = modality, joint
        if key not in self._indexes:
            self._indexes[key] = index_of(self, modality, joint=joint)
        return self._indexes[key]

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

    def _place_unmet(self) -> None:
        """Give items without events a place among the topics."""
        if self.described is not None:
            self.state = place_unmet(self)
            self._forget_caches()

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
    if isinstance(value, bool) or not good or not low <= value <= high or not np.isfinite(value):
        kind = "a whole number" if whole else "a number"
        upper = f" to {high:g}" if np.isfinite(high) else " or more"
        raise ModelError(f"{name} must be {kind}, {low:g}{upper}; got {value!r}.")
    return value


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise ModelError(f"{name} must be True or False; got {value!r}.")

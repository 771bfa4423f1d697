"""Ranking: lists of the best items for users, known or new, in a context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from hyperrec.cold import steadied, unmet_vectors
from hyperrec.diversity import CANDIDATES, diversified
from hyperrec.errors import ModelError, listed
from hyperrec.histories import Told, listed_ids
from hyperrec.index import EXACT_UP_TO, SAMPLE, Index, Step
from hyperrec.neighbours import amounts, expected_from
from hyperrec.products import Products

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.memory import Memory
    from hyperrec.topics.shards import History

NOTHING = 1e-20  # lifts under it add to no score; products of numbers so small that they are denormal are a hundred times slower
UNSEEN_ITEM = 0.1  # pseudo-count that lets an item without events be ranked by its attributes


class Items(NamedTuple):
    """Items as lists read them: indexes of vectors factor_i p(i|t) (I, T), p(i|t) = p(i) lift_it, which queries are multiplied by.

    beside: where weights between items are added; items without events have none, so that topics say the whole of their scores.
    factor (I,): (p(i) / mean)^popularity_exponent, by which all scores are multiplied; 1 on the average of what is expected.
    """

    alone: Index
    beside: Index
    factor: np.ndarray

    @classmethod
    def of(cls, model: Answers) -> Items:
        rows = model._rows(model.item_modality)
        counts = model.counts[rows] + UNSEEN_ITEM * model._tau(model.user_modality, model.item_modality)
        popularity = (counts / counts.sum()).astype(np.float32)
        vectors: np.ndarray = model.state.lift[rows] * popularity[:, None]
        vectors[model.state.lift[rows] < NOTHING] = 0
        unmet = np.empty(0, np.int64)
        if model.described is not None:
            unmet, said = unmet_vectors(model, model.described[1])
            vectors[unmet] = said
            popularity[unmet] = np.maximum(said @ model.state.prior, popularity[unmet])
        least = popularity[popularity > 0].min(initial=1)
        factor = np.maximum(popularity, least) ** np.float32(model.popularity_exponent)
        factor /= np.average(factor, weights=popularity)
        vectors *= factor[:, None]
        queries = _sampled(model) if len(vectors) > EXACT_UP_TO else None
        alone = Index(vectors, queries=queries)
        share = model.neighbours.share if model.neighbours else 1.0
        if share in (0, 1) or not len(unmet):
            return cls(alone, alone, factor)
        beside = vectors.copy()
        beside[unmet] /= share
        return cls(alone, Index(beside, queries=queries), factor)

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """p(i|t) (n, T) float32 of items (n,); of those without events, what their attributes say."""
        return np.asarray(self.alone.vectors[rows] / self.factor[rows, None])


def _sampled(model: Answers) -> np.ndarray:
    """Queries of users, which an index that is not exact is measured on."""
    rows = np.arange(len(model.vocabularies[model.user_modality]))
    sample = np.random.default_rng(model.seed).choice(rows, min(SAMPLE, len(rows)), replace=False)
    return np.asarray(model._user_lifts(sample) * model.state.prior)


@dataclass(frozen=True)
class Users:
    """Users, known or new.

    rows (n,): theirs in histories, seen (U, I) CSR, memory and features (U, A) CSR, of what is known of them. lifts (n, T) float32:
    p(t|u) / p(t), read from histories (are_read), or of vectors of their own. selves (n,): their rows among the items, -1: none,
    where users are recommended to users; else None.
    """

    rows: np.ndarray
    lifts: np.ndarray
    histories: History
    seen: sp.csr_matrix
    memory: Memory | None
    selves: np.ndarray | None
    features: sp.csr_matrix | None
    are_read: bool

    @property
    def met(self) -> sp.csr_matrix:
        """The items of their histories, (n, I)."""
        return self.seen[self.rows]


def known_users(model: Answers, rows: np.ndarray) -> Users:
    """Users by row number (n,)."""
    selves = rows if model.user_modality == model.item_modality else None
    features = model.described[0].features if model.described is not None else None
    lifts, are_read = model._user_lifts(rows), not model._has_rows(model.user_modality)
    return Users(rows, lifts, model.histories, model.seen, model.memory, selves, features, are_read)


def new_users(model: Answers, told: Told) -> Users:
    """Users by what is told of them; where they tell no times, the rows stand in their order."""
    rows, items = np.arange(len(told.ids)), model._rows(model.item_modality)
    met = told.history.matrix(len(model.state.lift))[:, items]
    met.sum_duplicates()
    memory, selves, events = None, None, told.events
    if model.memory is not None:
        time = events.time if events.time is not None else np.arange(len(events.owners))
        found = events.rows[:, 0] - items.start
        memory = model.memory.of_new(events.owners, found, time if len(model.memory.time) else None, len(rows))
    if model.user_modality == model.item_modality:
        selves = model.vocabularies[model.user_modality].encode(told.ids)  # others may have told of her
    lifts = steadied(model, told.history, told.features)
    return Users(rows, lifts, told.history, met, memory, selves, told.features, are_read=True)


@dataclass(frozen=True)
class Asked:
    """What lists are asked for.

    lifts (n, T): of users in their contexts. amount (n,) float32: what p(i|u) is multiplied by where something is added to it:
    direct (n, I): what the weights between items are multiplied by; or own (n, I): what the users' own events say, which come back.
    left_out (n, I): the items that are not listed. places (n, M): contexts in which items have lifts (`Situated`), by which all but
    own is multiplied. None: nothing.
    """

    lifts: np.ndarray
    amount: np.ndarray
    direct: sp.csr_matrix | None
    own: sp.csr_matrix | None
    left_out: sp.csr_matrix | None
    places: np.ndarray | None = None

    def steps(self, model: Answers) -> list[Step]:
        """What happens to scores by topics, block by block."""
        steps: list[Step] = []
        if (direct := self.direct) is not None:
            steps.append(lambda rows, scores: model._weight_products.add(direct[rows], scores))
        if (places := self.places) is not None:

            def lift(rows: slice, scores: np.ndarray) -> None:
                for there, factor in _by_place(model, places[rows]):
                    scores[there] *= factor

            steps.append(lift)
        if (own := self.own) is not None:
            returned = Products(sp.diags_array(model._items.factor, format="csr"))
            steps.append(lambda rows, scores: returned.add(own[rows], scores))
        return steps

    def then(self, others: Asked) -> Asked:
        """For these users, and others after them."""

        def both(a: Any, b: Any) -> Any:
            if a is None or b is None:
                return None
            return sp.vstack([a, b], format="csr") if sp.issparse(a) else np.concatenate([a, b])

        return Asked(*(both(getattr(self, one.name), getattr(others, one.name)) for one in fields(self)))

    def lift_of(self, model: Answers, item: int) -> float:
        """Of an item, in the context of the first user."""
        if self.places is None or model._situated is None:
            return 1.0
        return float(model._situated.factor(self.places[0], model.sizes[model.item_modality])[item])

    def index(self, items: Items) -> Index:
        """Of the items that the lists are made of."""
        return items.alone if self.direct is None else items.beside


def asked_for(model: Answers, users: Users, given: Mapping[str, np.ndarray] | None, seen: sp.csr_matrix | None) -> Asked:
    """What lists for users are asked for in a context.

    given : modality -> rows (n,) or (1,) of the contexts; None: the lifts are read as they are. seen (n, I) : the items to leave
    out; None: users' own events may come back, and count where the log has such.
    """
    lifts = users.lifts if given is None else _under(model, users.lifts, given)
    left_out = _left_out(users, seen)
    places = model._situated.places(given, len(lifts)) if given and model._situated else None
    if seen is None and users.memory is not None:  # weights between items say what else she may want: nothing of what comes back
        own, rest = users.memory.of(users.rows, users.seen.shape[1], given)
        return _situated(model, Asked(lifts, rest, None, own, left_out, places))
    if model.item_weights is None:
        return _situated(model, Asked(lifts, np.ones(len(lifts), np.float32), None, None, left_out, places))
    direct = expected_from(model, users.histories.take(users.rows), users.met)
    amount = np.float32(model.neighbours.share if model.neighbours else 1) * amounts(model, direct)
    return _situated(model, Asked(lifts, amount, direct, None, left_out, places))


def _situated(model: Answers, asked: Asked) -> Asked:
    """With what the lifts of items multiply scaled, so that p(i|u) times them is a distribution again."""
    if asked.places is None:
        return asked
    scale = np.ones(len(asked.lifts), np.float32)
    for rows, factor in _by_place(model, asked.places):
        mass = np.einsum("i,it->t", factor / model._items.factor, model._items.alone.vectors)  # BLAS cuts its sum by threads
        scale[rows] = 1 / np.maximum((asked.lifts[rows] * model.state.prior) @ mass, 1e-30)
    direct = asked.direct.copy() if asked.direct is not None else None
    if direct is not None:
        direct.data *= np.repeat(scale, np.diff(direct.indptr))
    return replace(asked, amount=asked.amount * scale, direct=direct)


def _by_place(model: Answers, places: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows that are asked in each of the places (n, M), and the lifts of all items there."""
    assert model._situated is not None
    each, of_row = np.unique(places, axis=0, return_inverse=True)
    for number, place in enumerate(each):
        yield np.flatnonzero(of_row == number), model._situated.factor(place, model.sizes[model.item_modality])


def _left_out(users: Users, seen: sp.csr_matrix | None) -> sp.csr_matrix | None:
    """The items seen, and always the user herself."""
    if users.selves is None:
        return seen
    there = np.flatnonzero(users.selves >= 0)
    shape = len(users.rows), users.seen.shape[1]
    selves = sp.csr_matrix((np.ones(len(there), np.float32), (there, users.selves[there])), shape)
    return selves if seen is None else seen.maximum(selves)


def context_rows(model: Answers, given: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    """modality -> its row (1,) of a context {modality: id}."""
    if given is not None and not isinstance(given, Mapping):
        raise ModelError(f"given is {{modality: id}}, such as {{'hour': 18}}; got {given!r}.")
    contexts = [m for m in model.offsets if m not in (model.item_modality, model.user_modality)]
    for modality in given or {}:
        model._check_modality(modality)
        if modality not in contexts:
            expected = f"expected one of {listed(contexts)}" if contexts else "the model has none"
            raise ModelError(f"given['{modality}'] is not a context of a recommendation: {expected}.")
    return {modality: model.vocabularies[modality].rows([one]) for modality, one in (given or {}).items()}


def allowed_rows(model: Answers, among: Iterable[Any] | None, exclude: Iterable[Any] | None) -> np.ndarray | None:
    """Row numbers of the items that may be recommended; None: all."""
    if among is None and exclude is None:
        return None
    vocabulary = model.vocabularies[model.item_modality]
    mask = np.full(len(vocabulary), among is None)
    if among is not None:
        mask[vocabulary.rows(listed_ids(among))] = True
    if exclude is not None:
        mask[vocabulary.rows(listed_ids(exclude))] = False
    return np.flatnonzero(mask)


def _under(model: Answers, lifts: np.ndarray, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Lifts (n, T) of users times those of a context; a context that shares no topic with a user says nothing to her."""
    context = [model.state.lift[model.offsets[modality] + rows] for modality, rows in given.items()]
    product: np.ndarray = lifts * reduce(np.multiply, context, np.float32(1))
    mass = product @ model.state.prior
    product[~(mass > 0)] = lifts[~(mass > 0)]
    product /= (product @ model.state.prior)[:, None]  # a distribution again, to which weights between items can be added
    return product


def best(
    model: Answers, asked: Asked, k: int, allowed: np.ndarray | None = None, diversify: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Lists of k, of which a share of the DCG may be given up for other topics: items (n, k) int32, -1 where there are no more, and
    scores (n, k). allowed: rows of the items to choose from; None: all."""
    if not diversify:
        return _ranked(model, asked, k, allowed)
    most = max(k, min(CANDIDATES * k, model.sizes[model.item_modality]))
    candidates = _ranked(model, asked, most, allowed)
    return diversified(*candidates, model._neighbours(model.item_modality)[1].vectors, k, diversify)


def _ranked(model: Answers, asked: Asked, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    queries = np.ascontiguousarray(asked.lifts * model.state.prior, dtype=np.float32)
    queries *= asked.amount[:, None]
    index, seen, steps = asked.index(model._items), asked.left_out, asked.steps(model)
    if seen is None and not steps:
        rows, scores = index.search(queries, k, allowed=allowed)
        return rows.astype(np.int32), scores
    if seen is None:
        seen = sp.csr_matrix((len(queries), len(index.vectors)), dtype=np.float32)
    if not seen.has_sorted_indices:
        seen = seen.sorted_indices()
    return index.search_unseen(queries, seen.indptr, seen.indices.astype(np.int32), k, allowed=allowed, steps=steps)

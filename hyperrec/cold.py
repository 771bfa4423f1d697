"""Cold starts: users and items without events among those that have some, by what is known of them (`Attributes`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.attributes import LENGTH, Described, Describing, check_columns
from hyperrec.cells import one_a_cell
from hyperrec.errors import DataError, ModelError, listed
from hyperrec.hypergraph import vertex_columns
from hyperrec.neighbours import weights_between
from hyperrec.situated import Situated
from hyperrec.topics.state import State
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.hypergraph import Hypergraph
    from hyperrec.topics.shards import History

logger = logging.getLogger("hyperrec")
SAMPLE = 500  # items with events that are read as though they had none
M = TypeVar("M", bound="Answers")


def describe(model: Answers, graph: Hypergraph, edges: Sequence[Describing]) -> tuple[Described, Described]:
    """What is known of users and items, learned from those who have events."""
    assert model.attributes is not None
    regularization = model.attributes.regularization
    met = np.flatnonzero(np.diff(model.seen.tocsc().indptr))
    own = model._has_rows(model.user_modality)  # vectors that are not read from histories
    active = np.flatnonzero(np.diff(model.seen.indptr if own else model.histories.indptr))
    users = Described.of(model.user_modality, graph, edges, active)
    items = Described.of(model.item_modality, graph, edges, met)
    known = active[np.diff(users.features.indptr)[active] > 0]
    lifts = model._user_lifts(known) if own else model._history_lifts(model.histories.take(known))
    items = items.learned(met, model._items.probabilities(met), regularization)
    return users.learned(known, lifts - 1, regularization), items.having(scale=_scale(model, items, met))


def _scale(model: Answers, items: Described, met: np.ndarray) -> float:
    """The factor by which items with events, read as though they had none, would be given as many events as they have."""
    assert model.attributes is not None
    met = met[np.diff(items.features.indptr)[met] > 0]
    if not len(met):
        return 1.0
    if len(met) > SAMPLE:
        met = np.sort(np.random.default_rng(0).choice(met, SAMPLE, replace=False))
    popularity = np.bincount(model.seen.indices, minlength=model.seen.shape[1]).astype(float)
    by_topics = model.seen.nnz * float(said_of(items, met) @ model.state.prior @ np.ones(len(met)))
    likeness = items.likeness(items.features[met], np.flatnonzero(popularity))
    own = likeness[met].diagonal() @ popularity[met]
    by_likeness = model.attributes.likeness * float(popularity @ likeness @ np.ones(len(met)) - own)
    return float(popularity[met].sum() / max(by_topics + by_likeness, 1e-30))


def said_of(items: Described, rows: np.ndarray) -> np.ndarray:
    """p(i|t) (n, T) of items by their attributes, but for the scale; where attributes speak against a topic, it is below 0."""
    return items.says(items.features[rows], LENGTH)


def _unmet(model: Answers, items: Described) -> np.ndarray:
    met = np.bincount(model.seen.indices, minlength=model.seen.shape[1])
    return np.flatnonzero((met == 0) & (np.diff(items.features.indptr) > 0))


def unmet_vectors(model: Answers, items: Described) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) of the items without events of which something is known, and the p(i|t) (n, T) that they would have with events."""
    rows = _unmet(model, items)
    return rows, np.float32(items.scale) * said_of(items, rows)


def place_unmet(model: Answers) -> State:
    """The state with the topics of items without events."""
    assert model.described is not None
    rows, said = unmet_vectors(model, model.described[1])
    without = model.n_v[model._rows(model.item_modality)][rows] == 0  # no fitted edge says where they lie
    embedding, lift = model.state.embedding.copy(), model.state.lift.copy()
    place = model.offsets[model.item_modality] + rows[without]
    embedding[place] = _distributions(np.maximum(said[without], 0) * model.state.prior, model.state.prior)
    lift[place] = embedding[place] / np.maximum(model.state.prior, 1e-30)
    return replace(model.state, embedding=embedding, lift=lift)


def weights_of(model: Answers) -> sp.csr_matrix | None:
    """All weights between items (I, I) CSR float32: those of `neighbours`, and those between items that are alike."""
    weights = weights_between(model) if model.neighbours else None
    if model.described is not None and model.attributes is not None and model.attributes.warm_likeness:
        items, popularity = model.described[1], np.bincount(model.seen.indices, minlength=model.seen.shape[1])
        rows = np.argsort(-popularity, kind="stable")  # of those that are as alike the more popular ones speak
        if len(rows := rows[(popularity[rows] > 0) & (np.diff(items.features.indptr)[rows] > 0)]):
            alike = items.nearest(rows)
            usual = float(popularity @ np.asarray(alike.sum(axis=1)).ravel()) / popularity[rows].sum()
            weights = _sum(weights, np.float32(model.attributes.warm_likeness / max(usual, 1e-30)) * alike)
    return with_likeness(model, weights)


def _sum(weights: sp.csr_matrix | None, more: sp.csr_matrix) -> sp.csr_matrix:
    total = more.tocsr() if weights is None else (weights + more).tocsr()
    total.sort_indices()
    total.indptr, total.indices = total.indptr.astype(np.int32), total.indices.astype(np.int32)
    return total


def with_likeness(model: Answers, weights: sp.csr_matrix | None) -> sp.csr_matrix | None:
    """The weights between items with those to items without events, from the items that they are like."""
    if model.described is None or model.attributes is None or not model.attributes.likeness:
        return weights
    items = model.described[1]
    if (likeness := _to_unmet(model, items)) is None:
        return weights
    return _sum(weights, np.float32(items.scale * model.attributes.likeness) * likeness)


def _to_unmet(model: Answers, items: Described) -> sp.csr_matrix | None:
    """(I, I) CSR float32, columns of the items without events: how like they are to those that have some; None: there are none."""
    rows, size = _unmet(model, items), model.seen.shape[1]
    if not len(rows):
        return None
    likeness = items.likeness(items.features[rows], np.flatnonzero(np.bincount(model.seen.indices, minlength=size)))
    columns = sp.csr_matrix((np.ones(len(rows), np.float32), (np.arange(len(rows)), rows)), (len(rows), size))
    return likeness @ columns


def situated_with_kin(model: Answers) -> Situated | None:
    """The lifts of items in contexts, those without events as the items that they are like."""
    if model.situated is None or model.described is None or (kin := _to_unmet(model, model.described[1])) is None:
        return model.situated
    total = np.asarray(kin.sum(axis=0)).ravel()
    return replace(model.situated, kin=kin @ sp.diags_array(1 / np.maximum(total, np.float32(1e-30)), format="csr"))


def what_is_known(model: Answers, features: sp.csr_matrix | None) -> np.ndarray:
    """p(t|attributes) / p(t) of users with features (n, A): (n, T) float32; 1, in one row, where nothing is known."""
    if model.described is None or features is None:
        return np.ones((1, model.n_topics), np.float32)
    return np.asarray(np.maximum(1 + model.described[0].says(features), 0))


def share_of_prior(model: Answers, history: History) -> np.ndarray:
    """(prior / (n + prior))^2 (D,) float32: what is not left to histories of n events.

    An event of twice the usual weight is two. The square leaves little of the prior where histories are long.
    """
    amount = np.bincount(history.owners, history.weight, len(history.indptr) - 1)
    n_events = amount / max(model._usual_weight, 1e-30)
    share = model.history_prior / np.maximum(n_events + model.history_prior, 1e-30)
    return np.asarray(share**2, dtype=np.float32)


def steadied(model: Answers, history: History, features: sp.csr_matrix | None) -> np.ndarray:
    """Lifts (D, T) of histories, drawn to what is known of the users without them, the more the fewer events they have."""
    lifts = model._history_lifts(history)
    if not model.history_prior:
        return lifts
    share = share_of_prior(model, history)[:, None]
    return np.asarray((1 - share) * lifts + share * what_is_known(model, features), dtype=np.float32)


def placed(model: Answers, described: Described, features: sp.csr_matrix) -> np.ndarray:
    """p(t|v) (n, T) of new users or items with features (n, A); p(t) where nothing is known."""
    of_users = described.modality == model.user_modality
    lifts = what_is_known(model, features) if of_users else np.maximum(described.says(features), 0)
    return _distributions(lifts * model.state.prior, model.state.prior)


def folded_in(model: Answers, modality: str, table: pl.DataFrame) -> pl.DataFrame:
    """id, embedding of new vertices of a modality: see `Answers.fold_in`."""
    if modality not in table.columns:
        raise DataError(f"fold_in needs a column '{modality}' with the new ids; the frame has {listed(table.columns)}.")
    kinds = {kind for one in model.described or () for kind, _ in one.kinds}
    columns = [name for name in table.columns if name not in (modality, "weight", "time")]
    others = {name: name if name in kinds else name.split("#")[0] for name in columns}
    again = {name for members in model.edge_modalities.values() for name in vertex_columns(members) if "#" in name} | kinds
    if strange := [name for name in columns if "#" in name and name not in again]:
        raise DataError(f"fold_in: column '{strange[0]}' is unknown: no edge of the model joins so many '{others[strange[0]]}'.")
    if not others:
        raise DataError(f"fold_in needs a column of another modality beside '{modality}', such as {listed(model.sizes)}.")
    sides = [one for one in model.described or () if one.modality == modality]
    described = next((one for one in sides if {*others.values()} <= {kind for kind, _ in one.kinds}), None)
    for other in others.values() if described is None else ():
        model._check_modality(other)
    ids = _new_ids(table, modality, "fold_in")
    table = one_a_cell(model, table, [modality], "fold_in")
    row_of = Vocabulary(modality, ids).encode(table[modality])
    weight = table["weight"].to_numpy()
    if described is not None:
        embedding = placed(model, described, described.read(table, row_of, len(ids), weight))
    else:
        total = np.zeros((len(ids), model.n_topics))
        for name, other in others.items():
            known = table[name].is_not_null().to_numpy()
            rows = model.vocabularies[other].rows(table[name].filter(pl.Series(known)))
            np.add.at(total, row_of[known], model.embedding(other)[rows] * (weight[known] * model._tau(modality, other))[:, None])
        embedding = _distributions(total.astype(np.float32), model.state.prior)
    return pl.DataFrame({"id": ids, "embedding": pl.Series(embedding, dtype=pl.Array(pl.Float32, model.n_topics))})


def _new_ids(table: pl.DataFrame, modality: str, what: str) -> pl.Series:
    """The ids of a frame of new vertices, each once."""
    if not table.height:
        raise DataError(f"{what}: the frame has no rows.")
    if table[modality].null_count():
        raise DataError(f"{what}: column '{modality}' has nulls; every row needs the id of its {modality}.")
    return table[modality].unique(maintain_order=True).sort()


def with_items(model: M, table: pl.DataFrame) -> M:
    """A model with longer vocabulary and tables: see `Answers.with_items`."""
    from hyperrec.growth import extended, grown

    if model.described is None:
        raise ModelError("with_items reads attributes: fit with TopicModel(attributes=hr.Attributes()).")
    item, (users, items) = model.item_modality, model.described
    if item not in table.columns:
        raise DataError(f"with_items needs a column '{item}' with the new ids; the frame has {listed(table.columns)}.")
    check_columns(table, [items], [item, "weight"], "with_items")
    ids = _new_ids(table, item, "with_items")
    new, known = Vocabulary(item, ids), model.vocabularies[item]
    if len(old := np.flatnonzero(known.encode(ids) >= 0)):
        raise DataError(f"with_items: the model knows {item} {ids[int(old[0])]!r} already; give new items only.")
    table = one_a_cell(model, table, [item], "with_items")
    features = items.read(table, new.encode(table[item]), len(ids), table["weight"].to_numpy())
    if len(nothing := np.flatnonzero(np.diff(features.indptr) == 0)):
        told = f"{len(nothing)} of {len(ids)} items, such as {ids[int(nothing[0])]!r}"
        logger.warning("with_items: no attribute that the model knows of %s: ranked by p(t) alone", told)
    longer = copy(model)
    longer.vocabularies = {**model.vocabularies, item: extended(known, new)}
    fit, assembly = grown(model, longer.vocabularies)
    longer.state, longer.n_v, longer.n_vt, longer.layout = fit.state, fit.n_v, fit.n_vt, assembly.layout
    longer.offsets, longer.sizes, longer.counts = assembly.offsets, assembly.sizes, assembly.counts
    longer.histories, longer.seen = assembly.history, assembly.seen
    longer.described = users, items.having(features=sp.vstack([items.features, features], format="csr"))
    longer._forget_caches()
    longer._place_unmet()
    if (weights := model._item_weights) is not None:  # those to items without events are made anew
        met = np.bincount(longer.seen.indices, minlength=longer.seen.shape[1]) > 0
        weights = weights.copy()
        weights.resize(longer.seen.shape[1], longer.seen.shape[1])
        weights = sp.csr_matrix(weights @ sp.diags_array(met.astype(np.float32)))
        weights.eliminate_zeros()
        longer._item_weights = with_likeness(longer, weights)
    return longer


def packed(described: tuple[Described, Described] | None) -> tuple[dict[str, np.ndarray], list[Any] | None, list[Vocabulary]]:
    """What is saved of it: arrays, kinds for the config, vocabularies of the attributes."""
    if described is None:
        return {}, None, []
    arrays: dict[str, np.ndarray] = {}
    for side, one in zip(("users", "items"), described, strict=True):
        matrix = {f"features.{name}": getattr(one.features, name) for name in ("data", "indices", "indptr")}
        arrays |= {f"{side}.{name}": value for name, value in {**matrix, "idf": one.idf, "vectors": one.vectors}.items()}
    kinds = [vocabulary for one in described for vocabulary in one.vocabularies]
    return arrays, [[one.modality, one.kinds, one.scale] for one in described], kinds


def unpacked(
    told: list[Any] | None, arrays: Mapping[str, np.ndarray], ids: Callable[[int], pl.Series]
) -> tuple[Described, Described] | None:
    """What `packed` gave; ids(number) reads those of an attribute modality."""
    if told is None:
        return None
    sides, number = [], 0
    for side, (modality, kinds, scale) in zip(("users", "items"), told, strict=True):
        vocabularies = [Vocabulary(kind, ids(number + i)) for i, (kind, _) in enumerate(kinds)]
        number += len(kinds)
        parts = tuple(arrays[f"{side}.features.{name}"] for name in ("data", "indices", "indptr"))
        features = sp.csr_matrix(parts, shape=(len(parts[2]) - 1, len(arrays[f"{side}.idf"])))
        pairs = [(kind, float(tau)) for kind, tau in kinds]
        idf, vectors = (arrays[f"{side}.{name}"] for name in ("idf", "vectors"))
        sides.append(Described(modality, pairs, vocabularies, idf, features, vectors, float(scale)))
    return sides[0], sides[1]


def _distributions(rows: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Rows divided by their sums, float32; a row without anything becomes p(t)."""
    rows = np.where(rows.sum(axis=1, keepdims=True) > 0, rows, prior)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), dtype=np.float32)

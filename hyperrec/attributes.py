"""Attributes: where users and items lie by what is known of them, as those who have events show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.errors import DataError, ModelError, did_you_mean, listed
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.hypergraph import Hypergraph

LENGTH = 0.7  # power of the norm that features are divided by: of whom more is known, more is expected
KEPT = 1000  # the largest weights to an item without events that are kept
NEAREST = 50  # to one with events
ITERATIONS = 25
COLUMNS = 256


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What is known of users and items places those without events, steadies users who have few, and tells which items are alike.

    Edges of two vertices, a user or an item and an attribute (word, tag, genre; age, income), are not fitted as topics are: they
    are features, tf-idf (1 + ln count) ln(V / V_attribute) times the weight of their type, normalized. So are edges of a user, an
    item and an attribute (tags that users give), which describe the item, and edges of two items or of two users (citations,
    friends), by which each is described by itself and the other. Ridge regression gives each attribute a vector of T numbers,
    what it says for each topic:

    - an item without events has p(i|t) as the sum of the vectors of its attributes, and to its score comes
      likeness * sum_j (K_ij - mean_j K_ij)+ over the items j of the history, K the cosine of their features; in a context its ln
      lift is the mean of theirs (`hyperrec.situated`);
    - to the score of an item with events comes, in lists of new items, warm_likeness * sum_j K_ij over those items j of the history
      that are among the NEAREST to it, K multiplied so that an item of a history, of those with features, gives 1 to all others on
      the average, as to the topics of `Neighbours(share=)`;
    - a user has p(t|attributes) instead of p(t) in the `history_prior` of `TopicModel`, where something is known of her. Known
      users keep vectors that are their own (context=None).

    edges : edge type -> weight; by default all types between users or items and a third modality that `TopicModel(edges=)` does not
    name; other types have to be named. regularization : of the regression, in users or items. likeness, warm_likeness : see above.

    Raises
    ------
    ModelError : a parameter outside its range.
    """

    edges: Mapping[str, float] | None = None
    regularization: float = 3.0
    likeness: float = 0.03
    warm_likeness: float = 0.1

    def __post_init__(self) -> None:
        for name in ("regularization", "likeness", "warm_likeness"):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not (number and np.isfinite(value) and (value > 0 or (value == 0 and name != "regularization"))):
                limit = "above 0" if name == "regularization" else "0 or more"
                raise ModelError(f"Attributes: {name} must be a number, {limit}; got {value!r}.")
        if self.edges is not None and not (
            isinstance(self.edges, Mapping)
            and self.edges
            and all(isinstance(tau, (int, float)) and np.isfinite(tau) and tau > 0 for tau in self.edges.values())
        ):
            raise ModelError(f"Attributes: edges must say edge type -> weight > 0, such as {{'genre': 1.0}}; got {self.edges!r}.")

    def chosen(self, graph: Any, fitted: Iterable[str], user: str, item: str) -> list[Describing]:
        """The edge types of a graph that describe users and items. Raises ModelError for a type that does not."""
        there = {name: told for name, one in graph.edges.items() if (told := _describes(name, one.modalities, user, item))}
        chosen = self._named(graph, there, fitted)
        for number, one in enumerate(chosen):
            if same := [other.name for other in chosen[:number] if (other.modality, other.kind) == (one.modality, one.kind)]:
                raise ModelError(
                    f"Attributes: '{same[0]}' and '{one.name}' both describe {one.modality} by {one.kind.split('#')[0]}: name one "
                    "of them in Attributes(edges=)."
                )
        return chosen

    def _named(self, graph: Any, there: Mapping[str, Describing], fitted: Iterable[str]) -> list[Describing]:
        if self.edges is None:
            pairs = {name for name, one in graph.edges.items() if len(set(one.modalities)) == len(one.modalities) == 2}
            return [told for name, told in there.items() if name in pairs and name not in fitted]
        for name in self.edges:
            if name not in there:
                raise ModelError(
                    f"Attributes: '{name}' is no edge type that describes users or items: there are {listed(there)}."
                    f"{did_you_mean(name, there)}"
                )
        return [replace(there[name], weight=float(tau)) for name, tau in self.edges.items()]


@dataclass(frozen=True)
class Describing:
    """An edge type that describes vertices of a modality: kind is the modality of its attributes, and the name of a column
    in frames of new vertices; columns: where both stand in an edge. weight: of the type."""

    name: str
    modality: str
    kind: str
    columns: tuple[int, int]
    weight: float = 1.0


def _describes(name: str, modalities: Sequence[str], user: str, item: str) -> Describing | None:
    """What an edge type describes, if anything."""
    if len(modalities) == 2 and modalities[0] == modalities[1] and modalities[0] in (user, item):
        return Describing(name, modalities[0], f"{modalities[0]}#2", (0, 1))
    others = [one for one in modalities if one not in (user, item)]
    sides = [one for one in modalities if one in (user, item)]
    if len(others) != 1 or not sides or len({*sides}) < len(sides):
        return None
    modality = item if item in sides else user
    return Describing(name, modality, others[0], (modalities.index(modality), modalities.index(others[0])))


@dataclass(frozen=True)
class Described:
    """What is known of the vertices of one modality, and what it says.

    kinds: (attribute modality, weight of its edge type); vocabularies: of each; idf: of all of them, one after the other.
    features (V, A) CSR float32: tf-idf, not normalized. vectors (A, T) float32. scale: what scores of items without events are
    multiplied by, so that they stand in one list with the others.
    """

    modality: str
    kinds: list[tuple[str, float]]
    vocabularies: list[Vocabulary]
    idf: np.ndarray
    features: sp.csr_matrix
    vectors: np.ndarray
    scale: float = 1.0

    @classmethod
    def of(cls, modality: str, graph: Hypergraph, edges: Sequence[Describing], met: np.ndarray) -> Described:
        """The features of a graph; vectors are still to be learned. met: rows of the vertices with events."""
        kinds, vocabularies, parts, n_rows = [], [], [], len(graph.vocabulary(modality))
        for told in edges:
            if told.modality == modality:
                kinds.append((told.kind, told.weight))
                vocabularies.append(graph.vocabulary(told.kind.split("#")[0]))
                one = graph.to_arrays(told.name)
                owner, attribute = (one.vertices[:, column] for column in told.columns)
                counts = sp.csr_matrix((one.weight, (owner, attribute)), shape=(n_rows, len(vocabularies[-1])))
                parts.append(counts if told.kind in graph.vocabularies else _and_itself(counts, met))
        counts = sp.hstack(parts, format="csr", dtype=np.float32) if parts else sp.csr_matrix((n_rows, 0), dtype=np.float32)
        counts.sum_duplicates()
        known = max(int((np.diff(counts.indptr) > 0).sum()), 1)
        idf = np.log(known / np.maximum(np.bincount(counts.indices, minlength=counts.shape[1]), 1))
        idf *= np.repeat([tau for _, tau in kinds], [len(one) for one in vocabularies])
        nothing = np.zeros((counts.shape[1], 0), np.float32)
        described = cls(modality, kinds, vocabularies, idf.astype(np.float32), counts, nothing)
        return described.having(features=described._weighed(counts))

    def having(self, **changed: Any) -> Described:
        return Described(**{**vars(self), **changed})

    def _weighed(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        features = counts.copy()
        features.data = ((1 + np.log(np.maximum(features.data, 1))) * self.idf[features.indices]).astype(np.float32)
        features.eliminate_zeros()
        return features

    def learned(self, rows: np.ndarray, targets: np.ndarray, regularization: float) -> Described:
        """With the vectors B that minimize |Y - F B|^2 + regularization |B|^2; F: features of `rows` (n,), Y: targets (n, T)."""
        known = np.diff(self.features.indptr)[rows] > 0
        features = _normalized(self.features[rows[known]])
        blocks = range(0, targets.shape[1], COLUMNS)
        solved = [_ridge(features, targets[known, start : start + COLUMNS], regularization) for start in blocks]
        return self.having(vectors=np.concatenate(solved, axis=1).astype(np.float32))

    def says(self, features: sp.csr_matrix, length: float = 1.0) -> np.ndarray:
        """f B (n, T) float32 of features (n, A), divided by their norms to the power length."""
        return np.asarray(_normalized(features, length) @ self.vectors, dtype=np.float32)

    def likeness(self, features: sp.csr_matrix, to: np.ndarray) -> sp.csr_matrix:
        """(V, n) CSR float32: how much more like the vertices `to` each of n vertices with features is than they are on average."""
        known, rows = _normalized(self.features[to]).T.tocsr(), [sp.csr_matrix((0, len(to)), dtype=np.float32)]
        for start in range(0, features.shape[0], COLUMNS):
            cosine = (_normalized(features[start : start + COLUMNS], LENGTH) @ known).toarray()
            rows.append(_largest(np.maximum(cosine - cosine.mean(axis=1, keepdims=True), 0), KEPT))
        found = sp.vstack(rows).T
        place = sp.csr_matrix((np.ones(len(to), np.float32), (to, np.arange(len(to)))), (self.features.shape[0], len(to)))
        return (place @ found).tocsr()

    def nearest(self, rows: np.ndarray) -> sp.csr_matrix:
        """(V, V) CSR float32: cosines of the features of these vertices, NEAREST to each column, none with itself."""
        known, n = _normalized(self.features[rows]), self.features.shape[0]
        place = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))), (n, len(rows)))
        transposed, found = known.T.tocsr(), [sp.csr_matrix((0, len(rows)), dtype=np.float32)]
        for start in range(0, len(rows), COLUMNS):
            cosine = (known[start : start + COLUMNS] @ transposed).toarray()
            own = np.arange(len(cosine))
            cosine[own, start + own] = 0
            found.append(_largest(cosine, NEAREST))
        return (place @ sp.vstack(found).T @ place.T).tocsr()

    def read(self, table: pl.DataFrame, owners: np.ndarray, n: int, weight: np.ndarray) -> sp.csr_matrix:
        """Features (n, A) of new vertices: rows of a frame with columns of attributes, each of the vertex owners (rows,).

        An attribute that was not there before says nothing; a null cell is skipped, and what a frame repeats counts as often where
        only one kind is given, once otherwise.
        """
        parts = []
        for (kind, _), vocabulary in zip(self.kinds, self.vocabularies, strict=True):
            if kind not in table.columns:
                parts.append(sp.csr_matrix((n, len(vocabulary)), dtype=np.float32))
                continue
            places = vocabulary.encode(table[kind])
            told = pl.DataFrame({"owner": owners, "place": places, "weight": weight}).filter(pl.col("place") >= 0)
            several = sum(one in table.columns for one, _ in self.kinds) > 1
            total = told.group_by("owner", "place", maintain_order=True).agg(
                pl.col("weight").max() if several else pl.col("weight").sum()
            )
            at = total["owner"].to_numpy(), total["place"].to_numpy()
            parts.append(sp.csr_matrix((total["weight"].to_numpy(), at), shape=(n, len(vocabulary)), dtype=np.float32))
        counts = sp.hstack(parts, format="csr", dtype=np.float32) if parts else sp.csr_matrix((n, 0), dtype=np.float32)
        return self._weighed(counts)

    def names(self, features: sp.csr_matrix) -> str:
        """The attributes of one vertex, as a sentence tells them."""
        kind = np.repeat([name.split("#")[0] for name, _ in self.kinds], [len(one) for one in self.vocabularies])
        starts = np.cumsum([0, *(len(one) for one in self.vocabularies)])
        owner = np.searchsorted(starts, features.indices, side="right") - 1
        told = [f"{kind[i]} {self.vocabularies[o].ids[int(i - starts[o])]}" for i, o in zip(features.indices, owner, strict=True)]
        return ", ".join(told[:5])


def check_columns(table: pl.DataFrame, described: Sequence[Described], others: Iterable[str], what: str) -> None:
    """Raises DataError for a column that is nothing to the model."""
    known = [*dict.fromkeys([*others, *(kind for one in described for kind, _ in one.kinds)])]
    for name in table.columns:
        if name not in known:
            raise DataError(f"{what}: column '{name}' is unknown; expected some of {listed(known)}.{did_you_mean(name, known)}")


def _largest(table: np.ndarray, kept: int) -> sp.csr_matrix:
    """So many of each row (n, m), of numbers not below 0, that are the largest; of equal ones those that come first."""
    n_columns = table.shape[1]
    if n_columns > kept:
        least = np.partition(table, n_columns - kept, axis=1)[:, n_columns - kept, None]
        equal = table == least
        room = kept - (table > least).sum(axis=1, keepdims=True)
        table[(table < least) | (equal & (equal.cumsum(axis=1) > room))] = 0
    return sp.csr_matrix(table)


def _and_itself(counts: sp.csr_matrix, met: np.ndarray) -> sp.csr_matrix:
    """Of edges between vertices of one modality: each is described by those that it is joined to, in either order, and by itself,
    if it has events: else nothing is learned of it."""
    both = (counts + counts.T).tocsr()
    itself = np.zeros(both.shape[0], np.float32)
    itself[met] = np.diff(both.indptr)[met] > 0
    return both + sp.diags_array(itself, format="csr")


def _normalized(features: sp.csr_matrix, length: float = 1.0) -> sp.csr_matrix:
    norm = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags_array((1 / np.maximum(norm, 1e-12) ** length).astype(features.dtype)) @ features)


def _ridge(features: sp.csr_matrix, targets: np.ndarray, regularization: float) -> np.ndarray:
    """F' (F F' + r)^-1 Y by conjugate gradients, all columns at once; no larger matrix than Y is made."""
    residual = targets.astype(np.float32)
    enough = 1e-10 * (residual**2).sum(axis=0)
    solution, direction, square = np.zeros_like(residual), residual.copy(), (residual**2).sum(axis=0)
    for _ in range(ITERATIONS):
        if (square <= enough).all():
            break
        image = features @ (features.T @ direction) + regularization * direction
        step = square / np.maximum((direction * image).sum(axis=0), 1e-30)
        solution += step * direction
        residual -= step * image
        before, square = square, (residual**2).sum(axis=0)
        direction = residual + square / np.maximum(before, 1e-30) * direction
    return np.asarray(features.T @ solution)

"""Why an item is recommended: what each position of a history, and each topic, adds to its score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hyperrec.cold import share_of_prior, what_is_known
from hyperrec.errors import DataError, listed
from hyperrec.histories import read_histories
from hyperrec.logs import as_frame
from hyperrec.ranking import Asked, Users, asked_for, context_rows, known_users, new_users
from hyperrec.topics import reading

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.topics.shards import History


@dataclass(frozen=True)
class Explanation:
    """Why an item is recommended to a user.

    score: as `recommend` gives it. history: modality, id, name, contribution, with a row of modality "attributes" for what is known
    of the user (`Attributes`), or "prior" for what holds of every user (`history_prior`); topics: topic, name, share, contribution,
    with rows that have no topic: "its neighbours" for what the items of the history say directly (`Neighbours`, and those that are
    alike), "items alike" where there are only these (`Attributes`), "own events" for the user's own, which come back. Contributions
    sum to the score in either frame. sentence: the same for a person.
    """

    user: Any
    item: Any
    score: float
    history: pl.DataFrame
    topics: pl.DataFrame
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def explain(
    model: Answers, user: Any, item: Any, *, histories: Any = None, given: Mapping[str, Any] | None = None,
    filter_seen: bool = True, k: int = 3,
) -> Explanation:  # fmt: skip
    """Which vertices of the user's history speak for an item, and through which topics: see `Answers.explain`."""
    users, prior = _one(model, user, histories), model.state.prior
    item_row = model.vocabularies[model.item_modality].rows([item])
    asked, lifts = asked_for(model, users, context_rows(model, given), users.met if filter_seen else None), users.lifts[0]
    lift = asked.lift_of(model, item_row[0])
    by_topic = asked.index(model._items).vectors[item_row[0]] * prior * asked.lifts[0] * (lift * asked.amount[0])
    vector = np.divide(by_topic, lifts, out=np.zeros_like(lifts), where=lifts > 0)
    number = np.arange(model.n_topics)
    names = [f"topic {one}" for one in number]
    share = normalized((lifts * prior)[None])[0]
    topics = pl.DataFrame({"topic": number, "name": names, "share": share, "contribution": by_topic})
    rows, contribution = _contributions(model, users, vector)
    total = contribution.sum()
    silent = abs(total) <= 1e-30
    told, known = known_part(model, users, vector, float(by_topic.sum()) if silent else None)
    contribution = contribution * (0 if silent else (by_topic.sum() - known) / total)
    start = model.offsets[model.item_modality]
    for name, items, added in _direct(model, asked, item_row[0], lift):
        direct = {"topic": [None], "name": [name], "share": [None], "contribution": [added.sum()]}
        topics = pl.concat([topics, pl.DataFrame(direct, schema=topics.schema)])
        rows, places = np.unique(np.append(rows, start + items), return_inverse=True)
        contribution = np.bincount(places, np.append(contribution, added), len(rows))
    topics = topics.sort("contribution", descending=True)
    score = float(topics["contribution"].sum())
    history = named_rows(model, rows, contribution)
    if told is not None:
        history = pl.concat([history, told])
    history = history.sort("contribution", descending=True)
    of_all = history["modality"] == "prior"  # what holds of every user is told where it is more than half
    most = history.filter(of_all)["contribution"].sum() > history["contribution"].clip(0).sum() / 2
    because = _shares(history.select("name", "contribution"), k, without=None if most else of_all)
    through = _shares(topics.select("name", "contribution"), k)
    sentence = f"{_name(model, model.item_modality, item_row[0])} for {model.user_modality} {user}"
    sentence += f": because of {because}" if because else ""
    sentence += f"; through {through}" if through else ": they share no topic"
    against = history.filter(pl.col("contribution") < 0).reverse().head(k)["name"].to_list()
    sentence += f"; against it: {', '.join(against)}." if score < 0 and against else "."
    return Explanation(user, item, score, history, topics, sentence)


def _one(model: Answers, user: Any, histories: Any) -> Users:
    """A known user, or one of whom histories tell."""
    if histories is None:
        return known_users(model, model.vocabularies[model.user_modality].rows([user]))
    table = as_frame(histories, "the frame")
    column = model.user_modality if model.user_modality in table.columns else "user"
    if column in table.columns:
        told = table[column].cast(pl.String)  # users never seen may be called by anything
        hers = table.filter(told.is_in([str(int(user) if isinstance(user, float) and user.is_integer() else user)]))
        if not hers.height:
            known = listed(told.unique(maintain_order=True))
            raise DataError(f"explain: histories tell of {known}, and not of {user!r}; leave them out for a known user.")
        table = hers
    return new_users(model, read_histories(model, table))


def _direct(model: Answers, asked: Asked, item: int, lift: float) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What speaks for an item past the topics: its name, item rows, and what each of them adds."""
    factor = model._items.factor[item]
    if asked.direct is not None and model.item_weights is not None:
        items, name = asked.direct.indices, "its neighbours" if model.neighbours else "items alike"
        yield name, items, asked.direct.data * model.item_weights[items, item].toarray().ravel() * (lift * factor)
    if asked.own is not None:
        own = asked.own.indices == item
        yield "own events", asked.own.indices[own], asked.own.data[own] * factor


def _contributions(model: Answers, user: Users, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Table rows of the history of one user, and what each adds to the product of the user's lifts with an item's vector (T,)."""
    if user.are_read:
        history, plan = user.histories.take(user.rows), model._reading.plan()
        _, values = reading.contexts_of(history, plan, model.state)
        added = reading.weights_after(history, plan, model.state) * (values @ vector)
        rows, places = np.unique(history.vertices, return_inverse=True)
        return rows, np.bincount(places, added, len(rows))
    rows = model.offsets[model.item_modality] + user.met.indices
    posterior = normalized(model.state.lift[rows] * user.lifts[0] * model.state.prior)  # p(t | user, item), of which p(t|user) is
    return rows, posterior @ (vector / model.state.prior)


def known_part(model: Answers, user: Users, vector: np.ndarray, whole: float | None) -> tuple[pl.DataFrame | None, float]:
    """What is known of a user without her history, as a row beside those of it, and what it adds: `whole`, where the history adds
    nothing. None, 0 where nothing is known."""
    if not whole and (whole is not None or not model.history_prior or not user.are_read):
        return None, 0.0
    features = user.features[user.rows] if user.features is not None else None
    added = whole
    if added is None:
        share = share_of_prior(model, user.histories.take(user.rows))[0]
        added = float(share * (what_is_known(model, features)[0] @ vector))
    name = model.described[0].names(features) if model.described is not None and features is not None else ""
    row = ["attributes", None, name, added] if name else ["prior", None, f"what every {model.user_modality} likes", added]
    schema = {"modality": pl.String, "id": pl.String, "name": pl.String, "contribution": pl.Float64}
    return pl.DataFrame([row], schema=schema, orient="row"), added


def position_vectors(model: Answers, history: History) -> pl.DataFrame:
    """The five vectors of each position of the one container of a history: see `Answers.positions`."""
    plan, prior = model._reading.plan(), model.state.prior
    word = model.state.lift[history.vertices]
    left, right = (reading.contexts_of(history, plan.one_sided(left=side), model.state)[0][:-1] for side in (True, False))
    context = reading.contexts_of(history, plan, model.state)[0][:-1]
    joint = word * context * prior
    joint[joint.sum(axis=1) <= 0] = prior
    vectors = {"context_free": word, "left": left, "right": right, "context": context, "contextual": joint / prior}
    named = named_rows(model, history.vertices, np.zeros(len(word))).select("modality", "id")
    kind = pl.Array(pl.Float32, model.n_topics)
    columns = {name: pl.Series(normalized(lift * prior), dtype=kind) for name, lift in vectors.items()}
    return named.with_columns(**columns).with_row_index("position", offset=1)


def named_rows(model: Answers, rows: np.ndarray, contribution: np.ndarray) -> pl.DataFrame:
    """modality, id, name, contribution of table rows."""
    starts = np.array(list(model.offsets.values()))
    modalities = list(model.offsets)
    owner = np.searchsorted(starts, rows, side="right") - 1
    named = [(modalities[o], int(r - starts[o])) for o, r in zip(owner, rows, strict=True)]
    return pl.DataFrame(
        {
            "modality": [modality for modality, _ in named],
            "id": [str(model.vocabularies[modality].ids[row]) for modality, row in named],
            "name": [_name(model, modality, row) for modality, row in named],
            "contribution": contribution.astype(np.float64),
        },
        schema={"modality": pl.String, "id": pl.String, "name": pl.String, "contribution": pl.Float64},
    )


def _name(model: Answers, modality: str, row: int) -> str:
    one = model.vocabularies[modality].ids[int(row)]
    if modality in model.labels:
        found = model.labels[modality].filter(pl.col("id") == one)["label"]
        if len(found) and found[0] is not None:
            return str(found[0])
    return f"{modality} {one}"


def _shares(parts: pl.DataFrame, k: int, *, without: pl.Series | None = None) -> str:
    """'name (60 %), name (30 %)' of the first k rows (name, contribution), but for those that are nothing beside the first; of the
    whole, to which rows `without` names belong too, though they are told only when there are no others."""
    named = parts if without is None or without.all() else parts.filter(~without)
    told = [(name, value) for name, value in named.head(k).iter_rows() if value > 0 and value > 0.05 * named["contribution"][0]]
    score = float(parts["contribution"].clip(0).sum())  # what speaks for it: with `Neighbours`, something may speak against it
    return ", ".join(f"{name} ({100 * value / score:.0f} %)" for name, value in told)


def normalized(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their sums, float32."""
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), dtype=np.float32)

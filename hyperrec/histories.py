"""Histories of new users: the frames that tell them, and what these come to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.assembly import Positions, collect_history, importance_of
from hyperrec.attributes import check_columns
from hyperrec.cells import checked_weights, one_a_cell, one_a_row
from hyperrec.errors import DataError, did_you_mean, listed
from hyperrec.hypergraph import as_numbers, vertex_columns
from hyperrec.logs import as_frame
from hyperrec.logs.vertices import as_times

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.topics.shards import History

logger = logging.getLogger("hyperrec")


@dataclass(frozen=True)
class Told:
    """New users as a frame tells of them: ids (n,); history: of all of them; events (E,): the same, row by row; features (n, A) CSR
    of their attributes, None for a model without `attributes`."""

    ids: pl.Series
    history: History
    events: Positions
    features: sp.csr_matrix | None


def read_histories(model: Answers, frame: Any) -> Told:
    """What a frame with a column of users and one of items says, and with `attributes`, columns of these.

    Raises
    ------
    DataError : a column is missing or unknown, an item is unknown, a user is null, a weight is not positive and finite.
    """
    table = as_frame(frame, "the frame")
    user, item = vertex_columns((model.user_modality, model.item_modality))
    if model.user_modality != model.item_modality:
        names = {"user": user, "item": item}
        table = table.rename({a: b for a, b in names.items() if a in table.columns and b not in table.columns})
    if model.described and item not in table.columns:
        table = table.with_columns(pl.lit(None, model.vocabularies[model.item_modality].ids.dtype).alias(item))
    for needed in (user, item):
        if needed not in table.columns:
            raise DataError(
                f"histories need a column '{needed}'; the frame has {listed(table.columns)}.{did_you_mean(needed, table.columns)}"
            )
    others = [one for one in model.vocabularies if one not in (user, item)]
    check_columns(table, (model.described or ())[:1], [user, item, "weight", "time", *others], "histories")
    if unread := [name for name in table.columns if name in others]:
        logger.warning("histories: column %s is not read: new users are told by their items", listed(unread))
    ids = table[user].unique(maintain_order=True)
    if ids.null_count():
        raise DataError(f"histories: column '{user}' has nulls; every row needs the id of its user.")
    if model.described is None and table[item].null_count():
        raise DataError(f"histories: column '{item}' has nulls; every row needs an item.")
    log, features = one_a_row(model, table, item, "histories"), None
    if model.described is not None:
        log = log.filter(pl.col(item).is_not_null())
        known = one_a_cell(model, table.drop(item, "weight", "time", strict=False), [user], "histories")
        features = model.described[0].read(known, _owners(known[user], ids), len(ids), known["weight"].to_numpy())
    events = _events(model, log, _owners(log[user], ids), item)
    return Told(ids, _history(model, events, len(ids)), events, features)


def _owners(users: pl.Series, ids: pl.Series) -> np.ndarray:
    """(n,) the place of each user among the ids."""
    at = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
    return users.to_frame("id").join(at, on="id", how="left", maintain_order="left")["row"].to_numpy()


def _events(model: Answers, table: pl.DataFrame, owners: np.ndarray, item: str) -> Positions:
    """The rows of a table as events of their owners (E,)."""
    weight = checked_weights(table, "histories") * np.float32(model._tau(model.user_modality, model.item_modality))
    rows = model.offsets[model.item_modality] + model.vocabularies[model.item_modality].rows(table[item])
    time = as_numbers(as_times(table["time"], "histories")) if "time" in table.columns else None
    return Positions(owners, rows[:, None], weight, time)


def _history(model: Answers, events: Positions, n_users: int) -> History:
    n_rows = len(model.state.lift)
    history, _ = collect_history([events], model._reading, n_users, n_rows)
    items = model.vocabularies[model.item_modality]
    history.importance = importance_of(model._reading, items, model.offsets[model.item_modality], n_rows)[history.vertices]
    return history


def listed_ids(ids: Any) -> Sequence[Any]:
    """A list of ids; a single string or number becomes a list of one."""
    if isinstance(ids, (str, int, np.integer)):
        return [ids]
    if not isinstance(ids, Iterable):
        raise DataError(f"expected an id or a list of ids; got {ids!r}.")
    return list(ids)


def one_after_other(ids: pl.Series, more: pl.Series) -> pl.Series:
    """Known ids, then new ones, as strings where they are not of one type. Raises DataError for an id of both."""
    more = more.cast(pl.Int64) if more.dtype.is_integer() else more.cast(pl.String)
    if ids.dtype != more.dtype:
        ids, more = ids.cast(pl.String), more.cast(pl.String)
    if len(both := ids.filter(ids.is_in(more.implode()))):
        raise DataError(f"recommend: {both[0]!r} is in users= and in histories=; name each user once.")
    return pl.concat([ids, more.rename(ids.name)])

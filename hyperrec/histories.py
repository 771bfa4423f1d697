"""Histories of new users: the frames that tell them, and what these come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.assembly import Positions, collect_history, importance_of
from hyperrec.attributes import check_columns
from hyperrec.errors import DataError, did_you_mean, listed
from hyperrec.hypergraph import as_numbers, vertex_columns
from hyperrec.logs import as_frame
from hyperrec.logs.vertices import as_times

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.topics.shards import History


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
    if model.described:
        check_columns(table, model.described[:1], [user, item, "weight", "time"], "histories")
        if item not in table.columns:
            table = table.with_columns(pl.lit(None, model.vocabularies[model.item_modality].ids.dtype).alias(item))
    for needed in (user, item):
        if needed not in table.columns:
            raise DataError(
                f"histories need a column '{needed}'; the frame has {listed(table.columns)}.{did_you_mean(needed, table.columns)}"
            )
    ids = table[user].unique(maintain_order=True)
    if ids.null_count():
        raise DataError(f"histories: column '{user}' has nulls; every row needs the id of its user.")
    at = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
    owners = table.select(pl.col(user).alias("id")).join(at, on="id", how="left", maintain_order="left")["row"].to_numpy()
    if model.described is None:
        events, features = _events(model, table, owners, item), None
    else:
        met = table[item].is_not_null()
        events = _events(model, table.filter(met), owners[met.to_numpy()], item)
        features = model.described[0].read(table, owners, len(ids), np.ones(table.height, np.float32))
    return Told(ids, _history(model, events, len(ids)), events, features)


def _events(model: Answers, table: pl.DataFrame, owners: np.ndarray, item: str) -> Positions:
    """The rows of a table as events of their owners (E,)."""
    weight = checked_weights(table, "histories")
    rows = model.offsets[model.item_modality] + model.vocabularies[model.item_modality].rows(table[item])
    time = as_numbers(as_times(table["time"], "histories")) if "time" in table.columns else None
    return Positions(owners, rows[:, None], weight, time)


def _history(model: Answers, events: Positions, n_users: int) -> History:
    n_rows = len(model.state.lift)
    history, _ = collect_history([events], model._reading, n_users, n_rows)
    items = model.vocabularies[model.item_modality]
    history.importance = importance_of(model._reading, items, model.offsets[model.item_modality], n_rows)[history.vertices]
    return history


def checked_weights(table: pl.DataFrame, what: str) -> np.ndarray:
    """Column `weight` (n,) float32, checked; ones where there is none."""
    if "weight" not in table.columns:
        return np.ones(table.height, np.float32)
    if not table["weight"].dtype.is_numeric():
        raise DataError(f"{what}: weight must be a column of numbers; got {table['weight'].dtype}. Cast the column.")
    weight = table["weight"].cast(pl.Float32).to_numpy()
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise DataError(f"{what}: weight must be positive and finite in every row.")
    return weight


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

"""Cells of a frame that hold several vertices: texts, cut as those of the log were, and lists of vertices as they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from hyperrec.errors import DataError

if TYPE_CHECKING:
    from hyperrec.answers import Answers
    from hyperrec.vocabulary import Vocabulary

logger = logging.getLogger("hyperrec")


def one_a_cell(model: Answers, table: pl.DataFrame, kept: Sequence[str], what: str) -> pl.DataFrame:
    """The table with no more than one vertex in a cell, and a column `weight`.

    Vertices of a cell of several get rows of their own after the others, with the columns `kept`; what is there n times in a cell
    has n times the weight of its row.
    """
    table = table.with_columns(weight=checked_weights(table, what))
    parts = [table]
    for name in table.columns:
        if name in (*kept, "weight", "time") or (lists := _lists(model, table[name], what)) is None:
            continue
        row = "#"  # no column of a modality
        part = table.select(*kept, "weight", lists).with_row_index(row).explode(name).drop_nulls(name)
        parts.append(part.group_by(row, name, *kept, maintain_order=True).agg(pl.col("weight").sum()).drop(row))
        parts[0] = parts[0].with_columns(pl.lit(None, part.schema[name]).alias(name))
    return pl.concat(parts, how="diagonal")


def one_a_row(model: Answers, table: pl.DataFrame, name: str, what: str) -> pl.DataFrame:
    """The table with a row for each vertex in the cells of a column, in their order; a null cell keeps its row."""
    lists = _lists(model, table[name], what)
    if lists is None:
        return table
    return table.with_columns(lists).filter(pl.col(name).is_null() | (pl.col(name).list.len() > 0)).explode(name)


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


def _lists(model: Answers, column: pl.Series, what: str) -> pl.Series | None:
    """The vertices of each cell, where cells may hold several; a text that is a term of the model is that one."""
    if column.dtype == pl.List:
        return column
    modality = column.name.split("#")[0]
    if modality not in model.tokenizers or column.dtype != pl.String:
        return None
    ids = _vocabulary(model, modality).ids
    is_one = column.is_in(ids.implode())
    terms = replace(model.tokenizers[modality], vocabulary=tuple(ids)).cut(column)
    if empty := int((~is_one & (terms.list.len() == 0)).sum()):
        logger.info("%s: %d of %d texts of '%s' have no word that the model knows", what, empty, len(column), column.name)
    frame = pl.DataFrame({"cell": column, "terms": terms, "is_one": is_one})
    cell = pl.col("cell")
    terms_or_one = pl.when("is_one").then(pl.concat_list(cell)).when(cell.is_not_null()).then("terms")
    return frame.select(terms_or_one.alias(column.name)).to_series()


def _vocabulary(model: Answers, modality: str) -> Vocabulary:
    for one in model.described or ():
        for (kind, _), vocabulary in zip(one.kinds, one.vocabularies, strict=True):
            if kind == modality:
                return vocabulary
    return model.vocabularies[modality]

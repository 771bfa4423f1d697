"""The edges of one type with the rules that a row must keep; then vocabularies over all types, and the hypergraph."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from hyperrec.errors import DataError, SchemaError
from hyperrec.hypergraph import EdgeTable, Hypergraph, vertex_columns
from hyperrec.logs.files import in_one_line
from hyperrec.logs.tables import Log
from hyperrec.logs.vertices import as_times, as_weights, pieces, vertex_ids
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.schema import Edge

logger = logging.getLogger("hyperrec")


@dataclass
class RawEdges:
    """Edges before their ids are numbered: columns v0, v1, ... and `weight`, `time` where there is one."""

    path: str
    modalities: tuple[str, ...]
    frame: pl.DataFrame
    rejected: pl.DataFrame
    distinct: bool
    labels: dict[str, pl.DataFrame]


def raw_edges(log: Log, path: str, edge: Edge, on_bad_rows: str) -> RawEdges:
    frame, dot = log.frame, f"{path}." if path else ""
    where = f"{log.origin}: {path}" if path else log.origin
    broken = log.broken(dot, [edge.weight] + [text for text in (edge.where, edge.time) if text is not None])
    if edge.where is not None:
        is_edge = log.value(f"{dot}where", edge.where)
        if is_edge.dtype != pl.Boolean:
            given, came = in_one_line(edge.where), is_edge.dtype
            raise SchemaError(f"{where}.where '{given}' is no condition: it gives {came}, expected true or false.")
        for mask in broken.values():
            is_edge = is_edge.fill_null(False) | mask
        frame = frame.filter(is_edge)
        broken = {rule: mask.filter(is_edge) for rule, mask in broken.items()}
        logger.info("%s: %d of %d rows are edges by `where`", where, frame.height, log.frame.height)
    part = Log(log.origin, frame, log.table)
    columns: dict[str, pl.Series] = {}
    labels: dict[str, pl.DataFrame] = {}
    rules: dict[str, pl.Series] = dict(broken)
    vertices = edge.vertex_list
    for number, (modality, vertex) in enumerate(vertices):
        ids, text = vertex_ids(part, f"{dot}vertices.{modality}" if path else f"column '{vertex.column}'", vertex)
        if text is not None:
            labels.setdefault(modality, text)
        if not vertex.several and ids.null_count():
            rules[f"null id: {vertex.column}"] = ids.is_null()
        columns[f"v{number}"] = ids
    if edge.weight == "1":
        columns["weight"] = pl.repeat(1.0, frame.height, dtype=pl.Float32, eager=True)
    else:
        columns["weight"] = as_weights(part.value(f"{dot}weight", edge.weight), f"{where}: {dot}weight")
        weight = columns["weight"]
        if frame.height and not (weight.null_count() == 0 and weight.is_finite().all() and weight.min() > 0):  # type: ignore[operator]
            rules["weight not a number"] = weight.is_null() | weight.is_nan()
            rules["weight <= 0"] = weight <= 0
            rules["weight infinite"] = weight.is_infinite()
    if edge.time is not None:
        columns["time"] = as_times(part.value(f"{dot}time", edge.time), f"{where}: {dot}time")
        if columns["time"].null_count():
            rules["unparsable time"] = columns["time"].is_null()
    kept, rejected = _apply_rules(pl.DataFrame(columns), frame, rules)
    for number, (_, vertex) in enumerate(vertices):
        if vertex.several:
            kept, bad = pieces(kept, f"v{number}", vertex, frame)
            rejected = pl.concat([rejected, bad]) if bad.height else rejected
    kept = kept.drop("row", strict=False)
    _report(rejected, where, path, on_bad_rows)
    if not kept.height:
        read = f"{log.frame.height:,} rows read"
        filtered = f", {log.frame.height - frame.height:,} left out by where" if edge.where is not None else ""
        raise DataError(f"{where}: no edges left: {read}{filtered}, {rejected.height:,} broke a rule{_counted(rejected)}.")
    return RawEdges(path, tuple(modality for modality, _ in vertices), kept, rejected, edge.distinct, labels)


def _apply_rules(
    columns: pl.DataFrame, rows: pl.DataFrame, rules: dict[str, pl.Series]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Edges that keep all the rules (with `row`, the row they come from), and the rows that broke one, with the first it broke."""
    columns = columns.with_row_index("row")
    rule = pl.coalesce(pl.when(mask.fill_null(False)).then(pl.lit(name)) for name, mask in rules.items()) if rules else None
    if rule is None:
        return columns, rows.clear().with_columns(pl.lit(None, pl.String).alias("rule"))
    broken = rows.select(rule.alias("rule")).to_series() if rows.width else pl.Series("rule", [], pl.String)
    good = broken.is_null()
    return columns.filter(good), rows.with_columns(broken).filter(~good)


def _report(rejected: pl.DataFrame, where: str, path: str, on_bad_rows: str) -> None:
    if not rejected.height:
        return
    if on_bad_rows == "error":
        raise DataError(
            f"{where}: {rejected.height:,} rows break a rule{_counted(rejected)}; the first: "
            f"{rejected.drop('rule').row(0, named=True)}. Mend the log, filter with `where`, or pass on_bad_rows='keep'."
        )
    for rule, count in rejected.group_by("rule", maintain_order=True).len().iter_rows():
        logger.warning("%s: %s rows kept aside in graph.rejected: %s", where, f"{count:,}", rule)


def _counted(rejected: pl.DataFrame) -> str:
    counts = rejected.group_by("rule", maintain_order=True).len().iter_rows()
    text = ", ".join(f"{rule}: {count:,}" for rule, count in counts)
    return f" ({text})" if text else ""


def build(raw: dict[str, RawEdges], texts: dict[str, pl.DataFrame]) -> Hypergraph:
    """Vocabularies over all edge types, and edge tables of row numbers."""
    places: dict[str, list[tuple[str, str]]] = {}
    for edge_type, edges in raw.items():
        for number, modality in enumerate(edges.modalities):
            places.setdefault(modality, []).append((edge_type, f"v{number}"))
    vocabularies = {}
    for modality, columns in places.items():
        ids, codes = _numbered([raw[edge_type].frame[column] for edge_type, column in columns])
        vocabularies[modality] = Vocabulary(modality, ids)
        for (edge_type, column), rows in zip(columns, codes, strict=True):
            raw[edge_type].frame = raw[edge_type].frame.with_columns(rows.alias(column))
    tables = {}
    for edge_type, edges in raw.items():
        names = vertex_columns(edges.modalities)
        frame = edges.frame.rename({f"v{number}": name for number, name in enumerate(names)})
        if edges.distinct:
            timed = frame.sort("time", maintain_order=True) if "time" in frame.columns else frame
            frame = timed.unique(names, keep="first", maintain_order=True)
        tables[edge_type] = EdgeTable(edges.modalities, frame)
    for edges in raw.values():
        for modality, text in edges.labels.items():
            texts.setdefault(modality, text)
    labels = {modality: _labels(vocabularies[modality], text) for modality, text in texts.items() if modality in vocabularies}
    return Hypergraph(tables, vocabularies, labels, {name: edges.rejected for name, edges in raw.items()})


def _labels(vocabulary: Vocabulary, text: pl.DataFrame) -> pl.DataFrame:
    """(id, label) of the vertices that have one, in the order of the vocabulary."""
    text = text.with_columns(pl.col("id").cast(vocabulary.ids.dtype, strict=False)).drop_nulls().unique("id", keep="first")
    return vocabulary.ids.to_frame().join(text, on="id", how="inner", maintain_order="left")


def _numbered(columns: list[pl.Series]) -> tuple[pl.Series, list[pl.Series]]:
    """The ids of several columns of one modality, ascending, and the columns as Int32 row numbers."""
    if any(column.dtype == pl.String for column in columns):
        columns = [column.cast(pl.String) for column in columns]
        ids = pl.concat([column.unique() for column in columns]).unique().sort()
        kind = pl.Enum(ids)
        return ids, [column.cast(kind).to_physical().cast(pl.Int32) for column in columns]
    arrays = [column.to_numpy() for column in columns]
    low = min(int(array.min()) for array in arrays)
    span = max(int(array.max()) for array in arrays) - low + 1
    if span <= max(2**22, 4 * sum(len(array) for array in arrays)):
        # dense integers: one look at each in a table of the whole range
        present = np.zeros(span, bool)
        for array in arrays:
            present[array - low] = True
        number = (np.cumsum(present, dtype=np.int32) - 1).astype(np.int32)
        return pl.Series(np.flatnonzero(present) + low), [pl.Series(number[array - low]) for array in arrays]
    ids = pl.concat([column.unique() for column in columns]).unique().sort()
    known = pl.DataFrame({"id": ids, "row": np.arange(len(ids), dtype=np.int32)})
    return ids, [
        column.alias("id").to_frame().join(known, on="id", how="left", maintain_order="left")["row"] for column in columns
    ]

"""The edges of one type with the rules that a row must keep; then vocabularies over all types, and the hypergraph."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
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
from hyperrec.words import Tokenizer, learned

if TYPE_CHECKING:
    from hyperrec.schema import Edge
    from hyperrec.vertex import Vertex

logger = logging.getLogger("hyperrec")


@dataclass
class RawEdges:
    """Edges before their ids are numbered: columns v0, v1, ... and `weight`, `time` where there is one.

    n_read, n_rows: rows of the table, and those that `where` leaves.
    """

    path: str
    modalities: tuple[str, ...]
    frame: pl.DataFrame
    rejected: pl.DataFrame
    distinct: bool | str
    labels: dict[str, pl.DataFrame]
    tokenizers: dict[str, Tokenizer]
    n_read: int
    n_rows: int


def raw_edges(log: Log, path: str, edge: Edge, on_bad_rows: str) -> RawEdges:
    """The edges of one type in a table, its broken rows reported."""
    edges = edges_of(log, path, edge)
    if edges.n_rows < edges.n_read:
        logger.info("%s: %d of %d rows are edges by `where`", place_of(log, path), edges.n_rows, edges.n_read)
    if edges.rejected.height and on_bad_rows == "error":
        raise DataError(
            f"{place_of(log, path)}: {edges.rejected.height:,} rows break a rule{_told(rules_broken(edges.rejected))}; the first: "
            f"{edges.rejected.drop('rule').row(0, named=True)}. Mend the log, filter with `where`, or pass on_bad_rows='keep'."
        )
    report(
        place_of(log, path), edge, rules_broken(edges.rejected), edges.frame.height, edges.n_read, edges.n_rows, "graph.rejected"
    )
    return edges


def report(
    where: str, edge: Edge, rules: Mapping[str, int], n_edges: int, n_read: int, n_rows: int, aside: str
) -> None:
    """A warning for each rule with the rows that broke it, kept `aside`. Raises DataError when no edges are left."""
    for rule, count in rules.items():
        logger.warning("%s: %s rows kept aside in %s: %s", where, f"{count:,}", aside, rule)
    if not n_edges:
        filtered = f", {n_read - n_rows:,} left out by where" if n_rows < n_read else ""
        broke = f"{sum(rules.values()):,} broke a rule{_told(rules)}"
        texts = [vertex for _, vertex in edge.vertex_list if vertex.tokenize]
        kept = [f"'{one.column}' has no words{_by(one)}" for one in texts] if n_rows > sum(rules.values()) else []
        raise DataError(f"{where}: no edges left: {n_read:,} rows read{filtered}, {broke}{''.join(f', {one}' for one in kept)}.")


def _by(vertex: Vertex) -> str:
    """What may have left out all the words of a column."""
    told = [f"{name} = {value}" if isinstance(value, int | float | str) else name for name, value in vertex.text_options.items()]
    return f" that its options keep ({', '.join(told)})" if told else ""


def place_of(log: Log, path: str) -> str:
    """What messages call the edges of a table."""
    return f"{log.origin}: {path}" if path else log.origin


def edge_rows(log: Log, path: str, edge: Edge) -> tuple[Log, dict[str, pl.Series]]:
    """The rows of a table that are edges by `where`, and for each rule that is broken already, which of them broke it."""
    frame, dot, where = log.frame, f"{path}." if path else "", place_of(log, path)
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
    return Log(log.origin, frame, log.table), broken


def edges_of(log: Log, path: str, edge: Edge, cuts: Mapping[int, np.ndarray] | None = None) -> RawEdges:
    """The edges of one type in rows of a table, and the rows that broke a rule.

    cuts: vertex number -> cuts of its quantile buckets, where the rows are not the whole table.
    """
    part, rules = edge_rows(log, path, edge)
    frame, dot, where = part.frame, f"{path}." if path else "", place_of(log, path)
    columns: dict[str, pl.Series] = {}
    labels: dict[str, pl.DataFrame] = {}
    vertices = edge.vertex_list
    for number, (modality, vertex) in enumerate(vertices):
        told = vertex_path(path, modality, vertex)
        ids, text = vertex_ids(part, told, vertex, (cuts or {}).get(number))
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
    tokenizers: dict[str, Tokenizer] = {}
    for number, (modality, vertex) in enumerate(vertices):
        if vertex.tokenize:
            try:
                tokenizer, terms = learned(kept[f"v{number}"], **vertex.text_options)
            except SchemaError as error:
                raise SchemaError(f"{log.origin}: {vertex_path(path, modality, vertex)}: {error}") from None
            if empty := int(((terms.list.len() == 0) & kept[f"v{number}"].is_not_null()).sum()):
                logger.info("%s: %d of %d texts of '%s' give no words", where, empty, len(terms), vertex.column)
            kept = kept.with_columns(terms.alias(f"v{number}"))
            tokenizers.setdefault(modality, tokenizer)
    for number, (_, vertex) in enumerate(vertices):
        if vertex.several:
            kept, bad = pieces(kept, f"v{number}", vertex, frame)
            rejected = pl.concat([rejected, bad]) if bad.height else rejected
    if tokenizers and not any(vertex.ordered for _, vertex in vertices):
        kept = kept.group_by(pl.exclude("weight"), maintain_order=True).agg(pl.col("weight").sum()).select(kept.columns)
    kept = kept.drop("row", strict=False)
    modalities = tuple(modality for modality, _ in vertices)
    return RawEdges(path, modalities, kept, rejected, edge.distinct, labels, tokenizers, log.frame.height, frame.height)


def vertex_path(path: str, modality: str, vertex: Vertex) -> str:
    """What messages call a vertex column."""
    return f"{path}.vertices.{modality}" if path else f"column '{vertex.column}'"


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


def rules_broken(rejected: pl.DataFrame) -> dict[str, int]:
    """Rule -> the number of rows that broke it."""
    return dict(rejected.group_by("rule", maintain_order=True).len().iter_rows())


def _told(rules: Mapping[str, int]) -> str:
    text = ", ".join(f"{rule}: {count:,}" for rule, count in rules.items())
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
        tables[edge_type] = EdgeTable(edges.modalities, distinct(frame, names, edges.distinct, edge_type))
    for edges in raw.values():
        for modality, text in edges.labels.items():
            texts.setdefault(modality, text)
    labels = {modality: labels_of(vocabularies[modality], text) for modality, text in texts.items() if modality in vocabularies}
    rejected = {name: edges.rejected for name, edges in raw.items()}
    return Hypergraph(tables, vocabularies, labels, rejected, tokenizers_of(edges.tokenizers for edges in raw.values()))


def tokenizers_of(each: Iterable[Mapping[str, Tokenizer]]) -> dict[str, Tokenizer]:
    """Modality -> the tokenizer of the first edge type that has one."""
    found: dict[str, Tokenizer] = {}
    for tokenizers in each:
        found = {**tokenizers, **found}
    return found


def distinct(frame: pl.DataFrame, names: list[str], how: bool | str, edge_type: str) -> pl.DataFrame:
    """Edges with the same vertices once: the first in time, or of the weight that SQL says of all of theirs, where how is one."""
    if how is False:
        return frame
    if how is True:
        timed = frame.sort("time", maintain_order=True) if "time" in frame.columns else frame
        return timed.unique(names, keep="first", maintain_order=True)
    each = frame.with_columns(pl.col("weight").cast(pl.Float64)).group_by(names, maintain_order=True)
    once = each.agg(pl.sql_expr(how).cast(pl.Float32).alias("weight"))
    wrong = once.filter((pl.col("weight").is_finite() & (pl.col("weight") > 0)).not_().fill_null(True))
    if wrong.height:
        raise DataError(
            f"edges.{edge_type}.distinct '{how}' weighs {wrong.height:,} of {once.height:,} edges by no number above 0, but by "
            f"{wrong['weight'][0]}: it must be one for any weights, as LN(1 + SUM(weight)) is."
        )
    return once


def labels_of(vocabulary: Vocabulary, text: pl.DataFrame) -> pl.DataFrame:
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

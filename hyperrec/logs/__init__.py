"""From logs to a hypergraph: Polars lazy scans by a LogSchema, rows that break a rule counted and kept aside.

log files or frames (sources, files) -> only the columns in need (tables) -> rows that are edges -> rules, split, buckets,
words (vertices) -> vocabularies in ascending order of ids -> Int32 edge tables (edges).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hyperrec.errors import DataError, did_you_mean, listed
from hyperrec.hypergraph import Hypergraph
from hyperrec.logs.edges import RawEdges, build, raw_edges
from hyperrec.logs.files import collected
from hyperrec.logs.sources import as_lazy, sources
from hyperrec.logs.tables import Log, read_table
from hyperrec.logs.vertices import as_ids

if TYPE_CHECKING:  # pydantic is read when a log is
    from hyperrec.schema import LogSchema
    from hyperrec.vertex import Vertex


def read_logs(
    schema: LogSchema | Mapping[str, Any] | str | Path, source: Any = None, *, on_bad_rows: str = "keep"
) -> Hypergraph:
    """A hypergraph from a log.

    Parameters
    ----------
    schema : the name of a shipped schema, a path of a TOML file, a mapping, or a LogSchema.
    source : a folder with the schema's files; one file or glob, or one frame, for a schema of one table; or {table: path or
        frame}, where edges of tables that are not given are left out. Frames of Polars, pandas, pyarrow, or anything with the
        Arrow interface. By default what `datasets.locate` finds for the schema's name.
    on_bad_rows : "keep" puts rows that break a rule (null id, weight not a positive finite number, unparsable time) into
        `graph.rejected`, with one warning per rule on the logger "hyperrec"; "error" raises DataError instead.

    Notes
    -----
    A null or empty text under `split` or `tokenize` gives no edge and breaks no rule: an item without genres is no error.
    Float columns of whole numbers (17850.0) are integer ids. A column of one modality in several tables gets one
    type: text if any of them is text. A text column that is split and holds integers only gives integers.

    Raises
    ------
    SchemaError : the schema is wrong, or does not fit the log. DataError : the log is.
    """
    from hyperrec.schema import LogSchema

    _check_policy(on_bad_rows)
    schema = LogSchema.load(schema)
    raw: dict[str, RawEdges] = {}
    texts: dict[str, pl.DataFrame] = {}
    for name, given in sources(schema, source).items():
        log = read_table(schema, name, given)
        for edge_type, edge in schema.edges.items():
            if edge.table == name:
                raw[edge_type] = raw_edges(log, f"edges.{edge_type}", edge, on_bad_rows)
        for modality, label in schema.labels.items():
            if label.table == name:
                text = log.value(f"labels.{modality}.text", label.text).cast(pl.String)
                texts[modality] = pl.DataFrame({"id": as_ids(log.frame[label.id], f"labels.{modality}.id"), "label": text})
    return build({name: raw[name] for name in schema.edges if name in raw}, texts)


def graph_from_frames(frames: Mapping[str, Any], *, on_bad_rows: str = "keep") -> Hypergraph:
    """A hypergraph from frames whose columns are modalities, but for `weight` and `time`; see Hypergraph.from_frames."""
    from hyperrec.schema import Edge, Table
    from hyperrec.vertex import Vertex

    _check_policy(on_bad_rows)
    if not frames:
        raise DataError("no frames: give at least one edge type, from_frames(bought=frame).")
    raw = {}
    for edge_type, given in frames.items():
        frame = as_lazy(given, f"frame '{edge_type}'")
        names = frame.collect_schema().names()
        vertices: dict[str, list[Vertex]] = {}
        for column in names:
            if column not in ("weight", "time"):
                modality = column.split("#")[0]
                if not modality:
                    raise DataError(f"frame '{edge_type}': a column is called '{column}'; its name must be that of a modality.")
                vertices.setdefault(modality, []).append(Vertex(column=column))
        if not vertices:
            raise DataError(
                f"frame '{edge_type}': no vertex columns; expected user, item, ... beside weight and time, got {listed(names)}."
            )
        edge = Edge.model_construct(
            table=edge_type,
            vertices={modality: tuple(each) for modality, each in vertices.items()},
            weight="weight" if "weight" in names else "1",
            where=None,
            time="time" if "time" in names else None,
            distinct=False,
        )
        log = Log(f"frame '{edge_type}'", collected(frame, f"frame '{edge_type}'"), Table(file=edge_type))
        raw[edge_type] = raw_edges(log, "", edge, on_bad_rows)
    return build(raw, {})


def as_frame(given: Any, what: str) -> pl.DataFrame:
    """A Polars frame of any frame with the Arrow interface. Raises DataError for what is not a frame; `what` names it."""
    return as_lazy(given, what).collect()


def _check_policy(on_bad_rows: str) -> None:
    if on_bad_rows not in ("keep", "error"):
        raise DataError(f"on_bad_rows is 'keep' or 'error'; got {on_bad_rows!r}.{did_you_mean(on_bad_rows, ['keep', 'error'])}")

"""A log larger than memory: its tables in parts of rows, checked by the rules of `read_logs`, and its ids numbered.

Polars streams each table to a file of the columns in need; parts of it become edges as a whole table does. What needs a whole
column is found before: the cuts of quantile buckets, whether a text column holds numbers, the ids of a modality.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hyperrec.errors import DataError, SchemaError, listed
from hyperrec.hypergraph import vertex_columns
from hyperrec.logs.edges import edge_rows, edges_of, labels_of, place_of, report, rules_broken, tokenizers_of, vertex_path
from hyperrec.logs.files import NotAsInferredError, attempt, in_one_line
from hyperrec.logs.sources import sources
from hyperrec.logs.tables import Log, Reading
from hyperrec.logs.vertices import as_ids, as_quantities, bucket_labels
from hyperrec.vocabulary import Vocabulary
from hyperrec.words import Tokenizer

if TYPE_CHECKING:
    from hyperrec.schema import Edge, LogSchema

logger = logging.getLogger("hyperrec")
PART = 2**22  # rows
ROWS_TRIED = 8


@dataclass
class Flow:
    """The edges of one type, part after part, in the order of the log.

    counts: for each vertex column, the edges of each vertex (V_m,). parts: frames of vertex rows (Int32), named as
    `vertex_columns`, weight, and time where there is one; gone through once. distinct: see `Edge`.
    """

    modalities: tuple[str, ...]
    distinct: bool | str
    counts: list[np.ndarray]
    parts: Iterable[pl.DataFrame]


@dataclass
class _Found:
    """What was found of one edge type: files of its edges, and what there is to tell."""

    edge: Edge
    where: str
    files: list[Path] = field(default_factory=list)
    ids: dict[int, pl.DataFrame] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    tokenizers: dict[str, Tokenizer] = field(default_factory=dict)
    times: set[pl.DataType] = field(default_factory=set)
    n_edges: int = 0
    n_read: int = 0
    n_rows: int = 0


@dataclass(frozen=True)
class StreamedLog:
    """The edges of a log, what their ids are, their labels, and edge type -> rule -> rows that broke it."""

    flows: dict[str, Flow]
    vocabularies: dict[str, Vocabulary]
    labels: dict[str, pl.DataFrame]
    rejected: dict[str, dict[str, int]]
    tokenizers: dict[str, Tokenizer]


def stream_log(schema: LogSchema, source: Any, scratch: Path, rejected: Path) -> StreamedLog:
    """Go through a log once (twice where quantiles are asked for); edges wait in files in `scratch`.

    Rows that broke a rule are written to `rejected`/(number of the edge type)-(part).parquet.

    Raises
    ------
    SchemaError : the schema is wrong, does not fit the log, or has an expression over several rows. DataError : the log is.
    """
    found: dict[str, _Found] = {}
    texts: dict[str, pl.DataFrame] = {}
    buckets: dict[str, pl.DataFrame] = {}
    numbers = {name: number for number, name in enumerate(schema.edges)}
    _check_texts(schema)
    for name, given in sources(schema, source).items():
        table = _Table.of(schema, name, given, scratch)
        mine = {edge_type: edge for edge_type, edge in schema.edges.items() if edge.table == name}
        table.check_expressions({f"edges.{edge_type}": edge for edge_type, edge in mine.items()})
        cuts = {edge_type: table.cuts(f"edges.{edge_type}", edge, buckets) for edge_type, edge in mine.items()}
        for part, log in enumerate(table.logs()):
            for edge_type, edge in mine.items():
                one = found.setdefault(edge_type, _Found(edge, place_of(log, f"edges.{edge_type}")))
                stem = f"{numbers[edge_type]:03}-{part:06}.parquet"
                _take(one, log, f"edges.{edge_type}", cuts[edge_type], scratch / stem, rejected / stem)
            for modality, label in schema.labels.items():
                if label.table == name:
                    text = log.value(f"labels.{modality}.text", label.text).cast(pl.String)
                    frame = pl.DataFrame({"id": as_ids(log.frame[label.id], f"labels.{modality}.id"), "label": text})
                    frame = _stacked(texts.get(modality), frame.drop_nulls())
                    texts[modality] = frame.unique("id", keep="first", maintain_order=True)
        table.path.unlink()
        for edge_type in mine:
            one = found[edge_type]
            report(one.where, one.edge, one.rules, one.n_edges, one.n_read, one.n_rows, "the store's folder `rejected`")
    found = {name: found[name] for name in schema.edges if name in found}
    vocabularies = _vocabularies(found)
    flows = {name: _flow(one, vocabularies) for name, one in found.items()}
    texts = {**buckets, **texts}
    labels = {modality: labels_of(vocabularies[modality], text) for modality, text in texts.items() if modality in vocabularies}
    rejected_rows = {name: dict(one.rules) for name, one in found.items()}
    return StreamedLog(flows, vocabularies, labels, rejected_rows, tokenizers_of(one.tokenizers for one in found.values()))


def _check_texts(schema: LogSchema) -> None:
    """Refuse what looks at all the texts of a table before one of them can be cut."""
    for name, edge in schema.edges.items():
        for modality, vertex in edge.vertex_list:
            if vertex.learned:
                raise SchemaError(
                    f"{schema.origin}: edges.{name}.vertices.{modality}: for {listed(vertex.learned)} all the texts are read "
                    "first, but a store is made part by part: leave that out, or take read_logs(...).store(folder), in memory."
                )


@dataclass(frozen=True)
class _Table:
    """A table of the log in a file, and what its text columns are: see `Reading.numbers`."""

    reading: Reading
    path: Path
    n_rows: int
    numbers: dict[str, tuple[pl.DataType, bool]]

    @classmethod
    def of(cls, schema: LogSchema, name: str, given: list[Path] | pl.LazyFrame, scratch: Path) -> _Table:
        reading, path, numbers = Reading.of(schema, name, given), scratch / "table.parquet", {}

        def sink(rows: pl.LazyFrame) -> None:
            write = lambda: rows.sink_parquet(path, compression="lz4", row_group_size=PART, statistics=False)  # noqa: E731
            attempt(write, reading.where, given, reading.table)

        try:
            sink(reading.rows())
        except NotAsInferredError:
            sink(reading.rows(as_text=True))
            numbers = reading.numbers(pl.scan_parquet(path, glob=False))
        n_rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        return cls(reading, path, n_rows, numbers)

    def log(self, start: int, size: int) -> Log:
        frame = pl.scan_parquet(self.path, glob=False).slice(start, size).collect()
        return self.reading.log(frame, self.numbers)

    def logs(self) -> Iterator[Log]:
        """The table in parts, in order; one empty part of an empty table."""
        for start in range(0, max(self.n_rows, 1), PART):
            yield self.log(start, PART)

    def check_expressions(self, edges: Mapping[str, Edge]) -> None:
        """Refuse an expression that gives another value in a row alone than in its part: it looks at other rows, too."""
        if self.n_rows <= PART:
            return
        texts = {
            f"{path}.{key}": text
            for path, edge in edges.items()
            for key, text in (("where", edge.where), ("weight", edge.weight), ("time", edge.time))
            if text is not None
        }
        derived = {f"{self.reading.path}.{new}": new for new, _ in self.reading.derived}
        whole = self.log(0, PART)
        tried = np.linspace(0, PART - 1, ROWS_TRIED).astype(int).tolist()
        alone = [self.log(row, 1) for row in tried]
        for path, text in {**derived, **texts}.items():
            each = pl.concat([one.value(path, text) for one in alone])
            if not _alike(whole.value(path, text).gather(tried), each):
                said = in_one_line(self.reading.table.derive.get(text, text))
                raise SchemaError(
                    f"{self.reading.origin}: {path} '{said}' looks at several rows, but a store is made part by part: add the "
                    "column to the log, or take read_logs(...).store(folder), in memory."
                )

    def cuts(self, path: str, edge: Edge, labels: dict[str, pl.DataFrame]) -> dict[int, np.ndarray]:
        """Vertex number -> cuts of its quantile buckets, over the whole table; their labels are added."""
        found = {}
        for number, (modality, vertex) in enumerate(edge.vertex_list):
            if vertex.bucket is not None and vertex.bucket.startswith("quantile:"):
                counts = None
                for log in self.logs():
                    part, _ = edge_rows(log, path, edge)
                    told = f"{part.origin}: {vertex_path(path, modality, vertex)}"
                    numbers = as_quantities(part.frame[vertex.column], told)
                    counts = _counted(counts, numbers.drop_nulls())
                assert counts is not None
                counts, n = counts.sort("id"), int(vertex.bucket.partition(":")[2])
                upto = counts["n"].cum_sum().to_numpy()
                ranks = [int((upto[-1] - 1) * (i / n)) for i in range(1, n)] if counts.height else []
                found[number] = np.unique(counts["id"].to_numpy()[np.searchsorted(upto, ranks, side="right")])
                labels.setdefault(modality, bucket_labels(counts["id"], found[number]))
        return found


def _take(one: _Found, log: Log, path: str, cuts: Mapping[int, np.ndarray], file: Path, aside: Path) -> None:
    """Put the edges of a part of the table into a file, its broken rows into another, and count."""
    raw = edges_of(log, path, one.edge, cuts)
    one.tokenizers = raw.tokenizers
    one.n_read, one.n_rows, one.n_edges = one.n_read + raw.n_read, one.n_rows + raw.n_rows, one.n_edges + raw.frame.height
    if raw.rejected.height:
        one.rules.update(rules_broken(raw.rejected))
        aside.parent.mkdir(exist_ok=True)
        raw.rejected.write_parquet(aside)
    if raw.frame.height:
        for number in range(len(raw.modalities)):
            one.ids[number] = _counted(one.ids.get(number), raw.frame[f"v{number}"])
        if "time" in raw.frame.columns:
            one.times.add(raw.frame.schema["time"])
        if len(one.times) > 1:
            raise DataError(f"{one.where}: some times are integers, others are dates. Give the log one kind of them.")
        raw.frame.write_parquet(file, compression="lz4", statistics=False)
        one.files.append(file)


def _alike(a: pl.Series, b: pl.Series) -> bool:
    """Whether values are equal; numbers but for their rounding, which is not the same in a row alone."""
    if a.dtype.is_float() and b.dtype.is_float():
        same_nulls = a.is_null().equals(b.is_null())
        return same_nulls and bool(np.allclose(a.fill_null(0), b.fill_null(0), rtol=1e-6, atol=0, equal_nan=True))
    return a.equals(b, null_equal=True)


def _counted(known: pl.DataFrame | None, values: pl.Series) -> pl.DataFrame:
    """(id, n): how often each value came, with those known before."""
    new = values.alias("id").to_frame().group_by("id").agg(pl.len().cast(pl.Int64).alias("n"))
    return _stacked(known, new).group_by("id").agg(pl.col("n").sum())


def _stacked(known: pl.DataFrame | None, new: pl.DataFrame) -> pl.DataFrame:
    """Both frames; ids are text where those of one are."""
    if known is None:
        return new
    if known.schema["id"] != new.schema["id"]:
        known, new = (frame.with_columns(pl.col("id").cast(pl.String)) for frame in (known, new))
    return pl.concat([known, new])


def _vocabularies(found: Mapping[str, _Found]) -> dict[str, Vocabulary]:
    """The ids of all columns of a modality, ascending."""
    ids: dict[str, pl.DataFrame] = {}
    for one in found.values():
        for number, (modality, _) in enumerate(one.edge.vertex_list):
            ids[modality] = _stacked(ids.get(modality), one.ids[number].select("id"))
    return {modality: Vocabulary(modality, each["id"].unique().sort()) for modality, each in ids.items()}


def _flow(one: _Found, vocabularies: Mapping[str, Vocabulary]) -> Flow:
    modalities = tuple(modality for modality, _ in one.edge.vertex_list)
    counts = []
    for number, modality in enumerate(modalities):
        count = np.zeros(len(vocabularies[modality]), np.int64)
        count[_rows(vocabularies[modality], one.ids[number]["id"])] = one.ids[number]["n"].to_numpy()
        counts.append(count)
    return Flow(modalities, one.edge.distinct, counts, _encoded(one, modalities, vocabularies))


def _encoded(one: _Found, modalities: tuple[str, ...], vocabularies: Mapping[str, Vocabulary]) -> Iterator[pl.DataFrame]:
    names = vertex_columns(modalities)
    for file in one.files:
        frame = pl.read_parquet(file, glob=False)
        file.unlink()
        rows = [_rows(vocabularies[m], frame[f"v{number}"]) for number, m in enumerate(modalities)]
        columns = [pl.Series(name, column) for name, column in zip(names, rows, strict=True)]
        yield frame.select(*columns, pl.col("^weight$|^time$"))


def _rows(vocabulary: Vocabulary, ids: pl.Series) -> np.ndarray:
    """Row numbers of ids that are all in the vocabulary, Int32."""
    return vocabulary.encode(ids.cast(vocabulary.ids.dtype))

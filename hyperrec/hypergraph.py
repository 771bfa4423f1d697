"""Hypergraph: one Polars table per edge type, plus the vocabularies of its modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hyperrec.errors import DataError, did_you_mean, listed
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.store import StoredHypergraph
    from hyperrec.words import Tokenizer


@dataclass(frozen=True)
class EdgeTable:
    """The hyperedges of one type.

    modalities : (h,) the modality of each vertex column; a modality may stand twice (friends: user, user).
    frame : E rows; the first h columns are vertex rows (Int32) named as `vertex_columns`, then
        `weight` (Float32, > 0), then `time` (any ordered type) when the type has one.
    """

    modalities: tuple[str, ...]
    frame: pl.DataFrame

    @property
    def vertex_columns(self) -> list[str]:
        return vertex_columns(self.modalities)

    @property
    def order(self) -> int:
        """h, the number of vertices of an edge."""
        return len(self.modalities)

    @property
    def timed(self) -> bool:
        return "time" in self.frame.columns

    @property
    def n_edges(self) -> int:
        return self.frame.height


def as_numbers(time: pl.Series) -> np.ndarray:
    """Dates as float64 seconds since 1970, integers as they are, int64."""
    if time.dtype.is_temporal():
        return np.asarray(time.dt.epoch("us").to_numpy() / 1e6, dtype=np.float64)
    return time.cast(pl.Int64).to_numpy()


def vertex_columns(modalities: tuple[str, ...]) -> list[str]:
    """Column names of an edge table: the modality, and `modality#2` where it stands a second time."""
    seen: dict[str, int] = {}
    names = []
    for modality in modalities:
        seen[modality] = seen.get(modality, 0) + 1
        names.append(modality if seen[modality] == 1 else f"{modality}#{seen[modality]}")
    return names


@dataclass(frozen=True)
class EdgeArrays:
    """One edge type as the engine takes it: vertices (E, h) int32, weight (E,) float32, time (E,) where there is one.

    time: seconds of dates, float64; otherwise what the log counts, int64.
    """

    modalities: tuple[str, ...]
    vertices: np.ndarray
    weight: np.ndarray
    time: np.ndarray | None = None

    @property
    def order(self) -> int:
        return len(self.modalities)

    def of_first(self, modality: str, first: int, stop: int) -> EdgeArrays:
        """Of edges with several vertices of a modality, those whose first one is from first to stop."""
        if self.modalities.count(modality) < 2:
            return self
        vertex = self.vertices[:, self.modalities.index(modality)]
        here = (vertex >= first) & (vertex < stop)
        time = None if self.time is None else self.time[here]
        return EdgeArrays(self.modalities, self.vertices[here], self.weight[here], time)


@dataclass(frozen=True)
class Hypergraph:
    """Typed hyperedges over the vertices of several modalities.

    edges : edge type -> EdgeTable.
    vocabularies : modality -> Vocabulary; every modality of every edge table has one.
    labels : modality -> frame (id, label): what a person reads instead of an id; optional.
    rejected : edge type -> the raw rows that broke a rule, with a column `rule`.
    tokenizers : modality -> how its words were cut out of texts, where they were.
    """

    edges: Mapping[str, EdgeTable]
    vocabularies: Mapping[str, Vocabulary]
    labels: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    rejected: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)

    @classmethod
    def from_frames(cls, *, on_bad_rows: str = "keep", **frames: Any) -> Hypergraph:
        """A hypergraph from frames: the name is the edge type, each column a modality but for `weight` and `time`.

        Frames of Polars, pandas, pyarrow, or anything with the Arrow interface are taken. A second vertex
        of one modality is a column `user#2`. Rows with a null id, a weight that is not positive and finite, or a time
        that is null are kept aside in `rejected`; `on_bad_rows="error"` raises DataError instead.
        """
        from hyperrec.logs import graph_from_frames

        return graph_from_frames(frames, on_bad_rows=on_bad_rows)

    @property
    def modalities(self) -> list[str]:
        return list(self.vocabularies)

    def vocabulary(self, modality: str) -> Vocabulary:
        """The vocabulary of a modality. Raises DataError for an unknown one."""
        if modality not in self.vocabularies:
            raise DataError(
                f"unknown modality '{modality}': the graph has {listed(self.vocabularies)}."
                f"{did_you_mean(modality, self.vocabularies)}"
            )
        return self.vocabularies[modality]

    def edge_table(self, edge_type: str) -> EdgeTable:
        """The table of an edge type. Raises DataError for an unknown one."""
        if edge_type not in self.edges:
            raise DataError(
                f"unknown edge type '{edge_type}': the graph has {listed(self.edges)}.{did_you_mean(edge_type, self.edges)}"
            )
        return self.edges[edge_type]

    def table(self, edge_type: str) -> pl.DataFrame:
        """The hyperedges of one type with the user's own ids: vertex columns, `weight`, `time` if there is one."""
        edges = self.edge_table(edge_type)
        decoded = [
            self.vocabularies[modality].decode(edges.frame[name].to_numpy()).rename(name)
            for modality, name in zip(edges.modalities, edges.vertex_columns, strict=True)
        ]
        return edges.frame.with_columns(decoded)

    def to_arrays(self, edge_type: str) -> EdgeArrays:
        """One edge type as numpy arrays: the only bridge from tables to the engine; dtypes are settled here."""
        edges = self.edge_table(edge_type)
        vertices = np.ascontiguousarray(
            edges.frame.select(pl.col(edges.vertex_columns).cast(pl.Int32)).to_numpy().astype(np.int32, copy=False)
        )
        weight = np.ascontiguousarray(edges.frame["weight"].to_numpy().astype(np.float32, copy=False))
        time = as_numbers(edges.frame["time"]) if edges.timed else None
        return EdgeArrays(edges.modalities, vertices.reshape(-1, edges.order), weight, time)

    def with_edges(self, edges: Mapping[str, EdgeTable]) -> Hypergraph:
        """The same vertices with other edges."""
        return replace(self, edges=dict(edges))

    def over(self, vocabularies: Mapping[str, Vocabulary], labels: Mapping[str, pl.DataFrame]) -> Hypergraph:
        """The same edges over longer vocabularies, with the labels that these have; new labels go before them."""
        edges, both = {}, {**labels, **self.labels}
        for modality in labels.keys() & self.labels.keys():
            old, new = labels[modality], self.labels[modality].cast(labels[modality].schema)
            both[modality] = pl.concat([new, old.join(new, on="id", how="anti", maintain_order="left")])
        for name, table in self.edges.items():
            frame = table.frame
            for modality, column in zip(table.modalities, table.vertex_columns, strict=True):
                row = pl.Series(vocabularies[modality].encode(self.vocabularies[modality].ids), dtype=pl.Int32)
                frame = frame.with_columns(row.gather(frame[column]).alias(column))
            edges[name] = EdgeTable(table.modalities, frame)
        return replace(self, edges=edges, vocabularies=dict(vocabularies), labels=both)

    def select(self, *edge_types: str) -> Hypergraph:
        """The same vertices with the edges of these types only. Raises DataError for an unknown type."""
        return self.with_edges({name: self.edge_table(name) for name in edge_types})

    def rejected_counts(self) -> pl.DataFrame:
        """How many rows broke which rule: edges, rule, rows."""
        counts = [
            frame.group_by("rule").len("rows").select(pl.lit(name).alias("edges"), "rule", pl.col("rows").cast(pl.Int64))
            for name, frame in self.rejected.items()
            if frame.height
        ]
        schema = {"edges": pl.String, "rule": pl.String, "rows": pl.Int64}
        return pl.concat(counts).sort("edges", "rule") if counts else pl.DataFrame(schema=schema)

    def store(self, folder: str | Path, *, container: str | None = None) -> StoredHypergraph:
        """Write the graph as a store, which `open_store` opens and `TopicModel.fit` reads part by part; see `write_store`."""
        from hyperrec.store import store_graph

        return store_graph(self, Path(folder), container)

    def __repr__(self) -> str:
        return described("Hypergraph", self)


def described(title: str, graph: Hypergraph | StoredHypergraph) -> str:
    """The edge types, vocabularies and rejected rows of a graph, for a person."""
    lines = [title]
    for name, table in graph.edges.items():
        shape = " x ".join(table.modalities)
        lines.append(f"  {name}: {table.n_edges:,} edges {shape}{' (timed)' if table.timed else ''}")
    lines.append("  " + ", ".join(f"{len(vocabulary):,} {name}" for name, vocabulary in graph.vocabularies.items()))
    for edges, rule, rows in graph.rejected_counts().iter_rows():
        lines.append(f"  rejected: {rows:,} rows of {edges}: {rule}")
    return "\n".join(lines)

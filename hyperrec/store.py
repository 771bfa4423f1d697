"""A hypergraph on disk, sorted by container and cut into parts, for logs that do not fit in memory.

    store.json                   what is here: edge types, parts, rejected rows, sizes of the files
    edges-N/PPPPPP.parquet       edge type N, part P: vertex rows (Int32), weight, time; ascending by container, then by time
    vocabulary-N.parquet, labels-N.parquet        of modality N
    rejected/NNN-PPPPPP.parquet  rows of the log that broke a rule, with the column `rule`

Part P of every edge type that has the container holds the edges of one range of containers, so that no history is split. Other
edge types are cut by their first vertex. An edge of two containers (friends) is in the parts of both.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from hyperrec.errors import DataError, did_you_mean, listed
from hyperrec.hypergraph import EdgeTable, Hypergraph, described, vertex_columns
from hyperrec.logs.edges import distinct
from hyperrec.logs.parts import Flow, stream_log
from hyperrec.storage import Kind, replace_folder
from hyperrec.vocabulary import Vocabulary
from hyperrec.words import Tokenizer

if TYPE_CHECKING:
    from hyperrec.schema import LogSchema

FORMAT = "hyperrec-store"
SCRATCH = ".fit-"  # how the names of folders begin in which a fit lays out what its passes read
VERSION = 1
PART_EDGES = 2**22  # edges of a part: a shard of them, with all that the E-step needs, is about 100 MB


@dataclass(frozen=True)
class StoredEdges:
    """The hyperedges of one type in a store; see EdgeTable."""

    modalities: tuple[str, ...]
    n_edges: int
    timed: bool

    @property
    def order(self) -> int:
        """h, the number of vertices of an edge."""
        return len(self.modalities)


@dataclass(frozen=True, repr=False)
class StoredHypergraph:
    """A Hypergraph on disk: `TopicModel.fit` reads it part by part, `read` as a whole.

    container : the modality that it is sorted by. firsts : (P + 1,) the first container of each part, and their number.
    edges, vocabularies, labels, tokenizers : as in Hypergraph, but that the edges are in files.
    """

    folder: Path
    container: str
    firsts: tuple[int, ...]
    edges: Mapping[str, StoredEdges]
    vocabularies: Mapping[str, Vocabulary]
    labels: Mapping[str, pl.DataFrame]
    rejected: Mapping[str, Mapping[str, int]]
    tokenizers: Mapping[str, Tokenizer]

    def __repr__(self) -> str:
        title = f"StoredHypergraph {self.folder}, sorted by {self.container}, {len(self.firsts) - 1} parts"
        return described(title, self)

    @property
    def modalities(self) -> list[str]:
        return list(self.vocabularies)

    def vocabulary(self, modality: str) -> Vocabulary:
        """The vocabulary of a modality. Raises DataError for an unknown one."""
        return Hypergraph({}, self.vocabularies).vocabulary(modality)

    def rejected_counts(self) -> pl.DataFrame:
        """How many rows broke which rule: edges, rule, rows."""
        rows = [(name, rule, count) for name, rules in self.rejected.items() for rule, count in rules.items()]
        schema = {"edges": pl.String, "rule": pl.String, "rows": pl.Int64}
        return pl.DataFrame(rows, schema, orient="row").sort("edges", "rule")

    def parts(self, edge_types: Iterable[str] | None = None) -> Iterator[tuple[int, int, Hypergraph]]:
        """(first container, the one after the last, the graph of the part's edges over the whole vocabularies) of each part."""
        names = list(self.edges if edge_types is None else edge_types)
        for part, (first, stop) in enumerate(pairwise(self.firsts)):
            tables = {name: EdgeTable(self.edges[name].modalities, self._frame(name, part)) for name in names}
            yield first, stop, Hypergraph(tables, self.vocabularies, self.labels, tokenizers=self.tokenizers)

    def read(self) -> Hypergraph:
        """The whole graph, in memory; edges stand as in the store."""
        tables = {}
        for name, one in self.edges.items():
            frames = [self._frame(name, part) for part in range(len(self.firsts) - 1)]
            if one.modalities.count(self.container) > 1:  # an edge of two containers is in the part of each: count the first's
                first = pl.col(self.container)
                frames = [
                    frame.filter(first.is_between(low, high, "left"))
                    for frame, (low, high) in zip(frames, pairwise(self.firsts), strict=True)
                ]
            tables[name] = EdgeTable(one.modalities, pl.concat(frames))
        rejected = {}
        for number, name in enumerate(self.edges):
            files = sorted((self.folder / "rejected").glob(f"{number:03}-*.parquet"))
            if files:
                rejected[name] = pl.concat([_table(self.folder, file) for file in files], how="diagonal_relaxed")
        return Hypergraph(tables, self.vocabularies, self.labels, rejected, self.tokenizers)

    def _frame(self, name: str, part: int) -> pl.DataFrame:
        return _table(self.folder, self.folder / f"edges-{list(self.edges).index(name)}" / f"{part:06}.parquet")


def write_store(
    schema: LogSchema | Mapping[str, Any] | str | Path, source: Any, folder: str | Path, *, container: str | None = None
) -> StoredHypergraph:
    """A store of a log that may be larger than memory: the graph that `read_logs` would give, by Polars streaming.

    The vocabularies, the rows of `labels` and a part of the edges are in memory, and nothing else; the disk holds the columns in
    need up to three times while it is made.

    Parameters
    ----------
    schema, source : as `read_logs` takes them; frames may be Polars LazyFrames.
    folder : of the store; a store that is there is replaced, anything else is left alone.
    container : the modality whose histories stay together; by default "user", or else the first of the first edge type.

    Notes
    -----
    Rows that break a rule are counted in the store (`rejected_counts`) and kept in its folder `rejected`.

    Raises
    ------
    SchemaError, DataError : as `read_logs`; an SQL expression that looks at several rows; the folder holds something else.
    """
    from hyperrec.schema import LogSchema

    schema, folder = LogSchema.load(schema), Path(folder)

    def write(new: Path) -> None:
        (scratch := new / "scratch").mkdir()
        log = stream_log(schema, source, scratch, new / "rejected")
        _write(new, scratch, log.flows, log.vocabularies, log.labels, log.rejected, log.tokenizers, container)

    replace_folder(folder, write, STORE)
    return open_store(folder)


def store_graph(graph: Hypergraph, folder: Path, container: str | None) -> StoredHypergraph:
    """A store of a graph in memory: `Hypergraph.store`."""

    def write(new: Path) -> None:
        (scratch := new / "scratch").mkdir()
        flows = {}
        for name, table in graph.edges.items():
            columns = zip(table.modalities, table.vertex_columns, strict=True)
            counts = [np.bincount(table.frame[c].to_numpy(), minlength=len(graph.vocabulary(m))) for m, c in columns]
            flows[name] = Flow(table.modalities, False, counts, [table.frame])
        rejected: dict[str, dict[str, int]] = {}
        for name, rule, count in graph.rejected_counts().iter_rows():
            rejected.setdefault(name, {})[rule] = count
        for number, name in enumerate(graph.edges):
            if name in rejected:
                (new / "rejected").mkdir(exist_ok=True)
                graph.rejected[name].write_parquet(new / "rejected" / f"{number:03}-000000.parquet")
        _write(new, scratch, flows, graph.vocabularies, graph.labels, rejected, graph.tokenizers, container)

    replace_folder(folder, write, STORE)
    return open_store(folder)


def open_store(folder: str | Path) -> StoredHypergraph:
    """A store that `write_store` made. Raises DataError for a folder that is damaged or not a store."""
    if not isinstance(folder, (str, Path)):
        raise DataError(f"open_store takes the folder of a store; got {folder!r}.")
    folder = Path(folder)
    config = _read_config(folder)
    for name, size in config["files"].items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing: the store is not whole. Make or copy it again.")
        if (found := path.stat().st_size) != size:
            raise DataError(f"{path} has {found:,} bytes, expected {size:,}: the store is damaged. Make or copy it again.")
    vocabularies, labels = {}, {}
    for number, modality in enumerate(config["modalities"]):
        vocabularies[modality] = Vocabulary(modality, _table(folder, folder / f"vocabulary-{number}.parquet")["id"])
        if f"labels-{number}.parquet" in config["files"]:
            labels[modality] = _table(folder, folder / f"labels-{number}.parquet")
    edges = {name: StoredEdges(tuple(one["modalities"]), one["n_edges"], one["timed"]) for name, one in config["edges"].items()}
    tokenizers = {modality: Tokenizer.from_json(one) for modality, one in config.get("tokenizers", {}).items()}
    return StoredHypergraph(
        folder, config["container"], tuple(config["firsts"]), edges, vocabularies, labels, config["rejected"], tokenizers
    )


def _write(
    folder: Path, scratch: Path, flows: Mapping[str, Flow], vocabularies: Mapping[str, Vocabulary],
    labels: Mapping[str, pl.DataFrame], rejected: Mapping[str, Mapping[str, int]],
    tokenizers: Mapping[str, Tokenizer], container: str | None,
) -> None:  # fmt: skip
    container = container or ("user" if "user" in vocabularies else next(iter(flows.values())).modalities[0])
    if container not in vocabularies:
        raise DataError(
            f"container '{container}' is not a modality of the log, which has {listed(vocabularies)}."
            f"{did_you_mean(container, vocabularies)}"
        )
    cuts = _cuts(flows, container, len(vocabularies[container]))
    firsts, edges = cuts.pop(""), {}
    for number, (name, flow) in enumerate(flows.items()):
        (into := folder / f"edges-{number}").mkdir()
        owners = _owners(flow, container)
        names = vertex_columns(flow.modalities)
        pieces = _scatter(flow, [names[j] for j in owners], cuts[name], scratch)
        n_edges, timed, empty = 0, False, None
        for part, files in enumerate(pieces):
            frame = pl.concat([pl.read_parquet(file, glob=False) for file in files]) if files else empty
            for file in files:
                file.unlink()
            if frame is None:  # the first parts may have no edges, and one that has tells the columns
                frame = pl.read_parquet(next(file for later in pieces for file in later if file.exists()), glob=False).clear()
            empty, timed = frame.clear(), "time" in frame.columns
            frame = distinct(frame, names, flow.distinct, name)
            # positions of one time stay in the order of the log; so do the edges of two containers, which no order serves both
            keys = [names[owners[0]]] * (len(owners) == 1) + ["time"] * timed
            frame = frame.sort(keys, maintain_order=True) if keys else frame
            first = frame[names[owners[0]]]
            n_edges += int(first.is_between(cuts[name][part], cuts[name][part + 1], "left").sum())
            frame.write_parquet(into / f"{part:06}.parquet")
        edges[name] = {"modalities": flow.modalities, "n_edges": n_edges, "timed": timed}
    for number, (modality, vocabulary) in enumerate(vocabularies.items()):
        vocabulary.ids.to_frame().write_parquet(folder / f"vocabulary-{number}.parquet")
        if modality in labels:
            labels[modality].write_parquet(folder / f"labels-{number}.parquet")
    shutil.rmtree(scratch)
    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "container": container,
        "firsts": firsts,
        "edges": edges,
        "modalities": list(vocabularies),
        "rejected": rejected,
        "tokenizers": {modality: one.as_json() for modality, one in tokenizers.items()},
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()},
    }
    config["sha256"] = _digest(config)
    (folder / "store.json").write_text(json.dumps(config, indent=1), "utf-8")


def _owners(flow: Flow, container: str) -> list[int]:
    """The vertex columns that an edge is sorted by: those of the container, or the first."""
    return [j for j, modality in enumerate(flow.modalities) if modality == container] or [0]


def _cuts(flows: Mapping[str, Flow], container: str, n_containers: int) -> dict[str, list[int]]:
    """Edge type -> (P + 1,) first rows of each part, of its container or its first vertex; under "" those of the containers.

    Parts have about equally many edges, and as many of them as the most need.
    """
    load = {"": np.zeros(n_containers, np.int64)}
    for name, flow in flows.items():
        if container in flow.modalities:
            load[""] += sum(flow.counts[j] for j in _owners(flow, container))
        else:
            load[name] = flow.counts[0]
    n_parts = max(1, *(-(-int(each.sum()) // PART_EDGES) for each in load.values()))
    cuts = {}
    for name, each in load.items():
        upto = np.cumsum(each)
        inner = np.searchsorted(upto, upto[-1] * np.arange(1, n_parts) // n_parts, side="right")
        cuts[name] = [0, *inner.tolist(), len(each)]
    return {name: cuts.get(name, cuts[""]) for name in ["", *flows]}


def _scatter(flow: Flow, owners: list[str], cuts: list[int], scratch: Path) -> list[list[Path]]:
    """For each part, the files with its edges, in the order of the log."""
    pieces: list[list[Path]] = [[] for _ in cuts[1:]]
    for number, frame in enumerate(flow.parts):
        places = [np.searchsorted(cuts[1:-1], frame[name].to_numpy(), side="right") for name in owners]
        for part, files in enumerate(pieces):
            here = np.logical_or.reduce([place == part for place in places])
            if here.any():
                files.append(scratch / f"piece-{part:06}-{number:06}.parquet")
                frame.filter(here).write_parquet(files[-1], compression="lz4", statistics=False)
    return pieces


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "store.json"
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}: give the folder of a store, as `hyperrec store` makes it.")
    if not path.exists():
        raise DataError(f"{folder} is not a store: it has no store.json. Make one of a log with `hyperrec store`.")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}. Make or copy the store again.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise DataError(f"{path} is not of a hyperrec store: expected format '{FORMAT}'. Give the folder of a store.")
    if config.get("version") != VERSION:
        raise DataError(f"{path} has format version {config.get('version')}; this hyperrec reads {VERSION}. Update hyperrec.")
    if config.pop("sha256", None) != _digest(config):
        raise DataError(f"{path} is not what was written (edited). Make or copy the store again.")
    return config


def _digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config).encode()).hexdigest()


def _table(folder: Path, path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, PolarsError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(f"{path} cannot be read: {reason}. Make or copy the store {folder} again.") from error


def _files(folder: Path) -> set[str]:
    kept = {"store.json", *(name.partition("/")[0] for name in _read_config(folder)["files"])}
    return kept | {path.name for path in folder.glob(f"{SCRATCH}*")}  # what a fit that was killed has left


STORE = Kind("store", DataError, _files)

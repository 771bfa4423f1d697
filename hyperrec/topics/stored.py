"""Arrays in files: shards that come into memory for their E-step only, and histories of which only the asked rows are read.

Files are mapped, not read: the pages of a mapping belong to the system, which may drop them, and go with the last array of it.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hyperrec.topics.contexts import Plan
from hyperrec.topics.shards import Blocks, Edges, History, Pairs
from hyperrec.topics.state import State
from hyperrec.topics.statistics import Statistics

ALIGNMENT = 64
POSITIONS = ("indptr", "vertices", "weight", "importance", "starts")


@dataclass(frozen=True)
class ArrayFile:
    """Arrays one after the other in a file. places: name -> (offset, dtype, shape)."""

    path: Path
    places: Mapping[str, tuple[int, np.dtype, tuple[int, ...]]]

    @classmethod
    def write(cls, path: Path, arrays: Mapping[str, np.ndarray]) -> ArrayFile:
        places = {}
        with path.open("wb") as file:
            for name, array in arrays.items():
                file.write(bytes(-file.tell() % ALIGNMENT))
                places[name] = file.tell(), array.dtype, array.shape
                np.ascontiguousarray(array).tofile(file)
        return cls(path, places)

    def read(self) -> dict[str, np.ndarray]:
        """All the arrays, mapped."""
        whole = mapped(self.path, np.dtype(np.uint8), mode="c")  # what is written stays in memory: kernels take no read-only arrays
        return {
            name: whole[offset : offset + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
            for name, (offset, dtype, shape) in self.places.items()
        }


def mapped(path: Path, dtype: np.dtype, offset: int = 0, size: int | None = None, mode: Literal["r", "c"] = "r") -> np.ndarray:
    """A file as an array, read where it is looked at."""
    size = (path.stat().st_size - offset) // dtype.itemsize if size is None else size
    if not size:
        return np.zeros(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode=mode, offset=offset, shape=(size,)))


def let_go(array: np.ndarray) -> None:
    """Take what was read of a mapped read-only array out of resident memory; it is read again where it is looked at."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and not array.flags.writeable:
        base.madvise(mmap.MADV_DONTNEED)


def constant(value: float | bool, dtype: type[np.generic], size: int) -> np.ndarray:
    """(size,) of one value, in the room of one."""
    return np.broadcast_to(np.asarray(value, dtype), (size,))


@dataclass(frozen=True)
class StoredShard:
    """A shard in a file. history: of all containers of the problem, where `em.fit` draws its start; its own is in the file."""

    file: ArrayFile
    kind: type[Pairs] | type[Edges]
    plan: Plan
    n_contexts: int
    folded: bool = False
    history: History = field(default_factory=lambda: History.none(0))

    @classmethod
    def write(cls, path: Path, shard: Pairs | Edges) -> StoredShard:
        if isinstance(shard, Pairs):  # neither importance nor starts count there
            arrays = {name: getattr(shard.history, name) for name in POSITIONS[:3]} | {"damping": shard.damping}
            arrays |= {one.name: getattr(shard.blocks, one.name) for one in fields(Blocks) if one.name != "weight"}
            arrays |= {"turned_weight": shard.blocks.weight, "n_met": shard.n_met}
            return cls(ArrayFile.write(path, arrays), Pairs, shard.plan, shard.n_contexts)
        arrays = {f"history.{name}": getattr(shard.history, name) for name in POSITIONS}
        arrays |= {name: getattr(shard, name) for name in ("indptr", "vertices", "weight", "place")}
        return cls(ArrayFile.write(path, arrays), Edges, shard.plan, shard.n_contexts, shard.folded)

    def read(self) -> Pairs | Edges:
        """The shard, its arrays mapped."""
        arrays = self.file.read()
        if self.kind is Edges:
            history = History(*(arrays.pop(f"history.{name}") for name in POSITIONS))
            return Edges(history=history, plan=self.plan, folded=self.folded, **arrays)
        n = len(arrays["vertices"])
        own = {name: arrays.pop(name) for name in POSITIONS[:3]}
        history = History(**own, importance=constant(1, np.float32, n), starts=constant(False, np.bool_, n))
        shard = Pairs(history, arrays.pop("damping"), self.plan)
        shard.__dict__["n_met"] = arrays.pop("n_met")
        shard.__dict__["blocks"] = Blocks(weight=arrays.pop("turned_weight"), **arrays)  # what cached_property would make anew
        return shard

    def expected_counts(self, state: State) -> Statistics:
        """E-step of the shard; its file is in memory meanwhile."""
        return self.read().expected_counts(state)


class CSRFiles:
    """Columns of CSR rows, of one range of rows after another, appended to files in a folder."""

    def __init__(self, folder: Path, name: str, columns: Iterable[str]) -> None:
        self.lengths: list[np.ndarray] = []
        self.paths = {column: folder / f"{name}-{column}" for column in columns}
        self.dtypes: dict[str, np.dtype] = {}

    def append(self, indptr: np.ndarray, **columns: np.ndarray) -> None:
        self.lengths.append(np.diff(indptr).astype(np.int64))
        for column, path in self.paths.items():
            self.dtypes[column] = columns[column].dtype
            with path.open("ab") as file:
                columns[column].tofile(file)

    def read(self) -> dict[str, np.ndarray]:
        """`indptr` over all rows, and the columns, mapped."""
        indptr = np.append(0, np.cumsum(np.concatenate(self.lengths))).astype(np.int64)
        return {"indptr": indptr} | {column: mapped(path, self.dtypes[column]) for column, path in self.paths.items()}

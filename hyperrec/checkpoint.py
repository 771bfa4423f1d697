"""Checkpoints: what the EM loop carries, on disk, so that a fit that was killed goes on and ends with the same bits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hyperrec.errors import ModelError, listed
from hyperrec.topics.em import Progress
from hyperrec.topics.shards import History
from hyperrec.topics.state import State
from hyperrec.topics.statistics import Statistics
from hyperrec.topics.stored import StoredShard

PIECE = 2**22  # entries of an array
FORMAT = "hyperrec-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """One file of a folder, `checkpoint.safetensors`: arrays, and JSON in its header; the whole of a pass, or of the pass before.

    problem: what the fit is of, name -> value, the data as a digest; a checkpoint of another problem is refused.
    """

    path: Path
    problem: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, problem: Mapping[str, Any], data: object) -> Checkpoint:
        """data: shards, layout, and whatever else of arrays, dataclasses and sequences the fit is made from.

        Raises
        ------
        ModelError : the folder cannot be made or written to, or holds other things.
        """
        self = cls(folder / "checkpoint.safetensors", _plain({**problem, "data": digest(data)}))
        there = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
        if foreign := [one for one in there if one not in (self.path.name, self._draft.name) and not one.startswith(".tmp")]:
            raise ModelError(
                f"{folder} holds what is not of a checkpoint ({listed(foreign, most=3)}): it is left alone. Choose another folder."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._draft.touch()
            self._draft.unlink()
        except OSError as error:
            raise ModelError(f"cannot write checkpoints to {folder}: {error.strerror}. Choose another folder.") from error
        return self

    @property
    def _draft(self) -> Path:
        return self.path.with_suffix(".draft")

    def read(self) -> Progress | None:
        """Where the fit was; None: there is no checkpoint yet.

        Raises
        ------
        ModelError : the checkpoint is of another problem, or damaged.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                header = json.loads(file.metadata()["checkpoint"])
                arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
            if header.pop("sha256") != digest(header, arrays) or header["format"] != FORMAT:
                raise ValueError("its digest is another")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.path} is no checkpoint that can be read: truncated, edited, or of another version. "
                "Delete it to begin the fit again."
            ) from error
        if differ := [name for name, value in self.problem.items() if header["problem"].get(name) != value]:
            told = (f"{name} {header['problem'].get(name)} there, {self.problem[name]} here" for name in differ if name != "data")
            raise ModelError(
                f"{self.path} is of another fit ({', '.join(told) or 'other edges'}). "
                "Delete it to begin this fit, or choose another folder."
            )
        parts: dict[str, dict[str, Any]] = header["parts"]
        for name, array in arrays.items():
            part, _, of_part = name.partition(".")
            parts[part][of_part] = array
        best = (State(**parts["best"]), Statistics(**parts["counts"])) if "best" in parts else None
        return Progress(state=State(**parts["state"]), best=best, **parts["progress"])

    def write(self, progress: Progress) -> None:
        """Replace the checkpoint by a newer one, when all of that is on disk.

        Raises
        ------
        ModelError : the disk refuses; the older one is still there.
        """
        alone = {name: value for name, value in _fields(progress).items() if name not in ("state", "best")}
        parts = {"progress": alone, "state": _fields(progress.state)}
        if progress.best:
            parts["best"], parts["counts"] = map(_fields, progress.best)
        arrays: dict[str, np.ndarray] = {}
        numbers: dict[str, dict[str, Any]] = {part: {} for part in parts}
        for part, values in parts.items():
            for name, value in values.items():
                if isinstance(value, np.ndarray):
                    arrays[f"{part}.{name}"] = np.ascontiguousarray(value)
                else:
                    numbers[part][name] = value
        header = _plain({"format": FORMAT, "problem": self.problem, "parts": numbers})
        header["sha256"] = digest(header, dict(sorted(arrays.items())))
        try:
            save_file(arrays, self._draft, {"checkpoint": json.dumps(header)})
            _sync(self._draft)
            os.replace(self._draft, self.path)
            _sync(self.path.parent)
        except (OSError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise ModelError(
                f"cannot write {self.path}: {reason}. Make room and fit again: it goes on from the last checkpoint."
            ) from error


def digest(*values: object) -> str:
    """SHA-256 of arrays, histories, dataclasses, sequences, mappings (in their order) and what JSON knows."""
    total = hashlib.sha256()
    for value in values:
        _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: object) -> None:
    if isinstance(value, np.ndarray):
        total.update(f"{value.dtype.str}{value.shape}".encode())
        flat = value if value.ndim == 1 else np.ascontiguousarray(value).ravel()
        for start in range(0, len(flat), PIECE):  # what is mapped from a file, or constant, need not be in memory at once
            total.update(np.ascontiguousarray(flat[start : start + PIECE]).data)
    elif isinstance(value, (list, tuple)):
        total.update(f"[{len(value)}".encode())
        for one in value:
            _add(total, one)
    elif isinstance(value, Mapping):
        _add(total, list(value.items()))
    elif isinstance(value, StoredShard):
        _add(total, [value.kind.__name__, value.plan, value.folded, value.file.read()])
    elif is_dataclass(value):
        _add(total, [type(value).__name__, *(getattr(value, one.name) for one in fields(value))])
    elif isinstance(value, History):
        _add(total, vars(value))
    else:
        total.update(json.dumps(value, default=float).encode())


def _fields(one: Any) -> dict[str, Any]:
    """The fields of a dataclass, without what it has cached."""
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=float))
    return plain


def _sync(path: Path) -> None:
    """To the disk; of a folder, what its names stand for (Windows knows no such thing)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Saving and loading: a folder of safetensors, JSON and Parquet, written atomically; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hyperrec.errors import ModelError
from hyperrec.topics.contexts import Mean
from hyperrec.topics.em import State
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.model import TopicModel

FORMAT = "hyperrec-model"
VERSION = 1
PARAMETERS = ("n_topics", "container", "edges", "seed", "n_passes", "tolerance", "over_relaxation", "length_damping",
              "context_exponent")  # fmt: skip


def save(model: TopicModel, folder: Path) -> Path:
    """Write beside the target first and rename when all of it is on disk: a full disk or a crash leaves what was there.

    Raises
    ------
    ModelError : the target exists and is not a model, or the disk refuses.
    """
    if folder.exists() and not (folder / "config.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} exists and is not a hyperrec model: it is left alone. Choose another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ModelError(f"cannot write to {folder.parent}: {error.strerror}. Choose another folder.") from error
    try:
        _write(model, draft)
        old = draft.with_name(draft.name + "-old")
        if folder.exists():
            os.rename(folder, old)
        os.rename(draft, folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError, pl.exceptions.ComputeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelError(f"cannot save the model to {folder}: {reason}. Nothing was changed there.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(model: TopicModel, folder: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "embedding": model.state.embedding,
        "prior": model.state.prior,
        "lift": model.state.lift,
        "counts": model.counts,
    }
    for name, matrix in (("history", model.container_history), ("seen", model.seen)):
        arrays[f"{name}.indptr"], arrays[f"{name}.indices"], arrays[f"{name}.data"] = (
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            matrix.data.astype(np.float32),
        )
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "arrays.safetensors")
    files = ["arrays.safetensors"]
    modalities = list(model.vocabularies)
    for number, modality in enumerate(modalities):
        files.append(f"vocabulary-{number}.parquet")
        model.vocabularies[modality].ids.to_frame().write_parquet(folder / files[-1])
        if modality in model.labels:
            files.append(f"labels-{number}.parquet")
            model.labels[modality].write_parquet(folder / files[-1])
    model.history.write_parquet(folder / "history.parquet")
    files.append("history.parquet")
    config = {
        "format": FORMAT,
        "version": VERSION,
        "parameters": {name: getattr(model, name) for name in PARAMETERS},
        "context": "mean" if model.context else None,
        "user_modality": model.user_modality,
        "item_modality": model.item_modality,
        "modalities": modalities,
        "offsets": model.offsets,
        "sizes": model.sizes,
        "fitted_edges": model.fitted_edges,
        "edge_modalities": model.edge_modalities,
        "degenerate": model.degenerate,
        "sha256": {name: _digest(folder / name) for name in files},
    }
    with (folder / "config.json").open("w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def load(folder: Path) -> TopicModel:
    """Read and check a model folder.

    Raises
    ------
    ModelError : there is no such folder, it is not a model, of a newer format, or a file in it was cut or edited.
    """
    from hyperrec.model import TopicModel

    config = _read_config(folder)
    for name, digest in config["sha256"].items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: the file {name} is missing. The model is damaged: save or copy it again.")
        if _digest(folder / name) != digest:
            raise ModelError(f"{folder}: {name} is not what was saved (truncated or edited). Save or copy the model again.")
    try:
        context = Mean() if config["context"] == "mean" else None
        model = TopicModel(**config["parameters"], context=context)
        arrays = load_file(folder / "arrays.safetensors")
        model.state = State(arrays["embedding"], arrays["prior"], arrays["lift"])
        model.counts = arrays["counts"]
        model.user_modality, model.item_modality = config["user_modality"], config["item_modality"]
        model.offsets, model.sizes = config["offsets"], config["sizes"]
        model.fitted_edges, model.degenerate = config["fitted_edges"], config["degenerate"]
        model.edge_modalities = {name: tuple(members) for name, members in config["edge_modalities"].items()}
        model.vocabularies, model.labels = {}, {}
        for number, modality in enumerate(config["modalities"]):
            ids = pl.read_parquet(folder / f"vocabulary-{number}.parquet")["id"]
            model.vocabularies[modality] = Vocabulary(modality, ids)
            if f"labels-{number}.parquet" in config["sha256"]:
                model.labels[modality] = pl.read_parquet(folder / f"labels-{number}.parquet")
        model.history = pl.read_parquet(folder / "history.parquet")
        n_users = len(model.vocabularies[model.user_modality])
        shapes = {"history": len(model.counts), "seen": len(model.vocabularies[model.item_modality])}
        model.container_history, model.seen = (
            sp.csr_matrix(tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr")), shape=(n_users, width))
            for name, width in shapes.items()
        )
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: config.json does not fit the files beside it ({error}). Save the model again.") from error
    model._forget_caches()
    model.fitted = True
    return model


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} is not a hyperrec model: it has no config.json. Give the folder that save() wrote.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}): the model is damaged. Save or copy it again.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f"{path} is not of a hyperrec model: expected format '{FORMAT}'.")
    if config.get("version") != VERSION:
        raise ModelError(f"{path} has format version {config.get('version')}; this hyperrec reads {VERSION}. Update hyperrec.")
    if not isinstance(config.get("sha256"), dict):
        raise ModelError(f"{path} lists no checksums: the model is damaged. Save or copy it again.")
    return config


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

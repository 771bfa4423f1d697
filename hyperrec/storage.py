"""Saving and loading: a folder of safetensors, JSON and Parquet, written atomically; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from polars.exceptions import PolarsError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hyperrec.cold import packed, unpacked
from hyperrec.config import as_json, from_json
from hyperrec.errors import HyperrecError, ModelError, listed
from hyperrec.memory import Memory
from hyperrec.situated import Situated
from hyperrec.topics.shards import History
from hyperrec.topics.state import Layout, State
from hyperrec.topics.stored import let_go, mapped
from hyperrec.vocabulary import Vocabulary
from hyperrec.words import Tokenizer

if TYPE_CHECKING:
    from hyperrec.model import TopicModel

T = TypeVar("T")
FORMAT = "hyperrec-model"
VERSION = 5
SPARSE = 0.25  # share of entries that are not zero, below which tables are saved by their rows
HISTORY = ("indptr", "vertices", "weight", "importance", "starts")
DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint32": "U32", "bool": "BOOL"}
NAMES = {short: name for name, short in DTYPES.items()}
PIECE = 2**22  # entries of an array that are written at once
MAPPED_FROM = 2**28  # bytes
PARAMETERS = ("n_topics", "container", "edges", "seed", "n_passes", "tolerance", "over_relaxation", "length_damping",
              "context_exponent", "history_prior", "popularity_exponent", "drop_below")  # fmt: skip
OF_LISTS = ("history_prior", "popularity_exponent")  # of those, what a fit does not depend on
SITUATED = ("found", "expected")
REMEMBERED = ("indptr", "items", "places", "time", "ago", "weights", "plain", "returns")
OBJECTS = ("context", "regularizers", "neighbours", "attributes", "online")


class Kind(NamedTuple):
    """What a folder holds, as messages call it; the error for one that is wrong; names of its files. Raises where it is none."""

    what: str
    error: type[HyperrecError]
    files: Callable[[Path], set[str]]


def save(model: TopicModel, folder: Path) -> Path:
    """Write the model to a folder, whole or not at all.

    Raises
    ------
    ModelError : the target holds anything but a model, or the disk refuses.
    """
    return replace_folder(folder, lambda new: _write(model, new), MODEL)


def replace_folder(folder: Path, write: Callable[[Path], None], kind: Kind) -> Path:
    """Write beside the target first and rename when all of it is on disk: a full disk or an error leaves what was there.

    A process that is killed between the two renames leaves the old folder whole, in `.NAME-*/old` beside the target.
    """
    check_target(folder, kind)
    target = Path(os.path.realpath(folder))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise kind.error(f"cannot write to {folder.parent}: {_reason(error)}. Choose another folder.") from error
    new, old = draft / "new", draft / "old"
    try:
        new.mkdir()  # open to whom the umask says, as the draft is not
        write(new)
        for path in new.rglob("*"):
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        if target.exists():
            os.rename(target, old)
        os.rename(new, target)
    except (OSError, PolarsError) as error:
        raise kind.error(f"cannot save the {kind.what} to {folder}: {_reason(error)}. Nothing was changed there.") from error
    finally:
        if old.exists() and not target.exists():
            os.rename(old, target)
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def check_target(folder: Path, kind: Kind | None = None) -> None:
    """A model (or what kind says) may be replaced, anything else is left alone. Raises its error where `save` would."""
    kind = kind or MODEL
    if not folder.exists():
        above = next((one for one in Path(os.path.abspath(folder)).parents if one.exists()), Path("/"))
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise kind.error(f"cannot write to {above}: it is no folder that can be written to. Choose another folder.")
        return
    if not folder.is_dir():
        raise kind.error(f"{folder} is a file: it is left alone. Choose another folder.")
    try:
        replaced = kind.files(folder)
    except HyperrecError:
        replaced = set()
    try:
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in replaced)
    except OSError as error:
        raise kind.error(f"cannot write to {folder}: {_reason(error)}. Choose another folder.") from error
    if foreign:
        raise kind.error(
            f"{folder} exists and holds what is not of a hyperrec {kind.what} ({listed(foreign, most=3)}): it is left alone. "
            "Choose another folder, or empty this one."
        )


def _write(model: TopicModel, folder: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        **_tables(model.state),
        "prior": model.state.prior,
        "shares": model.state.shares,
        "counts": model.counts,
        "n_v": model.n_v,
        "mass": model.layout.mass,
    }
    if model.layout.phi_weight is not None:
        arrays["phi_weight"] = model.layout.phi_weight
    if model.state.weight is not None:
        arrays["phi_counts"] = model.state.weight
    if model.n_vt is not None:
        arrays["n_vt"] = model.n_vt
    arrays |= {f"history.{name}": getattr(model.histories, name) for name in HISTORY}
    seen = model.seen
    arrays |= {"seen.indptr": seen.indptr.astype(np.int64), "seen.indices": seen.indices, "seen.data": seen.data}
    if model.item_weights is not None:
        weights = model.item_weights
        arrays |= {f"weights.{name}": getattr(weights, name) for name in ("indptr", "indices", "data")}
    if model.memory is not None:
        arrays |= {f"memory.{name}": getattr(model.memory, name) for name in REMEMBERED}
    for number, both in enumerate(zip(model.situated.found, model.situated.expected, strict=True) if model.situated else ()):
        for name, counts in zip(SITUATED, both, strict=True):
            arrays |= {f"situated-{number}.{name}.{part}": getattr(counts, part) for part in ("indptr", "indices", "data")}
    described, told, kinds = packed(model.described)
    arrays |= described
    write_arrays(folder / "arrays.safetensors", arrays)
    files = ["arrays.safetensors"]
    modalities = list(model.vocabularies)
    for number, modality in enumerate(modalities):
        files.append(f"vocabulary-{number}.parquet")
        model.vocabularies[modality].ids.to_frame().write_parquet(folder / files[-1])
        if modality in model.labels:
            files.append(f"labels-{number}.parquet")
            model.labels[modality].write_parquet(folder / files[-1])
    for number, one in enumerate(kinds):
        files.append(f"attributes-{number}.parquet")
        model._labelled(one.ids.to_frame(), one.modality).write_parquet(folder / files[-1])
    model.history.write_parquet(folder / "history.parquet")
    files.append("history.parquet")
    config = {
        "format": FORMAT,
        "version": VERSION,
        "parameters": {name: getattr(model, name) for name in PARAMETERS},
        **as_json({name: getattr(model, name) for name in OBJECTS}),
        "user_modality": model.user_modality,
        "item_modality": model.item_modality,
        "modalities": modalities,
        "offsets": model.offsets,
        "sizes": model.sizes,
        "fitted_edges": model.fitted_edges,
        "edge_modalities": model.edge_modalities,
        "tokenizers": {modality: one.as_json() for modality, one in model.tokenizers.items()},
        "memory": model.memory.contexts if model.memory else None,
        "situated": [model.situated.edge_type, *model.situated.modalities] if model.situated else None,
        "described": told,
        "degenerate": model.degenerate,
        "emptied": model.emptied,
        "weight": model.weight,
        "exponents": model.layout.exponents,
        "gradient": model.layout.gradient,
        "sha256": {name: _digest(folder / name) for name in files},
    }
    config["config_sha256"] = _config_digest(config)
    (folder / "config.json").write_text(json.dumps(config, indent=1, default=float), "utf-8")


def _tables(state: State) -> dict[str, np.ndarray]:
    """The tables of a state, by their rows where most entries are zero."""
    kept = state.embedding != 0
    if kept.mean() > SPARSE:
        return {"embedding": state.embedding, "lift": state.lift}
    indptr = np.append(0, kept.sum(axis=1).cumsum())
    topics = kept.nonzero()[1].astype(np.uint32)
    return {"rows": indptr, "topics": topics, "embedding": state.embedding[kept], "lift": state.lift[kept]}


def _state(arrays: dict[str, np.ndarray], n_topics: int) -> State:
    embedding, lift = arrays["embedding"], arrays["lift"]
    if "rows" in arrays:
        n_vertices = len(arrays["rows"]) - 1
        at = np.repeat(np.arange(n_vertices), np.diff(arrays["rows"])), arrays["topics"]
        values, (embedding, lift) = (embedding, lift), np.zeros((2, n_vertices, n_topics), np.float32)
        embedding[at], lift[at] = values
    return State(embedding, arrays["prior"], lift, arrays["shares"], arrays.get("phi_counts"))


def _situated(model: TopicModel, told: list[str] | None, arrays: dict[str, np.ndarray]) -> Situated | None:
    """told : the edge type and the modalities."""
    if not told:
        return None
    n_items = len(model.vocabularies[model.item_modality])

    def read(name: str) -> tuple[sp.csr_matrix, ...]:
        parts = (tuple(arrays[f"situated-{number}.{name}.{part}"] for part in ("data", "indices", "indptr")) for number in range(n))
        return tuple(sp.csr_matrix(one, shape=(len(one[2]) - 1, n_items)) for one in parts)

    edge_type, *modalities = told
    n = len(modalities)
    return Situated(edge_type, tuple(modalities), *(read(name) for name in SITUATED))


def load(folder: Path) -> TopicModel:
    """Read and check a model folder.

    Raises
    ------
    ModelError : there is no such folder, it is not a model, of a newer format, or a file in it was cut or edited.
    """
    from hyperrec.model import TopicModel

    config = _read_config(folder)
    for name, digest in config["sha256"].items():
        if _read(folder / name, _digest) != digest:
            raise ModelError(f"{folder / name} is not what was saved (truncated or edited). Save or copy the model again.")
    try:
        made_by = {name: config.get(name) for name in OBJECTS} | {"regularizers": config["regularizers"]}
        model = TopicModel(**from_json({**config["parameters"], **made_by}))
        arrays = _read(folder / "arrays.safetensors", read_arrays)
        model.state = _state(arrays, model.n_topics)
        model.n_vt = arrays.get("n_vt")
        model.counts, model.n_v, model.weight = arrays["counts"], arrays["n_v"], float(config["weight"])
        sizes = tuple(config["sizes"].values())
        exponents, gradient = tuple(config["exponents"]), bool(config.get("gradient"))
        model.layout = Layout(sizes, arrays["mass"], arrays.get("phi_weight"), exponents, gradient)
        model.user_modality, model.item_modality = config["user_modality"], config["item_modality"]
        model.offsets, model.sizes = config["offsets"], config["sizes"]
        model.fitted_edges, model.degenerate, model.emptied = (config[name] for name in ("fitted_edges", "degenerate", "emptied"))
        model.edge_modalities = {name: tuple(members) for name, members in config["edge_modalities"].items()}
        model.tokenizers = {modality: Tokenizer.from_json(one) for modality, one in config.get("tokenizers", {}).items()}
        model.vocabularies, model.labels = {}, {}
        for number, modality in enumerate(config["modalities"]):
            ids = _read(folder / f"vocabulary-{number}.parquet", _table)["id"]
            model.vocabularies[modality] = Vocabulary(modality, ids)
            if f"labels-{number}.parquet" in config["sha256"]:
                model.labels[modality] = _read(folder / f"labels-{number}.parquet", _table)
        model.history = _read(folder / "history.parquet", _table)
        model.histories = History(*(arrays[f"history.{name}"] for name in HISTORY))
        shape = len(model.vocabularies[model.user_modality]), len(model.vocabularies[model.item_modality])
        model.seen = sp.csr_matrix(tuple(arrays[f"seen.{name}"] for name in ("data", "indices", "indptr")), shape=shape)
        model.memory, weights = None, None
        if "memory.indptr" in arrays:
            model.memory = Memory(tuple(config["memory"]), *(arrays[f"memory.{name}"] for name in REMEMBERED))
        model.situated = _situated(model, config.get("situated"), arrays)
        model.described = unpacked(
            config.get("described"), arrays, lambda number: _read(folder / f"attributes-{number}.parquet", _table)["id"]
        )
        for number, kind in enumerate(kind for one in model.described or () for kind, _ in one.kinds):
            if "#" not in kind and "label" in (named := _read(folder / f"attributes-{number}.parquet", _table)).columns:
                model.labels[kind] = named
        if "weights.data" in arrays:
            parts = tuple(arrays[f"weights.{name}"] for name in ("data", "indices", "indptr"))
            weights = sp.csr_matrix(parts, shape=(shape[1], shape[1]))
    except (KeyError, TypeError, ValueError, PolarsError) as error:
        raise ModelError(f"{folder}: config.json does not fit the files beside it ({error}). Save the model again.") from error
    model._forget_caches()
    model._item_weights = weights
    model.fitted = True
    return model


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not os.path.isdir(folder):
        what = "is a file" if os.path.exists(folder) else "does not exist"
        raise ModelError(f"{folder} {what}: give the folder that save() wrote.")
    if not os.path.lexists(path):
        raise ModelError(f"{folder} is not a hyperrec model: it has no config.json. Give the folder that save() wrote.")
    config = _read(path, lambda path: json.loads(path.read_text("utf-8")))
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        inside = f" Of a tuning it is {folder / 'model'}." if (folder / "model" / "config.json").is_file() else ""
        raise ModelError(
            f"{path} is not of a hyperrec model: expected format '{FORMAT}'. Give the folder that save() wrote.{inside}"
        )
    if (version := config.get("version")) != VERSION:
        what = "Update hyperrec" if isinstance(version, int) and version > VERSION else "Fit and save the model again"
        raise ModelError(f"{path} has format version {version}; this hyperrec reads {VERSION}. {what}.")
    if config.pop("config_sha256", None) != _config_digest(config):
        raise ModelError(f"{path} is not what was saved (edited). Save or copy the model again.")
    return config


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    """What a reader makes of a file of the model; a failure names the file."""
    try:
        return reader(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: the model is not whole. Save or copy it again.") from None
    except (OSError, ValueError, SafetensorError, PolarsError) as error:
        raise ModelError(f"{path} cannot be read: {_reason(error)}. Save or copy the model again.") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A safetensors file, a piece of an array after the other: the library would make a copy of them all."""
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)  # so that each begins at a multiple of its item size
    header: dict[str, Any] = {}
    end = 0
    for name, array in ordered:
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": [end, end := end + array.nbytes]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in ordered:
            flat = array if array.ndim == 1 else np.ascontiguousarray(array).ravel()
            for start in range(0, len(flat), PIECE):
                np.ascontiguousarray(flat[start : start + PIECE]).tofile(file)
                let_go(flat)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; of a large one, histories and seen items are mapped, and read for whom they are asked."""
    if path.stat().st_size <= MAPPED_FROM:
        return dict(load_file(path))
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    arrays = {}
    for name, one in header.items():
        dtype, (start, end) = np.dtype(NAMES[one["dtype"]]), one["data_offsets"]
        array = mapped(path, dtype, 8 + size + start, (end - start) // dtype.itemsize).reshape(one["shape"])
        arrays[name] = array if name.partition(".")[0] in ("history", "seen") else array.copy()
    return arrays


def _table(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path.read_bytes())  # a path would be taken for a glob


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _config_digest(config: dict[str, Any]) -> str:
    """Over all of the config in its order: the order of `offsets` counts."""
    return hashlib.sha256(json.dumps(config, default=float).encode()).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().partition("\n")[0].rstrip(".")


MODEL = Kind("model", ModelError, lambda folder: {"config.json", *_read_config(folder)["sha256"]})

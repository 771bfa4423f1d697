"""Configs: the options of a TopicModel as a dict, and as JSON."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from hyperrec.attributes import Attributes
from hyperrec.errors import ModelError, did_you_mean, listed
from hyperrec.neighbours import Neighbours
from hyperrec.topics import contexts, regularizers
from hyperrec.topics.online import Online


def as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a TopicModel as JSON has them; a user's own regularizer by its name only."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    if plain.get("context") is not None:
        plain["context"] = plain["context"].as_json()
    if plain.get("regularizers"):
        plain["regularizers"] = [regularizers.as_json(one) for one in plain["regularizers"]]
    for name in ("online", "neighbours", "attributes"):
        if plain.get(name):
            plain[name] = {key: one.item() if isinstance(one, np.generic) else one for key, one in vars(plain[name]).items()}
    return plain


def from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that `as_json` wrote."""
    options = dict(values)
    if options.get("context") is not None:
        options["context"] = contexts.from_json(options["context"])
    if options.get("regularizers"):
        options["regularizers"] = [regularizers.from_json(one) for one in options["regularizers"]]
    for name, kind in (("online", Online), ("neighbours", Neighbours), ("attributes", Attributes)):
        if options.get(name) is not None:
            options[name] = _made(name, kind, options[name])
    return options


def _made(name: str, kind: Any, values: Any) -> Any:
    """A `kind` with these parameters. Raises ValueError for what is none."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} must be an object of its parameters; got {values!r}")
    known = [one.name for one in fields(kind)]
    if strange := [one for one in values if one not in known]:
        raise ValueError(f"{name} has no parameter '{strange[0]}': it has {listed(known)}.{did_you_mean(strange[0], known)}")
    return kind(**values)


def check_options(names: Iterable[str]) -> None:
    """Raises ModelError when a TopicModel has no option of such a name."""
    from hyperrec.model import TopicModel

    known = list(inspect.signature(TopicModel).parameters)
    for name in names:
        if name not in known:
            raise ModelError(f"TopicModel has no option '{name}': it has {listed(known, most=30)}.{did_you_mean(name, known)}")


def write_config(options: Mapping[str, Any], path: str | Path) -> Path:
    """Options of a TopicModel as a JSON file. Returns its path. Raises ModelError where the disk refuses."""
    text = json.dumps(as_json(options), indent=1, default=float)
    return replace_file(Path(path), text.encode())


def read_config(path: str | Path) -> dict[str, Any]:
    """The options that a config.json holds, as `hr.TopicModel(**options)` takes them.

    Raises
    ------
    ModelError : the file cannot be read, is no JSON of options, or has an option that a TopicModel has not.
    """
    try:
        values = json.loads(Path(path).read_text("utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected an object, got {type(values).__name__}")
        options = from_json(values)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Give the config.json of a tuning.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is no config of a TopicModel ({error}). Give the config.json of a tuning.") from error
    check_options(options)
    return options


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file, whole or not at all. Raises ModelError where the disk refuses."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}. Choose another place.") from error
    finally:
        draft.unlink(missing_ok=True)
    return path

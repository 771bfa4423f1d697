"""What hyperrec raises: one line that says what was expected, what came, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HyperrecError(Exception):
    """Base of every error that hyperrec raises on purpose; the command line turns it into exit code 2."""


class SchemaError(HyperrecError):
    """A log schema is wrong, or does not fit the log it is applied to."""


class DataError(HyperrecError):
    """The data is wrong: a file, a frame, a row, an id."""


class ModelError(HyperrecError):
    """A model is configured, fitted, asked, saved or loaded in a way that cannot work."""


def listed(names: Iterable[object], *, most: int = 12) -> str:
    """'a, b, c' -- at most `most` names, the rest counted."""
    all_names = [str(name) for name in names]
    shown = ", ".join(all_names[:most])
    return f"{shown} and {len(all_names) - most} more" if len(all_names) > most else shown or "nothing"


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """' Did you mean 'x'?' when a known name is close to `name`, else the empty string."""
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def first_line(error: Exception) -> str:
    """What an error of a library says, without its end."""
    return str(error).strip().partition("\n")[0].strip().rstrip(".:;")

"""Shared by the benchmark scripts: what machine this is, and where their tables go."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def machine() -> str:
    """Processor, Python and the versions that matter, in a line."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        cpu = found[1]
    packages = ", ".join(f"{name} {version(name)}" for name in ("hyperrec", "numpy", "numba", "polars"))
    return f"{cpu}, Python {platform.python_version()}, {packages}"


def write(name: str, header: Sequence[str], rows: Iterable[Sequence[object]], note: str) -> None:
    """Print a table and put it into README's block NAME."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    fill(name, "\n".join(lines) + f"\n\n{note}\n")


def fill(name: str, text: str) -> None:
    """Print a text and put it into README's block NAME."""
    print(text)
    begin, end = f"<!-- benchmark:{name} begin -->\n", f"<!-- benchmark:{name} end -->"
    page = README.read_text(encoding="utf-8")
    head, _, rest = page.partition(begin)
    if end not in rest:
        raise SystemExit(f"README.md has no block benchmark:{name}.")
    README.write_text(head + begin + text + rest[rest.index(end) :], encoding="utf-8")

"""Shared by the benchmark scripts: what machine this is, and where their tables go."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def machine() -> str:
    """Processor, Python and the versions that matter, in a line."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        cpu = found[1]
    packages = ", ".join(f"{name} {version(name)}" for name in ("hyperrec", "numpy", "numba", "polars"))
    return f"{cpu}, Python {platform.python_version()}, {packages}"


def write(name: str, header: Sequence[str], rows: Iterable[Sequence[object]], note: str) -> None:
    """Print a table, keep it as benchmarks/results/NAME.md, and put it into README's block NAME if there is one."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    text = "\n".join(lines) + f"\n\n{note}\n"
    print(text)
    target = ROOT / "benchmarks" / "results" / f"{name}.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")
    readme = ROOT / "README.md"
    begin, end = f"<!-- benchmark:{name} begin -->", f"<!-- benchmark:{name} end -->"
    page = readme.read_text(encoding="utf-8")
    if begin in page and end in page:
        head, rest = page.split(begin, 1)
        readme.write_text(head + begin + "\n" + text + rest[rest.index(end) :], encoding="utf-8")

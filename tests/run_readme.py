"""Run the python blocks of README.md in order, as one session in an empty folder: `python tests/run_readme.py`."""

from __future__ import annotations

import os
import re
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parent.parent / "README.md"


def python_blocks(text: str) -> list[tuple[int, str]]:
    """The fenced python blocks of a Markdown text, each with the number of its first line."""
    found = re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def main() -> None:
    blocks = python_blocks(README.read_text(encoding="utf-8"))
    if not blocks:
        raise SystemExit("README.md has no python block: the quickstart is expected there.")
    warnings.simplefilter("error")
    session: dict[str, Any] = {"__name__": "readme"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for line, code in blocks:
            start = time.perf_counter()
            # Empty lines in front make a traceback name the line of README.
            exec(compile("\n" * (line - 1) + code, str(README), "exec"), session)
            print(f"README.md:{line}: ran in {time.perf_counter() - start:.1f} s", flush=True)
        os.chdir(README.parent)


if __name__ == "__main__":
    main()

"""Run the python blocks of README.md in order, as one session in an empty folder: `python tests/run_readme.py`.

Its TOML blocks are read as schemas, and its lines of `hyperrec ...` as commands, which are not run.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import time
import tomllib
import warnings
from pathlib import Path
from typing import Any

from hyperrec.cli import app
from hyperrec.schema import LogSchema

README = Path(__file__).resolve().parent.parent / "README.md"


def blocks_of(text: str, language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language in a Markdown text, each with the number of its first line."""
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def main() -> None:
    text = README.read_text(encoding="utf-8")
    blocks = blocks_of(text, "python")
    if not blocks:
        raise SystemExit("README.md has no python block: the quickstart is expected there.")
    for line, schema in blocks_of(text, "toml"):
        print(f"README.md:{line}: {LogSchema.load(tomllib.loads(schema))!r:.60}...", flush=True)
    for line, script in blocks_of(text, "sh"):
        for number, command in enumerate(script.splitlines(), start=line):
            if command.startswith("hyperrec "):
                app.parse_args(shlex.split(command, comments=True)[1:], exit_on_error=False, print_error=False)
                print(f"README.md:{number}: a command", flush=True)
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

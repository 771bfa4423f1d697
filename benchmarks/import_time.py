"""Seconds from the start of Python: `import hyperrec`, the first name that needs the engine, `hyperrec --help`; nothing compiles.

    python benchmarks/import_time.py [--repeats 9]

Writes the block of that name in README.md. Every run is a process of its own, the start of Python itself among them; the first
run of each, which reads the files from the disk, does not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from report import machine, write

PROGRAMS = {
    "Python alone": "pass",
    "`import hyperrec`": "import hyperrec",
    "`import hyperrec`, then `hyperrec.TopicModel`": "import hyperrec; hyperrec.TopicModel",
    "`import hyperrec`, then `hyperrec.read_logs`": "import hyperrec; hyperrec.read_logs",
    "`hyperrec --help`": "import sys; from hyperrec.cli import main; sys.argv = ['hyperrec', '--help']; main()",
    "NumPy, SciPy (sparse), Polars and numba alone": "import numpy, scipy.sparse, polars, numba",
}


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    turns = [[seconds(code) for code in PROGRAMS.values()] for _ in range(args.repeats + 1)][1:]
    rows = [
        (name, f"{statistics.median(column):.3f}", f"{max(column):.3f}")
        for name, column in zip(PROGRAMS, zip(*turns, strict=True), strict=True)
    ]
    note = f"{machine()}, {os.cpu_count()} cores; processes of their own, {args.repeats} turns, nothing random."
    write("import_time", ("program", "median, s", "slowest, s"), rows, note)


if __name__ == "__main__":
    main()

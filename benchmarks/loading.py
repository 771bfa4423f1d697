"""Loading a log beside Polars' own scan and unique of the same file, turn by turn in one run.

    python benchmarks/loading.py [--events 25000000] [--repeats 5]

Writes the block of that name in README.md. The log is synthetic: power-law activity and
popularity, 300,000 users and 60,000 items, integer or text ids, as delimited text and as Parquet.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from report import machine, write

import hyperrec as hr


def make_log(folder: Path, n_events: int, *, text: bool, seed: int) -> dict[str, Path]:
    """The same events as a CSV and as a Parquet file."""
    rng = np.random.default_rng(seed)
    events = pl.DataFrame(
        {
            "user": (300_000 * rng.random(n_events) ** 2).astype(np.int64),
            "item": (60_000 * rng.random(n_events) ** 3).astype(np.int64),
            "time": rng.integers(1_500_000_000, 1_600_000_000, n_events),
        }
    )
    if text:
        events = events.with_columns(pl.format("user-{}", "user").alias("user"), pl.format("item-{}", "item").alias("item"))
    csv, parquet = folder / f"text-{text}.csv", folder / f"text-{text}.parquet"
    events.write_csv(csv)
    events.write_parquet(parquet)
    return {"CSV": csv, "Parquet": parquet}


def schema(path: Path) -> dict[str, object]:
    edge = {"table": "events", "vertices": {"user": "user", "item": "item"}, "time": "time"}
    return {"name": "events", "tables": {"events": {"file": path.name}}, "edges": {"seen": edge}}


def scan_and_unique(path: Path) -> None:
    """What a numbering of ids cannot do without: all the columns, and the distinct users and items."""
    events = (pl.scan_csv(path) if path.suffix == ".csv" else pl.scan_parquet(path)).collect()
    events["user"].unique()
    events["item"].unique()


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=25_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for text in (False, True):
            for kind, path in make_log(Path(folder), args.events, text=text, seed=args.seed).items():
                scan_and_unique(path)  # the file is in the page cache from here on
                turns = [
                    (seconds(lambda p=path: hr.read_logs(schema(p), p)), seconds(lambda p=path: scan_and_unique(p)))
                    for _ in range(args.repeats)
                ]
                ours, theirs = (statistics.median(column) for column in zip(*turns, strict=True))
                ratio = statistics.median(a / b for a, b in turns)
                rows.append((kind, "text" if text else "integers", f"{ours:.2f}", f"{theirs:.2f}", f"{ratio:.1f}"))
                path.unlink()
    header = ("file", "ids", "read_logs, s", "Polars scan + unique, s", "ratio")
    note = f"{machine()}, {os.cpu_count()} cores; {args.events:,} events, seed {args.seed}, medians of {args.repeats} turns."
    write("loading", header, rows, note)


if __name__ == "__main__":
    main()

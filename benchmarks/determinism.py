"""What the same bits on any number of threads cost: chunks fixed by the data beside as many chunks as there are threads.

    python benchmarks/determinism.py [--edges 1000000] [--repeats 5]

Writes the block of that name in README.md. A chunk of hyperedges adds to a table of its own, and the tables are merged in their
order; with one table a thread there is less to merge, but the sums depend on the number of threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from unittest import mock

import numba
import numpy as np
from report import machine, write
from scaling import N_VERTICES, edge_pass

from hyperrec.topics import shards


def bounds_by_threads(indptr: np.ndarray, n_vertices: int, n_topics: int) -> np.ndarray:
    """As `shards._bounds`, but of as many chunks as threads."""
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], numba.get_num_threads() + 1)).astype(np.int64)
    cuts[0], cuts[-1] = 0, len(indptr) - 1
    return cuts


def by_threads(run: Callable[[], float]) -> float:
    with mock.patch.object(shards, "_bounds", bounds_by_threads):
        return run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    threads = numba.get_num_threads()
    rows = []
    for order in (2, 4):
        for n_topics in (64, 256):
            run = edge_pass(args.edges, order, n_topics, args.seed)
            turns = [(run(), by_threads(run)) for _ in range(args.repeats + 1)][1:]  # the first one compiles
            fixed, free = (statistics.median(column) for column in zip(*turns, strict=True))
            chunks = len(shards._bounds(np.array([0, args.edges]), N_VERTICES, n_topics)) - 1
            cost = statistics.median(a / b - 1 for a, b in turns)
            rows.append((order, n_topics, chunks, f"{fixed:.3f}", f"{free:.3f}", f"{cost:+.0%}"))
    header = ("order", "T", "fixed chunks", "pass, s", f"with {threads} chunks, s", "cost")
    note = (
        f"{machine()}, {threads} threads of {os.cpu_count()}, seed {args.seed}; {args.edges:,} hyperedges of {N_VERTICES:,} "
        f"vertices, medians of {args.repeats} turns."
    )
    write("determinism", header, rows, note)


if __name__ == "__main__":
    main()

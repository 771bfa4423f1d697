"""What bounds an EM pass of `Mean()`: beside a stream over the same rows and the FMA peak, turn by turn in one run.

    HYPERREC_DATA=FOLDER python benchmarks/bounds.py [--events 17000000] [--repeats 5]

Writes the block of that name in README.md. The stream reads one word of each cache line of the rows that the pass reads, and
writes the rows that it writes: no arithmetic but an integer sum, which keeps the reads alive. It goes through them in the
pass's own order, and as many of them one after another. The peak is that of independent float32 FMAs in registers, on all
threads. An event takes 3 T FMAs: into the container's sum, the product with it, and into the item's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import scipy.sparse as sp
from em_pass import em_pass, movielens, power_law, shard_of
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from report import machine, write

from hyperrec.topics.kernels.pairs import AHEAD, LINE, _prefetch

LANES, CHAINS = 16, 12  # of the peak: float32 in a vector, vectors that do not wait for one another
STEPS = 20_000_000


@njit(nogil=True, parallel=True)
def touch(indptr, vertices, slices, groups, row_vertex, row_indptr, members, table, totals, out, sums):
    """The memory traffic of `add_pairs_in_mean`: table (V, T), totals (size of a block, T), out (V, T) int32, sums (P,)."""
    n_topics = table.shape[1]
    last = len(vertices) - 1
    n_parts = slices.shape[1] - 1
    for block in range(slices.shape[0]):
        first = slices[block, 0]
        for part in prange(n_parts):
            s = np.int32(0)
            for d in range(slices[block, part], slices[block, part + 1]):
                for j in range(indptr[d], indptr[d + 1]):
                    soon = table[vertices[min(j + AHEAD, last)]]
                    for t in range(0, n_topics, LINE):
                        _prefetch(soon, t)
                    row = table[vertices[j]]
                    for t in range(0, n_topics, LINE):
                        s += row[t]
                totals[d - first, :] = 0
            sums[part] += s
        for part in prange(n_parts):
            s = np.int32(0)
            for r in range(groups[block, part], groups[block, part + 1]):
                row = table[row_vertex[r]]
                for t in range(0, n_topics, LINE):
                    s += row[t]
                for j in range(row_indptr[r], row_indptr[r + 1]):
                    row = totals[members[j]]
                    for t in range(0, n_topics, LINE):
                        s += row[t]
                into = out[row_vertex[r]]
                for t in range(n_topics):
                    into[t] += 1
            sums[part] += s


@intrinsic
def _multiply_add(typing_context, n_steps, factor):
    """CHAINS vectors of LANES float32, each multiplied and added to n_steps times, in registers; their sum."""

    def emit(context, builder, signature, arguments):
        kind = ir.VectorType(ir.FloatType(), LANES)
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{LANES}f32")
        vector = ir.Constant(kind, [1.0] * LANES)
        factors = vector
        for lane in range(LANES):
            factors = builder.insert_element(factors, arguments[1], ir.Constant(ir.IntType(32), lane))
        chains = [cgutils.alloca_once_value(builder, vector) for _ in range(CHAINS)]
        with cgutils.for_range(builder, arguments[0]):
            for chain in chains:
                builder.store(builder.call(fma, [builder.load(chain), factors, vector]), chain)
        total = vector
        for chain in chains:
            total = builder.fadd(total, builder.load(chain))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(n_steps, factor), emit


@njit(nogil=True, parallel=True)
def multiply_add(n_steps, factor, sums):
    for part in prange(len(sums)):
        sums[part] = _multiply_add(n_steps, factor)


def fma_seconds() -> float:
    """Seconds of STEPS rounds of FMAs on each thread."""
    sums = np.empty(numba.get_num_threads(), np.float32)
    start = time.perf_counter()
    multiply_add(STEPS, np.float32(0.5), sums)
    return time.perf_counter() - start


def stream(events: sp.csr_matrix, n_topics: int, *, sequential: bool) -> tuple[Callable[[], float], int]:
    """A function that touches the rows of a pass and returns the seconds that it took; and the bytes of those rows."""
    shard = shard_of(events)
    history, blocks = shard.history, shard.blocks
    n_items, size = events.shape[1], int((blocks.slices[:, -1] - blocks.slices[:, 0]).max())
    vertices, members = history.vertices, blocks.members
    if sequential:
        vertices = (np.arange(len(vertices)) % n_items).astype(vertices.dtype)
        members = (np.arange(len(members)) % size).astype(members.dtype)
    table, out = np.ones((n_items, n_topics), np.int32), np.zeros((n_items, n_topics), np.int32)
    totals, sums = np.zeros((size, n_topics), np.int32), np.zeros(blocks.slices.shape[1] - 1, np.int32)

    def run() -> float:
        start = time.perf_counter()
        touch(
            history.indptr, vertices, blocks.slices, blocks.groups, blocks.row_vertex, blocks.row_indptr, members, table, totals,
            out, sums,
        )  # fmt: skip
        return time.perf_counter() - start

    rows = 2 * events.nnz + events.shape[0] + 3 * len(blocks.row_vertex)  # read twice an event; written; read, read and written
    return run, 4 * n_topics * rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=17_000_000)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = {"MovieLens-1M": movielens(), "synthetic": power_law(args.events, args.users, args.items, args.seed)}
    threads = numba.get_num_threads()
    rows, peaks = [], []
    for name, events in data.items():
        for size in (64, 128):
            ours = em_pass(events, size, args.seed)
            (ordered, n_bytes), (sequential, _) = (stream(events, size, sequential=one) for one in (False, True))
            runs = (ours, ordered, sequential, fma_seconds)
            turns = [[run() for run in runs] for _ in range(args.repeats + 1)][1:]  # the first one compiles
            mine, own, straight, peak = (statistics.median(column) for column in zip(*turns, strict=True))
            rate = STEPS * LANES * CHAINS * threads / peak  # FMAs a second
            peaks.append(rate)
            shares = [statistics.median(turn[at] / turn[0] for turn in turns) for at in (1, 2)]
            needed = 3 * events.nnz * size / rate  # seconds at the peak
            streams = (f"{seconds:.3f} ({n_bytes / seconds / 1e9:.0f} GB/s)" for seconds in (own, straight))
            speed = f"{events.nnz * size / mine:.2e}"
            rows.append((name, size, f"{mine:.3f}", speed, *streams, *(f"{share:.0%}" for share in (*shares, needed / mine))))
    header = (
        "data", "T", "pass, s", "events*T/s", "stream in its order, s", "stream in a row, s", "stream / pass", "in a row / pass",
        "FMA peak / pass",
    )  # fmt: skip
    note = (
        f"{machine()}, {threads} threads of {os.cpu_count()}, seed {args.seed}; {data['MovieLens-1M'].nnz:,} ratings, and "
        f"{data['synthetic'].nnz:,} power-law events of {args.users:,} users and {args.items:,} items; medians of {args.repeats} "
        f"turns. FMA peak {statistics.median(peaks):.2e} FMAs/s; a share says what part of the pass's time it would take."
    )
    write("bounds", header, rows, note)


if __name__ == "__main__":
    main()

"""Seconds of an EM pass against the number of events, of topics, the order of the hyperedges, and threads.

    python benchmarks/scaling.py [--events 1 4 16 64] [--repeats 5]

Writes the block of that name in README.md and docs/scaling.svg; --events in millions, --events 1 4 16 64 100 for more. Events are
pairs read in `Mean()`, power-law in users (one for 120 events) and in items; hyperedges are read in the symmetric form.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator

import altair as alt
import numba
import numpy as np
import polars as pl
from em_pass import em_pass, power_law
from report import README, machine, write

from hyperrec.topics import em
from hyperrec.topics.shards import Edges
from hyperrec.topics.state import Layout

N_TOPICS, N_ITEMS, N_VERTICES = 64, 27_000, 20_000
MILLION = 1_000_000


def edge_pass(n_edges: int, order: int, n_topics: int, seed: int) -> Callable[[], float]:
    """A function that runs one E-step and M-step over hyperedges of power-law vertices, and returns the seconds that it took."""
    rng = np.random.default_rng(seed)
    vertices = rng.permutation(N_VERTICES)[(N_VERTICES * rng.random((n_edges, order)) ** 3).astype(np.int64)].astype(np.int32)
    shards = [Edges.symmetric(vertices, np.ones(n_edges, np.float32))]
    layout = Layout((N_VERTICES,), np.bincount(vertices.ravel(), minlength=N_VERTICES) / order)
    state = em.initial_state(layout, n_topics, seed)

    def run() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = em.m_step(state, em.e_step(shards, state), layout)
        return time.perf_counter() - start

    return run


def pair_pass(millions: int, n_topics: int, seed: int) -> tuple[int, Callable[[], float]]:
    """The number of distinct events, and a pass over them."""
    events = power_law(millions * MILLION, millions * MILLION // 120, N_ITEMS, seed)
    return events.nnz, em_pass(events, n_topics, seed)


def curves(millions: list[int], seed: int) -> Iterator[tuple[str, int, int, int, Callable[[], float]]]:
    """(what is varied, its value, edges, topics, a pass) of each point."""
    for size in millions:
        n_events, run = pair_pass(size, N_TOPICS, seed)
        yield "events", n_events, n_events, N_TOPICS, run
    for n_topics in (16, 32, 64, 128, 256, 512, 1024, 2048):
        n_events, run = pair_pass(min(millions), n_topics, seed)
        yield "topics", n_topics, n_events, n_topics, run
    for order in (2, 3, 4, 5, 6):
        yield "order", order, min(millions) * MILLION, N_TOPICS, edge_pass(min(millions) * MILLION, order, N_TOPICS, seed)


def picture(points: pl.DataFrame) -> None:
    """docs/scaling.svg: a panel for what is varied, a line for the threads."""
    panels = []
    for (varied,), part in points.group_by("varied", maintain_order=True):
        kind = "linear" if varied == "order" else "log"
        horizontal = alt.X("value:Q", title=varied, scale=alt.Scale(type=kind, nice=False), axis=alt.Axis(tickCount=5, format="~s"))
        vertical = alt.Y("seconds:Q", title="seconds per pass", scale=alt.Scale(type=kind))
        chart = alt.Chart(part).mark_line(point=True).encode(horizontal, vertical, alt.Color("threads:N"))
        panels.append(chart.properties(width=220, height=180))
    alt.hconcat(*panels).save(str(README.parent / "docs" / "scaling.svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    numbers = sorted({1, numba.get_num_threads()})
    rows, points = [], []
    for varied, value, n_edges, n_topics, run in curves(args.events, args.seed):
        turns = []
        for _ in range(args.repeats + 1):
            times = []
            for threads in numbers:
                numba.set_num_threads(threads)
                times.append(run())
            turns.append(times)
        middle = [statistics.median(column) for column in zip(*turns[1:], strict=True)]  # the first turn compiles
        points += [(varied, value, threads, seconds) for threads, seconds in zip(numbers, middle, strict=True)]
        speedup = statistics.median(turn[0] / turn[-1] for turn in turns[1:])
        speed = f"{n_edges * n_topics / middle[-1]:.2e}"
        rows.append((varied, f"{value:,}", *(f"{seconds:.3f}" for seconds in middle), f"{speedup:.2f}", speed))
    picture(pl.DataFrame(points, schema=["varied", "value", "threads", "seconds"], orient="row"))
    per = tuple(f"pass with {threads} thread{'s' if threads > 1 else ''}, s" for threads in numbers)
    note = (
        f"{machine()}, {os.cpu_count()} cores, seed {args.seed}, medians of {args.repeats} turns. Events: T = {N_TOPICS}, "
        f"{N_ITEMS:,} items; topics: the fewest of these events; order: {min(args.events)} million hyperedges of {N_VERTICES:,} "
        f"vertices, T = {N_TOPICS}."
    )
    write("scaling", ("varied", "value", *per, "times faster", "edges*T/s"), rows, note)


if __name__ == "__main__":
    main()

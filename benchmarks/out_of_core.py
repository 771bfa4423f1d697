"""A log larger than memory: made into a store, and fitted to part by part; and a streamed pass beside a pass in memory.

    python benchmarks/out_of_core.py [--events 100000000] [--topics 64] [--repeats 5]

The log, its store and the fit's files are in a temporary folder (about 8 GB for 100 million events; TMPDIR moves it). The store and
the fit are commands run in processes of their own: their largest resident memory is what the system counts. Writes the block of
that name in README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numba
import numpy as np
import polars as pl
from em_pass import power_law
from report import machine, write

import hyperrec as hr
from hyperrec.assembly import Assembly, assemble
from hyperrec.streaming import assemble_stored
from hyperrec.topics import em

CHUNK = 5_000_000
SETTINGS = {"container": "user", "context": hr.Mean(), "length_damping": 0.25, "context_exponent": 0.15}
FIT = """
import json, sys, time
import hyperrec as hr
from hyperrec.topics import em
store, model, n_topics, n_passes = sys.argv[1:]
e_step, times = em.e_step, [time.perf_counter()]
em.e_step = lambda shards, state: times.append(time.perf_counter()) or e_step(shards, state)
fitted = hr.TopicModel(int(n_topics), n_passes=int(n_passes), tolerance=0).fit(hr.open_store(store), progress=False)
times.append(time.perf_counter())
fitted.save(model)
print(json.dumps([b - a for a, b in zip(times, [*times[1:], time.perf_counter()])]))
"""
ASK = """
import sys, time
import hyperrec as hr
model = hr.load(sys.argv[1])
model.recommend(model.vocabularies["user"].ids[:1000].to_list(), k=10)
"""


def make_log(folder: Path, n_events: int, n_users: int, n_items: int, seed: int) -> None:
    """Power-law activity and popularity, in the order of time, as a folder of Parquet files and a schema."""
    rng = np.random.default_rng(seed)
    name_of_item = rng.permutation(n_items)
    for number, start in enumerate(range(0, n_events, CHUNK)):
        size = min(CHUNK, n_events - start)
        events = {
            "user": (n_users * rng.random(size) ** 2).astype(np.int64),
            "item": name_of_item[(n_items * rng.random(size) ** 3).astype(np.int64)],
            "time": 1_500_000_000 + start + np.arange(size),
        }
        pl.DataFrame(events).write_parquet(folder / f"events-{number:04}.parquet")
    (folder / "log.toml").write_text(
        'name = "log"\n[tables.events]\nfile = "events-*.parquet"\n'
        '[edges.seen]\ntable = "events"\nvertices = { user = "user", item = "item" }\ntime = "time"\n'
    )


def run(*command: str) -> tuple[float, float, str]:
    """(seconds, peak resident memory in GiB, stdout) of a command."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command[:4]} failed.")
        out.seek(0)
        return time.perf_counter() - start, usage.ru_maxrss / 2**20, out.read()


def passes(assembly: Assembly, n_topics: int, seed: int) -> Callable[[], float]:
    """A function that runs one E-step and over-relaxed M-step, and returns the seconds that it took."""
    state = em.initial_state(assembly.layout, n_topics, seed)

    def turn() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = em.m_step(state, em.e_step(assembly.shards, state), assembly.layout, 1.8)
        return time.perf_counter() - start

    return turn


def beside_memory(folder: Path, n_topics: int, repeats: int, seed: int) -> tuple[int, int, float, float, float]:
    """(events, parts, seconds of a pass in memory, of a streamed one, median ratio) on the events of em_pass.py."""
    pairs = power_law(17_000_000, 138_000, 27_000, seed).tocoo()
    graph = hr.Hypergraph.from_frames(seen=pl.DataFrame({"user": pairs.row, "item": pairs.col}))
    store = graph.store(folder / "store")
    edges = {"seen": 1.0}
    (folder / "scratch").mkdir()
    whole, stored = assemble(graph, edges, **SETTINGS), assemble_stored(store, edges, folder / "scratch", **SETTINGS)
    memory, streamed = passes(whole, n_topics, seed), passes(stored, n_topics, seed)
    memory(), streamed()  # compiles; the files are in the page cache from here on
    turns = [(memory(), streamed()) for _ in range(repeats)]
    a, b = (statistics.median(column) for column in zip(*turns, strict=True))
    return pairs.nnz, len(stored.shards), a, b, statistics.median(after / before for before, after in turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--topics", type=int, default=64)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # in a process of its own: Linux counts a parent's peak to the commands that it starts
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn")) as apart:
        folder = Path(name)
        comparison = apart.submit(beside_memory, folder / "both", args.topics, args.repeats, args.seed)
        n, parts, memory, streamed, ratio = comparison.result()
        apart.submit(make_log, folder, args.events, args.users, args.items, args.seed).result()
        log, store, model = folder / "log.toml", folder / "store", folder / "model"
        command = str(Path(sys.executable).parent / "hyperrec")
        making, making_peak, _ = run(command, "store", str(log), str(folder), "--out", str(store))
        fitting, peak, told = run(sys.executable, "-c", FIT, str(store), str(model), str(args.topics), str(args.passes))
        asking, asking_peak, _ = run(sys.executable, "-c", ASK, str(model))
        layout, _, *later, saving = json.loads(told)  # the first pass compiles
        a_pass = statistics.median(later)
        opened = hr.open_store(store)
        n_parts, n_edges = len(opened.firsts) - 1, opened.edges["seen"].n_edges
    rows = [
        ("`hyperrec store`", f"{making:.1f}", f"{making_peak:.2f}"),
        (f"a fit of {args.passes} passes, laid out and saved", f"{fitting:.1f}", f"{peak:.2f}"),
        ("of it: laying out", f"{layout:.1f}", ""),
        ("of it: one pass", f"{a_pass:.2f} ({n_edges * args.topics / a_pass:.2e} events*T/s)", ""),
        ("of it: `save`", f"{saving:.1f}", ""),
        ("`load`, and `recommend` for 1,000 users", f"{asking:.1f}", f"{asking_peak:.2f}"),
        (f"one pass over {n:,} pairs in memory", f"{memory:.3f}", ""),
        (f"the same, streamed in {parts} shards", f"{streamed:.3f} ({ratio:.2f} times that)", ""),
    ]
    note = (
        f"{machine()}; {n_edges:,} synthetic power-law events, {args.users:,} users x {args.items:,} items in {n_parts} parts, "
        f"T = {args.topics}, seed {args.seed}, {numba.get_num_threads()} threads of {os.cpu_count()}; rows with a peak are "
        f"processes; the last two are medians of {args.repeats} turns in one run, files in the page cache."
    )
    write("out_of_core", ("what", "seconds", "peak memory, GiB"), rows, note)


if __name__ == "__main__":
    main()

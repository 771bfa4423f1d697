"""One EM pass of `Mean()` beside one iteration of implicit's ALS, on the same events, turn by turn in one run.

    python benchmarks/em_pass.py [--events 17000000] [--repeats 5]

Writes the block of that name in README.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import implicit
import numba
import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from report import machine, write
from threadpoolctl import threadpool_limits

from hyperrec.topics import em


def power_law(n_events: int, n_users: int, n_items: int, seed: int) -> sp.csr_matrix:
    """Distinct (user, item) pairs with power-law activity and popularity, (n_users, n_items) CSR float32."""
    rng = np.random.default_rng(seed)
    users = (n_users * rng.random(n_events) ** 2).astype(np.int64)
    items = rng.permutation(n_items)[(n_items * rng.random(n_events) ** 3).astype(np.int64)]
    events = sp.csr_matrix((np.ones(n_events, np.float32), (users, items)), shape=(n_users, n_items))
    events.sum_duplicates()
    events.data[:] = 1
    return events


def em_pass(events: sp.csr_matrix, n_topics: int, seed: int):
    """A function that runs one E-step and M-step each time it is called."""
    history = em.History(events.indptr.astype(np.int64), events.indices.astype(np.int32), events.data)
    shards = [em.Pairs(history, np.ones(events.shape[0], np.float32))]
    mass = np.bincount(events.indices, minlength=events.shape[1]).astype(float)
    layout = em.Layout((events.shape[1],), mass)
    state = em.initial_state(layout, n_topics, seed)

    def run() -> None:
        nonlocal state
        state, _ = em.m_step(state, em.e_step(shards, state), layout)

    return run


def als_iteration(events: sp.csr_matrix, n_factors: int, seed: int):
    """A function that runs one iteration of implicit's ALS (conjugate gradient, its default)."""
    model = AlternatingLeastSquares(factors=n_factors, iterations=1, random_state=seed, calculate_training_loss=False)
    model.fit(events, show_progress=False)  # allocates the factors; later calls start from them
    return lambda: model.fit(events, show_progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=17_000_000)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    events = power_law(args.events, args.users, args.items, args.seed)
    rows = []
    for size in (64, 128):
        ours, theirs = em_pass(events, size, args.seed), als_iteration(events, size, args.seed)
        ours()  # compiles
        seconds: list[tuple[float, float]] = []
        for _ in range(args.repeats):
            times = []
            for run in (ours, theirs):
                start = time.perf_counter()
                with threadpool_limits(1, "blas"):
                    run()
                times.append(time.perf_counter() - start)
            seconds.append((times[0], times[1]))
        mine, his = (statistics.median(column) for column in zip(*seconds, strict=True))
        ratio = statistics.median(b / a for a, b in seconds)
        rows.append((size, f"{mine:.2f}", f"{his:.2f}", f"{ratio:.1f}", f"{events.nnz * size / mine:.2e}"))
    header = ("T", "EM pass, s", "ALS iteration, s", "ALS / EM", "events*T/s")
    note = (
        f"{machine()}; {events.nnz:,} synthetic power-law events, {args.users:,} users x {args.items:,} items, seed {args.seed}, "
        f"{numba.get_num_threads()} threads of {os.cpu_count()}, implicit {implicit.__version__}, medians of {args.repeats} turns."
    )
    write("em_pass", header, rows, note)


if __name__ == "__main__":
    main()

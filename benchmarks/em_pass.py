"""One EM pass of `Mean()` beside one iteration of implicit's ALS, on the same events, turn by turn in one run.

The pass has its M-step, over-relaxed as in a fit; what an ALS fit does before its first iteration is not counted.

    HYPERREC_DATA=FOLDER python benchmarks/em_pass.py [--events 17000000] [--repeats 5]

Writes the block of that name in README.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import implicit
import numba
import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from report import machine, write
from threadpoolctl import threadpool_limits

import hyperrec as hr
from hyperrec.evaluation import pair_matrix
from hyperrec.topics import em
from hyperrec.topics.shards import History, Pairs
from hyperrec.topics.state import Layout


def power_law(n_events: int, n_users: int, n_items: int, seed: int) -> sp.csr_matrix:
    """Distinct (user, item) pairs with power-law activity and popularity, (n_users, n_items) CSR float32."""
    rng = np.random.default_rng(seed)
    users = (n_users * rng.random(n_events) ** 2).astype(np.int64)
    items = rng.permutation(n_items)[(n_items * rng.random(n_events) ** 3).astype(np.int64)]
    events = sp.csr_matrix((np.ones(n_events, np.float32), (users, items)), shape=(n_users, n_items))
    events.sum_duplicates()
    events.data[:] = 1
    return events


def movielens() -> sp.csr_matrix:
    """The ratings of MovieLens-1M as pairs of users and films, CSR float32."""
    return pair_matrix(hr.read_logs("movielens-1m"), "rated")


def shard_of(events: sp.csr_matrix) -> Pairs:
    history = History(events.indptr.astype(np.int64), events.indices.astype(np.int32), events.data)
    return Pairs(history, np.ones(events.shape[0], np.float32))


def em_pass(events: sp.csr_matrix, n_topics: int, seed: int) -> Callable[[], float]:
    """A function that runs one E-step and over-relaxed M-step, and returns the seconds that it took."""
    shards = [shard_of(events)]
    mass = np.bincount(events.indices, minlength=events.shape[1]).astype(float)
    layout = Layout((events.shape[1],), mass)
    state = em.initial_state(layout, n_topics, seed)

    def run() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = em.m_step(state, em.e_step(shards, state), layout, 1.8)
        return time.perf_counter() - start

    return run


def als_iteration(events: sp.csr_matrix, n_factors: int, seed: int) -> Callable[[], float]:
    """A function that runs one iteration of implicit's ALS (conjugate gradient, its default), and returns its own seconds."""
    model = AlternatingLeastSquares(factors=n_factors, iterations=1, random_state=seed, calculate_training_loss=False)
    model.fit(events, show_progress=False)  # allocates the factors; later calls start from them

    def run() -> float:
        taken = []
        with threadpool_limits(1, "blas"):  # as implicit asks for: its own threads do the work
            model.fit(events, show_progress=False, callback=lambda _, elapsed, *rest: taken.append(elapsed))
        return taken[0]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=17_000_000)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = {"MovieLens-1M": movielens(), "synthetic": power_law(args.events, args.users, args.items, args.seed)}
    rows = []
    for name, events in data.items():
        for size in (64, 128):
            ours, theirs = em_pass(events, size, args.seed), als_iteration(events, size, args.seed)
            ours()  # compiles
            seconds = [(ours(), theirs()) for _ in range(args.repeats)]
            mine, his = (statistics.median(column) for column in zip(*seconds, strict=True))
            ratio = statistics.median(b / a for a, b in seconds)
            rows.append((name, size, f"{mine:.3f}", f"{his:.3f}", f"{ratio:.1f}", f"{events.nnz * size / mine:.2e}"))
    header = ("data", "T", "EM pass, s", "ALS iteration, s", "ALS / EM", "events*T/s")
    note = (
        f"{machine()}; {data['MovieLens-1M'].nnz:,} ratings, and {data['synthetic'].nnz:,} synthetic power-law events of "
        f"{args.users:,} users and {args.items:,} items, seed {args.seed}, {numba.get_num_threads()} threads of {os.cpu_count()}, "
        f"implicit {implicit.__version__}, medians of {args.repeats} turns."
    )
    write("em_pass", header, rows, note)


if __name__ == "__main__":
    main()

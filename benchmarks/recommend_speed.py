"""Lists of 20 unseen films for all users of MovieLens-1M beside implicit's own `recommend`, for the same number of factors.

    HYPERREC_DATA=FOLDER python benchmarks/recommend_speed.py [--repeats 5]

Writes the block of that name in README.md. hyperrec's `recommend` is timed with the
frame of the user's own ids that it returns; implicit returns row numbers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from importlib.metadata import version

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from report import machine, write
from threadpoolctl import threadpool_limits

import hyperrec as hr
from hyperrec.evaluation import pair_matrix

K = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    graph = hr.read_logs("movielens-1m")
    pairs = pair_matrix(graph, "rated")
    users = np.arange(pairs.shape[0])
    rows = []
    for size in (64, 128, 256):
        alone, model = (
            hr.TopicModel(size, edges={"rated": 1.0}, n_passes=3, seed=args.seed, neighbours=one).fit(graph, progress=False)
            for one in (None, hr.Neighbours())
        )
        with threadpool_limits(1, "blas"):
            als = AlternatingLeastSquares(factors=size, iterations=2, random_state=args.seed)
            als.fit(pairs, show_progress=False)

        def topics(model: hr.TopicModel = alone) -> None:
            model.recommend(k=K)

        def ours(model: hr.TopicModel = model) -> None:
            model.recommend(k=K)

        def theirs(als: AlternatingLeastSquares = als) -> None:
            with threadpool_limits(1, "blas"):  # as implicit asks for: its own threads do the work
                als.recommend(users, pairs, N=K)

        turns = []
        for turn in range(args.repeats + 1):
            times = []
            for run in (topics, ours, theirs):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            if turn:  # the first one loads and compiles
                turns.append(times)
        medians = [f"{statistics.median(column):.3f}" for column in zip(*turns, strict=True)]
        ratios = [f"{statistics.median(turn[2] / turn[one] for turn in turns):.1f}" for one in (0, 1)]
        rows.append((size, *medians, *ratios))
    header = ("T", "topics alone, s", "hyperrec, s", "implicit, s", "implicit / topics alone", "implicit / hyperrec")
    note = (
        f"{machine()}, {os.cpu_count()} cores, implicit {version('implicit')}; all {len(users):,} users, k = {K}, "
        f"seen films left out, medians of {args.repeats} turns."
    )
    write("recommend_speed", header, rows, note)


if __name__ == "__main__":
    main()

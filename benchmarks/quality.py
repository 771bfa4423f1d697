"""Quality, time and memory of hyperrec and its peers on one split, each tuned alike: what `hyperrec benchmark` does, for README.

    python benchmarks/quality.py complete-journey [--trials 40]
    HYPERREC_DATA=FOLDER python benchmarks/quality.py movielens-100k movielens-1m

Writes the block of that name in README.md.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version

import numba
from report import machine, write

import hyperrec as hr
from hyperrec.benchmark import benchmark, table

MIN_ITEM_EDGES = {"complete-journey": 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    for name in args.names:
        graph = hr.read_logs(name)
        edge_type, least = next(iter(graph.edges)), MIN_ITEM_EDGES.get(name, 1)
        measured = benchmark(graph, edge_type, trials=args.trials, min_item_edges=least, seed=args.seed)
        rows = table(measured)
        items = f", items with {least} edges or more" if least > 1 else ""
        note = (
            f"{machine()}, implicit {version('implicit')}, {numba.get_num_threads()} threads; `{edge_type}`{items}, random 80/20 "
            f"per user, seed {args.seed}, seen items filtered, all items ranked; {args.trials} random trials for each model on "
            "one validation split (10 %) of the training part; 95 % intervals by bootstrap over users, differences paired."
        )
        write(name, rows.columns, rows.iter_rows(), note)


if __name__ == "__main__":
    main()

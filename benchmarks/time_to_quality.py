"""CPU seconds of a fit until it ranks as well as tuned ALS, beside ALS's own fit.

    HYPERREC_DATA=FOLDER python benchmarks/time_to_quality.py [movielens-100k movielens-1m complete-journey] [--repeats 5]

Writes the block of that name in README.md. ALS has the settings that benchmarks/scoreboard.py tuned, as README's tables show them.
hyperrec has the tuned ones, or fewer topics; whichever reaches the NDCG@10 of ALS on the validation split in the least CPU time;
where nothing does, what comes nearest. On the test split they are fitted with ever more passes until they reach ALS again. Both are
fitted in processes of their own, turn by turn, after a small fit that loads and compiles what they need. Half an hour for the three
data sets.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numba
from report import README, machine, write

import hyperrec as hr
from hyperrec.benchmark import MIN_ITEM_EDGES, WARM, WARM_EDGES, Measured, Task, apart, frequent, of_pairs

METRIC = "ndcg@10"
STOPS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60)
FEWER = (8, 4, 2, 1)  # topics: the tuned number divided by these


def tuned(name: str, model: str) -> dict[str, Any]:
    """The options of a model in README's block of a data set."""
    block = README.read_text(encoding="utf-8").partition(f"<!-- benchmark:scoreboard-warm-{name} begin -->")[2]
    found = re.search(rf"^\| {re.escape(model)} \|.*\| (.+) \|$", block.partition("<!-- benchmark")[0], re.MULTILINE)
    if not found:
        raise SystemExit(f"README.md has no tuned {model} of {name}: run benchmarks/scoreboard.py warm-{name} first.")
    pairs = (one.split(" ") for one in found[1].split(", "))
    return {option: float(value) if "." in value else int(value) for option, value in pairs}


def measured(model: str, options: dict[str, Any], task: Task) -> Measured:
    candidate = next(one for one in WARM if one.name == model)
    return apart(candidate, options, 0.0, task, (METRIC,))


def stops(options: dict[str, Any], task: Task) -> Iterator[tuple[dict[str, Any], Measured]]:
    """Fits with ever more passes."""
    for n_passes in STOPS:
        more = {**options, "n_passes": n_passes}
        yield more, measured("hyperrec", more, task)


def fastest(goal: float, options: dict[str, Any], task: Task) -> dict[str, Any]:
    """The settings that reach the goal in the least CPU time, or that come nearest to it."""
    best, nearest, least = options, 0.0, float("inf")
    for divisor in FEWER:
        other = {**options, "n_topics": options["n_topics"] // divisor}
        for tried, found in stops(other, task):
            value = found.evaluation[METRIC]
            print(f"validation: {tried}, {found.fit_cpu:.2f} CPU s, {value:.4f} of {goal:.4f}", file=sys.stderr, flush=True)
            if found.fit_cpu >= least:
                break
            if min(value, goal) > nearest:
                best, nearest = other, min(value, goal)
            if value >= goal:
                best, least = other, found.fit_cpu
                break
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["movielens-100k", "movielens-1m", "complete-journey"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    rows = []
    for name in args.names:
        graph = hr.read_logs(name)
        edge_type = WARM_EDGES[name]
        train, test = hr.split(frequent(graph, edge_type, MIN_ITEM_EDGES.get(name, 1)), edge_type, seed=args.seed)
        inner, validation = hr.split(train, edge_type, fraction=0.1, seed=args.seed + 1)
        on_validation, on_test = of_pairs(inner, validation, edge_type), of_pairs(train, test, edge_type)
        als = tuned(name, "implicit ALS")
        goal = measured("implicit ALS", als, on_validation).evaluation[METRIC]
        chosen = fastest(goal, tuned(name, "hyperrec"), on_validation)
        theirs = measured("implicit ALS", als, on_test).evaluation[METRIC]
        reached = []
        for ours, found in stops(chosen, on_test):
            reached.append(found.evaluation[METRIC])
            told = f"test: {ours}, {found.fit_cpu:.2f} CPU s, {reached[-1]:.4f} of {theirs:.4f}"
            print(told, file=sys.stderr, flush=True)
            if reached[-1] >= theirs:
                break
        turns = [
            [measured(*one, on_test).fit_cpu for one in (("hyperrec", ours), ("implicit ALS", als))]
            for _ in range(args.repeats)
        ]
        mine, his = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = f"{statistics.median(a / b for a, b in turns):.2f}"
        settings = ", ".join(f"{option} {value}" for option, value in ours.items())
        best = f"{reached[-1]:.4f}" if reached[-1] >= theirs else f"not reached: {max(reached):.4f} at most"
        rows.append((name, f"{theirs:.4f}", best, f"{mine:.2f}", f"{his:.2f}", ratio, settings))
    header = ("data", "ALS, NDCG@10", "hyperrec", "its fit, CPU s", "ALS's fit, CPU s", "hyperrec / ALS", "settings")
    note = (
        f"{machine()}, implicit {version('implicit')}, {numba.get_num_threads()} threads, split seed {args.seed}, medians of "
        f"{args.repeats} turns; passes tried: {', '.join(map(str, STOPS))}."
    )
    write("time_to_quality", header, rows, note)


if __name__ == "__main__":
    main()

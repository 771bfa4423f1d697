"""Thousands of topics: a pass with sparse embeddings beside dense ones, what it does to the lists, and how large the model is.

    HYPERREC_DATA=FOLDER python benchmarks/large_t.py [--topics 200 2000] [--drop-below 0.002]

Writes the block of that name in README.md. MovieLens-1M; quality is measured on a validation split, a tenth of the training part.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numba
from report import machine, write

import hyperrec as hr
from hyperrec.assembly import assemble
from hyperrec.topics import em

LATE = 10  # last passes of a fit: what they take is what is reported
WARM = 25  # passes before them


def seconds_of(train: hr.Hypergraph, n_topics: int, drop_below: float) -> list[float]:
    """Seconds of passes after WARM others, E-step and over-relaxed M-step as in a fit."""
    parts = assemble(train, {"rated": 1.0}, container="user", context=hr.Mean(), length_damping=0.25, context_exponent=0.15)
    last, taken = time.perf_counter(), []

    def on_pass(_: em.Progress) -> None:
        nonlocal last
        now = time.perf_counter()
        taken.append(now - last)
        last = now

    em.fit(
        parts.shards, parts.layout, n_topics=n_topics, n_passes=WARM + LATE, tolerance=-1, drop_below=drop_below, on_pass=on_pass
    )
    return taken[WARM:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--drop-below", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    train, _ = hr.split(hr.read_logs("movielens-1m"), "rated", seed=args.seed)
    train, validation = hr.split(train, "rated", fraction=0.1, seed=args.seed)
    hr.TopicModel(200, edges={"rated": 1.0}, n_passes=2).fit(train)  # compiles
    cases = [(size, drop) for size in args.topics for drop in (0.0, args.drop_below)]
    rows, base = [], 0.0
    for n_topics, drop_below in cases:
        seconds = statistics.median(seconds_of(train, n_topics, drop_below))
        base = base or seconds
        model = hr.TopicModel(n_topics, edges={"rated": 1.0}, drop_below=drop_below, neighbours=None).fit(train)
        found = hr.evaluate(model, train, validation)
        with tempfile.TemporaryDirectory() as folder:
            size = (model.save(Path(folder) / "model") / "arrays.safetensors").stat().st_size
        kept = f"{(model.embedding('item') > 0).sum(axis=1).mean():.0f}"
        cells = f"{found['ndcg@10']:.4f}", kept, model.history.height, f"{size / 2**20:.0f}"
        rows.append((n_topics, f"{drop_below:g}", f"{seconds:.3f}", f"{seconds / base:.1f}", *cells))
    header = ("T", "drop_below", "late pass, s", "to the first row", "NDCG@10", "topics of an item", "passes", "saved, MiB")
    note = (
        f"{machine()}, {numba.get_num_threads()} threads of {os.cpu_count()}; movielens-1m, users read in `Mean()`, "
        f"topics alone, seed {args.seed}; medians of {LATE} passes after {WARM} others; NDCG@10 on the validation "
        "split; saved: with histories."
    )
    write("large_t", header, rows, note)


if __name__ == "__main__":
    main()

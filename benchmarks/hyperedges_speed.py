"""Hyperedges of order 3 and 4 beside BigARTM's transactions: speed of a pass, turn by turn in one run.

    python3.11 -m venv transactions && transactions/bin/pip install bigartm10==0.10.1 six protobuf==3.20.3
    python benchmarks/hyperedges_speed.py --artm-python transactions/bin/python [--edges 1000000] [--repeats 5]

Writes the block of that name in README.md. The hyperedges are synthetic: a document, of power-law length, and two or three
tokens of power-law popularity, so that an edge of order h is a transaction of h - 1 tokens in a document. Speed is
edges * T * inner / s; BigARTM finds a document's topics by ten inner iterations a pass (fewer would count its own E-step for
more), and so does hyperrec's `FoldIn`; in the symmetric and the container form, where vectors of documents are kept, it makes one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import polars as pl
from report import machine, write
from topics_peers import Peer

import hyperrec as hr
from hyperrec.assembly import assemble
from hyperrec.topics import em

INNER = 10
DOCUMENTS, TOKENS = 5_000, 10_000


def hyperedges(n_edges: int, order: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents (E,), ascending, and tokens (E, order - 1)."""
    rng = np.random.default_rng(seed)
    documents = np.sort((DOCUMENTS * rng.random(n_edges) ** 2).astype(np.int64))
    return documents, rng.permutation(TOKENS)[(TOKENS * rng.random((n_edges, order - 1)) ** 3).astype(np.int64)]


def our_pass(
    graph: hr.Hypergraph, container: str | None, context: hr.FoldIn | None, n_topics: int, seed: int
) -> Callable[[], float]:
    """A function that runs one E-step and M-step and returns the seconds that it took."""
    parts = assemble(graph, {"edges": 1.0}, container=container, context=context, length_damping=0.0, context_exponent=1.0)
    state = em.initial_state(parts.layout, n_topics, seed)

    def run() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = em.m_step(state, em.e_step(parts.shards, state), parts.layout)
        return time.perf_counter() - start

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artm-python", required=True, help="a Python with BigARTM 0.10.1, made as above")
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--topics", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    threads = numba.get_num_threads()
    rows = []
    for order in (3, 4):
        documents, tokens = hyperedges(args.edges, order, args.seed)
        names = ["token", *(f"token#{number}" for number in range(2, order))]
        frame = pl.DataFrame({"document": documents, **{name: tokens[:, column] for column, name in enumerate(names)}})
        graph = hr.Hypergraph.from_frames(edges=frame)
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "edges.npz"
            indptr = np.searchsorted(documents, np.arange(DOCUMENTS + 1))
            np.savez(data, indptr=indptr, tokens=tokens, weight=np.ones(len(tokens)), n_tokens=TOKENS)
            options = {"n_topics": args.topics, "inner": INNER, "threads": threads, "seed": args.seed}
            with Peer(args.artm_python, "artm", data, **options) as peer:
                version = peer.version
                runs = {
                    "hyperrec, symmetric": (our_pass(graph, None, None, args.topics, args.seed), 1),
                    "hyperrec, container": (our_pass(graph, "document", None, args.topics, args.seed), 1),
                    f"hyperrec, FoldIn({INNER})": (our_pass(graph, "document", hr.FoldIn(INNER), args.topics, args.seed), INNER),
                    f"{version}, transactions": (peer.run, INNER),
                }
                turns = [[run() for run, _ in runs.values()] for _ in range(args.repeats + 1)][1:]  # the first one compiles
        speeds = [
            [args.edges * args.topics * inner / s for s, (_, inner) in zip(turn, runs.values(), strict=True)] for turn in turns
        ]
        for number, (name, seconds) in enumerate(zip(runs, zip(*turns, strict=True), strict=True)):
            ratio = statistics.median(turn[number] / turn[-1] for turn in speeds)
            speed = statistics.median(turn[number] for turn in speeds)
            rows.append((order, name, f"{statistics.median(seconds):.3f}", f"{speed:.2e}", f"{ratio:.1f}"))
    header = ("order", "tool", "pass, s", "edges*T*inner/s", "times BigARTM's speed")
    note = (
        f"{machine()}, {version}, {threads} threads of {os.cpu_count()}, seed {args.seed}; {args.edges:,} hyperedges of a document "
        f"({DOCUMENTS:,}) and two or three tokens ({TOKENS:,}), T = {args.topics}; {INNER} inner iterations with BigARTM and "
        f"FoldIn, 1 in the other forms. Medians of {args.repeats} turns."
    )
    write("hyperedges_speed", header, rows, note)


if __name__ == "__main__":
    main()

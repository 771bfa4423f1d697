"""Topics of bags of words (NIPS) beside BigARTM and tomotopy: speed of a pass and perplexity after 40, turn by turn in one run.

    python3.11 -m venv peers && peers/bin/pip install bigartm==0.9.2 six protobuf==3.20.3 'numpy<2' tomotopy==0.14.0
    HYPERREC_DATA=FOLDER python benchmarks/topics_speed.py --artm-python peers/bin/python [--repeats 5]

Writes the block of that name in README.md. FOLDER/nips-bow holds nips_train.npz and nips_test.npz: CSR, documents x words.

Speed is nnz * T * inner / s: the inner iterations that find the topics of each document, ten in a pass of hyperrec and of BigARTM;
the E-step that then makes the word counts is in the time and not in the number, as BigARTM counts `num_document_passes`. A pass
of tomotopy, a Gibbs sampler, has no inner iterations and goes through every occurrence: tokens * T / s.

Perplexity is computed by one function from p(word|topic) of each tool: the topics of a whole document, of the train or the
held-out part, are folded in by as many EM iterations as in a pass, from uniform ones, and then predict that document. Held-out
words that no train document has are left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numba
import numpy as np
import polars as pl
import scipy.sparse as sp
from report import machine, write
from topics_peers import Peer

import hyperrec as hr
from hyperrec.assembly import assemble
from hyperrec.topics import em

INNER = 10
PASSES = 40


def read(part: str) -> sp.csr_matrix:
    counts = sp.csr_matrix(sp.load_npz(Path(os.environ["HYPERREC_DATA"]) / "nips-bow" / f"nips_{part}.npz"))
    counts.sum_duplicates()
    return counts.astype(np.float64)


def perplexity(phi: np.ndarray, counts: sp.csr_matrix) -> float:
    """exp(-mean log-likelihood of an occurrence), the topics of each document folded in. phi (V, T), counts (D, V)."""
    phi = phi.astype(np.float64)
    documents = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    theta = np.full((counts.shape[0], phi.shape[1]), 1 / phi.shape[1])
    for iteration in range(INNER + 1):
        probability = np.maximum(np.einsum("nt,nt->n", theta[documents], phi[counts.indices]), 1e-30)
        if iteration < INNER:
            theta *= sp.csr_matrix((counts.data / probability, counts.indices, counts.indptr), counts.shape) @ phi
            theta /= theta.sum(axis=1, keepdims=True)
    return float(np.exp(-(counts.data @ np.log(probability)) / counts.data.sum()))


def model_of(n_topics: int, seed: int) -> hr.TopicModel:
    """PLSA as BigARTM fits it."""
    return hr.TopicModel(
        n_topics, container="document", context=hr.FoldIn(iterations=INNER), over_relaxation=1.0, length_damping=0, tolerance=0,
        n_passes=PASSES, seed=seed,
    )  # fmt: skip


def frame_of(counts: sp.csr_matrix) -> pl.DataFrame:
    documents = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    return pl.DataFrame({"document": documents, "word": counts.indices, "weight": counts.data})


def our_pass(graph: hr.Hypergraph, n_topics: int, seed: int) -> Callable[[], float]:
    """A function that runs one E-step and M-step and returns the seconds that it took."""
    model = model_of(n_topics, seed)
    parts = assemble(
        graph, {"edges": 1.0}, container="document", context=model.context, length_damping=0.0,
        context_exponent=model.context_exponent,
    )  # fmt: skip
    history, n_contexts = parts.shards[0].history, max(shard.n_contexts for shard in parts.shards)
    state = em.initial_state(parts.layout, n_topics, seed, history, n_contexts)

    def run() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = em.m_step(state, em.e_step(parts.shards, state), parts.layout)
        return time.perf_counter() - start

    return run


def our_phi(graph: hr.Hypergraph, train: sp.csr_matrix, n_topics: int, seed: int) -> np.ndarray:
    """p(word|topic) (V, T) after all the passes; words of no train document have zeros."""
    model = model_of(n_topics, seed).fit(graph, progress=False)
    phi = np.zeros((train.shape[1], n_topics))
    phi[model.vocabularies["word"].ids.to_numpy()] = model.phi("word")
    return phi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artm-python", required=True, help="a Python with BigARTM 0.9.2 and tomotopy, made as above")
    parser.add_argument("--topics", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train, held_out = read("train"), read("test")
    held_out = sp.csr_matrix(held_out.multiply(train.sum(axis=0) > 0))
    threads = numba.get_num_threads()
    graph = hr.Hypergraph.from_frames(edges=frame_of(train))
    rows, versions = [], []
    for size in args.topics:
        options = {"n_topics": size, "inner": INNER, "threads": threads, "seed": args.seed}
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            data, file = Path(folder) / "train.npz", Path(folder) / "phi.npy"
            np.savez(data, indptr=train.indptr, tokens=train.indices, weight=train.data, n_tokens=train.shape[1])
            peers = [stack.enter_context(Peer(args.artm_python, tool, data, **options)) for tool in ("artm", "tomotopy")]
            versions = [peer.version for peer in peers]
            runs = [our_pass(graph, size, args.seed), *(peer.run for peer in peers)]
            turns = [[run() for run in runs] for _ in range(args.repeats + 1)][1:]  # the first one compiles, and fills the caches
            for peer in peers:
                for _ in range(PASSES - args.repeats - 1):
                    peer.run()
            phis = [our_phi(graph, train, size, args.seed), *(peer.phi(file) for peer in peers)]
        work = [train.nnz * size * INNER, train.nnz * size * INNER, train.sum() * size]
        for name, seconds, each, phi in zip(["hyperrec", *versions], zip(*turns, strict=True), work, phis, strict=True):
            middle = statistics.median(seconds)
            ratio = statistics.median(turn[0] / one for turn, one in zip(turns, seconds, strict=True))
            quality = (f"{perplexity(phi, part):.0f}" for part in (train, held_out))
            rows.append((size, name, f"{middle:.3f}", f"{ratio:.2f}", f"{each / middle:.2e}", *quality))
    header = ("T", "tool", "pass, s", "hyperrec's pass / its pass", "speed", "perplexity, train", "held-out")
    note = (
        f"{machine()}, {', '.join(versions)}, {threads} threads of {os.cpu_count()}, seed {args.seed}; "
        f"{train.shape[0]:,} documents, {train.shape[1]:,} words, nnz {train.nnz:,}, {train.sum():,.0f} tokens; "
        f"{held_out.shape[0]} documents held out. Medians of {args.repeats} turns; speed: nnz*T*{INNER} inner iterations / s for "
        "the EM of hyperrec and BigARTM, tokens*T/s for tomotopy's Gibbs sampler. "
        f"Perplexity after {PASSES} passes, of whole documents, their topics folded in by {INNER} iterations."
    )
    write("topics_speed", header, rows, note)


if __name__ == "__main__":
    main()

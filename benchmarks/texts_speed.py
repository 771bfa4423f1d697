"""Posts of 20 Newsgroups in local contexts, beside BigARTM on bags of the same words: time and quality by the number of topics.

    python3.11 -m venv peers && peers/bin/pip install bigartm==0.9.2 six protobuf==3.20.3 'numpy<2' tomotopy==0.14.0
    HYPERREC_DATA=FOLDER python benchmarks/texts_speed.py --artm-python peers/bin/python [--topics 10 30 70 100] [--seeds 3]

Writes the block of that name in README.md. The raw posts, headers and all, with as many words as in the slides ("First experiments
with an implementation of Context-ARTM"): the 107,672 words of the most posts. One post in ten is held out. Both make as many passes
over the same words; the time is that of passes, with what is read in memory.

Perplexity is of one half of each held-out post, its topics folded in from the other (`hr.scores.completion`), by one function from
p(word|topic) of each; in context: of the words of train posts, each from the words around it, as the model reads them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
import polars as pl
import scipy.sparse as sp
from newsgroups import read
from report import machine, write
from topics_peers import Peer

import hyperrec as hr
from hyperrec.assembly import assemble
from hyperrec.topics import em
from hyperrec.topics.state import phi_of

VOCABULARY = 107_672
WIDTH = 10  # words on each side that matter: gamma = 1 / WIDTH
HELD_OUT = 10  # one post in so many
SMOOTHING = 1e-3
INNER = 10  # iterations of BigARTM in a document, its default
OURS = {"hyperrec, local": hr.TwoSided(1 / WIDTH, 1 / WIDTH), "hyperrec, bags": hr.FoldIn(INNER)}


def posts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The words of train and of held-out posts in their order: document, word (numbers of both)."""
    frame = read("all", strip=(), stop_words=(), min_df=1, max_vocabulary=VOCABULARY).edges["text"].frame.select("document", "word")
    held = pl.col("document") % HELD_OUT == 0
    return frame.filter(~held), frame.filter(held)


def bags(frame: pl.DataFrame, n_words: int) -> sp.csr_matrix:
    """Counts (D, V) CSR of the posts that have words."""
    _, rows = np.unique(frame["document"].to_numpy(), return_inverse=True)
    counts = sp.csr_matrix((np.ones(len(rows)), (rows, frame["word"].to_numpy())), shape=(rows.max() + 1, n_words))
    counts.sum_duplicates()
    return counts


def ours(
    graph: hr.Hypergraph, context: hr.TwoSided | hr.FoldIn, n_topics: int, seed: int, passes: int
) -> tuple[float, np.ndarray, float]:
    """Seconds of the passes, p(w|t) (V, T), and the perplexity of words in their contexts."""
    parts = assemble(graph, {"edges": 1.0}, container="document", context=context, length_damping=0.0, context_exponent=1.0)
    state = em.initial_state(parts.layout, n_topics, seed, parts.shards[0].history)
    start = time.perf_counter()
    for _ in range(passes):
        state, _ = em.m_step(state, em.e_step(parts.shards, state), parts.layout)
    seconds = time.perf_counter() - start
    last, p = em.e_step(parts.shards, state), parts.counts / parts.counts.sum()
    in_context = np.exp(-last.per_weight - p @ np.log(np.maximum(p, 1e-300)))  # the likelihood is relative to p(w)
    return seconds, phi_of(state.embedding, parts.counts).astype(np.float64), float(in_context)


def quality(phi: np.ndarray, train: sp.csr_matrix, held: sp.csr_matrix) -> list[float]:
    uniform = np.full(phi.shape[1], 1 / phi.shape[1])
    smooth = (1 - SMOOTHING) * phi + SMOOTHING / len(phi)  # a word that no topic has would make it infinite
    return [
        hr.scores.completion(smooth, uniform, held), hr.scores.sparsity(phi, threshold=1e-9), hr.scores.distinctness(phi),
        hr.scores.coherence(phi, train),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artm-python", required=True, help="a Python with BigARTM 0.9.2, made as above")
    parser.add_argument("--topics", type=int, nargs="+", default=[10, 30, 70, 100])
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    train, held = posts()
    graph = hr.Hypergraph.from_frames(edges=train)
    known = graph.vocabulary("word")
    counts = bags(train.with_columns(word=pl.Series(known.rows(train["word"]))), len(known))
    held = held.filter(pl.col("word").is_in(known.ids.implode()))
    unseen = bags(held.with_columns(word=pl.Series(known.rows(held["word"]))), len(known))
    threads, rows, version = numba.get_num_threads(), [], ""
    for context in OURS.values():
        ours(graph, context, 2, 0, 1)  # compiles
    for size in args.topics:
        found: dict[str, list[list[float]]] = {name: [] for name in (*OURS, "BigARTM")}
        for seed in range(args.seeds):
            for name, context in OURS.items():
                seconds, phi, in_context = ours(graph, context, size, seed, args.passes)
                found[name].append([seconds, *quality(phi, counts, unseen), in_context])
            with tempfile.TemporaryDirectory() as folder:
                data, file = Path(folder) / "train.npz", Path(folder) / "phi.npy"
                np.savez(data, indptr=counts.indptr, tokens=counts.indices, weight=counts.data, n_tokens=len(known))
                with Peer(args.artm_python, "artm", data, n_topics=size, inner=INNER, threads=threads, seed=seed) as peer:
                    version, seconds = peer.version, sum(peer.run() for _ in range(args.passes))
                    found["BigARTM"].append([seconds, *quality(peer.phi(file).astype(np.float64), counts, unseen)])
        for name, runs in found.items():
            ratio = statistics.median(b[0] / a[0] for a, b in zip(runs, found["BigARTM"], strict=True))
            middle = [statistics.median(column) for column in zip(*runs, strict=True)]
            cells = [f"{value:.{digits}f}" for value, digits in zip(middle, (1, 0, 3, 3, 3, 0), strict=False)]
            rows.append((size, name, cells[0], f"{ratio:.1f}", *cells[1:], *["-"] * (6 - len(cells))))
    header = (
        "T", "tool", "passes, s", "times as fast as BigARTM", "perplexity, held-out halves", "zeros in phi", "distinctness", "NPMI",
        "perplexity in context, train",
    )  # fmt: skip
    note = (
        f"{machine()}, {version}, {threads} threads of {os.cpu_count()}; {counts.shape[0]:,} raw posts of 20 Newsgroups, "
        f"{counts.sum():,.0f} occurrences of {len(known):,} words, nnz {counts.nnz:,}, and {unseen.shape[0]:,} posts held out; "
        f"{args.passes} passes, medians of {args.seeds} seeds, the tools in turn; local: TwoSided(1/{WIDTH}, 1/{WIDTH}), "
        f"bags: FoldIn({INNER}), BigARTM: {INNER} iterations in a document. Held-out halves: p(word|topic) mixed with "
        f"{SMOOTHING:g} of a uniform one."
    )
    write("texts_speed", header, rows, note)


if __name__ == "__main__":
    main()

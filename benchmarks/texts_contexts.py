"""What contexts do to topics of texts: widths, one side or two, passes L; beside PLSA, BigARTM, tomotopy and words alone.

    python3.11 -m venv peers && peers/bin/pip install bigartm==0.9.2 six protobuf==3.20.3 'numpy<2' tomotopy==0.14.0
    HYPERREC_DATA=FOLDER python benchmarks/texts_contexts.py --artm-python peers/bin/python [--topics 50] [--seeds 3]

Writes the block of that name in README.md. 20 Newsgroups by date, without headers, quotes and footers: topics are fitted to the
train posts; words of the later posts that no train post has are left out.

- perplexity: of one half of each later post, from the other (`hr.scores.completion`), from p(word|topic) of each tool.
- NPMI of ten words a topic, over train posts, and over windows of ten words.
- accuracy: of the twenty groups of the later posts, by logistic regression on p(t|post) of train posts, made alike for all tools:
  10 iterations of EM from p(word|topic) (`folded`); for hyperrec also as the model reads a post: the mean p(t|C_i, w_i) of its
  words (`read`). The strength of the regression is the best of three on the last tenth of train posts. Words alone: tf-idf.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numba
import numpy as np
import scipy.sparse as sp
from newsgroups import read, words
from report import machine, write
from topics_peers import Peer

import hyperrec as hr
from hyperrec.topics import reading
from hyperrec.topics.scores import _folded_in as folded_in
from hyperrec.topics.shards import History

CONTEXTS = {
    **{f"two sides, width {h}": hr.TwoSided(1 / h, 1 / h) for h in (3, 10, 30, 100)},
    "left side, width 10": hr.Recency(0.1),
    **{f"two sides, width 10, L = {n}": hr.TwoSided(0.1, 0.1, passes=n) for n in (1, 2, 3)},
    "all other words (`Mean`)": hr.Mean(),
    "all words (`FoldIn(10)`, PLSA)": hr.FoldIn(10),
}
STRENGTHS = (0.1, 1, 10)
SMOOTHING = 1e-3


def groups(graph: hr.Hypergraph) -> np.ndarray:
    """(D,) number of the group of each document."""
    frame = graph.edges["posted"].frame
    found = np.empty(len(graph.vocabulary("document")), np.int64)
    found[frame["document"].to_numpy()] = frame["group"].to_numpy()
    return found


def bags(texts: list[np.ndarray], n_words: int) -> sp.csr_matrix:
    indptr = np.cumsum([0, *map(len, texts)])
    counts = sp.csr_matrix((np.ones(indptr[-1]), np.concatenate(texts), indptr), shape=(len(texts), n_words))
    counts.sum_duplicates()
    return counts


def history(texts: list[np.ndarray], context: hr.Mean) -> History:
    """Texts as containers."""
    if not context.ordered:
        counts = bags(texts, max(max(map(max, filter(len, texts))), 0) + 1)
        return History(counts.indptr.astype(np.int64), counts.indices.astype(np.int32), counts.data.astype(np.float32))
    indptr, rows = np.cumsum([0, *map(len, texts)]), np.concatenate(texts).astype(np.int32)
    return History(indptr, rows, np.ones(len(rows), np.float32))


def as_read(model: hr.TopicModel, texts: list[np.ndarray]) -> np.ndarray:
    """Mean p(t|C_i, w_i) (D, T) of the words of each text, in the contexts of the model; p(t) of a text without any."""
    plan, state, found = model.context.plan(), model.state, []
    everything = history([model.offsets["word"] + one for one in texts], model.context)
    for row in range(len(texts)):
        one = everything.take(np.array([row]))
        if not len(one.vertices):
            found.append(state.prior)
            continue
        contextual = reading.contexts_of(one, plan, state)[0][:-1] * state.lift[one.vertices] * state.prior
        total = contextual.sum(axis=1, keepdims=True)
        contextual = np.divide(contextual, total, out=np.tile(state.prior, (len(contextual), 1)), where=total > 0)
        found.append(np.average(contextual, axis=0, weights=one.weight))
    return np.array(found)


def accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Of the groups of test documents; the strength of the regression is chosen on the last tenth of train."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    order = np.random.default_rng(0).permutation(len(labels))
    inner, last = np.split(order, [len(order) * 9 // 10])

    def fitted(rows: np.ndarray, strength: float) -> LogisticRegression:
        with threadpool_limits(1):
            return LogisticRegression(C=strength, max_iter=2000, tol=1e-3).fit(train[rows], labels[rows])

    best = max(STRENGTHS, key=lambda one: fitted(inner, one).score(train[last], labels[last]))
    return float(fitted(order, best).score(test, truth))


def scaled(theta: np.ndarray) -> np.ndarray:
    """Roots of probabilities, on one scale."""
    root = np.sqrt(theta)
    return root / root.std()


def main() -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artm-python", required=True, help="a Python with BigARTM 0.9.2 and tomotopy, made as above")
    parser.add_argument("--topics", type=int, default=50)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    train = read("train")
    test = read("test", min_df=1)
    n_words, labels, truth = len(train.vocabulary("word")), groups(train), groups(test)
    told, asked = words(train, train), words(test, train)
    seen, unseen = bags(told, n_words), bags(asked, n_words)
    near = hr.scores.windows(told, n_words, width=10)
    uniform = np.full(args.topics, 1 / args.topics)

    def scored(phi: np.ndarray) -> list[float]:
        smooth = (1 - SMOOTHING) * phi.astype(np.float64) + SMOOTHING / n_words
        thetas = [scaled(folded_in(one, smooth, uniform, 10)) for one in (seen, unseen)]
        return [
            hr.scores.completion(smooth, uniform, unseen), hr.scores.coherence(phi, seen), hr.scores.coherence(phi, near),
            accuracy(thetas[0], labels, thetas[1], truth),
        ]  # fmt: skip

    rows, versions = [], []

    def add(name: str, runs: list[list[float]]) -> None:
        middle = [statistics.median(column) for column in zip(*runs, strict=True)]
        cells = [f"{value:.{digits}f}" for value, digits in zip(middle, (0, 3, 3, 3, 3), strict=False)]
        rows.append((name, *cells, *["-"] * (5 - len(cells))))
        print(*rows[-1], flush=True)

    for name, context in CONTEXTS.items():
        runs = []
        for seed in range(args.seeds):
            model = hr.TopicModel(
                args.topics, "document", context=context, edges={"text": 1.0}, n_passes=args.passes, length_damping=0, seed=seed,
                neighbours=None,
            ).fit(train, progress=False)  # fmt: skip
            thetas = [scaled(as_read(model, one)) for one in (told, asked)]
            runs.append([*scored(model.phi("word")), accuracy(thetas[0], labels, thetas[1], truth)])
        add(f"hyperrec, {name}", runs)
    with tempfile.TemporaryDirectory() as folder:
        data, file = Path(folder) / "train.npz", Path(folder) / "phi.npy"
        np.savez(data, indptr=seen.indptr, tokens=seen.indices, weight=seen.data, n_tokens=n_words)
        for tool, passes in (("artm", args.passes), ("tomotopy", 10 * args.passes)):
            runs = []
            for seed in range(args.seeds):
                options = {"n_topics": args.topics, "inner": 10, "threads": numba.get_num_threads(), "seed": seed}
                with Peer(args.artm_python, tool, data, **options) as peer:
                    for _ in range(passes):
                        peer.run()
                    runs.append(scored(peer.phi(file)))
            versions.append(peer.version)
            add(f"{peer.version}, {passes} passes", runs)
    weights = TfidfTransformer(sublinear_tf=True).fit(seen)
    found = accuracy(weights.transform(seen), labels, weights.transform(unseen), truth)
    rows.append(("words, tf-idf", "-", "-", "-", f"{found:.3f}", "-"))
    header = ("topics by", "perplexity", "NPMI, posts", "NPMI, windows", "accuracy, folded", "accuracy, read")
    note = (
        f"{machine()}, {', '.join(versions)}, {os.cpu_count()} cores; {len(told):,} train posts, {len(asked):,} later ones, "
        f"{n_words:,} words; T = {args.topics}, {args.passes} passes of EM, medians of {args.seeds} seeds."
    )
    write("texts_contexts", header, rows, note)


if __name__ == "__main__":
    main()

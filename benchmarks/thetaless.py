"""The Theta-less family on NIPS, as the slides compare it: exact, naive and simplified, beside PLSA with ten iterations a document.

    HYPERREC_DATA=FOLDER python benchmarks/thetaless.py [--topics 50] [--passes 40] [--seeds 10]

Writes the block of that name in README.md. FOLDER/nips-bow holds nips_train.npz and nips_test.npz: CSR, documents x words.
Every form is asked in its own way of finding theta: perplexity is that of its own theta, of train and of held-out documents, whole.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import scipy.sparse as sp
from report import machine, write
from topics_speed import frame_of, read

import hyperrec as hr
from hyperrec.histories import read_histories

FORMS = {
    "exact": hr.FoldIn(exact=True),
    "naive": hr.FoldIn(start="uniform"),
    "simplified": hr.FoldIn(),
    "PLSA": hr.FoldIn(iterations=10),
}
ZERO = 1e-9


def theta_of(model: hr.TopicModel, counts: sp.csr_matrix) -> np.ndarray:
    """p(t|d) (D, T) of documents, found as the model finds them."""
    frame = frame_of(counts).filter(frame_of(counts)["word"].is_in(model.vocabularies["word"].ids.implode()))
    told = read_histories(model, frame.rename({"word": model.item_modality}))
    theta = np.full((counts.shape[0], model.n_topics), np.float32(1 / model.n_topics))
    theta[told.ids.to_numpy()] = model._history_lifts(told.history) * model.state.prior
    return theta


def scored(model: hr.TopicModel, train: sp.csr_matrix, held_out: sp.csr_matrix) -> list[float]:
    phi = np.zeros((train.shape[1], model.n_topics))
    words = model.vocabularies["word"].ids.to_numpy()
    phi[words] = model.phi("word")
    perplexities = [hr.scores.perplexity(phi, theta_of(model, part), part) for part in (train, held_out)]
    return [
        *perplexities, hr.scores.sparsity(phi[words], threshold=ZERO), hr.scores.distinctness(phi[words]),
        hr.scores.coherence(phi, train), model.history.height,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=50)
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    train, held_out = read("train"), read("test")
    held_out = sp.csr_matrix(held_out.multiply(train.sum(axis=0) > 0))
    graph = hr.Hypergraph.from_frames(edges=frame_of(train))
    rows = []
    for name, context in FORMS.items():
        found = []
        for seed in range(args.seeds):
            model = hr.TopicModel(
                args.topics, container="document", context=context, over_relaxation=1.0, length_damping=0, tolerance=0,
                n_passes=args.passes, seed=seed,
            ).fit(graph, progress=False)  # fmt: skip
            found.append(scored(model, train, held_out))
        digits = (0, 0, 3, 3, 3, 0)
        cells = [
            f"{statistics.mean(one):.{n}f} ± {statistics.stdev(one) if len(one) > 1 else 0:.{n}f}"
            for one, n in zip(zip(*found, strict=True), digits, strict=True)
        ]
        rows.append((name, *cells))
    header = ("form", "perplexity, train", "held-out", "zeros in phi", "distinctness", "coherence, NPMI", "passes")
    note = (
        f"{machine()}; NIPS, {train.shape[0]:,} documents and {held_out.shape[0]} held out, {train.shape[1]:,} words, "
        f"T = {args.topics}, {args.passes} passes at most, mean ± standard deviation over {args.seeds} seeds; "
        f"zeros: below {ZERO:g}; distinctness: mean Hellinger distance of two topics; coherence of ten words a topic, over the "
        "train documents."
    )
    write("thetaless", header, rows, note)


if __name__ == "__main__":
    main()

"""What `diversify` costs and brings: NDCG@10 and the diversity of lists, by the share of their own DCG that they may give up.

    HYPERREC_DATA=FOLDER python benchmarks/diversify.py [movielens-100k]

Writes the block `diversify` in README.md. A validation split of the training part (split seed 42, see quality.py) is measured; the
test split is not looked at.
"""

from __future__ import annotations

import argparse
from functools import partial
from types import SimpleNamespace

import numpy as np
from report import machine, write

import hyperrec as hr
from hyperrec.benchmark import MIN_ITEM_EDGES, WARM_EDGES, frequent
from hyperrec.diversity import dcg, list_diversity

N_TOPICS, K = 400, 10
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="movielens-100k")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    graph = hr.read_logs(args.name)
    edge_type = WARM_EDGES[args.name]
    train, _ = hr.split(frequent(graph, edge_type, MIN_ITEM_EDGES.get(args.name, 1)), edge_type, seed=args.seed)
    inner, validation = hr.split(train, edge_type, fraction=0.1, seed=args.seed + 1)
    model = hr.TopicModel(N_TOPICS, inner.edge_table(edge_type).modalities[0], edges={edge_type: 1.0})
    model.fit(inner, progress=False)
    topics = np.sqrt(model.embedding(model.item_modality))
    rows, plain, promised = [], None, None
    for share in SHARES:
        shown = SimpleNamespace(name="hyperrec", recommend_rows=partial(model.recommend_rows, diversify=share))
        found = hr.evaluate(shown, inner, validation, K)
        ranked, scores = shown.recommend_rows(found.users, K, model.seen[found.users])
        plain, promised = plain or found, dcg(scores) if promised is None else promised
        low, high = found.metrics.filter(metric=f"ndcg@{K}").select("ci_low", "ci_high").row(0)
        rows.append(
            (
                f"{share:g}",
                f"{1 - (dcg(scores) / promised).mean():.3f}",
                f"{found[f'ndcg@{K}']:.4f} [{low:.4f}, {high:.4f}]",
                f"{1 - found[f'ndcg@{K}'] / plain[f'ndcg@{K}']:.3f}",
                f"{list_diversity(ranked, topics).mean():.3f}",
                f"{found[f'diversity@{K}']:.3f}",
                f"{found[f'coverage@{K}']:.3f}",
            )
        )
    header = ("diversify", "own DCG given up", f"NDCG@{K}", f"NDCG@{K} lost", "diversity by topics", "by users", "coverage")
    note = (
        f"{machine()}; {args.name}, `TopicModel({N_TOPICS})`, validation split (10 %) of the training part, split seed "
        f"{args.seed}; given up and lost: shares; diversity: mean over the pairs of a list of 1 - cosine of sqrt(p(t|item)), and "
        "of the items' users in train."
    )
    write("diversify", header, rows, note)


if __name__ == "__main__":
    main()

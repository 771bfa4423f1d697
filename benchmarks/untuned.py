"""What `TopicModel(n_topics=400)` is worth as it comes, on the splits of the warm scoreboard: nothing is tuned.

    HYPERREC_DATA=FOLDER python benchmarks/untuned.py [movielens-100k movielens-1m complete-journey]

Writes the block `untuned` in README.md.
"""

from __future__ import annotations

import argparse
import time

import numba
from report import machine, write

import hyperrec as hr
from hyperrec.benchmark import MIN_ITEM_EDGES, WARM_EDGES, frequent

N_TOPICS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["movielens-100k", "movielens-1m", "complete-journey"])
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    rows = []
    for name in args.names:
        graph = hr.read_logs(name)
        edge_type = WARM_EDGES[name]
        train, test = hr.split(frequent(graph, edge_type, MIN_ITEM_EDGES.get(name, 1)), edge_type, seed=args.seed)
        model = hr.TopicModel(N_TOPICS, train.edge_table(edge_type).modalities[0], edges={edge_type: 1.0})
        cpu = time.process_time()
        assert model.fit(train, progress=False).item_weights is not None  # fitted now: their time counts
        cpu = time.process_time() - cpu
        found = hr.evaluate(model, train, test)
        low, high = found.metrics.filter(metric="ndcg@10").select("ci_low", "ci_high").row(0)
        quality = f"{found['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]", f"{found['recall@20']:.4f}"
        rows.append((name, model.history.height, f"{cpu:.1f}", *quality))
    note = f"{machine()}, {numba.get_num_threads()} threads; `TopicModel({N_TOPICS})`, nothing else set; split seed {args.seed}."
    write("untuned", ("data", "passes", "fit, CPU s", "NDCG@10", "Recall@20"), rows, note)


if __name__ == "__main__":
    main()

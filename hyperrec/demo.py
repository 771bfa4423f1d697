"""`hyperrec demo`: the whole line on a year of real grocery transactions, in a minute."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hyperrec.evaluate import Evaluation, evaluate, pair_matrix
from hyperrec.hypergraph import Hypergraph
from hyperrec.logs import read_logs
from hyperrec.model import TopicModel
from hyperrec.peers import ImplicitALS, Popularity
from hyperrec.split import split

EDGES = {
    "bought": 1.0, "bought_at": 0.05, "department": 0.05, "category": 0.05, "word": 0.05,
    "age": 0.05, "income": 0.05, "household_size": 0.05, "kids": 0.05,
}  # fmt: skip
LEANING = ("age", "income", "household_size", "kids", "hour")
TRIALS = 6


def run_demo(out: str | Path = "hyperrec-demo", *, n_topics: int = 100, n_passes: int = 20, seed: int = 0) -> None:
    """Load Complete Journey, split it by time, fit, show topics, recommend, explain, measure beside peers, save.

    Tables go to stdout, progress to stderr. Needs the extra `demo`.
    """
    start = time.perf_counter()
    graph = read_logs("complete-journey")
    print(graph, end="\n\n")
    train, test = split(graph, "bought", by="time", fraction=0.1)
    model = TopicModel(n_topics, "household", edges=EDGES, n_passes=n_passes, seed=seed).fit(train, progress=True)
    print(topic_table(model, n_topics=8), end="\n\n")
    household = model.vocabularies["household"].ids[int(np.argmax(np.diff(model.seen.indptr)))]
    print(f"For household {household}:")
    advice = model.recommend([household], k=5)
    for item, label, rank in advice.select("item", "label", "rank").iter_rows():
        print(f"  {rank}. {label} (product {item})")
    print(f"\n{model.explain(household, advice['item'][0])}\n")
    print("Products never bought before, found in the last tenth of the year (95 % intervals):")
    for result in (evaluate(model, train, test), *_peers(train, test, seed)):
        print(_line(result))
    folder = model.save(out)
    print(f"\nSaved to {folder} after {time.perf_counter() - start:.0f} s. Three commands to try next:")
    print(f"  hyperrec recommend {folder} --user {household} --given hour=18")
    print(f"  hyperrec similar {folder} product {advice['item'][0]}")
    print(f"  hyperrec topics {folder} category")


def topic_table(model: TopicModel, *, n_topics: int) -> str:
    """The largest topics: their products by distinct labels, and the vertices of other modalities that lean to them."""
    tops = model.topics("product", k=30)
    lines = ["The largest topics: what they sell, and who and when leans to them (times more than on average)"]
    leaning = {name: model.embedding(name) / model.state.prior for name in LEANING if name in model.sizes}
    for topic in tops["topic"].unique(maintain_order=True).head(n_topics):
        mine = tops.filter(pl.col("topic") == topic)
        names = mine["label"].str.split(",").list.first().unique(maintain_order=True).drop_nulls().head(5)
        leans = []
        for name, lift in leaning.items():
            row = int(lift[:, topic].argmax())
            leans.append(f"{name} {model.vocabularies[name].ids[row]} (x{lift[row, topic]:.1f})")
        lines.append(f"  {topic:>4} {100 * mine['share'][0]:4.1f} %  {'; '.join(names)}")
        lines.append(f"{'':14}{', '.join(leans)}")
    return "\n".join(lines)


def _peers(train: Hypergraph, test: Hypergraph, seed: int) -> list[Evaluation]:
    """Popularity, and implicit ALS with the best of TRIALS random settings on a later part of the training split."""
    inner, validation = split(train, "bought", by="time", fraction=0.1)
    rng = np.random.default_rng(seed)
    best: dict[str, Any] = {}
    best_value = -1.0
    for trial in range(TRIALS):
        options: dict[str, Any] = {
            "factors": int(rng.choice([16, 32, 64])),
            "regularization": float(10 ** rng.uniform(-2, 1.5)),
            "alpha": float(10 ** rng.uniform(-0.5, 1)),
            "iterations": int(rng.integers(5, 16)),
        }
        value = evaluate(ImplicitALS(**options).fit(pair_matrix(inner, "bought")), inner, validation, 10)["ndcg@10"]
        print(f"implicit ALS, trial {trial + 1} of {TRIALS}: validation NDCG@10 {value:.4f}", file=sys.stderr)
        if value > best_value:
            best, best_value = options, value
    pairs = pair_matrix(train, "bought")
    return [evaluate(one.fit(pairs), train, test) for one in (Popularity(), ImplicitALS(**best))]


def _line(result: Evaluation) -> str:
    cells = []
    for metric, name in (("ndcg@10", "NDCG@10"), ("recall@20", "Recall@20")):
        row = result.metrics.row(by_predicate=pl.col("metric") == metric, named=True)
        cells.append(f"{name} {row['value']:.4f} [{row['ci_low']:.4f}, {row['ci_high']:.4f}]")
    return f"  {result.name:<14}" + "   ".join(cells)

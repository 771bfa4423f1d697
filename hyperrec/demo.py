"""`hyperrec demo`: the whole line on a year of real grocery transactions, in a minute."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.benchmark.candidates import draw_als
from hyperrec.evaluation import Evaluation, evaluate, pair_matrix
from hyperrec.hypergraph import Hypergraph
from hyperrec.logs import read_logs
from hyperrec.model import TopicModel
from hyperrec.peers import ImplicitALS, Popularity
from hyperrec.splits import split
from hyperrec.storage import check_target

EDGES = {
    "bought": 1.0, "bought_at": 0.05, "department": 0.5, "brand": 0.5, "category": 0.5, "word": 0.5,
    "age": 0.05, "income": 0.05, "household_size": 0.05, "kids": 0.05,
}  # fmt: skip
HOUSEHOLD = ("age", "income", "household_size", "kids")
"""Who buys: edge types household x modality of the same name."""

TIMES = ("day", "hour")
"""When: modalities of the purchases themselves."""

WORTH_SAYING = 1.2  # times more than on average
COMMON = 0.03  # of the purchases; rarer vertices lean anywhere by chance
CHUNK = 50_000  # purchases whose topics are held at once
TRIALS = 6


def run_demo(out: str | Path = "hyperrec-demo", *, n_topics: int = 100, n_passes: int = 30, seed: int = 0) -> None:
    """Load Complete Journey, split it by time, fit, show topics, recommend, explain, measure beside peers, save.

    Tables go to stdout, progress to stderr. Needs the extra `demo`.
    """
    start = time.perf_counter()
    check_target(Path(out))
    graph = read_logs("complete-journey")
    print(graph, end="\n\n")
    train, test = split(graph, "bought", by="time", fraction=0.1)
    model = TopicModel(n_topics, "household", edges=EDGES, n_passes=n_passes, seed=seed).fit(train, progress=True)
    print(topic_table(model, train, n_topics=12), end="\n\n")
    household = typical_household(model)
    advice = model.recommend([household], k=10)
    print(f"For household {household}, products that it never bought:")
    for item, label, rank in advice.select("item", "label", "rank").iter_rows():
        print(f"  {rank}. {label} (product {item})")
    print(f"\nThe one that others buy least: {model.explain(household, rarest(model, advice['item']))}\n")
    print("The last tenth of the year, products new to the household (95 % intervals; ALS is tuned, hyperrec is not):")
    for result in (evaluate(model, train, test), *_peers(train, test, seed)):
        print(_line(result))
    folder = model.save(out)
    print(f"\nSaved to {folder} after {time.perf_counter() - start:.0f} s. Three commands to try next:")
    command = "hyperrec" if shutil.which("hyperrec") else sys.argv[0]
    print(f"  {command} recommend {folder} --user {household} --given hour=18")
    print(f"  {command} similar {folder} product {advice['item'][0]}")
    print(f"  {command} topics {folder} product --k 5")


def topic_table(model: TopicModel, graph: Hypergraph, *, n_topics: int) -> str:
    """The largest topics: their products by distinct labels, and the demographics and times that lean to them."""
    # p(v|t) alone shows milk everywhere: what a topic has above the average counts too
    tops = model.topics("product", k=100).sort(pl.col("probability") * pl.col("lift").sqrt(), descending=True, maintain_order=True)
    leaning = _leaning(model, graph)
    lines = ["The largest topics: what they sell, and who and when leans to them (times more than on average)"]
    for topic in np.argsort(-model.state.prior, kind="stable")[:n_topics]:
        mine = tops.filter(pl.col("topic") == topic)
        names = mine["label"].str.extract(r"^([^,(]+)").str.strip_chars().str.to_lowercase().drop_nulls()
        best = sorted(((float(lift[topic]), name) for name, lift in leaning), reverse=True)
        leans = [f"{name} x{value:.1f}" for value, name in best[:4] if value >= WORTH_SAYING]
        lines.append(f"  {topic:>3} {100 * mine['share'][0]:4.1f} %  {', '.join(names.unique(maintain_order=True).head(6))}")
        lines.append(f"{'':13}{'; '.join(leans) or 'everyone, at any time'}")
    return "\n".join(lines)


def _leaning(model: TopicModel, graph: Hypergraph) -> list[tuple[str, np.ndarray]]:
    """(name of a vertex, topics of the purchases made by such households or at such times over those of all purchases).

    The topics of a purchase are p(t | household, product); vertices of a small share of the purchases are left out.
    """
    bought = graph.edge_table("bought_at").frame
    households, products = bought["household"].to_numpy(), bought["product"].to_numpy()
    vertices = {modality: bought[modality].to_numpy() for modality in TIMES}
    for modality in HOUSEHOLD:
        of_household = np.full(len(graph.vocabulary("household")), -1)
        edges = graph.edge_table(modality).frame
        of_household[edges["household"].to_numpy()] = edges[modality].to_numpy()
        vertices[modality] = of_household[households]
    # a last row gathers the purchases of households of which nothing is known
    counts = {modality: np.zeros((len(graph.vocabulary(modality)) + 1, model.n_topics)) for modality in vertices}
    of_households, of_products = model.embedding("household") / model.state.prior, model.embedding("product")
    for start in range(0, bought.height, CHUNK):
        chunk = slice(start, start + CHUNK)
        topics = of_households[households[chunk]] * of_products[products[chunk]]
        topics /= topics.sum(axis=1, keepdims=True)
        for modality, rows in vertices.items():
            owner = rows[chunk] % len(counts[modality])
            owns = sp.csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))), (len(counts[modality]), len(owner)))
            counts[modality] += owns @ topics
    leaning = []
    for modality, by_topic in counts.items():
        known = by_topic[:-1]
        share, ids = known.sum(axis=1) / by_topic.sum(), graph.vocabulary(modality).ids
        lift = known / np.maximum(known.sum(axis=1, keepdims=True), 1e-30) / (known.sum(axis=0) / known.sum())
        leaning += [(f"{modality.replace('_', ' ')} {ids[int(v)]}", lift[v]) for v in np.flatnonzero(share >= COMMON)]
    return leaning


def typical_household(model: TopicModel) -> Any:
    """The household with the median number of products."""
    lengths = np.diff(model.seen.indptr)
    return model.vocabularies["household"].ids[int(np.argsort(lengths, kind="stable")[len(lengths) // 2])]


def rarest(model: TopicModel, products: pl.Series) -> Any:
    """The product of these that the fewest households bought."""
    counts = model.counts[model.offsets["product"] + model.vocabularies["product"].rows(products)]
    return products[int(counts.argmin())]


def _peers(train: Hypergraph, test: Hypergraph, seed: int) -> list[Evaluation]:
    """Popularity, and implicit ALS with the best of TRIALS random settings on a later part of the training split."""
    inner, validation = split(train, "bought", by="time", fraction=0.1)
    rng = np.random.default_rng(seed)
    best: dict[str, Any] = {}
    best_value = -1.0
    for trial in range(TRIALS):
        options = draw_als(rng)
        options.update(factors=min(options["factors"], 64), iterations=10)  # what else its minute is too short for
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

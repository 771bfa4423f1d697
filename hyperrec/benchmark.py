"""`hyperrec benchmark`: one split, the same number of trials for every model, one table."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hyperrec.errors import DataError, ModelError
from hyperrec.evaluation import Evaluation, evaluate, pair_matrix
from hyperrec.hypergraph import Hypergraph
from hyperrec.logs import graph_from_frames
from hyperrec.model import TopicModel
from hyperrec.peers import EASE, ImplicitALS, ItemKNN, Popularity
from hyperrec.splits import split

METRIC = "ndcg@10"
EASE_ITEMS = 20_000  # its item x item matrix takes gigabytes above
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A model and how its options are drawn for so many items. draw gives nothing where there is nothing to tune."""

    name: str
    draw: Callable[[np.random.Generator, int], dict[str, Any]]
    fit: Callable[[Hypergraph, str, Options], Any]


def _draw_topics(rng: np.random.Generator, n_items: int) -> dict[str, Any]:
    return {
        "n_topics": min(int(rng.choice([200, 400, 800, 1600, 3200])), n_items),
        "n_passes": int(rng.integers(20, 101)),
        "length_damping": round(float(rng.uniform(0, 0.5)), 3),
    }


def draw_als(rng: np.random.Generator, n_items: int) -> dict[str, Any]:
    """Where the good settings of ALS lie on MovieLens and Complete Journey."""
    alpha = 10 ** rng.uniform(0.2, 1.3)
    return {
        "factors": int(rng.choice([16, 32, 64, 128])),
        # what counts is its size beside alpha, 5 to 15 on films, more on groceries; drawn apart, most pairs are far off
        "regularization": round(float(alpha * 10 ** rng.uniform(0.6, 1.5)), 3),
        "alpha": round(float(alpha), 3),
        "iterations": int(rng.integers(10, 31)),
    }


def _draw_bm25(rng: np.random.Generator, n_items: int) -> dict[str, Any]:
    return {
        "neighbours": int(10 ** rng.uniform(1, 3)),
        "K1": round(float(10 ** rng.uniform(-1, 2.5)), 3),
        "B": round(float(rng.uniform(0, 1)), 3),
    }


def _fit_topics(train: Hypergraph, edge_type: str, options: Options) -> TopicModel:
    user = train.edge_table(edge_type).modalities[0]
    return TopicModel(container=user, edges={edge_type: 1.0}, **options).fit(train, progress=False)


CANDIDATES = (
    Candidate("hyperrec", _draw_topics, _fit_topics),
    Candidate("implicit ALS", draw_als, lambda train, name, options: ImplicitALS(**options).fit(pair_matrix(train, name))),
    Candidate(
        "EASE",
        lambda rng, n_items: {"regularization": round(float(10 ** rng.uniform(1, 4)), 1)},
        lambda train, name, options: EASE(**options).fit(pair_matrix(train, name)),
    ),
    Candidate(
        "item-kNN BM25",
        _draw_bm25,
        lambda train, name, options: ItemKNN("bm25", **options).fit(pair_matrix(train, name)),
    ),
    Candidate(
        "item-kNN cosine",
        lambda rng, n_items: {"neighbours": int(10 ** rng.uniform(1, 3))},
        lambda train, name, options: ItemKNN("cosine", **options).fit(pair_matrix(train, name)),
    ),
    Candidate("popularity", lambda rng, n_items: {}, lambda train, name, options: Popularity().fit(pair_matrix(train, name))),
)


@dataclass(frozen=True)
class Measured:
    """One model on the test split: fit in CPU and wall seconds, peak memory of its process in MiB, users ranked per second."""

    name: str
    options: Options
    validation: float
    evaluation: Evaluation
    fit_cpu: float
    fit_wall: float
    peak_mib: float
    users_per_second: float


def benchmark(
    graph: Hypergraph,
    edge_type: str,
    *,
    trials: int = 40,
    fraction: float = 0.2,
    min_item_edges: int = 1,
    seed: int = 42,
    only: tuple[str, ...] = (),
) -> list[Measured]:
    """Tune every model on the same validation split with the same number of random trials, then measure the best on the test split.

    The edges of one type are split at random per user, items with fewer than min_item_edges edges left out before; a part of
    train, half the fraction and drawn alike, is the validation split: what is good for much less data is not good for train. Seen
    items are filtered. Each best model is fitted and measured in a process of its own, after a small fit that loads and compiles
    what it needs.

    only : names of the models to run; all by default.

    Raises
    ------
    ModelError : trials or min_item_edges below 1, an unknown name in only. DataError : nothing left to measure.
    """
    if trials < 1 or min_item_edges < 1:
        raise ModelError(f"trials and min_item_edges must be 1 or more; got {trials} and {min_item_edges}.")
    names = [one.name for one in CANDIDATES]
    if unknown := [name for name in only if name not in names]:
        raise ModelError(f"no model is called '{unknown[0]}'; expected some of: {', '.join(names)}.")
    graph = frequent(graph, edge_type, min_item_edges)
    train, test = split(graph, edge_type, fraction=fraction, seed=seed)
    inner, validation = split(train, edge_type, fraction=fraction / 2, seed=seed + 1)
    n_items = len(graph.vocabulary(graph.edge_table(edge_type).modalities[1]))
    results = []
    for candidate in CANDIDATES:
        if only and candidate.name not in only:
            continue
        if candidate.name == "EASE" and n_items > EASE_ITEMS:
            print(f"EASE is left out: {n_items:,} items, it takes gigabytes above {EASE_ITEMS:,}", file=sys.stderr, flush=True)
            continue
        options, value = _best(candidate, inner, validation, edge_type, trials, seed)
        results.append(_in_own_process(candidate.name, options, value, train, test, edge_type))
    return results


def frequent(graph: Hypergraph, edge_type: str, min_item_edges: int) -> Hypergraph:
    """The edges of one type alone, of items with so many edges or more; vertices without an edge have no row any more."""
    table = graph.edge_table(edge_type)
    if table.order < 2:
        raise DataError(f"edge type '{edge_type}' joins no users to items: it has one vertex.")
    item = table.vertex_columns[1]
    rows = graph.table(edge_type).filter(pl.len().over(item) >= min_item_edges)
    if not rows.height:
        raise DataError(f"no item of '{edge_type}' has {min_item_edges} edges or more: nothing can be measured.")
    return graph_from_frames({edge_type: rows})


def _best(
    candidate: Candidate, inner: Hypergraph, validation: Hypergraph, edge_type: str, trials: int, seed: int
) -> tuple[dict[str, Any], float]:
    """Random search: the options with the highest NDCG@10 on the validation split."""
    rng = np.random.default_rng(seed)
    n_items = len(inner.vocabulary(inner.edge_table(edge_type).modalities[1]))
    draws = [candidate.draw(rng, n_items) for _ in range(trials)]
    best, best_value = draws[0], -1.0
    for number, options in enumerate(draws if draws[0] else []):
        value = evaluate(candidate.fit(inner, edge_type, options), inner, validation, 10, edge_type=edge_type)[METRIC]
        said = ", ".join(f"{name} {one}" for name, one in options.items())
        line = f"{candidate.name}, trial {number + 1} of {trials}: validation NDCG@10 {value:.4f} ({said})"
        print(line, file=sys.stderr, flush=True)
        if value > best_value:
            best, best_value = options, value
    return best, best_value


def _in_own_process(*task: Any) -> Measured:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, *task).result()


def _measure(name: str, options: Options, value: float, train: Hypergraph, test: Hypergraph, edge_type: str) -> Measured:
    candidate = next(one for one in CANDIDATES if one.name == name)
    _warm_up(candidate, options)
    wall, cpu = time.perf_counter(), time.process_time()
    model = candidate.fit(train, edge_type, options)
    fit_wall, fit_cpu = time.perf_counter() - wall, time.process_time() - cpu
    evaluation = evaluate(model, train, test, (10, 20), edge_type=edge_type)
    evaluation = replace(evaluation, name=name)
    seen = pair_matrix(train, edge_type)
    users = np.arange(seen.shape[0])
    model.recommend_rows(users[:100], 20, seen[:100])
    wall = time.perf_counter()
    model.recommend_rows(users, 20, seen)
    speed = len(users) / (time.perf_counter() - wall)
    return Measured(name, options, value, evaluation, fit_cpu, fit_wall, _peak_mib(), speed)


def _peak_mib() -> float:
    """The most memory that this process has held."""
    if (status := Path("/proc/self/status")).exists():  # getrusage of a child starts from its parent's peak there
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _warm_up(candidate: Candidate, options: Options) -> None:
    """A fit on a few random edges: imports and compiled code are there when the clock starts."""
    rng = np.random.default_rng(0)
    tiny = pl.DataFrame({"user": rng.integers(0, 40, 600), "item": rng.integers(0, 60, 600)}).unique(maintain_order=True)
    few = {name: min(one, 8) if name in ("n_topics", "factors") else one for name, one in options.items()}
    model = candidate.fit(Hypergraph.from_frames(warm=tiny), "warm", few)
    model.recommend_rows(np.arange(2), 2, None)


def table(results: list[Measured]) -> pl.DataFrame:
    """One row a model: quality with 95 % intervals, paired difference to the first row, time and memory, the tuned options."""
    rows = []
    for one in results:
        paired = results[0].evaluation.compare(one.evaluation) if one is not results[0] else None
        rows.append(
            {
                "model": one.name,
                "NDCG@10": _interval(one.evaluation, "ndcg@10"),
                "Recall@20": _interval(one.evaluation, "recall@20"),
                f"{results[0].name} minus it, NDCG@10": _signed(paired),
                "fit, CPU s": f"{one.fit_cpu:.1f}",
                "fit, wall s": f"{one.fit_wall:.1f}",
                "peak memory, MiB": f"{one.peak_mib:.0f}",
                "users/s": f"{one.users_per_second:,.0f}",
                "tuned on validation": ", ".join(f"{name} {value}" for name, value in one.options.items()) or "-",
            }
        )
    return pl.DataFrame(rows)


def _interval(evaluation: Evaluation, metric: str) -> str:
    row = evaluation.metrics.row(by_predicate=pl.col("metric") == metric, named=True)
    return f"{row['value']:.4f} [{row['ci_low']:.4f}, {row['ci_high']:.4f}]"


def _signed(paired: dict[str, float] | None) -> str:
    return f"{paired['difference']:+.4f} [{paired['ci_low']:+.4f}, {paired['ci_high']:+.4f}]" if paired else "-"

"""Measuring beside tuned peers: one split, the same number of trials for every model, one table."""

from __future__ import annotations

from hyperrec.benchmark.board import put, scoreboard
from hyperrec.benchmark.search import Candidate, Measured, apart, run
from hyperrec.benchmark.situations import MIN_ITEM_EDGES, SITUATIONS, WARM, WARM_EDGES, Situation
from hyperrec.benchmark.splitting import frequent, warm
from hyperrec.benchmark.tables import table
from hyperrec.benchmark.task import Task, of_pairs
from hyperrec.errors import ModelError
from hyperrec.hypergraph import Hypergraph

__all__ = [
    "MIN_ITEM_EDGES", "SITUATIONS", "WARM", "WARM_EDGES", "Candidate", "Measured", "Situation", "Task", "apart", "benchmark",
    "frequent", "of_pairs", "put", "scoreboard", "table",
]  # fmt: skip


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
    """Tune every model on the same validation splits, the same number of trials for each, then measure the best on the test.

    The edges of one type are split at random per user, items with fewer than min_item_edges edges left out before; a part of
    train, half the fraction and drawn alike, is a validation split, twice: what is good for much less data is not good for train.
    Seen items are filtered. Each best model is fitted and measured in a process of its own, after a small fit that loads and
    compiles what it needs.

    only : names of the models to run; all by default.

    Raises
    ------
    ModelError : trials or min_item_edges below 1, an unknown name in only. DataError : nothing left to measure.
    """
    if trials < 1 or min_item_edges < 1:
        raise ModelError(f"trials and min_item_edges must be 1 or more; got {trials} and {min_item_edges}.")
    names = [one.name for one in WARM]
    if unknown := [name for name in only if name not in names]:
        raise ModelError(f"no model is called '{unknown[0]}'; expected some of: {', '.join(names)}.")
    tasks = warm(graph, edge_type, min_item_edges, fraction, seed)
    chosen = [one for one in WARM if not only or one.name in only]
    return list(run(tasks, chosen, ("ndcg@10", "recall@20"), trials=trials, seed=seed))

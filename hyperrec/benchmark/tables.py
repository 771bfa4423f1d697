"""The table of a situation: one row a model, or one for each part of the queries."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from hyperrec.benchmark.search import Measured, short, told
from hyperrec.evaluation import Evaluation


def table(results: Sequence[Measured], metrics: Sequence[str] = ("ndcg@10", "recall@20")) -> pl.DataFrame:
    """Quality with 95 % intervals, paired difference to the first row, what is shown, time and memory, the tuned options.

    Novelty and popularity lift of items without a training edge say nothing, and are left out.
    """
    rows = []
    length = metrics[0].partition("@")[2]
    for part in results[0].evaluations if results else ():
        for one in results:
            first, here = results[0].evaluations[part], one.evaluations[part]
            ahead = _paired(first, here, metrics[0]) if here is not first else "-"
            lift = here[f"popularity_lift@{length}"]
            rows.append(
                {
                    "model": one.name,
                    **({"of whom": part} if part else {}),
                    **{short(metric): _interval(here, metric) for metric in metrics},
                    f"{results[0].name} minus it, {short(metrics[0])}": ahead,
                    f"diversity@{length}": f"{here[f'diversity@{length}']:.3f}" if lift and int(length) > 1 else "-",
                    f"coverage@{length}": f"{here[f'coverage@{length}']:.3f}",
                    f"novelty@{length}, bits": f"{here[f'novelty@{length}']:.1f}" if lift else "-",
                    f"popularity lift@{length}": f"{lift:.1f}" if lift else "-",
                    "fit, CPU s": f"{one.fit_cpu:.1f}",
                    "fit, wall s": f"{one.fit_wall:.1f}",
                    "peak memory, MiB": f"{one.peak_mib:.0f}",
                    "lists/s": f"{one.lists_per_second:,.0f}",
                    "tuned on validation": told(one.options) or "-",
                }
            )
    return pl.DataFrame(rows)


def markdown(frame: pl.DataFrame) -> str:
    """The frame as a table of a Markdown page."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + " --- |" * frame.width]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in frame.iter_rows()]
    return "\n".join(lines)


def _interval(evaluation: Evaluation, metric: str) -> str:
    row = evaluation.metrics.row(by_predicate=pl.col("metric") == metric, named=True)
    return f"{row['value']:.4f} [{row['ci_low']:.4f}, {row['ci_high']:.4f}]"


def _paired(first: Evaluation, other: Evaluation, metric: str) -> str:
    paired = first.compare(other, metric)
    return f"{paired['difference']:+.4f} [{paired['ci_low']:+.4f}, {paired['ci_high']:+.4f}]"

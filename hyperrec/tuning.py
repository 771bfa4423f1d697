"""Tuning: random search with successive halving on a validation split; the resource is passes of EM."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from hyperrec.checkpoint import digest
from hyperrec.config import check_options, replace_file, write_config
from hyperrec.errors import ModelError, listed
from hyperrec.evaluation import evaluate
from hyperrec.hypergraph import Hypergraph
from hyperrec.metrics import per_user
from hyperrec.model import TopicModel
from hyperrec.report import trials_chart
from hyperrec.space import check_space, default_space, draws, flat, told
from hyperrec.splits import split
from hyperrec.storage import check_target

PASSES = (10, 20, 40, 80)
FEWER_PASSES = (5, 10, 20, 40)
"""For what comes last in a history: more passes overfit it."""

FILES = ("question.json", "trials.parquet", "config.json", "trials.html", "model")
OF_A_RUN = ("trial", "rung", "n_passes", "passes", "value", "seconds")
"""Columns of the trials that are no parameters."""


@dataclass(frozen=True)
class Tuning:
    """What `tune` found.

    model : fitted to the whole graph with the best config. config : its options, `hr.TopicModel(**config)`; `write_config` and
    `read_config` make JSON of it and back. trials : a row for each trial and rung: trial, rung, n_passes (asked), passes (made), a
    column for each parameter of the space, value (of the metric on the validation split), seconds. metric : what was maximized.
    """

    model: TopicModel
    config: dict[str, Any]
    trials: pl.DataFrame
    metric: str

    def chart(self) -> Any:
        """A picture of the trials (altair.Chart): the metric against the passes and against each parameter.

        Raises HyperrecError without altair, which the extra `report` brings.
        """
        parameters = [name for name in self.trials.columns if name not in OF_A_RUN]
        return trials_chart(self.trials, self.metric, parameters)


def _topical(graph: Hypergraph, edge_type: str, options: Mapping[str, Any]) -> Iterable[str] | None:
    """The edge types that the options leave to the topics; None: all."""
    if options.get("edges") is not None or options.get("attributes") is None:
        return options.get("edges")
    user, item = graph.edge_table(edge_type).modalities[:2]
    attributes = {one.name for one in options["attributes"].chosen(graph, (), user, item)}
    return [name for name in graph.edges if name not in attributes]


def tune(
    graph: Hypergraph,
    edge_type: str | None = None,
    *,
    by: str = "random",
    fraction: float = 0.1,
    trials: int = 30,
    n_passes: Sequence[int] | None = None,
    space: Mapping[str, Any] | None = None,
    metric: str = "ndcg@10",
    filter_seen: bool = True,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Tuning:
    """Choose the options of a TopicModel on a validation split, and fit the best to the whole graph.

    Every trial draws its options from the space and is fitted with the first number of passes; the best half goes on to the next
    number, until the last. The best value of all trials and rungs wins, with the passes of its rung: more passes than are good
    for the validation split are not made. A rung is fitted from the start, so that the config gives what was measured.

    edge_type : the user-item edges to predict, the first type by default. by, fraction : what the validation split holds out, as
        `hr.split` takes them; split off the test split before. With by="cold_items" these items alone are ranked.
    space : option of TopicModel -> a list (one of it is drawn), (low, high) or (low, high, "log") (a number, whole when both are),
        {name: any of these} for edges=, or anything else, as it is. By default `default_space`.
    options : of TopicModel, that all trials have; no parameters of the default space then. container: the first modality of the
        edge type by default.
    n_passes : the rungs, ascending; 10, 20, 40, 80 by default, and half of that for by="last".
    metric : name@k, of `hr.evaluate`, one value a user. filter_seen : as `evaluate` takes it.
    seed : of draws, split and models.
    folder : where the trials are written down, each as soon as it is known, and at the end config.json, the model and, with altair,
        a picture, trials.html. The same call goes on from there.
    progress : a line on stderr for each trial; by default when stderr is a terminal.

    Raises
    ------
    ModelError : a wrong option, space or metric; the folder is of another tuning, or holds other things. DataError : the graph
        cannot be split so.

    Notes
    -----
    Successive halving: Jamieson & Talwalkar (2016). Random search: Bergstra & Bengio (2012).
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ModelError(f"trials must be a whole number, 1 or more; got {trials!r}.")
    n_passes = n_passes if n_passes is not None else FEWER_PASSES if by == "last" else PASSES
    rungs = tuple(n_passes) if isinstance(n_passes, Sequence) else ()
    if not rungs or not all(isinstance(one, int) and one > 0 for one in rungs) or list(rungs) != sorted({*rungs}):
        raise ModelError(f"n_passes must be whole numbers, ascending, such as (10, 20, 40); got {n_passes!r}.")
    named = re.fullmatch(r"(\w+)@([1-9]\d*)", str(metric))
    known = per_user(np.zeros((1, 1), bool), np.ones(1, int))
    if not named or named[1] not in known:
        raise ModelError(f"metric must be name@k, such as ndcg@10, with one of {listed(known)}; got '{metric}'.")
    edge_type = edge_type or next(iter(getattr(graph, "edges", ())), "")
    inner, validation = split(graph, edge_type, by=by, fraction=fraction, seed=seed)
    options = {"container": inner.edge_table(edge_type).modalities[0], **options, "seed": seed}
    check_options(options)
    if left := [name for name in graph.edges if name not in inner.edges]:  # no trial sees them: nor does the last fit
        if lost := [name for name in {**(options.get("edges") or {}), **((space or {}).get("edges") or {})} if name in left]:
            raise ModelError(f"edges names '{lost[0]}', which by='{by}' leaves out: it says how often, and not when.")
        options.setdefault("edges", dict.fromkeys(_topical(inner, edge_type, options) or inner.edges, 1.0))
    if space is None:
        default = default_space(inner, edge_type, by=by, edges=_topical(inner, edge_type, options))
        space = {name: one for name, one in default.items() if name not in options}
    check_space(space, options)
    configs = [{**options, **one} for one in draws(space, trials, seed)]
    for config in configs:
        TopicModel(**config)  # what is out of range is told before anything is fitted
    cold = validation.table(edge_type)[inner.edge_table(edge_type).vertex_columns[1]] if by == "cold_items" else None
    question = {
        "data": digest([[name, graph.to_arrays(name)] for name in graph.edges]), "edge_type": edge_type, "by": by,
        "fraction": fraction, "trials": trials, "n_passes": rungs, "space": told(space), "metric": metric,
        "filter_seen": filter_seen, "options": told(options), "among": None if cold is None else len(set(cold)),
    }  # fmt: skip
    show = sys.stderr.isatty() if progress is None else progress
    ledger = Ledger.of(Path(folder) if folder is not None else None, question)

    def measure(trial: int, rung: int) -> dict[str, Any]:
        if rung and (before := ledger.rows[trial, rung - 1])["passes"] < before["n_passes"]:  # the EM was done: the same again
            return {**before, "rung": rung + 1, "n_passes": rungs[rung], "seconds": 0.0}
        start = time.perf_counter()
        model = TopicModel(**configs[trial], n_passes=rungs[rung]).fit(inner, progress=False)
        found = evaluate(model, inner, validation, int(named[2]), edge_type=edge_type, filter_seen=filter_seen, among=cold)
        drawn = flat({name: configs[trial][name] for name in space})
        run = {"trial": trial + 1, "rung": rung + 1, "n_passes": rungs[rung], "passes": model.history.height}
        return {**run, **drawn, "value": found[metric], "seconds": round(time.perf_counter() - start, 2)}

    alive = list(range(len(configs)))
    for rung in range(len(rungs)):
        for trial in alive:
            if (trial, rung) not in ledger.rows:
                row = measure(trial, rung)
                ledger.add(trial, rung, row)
                if show:
                    print(_line(row, len(configs), metric), file=sys.stderr, flush=True)
        alive = sorted(alive, key=lambda trial: -ledger.rows[trial, rung]["value"])[: max(1, len(alive) // 2)]
    (trial, rung), _ = max(ledger.rows.items(), key=lambda item: (item[1]["value"], -item[0][1], -item[0][0]))
    config = {**configs[trial], "n_passes": rungs[rung]}
    result = Tuning(TopicModel(**config).fit(graph, progress=show), config, ledger.frame(), metric)
    if ledger.folder:
        write_config(config, ledger.folder / "config.json")
        result.model.save(ledger.folder / "model")
        if find_spec("altair"):
            result.chart().save(ledger.folder / "trials.html", inline=True)
    return result


def _line(row: Mapping[str, Any], n_trials: int, metric: str) -> str:
    said = ", ".join(f"{name} {one}" for name, one in row.items() if name not in OF_A_RUN)
    return f"trial {row['trial']} of {n_trials}, {row['n_passes']} passes: validation {metric} {row['value']:.4f} ({said})"


@dataclass
class Ledger:
    """What is known of trials, (trial, rung) -> row, both from 0; written to a folder with each row, when there is one."""

    folder: Path | None
    rows: dict[tuple[int, int], dict[str, Any]]

    @classmethod
    def of(cls, folder: Path | None, question: Mapping[str, Any]) -> Ledger:
        """The rows that a folder has of the same question.

        Raises
        ------
        ModelError : the folder is of another question, damaged, holds other things, or cannot be written to.
        """
        from hyperrec import __version__

        if folder is None:
            return cls(None, {})
        asked = json.loads(json.dumps({"hyperrec": __version__, **question}))
        there = sorted(one.name for one in folder.iterdir() if not one.name.startswith(".")) if folder.is_dir() else []
        if foreign := [one for one in there if one not in FILES]:
            raise ModelError(
                f"{folder} holds what is not of a tuning ({listed(foreign, most=3)}): it is left alone. Choose another folder."
            )
        if "model" in there:
            check_target(folder / "model")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"cannot write to {folder}: {error.strerror}. Choose another folder.") from error
        if "question.json" not in there:
            replace_file(folder / "question.json", json.dumps(asked, indent=1).encode())
            return cls(folder, {})
        try:
            known = json.loads((folder / "question.json").read_text("utf-8"))
            content = (folder / "trials.parquet").read_bytes() if "trials.parquet" in there else None
            rows = pl.read_parquet(content).to_dicts() if content else []
            found = {(row["trial"] - 1, row["rung"] - 1): row for row in rows}
            differ = [name for name, value in asked.items() if known.get(name) != value]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, PolarsError) as error:
            raise ModelError(f"{folder} holds no tuning that can be read: delete it to begin again.") from error
        if differ:
            others = (f"{name} {known.get(name)} there, {asked[name]} here" for name in differ if name != "data")
            raise ModelError(
                f"{folder} is of another tuning ({'; '.join(others) or 'other edges'}). Delete it, or choose another folder."
            )
        return cls(folder, found)

    def add(self, trial: int, rung: int, row: dict[str, Any]) -> None:
        self.rows[trial, rung] = row
        if self.folder:
            content = io.BytesIO()
            self.frame().write_parquet(content)
            replace_file(self.folder / "trials.parquet", content.getvalue())

    def frame(self) -> pl.DataFrame:
        """The rows, by rung and trial."""
        rows = [self.rows[key] for key in sorted(self.rows, key=lambda key: (key[1], key[0]))]
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)

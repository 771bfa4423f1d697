"""Spaces: what `tune` draws the options of a TopicModel from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from hyperrec.config import check_options
from hyperrec.errors import ModelError
from hyperrec.hypergraph import Hypergraph
from hyperrec.neighbours import Neighbours
from hyperrec.topics.contexts import Mean, Recency

N_TOPICS = (100, 200, 400, 800, 1600)
GAMMAS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75)
REGULARIZATIONS = (100.0, 200.0, 350.0, 500.0, 750.0, 1000.0, 1500.0)
OF_LATER = (1000.0, 2000.0, 3500.0, 6000.0, 10_000.0, 20_000.0)  # what comes later is less like the histories, and more popular
SHARES = (0.15, 0.25, 0.4, 0.5)
EXPONENTS = (0.0, 0.2, 0.4)
SHARPNESSES = (1.0, 2.0)  # where no more than SPECTRAL items, or users, have to be gone through
SPECTRAL = 5000
KEPT = (100, 300, 1000, 3000)
DECAYS = (0.05, 0.1, 0.15, 0.2)
WEIGHT_EXPONENTS = (0.0, -0.2, 0.5, 1.0)  # where items of a history differ in weight


def default_space(graph: Hypergraph, edge_type: str, *, by: str = "random", edges: Iterable[str] | None = None) -> dict[str, Any]:
    """What `tune` searches: topics (no more than items), damping of long histories, small entries dropped or not, the weights
    between items, the exponent of popularity; for by="time" the prior of histories; for by="last" the context, `Mean` or `Recency`;
    the weights of other edge types; the exponent of contexts, where there are edges with some.

    edges : the types that the model is fitted to, all by default.
    """
    user, item = graph.edge_table(edge_type).modalities[:2]
    n_items = len(graph.vocabulary(item))
    side = n_items if by == "last" else min(n_items, len(graph.vocabulary(user)))  # of the matrix that weights are made of
    space: dict[str, Any] = {
        "n_topics": sorted({min(one, n_items) for one in N_TOPICS}),
        "length_damping": (0.0, 0.5),
        "drop_below": [0.0, 0.002],
        "neighbours": [
            Neighbours(
                regularization=one, exponent=exponent, sharpness=sharpness, share=share, kept=kept, gamma=gamma,
                weight_exponent=power,
            )
            for one, exponent, sharpness, share, kept, gamma, power in product(
                OF_LATER if by == "time" else REGULARIZATIONS,
                EXPONENTS,
                SHARPNESSES if side <= SPECTRAL else SHARPNESSES[:1],
                SHARES,
                KEPT,
                DECAYS if by == "last" else DECAYS[2:3],
                WEIGHT_EXPONENTS if _uneven(graph, graph.edge_table(edge_type).vertex_columns[:2], edges) else WEIGHT_EXPONENTS[:1],
            )
        ],
        "popularity_exponent": (-0.1, 0.5) if by == "time" else (-0.2, 0.05),
    }
    if by == "time":
        space["history_prior"] = (20.0, 1000.0, "log")
    if by == "last":
        space["context"] = [Mean(), *map(Recency, GAMMAS)]
    fitted = {name: one for name, one in graph.edges.items() if one.n_edges and (edges is None or name in edges)}
    if others := [name for name in fitted if name != edge_type]:
        space["edges"] = {edge_type: 1.0, **dict.fromkeys(others, (0.003, 1.0, "log"))}
    if any(one.order > 2 and user in one.modalities for one in fitted.values()):
        space["context_exponent"] = (0.0, 0.5)
    return space


def _uneven(graph: Hypergraph, pair: list[str], edges: Iterable[str] | None) -> bool:
    """Whether pairs of these columns differ in weight, or in how often they are there; edges as in `default_space`."""
    fitted = [one for name, one in graph.edges.items() if edges is None or name in edges]
    rows = [one.frame.select(*pair, "weight") for one in fitted if {*pair} <= {*one.vertex_columns}]
    total = pl.concat(rows).group_by(pair).agg(pl.col("weight").sum()) if rows else pl.DataFrame({"weight": []})
    return total["weight"].n_unique() > 1


def check_space(space: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> None:
    """Raises ModelError, which says what is no space of a TopicModel, or is held as an option at the same time."""
    if not isinstance(space, Mapping):
        raise ModelError(f"space must say option -> values, such as {{'n_topics': [100, 200]}}; got {space!r}.")
    check_options(space)
    if "n_passes" in space or "seed" in space:
        raise ModelError("n_passes and seed are arguments of tune itself: n_passes=(10, 20, 40) are its rungs.")
    if both := [name for name in space if name in (options or {})]:
        raise ModelError(f"'{both[0]}' is in the space and held as an option, too: give it once.")
    _check_values(space, "space")


def _check_values(values: Any, where: str) -> None:
    if isinstance(values, Mapping):
        for name, one in values.items():
            _check_values(one, f"{where}['{name}']")
    elif isinstance(values, list) and not values:
        raise ModelError(f"{where} is an empty list: there is nothing to draw.")
    elif isinstance(values, tuple):
        numbers = [one for one in values[:2] if isinstance(one, (int, float)) and not isinstance(one, bool) and np.isfinite(one)]
        log = values[2:] == ("log",)
        if len(numbers) < 2 or not (log or len(values) == 2) or not numbers[0] < numbers[1] or (log and numbers[0] <= 0):
            raise ModelError(
                f"{where} must be (low, high) or (low, high, 'log') with low < high, above 0 for 'log'; got {values!r}. "
                "A choice is a list."
            )


def draw(values: Any, rng: np.random.Generator) -> Any:
    """A value of a space; numbers that are not whole have three digits."""
    if isinstance(values, Mapping):
        return {name: draw(one, rng) for name, one in values.items()}
    if isinstance(values, list):
        return values[int(rng.integers(len(values)))]
    if not isinstance(values, tuple):
        return values
    low, high = values[:2]
    whole = isinstance(low, int) and isinstance(high, int)
    if len(values) == 3:
        value = float(np.exp(rng.uniform(np.log(low), np.log(high + whole))))
    else:
        value = float(rng.uniform(low, high + whole))
    return min(max(int(value) if whole else float(f"{value:.3g}"), low), high)


def draws(space: Mapping[str, Any], trials: int, seed: int) -> list[dict[str, Any]]:
    """Different draws, as many as trials, or as are found in ten times as many."""
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    for _ in range(10 * trials):
        one = draw(space, rng)
        found.setdefault(repr(one), one)
        if len(found) == trials:
            break
    return list(found.values())


def flat(drawn: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'edges': {'genre': .1}} -> {'edges.genre': .1}; what is no number or string, by its repr."""
    columns: dict[str, Any] = {}
    for name, value in drawn.items():
        if isinstance(value, Mapping):
            columns |= flat(value, f"{prefix}{name}.")
        else:
            columns[prefix + name] = value if isinstance(value, (int, float, str)) else told(value)
    return columns


def told(value: Any) -> str:
    """Its repr, less the address of what has no better one."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))

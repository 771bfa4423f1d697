"""Splitting a hypergraph into train and test, without leaks between its edge types."""

from __future__ import annotations

import logging
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from hyperrec.errors import DataError, did_you_mean, listed
from hyperrec.hypergraph import EdgeTable, Hypergraph

logger = logging.getLogger("hyperrec")
RULES = ("random", "last", "time", "cold_items", "cold_users")


def split(
    graph: Hypergraph, edge_type: str, *, by: str = "random", fraction: float = 0.2, seed: int = 42
) -> tuple[Hypergraph, Hypergraph]:
    """Hold out a part of the edges of one type.

    The first modality of the type is the user, the second the item.

    by : "random": a fraction of each user's edges, at least one stays; "last": the last edge in time of each user with two
        or more; "time": the last fraction of all edges in time; "cold_items", "cold_users": all edges of a fraction of the
        items or users.

    Returns
    -------
    (train, test) : hypergraphs with the same vocabularies. test has the held-out edges of `edge_type` only. From train go also
        the edges of other types that hold the user and the item of a held-out edge, for "time" those that are not older, for
        "time" and "last" whole types of users and items that say how often and not when (part of it may be later), and for
        "cold_items" and "cold_users" all that join a user to such an item, or such a user to an item.

    Raises
    ------
    DataError : unknown edge type or rule, edges of one vertex, a fraction outside (0, 1), no times where they are needed, an
        empty side.
    """
    if not isinstance(graph, Hypergraph):
        raise DataError(f"split takes a Hypergraph in memory, such as store.read(); got {type(graph).__name__}.")
    table = graph.edge_table(edge_type)
    if table.order < 2:
        raise DataError(f"edge type '{edge_type}' joins no users to items: it has one vertex.")
    if by not in RULES:
        raise DataError(f"by must be one of {listed(RULES)}; got '{by}'.{did_you_mean(by, RULES)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError(f"seed must be a whole number, 0 or more; got {seed!r}.")
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise DataError(f"fraction must lie between 0 and 1, exclusive; got {fraction!r}.")
    if by in ("last", "time") and not table.timed:
        raise DataError(f"by='{by}' needs times, and edge type '{edge_type}' has none: give the edge a time in the schema.")
    held, cut = _held_out(table, by, fraction, np.random.default_rng(seed))
    test_frame, train_frame = table.frame.filter(held), table.frame.filter(~held)
    if not test_frame.height or not train_frame.height:
        side = "test" if not test_frame.height else "train"
        raise DataError(f"by='{by}', fraction={fraction} leaves nothing in {side}: '{edge_type}' has {table.frame.height} edges.")
    train = {edge_type: EdgeTable(table.modalities, train_frame)}
    user, item = table.vertex_columns[:2]
    keys = {"cold_items": [item], "cold_users": [user]}.get(by, [user, item])
    gone = test_frame.select(keys).unique()
    for name, other in graph.edges.items():
        if name != edge_type:
            frame, places = other.frame, _places(other, *table.modalities[:2])
            if places and by in ("last", "time") and not other.timed and _counts(other):
                logger.warning("split: '%s' has no time, and its weights may count what is later: it is left out of train", name)
                continue
            for at_user, at_item in places:
                columns = [at_user if key == user else at_item for key in keys]
                frame = frame.join(gone, left_on=columns, right_on=keys, how="anti", maintain_order="left")
            if by == "time" and other.timed:
                frame = frame.filter(pl.col("time") < cut)
            train[name] = EdgeTable(other.modalities, frame)
    kept = {name: train[name] for name in graph.edges if name in train}
    return graph.with_edges(kept), graph.with_edges({edge_type: EdgeTable(table.modalities, test_frame)})


def _counts(table: EdgeTable) -> bool:
    """Whether edges differ in weight, or are there again."""
    return table.frame["weight"].n_unique() > 1 or bool(table.frame.select(table.vertex_columns).is_duplicated().any())


def _places(table: EdgeTable, user: str, item: str) -> list[tuple[str, str]]:
    """The pairs of different columns of an edge table that hold a user and an item; a modality may stand in several columns."""
    named = [
        [name for name, modality in zip(table.vertex_columns, table.modalities, strict=True) if modality == wanted]
        for wanted in (user, item)
    ]
    return [(at_user, at_item) for at_user, at_item in product(*named) if at_user != at_item]


def _held_out(table: EdgeTable, by: str, fraction: float, rng: np.random.Generator) -> tuple[pl.Series, Any]:
    """(E,) bool, True for a held-out edge, and the first time that is held out (by='time' only)."""
    frame = table.frame
    user, item = table.vertex_columns[:2]
    if by in ("cold_items", "cold_users"):
        vertices = frame[item if by == "cold_items" else user].unique().sort().to_numpy()
        cold = rng.choice(vertices, max(1, round(fraction * len(vertices))), replace=False)
        return frame[item if by == "cold_items" else user].is_in(pl.Series(cold, dtype=pl.Int32).implode()), None
    if by == "time":
        cut = frame["time"].sort()[min(round((1 - fraction) * frame.height), frame.height - 1)]
        return frame["time"] >= cut, cut
    draw = pl.Series("draw", rng.random(frame.height)) if by == "random" else frame["time"].alias("draw")
    place = pl.struct("draw", "row").rank("ordinal", descending=True).over(user)
    length = pl.len().over(user)
    held = (fraction * length).round().clip(0, length - 1) if by == "random" else (length > 1).cast(pl.Int64)
    ranked = frame.select(user, draw).with_row_index("row").select((place <= held).alias("held"))
    return ranked["held"], None

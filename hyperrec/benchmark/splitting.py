"""How the logs of the scoreboard are split. Each function makes one task for validation or several, from the training part alone
and by the same rule, and then that of the test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.benchmark.histories import in_order
from hyperrec.benchmark.task import Task, of_pairs
from hyperrec.errors import DataError
from hyperrec.evaluation import pair_matrix
from hyperrec.hypergraph import EdgeTable, Hypergraph
from hyperrec.logs import graph_from_frames
from hyperrec.splits import split

Tasks = tuple[Task, ...]
SEED = 42
TOLD = (0, 1, 3, 5, 10)  # items of a cold user
CUTS = (0.1, 0.2, 0.3, 0.5)  # parts of train that are validation for what comes later
AWAY = 7 * 86_400  # seconds, as MovieLens tells time


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


def warm(graph: Hypergraph, edge_type: str, least: int = 1, fraction: float = 0.2, seed: int = SEED) -> Tasks:
    """A part of each user's items, at random. For validation half of the fraction, twice: what is good for much less data is not
    good for train, and what wins by .004 on one split may lose on the next."""
    return _split(frequent(graph, edge_type, least), edge_type, fraction=fraction, seed=seed, n_validation=2)


def later(graph: Hypergraph, edge_type: str, fraction: float = 0.2) -> Tasks:
    """The last part of all edges in time. For validation some last parts of train, each for users who come back after AWAY or more:
    a part that is short in time is, more than the test, of users whom the cut has interrupted, and those go on as they began."""
    train, test = split(frequent(graph, edge_type, 1), edge_type, by="time", fraction=fraction)
    inner = [split(train, edge_type, by="time", fraction=part) for part in CUTS]
    return (*(_back(*one, edge_type) for one in inner), of_pairs(train, test, edge_type))


def _back(train: Hypergraph, test: Hypergraph, edge_type: str) -> Task:
    """The task of the users who were AWAY before their first edge in test."""
    task = of_pairs(train, test, edge_type)
    last, first = (one.edge_table(edge_type).frame.group_by(task.user) for one in (train, test))
    met = last.agg(pl.col("time").max()).join(first.agg(first=pl.col("time").min()), on=task.user)
    back = met.filter(pl.col("first") - pl.col("time") >= AWAY)[task.user]
    rows = np.flatnonzero(np.isin(task.users, back))
    if not len(rows):
        raise DataError(f"no {task.user} comes back to '{edge_type}' after a week: nothing can be measured.")
    return replace(task, users=task.users[rows], held=task.held[rows], seen=task.pairs[task.users[rows]])


def following(graph: Hypergraph, edge_type: str) -> Tasks:
    """The last item of each user; for validation the one before."""
    return _split(frequent(graph, edge_type, 1), edge_type, "last")


def in_context(graph: Hypergraph, edge_type: str, pairs: str, *, new: bool) -> Tasks:
    """A part of each user's rows, at random: which item is it that she uses in these contexts? new: items new to her alone.

    edge_type joins users, items and contexts. An item that a user has in a held-out row may stay in other rows of hers: the pairs
    of train are those of its rows.
    """
    train, test = split(graph.select(edge_type), edge_type, seed=SEED)
    inner, validation = split(train, edge_type, fraction=0.1, seed=SEED + 1)
    return tuple(_rows_asked(*one, edge_type, pairs, new) for one in ((inner, validation), (train, test)))


def _rows_asked(train: Hypergraph, test: Hypergraph, edge_type: str, pairs: str, new: bool) -> Task:
    table = train.edge_table(edge_type)
    user, item, *contexts = table.vertex_columns
    short = EdgeTable(table.modalities[:2], table.frame.drop(contexts))
    train = train.with_edges({pairs: short, edge_type: table})
    asked = test.edge_table(edge_type).frame
    if new:
        asked = asked.join(short.frame, on=[user, item], how="anti", maintain_order="left")
    users, items = asked[user].to_numpy(), asked[item].to_numpy()
    n_items = len(train.vocabulary(item))
    held = sp.csr_matrix((np.ones(len(items), np.float32), items, np.arange(len(items) + 1)), (len(items), n_items))
    task = Task(train, pairs, held, users, given={name: asked[name].to_numpy() for name in contexts})
    return replace(task, seen=task.pairs[users]) if new else task


def cold_items(graph: Hypergraph, edge_type: str) -> Tasks:
    """All edges of a part of the items, which are known by their attributes then; they alone are ranked."""
    train, test = split(graph, edge_type, by="cold_items", seed=SEED)
    inner, validation = split(train, edge_type, by="cold_items", fraction=0.1, seed=SEED + 1)
    return _cold(inner, validation, edge_type), _cold(train, test, edge_type)


def _cold(train: Hypergraph, test: Hypergraph, edge_type: str) -> Task:
    table = test.edge_table(edge_type)
    return of_pairs(train, test, edge_type, among=np.unique(table.frame[table.vertex_columns[1]].to_numpy()))


def cold_users(graph: Hypergraph, edge_type: str, kinds: tuple[str, ...], least: int) -> Tasks:
    """All edges of a part of the users. The first TOLD items of each in time are set aside, and 0, 1, 3, 5 or all of them are told:
    the later ones are to be found from these. Where nothing is told, for those whom an edge of `kinds` describes.

    Items with fewer than `least` edges are left out.
    """
    item = graph.edge_table(edge_type).vertex_columns[1]
    frames = {edge_type: graph.table(edge_type).filter(pl.len().over(item) >= least), **{kind: graph.table(kind) for kind in kinds}}
    train, test = split(graph_from_frames(frames), edge_type, by="cold_users", seed=SEED)
    inner, validation = split(train, edge_type, by="cold_users", fraction=0.1, seed=SEED + 1)
    return _told(inner, validation, edge_type, kinds), _told(train, test, edge_type, kinds)


def _told(train: Hypergraph, test: Hypergraph, edge_type: str, kinds: tuple[str, ...]) -> Task:
    events = in_order(test, edge_type).with_columns(place=pl.int_range(pl.len()).over("user"))
    events = events.filter(pl.len().over("user") > TOLD[-1])
    if not events.height:
        raise DataError(f"no user held out of '{edge_type}' has more than {TOLD[-1]} items: nothing can be measured.")
    user, item = test.edge_table(edge_type).vertex_columns[:2]
    shape = len(test.vocabulary(user)), len(test.vocabulary(item))

    def matrix(chosen: pl.DataFrame) -> sp.csr_matrix:
        places = chosen["user"].to_numpy(), chosen["item"].to_numpy()
        return sp.csr_matrix((np.ones(chosen.height, np.float32), places), shape)

    aside, held = matrix(events.filter(pl.col("place") < TOLD[-1])), matrix(events.filter(pl.col("place") >= TOLD[-1]))
    known = np.unique(np.concatenate([train.edge_table(kind).frame[user].to_numpy() for kind in kinds]))
    everyone = events["user"].unique().sort().to_numpy()
    asked = [np.intersect1d(everyone, known) if n == 0 else everyone for n in TOLD]
    users = np.concatenate(asked)
    told = [matrix(events.filter(pl.col("place") < n))[rows] for n, rows in zip(TOLD, asked, strict=True)]
    names = [f"{n} items told" if n != 1 else "1 item told" for n in TOLD]
    parts = np.repeat(names, [len(rows) for rows in asked])
    return Task(train, edge_type, held[users], users, aside[users], told=sp.vstack(told, format="csr"), parts=parts)


def next_basket(graph: Hypergraph, edge_type: str, least: int) -> Tasks:
    """The edges of each user's last time, of those with two times or more; for validation the time before. Items come back.

    Items with fewer than `least` edges are left out.
    """
    user, item = graph.edge_table(edge_type).vertex_columns[:2]
    rows = graph.table(edge_type).select(user, item, "weight", "time").filter(pl.len().over(item) >= least)
    test = _last_time(graph_from_frames({edge_type: rows}), edge_type)
    return _last_time(test.train, edge_type), test


def _last_time(graph: Hypergraph, edge_type: str) -> Task:
    table = graph.edge_table(edge_type)
    user = table.vertex_columns[0]
    last = (pl.col("time") == pl.col("time").max().over(user)) & (pl.col("time") > pl.col("time").min().over(user))
    held = graph.with_edges({edge_type: EdgeTable(table.modalities, table.frame.filter(last))})
    train = graph.with_edges({edge_type: EdgeTable(table.modalities, table.frame.filter(~last))})
    if not held.edges[edge_type].n_edges:
        raise DataError(f"no {user} has edges of '{edge_type}' at two times: nothing can be measured.")
    baskets = pair_matrix(held, edge_type)
    users = np.flatnonzero(np.diff(baskets.indptr))
    return Task(train, edge_type, baskets[users], users)


def with_edges(graph: Hypergraph, edge_type: str, kinds: tuple[str, ...]) -> Tasks:
    """A part of each user's items, at random, with the edges of these types beside those of the held-out one."""
    return _split(graph.select(edge_type, *kinds), edge_type)


def _split(
    graph: Hypergraph, edge_type: str, by: str = "random", *, fraction: float = 0.2, seed: int = SEED, n_validation: int = 1
) -> Tasks:
    train, test = split(graph, edge_type, by=by, fraction=fraction, seed=seed)
    inner = [split(train, edge_type, by=by, fraction=fraction / 2, seed=seed + 1 + turn) for turn in range(n_validation)]
    return tuple(of_pairs(*one, edge_type) for one in (*inner, (train, test)))

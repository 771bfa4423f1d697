"""From a Hypergraph to what the engine takes: rows of the table, shards of edges, histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.errors import ModelError, listed
from hyperrec.hypergraph import EdgeArrays, Hypergraph
from hyperrec.roles import Roles, joins, roles
from hyperrec.topics.contexts import NO_PLAN, Context, FoldIn, Ordered, Plan
from hyperrec.topics.shards import Edges, History, Pairs, Shard
from hyperrec.topics.state import Layout
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.store import StoredHypergraph

NEAR = 512  # rows that a cache holds
NO_TIME = np.iinfo(np.int64).min


class Settings(TypedDict):
    """The settings of a model that the assembly depends on."""

    container: str | None
    context: Context | None
    length_damping: float
    context_exponent: float


class Positions(NamedTuple):
    """Edges of containers: owners (E,), rows (E, h) of the other vertices, the item first, weight (E,), time (E,) or None."""

    owners: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    time: np.ndarray | None

    def within(self, first: int, stop: int) -> Positions:
        """Those of the containers first to stop."""
        here = (self.owners >= first) & (self.owners < stop)
        return Positions(*(None if one is None else one[here] for one in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Assembly:
    """A training problem.

    offsets: modality -> its first row in the table; sizes: modality -> number of rows. shards, layout: for `topics.em.fit`.
    history: the positions of each container (an expressed container), weights with tau; merged by vertex where the context knows
    no order. seen (D, I) CSR float32: the items of each container. counts (V,): weight of the
    edges of each vertex, tau included; for an item, of those of the first type that joins it to users.
    """

    offsets: dict[str, int]
    sizes: dict[str, int]
    shards: Sequence[Shard]
    layout: Layout
    history: History
    seen: sp.csr_matrix
    counts: np.ndarray


class Part(NamedTuple):
    """What the edges of some containers come to: shards of them, the histories and seen items of these containers, and
    sums (3, V) float64 that add up over the parts: counts as in `Assembly`, mass and whole weight of the edges as in `Layout`."""

    shards: list[Pairs | Edges]
    history: History
    seen: sp.csr_matrix
    sums: np.ndarray


@dataclass(frozen=True)
class Outline:
    """What the parts of a training problem share: tables, taus and the settings of the model.

    importance (V,): factor of each table row in contexts; n_users: containers, or whatever modality has the users' role.
    """

    offsets: dict[str, int]
    sizes: dict[str, int]
    edges: Mapping[str, float]
    part_of: Roles
    importance: np.ndarray
    n_users: int
    container: str | None
    context: Context | None
    length_damping: float
    context_exponent: float

    @classmethod
    def of(
        cls,
        graph: Hypergraph | StoredHypergraph,
        edges: Mapping[str, float],
        known: Roles | None = None,
        sizes: dict[str, int] | None = None,
        **settings: Unpack[Settings],
    ) -> Outline:
        """known, sizes: the roles and the table of a model that goes on with new edges."""
        container, context = settings["container"], settings["context"]
        modalities = {name: graph.edges[name].modalities for name in edges}
        expressed = container is not None and context is not None
        part_of = known or Roles.of(modalities, edges, *roles(graph, edges, container), expressed)
        pairs = expressed and all(len(members) == 2 and part_of.user in members for members in modalities.values())
        if _is_exact(context) and known:
            raise ModelError("FoldIn(exact=True) has no partial_fit: fit anew to all the edges, or leave exact out.")
        if _is_exact(context) and not pairs:
            raise ModelError(
                "FoldIn(exact=True) takes pairs, container x vertex, alone: "
                f"the edges are {listed(edges)}. Choose among them by edges=, or leave exact out."
            )
        if sizes is None:
            used = {modality for members in modalities.values() for modality in members}
            if expressed and not any(members.count(part_of.user) > 1 for members in modalities.values()):
                used.discard(part_of.user)  # an expressed container has a row only as a member of another one's history: a friend
            sizes = {m: len(graph.vocabulary(m)) for m in graph.vocabularies if m in used}
        starts = np.concatenate([[0], np.cumsum(list(sizes.values()))])
        offsets = dict(zip(sizes, starts[:-1].tolist(), strict=True))
        factor = importance_of(context, graph.vocabulary(part_of.item), offsets[part_of.item], int(starts[-1]))
        return cls(offsets, sizes, edges, part_of, factor, len(graph.vocabulary(part_of.user)), **settings)

    def part(self, graph: Hypergraph, first: int, stop: int, known: Assembly | None = None) -> Part:
        """The part of the containers first to stop: their edges are all in the graph, and an edge of two of them, one of which is
        in another part, is in both graphs, but counts where its first container is.

        known: what was assembled before, over the vocabularies of this graph: see `assemble`.
        """
        part_of, offsets, context, in_order = self.part_of, self.offsets, self.context, self._in_order
        user, item, expressed = part_of.user, part_of.item, part_of.expressed
        plan = context.plan() if context is not None else NO_PLAN
        n_rows, n_users = len(self.importance), stop - first
        counts, mass, whole = sums = np.zeros((3, n_rows))
        positions: list[Positions] = []
        grouped: list[Positions] = []
        free: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        seen = sp.csr_matrix((n_users, self.sizes[item]), dtype=np.float32)
        for name, tau in self.edges.items():
            one = graph.to_arrays(name)
            if expressed and set(one.modalities) == {user} and one.order == 1:
                raise ModelError(f"edge type '{name}' holds nothing but the container '{user}': leave it out of edges=.")
            if joins(one.modalities, user, item):
                seen = seen.maximum(_met(one, user, item, first, seen.shape))
            owners, rows, others = _place(one, user if expressed else None, item, offsets)
            here = one.of_first(user, first, stop)
            # how popular an item is, its attributes do not say, nor the same events again
            told = [m for m in one.modalities if m != item or name == part_of.popular]
            weight = (here.weight * np.float32(tau)).astype(np.float32)
            counts += _totals(_rows_of(here, told, offsets), weight, n_rows)
            if owners is None:
                rows = _rows_of(here, here.modalities, offsets)
                free.setdefault(rows.shape[1], []).append((rows, weight))
                mass += _totals(rows, weight / rows.shape[1], n_rows)
                whole += _totals(rows, weight, n_rows)
                continue
            weight = (one.weight * np.float32(tau)).astype(np.float32)
            times = len(owners) // max(len(weight), 1)  # an edge of two friends is one of each
            part = Positions(owners, rows, np.tile(weight, times), None if one.time is None else np.tile(one.time, times))
            if times > 1:
                part = part.within(first, stop)
            part = part._replace(owners=part.owners - first)
            if name in part_of.in_history:
                positions.append(part)
            if len(others) > 1:
                grouped.append(part)
        new, new_time = collect_history(positions, context, n_users, n_rows)
        new.importance = self.importance[new.vertices]
        history = _joined(known.history, new, in_order, n_rows) if known else new
        before = np.diff(known.history.indptr) if known and in_order else np.zeros(n_users, np.int64)
        # lengths in units of tau: ten times all the taus is the same problem
        lengths = np.bincount(history.owners, history.weight, n_users) / part_of.unit
        damping = np.where(lengths > 0, np.maximum(lengths, 1e-12) ** -self.length_damping, 1.0).astype(np.float32)
        shards: list[Pairs | Edges] = []
        counted = new.weight * damping[new.owners]
        has_pairs = any(part.rows.shape[1] == 1 for part in positions)
        if has_pairs and not in_order and not plan.passes and known is None:
            shards.append(Pairs(history, damping, plan))
        elif has_pairs:
            place = np.arange(len(new.vertices)) - new.indptr[:-1][new.owners]
            if known and not in_order:
                place = _places(history, None, new.owners, new.vertices, None)
            shards.append(Edges(new.indptr, new.vertices[:, None], counted, before[new.owners] + place, history, plan))
        if has_pairs:
            mass += _totals(new.vertices[:, None], counted, n_rows)
        for part in grouped:
            part = part._replace(weight=part.weight * damping[part.owners])
            edges = _in_context(part, new if in_order else history, new_time, before, history, plan)
            # where the histories are these edges, a fold-in is of all their vertices
            alone = isinstance(context, FoldIn) and known is None and not has_pairs and len(grouped) == 1
            shards.append(replace(edges, folded=True) if alone else edges)
            mass += _totals(part.rows[:, :1], part.weight, n_rows)
            whole += _totals(part.rows, part.weight, n_rows)
        for same_order in free.values():  # types of one order are one shard: the E-step does not tell them apart
            rows, weight = (np.concatenate(part) for part in zip(*same_order, strict=True))
            order = np.lexsort((rows[:, -1], rows[:, 0] // NEAR))  # so that two rows of an edge are in the cache
            shards.append(Edges.symmetric(rows[order], weight[order]))
        if user == item:  # no one is recommended to oneself
            seen = seen.maximum(sp.eye(*seen.shape, first, np.float32, format="csr"))
        seen.sort_indices()
        return Part(shards, history, seen, sums)

    def assembly(
        self, shards: Sequence[Shard], history: History, seen: sp.csr_matrix, sums: np.ndarray,
        known: Assembly | None = None,
    ) -> Assembly:  # fmt: skip
        """The whole problem, of the shards of all parts, the histories of all containers and the sums over the parts."""
        counts, mass, whole = sums
        part_of, sizes, offsets = self.part_of, self.sizes, self.offsets
        exponents = tuple(self.context_exponent if part_of.expressed and m in part_of.companions else 1.0 for m in sizes)
        as_phi = set(sizes) - {self.container} if self.container is not None else set()
        as_phi = set(part_of.companions) if part_of.expressed else as_phi
        phi_weight = np.concatenate([whole[offsets[m] : offsets[m] + size] * (m in as_phi) for m, size in sizes.items()])
        if known:
            counts, mass, seen = counts + known.counts, mass + known.layout.mass, seen.maximum(known.seen)
            phi_weight = phi_weight + (0 if known.layout.phi_weight is None else known.layout.phi_weight)
            seen.sort_indices()
        in_phi = phi_weight if as_phi & set(sizes) else None
        layout = Layout(tuple(sizes.values()), mass, in_phi, exponents, _is_exact(self.context))
        return Assembly(offsets, sizes, shards, layout, history, seen, counts)

    @property
    def _in_order(self) -> bool:
        return self.context is not None and self.context.ordered


def assemble(
    graph: Hypergraph,
    edges: Mapping[str, float],
    *,
    known: tuple[Assembly, Roles] | None = None,
    **settings: Unpack[Settings],
) -> Assembly:
    """Lay out the table, cut the edges into shards, and collect the histories: all containers are one part.

    known: what was assembled before, over the vocabularies of this graph, and its roles: the shards are those of the new edges,
    read in the longer histories, and all else is of both; new positions come after the known ones.
    """
    old, part_of = known or (None, None)
    outline = Outline.of(graph, edges, part_of, old.sizes if old else None, **settings)
    part = outline.part(graph, 0, outline.n_users, old)
    return outline.assembly(part.shards, part.history, part.seen, part.sums, old)


def _is_exact(context: Context | None) -> bool:
    return isinstance(context, FoldIn) and context.exact


def _joined(known: History, new: History, in_order: bool, n_rows: int) -> History:
    """The positions of both: new ones after the known, or merged where no order counts."""
    if not in_order:
        total = (known.matrix(n_rows) + new.matrix(n_rows)).tocsr()
        total.sort_indices()
        return History(total.indptr.astype(np.int64), total.indices.astype(np.int32), total.data.astype(np.float32))
    owners = np.concatenate([known.owners, new.owners])
    order = np.argsort(owners, kind="stable")
    names = ("vertices", "weight", "importance", "starts")
    parts = {name: np.concatenate([getattr(known, name), getattr(new, name)])[order] for name in names}
    return History.of(owners[order], n_containers=len(known.indptr) - 1, **parts)


def _place(
    one: EdgeArrays, expressed: str | None, item: str, offsets: Mapping[str, int]
) -> tuple[np.ndarray | None, np.ndarray, list[str]]:
    """The container of each edge (None: the edge type has none), the table rows of its other vertices, their modalities.

    An edge with several vertices of the container's modality (friends) is an edge of each of them, in their order. The item
    goes first: what an edge's context leaves out is its first vertex.
    """
    owning = [j for j, modality in enumerate(one.modalities) if modality == expressed]
    if not owning or one.order == 1:
        return None, _rows_of(one, one.modalities, offsets), list(one.modalities)
    parts = [
        sorted((j for j in range(one.order) if j != owner), key=lambda j: one.modalities[j] != item) for owner in owning
    ]
    shifted = [one.vertices[:, part] + np.array([offsets[one.modalities[j]] for j in part], np.int32) for part in parts]
    owners = np.concatenate([one.vertices[:, owner] for owner in owning])
    return owners, np.ascontiguousarray(np.concatenate(shifted), np.int32), [one.modalities[j] for j in parts[0]]


def _rows_of(one: EdgeArrays, modalities: Sequence[str], offsets: Mapping[str, int]) -> np.ndarray:
    """(E, <= h) int32 table rows of the vertices of these modalities, but for those without rows."""
    columns = [j for j, m in enumerate(one.modalities) if m in modalities and m in offsets]
    first = np.array([offsets[one.modalities[j]] for j in columns], np.int32)
    return np.ascontiguousarray(one.vertices[:, columns] + first, np.int32)


def _met(one: EdgeArrays, user: str, item: str, first: int, shape: tuple[int, int]) -> sp.csr_matrix:
    """Which items each user from `first` on has met in the edges of one type, (D, I) CSR of ones."""
    users, items = ([j for j, m in enumerate(one.modalities) if m == wanted] for wanted in (user, item))
    pairs = [one.vertices[:, [a, b]] for a in users for b in items if a != b]
    met = np.concatenate(pairs) - np.array([first, 0], np.int32)
    if len(pairs) > 1:  # one of two users may be in another part
        met = met[(met[:, 0] >= 0) & (met[:, 0] < shape[0])]
    matrix = sp.csr_matrix((np.ones(len(met), np.float32), (met[:, 0], met[:, 1])), shape=shape)
    matrix.data[:] = 1
    return matrix


def _totals(rows: np.ndarray, weight: np.ndarray, n_rows: int) -> np.ndarray:
    """Total weight at each table row, (V,) float64, of edges rows (E, h)."""
    return sum((np.bincount(column, weight, n_rows) for column in rows.T), start=np.zeros(n_rows))


def collect_history(
    parts: Sequence[Positions], context: Context | None, n_users: int, n_rows: int
) -> tuple[History, np.ndarray | None]:
    """The positions of all containers, and their times where the context reads them in their order.

    Without an order, the positions of one vertex are merged. What has no time comes first, as its rows stand.
    """
    if not parts or context is None:
        return History.none(n_users), None
    owners, vertices = np.concatenate([part.owners for part in parts]), np.concatenate([part.rows[:, 0] for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    if not context.ordered:
        total = sp.csr_matrix((weight.astype(np.float64), (owners, vertices)), shape=(n_users, n_rows))  # sums what repeats
        total.sort_indices()
        merged = total.astype(np.float32)
        return History(merged.indptr.astype(np.int64), merged.indices.astype(np.int32), merged.data), None
    time = np.concatenate([np.full(len(part.owners), NO_TIME) if part.time is None else part.time for part in parts])
    order = np.lexsort((time, owners))
    owners, time = owners[order], time[order]
    starts = new_documents(owners, time, context)
    return History.of(owners, vertices[order], weight[order], n_users, starts=starts), time


def importance_of(context: Context | None, items: Vocabulary, offset: int, n_rows: int) -> np.ndarray:
    """(V,) float32, the factor of each table row in contexts. Raises DataError for an unknown item."""
    factor = np.ones(n_rows, np.float32)
    if isinstance(context, Ordered) and context.importance:
        factor[offset + items.rows(list(context.importance))] = list(context.importance.values())
    return factor


def new_documents(owners: np.ndarray, time: np.ndarray, context: Context) -> np.ndarray:
    """(N,) bool: the positions that come after a pause of the context, in the order of owners and time."""
    starts = np.zeros(len(owners), bool)
    if isinstance(context, Ordered) and context.pause is not None and len(owners):
        gap = np.diff(time.astype(np.float64))
        starts[1:] = (gap > context.pause) & (time[:-1] != NO_TIME) & (np.diff(owners) == 0)
    return starts


def _in_context(
    part: Positions, placed: History, time: np.ndarray | None, before: np.ndarray, history: History, plan: Plan
) -> Edges:
    """Edges of order above 2, grouped by container, each with its place among the positions `placed`, which stand in the history
    after `before` (D,) others."""
    order = np.argsort(part.owners, kind="stable")
    owners, rows, weight = part.owners[order], np.ascontiguousarray(part.rows[order]), part.weight[order].astype(np.float32)
    indptr = np.searchsorted(owners, np.arange(len(history.indptr))).astype(np.int64)
    place = _places(placed, time, owners, rows[:, 0], None if part.time is None else part.time[order])
    return Edges(indptr, rows, weight, before[owners] + place, history, plan)


def _places(
    history: History, history_time: np.ndarray | None, owners: np.ndarray, vertices: np.ndarray, time: np.ndarray | None
) -> np.ndarray:
    """(E,) the first position of the edge's vertex (at its time, where both have one) in its container's history.

    Where there is none: of the first position that is not earlier; without times the number of positions.
    """
    keys = {"owner": (history.owners, owners), "vertex": (history.vertices, vertices)}
    otherwise = np.diff(history.indptr)[owners]
    if history_time is not None and time is not None:
        moments = np.unique(np.concatenate([history_time, time]))
        of_history, of_edges = np.searchsorted(moments, history_time), np.searchsorted(moments, time)
        keys["moment"] = of_history, of_edges
        later = np.searchsorted(history.owners * len(moments) + of_history, owners * len(moments) + of_edges)
        otherwise = later - history.indptr[owners]
    known, asked = (pl.DataFrame({name: both[side].astype(np.int64) for name, both in keys.items()}) for side in (0, 1))
    known = known.with_columns(place=np.arange(known.height) - history.indptr[:-1][history.owners])
    known = known.unique(list(keys), keep="first", maintain_order=True)
    found = asked.join(known, on=list(keys), how="left", maintain_order="left")["place"]
    return np.where(found.is_null().to_numpy(), otherwise, found.fill_null(0).to_numpy()).astype(np.int64)

"""From a Hypergraph to what the engine takes: rows of the table, shards of edges, histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hyperrec.errors import ModelError, did_you_mean, listed
from hyperrec.hypergraph import EdgeArrays, Hypergraph
from hyperrec.topics.em import Edges, History, Layout, Pairs, Shard


@dataclass(frozen=True)
class Assembly:
    """A training problem.

    offsets: modality -> its first row in the table; sizes: modality -> number of rows. shards, layout: for `topics.em.fit`.
    history (D, V) CSR float32: weighted table rows of each container (an expressed container), tau included.
    seen (D, I) CSR float32: the items of each container. counts (V,): weight of the
    edges of each vertex, tau included; for an item, of those of the first type that joins it to users.
    """

    offsets: dict[str, int]
    sizes: dict[str, int]
    shards: list[Shard]
    layout: Layout
    history: sp.csr_matrix
    seen: sp.csr_matrix
    counts: np.ndarray


def check_edges(graph: Hypergraph, edges: Mapping[str, float] | None, container: str | None) -> dict[str, float]:
    """Edge types and their weights tau, checked against the graph; all types with weight 1 when none are named."""
    if container is not None and container not in graph.vocabularies:
        raise ModelError(
            f"container '{container}' is not a modality of the graph, which has {listed(graph.vocabularies)}."
            f"{did_you_mean(container, graph.vocabularies)} Set container=... to the one that owns the histories."
        )
    chosen = dict(edges) if edges else dict.fromkeys(graph.edges, 1.0)
    for name, tau in chosen.items():
        if name not in graph.edges:
            raise ModelError(
                f"unknown edge type '{name}' in edges: the graph has {listed(graph.edges)}.{did_you_mean(name, graph.edges)}"
            )
        if not (isinstance(tau, (int, float, np.number)) and np.isfinite(tau) and tau > 0):
            raise ModelError(f"edges['{name}'] is the weight tau of an edge type: expected a number > 0, got {tau!r}.")
        if graph.edges[name].frame.height == 0:
            raise ModelError(f"edge type '{name}' has no edges: leave it out of edges=, or check the log.")
    return chosen


def roles(graph: Hypergraph, edges: Mapping[str, float], container: str | None) -> tuple[str, str]:
    """(user modality, item modality): the container and the first other vertex of the first edge type that has one."""
    for name in edges:
        modalities = graph.edges[name].modalities
        owner = container or modalities[0]
        others = [one for one in modalities if one != owner]
        if owner in modalities and others:
            return owner, others[0]
    for name in edges:  # friends or citations alone: the items are vertices of the same modality
        modalities = graph.edges[name].modalities
        owner = container or modalities[0]
        if modalities.count(owner) > 1:
            return owner, owner
    raise ModelError(
        f"no edge type joins {container or 'its first modality'} to another modality: edges has {listed(edges)}. "
        "Add one, such as user x item."
    )


def assemble(
    graph: Hypergraph,
    edges: Mapping[str, float],
    *,
    container: str | None,
    expressed: bool,
    length_damping: float,
    context_exponent: float,
) -> Assembly:
    """Lay out the table, cut the edges into shards, and collect the histories."""
    arrays = {name: graph.to_arrays(name) for name in edges}
    user, item = roles(graph, edges, container)
    used = {modality for one in arrays.values() for modality in one.modalities}
    if expressed and not any(one.modalities.count(user) > 1 for one in arrays.values()):
        used.discard(user)  # an expressed container has a row only as a member of another one's history: a friend
    sizes = {m: len(graph.vocabulary(m)) for m in graph.vocabularies if m in used}
    starts = np.concatenate([[0], np.cumsum(list(sizes.values()))])
    offsets = dict(zip(sizes, starts[:-1].tolist(), strict=True))
    n_rows, n_users = int(starts[-1]), len(graph.vocabulary(user))

    counts = np.zeros(n_rows)
    mass, whole = np.zeros(n_rows), np.zeros(n_rows)
    pairs: list[sp.coo_matrix] = []
    grouped: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    free: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    largest_tau = {"pairs": 0.0, "grouped": 0.0}
    seen = sp.csr_matrix((n_users, sizes[item]), dtype=np.float32)
    companions = set(sizes) - {item}
    for name, tau in edges.items():
        one = arrays[name]
        weight = (one.weight * np.float32(tau)).astype(np.float32)
        if expressed and set(one.modalities) == {user} and one.order == 1:
            raise ModelError(f"edge type '{name}' holds nothing but the container '{user}': leave it out of edges=.")
        joins = one.modalities.count(user) > 1 if item == user else {user, item} <= set(one.modalities)
        # how popular an item is, the type that says what an item is says alone: not its attributes, nor the same events again
        leaves_out = None if joins and not seen.nnz else item
        counts += _totals(_rows_of(one, [m for m in one.modalities if m != leaves_out], offsets), weight, n_rows)
        if joins:
            seen = seen.maximum(_met(one, user, item, seen.shape))
        owners, rows, others = _place(one, user if expressed else None, item, offsets)
        if owners is not None:
            weight = np.tile(weight, len(owners) // len(weight))
        if owners is None:
            free.setdefault(rows.shape[1], []).append((rows, weight))
            mass += _totals(rows, weight / rows.shape[1], n_rows)
            whole += _totals(rows, weight, n_rows)
            companions -= set(one.modalities)
        elif len(others) == 1:
            companions -= set(one.modalities)
            pairs.append(sp.coo_matrix((weight, (owners, rows[:, 0])), shape=(n_users, n_rows)))
            largest_tau["pairs"] = max(largest_tau["pairs"], tau)
        else:
            companions -= {others[0]}
            grouped.append((owners, rows, weight))
            largest_tau["grouped"] = max(largest_tau["grouped"], tau)
    history = _sum(pairs or [sp.coo_matrix((w, (d, r[:, 0])), shape=(n_users, n_rows)) for d, r, w in grouped], n_users, n_rows)
    # lengths in units of tau: ten times all the taus is the same problem
    lengths = np.asarray(history.sum(axis=1)).ravel() / (largest_tau["pairs"] or largest_tau["grouped"] or 1.0)
    damping = np.where(lengths > 0, np.maximum(lengths, 1e-12) ** -length_damping, 1.0).astype(np.float32)
    as_history = History(history.indptr.astype(np.int64), history.indices.astype(np.int32), history.data)
    shards: list[Shard] = []
    if pairs:
        shards.append(Pairs(as_history, damping))
        counted = as_history.weight * np.repeat(damping, np.diff(history.indptr))
        mass += _totals(as_history.vertices[:, None], counted, n_rows)
    for owners, rows, weight in grouped:
        shards.append(_in_context(owners, rows, weight * damping[owners], as_history, history))
        mass += _totals(rows[:, :1], weight * damping[owners], n_rows)
        whole += _totals(rows, weight * damping[owners], n_rows)
    for same_order in free.values():  # types of one order are one shard: the E-step does not tell them apart
        rows, weight = (np.concatenate(part) for part in zip(*same_order, strict=True))
        shards.append(Edges.symmetric(rows, weight))
    exponents = tuple(context_exponent if expressed and m in companions else 1.0 for m in sizes)
    as_phi = companions if expressed else set(sizes) - {container} if container is not None else set()
    phi_weight = np.concatenate([whole[offsets[m] : offsets[m] + size] * (m in as_phi) for m, size in sizes.items()])
    layout = Layout(tuple(sizes.values()), mass, phi_weight if as_phi else None, exponents)
    if user == item:  # no one is recommended to oneself
        seen = seen.maximum(sp.identity(n_users, np.float32, format="csr"))
    seen.sort_indices()
    return Assembly(offsets, sizes, shards, layout, history, seen, counts)


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


def _met(one: EdgeArrays, user: str, item: str, shape: tuple[int, int]) -> sp.csr_matrix:
    """Which items each user has met in the edges of one type, (D, I) CSR of ones."""
    users, items = ([j for j, m in enumerate(one.modalities) if m == wanted] for wanted in (user, item))
    pairs = [one.vertices[:, [a, b]] for a in users for b in items if a != b]
    met = np.concatenate(pairs)
    matrix = sp.csr_matrix((np.ones(len(met), np.float32), (met[:, 0], met[:, 1])), shape=shape)
    matrix.data[:] = 1
    return matrix


def _totals(rows: np.ndarray, weight: np.ndarray, n_rows: int) -> np.ndarray:
    """Total weight at each table row, (V,) float64, of edges rows (E, h)."""
    return sum((np.bincount(column, weight, n_rows) for column in rows.T), start=np.zeros(n_rows))


def _sum(parts: list[sp.coo_matrix], n_users: int, n_rows: int) -> sp.csr_matrix:
    """One CSR of all parts, repeated entries added, columns ascending."""
    total = sp.csr_matrix((n_users, n_rows), dtype=np.float32)
    for part in parts:
        total = total + part.tocsr()
    total.sum_duplicates()
    total.sort_indices()
    return total.astype(np.float32)


def _in_context(
    owners: np.ndarray, rows: np.ndarray, weight: np.ndarray, as_history: History, history: sp.csr_matrix
) -> Edges:
    """Edges of order above 2, grouped by container, each with the weight of its first vertex in the history."""
    order = np.argsort(owners, kind="stable")
    owners, rows, weight = owners[order], np.ascontiguousarray(rows[order]), weight[order].astype(np.float32)
    indptr = np.searchsorted(owners, np.arange(history.shape[0] + 1)).astype(np.int64)
    own = np.asarray(history[owners, rows[:, 0]]).ravel().astype(np.float32)
    return Edges(indptr, rows, weight, own, as_history)

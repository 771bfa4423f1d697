"""Edge types and their weights, and what they are to each other in a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyperrec.errors import ModelError, did_you_mean, listed
from hyperrec.hypergraph import Hypergraph

if TYPE_CHECKING:
    from hyperrec.store import StoredHypergraph


def check_edges(
    graph: Hypergraph | StoredHypergraph, edges: Mapping[str, float] | None, container: str | None
) -> dict[str, float]:
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
        if graph.edges[name].n_edges == 0:
            raise ModelError(f"edge type '{name}' has no edges: leave it out of edges=, or check the log.")
    return chosen


def roles(graph: Hypergraph | StoredHypergraph, edges: Mapping[str, float], container: str | None) -> tuple[str, str]:
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


@dataclass(frozen=True)
class Roles:
    """What the edge types of a model are to each other; depends on their modalities and weights alone.

    user, item: modalities. in_history: types whose edges are the positions of histories: pairs with the container, or the longer
    ones where there are no pairs. popular: the type that says how popular an item is, the first one between users and items.
    companions: modalities that only accompany (container, item) edges. unit: the largest tau in a history, in which its length is
    counted.
    """

    user: str
    item: str
    expressed: bool
    in_history: frozenset[str]
    popular: str | None
    companions: frozenset[str]
    unit: float

    @classmethod
    def of(
        cls, modalities: Mapping[str, tuple[str, ...]], edges: Mapping[str, float], user: str, item: str, expressed: bool
    ) -> Roles:
        contained = [name for name in edges if expressed and user in modalities[name] and len(modalities[name]) > 1]
        pairs = [name for name in contained if len(modalities[name]) == 2]
        accompany = {m for members in modalities.values() for m in members} - {item}
        for name in edges:
            members = modalities[name]
            if name in contained and name not in pairs:  # its first vertex beside the container is the position
                accompany.discard(item if item in members else next(m for m in members if m != user))
            else:
                accompany -= set(members)
        positions = pairs or contained
        popular = next((name for name in edges if joins(modalities[name], user, item)), None)
        unit = max((edges[name] for name in positions), default=1.0)
        return cls(user, item, expressed, frozenset(positions), popular, frozenset(accompany - {user}), unit)


def joins(modalities: Sequence[str], user: str, item: str) -> bool:
    """Whether edges of these modalities have a user and an item."""
    return modalities.count(user) > 1 if user == item else {user, item} <= set(modalities)

"""Contexts: how the members of a container become the topic vector in which each of its positions is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mean:
    """Leave-one-out mean: the context of a vertex is the average of the container's other vertices.

    The context of position i is sum_{u != w_i} a_u p(t|u) / sum_{u != w_i} a_u, with a_u the weight of u in the
    container: every occurrence of w_i itself is left out, so a model never learns an item from the item.
    Slides: "EM-algorithm with a localized E-step".
    """

"""Memory: a user's own events, which come back, as a component of what is expected of her."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from hyperrec.hypergraph import Hypergraph
from hyperrec.topics.kernels.memory import count_classes, count_returns, own_shares

LAGS = 8  # 1 time ago, 2 to 3, 4 to 7, ..., 128 or more
CLASSES = 256  # of lags and contexts; where there would be more, it is counted how many contexts are the same, and not asked which
TARGETS = 100_000  # events that the weights are learned from
TABLE = 2**22  # numbers in a table of targets and classes
READ = 3e8  # events that are read for it: fewer targets where some user has very many
PASSES = 200
STEADY = 20.0  # returns of an item to be expected, that are added to those found
TOPICS = 0.5  # of f_0 for the topics
LEAST = 1e-9  # of a weight that others are learned from


@dataclass(frozen=True)
class Memory:
    """The events of users, and what a class of them says of the next one.

    p(i|u, c) = (r_i sum_e f_k(e) [i_e = i] + f_0 p(i|topics)) / (its sum over items), over the events e of the user; the class
    k(e) says how many of her times ago it was (1, 2 to 3, 4 to 7, ...) and in which of the contexts asked for. The weights f
    maximize the likelihood of events by the other ones of their users, the earlier ones where there are times, with p(i) in place
    of the topics:

        f_k <- sum_n p(k | n) / sum_n (events of class k beside n) / (sum of the weights of all beside n),

    the E-step of a mixture, and a tangent below -ln of the sum (as Hunter 2004 does for Bradley and Terry): it never falls. First
    they are learned by how many of the contexts are the same; then by which, with one event for each class that has that weight,
    so that a class with few events, or none, keeps it. Then r_i, how willingly users come back to an item, by one such step
    without contexts, with STEADY events for each item that are as expected. The topics are given half of f_0: they know, as p(i)
    does not, of the user's own items, for which her events speak already.

    contexts: modalities. indptr (U + 1,), items (N,), places (N, C): of the events, by user; time (N,) or empty; ago (N,): how many
    times of the user ago, from 1; 0 without times. weights (L 2^C + 1,): by class, f_0 last, (L (C + 1) + 1,) where there would be
    more than CLASSES; plain (L + 1,): where no contexts are asked for. returns (I,): r.
    """

    contexts: tuple[str, ...]
    indptr: np.ndarray
    items: np.ndarray
    places: np.ndarray
    time: np.ndarray
    ago: np.ndarray
    weights: np.ndarray
    plain: np.ndarray
    returns: np.ndarray

    @property
    def n_lags(self) -> int:
        return len(self.plain) - 1

    def of(
        self, users: np.ndarray, n_items: int, given: Mapping[str, np.ndarray] | None = None
    ) -> tuple[sp.csr_matrix, np.ndarray]:
        """(n, I) CSR: what the events of users (n,) say of items, and what is left for their topics (n,).

        given : modality -> rows (n,), or (1,) for all, of the contexts; read where all of them are given.
        """
        lengths = np.diff(self.indptr)[users]
        starts = np.append(0, np.cumsum(lengths)).astype(np.int64)
        values, rest = np.zeros(starts[-1], np.float32), np.ones(len(users), np.float32)
        chosen = [j for j, modality in enumerate(self.contexts) if given is not None and modality in given]
        if chosen and len(chosen) == len(self.contexts):
            assert given is not None
            asked = np.stack([np.broadcast_to(given[modality], len(users)) for modality in self.contexts], axis=1).astype(np.int32)
            places, weights = self.places, self.weights
        else:
            asked, places, weights = np.empty((len(users), 0), np.int32), self.places[:, :0], self.plain
        own_shares(
            self.indptr, self.items, np.ascontiguousarray(places), self.ago, users, asked, self.n_lags, weights[:-1], weights[-1],
            np.append(self.returns, np.ones(n_items - len(self.returns))), starts, values, rest,
        )  # fmt: skip
        at = np.repeat(self.indptr[users] - starts[:-1], lengths) + np.arange(starts[-1])
        return sp.csr_matrix((values, self.items[at], starts), (len(users), n_items)), rest

    def of_new(self, owners: np.ndarray, items: np.ndarray, time: np.ndarray | None, n_users: int) -> Memory:
        """The events of users who were not there, whose contexts are not told; the weights are these."""
        none = np.empty((len(items), 0), np.int32)
        return replace(_sorted(owners, items, none, time, n_users), weights=self.weights, plain=self.plain, returns=self.returns)


def memory_of(
    graph: Hypergraph, edges: Mapping[str, float], user: str, item: str, known: Memory | None = None
) -> Memory | None:
    """The memory of a log in which users come back to items, from the longest edge type that joins them; None for others.

    known : the memory of the events before, which go on.
    """
    joining = [name for name in edges if {user, item} <= set(graph.edges[name].modalities) and user != item]
    n_users, n_items = len(graph.vocabulary(user)), len(graph.vocabulary(item))
    if not joining:
        return _longer(known, n_users)
    arrays = graph.to_arrays(max(joining, key=lambda name: len(graph.edges[name].modalities)))
    columns = list(arrays.modalities)
    contexts = tuple(dict.fromkeys(m for m in columns if m not in (user, item)))
    if known is not None and (known.contexts != contexts or bool(len(known.time)) != (arrays.time is not None)):
        return _longer(known, n_users)
    owners, items = arrays.vertices[:, columns.index(user)], arrays.vertices[:, columns.index(item)]
    places = arrays.vertices[:, [columns.index(m) for m in contexts]]
    time = arrays.time
    if known is not None:
        owners = np.append(np.repeat(np.arange(len(known.indptr) - 1), np.diff(known.indptr)), owners)
        items, places = np.append(known.items, items), np.concatenate([known.places, places])
        time = None if time is None else np.append(known.time, time)
    pairs = owners.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    if len(np.unique(pairs)) == len(pairs):
        return None
    memory = replace(_sorted(owners, items, places, time, n_users), contexts=contexts)
    share_of = np.bincount(items, minlength=n_items) / len(items)
    weights, plain = (_learned(memory, one, share_of) for one in (memory.places, memory.places[:, :0]))
    returns = _returns(memory, plain, share_of)
    topics = np.append(np.ones(memory.n_lags), TOPICS)
    return replace(memory, weights=weights * np.append(np.ones(len(weights) - 1), TOPICS), plain=plain * topics, returns=returns)


def _longer(known: Memory | None, n_users: int) -> Memory | None:
    """With new users, who have no events in it."""
    if known is None:
        return None
    return replace(known, indptr=np.append(known.indptr, np.full(n_users + 1 - len(known.indptr), known.indptr[-1])))


def _sorted(owners: np.ndarray, items: np.ndarray, places: np.ndarray, time: np.ndarray | None, n_users: int) -> Memory:
    """Events by user and time; times count back from the last of each user."""
    order = np.argsort(owners, kind="stable") if time is None else np.lexsort((time, owners))
    owners, items, places = owners[order], items[order].astype(np.int32), np.ascontiguousarray(places[order], np.int32)
    indptr = np.searchsorted(owners, np.arange(n_users + 1)).astype(np.int64)
    ago = np.zeros(len(items), np.int32)
    if time is not None:
        time = time[order]
        new = np.append(True, (owners[1:] != owners[:-1]) | (time[1:] != time[:-1])) if len(items) else np.zeros(0, bool)
        rank = np.cumsum(new)
        ago = (rank[np.maximum(indptr[owners + 1] - 1, 0)] - rank + 1).astype(np.int32)
    none, n_lags = np.zeros(0), LAGS if time is not None else 1
    return Memory((), indptr, items, places, none if time is None else time, ago, none, np.zeros(n_lags + 1), none)


def _learned(memory: Memory, places: np.ndarray, share_of: np.ndarray) -> np.ndarray:
    """The weights of the classes and of p(i), from events that have others beside them or before."""
    matches = _matches(places.shape[1], memory.n_lags)
    n_classes = memory.n_lags * len(matches)
    owners, targets = _targets(memory, TABLE // n_classes)
    hits, counts = np.zeros((2, len(targets), n_classes), np.float32)
    places = np.ascontiguousarray(places)
    count_classes(memory.indptr, memory.items, places, memory.ago, owners, targets, memory.n_lags, len(matches), hits, counts)
    there = counts.any(axis=1)
    hits, counts, background = hits[there], counts[there], share_of[memory.items[targets[there]]]
    lag, match = np.divmod(np.arange(n_classes), len(matches))
    coarse = lag * (places.shape[1] + 1) + matches[match]
    to_coarse = sp.csr_matrix((np.ones(n_classes, np.float32), (np.arange(n_classes), coarse)))
    by_number = fitted(hits @ to_coarse, counts @ to_coarse, background)
    if to_coarse.shape[1] == n_classes:
        return by_number
    return fitted(hits, counts, background, np.append(by_number[coarse], by_number[-1]))


def _targets(memory: Memory, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The user of each event, and the events that are learned from."""
    owners = np.repeat(np.arange(len(memory.indptr) - 1), np.diff(memory.indptr))
    beside = float(np.sum(np.diff(memory.indptr).astype(float) ** 2)) / max(len(owners), 1)  # events of the user of an event
    n_targets = min(TARGETS, len(owners), max(int(READ / max(beside, 1.0)), 1), most)
    return owners, np.unique(np.linspace(0, len(owners) - 1, n_targets).astype(np.int64))


def _returns(memory: Memory, weights: np.ndarray, share_of: np.ndarray) -> np.ndarray:
    """r (I,)."""
    owners, targets = _targets(memory, TARGETS)
    none = np.empty((len(owners), 0), np.int32)
    found, expected = np.zeros((2, len(share_of)))
    count_returns(
        memory.indptr, memory.items, none, memory.ago, owners, targets, memory.n_lags, weights[:-1], weights[-1], share_of, found,
        expected,
    )  # fmt: skip
    return np.asarray((found + STEADY) / (expected + STEADY))


def _matches(n_contexts: int, n_lags: int) -> np.ndarray:
    """How many contexts are the same, by what is told apart: which they are, bit by bit, or how many."""
    number = np.arange(2**n_contexts if n_lags * 2**n_contexts <= CLASSES else n_contexts + 1)
    return np.array([int(one).bit_count() for one in number]) if len(number) == 2**n_contexts else number


def fitted(hits: np.ndarray, counts: np.ndarray, background: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """f (K + 1,): of what is beside each target, hits (N, K) and counts (N, K) by class, and the background (N,) = p(i) of it.

    prior (K + 1,) : for each class one event more, which this weight explains: sum_k ln f_k - f_k / prior_k is added to the
    likelihood, whose mode it is. None: nothing is added, and the largest weight is 1.
    """
    hits, counts = np.column_stack([hits, background]), np.column_stack([counts, np.ones(len(counts))])
    weights = (counts.sum(axis=0) > 0).astype(float)
    if not len(hits):
        return np.append(np.zeros(hits.shape[1] - 1), 1.0)
    one, least = (0.0, np.full(len(weights), 1e-30)) if prior is None else (1.0, 1 / np.maximum(prior, LEAST))
    if prior is not None:
        weights = np.maximum(prior, LEAST)
    for _ in range(PASSES):
        explained, total = hits @ weights, counts @ weights
        weights = (weights * (hits.T @ (1 / explained)) + one) / (counts.T @ (1 / total) + least)
        if prior is None:
            weights /= weights.max()
    return np.asarray(weights)

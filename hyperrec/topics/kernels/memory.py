"""A user's own events, by classes: how long ago, and in which of the contexts that are asked for."""

from __future__ import annotations

from numba import njit


@njit(nogil=True, cache=True)
def _class(ago, contexts, asked, n_lags, n_matches):
    """lag * M + matches: their number, or bit j for context j where M = 2^C; lag is floor(log2(ago)), 0 where events have no time
    (ago is 0)."""
    lag = 0
    while ago > 1 and lag < n_lags - 1:
        ago >>= 1
        lag += 1
    apart = n_matches == 1 << contexts.shape[0]
    matches = 0
    for j in range(contexts.shape[0]):
        if contexts[j] == asked[j]:
            matches += 1 << j if apart else 1
    return lag * n_matches + matches


@njit(nogil=True, cache=True)
def _class_beside(f, e, contexts, ago, n_lags, n_matches):
    """The class of event f as one that stands beside the target event e; -1 for e itself, and for events that are not before it
    where events have times."""
    since = ago[f] - ago[e]
    if f == e or since < 0 or (since == 0 and ago[e] > 0):
        return -1
    return _class(since, contexts[f], contexts[e], n_lags, n_matches)


@njit(nogil=True, cache=True)
def count_classes(indptr, items, contexts, ago, owners, targets, n_lags, n_matches, hits, counts):
    """For each target event, of the others of its user (the earlier ones, where events have times), by class: how many there are,
    counts (N, K), and how many are of its item, hits (N, K)."""
    for n in range(targets.shape[0]):
        e = targets[n]
        u = owners[e]
        for f in range(indptr[u], indptr[u + 1]):
            one = _class_beside(f, e, contexts, ago, n_lags, n_matches)
            if one >= 0:
                counts[n, one] += 1
                hits[n, one] += items[f] == items[e]


@njit(nogil=True, cache=True)
def count_returns(indptr, items, contexts, ago, owners, targets, n_lags, weights, background, share, found, expected):
    """For each item, found (I,): the sum of the probabilities that a target event is one that came back, by the weights (K,) of the
    classes of events of its item, and that of the background times the shares of items (I,); expected (I,): the sum of what the
    weights of events of the item are of all weights beside the targets."""
    n_matches = weights.shape[0] // n_lags
    for n in range(targets.shape[0]):
        e = targets[n]
        u = owners[e]
        total = background
        hit = 0.0
        for f in range(indptr[u], indptr[u + 1]):
            one = _class_beside(f, e, contexts, ago, n_lags, n_matches)
            if one >= 0:
                total += weights[one]
                if items[f] == items[e]:
                    hit += weights[one]
        if hit > 0:
            found[items[e]] += hit / (hit + background * share[items[e]])
        if total > 0:
            for f in range(indptr[u], indptr[u + 1]):
                one = _class_beside(f, e, contexts, ago, n_lags, n_matches)
                if one >= 0:
                    expected[items[f]] += weights[one] / total


@njit(nogil=True, cache=True)
def own_shares(indptr, items, contexts, ago, users, asked, n_lags, weights, background, returns, starts, values, rest):
    """p of each event of users (n,) by the weights (K,) of their classes times those of their items (I,), values from starts[n] on;
    rest (n,): of the background.

    asked (n, C): the contexts. Not parallel: servers ask from several threads at once.
    """
    n_matches = weights.shape[0] // n_lags
    for n in range(users.shape[0]):
        first = indptr[users[n]]
        last = indptr[users[n] + 1]
        total = background
        for f in range(first, last):
            weight = weights[_class(ago[f], contexts[f], asked[n], n_lags, n_matches)] * returns[items[f]]
            values[starts[n] + f - first] = weight
            total += weight
        if total > 0:
            rest[n] = background / total
            for f in range(first, last):
                values[starts[n] + f - first] /= total
        else:
            rest[n] = 1.0

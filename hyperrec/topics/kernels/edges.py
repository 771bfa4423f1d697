"""E-step of hyperedges of any order, and the contexts in which they are read."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hyperrec.topics.kernels import REORDER, kernel

TINY = np.float32(1e-30)
BACKGROUND, MEAN, AVERAGES, WINDOW, FOLD_IN = range(5)  # kinds of contexts


@njit(nogil=True, fastmath=REORDER)
def _fill_mean(weight, importance, x, out, there):
    """Leave-one-out mean: out_i = sum_{u != i} a_u x_u / sum_{u != i} a_u; row n leaves nothing out. a = weight importance."""
    n, n_topics = x.shape
    total = np.zeros(n_topics, np.float32)
    amount = 0.0
    for i in range(n):
        a = weight[i] * importance[i]
        amount += a
        row = x[i]
        for t in range(n_topics):
            total[t] += a * row[t]
    for i in range(n + 1):
        a = weight[i] * importance[i] if i < n else np.float32(0)
        rest = amount - a
        there[i] = rest > 1e-6 * amount
        if there[i]:
            row = x[i] if i < n else total
            into = out[i]
            share = np.float32(1.0 / rest)
            for t in range(n_topics):
                other = total[t] - a * row[t]
                into[t] = other * share if other > np.float32(1e-6) * total[t] else np.float32(0)


@njit(nogil=True, fastmath=REORDER)
def _fill_averages(importance, starts, gamma_left, gamma_right, beta, x, out, there):
    """Exponential moving averages of the positions before i (share beta) and after i (share 1 - beta), in two sweeps.

    left_i = gamma_i x_i + (1 - gamma_i) left_{i-1}, gamma_i = min(gamma importance_i, 1), the first that counts 1; the context
    of i is left_{i-1}, and likewise from the right; where one side is empty, the other has the whole share.
    """
    n, n_topics = x.shape
    state = np.zeros(n_topics, np.float32)
    for i in range(n + 1):
        there[i] = False
    for side in range(2):
        gamma = gamma_left if side == 0 else gamma_right
        share = beta if side == 0 else np.float32(1) - beta
        if share <= 0:
            continue
        known = False
        for step in range(n + 1):
            i = step if side == 0 else n - step
            if side == 0 and i < n and starts[i]:
                known = False
            if known:
                into = out[i]
                if there[i]:  # the left side is there already, with its share
                    for t in range(n_topics):
                        into[t] = beta * into[t] + share * state[t]
                else:
                    for t in range(n_topics):
                        into[t] = state[t]
                    there[i] = True
            if i < n:
                g = min(gamma * importance[i], np.float32(1))
                if g > 0:
                    row = x[i]
                    if not known:
                        g = np.float32(1)
                        known = True
                    for t in range(n_topics):
                        state[t] += g * (row[t] - state[t])
                if side == 1 and starts[i]:
                    known = False


@njit(nogil=True, fastmath=REORDER)
def _fill_window(weight, importance, starts, lags, x, out, there):
    """Weighted mean of the positions at lags -h..-1 and 1..h, lags (2h,) times weight and importance, within the same document."""
    n, n_topics = x.shape
    h = len(lags) // 2
    for i in range(n + 1):
        into = out[i]
        into[:] = 0
        amount = np.float32(0)
        u = i - 1
        while u >= 0 and i - u <= h and not (u + 1 < n and starts[u + 1]):
            a = lags[h - (i - u)] * weight[u] * importance[u]
            amount += a
            row = x[u]
            for t in range(n_topics):
                into[t] += a * row[t]
            u -= 1
        u = i + 1
        while u < n and u - i <= h and not starts[u]:
            a = lags[h + (u - i) - 1] * weight[u] * importance[u]
            amount += a
            row = x[u]
            for t in range(n_topics):
                into[t] += a * row[t]
            u += 1
        there[i] = amount > 0
        if there[i]:
            for t in range(n_topics):
                into[t] /= amount


@njit(nogil=True, fastmath=REORDER)
def _fold_in(rows, weight, prior, uniform, iterations, theta, new):
    """theta_t = p(t|d) of a whole container: `iterations` of theta <- sum_j a_j norm_t(row_jt theta_t) / sum_j a_j.

    rows (n, T) lifts, weight (n,), prior, theta, new (T,) float32; the start is p(t), or 1/T where uniform. A row that shares no
    topic with theta counts as p(t).
    """
    n, n_topics = rows.shape
    for t in range(n_topics):
        theta[t] = np.float32(1.0 / n_topics) if uniform else prior[t]
    for _ in range(iterations):
        new[:] = 0
        lost = 0.0
        amount = 0.0
        for j in range(n):
            row = rows[j]
            a = weight[j]
            amount += a
            z = np.float32(0)
            for t in range(n_topics):
                z += row[t] * theta[t]
            if z > TINY:
                scale = a / z
                for t in range(n_topics):
                    new[t] += scale * row[t]
            else:
                lost += a
        share = np.float32(1.0 / amount)
        kept = np.float32(lost / amount)
        for t in range(n_topics):
            theta[t] = theta[t] * new[t] * share + kept * prior[t]


@njit(nogil=True, fastmath=REORDER)
def _fill_fold_in(weight, importance, params, prior, x, out, there, values):
    """The same context for every position: theta / p(t) of the whole container.

    values (n, T): on return norm_t(x_it theta_t) / p(t) under the theta before the last, whose weighted mean is the context.
    """
    n, n_topics = x.shape
    a = np.empty(n, np.float32)
    amount = 0.0
    for i in range(n):
        a[i] = weight[i] * importance[i]
        amount += a[i]
    there[:] = amount > 0
    if not amount > 0:
        return
    theta = np.empty(n_topics, np.float32)
    new = np.empty(n_topics, np.float32)
    iterations = np.int64(params[0])
    _fold_in(x, a, prior, params[1] > 0, iterations - 1, theta, new)
    into = out[0]
    into[:] = 0
    for i in range(n):
        row = x[i]
        value = values[i]
        z = np.float32(0)
        for t in range(n_topics):
            z += row[t] * theta[t]
        share = np.float32(a[i] / amount)
        for t in range(n_topics):
            value[t] = row[t] * theta[t] / (z * max(prior[t], TINY)) if z > TINY else np.float32(1)
            into[t] += share * value[t]
    for i in range(1, n + 1):
        out[i] = into


@njit(nogil=True, fastmath=REORDER)
def _fill_contexts(vertices, weight, importance, starts, kinds, params, lags, passes, alpha, lift, prior, x, out, there, mixed):
    """Contexts of the positions 0..n-1 of one container, and of a new one after them (row n): their average lifts.

    vertices (n,), weight, importance (n,) float32, starts (n,) bool: the position begins a new document.
    kinds (K,), params (K, 3), lags (K, 2h), passes: the contexts (`contexts.Plan`); alpha (K,): their shares.
    x (n, T): on return the vectors that were averaged, p(t|w_i) / p(t), of the pass before, or of a fold-in. out (K, n + 1, T),
    there (K + 1, n + 1) bool: which contexts are not empty; the last row: of the mixture. mixed (n + 1, T): the mixture;
    of one context, `out` of it, itself.
    """
    n, n_topics = x.shape
    n_kinds = len(kinds)
    for i in range(n):
        row = lift[vertices[i]]
        into = x[i]
        for t in range(n_topics):
            into[t] = row[t]
    for number in range(passes + 1):
        for k in range(n_kinds):
            if kinds[k] == BACKGROUND:
                out[k, :] = 1
                there[k, :] = True
            elif kinds[k] == MEAN:
                _fill_mean(weight, importance, x, out[k], there[k])
            elif kinds[k] == AVERAGES:
                _fill_averages(importance, starts, params[k, 0], params[k, 1], params[k, 2], x, out[k], there[k])
            elif kinds[k] == WINDOW:
                _fill_window(weight, importance, starts, lags[k], x, out[k], there[k])
            else:
                _fill_fold_in(weight, importance, params[k], prior, x, out[k], there[k], x if n_kinds == 1 else x.copy())
        if n_kinds == 1:
            there[1, : n + 1] = there[0, : n + 1]
        for i in range(n + 1 if n_kinds > 1 else 0):
            amount = np.float32(0)
            into = mixed[i]
            into[:] = 0
            for k in range(n_kinds):
                if there[k, i] and alpha[k] > 0:
                    share = np.float32(alpha[k])
                    amount += share
                    row = out[k, i]
                    for t in range(n_topics):
                        into[t] += share * row[t]
            there[n_kinds, i] = amount > 0
            if amount > 0:
                for t in range(n_topics):
                    into[t] /= amount
        if number == passes:
            break
        for i in range(n):  # p(t | C_i, w_i) takes the place of p(t | w_i)
            if not there[n_kinds, i]:
                continue
            row = lift[vertices[i]]
            around = mixed[i]
            z = np.float32(0)
            for t in range(n_topics):
                z += prior[t] * row[t] * around[t]
            if z > TINY:
                into = x[i]
                for t in range(n_topics):
                    into[t] = row[t] * around[t] / z


@kernel(parallel=False, fastmath=REORDER)
def read_contexts(
    indptr, vertices, weight, importance, starts, kinds, params, lags, passes, alpha, lift, prior, last, contexts, values
):
    """Contexts of containers after all of their positions, or of each of these too.

    indptr (D + 1,) and the arrays of N positions: the histories. last: contexts (D, T) is the context of a new position after the
    last, 1 where there is none; else contexts (N + D, T) are those of the positions of each container and of a new one after them,
    and values (N, T) what was averaged.
    """
    n_topics = lift.shape[1]
    longest = 0
    for d in range(indptr.shape[0] - 1):
        longest = max(longest, indptr[d + 1] - indptr[d])
    x = np.empty((longest, n_topics), np.float32)
    out = np.empty((len(kinds), longest + 1, n_topics), np.float32)
    mixed = out[0] if len(kinds) == 1 else np.empty((longest + 1, n_topics), np.float32)
    for d in range(indptr.shape[0] - 1):
        at = slice(indptr[d], indptr[d + 1])
        n = indptr[d + 1] - indptr[d]
        there = np.zeros((len(kinds) + 1, n + 1), np.bool_)
        _fill_contexts(
            vertices[at], weight[at], importance[at], starts[at], kinds, params, lags, passes, alpha, lift, prior,
            x[:n], out, there, mixed,
        )  # fmt: skip
        for i in range(n + 1):
            if last and i < n:
                continue
            into = contexts[d if last else indptr[d] + d + i]
            for t in range(n_topics):
                into[t] = mixed[i, t] if there[len(kinds), i] else np.float32(1)
        if not last:
            values[at] = x[:n]


@kernel(fastmath=REORDER)
def add_edges(
    indptr, edges, weight, place, history_indptr, history_vertices, history_weight, importance, starts,
    kinds, params, lags, passes, alpha, lift, prior, bounds, sums, shares, scores,
):  # fmt: skip
    """E-step of hyperedges of any order, alone or each in the context of a place in its container's history.

    indptr (D + 1,), edges (E, h) int32, weight (E,) float32: the edges of each container (or of each slice of a list).
    place (E,): the position of the history that the edge is, n for none of its n; not read without contexts.
    history_*, importance, starts: the positions of each container; kinds, params, lags, passes, alpha: the contexts, see
    `_fill_contexts`; no kinds: the symmetric form.
    sums (C, V, T): expected counts n_vt of each chunk; shares (C, K): weight that each context explained; scores (C, 3):
    log-likelihood, edges without context or a shared topic, weight.

    The product runs in float32 and again in float64 where it under- or overflows.
    """
    n_topics = lift.shape[1]
    order = edges.shape[1]
    n_kinds = len(kinds)
    for chunk in prange(bounds.shape[0] - 1):
        sums_c = sums[chunk]
        posterior = np.empty(n_topics, np.float32)
        explained = np.empty(max(n_kinds, 1), np.float64)
        wide = np.empty(n_topics, np.float64)
        ones = np.ones(n_topics, np.float32)
        longest = 0
        if n_kinds > 0:
            for d in range(bounds[chunk], bounds[chunk + 1]):
                if indptr[d + 1] > indptr[d]:
                    longest = max(longest, history_indptr[d + 1] - history_indptr[d])
        x = np.empty((longest, n_topics), np.float32)
        out = np.empty((n_kinds, longest + 1, n_topics), np.float32)
        mixed = out[0] if n_kinds == 1 else np.empty((longest + 1, n_topics), np.float32)
        there = np.zeros((n_kinds + 1, longest + 1), np.bool_)
        log_likelihood = 0.0
        degenerate = 0.0
        mass = 0.0
        for d in range(bounds[chunk], bounds[chunk + 1]):
            if indptr[d + 1] == indptr[d]:
                continue
            n_positions = 0
            if n_kinds > 0:
                first, stop = history_indptr[d], history_indptr[d + 1]
                n_positions = stop - first
                _fill_contexts(
                    history_vertices[first:stop], history_weight[first:stop], importance[first:stop], starts[first:stop],
                    kinds, params, lags, passes, alpha, lift, prior, x[:n_positions], out, there, mixed,
                )  # fmt: skip
            for e in range(indptr[d], indptr[d + 1]):
                n = weight[e]
                mass += n
                i = min(place[e], n_positions)
                in_context = n_kinds > 0 and there[n_kinds, i]
                lost = n_positions > 0 and not in_context  # nothing but this vertex: context p(t)
                row = lift[edges[e, 0]]
                z = np.float32(0)
                if order == 1:
                    for t in range(n_topics):
                        posterior[t] = prior[t] * row[t]
                        z += posterior[t]
                else:
                    other = lift[edges[e, 1]]
                    for t in range(n_topics):
                        posterior[t] = prior[t] * row[t] * other[t]
                        z += posterior[t]
                for j in range(2, order):
                    row = lift[edges[e, j]]
                    z = np.float32(0)
                    for t in range(n_topics):
                        posterior[t] *= row[t]
                        z += posterior[t]
                if in_context and n_kinds > 1:  # what each context says of the edge
                    explained_z = 0.0
                    for k in range(n_kinds):
                        explained[k] = 0.0
                        if there[k, i]:
                            row = out[k, i]
                            product = np.float32(0)
                            for t in range(n_topics):
                                product += posterior[t] * row[t]
                            explained[k] = alpha[k] * product
                            explained_z += explained[k]
                    if 1e-30 < explained_z < 1e30:
                        for k in range(n_kinds):
                            shares[chunk, k] += n * explained[k] / explained_z
                context = mixed[i] if in_context else ones
                if in_context:
                    z = np.float32(0)
                    for t in range(n_topics):
                        posterior[t] *= context[t]
                        z += posterior[t]
                log_z = 0.0
                scale = np.float32(1)
                if z > np.float32(1e-25) and z < np.float32(1e25):
                    scale = n / z
                    log_z = np.log(z)
                else:
                    wide_z = 0.0
                    for t in range(n_topics):
                        wide[t] = np.float64(prior[t]) * context[t]
                        for j in range(order):
                            wide[t] *= lift[edges[e, j], t]
                        wide_z += wide[t]
                    if wide_z > 1e-290:
                        log_z = np.log(wide_z)
                        for t in range(n_topics):
                            posterior[t] = n * wide[t] / wide_z
                    else:  # the vertices share no topic: kept at p(t), and counted
                        lost = True
                        for t in range(n_topics):
                            posterior[t] = n * prior[t]
                degenerate += lost
                log_likelihood += n * log_z
                for j in range(order):
                    into = sums_c[edges[e, j]]
                    for t in range(n_topics):
                        into[t] += scale * posterior[t]
        scores[chunk, 0] = log_likelihood
        scores[chunk, 1] = degenerate
        scores[chunk, 2] = mass


@kernel(fastmath=REORDER)
def add_pairs_folded_in(
    indptr, vertices, weight, damping, slices, groups, row_vertex, row_indptr, members, turned_weight, lift, prior, scale,
    uniform, iterations, exact, thetas, gradients, amounts, n_vt, n_t, scores,
):  # fmt: skip
    """E-step of pairs (container, vertex) with theta of the whole container, found by a few iterations, as context.

    indptr, vertices, weight, damping, slices, groups, row_*, members, turned_weight: as in `pairs.add_pairs_in_mean`.
    lift (V, T) = phi_vt / p(v), prior (T,), scale (V,) = 1 / sum_t prior_t lift_vt, so that p(t|v) = scale prior lift.
    thetas (size of a block, T) float32, gradients likewise (no rows unless exact), amounts (size,) float64: room to work in.
    n_vt (V, T) float32, added to; n_t (P, T) float64, scores (P, 3): zeros on entry.

    exact: theta is the mean of p(t|w), and n_vt gets phi_vt times the derivative of the likelihood in phi, theta included:
    n_dw p'_tdw = n_dw p_tdw + a_dw / a_d p(t|w) (g_td - sum_s p(s|w) g_sd), g_td = n_td / theta_td. Slides: "EM-algorithm for
    ARTM with linear thematization of documents".
    """
    n_topics = lift.shape[1]
    n_parts = slices.shape[1] - 1
    for block in range(slices.shape[0]):
        first = slices[block, 0]
        for part in prange(n_parts):
            longest = 0
            for d in range(slices[block, part], slices[block, part + 1]):
                longest = max(longest, indptr[d + 1] - indptr[d])
            rows = np.empty((longest, n_topics), np.float32)
            new = np.empty(n_topics, np.float32)
            for d in range(slices[block, part], slices[block, part + 1]):
                begin = indptr[d]
                n = indptr[d + 1] - begin
                amount = 0.0
                for j in range(n):
                    amount += weight[begin + j]
                    row = lift[vertices[begin + j]]
                    into = rows[j]
                    for t in range(n_topics):
                        into[t] = row[t]
                amounts[d - first] = amount
                theta = thetas[d - first]
                if n > 0:
                    _fold_in(rows[:n], weight[begin : begin + n], prior, uniform, iterations, theta, new)
                if exact:
                    gradient = gradients[d - first]
                    gradient[:] = 0
                    for j in range(n):
                        row = rows[j]
                        z = np.float32(0)
                        for t in range(n_topics):
                            z += row[t] * theta[t]
                        if z > TINY:
                            share = weight[begin + j] * damping[d] / z
                            for t in range(n_topics):
                                gradient[t] += share * row[t]
        for part in prange(n_parts):
            sums = np.empty(n_topics, np.float32)
            word = np.empty(n_topics, np.float32)
            back = np.empty(n_topics, np.float32)
            log_likelihood = 0.0
            alone = 0.0
            mass = 0.0
            for r in range(groups[block, part], groups[block, part + 1]):
                v = row_vertex[r]
                row = lift[v]
                sums[:] = 0
                lost = np.float32(0)
                if exact:
                    for t in range(n_topics):
                        word[t] = prior[t] * row[t]
                        back[t] = 0
                    for t in range(n_topics):  # a loop of its own: three factors in one would be multiplied in any order
                        word[t] *= scale[v]
                level = np.float32(0)
                for j in range(row_indptr[r], row_indptr[r + 1]):
                    d = members[j]
                    theta = thetas[d]
                    a = turned_weight[j]
                    n = np.float32(a * damping[first + d])
                    mass += n
                    z = np.float32(0)
                    for t in range(n_topics):
                        z += row[t] * theta[t]
                    if z > TINY:
                        share = n / z
                        for t in range(n_topics):
                            sums[t] += share * theta[t]
                        log_likelihood += n * np.log(z)
                    else:
                        lost += n
                        alone += 1
                    if exact:
                        gradient = gradients[d]
                        part_of = np.float32(a / amounts[d])
                        product = np.float32(0)
                        for t in range(n_topics):
                            back[t] += part_of * gradient[t]
                            product += word[t] * gradient[t]
                        level += part_of * product
                into = n_vt[v]
                for t in range(n_topics):
                    count = row[t] * sums[t] + lost * prior[t]
                    n_t[part, t] += count
                    into[t] += count
                if exact:
                    for t in range(n_topics):
                        into[t] += word[t] * (back[t] - level)
            scores[part, 0] += log_likelihood
            scores[part, 1] += alone
            scores[part, 2] += mass


@kernel(fastmath=REORDER)
def add_folded_edges(indptr, edges, weight, uniform, iterations, lift, prior, bounds, sums, scores):
    """E-step of the hyperedges of containers in theta of the container, folded in from these edges: norm_t(theta_t prod lift).

    indptr (D + 1,), edges (E, h) int32, weight (E,) float32; uniform, iterations: see `_fold_in`; bounds, sums, scores: see
    `add_edges`. The products of a container's edges are made once and stay in the cache for all of its iterations.
    """
    n_topics = lift.shape[1]
    order = edges.shape[1]
    for chunk in prange(bounds.shape[0] - 1):
        sums_c = sums[chunk]
        longest = 0
        for d in range(bounds[chunk], bounds[chunk + 1]):
            longest = max(longest, indptr[d + 1] - indptr[d])
        rows = np.empty((longest, n_topics), np.float32)
        logs = np.empty(longest, np.float64)
        theta = np.empty(n_topics, np.float32)
        new = np.empty(n_topics, np.float32)
        wide = np.empty(n_topics, np.float64)
        log_likelihood = 0.0
        degenerate = 0.0
        mass = 0.0
        for d in range(bounds[chunk], bounds[chunk + 1]):
            first, n_edges = indptr[d], indptr[d + 1] - indptr[d]
            if n_edges == 0:
                continue
            for i in range(n_edges):
                row = rows[i]
                row[:] = lift[edges[first + i, 0]]
                for j in range(1, order):
                    other = lift[edges[first + i, j]]
                    for t in range(n_topics):
                        row[t] *= other[t]
                z = np.float32(0)
                for t in range(n_topics):
                    z += prior[t] * row[t]
                logs[i] = 0.0
                if z > np.float32(1e-25) and z < np.float32(1e25):
                    logs[i] = np.log(z)
                    scale = np.float32(1) / z
                    for t in range(n_topics):
                        row[t] *= scale
                else:
                    wide_z = 0.0
                    for t in range(n_topics):
                        wide[t] = 1.0
                        for j in range(order):
                            wide[t] *= lift[edges[first + i, j], t]
                        wide_z += prior[t] * wide[t]
                    if wide_z > 1e-290:
                        logs[i] = np.log(wide_z)
                    for t in range(n_topics):
                        row[t] = wide[t] / wide_z if wide_z > 1e-290 else 0.0
            _fold_in(rows[:n_edges], weight[first : first + n_edges], prior, uniform, iterations, theta, new)
            for i in range(n_edges):
                n = weight[first + i]
                mass += n
                row = rows[i]
                z = np.float32(0)
                for t in range(n_topics):
                    z += row[t] * theta[t]
                if z > TINY:
                    log_likelihood += n * (np.log(z) + logs[i])
                    scale = n / z
                    for t in range(n_topics):
                        row[t] *= scale * theta[t]
                else:  # the vertices share no topic with theta: kept at p(t), and counted
                    degenerate += 1
                    for t in range(n_topics):
                        row[t] = n * prior[t]
                for j in range(order):
                    into = sums_c[edges[first + i, j]]
                    for t in range(n_topics):
                        into[t] += row[t]
        scores[chunk, 0] = log_likelihood
        scores[chunk, 1] = degenerate
        scores[chunk, 2] = mass


@kernel()
def merge_chunks(sums, n_vt):
    """n_vt += sum_c sums_cvt, the chunks added in order in float64."""
    n_chunks, n_vertices, n_topics = sums.shape
    for v in prange(n_vertices):
        into = n_vt[v]
        for t in range(n_topics):
            total = np.float64(0)
            for c in range(n_chunks):
                total += sums[c, v, t]
            into[t] += total

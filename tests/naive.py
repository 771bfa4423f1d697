"""Slow twins of the kernels and of the EM steps: float64, loops over edges, one line a formula, p's in place of lifts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from hyperrec.topics.contexts import Plan
from hyperrec.topics.kernels import edges as kernels
from hyperrec.topics.shards import Edges, History, Pairs


class Counts(NamedTuple):
    """n_vt (V, T), n_t (T,), log-likelihood, number of degenerate edges, weight, weight that each context explained."""

    n_vt: np.ndarray
    n_t: np.ndarray
    log_likelihood: float
    n_degenerate: int
    weight: float
    shares: np.ndarray | None = None


def norm(x: np.ndarray) -> np.ndarray:
    """norm_t(x) = max(x, 0) / sum_t max(x, 0)."""
    return np.maximum(x, 0) / np.maximum(x, 0).sum()


def mean_of_others(history: History, d: int, v: int, p: np.ndarray) -> np.ndarray | None:
    """theta_t = sum_{u != v} a_u p(t|u) / sum_{u != v} a_u over the history of container d; None: there are no others."""
    members = range(history.indptr[d], history.indptr[d + 1])
    others = [(np.float64(history.weight[j]), history.vertices[j]) for j in members if history.vertices[j] != v]
    if not others:
        return None
    return sum(a * p[u] for a, u in others) / sum(a for a, _ in others)


def expected_pairs(shard: Pairs, p: np.ndarray, prior: np.ndarray) -> Counts:
    """E-step of pairs: p_te = norm_t(p(t|v) theta_t / p(t)), an edge counts damping_d a_v."""
    p, prior, history = np.float64(p), np.float64(prior), shard.history
    n_vt, log_likelihood, n_degenerate, weight = np.zeros_like(p), 0.0, 0, 0.0
    for d in range(len(history.indptr) - 1):
        for j in range(history.indptr[d], history.indptr[d + 1]):
            v, n = history.vertices[j], np.float64(history.weight[j]) * np.float64(shard.damping[d])
            theta = mean_of_others(history, d, v, p)
            joint = p[v] * theta / prior if theta is not None else np.zeros_like(prior)
            if joint.sum() > 0:
                n_vt[v] += n * joint / joint.sum()
                log_likelihood += n * np.log(joint.sum())
            else:
                n_vt[v] += n * p[v]
                n_degenerate += 1
            weight += n
    return Counts(n_vt, n_vt.sum(axis=0), log_likelihood, n_degenerate, weight)


def expected_symmetric(vertices: np.ndarray, weight: np.ndarray, p: np.ndarray, prior: np.ndarray) -> Counts:
    """E-step of hyperedges: p_te = norm_t(p(t)^(1-h) prod_{v in e} p(t|v)); without a shared topic p_te = p(t)."""
    p, prior, weight, h = np.float64(p), np.float64(prior), np.float64(weight), vertices.shape[1]
    n_vt, n_t, log_likelihood, n_degenerate = np.zeros_like(p), np.zeros_like(prior), 0.0, 0
    for edge, n in zip(vertices, weight, strict=True):
        joint = prior ** (1.0 - h) * np.prod(p[edge], axis=0)
        posterior = joint / joint.sum() if joint.sum() > 0 else prior
        log_likelihood += n * np.log(joint.sum()) if joint.sum() > 0 else 0.0
        n_degenerate += not joint.sum() > 0
        n_t += n * posterior
        for v in edge:
            n_vt[v] += n * posterior
    return Counts(n_vt, n_t, log_likelihood, n_degenerate, weight.sum())


def alphas(
    kind: int, params: np.ndarray, lags: np.ndarray, weight: np.ndarray, factor: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """alpha(u|i) (n + 1, n) of the positions i of a container and of a new one after them; rows sum to one, or are zeros."""
    n, h = len(weight), len(lags) // 2
    document = np.append(np.cumsum(starts), np.cumsum(starts)[-1:])
    alpha = np.zeros((n + 1, n))
    for i in range(n + 1):
        if kind == kernels.MEAN:
            alpha[i] = [weight[u] * factor[u] if u != i else 0 for u in range(n)]
        elif kind == kernels.WINDOW:
            near = [u for u in range(n) if 0 < abs(u - i) <= h and document[u] == document[i]]
            alpha[i, near] = [weight[u] * factor[u] * lags[h + u - i - (u > i)] for u in near]
        elif kind == kernels.AVERAGES:
            left, right = np.zeros(n), np.zeros(n)
            for side, gamma, order in ((left, params[0], range(i - 1, -1, -1)), (right, params[1], range(i + 1, n))):
                gammas = {u: min(gamma * factor[u], 1.0) for u in order if document[u] == document[i]}
                counted = [u for u in gammas if gammas[u] > 0]
                for nearer, u in enumerate(counted):  # from the nearest to the farthest, whose gamma is 1
                    farthest = u == counted[-1]
                    side[u] = (1.0 if farthest else gammas[u]) * np.prod([1 - gammas[v] for v in counted[:nearer]])
            both = left.any() and right.any() and 0 < params[2] < 1
            alpha[i] = params[2] * left + (1 - params[2]) * right if both else left * (params[2] > 0) + right * (params[2] < 1)
    return alpha / np.maximum(alpha.sum(axis=1, keepdims=True), 1e-300)


def folded_in(
    x: np.ndarray, a: np.ndarray, iterations: int, uniform: bool, prior: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """theta <- sum_j a_j norm_t(p(t|w_j) / p(t) theta_t) / sum_j a_j (None: nothing has weight), and the terms of the last sum."""
    theta = np.full(len(prior), 1 / len(prior)) if uniform else prior
    if not a.sum() > 0:
        return None, x
    for _ in range(iterations):
        joint = x / prior * theta
        terms = np.array([norm(one) if one.sum() > 0 else prior for one in joint])
        theta = a @ terms / a.sum()
    return theta, terms


def expected_folded(shard: Pairs, p: np.ndarray, prior: np.ndarray) -> Counts:
    """E-step of pairs in the whole of their container: p_te = norm_t(p(t|v) theta_t / p(t))."""
    p, prior, history = np.float64(p), np.float64(prior), shard.history
    n_vt, log_likelihood, n_degenerate, weight = np.zeros_like(p), 0.0, 0, 0.0
    iterations, uniform, _ = shard.plan.params[0]
    for d in range(len(history.indptr) - 1):
        at = slice(history.indptr[d], history.indptr[d + 1])
        vertices, a = history.vertices[at], np.float64(history.weight[at])
        theta, _ = folded_in(p[vertices], a, int(iterations), bool(uniform), prior)
        for v, n in zip(vertices, a * np.float64(shard.damping[d]), strict=True):
            joint = p[v] / prior * theta
            n_vt[v] += n * (norm(joint) if joint.sum() > 0 else prior)
            log_likelihood += n * np.log(joint.sum()) if joint.sum() > 0 else 0.0
            n_degenerate += not joint.sum() > 0
            weight += n
    return Counts(n_vt, n_vt.sum(axis=0), log_likelihood, n_degenerate, weight)


def expected_folded_edges(shard: Edges, p: np.ndarray, prior: np.ndarray) -> Counts:
    """E-step of hyperedges in theta folded in from them: p_te = norm_t(theta_t prod_{v in e} p(t|v) / p(t))."""
    p, prior, weight = np.float64(p), np.float64(prior), np.float64(shard.weight)
    n_vt, n_t, log_likelihood, n_degenerate = np.zeros_like(p), np.zeros_like(prior), 0.0, 0
    iterations, uniform, _ = shard.plan.params[0]
    for d in range(len(shard.indptr) - 1):
        at = slice(shard.indptr[d], shard.indptr[d + 1])
        products = np.prod(p[shard.vertices[at]] / prior, axis=1)
        theta, _ = folded_in(products * prior, weight[at], int(iterations), bool(uniform), prior)
        for edge, product, n in zip(shard.vertices[at], products, weight[at], strict=True):
            joint = product * theta
            posterior = norm(joint) if joint.sum() > 0 else prior
            log_likelihood += n * np.log(joint.sum()) if joint.sum() > 0 else 0.0
            n_degenerate += not joint.sum() > 0
            n_t += n * posterior
            for v in edge:
                n_vt[v] += n * posterior
    return Counts(n_vt, n_t, log_likelihood, n_degenerate, weight.sum())


def thetaless_likelihood(phi: np.ndarray, p_t: np.ndarray, n_dw: np.ndarray) -> float:
    """sum_dw n_dw ln sum_t phi_wt theta_td(phi), theta_td = sum_w n_dw / n_d norm_t(phi_wt p_t)."""
    theta = n_dw @ np.array([norm(row * p_t) for row in phi]) / n_dw.sum(axis=1, keepdims=True)
    return float(sum(n_dw[d, w] * np.log(phi[w] @ theta[d]) for d, w in np.argwhere(n_dw)))


def thetaless_pass(phi: np.ndarray, p_t: np.ndarray, n_dw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The slides' exact form, as written: sum_d n_dw p'_tdw (W, T), n_t, and phi_wt = norm_w of the former."""
    word = np.array([norm(row * p_t) for row in phi])  # phi'_tw
    counts, n_t = np.zeros_like(phi), np.zeros_like(p_t)
    for row in n_dw:
        n_d, theta = row.sum(), row @ word / row.sum()
        p = np.array([norm(phi[w] * theta) for w in range(len(phi))])
        n_td = row @ p
        n_t += n_td
        for w in np.flatnonzero(row):
            counts[w] += row[w] * (p[w] + word[w] / n_d * (n_td / theta - sum(word[w] * n_td / theta)))
    return counts, n_t, np.maximum(counts, 0) / np.maximum(counts, 0).sum(axis=0)


def context_vectors(
    history: History, d: int, plan: Plan, shares: np.ndarray, p: np.ndarray, prior: np.ndarray
) -> tuple[list[np.ndarray | None], np.ndarray, list[list[np.ndarray | None]]]:
    """theta of the n positions of a container and of a new one (None: no context), what was averaged (n, T), theta by context."""
    at = slice(history.indptr[d], history.indptr[d + 1])
    vertices, weight = history.vertices[at], np.float64(history.weight[at])
    n, x = len(vertices), p[vertices]
    for number in range(plan.passes + 1):
        parts: list[list[np.ndarray | None]] = []
        values = x
        for kind, params, lags in zip(plan.kinds, np.float64(plan.params), np.float64(plan.lags), strict=True):
            if kind == kernels.BACKGROUND:
                parts.append([prior] * (n + 1))
                continue
            if kind == kernels.FOLD_IN:
                theta, terms = folded_in(x, weight * history.importance[at], int(params[0]), bool(params[1]), prior)
                parts.append([theta] * (n + 1))
                values = terms if len(plan.kinds) == 1 else x
                continue
            alpha = alphas(kind, params, lags, weight, np.float64(history.importance[at]), history.starts[at])
            parts.append([row @ x if row.any() else None for row in alpha])
        thetas: list[np.ndarray | None] = []
        for i in range(n + 1):
            told = [(a, part[i]) for a, part in zip(shares, parts, strict=True) if part[i] is not None and a > 0]
            thetas.append(sum(a * theta for a, theta in told) / sum(a for a, _ in told) if told else None)
        if number < plan.passes:
            new = x.copy()
            for i in range(n):
                joint = p[vertices[i]] * thetas[i] / prior if thetas[i] is not None else np.zeros(1)
                new[i] = norm(joint) if joint.sum() > 0 else x[i]
            x = new
    return thetas, values, parts


def expected_in_context(shard: Edges, p: np.ndarray, prior: np.ndarray, shares: Sequence[float] = (1.0,)) -> Counts:
    """E-step of hyperedges in context: p_te = norm_t(theta_t prod_{v in e} p(t|v) / p(t)), theta_t = p(t) without a context."""
    p, prior, weight = np.float64(p), np.float64(prior), np.float64(shard.weight)
    n_vt, n_t, log_likelihood, n_degenerate = np.zeros_like(p), np.zeros_like(prior), 0.0, 0
    explained = np.zeros(len(shares))
    for d in range(len(shard.indptr) - 1):
        thetas, _, parts = context_vectors(shard.history, d, shard.plan, np.asarray(shares), p, prior)
        for e in range(shard.indptr[d], shard.indptr[d + 1]):
            edge, n, i = shard.vertices[e], weight[e], min(shard.place[e], len(thetas) - 1)
            theta = thetas[i]
            joint = (prior if theta is None else theta) * np.prod(p[edge] / prior, axis=0)
            posterior = joint / joint.sum() if joint.sum() > 0 else prior
            log_likelihood += n * np.log(joint.sum()) if joint.sum() > 0 else 0.0
            n_degenerate += (theta is None and len(thetas) > 1) or not joint.sum() > 0
            n_t += n * posterior
            for v in edge:
                n_vt[v] += n * posterior
            said = [a * (part[i] * np.prod(p[edge] / prior, axis=0)).sum() if part[i] is not None else 0.0
                    for a, part in zip(shares, parts, strict=True)]  # fmt: skip
            if theta is not None and sum(said) > 0:
                explained += n * np.array(said) / sum(said)
    return Counts(n_vt, n_t, log_likelihood, n_degenerate, weight.sum(), explained)


def turned(lines: Sequence[np.ndarray], size: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """(block, vertex, [(line within the block, place of the entry in all the lines)]) of lines cut into blocks of `size`."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    at = 0
    for d, line in enumerate(lines):
        for v in line:
            found.setdefault((d // size, int(v)), []).append((d % size, at))
            at += 1
    return [(block, v, found[block, v]) for block, v in sorted(found)]


def maximize(
    n_vt: np.ndarray, old: np.ndarray, eta: float, fallback: np.ndarray, drop_below: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """p(t|v) = norm_t(p_old (p_em / p_old)^eta), p_em = norm_t(n_vt), again norm_t of what is not under drop_below nor under the
    largest; the fallback where there are no counts."""
    n_vt, old = np.float64(n_vt), np.float64(old)
    new, empty = np.empty_like(old), np.zeros(len(old), bool)
    for v in range(len(old)):
        empty[v] = not (n_vt[v] > 0).any()
        if empty[v]:
            new[v] = fallback
            continue
        plain = norm(n_vt[v])
        new[v] = norm([b * (q / b) ** eta if b > 0 and q > 0 else q for b, q in zip(old[v], plain, strict=True)])
        new[v] = norm(np.where(new[v] >= min(drop_below, new[v].max()), new[v], 0))
    return new, empty


def m_step(
    n_vt: np.ndarray, n_t: np.ndarray, old: np.ndarray, mass: np.ndarray, eta: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p(t|v), p(t) and the rows without counts; p(t) moves as the relaxed rows move it."""
    prior = norm(np.float64(n_t))
    new, empty = maximize(n_vt, old, eta, prior)
    plain, _ = maximize(n_vt, old, 1.0, prior)
    before = sum(mass[v] * plain[v] for v in range(len(old)) if not empty[v])
    after = sum(mass[v] * new[v] for v in range(len(old)))
    return new, norm(prior * after / np.maximum(before, 1e-30)) if eta != 1 else prior, empty


def lifts(
    p: np.ndarray, prior: np.ndarray, sizes: Sequence[int], phi_weight: np.ndarray | None, exponents: Sequence[float]
) -> np.ndarray:
    """lift_vt = (p(t|v) / p(t))^exponent; of vertices with a phi_weight n_v: phi_vt / p(v).

    phi_vt = p(t|v) n_v / sum_u p(t|u) n_u.
    """
    p, lift, start = np.float64(p), np.empty(np.shape(p)), 0
    for size, exponent in zip(sizes, exponents or [1.0] * len(sizes), strict=True):
        totals = norm(np.float64(prior))
        if phi_weight is not None and phi_weight[start : start + size].sum() > 0:
            p_v = phi_weight[start : start + size] / phi_weight[start : start + size].sum()
            totals = sum(p_v[i] * p[start + i] for i in range(size))
        for v in range(start, start + size):
            lift[v] = (p[v] / totals) ** exponent
        start += size
    return lift


def container_pass(
    theta: np.ndarray,
    phis: Sequence[np.ndarray],
    shards: Sequence[tuple[np.ndarray, np.ndarray, Sequence[int], np.ndarray]],
) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Container form: p_te = norm_t(theta_td prod phi_vt), theta_td = norm_t(n_td), phi_vt = norm_v(n_vt).

    shards: containers (E,), vertices (E, h), their modalities (h,), weight (E,). Returns theta, phis and
    sum n ln sum_t theta prod phi.
    """
    n_dt, n_vts, log_likelihood = np.zeros_like(theta), [np.zeros_like(phi) for phi in phis], 0.0
    for containers, vertices, modalities, weight in shards:
        for d, edge, n in zip(containers, vertices, np.float64(weight), strict=True):
            joint = theta[d] * np.prod([phis[m][v] for m, v in zip(modalities, edge, strict=True)], axis=0)
            log_likelihood += n * np.log(joint.sum())
            n_dt[d] += n * joint / joint.sum()
            for m, v in zip(modalities, edge, strict=True):
                n_vts[m][v] += n * joint / joint.sum()
    return n_dt / n_dt.sum(axis=1, keepdims=True), [n_vt / n_vt.sum(axis=0) for n_vt in n_vts], log_likelihood


def plsa_pass(theta: np.ndarray, phi: np.ndarray, edges: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """PLSA: p_tdw = norm_t(theta_td phi_wt), theta_td = norm_t(n_td), phi_wt = norm_w(n_wt), and sum n ln sum theta phi."""
    n_dt, n_wt, log_likelihood = np.zeros_like(theta), np.zeros_like(phi), 0.0
    for (d, w), n in zip(edges, np.float64(weight), strict=True):
        joint = theta[d] * phi[w]
        n_dt[d] += n * joint / joint.sum()
        n_wt[w] += n * joint / joint.sum()
        log_likelihood += n * np.log(joint.sum())
    return n_dt / n_dt.sum(axis=1, keepdims=True), n_wt / n_wt.sum(axis=0), log_likelihood


def best_unseen(scores: np.ndarray, seen: Sequence[set[int]], allowed: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of each row that are allowed and not seen, ties to the lower column, padded by -1 and -inf."""
    rows, values = np.full((len(scores), k), -1), np.full((len(scores), k), -np.inf)
    for b, line in enumerate(scores):
        left = [i for i in range(len(line)) if allowed[i] and i not in seen[b]]
        for place, i in enumerate(sorted(left, key=lambda i: (-line[i], i))[:k]):
            rows[b, place], values[b, place] = i, line[i]
    return rows, values


# ------------------------------------------------------------------------------------------------ regularizers


def smooth(phi: np.ndarray, tau: float, topics: Sequence[int]) -> tuple[float, np.ndarray]:
    """R = tau sum_t sum_v ln phi_vt and phi dR/dphi = tau."""
    value, addend = 0.0, np.zeros(phi.shape)
    for t in topics:
        for v in range(len(phi)):
            value += tau * np.log(max(np.float64(phi[v, t]), 1e-12))
            addend[v, t] = tau
    return value, addend


def decorrelate(phi: np.ndarray, tau: float, topics: Sequence[int]) -> tuple[float, np.ndarray]:
    """R = -tau/2 sum_{t != s} sum_v phi_vt phi_vs and phi dR/dphi = -tau phi_vt sum_{s != t} phi_vs."""
    phi, value, addend = np.float64(phi), 0.0, np.zeros(phi.shape)
    for v in range(len(phi)):
        for t in topics:
            for s in topics:
                if s != t:
                    value -= tau / 2 * phi[v, t] * phi[v, s]
                    addend[v, t] -= tau * phi[v, t] * phi[v, s]
    return value, addend


def regularized(n_vt: np.ndarray, addend: np.ndarray, prior: np.ndarray, in_phi: bool) -> tuple[np.ndarray, np.ndarray]:
    """phi_vt n_t with phi_vt = norm_v(n_vt + addend), or n_dt + addend in theta; emptied rows become n_v p(t)."""
    n_vt = np.float64(n_vt)
    new = np.maximum(n_vt + addend, 0)
    if in_phi:
        for t in range(new.shape[1]):
            new[:, t] = norm(new[:, t]) * n_vt[:, t].sum() if new[:, t].sum() > 0 else 0
    emptied = np.array([n.sum() > 0 and not row.any() for n, row in zip(n_vt, new, strict=True)])
    new[emptied] = n_vt[emptied].sum(axis=1)[:, None] * prior
    return new, emptied


def lda_pass(
    theta: np.ndarray, phi: np.ndarray, edges: np.ndarray, weight: np.ndarray, alpha: float, beta: float
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """LDA by MAP: theta_td = norm_t(n_td + alpha), phi_wt = norm_w(n_wt + beta).

    Returns them, sum n ln sum theta phi and alpha sum ln theta + beta sum ln phi.
    """
    n_dt, n_wt, log_likelihood = np.zeros_like(theta), np.zeros_like(phi), 0.0
    for (d, w), n in zip(edges, np.float64(weight), strict=True):
        joint = theta[d] * phi[w]
        n_dt[d] += n * joint / joint.sum()
        n_wt[w] += n * joint / joint.sum()
        log_likelihood += n * np.log(joint.sum())
    value = alpha * np.log(theta).sum() + beta * np.log(phi).sum()
    new_theta = (n_dt + alpha) / (n_dt + alpha).sum(axis=1, keepdims=True)
    return new_theta, (n_wt + beta) / (n_wt + beta).sum(axis=0), log_likelihood, value


# ------------------------------------------------------------------------------------------------ scores


def sparsity(phi: np.ndarray, threshold: float) -> float:
    """Share of entries that are not above the threshold."""
    return sum(p <= threshold for p in phi.ravel()) / phi.size


def alive_topics(phi: np.ndarray) -> list[int]:
    return [t for t in range(phi.shape[1]) if phi[:, t].sum() > 0]


def topic_pairs(phi: np.ndarray) -> list[tuple[int, int]]:
    return [(t, s) for t in alive_topics(phi) for s in alive_topics(phi) if t < s]


def distinctness(phi: np.ndarray) -> float:
    """Mean over t < s of sqrt(1 - sum_v sqrt(phi_vt phi_vs))."""
    pairs = topic_pairs(phi)
    overlaps = [sum(np.sqrt(p[t] * p[s]) for p in phi) for t, s in pairs]
    return sum(np.sqrt(max(1 - overlap, 0)) for overlap in overlaps) / len(pairs)


def best_vertices(phi: np.ndarray, t: int, k: int) -> list[int]:
    return sorted(range(len(phi)), key=lambda v: (-phi[v, t], v))[:k]


def jaccard(phi: np.ndarray, k: int) -> float:
    """Mean over t < s of |A and B| / |A or B|, A and B their k best vertices."""
    sets = {t: set(best_vertices(phi, t, k)) for t in alive_topics(phi)}
    return float(np.mean([len(sets[t] & sets[s]) / len(sets[t] | sets[s]) for t, s in topic_pairs(phi)]))


def coherence(phi: np.ndarray, documents: np.ndarray, k: int, measure: str) -> float:
    """Mean over topics of the mean over pairs of their k best vertices of NPMI, or of UMass."""
    there, by_topic = documents > 0, []
    for t in alive_topics(phi):
        best, found = best_vertices(phi, t, k), []
        for m, v in enumerate(best):
            for u in best[:m]:  # u is the more probable one
                both, d_u, d_v = (there[:, u] & there[:, v]).sum(), there[:, u].sum(), there[:, v].sum()
                p, p_u, p_v = both / len(there), d_u / len(there), d_v / len(there)
                if measure == "umass":
                    found.append(np.log((both + 1) / d_u))
                else:
                    found.append(-1.0 if p == 0 else 0.0 if p == 1 else np.log(p / (p_u * p_v)) / -np.log(p))
        by_topic.append(np.mean(found))
    return float(np.mean(by_topic))


def perplexity(phi: np.ndarray, theta: np.ndarray, documents: np.ndarray) -> float:
    """exp(-sum n ln sum_t phi theta / sum n)."""
    total = sum(n * np.log(phi[v] @ theta[d]) for (d, v), n in np.ndenumerate(documents) if n > 0)
    return float(np.exp(-total / documents.sum()))


def kernel(phi: np.ndarray, prior: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """Means over topics of |W_t|, sum_{v in W_t} phi_vt and mean_{v in W_t} p(t|v), W_t = {v: p(t|v) > threshold}."""
    sizes, purities, contrasts = [], [], []
    for t in alive_topics(phi):
        p = [phi[v, t] * prior[t] / (phi[v] @ prior) if phi[v] @ prior > 0 else 0.0 for v in range(len(phi))]
        kernel_t = [v for v in range(len(phi)) if p[v] > threshold]
        sizes.append(len(kernel_t))
        purities.append(sum(phi[v, t] for v in kernel_t))
        contrasts.append(np.mean([p[v] for v in kernel_t]) if kernel_t else 0.0)
    return float(np.mean(sizes)), float(np.mean(purities)), float(np.mean(contrasts))


def completion(phi: np.ndarray, prior: np.ndarray, told: np.ndarray, held: np.ndarray, iterations: int) -> float:
    """Perplexity of held counts, theta_d folded in from those that are told: theta <- sum_v n_dv norm_t(phi_vt theta_t)."""
    total = 0.0
    for one, other in zip(told, held, strict=True):
        theta = np.float64(prior)
        for _ in range(iterations):
            if one.sum():
                theta = norm(sum(n * norm(phi[v] * theta) for v, n in enumerate(one) if n))
        total += sum(n * np.log(phi[v] @ theta) for v, n in enumerate(other) if n)
    return float(np.exp(-total / held.sum()))


def windows(texts: Sequence[np.ndarray], n_vertices: int, width: int) -> list[list[int]]:
    """What stands in each window of so many positions; a shorter text is one."""
    found = []
    for text in texts:
        for start in range(max(len(text) - width + 1, 1) if len(text) else 0):
            inside = set(text[start : start + width])
            found.append([int(v in inside) for v in range(n_vertices)])
    return found


def background(phi: np.ndarray, prior: np.ndarray, threshold: float) -> float:
    """sum p(v) over v with KL(p(t) | p(t|v)) <= threshold, over sum p(v)."""
    share = 0.0
    for row in phi:
        p_v = row @ prior
        if p_v > 0:
            p = row * prior / p_v
            divergence = sum(a * np.log(a / b) if b > 0 else np.inf for a, b in zip(prior, p, strict=True) if a > 0)
            share += p_v if divergence <= threshold else 0
    return float(share / (phi @ prior).sum())


def read_text(p: np.ndarray, prior: np.ndarray, words: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p(t|C_i, w_i) with the two-sided moving averages of p(t|w) around w_i as its context, and their moving averages from the left
    and from the right, each with its position."""

    def averaged(rows: list[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for row in rows:
            found.append(gamma * row + (1 - gamma) * found[-1] if found else row)
        return found

    free = [p[w] for w in words]
    left, right = averaged(free), averaged(free[::-1])[::-1]
    contextual = []
    for i, own in enumerate(free):
        sides = left[max(i - 1, 0) : i] + right[i + 1 : i + 2]
        contextual.append(norm(own * np.mean(sides, axis=0) / prior) if sides else own)
    return np.array(contextual), np.array(averaged(contextual)), np.array(averaged(contextual[::-1])[::-1])


def boundaries(distance: np.ndarray, threshold: float, apart: int) -> list[int]:
    """The largest distances first, each at least `apart` from those before it, and half of that from the ends."""
    found: list[int] = []
    for i in sorted(range(len(distance)), key=lambda i: (-distance[i], i)):
        inside = i >= apart / 2 and len(distance) - i >= apart / 2
        if distance[i] >= threshold and inside and all(abs(i - j) >= apart for j in found):
            found.append(i)
    return sorted(found)


def crossed(cuts: Sequence[int], n: int, window: int) -> list[int]:
    return [sum(i < cut <= i + window for cut in cuts) for i in range(n - window)]


def pk(given: Sequence[int], found: Sequence[int], n: int, window: int) -> float:
    pairs = zip(crossed(given, n, window), crossed(found, n, window), strict=True)
    return float(np.mean([(a > 0) != (b > 0) for a, b in pairs]))


def window_diff(given: Sequence[int], found: Sequence[int], n: int, window: int) -> float:
    return float(np.mean([a != b for a, b in zip(crossed(given, n, window), crossed(found, n, window), strict=True)]))


def list_diversity(ranked: np.ndarray, items: np.ndarray) -> list[float]:
    """Mean of 1 - cosine over the pairs of items of each list; -1 is no item, a vector of zeros is like no other."""
    found = []
    for row in ranked:
        distances = []
        for a, b in combinations([item for item in row if item >= 0], 2):
            norm = np.linalg.norm(items[a]) * np.linalg.norm(items[b])
            distances.append(1 - (items[a] @ items[b] / norm if norm > 0 else 0.0))
        found.append(float(np.mean(distances)) if distances else 0.0)
    return found


def diversify(scores: np.ndarray, vectors: np.ndarray, k: int, share: float, strengths: np.ndarray) -> list[int]:
    """Of the lists by maximal marginal relevance for all strengths, the most diverse that keeps its share of the DCG."""

    def promise(places: list[int]) -> float:
        return sum(max(scores[place], 0.0) / np.log2(rank + 2) for rank, place in enumerate(places))

    def likeness(places: list[int]) -> float:
        return sum(float(vectors[a] @ vectors[b]) for a, b in combinations(places, 2))

    there = [place for place in range(len(scores)) if np.isfinite(scores[place])]
    best = list(range(k))
    if share == 0 or len(there) < k:
        return best
    least, top = (1 - share) * promise(best), max(scores[0], 1e-300)
    for strength in strengths:
        places: list[int] = []
        while len(places) < k:
            left = [place for place in there if place not in places]
            worth = [
                max(scores[i], 0.0) / top - strength * max([0.0, *(float(vectors[i] @ vectors[j]) for j in places)]) for i in left
            ]
            places.append(left[int(np.argmax(worth))])
        places.sort()
        if likeness(places) < likeness(best) and promise(places) >= least:
            best = places
    return best


def weights_between_sets(
    x: np.ndarray, expected: np.ndarray, weight: np.ndarray, regularization: np.ndarray, share: float
) -> np.ndarray:
    """W (I, I) with a diagonal of 0 that minimizes sum_u w_u |x_u - share * expected_u - x_u W|^2 + sum_j regularization_j W_j^2,
    column by column, its own item left out of what a column is made of. x, expected (U, I); weight (U,); regularization (I,)."""
    n = x.shape[1]
    found = np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        a = x[:, others]
        b = x[:, i] - share * expected[:, i]
        found[others, i] = np.linalg.solve(a.T @ (weight[:, None] * a) + np.diag(regularization[others]), a.T @ (weight * b))
    return found


def sharper_weights(
    x: np.ndarray, expected: np.ndarray, weight: np.ndarray, regularization: np.ndarray, share: float, s: float
) -> np.ndarray:
    """The same W with eigenvalues l of the Gram matrix counted l^s / (l^s + r^s), for columns scaled to one regularization r."""
    r = float(regularization.mean())
    scale = np.sqrt(r / regularization)
    scaled, n = np.sqrt(weight)[:, None] * x * scale, x.shape[1]
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    values = np.maximum(values, 1e-12)
    told = (vectors * (values**s / (values**s + r**s))) @ vectors.T
    filtered = (vectors * (values ** (s - 1) / (values**s + r**s))) @ vectors.T
    found = np.zeros((n, n))
    for i in range(n):
        column = told[:, i] / scale[i] - filtered @ scaled.T @ (np.sqrt(weight) * share * expected[:, i])
        left = (np.eye(n) - told)[:, i]
        found[:, i] = scale * (column - left * column[i] / left[i])
    return found


def weights_in_order(
    histories: list[list[int]],
    contexts: list[list[np.ndarray]],
    damping: float,
    regularization: np.ndarray,
    share: float,
    gamma: float,
    n: int,
) -> np.ndarray:
    """W (n, n) that minimizes the squared error of the next item, by share * contexts[u][p] + decays of the earlier items @ W."""
    rows, targets, weight = [], [], []
    for history, of_topics in zip(histories, contexts, strict=True):
        for p in range(1, len(history)):
            x = np.zeros(n)
            for lag in range(p):
                if lag == 0 or (1 - gamma) ** lag >= 0.01:
                    x[history[p - 1 - lag]] += (1 - gamma) ** lag
            rows.append(x)
            targets.append(np.eye(n)[history[p]] - share * of_topics[p])
            weight.append(len(set(history)) ** -damping)
    lengths = np.array([len(set(history)) for history in histories])
    w = np.array(weight) / np.average(lengths**-damping, weights=lengths)
    x = np.array(rows)
    return np.linalg.solve(x.T @ (w[:, None] * x) + np.diag(regularization), x.T @ (w[:, None] * np.array(targets)))


def own_events(
    events: list[tuple[int, float, tuple[int, ...]]], asked: tuple[int, ...], weights: np.ndarray, n_lags: int, returns: np.ndarray
) -> tuple[np.ndarray, float]:
    """What a user's events (item, how many of her times ago, contexts) say of items, and the share of the background."""
    score, total = np.zeros(len(returns)), float(weights[-1])
    for item, ago, contexts in events:
        lag = min(int(np.log2(ago)), n_lags - 1) if ago else 0
        same = [a == b for a, b in zip(contexts, asked, strict=True)]
        n_matches = (len(weights) - 1) // n_lags
        apart = n_matches == 2 ** len(same)
        weight = weights[lag * n_matches + (sum(2**j for j, one in enumerate(same) if one) if apart else sum(same))]
        weight *= returns[item]
        score[item] += weight
        total += weight
    return score / total, float(weights[-1]) / total


def returns(
    events: list[list[tuple[int, float, tuple[int, ...]]]], weights: np.ndarray, n_lags: int, share: np.ndarray, steady: float
) -> np.ndarray:
    """How willingly users come back to items (I,): of the events of each user (item, how many of her times ago, contexts)."""
    found, expected = np.full(len(share), steady), np.full(len(share), steady)
    for mine in events:
        for n, (item, ago, _) in enumerate(mine):
            before = [(i, a - ago) for f, (i, a, _) in enumerate(mine) if f != n and (a > ago or ago == 0)]
            weight = [weights[min(int(np.log2(a)), n_lags - 1) if a else 0] for _, a in before]
            hit = sum(one for (i, _), one in zip(before, weight, strict=True) if i == item)
            found[item] += hit / (hit + weights[-1] * share[item])
            for (i, _), one in zip(before, weight, strict=True):
                expected[i] += one / (sum(weight) + weights[-1])
    return found / expected


def tf_idf(counts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Features (V, A) of counts (V, A): (1 + ln n) ln(V / V_a) times weight (A,); V: vertices of which anything is known."""
    known = (counts > 0).any(axis=1).sum()
    features = np.zeros(counts.shape)
    for v in range(counts.shape[0]):
        for a in range(counts.shape[1]):
            if counts[v, a] > 0:
                features[v, a] = (1 + np.log(counts[v, a])) * np.log(known / (counts[:, a] > 0).sum()) * weight[a]
    return features


def steadied(own: np.ndarray, known: np.ndarray, n: float, prior: float) -> np.ndarray:
    """What n events say, drawn to what is known without them."""
    of_prior = prior / (n + prior) if prior else 0.0
    return own * (1 - of_prior**2) + known * of_prior**2


def unit(rows: np.ndarray, length: float = 1.0) -> np.ndarray:
    """Rows divided by their norms to the power length; a row of zeros stays."""
    norm = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(norm > 0, norm, 1) ** length


def ridge(features: np.ndarray, targets: np.ndarray, regularization: float) -> np.ndarray:
    """B that minimizes |Y - F B|^2 + regularization |B|^2."""
    gram = features.T @ features + regularization * np.eye(features.shape[1])
    return np.linalg.solve(gram, features.T @ targets)


def likeness(features: np.ndarray, to: np.ndarray, of: np.ndarray, length: float) -> np.ndarray:
    """(len(to), len(of)): max(K_ij - mean_i K_ij, 0), K the cosine, the norms of `of` to the power length."""
    cosine = unit(features[to]) @ unit(features[of], length).T
    return np.maximum(cosine - cosine.mean(axis=0), 0)


def nearest(features: np.ndarray, rows: np.ndarray, kept: int) -> np.ndarray:
    """(V, V): cosines of the features of these vertices; to each the largest, none with itself, of equal ones the first."""
    cosine = unit(features) @ unit(features).T
    found = np.zeros_like(cosine)
    for i in rows:
        for j in sorted((j for j in rows if j != i), key=lambda j: -round(cosine[j, i], 9))[:kept]:
            found[j, i] = cosine[j, i]
    return found


def joined(edges: list[tuple[int, int, float]], n: int) -> np.ndarray:
    """What edges between vertices of one modality say of each: those that it is joined to, and itself, if to any."""
    counts = np.zeros((n, n))
    for a, b, weight in edges:
        counts[a, b] += weight
        counts[b, a] += weight
    for v in range(n):
        counts[v, v] += counts[v].any()
    return counts


def ochiai(a: np.ndarray, p_a: np.ndarray, b: np.ndarray, p_b: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(A, B): p(a, b) / sqrt(p(a) p(b)) of vertices with p(t|a) and p(t|b), that meet in their topics."""
    found = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            together = p_a[i] * p_b[j] * sum(float(x) * float(y) / float(p) for x, y, p in zip(a[i], b[j], prior, strict=True))
            found[i, j] = together / np.sqrt(p_a[i] * p_b[j])
    return found


def in_contexts(events: list[tuple[int, int, int]], n_contexts: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Of events (user, item, context): users of each item in each context, (C, I), and how many are expected."""
    found, expected = np.zeros((n_contexts, n_items)), np.zeros((n_contexts, n_items))
    for user in {one[0] for one in events}:
        mine = [one for one in events if one[0] == user]
        items = {one[1] for one in mine}
        share = np.zeros(n_contexts)
        for item in items:
            contexts = [one[2] for one in mine if one[1] == item]
            for context in contexts:
                found[context, item] += 1 / len(contexts)
                share[context] += 1 / len(contexts) / len(items)
        for item in items:
            expected[:, item] += share
    return found, expected


def gamma_poisson(found: np.ndarray, expected: np.ndarray, kappa: float) -> float:
    """ln p of counts (C, I), Poisson with a mean of expected * lift, lift ~ Gamma(kappa p(c), kappa p(c)), but for constants."""
    total = 0.0
    for c in range(len(found)):
        prior = kappa * expected[c].sum() / expected.sum()
        for n, e in zip(found[c], expected[c], strict=True):
            if e > 0:
                total += math.lgamma(n + prior) - math.lgamma(prior) + prior * math.log(prior) - (n + prior) * math.log(e + prior)
    return total

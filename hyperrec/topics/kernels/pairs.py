"""E-step of (container, vertex) pairs, and the order in which it reads them."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from hyperrec.topics.kernels import REORDER

# Below this share of an item's own product the difference "all minus own" has lost its digits: subtract term by term.
CANCELLATION = np.float32(1.0 / 64.0)
TINY = np.float32(1e-30)
AHEAD = 4  # events between asking for a row and using it
LINE = 16  # float32 in a cache line


@intrinsic
def _prefetch(typing_context, row, at):
    """Ask for the cache line of row[at] before it is needed: rows are met in random order, no hardware sees them coming."""

    def emit(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(row, types.intp), emit


@njit(nogil=True, cache=True)
def turn_blocks(indptr, vertices, weight, firsts, n_vertices, starts, row_vertex, row_indptr, members, turned_weight):
    """Containers -> vertices, cut into blocks of containers, into vertex -> containers of the block.

    indptr (D + 1,), vertices (N,), weight (N,): the histories; firsts (B + 1,): first container of each block. Row r of the
    result is a vertex in a block; blocks follow one another, vertices ascend within a block. starts (B + 1,): first row of each
    block; row_vertex (<= N,), row_indptr (<= N + 1,); members (N,): containers, counted from the block's first;
    turned_weight (N,).
    """
    place = np.zeros(n_vertices, np.int64)
    n_rows = 0
    row_indptr[0] = 0
    for block in range(starts.shape[0] - 1):
        starts[block] = n_rows
        first, stop = firsts[block], firsts[block + 1]
        for j in range(indptr[first], indptr[stop]):
            place[vertices[j]] += 1
        at = indptr[first]
        for v in range(n_vertices):
            count = place[v]
            if count > 0:
                row_vertex[n_rows] = v
                place[v] = at
                at += count
                n_rows += 1
                row_indptr[n_rows] = at
        for d in range(first, stop):
            for j in range(indptr[d], indptr[d + 1]):
                v = vertices[j]
                members[place[v]] = d - first
                turned_weight[place[v]] = weight[j]
                place[v] += 1
        for row in range(starts[block], n_rows):
            place[row_vertex[row]] = 0
    starts[-1] = n_rows


@njit(nogil=True, fastmath=REORDER)
def _add_term_by_term(total, row, query, a, n, rest, sums):
    """The rare edge whose vertex is nearly all of its container: adds to sums, returns z, 0 where the others say nothing.

    Then the context is p(t) and the posterior p(t|v). A function of its own: in the loop, it makes the common case slower.
    """
    n_topics = total.shape[0]
    z = np.float32(0)
    if rest > 0:
        for t in range(n_topics):
            other = total[t] - a * row[t]
            if other > np.float32(1e-6) * total[t]:
                z += query[t] * other
    if z <= TINY:
        for t in range(n_topics):
            sums[t] += n
        return np.float32(0)
    scale = n / z
    for t in range(n_topics):
        other = total[t] - a * row[t]
        if other > np.float32(1e-6) * total[t]:
            sums[t] += scale * other
    return z


@njit(nogil=True, cache=True, parallel=True, fastmath=REORDER)
def add_pairs_in_mean(
    indptr, vertices, weight, damping, slices, groups, row_vertex, row_indptr, members, turned_weight, lift, prior, own, totals,
    amounts, n_vt, scores,
):  # fmt: skip
    """E-step of pairs (container, vertex) with the leave-one-out mean of the container's other vertices as context.

    indptr (D + 1,), vertices (N,) int32, weight (N,) float32: the histories, one row of CSR a container.
    damping (D,) float32 multiplies the weight of a container's edges in the counts, not in the mean.
    slices, groups (B, P + 1): in each block, the containers and the rows that each of P parts of the work takes.
    row_vertex (R,), row_indptr (R + 1,), members (N,), turned_weight (N,): the histories again, by vertex (`turn_blocks`).
    lift (V, T), prior (T,), own (V,) = sum_t prior_t lift_vt^2.
    totals (size of a block, T) float32, amounts (size of a block,) float64: room to work in.
    n_vt (V, T) float32, added to; scores (P, 3) float64: log-likelihood, edges without context, weight; zeros on entry.

    With S = sum_j a_j lift_j and A = sum_j a_j, the context of v is (S - a_v lift_v) / (A - a_v), so both its product with
    lift_v and its sum over containers are linear in S: a dot product and an addition per edge are all it takes. The sums S of
    a block of containers stay in the cache while its vertices are gone through one by one, each reading and writing its
    row of the tables once for all its containers of the block. A row belongs to one part, so parts never wait or race.
    """
    n_topics = lift.shape[1]
    last = len(vertices) - 1
    n_parts = slices.shape[1] - 1
    for block in range(slices.shape[0]):
        first = slices[block, 0]
        for part in prange(n_parts):
            for d in range(slices[block, part], slices[block, part + 1]):
                total = totals[d - first]
                total[:] = 0
                amount = 0.0
                for j in range(indptr[d], indptr[d + 1]):
                    a = weight[j]
                    amount += a
                    soon = lift[vertices[min(j + AHEAD, last)]]
                    for t in range(0, n_topics, LINE):
                        _prefetch(soon, t)
                    row = lift[vertices[j]]
                    for t in range(n_topics):
                        total[t] += a * row[t]
                amounts[d - first] = amount
        for part in prange(n_parts):
            query = np.empty(n_topics, np.float32)
            sums = np.empty(n_topics, np.float32)
            log_likelihood = 0.0
            alone = 0.0
            mass = 0.0
            product = 1.0  # of the z that share the weight `power`: one logarithm for many edges
            power = np.float32(1)
            for r in range(groups[block, part], groups[block, part + 1]):
                v = row_vertex[r]
                row = lift[v]
                for t in range(n_topics):
                    query[t] = prior[t] * row[t]
                    sums[t] = 0
                back = np.float32(0)
                square = own[v]
                for j in range(row_indptr[r], row_indptr[r + 1]):
                    d = members[j]
                    total = totals[d]
                    a = turned_weight[j]
                    n = np.float32(a * damping[first + d])
                    mass += n
                    rest = np.float32(amounts[d] - a)
                    z = np.float32(0)
                    for t in range(n_topics):
                        z += query[t] * total[t]
                    mine = a * square
                    z -= mine
                    if z > CANCELLATION * mine:
                        scale = n / z
                        back += scale * a
                        for t in range(n_topics):
                            sums[t] += scale * total[t]
                    else:
                        z = _add_term_by_term(total, row, query, a, n, rest, sums)
                        if z <= TINY:
                            alone += 1
                            continue
                    if n != power or not (1e-250 < product < 1e250):
                        log_likelihood += power * np.log(product)
                        product = 1.0
                        power = n
                    product *= z / rest
                into = n_vt[v]
                for t in range(n_topics):
                    into[t] += max(np.float32(0), query[t] * (sums[t] - back * row[t]))
            scores[part, 0] += log_likelihood + power * np.log(product)
            scores[part, 1] += alone
            scores[part, 2] += mass

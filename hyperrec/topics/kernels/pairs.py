"""E-step of (container, vertex) pairs, and the order in which it reads them."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from hyperrec.topics.kernels import REORDER, kernel

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


@kernel(fastmath=REORDER)
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


@kernel()
def fill_rows(table, indptr, topics, values):
    """The entries of a table (V, T) that are not zero, row by row: topics, values (indptr[-1],)."""
    for v in prange(table.shape[0]):
        at = indptr[v]
        row = table[v]
        for t in range(table.shape[1]):
            if row[t] != 0:
                topics[at] = t
                values[at] = row[t]
                at += 1


@njit(nogil=True, fastmath=REORDER)
def _add_sparse_term_by_term(total, topics, values, query, a, n, rest, sums):
    """`_add_term_by_term` on the entries of a sparse row."""
    z = np.float32(0)
    if rest > 0:
        for k in range(topics.shape[0]):
            whole = total[topics[k]]
            other = whole - a * values[k]
            if other > np.float32(1e-6) * whole:
                z += query[k] * other
    if z <= TINY:
        for k in range(topics.shape[0]):
            sums[k] += n
        return np.float32(0)
    scale = n / z
    for k in range(topics.shape[0]):
        whole = total[topics[k]]
        other = whole - a * values[k]
        if other > np.float32(1e-6) * whole:
            sums[k] += scale * other
    return z


@kernel(fastmath=REORDER)
def add_sparse_pairs_in_mean(
    indptr, vertices, weight, damping, row_indptr, topics, values, query, own, n_topics, bounds, sums, backs, scores
):  # fmt: skip
    """`add_pairs_in_mean` where lifts are sparse: a container's sum S lies in the first cache, and rows are met in its order.

    row_indptr (V + 1,), topics (Z,) uint32, values, query (Z,) float32: the rows of lift, and of prior * lift.
    bounds (C + 1,): containers of each chunk. sums (C, Z) float32: sum of n S / z at each entry; backs (C, V): sum of n a / z, by
    which lifts are to be taken off them; scores (C, 3); all zeros on entry.
    """
    for chunk in prange(bounds.shape[0] - 1):
        total = np.zeros(n_topics, np.float32)
        gathered = np.empty(n_topics, np.float32)
        into = sums[chunk]
        back = backs[chunk]
        log_likelihood = 0.0
        alone = 0.0
        mass = 0.0
        product = 1.0  # of the z that share the weight `power`: one logarithm for many edges
        power = np.float32(1)
        for d in range(bounds[chunk], bounds[chunk + 1]):
            amount = 0.0
            for j in range(indptr[d], indptr[d + 1]):
                a = weight[j]
                amount += a
                at = slice(row_indptr[vertices[j]], row_indptr[vertices[j] + 1])
                row_topics, row = topics[at], values[at]
                for k in range(row.shape[0]):
                    total[row_topics[k]] += a * row[k]
            for j in range(indptr[d], indptr[d + 1]):
                v = vertices[j]
                at = slice(row_indptr[v], row_indptr[v + 1])
                row_topics, row_query, row_sums = topics[at], query[at], into[at]
                a = weight[j]
                n = np.float32(a * damping[d])
                mass += n
                rest = np.float32(amount - a)
                for k in range(row_query.shape[0]):
                    gathered[k] = total[row_topics[k]]
                z = np.float32(0)
                for k in range(row_query.shape[0]):
                    z += row_query[k] * gathered[k]
                mine = a * own[v]
                z -= mine
                if z > CANCELLATION * mine:
                    scale = n / z
                    back[v] += scale * a
                    for k in range(row_query.shape[0]):
                        row_sums[k] += scale * gathered[k]
                else:
                    z = _add_sparse_term_by_term(total, row_topics, values[at], row_query, a, n, rest, row_sums)
                    if z <= TINY:
                        alone += 1
                        continue
                if n != power or not (1e-250 < product < 1e250):
                    log_likelihood += power * np.log(product)
                    product = 1.0
                    power = n
                product *= z / rest
            for j in range(indptr[d], indptr[d + 1]):
                row_topics = topics[row_indptr[vertices[j]] : row_indptr[vertices[j] + 1]]
                for k in range(row_topics.shape[0]):
                    total[row_topics[k]] = 0
        scores[chunk, 0] = log_likelihood + power * np.log(product)
        scores[chunk, 1] = alone
        scores[chunk, 2] = mass


@kernel()
def merge_sparse(sums, backs, values, query, row_indptr, topics, n_vt):
    """n_vt += query (sum_c sums_c - lift sum_c backs_c) at the entries of the rows, the chunks added in order in float64."""
    n_chunks = sums.shape[0]
    for v in prange(n_vt.shape[0]):
        into = n_vt[v]
        back = 0.0
        for c in range(n_chunks):
            back += backs[c, v]
        for k in range(row_indptr[v], row_indptr[v + 1]):
            total = 0.0
            for c in range(n_chunks):
                total += sums[c, k]
            into[topics[k]] += max(0.0, query[k] * (total - back * values[k]))

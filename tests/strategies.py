"""Small random problems for hypothesis: histories, edges, and states whose rows lie on the simplex."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from hyperrec.topics.contexts import Context, FoldIn, Mean, Mixture, Recency, TwoSided, Window
from hyperrec.topics.shards import Edges, History, Pairs
from hyperrec.topics.state import Layout, State, make_state


def seeded() -> st.SearchStrategy[np.random.Generator]:
    return st.builds(np.random.default_rng, st.integers(0, 2**32 - 1))


def simplex_rows(rng: np.random.Generator, n_rows: int, n_topics: int, zeros: float) -> np.ndarray:
    """(n_rows, n_topics) float32, rows sum to one, about a share `zeros` of exact zeros."""
    table = rng.uniform(0.05, 1, (n_rows, n_topics))
    kept = rng.random((n_rows, n_topics)) >= zeros
    kept[np.arange(n_rows), rng.integers(n_topics, size=n_rows)] = True
    table *= kept
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32)


def weights(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size,) float32 from 1e-3 to 1e3, uniform in the logarithm."""
    return np.exp(rng.uniform(np.log(1e-3), np.log(1e3), size)).astype(np.float32)


def state_of(rng: np.random.Generator, n_vertices: int, n_topics: int, zeros: float) -> State:
    """A state of the symmetric form with a p(t) of its own."""
    prior = simplex_rows(rng, 1, n_topics, 0.0)[0]
    return make_state(simplex_rows(rng, n_vertices, n_topics, zeros), prior, Layout((n_vertices,), np.ones(n_vertices)))


def history_of(rng: np.random.Generator, n_containers: int, n_vertices: int, shortest: int = 1) -> History:
    """Rows of no vertices, or of at least `shortest`. Weights are counts from 1 to 9 times a scale of the row, 1e-3 to 1e2."""
    rows = [np.flatnonzero(rng.random(n_vertices) < rng.random()) for _ in range(n_containers)]
    rows = [row if len(row) >= shortest else row[:0] for row in rows]
    scales = np.minimum(weights(rng, n_containers), 1e2)
    amounts = [rng.integers(1, 10, len(row)) * scale for row, scale in zip(rows, scales, strict=True)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return History(indptr, np.concatenate(rows).astype(np.int32), np.concatenate(amounts).astype(np.float32))


@st.composite
def sizes(draw: st.DrawFn) -> tuple[np.random.Generator, int, int, float]:
    """A generator, numbers of vertices and topics, share of zeros."""
    n_vertices, n_topics = draw(st.integers(2, 9)), draw(st.integers(1, 20))
    return draw(seeded()), n_vertices, n_topics, draw(st.sampled_from([0.0, 0.3, 0.7]))


@st.composite
def pairs_and_states(draw: st.DrawFn) -> tuple[Pairs, State]:
    rng, n_vertices, n_topics, zeros = draw(sizes())
    n_containers = draw(st.integers(1, 8))
    damping = rng.uniform(0.1, 2, n_containers).astype(np.float32)
    return Pairs(history_of(rng, n_containers, n_vertices), damping), state_of(rng, n_vertices, n_topics, zeros)


@st.composite
def folded_pairs_and_states(draw: st.DrawFn) -> tuple[Pairs, State]:
    """Pairs read in the whole of their containers."""
    pairs, state = draw(pairs_and_states())
    context = draw(st.builds(FoldIn, iterations=st.integers(1, 4), start=st.sampled_from(["prior", "uniform"])))
    return replace(pairs, plan=context.plan()), state


@st.composite
def edges_and_states(draw: st.DrawFn, max_order: int = 6) -> tuple[Edges, State]:
    """Edges of the symmetric form; a vertex may come twice in an edge, an edge may come twice."""
    rng, n_vertices, n_topics, zeros = draw(sizes())
    n_edges, order = draw(st.integers(1, 30)), draw(st.integers(1, max_order))
    vertices = rng.integers(n_vertices, size=(n_edges, order)).astype(np.int32)
    return Edges.symmetric(vertices, weights(rng, n_edges)), state_of(rng, n_vertices, n_topics, zeros)


@st.composite
def edges_in_context_and_states(draw: st.DrawFn) -> tuple[Edges, State]:
    """Edges of containers with histories of two vertices or more, or of none; the first of an edge is in the history or not."""
    rng, n_vertices, n_topics, zeros = draw(sizes())
    n_containers, n_edges, order = draw(st.integers(1, 8)), draw(st.integers(1, 30)), draw(st.integers(1, 6))
    history = history_of(rng, n_containers, n_vertices)
    owners = np.sort(rng.integers(n_containers, size=n_edges))
    vertices = rng.integers(n_vertices, size=(n_edges, order)).astype(np.int32)
    indptr = np.searchsorted(owners, np.arange(n_containers + 1)).astype(np.int64)
    place = np.array([place_of(history, d, v) for d, v in zip(owners, vertices[:, 0], strict=True)], np.int64)
    edges = Edges(indptr, vertices, weights(rng, n_edges), place, history, Mean().plan())
    return edges, state_of(rng, n_vertices, n_topics, zeros)


def place_of(history: History, d: int, v: int) -> int:
    """The first position of a vertex in a history, or their number."""
    row = history.vertices[history.indptr[d] : history.indptr[d + 1]]
    return int(np.flatnonzero(row == v)[0]) if v in row else len(row)


def contexts() -> st.SearchStrategy[Context]:
    """Any context, alone or mixed, with up to two passes."""
    gamma = st.sampled_from([0.05, 0.3, 0.8, 1.0])
    weights_of = st.sampled_from([None, (1.0, 0.5), (0.0, 1.0, 2.0, 0.25)])
    one = st.one_of(
        st.builds(Mean), st.builds(Recency, gamma=gamma), st.builds(Window, h=st.just(2), weights=weights_of),
        st.builds(TwoSided, gamma_left=gamma, gamma_right=gamma, beta=st.sampled_from([0.0, 0.3, 1.0])),
    )  # fmt: skip
    folded = st.builds(FoldIn, iterations=st.integers(1, 3), start=st.sampled_from(["prior", "uniform"]))
    passes = st.integers(0, 2)
    alone = st.builds(lambda context, passes: replace(context, passes=passes), one, passes)
    several = st.lists(one | folded, min_size=1, max_size=3)
    mixed = st.builds(lambda parts, back, n: Mixture(*parts, background=back, passes=n), several, st.booleans(), passes)
    return alone | folded | mixed


@st.composite
def sequences_and_states(draw: st.DrawFn) -> tuple[Edges, State]:
    """Edges at places of ordered histories: positions of repeated vertices, of no importance or much, and of new documents."""
    rng, n_vertices, n_topics, _ = draw(sizes())
    n_containers, n_edges, order = draw(st.integers(1, 5)), draw(st.integers(1, 20)), draw(st.integers(1, 4))
    lengths = rng.integers(0, 9, n_containers)
    n = int(lengths.sum())
    history = History(
        np.append(0, np.cumsum(lengths)).astype(np.int64), rng.integers(n_vertices, size=n).astype(np.int32),
        rng.uniform(0.2, 5, n).astype(np.float32), rng.choice([0, 0.5, 1, 30], n, p=[0.1, 0.2, 0.6, 0.1]).astype(np.float32),
        rng.random(n) < 0.15,
    )  # fmt: skip
    owners = np.sort(rng.integers(n_containers, size=n_edges))
    vertices = rng.integers(n_vertices, size=(n_edges, order)).astype(np.int32)
    place = rng.integers(0, lengths[owners] + 1)
    indptr = np.searchsorted(owners, np.arange(n_containers + 1)).astype(np.int64)
    context = draw(contexts())
    state = state_of(rng, n_vertices, n_topics, 0.0)
    shares = rng.dirichlet(np.ones(len(context.parts))) if len(context.parts) > 1 else np.ones(1)
    edges = Edges(indptr, vertices, weights(rng, n_edges), place.astype(np.int64), history, context.plan())
    return edges, State(state.embedding, state.prior, state.lift, shares)


@st.composite
def layouts_and_edges(draw: st.DrawFn) -> tuple[Layout, Edges]:
    """Edges with one vertex of each of 1 to 4 modalities, every vertex in some edge; the first modality holds the containers."""
    rng = draw(seeded())
    parts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    n_edges = draw(st.integers(max(parts), 40))
    starts = np.cumsum([0, *parts[:-1]])
    columns = [start + rng.permutation(np.arange(n_edges) % size) for start, size in zip(starts, parts, strict=True)]
    edges = Edges.symmetric(np.stack(columns, axis=1).astype(np.int32), weights(rng, n_edges))
    return Layout(tuple(parts), mass_of([edges], sum(parts)), phi_weight_of([edges], parts)), edges


def mass_of(shards: list[Edges], n_vertices: int) -> np.ndarray:
    """Weight of the edges of each vertex, an edge's weight shared among its vertices."""
    mass = np.zeros(n_vertices)
    for shard in shards:
        np.add.at(mass, shard.vertices, np.float64(shard.weight)[:, None] / shard.vertices.shape[1])
    return mass


def phi_weight_of(shards: list[Edges], sizes: Sequence[int]) -> np.ndarray:
    """Weight of the edges of each vertex, but for those of the first modality: the containers'."""
    weight = np.zeros(sum(sizes))
    for shard in shards:
        np.add.at(weight, shard.vertices, np.float64(shard.weight)[:, None])
    weight[: sizes[0]] = 0
    return weight

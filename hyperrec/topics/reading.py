"""Contexts read outside the EM: of a new position, of the positions of one history, and the weights that they are made with."""

from __future__ import annotations

import numpy as np

from hyperrec.topics.contexts import Plan
from hyperrec.topics.kernels import edges as kernels
from hyperrec.topics.shards import History
from hyperrec.topics.state import State


def contexts_after(history: History, plan: Plan, state: State) -> np.ndarray:
    """Lifts of the context of a new position after the last of each container, (D, T) float32; 1 where there is none."""
    contexts = np.empty((len(history.indptr) - 1, state.lift.shape[1]), np.float32)
    kernels.read_contexts(
        history.indptr, history.vertices, history.weight, history.importance, history.starts,
        *plan, state.shares, state.lift, state.prior, True, contexts, np.empty((0, 0), np.float32),
    )  # fmt: skip
    return contexts


def contexts_of(history: History, plan: Plan, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Lifts of the contexts of the positions of each of D containers and of a new one after them, (N + D, T), and of what was
    averaged at N positions, (N, T): p(t|w_i) / p(t), or the contextual vectors of the pass before."""
    n, n_topics = len(history.vertices), state.lift.shape[1]
    contexts, values = np.empty((n + len(history.indptr) - 1, n_topics), np.float32), np.empty((n, n_topics), np.float32)
    kernels.read_contexts(
        history.indptr, history.vertices, history.weight, history.importance, history.starts,
        *plan, state.shares, state.lift, state.prior, False, contexts, values,
    )  # fmt: skip
    return contexts, values


def weights_after(history: History, plan: Plan, state: State) -> np.ndarray:
    """alpha(u|n) (n,) of the positions of the one container of a history, for a new one after them; the background left out.

    A context is linear in what it averages: reading unit vectors gives its weights. Those of a fold-in are those of the mean.
    """
    plan = plan._replace(kinds=np.where(plan.kinds == kernels.FOLD_IN, kernels.MEAN, plan.kinds))
    n, block = len(history.vertices), 512
    units = History(history.indptr, np.arange(n, dtype=np.int32), history.weight, history.importance, history.starts)
    shares = np.where(plan.kinds == kernels.BACKGROUND, 0, state.shares)
    weights = np.zeros(n, np.float32)
    for start in range(0, n, block):
        unit = np.eye(n, min(block, n - start), -start, dtype=np.float32)
        here = State(unit, np.ones(unit.shape[1], np.float32), unit, shares)
        weights[start : start + block] = contexts_after(units, plan._replace(passes=0), here)[0]
    return weights

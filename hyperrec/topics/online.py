"""Online EM: the M-step after each mini-batch of containers instead of after the whole log.

After batch u, with expected counts ñ and weight w_u out of the whole weight W of the log, and a rate rho_u,

    n_vt := (1 - rho_u) n_vt + rho_u (W / w_u) ñ_vt,    then the M-step.

This is n := delta n + alpha ñ of the slides ("Online EM with a localized E-step"), delta = 1 - rho_u, alpha = rho_u W / w_u. The
rates are those of Cappé and Moulines (2009), and of Hoffman, Blei and Bach (2010): rho_u = (tau0 + u)^-kappa, u = 0, 1, ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hyperrec.errors import ModelError
from hyperrec.topics import em
from hyperrec.topics.regularizers import Regularization
from hyperrec.topics.shards import Edges, Pairs
from hyperrec.topics.state import Layout
from hyperrec.topics.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class Online:
    """How a log is cut into mini-batches, and what each of them counts.

    batch_size : containers of a batch. Where none are read from histories, the edges are cut into as many batches as if the
        vertices of the largest modality were containers. Each batch costs an M-step of the whole table.
    kappa, tau0 : rho_u = (tau0 + u)^-kappa. The smaller they are, the sooner it forgets the poor states of its start, but the
        more it depends on the last batches; the theory of convergence asks for kappa in (0.5, 1].
    rate : a constant rho instead, in (0, 1]: it never settles, but follows what changes.

    Raises
    ------
    ModelError : a parameter outside its range.
    """

    batch_size: int = 128
    kappa: float = 0.3
    tau0: float = 1.0
    rate: float | None = None

    def __post_init__(self) -> None:
        size = self.batch_size
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ModelError(f"Online: batch_size must be a whole number, 1 or more; got {size!r}.")
        object.__setattr__(self, "batch_size", int(size))
        if not _within(self.kappa, 0, 1):
            raise ModelError(f"Online: kappa must be a number, 0 to 1; got {self.kappa!r}.")
        if not _within(self.tau0, 1, np.inf):
            raise ModelError(f"Online: tau0 must be a number, 1 or more; got {self.tau0!r}.")
        if self.rate is not None and not (_within(self.rate, 0, 1) and self.rate > 0):
            raise ModelError(f"Online: rate must be a number above 0, up to 1, or None; got {self.rate!r}.")

    def rho(self, u: int) -> float:
        """The rate of batch u, from 0."""
        return float((self.tau0 + u) ** -self.kappa if self.rate is None else self.rate)


def _within(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high and np.isfinite(value)


def batches(shards: Sequence[Pairs | Edges], layout: Layout, size: int, rng: np.random.Generator) -> Iterator[list[Pairs | Edges]]:
    """The shards, each in as many parts of random units: a container goes into one batch with all of its edges of all shards."""
    n_batches = -(-max((shard.n_units for shard in shards if shard.contained), default=max(layout.sizes)) // size)
    order = {n: rng.permutation(n) for n in dict.fromkeys(shard.n_units for shard in shards)}
    for b in range(n_batches):
        part = {n: np.sort(units[b * n // n_batches : (b + 1) * n // n_batches]) for n, units in order.items()}
        yield [shard.take(part[shard.n_units]) for shard in shards]


def fit(
    shards: Sequence[Pairs | Edges],
    layout: Layout,
    online: Online,
    *,
    n_topics: int,
    n_passes: int,
    seed: int = 0,
    start: em.Progress | None = None,
    on_pass: Callable[[em.Progress], None] | None = None,
    drop_below: float = 0.0,
    regularize: Regularization | None = None,
) -> em.Fit:
    """Go through the log n_passes times, in another order each time; or go on from where an earlier call was.

    The likelihood of a pass in the history is summed over its batches, each read before the model has learned from it: that of
    the final state is higher. There is no over-relaxation, nothing is taken back, and no tolerance stops it. Entries are
    dropped from the second pass on.
    """
    totals = [shard.totals(len(layout.mass)) for shard in shards]
    n_v, weight = np.sum([one for one, _ in totals], axis=0), sum(one for _, one in totals)
    n_contexts = max(shard.n_contexts for shard in shards)
    now = start or em.Progress(em.initial_state(layout, n_topics, seed, shards[0].history, n_contexts), n_v=n_v)
    while not now.done:
        number, u = len(now.history) + 1, now.n_batches
        seen = Statistics.empty(0, 0, 0)
        for batch in batches(shards, layout, online.batch_size, np.random.default_rng([seed, number])):
            new = em.e_step(batch, now.state)
            if new.weight > 0:
                seen.add_scores(new)
                rho = online.rho(u)
                before = em.Fit(now.state, n_v=now.n_v, weight=weight, n_vt=now.n_vt)
                counts = em.blend(before, new, 1 - rho, rho * weight / new.weight)
                drop = drop_below if number > 1 else 0.0
                now.state, now.empty = em.m_step(now.state, counts, layout, 1.0, drop, regularize)
                now.n_v, now.n_vt, u = counts.n_v, counts.n_vt if regularize or layout.gradient else None, u + 1
        seen.regularizers = regularize.value(now.state, now.n_v) if regularize else None
        now.n_batches, now.done = u, number == n_passes
        now.history.append(em.row_of(number, seen))
        if on_pass:
            on_pass(now)
    return em.Fit(now.state, now.history, now.empty, n_v, weight, now.n_vt if regularize else None)

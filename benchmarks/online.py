"""Online EM beside EM by passes over the whole log: likelihood of the same edges, ranking of held-out ones, time.

    HYPERREC_DATA=FOLDER python benchmarks/online.py

Writes the block `online` in README.md. The batches and rates are the defaults of `hr.Online`, chosen with this script by the
columns that it prints: the edges held out here are of a validation split, the test split is not looked at.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numba
from report import machine, write

import hyperrec as hr
from hyperrec.assembly import assemble
from hyperrec.topics import em

DATA, EDGE, N_TOPICS, TURNS = "movielens-1m", "rated", 200, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--batch-size", type=int, default=hr.Online().batch_size)
    parser.add_argument("--kappa", type=float, default=hr.Online().kappa)
    parser.add_argument("--tau0", type=float, default=hr.Online().tau0)
    parser.add_argument("--rate", type=float)
    args = parser.parse_args()
    numba.set_num_threads(1)  # on a shared machine the threads of many short passes mostly wait for each other
    online = hr.Online(batch_size=args.batch_size, kappa=args.kappa, tau0=args.tau0, rate=args.rate)
    full, _ = hr.split(hr.read_logs(DATA), EDGE, seed=args.seed)
    train, validation = hr.split(full, EDGE, fraction=0.1, seed=args.seed)
    ways: list[tuple[str, dict[str, Any]]] = [
        ("EM, plain", {"over_relaxation": 1, "tolerance": 0}),
        ("EM, over-relaxed", {"tolerance": 0}),
        ("online", {"online": online}),
    ]
    fitted(train, ways[1][1], 3)  # compiled code is there when the clock starts
    rows = []
    for name, options in ways:
        for n_passes in (1, 2, 5) if "online" in options else (10, 20, 60):
            turns = [fitted(train, options, n_passes) for _ in range(TURNS)]
            wall, cpu = (statistics.median(turn[i] for turn in turns) for i in (1, 2))
            model = turns[0][0]
            quality = hr.evaluate(model, train, validation)["ndcg@10"]
            rows.append((name, n_passes, f"{likelihood(train, model):.3f}", f"{quality:.4f}", f"{wall:.2f}", f"{cpu:.2f}"))
    how = f"rate {online.rate}" if online.rate else f"kappa {online.kappa}, tau0 {online.tau0:g}"
    note = (
        f"{machine()}, {numba.get_num_threads()} thread; {DATA}, T = {N_TOPICS}, users read in `Mean()`; online: batches of "
        f"{online.batch_size} users, {how}. Log-likelihood per unit of weight: an E-step over all training edges with the final "
        f"state; NDCG@10 on a validation split (10 % of the training part), split seed {args.seed}; medians of {TURNS} fits."
    )
    write("online", ("", "passes", "log-likelihood", "NDCG@10", "fit, wall s", "fit, CPU s"), rows, note)


def fitted(train: hr.Hypergraph, options: dict[str, Any], n_passes: int) -> tuple[hr.TopicModel, float, float]:
    """A model, and the wall and CPU seconds of its fit."""
    model = hr.TopicModel(N_TOPICS, edges={EDGE: 1.0}, n_passes=n_passes, neighbours=None, **options)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(train, progress=False)
    return model, time.perf_counter() - wall, time.process_time() - cpu


def likelihood(train: hr.Hypergraph, model: hr.TopicModel) -> float:
    """Of all edges, per unit of weight, under the state that the fit ended with."""
    one = assemble(
        train, model.fitted_edges, container=model.container, context=model.context, length_damping=model.length_damping,
        context_exponent=model.context_exponent,
    )  # fmt: skip
    return float(em.e_step(one.shards, model.state).per_weight)


if __name__ == "__main__":
    main()

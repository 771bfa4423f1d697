"""The scoreboard for README: what `hyperrec benchmark all` does, each table with the machine and the versions.

    HYPERREC_DATA=FOLDER python benchmarks/scoreboard.py [warm next-movielens-1m ...] [--trials 40]

Writes a block scoreboard-SITUATION in README.md for each situation, as its rows come; a situation that has none yet gets one at the
end of the page. Without names all situations are run.
"""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

import numba
from report import README, machine

from hyperrec.benchmark import put, scoreboard


def write(name: str, text: str) -> None:
    """Put the block into README, with a line on where it was measured."""
    peers = []
    for package in ("implicit", "lightfm-next"):
        try:
            peers.append(f", {package} {version(package)}")
        except PackageNotFoundError:
            continue
    put(README, name, f"{text}\n{machine()}{''.join(peers)}, {numba.get_num_threads()} threads.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    scoreboard(trials=args.trials, only=args.names, seed=args.seed, write=write)


if __name__ == "__main__":
    main()

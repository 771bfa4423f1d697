"""The posts of 20 Newsgroups, a file each, to edges: by the shipped schema, and with other keys of its texts.

    python benchmarks/texts_loading.py [--folder FOLDER] [--repeats 3]

Writes the block of that name in README.md. FOLDER is that of the data set; by default what $HYPERREC_DATA holds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

from report import machine, write

import hyperrec as hr
from hyperrec import datasets

KEYS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "every word: no stop words, no `min_df`": {"stop_words": (), "min_df": 1},
    "nothing stripped": {"strip": ()},
    "a bag": {"ordered": False},
    "`collocations = 500`": {"collocations": 500},
    '`lemmas = "en"`': {"lemmas": "en"},
}


def schema(keys: dict[str, Any]) -> dict[str, Any]:
    """The shipped schema with other keys of its texts."""
    raw = hr.LogSchema.load("20newsgroups").model_dump(exclude_unset=True)
    raw["edges"]["text"]["vertices"]["word"][0].update(keys)
    return raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    folder = args.folder or datasets.locate("20newsgroups")
    rows = []
    hr.read_logs("20newsgroups", folder)  # the files are in the page cache from here on
    for name, keys in KEYS.items():
        made, turns = schema(keys), []
        for _ in range(args.repeats):
            start = time.perf_counter()
            graph = hr.read_logs(made, folder)
            turns.append(time.perf_counter() - start)
        words = f"{len(graph.vocabulary('word')):,}"
        rows.append((name, f"{graph.edges['text'].n_edges:,}", words, f"{statistics.median(turns):.1f}"))
    note = f"{machine()}, {os.cpu_count()} cores; nothing random, medians of {args.repeats} turns, files in the page cache."
    write("texts_loading", ("keys", "edges of texts", "words", "read_logs, s"), rows, note)


if __name__ == "__main__":
    main()

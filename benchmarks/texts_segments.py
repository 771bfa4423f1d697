"""Boundaries of posts of 20 Newsgroups put one after the other: found by local contexts, blocks of topics, blocks of words.

    HYPERREC_DATA=FOLDER python benchmarks/texts_segments.py [--topics 50] [--seeds 3]

Writes the block of that name in README.md. Eight posts of 30 to 150 known words make a text. Of each method the width, the
threshold and how near boundaries may be are chosen for the least WindowDiff on texts of train posts; the table is of texts of
the later posts, which no model has seen.

- local contexts: as `model.read` does; its defaults are of this choice, and stand in a row of their own.
- blocks of topics: mean p(t|w) of the words before and after, of the same number, by PLSA on bags of words (as one would do it with
  BigARTM), and their Hellinger distance.
- blocks of words: the cosine of the counts of words before and after, and its depth score. Hearst (1997), "TextTiling".
- evenly: the true number of segments, of equal lengths.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from newsgroups import read, words
from report import machine, write

import hyperrec as hr
from hyperrec.text import APART, THRESHOLD, WIDTH, positions
from hyperrec.topics.segments import boundaries, likeness, partings, pk, window_diff

POSTS, SHORT, LONG = 8, 30, 150
TEXTS = 150
WIDTHS, APARTS, QUANTILES = (7, 10, 13, 16, 20, 30), (1, 2, 3), 60
Text = tuple[np.ndarray, np.ndarray]  # words, true boundaries


def texts(posts: list[np.ndarray], seed: int) -> list[Text]:
    """Texts of posts, cut to LONG words."""
    rng, long_enough = np.random.default_rng(seed), [one[:LONG] for one in posts if len(one) >= SHORT]
    found = []
    for _ in range(TEXTS):
        chosen = [long_enough[i] for i in rng.choice(len(long_enough), POSTS, replace=False)]
        found.append((np.concatenate(chosen), np.cumsum([len(one) for one in chosen])[:-1]))
    return found


def by_contexts(model: hr.TopicModel, text: np.ndarray, width: float) -> np.ndarray:
    _, left, right = positions((model.offsets["word"] + text).astype(np.int32), model.state, 1 / width)
    return partings(left, right)


def by_topics(model: hr.TopicModel, text: np.ndarray, width: int) -> np.ndarray:
    before, after = blocks(model.embedding("word")[text], width)
    return np.sqrt(np.maximum(1 - likeness(before, after), 0))


def by_words(text: np.ndarray, width: int) -> np.ndarray:
    _, places = np.unique(text, return_inverse=True)
    before, after = blocks(np.eye(places.max() + 1)[places], width)
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return depth((before * after).sum(axis=1) / np.maximum(norms, 1e-12))


def blocks(rows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the `width` rows before each position, and from it on; at the first there is nothing before: as after."""
    sums, n = np.cumsum(np.vstack([np.zeros(rows.shape[1]), rows]), axis=0), len(rows)
    at = np.arange(n)
    low, high = np.maximum(at - width, 0), np.minimum(at + width, n)
    after = (sums[high] - sums[at]) / (high - at)[:, None]
    before = (sums[at] - sums[low]) / np.maximum(at - low, 1)[:, None]
    before[0] = after[0]
    return np.maximum(before, 0), np.maximum(after, 0)


def depth(likeness: np.ndarray) -> np.ndarray:
    """How deep each valley is below the peaks on both sides."""

    def climbed(values: np.ndarray) -> np.ndarray:
        peaks = values.copy()
        for i in range(1, len(values)):
            peaks[i] = peaks[i - 1] if values[i - 1] >= values[i] else values[i]
        return peaks

    return climbed(likeness) + climbed(likeness[::-1])[::-1] - 2 * likeness


def measured(cuts: Sequence[np.ndarray], given: Sequence[Text]) -> tuple[float, float]:
    """Mean WindowDiff and P_k."""
    pairs = [(truth, found, len(one)) for found, (one, truth) in zip(cuts, given, strict=True)]
    return float(np.mean([window_diff(*one) for one in pairs])), float(np.mean([pk(*one) for one in pairs]))


def chosen(curve: Callable[[np.ndarray, int], np.ndarray], train: list[Text], test: list[Text]) -> tuple[float, float, str]:
    """WindowDiff and P_k on test of what is best on train, and what it is."""
    best: tuple[float, int, float, int] | None = None
    for width in WIDTHS:
        curves = [curve(one, width) for one, _ in train]
        levels = np.unique(np.quantile(np.concatenate(curves), np.linspace(0.5, 0.995, QUANTILES)).round(2))
        for level, apart in itertools.product(levels, APARTS):
            value, _ = measured([boundaries(one, level, apart * width) for one in curves], train)
            if best is None or value < best[0]:
                best = (value, width, float(level), apart)
    assert best is not None
    _, width, level, apart = best
    found = [boundaries(curve(one, width), level, apart * width) for one, _ in test]
    return *measured(found, test), f"width {width}, threshold {level:.2f}, {apart * width} words apart"


def evenly(given: Sequence[Text]) -> list[np.ndarray]:
    return [np.linspace(0, len(one), len(truth) + 2).astype(int)[1:-1] for one, truth in given]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=50)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    early = read("train", min_df=5, max_df=0.1)
    train, test = texts(words(early, early), 1), texts(words(read("test", min_df=1), early), 2)
    frame = early.edges["text"].frame
    found: dict[str, list[tuple[float, float, str]]] = {}
    for seed in range(args.seeds):
        options = {"n_topics": args.topics, "container": "document", "edges": {"text": 1.0}, "n_passes": args.passes, "seed": seed}
        options |= {"length_damping": 0, "neighbours": None}
        local = hr.TopicModel(context=hr.TwoSided(0.1, 0.1), **options).fit(early, progress=False)
        bags = hr.TopicModel(context=hr.FoldIn(10), **options).fit(early, progress=False)
        curves = {
            "local contexts": partial(by_contexts, local), "local contexts, defaults": partial(by_contexts, local),
            "blocks of topics": partial(by_topics, bags),
        }  # fmt: skip
        for name, curve in curves.items():
            if name.endswith("defaults"):
                cuts = [boundaries(curve(one, WIDTH), THRESHOLD, round(APART * WIDTH)) for one, _ in test]
                told = f"width {WIDTH:g}, threshold {THRESHOLD:g}, {APART * WIDTH:g} words apart"
                found.setdefault(name, []).append((*measured(cuts, test), told))
            else:
                found.setdefault(name, []).append(chosen(curve, train, test))
    found["blocks of words"] = [chosen(by_words, train, test)]
    found["evenly"] = [(*measured(evenly(test), test), "the true number of segments")]
    rows = []
    for name, runs in found.items():
        middle = [statistics.median(run[place] for run in runs) for place in range(2)]
        rows.append((name, *(f"{value:.3f}" for value in middle), runs[0][2]))
    note = (
        f"{machine()}; {len(early.vocabulary('document')):,} train posts of 20 Newsgroups without headers, quotes and footers, "
        f"{frame.height:,} words; {TEXTS} texts of {POSTS} posts for the choice, and {TEXTS} of the later posts for the table; "
        f"T = {args.topics}, {args.passes} passes, medians of {args.seeds} seeds; the choices are of the first one."
    )
    write("texts_segments", ("boundaries by", "WindowDiff", "P_k", "chosen on train posts"), rows, note)


if __name__ == "__main__":
    main()

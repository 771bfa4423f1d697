"""Segments of a text: where its topics change, how alike they are inside, and how far boundaries are from given ones.

Arrays in, arrays out; a text has positions 0 .. n-1, and a boundary at i begins a segment there, 0 < i < n.
Slides: "Using two-sided context vectors".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyperrec.errors import ModelError


def likeness(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """sum_t sqrt(p_t q_t) (n,) of the rows of two tables (n, T): 1 where they are equal, 0 where they share no topic."""
    return np.asarray(np.minimum(np.sqrt(p * q).sum(axis=1), 1.0))


def partings(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hellinger distance (n,) between what is left of each position and what is right of it, itself included; 0 at the first.

    left (n, T): p(t|i), the moving average up to position i; right (n, T): that from position i on.
    """
    distance = np.zeros(len(left), np.float32)
    distance[1:] = np.sqrt(np.maximum(1 - likeness(left[:-1], right[1:]), 0))
    return distance


def boundaries(distance: np.ndarray, threshold: float, apart: int) -> np.ndarray:
    """Positions (ascending) of the largest distances, none under the threshold, none nearer than `apart` to a larger one, nor than
    half of that to the ends of the text; of equal ones the first."""
    n, ends = len(distance), (apart + 1) // 2
    taken = np.zeros(n, bool)
    taken[:ends] = True
    taken[max(n - ends + 1, 0) :] = True
    found = []
    for i in np.argsort(-distance, kind="stable"):
        if distance[i] < threshold:
            break
        if not taken[i]:
            found.append(i)
            taken[max(i - apart + 1, 0) : i + apart] = True
    return np.sort(np.array(found, dtype=np.int64))


def pk(given: Sequence[int], found: Sequence[int], n: int, window: int | None = None) -> float:
    """P_k: the share of pairs of positions `window` apart of which only one of two segmentations says that a boundary parts them.

    given, found : boundaries of a text of n positions. window : half the mean length of the given segments by default.

    Returns 0 (the same) to 1. Beeferman, Berger, Lafferty (1999), "Statistical models for text segmentation".
    """
    a, b = _crossed(given, found, n, window)
    return float(((a > 0) != (b > 0)).mean())


def window_diff(given: Sequence[int], found: Sequence[int], n: int, window: int | None = None) -> float:
    """WindowDiff: the same, where the numbers of boundaries between the two positions differ. Pevzner, Hearst (2002), "A critique
    and improvement of an evaluation metric for text segmentation"."""
    a, b = _crossed(given, found, n, window)
    return float((a != b).mean())


def _crossed(given: Sequence[int], found: Sequence[int], n: int, window: int | None) -> tuple[np.ndarray, np.ndarray]:
    """How many boundaries of each lie in (i, i + window], for i = 0 .. n - window - 1."""
    counts = []
    if window is None:
        window = max(round(n / (2 * (len(given) + 1))), 1)
    if window < 1 or window >= n:
        raise ModelError(f"window must be from 1 to {n - 1}, less than the length of the text; got {window}.")
    for one in (given, found):
        at = np.asarray(one, dtype=np.int64)
        if len(at) and not (at.min() > 0 and at.max() < n):
            raise ModelError(f"a boundary begins a segment at a position from 1 to {n - 1}; got {at.min()} to {at.max()}.")
        there = np.zeros(n, np.int64)
        there[at] = 1
        upto = np.cumsum(there)
        counts.append(upto[window:] - upto[:-window])
    return counts[0], counts[1]

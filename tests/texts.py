"""Slow twins of the cutting of texts: a letter, a word, a pair after the other."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

APOSTROPHES, HYPHENS = "'\u2019\u02bc", "-\u2010\u2011"


def _is_inner(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN" or letter in "\u200c\u200d\xad"


def _begins(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LN"


def _is(letter: str, kind: str) -> bool:
    return unicodedata.category(letter)[0] == kind


def words(text: str) -> list[str]:
    """Words of a letter and two characters or more, with apostrophes and hyphens inside, in lower case."""
    parts: list[tuple[str, str]] = []  # (what stands between this and the part before, the part)
    between = ""
    for letter in text:
        if _is_inner(letter) and parts and not between:
            parts[-1] = parts[-1][0], parts[-1][1] + letter
        elif _begins(letter):
            parts.append((between, letter))
            between = ""
        else:
            between += letter
    chains: list[str] = []
    for joint, part in parts:
        if chains and len(joint) == 1 and joint in APOSTROPHES + HYPHENS:
            chains[-1] += joint + part
        else:
            chains.append(part)
    found = []
    for chain in chains:
        start = next((at for at, letter in enumerate(chain) if _is(letter, "L")), None)
        if start is None:
            continue
        while start and (_is(chain[start - 1], "N") or (chain[start - 1] in HYPHENS and _is(chain[start - 2], "N"))):
            start -= 1  # 3d, 8-bit; but not 90's
        found.append(chain[start:])
    return [word for word in map(plain, found) if len(word) > 1]


def plain(word: str) -> str:
    for kinds, one in ((APOSTROPHES, "'"), (HYPHENS, "-"), ("\xad", "")):
        word = "".join(one if letter in kinds else letter for letter in word)
    return unicodedata.normalize("NFC", word.lower())


def joined(words: Sequence[str | None], pairs: set[tuple[str, str]]) -> list[str]:
    """Terms of a text, None being a word that is left out: from the left, two words of a pair become one."""
    terms, at = [], 0
    while at < len(words):
        one, two = words[at], words[at + 1] if at + 1 < len(words) else None
        if one is not None and two is not None and (one, two) in pairs:
            terms.append(f"{one}_{two}")
            at += 1
        elif one is not None:
            terms.append(one)
        at += 1
    return terms


def ratio(n_ab: int, n_a: int, n_b: int, n: int) -> float:
    """-2 ln lambda of Dunning (1993), section 4: b comes as often after a as after others, or not."""

    def log_l(p: float, k: int, of: int) -> float:
        return (k * np.log(p) if k else 0.0) + ((of - k) * np.log(1 - p) if of - k else 0.0)

    k, m = (n_ab, n_b - n_ab), (n_a, n - n_a)
    apart = sum(log_l(one / of, one, of) for one, of in zip(k, m, strict=True) if of)
    together = sum(log_l(n_b / n, one, of) for one, of in zip(k, m, strict=True))
    return 2 * float(apart - together)


def collocations(texts: Sequence[Sequence[str | None]], most: int, least: float) -> list[tuple[tuple[str, str], float]]:
    """The pairs of neighbours with the largest ratios, and these."""
    beside = [(a, b) for text in texts for a, b in zip(text, text[1:]) if a is not None and b is not None]  # noqa: B905, RUF007
    both, first, second = Counter(beside), Counter(a for a, _ in beside), Counter(b for _, b in beside)
    found = [
        ((a, b), ratio(n_ab, first[a], second[b], len(beside)))
        for (a, b), n_ab in both.items()
        if n_ab >= least and n_ab * len(beside) > first[a] * second[b] and a != b
    ]
    return sorted(found, key=lambda one: (-one[1], one[0]))[:most]


def vocabulary(texts: Sequence[Sequence[str]], least: float, most: float, size: int | None) -> tuple[str, ...]:
    df = Counter(term for text in texts for term in set(text))
    found = [term for term in df if least <= df[term] <= most]
    return tuple(sorted(sorted(found, key=lambda term: (-df[term], term))[:size]))


def stripped(text: str) -> str:
    """A post without headers, quotes and footers, line by line."""
    lines = re.split("\r\n|\r|\n", text.strip())
    empty = [not line.strip() for line in lines]
    if re.match(r"[A-Za-z][\w-]*:", lines[0]) and any(empty):
        lines = lines[empty.index(True) + 1 :]
    said = re.compile(r"\b(writes|wrote|says|said|writes in .*)[:.]*[ \t]*$")
    lines = [line for line in lines if not (line.strip()[:1] in (">", "|") or line.startswith("In article ") or said.search(line))]
    lines = "\n".join(lines).strip().split("\n")
    parts = [number for number, line in enumerate(lines) if not line.strip().strip("-").strip()]
    return "\n".join(lines[: parts[-1]] if parts and parts[-1] > 0 else lines).strip()

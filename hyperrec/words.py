"""Texts cut into terms: words, their lemmas, pairs of words that belong together, and which of them are kept.

A text is searched once by a regular expression, in whole columns; what is asked of words is asked once of each different word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from hyperrec.errors import DataError, SchemaError, did_you_mean, listed

APOSTROPHES, HYPHENS, SOFT_HYPHEN = r"'\u{2019}\u{2BC}", r"\u{2010}\u{2011}-", r"\u{AD}"
LETTER = rf"[\p{{L}}\p{{M}}\p{{N}}\u{{200C}}\u{{200D}}{SOFT_HYPHEN}]"
WORD = rf"(?:\p{{N}}+[{HYPHENS}])*\p{{N}}*\p{{L}}{LETTER}*(?:[{APOSTROPHES}{HYPHENS}][\p{{L}}\p{{N}}]{LETTER}*)*"
SHORTEST = 2  # characters
ROUNDING = 1e-9  # of a share times the number of texts
STRIPPED = {
    "headers": r"\A[A-Za-z][\w-]*:(?s:.*?)\n[ \t]*(?:\n|\z)",
    "quotes": r"(?m)^(?:[ \t]*[>|].*|In article .*|.*\b(?:writes|wrote|says|said|writes in .*)[:.]*[ \t]*)(?:\n|\z)",
    "footers": r"\n[ \t-]*(?:\n[^\n]*[^\s-][^\n]*)*\s*\z",
}
"""What is taken out of mails and posts, in this order: what stands before the first empty line, quoted lines and those that say
of whom, and what follows the last line that is empty or of dashes."""


class _Terms(NamedTuple):
    """Terms where they stand: text (N,) the number of the text, code (N,) int64 of its term in `names`, -1 of one left out;
    first, last (N,): the words of the texts that it is made of."""

    text: np.ndarray
    code: np.ndarray
    names: pl.Series
    first: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Tokenizer:
    """Cuts texts into terms, a function of the text and of what is said here alone; `learn` makes it of the texts of a log.

    strip : of "headers", "quotes", "footers". lemmas : a language or None. stop_words : words that are left out.
    collocations : pairs of words that become one term where they stand side by side, new_york; joined from the left.
    vocabulary : the terms that are kept, by the alphabet; None keeps all.

    Notes
    -----
    A word has a letter and two characters or more, and may have apostrophes and hyphens inside (don't, state-of-the-art, 8-bit):
    numbers alone are left out. Words are lower-cased and in Unicode's normal form C, with ' and - for all their kinds and
    without soft hyphens. In scripts without spaces a run of letters is one word. A stop word is left out before its lemma is looked
    up, and also if that is one; it still parts its neighbours, so that no collocation goes over it.
    """

    strip: tuple[str, ...] = ()
    lemmas: str | None = None
    stop_words: frozenset[str] = frozenset()
    collocations: tuple[tuple[str, str], ...] = ()
    vocabulary: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if unknown := [part for part in self.strip if part not in STRIPPED]:
            raise SchemaError(f"strip takes {listed(STRIPPED)}; got {unknown[0]!r}.{did_you_mean(unknown[0], STRIPPED)}")

    @classmethod
    def learn(
        cls,
        texts: pl.Series | Sequence[str | None],
        *,
        strip: Collection[str] = (),
        lemmas: str | None = None,
        stop_words: str | Collection[str] = (),
        collocations: int = 0,
        min_df: int | float = 1,
        max_df: int | float = 1.0,
        max_vocabulary: int | None = None,
    ) -> Tokenizer:
        """The tokenizer of a collection of texts.

        Parameters
        ----------
        texts : (N,) texts, null where there is none.
        strip, lemmas : as above. stop_words : the words, or the language whose list is taken.
        collocations : so many pairs of words that stand side by side, the most telling by the log-likelihood ratio, of those that
            do so min_df times or more, and more often than by chance; a word beside itself is none.
        min_df, max_df : in how many texts a term is, at least and at most; a float is a share of the texts.
        max_vocabulary : so many terms, those of the most texts; of equals the first by the alphabet.

        Raises
        ------
        SchemaError : an option of another kind or out of its range, an unknown part to strip, a language that is not known or whose
            package is not installed.
        DataError : these are no texts.

        Notes
        -----
        Log-likelihood ratio: Dunning (1993), Accurate Methods for the Statistics of Surprise and Coincidence.
        """
        from pydantic import ValidationError

        from hyperrec.vertex import Vertex

        options: dict[str, Any] = {
            "strip": strip, "lemmas": lemmas, "stop_words": stop_words, "collocations": collocations, "min_df": min_df,
            "max_df": max_df, "max_vocabulary": max_vocabulary,
        }  # fmt: skip
        cls(tuple(strip))
        try:
            Vertex.model_validate({"column": "text", "tokenize": True, **options})
        except ValidationError as error:
            wrong = error.errors()[0]
            where, what = ".".join(map(str, wrong["loc"][:1])) or "options", wrong["msg"].removeprefix("Value error, ").rstrip(".")
            raise SchemaError(f"Tokenizer.learn: {where}: {what}.") from None
        return learned(texts, **options)[0]

    def cut(self, texts: pl.Series | Sequence[str | None]) -> pl.Series:
        """(N,) the terms of each text in their order, lists of strings; empty where there is no text.

        Lists of words are taken as cut already: they are not searched for words, nor lower-cased.
        """
        texts = _as_texts(texts)
        return _lists(self._kept(_joined(self._words(texts), self.collocations)), len(texts))

    def place(self, text: str) -> tuple[str, pl.DataFrame]:
        """A text without what `strip` takes out, and its terms: frame term, start, stop, in characters of that text."""
        if not isinstance(text, str):
            raise DataError(f"expected one text; got {type(text).__name__}.")
        texts = _as_texts([text])
        shown = _stripped(texts, self.strip)
        terms = self._kept(_joined(self._words(texts), self.collocations))
        spans, at = [], 0
        for word in shown.str.extract_all(WORD)[0]:
            at = shown[0].index(word, at)
            spans.append((at, at + len(word)))
            at += len(word)
        starts, stops = np.array(spans, dtype=np.int64).reshape(-1, 2).T
        columns = {"term": terms.names.gather(terms.code), "start": starts[terms.first], "stop": stops[terms.last]}
        return shown[0], pl.DataFrame(columns)

    def _words(self, texts: pl.Series) -> _Terms:
        """The words of texts, -1 where one is left out."""
        ready = texts.dtype == pl.List(pl.String)
        found = texts if ready else _stripped(texts, self.strip).str.extract_all(WORD)
        frame = pl.DataFrame({"text": np.arange(len(texts)), "word": found}).explode("word").drop_nulls()
        raw = frame["word"].unique().sort()
        words = raw if ready else _normal(raw)
        kept = ~_among(words, self.stop_words) & (words.str.len_chars() >= (1 if ready else SHORTEST)).to_numpy()
        if self.lemmas is not None:
            lemmatize = _lemmatizer(self.lemmas)
            words = _normal(pl.Series([lemmatize(word) for word in words], dtype=pl.String))
            kept &= ~_among(words, self.stop_words) & (words != "").to_numpy()
        names = words.filter(kept).unique().sort()
        of_raw = np.where(kept, _numbers(words, names), -1)
        at = np.arange(frame.height)
        return _Terms(frame["text"].to_numpy(), of_raw[_numbers(frame["word"], raw)], names, at, at)

    def _kept(self, terms: _Terms) -> _Terms:
        """The terms of the vocabulary."""
        if self.vocabulary is None:
            return terms
        return _where(terms, _among(terms.names, self.vocabulary)[terms.code])

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {**vars(self), "stop_words": sorted(self.stop_words)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Tokenizer:
        """Raises KeyError for what `as_json` has not given."""
        pairs = tuple((a, b) for a, b in given["collocations"])
        vocabulary = None if given["vocabulary"] is None else tuple(given["vocabulary"])
        return cls(tuple(given["strip"]), given["lemmas"], frozenset(given["stop_words"]), pairs, vocabulary)


def learned(
    texts: pl.Series | Sequence[str | None], *, strip: Collection[str] = (), lemmas: str | None = None,
    stop_words: str | Collection[str] = (), collocations: int = 0, min_df: int | float = 1, max_df: int | float = 1.0,
    max_vocabulary: int | None = None,
) -> tuple[Tokenizer, pl.Series]:  # fmt: skip
    """The tokenizer of texts, and the texts cut by it; see Tokenizer.learn."""
    texts = _as_texts(texts)
    n_texts = len(texts) - texts.null_count()
    stops = _language_words(stop_words) if isinstance(stop_words, str) else list(stop_words)
    rules = Tokenizer(tuple(strip), lemmas, frozenset(_normal(pl.Series(stops, dtype=pl.String))))
    words = rules._words(texts)
    pairs = _collocations(words, collocations, _rows(min_df, n_texts)) if collocations else ()
    terms = _joined(words, pairs)
    vocabulary = None
    every = (isinstance(min_df, int) and min_df <= 1) and (isinstance(max_df, float) and max_df >= 1) and max_vocabulary is None
    if not every:
        vocabulary = _vocabulary(terms, _rows(min_df, n_texts), _rows(max_df, n_texts), max_vocabulary)
    tokenizer = replace(rules, collocations=pairs, vocabulary=vocabulary)
    return tokenizer, _lists(tokenizer._kept(terms), len(texts))


def _rows(df: int | float, n_texts: int) -> float:
    """How many texts a number or a share of them is."""
    return df * n_texts if isinstance(df, float) else df


def _vocabulary(terms: _Terms, least: float, most: float, size: int | None) -> tuple[str, ...]:
    """Terms in so many texts, at least and at most; of them those of the most texts."""
    frame = pl.DataFrame({"code": terms.code, "text": terms.text}).filter(pl.col("code") >= 0)
    df = np.zeros(len(terms.names), np.int64)
    counted = frame.group_by("code").agg(pl.col("text").n_unique())
    df[counted["code"].to_numpy()] = counted["text"].to_numpy()
    found = np.flatnonzero((df >= max(least - ROUNDING, 1)) & (df <= most + ROUNDING))
    if size is not None:
        found = found[np.argsort(-df[found], kind="stable")][:size]  # of equals the first by the alphabet, as names stand
    return tuple(terms.names.gather(found).sort())


def _collocations(words: _Terms, most: int, least: float) -> tuple[tuple[str, str], ...]:
    """The pairs of words side by side with the largest log-likelihood ratios, the larger first."""
    here, n_words = _side_by_side(words), len(words.names)
    first, second = words.code[:-1][here], words.code[1:][here]
    pairs, n_ab = np.unique(first * n_words + second, return_counts=True)
    a, b = np.divmod(pairs, max(n_words, 1))
    n_a, n_b = np.bincount(first, minlength=n_words)[a], np.bincount(second, minlength=n_words)[b]
    n = len(first)
    cells = (n_ab, n_a - n_ab, n_b - n_ab, n - n_a - n_b + n_ab)
    ratio = 2 * (sum(map(_nlogn, cells), _nlogn(n)) - sum(map(_nlogn, (n_a, n - n_a, n_b, n - n_b))))  # Dunning (1993), 4.1
    names = pl.DataFrame({"a": words.names.gather(a), "b": words.names.gather(b)})
    known = names.select(pl.concat_str("a", "b", separator="_").is_in(words.names.implode())).to_series()
    found = np.flatnonzero((n_ab >= least - ROUNDING) & (n_ab * n > n_a * n_b) & (a != b) & ~known.to_numpy())
    best = found[np.argsort(-ratio[found], kind="stable")][:most]  # of equals the first by the alphabet
    return tuple(names[best].rows())


def _nlogn(n: np.ndarray | int) -> np.ndarray:
    return np.asarray(n * np.log(np.maximum(n, 1)))


def _side_by_side(words: _Terms) -> np.ndarray:
    """(N - 1,) whether a word and the next are of one text, and neither is left out."""
    here = (words.text[:-1] == words.text[1:]) & (words.code[:-1] >= 0) & (words.code[1:] >= 0)
    return np.asarray(here)


def _joined(words: _Terms, pairs: tuple[tuple[str, str], ...]) -> _Terms:
    """The terms of texts: words, and from the left the pairs that become one; those left out are gone."""
    numbers = {name: number for number, name in enumerate(words.names)} if pairs else {}
    known = [(numbers[a] * len(numbers) + numbers[b], f"{a}_{b}") for a, b in pairs if a in numbers and b in numbers]
    if not known:
        return _where(words, words.code >= 0)
    known.sort()
    keys = np.array([key for key, _ in known])
    key = words.code[:-1] * len(numbers) + words.code[1:]
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    pair = (keys[place] == key) & _side_by_side(words)
    # in a run of pairs that share their words every second one is taken, the first of them first
    at = np.arange(len(pair))
    pair &= (at - np.maximum.accumulate(np.where(pair, -1, at))) % 2 == 1
    code, last = words.code.copy(), words.last.copy()
    last[:-1][pair] = words.last[1:][pair]
    code[:-1][pair] = len(numbers) + place[pair]
    code[1:][pair] = -1
    names = pl.concat([words.names, pl.Series([name for _, name in known])])
    order = names.arg_sort()
    rank = np.empty(len(names), np.int64)
    rank[order.to_numpy()] = np.arange(len(names))
    terms = _where(_Terms(words.text, code, names, words.first, last), code >= 0)
    return terms._replace(code=rank[terms.code], names=names.gather(order))


def _where(terms: _Terms, mask: np.ndarray) -> _Terms:
    return _Terms(terms.text[mask], terms.code[mask], terms.names, terms.first[mask], terms.last[mask])


def _lists(terms: _Terms, n_texts: int) -> pl.Series:
    """(n_texts,) the terms of each text, lists of strings."""
    found = pl.DataFrame({"text": terms.text, "term": terms.names.gather(terms.code)})
    found = found.group_by("text", maintain_order=True).agg("term")
    every = pl.DataFrame({"text": np.arange(n_texts)}).join(found, on="text", how="left", maintain_order="left")
    return every.select(pl.col("term").fill_null(pl.lit([], dtype=pl.List(pl.String)))).to_series()


def _among(words: pl.Series, known: Collection[str]) -> np.ndarray:
    """(N,) whether each word is one of these."""
    return words.is_in(pl.Series(list(known), dtype=pl.String).implode()).to_numpy()


def _numbers(values: pl.Series, names: pl.Series) -> np.ndarray:
    """(N,) int64 the place of each value in names, which are sorted; -1 where it is not there."""
    return values.cast(pl.Enum(names), strict=False).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _normal(words: pl.Series) -> pl.Series:
    """Words in lower case, in form C, with one kind of apostrophe and of hyphen."""
    for kinds, plain in ((SOFT_HYPHEN, ""), (APOSTROPHES, "'"), (HYPHENS, "-")):
        words = words.str.replace_all(f"[{kinds}]", plain)
    return words.str.to_lowercase().str.normalize("NFC")


def _stripped(texts: pl.Series, parts: Collection[str]) -> pl.Series:
    """Texts without headers, quotes, footers."""
    if not parts:
        return texts
    texts = texts.str.replace_all("\r\n?", "\n").str.strip_chars()
    for part, pattern in STRIPPED.items():
        if part in parts:
            texts = texts.str.replace_all(pattern, "").str.strip_chars()
    return texts


def _as_texts(texts: pl.Series | Sequence[str | None]) -> pl.Series:
    if isinstance(texts, str) or not isinstance(texts, (pl.Series, list, tuple)):
        raise DataError(f"expected texts, or lists of words, in a list or a series; got {type(texts).__name__}.")
    if not isinstance(texts, pl.Series) and len({isinstance(one, str) for one in texts if one is not None}) > 1:
        raise DataError("expected texts, or lists of words; got both in one list.")
    given = texts if isinstance(texts, pl.Series) else pl.Series(texts, strict=False)
    if given.dtype == pl.Null:
        return given.cast(pl.String)
    if given.dtype not in (pl.String, pl.List(pl.String)):
        raise DataError(f"expected texts, or lists of words; got {given.dtype}.")
    return given


def _language_words(language: str) -> list[str]:
    """The stop words of a language."""
    try:
        from stop_words import StopWordError, get_stop_words
    except ImportError:
        raise SchemaError(f"stop_words = '{language}' needs the package stop-words: pip install 'hyperrec[text]'.") from None
    try:
        return list(get_stop_words(language))
    except StopWordError:
        raise SchemaError(
            f"stop_words = '{language}': no such language is known; expected a code such as en, ru, de, or a list of words."
        ) from None


def _lemmatizer(language: str) -> Callable[[str], str]:
    """What makes the lemma of a word."""
    try:
        import simplemma
    except ImportError:
        raise SchemaError(f"lemmas = '{language}' needs the package simplemma: pip install 'hyperrec[text]'.") from None
    try:
        simplemma.lemmatize("a", lang=language)
    except ValueError:
        raise SchemaError(f"lemmas = '{language}': no such language is known; expected a code such as en, ru, de.") from None
    return lambda word: simplemma.lemmatize(word, lang=language)

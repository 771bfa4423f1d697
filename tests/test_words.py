"""Texts cut into terms: words of several scripts, lemmas, collocations, vocabularies, posts."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from texts import collocations, joined, stripped, vocabulary, words

import hyperrec as hr
from hyperrec import Tokenizer
from hyperrec.words import _collocations, _stripped

LETTERS = st.text("aBé1 '-\u2019\u2011\u0301\xad\x00д_ß.2", max_size=25)
TEXTS = st.lists(st.lists(st.sampled_from(["ab", "cd", "ef", "gh"]), max_size=9), max_size=8)


def cut(text: str, **options: Any) -> list[str]:
    return Tokenizer(**options).cut([text])[0].to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don\u2019t PANIC, O'Neil!", ["don't", "panic", "o'neil"]),
        ("state-of-the-art -- 8\u2011bit, 'quoted' half-", ["state-of-the-art", "8-bit", "quoted", "half"]),
        ("1984, 24/7, 17-04-93 and 3.14", ["and"]),
        ("the 1990s in 3D by R2-D2", ["the", "1990s", "in", "3d", "by", "r2-d2"]),
        ("Кто-то съел Ёлку", ["кто-то", "съел", "ёлку"]),
        ("Stra\xdfe \xdcbergr\xf6\xdfe So\xadft", ["straße", "übergröße", "soft"]),
        ("nai\u0308ve na\xefve e\u0301te\u0301", ["naïve", "naïve", "été"]),
        ("\x00ab\x01cd\x1b[0mef\ufffd\ud7ff", ["ab", "cd", "0mef"]),
        ("ΣΊΣΥΦΟΣ שלום 東京タワー abcд", ["σίσυφος", "שלום", "東京タワー", "abcд"]),
        ("snake_case a b I é", ["snake", "case"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert cut(text) == expected
    assert words(text) == expected


@given(LETTERS)
@settings(deadline=None)
def test_words_are_those_of_the_naive_twin(text: str) -> None:
    assert cut(text) == words(text)


@given(st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_cut(text: str) -> None:
    found = cut(text)
    assert all(len(word) > 1 and not any(letter.isspace() for letter in word) for word in found)
    assert cut(" ".join(found)) == found


def test_a_million_words_and_no_text() -> None:
    lists = Tokenizer().cut(["word кто-то " * 500_000, None, ""])
    assert lists.list.len().to_list() == [1_000_000, 0, 0]
    assert Tokenizer().cut([]).dtype == Tokenizer().cut([None]).dtype == pl.List(pl.String)
    assert Tokenizer.learn([None], min_df=1.0).vocabulary == ()


def test_lists_are_words_already() -> None:
    given = pl.Series([["New York", "x"], None, []], dtype=pl.List(pl.String))
    assert Tokenizer(stop_words=frozenset(["x"])).cut(given).to_list() == [["New York"], [], []]


def test_stop_words_and_lemmas() -> None:
    tokenizer = Tokenizer.learn(["x"], stop_words="en", lemmas="en")
    assert tokenizer.cut(["The mice are running and don't stop at houses"]).to_list() == [["mouse", "house"]]
    assert Tokenizer.learn(["x"], stop_words=["The", "DON\u2019T"]).cut(["the don't do"]).to_list() == [["do"]]
    assert cut("mice mouse", lemmas="en", stop_words=frozenset(["mouse"])) == []


@pytest.mark.parametrize(("option", "package"), [("stop_words", "stop-words"), ("lemmas", "simplemma")])
def test_what_a_language_needs(option: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(hr.SchemaError, match=f"^{option} = 'xx': no such language is known; expected a code such as en, ru, de"):
        Tokenizer.learn(["x"], **{option: "xx"})
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(hr.SchemaError) as caught:
        Tokenizer.learn(["x"], **{option: "en"})
    assert str(caught.value) == f"{option} = 'en' needs the package {package}: pip install 'hyperrec[text]'."


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(hr.SchemaError, match=r"^strip takes headers, quotes, footers; got 'header'\. Did you mean 'headers'\?$"):
        Tokenizer.learn(["x"], strip=["header"])
    with pytest.raises(hr.DataError, match=r"^expected texts, or lists of words; got Int64\.$"):
        Tokenizer().cut(pl.Series([1, 2]))


@given(TEXTS, st.sets(st.tuples(*[st.sampled_from(["ab", "cd", "ef", "zz"])] * 2)), st.sets(st.sampled_from(["ef", "gh"])))
@settings(deadline=None)
def test_pairs_are_joined_from_the_left(texts: list[list[str]], pairs: set[tuple[str, str]], stops: set[str]) -> None:
    found = Tokenizer(collocations=tuple(pairs), stop_words=frozenset(stops)).cut([" ".join(text) for text in texts])
    expected = [joined([None if word in stops else word for word in text], pairs) for text in texts]
    assert found.to_list() == expected


@given(TEXTS, st.integers(1, 3), st.sets(st.just("gh")))
@settings(deadline=None)
def test_collocations_are_those_of_the_naive_twin(texts: list[list[str]], least: int, stops: set[str]) -> None:
    tokenizer = Tokenizer(stop_words=frozenset(stops))
    found = _collocations(tokenizer._words(pl.Series([" ".join(text) for text in texts], dtype=pl.String)), 3, least)
    masked = [[None if word in stops else word for word in text] for text in texts]
    every = dict(collocations(masked, 99, least))
    assert len(found) == min(3, len(every))
    np.testing.assert_allclose([every[pair] for pair in found], sorted(every.values(), reverse=True)[:3], atol=1e-9)


def test_the_statistic_is_that_of_dunning() -> None:
    """The first pair of table 1 of Dunning (1993): "the swiss"."""
    counts = (110, 2442 + 110, 111 + 110, 29114 + 110 + 2442 + 111)
    n_ab, n_a, n_b, n = counts
    beside = [["the", "swiss"]] * n_ab + [["the", "xx"]] * (n_a - n_ab) + [["yy", "swiss"]] * (n_b - n_ab)
    beside += [["yy", "xx"]] * (n - n_a - n_b + n_ab)
    ((pair, ratio), *_) = collocations(beside, 9, 1)
    assert pair == ("the", "swiss")
    assert ratio == pytest.approx(270.72, abs=0.01)
    assert Tokenizer.learn(pl.Series(beside), collocations=1).collocations == (("the", "swiss"),)


def test_collocations_are_terms_like_others() -> None:
    texts = ["New York is big", "we saw New York", "new ideas", "york ham", "New York, New York"]
    tokenizer = Tokenizer.learn(texts, collocations=1, min_df=2)
    assert tokenizer.collocations == (("new", "york"),)
    assert tokenizer.vocabulary == ("new_york",)
    assert tokenizer.cut(["NEW york new  York york"]).to_list() == [["new_york", "new_york"]]


@given(
    TEXTS, st.sampled_from([1, 2, 0.0, 0.3, 0.5]), st.sampled_from([1, 3, 0.5, 0.7, 1.0]), st.sampled_from([None, 1, 2]),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_the_vocabulary_is_that_of_the_naive_twin(
    texts: list[list[str]], least: float, most: float, size: int | None
) -> None:
    assume(type(least) is not type(most) or least <= most)
    learned = Tokenizer.learn([" ".join(text) for text in texts], min_df=least, max_df=most, max_vocabulary=size)
    low, high = (df * len(texts) if isinstance(df, float) else df for df in (least, most))
    expected = vocabulary(texts, low - 1e-9, high + 1e-9, size)
    if (least, most, size) == (1, 1.0, None) and isinstance(most, float):
        assert learned.vocabulary is None
    else:
        assert learned.vocabulary == expected
        kept = [[word for word in text if word in expected] for text in texts]
        assert learned.cut([" ".join(text) for text in texts]).to_list() == kept


POST = """From: a@b.c (A)
Subject: Re: gears
  and more

In article <1@b.c> d@e.f writes:
> quoted line
 | quoted, too
My answer to that.

A second part
he wrote: not at the end

--
A. Name, A place
"""


def test_posts_are_stripped() -> None:
    body = "My answer to that.\n\nA second part\nhe wrote: not at the end"
    every = ["headers", "quotes", "footers"]
    assert _stripped(pl.Series([POST, POST.replace("\n", "\r\n")]), every).to_list() == [body, body]
    assert stripped(POST) == body
    assert _stripped(pl.Series(["no header\n\nno more", "Re: all in one\nline"]), ["headers"]).to_list() == [
        "no header\n\nno more", "Re: all in one\nline",
    ]  # fmt: skip
    assert _stripped(pl.Series(["only\none part"]), every).to_list() == ["only\none part"]
    assert "gears" not in cut(POST, strip=("headers",))


@given(st.lists(st.sampled_from(["From: me", "a b", "", " ", "--", "> q", "x wrote:", "In article <1>", "c-d"]), max_size=8))
@settings(deadline=None)
def test_stripping_is_that_of_the_naive_twin(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert words(_stripped(pl.Series([text]), ["headers", "quotes", "footers"])[0]) == words(stripped(text))


@given(TEXTS, st.booleans())
@settings(deadline=None, max_examples=20)
def test_a_tokenizer_is_kept_as_json(texts: list[list[str]], limited: bool) -> None:
    options: dict[str, Any] = {"min_df": 2} if limited else {}
    made = Tokenizer.learn([" ".join(one) for one in texts], strip=["quotes"], stop_words=["gh"], collocations=2, **options)
    assert Tokenizer.from_json(json.loads(json.dumps(made.as_json()))) == made

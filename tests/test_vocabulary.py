"""Vocabulary: external ids to row numbers and back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.vocabulary import Vocabulary

FILMS = Vocabulary("item", pl.Series(["alien", "brazil", "casablanca"]))
NUMBERS = Vocabulary("item", pl.Series([1, 20, 1193]))


@pytest.mark.parametrize(
    ("vocabulary", "asked", "rows"),
    [
        (FILMS, ["casablanca", "alien", "alien"], [2, 0, 0]),
        (FILMS, ["casablanca", "dune", None], [2, -1, -1]),
        (FILMS, [], []),
        (NUMBERS, [1193, 1], [2, 0]),
        (NUMBERS, ["1193", "1"], [2, 0]),
        (NUMBERS, ["1193", "dune", "2"], [2, -1, -1]),
        (NUMBERS, np.array([20, 21]), [1, -1]),
        (NUMBERS, pl.Series([20, None, 1]), [1, -1, 0]),
        (Vocabulary("item", pl.Series(["1193", "7"])), [1193, 7, 8], [0, 1, -1]),
        (NUMBERS, (20 for _ in range(2)), [1, 1]),
    ],
)
def test_encode(vocabulary: Vocabulary, asked: object, rows: list[int]) -> None:
    found = vocabulary.encode(asked)
    assert found.dtype == np.int32
    assert found.tolist() == rows


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.one_of(st.sets(st.integers(-(2**63), 2**63 - 1)), st.sets(st.text(st.characters(codec="utf-8")))))
def test_ids_come_back(ids: set[int] | set[str]) -> None:
    series = pl.Series("id", sorted(ids), dtype=pl.String if any(isinstance(one, str) for one in ids) else pl.Int64)
    vocabulary = Vocabulary("item", series)
    rows = np.random.default_rng(len(ids)).permutation(len(ids))
    assert vocabulary.encode(vocabulary.decode(rows)).tolist() == rows.tolist()
    assert vocabulary.rows(vocabulary.ids).tolist() == list(range(len(vocabulary)))


def test_rows_names_the_first_unknown_id_and_a_close_one() -> None:
    assert FILMS.rows(["brazil"]).tolist() == [1]
    with pytest.raises(hr.DataError) as caught:
        FILMS.rows(["alien", "casablnca", "dune"])
    assert str(caught.value) == (
        "unknown item 'casablnca' (and 1 more unknown): the model knows 3 of them, such as 'alien'. Did you mean 'casablanca'?"
    )
    with pytest.raises(hr.DataError, match=r"^unknown item 555: the model knows 3 of them, such as 1\.$"):
        NUMBERS.rows([555])


def test_ids_are_strings_or_integers_each_once() -> None:
    with pytest.raises(hr.DataError, match=r"^modality 'item': ids must be strings or integers; got Float64\. Cast the column\.$"):
        Vocabulary("item", pl.Series([1.5]))
    for ids in (["a", "a"], ["a", None]):
        with pytest.raises(hr.DataError, match=r"^modality 'item': ids must be unique and not null\.$"):
            Vocabulary("item", pl.Series(ids))


def test_small_integers_are_kept_as_int64() -> None:
    assert Vocabulary("item", pl.Series([1, 2], dtype=pl.UInt8)).ids.dtype == pl.Int64


def test_length_words_and_equality() -> None:
    assert len(FILMS) == 3
    assert repr(FILMS) == "Vocabulary('item', 3 ids of type String)"
    assert Vocabulary("item", pl.Series("any name", ["alien", "brazil", "casablanca"])) == FILMS
    assert Vocabulary("film", FILMS.ids) != FILMS
    assert FILMS != NUMBERS
    assert FILMS != "item"


def test_a_fraction_is_nobody_and_a_whole_float_is_its_integer() -> None:
    numbers = Vocabulary("user", pl.Series([1, 2, 3]))
    assert numbers.encode([3.5, 3.0, None, float("nan"), float("inf")]).tolist() == [-1, 2, -1, -1, -1]
    assert Vocabulary("user", pl.Series(["1", "3"])).encode([3.5, 3.0]).tolist() == [-1, 1]


@pytest.mark.parametrize("wrong", [["a"], {"id": 1}, object(), True, b"a"])
def test_ids_that_are_no_ids(wrong: object) -> None:
    with pytest.raises(hr.DataError, match=r"the id of one user is a string or an integer; got "):
        Vocabulary("user", pl.Series(["a"])).encode([wrong])

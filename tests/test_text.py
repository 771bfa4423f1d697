"""Texts read word by word: vectors of positions, segments, fragments, and the measures of segmentations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import polars as pl
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec import text
from hyperrec.topics import segments
from hyperrec.topics.state import Layout, make_state

examples = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def texts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """p(t|w) (V, T), p(t), the words of a text, gamma."""
    rng = draw(strategies.seeded())
    n_words, n_topics, n = draw(st.integers(1, 8)), draw(st.integers(1, 5)), draw(st.integers(1, 30))
    p = strategies.simplex_rows(rng, n_words, n_topics, 0.0).astype(np.float64)
    prior = strategies.simplex_rows(rng, 1, n_topics, 0.0)[0].astype(np.float64)
    return p, prior, rng.integers(n_words, size=n), draw(st.sampled_from([0.05, 0.3, 1.0]))


# ------------------------------------------------------------------------------------------------ positions and segments


@examples
@given(texts())
def test_positions_match_naive(problem: tuple[np.ndarray, np.ndarray, np.ndarray, float]) -> None:
    p, prior, words, gamma = problem
    state = make_state(p.astype(np.float32), prior.astype(np.float32), Layout((len(p),), np.ones(len(p))))
    found = text.positions(words.astype(np.int32), state, gamma)
    for one, expected in zip(found, naive.read_text(p, prior, words, gamma), strict=True):
        np.testing.assert_allclose(one, expected, rtol=2e-3, atol=1e-5)


@examples
@given(strategies.seeded(), st.integers(1, 40), st.integers(1, 8), st.floats(0, 1))
def test_boundaries_are_the_largest_and_apart(rng: np.random.Generator, n: int, apart: int, threshold: float) -> None:
    distance = np.round(rng.random(n), 1)
    found = segments.boundaries(distance, threshold, apart)
    assert found.tolist() == naive.boundaries(distance, threshold, apart)
    assert (np.diff(found) >= apart).all()
    assert (distance[found] >= threshold).all()


@examples
@given(strategies.seeded(), st.integers(4, 40), st.integers(1, 3))
def test_measures_match_naive(rng: np.random.Generator, n: int, window: int) -> None:
    given_, found = (np.sort(rng.choice(np.arange(1, n), rng.integers(0, 4), replace=False)) for _ in range(2))
    assert segments.pk(given_, found, n, window) == pytest.approx(naive.pk(given_, found, n, window))
    assert segments.window_diff(given_, found, n, window) == pytest.approx(naive.window_diff(given_, found, n, window))
    assert segments.pk(given_, given_, n) == segments.window_diff(found, found, n) == 0


def test_measures_by_hand() -> None:
    """Ten positions, a boundary at 5 against one at 6: of the pairs 3 apart, only those from 2 and from 5 are told otherwise."""
    assert segments.pk([5], [6], 10, 3) == pytest.approx(2 / 7)
    assert segments.window_diff([5], [4, 6], 10, 3) == pytest.approx(3 / 7)  # from 1, 3 (two of them) and 5
    assert segments.pk([5], [], 10) == pytest.approx(2 / 8)  # half the mean segment: 2 positions


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: segments.pk([5], [6], 10, 10), "window must be from 1 to 9, less than the length of the text; got 10."),
        (lambda: segments.window_diff([0], [6], 10), "a boundary begins a segment at a position from 1 to 9; got 0 to 0."),
    ],
)
def test_measures_refuse(ask: Callable[[], Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        ask()
    assert str(caught.value) == message


# ------------------------------------------------------------------------------------------------ a model that reads

SPACE, KITCHEN = "moon orbit rocket launch crew star", "onion pan butter oven salt soup"


def story(subject: str, n: int, seed: int) -> str:
    words = np.random.default_rng(seed).choice(subject.split(), n)
    return " ".join([*words[: n // 2], "the", *words[n // 2 :]]).capitalize() + "."


@pytest.fixture(scope="module")
def model() -> hr.TopicModel:
    texts = [story(subject, 40, seed) for seed in range(30) for subject in (SPACE, KITCHEN)]
    schema = hr.LogSchema.model_validate(
        {
            "name": "stories", "tables": {"stories": {"file": "stories.csv"}},
            "edges": {
                "text": {
                    "table": "stories",
                    "vertices": {
                        "document": "number", "word": {"column": "text", "tokenize": True, "ordered": True, "stop_words": ["the"]},
                    },
                }
            },
        }
    )  # fmt: skip
    graph = hr.read_logs(schema, {"stories": pl.DataFrame({"number": range(len(texts)), "text": texts})})
    context = hr.TwoSided(0.1, 0.1)
    return hr.TopicModel(2, "document", context=context, n_passes=30, neighbours=None, seed=1).fit(graph, progress=False)


def test_a_text_is_read_word_by_word(model: hr.TopicModel) -> None:
    told = f"{story(SPACE, 50, 1)}\nUnknown words. {story(KITCHEN, 50, 2)}"
    found = model.read(told)
    assert found.height == 100
    assert [told[a:b].lower() for a, b in found.select("start", "stop").iter_rows()] == found["word"].to_list()
    assert found["document"].unique().to_list() == [0]
    assert found["position"].to_list() == [*range(1, 51), *range(53, 103)]  # unknown words have a place, stop words none
    assert found["segment"].to_list() == [1] * 50 + [2] * 50
    assert (found["topic"].n_unique(), found["topic"][:50].n_unique()) == (2, 1)
    for name in ("contextual", "left", "right"):
        np.testing.assert_allclose(found[name].to_numpy().sum(axis=1), 1, rtol=1e-5)
    parts = hr.text.segments(found)
    assert parts.select("segment", "first", "last").rows() == [(1, 1, 50), (2, 53, 102)]
    assert parts["topic"].to_list() == [found["topic"][0], found["topic"][-1]]
    assert (parts["homogeneity"] > 0.9).all()
    assert hr.text.segments(found.with_columns(segment=1))["homogeneity"][0] < 0.5
    np.testing.assert_allclose(hr.text.between(found, 1, 50), parts["vector"][0], rtol=1e-6)
    loaded = found.with_columns(pl.col("position") + 1)
    assert hr.text.segments(loaded)["first"].to_list() == [2, 54]


def test_short_parts_are_told_apart(model: hr.TopicModel) -> None:
    found = model.read(f"{story(SPACE, 20, 1)} {story(KITCHEN, 20, 2)}")
    assert found["segment"].to_list() == [1] * 20 + [2] * 20


def test_fragments_show_a_topic_or_the_document(model: hr.TopicModel) -> None:
    texts = [story(SPACE, 40, 3), f"{story(KITCHEN, 30, 4)} {story(SPACE, 10, 5)}"]
    found = model.read(texts)
    kitchen = found.filter(document=1)["topic"][0]
    best = hr.text.fragments(found, kitchen, k=2, length=10)
    assert best.select("document").rows() == [(1,), (1,)]
    assert best["score"].is_sorted(descending=True)
    assert best["score"][1] > 0.9
    assert (best["last"] - best["first"] == 9).all()
    assert set(best["words"].str.split(" ").explode()) <= {*KITCHEN.split()}
    first, last = best.sort("first").select("first", "last").rows()
    assert first[1] < last[0]
    whole = hr.text.fragments(found, k=1, length=1000)
    assert whole["document"].to_list() == [0, 1]
    assert whole["last"].to_list() == [40, 40]
    np.testing.assert_allclose(whole["score"], 1, rtol=1e-6)


def test_words_that_are_cut_already_and_several_texts(model: hr.TopicModel) -> None:
    as_text, as_words = model.read("moon moon onion"), model.read([["moon", "moon", "onion"]])
    assert as_text.drop("start", "stop").equals(as_words.drop("start", "stop"))
    assert as_words["start"].null_count() == 3
    assert model.read([pl.Series(["moon", "moon", "onion"])]).equals(as_words)
    several = model.read(pl.Series(["moon", None, "", "?!", "salt"]))
    assert several["document"].to_list() == [0, 4]
    assert several.filter(document=4).drop("document").equals(model.read("salt").drop("document"))


@pytest.mark.parametrize("nothing", ["", "unknown words only", "\x00\x07", "the", " \n "])
def test_a_text_of_nothing_that_is_known(model: hr.TopicModel, nothing: str) -> None:
    found = model.read(nothing)
    assert found.height == 0
    assert found.schema == model.read("moon").schema
    assert hr.text.segments(found).height == 0
    assert hr.text.fragments(found).height == 0
    assert "<article>" in hr.report.text(model, nothing)


def test_mixed_scripts_and_a_long_text(model: hr.TopicModel) -> None:
    assert model.read("Луна MOON 月 o\u0301rbit mo\u00adon")["word"].to_list() == ["moon", "moon"]
    long = " ".join([SPACE, KITCHEN] * 20_000)
    found = model.read(long)
    assert found.height == 240_000
    assert found["stop"][-1] == len(long)


def test_reading_stays_after_saving(model: hr.TopicModel, tmp_path: Any) -> None:
    told = story(SPACE, 20, 9)
    assert hr.load(model.save(tmp_path / "model")).read(told).equals(model.read(told))


def test_words_that_are_attributes_or_numbers_have_no_text() -> None:
    rows = pl.DataFrame({"document": [1, 1, 2, 2], "word": [5, 6, 6, 7]})
    one = hr.TopicModel(2, "document", n_passes=2).fit(rows, progress=False)
    with pytest.raises(hr.ModelError) as caught:
        one.read("5 6")
    assert str(caught.value) == "read: the ids of 'word' are numbers, and a text has words: fit to words that are texts."


def test_any_model_reads_words_of_its_items(films: hr.Hypergraph) -> None:
    one = hr.TopicModel(3, edges={"watched": 1.0}, n_passes=5).fit(films, progress=False)
    assert one.read([["film-1", "film-2", "nothing"]])["position"].to_list() == [1, 2]


def bad_reading(model: hr.TopicModel) -> pl.DataFrame:
    return model.read("moon").drop("segment")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda one: one.read(3), "read takes a text, or a list of texts, each a string or a list of words; got 3."),
        (lambda one: one.read(["a", 3]), "a list of texts, each a string or a list of words; one of them is 3."),
        (lambda one: one.read("a", modality="wrod"), "unknown modality 'wrod': the model has word, document. Did you mean 'word'?"),
        (lambda one: one.read("a", modality="document"), "read: 'document' has no vectors of its own; words are of one of word."),
        (lambda one: one.read("a", width=0), "width must be a number, 1 or more; got 0."),
        (lambda one: one.read("a", threshold=2), "threshold must be a number, 0 to 1; got 2."),
        (lambda one: hr.text.segments(3), "expected a reading, the frame that model.read(text) returns; got int."),
        (lambda one: hr.text.fragments(bad_reading(one)), "the frame that model.read(text) returns; got columns document, p"),
        (lambda one: hr.text.between(one.read(["moon", "salt"]), 1, 1), "between takes the reading of one document: filter"),
        (lambda one: hr.text.between(one.read("moon"), 2, 5), "between: there is no known word at positions 2 to 5."),
        (lambda one: hr.text.fragments(one.read("moon"), k=0), "fragments: k and length must be whole numbers, 1 or more; got k=0"),
        (lambda one: hr.text.fragments(one.read("moon"), "a"), "fragments: the model has topics 0 to 1; got 'a'."),
        (lambda one: one.read(pl.DataFrame({"a": [1]})), "each a string or a list of words; got DataFrame."),
        (lambda one: hr.report.text(one, "moon", "/nowhere/page.html"), "cannot write '/nowhere/page.html': No such file or"),
        (lambda one: one.read([[1, 2]]), "each a string or a list of words; one of them is [1, 2]."),
        (lambda one: hr.text.between(one.read("moon"), "a", 3), "between takes two positions, whole numbers; got 'a' and 3."),
        (lambda one: hr.Tokenizer().cut("a text"), "expected texts, or lists of words, in a list or a series; got str."),
        (lambda one: hr.Tokenizer().cut([["a"], "text"]), "expected texts, or lists of words; got both in one list."),
        (lambda one: hr.Tokenizer().place(["a"]), "expected one text; got list."),
        (lambda one: hr.Tokenizer.learn(["a b"], min_df="x"), "learn: min_df: expected a number of rows, 1 or more"),
        (lambda one: hr.Tokenizer.learn(["a b"], max_vocabulary=-1), "Tokenizer.learn: max_vocabulary: Input should be greater"),
        (lambda one: hr.text.fragments(one.read("moon"), 2), "fragments: the model has topics 0 to 1; got 2."),
        (lambda one: hr.report.text(one, ["moon"]), "report.text shows one text, a string; got list."),
        (lambda one: hr.report.text(one, "moon " * 20_001), "shows 20,000 words at most; the text has 20,001: give a"),
    ],
)
def test_reading_refuses(model: hr.TopicModel, ask: Callable[[hr.TopicModel], Any], message: str) -> None:
    with pytest.raises(hr.HyperrecError) as caught:
        ask(model)
    assert message in str(caught.value)

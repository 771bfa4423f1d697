"""Texts read word by word: topics of positions, segments, and the fragments that show a topic best.

A reading is a frame of positions, as `TopicModel.read` returns it. Slides: "Using two-sided context vectors".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hyperrec.errors import DataError, ModelError, listed
from hyperrec.explain import normalized
from hyperrec.topics import reading as contexts
from hyperrec.topics.contexts import TwoSided
from hyperrec.topics.segments import boundaries, likeness, partings
from hyperrec.topics.shards import History
from hyperrec.topics.state import State
from hyperrec.words import Tokenizer

if TYPE_CHECKING:
    from hyperrec.answers import Answers

WIDTH, THRESHOLD, APART = 16.0, 0.5, 2.0  # chosen by benchmarks/texts_segments.py
COLUMNS = {
    "document": pl.Int64, "position": pl.Int64, "word": pl.String, "start": pl.Int64, "stop": pl.Int64, "topic": pl.Int64,
    "parting": pl.Float32, "segment": pl.Int64,
}  # fmt: skip
VECTORS = ("contextual", "left", "right")


def read(model: Answers, text: Any, *, modality: str | None, width: float, threshold: float) -> pl.DataFrame:
    """The positions of texts: see `TopicModel.read`."""
    modality = modality or _modality(model)
    if modality not in model.offsets:
        raise ModelError(f"read: '{modality}' has no vectors of its own; words are of one of {listed(model.offsets)}.")
    if model.vocabularies[modality].ids.dtype != pl.String:
        raise ModelError(f"read: the ids of '{modality}' are numbers, and a text has words: fit to words that are texts.")
    tokenizer = tokenizer_of(model, modality)
    vocabulary, kind = model.vocabularies[modality], pl.Array(pl.Float32, model.n_topics)
    parts = [pl.DataFrame(schema={**COLUMNS, **dict.fromkeys(VECTORS, kind)})]
    for number, one in enumerate(_texts(text)):
        terms = _terms(one, tokenizer).with_row_index("position", offset=1)
        rows = vocabulary.encode(terms["word"])
        vectors = positions((model.offsets[modality] + rows[rows >= 0]).astype(np.int32), model.state, 1 / width)
        distance = partings(*vectors[1:])
        begins = boundaries(distance, threshold, round(APART * width))
        named = {name: pl.Series(vector, dtype=kind) for name, vector in zip(VECTORS, vectors, strict=True)}
        part = terms.filter(pl.Series(rows >= 0)).with_columns(
            pl.lit(number).alias("document"), topic=vectors[0].argmax(axis=1), parting=distance,
            segment=np.searchsorted(begins, np.arange(len(distance)), side="right") + 1, **named,
        )  # fmt: skip
        parts.append(part.select(parts[0].columns).cast(parts[0].schema))
    return pl.concat(parts)


def tokenizer_of(model: Answers, modality: str | None = None) -> Tokenizer:
    """How the words of a modality were cut out of texts; by default, that of the words."""
    return model.tokenizers.get(modality or _modality(model), Tokenizer())


def _modality(model: Answers) -> str:
    """That of the words: the only one that was cut out of texts, or else that of the items."""
    if len(model.tokenizers) == 1:
        return next(iter(model.tokenizers))
    return model.item_modality


def _texts(text: Any) -> list[Any]:
    """The texts that `read` is given, each a string, a list of words, or None; checked."""
    if isinstance(text, str):
        return [text]
    if not isinstance(text, (list, tuple, pl.Series)):
        came = repr(text) if isinstance(text, (int, float, bool, type(None))) else type(text).__name__
        raise DataError(f"read takes a text, or a list of texts, each a string or a list of words; got {came}.")
    found = [one for one in text if one is not None]
    if wrong := [one for one in found if not isinstance(one, str) and not _listed(one)]:
        raise DataError(f"read takes a text, or a list of texts, each a string or a list of words; one of them is {wrong[0]!r}.")
    return list(text)


def _listed(words: Any) -> bool:
    return isinstance(words, (list, tuple, pl.Series)) and all(isinstance(one, str) for one in words)


def _terms(text: str | Sequence[str] | None, tokenizer: Tokenizer) -> pl.DataFrame:
    """word, start, stop of the terms of a text; those of a list of words stand nowhere."""
    if isinstance(text, str):
        return tokenizer.place(text)[1].rename({"term": "word"})
    words = tokenizer.cut(pl.Series([[] if text is None else list(text)], dtype=pl.List(pl.String)))[0]
    return pl.DataFrame({"word": words}).with_columns(start=pl.lit(None, pl.Int64), stop=pl.lit(None, pl.Int64))


def positions(vertices: np.ndarray, state: State, gamma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the n positions of a text, (n, T) each: p(t|C_i, w_i) in a two-sided context, and its moving averages from the left and
    from the right, each with its position: p(t|i) <- gamma p(t|C_i, w_i) + (1 - gamma) p(t|i - 1)."""
    n, plan = len(vertices), TwoSided(gamma, gamma, passes=1).plan()
    alone = replace(state, shares=np.ones(1))
    ends, ones, no = np.array([0, n]), np.ones(n, np.float32), np.zeros(n, bool)
    _, lifts = contexts.contexts_of(History(ends, vertices, ones, ones, no), plan, alone)
    contextual = normalized(lifts * state.prior)
    rows = State(contextual, np.ones(contextual.shape[1], np.float32), contextual)
    text, plan = History(ends, np.arange(n, dtype=np.int32), ones, ones, no), plan._replace(passes=0)
    left = contexts.contexts_of(text, plan.one_sided(left=True), rows)[0][1:]
    right = contexts.contexts_of(text, plan.one_sided(left=False), rows)[0][:-1]
    right = gamma * contextual + (1 - gamma) * right
    right[-1:] = contextual[-1:]
    return contextual, left, np.asarray(right, np.float32)


def segments(reading: pl.DataFrame) -> pl.DataFrame:
    """The segments of a reading.

    Returns
    -------
    frame document, segment, first, last (positions i and j), topic = the most probable, vector p(t|i..j) = (right(i) + left(j)) /
    2, homogeneity = sum_t sqrt(right(i)_t left(j)_t): 1 when its beginning and its end are on the same.
    """
    found = (
        _checked(reading)
        .group_by("document", "segment", maintain_order=True)
        .agg(
            first=pl.col("position").first(),
            last=pl.col("position").last(),
            begin=pl.col("right").first(),
            end=pl.col("left").last(),
        )
    )
    begin, end = found["begin"].to_numpy(), found["end"].to_numpy()
    vector = (begin + end) / 2
    told = {"topic": vector.argmax(axis=1), "vector": pl.Series(vector, dtype=reading.schema["left"])}
    return found.drop("begin", "end").with_columns(**told, homogeneity=likeness(begin, end))


def between(reading: pl.DataFrame, first: int, last: int) -> np.ndarray:
    """p(t|i..j) (T,) of the positions from first to last of a reading of one document.

    Raises
    ------
    DataError : there are several documents, or none of the positions.
    """
    if not all(isinstance(one, (int, np.integer)) for one in (first, last)):
        raise DataError(f"between takes two positions, whole numbers; got {first!r} and {last!r}.")
    if _checked(reading)["document"].n_unique() > 1:
        raise DataError("between takes the reading of one document: filter it by its column 'document'.")
    inside = reading.filter(pl.col("position").is_between(first, last))
    if not inside.height:
        raise DataError(f"between: there is no known word at positions {first} to {last}.")
    return np.asarray((inside["right"].to_numpy()[0] + inside["left"].to_numpy()[-1]) / 2)


def fragments(reading: pl.DataFrame, topic: int | None = None, *, k: int = 3, length: int = 20) -> pl.DataFrame:
    """The fragments that best show a topic, or what each document is about.

    topic : number of a topic, of which the mean p(t|C_i, w_i) of a fragment is taken; None: how alike the mean vector of a fragment
        and that of its document are, sum_t sqrt(p_t q_t).
    k : so many fragments, which do not overlap; for topic=None of each document. length : of a fragment, in known words.

    Returns
    -------
    frame document, first, last (positions), score, words; best first. A text shorter than `length` is one fragment.

    Raises
    ------
    ModelError : k or length below 1, a topic that there is not.
    """
    if not all(isinstance(one, (int, np.integer)) and one >= 1 for one in (k, length)):
        raise ModelError(f"fragments: k and length must be whole numbers, 1 or more; got k={k!r}, length={length!r}.")
    n_topics = _checked(reading).schema["contextual"].shape[0]  # type: ignore[attr-defined]
    if topic is not None and not (isinstance(topic, (int, np.integer)) and 0 <= topic < n_topics):
        raise ModelError(f"fragments: the model has topics 0 to {n_topics - 1}; got {topic!r}.")
    found = [*_windows(reading, topic, k, length)]
    schema = {"document": pl.Int64, "first": pl.Int64, "last": pl.Int64, "score": pl.Float64, "words": pl.String}
    frame = pl.DataFrame(found, schema=schema, orient="row")
    if topic is None:
        return frame
    return frame.sort("score", descending=True, maintain_order=True).head(k)


def _windows(reading: pl.DataFrame, topic: int | None, k: int, length: int) -> Iterator[tuple[int, int, int, float, str]]:
    """The k best windows of each document, none over another."""
    for text in reading.partition_by("document", maintain_order=True):
        vectors = text["contextual"].to_numpy().astype(np.float64)
        size = min(length, len(vectors))
        sums = np.cumsum(np.vstack([np.zeros(vectors.shape[1]), vectors]), axis=0)
        means = np.maximum(sums[size:] - sums[:-size], 0) / size
        whole = np.broadcast_to(vectors.mean(axis=0), means.shape)
        scores = means[:, topic] if topic is not None else likeness(means, whole)
        free = np.ones(len(scores), bool)
        for _ in range(k):
            if not free.any():
                break
            start = int(np.where(free, scores, -1).argmax())
            free[max(start - size + 1, 0) : start + size] = False
            inside = text[start : start + size]
            words = " ".join(inside["word"])
            yield text["document"][0], inside["position"][0], inside["position"][-1], float(scores[start]), words


def _checked(reading: pl.DataFrame) -> pl.DataFrame:
    if not isinstance(reading, pl.DataFrame) or not {*COLUMNS, *VECTORS} <= {*reading.columns}:
        came = f"columns {listed(reading.columns)}" if isinstance(reading, pl.DataFrame) else type(reading).__name__
        raise DataError(f"expected a reading, the frame that model.read(text) returns; got {came}.")
    return reading

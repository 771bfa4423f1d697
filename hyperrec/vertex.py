"""Vertex: one vertex of an edge in a log schema, and how the texts of its column are cut into words."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from hyperrec.errors import did_you_mean, listed

CLOCK_BUCKETS = ("hour_of_day", "day_of_week", "week", "month")
BUCKET = re.compile(r"hour_of_day|day_of_week|week|month|[1-9]\d*[mhdw]|quantile:[1-9]\d*")
LEARNED = ("collocations", "min_df", "max_df", "max_vocabulary")
OF_TEXT = ("strip", "lemmas", "stop_words", *LEARNED)
STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _frequency(given: object) -> object:
    if (type(given) is int and given >= 1) or (type(given) is float and 0 <= given <= 1):
        return given
    raise ValueError("expected a number of rows, 1 or more, or a share of them, 0.0 to 1.0")


def _words(given: object) -> object:
    words = [given] if isinstance(given, str) else given
    if isinstance(words, list | tuple) and all(isinstance(word, str) and word for word in words):
        return given
    raise ValueError('expected a list of words, or a language such as "en"')


Frequency = Annotated[int | float, BeforeValidator(_frequency)]


class Vertex(BaseModel):
    """One vertex of an edge: a column, plain or cut into pieces. Only one of split, bucket, tokenize."""

    model_config = STRICT

    column: Annotated[str, Field(min_length=1)]
    """The column that holds the id."""

    split: Annotated[str | None, Field(min_length=1)] = None
    """The column holds several ids with this between them: one edge for each. A null or empty text gives no edge."""

    count: Annotated[str | None, Field(min_length=1)] = None
    """With split: what follows this in a piece is how often it occurs, "word:3"; multiplies the weight."""

    bucket: str | None = None
    """Of a time: hour_of_day (0..23), day_of_week (Mon..Sun), week (its Monday), month (2017-03), or the start of the
    15m, 6h, 2d, 1w it falls in; of a number: quantile:10."""

    tokenize: bool = False
    """The column holds text: one edge for each of its words, lower-cased, of two characters or more; a word that comes n
    times weighs n times as much. Numbers alone are no words. The keys below go with it."""

    ordered: bool = False
    """One edge for each word where it stands, in the order of the text, as contexts in order need."""

    strip: tuple[Literal["headers", "quotes", "footers"], ...] = ()
    """Of mails and posts: leave out the lines before the first empty one, quoted lines, what follows the last empty line."""

    lemmas: Annotated[str | None, Field(min_length=1)] = None
    """Language of the words, "en", "ru", "de": "mice" becomes "mouse". Extra: text."""

    stop_words: Annotated[str | tuple[str, ...], BeforeValidator(_words)] = ()
    """Words to leave out: a list, or the language whose list is taken, "en". Extra: text, for a language."""

    collocations: Annotated[int, Field(ge=0)] = 0
    """So many pairs of words that stand side by side more often than by chance become one, new_york."""

    min_df: Frequency = 1
    """Leave out words of fewer rows than this; 0.01 is a share of the rows with a text, 1 is one row."""

    max_df: Frequency = 1.0
    """Leave out words of more rows than this; likewise."""

    max_vocabulary: Annotated[int | None, Field(ge=1)] = None
    """Leave out all but so many words, those of the most rows."""

    @field_validator("bucket")
    @classmethod
    def _known_bucket(cls, bucket: str | None) -> str | None:
        if bucket is not None and not BUCKET.fullmatch(bucket):
            hint = did_you_mean(bucket, CLOCK_BUCKETS)
            raise ValueError(f"expected {', '.join(CLOCK_BUCKETS)}, a duration such as 15m, 6h, 2d, or quantile:10.{hint}")
        return bucket

    @model_validator(mode="after")
    def _one_way(self) -> Vertex:
        if (self.split is not None) + (self.bucket is not None) + self.tokenize > 1:
            raise ValueError("only one of split, bucket, tokenize can be said of one vertex")
        if self.count is not None and self.split is None:
            raise ValueError("count needs split")
        if not self.tokenize and (given := [name for name in ("ordered", *OF_TEXT) if name in self.model_fields_set]):
            raise ValueError(f"{listed(given)} {'needs' if len(given) == 1 else 'need'} tokenize = true")
        if type(self.min_df) is type(self.max_df) and self.min_df > self.max_df:
            raise ValueError(f"min_df = {self.min_df} and max_df = {self.max_df} leave no words: expected min_df <= max_df")
        return self

    @property
    def several(self) -> bool:
        """Whether a row may hold any number of these vertices."""
        return self.split is not None or self.tokenize

    @property
    def text_options(self) -> dict[str, Any]:
        """What is said of the cutting of texts, as `Tokenizer.learn` takes it."""
        return {name: getattr(self, name) for name in OF_TEXT if name in self.model_fields_set}

    @property
    def learned(self) -> list[str]:
        """The options that look at all the texts before one can be cut."""
        return [name for name in LEARNED if name in self.model_fields_set]

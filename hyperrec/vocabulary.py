"""Vocabulary: external ids <-> 0..n-1 of one modality."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from hyperrec.errors import DataError, did_you_mean


class Vocabulary:
    """The vertices of one modality: their external ids, in ascending order, numbered 0..n-1.

    Parameters
    ----------
    modality : the name of the modality, for messages.
    ids : (V,) series of strings or integers, unique, no nulls; row v is vertex v.
    """

    def __init__(self, modality: str, ids: pl.Series) -> None:
        if not (ids.dtype.is_integer() or ids.dtype == pl.String):
            raise DataError(f"modality '{modality}': ids must be strings or integers; got {ids.dtype}. Cast the column.")
        if ids.null_count() or ids.n_unique() != len(ids):
            raise DataError(f"modality '{modality}': ids must be unique and not null.")
        self.modality = modality
        self.ids = ids.cast(pl.Int64 if ids.dtype.is_integer() else pl.String).rename("id")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({self.modality!r}, {len(self)} ids of type {self.ids.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.modality == other.modality and self.ids.equals(other.ids)

    __hash__ = None  # type: ignore[assignment]

    def encode(self, ids: Iterable[Any]) -> np.ndarray:
        """Row numbers of external ids; '1193' finds 1193 and the other way round.

        Returns
        -------
        (n,) int32, -1 where the id is not in the vocabulary.

        Raises
        ------
        DataError : an id that is neither a string nor an integer.
        """
        asked = pl.Series("id", ids if isinstance(ids, pl.Series) else list(ids), strict=False)
        if asked.dtype.is_float():  # 3.0 is 3, 3.5 is nobody
            asked = pl.select(pl.when(asked == asked.round()).then(asked)).to_series().cast(pl.Int64, strict=False)
        elif not (asked.dtype.is_integer() or asked.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
            raise DataError(f"the id of one {self.modality} is a string or an integer; got {asked.to_list()[0]!r}.")
        if asked.dtype != self.ids.dtype:
            asked = asked.cast(self.ids.dtype, strict=False)
        rows = pl.DataFrame({"id": self.ids, "row": np.arange(len(self), dtype=np.int32)})
        found = asked.to_frame().join(rows, on="id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy().astype(np.int32)

    def rows(self, ids: Iterable[Any]) -> np.ndarray:
        """Like `encode`, but an id that is not known is an error.

        Raises
        ------
        DataError : names the first unknown id, how many there are, and a close known one.
        """
        asked = list(ids)
        rows = self.encode(asked)
        if len(unknown := np.flatnonzero(rows < 0)):
            first = asked[unknown[0]]
            more = f" (and {len(unknown) - 1} more unknown)" if len(unknown) > 1 else ""
            raise DataError(
                f"unknown {self.modality} {first!r}{more}: the model knows {len(self)} of them, "
                f"such as {self.ids[0]!r}.{did_you_mean(first, self.ids.cast(pl.String).head(100_000))}"
            )
        return rows

    def decode(self, rows: np.ndarray) -> pl.Series:
        """External ids of row numbers, (n,) -> (n,) series."""
        return self.ids.gather(np.asarray(rows).astype(np.int64))

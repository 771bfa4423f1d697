"""The columns of edges: ids, weights, times, and the buckets and pieces that values are cut into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from hyperrec.errors import DataError, SchemaError
from hyperrec.logs.tables import Log

if TYPE_CHECKING:
    from hyperrec.vertex import Vertex

WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f%#z")


def vertex_ids(
    log: Log, path: str, vertex: Vertex, cuts: np.ndarray | None = None
) -> tuple[pl.Series, pl.DataFrame | None]:
    """Ids of one vertex column, null where there is none; texts to be split stay whole; labels of quantile buckets.

    cuts: between quantile buckets; those of this column by default, with the labels, which need the whole of it.
    """
    values = log.frame[vertex.column]
    where = f"{log.origin}: {path}"
    if vertex.several:
        try:
            return values.cast(pl.List(pl.String) if isinstance(values.dtype, pl.List) else pl.String), None
        except PolarsError:
            raise DataError(f"{where}: expected texts or lists of ids; '{values.name}' is {values.dtype}.") from None
    if vertex.bucket is None:
        return as_ids(values, where), None
    if vertex.bucket.startswith("quantile:"):
        numbers = as_quantities(values, where)
        if cuts is not None:
            return _buckets(numbers, cuts), None
        cuts = quantile_cuts(numbers, int(vertex.bucket.partition(":")[2]))
        return _buckets(numbers, cuts), bucket_labels(numbers, cuts)
    return _clock_bucket(as_times(values, where), vertex.bucket, log.table.time_zone, where), None


def as_ids(values: pl.Series, where: str) -> pl.Series:
    """Ids as Int64 or String: whole floats are integers; nan and the empty text are null."""
    dtype = values.dtype
    if dtype.is_integer():
        try:
            return values.cast(pl.Int64)
        except PolarsError:  # larger than 64 bits
            return values.cast(pl.String)
    if dtype.is_float():
        numbers = values.fill_nan(None)
        whole = numbers.cast(pl.Int64, strict=False)
        if not (whole.cast(dtype) == numbers).fill_null(True).all() or (whole.is_null() & numbers.is_not_null()).any():
            example = numbers.filter((whole.cast(dtype) != numbers).fill_null(True) & numbers.is_not_null())[0]
            raise DataError(
                f"{where}: ids must be strings or integers; '{values.name}' holds {example}. Bucket it (quantile:10) or cast it."
            )
        if len(numbers) and (numbers.abs() >= 2**53).any():
            raise DataError(
                f"{where}: '{values.name}' holds integers that a float cannot tell apart; read it as text or as integers."
            )
        return whole
    if dtype == pl.String:
        return values.replace("", None) if (values == "").any() else values
    if dtype in (pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        return values.cast(pl.String)
    raise DataError(f"{where}: ids must be strings or integers; '{values.name}' is {dtype}. Bucket a time, or cast the column.")


def as_weights(values: pl.Series, where: str) -> pl.Series:
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.String, pl.Null):
        return values.cast(pl.Float32, strict=False)
    raise DataError(f"{where}: expected numbers, got {values.dtype}.")


def as_times(values: pl.Series, where: str) -> pl.Series:
    """Int64 as it is, or Datetime("us") in UTC; null where a text is no time."""
    dtype = values.dtype
    if dtype.is_integer():
        return values.cast(pl.Int64)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return values.cast(pl.Datetime("us"))
    if dtype == pl.Date:
        return values.cast(pl.Datetime("us"))
    if dtype.is_float():
        return values.cast(pl.Int64, strict=False)
    if dtype == pl.Null:
        return values.cast(pl.Int64)
    if dtype == pl.String:
        whole = values.cast(pl.Int64, strict=False)
        if whole.null_count() == values.null_count():
            return whole
        text = values.str.replace(r"^(\S+)T", "${1} ")
        parsed = None
        for form in TIME_FORMATS:
            times = text.str.to_datetime(form, strict=False, time_unit="us")
            if form.endswith("z"):
                times = times.dt.replace_time_zone(None)
            parsed = times if parsed is None else parsed.zip_with(parsed.is_not_null(), times)
            if parsed.null_count() == text.null_count():
                break
        assert parsed is not None
        return parsed if parsed.null_count() <= whole.null_count() else whole
    raise DataError(f"{where}: expected times (integers, dates, or ISO text such as 2017-03-01 18:30:00); got {dtype}.")


def _clock_bucket(times: pl.Series, bucket: str, time_zone: str | None, where: str) -> pl.Series:
    """Hour, weekday, week, month or interval that each time falls in, by the clock of the zone."""
    if times.dtype == pl.Int64:
        size = times.abs()
        times = pl.select(
            pl.when(size > 10**17)
            .then(times // 1000)
            .when(size > 10**14)
            .then(times)
            .when(size > 10**11)
            .then(times * 1000)
            .otherwise(times * 1_000_000)
        ).to_series().cast(pl.Datetime("us"))
    if time_zone is not None:
        try:
            times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone).dt.replace_time_zone(None)
        except PolarsError:
            raise SchemaError(f"{where}: no time zone is called '{time_zone}'; expected a name such as Europe/Paris.") from None
    if bucket == "hour_of_day":
        return times.dt.hour().cast(pl.Int64)
    if bucket == "day_of_week":
        return times.dt.weekday().replace_strict(range(1, 8), WEEKDAYS, return_dtype=pl.String)
    if bucket == "month":
        return times.dt.strftime("%Y-%m")
    every = "1w" if bucket == "week" else bucket
    form = "%Y-%m-%d" if every[-1] in "dw" else "%Y-%m-%dT%H:%M"
    return times.dt.truncate(every).dt.strftime(form)


def as_quantities(values: pl.Series, where: str) -> pl.Series:
    """Numbers that quantile buckets are made of, Float64."""
    if not values.dtype.is_numeric():
        raise DataError(f"{where}: quantile buckets need numbers; '{values.name}' is {values.dtype}.")
    return values.cast(pl.Float64).fill_nan(None)


def quantile_cuts(numbers: pl.Series, n: int) -> np.ndarray:
    """The n-quantiles, each once: equal values stay together."""
    cuts = [numbers.quantile(i / n, "lower") for i in range(1, n)] if numbers.null_count() < len(numbers) else []
    return np.unique(np.array([cut for cut in cuts if cut is not None], dtype=np.float64))


def _buckets(numbers: pl.Series, cuts: np.ndarray) -> pl.Series:
    """Number of the bucket of each value, from 0."""
    codes = pl.Series(numbers.name, np.searchsorted(cuts, numbers.fill_null(0).to_numpy(), side="left"), dtype=pl.Int64)
    return codes.zip_with(numbers.is_not_null(), pl.repeat(None, len(codes), dtype=pl.Int64, eager=True))


def bucket_labels(numbers: pl.Series, cuts: np.ndarray) -> pl.DataFrame:
    """(id, label): what range each bucket spans."""
    ranges = (
        pl.DataFrame({"id": _buckets(numbers, cuts), "number": numbers})
        .drop_nulls()
        .group_by("id")
        .agg(pl.col("number").min().alias("low"), pl.col("number").max().alias("high"))
    )
    text = [f"{low:g} to {high:g}" for low, high in ranges.select("low", "high").iter_rows()]
    return ranges.select("id").with_columns(pl.Series("label", text, pl.String))


def pieces(
    edges: pl.DataFrame, name: str, vertex: Vertex, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One edge for each piece or word of a text; and the rows with a piece whose count is no positive number.

    Texts to be tokenized come as lists of words."""
    no_rows = rows.clear().with_columns(pl.lit(None, pl.String).alias("rule"))
    text = pl.col(name)
    if edges.schema[name] == pl.String:
        edges = edges.with_columns(text.str.split(vertex.split or ""))
    edges = edges.filter(text.list.len() > 0).explode(name)
    edges = edges.with_columns(text.str.strip_chars()).filter(text.is_not_null() & (text != ""))
    if vertex.count is not None:
        parts = edges[name].str.splitn(vertex.count, 2).struct
        times = parts[1].cast(pl.Float32, strict=False).fill_nan(None)
        good = (times > 0).fill_null(False) & times.is_finite().fill_null(False)
        edges = edges.with_columns(parts[0].alias(name), (pl.col("weight") * times).alias("weight"))
        broken = edges["row"].filter(~good).unique(maintain_order=True)  # a row once, however many of its pieces
        bad = rows[broken].with_columns(pl.lit(f"count not a positive number: {vertex.column}").alias("rule"))
        edges, no_rows = edges.filter(good), bad
    if vertex.split is not None:
        edges = edges.with_columns(_integers_if_all(edges[name]))
    return edges, no_rows


def _integers_if_all(ids: pl.Series) -> pl.Series:
    """Int64 when every text is an integer as one writes it (no 007), else the same."""
    return ids.cast(pl.Int64) if ids.str.contains(r"^(0|-?[1-9]\d{0,17})$").all() and len(ids) else ids

"""Where the tables of a schema are: a folder, files and globs, or frames of any library."""

from __future__ import annotations

import glob
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from hyperrec import datasets
from hyperrec.errors import DataError, did_you_mean, first_line, listed

if TYPE_CHECKING:
    from hyperrec.schema import LogSchema

logger = logging.getLogger("hyperrec")


def sources(schema: LogSchema, source: Any) -> dict[str, list[Path] | pl.LazyFrame]:
    """Table -> its files, or its frame; the tables that are not given are left out, said in one warning."""
    tables = schema.tables
    if source is None:
        source = datasets.locate(schema.name)
    if isinstance(source, Mapping):
        if unknown := [name for name in source if name not in tables]:
            raise DataError(
                f"{schema.origin} has no table '{unknown[0]}'; its tables are: {listed(tables)}.{did_you_mean(unknown[0], tables)}"
            )
        found = {
            name: _files(given, name) if isinstance(given, str | Path) else as_lazy(given, f"table '{name}'")
            for name, given in source.items()
        }
    elif isinstance(source, str | Path) and Path(source).is_dir():
        return {name: _files_in(Path(source), name, schema) for name in tables}
    else:
        name = _only_table(schema, source)
        found = {name: _files(source, name) if isinstance(source, str | Path) else as_lazy(source, f"table '{name}'")}
    left_out = [name for name, edge in schema.edges.items() if edge.table not in found]
    if len(left_out) == len(schema.edges):
        given = listed(found) if found else "no tables"
        raise DataError(f"{schema.origin}: no edges come from {given}; its tables are: {listed(tables)}.")
    if left_out:
        logger.warning("%s: edges left out, as their tables were not given: %s", schema.name, listed(left_out, most=50))
    return {name: found[name] for name in tables if name in found}


def _only_table(schema: LogSchema, source: Any) -> str:
    """The table that a single file or frame stands for."""
    if len(schema.tables) == 1:
        return next(iter(schema.tables))
    if isinstance(source, str | Path):
        if not Path(source).exists() and not glob.glob(str(source)):
            raise DataError(f"no such file or folder: {source}.")
        matches = [name for name, table in schema.tables.items() if Path(source).match(table.file)]
        if len(matches) == 1:
            return matches[0]
        files = listed(table.file for table in schema.tables.values())
        raise DataError(f"{source}: expected a folder with {files}, or one of these files, for {schema.origin}.")
    if hasattr(source, "columns") or hasattr(source, "__arrow_c_stream__"):
        raise DataError(f"{schema.origin} has the tables {listed(schema.tables)}: give {{table: frame}} to say which one this is.")
    raise DataError(f"expected a folder, a file, a frame or {{table: frame}}; got {type(source).__name__}.")


def _files_in(folder: Path, name: str, schema: LogSchema) -> list[Path]:
    pattern = schema.tables[name].file
    paths = sorted(Path(path) for path in glob.glob(str(Path(glob.escape(str(folder))) / pattern), recursive=True))
    if not paths:
        there = sorted(path.name for path in folder.iterdir())
        what = "no file matches" if glob.has_magic(pattern) else "no file"
        raise DataError(
            f"{folder}: {what} '{pattern}' (table '{name}' of {schema.origin}); the folder has: {listed(there)}."
            f"{did_you_mean(pattern, there)}"
        )
    return paths


def _files(source: str | Path, name: str) -> list[Path]:
    if Path(source).is_file():
        return [Path(source)]
    if Path(source).is_dir():
        raise DataError(f"table '{name}': expected a file or a glob; {source} is a folder.")
    if not glob.has_magic(str(source)):
        raise DataError(f"table '{name}': no such file: {source}.")
    paths = sorted(Path(path) for path in glob.glob(str(source), recursive=True))
    if not paths:
        raise DataError(f"table '{name}': no file matches '{source}'.")
    return paths


def as_lazy(given: Any, what: str) -> pl.LazyFrame:
    """A frame of any library as a Polars LazyFrame."""
    if isinstance(given, pl.LazyFrame):
        return given
    if isinstance(given, pl.DataFrame):
        return given.lazy()
    try:
        if type(given).__module__.partition(".")[0] == "pandas":
            return _from_pandas(given)
        if hasattr(given, "__arrow_c_stream__") or isinstance(given, Mapping):
            return pl.DataFrame(given).lazy()
    except (PolarsError, ValueError, TypeError) as error:
        names = [str(name) for name in getattr(given, "column_names", getattr(given, "columns", []))]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{what}: the column name {listed(repeated)} stands more than once; rename one.") from None
        raise DataError(f"{what}: cannot be read as a table: {first_line(error)}.") from None
    if isinstance(given, (str, Path)):
        raise DataError(f"{what}: expected a frame (polars, pandas, pyarrow); got '{given}'. Read the file first: pl.read_csv.")
    raise DataError(f"{what}: expected a frame (polars, pandas, pyarrow) or a path; got {type(given).__name__}.")


def _from_pandas(given: Any) -> pl.LazyFrame:
    try:
        return pl.from_pandas(given).lazy()
    except ImportError:  # without pyarrow, column by column
        return pl.DataFrame({str(name): given[name].tolist() for name in given.columns}, strict=False).lazy()

"""Files as Polars lazy frames: what each holds is checked against its name; errors name the file and the line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
from polars.exceptions import NoDataError, PolarsError

from hyperrec.errors import DataError, SchemaError, first_line, listed

if TYPE_CHECKING:
    from hyperrec.schema import Table

T = TypeVar("T")
INFER_ROWS = 10_000
PARQUET = (".parquet", ".pq")
TYPES: dict[str, type[pl.DataType]] = {"string": pl.String, "integer": pl.Int64, "number": pl.Float64}
UNIT = "\x1f"
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")  # gzip, zstd, zlib: Polars reads them


class NotAsInferredError(Exception):
    """A value further down the file is not of the type that its first rows have."""


def scan(paths: list[Path], table: Table, origin: str, *, as_text: bool = False) -> pl.LazyFrame:
    """A lazy frame over files that hold what their names say; as_text reads every column as text."""
    if table.whole_files:
        return _whole(paths, table, origin)
    for path in paths:
        with path.open("rb") as file:
            start = file.read(4)
            line = start + file.readline(1 << 16)
        if not start:
            raise DataError(f"{path}: the file is empty.")
        if start.startswith(b"PK\x03\x04"):
            raise DataError(f"{path}: this is a zip archive; unpack it first.")
        if (start == b"PAR1") != (path.suffix.lower() in PARQUET):
            expected, came = ("Parquet", "is none") if start != b"PAR1" else ("delimited text", "is a Parquet file")
            raise DataError(f"{path}: expected {expected} by its name, but the content {came}; rename or replace the file.")
        if start != b"PAR1" and _is_utf8(table.encoding) and not start.startswith(COMPRESSED):
            if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise DataError(f"{path}: this is UTF-16 text; say encoding = 'utf-16' in the schema.")
            if not _decodes(line):
                raise DataError(f"{path}: its first line is not UTF-8 text; say its encoding in the schema, such as 'latin-1'.")
    if len({path.suffix.lower() in PARQUET for path in paths}) > 1:
        raise DataError(f"{listed(paths, most=3)}: expected files of one kind; some are Parquet, some are delimited text.")
    if paths[0].suffix.lower() in PARQUET:
        return _scan_parquet(paths)
    separator = table.separator
    if separator is None:
        separator = "\t" if paths[0].suffix.lower() == ".tsv" else ","
    files: list[Any] = paths
    if len(separator) != 1 or not _is_utf8(table.encoding):
        files = [_translated(path, separator, table.encoding, origin) for path in paths]
        separator = separator if len(separator) == 1 else UNIT
    return _scan_text(files, paths, separator, table, origin, as_text)


def _whole(paths: list[Path], table: Table, origin: str) -> pl.LazyFrame:
    """A row for each file: its path, as far as the pattern of the table says, and its text."""
    depth, paths = sum(part != "**" for part in Path(table.file).parts), [path for path in paths if path.is_file()]
    short = ["/".join(path.parts[-depth:]) for path in paths]
    return pl.LazyFrame({"path": short, "text": [_decoded(path, table.encoding, origin) for path in paths]})


def _decoded(path: Path, encoding: str, origin: str) -> str:
    """The text of a file."""
    try:
        return path.read_bytes().decode(encoding)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except LookupError:
        raise SchemaError(f"{origin}: no encoding is called '{encoding}'; try utf-8 or latin-1.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not {encoding} text at byte {error.start}; correct `encoding` in the schema.") from None


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "ascii")


def _decodes(line: bytes) -> bool:
    """Whether bytes are UTF-8, but for a character that is cut at their end."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.end == len(line)
    return True


def _scan_parquet(paths: list[Path]) -> pl.LazyFrame:
    """Parquet files by the names of their columns; what is a number in one and text in another is text."""
    files = [pl.scan_parquet(path, glob=False) for path in paths]
    schemas = [attempt(file.collect_schema, str(path), [path], None) for file, path in zip(files, paths, strict=True)]
    if all(schema == schemas[0] for schema in schemas):
        return pl.scan_parquet(paths, glob=False)
    names = schemas[0].names()
    for path, schema in zip(paths, schemas, strict=True):
        if set(schema) != set(names):
            raise DataError(
                f"{path}: has the columns {listed(schema)}, {paths[0].name} has {listed(names)}; "
                "the files of a table need the same columns."
            )
    return pl.concat([file.select(names) for file in files], how="vertical_relaxed")


def _translated(path: Path, separator: str, encoding: str, origin: str) -> io.BytesIO:
    """The file as UTF-8 with a separator of one character, in memory: Polars scans nothing else, and this is fast."""
    content = path.read_bytes() if _is_utf8(encoding) else _decoded(path, encoding, origin).encode()
    if len(separator) > 1:
        if UNIT.encode() in content:
            raise DataError(f"{path}: holds the control character 0x1F, which stands for '{separator}' while reading; remove it.")
        content = content.replace(separator.encode(), UNIT.encode())
    return io.BytesIO(content)


def _scan_text(
    files: list[Any], paths: list[Path], separator: str, table: Table, origin: str, as_text: bool
) -> pl.LazyFrame:
    columns = table.columns
    positions = {name: f"column_{number + 1}" for number, name in enumerate(columns or ())}
    overrides = {} if as_text else {positions.get(name, name): TYPES[kind] for name, kind in table.types.items()}
    lazy = pl.scan_csv(
        files,
        separator=separator,
        has_header=columns is None,
        quote_char=(table.quote or None) if separator != UNIT else None,
        null_values=list(table.null_values) or None,
        infer_schema=not as_text,
        infer_schema_length=INFER_ROWS,
        schema_overrides=overrides,
        glob=False,
    )
    if columns is None:
        return lazy
    found = attempt(lazy.collect_schema, listed(paths, most=2), paths, table).names()
    if len(found) != len(columns):
        raise SchemaError(
            f"{origin}: columns names {len(columns)} columns ({listed(columns)}), but a line of '{table.file}' has "
            f"{len(found)} fields; check `columns` and `separator`."
        )
    return lazy.rename(dict(zip(found, columns, strict=True)))


def collected(
    lazy: pl.LazyFrame, where: str, given: list[Path] | pl.LazyFrame | None = None, table: Table | None = None
) -> pl.DataFrame:
    return attempt(lazy.collect, where, given, table)


def attempt(
    action: Callable[[], T], where: str, given: list[Path] | pl.LazyFrame | None, table: Table | None
) -> T:
    """What Polars says about a file that it cannot read, in one line with the place."""
    paths = given if isinstance(given, list) else []
    try:
        return action()
    except NoDataError:
        raise DataError(f"{where}: the file is empty.") from None
    except (PolarsError, OSError) as error:
        text = str(error)
        if ("not properly escaped" in text or "malformed" in text) and paths and table is not None and table.quote:
            raise DataError(_unclosed(paths, table.quote)) from None
        if "could not parse" in text and paths:
            raise NotAsInferredError from None
        if "utf-8" in text.lower() and paths:
            raise DataError(_not_utf8(paths)) from None
        if "more fields" in text and paths and table is not None:
            raise DataError(_ragged(paths, table)) from None
        if "schema names differ" in text and len(paths) > 1:
            advice = "the files of a table need the same columns in the same order"
            raise DataError(f"{where}: {first_line(error)}; {advice}.") from None
        raise DataError(f"{where}: cannot be read: {first_line(error)}.") from None


def _not_utf8(paths: list[Path]) -> str:
    advice = 'say encoding = "latin-1" (or what it is) under this table in the schema.'
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    return f"{path}: line {number} is not valid UTF-8 (byte 0x{line[error.start]:02X}); {advice}"
    return f"{listed(paths, most=2)}: not valid UTF-8; {advice}"


def _ragged(paths: list[Path], table: Table) -> str:
    separator = (table.separator or ("\t" if paths[0].suffix.lower() == ".tsv" else ",")).encode()
    advice = "check `separator` and `quote`, or mend the line."
    for path in paths:
        with path.open("rb") as file:
            expected = 0
            for number, line in enumerate(file, 1):
                fields = line.count(separator) + 1
                expected = expected or fields
                if fields > expected and table.quote.encode() not in line:
                    return f"{path}: line {number} has {fields} fields, expected {expected}; {advice}"
    return f"{listed(paths, most=2)}: a line has more fields than the first; {advice}"


def _unclosed(paths: list[Path], quote: str) -> str:
    advice = 'close it, or say quote = "" under this table in the schema if quotes are plain characters.'
    for path in paths:
        with path.open("rb") as file:
            opened = 0
            for number, line in enumerate(file, 1):
                if line.count(quote.encode()) % 2:
                    opened = 0 if opened else number
        if opened:
            return f"{path}: the quote {quote} that opens in line {opened} is not closed; {advice}"
    return f"{listed(paths, most=2)}: a quote {quote} is not closed; {advice}"


def in_one_line(text: str) -> str:
    """SQL of several lines, as a message shows it."""
    return " ".join(text.split())

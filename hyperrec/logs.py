"""From logs to a hypergraph: Polars lazy scans by a LogSchema, rows that break a rule counted and kept aside.

log files or frames -> only the columns in need -> rows that are edges (`where`) -> rules -> vertices (split, bucket,
words) -> vocabularies in ascending order of ids -> Int32 edge tables.
"""

from __future__ import annotations

import glob
import io
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from polars.exceptions import NoDataError, PolarsError

from hyperrec import datasets
from hyperrec.errors import DataError, SchemaError, did_you_mean, listed
from hyperrec.hypergraph import EdgeTable, Hypergraph, vertex_columns
from hyperrec.schema import Edge, LogSchema, Table, Vertex
from hyperrec.vocabulary import Vocabulary

logger = logging.getLogger("hyperrec")

T = TypeVar("T")
INFER_ROWS = 10_000
PARQUET = (".parquet", ".pq")
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f%#z")
TYPES: dict[str, type[pl.DataType]] = {"string": pl.String, "integer": pl.Int64, "number": pl.Float64}


def read_logs(
    schema: LogSchema | Mapping[str, Any] | str | Path, source: Any = None, *, on_bad_rows: str = "keep"
) -> Hypergraph:
    """A hypergraph from a log.

    Parameters
    ----------
    schema : the name of a shipped schema, a path of a TOML file, a mapping, or a LogSchema.
    source : a folder with the schema's files; one file or glob, or one frame, for a schema of one table; or {table: path or
        frame}, where edges of tables that are not given are left out. Frames of Polars, pandas, pyarrow, or anything with the
        Arrow interface. By default what `datasets.locate` finds for the schema's name.
    on_bad_rows : "keep" puts rows that break a rule (null id, weight not a positive finite number, unparsable time) into
        `graph.rejected`, with one warning per rule on the logger "hyperrec"; "error" raises DataError instead.

    Notes
    -----
    A null or empty text under `split` or `tokenize` gives no edge and breaks no rule: an item without genres is no error.
    Float columns of whole numbers (17850.0) are integer ids. A column of one modality in several tables gets one
    type: text if any of them is text. A text column that is split and holds integers only gives integers.

    Raises
    ------
    SchemaError : the schema is wrong, or does not fit the log. DataError : the log is.
    """
    _check_policy(on_bad_rows)
    schema = LogSchema.load(schema)
    raw: dict[str, _RawEdges] = {}
    texts: dict[str, pl.DataFrame] = {}
    for name, given in _sources(schema, source).items():
        log = _read_table(schema, name, given)
        for edge_type, edge in schema.edges.items():
            if edge.table == name:
                raw[edge_type] = _raw_edges(log, f"edges.{edge_type}", edge, on_bad_rows)
        for modality, label in schema.labels.items():
            if label.table == name:
                text = log.value(f"labels.{modality}.text", label.text).cast(pl.String)
                texts[modality] = pl.DataFrame({"id": _ids(log.frame[label.id], f"labels.{modality}.id"), "label": text})
    return _build({name: raw[name] for name in schema.edges if name in raw}, texts)


def graph_from_frames(frames: Mapping[str, Any], *, on_bad_rows: str = "keep") -> Hypergraph:
    """A hypergraph from frames whose columns are modalities, but for `weight` and `time`; see Hypergraph.from_frames."""
    _check_policy(on_bad_rows)
    if not frames:
        raise DataError("no frames: give at least one edge type, from_frames(bought=frame).")
    raw = {}
    for edge_type, given in frames.items():
        frame = _frame(given, f"frame '{edge_type}'")
        names = frame.collect_schema().names()
        vertices: dict[str, list[Vertex]] = {}
        for column in names:
            if column not in ("weight", "time"):
                vertices.setdefault(column.split("#")[0], []).append(Vertex(column=column))
        if not vertices:
            raise DataError(f"frame '{edge_type}': no vertex columns; expected user, item, ... beside weight and time, got {listed(names)}.")
        edge = Edge.model_construct(
            table=edge_type,
            vertices={modality: tuple(each) for modality, each in vertices.items()},
            weight="weight" if "weight" in names else "1",
            where=None,
            time="time" if "time" in names else None,
            distinct=False,
        )
        log = _Log(f"frame '{edge_type}'", _collected(frame, f"frame '{edge_type}'"), Table(file=edge_type))
        raw[edge_type] = _raw_edges(log, "", edge, on_bad_rows)
    return _build(raw, {})


def as_frame(given: Any, what: str) -> pl.DataFrame:
    """A Polars frame of any frame with the Arrow interface. Raises DataError for what is not a frame; `what` names it."""
    return _frame(given, what).collect()


def _check_policy(on_bad_rows: str) -> None:
    if on_bad_rows not in ("keep", "error"):
        raise DataError(f"on_bad_rows is 'keep' or 'error'; got {on_bad_rows!r}.{did_you_mean(on_bad_rows, ['keep', 'error'])}")


# ---------------------------------------------------------------- where the tables are


def _sources(schema: LogSchema, source: Any) -> dict[str, list[Path] | pl.LazyFrame]:
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
            name: _files(given, name) if isinstance(given, str | Path) else _frame(given, f"table '{name}'")
            for name, given in source.items()
        }
    elif isinstance(source, str | Path) and Path(source).is_dir():
        return {name: _files_in(Path(source), name, schema) for name in tables}
    else:
        name = _only_table(schema, source)
        found = {name: _files(source, name) if isinstance(source, str | Path) else _frame(source, f"table '{name}'")}
    left_out = [name for name, edge in schema.edges.items() if edge.table not in found]
    if len(left_out) == len(schema.edges):
        raise DataError(f"{schema.origin}: no edges come from {listed(found) if found else 'no tables'}; its tables are: {listed(tables)}.")
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


def _frame(given: Any, what: str) -> pl.LazyFrame:
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
        raise DataError(f"{what}: cannot be read as a table: {_first_line(error)}.") from None
    raise DataError(f"{what}: expected a frame (polars, pandas, pyarrow) or a path; got {type(given).__name__}.")


def _from_pandas(given: Any) -> pl.LazyFrame:
    try:
        return pl.from_pandas(given).lazy()
    except ImportError:  # without pyarrow, column by column
        return pl.DataFrame({str(name): given[name].tolist() for name in given.columns}, strict=False).lazy()


# ---------------------------------------------------------------- one table


@dataclass
class _Log:
    """One table of a log, read: the columns in need, and for each column that broke its type the rows where it did."""

    origin: str
    frame: pl.DataFrame
    table: Table
    unparsable: dict[str, pl.Series] = field(default_factory=dict)

    def value(self, path: str, text: str) -> pl.Series:
        """(rows,) the value of a column or SQL expression in every row."""
        expression = _expression(self.origin, path, text, self.frame.columns)
        try:
            return self.frame.with_columns(expression.alias("__value"))["__value"]
        except PolarsError as error:
            raise SchemaError(f"{self.origin}: {path} '{text}' does not work on these columns: {_first_line(error)}.") from None

    def broken(self, path: str, texts: Iterable[str]) -> dict[str, pl.Series]:
        """Rule -> rows (mask) where a column that these texts use was not a number as in the rest of the file."""
        used = {column for text in texts for column in _roots(_expression(self.origin, path, text, self.frame.columns))}
        return {f"not a number: {column}": mask for column, mask in self.unparsable.items() if column in used}


class _NotAsInferred(Exception):
    """A value further down the file is not of the type that its first rows have."""


def _read_table(schema: LogSchema, name: str, given: list[Path] | pl.LazyFrame) -> _Log:
    """The columns of one table that the schema uses, and its derived ones."""
    table, origin = schema.tables[name], schema.origin
    where = f"table '{name}'" if isinstance(given, pl.LazyFrame) else listed(given, most=2)
    lazy = given if isinstance(given, pl.LazyFrame) else _scan(given, table, origin)
    types = _attempt(lazy.collect_schema, where, given, table)
    columns = types.names()
    if repeated := [column for column in columns if _is_repeat(column, columns)]:
        original = repeated[0].rpartition("_duplicated_")[0]
        raise DataError(f"{where}: the column name '{original}' stands more than once in the header; rename one.")
    if table.row_number is not None:
        columns = [table.row_number, *columns]
    uses = _uses(schema, name)
    derived = _derivations(table, f"tables.{name}.derive", columns, where)
    known = columns + [new for new, _ in derived]
    needed: set[str] = set()
    ids: set[str] = set()
    for path, text, is_column in uses:
        if is_column:
            _check_column(where, path, text, known)
            needed.add(text)
            ids.add(text)
        else:
            needed.update(_roots(_expression(where, path, text, known)))
    for new, expression in reversed(derived):
        if new in needed:
            needed.update(_roots(expression))
    derived = [(new, expression) for new, expression in derived if new in needed]

    def read(frame: pl.LazyFrame) -> pl.DataFrame:
        if table.row_number is not None:
            frame = frame.with_row_index(table.row_number)
        wanted = frame.select([column for column in columns if column in needed])
        return _collected(wanted, where, given, table)

    unparsable: dict[str, pl.Series] = {}
    try:
        frame = read(lazy)
    except _NotAsInferred:
        # ids of a mixed column stay text; other numbers are parsed here, and the rows where that fails are kept in mind
        assert not isinstance(given, pl.LazyFrame)
        frame = read(_scan(given, table, origin, as_text=True))
        for column, dtype in types.items():
            if column in frame.columns and column not in ids and dtype.is_numeric():
                numbers = frame[column].cast(dtype, strict=False)
                unparsable[column] = numbers.is_null() & frame[column].is_not_null()
                # what was written stays readable among the rejected rows
                frame = frame.with_columns(frame[column].alias(f"{column} as written"), numbers)
        unparsable = {column: mask for column, mask in unparsable.items() if mask.any()}
        frame = frame.drop([f"{c} as written" for c in types if c not in unparsable], strict=False)
    log = _Log(where, frame, table, unparsable)
    for new, expression in derived:
        try:
            log.frame = log.frame.with_columns(expression.alias(new))
        except PolarsError as error:
            raise SchemaError(f"{origin}: tables.{name}.derive.{new} does not work on {where}: {_first_line(error)}.") from None
    return log


def _uses(schema: LogSchema, name: str) -> list[tuple[str, str, bool]]:
    """(dotted path, text, whether it must be a column) of all that the schema takes from a table."""
    uses: list[tuple[str, str, bool]] = []
    for edge_type, edge in schema.edges.items():
        if edge.table == name:
            path = f"edges.{edge_type}"
            uses += [(f"{path}.vertices.{modality}", vertex.column, True) for modality, vertex in edge.vertex_list]
            uses.append((f"{path}.weight", edge.weight, False))
            uses += [(f"{path}.where", edge.where, False)] if edge.where is not None else []
            uses += [(f"{path}.time", edge.time, False)] if edge.time is not None else []
    for modality, label in schema.labels.items():
        if label.table == name:
            uses += [(f"labels.{modality}.id", label.id, True), (f"labels.{modality}.text", label.text, False)]
    return uses


def _derivations(table: Table, path: str, columns: list[str], origin: str) -> list[tuple[str, pl.Expr]]:
    """The derived columns in an order in which each finds what it needs."""
    ordered: list[tuple[str, pl.Expr]] = []
    known = [*columns, *table.derive]
    waiting = dict(table.derive)
    if taken := [new for new in waiting if new in columns]:
        raise SchemaError(f"{origin}: {path}.{taken[0]} would replace a column of the log; take another name.")
    expressions = {new: _expression(origin, f"{path}.{new}", text, known) for new, text in waiting.items()}
    while expressions:
        ready = [new for new, expression in expressions.items() if not _roots(expression) & set(expressions)]
        if not ready:
            raise SchemaError(f"{origin}: {path}: {listed(expressions)} need each other in a circle.")
        ordered += [(new, expressions.pop(new)) for new in ready]
    return ordered


def _expression(origin: str, path: str, text: str, columns: list[str]) -> pl.Expr:
    """A column when there is one of this name, else a Polars SQL expression whose columns are all there."""
    if text in columns:
        return pl.col(text)
    try:
        expression = pl.sql_expr(text)
    except PolarsError as error:
        raise SchemaError(f"{origin}: {path} '{text}' is neither a column nor an SQL expression: {_first_line(error)}.") from None
    for root in sorted(_roots(expression)):
        _check_column(origin, path, root, columns)
    return expression


def _roots(expression: pl.Expr) -> set[str]:
    return set(expression.meta.root_names())


def _check_column(origin: str, path: str, column: str, columns: list[str]) -> None:
    if column not in columns:
        raise SchemaError(f"{origin}: {path} names column '{column}'; the log has: {listed(columns, most=30)}.{did_you_mean(column, columns)}")


def _is_repeat(column: str, columns: list[str]) -> bool:
    original, mark, number = column.rpartition("_duplicated_")
    return bool(mark) and number.isdigit() and original in columns


# ---------------------------------------------------------------- files


def _scan(paths: list[Path], table: Table, origin: str, *, as_text: bool = False) -> pl.LazyFrame:
    """A lazy frame over files that hold what their names say; as_text reads every column as text."""
    for path in paths:
        with path.open("rb") as file:
            start = file.read(4)
        if not start:
            raise DataError(f"{path}: the file is empty.")
        if start.startswith(b"PK\x03\x04"):
            raise DataError(f"{path}: this is a zip archive; unpack it first.")
        if (start == b"PAR1") != (path.suffix.lower() in PARQUET):
            expected, came = ("Parquet", "is none") if start != b"PAR1" else ("delimited text", "is a Parquet file")
            raise DataError(f"{path}: expected {expected} by its name, but the content {came}; rename or replace the file.")
    if paths[0].suffix.lower() in PARQUET:
        return pl.scan_parquet(paths)
    separator = table.separator
    if separator is None:
        separator = "\t" if paths[0].suffix.lower() == ".tsv" else ","
    files: list[Any] = [paths]
    if len(separator) != 1 or table.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
        files = [_translated(path, separator, table.encoding, origin) for path in paths]
        separator = separator if len(separator) == 1 else UNIT
    return pl.concat([_scan_text(file, separator, table, origin, as_text) for file in files])


UNIT = "\x1f"


def _translated(path: Path, separator: str, encoding: str, origin: str) -> io.BytesIO:
    """The file as UTF-8 with a separator of one character, in memory: Polars scans nothing else, and this is fast."""
    content = path.read_bytes()
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
        try:
            content = content.decode(encoding).encode()
        except LookupError:
            raise SchemaError(f"{origin}: no encoding is called '{encoding}'; try utf-8 or latin-1.") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not {encoding} text at byte {error.start}; correct `encoding` in the schema.") from None
    if len(separator) > 1:
        if UNIT.encode() in content:
            raise DataError(f"{path}: holds the control character 0x1F, which stands for '{separator}' while reading; remove it.")
        content = content.replace(separator.encode(), UNIT.encode())
    return io.BytesIO(content)


def _scan_text(file: Any, separator: str, table: Table, origin: str, as_text: bool) -> pl.LazyFrame:
    columns = table.columns
    positions = {name: f"column_{number + 1}" for number, name in enumerate(columns or ())}
    overrides = {} if as_text else {positions.get(name, name): TYPES[kind] for name, kind in table.types.items()}
    lazy = pl.scan_csv(
        file,
        separator=separator,
        has_header=columns is None,
        quote_char=(table.quote or None) if separator != UNIT else None,
        null_values=list(table.null_values) or None,
        infer_schema=not as_text,
        infer_schema_length=INFER_ROWS,
        schema_overrides=overrides,
    )
    if columns is None:
        return lazy
    found = _attempt(lazy.collect_schema, str(file), [], table).names()
    if len(found) != len(columns):
        raise SchemaError(
            f"{origin}: columns names {len(columns)} columns ({listed(columns)}), but a line of '{table.file}' has {len(found)} fields; "
            f"check `columns` and `separator`."
        )
    return lazy.rename(dict(zip(found, columns, strict=True)))


def _collected(
    lazy: pl.LazyFrame, where: str, given: list[Path] | pl.LazyFrame | None = None, table: Table | None = None
) -> pl.DataFrame:
    return _attempt(lazy.collect, where, given, table)


def _attempt(
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
        if "could not parse" in text and paths:
            raise _NotAsInferred from None
        if "utf-8" in text.lower() and paths:
            raise DataError(_not_utf8(paths)) from None
        if "more fields" in text and paths and table is not None:
            raise DataError(_ragged(paths, table)) from None
        raise DataError(f"{where}: cannot be read: {_first_line(error)}.") from None


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
    for path in paths:
        with path.open("rb") as file:
            expected = 0
            for number, line in enumerate(file, 1):
                fields = line.count(separator) + 1
                expected = expected or fields
                if fields > expected and table.quote.encode() not in line:
                    return f"{path}: line {number} has {fields} fields, expected {expected}; check `separator` and `quote`, or mend the line."
    return f"{listed(paths, most=2)}: a line has more fields than the first; check `separator` and `quote`, or mend the line."


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].strip().rstrip(".:;")


# ---------------------------------------------------------------- the edges of one type, ids still as in the log


@dataclass
class _RawEdges:
    """Edges before their ids are numbered: columns v0, v1, ... and `weight`, `time` where there is one."""

    path: str
    modalities: tuple[str, ...]
    frame: pl.DataFrame
    rejected: pl.DataFrame
    distinct: bool
    labels: dict[str, pl.DataFrame]


def _raw_edges(log: _Log, path: str, edge: Edge, on_bad_rows: str) -> _RawEdges:
    frame, dot = log.frame, f"{path}." if path else ""
    where = f"{log.origin}: {path}" if path else log.origin
    broken = log.broken(dot, [edge.weight] + [text for text in (edge.where, edge.time) if text is not None])
    if edge.where is not None:
        is_edge = log.value(f"{dot}where", edge.where)
        if is_edge.dtype != pl.Boolean:
            raise SchemaError(f"{where}.where '{edge.where}' is no condition: it gives {is_edge.dtype}, expected true or false.")
        for mask in broken.values():
            is_edge = is_edge.fill_null(False) | mask
        frame = frame.filter(is_edge)
        broken = {rule: mask.filter(is_edge) for rule, mask in broken.items()}
        logger.info("%s: %d of %d rows are edges by `where`", where, frame.height, log.frame.height)
    part = _Log(log.origin, frame, log.table)
    columns: dict[str, pl.Series] = {}
    labels: dict[str, pl.DataFrame] = {}
    rules: dict[str, pl.Series] = dict(broken)
    vertices = edge.vertex_list
    for number, (modality, vertex) in enumerate(vertices):
        ids, text = _vertex_ids(part, f"{dot}vertices.{modality}" if path else f"column '{vertex.column}'", vertex)
        if text is not None:
            labels.setdefault(modality, text)
        if not vertex.several and ids.null_count():
            rules[f"null id: {vertex.column}"] = ids.is_null()
        columns[f"v{number}"] = ids
    if edge.weight == "1":
        columns["weight"] = pl.repeat(1.0, frame.height, dtype=pl.Float32, eager=True)
    else:
        columns["weight"] = _weights(part.value(f"{dot}weight", edge.weight), f"{where}: {dot}weight")
        weight = columns["weight"]
        if frame.height and not (weight.null_count() == 0 and weight.is_finite().all() and weight.min() > 0):  # type: ignore[operator]
            rules["weight not a number"] = weight.is_null() | weight.is_nan()
            rules["weight <= 0"] = weight <= 0
            rules["weight infinite"] = weight.is_infinite()
    if edge.time is not None:
        columns["time"] = _times(part.value(f"{dot}time", edge.time), f"{where}: {dot}time")
        if columns["time"].null_count():
            rules["unparsable time"] = columns["time"].is_null()
    kept, rejected = _apply_rules(pl.DataFrame(columns), frame, rules)
    for number, (_, vertex) in enumerate(vertices):
        if vertex.several:
            kept, bad = _pieces(kept, f"v{number}", vertex, frame)
            rejected = pl.concat([rejected, bad]) if bad.height else rejected
    kept = kept.drop("row", strict=False)
    _report(rejected, where, path, on_bad_rows)
    if not kept.height:
        read = f"{log.frame.height:,} rows read"
        filtered = f", {log.frame.height - frame.height:,} left out by where" if edge.where is not None else ""
        raise DataError(f"{where}: no edges left: {read}{filtered}, {rejected.height:,} broke a rule{_counted(rejected)}.")
    return _RawEdges(path, tuple(modality for modality, _ in vertices), kept, rejected, edge.distinct, labels)


def _apply_rules(
    columns: pl.DataFrame, rows: pl.DataFrame, rules: dict[str, pl.Series]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Edges that keep all the rules (with `row`, the row they come from), and the rows that broke one, with the first it broke."""
    columns = columns.with_row_index("row")
    rule = pl.coalesce(pl.when(mask.fill_null(False)).then(pl.lit(name)) for name, mask in rules.items()) if rules else None
    if rule is None:
        return columns, rows.clear().with_columns(pl.lit(None, pl.String).alias("rule"))
    broken = rows.select(rule.alias("rule")).to_series() if rows.width else pl.Series("rule", [], pl.String)
    good = broken.is_null()
    return columns.filter(good), rows.with_columns(broken).filter(~good)


def _report(rejected: pl.DataFrame, where: str, path: str, on_bad_rows: str) -> None:
    if not rejected.height:
        return
    if on_bad_rows == "error":
        raise DataError(
            f"{where}: {rejected.height:,} rows break a rule{_counted(rejected)}; the first: "
            f"{rejected.drop('rule').row(0, named=True)}. Mend the log, filter with `where`, or pass on_bad_rows='keep'."
        )
    for rule, count in rejected.group_by("rule", maintain_order=True).len().iter_rows():
        logger.warning("%s: %s rows kept aside in graph.rejected: %s", where, f"{count:,}", rule)


def _counted(rejected: pl.DataFrame) -> str:
    counts = rejected.group_by("rule", maintain_order=True).len().iter_rows()
    text = ", ".join(f"{rule}: {count:,}" for rule, count in counts)
    return f" ({text})" if text else ""


def _vertex_ids(log: _Log, path: str, vertex: Vertex) -> tuple[pl.Series, pl.DataFrame | None]:
    """Ids of one vertex column, null where there is none; texts to be split stay whole; labels of quantile buckets."""
    values = log.frame[vertex.column]
    where = f"{log.origin}: {path}"
    if vertex.several:
        if values.dtype == pl.List(pl.String):
            return values, None
        return values.cast(pl.String), None
    if vertex.bucket is None:
        return _ids(values, where), None
    if vertex.bucket.startswith("quantile:"):
        return _quantiles(values, int(vertex.bucket.partition(":")[2]), where)
    return _clock_bucket(_times(values, where), vertex.bucket, log.table.time_zone, where), None


def _ids(values: pl.Series, where: str) -> pl.Series:
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
            raise DataError(f"{where}: ids must be strings or integers; '{values.name}' holds {example}. Bucket it (quantile:10) or cast it.")
        if len(numbers) and (numbers.abs() >= 2**53).any():
            raise DataError(f"{where}: '{values.name}' holds integers that a float cannot tell apart; read it as text or as integers.")
        return whole
    if dtype == pl.String:
        return values.replace("", None) if (values == "").any() else values
    if dtype in (pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        return values.cast(pl.String)
    raise DataError(f"{where}: ids must be strings or integers; '{values.name}' is {dtype}. Bucket a time, or cast the column.")


def _weights(values: pl.Series, where: str) -> pl.Series:
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.String, pl.Null):
        return values.cast(pl.Float32, strict=False)
    raise DataError(f"{where}: expected numbers, got {values.dtype}.")


def _times(values: pl.Series, where: str) -> pl.Series:
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
        if whole.null_count() < len(values):
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
        return parsed
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


def _quantiles(values: pl.Series, n: int, where: str) -> tuple[pl.Series, pl.DataFrame]:
    """Number of the n-quantile of each value, from 0 (equal values stay together), and what range it spans."""
    if not values.dtype.is_numeric():
        raise DataError(f"{where}: quantile buckets need numbers; '{values.name}' is {values.dtype}.")
    numbers = values.cast(pl.Float64).fill_nan(None)
    cuts = [numbers.quantile(i / n, "lower") for i in range(1, n)] if numbers.null_count() < len(numbers) else []
    edges = np.unique(np.array([cut for cut in cuts if cut is not None], dtype=np.float64))
    codes = pl.Series(values.name, np.searchsorted(edges, numbers.fill_null(0).to_numpy(), side="left"), dtype=pl.Int64)
    codes = codes.zip_with(numbers.is_not_null(), pl.repeat(None, len(codes), dtype=pl.Int64, eager=True))
    ranges = (
        pl.DataFrame({"id": codes, "number": numbers})
        .drop_nulls()
        .group_by("id")
        .agg(pl.col("number").min().alias("low"), pl.col("number").max().alias("high"))
    )
    text = [f"{low:g} to {high:g}" for low, high in ranges.select("low", "high").iter_rows()]
    return codes, ranges.select("id").with_columns(pl.Series("label", text, pl.String))


def _pieces(
    edges: pl.DataFrame, name: str, vertex: Vertex, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One edge for each piece or word of a text; and the rows with a piece whose count is no positive number."""
    no_rows = rows.clear().with_columns(pl.lit(None, pl.String).alias("rule"))
    text = pl.col(name)
    if edges.schema[name] == pl.String:
        if vertex.tokenize:
            edges = edges.with_columns(text.str.to_lowercase().str.extract_all(r"\w\w+"))
        else:
            edges = edges.with_columns(text.str.split(vertex.split or ""))
    edges = edges.filter(text.list.len() > 0).explode(name)
    edges = edges.with_columns(text.str.strip_chars()).filter(text.is_not_null() & (text != ""))
    if vertex.count is not None:
        parts = edges[name].str.splitn(vertex.count, 2).struct
        times = parts[1].cast(pl.Float32, strict=False).fill_nan(None)
        good = (times > 0).fill_null(False) & times.is_finite().fill_null(False)
        edges = edges.with_columns(parts[0].alias(name), (pl.col("weight") * times).alias("weight"))
        bad = rows[edges["row"].filter(~good)].with_columns(pl.lit(f"count not a positive number: {vertex.column}").alias("rule"))
        edges, no_rows = edges.filter(good), bad
    if vertex.split is not None:
        edges = edges.with_columns(_integers_if_all(edges[name]))
    return edges, no_rows


def _integers_if_all(ids: pl.Series) -> pl.Series:
    """Int64 when every text is an integer as one writes it (no 007), else the same."""
    return ids.cast(pl.Int64) if ids.str.contains(r"^(0|-?[1-9]\d{0,17})$").all() and len(ids) else ids


# ---------------------------------------------------------------- numbering


def _build(raw: dict[str, _RawEdges], texts: dict[str, pl.DataFrame]) -> Hypergraph:
    """Vocabularies over all edge types, and edge tables of row numbers."""
    places: dict[str, list[tuple[str, str]]] = {}
    for edge_type, edges in raw.items():
        for number, modality in enumerate(edges.modalities):
            places.setdefault(modality, []).append((edge_type, f"v{number}"))
    vocabularies = {}
    for modality, columns in places.items():
        ids, codes = _numbered([raw[edge_type].frame[column] for edge_type, column in columns])
        vocabularies[modality] = Vocabulary(modality, ids)
        for (edge_type, column), rows in zip(columns, codes, strict=True):
            raw[edge_type].frame = raw[edge_type].frame.with_columns(rows.alias(column))
    tables = {}
    for edge_type, edges in raw.items():
        names = vertex_columns(edges.modalities)
        frame = edges.frame.rename({f"v{number}": name for number, name in enumerate(names)})
        if edges.distinct:
            timed = frame.sort("time", maintain_order=True) if "time" in frame.columns else frame
            frame = timed.unique(names, keep="first", maintain_order=True)
        tables[edge_type] = EdgeTable(edges.modalities, frame)
    for edges in raw.values():
        for modality, text in edges.labels.items():
            texts.setdefault(modality, text)
    labels = {modality: _labels(vocabularies[modality], text) for modality, text in texts.items() if modality in vocabularies}
    return Hypergraph(tables, vocabularies, labels, {name: edges.rejected for name, edges in raw.items()})


def _labels(vocabulary: Vocabulary, text: pl.DataFrame) -> pl.DataFrame:
    """(id, label) of the vertices that have one, in the order of the vocabulary."""
    text = text.with_columns(pl.col("id").cast(vocabulary.ids.dtype, strict=False)).drop_nulls().unique("id", keep="first")
    return vocabulary.ids.to_frame().join(text, on="id", how="inner", maintain_order="left")


def _numbered(columns: list[pl.Series]) -> tuple[pl.Series, list[pl.Series]]:
    """The ids of several columns of one modality, ascending, and the columns as Int32 row numbers."""
    if any(column.dtype == pl.String for column in columns):
        columns = [column.cast(pl.String) for column in columns]
        ids = pl.concat([column.unique() for column in columns]).unique().sort()
        kind = pl.Enum(ids)
        return ids, [column.cast(kind).to_physical().cast(pl.Int32) for column in columns]
    arrays = [column.to_numpy() for column in columns]
    low = min(int(array.min()) for array in arrays)
    span = max(int(array.max()) for array in arrays) - low + 1
    if span <= max(2**22, 4 * sum(len(array) for array in arrays)):
        # dense integers: one look at each in a table of the whole range
        present = np.zeros(span, bool)
        for array in arrays:
            present[array - low] = True
        number = (np.cumsum(present, dtype=np.int32) - 1).astype(np.int32)
        return pl.Series(np.flatnonzero(present) + low), [pl.Series(number[array - low]) for array in arrays]
    ids = pl.concat([column.unique() for column in columns]).unique().sort()
    known = pl.DataFrame({"id": ids, "row": np.arange(len(ids), dtype=np.int32)})
    return ids, [
        column.alias("id").to_frame().join(known, on="id", how="left", maintain_order="left")["row"] for column in columns
    ]

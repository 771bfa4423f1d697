"""One table of a log, read: only the columns that the schema uses, and the columns that it derives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PolarsError

from hyperrec.errors import DataError, SchemaError, did_you_mean, listed
from hyperrec.logs.files import PARQUET, NotAsInferredError, attempt, collected, first_line, in_one_line, scan

if TYPE_CHECKING:
    from hyperrec.schema import LogSchema, Table


@dataclass
class Log:
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
            reason = first_line(error)
            raise SchemaError(f"{self.origin}: {path} '{in_one_line(text)}' does not work on these columns: {reason}.") from None

    def broken(self, path: str, texts: Iterable[str]) -> dict[str, pl.Series]:
        """Rule -> rows (mask) where a column that these texts use was not a number as in the rest of the file."""
        used = {column for text in texts for column in _roots(_expression(self.origin, path, text, self.frame.columns))}
        return {f"not a number: {column}": mask for column, mask in self.unparsable.items() if column in used}


def read_table(schema: LogSchema, name: str, given: list[Path] | pl.LazyFrame) -> Log:
    """The columns of one table that the schema uses, and its derived ones."""
    table, origin = schema.tables[name], schema.origin
    where = f"table '{name}'" if isinstance(given, pl.LazyFrame) else listed(given, most=2)
    lazy = given if isinstance(given, pl.LazyFrame) else scan(given, table, origin)
    types = attempt(lazy.collect_schema, where, given, table)
    columns = types.names()
    if repeated := [column for column in columns if _is_repeat(column, columns)]:
        original = repeated[0].rpartition("_duplicated_")[0]
        raise DataError(f"{where}: the column name '{original}' stands more than once in the header; rename one.")
    is_text = isinstance(given, list) and given[0].suffix.lower() not in PARQUET
    if is_text:
        for column in table.types:
            _check_column(where, f"tables.{name}.types", column, columns)
    if table.row_number is not None:
        if table.row_number in columns:
            raise SchemaError(f"{where}: tables.{name}.row_number '{table.row_number}' is a column of the log; take another name.")
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
        wanted = [column for column in columns if column in needed]
        # Polars sees that a line has too many fields only when it parses all of them
        whole = frame if is_text else frame.select(wanted)
        return collected(whole, where, given, table).select(wanted)

    unparsable: dict[str, pl.Series] = {}
    try:
        frame = read(lazy)
    except NotAsInferredError:
        # ids stay text when one of them is text; other numbers are parsed here, and the rows where that fails are kept in mind
        assert not isinstance(given, pl.LazyFrame)
        frame = read(scan(given, table, origin, as_text=True))
        for column, dtype in types.items():
            if column in frame.columns and dtype.is_numeric():
                numbers = frame[column].cast(dtype, strict=False) if column in ids else _numbers(frame[column], dtype)
                wrong = numbers.is_null() & frame[column].is_not_null()
                if column in ids and wrong.any():
                    continue
                unparsable[column] = wrong
                # what was written stays readable among the rejected rows
                frame = frame.with_columns(frame[column].alias(f"{column} as written"), numbers)
        unparsable = {column: mask for column, mask in unparsable.items() if mask.any()}
        frame = frame.drop([f"{c} as written" for c in types if c not in unparsable], strict=False)
    log = Log(where, frame, table, unparsable)
    for new, expression in derived:
        try:
            log.frame = log.frame.with_columns(expression.alias(new))
        except PolarsError as error:
            raise SchemaError(f"{origin}: tables.{name}.derive.{new} does not work on {where}: {first_line(error)}.") from None
    return log


def _numbers(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Texts as numbers of this type, or as Float64 when some of them are no integers; null where a text is no number."""
    numbers = texts.cast(dtype, strict=False)
    if dtype.is_integer() and numbers.null_count() > texts.null_count():
        floats = texts.cast(pl.Float64, strict=False)
        if floats.null_count() < numbers.null_count():
            return floats
    return numbers


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
        given, reason = in_one_line(text), first_line(error)
        if keywords := [column for column in columns if reason.endswith(f"'{column.lower()}'")]:
            reason += f" (SQL reads {keywords[0]} as a keyword: write the column in double quotes)"
        raise SchemaError(f"{origin}: {path} '{given}' is neither a column nor an SQL expression: {reason}.") from None
    for root in sorted(_roots(expression)):
        _check_column(origin, path, root, columns)
    return expression


def _roots(expression: pl.Expr) -> set[str]:
    return set(expression.meta.root_names())


def _check_column(origin: str, path: str, column: str, columns: list[str]) -> None:
    if column not in columns:
        hint = did_you_mean(column, columns)
        raise SchemaError(f"{origin}: {path} names column '{column}'; the log has: {listed(columns, most=30)}.{hint}")


def _is_repeat(column: str, columns: list[str]) -> bool:
    original, mark, number = column.rpartition("_duplicated_")
    return bool(mark) and number.isdigit() and original in columns

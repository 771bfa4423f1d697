"""One table of a log, read: only the columns that the schema uses, and the columns that it derives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PolarsError

from hyperrec.errors import DataError, SchemaError, did_you_mean, first_line, listed
from hyperrec.logs.files import PARQUET, NotAsInferredError, attempt, collected, in_one_line, scan

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
            found = self.frame.select(expression.alias("__value"))["__value"]
        except PolarsError as error:
            reason = first_line(error)
            raise SchemaError(f"{self.origin}: {path} '{in_one_line(text)}' does not work on these columns: {reason}.") from None
        if len(found) == self.frame.height:
            return found
        if expression.meta.root_names() or re.search(r"\bcount\s*\(", text, re.IGNORECASE):
            hint = '; of equal edges together `distinct` says it, as "LN(1 + SUM(weight))"' if path.endswith("weight") else ""
            raise SchemaError(
                f"{self.origin}: {path} '{in_one_line(text)}' gives one value for all rows, expected one for each{hint}."
            )
        return found.new_from_index(0, self.frame.height)

    def broken(self, path: str, texts: Iterable[str]) -> dict[str, pl.Series]:
        """Rule -> rows (mask) where a column that these texts use was not a number as in the rest of the file."""
        used = {column for text in texts for column in _roots(_expression(self.origin, path, text, self.frame.columns))}
        return {f"not a number: {column}": mask for column, mask in self.unparsable.items() if column in used}


@dataclass
class Reading:
    """What is to be read of one table: the wanted columns of its rows as they come, and the expressions of those it derives."""

    where: str
    origin: str
    path: str
    table: Table
    given: list[Path] | pl.LazyFrame
    lazy: pl.LazyFrame
    types: dict[str, pl.DataType]
    wanted: list[str]
    ids: set[str]
    derived: list[tuple[str, pl.Expr]]

    @classmethod
    def of(cls, schema: LogSchema, name: str, given: list[Path] | pl.LazyFrame) -> Reading:
        """Checks the schema against the columns of the table."""
        table, origin = schema.tables[name], schema.origin
        where = f"table '{name}'" if isinstance(given, pl.LazyFrame) else listed(given, most=2)
        lazy = given if isinstance(given, pl.LazyFrame) else scan(given, table, origin)
        types = attempt(lazy.collect_schema, where, given, table)
        columns = types.names()
        if repeated := [column for column in columns if _is_repeat(column, columns)]:
            original = repeated[0].rpartition("_duplicated_")[0]
            raise DataError(f"{where}: the column name '{original}' stands more than once in the header; rename one.")
        if _is_text(given):
            for column in table.types:
                _check_column(where, f"tables.{name}.types", column, columns)
        if table.row_number is not None:
            if table.row_number in columns:
                raise SchemaError(
                    f"{where}: tables.{name}.row_number '{table.row_number}' is a column of the log; take another name."
                )
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
        wanted = [column for column in columns if column in needed]
        return cls(where, origin, f"tables.{name}.derive", table, given, lazy, dict(types), wanted, ids, derived)

    def rows(self, *, as_text: bool = False) -> pl.LazyFrame:
        """The rows of the table; of text, all the columns: only then Polars sees that a line has too many fields."""
        lazy = scan(self.given, self.table, self.origin, as_text=True) if as_text else self.lazy  # type: ignore[arg-type]
        if self.table.row_number is not None:
            lazy = lazy.with_row_index(self.table.row_number)
        return lazy if _is_text(self.given) else lazy.select(self.wanted)

    def numbers(self, texts: pl.LazyFrame) -> dict[str, tuple[pl.DataType, bool]]:
        """Of columns that were read as text: those that are numbers all the same, their type, and whether a text of them is none.

        Ids stay text when one of them is text. What was taken for integers may be numbers with a fraction.
        """
        asked = [column for column in self.wanted if column in self.types and self.types[column].is_numeric()]
        casts = {"text": None, "number": self.types, "float": dict.fromkeys(asked, pl.Float64())}
        nulls = texts.select(
            (pl.col(column) if kinds is None else pl.col(column).cast(kinds[column], strict=False)).null_count()
            .alias(f"{kind} {column}")
            for kind, kinds in casts.items() for column in asked
        ).collect().row(0, named=True) if asked else {}  # fmt: skip
        found: dict[str, tuple[pl.DataType, bool]] = {}
        for column in asked:
            none, wrong, dtype = nulls[f"text {column}"], nulls[f"number {column}"], self.types[column]
            if column not in self.ids and dtype.is_integer() and none < wrong and nulls[f"float {column}"] < wrong:
                wrong, dtype = nulls[f"float {column}"], pl.Float64()
            if column not in self.ids or wrong == none:
                found[column] = dtype, wrong > none
        return found

    def log(self, frame: pl.DataFrame, numbers: dict[str, tuple[pl.DataType, bool]]) -> Log:
        """Rows of the table with the derived columns, and which of their cells are no numbers, where they were read as text."""
        frame, unparsable = frame.select(self.wanted), {}
        for column, (dtype, some_wrong) in numbers.items():
            texts = frame[column]
            frame = frame.with_columns(texts.cast(dtype, strict=False))
            if some_wrong:
                unparsable[column] = frame[column].is_null() & texts.is_not_null()
                # what was written stays readable among the rejected rows
                frame = frame.with_columns(texts.alias(f"{column} as written"))
        log = Log(self.where, frame, self.table, unparsable)
        for new, expression in self.derived:
            try:
                log.frame = log.frame.with_columns(expression.alias(new))
            except PolarsError as error:
                reason = first_line(error)
                raise SchemaError(f"{self.origin}: {self.path}.{new} does not work on {self.where}: {reason}.") from None
        return log


def read_table(schema: LogSchema, name: str, given: list[Path] | pl.LazyFrame) -> Log:
    """The columns of one table that the schema uses, and its derived ones."""
    reading = Reading.of(schema, name, given)
    try:
        return reading.log(collected(reading.rows(), reading.where, given, reading.table), {})
    except NotAsInferredError:
        frame = collected(reading.rows(as_text=True), reading.where, given, reading.table)
        return reading.log(frame, reading.numbers(frame.lazy()))


def _is_text(given: list[Path] | pl.LazyFrame) -> bool:
    return isinstance(given, list) and given[0].suffix.lower() not in PARQUET


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

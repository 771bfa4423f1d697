"""LogSchema: which columns of which files form which typed hyperedges. Reads schemas/*.toml; says in one line what is wrong.

`write_json_schema()` makes schemas/log.schema.json from the models below, for editors.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from polars.exceptions import PolarsError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from hyperrec.errors import SchemaError, did_you_mean, first_line, listed
from hyperrec.vertex import STRICT, Vertex


class _Part(BaseModel):
    model_config = STRICT


class Table(_Part):
    """One table of the log: a file, a glob of files, or a frame given under the table's name."""

    file: Annotated[str, Field(min_length=1)]
    """File name or glob, relative to the folder of the log. `.parquet` is Parquet, anything else is delimited text."""

    separator: str | None = None
    """Between the fields of a line, also of several characters ("::"); "" when a line is one column. Default: a comma,
    a tab for .tsv."""

    quote: Annotated[str, Field(max_length=1)] = '"'
    """Around fields that hold the separator; "" when the file knows no quotes."""

    columns: tuple[str, ...] | None = None
    """Column names of a file without a header line."""

    encoding: str = "utf-8"
    """Text encoding, such as "latin-1"."""

    null_values: tuple[str, ...] = ()
    """Texts that mean "no value", besides the empty one."""

    types: dict[str, Literal["string", "integer", "number"]] = {}
    """Column types that are not to be guessed: "string" keeps the leading zeros of ids such as 00501."""

    row_number: str | None = None
    """Name of an added column with the number of the line, from 0."""

    whole_files: bool = False
    """Each file is one row: the columns are `text`, and `path` with as many folders as `file` names."""

    derive: dict[str, str] = {}
    """Added columns: name -> Polars SQL expression over the other columns, in any order."""

    time_zone: str | None = None
    """Times are taken as UTC; buckets such as hour_of_day read the clock of this zone, "America/New_York"."""

    @model_validator(mode="after")
    def _whole_or_lines(self) -> Table:
        of_lines = ("separator", "quote", "columns", "null_values", "types", "row_number")
        if self.whole_files and (given := [name for name in of_lines if name in self.model_fields_set]):
            raise ValueError(f"whole_files makes a file one row, without {listed(given)}: leave one of them out")
        return self

    @model_validator(mode="after")
    def _one_column_per_line(self) -> Table:
        if self.separator == "" and len(self.columns or ()) != 1:
            raise ValueError('separator = "" makes a line one column: give columns = ["its name"]')
        if repeated := sorted({name for name in self.columns or () if (self.columns or ()).count(name) > 1}):
            raise ValueError(f"columns repeats {listed(repeated)}")
        return self


def _vertices(given: object) -> object:
    """'user' | {column = ..} | ['a', 'b'] -> a list of what makes a Vertex."""
    each = given if isinstance(given, list | tuple) else [given]
    return [{"column": one} if isinstance(one, str) else one for one in each]


Vertices = Annotated[
    tuple[Vertex, ...],
    Field(min_length=1),
    BeforeValidator(_vertices, json_schema_input_type=str | Vertex | list[str | Vertex]),
]


class Edge(_Part):
    """One type of hyperedges: a row of the table is an edge, or several where a vertex is split or tokenized."""

    table: str
    """The table that the rows come from."""

    vertices: Annotated[dict[str, Vertices], Field(min_length=1)]
    """Modality -> column, or {column, split | bucket | tokenize}, or a list of them for two vertices of one modality."""

    weight: str = "1"
    """A column or a Polars SQL expression, > 0."""

    where: str | None = None
    """A Polars SQL condition; rows for which it is not true are no edges."""

    time: str | None = None
    """A column or a Polars SQL expression; orders a user's history. Integers are seconds since 1970 (or milliseconds)."""

    distinct: bool | str = False
    """Edges with the same vertices count once; the first in time is kept. A Polars SQL expression of their `weight`s, such as
    "LN(1 + SUM(weight))", says what weight they have together; as they are of all times, they have no `time` then."""

    @field_validator("weight", mode="before")
    @classmethod
    def _number_is_text(cls, weight: object) -> object:
        return str(weight) if isinstance(weight, int | float) and not isinstance(weight, bool) else weight

    @field_validator("distinct")
    @classmethod
    def _one_weight(cls, distinct: bool | str) -> bool | str:
        if isinstance(distinct, str):
            try:
                found = pl.DataFrame({"weight": [1.0, 2.0]}).select(pl.sql_expr(distinct).alias("weight"))["weight"]
            except PolarsError as error:
                raise ValueError(f"no SQL of the `weight`s of equal edges: {first_line(error)}") from None
            if len(found) != 1 or not found.dtype.is_numeric():
                raise ValueError("no one number for equal edges: expected true, or SQL such as LN(1 + SUM(weight))")
        return distinct

    @field_validator("vertices")
    @classmethod
    def _usable_names(cls, vertices: dict[str, tuple[Vertex, ...]]) -> dict[str, tuple[Vertex, ...]]:
        if wrong := [name for name in vertices if name in ("weight", "time", "rule", "") or "#" in name]:
            raise ValueError(f"'{wrong[0]}' cannot name a modality: weight, time, rule, and names with # are taken")
        return vertices

    @model_validator(mode="after")
    def _all_or_once(self) -> Edge:
        if self.distinct and (words := [modality for modality, vertex in self.vertex_list if vertex.ordered]):
            raise ValueError(f"distinct leaves each word of a text once, but '{words[0]}' is ordered: leave one of them out")
        if isinstance(self.distinct, str) and self.time is not None:
            raise ValueError("distinct weighs edges of all times together, and they have none: leave time or the SQL out")
        return self

    @property
    def vertex_list(self) -> list[tuple[str, Vertex]]:
        """(modality, vertex) in the order of the edge table's columns."""
        return [(modality, vertex) for modality, each in self.vertices.items() for vertex in each]


class Label(_Part):
    """Where the text stands that a person reads instead of an id."""

    table: str
    id: str
    """The column of ids."""

    text: str
    """A column or a Polars SQL expression."""


class LogSchema(_Part):
    """Which columns of which files form which typed hyperedges."""

    model_config = ConfigDict(title="hyperrec log schema")

    name: str
    description: str = ""
    tables: Annotated[dict[str, Table], Field(min_length=1)]
    edges: Annotated[dict[str, Edge], Field(min_length=1)]
    """Edge type -> what its edges are."""

    labels: dict[str, Label] = {}
    """Modality -> what a person reads instead of an id."""

    _origin: str = PrivateAttr(default="")

    @property
    def origin(self) -> str:
        """Where the schema came from, for messages: its path, or its name."""
        return self._origin or f"schema '{self.name}'"

    @property
    def modalities(self) -> list[str]:
        return list(dict.fromkeys(modality for edge in self.edges.values() for modality in edge.vertices))

    @model_validator(mode="after")
    def _names_meet(self) -> LogSchema:
        uses = [(f"edges.{name}", edge.table) for name, edge in self.edges.items()]
        uses += [(f"labels.{name}", label.table) for name, label in self.labels.items()]
        for path, table in uses:
            if table not in self.tables:
                raise ValueError(
                    f"{path}.table names '{table}'; the tables are: {listed(self.tables)}.{did_you_mean(table, self.tables)}"
                )
        for modality in self.labels:
            if modality not in self.modalities:
                raise ValueError(
                    f"labels.{modality} names no modality; the edges have: {listed(self.modalities)}."
                    f"{did_you_mean(modality, self.modalities)}"
                )
        return self

    @classmethod
    def load(cls, source: LogSchema | Mapping[str, Any] | str | Path) -> LogSchema:
        """A schema from the name of a shipped one, a path of a TOML file, or a mapping.

        Raises
        ------
        SchemaError : one line with the file, the key, what came and what was expected.
        """
        if isinstance(source, LogSchema):
            return source
        if isinstance(source, Mapping):
            return cls._checked(source, f"schema '{source.get('name', 'without a name')}'")
        if not isinstance(source, str | Path):
            raise SchemaError(
                f"a schema is a name, a path, a mapping or a LogSchema; got {type(source).__name__}. "
                f"Shipped: {listed(shipped())}."
            )
        path = Path(source)
        if path.suffix != ".toml" and not path.is_file():
            if str(source) not in shipped():
                raise SchemaError(
                    f"no schema '{source}': expected a path to a .toml file or one of {listed(shipped())}."
                    f"{did_you_mean(source, shipped())}"
                )
            path = schema_folder() / f"{source}.toml"
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise SchemaError(f"{path}: cannot read this schema: {error.strerror or error}.") from None
        except UnicodeDecodeError as error:
            raise SchemaError(f"{path}: a schema is UTF-8 text; byte {error.start} is not.") from None
        except tomllib.TOMLDecodeError as error:
            raise SchemaError(f"{path}: not valid TOML: {error}.") from None
        return cls._checked(raw, str(path))

    @classmethod
    def _checked(cls, raw: Mapping[str, Any], origin: str) -> LogSchema:
        try:
            schema = cls.model_validate(dict(raw))
        except ValidationError as error:
            raise SchemaError(f"{origin}: {_one_line(error, raw)}") from None
        schema._origin = origin
        return schema


_PART_AT: dict[tuple[str, int], type[BaseModel]] = {
    ("tables", 2): Table,
    ("edges", 2): Edge,
    ("edges", 5): Vertex,
    ("labels", 2): Label,
}


def _one_line(error: ValidationError, raw: Mapping[str, Any]) -> str:
    """The first thing that pydantic found, as a sentence; the others are counted."""
    # where all the vertices of a list are wrong, pydantic also says that there are too few
    errors = [one for one in error.errors(include_url=False) if one["type"] != "too_short" or not one["input"]]
    # an unknown key comes first: it is usually the reason why another one is missing
    first = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    location = first["loc"]
    path = _dotted(location, raw)
    more = f" ({len(errors) - 1} more like this.)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        part = _PART_AT.get((str(location[0]), len(location) - 1), LogSchema)
        known = list(part.model_fields)
        text = f"{path} is not a key; expected one of: {listed(known)}.{did_you_mean(location[-1], known)}"
    elif first["type"] == "missing":
        text = f"{path} is missing."
    elif first["type"] == "too_short":
        text = f"{path} is empty: name at least one."
    elif first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        got = "" if isinstance(first["input"], Mapping | list | tuple) else f"; got {first['input']!r}"
        text = f"{path}{got}: {reason}" if path else reason
    else:
        text = f"{path}: {first['msg']}; got {first['input']!r}."
    return text + ("" if text[-1] in ".?" else ".") + more


def _dotted(location: tuple[int | str, ...], raw: object) -> str:
    path, node = "", raw
    for part in location:
        if isinstance(part, int) and not isinstance(node, list | tuple):
            continue  # the list that `_vertices` put around a single vertex
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        try:
            node = node[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            node = None
    return path.lstrip(".")


def schema_folder() -> Path:
    """Where the shipped schemas are: inside the package of a wheel, beside it in a source tree."""
    package = Path(__file__).resolve().parent
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parent / "schemas"


def shipped() -> list[str]:
    """Names of the schemas that come with the package."""
    return sorted(path.stem for path in schema_folder().glob("*.toml"))


def json_schema() -> str:
    """The JSON Schema of a log schema, as it stands in schemas/log.schema.json."""
    return json.dumps(LogSchema.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_json_schema() -> Path:
    """Write schemas/log.schema.json anew, after a change of the models above."""
    path = schema_folder() / "log.schema.json"
    path.write_text(json_schema(), "utf-8")
    return path

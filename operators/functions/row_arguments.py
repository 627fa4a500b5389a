"""What a row function is given: columns by the names of its parameters, or the whole row.

A single parameter that is annotated as a dict, a TypedDict or a dataclass, or whose name is no column,
gets the row; so do ``*values`` alone, as their only one, for `print` takes its values so. Else each
parameter gets the column of its name; one that has a default and is no column keeps the default.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import pyarrow as pa

from streamlib.errors import BuildError, ColumnNotFoundError
from streamlib.operators.functions.annotations import (
    is_mapping,
    optional_keys,
    plain,
    row_types,
    without_none,
)
from streamlib.operators.functions.callee import Callee
from streamlib.operators.functions.values import python_values

_SCALARS = (bool, int, float, str, bytes)
_ANY_NUMBER = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

Rows = Iterator[tuple[Any, ...]]


@dataclass(frozen=True)
class RowArguments:
    """How the columns of a batch become the arguments of one call a row.

    Attributes:
        columns: those that are read, in order; None for all.
        by_keyword: how many of them, from the end, are handed over by name.
        whole: whether the function is given the row as one value.
        make: makes the row of a dict, where it is to be an instance of a dataclass.
        guessed: the parameter that is given the row only because its name is no column.
    """

    columns: tuple[str, ...] | None
    by_keyword: int = 0
    whole: bool = False
    make: Callable[[dict[str, Any]], Any] | None = None
    guessed: str | None = None

    def names(self, rows: pa.RecordBatch) -> list[str]:
        """The columns that are read of a batch."""
        return rows.schema.names if self.columns is None else list(self.columns)

    def of(self, rows: pa.RecordBatch) -> Rows:
        """The arguments of each row, in order."""
        names = self.names(rows)
        values = [python_values(rows.column(name)) for name in names]
        calls: Rows = zip(*values, strict=True)
        if not self.whole:
            return calls
        make = self.make
        if make is not None:
            return ((make(dict(zip(names, row, strict=True))),) for row in calls)
        return ((dict(zip(names, row, strict=True)),) for row in calls)

    def bound(self, function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
        """The function as one that takes all arguments by their place."""
        if not self.by_keyword:
            return function
        places = len(names) - self.by_keyword
        keywords = names[places:]

        def call(*values: Any) -> Any:
            return function(*values[:places], **dict(zip(keywords, values[places:], strict=True)))

        return call

    def row(self, rows: pa.RecordBatch, index: int) -> Mapping[str, Any]:
        """One row as the function was given it, for a message."""
        return {name: python_values(rows.column(name).slice(index, 1))[0] for name in self.names(rows)}


def row_arguments(callee: Callee, verb: str, schema: pa.Schema, local: Mapping[str, Any]) -> RowArguments:
    """How `callee` wants its rows.

    Args:
        callee: the function.
        verb: ``map`` or ``flat_map``, for messages.
        schema: of the rows.
        local: names that annotations may use; see `names_of_the_caller`.

    Raises:
        BuildError: its parameters are no columns, or cannot be filled.
    """
    parameters = callee.parameters
    single = _single(parameters)
    if single is not None:
        found = _whole_row(single, schema, callee, local)
        if found is not None:
            return found
    for parameter in parameters:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            passed_on = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
            raise BuildError(
                f"{verb} cannot tell which columns *{parameter.name} of {callee.described} stands for",
                expected="parameters with the names of columns, or one parameter for the whole row",
                hint="a decorator passes the parameters of its function on with functools.wraps"
                if passed_on
                else "**columns takes all columns by name",
            )
    return _by_name(callee, verb, schema)


def _single(parameters: tuple[Parameter, ...]) -> Parameter | None:
    """The one parameter that has to be filled, and by place; what takes any number of values only where there is none.

    A function that takes one value, any further ones and any by name, as loggers do, is given one.
    """
    needed = [p for p in parameters if p.default is Parameter.empty and p.kind not in _ANY_NUMBER]
    values = [p for p in parameters if p.kind is Parameter.VAR_POSITIONAL]
    others = [p for p in parameters if p.kind is Parameter.VAR_KEYWORD]
    if not needed and values and not others:
        return values[0]
    if len(needed) != 1 or needed[0].kind not in _BY_PLACE or (others and not values):
        return None
    return needed[0]


def _whole_row(
    parameter: Parameter, schema: pa.Schema, callee: Callee, local: Mapping[str, Any]
) -> RowArguments | None:
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return RowArguments(None, whole=True, guessed=f"*{parameter.name}")
    kind, _ = without_none(parameter.annotation)
    is_column = parameter.name in schema.names
    fields = row_types(kind, local)
    if is_column and pa.types.is_struct(schema.field(parameter.name).type):
        return None  # the column itself has values with fields
    if fields is not None or is_mapping(kind):
        return whole_row_arguments(callee, kind, schema, local)
    if is_column:
        return None
    if kind in _SCALARS:
        raise ColumnNotFoundError.of(parameter.name, schema.names)
    return RowArguments(None, whole=True, guessed=parameter.name)


def whole_row_arguments(
    callee: Callee, annotation: Any, schema: pa.Schema, local: Mapping[str, Any]
) -> RowArguments:
    """How `callee` wants a whole row that is annotated so: without a class of rows it is a dict.

    Raises:
        BuildError: the annotation is a class that rows cannot be made of.
    """
    kind, _ = without_none(annotation)
    fields = row_types(kind, local)
    if fields is None:
        return RowArguments(None, whole=True)
    is_dataclass = dataclasses.is_dataclass(kind)
    if not is_dataclass and not typing.is_typeddict(kind):
        raise BuildError(
            f"{callee.described} cannot be given rows as {kind.__name__}",
            expected="a dataclass, a TypedDict or a dict for the whole row",
        )
    make = reader_of(kind, local) if is_dataclass else None
    return RowArguments(_read_by(kind, fields, schema, local), whole=True, make=make)


def _read_by(
    kind: type, fields: Mapping[str, Any], schema: pa.Schema, local: Mapping[str, Any]
) -> tuple[str, ...]:
    """The columns that a class of rows is made of."""
    optional: set[str] = set()
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            absent = dataclasses.MISSING
            if not field.init or field.default is not absent or field.default_factory is not absent:
                optional.add(field.name)
        fields = {f.name: fields[f.name] for f in dataclasses.fields(kind) if f.init}
    else:
        optional = optional_keys(kind, local)
    for name in fields:
        if name not in schema.names and name not in optional:
            error = ColumnNotFoundError.of(name, schema.names)
            error.problem = f"there is no column {name!r}, which {kind.__name__} needs"
            raise error
    return tuple(name for name in fields if name in schema.names)


def _by_name(callee: Callee, verb: str, schema: pa.Schema) -> RowArguments:
    places: list[str] = []
    keywords: list[str] = []
    rest = skipped = False
    for parameter in callee.parameters:
        name, kind = parameter.name, parameter.kind
        if kind is Parameter.VAR_KEYWORD:
            rest = True
        elif name in schema.names and not (skipped and kind is Parameter.POSITIONAL_ONLY):
            (keywords if skipped or kind is Parameter.KEYWORD_ONLY else places).append(name)
        elif parameter.default is Parameter.empty:
            error = ColumnNotFoundError.of(name, schema.names)
            error.problem = f"parameter {name!r} of {callee.described} is no column"
            error.hint = error.hint or "to be given the whole row, have one parameter only"
            raise error
        else:
            skipped = True
    if rest:
        keywords += [name for name in schema.names if name not in places and name not in keywords]
    if not places and not keywords:
        raise BuildError(
            f"{verb} has nothing to hand to {callee.described}",
            expected="parameters with the names of columns, or one parameter for the whole row",
            got="no parameter that is a column",
        )
    return RowArguments((*places, *keywords), len(keywords))


def reader_of(owner: type, local: Mapping[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Makes an instance of a dataclass of a row; fields that are dataclasses or Enums become such too."""
    nested: dict[str, Callable[[Any], Any]] = {}
    for name, hint in (row_types(owner, local) or {}).items():
        reader = value_reader(hint, local)
        if reader is not None:
            nested[name] = reader
    if not nested:
        return lambda row: owner(**row)

    def make(row: dict[str, Any]) -> Any:
        return owner(**{k: nested[k](v) if k in nested else v for k, v in row.items()})

    return make


def value_reader(hint: Any, local: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """What makes a dataclass or an Enum of a plain value, where `hint` says so; else None."""
    hint, _ = without_none(plain(hint))
    make: Callable[[Any], Any] | None = None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        make = reader_of(hint, local)
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        make = hint
    elif typing.get_origin(hint) is list and typing.get_args(hint):
        item = value_reader(typing.get_args(hint)[0], local)
        make = None if item is None else lambda values: [item(v) for v in values]
    if make is None:
        return None
    return lambda value: None if value is None else make(value)

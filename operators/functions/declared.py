"""The schema of what a function returns: `schema=`, or the annotation of its return value."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import pyarrow as pa

from streamlib.elements.schemas import schema_of
from streamlib.errors import BuildError
from streamlib.operators.functions.annotations import of_many, row_types, shown, without_none
from streamlib.operators.functions.callee import Callee

_ROWS = "a dataclass, a TypedDict or a NamedTuple"


def declared_schema(schema: Any, local: Mapping[str, Any]) -> pa.Schema:
    """What `schema=` means: a pyarrow.Schema, a dict, or a class of rows."""
    types = row_types(schema, local)
    return schema_of(schema if types is None else types)


def row_schema(callee: Callee, verb: str, schema: Any, flat: bool, local: Mapping[str, Any]) -> pa.Schema:
    """The columns that a row function makes.

    Args:
        callee: the function.
        verb: ``map`` or ``flat_map``, for messages.
        schema: as the user gave it; None to go by the annotation.
        flat: whether the function returns any number of rows.
        local: names that annotations may use; see `names_of_the_caller`.

    Raises:
        BuildError: neither says which columns there are.
    """
    if schema is not None:
        return declared_schema(schema, local)
    returns = callee.returns
    if returns is Parameter.empty:
        raise BuildError(
            f"{verb} cannot tell which columns {callee.described} returns",
            expected='schema=, such as schema={"symbol": str, "price": float}',
            hint=f"or annotate what it returns: {_example(flat)}",
        )
    item, may_be_none = without_none(returns)
    if flat:
        item = of_many(item)
    elif may_be_none:
        raise BuildError(
            f"{callee.described} may return None, and map makes one row of each",
            expected=_ROWS,
            got=f"-> {shown(returns)}",
            hint="flat_map makes any number of rows: [] drops the row, [row] keeps it",
        )
    types = row_types(item, local)
    if types is None:
        raise BuildError(
            f"{verb} cannot tell which columns {callee.described} returns",
            expected=f"{_example(flat)}, where Trade is {_ROWS}",
            got=f"-> {shown(returns)}",
            hint='or name the columns: schema={"symbol": str, "price": float}',
        )
    return schema_of(types)


def _example(flat: bool) -> str:
    return "-> list[Trade] or Iterator[Trade]" if flat else "-> Trade"


def batch_schema(callee: Callee, schema: Any, local: Mapping[str, Any]) -> pa.Schema | None:
    """The columns that a batch function makes; None where neither `schema=` nor an annotation says."""
    if schema is not None:
        return declared_schema(schema, local)
    types = row_types(callee.returns, local)
    return None if types is None else schema_of(types)

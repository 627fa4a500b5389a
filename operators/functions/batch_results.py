"""What a batch function returned, as a record batch of the schema that was announced.

Names must be those of the schema. A type may be another representation of the same (Polars' texts are
large strings) or narrower; a value is never changed to make it fit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from streamlib.elements.dictionaries import without_null_words
from streamlib.errors import UserFunctionError
from streamlib.operators.functions.batch_forms import column_of
from streamlib.operators.functions.brief import brief


def rows_of(result: Any, described: str) -> pa.Table:
    """The result of a batch function as an Arrow table.

    Raises:
        UserFunctionError: it is nothing that holds columns.
    """
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, pa.RecordBatch):
        return pa.Table.from_batches([result])
    try:
        if isinstance(result, Mapping):
            return _columns(result)
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(result, pandas.DataFrame):
            return pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
        if hasattr(result, "__arrow_c_array__"):
            return pa.Table.from_batches([pa.record_batch(result)])
        if hasattr(result, "__arrow_c_stream__"):
            return pa.table(result)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UserFunctionError(
            f"{described} returned what cannot be made columns", got=f"{type(result).__name__}: {error}"
        ) from error
    raise UserFunctionError(
        f"{described} returned the wrong thing",
        expected="a pyarrow.RecordBatch or Table, a Polars or pandas DataFrame, or a dict of arrays",
        got="nothing: is a return missing?" if result is None else f"{type(result).__name__} {brief(result)}",
    )


def _columns(result: Mapping[Any, Any]) -> pa.Table:
    arrays = {}
    for name, values in result.items():
        try:
            arrays[str(name)] = column_of(values)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise ValueError(f"column {str(name)!r}: {error}") from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError("columns of different lengths: " + ", ".join(f"{n} {c}" for n, c in lengths.items()))
    return pa.table(arrays)


def found_schema(result: pa.Schema, given: pa.Schema) -> tuple[pa.Schema, list[str]]:
    """The schema of a function's rows, by what it made of an empty batch.

    A type that only stands for another one becomes that one again: that of the input's column of the
    same name, or the usual one.

    Returns:
        The schema, and the columns whose type an empty batch does not show.
    """
    fields, unknown = [], []
    for field in result:
        kind = usual(field.type)
        known = given.field(field.name).type if field.name in given.names else None
        if pa.types.is_null(kind) and known is None:
            unknown.append(field.name)
        if known is not None and (pa.types.is_null(kind) or _same(kind, usual(known))):
            kind = known
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields), unknown


def _same(kind: pa.DataType, known: pa.DataType) -> bool:
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(known):
        return kind.unit == known.unit and kind.tz in (None, known.tz)
    return kind == known


def usual(kind: pa.DataType) -> pa.DataType:
    """The usual type for the same values: texts, bytes and lists with 32-bit offsets, dictionaries decoded."""
    is_ = pa.types
    if is_.is_large_string(kind) or is_.is_string_view(kind):
        return pa.string()
    if is_.is_large_binary(kind) or is_.is_binary_view(kind):
        return pa.binary()
    if is_.is_dictionary(kind):
        return usual(kind.value_type)
    if is_.is_list(kind) or is_.is_large_list(kind):
        return pa.list_(usual(kind.value_type))
    if is_.is_struct(kind):
        return pa.struct([pa.field(f.name, usual(f.type)) for f in kind])
    return kind


def fitted(table: pa.Table, schema: pa.Schema, described: str) -> Sequence[pa.RecordBatch]:
    """The rows with exactly the columns of `schema`, in its order.

    Raises:
        UserFunctionError: other columns, other types, values that do not fit, or nulls where none may be.
    """
    if table.schema.names != schema.names:
        if sorted(table.schema.names) != sorted(schema.names):
            raise _other(table.schema, schema, described)
        table = table.select(schema.names)
    arrays = []
    for field, column in zip(schema, table.columns, strict=True):
        if column.type != field.type:
            if not can_stand_for(column.type, field.type):
                raise _other(table.schema, schema, described)
            column = _cast(column, field, described)
        if pa.types.is_dictionary(field.type):
            column = pa.chunked_array([without_null_words(chunk) for chunk in column.chunks], field.type)
        if column.null_count and not field.nullable:
            raise UserFunctionError(
                f"{described} returned nulls in column {field.name!r}, which takes none",
                expected=f"{field.type} without nulls",
                got=f"{column.null_count} of {len(column)} values",
            )
        arrays.append(column)
    return _batches(pa.Table.from_arrays(arrays, schema=schema))


def _batches(table: pa.Table) -> Sequence[pa.RecordBatch]:
    return table.combine_chunks().to_batches() or [
        pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)
    ]


def _cast(column: pa.ChunkedArray, field: pa.Field, described: str) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UserFunctionError(
            f"{described} returned a value that does not fit column {field.name!r}",
            expected=str(field.type),
            got=f"{column.type}: {error}",
        ) from error


def can_stand_for(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type are values of the other, each by itself checked for its range.

    >>> can_stand_for(pa.int32(), pa.float64()), can_stand_for(pa.float64(), pa.int64())
    (True, False)
    """
    is_ = pa.types
    kind, wanted = usual(kind), usual(wanted)
    if kind == wanted or is_.is_null(kind):
        return True
    if is_.is_integer(kind):
        return is_.is_integer(wanted) or is_.is_floating(wanted) or is_.is_decimal(wanted)
    for family in (
        is_.is_floating,
        is_.is_decimal,
        is_.is_timestamp,
        is_.is_duration,
        is_.is_time,
        is_.is_date,
    ):
        if family(kind):
            return family(wanted)
    if is_.is_list(kind) and (is_.is_list(wanted) or is_.is_fixed_size_list(wanted)):
        return can_stand_for(kind.value_type, wanted.value_type)
    if is_.is_struct(kind) and is_.is_struct(wanted):
        names = [f.name for f in kind]
        return names == [f.name for f in wanted] and all(
            can_stand_for(kind.field(n).type, wanted.field(n).type) for n in names
        )
    return False


def _other(found: pa.Schema, wanted: pa.Schema, described: str) -> UserFunctionError:
    return UserFunctionError(
        f"{described} returned other columns than announced", expected=_shown(wanted), got=_shown(found)
    )


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}" for f in schema)

"""The schema of a JSON Lines file without a declared one, from its first megabyte."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.csv_infer import INFER_BYTES, settled_type
from streamlib.connectors.formats.text import first_rows, shown
from streamlib.errors import DataError, SourceError

if TYPE_CHECKING:
    from streamlib.connectors.formats.jsonl import Jsonl

_TIME = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?$"
_ZONE = r"(Z|[+-]\d\d:?\d\d)$"


def infer_jsonl_schema(fmt: Jsonl, file: BinaryIO, name: str) -> pa.Schema:
    """The keys of the objects in the first megabyte, and their types. Text that is always a time is a time.

    Raises:
        SourceError: there are no keys, or one has values of several types.
        DataError: a line is no JSON object.
    """
    import orjson
    import pyarrow.json as pajson

    text = first_rows(fmt.open_reader(file, name, pa.schema([])), INFER_BYTES)
    lines = [] if text is None else bytes(text.data).split(b"\n")
    for number, line in enumerate(lines):
        try:
            value = orjson.loads(line) if line.strip() else {}
        except orjson.JSONDecodeError as error:
            raise _no_object(name, number, line, str(error).split(": line")[0]) from None
        if not isinstance(value, dict):
            raise _no_object(name, number, line, "another kind of JSON value")
    kept = b"\n".join(line for line in lines if line.strip())
    try:
        table = pajson.read_json(
            pa.BufferReader(kept), read_options=pajson.ReadOptions(use_threads=False, block_size=1 << 30)
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(
            "the file's types cannot be told",
            where=name,
            expected="objects whose keys have one type each",
            got=str(error).splitlines()[0],
            hint="declare schema=",
        ) from None
    if not table.num_columns:
        raise SourceError("the file has no columns", where=name, expected="JSON objects with keys")
    return pa.schema([pa.field(n, _type(table.column(n))) for n in table.column_names])


def _no_object(name: str, number: int, line: bytes, problem: str) -> DataError:
    return DataError(
        "the line is no JSON object",
        where=f"{name}, line {number + 1:,}",
        expected="an object such as {...}",
        got=f"{shown(line.strip())}",
        hint=problem,
    )


def _type(column: pa.ChunkedArray) -> pa.DataType:
    kind = settled_type(column)
    if not pa.types.is_string(kind) or column.null_count == len(column):
        return kind
    if not pc.all(pc.match_substring_regex(column, _TIME)).as_py():
        return kind
    zoned = pc.match_substring_regex(column, _ZONE)
    if pc.all(zoned).as_py():
        zone = "UTC"
    elif not pc.any(zoned).as_py():
        zone = None
    else:
        return kind
    try:
        return settled_type(column.cast(pa.timestamp("ns", tz=zone)))
    except pa.ArrowException:
        return kind

"""JSON Lines: one JSON object on each line.

A missing key is null. With a declared schema other keys are not read; with an inferred one they are
an error, so that nothing is dropped unseen. Blank lines are ignored. Written are times as ISO 8601 text
in full precision, NaN and infinities as null (JSON has none), decimals as text, binary as base64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.encoding import checked_encoding
from streamlib.connectors.formats.text import BLOCK_BYTES, Cut, TextBlock, TextReader
from streamlib.contracts import Block, Format, FormatWriter, Refused
from streamlib.errors import BuildError, SourceError


@dataclass(frozen=True)
class Jsonl(Format):
    """The JSON Lines format. Use `jsonl()` to make one."""

    encoding: str = "utf-8"
    block_bytes: int = BLOCK_BYTES

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson")

    def __post_init__(self) -> None:
        checked_encoding(self.encoding)

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        from streamlib.connectors.formats.jsonl_infer import infer_jsonl_schema

        return infer_jsonl_schema(self, file, name)

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> JsonlReader:
        return JsonlReader(self, file, name, schema, columns, position, exact)

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> FormatWriter:
        from streamlib.connectors.formats.jsonl_write import JsonlWriter

        if self.encoding != "utf-8":
            raise BuildError("JSON Lines are written in UTF-8 only", got=f"encoding={self.encoding!r}")
        return JsonlWriter(file, schema)


def jsonl(*, encoding: str = "utf-8") -> Jsonl:
    """JSON Lines with options.

    Args:
        encoding: such as ``latin-1`` or ``utf-16``; everything but UTF-8 is read slower and not written.

    Raises:
        BuildError: an encoding that does not exist.

    >>> jsonl().name
    'jsonl'
    """
    return Jsonl(encoding)


class JsonlCutter:
    """Cuts at line feeds: JSON text has none inside a value.

    A cut is `multiline` when not every line begins with ``{``: a blank line, an indented or strange one.
    """

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        nbytes = len(data) if ended else data.rfind(b"\n") + 1
        if not nbytes:
            return None
        lines, objects = count_objects(data, nbytes)
        if objects == lines + (data[nbytes - 1] != 10):
            return Cut(nbytes, objects, lines)
        rows = sum(1 for line in data[:nbytes].split(b"\n") if line.strip())
        return Cut(nbytes, rows, lines, multiline=True)


def count_objects(data: bytes, nbytes: int) -> tuple[int, int]:
    """Line feeds, and lines that begin with ``{``, in the first `nbytes` of `data`.

    >>> count_objects(b'{}\\n\\n{}', 6)
    (2, 2)
    """
    chars = np.frombuffer(data, np.uint8, nbytes)
    lines, objects, last = 0, 0, True
    for start in range(0, nbytes, _STRIDE):  # in strides that stay in the cache
        part = chars[start : start + _STRIDE]
        feeds = part == 10
        lines += int(np.count_nonzero(feeds))
        objects += int(np.count_nonzero(feeds[:-1] & (part[1:] == 123))) + int(last and part[0] == 123)
        last = bool(feeds[-1])
    return lines, objects


_STRIDE = 1 << 18


class JsonlReader(TextReader):
    """Reads one JSON Lines file. With `columns`, the keys of others are not looked at."""

    def __init__(
        self,
        fmt: Jsonl,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> None:
        super().__init__(file, name, JsonlCutter(), fmt.block_bytes, fmt.encoding)
        if self._empty:
            raise SourceError("the file is empty", where=name, expected="a JSON object a line", got="0 bytes")
        wanted = list(schema.names) if columns is None else [n for n in schema.names if n in set(columns)]
        self._parser = JsonlParser(
            pa.schema([schema.field(n).remove_metadata() for n in wanted]), exact and columns is None
        )
        if position is not None:
            self._go_to(position)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        text: TextBlock = block.data
        if not text.rows:
            return
        rows = self._try(text)
        if rows is not None:
            yield rows
            return
        from streamlib.connectors.formats.jsonl_diagnose import decode_carefully

        yield from decode_carefully(self._parser, text, self._name)

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        text: TextBlock = block.data
        if not text.rows:
            return
        rows = self._try(text)
        if rows is not None:
            yield rows
            return
        from streamlib.connectors.formats.jsonl_lenient import sift_jsonl

        yield from sift_jsonl(self._parser, text, self._name, refused)

    def _try(self, text: TextBlock) -> pa.RecordBatch | None:
        """The rows of a block that is plainly one good object on each line."""
        if text.cut.multiline:
            return None
        try:
            rows = self._parser.parse(text.data)
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        return rows if rows.num_rows == text.rows else None


class JsonlParser:
    """Parses blocks. Holds only options, so that several threads may use it."""

    def __init__(self, schema: pa.Schema, exact: bool) -> None:
        import pyarrow.json as pajson

        self.schema, self.exact = schema, exact
        self._only: dict[str, JsonlParser] = {}
        # A schema without columns would be one to infer.
        self._text_schema = pa.schema([f.with_type(text_type(f.type)) for f in schema])
        self._read = pajson.ReadOptions(use_threads=False, block_size=_WHOLE_BLOCK)
        self._parse = pajson.ParseOptions(
            explicit_schema=self._text_schema,
            unexpected_field_behavior="error" if exact else "ignore",
            newlines_in_values=False,
        )

    def only(self, column: str) -> JsonlParser:
        """The same parser for one column."""
        found = self._only.get(column)
        if found is None:
            found = self._only[column] = JsonlParser(pa.schema([self.schema.field(column)]), exact=False)
        return found

    def parse(self, data: pa.Buffer) -> pa.RecordBatch:
        """The rows of whole lines, each an object. Raises Arrow's own errors."""
        import pyarrow.json as pajson

        table = pajson.read_json(pa.BufferReader(data), read_options=self._read, parse_options=self._parse)
        columns = []
        for field in self.schema:
            column = table.column(field.name)
            array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            columns.append(from_text(array, field.type))
        rows = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        rows.validate(full=True)  # the parser does not look whether strings are UTF-8
        return rows


_WHOLE_BLOCK = 1 << 30
"""Larger than any block: one block is parsed to one chunk."""


def text_type(kind: pa.DataType) -> pa.DataType:
    """What the parser reads for a type that it does not know as JSON, before `from_text`."""
    types = pa.types
    if types.is_date(kind) or types.is_time(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return pa.string()
    if types.is_duration(kind):
        return pa.int64()
    if types.is_dictionary(kind):
        return text_type(kind.value_type)
    if types.is_list(kind):
        return pa.list_(kind.value_field.with_type(text_type(kind.value_type)))
    if types.is_struct(kind):
        return pa.struct([f.with_type(text_type(f.type)) for f in kind])
    return kind


def from_text(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values as the parser reads them, as `kind`: dates and times from ISO 8601, binary from base64.

    Raises:
        pyarrow.ArrowInvalid: a value that is no such text.
    """
    types = pa.types
    if column.type == kind:
        return column
    if types.is_binary(kind) or types.is_large_binary(kind):
        return _from_base64(column, kind)
    if types.is_time(kind):  # Arrow parses times of day only as a part of a timestamp
        whole = pc.binary_join_element_wise("1970-01-01", column.cast(pa.string()), " ")
        return whole.cast(pa.timestamp(kind.unit)).cast(kind)
    if types.is_dictionary(kind):
        return from_text(column, kind.value_type).dictionary_encode().cast(kind)
    if types.is_list(kind):
        values = from_text(column.values, kind.value_type)
        return pa.ListArray.from_arrays(column.offsets, values, kind, mask=column.is_null())
    if types.is_struct(kind):
        fields = [from_text(column.field(i), field.type) for i, field in enumerate(kind)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=column.is_null())
    return column.cast(kind)


def _from_base64(column: pa.Array, kind: pa.DataType) -> pa.Array:
    import base64

    try:
        return pa.array(
            [None if v is None else base64.b64decode(v, validate=True) for v in column.to_pylist()], kind
        )
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from None

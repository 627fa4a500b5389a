"""Blocks of CSV in the plain forms that programs write, by kernels: twice as fast as a parser of all forms.

Whatever these kernels take they read as that parser does. A block with anything else in it goes to the
parser as a whole, and after a few such blocks all do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from streamlib.connectors.formats.text import TextBlock

if TYPE_CHECKING:
    from streamlib.connectors.formats.csv_text import Csv

BYTES_MIN = 256 << 10
"""A shorter block is not worth the kernels, which may still have to be loaded."""
BYTES_MAX = 1 << 30
"""Of a longer one, which a huge row makes, places are no int32."""
_REFUSED_MAX = 3
_FRACTIONS = {"s": 0, "ms": 3, "us": 6, "ns": 9}

Column = Callable[["_Fields", int], "pa.Array | None"]


class PlainCsv:
    """Reads blocks of one file. Threads may share it: it counts what it refused, which changes no result.

    Args:
        fmt: the options.
        names: the file's columns.
        schema: those that are wanted.
    """

    def __init__(self, fmt: Csv, names: Sequence[str], schema: pa.Schema) -> None:
        self._schema = schema
        self._quote = -1 if fmt.quote is None else ord(fmt.quote)
        self._delimiter, self._columns = ord(fmt.delimiter), len(names)
        readers = [_reader_of(field.type) for field in schema]
        self._readers = [reader for reader in readers if reader is not None]
        self._places = [list(names).index(field.name) for field in schema]
        plain = fmt.escape is None and fmt.decimal == "." and tuple(fmt.null_values) == ("",)
        usable = plain and len(names) > 1 and 0 < len(schema) == len(self._readers)
        self._refused = 0 if usable else _REFUSED_MAX

    def parse(self, text: TextBlock) -> pa.RecordBatch | None:
        """The rows of a block; None where it has to go to the parser."""
        size = text.data.size
        if not BYTES_MIN <= size <= BYTES_MAX or self._refused >= _REFUSED_MAX or text.data[size - 1] != 10:
            return None
        found = self._parse(text)
        self._refused += found is None
        return found

    def _parse(self, text: TextBlock) -> pa.RecordBatch | None:
        fields = _Fields.of(text, self._quote, self._delimiter, self._columns)
        if fields is None:
            return None
        columns = []
        for read, place in zip(self._readers, self._places, strict=True):
            column = read(fields, place)
            if column is None:
                return None
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


class _Fields:
    """Where the fields of a block end, and what kernels are told of it."""

    def __init__(self, text: TextBlock, quote: int, columns: int, ends: np.ndarray[Any, Any]) -> None:
        self.text, self.quote, self.columns, self.ends = text, quote, columns, ends
        self.rows = text.rows

    @staticmethod
    def of(text: TextBlock, quote: int, delimiter: int, columns: int) -> _Fields | None:
        """None where the text is not plain."""
        from streamlib.kernels.csv_fields import split_fields

        data, size = text.data, text.data.size
        tail = size % 64
        rest = np.zeros(64, np.uint8)
        rest[:tail] = np.frombuffer(data.slice(size - tail, tail), np.uint8)
        ends = np.empty(text.rows * columns, np.int32)
        rows = split_fields(
            data.address, size, rest.ctypes.data, quote, delimiter, columns, text.rows, ends.ctypes.data
        )
        return _Fields(text, quote, columns, ends) if rows == text.rows else None

    def length_of(self, column: int) -> int:
        """How many bytes the fields of a column have together, with their quotes."""
        ends = self.ends.reshape(self.rows, self.columns)
        before = ends[:, column - 1] if column else ends[:-1, -1]
        first = 0 if column else 1  # the text's first field begins where nothing ends
        return int(ends[:, column].sum(dtype=np.int64) - before.sum(dtype=np.int64)) - self.rows + first

    def place(self, column: int) -> tuple[int, int, int, int, int, int]:
        """What each kernel is told first."""
        return (self.text.data.address, self.ends.ctypes.data, column, self.columns, self.rows, self.quote)


def _reader_of(kind: pa.DataType) -> Column | None:
    """What reads a column of a type; None where only the parser does."""
    if pa.types.is_int64(kind):
        return _ints
    if pa.types.is_float64(kind):
        return _floats
    if pa.types.is_string(kind):
        return _texts
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return lambda fields, column: _times(fields, column, kind)
    return None


def _ints(fields: _Fields, column: int) -> pa.Array | None:
    from streamlib.kernels.csv_fields import read_ints

    values, valid = np.empty(fields.rows, np.int64), np.empty(fields.rows, np.uint8)
    nulls = read_ints(*fields.place(column), values.ctypes.data, valid.ctypes.data)
    return _array(pa.int64(), fields.rows, nulls, valid, pa.py_buffer(values))


def _floats(fields: _Fields, column: int) -> pa.Array | None:
    from streamlib.kernels.csv_fields import POWERS, read_floats

    values, valid = np.empty(fields.rows, np.float64), np.empty(fields.rows, np.uint8)
    nulls = read_floats(*fields.place(column), values.ctypes.data, valid.ctypes.data, POWERS.ctypes.data)
    return _array(pa.float64(), fields.rows, nulls, valid, pa.py_buffer(values))


def _times(fields: _Fields, column: int, kind: pa.DataType) -> pa.Array | None:
    from streamlib.kernels.csv_fields import read_times

    values, valid = np.empty(fields.rows, np.int64), np.empty(fields.rows, np.uint8)
    nulls = read_times(*fields.place(column), values.ctypes.data, valid.ctypes.data, _FRACTIONS[kind.unit])
    return _array(kind, fields.rows, nulls, valid, pa.py_buffer(values))


def _texts(fields: _Fields, column: int) -> pa.Array | None:
    from streamlib.kernels.csv_fields import read_texts

    offsets, valid = np.empty(fields.rows + 1, np.int32), np.empty(fields.rows, np.uint8)
    data = np.empty(fields.length_of(column), np.uint8)
    nulls = read_texts(*fields.place(column), offsets.ctypes.data, data.ctypes.data, valid.ctypes.data)
    made = _array(pa.string(), fields.rows, nulls, valid, pa.py_buffer(offsets), pa.py_buffer(data))
    if made is not None and len(data) and int(data.max()) > 127:
        try:
            made.validate(full=True)
        except pa.ArrowInvalid:
            return None
    return made


def _array(
    kind: pa.DataType, rows: int, nulls: int, valid: np.ndarray[Any, Any], *buffers: pa.Buffer
) -> pa.Array | None:
    if nulls < 0:
        return None
    bits = pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None
    return pa.Array.from_buffers(kind, rows, [bits, *buffers], null_count=nulls)

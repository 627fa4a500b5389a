"""Rows to frames: bytes that begin and end with whole records, so that a peer may join between any two."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pyarrow as pa

from streamlib.connectors.formats.arrow_ipc import ArrowIpc
from streamlib.connectors.plain import plain_column, plain_type
from streamlib.connectors.sockets.arrow_stream import END_OF_STREAM
from streamlib.contracts import Format
from streamlib.errors import SinkError

FRAME_ROWS_MAX = 4_096
"""Rows of one text frame: what is queued, sent again or dropped as a whole."""
ARROW_BYTES_MAX = 256 << 10
"""About the size of one record batch: well below the limit that a reader has by default."""


class Encoder(ABC):
    """How rows of one schema are sent.

    Attributes:
        head: what every connection begins with.
        tail: what it ends with when all rows have been sent.
    """

    head: bytes = b""
    tail: bytes = b""

    @abstractmethod
    def frames(self, rows: pa.RecordBatch) -> Iterator[tuple[bytes, int]]:
        """The rows as frames, in their order, with how many each holds. Holds nothing back; on any thread."""


def encoder_of(fmt: Format, schema: pa.Schema, where: str) -> Encoder:
    """What encodes rows of `schema`.

    Raises:
        SinkError: the format has no such columns.
    """
    try:
        return ArrowEncoder(schema) if isinstance(fmt, ArrowIpc) else TextEncoder(fmt, schema)
    except (pa.ArrowException, NotImplementedError) as error:
        raise SinkError(
            f"these columns cannot be written as {fmt.name}", where=where, got=str(error).splitlines()[0]
        ) from error


class TextEncoder(Encoder):
    """Any text format: what its writer writes without rows is the head."""

    def __init__(self, fmt: Format, schema: pa.Schema) -> None:
        self._format, self._schema = fmt, schema
        self.head = self._written(None)

    def frames(self, rows: pa.RecordBatch) -> Iterator[tuple[bytes, int]]:
        for start in range(0, rows.num_rows, FRAME_ROWS_MAX):
            part = rows.slice(start, FRAME_ROWS_MAX)
            yield self._written(part)[len(self.head) :], part.num_rows

    def _written(self, rows: pa.RecordBatch | None) -> bytes:
        out = io.BytesIO()
        writer = self._format.open_writer(out, self._schema)
        if rows is not None:
            writer.write(rows)
        writer.close()
        return out.getvalue()


class ArrowEncoder(Encoder):
    """An Arrow IPC stream without compression and dictionaries, as `read_socket` takes it."""

    tail = END_OF_STREAM

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = pa.schema([f.with_type(plain_type(f.type)).remove_metadata() for f in schema])
        self.head = self._schema.serialize().to_pybytes()

    def frames(self, rows: pa.RecordBatch) -> Iterator[tuple[bytes, int]]:
        plain = pa.RecordBatch.from_arrays([plain_column(c) for c in rows.columns], schema=self._schema)
        count = max(1, plain.num_rows * ARROW_BYTES_MAX // max(plain.nbytes, 1))
        for start in range(0, plain.num_rows, count):
            part = plain.slice(start, count)
            yield part.serialize().to_pybytes(), part.num_rows

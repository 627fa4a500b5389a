"""Arrow IPC streams on a connection: cut at the messages, each checked before it is used.

A peer is not trusted: lengths are checked against the limit before anything is kept, and every batch
is validated in full. Compressed batches are refused, since a few bytes may stand for gigabytes, and so
are dictionaries, which would have to be kept for as long as the connection lasts.

Layout of a message (Arrow columnar format, "Encapsulated message format"): ``FFFFFFFF``, the metadata's
length as int32, the metadata (a flatbuffer `Message`), the body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import pyarrow as pa

from streamlib.connectors.formats.binary import BATCH_ROWS_MAX, check_fits, shaped, wanted_schema
from streamlib.connectors.formats.text import damaged
from streamlib.connectors.sockets.framing import Framing
from streamlib.contracts import Block
from streamlib.errors import DataError, SourceError

CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\0\0\0\0"
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3  # fields of the flatbuffer Message
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3  # its header types
_COMPRESSION = 3  # field of the flatbuffer RecordBatch


class ArrowFraming(Framing):
    """One connection that carries Arrow IPC streams, usually one. A block is a record batch."""

    def __init__(
        self, name: str, schema: pa.Schema, columns: Sequence[str] | None, frame_bytes_max: int
    ) -> None:
        super().__init__(name, frame_bytes_max)
        self._schema, self._wanted = schema, wanted_schema(schema, columns)
        self._found: pa.Schema | None = None
        self._row = self._number = 0
        self._last: list[Block] = []

    def feed(self, data: bytes, ended: bool) -> list[Block]:
        if self.is_over():
            return []
        self._carry += data
        blocks: list[Block] = []
        at = 0
        while not self.is_over():
            size = self._message_bytes(at)
            if size is None or at + size > len(self._carry):
                break
            message, at = self._carry[at : at + size], at + size
            if message == END_OF_STREAM:
                self._found = None
                continue
            try:
                block = self._take(message)
            except SourceError as error:
                return blocks + self._refuse(message, error)
            if block is not None:
                blocks.append(block)
        if self.is_over():
            return blocks + self._last
        self._carry = self._carry[at:]
        if ended and self._carry:
            blocks += self._in_part(None, "was the peer stopped while it was writing?")
        return blocks

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        message, schema, number = block.data
        where = f"{self.name}, record batch {number:,}"
        try:
            rows = pa.ipc.read_record_batch(pa.ipc.read_message(pa.py_buffer(message)), schema)
            rows.validate(full=True)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                "the record batch is damaged",
                where=where,
                expected="a valid record batch",
                got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            ) from None
        rows = shaped(rows, self._wanted, where)
        for start in range(0, rows.num_rows, BATCH_ROWS_MAX):
            yield rows.slice(start, BATCH_ROWS_MAX)

    def _message_bytes(self, at: int) -> int | None:
        """The size of the message that begins at `at`; None when more must come to know it."""
        head = self._carry[at : at + 8]
        if len(head) < 8:
            return None
        if head == END_OF_STREAM:
            return 8
        (length,) = struct.unpack_from("<i", head, 4)
        if head[:4] != CONTINUATION or length <= 0:
            self._refuse_bytes(at, "the bytes are no Arrow IPC stream")
            return None
        if length > self.frame_bytes_max:
            self._over_limit(length, head, None, "a message")
            return None
        metadata = self._carry[at + 8 : at + 8 + length]
        if len(metadata) < length:
            return None
        try:
            body = _field(metadata, _root(metadata), _BODY_LENGTH, "<q")
        except (struct.error, ValueError):
            self._refuse_bytes(at, "a message of the Arrow IPC stream is damaged")
            return None
        size = 8 + length + body
        if body < 0 or size > self.frame_bytes_max:
            self._over_limit(size, head, None, "a record batch")
            return None
        return size

    def _refuse_bytes(self, at: int, problem: str) -> None:
        rest = self._carry[at:]
        error = SourceError(
            problem,
            expected="what pyarrow.ipc.new_stream writes",
            got=repr(rest[:24]),
            hint="does the peer write another format?",
        )
        self._last = self._refuse(rest, error)

    def _take(self, message: bytes) -> Block | None:
        metadata = message[8 : 8 + struct.unpack_from("<i", message, 4)[0]]
        try:
            root = _root(metadata)
            kind = _field(metadata, root, _HEADER_TYPE, "<B")
            header = _table(metadata, root, _HEADER)
            compressed = kind == _RECORDS and _offset(metadata, header, _COMPRESSION) != 0
        except (struct.error, ValueError):
            raise SourceError("a message of the Arrow IPC stream is damaged") from None
        if kind == _DICTIONARY:
            raise _not_plain("a dictionary")
        if kind == _SCHEMA:
            self._begin(message)
            return None
        if kind != _RECORDS:
            raise SourceError("the message is neither a schema nor a record batch", got=f"type {kind}")
        if compressed:
            raise SourceError(
                "a record batch is compressed",
                expected="batches without compression: a few bytes may stand for gigabytes",
                hint="leave the compression to the connection, or to tls=",
            )
        if self._found is None:
            raise SourceError("a record batch came before its schema")
        rows = self._rows(metadata, header)
        first, number = self._row, self._number
        self._row, self._number = first + rows, number + 1
        if rows == 0:
            return None
        position = {"batch": number + 1, "row": self._row}
        return Block((message, self._found, number), position, first, nbytes=len(message))

    def _rows(self, metadata: bytes, header: int) -> int:
        try:
            rows = _field(metadata, header, 0, "<q")
        except (struct.error, ValueError):
            rows = -1
        if not 0 <= rows <= 64 * self.frame_bytes_max:
            raise SourceError("a record batch has an impossible number of rows", got=f"{rows:,}")
        return rows

    def _begin(self, message: bytes) -> None:
        try:
            found = pa.ipc.read_schema(pa.py_buffer(message))
            _ = found.names  # may be no text
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise damaged(self.name, error) from error
        for field in found:
            if pa.types.is_dictionary(field.type):
                raise _not_plain(f"the dictionary column {field.name!r}")
        check_fits(found, self._schema, self.name, exact=False)
        self._found = found


def _not_plain(what: str) -> SourceError:
    return SourceError(
        f"{what} cannot be read from a socket",
        expected="plain columns",
        hint="decode it before writing: column.dictionary_decode()",
    )


# Flatbuffers, as far as two fields need them (https://flatbuffers.dev/internals, "Tables").


def _root(data: bytes) -> int:
    return _checked(data, struct.unpack_from("<I", data, 0)[0])


def _offset(data: bytes, table: int, field: int) -> int:
    """Where a field's value is, relative to its table; 0 when it has its default."""
    vtable = _checked(data, table - struct.unpack_from("<i", data, table)[0])
    slot = 4 + 2 * field
    if slot + 2 > struct.unpack_from("<H", data, vtable)[0]:
        return 0
    return int(struct.unpack_from("<H", data, vtable + slot)[0])


def _field(data: bytes, table: int, field: int, form: str) -> int:
    offset = _offset(data, table, field)
    return 0 if offset == 0 else int(struct.unpack_from(form, data, _checked(data, table + offset))[0])


def _table(data: bytes, table: int, field: int) -> int:
    offset = _offset(data, table, field)
    if offset == 0:
        raise ValueError("the table is missing")
    at = _checked(data, table + offset)
    return _checked(data, at + struct.unpack_from("<I", data, at)[0])


def _checked(data: bytes, at: int) -> int:
    if not 0 <= at < len(data):
        raise ValueError("an offset leads out of the message")
    return at

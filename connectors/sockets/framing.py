"""Bytes of one connection to blocks of whole records.

Cutting is done where a split is read, decoding where a block is worked on. What is left when the peer
has closed is a record in part, and becomes a block of its own whose decoding fails: what happens then
is for the policy of the source to say. A connection whose bytes make no sense any more is given up.
"""

from __future__ import annotations

import codecs
import dataclasses
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamlib.connectors.formats.arrow_ipc import ArrowIpc
from streamlib.connectors.formats.raw import RawBytes
from streamlib.connectors.formats.text import Cut, Cutter, TextBlock, TextReader, count_lines, shown
from streamlib.contracts import Block, Format, Refused
from streamlib.errors import DataError, SourceError, StreamlibError

SHOWN_BYTES = 200
"""How much of a record that cannot be read is kept for its message."""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """What a peer sent that is no record: the data of a block, whose decoding fails.

    Attributes:
        data: the bytes.
        error: what is wrong with them.
        number: the line they begin on, from 1, where that is known.
    """

    data: bytes
    error: DataError
    number: int | None = None

    def block(self) -> Block:
        """A block with no rows."""
        return Block(self, nbytes=len(self.data))


class Framing(ABC):
    """Cuts what one connection sends.

    Attributes:
        given_up: why nothing more can be read from this peer; None as long as all is well.
        too_long: the record that was over the limit, with `given_up`; None if that was not why.
    """

    def __init__(self, name: str, frame_bytes_max: int) -> None:
        self.name, self.frame_bytes_max = name, frame_bytes_max
        self.given_up: DataError | None = None
        self.too_long: Undecodable | None = None
        self._carry = b""

    def is_over(self) -> bool:
        """Whether the connection has been given up."""
        return self.given_up is not None

    @abstractmethod
    def feed(self, data: bytes, ended: bool) -> list[Block]:
        """Blocks of the whole records that `data` completes; when `ended`, nothing follows.

        None after the connection has been given up.
        """

    @abstractmethod
    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        """The rows of a block. Pure."""

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        """As `decode`, without records that cannot become rows."""
        return self.decode(block)

    def _over_limit(self, nbytes: int, start: bytes, number: int | None, what: str) -> None:
        size = f"{nbytes:,} bytes" if nbytes > len(start) else f"more than {self.frame_bytes_max:,} bytes"
        self.given_up = DataError(
            f"{what} is longer than max_frame",
            where=self.name if number is None else f"{self.name}, line {number:,}",
            expected=f"at most {self.frame_bytes_max:,} bytes",
            got=f"{size}: {shown(start[:SHOWN_BYTES])}",
            hint="raise max_frame= if records of this size are right",
        )
        self.too_long = Undecodable(start, self.given_up, number)
        self._carry = b""

    def _in_part(self, number: int | None, hint: str) -> list[Block]:
        """The block for what is left at the end."""
        rest, self._carry = self._carry, b""
        error = DataError(
            "the peer closed in the middle of a record",
            where=self.name if number is None else f"{self.name}, line {number:,}",
            expected="a whole record",
            got=f"{len(rest):,} bytes: {shown(rest[:SHOWN_BYTES])}",
            hint=hint,
        )
        return [Undecodable(rest, error, number).block()]

    def _refuse(self, data: bytes, error: StreamlibError) -> list[Block]:
        """Gives the connection up; `data` is what cannot be read."""
        self._carry = b""
        self.given_up = DataError(
            error.problem.replace("the file", "the connection"),
            where=error.where or self.name,
            expected=error.expected,
            got=error.got,
            hint=error.hint,
        )
        return [Undecodable(data, self.given_up).block()]


def framing_of(
    fmt: Format, name: str, schema: pa.Schema, columns: Sequence[str] | None, frame_bytes_max: int
) -> Framing:
    """What cuts and decodes one new connection."""
    if isinstance(fmt, ArrowIpc):
        from streamlib.connectors.sockets.arrow_stream import ArrowFraming

        return ArrowFraming(name, schema, columns, frame_bytes_max)
    return TextFraming(fmt, name, schema, columns, frame_bytes_max)


class TextFraming(Framing):
    """Any format of records that end with a line: the format's reader is opened on the first of them.

    A header belongs to each connection.
    """

    def __init__(
        self,
        fmt: Format,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None,
        frame_bytes_max: int,
    ) -> None:
        super().__init__(name, frame_bytes_max)
        encoding = getattr(fmt, "encoding", "utf-8")
        self._decoder = None
        if not _is_utf8(encoding):  # text comes in pieces, which may end within a character
            self._decoder = codecs.getincrementaldecoder(encoding)()
            fmt = dataclasses.replace(fmt, encoding="utf-8")  # type: ignore[type-var]
        self._format, self._schema, self._columns = fmt, schema, columns
        self._reader: TextReader | None = None
        self._by_line = not isinstance(fmt, RawBytes)
        self._line, self._row = 1, 0

    def feed(self, data: bytes, ended: bool) -> list[Block]:
        if self.is_over():
            return []
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data, ended).encode()
            except UnicodeDecodeError as error:
                return self._refuse(data, SourceError("the text is not in its encoding", got=str(error)))
        self._carry += data
        blocks: list[Block] = []
        limit = self.frame_bytes_max
        if b"\n" in data or not self._by_line:
            long = self._long_line() if len(self._carry) > limit and self._by_line else None
            if long is None:
                blocks = self._cut(self._carry)
            else:
                blocks, start = self._cut(self._carry[:long]), self._carry[long:][: limit + 1]
                if not self.is_over():
                    self._over_limit(len(start), start, self._line, "a record")
                return blocks
        if not self.is_over() and len(self._carry) > limit:
            self._over_limit(len(self._carry), self._carry[: limit + 1], self._line, "a record")
        if not self.is_over() and ended and (self._carry.strip() if self._by_line else self._carry):
            what = "a line feed" if self._by_line else "its delimiter, or has its whole size"
            blocks += self._in_part(self._line, f"each record ends with {what}, the last one too")
        return blocks

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        assert self._reader is not None
        return self._reader.decode(block)

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        assert self._reader is not None
        return self._reader.decode_leniently(block, refused)

    def _long_line(self) -> int | None:
        """Where the first line over the limit begins; None if no whole one is."""
        feeds = np.flatnonzero(np.frombuffer(self._carry, np.uint8) == 10)
        lengths = np.diff(feeds, prepend=-1)
        long = np.flatnonzero(lengths > self.frame_bytes_max)
        return int(feeds[long[0]] - lengths[long[0]] + 1) if len(long) else None

    def _cut(self, text: bytes) -> list[Block]:
        if not text:
            return []
        if self._reader is None:
            return self._begin(text)
        cut = self._reader.cutter.cut(text, False)
        if cut is None:
            return []
        self._carry = self._carry[cut.nbytes :]
        block = text_block(text, cut, self._line, self._row)
        self._line, self._row = self._line + cut.lines, self._row + cut.rows
        return [block]

    def _begin(self, text: bytes) -> list[Block]:
        """Opens the format's reader on the first whole records; a header is among them."""
        nbytes = self._whole_records(text)
        if not nbytes or text.count(b"\n", 0, nbytes) <= getattr(self._format, "skip_rows", 0):
            return []
        head, self._carry = text[:nbytes], self._carry[nbytes:]
        try:
            self._reader = self._opened(head)
        except SourceError as error:
            return self._refuse(head, error)
        blocks = []
        while isinstance(block := self._reader.read(), Block):
            blocks.append(block)
        if blocks:
            self._line, self._row = blocks[-1].position["line"], blocks[-1].position["row"]
        else:
            self._line += count_lines(head, nbytes)[0]
        return blocks

    def _whole_records(self, text: bytes) -> int:
        """How many bytes the whole records at the front of the connection take."""
        make = getattr(
            self._format, "cutter", None
        )  # CSV's reader cannot be opened before its header is there
        cutter: Cutter = self._opened(text).cutter if make is None else make()
        cut = cutter.cut(text, False)
        return 0 if cut is None else cut.nbytes

    def _opened(self, text: bytes) -> TextReader:
        reader = self._format.open_reader(io.BytesIO(text), self.name, self._schema, self._columns)
        if not isinstance(reader, TextReader):
            raise SourceError(f"the format {self._format.name} cannot be read from a socket")
        return reader


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def text_block(text: bytes, cut: Cut, line: int, row: int) -> Block:
    """The block at the front of `text`, which begins on line `line` with row `row` of its connection."""
    one_row_per_line = not cut.multiline and cut.rows == cut.lines
    position = {"line": line + cut.lines, "row": row + cut.rows}
    return Block(TextBlock.of(text, line, cut), position, row, line if one_row_per_line else None, cut.nbytes)

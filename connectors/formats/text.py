"""What the text formats share: cutting a file into blocks of whole records that know their lines and rows.

Cutting happens under the split's lock, so it only fetches bytes and looks for the last record end;
decoding is left to whoever takes the block. Positions count bytes of the uncompressed text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.connectors.formats.encoding import transcoded
from streamlib.contracts import PENDING, Block, FormatReader, Pending
from streamlib.errors import DataError, SourceError

BLOCK_BYTES = 4 << 20
"""How much text one block holds: large enough that starting a parser does not count."""
FIRST_BLOCK_BYTES = 64 << 10
"""The first block of a file is small: the first result comes soon, and a peek holds little."""
RECORD_BYTES_MAX = 64 << 20
"""A record longer than this is an error: most likely a quote that is never closed."""
BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True)
class Cut:
    """The whole records at the front of some text.

    Attributes:
        nbytes: how much of the text they take.
        rows: how many there are.
        lines: how many line ends they hold.
        multiline: whether a record holds line ends itself.
        unclosed: whether the text ends within a quote.
    """

    nbytes: int
    rows: int
    lines: int
    multiline: bool = False
    unclosed: bool = False


class Cutter(Protocol):
    """Finds record boundaries: how formats with lines differ."""

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        """The longest run of whole records at the front of `data`; None when it holds not even one.

        When `ended`, nothing follows, and all of `data` is taken.
        """


@dataclass(frozen=True, slots=True)
class TextBlock:
    """The bytes of a block, what its cut says of them, and the line of the file they begin on, from 1."""

    data: pa.Buffer
    line: int
    cut: Cut

    @property
    def rows(self) -> int:
        """How many records there are."""
        return self.cut.rows

    @classmethod
    def of(cls, data: bytes, line: int, cut: Cut) -> TextBlock:
        """The block at the front of `data`, not copied."""
        return cls(pa.py_buffer(data).slice(0, cut.nbytes), line, cut)


class TextReader(FormatReader):
    """Cuts a text file into blocks of whole records.

    The position is ``{"offset": bytes, "line": from 1, "row": from 0}`` in the uncompressed text, in UTF-8.

    Attributes:
        growing: whether more may be written to the file. Then `read` answers PENDING at its end, and a
            last record without its line end stays unread.
    """

    growing: bool = False
    endless_hint: str | None = None
    """The likely cause of a record that does not end."""

    def __init__(
        self, file: BinaryIO, name: str, cutter: Cutter, block_bytes: int, encoding: str | None = "utf-8"
    ) -> None:
        assert block_bytes > 0
        file = file if encoding is None else transcoded(file, encoding)
        self._file, self._name, self._cutter = file, name, cutter
        self._block_bytes = block_bytes
        self._want = min(FIRST_BLOCK_BYTES, block_bytes)
        self._seekable = file.seekable()
        self._offset, self._line, self._row = 0, 1, 0
        self._carry = b""  # read from a file that cannot seek, but not used yet
        self._ahead: Block | None = None
        self._empty = False
        self._skip_bom(encoding)

    @property
    def cutter(self) -> Cutter:
        """What finds this file's records."""
        return self._cutter

    @property
    def offset(self) -> int:
        """How far blocks have been handed out, in bytes of the text."""
        return self._offset if self._ahead is None else self._offset - self._ahead.nbytes

    def read(self) -> Block | Pending | None:
        block = self._ahead
        if block is None:
            block = self._next_block()
        self._ahead = None
        return PENDING if block is None and self.growing else block

    def peek(self) -> pa.RecordBatch | None:
        if self._ahead is None:
            self._ahead = self._next_block()
        if self._ahead is None:
            return None
        text: TextBlock = self._ahead.data
        first = self._first_record(text)
        try:
            rows = next(iter(self.decode(Block(first))), None)
        except DataError:
            return None  # whoever decodes the block will say so
        return rows if rows is not None and rows.num_rows else None

    def close(self) -> None:
        self._file.close()

    def _first_record(self, text: TextBlock) -> TextBlock:
        data = memoryview(text.data)
        size = 1 << 10
        while size < len(data):
            cut = self._cutter.cut(bytes(data[:size]), False)
            if cut is not None and cut.rows:
                return TextBlock(text.data.slice(0, cut.nbytes), text.line, cut)
            size *= 4
        return text

    def _next_block(self) -> Block | None:
        offset, line, row = self._offset, self._line, self._row
        found = self._take_records(self._want)
        self._want = self._block_bytes
        if found is None:
            return None
        data, cut = found
        text = TextBlock.of(data, line, cut)
        position = {"offset": offset + cut.nbytes, "line": line + cut.lines, "row": row + cut.rows}
        one_row_per_line = not cut.multiline and cut.rows == cut.lines + (data[cut.nbytes - 1] not in b"\r\n")
        return Block(text, position, row, line if one_row_per_line else None, cut.nbytes)

    def _take_records(self, want: int) -> tuple[bytes, Cut] | None:
        """At least one whole record, usually about `want` bytes of them, and moves behind them."""
        while True:
            data = self._bytes_ahead(want)
            if not data:
                return None
            at_end = len(data) < want
            cut = self._cutter.cut(data, ended=at_end and not self.growing)
            if cut is not None:
                self._advance(cut)
                return data, cut
            if at_end and self.growing:
                return None
            if want >= RECORD_BYTES_MAX:
                raise DataError(
                    "a record does not end",
                    where=f"{self._name}, line {self._line:,}",
                    expected=f"a record of at most {RECORD_BYTES_MAX >> 20} MB",
                    got=repr(data[:60].decode("utf-8", "replace")) + "...",
                    hint=self.endless_hint,
                )
            want = min(2 * want, RECORD_BYTES_MAX)

    def _advance(self, cut: Cut) -> None:
        self._offset += cut.nbytes
        self._line += cut.lines
        self._row += cut.rows
        if not self._seekable:
            self._carry = self._carry[cut.nbytes :]

    def _bytes_ahead(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the file. They stay unread."""
        if self._seekable:
            self._file.seek(self._offset)
            return self._fetch(size)
        if len(self._carry) < size:
            self._carry += self._fetch(size - len(self._carry))
        return self._carry if len(self._carry) <= size else self._carry[:size]

    def _fetch(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
            while data and len(data) < size:  # a raw file may give less than asked for
                more = self._file.read(size - len(data))
                if not more:
                    break
                data += more
        except (OSError, EOFError, pa.ArrowException) as error:
            raise damaged(self._name, error) from error
        return data

    def _skip_lines(self, count: int) -> None:
        """Passes over lines, whatever is in them."""
        for _ in range(count):
            size = 1 << 12
            data = self._bytes_ahead(size)
            while b"\n" not in data and len(data) == size < RECORD_BYTES_MAX:
                size *= 4
                data = self._bytes_ahead(size)
            end = data.find(b"\n") + 1 or len(data)
            if not end:
                raise SourceError("the file ends within the lines that are skipped", where=self._name)
            self._advance(Cut(end, 0, 1))

    def _skip_bom(self, encoding: str | None) -> None:
        head = self._bytes_ahead(4)
        self._empty = not head
        if encoding is None:
            return
        for bom, found in _OTHER_BOMS:
            if head.startswith(bom):
                raise SourceError(
                    "the file is not UTF-8",
                    where=self._name,
                    expected="UTF-8 text",
                    got=found.upper(),
                    hint=f"say encoding={found!r} in the format's options",
                )
        if head.startswith(BOM):
            self._offset = len(BOM)
            self._carry = self._carry[len(BOM) :]

    def _go_to(self, position: Any) -> None:
        """Moves forward to a position that an earlier reader gave."""
        offset = int(position["offset"])
        if not self._seekable:
            missing = offset - self._offset
            while missing > len(self._carry):
                missing -= len(self._carry)
                self._carry = self._fetch(min(missing, BLOCK_BYTES))
                if not self._carry:
                    break
            self._carry = self._carry[missing:]
        self._offset, self._line, self._row = offset, int(position["line"]), int(position["row"])


def damaged(name: str, error: BaseException) -> SourceError:
    """The error for a file that ends too soon or is not what it says."""
    return SourceError(
        "the file is damaged or cut short",
        where=name,
        got=str(error).splitlines()[0] if str(error) else type(error).__name__,
        hint="was it still being written, or is its ending (.gz, .zst) wrong?",
    )


def count_lines(data: bytes, nbytes: int) -> tuple[int, int, int]:
    """Line ends, lines with something on them, and blank lines in the first `nbytes` of `data`.

    A line ends with a line feed, a carriage return, or both.

    >>> count_lines(b"a\\n\\nb", 4)
    (2, 2, 1)
    """
    chars = np.frombuffer(data, np.uint8, nbytes)
    returns = data.find(b"\r", 0, nbytes) >= 0
    ends = blank = 0
    last = 10  # as if a line end stood before the text
    for start in range(0, nbytes, _STRIDE):  # in strides that stay in the cache, and so do their results
        part = chars[start : start + _STRIDE]
        some, none = _count_mixed(part, last) if returns else _count_feeds(part, last)
        ends, blank, last = ends + some, blank + none, int(part[-1])
    return ends, ends - blank + int(last not in _LINE_ENDS), blank


_STRIDE = 1 << 18
_LINE_ENDS = (10, 13)


def _count_feeds(part: npt.NDArray[np.uint8], last: int) -> tuple[int, int]:
    """Line feeds, and those right after another; `last` is the character before."""
    feeds = part == 10
    blank = np.count_nonzero(feeds[1:] & feeds[:-1]) + int(last == 10 and feeds[0])
    return int(np.count_nonzero(feeds)), int(blank)


def _count_mixed(part: npt.NDArray[np.uint8], last: int) -> tuple[int, int]:
    """Line ends of any kind, and those right after another; `last` is the character before."""
    before = np.empty_like(part)
    before[0], before[1:] = last, part[:-1]
    feeds, returns = part == 10, part == 13
    after_return = before == 13
    first = (feeds & ~after_return) | returns
    # A line feed that completes a pair is no line end of its own.
    blank = first & (after_return | (before == 10))
    return int(np.count_nonzero(first)), int(np.count_nonzero(blank))


def first_rows(reader: TextReader, nbytes: int) -> TextBlock | None:
    """About the first `nbytes` of whole records of a reader, as one block; None when there are none."""
    found = reader._take_records(nbytes)
    if found is None:
        return None
    data, cut = found
    return TextBlock.of(data, reader._line - cut.lines, cut)


def first_bad_record(count: int, fails: Callable[[int], bool]) -> int | None:
    """The number of the first record that cannot be decoded; None when all can.

    Args:
        count: how many records there are.
        fails: whether decoding the first n of them fails; true for all larger n when it is for one.

    >>> first_bad_record(100, lambda n: n > 41)
    41
    """
    if not fails(count):
        return None
    low, high = 0, count  # the first `low` are fine, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if fails(middle):
            high = middle
        else:
            low = middle
    return low


def shown(value: bytes, most: int = 80) -> str:
    """Bytes of a file as a message shows them: text in quotes where it is text, cut when long."""
    head = value[:most]
    try:
        text = repr(value.decode("utf-8"))
        return text if len(text) <= most + 2 else text[:most] + "...'"
    except UnicodeDecodeError:
        return repr(head) + ("..." if len(value) > most else "")

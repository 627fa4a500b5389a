"""Lines of text, one string a row: log files, and whatever has no format of its own.

A line ends with a line feed, or a carriage return and a line feed; neither is part of it. A line that is
not text in the encoding, or longer than `max_line`, is a bad record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.encoding import checked_encoding
from streamlib.connectors.formats.lenient import RefusedRecord
from streamlib.connectors.formats.text import BLOCK_BYTES, Cut, TextBlock, TextReader, shown
from streamlib.contracts import Block, Format, FormatReader, FormatWriter, Refused
from streamlib.errors import BuildError, DataError, SourceError

LINE_BYTES_MAX = 1 << 20
"""The longest line, unless said otherwise."""


@dataclass(frozen=True)
class Lines(Format):
    """The format of plain lines. Use `lines(...)` to make one."""

    encoding: str = "utf-8"
    keep_empty: bool = True
    max_line: int = LINE_BYTES_MAX
    block_bytes: int = BLOCK_BYTES

    name = "lines"
    suffixes = (".txt", ".log")

    def __post_init__(self) -> None:
        check_line_options(self.encoding, self.max_line)

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        return pa.schema({"line": pa.string()})

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> FormatReader:
        if len(schema) != 1 or not pa.types.is_string(schema.field(0).type):
            raise BuildError(
                "schema= of lines names one column of text",
                expected="such as {'line': str}",
                got=", ".join(f"{f.name}: {f.type}" for f in schema),
            )
        reader = LinesReader(file, name, self, schema)
        reader.go_to(position)
        return reader

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> FormatWriter:
        return LinesWriter(self, file, schema)


def lines(*, encoding: str = "utf-8", keep_empty: bool = True, max_line: int = LINE_BYTES_MAX) -> Lines:
    """Lines with options, in one column of text: ``line``, or the one that `schema=` names.

    Args:
        encoding: such as ``latin-1`` or ``utf-16``; UTF-8 is read fastest.
        keep_empty: whether an empty line is a row.
        max_line: the longest line in bytes of UTF-8; a longer one is a bad record.

    Raises:
        BuildError: an option that cannot work.

    >>> lines(keep_empty=False).name
    'lines'
    """
    return Lines(encoding, keep_empty, max_line)


def check_line_options(encoding: str, max_line: int) -> None:
    """Refuses an encoding that does not exist, and a longest line without a character.

    Raises:
        BuildError: one of these.
    """
    checked_encoding(encoding)
    if max_line < 1:
        raise BuildError("max_line= must be at least 1 byte", got=repr(max_line))


@dataclass(frozen=True)
class LineCutter:
    """Cuts at line feeds; a cut is `multiline` when an empty line is left out."""

    keep_empty: bool = True

    def cut(self, data: bytes, ended: bool) -> Cut | None:
        nbytes = len(data) if ended else data.rfind(b"\n") + 1
        if not nbytes:
            return None
        feeds = data.count(b"\n", 0, nbytes)
        count = feeds + (data[nbytes - 1] != 10)
        if self.keep_empty:
            return Cut(nbytes, count, feeds)
        full = int(np.count_nonzero(Spans.of(np.frombuffer(data, np.uint8, nbytes)).lengths))
        return Cut(nbytes, full, feeds, multiline=full != count)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the lines of some text begin, end, and how long they are without what ends them."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, chars: npt.NDArray[np.uint8]) -> Spans:
        """The lines of `chars`."""
        ends = np.flatnonzero(chars == 10)
        if len(chars) and chars[-1] != 10:
            ends = np.append(ends, len(chars))
        starts = np.empty_like(ends)
        starts[:1], starts[1:] = 0, ends[:-1] + 1
        lengths = ends - starts
        if len(chars) and (chars == 13).any():
            last = np.maximum(ends - 1, 0)
            ended = ends < len(chars)  # without its line feed a carriage return is part of the line
            lengths = lengths - ((lengths > 0) & ended & (chars[last] == 13))
        return cls(starts, ends, lengths)

    def take(self, keep: npt.NDArray[Any]) -> Spans:
        """Some of the lines."""
        return Spans(self.starts[keep], self.ends[keep], self.lengths[keep])

    def texts(self, chars: npt.NDArray[np.uint8]) -> pa.Array:
        """The lines as strings, not checked to be UTF-8. They follow one another in `chars`, gaps between."""
        offsets = np.zeros(len(self.lengths) + 1, np.int32)
        np.cumsum(self.lengths, out=offsets[1:])
        feeds = len(self.ends) - int(len(self.ends) > 0 and self.ends[-1] == len(chars))
        if offsets[-1] + feeds == len(chars):  # nothing but line feeds stands between them
            return _strings(offsets, chars[chars != 10])
        steps = np.zeros(len(chars) + 1, np.int8)
        full = self.lengths > 0
        steps[self.starts[full]] += 1
        steps[(self.starts + self.lengths)[full]] -= 1
        inside = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
        return _strings(offsets, chars[inside])


def _strings(offsets: npt.NDArray[np.int32], chars: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(chars))


@dataclass(frozen=True, slots=True)
class LineFault:
    """Why a line is refused; `column` and `value` where it is one value's fault."""

    problem: str
    column: pa.Field | None = None
    value: str | None = None


class LinesReader(TextReader):
    """Reads one file of lines. A format whose records are lines overrides `rows_of`."""

    endless_hint = "is this a file of lines?"

    def __init__(self, file: BinaryIO, name: str, fmt: Any, schema: pa.Schema) -> None:
        super().__init__(file, name, LineCutter(fmt.keep_empty), fmt.block_bytes, fmt.encoding)
        if self._empty:
            raise SourceError("the file is empty", where=name, expected="at least one line", got="0 bytes")
        self._schema, self._keep_empty, self._max_line = schema, fmt.keep_empty, fmt.max_line

    def go_to(self, position: Any) -> None:
        """Goes on where an earlier reader stopped; None means at the beginning."""
        if position is not None:
            self._go_to(position)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        text: TextBlock = block.data
        rows, faults, spans = self._decoded(text)
        if faults:
            raise next(self._refused(text, spans, [min(faults.items(), key=itemgetter(0))])).error
        if rows.num_rows:
            yield rows

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        text: TextBlock = block.data
        rows, faults, spans = self._decoded(text)
        refused += self._refused(text, spans, sorted(faults.items(), key=itemgetter(0)))
        if rows.num_rows:
            yield rows

    def rows_of(self, texts: pa.Array) -> tuple[pa.RecordBatch, dict[int, LineFault]]:
        """The rows of lines that are text, without the bad ones; and these by their number in `texts`."""
        return pa.RecordBatch.from_arrays([texts], schema=self._schema), {}

    def about(self, fault: LineFault, line: bytes, number: int) -> DataError:
        """The error for a line."""
        where = f"{self._name}, line {number:,}"
        if fault.column is not None:
            where += f", column {fault.column.name!r}"
        return DataError(
            fault.problem,
            where=where,
            expected=self.expected(fault),
            got=shown(line) if fault.value is None else shown(fault.value.encode()),
        )

    def expected(self, fault: LineFault) -> str:
        """What would have been right."""
        return f"UTF-8 text of at most {self._max_line:,} bytes"

    def _decoded(self, text: TextBlock) -> tuple[pa.RecordBatch, dict[int, LineFault], Spans]:
        """The rows of the good lines, what is wrong with the bad ones, and where all of them stand."""
        chars = np.frombuffer(text.data, np.uint8)
        spans = Spans.of(chars)
        if not self._keep_empty:
            spans = spans.take(spans.lengths > 0)
        faults = {
            int(i): LineFault("the line is too long") for i in np.flatnonzero(spans.lengths > self._max_line)
        }
        texts = spans.texts(chars)
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            data = bytes(text.data)
            for i, (start, size) in enumerate(
                zip(spans.starts.tolist(), spans.lengths.tolist(), strict=True)
            ):
                if not _is_utf8(data[start : start + size]):
                    faults.setdefault(i, LineFault("the line is no UTF-8 text"))
        if faults:
            good = np.setdiff1d(np.arange(len(spans.starts)), np.fromiter(faults, np.int64, len(faults)))
            texts = spans.take(good).texts(chars)
            rows, more = self.rows_of(texts)
            return rows, faults | {int(good[i]): fault for i, fault in more.items()}, spans
        rows, faults = self.rows_of(texts)
        return rows, faults, spans

    def _refused(
        self, text: TextBlock, spans: Spans, faults: Sequence[tuple[int, LineFault]]
    ) -> Iterator[RefusedRecord]:
        """The records that are refused, by number, with what is wrong with each."""
        data = bytes(text.data)
        number, at = text.line, 0
        for record, fault in faults:
            start, size, end = int(spans.starts[record]), int(spans.lengths[record]), int(spans.ends[record])
            number, at = number + data.count(b"\n", at, start), start
            error = self.about(fault, data[start : start + size], number)
            yield RefusedRecord(data[start : end + 1], error, number, record)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class LinesWriter(FormatWriter):
    """Writes one column of text, a line each."""

    def __init__(self, fmt: Lines, file: BinaryIO, schema: pa.Schema) -> None:
        if len(schema) != 1 or not (
            pa.types.is_string(schema.field(0).type) or pa.types.is_large_string(schema.field(0).type)
        ):
            raise BuildError(
                "lines are written from one column of text",
                expected="such as .select('line')",
                got=", ".join(f"{f.name}: {f.type}" for f in schema),
            )
        self._file, self._encoding, self._name = file, fmt.encoding, schema.field(0).name

    def write(self, rows: pa.RecordBatch) -> None:
        texts = rows.column(0)
        if not len(texts):
            return
        broken = pc.fill_null(pc.match_substring_regex(texts, "\n|\r$"), True)
        if pc.any(broken).as_py():
            value = texts[pc.index(broken, True).as_py()].as_py()
            raise DataError(
                "the value is no line",
                where=f"column {self._name!r}",
                expected="text without line ends, not null",
                got="null" if value is None else shown(value.encode()),
            )
        text = "\n".join(texts.to_pylist()) + "\n"
        self._file.write(text.encode(self._encoding))

    def close(self) -> None:
        """Nothing ends a file of lines."""

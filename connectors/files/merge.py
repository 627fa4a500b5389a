"""One file out of the parts of several workers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import BinaryIO

from streamlib.connectors.files.open_files import open_input, open_output, sync_file, writing
from streamlib.connectors.formats.csv_text import Csv
from streamlib.connectors.formats.jsonl import Jsonl
from streamlib.connectors.formats.lines import Lines
from streamlib.connectors.formats.raw import RawBytes
from streamlib.contracts import Format, Pending

COPY_BYTES = 1 << 20


def merge_parts(parts: Sequence[str], whole: str, fmt: Format, compression: str | None) -> None:
    """Writes the rows of `parts`, in their order, to the new file `whole`, and makes it durable.

    Text and raw bytes are copied as they stand, later CSV headers left out; other formats go through their
    own reader and writer, one row group or record batch at a time.

    Raises:
        SinkError: it cannot be written.
    """
    with writing(whole):
        out = open_output(whole, compression)
        try:
            if isinstance(fmt, Csv | Jsonl | Lines | RawBytes):
                _copy_text(parts, out, fmt)
            else:
                _copy_rows(parts, out, fmt)
            out.flush()
        finally:
            out.close()
        sync_file(whole)


def _copy_text(parts: Sequence[str], out: BinaryIO, fmt: Csv | Jsonl | Lines | RawBytes) -> None:
    for number, path in enumerate(parts):
        with open_input(path) as file:
            if number and isinstance(fmt, Csv) and fmt.header:
                head = file.read(COPY_BYTES)
                out.write(head[fmt.cutter().first_end(head, ended=True) or 0 :])
            shutil.copyfileobj(file, out, COPY_BYTES)


def _copy_rows(parts: Sequence[str], out: BinaryIO, fmt: Format) -> None:
    with open_input(parts[0]) as first:
        schema = fmt.infer_schema(first, parts[0])
    writer = fmt.open_writer(out, schema)
    for path in parts:
        reader = fmt.open_reader(open_input(path), path, schema)
        try:
            while (block := reader.read()) is not None:
                assert not isinstance(block, Pending), "files end"
                for rows in reader.decode(block):
                    writer.write(rows)
        finally:
            reader.close()
    writer.close()

"""The parts that one worker writes: rolled by rows, and spread over folders by column values."""

from __future__ import annotations

import os
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from streamlib.connectors.files.open_files import open_output, sync_file, writing
from streamlib.contracts import Format, FormatWriter
from streamlib.errors import StreamlibError

OPEN_PARTS_MAX = 64
"""Files that one worker holds open; with more values of `partition_by`, the least used is closed."""
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""The folder of rows whose partition value is null, as Hive and everyone after it writes it."""


@dataclass(frozen=True)
class PartNames:
    """How parts are called: ``part-<worker>-<number>``, and the run where parts of several runs meet."""

    worker: int
    suffix: str
    run: str | None = None

    def of(self, number: int) -> str:
        """The name of part `number`.

        >>> PartNames(2, ".parquet").of(0)
        'part-00002-00000.parquet'
        """
        run = "" if self.run is None else f"{self.run}-"
        return f"part-{run}{self.worker:05d}-{number:05d}{self.suffix}"


class Part:
    """One file in the making. Its rows are durable once `close` has returned."""

    def __init__(self, path: str, fmt: Format, schema: pa.Schema, compression: str | None) -> None:
        self.path, self.rows = path, 0
        self._file: BinaryIO | None = None
        self._writer: FormatWriter | None = None
        with writing(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._file = open_output(path, compression)
            try:
                self._writer = fmt.open_writer(self._file, schema)
            except BaseException:
                self._file.close()
                raise

    def write(self, rows: pa.RecordBatch) -> None:
        assert self._writer is not None
        with writing(self.path):
            self._writer.write(rows)
        self.rows += rows.num_rows

    def close(self) -> None:
        assert self._writer is not None and self._file is not None
        with writing(self.path):
            self._writer.close()
            self._file.flush()
            self._file.close()
            sync_file(self.path)

    def abandon(self) -> None:
        """Closes the file without ending it. Never raises."""
        with suppress(OSError, pa.ArrowException, StreamlibError, ValueError):
            if self._writer is not None:
                self._writer.close()
        with suppress(OSError, pa.ArrowException, ValueError):
            if self._file is not None:
                self._file.close()


class Parts:
    """All parts of one worker.

    Args:
        folder: where the parts are staged.
        names: how they are called.
        fmt: their format.
        schema: of the rows; the partition columns are not written to the files.
        partition_by: columns whose values name folders.
        roll: rows after which a new part begins.
        compression: of the file as a whole.
    """

    def __init__(
        self,
        folder: str,
        names: PartNames,
        fmt: Format,
        schema: pa.Schema,
        partition_by: Sequence[str] = (),
        roll: int | None = None,
        compression: str | None = None,
    ) -> None:
        self._folder, self._names, self._format = folder, names, fmt
        self._keys, self._roll, self._compression = list(partition_by), roll, compression
        self._schema = pa.schema([f for f in schema if f.name not in self._keys])
        self._open: OrderedDict[str, Part] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self.done: list[dict[str, Any]] = []

    def write(self, rows: pa.RecordBatch) -> None:
        """Adds rows to their parts."""
        for folder, part_rows in self._spread(rows):
            start = 0
            while start < part_rows.num_rows:
                part = self._part(folder)
                room = part_rows.num_rows if self._roll is None else self._roll - part.rows
                piece = part_rows.slice(start, room)
                part.write(piece)
                start += piece.num_rows
                if self._roll is not None and part.rows >= self._roll:
                    self._end(folder)

    def finish(self, at_least_one: bool) -> None:
        """Closes all parts; with `at_least_one`, there is an empty one if there would be none."""
        if at_least_one and not self._open and not self.done:
            self._part("")
        for folder in list(self._open):
            self._end(folder)

    def abandon(self) -> None:
        """Closes all parts without ending them. Never raises."""
        while self._open:
            self._open.popitem()[1].abandon()

    def _part(self, folder: str) -> Part:
        part = self._open.get(folder)
        if part is not None:
            self._open.move_to_end(folder)
            return part
        if len(self._open) >= OPEN_PARTS_MAX:
            self._end(next(iter(self._open)))
        number = self._numbers.get(folder, 0)
        self._numbers[folder] = number + 1
        path = os.path.join(self._folder, folder, self._names.of(number))
        part = self._open[folder] = Part(path, self._format, self._schema, self._compression)
        return part

    def _end(self, folder: str) -> None:
        part = self._open[folder]
        part.close()
        del self._open[folder]
        self.done.append({"name": os.path.relpath(part.path, self._folder), "rows": part.rows})

    def _spread(self, rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        if not self._keys:
            yield "", rows
            return
        values = [_as_text(rows.column(k)) for k in self._keys]
        rest = rows.select(self._schema.names)
        number = pa.array(range(rows.num_rows), pa.int64())
        groups = pa.table([*values, number], names=[*map(str, range(len(self._keys))), "row"])
        groups = groups.group_by(list(groups.column_names[:-1]), use_threads=False)
        for group in groups.aggregate([("row", "list")]).to_batches():
            for i in range(group.num_rows):
                texts = [_folder_name(k, group.column(str(j))[i]) for j, k in enumerate(self._keys)]
                yield os.path.join(*texts), rest.take(group.column("row_list")[i].values)


def _as_text(column: pa.Array) -> pa.Array:
    """Times as text, so that nanoseconds can be part of a name."""
    return column.cast(pa.string()) if pa.types.is_temporal(column.type) else column


def _folder_name(column: str, value: pa.Scalar) -> str:
    text = NULL_FOLDER if not value.is_valid else urllib.parse.quote(str(value), safe=" ,+@$!'()")
    return f"{urllib.parse.quote(column, safe='')}={text}"

"""Formats: bytes to rows and rows to bytes, whatever they come from and go to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from streamlib.contracts.source import Block, Pending, Refused

TEXT_BECAUSE = b"streamlib.text_because"
"""Metadata of a field whose inferred type is text: the value that ruled out a number or time."""


class FormatReader(ABC):
    """Cuts one open file into blocks. The counterpart of SplitReader, without knowing of splits."""

    @abstractmethod
    def read(self) -> Block | Pending | None:
        """The next block, or None at the end of the file."""

    @abstractmethod
    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        """The rows of a block. Pure: may run on any thread."""

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Iterator[pa.RecordBatch]:
        """As `decode`, but a record that cannot become a row is appended to `refused` and left out."""
        return self.decode(block)

    def peek(self) -> pa.RecordBatch | None:
        """At least the first row of what is still unread, without reading it; None if that is not cheap."""
        return None

    def close(self) -> None:
        """Closes the file."""


class FormatWriter(ABC):
    """Writes rows to one open file."""

    @abstractmethod
    def write(self, rows: pa.RecordBatch) -> None:
        """Adds rows."""

    @abstractmethod
    def close(self) -> None:
        """Writes what ends a file of this format. Does not close the file itself."""


class Format(ABC):
    """A file format, with its options as fields of a frozen dataclass.

    Attributes:
        name: the spelling used in `format=`.
        suffixes: file endings that mean this format, without compression endings.
        compresses: whether the format compresses by itself, so that no .gz or .zst is added.
    """

    name: str
    suffixes: tuple[str, ...]
    compresses: bool = False

    @abstractmethod
    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        """The schema of a file, from its metadata or its first megabyte.

        Raises:
            SourceError: the file is damaged or has no columns.
        """

    @abstractmethod
    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> FormatReader:
        """A reader of the rows of `file`, at the beginning or at a `Block.position`.

        Args:
            file: open for reading; seekable unless it is compressed.
            name: for messages.
            schema: what every file of the source must fit.
            columns: read only these; all when None.
            position: where to go on.
            exact: refuse a file with columns that `schema` has not; else they are not read.

        Raises:
            SourceError: the file is damaged, or does not fit the schema.
        """

    @abstractmethod
    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> FormatWriter:
        """A writer of rows of `schema`."""

"""What the tests of connectors share: reading everything, and writing everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from streamlib.connectors import FileSource
from streamlib.contracts import Block, Pending, Sink, Source, Split

Rows = list[dict[str, Any]]


def blocks_of(source: Source, split: Split, position: Any = None) -> list[tuple[Block, Rows]]:
    """Every block of a split with its rows; peeks before each read, which must not change anything."""
    reader = source.open(split, position)
    found: list[tuple[Block, Rows]] = []
    try:
        while True:
            ahead = reader.peek()
            block = reader.read()
            if block is None:
                assert ahead is None
                assert reader.read() is None
                return found
            assert not isinstance(block, Pending)
            rows = [row for batch in reader.decode(block) for row in batch.to_pylist()]
            if ahead is not None and rows:
                assert ahead.to_pylist()[0] == rows[0] or rows[0] != rows[0]
            found.append((block, rows))
    finally:
        reader.close()


def rows_of(source: Source) -> Rows:
    """All rows of all splits, in order; each batch has the source's schema."""
    schema, found = source.schema(), []
    for split in source.splits():
        reader = source.open(split)
        try:
            while (block := reader.read()) is not None:
                assert not isinstance(block, Pending)
                for batch in reader.decode(block):
                    assert batch.schema == schema
                    batch.validate(full=True)
                    found += batch.to_pylist()
        finally:
            reader.close()
    return found


def read_text(
    folder: Path, text: str | bytes, name: str = "t.csv", schema: Any = None, **options: Any
) -> Rows:
    """The rows of a file with this text."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return rows_of(FileSource(path, schema=schema, **options))


def write_all(sink: Sink, schema: pa.Schema, workers: Sequence[Iterable[pa.RecordBatch]]) -> list[Any]:
    """Runs a sink with one writer per element of `workers`; the staged values, for another commit."""
    sink.prepare(schema)
    writers = [sink.open(schema, number) for number in range(len(workers))]
    for writer, batches in zip(writers, workers, strict=True):
        for batch in batches:
            writer.write(batch)
    staged = [writer.finish() for writer in writers]
    sink.commit(staged)
    return staged


def names_in(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())

"""What a source, a sink and a format promise, as checks that an outsider runs on theirs.

Each raises AssertionError with the promise that is broken; what can be checked without knowing the
connector is.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyarrow as pa

from streamlib.contracts import PENDING, Block, Format, FormatReader, Sink, Source, Split, SplitReader
from streamlib.errors import SourceError
from streamlib.testing.compare import assert_same

PENDING_MAX = 10_000
"""How often in a row a reader of a source that ends may have nothing."""


def check_source(make: Callable[[], Source]) -> int:
    """Checks a source that ends.

    Args:
        make: gives a fresh source over the same, unchanged data at every call; some tens of rows in
            several blocks show most.

    Returns:
        How many blocks were read.

    Raises:
        AssertionError: the contract is broken.

    >>> from streamlib.connectors import ArrowSource
    >>> check_source(lambda: ArrowSource(pa.table({"n": range(10)}), block_rows=3))
    4
    """
    source, again = make(), make()
    assert source.schema() == again.schema() == source.schema(), "the schema is the same at every call"
    names = [split.name for split in source.splits()]
    assert names, "a source names at least one split"
    assert len(set(names)) == len(names), f"split names are unique: {names}"
    assert names == [split.name for split in again.splits()], "split names are the same in every run"
    assert source.describe(), "a source describes itself for explain() and messages"
    blocks = 0
    for split in source.splits():
        rows = _check_split(source, split)
        other = next(s for s in again.splits() if s.name == split.name)
        assert_same(_joined(source.schema(), rows), _read(again, other), f"split {split.name!r} read again")
        blocks += len(rows)
        _check_columns(source, split, _joined(source.schema(), rows))
    return blocks


def _check_split(source: Source, split: Split) -> list[pa.Table]:
    """The rows of each block, after checking how they are cut, decoded, and read from in between."""
    reader = source.open(split)
    blocks: list[Block] = []
    seen = reader.peek()
    while (block := _next(reader)) is not None:
        blocks.append(block)
    assert reader.read() is None, f"split {split.name!r}: after the end there is nothing more"
    decoded = [_decode(reader, block, source.schema()) for block in blocks]
    for block, rows in reversed(list(zip(blocks, decoded, strict=True))):
        again = _decode(reader, block, source.schema())
        assert rows.equals(again), (
            f"split {split.name!r}: decoding a block twice, in another order, gives the same rows"
        )
    reader.close()
    if seen is not None and decoded:
        whole = _joined(source.schema(), decoded)
        ahead = pa.Table.from_batches([seen])
        assert ahead.num_rows and whole.slice(0, ahead.num_rows).equals(ahead), (
            "peek shows the first rows unread"
        )
    count = 0
    for number, block in enumerate(blocks):
        if block.first_row is not None:
            assert block.first_row == count, (
                f"block {number}: first_row is {block.first_row}, {count} rows came before"
            )
        count += decoded[number].num_rows
        position = orjson.loads(orjson.dumps(block.position))
        rest = _read(source, split, position)
        expected = _joined(source.schema(), decoded[number + 1 :])
        assert rest.equals(expected), (
            f"block {number}: reading on from its position {position} gives what follows it"
        )
    return decoded


def _check_columns(source: Source, split: Split, whole: pa.Table) -> None:
    for name in source.schema().names:
        fewer = source.with_columns([name])
        assert name in fewer.schema().names, f"with_columns([{name!r}]) keeps {name!r}"
        rows = _read(fewer, split)
        assert rows.equals(whole.select(fewer.schema().names)), (
            f"with_columns([{name!r}]) reads the same values"
        )


def _next(reader: SplitReader | FormatReader) -> Block | None:
    for _ in range(PENDING_MAX):
        answer = reader.read()
        if answer is not PENDING:
            assert answer is None or isinstance(answer, Block), (
                f"read gives a Block, PENDING or None, not {answer!r}"
            )
            return answer
    raise AssertionError(f"a source that ends had nothing {PENDING_MAX:,} times in a row")


def _decode(reader: SplitReader | FormatReader, block: Block, schema: pa.Schema) -> pa.Table:
    batches = list(reader.decode(block))
    for batch in batches:
        assert batch.schema.equals(schema), f"rows have the announced schema {schema}, not {batch.schema}"
    return pa.Table.from_batches(batches, schema)


def _read(source: Source, split: Split, position: Any = None) -> pa.Table:
    reader = source.open(split, position)
    tables = []
    while (block := _next(reader)) is not None:
        tables.append(_decode(reader, block, source.schema()))
    reader.close()
    return _joined(source.schema(), tables)


def _joined(schema: pa.Schema, tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()


def check_sink(
    make: Callable[[], Sink], read_back: Callable[[Sink], pa.Table | None], rows: pa.Table | None = None
) -> None:
    """Checks a sink: output appears whole or not at all.

    Args:
        make: gives a sink on a fresh, empty place at every call.
        read_back: what can be seen in that sink's place: None or no rows before there is any.
        rows: to be written; a few of common types when None.

    Raises:
        AssertionError: the contract is broken.

    >>> from streamlib.connectors import CollectSink
    >>> from streamlib.errors import SinkError
    >>> def seen(sink):
    ...     try:
    ...         return sink.table()
    ...     except SinkError:
    ...         return None
    >>> check_sink(CollectSink, seen)
    """
    if rows is None:
        rows = pa.table({"n": pa.array(range(7), pa.int64()), "s": ["a", None, "ccc", "", "e", "f", "g"]})
    assert rows.num_rows >= 2, "some rows for each of two writers"
    first, second = rows.slice(0, rows.num_rows // 2), rows.slice(rows.num_rows // 2)

    sink = make()
    assert sink.guarantee in ("at_least_once", "exactly_once"), f"guarantee is {sink.guarantee!r}"
    sink.prepare(rows.schema)
    writers = [sink.open(rows.schema, worker) for worker in range(2)]
    for writer, part in zip(writers, (first, second), strict=True):
        for batch in part.to_batches(max_chunksize=2):
            writer.write(batch)
    _nothing(read_back(sink), "before commit nothing can be seen")
    staged = orjson.loads(orjson.dumps([writer.finish() for writer in writers]))
    _nothing(read_back(sink), "after finish and before commit nothing can be seen")
    sink.commit(staged)
    assert_same(rows, _seen(read_back(sink), rows), "after commit every row of every writer can be seen")
    sink.commit(staged)
    assert_same(rows, _seen(read_back(sink), rows), "a commit that is made again after a crash does no harm")

    sink = make()
    sink.prepare(rows.schema)
    writers = [sink.open(rows.schema, worker) for worker in range(2)]
    writers[0].write(first.combine_chunks().to_batches()[0])
    for writer in writers:
        writer.abort()
        writer.abort()
    _nothing(read_back(sink), "after abort nothing is left")

    sink = make()
    sink.prepare(rows.schema)
    sink.commit([sink.open(rows.schema, 0).finish()])
    _nothing(read_back(sink), "without rows there are none")


def _nothing(rows: pa.Table | None, promise: str) -> None:
    assert rows is None or rows.num_rows == 0, (
        f"{promise}; {0 if rows is None else rows.num_rows} rows are there"
    )


def _seen(rows: pa.Table | None, like: pa.Table) -> pa.Table:
    assert rows is not None, "nothing can be seen"
    return rows.select(like.schema.names)


def check_format(format: Format, rows: pa.Table | None = None) -> int:
    """Checks a format: what is written is read back, block by block and from every position.

    Args:
        format: with its options.
        rows: in types that the format keeps; integers, floats and text with nulls when None.

    Returns:
        How many blocks the file was read in.

    Raises:
        AssertionError: the contract is broken.

    >>> import streamlib as sl
    >>> check_format(sl.arrow())
    1
    """
    if rows is None:
        rows = pa.table(
            {
                "n": pa.array([1, None, -3, 2**62], pa.int64()),
                "x": pa.array([0.5, -1e300, None, 2.0], pa.float64()),
                "s": pa.array(["a", "b, c", None, 'say "hi"'], pa.string()),
            }
        )
    assert format.name and format.suffixes, "a format has a name and file endings"
    data = _written(format, rows)
    found = format.infer_schema(io.BytesIO(data), "a file")
    assert found.names == rows.schema.names, f"infer_schema finds the columns: {found.names}"
    reader = format.open_reader(io.BytesIO(data), "a file", rows.schema)
    blocks = []
    while (block := _next(reader)) is not None:
        blocks.append((block, _decode(reader, block, rows.schema)))
    decoded = [table for _, table in blocks]
    reader.close()
    assert_same(rows, _joined(rows.schema, decoded), "what was written is read back")
    for number, (block, _) in enumerate(blocks):
        position = orjson.loads(orjson.dumps(block.position))
        rest = _read_format(format, data, rows.schema, position=position)
        assert rest.equals(_joined(rows.schema, decoded[number + 1 :])), f"reading on after block {number}"
    names = rows.schema.names[:1]
    narrow = _read_format(format, data, rows.schema, columns=names)
    assert_same(rows.select(names), narrow.select(names), f"reading only {names}")
    try:
        none = _read_format(format, _written(format, rows.slice(0, 0)), rows.schema)
    except SourceError:
        return len(blocks)  # a format without a head cannot tell no rows from no file, and may refuse it
    assert none.num_rows == 0, "a file without rows has none"
    return len(blocks)


def _written(format: Format, rows: pa.Table) -> bytes:
    file = io.BytesIO()
    writer = format.open_writer(file, rows.schema)
    for batch in rows.to_batches(max_chunksize=3):
        writer.write(batch)
    writer.close()
    assert not file.closed, "a format writer does not close the file"
    return file.getvalue()


def _read_format(
    format: Format, data: bytes, schema: pa.Schema, columns: Sequence[str] | None = None, position: Any = None
) -> pa.Table:
    reader = format.open_reader(io.BytesIO(data), "a file", schema, columns, position)
    shown = schema if columns is None else pa.schema([f for f in schema if f.name in columns])
    tables = []
    while (block := _next(reader)) is not None:
        tables.append(_decode(reader, block, shown))
    reader.close()
    return _joined(shown, tables)

"""Tables in memory as a source, collected rows, printed rows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import ArrowSource, CollectSink, PrintSink
from streamlib.errors import BuildError, ColumnNotFoundError, SinkError
from tests.connectors.reading import blocks_of, rows_of, write_all

TABLE = pa.table({"n": range(10), "s": [str(i) for i in range(10)]})


@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        TABLE.to_batches()[0],
        TABLE.to_reader(),
        pl.from_arrow(TABLE),
        duckdb.sql("select n, n::varchar s from range(10) t(n)"),
        pa.concat_tables([TABLE.slice(0, 3), TABLE.slice(3, 0), TABLE.slice(3)]),
    ],
    ids=["table", "batch", "reader", "polars", "duckdb", "chunks"],
)
def test_anything_that_hands_out_arrow(data: Any) -> None:
    source = ArrowSource(data, block_rows=4)
    assert rows_of(source) == TABLE.to_pylist()
    assert rows_of(source) == TABLE.to_pylist()


def test_every_position() -> None:
    source = ArrowSource(pa.concat_tables([TABLE.slice(0, 3), TABLE.slice(3)]), block_rows=2)
    (split,) = source.splits()
    for start in range(11):
        blocks = blocks_of(source, split, start)
        assert [row for _, rows in blocks for row in rows] == TABLE.to_pylist()[start:]
        assert all(len(rows) <= 2 for _, rows in blocks)


def test_nothing_is_copied() -> None:
    table = pa.table({"n": np.arange(200_000)})
    source = ArrowSource(table)
    reader = source.open(source.splits()[0])
    block = reader.read()
    (rows,) = reader.decode(block)  # type: ignore[arg-type]
    assert rows.num_rows == 65_536
    assert rows.column(0).buffers()[1].address == table.column(0).chunk(0).buffers()[1].address


def test_columns() -> None:
    source = ArrowSource(TABLE)
    assert source.with_columns(["s"]).schema().names == ["s"]
    assert source.with_columns([]).schema().names == ["n"]
    with pytest.raises(ColumnNotFoundError):
        source.with_columns(["x"])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([1, 2], "cannot be read as Arrow"),
        (pa.table({}), "no columns"),
        (pa.table([[1], [2]], names=["a", "a"]), "two columns of one name"),
    ],
)
def test_what_is_no_table_is_refused(data: Any, problem: str) -> None:
    with pytest.raises(BuildError, match=problem):
        ArrowSource(data)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({"a": [1]}, "pa.table"),
        ([{"a": 1}], "from_pylist"),
        ("ticks.csv", "read_files"),
        (Path("ticks.csv"), "read_files"),
        (pl.LazyFrame({"a": [1]}), ".collect()"),
        (pd.DataFrame({"a": ["text", 1]}), "convert the column"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_be_made_a_table_says_how(data: Any, hint: str) -> None:
    with pytest.raises(BuildError, match="cannot be read as Arrow") as caught:
        ArrowSource(data)
    assert caught.value.hint is not None and hint in caught.value.hint


def test_collected_rows_stand_by_worker() -> None:
    sink = CollectSink()
    batches = TABLE.to_batches(max_chunksize=5)
    with pytest.raises(SinkError, match="no rows yet"):
        sink.table()
    sink.prepare(TABLE.schema)
    one, two = sink.open(TABLE.schema, 1), sink.open(TABLE.schema, 0)
    one.write(batches[1])
    two.write(batches[0])
    with pytest.raises(SinkError):
        sink.table()
    sink.commit([one.finish(), two.finish()])
    assert sink.table().equals(TABLE)
    write_all(sink, TABLE.schema, [[]])
    assert sink.table().equals(TABLE.slice(0, 0))


def printed(rows: int, *batches: pa.RecordBatch) -> str:
    out = io.StringIO()
    sink = PrintSink(rows, out)
    write_all(sink, batches[0].schema, [[b] for b in batches])
    return out.getvalue()


def test_rows_are_printed() -> None:
    text = printed(3, *TABLE.to_batches(max_chunksize=2))
    assert text == "n  s\n-  -\n0  0\n1  1\n2  2\n... and 7 more rows\n"
    assert printed(1, TABLE.slice(0, 2).to_batches()[0]).endswith("... and 1 more row\n")
    assert printed(20, TABLE.slice(0, 2).to_batches()[0]) == "n  s\n-  -\n0  0\n1  1\n"
    assert printed(0, TABLE.slice(0, 2).to_batches()[0]) == "n  s\n-  -\n... and 2 more rows\n"


def test_rows_of_an_endless_run_are_printed_as_they_come(tmp_path: Path) -> None:
    out = io.StringIO()
    sink = PrintSink(4, out, live=True)
    sink.prepare(TABLE.schema)
    one, two = sink.open(TABLE.schema, 0), sink.open(TABLE.schema, 1)
    one.write(TABLE.slice(0, 2).to_batches()[0])
    assert out.getvalue() == "n  s\n-  -\n0  0\n1  1\n"
    two.write(pa.record_batch({"n": [1_000], "s": ["x"]}))
    assert out.getvalue().splitlines()[4:] == ["1000  x"]
    one.write(TABLE.slice(2, 5).to_batches()[0])
    assert out.getvalue().splitlines()[5:] == ["   2  2"]
    sink.commit([one.finish(), two.finish()])
    assert out.getvalue().splitlines()[6:] == ["... and 4 more rows"]
    (tmp_path / "1.jsonl").write_text('{"n": 1}\n')
    bounded, endless = (
        sl.read_files(tmp_path, "jsonl", {"n": int}, follow=follow) for follow in (False, True)
    )
    assert [stream.print().sink._live is None for stream in (bounded, endless)] == [True, False]


def test_odd_values_are_printed_on_one_line() -> None:
    batch = pa.record_batch(
        {
            "t": pa.array([1, None], pa.timestamp("ns")),
            "s": ["a\nb", "x" * 100],
            "l": [[1, 2], None],
            "d": pa.array([1, 2], pa.duration("ns")),
        }
    )
    lines = printed(5, batch).splitlines()
    assert len(lines) == 4
    assert "1970-01-01 00:00:00.000000001" in lines[2]
    assert "a\\nb" in lines[2]
    assert lines[3].startswith("-")
    assert "..." in lines[3]

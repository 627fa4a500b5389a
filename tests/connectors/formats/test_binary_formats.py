"""Parquet and Arrow IPC: blocks, positions, pushed-down columns, gathered writes, damaged files."""

from __future__ import annotations

import datetime as dt
import io
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib.connectors import FileSource, arrow, parquet
from streamlib.contracts import Format
from streamlib.errors import BuildError, DataError, SourceError
from tests.connectors.reading import blocks_of, rows_of

ROWS = 1_000
TABLE = pa.table(
    {
        "n": pa.array(range(ROWS)),
        "s": pa.array([None if i % 7 == 0 else f"s{i % 13}" for i in range(ROWS)]),
        "t": pa.array(range(ROWS), pa.timestamp("ns")).cast(pa.timestamp("us"), safe=False),
        "l": pa.array([[i, None] for i in range(ROWS)]),
    }
)
FORMS = ["t.parquet", "t.arrow", "t.arrows", "zstd.arrow"]


def write(path: Path, table: pa.Table, group_rows: int = 100) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=group_rows)
        return path
    options = pa.ipc.IpcWriteOptions(compression="zstd" if path.name.startswith("zstd") else None)
    make = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with make(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=group_rows)
    return path


@pytest.mark.parametrize("name", FORMS)
def test_rows_come_back_from_every_position(tmp_path: Path, name: str) -> None:
    source = FileSource(write(tmp_path / name, TABLE))
    (split,) = source.splits()
    blocks = blocks_of(source, split)
    assert len(blocks) == 10
    assert [row for _, rows in blocks for row in rows] == TABLE.to_pylist()
    for number, (block, _) in enumerate(blocks):
        assert block.first_row == 100 * number
        rest = [row for _, rows in blocks_of(source, split, block.position) for row in rows]
        assert rest == TABLE.to_pylist()[100 * (number + 1) :]


@pytest.mark.parametrize("name", FORMS)
def test_columns_are_pushed_down_in_the_schemas_order(tmp_path: Path, name: str) -> None:
    source = FileSource(write(tmp_path / name, TABLE)).with_columns(["t", "n"])
    assert source.schema().names == ["n", "t"]
    assert rows_of(source) == TABLE.select(["n", "t"]).to_pylist()


@pytest.mark.parametrize("name", FORMS)
def test_a_huge_group_comes_in_small_batches(tmp_path: Path, name: str) -> None:
    table = pa.table({"n": np.arange(200_000)})
    source = FileSource(write(tmp_path / name, table, group_rows=200_000))
    reader = source.open(source.splits()[0])
    batches = list(reader.decode(reader.read()))  # type: ignore[arg-type]
    assert max(b.num_rows for b in batches) <= 65_536
    assert pa.Table.from_batches(batches).equals(table)
    assert reader.read() is None
    reader.close()


@pytest.mark.parametrize("name", FORMS)
def test_blocks_are_decoded_by_several_threads_at_once(tmp_path: Path, name: str) -> None:
    source = FileSource(write(tmp_path / name, TABLE, group_rows=10))
    reader = source.open(source.splits()[0])
    blocks: list[Any] = []
    while (block := reader.read()) is not None:
        blocks.append(block)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda b: [r for rows in reader.decode(b) for r in rows.to_pylist()], blocks))
    reader.close()
    assert [row for rows in found for row in rows] == TABLE.to_pylist()


@pytest.mark.parametrize("name", FORMS)
def test_a_file_without_rows(tmp_path: Path, name: str) -> None:
    source = FileSource(write(tmp_path / name, TABLE.slice(0, 0)))
    assert source.schema() == TABLE.schema
    assert rows_of(source) == []


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("keep", [4, 100, 0.3, 0.9, -1])
def test_a_file_that_is_cut_short_is_an_error_that_names_it(tmp_path: Path, name: str, keep: float) -> None:
    path = write(tmp_path / name, TABLE)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(SourceError, match="damaged or cut short") as raised:
        rows_of(FileSource(path))
    assert raised.value.where is not None
    assert raised.value.where.startswith(str(path))


@pytest.mark.parametrize("name", ["t.parquet", "zstd.arrow"])
def test_damaged_pages_are_an_error(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TABLE)
    data = bytearray(path.read_bytes())
    for start in range(200, len(data) * 2 // 3, 50):
        data[start : start + 20] = b"\xaa" * 20
    path.write_bytes(bytes(data))
    with pytest.raises((SourceError, DataError)):
        rows_of(FileSource(path))


@pytest.mark.parametrize(
    "fmt",
    [
        parquet(row_group_rows=1_000),
        arrow(record_batch_rows=1_000),
        arrow(stream=True, record_batch_rows=1_000),
    ],
)
def test_small_batches_are_gathered(fmt: Format, tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = fmt.open_writer(out, TABLE.schema)
    for _ in range(3):
        for batch in TABLE.to_batches(max_chunksize=30):
            writer.write(batch)
    writer.close()
    path = tmp_path / f"t.{fmt.name}"
    path.write_bytes(out.getvalue())
    source = FileSource(path)
    blocks = blocks_of(source, source.splits()[0])
    assert [len(rows) for _, rows in blocks] == [1_000, 1_000, 1_000]
    assert [row for _, rows in blocks for row in rows] == TABLE.to_pylist() * 3


@pytest.mark.parametrize("name", FORMS)
def test_a_declared_schema_must_fit(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TABLE)
    assert rows_of(FileSource(path, schema={"s": str, "n": int})) == TABLE.select(["s", "n"]).to_pylist()
    with pytest.raises(SourceError, match="another type") as raised:
        FileSource(path, schema={"n": "int32"}).schema()
    assert (raised.value.expected, raised.value.got) == ("n: int32", "n: int64")
    with pytest.raises(SourceError, match="no column 'm'"):
        FileSource(path, schema={"m": int}).schema()


TIMES = [dt.datetime(2026, 1, 5, 12), None]
TWINS: list[tuple[pa.Array, pa.DataType]] = [
    (pa.array(["a", None, "bb"], pa.large_string()), pa.string()),
    (pa.array(["a", None, "bb"]), pa.large_string()),
    (pa.array(["a", None, "a"]).dictionary_encode(), pa.string()),
    (pa.array(["a", None, "a"]), pa.dictionary(pa.int32(), pa.string())),
    (pa.array(["a", "b"], pa.large_string()).dictionary_encode(), pa.dictionary(pa.int8(), pa.string())),
    (pa.array([b"ab", None], pa.binary(2)), pa.binary()),
    (pa.nulls(3), pa.string()),
    (pa.nulls(2), pa.dictionary(pa.int32(), pa.string())),
    (pa.array([1, None], pa.int32()), pa.int64()),
    (pa.array([1, None], pa.uint8()), pa.int16()),
    (pa.array([7, -7], pa.int32()), pa.float64()),
    (pa.array([1.5, None], pa.float32()), pa.float64()),
    (pa.array(TIMES, pa.timestamp("s")), pa.timestamp("us")),
    (pa.array([Decimal("1.50")], pa.decimal128(5, 2)), pa.decimal128(21, 2)),
    (pa.array([["a"], None], pa.list_(pa.string())), pa.list_(pa.large_string())),
    (pa.array([{"a": 1, "s": "x"}]), pa.struct({"a": pa.int64(), "s": pa.large_string()})),
]
"""A column, and the type that it has in the first file."""


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize(("column", "kind"), TWINS, ids=str)
def test_a_column_that_loses_nothing_may_have_another_type_in_a_file(
    tmp_path: Path, suffix: str, column: pa.Array, kind: pa.DataType
) -> None:
    first = pa.nulls(1, kind)
    write(tmp_path / f"1.{suffix}", pa.table({"v": first}))
    write(tmp_path / f"2.{suffix}", pa.table({"v": column}))
    found = sl.read_files(str(tmp_path / f"*.{suffix}")).collect()
    assert found.schema.field("v").type == kind
    assert sorted(found["v"].to_pylist(), key=str) == sorted([None, *column.to_pylist()], key=str)


MISFITS = [
    (pa.array([1], pa.int64()), pa.int32(), "has room for both"),
    (pa.array([1], pa.int8()), pa.uint64(), "the same schema"),
    (pa.array([1], pa.int64()), pa.float64(), "the same schema"),
    (pa.array(["a"]), pa.binary(), "the same schema"),
    (pa.array(["1"]), pa.int64(), "the same schema"),
    (pa.array(TIMES, pa.timestamp("us", "UTC")), pa.timestamp("us"), "the same schema"),
    (pa.array(TIMES, pa.timestamp("us")), pa.timestamp("s"), "has room for both"),
    (pa.array([["a"]]), pa.string(), "the same schema"),
    (pa.array([{"a": 1}]), pa.struct({"b": pa.int64()}), "the same schema"),
]


@pytest.mark.parametrize(("column", "kind", "hint"), MISFITS, ids=str)
def test_what_would_lose_something_is_refused(
    tmp_path: Path, column: pa.Array, kind: pa.DataType, hint: str
) -> None:
    write(tmp_path / "1.parquet", pa.table({"v": pa.nulls(1, kind)}))
    write(tmp_path / "2.parquet", pa.table({"v": column}))
    with pytest.raises(SourceError, match=rf"another type in this file(.|\n)*2\.parquet(.|\n)*{hint}"):
        sl.read_files(str(tmp_path / "*.parquet")).collect()


def test_values_that_have_no_room_after_all_are_named(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", pa.table({"v": pa.nulls(1, pa.timestamp("ns"))}))
    write(tmp_path / "2.parquet", pa.table({"v": pa.array([2**62], pa.timestamp("us"))}))
    with pytest.raises(SourceError, match=r"column 'v' has a value that does not fit(.|\n)*2\.parquet"):
        sl.read_files(str(tmp_path / "*.parquet")).collect()


def test_options_are_checked() -> None:
    for make in (
        lambda: parquet(compression="zip"),
        lambda: parquet(row_group_rows=0),
        lambda: arrow(compression="gzip"),
        lambda: arrow(record_batch_rows=0),
    ):
        with pytest.raises(BuildError):
            make()


def test_a_peek_reads_little(tmp_path: Path) -> None:
    table = pa.table({"n": np.random.default_rng(1).integers(0, 1 << 60, 2_000_000)})
    path = write(tmp_path / "t.parquet", table, group_rows=2_000_000)
    source = FileSource(path)
    reader = source.open(source.splits()[0])
    before = pa.total_allocated_bytes()
    ahead = reader.peek()
    assert ahead is not None
    assert ahead.num_rows == 1
    assert pa.total_allocated_bytes() - before < 4 << 20
    reader.close()


def test_only_values_that_repeat_have_a_dictionary(tmp_path: Path) -> None:
    rows = 5_000
    table = pa.table(
        {
            "time": pa.array(range(rows), pa.timestamp("us")),
            "name": [f"s{n % 50}" for n in range(rows)],
            "id": [f"{n:036}" for n in range(rows)],
            "side": [n % 2 == 0 for n in range(rows)],
            "price": [n % 1_000 / 100 for n in range(rows)],
        }
    )
    with open(tmp_path / "t.parquet", "wb") as file:
        writer = parquet().open_writer(file, table.schema)
        for batch in table.to_batches(700):
            writer.write(batch)
        writer.close()
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    coded = {column.path_in_schema for column in columns if "RLE_DICTIONARY" in column.encodings}
    assert coded == {"name", "price"}

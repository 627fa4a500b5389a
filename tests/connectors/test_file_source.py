"""Files as a source: which files, in which order, of which schema; and what is said when that fails."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamlib.connectors import FileSource, format_of, jsonl
from streamlib.connectors.formats import raw_bytes
from streamlib.connectors.schemas import schema_of
from streamlib.errors import BuildError, ColumnNotFoundError, DataError, SourceError
from tests.connectors.reading import blocks_of, rows_of


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def zst(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def split_names(source: FileSource, folder: Path) -> list[str]:
    return [os.path.relpath(split.name, folder) for split in source.splits()]


def test_a_split_per_file_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.csv", "_tmp.csv", ".x.csv", "_staging/d.csv", "notes.txt"):
        put(tmp_path / name, "n\n1\n")
    assert split_names(FileSource(tmp_path / "*.csv"), tmp_path) == ["a.csv", "b.csv"]
    assert split_names(FileSource(tmp_path / "**/*.csv"), tmp_path) == ["a.csv", "b.csv", "sub/c.csv"]
    assert split_names(FileSource(tmp_path), tmp_path) == ["a.csv", "b.csv"]
    listed = [tmp_path / "b.csv", tmp_path / "sub", tmp_path / "b.csv"]
    assert split_names(FileSource(listed), tmp_path) == ["b.csv", "sub/c.csv"]
    assert split_names(FileSource(tmp_path / "_tmp.csv"), tmp_path) == ["_tmp.csv"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    path = put(tmp_path / "a[1].csv", "n\n1\n")
    assert rows_of(FileSource(path)) == [{"n": 1}]


def test_order_by_name_is_one_log(tmp_path: Path) -> None:
    put(tmp_path / "b.csv", "n\n3\n4\n")
    put(tmp_path / "a.csv", "n\n1\n2\n")
    put(tmp_path / "c.csv", "n\n")
    put(tmp_path / "d.csv", "n\n5\n")
    source = FileSource(tmp_path / "*.csv", order="name", metadata=True)
    (split,) = source.splits()
    blocks = blocks_of(source, split)
    rows = [row for _, more in blocks for row in more]
    assert [row["n"] for row in rows] == [1, 2, 3, 4, 5]
    assert [(os.path.basename(row["file_path"]), row["file_row"]) for row in rows] == [
        ("a.csv", 0), ("a.csv", 1), ("b.csv", 0), ("b.csv", 1), ("d.csv", 0),
    ]  # fmt: skip
    seen = 0
    for block, more in blocks:
        assert block.first_row == seen
        seen += len(more)
        position = json.loads(json.dumps(block.position))
        assert [row for _, rest in blocks_of(source, split, position) for row in rest] == rows[seen:]


def test_a_position_in_a_file_that_is_gone(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "n\n1\n")
    source = FileSource(path)
    with pytest.raises(SourceError, match="is gone"):
        source.open(source.splits()[0], {"file": "other.csv", "at": None, "row": 0})


def test_metadata_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{"n":1}\n{"n":2}\n')
    source = FileSource(path, metadata=True)
    assert source.schema() == pa.schema({"n": pa.int64(), "file_path": pa.string(), "file_row": pa.int64()})
    assert [tuple(row.values()) for row in rows_of(source)] == [(1, str(path), 0), (2, str(path), 1)]
    assert rows_of(source.with_columns(["file_row", "n"])) == [
        {"n": 1, "file_row": 0},
        {"n": 2, "file_row": 1},
    ]
    assert source.with_columns(["file_row"]).schema().names == ["n", "file_row"]
    put(tmp_path / "a.jsonl", '{"file_row":1}\n')
    with pytest.raises(BuildError, match="file_row"):
        FileSource(path, metadata=True).schema()


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "arrow", "lines", "bytes"])
@pytest.mark.parametrize("order", [None, "name"])
def test_metadata_of_every_format(tmp_path: Path, name: str, order: str | None) -> None:
    fmt: Any = raw_bytes(delimiter=b"\n") if name == "bytes" else format_of(name)
    kind = {"lines": pa.string(), "bytes": pa.binary()}.get(name, pa.int64())
    values = [b"a", b"b", b"c"] if name == "bytes" else ["a", "b", "c"] if name == "lines" else [1, 2, 3]
    for file in ("1", "2"):
        with open(tmp_path / f"{file}.x", "wb") as out:
            writer = fmt.open_writer(out, pa.schema({"v": kind}))
            writer.write(pa.record_batch({"v": pa.array(values, kind)}))
            writer.close()
    column = {"lines": "line", "bytes": "data"}.get(name, "v")
    source = FileSource(tmp_path / "*.x", fmt, metadata=True, order=order)
    expected = [(v, str(tmp_path / f"{file}.x"), i) for file in ("1", "2") for i, v in enumerate(values)]
    rows = rows_of(source)
    assert [(row[column], row["file_path"], row["file_row"]) for row in rows] == expected
    narrow = rows_of(source.with_columns(["file_row", "file_path"]))
    assert [(row["file_path"], row["file_row"]) for row in narrow] == [row[1:] for row in expected]


def test_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    source = FileSource(path)
    assert rows_of(source.with_columns(["c", "a"])) == [{"a": 1, "c": 3}]
    assert rows_of(FileSource(path, columns=["b"])) == [{"b": 2}]
    assert source.with_columns([]).schema().names == ["a"]
    assert source.schema().names == ["a", "b", "c"]
    with pytest.raises(ColumnNotFoundError, match="did you mean"):
        FileSource(path, columns=["B"]).schema()
    with pytest.raises(ColumnNotFoundError):
        source.with_columns(["x"])
    assert source.total_bytes() == 12
    assert str(path) in source.describe()


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.jsonl.gz", "a.jsonl.zst"])
def test_compressed_files(tmp_path: Path, name: str) -> None:
    pack = gzip.compress if name.endswith("gz") else zst
    lines = ["n,s"] if "csv" in name else []
    lines += [f"{i},x" if "csv" in name else f'{{"n":{i},"s":"x"}}' for i in range(50_000)]
    data = ("\n".join(lines) + "\n").encode()
    middle = len(data) // 2
    path = put(tmp_path / name, pack(data[:middle]) + pack(data[middle:]))  # several members
    source = FileSource(path, schema={"n": int, "s": str})
    assert [row["n"] for row in rows_of(source)] == list(range(50_000))
    blocks = blocks_of(source, source.splits()[0])
    assert len(blocks) > 1
    after = blocks_of(source, source.splits()[0], blocks[0][0].position)
    assert [row["n"] for _, rows in after for row in rows] == list(range(len(blocks[0][1]), 50_000))
    packed = path.read_bytes()
    for wrong in (packed[:-5], packed[: len(packed) // 2], b"n,s\n1,x\n" + packed):
        put(path, wrong)
        with pytest.raises(SourceError, match="damaged or cut short") as raised:
            rows_of(FileSource(path, schema={"n": int, "s": str}))
        assert raised.value.where == str(path)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ("a\n1\n", "no column 'b'"),
        ("a,b,c\n1,2,3\n", "a column 'c' that the first file has not"),
        ("b,a\n2,1\n", None),
    ],
)
def test_the_schema_of_every_file_is_that_of_the_first(
    tmp_path: Path, second: str, problem: str | None
) -> None:
    put(tmp_path / "1.csv", "a,b\n1,2\n")
    put(tmp_path / "2.csv", second)
    source = FileSource(tmp_path / "*.csv")
    if problem is None:
        assert rows_of(source) == [{"a": 1, "b": 2}] * 2
        return
    with pytest.raises(SourceError, match=problem) as raised:
        rows_of(source)
    assert raised.value.where == str(tmp_path / "2.csv")
    assert [split.name for split in source.splits()][1] == str(tmp_path / "2.csv")


def test_another_type_in_a_later_file(tmp_path: Path) -> None:
    put(tmp_path / "1.csv", "a,b\n1,2\n")
    put(tmp_path / "2.csv", "a,b\n1,2.5\n")
    with pytest.raises(DataError, match="is no int64") as raised:
        rows_of(FileSource(tmp_path / "*.csv"))
    assert raised.value.where == f"{tmp_path / '2.csv'}, line 2, column 'b'"


def test_missing_files_are_named_with_their_neighbours(tmp_path: Path) -> None:
    put(tmp_path / "ticks.csv", "n\n1\n")
    with pytest.raises(SourceError, match=r"did you mean '.*ticks\.csv'"):
        FileSource(tmp_path / "tiks.csv").schema()
    with pytest.raises(SourceError, match=r"there are 'ticks\.csv'"):
        FileSource(tmp_path / "*.jsonl").schema()
    with pytest.raises(SourceError, match="no folder"):
        FileSource(tmp_path / "no" / "ticks.csv").schema()
    with pytest.raises(SourceError, match="no folder"):
        FileSource(tmp_path / "no" / "*.csv").schema()
    with pytest.raises(SourceError, match="no files are given"):
        FileSource([]).schema()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="an empty folder"):
        FileSource(tmp_path / "empty").schema()
    put(tmp_path / "mixed" / "a.csv", "n\n1\n")
    put(tmp_path / "mixed" / "a.jsonl", '{"n":1}\n')
    with pytest.raises(SourceError, match="several formats"):
        FileSource(tmp_path / "mixed").schema()
    assert rows_of(FileSource(tmp_path / "mixed", format="jsonl")) == [{"n": 1}]


def test_an_empty_file_among_others_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "1.csv", "a\n1\n")
    put(tmp_path / "2.csv", "")
    with pytest.raises(SourceError, match="is empty") as raised:
        rows_of(FileSource(tmp_path / "*.csv"))
    assert raised.value.where == str(tmp_path / "2.csv")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = put(tmp_path / "1.csv", "a\n1\n")
    path.chmod(0)
    with pytest.raises(SourceError, match="no permission"):
        FileSource(path).schema()


def test_an_error_of_the_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "1.csv", "a\n1\n")

    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("streamlib.connectors.files.open_files.open", refuse, raising=False)
    with pytest.raises(SourceError, match="Permission denied") as raised:
        FileSource(path).schema()
    assert raised.value.where == str(path)


def test_format_of() -> None:
    assert format_of(None, "x/ticks.CSV.gz").name == "csv"
    assert format_of(None, "t.ndjson").name == "jsonl"
    assert format_of("parquet").name == "parquet"
    assert format_of(jsonl()) == jsonl()
    with pytest.raises(BuildError, match="did you mean 'parquet'"):
        format_of("parqet")
    with pytest.raises(BuildError, match="say format='csv'"):
        format_of(None, "ticks.cvs")
    with pytest.raises(BuildError, match="'csv'"):
        format_of(None, "ticks")


@dataclasses.dataclass
class Inner:
    x: int


@dataclasses.dataclass
class Tick:
    ts: dt.datetime
    price: float
    volume: int | None
    tags: list[str]
    inner: Inner


def test_schemas() -> None:
    assert schema_of(Tick) == pa.schema(
        {
            "ts": pa.timestamp("us"),
            "price": pa.float64(),
            "volume": pa.int64(),
            "tags": pa.list_(pa.string()),
            "inner": pa.struct({"x": pa.int64()}),
        }
    )
    assert schema_of(
        {"a": "timestamp[ms, Europe/Oslo]", "b": "list<float64>", "c": pa.int8(), "d": "str"}
    ) == pa.schema(
        {
            "a": pa.timestamp("ms", "Europe/Oslo"),
            "b": pa.list_(pa.float64()),
            "c": pa.int8(),
            "d": pa.string(),
        }
    )
    for wrong, problem in (
        ({"a": "flaot64"}, "did you mean 'float64'"),
        ({"a": object}, "type of column 'a' is unknown"),
        ({"a": int | str}, "unknown"),
        ({}, "names no columns"),
        (5, "is not a schema"),
        (pa.schema([("a", pa.int8()), ("a", pa.int8())]), "twice"),
    ):
        with pytest.raises(BuildError, match=problem):
            schema_of(wrong)
    with pytest.raises(BuildError, match="order="):
        FileSource("x.csv", order="size")

"""Files as a place for results: they appear whole or not at all, whatever fails and when."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlib.connectors import FileSink, FileSource, csv, parquet
from streamlib.connectors.files import open_files
from streamlib.contracts import SinkWriter
from streamlib.errors import BuildError, ColumnNotFoundError, SinkError
from tests.connectors.reading import names_in, rows_of, write_all

SCHEMA = pa.schema({"k": pa.string(), "n": pa.int64(), "t": pa.timestamp("us")})


def batch(start: int, stop: int) -> pa.RecordBatch:
    keys = [("a", "b", None, "x/y")[i % 4] for i in range(start, stop)]
    return pa.record_batch(
        [keys, list(range(start, stop)), pa.array(range(start, stop), pa.timestamp("us"))], SCHEMA.names
    )


def rows_in(path: Path, **options: Any) -> list[dict[str, Any]]:
    return sorted(rows_of(FileSource(path, schema=SCHEMA, **options)), key=lambda row: row["n"])


@pytest.mark.parametrize("fmt", ["csv", "jsonl", "parquet", "arrow"])
def test_a_folder_of_parts(tmp_path: Path, fmt: str) -> None:
    write_all(FileSink(tmp_path / "out", fmt), SCHEMA, [[batch(0, 5), batch(5, 9)], [], [batch(9, 12)]])
    assert names_in(tmp_path) == [f"out/part-00000-00000.{fmt}", f"out/part-00002-00000.{fmt}"]
    assert rows_in(tmp_path / "out") == batch(0, 12).to_pylist()


@pytest.mark.parametrize(
    "name", ["t.csv", "t.jsonl", "t.parquet", "t.arrow", "t.csv.gz", "t.csv.zst", "t.jsonl.gz", "t.jsonl.zst"]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_one_file(tmp_path: Path, name: str, workers: int) -> None:
    parts = [[batch(i, i + 3) for i in range(3 * w, 90, 3 * workers)] for w in range(workers)]
    write_all(FileSink(tmp_path / "new" / name), SCHEMA, parts)
    assert names_in(tmp_path) == [f"new/{name}"]
    assert rows_in(tmp_path / "new" / name) == batch(0, 90).to_pylist()


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow", "out"])
def test_an_empty_stream_is_one_empty_file_of_the_schema(tmp_path: Path, name: str) -> None:
    write_all(FileSink(tmp_path / name, "parquet" if name == "out" else None), SCHEMA, [[], []])
    source = FileSource(tmp_path / name)
    assert source.schema().names == SCHEMA.names
    assert len(source.splits()) == 1
    assert rows_of(source) == []


def test_an_empty_stream_of_json_is_an_empty_file(tmp_path: Path) -> None:
    write_all(FileSink(tmp_path / "t.jsonl"), SCHEMA, [[]])
    assert (tmp_path / "t.jsonl").read_bytes() == b""


def test_small_batches_become_big_row_groups(tmp_path: Path) -> None:
    batches = [batch(i, i + 1_000) for i in range(0, 300_000, 1_000)]
    write_all(FileSink(tmp_path / "out", "parquet"), SCHEMA, [batches])
    meta = pq.ParquetFile(tmp_path / "out" / "part-00000-00000.parquet").metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [131_072, 131_072, 37_856]
    write_all(FileSink(tmp_path / "one.parquet"), SCHEMA, [batches[:10], batches[10:20]])
    assert pq.ParquetFile(tmp_path / "one.parquet").metadata.num_row_groups == 1


def test_parts_roll(tmp_path: Path) -> None:
    write_all(FileSink(tmp_path / "out", "csv", roll=4), SCHEMA, [[batch(0, 3), batch(3, 12)]])
    files = sorted((tmp_path / "out").iterdir())
    assert [len(rows_in(file)) for file in files] == [4, 4, 4]


def test_parts_by_column_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlib.connectors.files.parts.OPEN_PARTS_MAX", 2)
    write_all(FileSink(tmp_path / "out", "jsonl", partition_by=["k"]), SCHEMA, [[batch(0, 8), batch(8, 16)]])
    found: dict[str, list[int]] = {}
    for name in names_in(tmp_path / "out"):
        lines = (tmp_path / "out" / name).read_text().splitlines()
        assert all("k" not in json.loads(line) for line in lines)
        found.setdefault(os.path.dirname(name), []).extend(json.loads(line)["n"] for line in lines)
    assert found == {
        "k=a": [0, 4, 8, 12],
        "k=b": [1, 5, 9, 13],
        "k=__HIVE_DEFAULT_PARTITION__": [2, 6, 10, 14],
        "k=x%2Fy": [3, 7, 11, 15],
    }
    dates = pa.schema({"d": pa.timestamp("ns"), "n": pa.int64()})
    sink = FileSink(tmp_path / "dates", "csv", partition_by="d")
    write_all(sink, dates, [[pa.record_batch([pa.array([1], dates.field("d").type), [1]], dates.names)]])
    assert names_in(tmp_path / "dates")[0].startswith("d=1970-01-01 00%3A00%3A00.000000001/")


def test_an_output_that_exists_is_refused_before_any_row(tmp_path: Path) -> None:
    write_all(FileSink(tmp_path / "out", "csv"), SCHEMA, [[batch(0, 1)]])
    write_all(FileSink(tmp_path / "one.csv"), SCHEMA, [[batch(0, 1)]])
    for name in ("out", "one.csv"):
        with pytest.raises(SinkError, match="if_exists='replace'") as raised:
            FileSink(tmp_path / name, "csv").prepare(SCHEMA)
        assert raised.value.where == str(tmp_path / name)
    (tmp_path / "empty").mkdir()
    write_all(FileSink(tmp_path / "empty", "csv"), SCHEMA, [[batch(0, 1)]])
    assert names_in(tmp_path) == ["empty/part-00000-00000.csv", "one.csv", "out/part-00000-00000.csv"]


@pytest.mark.parametrize("swap", [True, False])
def test_replace_keeps_the_old_output_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    if not swap:
        monkeypatch.setattr("streamlib.connectors.files.staging.exchange", lambda a, b: False)
    for path in (tmp_path / "out", tmp_path / "one.csv"):
        for run in range(3):
            sink = FileSink(path, "csv", if_exists="replace")
            sink.prepare(SCHEMA)
            writer = sink.open(SCHEMA, 0)
            writer.write(batch(run, run + 2))
            staged = [writer.finish()]
            if run:
                assert rows_in(path) == batch(run - 1, run + 1).to_pylist()
            sink.commit(staged)
            sink.commit(staged)
            assert rows_in(path) == batch(run, run + 2).to_pylist()
    assert names_in(tmp_path) == ["one.csv", "out/part-00000-00000.csv"]


def test_replace_never_removes_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(SinkError, match="holds what no output of ours holds"):
        FileSink(tmp_path / "home", "csv", if_exists="replace").prepare(SCHEMA)
    assert names_in(tmp_path) == ["home/thesis.txt"]


def test_append_adds_parts(tmp_path: Path) -> None:
    for run in range(3):
        sink = FileSink(tmp_path / "out", "csv", if_exists="append", partition_by="k")
        staged = write_all(sink, SCHEMA, [[batch(run, run + 4)]])
        sink.commit(staged)
    assert len(names_in(tmp_path / "out")) == 12
    with pytest.raises(BuildError, match="needs a folder"):
        FileSink(tmp_path / "one.csv", if_exists="append")


def test_an_abort_leaves_nothing(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out", "parquet")
    sink.prepare(SCHEMA)
    writers = [sink.open(SCHEMA, worker) for worker in range(2)]
    for writer in writers:
        writer.write(batch(0, 10))
    writers[0].finish()
    for writer in writers:
        writer.abort()
        writer.abort()
    assert os.listdir(tmp_path) == []


def test_leftovers_of_a_crash_are_removed_and_a_living_run_is_refused(tmp_path: Path) -> None:
    first = FileSink(tmp_path / "out", "csv")
    first.prepare(SCHEMA)
    writer = first.open(SCHEMA, 0)
    writer.write(batch(0, 10))
    with pytest.raises(SinkError, match="another run is writing this output"):
        FileSink(tmp_path / "out", "csv").prepare(SCHEMA)
    first._staging.release()  # type: ignore[union-attr]  # as the system does when a process dies
    writer._parts.abandon()  # type: ignore[attr-defined]
    write_all(FileSink(tmp_path / "out", "csv"), SCHEMA, [[batch(0, 2)]])
    assert names_in(tmp_path) == ["out/part-00000-00000.csv"]


def test_a_sink_may_be_prepared_again(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out", "csv", if_exists="replace")
    sink.prepare(SCHEMA)
    for _ in range(2):
        write_all(sink, SCHEMA, [[batch(0, 2)]])
    assert names_in(tmp_path) == ["out/part-00000-00000.csv"]


def test_a_commit_is_made_by_another_process(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out", "csv")
    sink.prepare(SCHEMA)
    writer = copy.deepcopy(sink).open(SCHEMA, 0)
    writer.write(batch(0, 3))
    staged = json.loads(json.dumps([writer.finish()]))
    sink._staging.release()  # type: ignore[union-attr]
    FileSink(tmp_path / "out", "csv").commit(staged)
    assert rows_in(tmp_path / "out") == batch(0, 3).to_pylist()
    assert os.listdir(tmp_path) == ["out"]


class Crash(BaseException):
    """The process dies here."""


STEPS = ("replace", "rename", "fsync", "remove", "makedirs", "rmtree", "exchange", "open")


def crash_at(patch: pytest.MonkeyPatch, count: int) -> Callable[[], int]:
    """Lets the `count`-th call to the system die before it does anything; the answer counts the calls."""
    calls = [0]

    def wrapped(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == count:
                raise Crash
            return inner(*args, **options)

        return call

    for name in ("replace", "rename", "fsync", "remove", "makedirs"):
        patch.setattr(os, name, wrapped(getattr(os, name)))
    patch.setattr(shutil, "rmtree", wrapped(shutil.rmtree))
    patch.setattr("streamlib.connectors.files.staging.exchange", wrapped(open_files.exchange))
    return lambda: calls[0]


@pytest.mark.parametrize("name", ["out", "one.csv"])
@pytest.mark.parametrize("if_exists", ["error", "replace"])
@pytest.mark.parametrize("atomic", [True, False])
def test_a_crash_between_any_two_steps(
    tmp_path: Path, name: str, if_exists: str, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash anywhere the output is the old or the new one; a commit again, or a new run, gets there."""
    if not atomic:
        monkeypatch.setattr(open_files, "exchange", lambda a, b: False)
    old, new = batch(0, 4).to_pylist(), batch(10, 14).to_pylist()
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        path = folder / name
        if if_exists == "replace":
            write_all(FileSink(path, "csv"), SCHEMA, [[batch(0, 4)]])
        sink = FileSink(path, "csv", if_exists=if_exists)
        sink.prepare(SCHEMA)
        writers = [sink.open(SCHEMA, worker) for worker in range(2)]
        staged: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            calls = crash_at(patch, steps)
            try:
                writers[0].write(batch(10, 12))
                writers[1].write(batch(12, 14))
                staged = [writer.finish() for writer in writers]
                sink.commit(staged)
            except Crash:
                pass
            done = calls() < steps
        for writer in writers:
            writer._parts.abandon()  # type: ignore[attr-defined]
        sink._staging.release()  # type: ignore[union-attr]
        if path.exists():
            assert rows_in(path) in ([old, new] if if_exists == "replace" else [new])
        elif atomic:
            assert if_exists == "error"
        if len(staged) == 2 and steps % 2:
            FileSink(path, "csv", if_exists=if_exists).commit(staged)
            assert rows_in(path) == new
        elif not (if_exists == "error" and path.exists()):
            again = FileSink(path, "csv", if_exists=if_exists)
            again.prepare(SCHEMA)
            if if_exists == "replace":
                assert rows_in(path) in (old, new)
            again._staging.remove()  # type: ignore[union-attr]
            write_all(again, SCHEMA, [[batch(10, 14)]])
            assert rows_in(path) == new
        else:
            with pytest.raises(SinkError, match="exists already"):
                FileSink(path, "csv").prepare(SCHEMA)
        assert os.listdir(folder) == [name]
        if done:
            break
    assert steps > 8


class FullDisk:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if size > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= size
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def write_much(writer: SinkWriter) -> None:
    for start in range(0, 4_000, 100):
        writer.write(batch(start * 7919, start * 7919 + 100))
    writer.finish()


@pytest.mark.parametrize("room", [0, 3, 100, 2_000])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet", "t.arrow", "t.csv.gz", "t.jsonl.zst"])
def test_a_full_disk_names_the_file_and_the_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, room: int
) -> None:
    plain = open_files.open_plain
    monkeypatch.setattr(open_files, "open_plain", lambda path: FullDisk(plain(path), room))
    sink = FileSink(tmp_path / name)
    sink.prepare(SCHEMA)
    writer = sink.open(SCHEMA, 0)
    with pytest.raises(SinkError, match="No space left on device") as raised:
        write_much(writer)
    writer.abort()
    assert raised.value.where is not None
    assert str(tmp_path) in raised.value.where
    assert "bytes free" in str(raised.value.got)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_written_is_refused_before_any_row(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    nested = pa.schema({"l": pa.list_(pa.int64())})
    mapped = pa.schema({"m": pa.map_(pa.string(), pa.int64())})
    for sink, schema, problem in (
        (FileSink(tmp_path / "file", "csv"), SCHEMA, "the output is a file"),
        (FileSink(tmp_path / "file" / "out", "csv"), SCHEMA, "cannot be written"),
        (FileSink(tmp_path / "t.csv"), nested, "cannot be written as csv"),
        (FileSink(tmp_path / "t.jsonl"), mapped, "cannot be written as jsonl"),
    ):
        with pytest.raises(SinkError, match=problem):
            sink.prepare(schema)
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(SinkError, match="the output is a folder"):
        FileSink(tmp_path / "t.csv").prepare(SCHEMA)
    with pytest.raises(ColumnNotFoundError):
        FileSink(tmp_path / "out", "csv", partition_by=["K"]).prepare(SCHEMA)
    assert sorted(os.listdir(tmp_path)) == ["file", "t.csv"]


@pytest.mark.parametrize(
    ("path", "options", "problem"),
    [
        ("out", {}, "format is not said"),
        ("out", {"format": "csv", "if_exists": "overwrite"}, "if_exists= is unknown"),
        ("out", {"format": "csv", "roll": 0}, "roll= is not usable"),
        ("out", {"format": "parquet", "compression": "gzip"}, "compress themselves"),
        ("out", {"format": "csv", "compression": "zip"}, "compression= is unknown"),
        ("t.csv", {"roll": 5}, "needs a folder"),
        ("t.csv", {"partition_by": "k"}, "needs a folder"),
        ("t.parquet.gz", {}, "compress themselves"),
    ],
)
def test_options_are_checked(path: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(BuildError, match=problem):
        FileSink(path, **options)


def test_a_path_that_ends_with_a_slash_is_a_folder(tmp_path: Path) -> None:
    write_all(FileSink(f"{tmp_path}/t.csv/", "csv", compression="gzip"), SCHEMA, [[batch(0, 3)]])
    assert names_in(tmp_path) == ["t.csv/part-00000-00000.csv.gz"]
    assert rows_in(tmp_path / "t.csv" / "part-00000-00000.csv.gz") == batch(0, 3).to_pylist()


def test_formats_with_options_write(tmp_path: Path) -> None:
    write_all(FileSink(tmp_path / "t.csv", csv(delimiter=";")), SCHEMA, [[batch(0, 1)], [batch(1, 2)]])
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == ['"k";"n";"t"', '"a";0;1970-01-01 00:00:00.000000', '"b";1;1970-01-01 00:00:00.000001']
    write_all(FileSink(tmp_path / "t.parquet", parquet(compression="snappy")), SCHEMA, [[batch(0, 1)]])
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(1).compression == "SNAPPY"

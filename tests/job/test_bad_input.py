"""Bad input through the public API: each error says where, what came and what was due; nothing is left behind."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import BuildError, ColumnNotFoundError, DataError, SinkError, SourceError, StreamlibError, col
from streamlib.connectors.files import open_files

SCHEMA = {"ts": "timestamp[ms]", "symbol": "string", "price": "float64"}
GOOD = "2024-08-09T00:00:00.000,A,1.5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


def csv(folder: Path, *lines: str, name: str = "ticks.csv") -> Path:
    path = folder / "in" / name
    path.write_text("ts,symbol,price\n" + "".join(lines))
    return path


def bars_job(folder: Path, path: Path | str | list[Path], workers: int, **options: Any) -> None:
    ticks = sl.read_files(path, **options).event_time("ts", max_delay="2s")
    bars = ticks.key_by("symbol").window(sl.tumbling("10s")).agg(high=col("price").max())
    sl.run(
        bars.write_files(folder / "bars", format="parquet"),
        bars.late.write_files(folder / "late.jsonl"),
        workers=workers,
    )


def refused(folder: Path, path: Path | str | list[Path], workers: int = 2, **options: Any) -> StreamlibError:
    """The error of the bars job over `path`, with its output checked to be absent."""
    with pytest.raises(StreamlibError) as caught:
        bars_job(folder, path, workers, **options)
    assert sorted(os.listdir(folder)) == ["in"], "something half-written is visible"
    assert caught.value.step is not None, f"no step:\n{caught.value}"
    assert caught.value.at is not None and caught.value.at.file.endswith("test_bad_input.py")
    return caught.value


def says(error: StreamlibError, *parts: str) -> None:
    for part in parts:
        assert part in str(error)


# ---- rows --------------------------------------------------------------------------------------------

LINES: dict[str, tuple[str, list[str]]] = {
    "a price that is none": ("2024-08-09T00:00:01.000,A,cheap\n", ["'price'", "'cheap'", "double"]),
    "a time that is none": ("yesterday,A,1.5\n", ["'ts'", "'yesterday'", "timestamp"]),
    "a field too many": ("2024-08-09T00:00:01.000,A,1.5,9\n", ["3", "4"]),
    "a field too few": ("2024-08-09T00:00:01.000,A\n", ["3", "2"]),
    "no time": (",A,1.5\n", ["'ts'", "null", "is_not_null"]),
}


@pytest.mark.parametrize(("line", "parts"), LINES.values(), ids=LINES)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_line_of_csv_is_named_by_file_and_line(
    folder: Path, line: str, parts: list[str], workers: int
) -> None:
    path = csv(folder, GOOD * 2, line, GOOD)
    error = refused(folder, path, workers, schema=SCHEMA)
    assert isinstance(error, DataError)
    says(error, "ticks.csv", "line 4", *parts)


def test_a_bad_line_of_the_second_file_is_named_by_that_file(folder: Path) -> None:
    csv(folder, GOOD, name="a.csv")
    csv(folder, GOOD, "2024-08-09T00:00:01.000,A,cheap\n", name="b.csv")
    says(refused(folder, folder / "in" / "*.csv", schema=SCHEMA), "b.csv", "line 3", "'cheap'")


def test_a_line_after_a_quoted_line_break_has_its_true_number(folder: Path) -> None:
    path = csv(folder, '2024-08-09T00:00:00.000,"A\nB",1.5\n', "2024-08-09T00:00:01.000,A,cheap\n")
    says(refused(folder, path, schema=SCHEMA), "line 4", "'cheap'")


def test_a_null_time_behind_a_filter_is_found_within_the_rows_it_was_among(folder: Path) -> None:
    """The filter has taken the rows apart; the message must not name a wrong line."""
    path = csv(folder, GOOD, "2024-08-09T00:00:01.000,A,-1\n", ",A,1.5\n", GOOD)
    ticks = sl.read_files(path, schema=SCHEMA).filter(col("price") > 0).event_time("ts", max_delay="2s")
    with pytest.raises(DataError) as caught:
        ticks.collect()
    says(caught.value, "ticks.csv")
    assert not any(f"line {wrong}" in str(caught.value).split("among")[0] for wrong in (2, 3, 5))


def test_a_line_that_is_no_json_is_named(folder: Path) -> None:
    path = folder / "in" / "ticks.jsonl"
    path.write_text('{"ts": "2024-08-09T00:00:00", "symbol": "A", "price": 1}\n{"ts": "2024-08-09T00\n')
    error = refused(folder, path, schema=SCHEMA)
    assert isinstance(error, DataError)
    says(error, "ticks.jsonl", "line 2", "JSON")


# ---- files -------------------------------------------------------------------------------------------


def table(rows: int) -> pa.Table:
    times = pa.array(range(rows), pa.int64()).cast(pa.timestamp("ms"))
    return pa.table(
        {"ts": times, "symbol": ["A"] * rows, "price": [float(n * 7919 % 1009) for n in range(rows)]}
    )


def parquet(path: Path) -> None:
    pq.write_table(table(20_000), path, row_group_size=1_000)


def arrow_file(path: Path) -> None:
    with pa.ipc.new_file(path, table(1).schema) as writer:
        writer.write_table(table(20_000), max_chunksize=1_000)


def arrow_stream(path: Path) -> None:
    with pa.ipc.new_stream(path, table(1).schema) as writer:
        writer.write_table(table(20_000), max_chunksize=1_000)


def zipped(path: Path) -> None:
    lines = [f"2024-08-09T00:00:{n % 60:02},A{n * 7919 % 10007},{n}\n" for n in range(50_000)]
    path.write_bytes(gzip.compress(("ts,symbol,price\n" + "".join(lines)).encode()))


TRUNCATED = {
    "ticks.parquet": parquet,
    "ticks.arrow": arrow_file,
    "stream.arrow": arrow_stream,
    "ticks.csv.gz": zipped,
}


@pytest.mark.parametrize(("name", "write"), TRUNCATED.items(), ids=TRUNCATED)
@pytest.mark.parametrize("others", [0, 1])
def test_a_file_that_was_cut_short_is_named(
    folder: Path, name: str, write: Callable[[Path], None], others: int
) -> None:
    """Alone, and as the second of two files."""
    path = folder / "in" / name
    write(path)
    paths = [path]
    if others:
        paths.insert(0, path.with_name("a whole " + name))
        paths[0].write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    error = refused(folder, paths)
    assert isinstance(error, SourceError)
    says(error, str(path), "damaged or cut short")


def test_a_missing_file_is_named_with_the_nearest_names(folder: Path) -> None:
    csv(folder, GOOD)
    error = refused(folder, folder / "in" / "tick.csv")
    assert isinstance(error, SourceError)
    says(error, "tick.csv", "no such file", "did you mean", "ticks.csv")
    says(refused(folder, folder / "in" / "*.parquet"), "no file matches", "*.parquet", "ticks.csv")
    says(refused(folder, folder / "out" / "x.csv"), "no such file", "no folder")


@pytest.mark.parametrize("name", ["empty.csv", "empty.jsonl", "empty.parquet", "empty.arrow"])
def test_an_empty_file_is_named(folder: Path, name: str) -> None:
    path = folder / "in" / name
    path.touch()
    error = refused(folder, path)
    assert isinstance(error, SourceError)
    says(error, name, "empty")


def test_a_csv_with_a_header_and_no_rows_is_no_error(folder: Path) -> None:
    path = csv(folder)
    ticks = sl.read_files(path, schema=SCHEMA).event_time("ts", max_delay="2s")
    bars = ticks.key_by("symbol").window(sl.tumbling("10s")).agg(high=col("price").max())
    report = sl.run(bars.write_files(folder / "bars.parquet"))
    assert (report.rows_in, report.rows_out) == (0, 0)
    assert pq.read_table(folder / "bars.parquet").schema.names == [
        "symbol",
        "window_start",
        "window_end",
        "high",
    ]


def test_a_file_that_may_not_be_read_is_named(folder: Path) -> None:
    path = csv(folder, GOOD)
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        pass
    else:
        pytest.skip("who runs this may read everything")
    error = refused(folder, path, schema=SCHEMA)
    assert isinstance(error, SourceError)
    says(error, "ticks.csv", "permission")


def test_a_folder_that_holds_nothing_is_named(folder: Path) -> None:
    says(refused(folder, folder / "in"), "in", "no files to read")


SECOND_FILES = {
    "a column is missing": ("ts,symbol\n2024-08-09T00:00:00,A\n", ["'price'"]),
    "a column is new": ("ts,symbol,price,venue\n2024-08-09T00:00:00,A,1,x\n", ["venue"]),
    "a column has another name": ("ts,symbol,prise\n2024-08-09T00:00:00,A,1\n", ["'price'", "prise"]),
    "a column has another type": ("ts,symbol,price\n2024-08-09T00:00:00,A,dear\n", ["'price'", "'dear'"]),
}


@pytest.mark.parametrize(("text", "parts"), SECOND_FILES.values(), ids=SECOND_FILES)
def test_a_schema_that_changes_between_files_is_named_by_file_and_column(
    folder: Path, text: str, parts: list[str]
) -> None:
    csv(folder, GOOD, name="a.csv")
    (folder / "in" / "b.csv").write_text(text)
    says(refused(folder, folder / "in" / "*.csv"), "b.csv", *parts)


def test_parquet_files_of_different_types_are_refused_by_file_and_column(folder: Path) -> None:
    parquet(folder / "in" / "a.parquet")
    other = table(5).set_column(2, "price", pa.array([1, 2, 3, 4, 5], pa.int64()))
    pq.write_table(other, folder / "in" / "b.parquet")
    says(refused(folder, folder / "in"), "b.parquet", "price", "double", "int64")


# ---- the script --------------------------------------------------------------------------------------


def test_names_and_types_that_cannot_work_are_found_before_any_row(folder: Path) -> None:
    path = csv(folder, GOOD)
    with pytest.raises(ColumnNotFoundError, match="prise"):
        sl.read_files(path).filter(col("prise") > 0)
    with pytest.raises(BuildError, match="unknown"):
        sl.read_files(path, schema={"ts": "timestampp"})
    with pytest.raises(SourceError, match="no column 'volume'"):
        sl.read_files(path, schema={**SCHEMA, "volume": "int64"})
    with pytest.raises(BuildError, match="format"):
        sl.read_files(path, format="xlsx")


# ---- outputs -----------------------------------------------------------------------------------------


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, path: str, room: int) -> None:
        self.file = open(path, "xb")
        self.room = room

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if size > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.arrow", "out.csv.gz"])
@pytest.mark.parametrize("room", [0, 2_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_is_full_is_named_and_nothing_stays(
    folder: Path, name: str, room: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "open_plain", lambda path: FullDisk(path, room))
    with pytest.raises(SinkError) as caught:
        sl.run(sl.read_arrow(table(20_000)).write_files(folder / name), workers=workers, batch_rows=1_000)
    says(caught.value, "No space left on device", "bytes free", "make room")
    assert caught.value.step is not None and "test_bad_input.py" in str(caught.value.at)
    assert sorted(os.listdir(folder)) == ["in"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 kB, where the one who runs the tests may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True, check=False
        )
    except OSError:
        pytest.skip("no mount")
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_real_disk_that_is_full_is_named_and_freed(tiny_disk: Path) -> None:
    with pytest.raises(SinkError) as caught:
        sl.run(sl.read_arrow(table(50_000)).write_files(tiny_disk / "out.csv"))
    says(caught.value, "No space left on device", "make room")
    assert os.listdir(tiny_disk) == []

"""An error in any worker is raised once, from where it began, and nothing of the run stays."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import BuildError, SinkError, SourceError, UserFunctionError, col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.contracts import Sink, SinkWriter

ROWS = pa.table({"ts": pa.array(range(100), pa.timestamp("s")), "k": [n % 7 for n in range(100)]})


def timed(block_rows: int = 5) -> sl.Stream:
    return sl.read(ArrowSource(ROWS, block_rows)).event_time("ts", max_delay="1s")


def fails_at_50(batch: pa.RecordBatch) -> pa.RecordBatch:
    if 50 in _seconds(batch):
        raise ValueError("fifty")
    return batch


def _seconds(batch: pa.RecordBatch) -> list[int]:
    return batch["ts"].cast(pa.int64()).to_pylist()


def everything_fails(batch: pa.RecordBatch) -> pa.RecordBatch:
    if batch.num_rows:
        raise ValueError(threading.current_thread().name)
    return batch


def interrupts(batch: pa.RecordBatch) -> pa.RecordBatch:
    if 50 in _seconds(batch):
        raise KeyboardInterrupt
    return batch


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_error_leaves_no_output_no_staging_and_no_thread(workers: int, tmp_path: Path) -> None:
    stream = timed().map_batches(fails_at_50).named("fifties")
    bars = stream.key_by("k").window(sl.tumbling("10s")).agg(n=sl.count())
    sinks = [stream.write_files(tmp_path / "rows", "csv"), bars.write_files(tmp_path / "bars.parquet")]
    with pytest.raises(UserFunctionError) as caught:
        sl.run(*sinks, workers=workers)
    assert "fails_at_50" in str(caught.value) and "fifty" in str(caught.value)
    assert caught.value.step == "fifties"
    assert names_in(tmp_path) == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("streamlib")] == []


@pytest.mark.parametrize("workers", [2, 4])
def test_when_all_workers_fail_one_error_is_raised_with_its_cause(workers: int) -> None:
    with pytest.raises(UserFunctionError) as caught:
        timed(1).map_batches(everything_fails).collect(workers=workers)
    assert isinstance(caught.value.__cause__, ValueError)
    assert not isinstance(caught.value, BaseExceptionGroup)


@pytest.mark.parametrize("workers", [1, 3])
def test_ctrl_c_within_a_users_function_is_not_swallowed_and_leaves_nothing(
    workers: int, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        sl.run(timed().map_batches(interrupts).write_files(tmp_path / "out", "csv"), workers=workers)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_can_follow_one_that_failed(workers: int, tmp_path: Path) -> None:
    with pytest.raises(UserFunctionError):
        sl.run(timed().map_batches(fails_at_50).write_files(tmp_path / "out", "csv"), workers=workers)
    report = sl.run(timed().write_files(tmp_path / "out", "csv"), workers=workers)
    assert report.rows_out == 100


@pytest.mark.parametrize("workers", [1, 2])
def test_when_a_later_sink_cannot_be_prepared_nothing_of_the_first_stays(
    workers: int, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "part-00000-00000.csv").write_text("n\n")
    sinks = [timed().write_files(tmp_path / name, "csv") for name in ("free", "taken")]
    with pytest.raises(SinkError, match="exists already") as caught:
        sl.run(*sinks, workers=workers)
    assert "test_run_errors.py" in str(caught.value)
    assert names_in(tmp_path) == ["taken"]


def test_when_the_input_cannot_be_opened_nothing_stays(tmp_path: Path) -> None:
    """The second file is found to be damaged when the run opens it, after the sinks were prepared."""
    (tmp_path / "in").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "in" / name).write_text("ts,n\n2024-01-01T00:00:00,1\n")
    stream = sl.read_files(tmp_path / "in").event_time("ts", max_delay="1s")
    (tmp_path / "in" / "b.csv").write_text("ts,m\n2024-01-01T00:00:00,1\n")
    with pytest.raises(SourceError, match="no column 'n'"):
        sl.run(stream.write_files(tmp_path / "out", "csv"))
    assert names_in(tmp_path) == ["in"]


class FailingSink(Sink):
    """Fails where it is told to; remembers what was asked of it."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.calls: list[str] = []

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what == self.at:
            raise SinkError("no room", where="the sink")

    def prepare(self, schema: pa.Schema) -> None:
        self._called("prepare")

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        self._called("open")
        return FailingWriter(self)

    def commit(self, staged: Sequence[Any]) -> None:
        self._called("commit")


class FailingWriter(SinkWriter):
    def __init__(self, sink: FailingSink) -> None:
        self.sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        self.sink._called("write")

    def finish(self) -> None:
        self.sink._called("finish")

    def abort(self) -> None:
        self.sink.calls.append("abort")


@pytest.mark.parametrize("at", ["prepare", "open", "write", "finish", "commit"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sink_that_fails_is_named_with_its_line_and_every_open_writer_is_aborted(
    at: str, workers: int
) -> None:
    sink, other = FailingSink(at), FailingSink("never")
    with pytest.raises(SinkError, match="no room") as caught:
        sl.run(timed().write(other), timed().write(sink), workers=workers)
    assert caught.value.step is not None and caught.value.step.startswith("write")
    assert caught.value.at is not None and caught.value.at.file.endswith("test_run_errors.py")
    for each in (sink, other):
        opened = each.calls.count("open") - (1 if each is sink and at == "open" else 0)
        assert each.calls.count("abort") == opened
    assert "commit" not in other.calls or at == "commit"


def test_an_output_of_an_earlier_run_stays_whole_when_a_replacement_fails(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    sl.run(timed().write_files(out))
    before = out.read_bytes()
    with pytest.raises(UserFunctionError):
        sl.run(timed().map_batches(fails_at_50).write_files(out, if_exists="replace"))
    assert out.read_bytes() == before
    assert names_in(tmp_path) == ["out.csv"]


def test_collect_gives_nothing_of_a_run_that_failed() -> None:
    sink = CollectSink()
    with pytest.raises(UserFunctionError):
        sl.run(timed().map_batches(fails_at_50).write(sink))
    with pytest.raises(SinkError):
        sink.table()


def test_a_run_writes_the_dead_letters_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("n,t\n1,5\nx,6\n3,seven\n")
    source = sl.read_files(tmp_path / "in.csv", schema={"n": int, "t": str})
    numbers = source.with_columns(v=col("t").cast("int64")).named("parse it")
    options: dict[str, Any] = {
        "on_error": "dead_letter",
        "dead_letters": tmp_path / "dead",
        "progress": False,
    }
    report = sl.run(numbers.write_files(tmp_path / "out.jsonl"), **options)
    assert report.rows_out == 3, "one good row and two dead letters"
    lines = {
        p.name: [json.loads(x) for x in p.read_text().splitlines()] for p in (tmp_path / "dead").iterdir()
    }
    assert sorted(lines) == ["parse-it.jsonl", "read.jsonl"]
    assert [(letter["n"], letter["t"]) for letter in lines["parse-it.jsonl"]] == [(3, "seven")]
    assert base64.b64decode(lines["read.jsonl"][0]["error_data"]).rstrip() == b"x,6"


def test_a_folder_for_dead_letters_that_no_step_sends_is_refused() -> None:
    with pytest.raises(BuildError, match="no step sends any"):
        sl.run(sl.read_arrow(pa.table({"n": [1]})).filter(col("n") > 0).print(), dead_letters="out/dead")


def test_there_is_no_such_policy_for_a_run() -> None:
    with pytest.raises(BuildError, match="there is no such policy"):
        sl.run(sl.read_arrow(pa.table({"n": [1]})).print(), on_error="ignore")  # type: ignore[arg-type]

"""Jobs on real worker processes: the rows of threads, the errors of threads, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink

TWO = sl.processes(2)


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Any:
    """No segment has a name, and every process that was started has been waited for."""
    before = set(os.listdir("/dev/shm"))
    yield
    assert set(os.listdir("/dev/shm")) <= before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def ticks(rows: int, seed: int) -> pa.Table:
    dice = np.random.default_rng(seed)
    return pa.table(
        {
            "ts": pa.array(np.arange(rows) * 1_000 + dice.integers(0, 2_000_000, rows), pa.timestamp("us")),
            "symbol": pa.array([f"S{i}" for i in dice.integers(0, 9, rows)]),
            "price": pa.array(dice.integers(1, 1_000, rows) / 8),
            "volume": pa.array(dice.integers(0, 100, rows)),
        }
    )


def pipelines(folder: Path) -> dict[str, Any]:
    files = sl.read_files(str(folder / "*.csv")).event_time("ts", max_delay="1s")
    memory = sl.read_arrow(ticks(4_000, 9)).event_time("ts", max_delay="500ms")
    factor = np.arange(10.0)
    bars = (
        files.filter(col("volume") > 3)
        .key_by("symbol")
        .window(sl.tumbling("1s"), allowed_lateness="100ms")
        .agg(n=sl.count(), open=col("price").first(), high=col("price").max(), v=col("volume").sum())
    )
    return {
        "bars": bars,
        "late": bars.late,
        "sessions": files.union(memory).key_by("symbol").window(sl.session("3ms")).agg(n=sl.count()),
        "options": files.filter(col("symbol").str.starts_with("S") & col("symbol").is_in(["S1", "S2"]))
        .with_columns(
            at=col("ts").dt.truncate("1s"),
            text=col("symbol").str.replace("S", "T").str.pad_start(4),
            both=sl.struct("symbol", "price").struct.field("price").round(1),
            whole=col("price").cast("int64", strict=False),
        )
        .key_by("symbol")
        .window(sl.tumbling("1s"))
        .agg(mean=col("price").mean().round(2), at=col("at").max(), text=col("text").last()),
        "latest": memory.key_by("symbol").latest().changes(),
        "asof": files.asof_join(memory.select("ts", "symbol", right=col("price")), on="symbol"),
        "map": memory.map(lambda price: {"scaled": price * factor[3]}, schema={"scaled": "float64"}),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        pa_csv.write_csv(ticks(6_000, number), tmp_path / f"{number}.csv")
    return tmp_path


def collected(streams: dict[str, Any], workers: Any) -> tuple[dict[str, list[Any]], Any]:
    sinks = {name: CollectSink() for name in streams}
    report = sl.run(*(s.write(sinks[name]) for name, s in streams.items()), workers=workers, progress=False)
    found = {}
    for name, sink in sinks.items():
        table = sink.table()
        found[name] = sorted(table.to_pylist(), key=repr)
    return found, report


@pytest.mark.slow
def test_every_pipeline_gives_the_rows_of_one_worker(folder: Path) -> None:
    wanted, one = collected(pipelines(folder), 1)
    got, two = collected(pipelines(folder), TWO)
    for name in wanted:
        assert got[name] == wanted[name], name
        assert wanted[name], f"{name} proves nothing"
    assert two.rows_read == one.rows_read
    assert list(two.rows_written.values()) == list(one.rows_written.values())
    assert two.late == one.late


def test_files_are_staged_by_the_workers_and_appear_at_once(folder: Path) -> None:
    stream = sl.read_files(str(folder / "*.csv")).map_batches(
        lambda rows: pa.record_batch({"pid": pa.array([os.getpid()] * rows.num_rows)}), {"pid": "int64"}
    )
    out = folder / "out"
    sl.run(stream.write_files(str(out), format="parquet"), workers=TWO, progress=False)
    pids = sl.read_files(str(out)).collect().column("pid").to_pylist()
    assert len(pids) == 18_000
    assert os.getpid() not in pids
    assert sorted(p for p in os.listdir(folder) if p.startswith(".")) == []


def fails(price: float) -> dict[str, float]:
    return {"inverse": 1 / (price - 77.125)}


def test_an_error_in_a_worker_is_that_of_a_thread(folder: Path) -> None:
    stream = sl.read_files(str(folder / "*.csv")).map(fails, schema={"inverse": "float64"}).named("inverse")
    out = folder / "out"
    with pytest.raises(sl.UserFunctionError) as on_threads:
        sl.run(stream.write_files(str(out), format="csv"), progress=False)
    stream = sl.read_files(str(folder / "*.csv")).map(fails, schema={"inverse": "float64"}).named("inverse")
    with pytest.raises(sl.UserFunctionError) as error:
        sl.run(stream.write_files(str(out), format="csv"), workers=TWO, progress=False)
    assert error.value.problem == on_threads.value.problem
    assert error.value.step == "inverse" and error.value.at is not None
    assert error.value.at.file.endswith("test_runs.py")
    assert "line " in (error.value.where or "")
    assert "ZeroDivisionError" in str(error.value.__cause__)
    assert not out.exists()
    assert sorted(p for p in os.listdir(folder) if p.startswith(".")) == []


def test_a_worker_that_is_killed_ends_the_run(folder: Path) -> None:
    def dies(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows:  # with none it is tried when the graph is built
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    stream = sl.read_files(str(folder / "*.csv")).map_batches(dies)
    with pytest.raises(sl.WorkerError, match=r"worker \d \(process \d+\) was ended by a signal") as error:
        sl.run(stream.write_files(str(folder / "out"), format="csv"), workers=TWO, progress=False)
    assert error.value.got == "SIGKILL"
    assert not (folder / "out").exists()
    assert sorted(p for p in os.listdir(folder) if p.startswith(".")) == []


def test_what_cannot_be_sent_is_named() -> None:
    held = threading.Lock()  # belongs to one process
    stream = sl.read_arrow(ticks(1, 0)).map(lambda price: {"p": held.locked()}, schema={"p": bool})
    with pytest.raises(sl.BuildError, match="cannot be sent to another process") as error:
        stream.named("asks").collect(workers=TWO)
    assert error.value.step == "asks"


@pytest.mark.parametrize("count", [0, -1, 65, True, 2.0, "2"])
def test_bad_numbers_of_processes(count: Any) -> None:
    with pytest.raises(sl.BuildError, match="no such number"):
        sl.processes(count)


# ---- signals, and the end of the process that runs the job -----------------------------------------------

SCRIPT = """
import os, sys
import pyarrow as pa
import streamlib as sl
from streamlib.contracts import Block, Source, Split, SplitReader

class Numbers(Source):
    bounded = {bounded}
    def schema(self): return pa.schema({{"n": pa.int64()}})
    def splits(self): return [Split("numbers")]
    def open(self, split, position=None): return Reader()

class Reader(SplitReader):
    n = 0
    def read(self):
        self.n += 1
        return Block(self.n, self.n)
    def decode(self, block):
        yield pa.record_batch({{"n": pa.array([block.data])}})

said = []
def say(rows):
    if rows.num_rows and not said:
        said.append(1)
        os.write(1, f"worker {{os.getpid()}}\\n".encode())  # one write: two workers share the pipe
    return rows

out = sl.read(Numbers()).map_batches(say).write_files(sys.argv[1], format="csv")
print(sl.run(out, workers=sl.processes(2), progress=False).status, flush=True)
"""


def begun(tmp_path: Path, bounded: bool) -> tuple[subprocess.Popen[str], list[int]]:
    """A script that runs without end in a process group of its own, and the pids of its workers."""
    script = tmp_path / "endless.py"
    script.write_text(textwrap.dedent(SCRIPT.format(bounded=bounded)))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "PYTHONPATH": str(Path(sl.__file__).parent.parent)},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    assert all(lines), process.communicate()[1]
    return process, [os.pidfd_open(int(line.split()[1])) for line in lines]


def ended(pidfds: list[int]) -> None:
    """Waits for processes that are not ours to wait for."""
    import select

    for pidfd in pidfds:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(20_000), "a worker outlives the process that runs the job"
        os.close(pidfd)


def test_ctrl_c_on_endless_input_is_a_stop(tmp_path: Path) -> None:
    process, workers = begun(tmp_path, bounded=False)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.strip()) == (0, "stopped"), err
    assert "Traceback" not in err
    assert os.listdir(tmp_path / "out")
    ended(workers)


@pytest.mark.slow
def test_ctrl_c_on_input_that_ends_leaves_no_output(tmp_path: Path) -> None:
    process, workers = begun(tmp_path, bounded=True)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert err.count("Traceback") == 1 and "KeyboardInterrupt" in err
    assert sorted(os.listdir(tmp_path)) == ["endless.py"]
    ended(workers)


def test_workers_do_not_outlive_the_process_that_runs_the_job(tmp_path: Path) -> None:
    process, workers = begun(tmp_path, bounded=True)
    process.kill()
    process.communicate(timeout=30)
    ended(workers)

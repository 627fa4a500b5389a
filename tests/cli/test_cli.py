"""The command line, as a user calls it: in a process of its own, or by `main` where nothing depends on that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import streamlib as sl
from streamlib.cli import main
from streamlib.job import reach
from tests.house.repository import ROOT
from tests.job.live import Feed, Seen

SCRIPT = """\
import sys
import pyarrow as pa
import streamlib as sl
from helper import times

rows = pa.table({"ts": pa.array(times, pa.timestamp("s"))})
bars = sl.read_arrow(rows).event_time("ts", max_delay="2s").window(sl.tumbling("10s")).agg(n=sl.count())
report = sl.run(bars.named("bars").write_files("out.csv"), progress=False)
print("arguments", sys.argv[1:], "name", __name__, "rows", report.rows_in, bars.collect().num_rows)
"""

ENDLESS = """\
import sys
import streamlib as sl
from tests.job.live import Feed, Seen

class Telling(Seen):
    def write(self, rows):
        super().write(rows)
        print("written", flush=True)

report = sl.run(sl.read(Feed().send(1, 2)).write(Telling()), name="endless")
print(report.status, report.rows_in)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bars.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("times = [1, 2, 15]\n")
    (tmp_path / "endless.py").write_text(ENDLESS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def streamlib(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamlib", *arguments], capture_output=True, text=True, check=False
    )


def test_run_is_the_same_as_python(folder: Path) -> None:
    ran = streamlib("run", "bars.py", "--day", "monday")
    assert (ran.returncode, ran.stderr) == (0, "")
    output = (folder / "out.csv").read_bytes()
    (folder / "out.csv").unlink()
    python = subprocess.run(
        [sys.executable, "bars.py", "--day", "monday"], capture_output=True, text=True, check=False
    )
    assert ran.stdout == python.stdout == "arguments ['--day', 'monday'] name __main__ rows 3 2\n"
    assert (folder / "out.csv").read_bytes() == output


def test_explain_shows_each_plan_and_runs_none(folder: Path) -> None:
    done = streamlib("explain", "bars.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "plan 1:" in done.stdout and "plan 2:" in done.stdout
    assert "  3  bars  tumbling('10s'): n=count()" in done.stdout and "(bars.py:7)" in done.stdout
    assert "output: deterministic" in done.stdout and "guarantee: exactly_once" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("rows 0 0")
    assert not (folder / "out.csv").exists()


def test_explain_covers_start_head_and_iter_batches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.py").write_text(
        "import pyarrow as pa, streamlib as sl\n"
        "n = sl.read_arrow(pa.table({'n': [1]}))\n"
        "job = sl.start(n.print())\n"
        "assert (job.running, job.wait().status, job.stop().rows_in) == (False, 'explained', 0)\n"
        "assert 'explained' in str(job.why())\n"
        "assert (n.head().num_rows, list(n.iter_batches())) == (0, [])\n"
        "ts = pa.array([1], pa.timestamp('s'))\n"
        "keyed = sl.read_arrow(pa.table({'ts': ts, 'k': ['a']})).event_time('ts', '1s').key_by('k')\n"
        "table = keyed.agg(n=sl.count())\n"
        "assert table.collect().schema == table.schema and table.head().num_rows == 0\n"
    )
    assert main(["explain", "more.py"]) == 0
    assert capsys.readouterr().out.count("plan ") == 5
    (folder / "none.py").write_text("print('hello')\n")
    assert main(["explain", "none.py"]) == 0
    assert "none.py runs no pipeline" in capsys.readouterr().out


def test_an_error_of_streamlib_is_shown_without_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.py").write_text(
        "import pyarrow as pa, streamlib as sl\nsl.read_arrow(pa.table({'n': [1]})).drop('m')\n"
    )
    assert main(["run", "wrong.py"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ColumnNotFoundError: there is no column 'm'") and "wrong.py:2" in told
    assert "Traceback" not in told
    assert main(["run", "--traceback", "wrong.py"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_any_other_error_is_shown_from_the_script_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    assert main(["run", "broken.py"]) == 1
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told and "broken.py" in told and "runpy" not in told


def test_the_exit_code_of_a_script_is_kept(folder: Path) -> None:
    (folder / "leaves.py").write_text("import sys\nsys.exit(7)\n")
    assert streamlib("run", "leaves.py").returncode == 7


def test_a_script_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.py"]) == 2
    assert "no script 'nowhere.py'" in capsys.readouterr().err


def test_running_leaves_the_process_as_it_was(folder: Path) -> None:
    argv, path = list(sys.argv), list(sys.path)
    (folder / "quiet.py").write_text("import sys\nsys.path.append('x')\nsys.argv.append('y')\n")
    assert main(["run", "quiet.py"]) == 0
    assert (sys.argv, sys.path) == (argv, path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_script_on_endless_input_is_asked_from_outside_and_stopped(folder: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "streamlib", "run", "endless.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "written\n"
        told = streamlib("why", "endless")
        assert told.returncode == 0
        assert told.stdout.startswith(f"endless  running  (process {process.pid})\n  write: 2 rows written")
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "stopped 2\n")
    assert "stopping: what was read is finished" in err
    assert streamlib("why").stdout == "no job runs\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a terminal")
def test_ctrl_c_in_a_script_is_exit_code_130(folder: Path) -> None:
    bounded = ENDLESS.replace("Feed()", "Feed(bounded=True)")
    (folder / "bounded.py").write_text(bounded)
    with subprocess.Popen(
        [sys.executable, "-m", "streamlib", "run", "bounded.py"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")


def test_a_job_nobody_waits_for_is_stopped_at_the_end_of_the_program(folder: Path) -> None:
    (folder / "left.py").write_text(
        ENDLESS.replace("sl.run(", "sl.start(").replace("print(report.status, report.rows_in)", "")
    )
    done = subprocess.run(
        [sys.executable, "left.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert "job 'endless' still ran at the end of the program" in done.stderr


def test_an_error_nobody_asked_for_is_told_at_the_end_of_the_program(folder: Path) -> None:
    (folder / "fails.py").write_text(
        "import pyarrow as pa, streamlib as sl\n"
        "def fails(rows: pa.RecordBatch) -> pa.RecordBatch:\n"
        "    return rows if not rows.num_rows else 1 / 0\n"
        "job = sl.start(sl.read_arrow(pa.table({'n': [1]})).map_batches(fails).print(), name='bad')\n"
        "job._ended.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "fails.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "job 'bad' failed, and nobody asked" in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(not reach.supported(), reason="needs Unix sockets")
def test_why_lists_jobs_and_asks_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why"]) == 0
    assert capsys.readouterr().out == "no job runs\n"
    rows = Seen()
    stream = sl.read(Feed().send(1, 2)).named("ticks")
    with sl.start(stream.write(rows), name="bars") as job:
        rows.wait(2)
        assert main(["why"]) == 0
        assert capsys.readouterr().out.startswith(f"bars  running  (process {os.getpid()})\n  write: ")
        assert main(["why", "bars", "--step", "ticks", "--report"]) == 0
        told = capsys.readouterr().out
        assert "  ticks: " in told and "  running: 2 rows in" in told
        assert main(["why", str(os.getpid()), "--json"]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        assert (answer["pid"], answer["job"], answer["status"]) == (os.getpid(), "bars", "running")
        assert main(["why", "bars", "--step", "tick"]) == 1
        assert "no step 'tick'" in capsys.readouterr().err
        assert main(["why", "other"]) == 1
        assert "no job 'other' runs here" in capsys.readouterr().err
        job.stop()


def test_schema_prints_what_can_be_pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ticks.csv").write_text("ts,price\n2026-01-05 12:00:00,1.5\n")
    assert main(["schema", "ticks.csv"]) == 0
    printed = capsys.readouterr().out
    (folder / "pasted.py").write_text(
        f"import streamlib as sl\nprint(sl.read_files('ticks.csv', {printed}).collect().to_pylist())\n"
    )
    assert main(["run", "pasted.py"]) == 0
    assert "'price': 1.5" in capsys.readouterr().out
    assert main(["schema", "ticks.csv", "--dataclass", "Tick"]) == 0
    assert "class Tick" in capsys.readouterr().out


def test_schema_of_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "nowhere.csv"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("SourceError: there is no such file") and "Traceback" not in told
    (folder / "access.log").write_text("a line\n")
    assert main(["schema", "access.log"]) == 1
    told = capsys.readouterr().err
    assert "'.log'" in told and "step:" not in told, "there is no script whose line could be named"


# ---- the command itself ------------------------------------------------------------------------------


def test_help_teaches_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, streamlib.cli\n"
        "try: streamlib.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'pyarrow', 'numpy', 'numba', 'rich'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert done.splitlines()[-1] == "[]"
    for word in ("examples:", "streamlib run bars.py", "streamlib explain", "streamlib why", "sl.run("):
        assert word in done


@pytest.mark.parametrize("command", ["run", "explain", "why", "schema"])
def test_each_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"  streamlib {command}" in capsys.readouterr().out


def test_the_example_in_the_help_is_a_pipeline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out.partition("ends in sl.run(...):")[2]
    (folder / "shown.py").write_text("\n".join(line.strip() for line in shown.splitlines()))
    (folder / "ticks").mkdir()
    (folder / "ticks" / "1.csv").write_text("ts,symbol\n2026-01-05 12:00:00,A\n")
    assert main(["run", "shown.py"]) == 0
    assert "A" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"streamlib {sl.__version__}\n"


def test_without_a_command_it_shows_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_what_cannot_be_understood_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as left:
        main(["rnu"])
    assert left.value.code == 2

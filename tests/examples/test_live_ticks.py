"""The live table, filmed: both ends in one process over the loopback, and the text of the terminal."""

from __future__ import annotations

import importlib.util
import io
import queue
import re
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pyarrow.csv
import pytest
from rich.console import Console

import streamlib as sl

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def live() -> ModuleType:
    return load("live_ticks")


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "ticks.csv"
    pyarrow.csv.write_csv(load("make_ticks").ticks(rows=250_000, symbols=3, seed=1), path)
    return path


def bars_by_hand(path: Path, seconds: int) -> dict[str, dict[int, list[tuple[int, float]]]]:
    """For each symbol and window its prices in the order of time, from the file by plain Python."""
    found: dict[str, dict[int, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in pyarrow.csv.read_csv(path).to_pylist():
        second = int(row["ts"].timestamp())
        micros = round((row["ts"].timestamp() - second) * 1e6) + second * 1_000_000
        found[row["symbol"]][second // seconds].append((micros, row["price"]))
    return found


def test_the_table_shows_the_last_bar_of_each_symbol(live: ModuleType, ticks: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=20, color_system=None, record=True)
    listening: queue.Queue[str] = queue.Queue()
    shown: list[sl.Report] = []
    args = live.arguments(["--port", "0", "--feeds", "1"])
    watching = threading.Thread(
        target=lambda: shown.append(live.watch(args, console, listening.put)), daemon=True
    )
    watching.start()
    port = listening.get(timeout=LIMIT_S).rpartition(":")[2]
    fed = live.feed(live.arguments(["feed", "--input", str(ticks), "--port", port, "--speed", "1000000"]))
    watching.join(LIMIT_S)
    assert not watching.is_alive() and fed.rows_out == 250_000
    (report,) = shown
    expected = bars_by_hand(ticks, 10)
    bars = sum(len(windows) for windows in expected.values())
    assert report.rows_in == 250_000 and report.rows_out == bars and report.rows_late == 0
    film = screen.getvalue()
    pictures = re.findall(r"([\d,]+) bars of ([\d,]+) symbols", film)
    assert pictures[0] == ("0", "0") and pictures[-1] == (str(bars), "3")
    assert len(set(pictures)) > 2, "the table changes while bars close"
    last = film[film.rindex("bars of") :]
    for symbol, windows in expected.items():
        prices = [price for _, price in sorted(windows[max(windows)])]
        row = next(one for one in last.splitlines() if symbol in one).split()
        assert row[2] == f"{len(prices):,}", "trades"
        assert row[3:7] == [f"{x:,.2f}" for x in (prices[0], max(prices), min(prices), prices[-1])]


def test_the_feeder_sends_each_tick_when_it_is_due(
    live: ModuleType, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the clock moved by hand: 25 s of ticks at ten times their speed take 2.5 s."""
    from streamlib.connectors import FileSource
    from streamlib.contracts import PENDING

    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    source = live.Paced(FileSource(ticks, schema=live.SCHEMA), speed=10.0)
    reader = source.open(source.splits()[0])
    rows, begin = 0, None
    while (answer := reader.read()) is not None:
        if answer is PENDING:
            now[0] += 0.01
            continue
        (batch,) = reader.decode(answer)
        rows += batch.num_rows
        assert batch.num_rows <= live.FEED_ROWS_MAX
        first = batch.column("ts")[0].as_py()
        begin = begin or first
        due = (first - begin).total_seconds() / 10.0
        assert due <= now[0] - 100.0 <= due + 0.22, "not early, and late only behind a row that came before"
    reader.close()
    assert rows == 250_000 and 2.0 < now[0] - 100.0 < 2.7


def test_ctrl_c_ends_it_without_a_trace(tmp_path: Path) -> None:
    import os
    import signal

    if sys.platform == "win32":
        pytest.skip("no SIGINT for one process there")
    command = [sys.executable, "-u", str(ROOT / "examples" / "live_ticks.py"), "--port", "0"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert "waiting for ticks on tcp-listen://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err

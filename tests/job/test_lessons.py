"""What hurt the users of the engines before us, one test a line of LESSONS.md that this part of the engine meets.

Each names where it was seen. What has a test elsewhere is not said again: window bounds are columns, windows
of silent keys close (tests/operators, tests/runtime), exceptions keep their origin (tests/job).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.graph import plan_graph
from tests.oracle import queries


def ticks(seconds: list[int], keys: str = "") -> pa.Table:
    return pa.table(
        {
            "ts": pa.array(seconds, pa.timestamp("s")),
            "k": list(keys or "a" * len(seconds)),
            "n": pa.array(range(len(seconds)), pa.int64()),
        }
    )


def bars(table: pa.Table, delay: str = "2s", block_rows: int = 2) -> sl.Stream:
    timed = sl.read(ArrowSource(table, block_rows)).event_time("ts", max_delay=delay)
    return timed.key_by("k").window(sl.tumbling("10s")).agg(n=sl.count(), last=col("n").last())


def starts(table: pa.Table) -> list[int]:
    return table["window_start"].cast(pa.timestamp("s")).cast(pa.int64()).to_pylist()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_last_window_closes_when_the_input_ends(workers: int) -> None:
    """quix-streams#790, faust#250, hazelcast-jet#1605: without a further row it never came out."""
    assert starts(bars(ticks([1, 2])).collect(workers=workers)) == [0]


def test_a_replay_gives_the_same_rows_at_any_speed() -> None:
    """sql-flow PR#234: 500 events came out as five partial results, as windows were closed by the wall clock."""
    table = ticks([n // 10 for n in range(500)], "abcde" * 100)
    answers = [
        queries.found(bars(table, block_rows=block).collect(workers=workers, batch_rows=rows))
        for block, workers, rows in ((1, 1, 1), (7, 4, 3), (500, 1, 500), (500, 2, 1))
    ]
    assert len(answers[0]) == 25
    assert all(answer == answers[0] for answer in answers)


def test_one_watermark_serves_all_keys_however_rare() -> None:
    """bytewax, quix-streams PR#591: with one per key, rows of a rare key are late for nothing and close nothing."""
    table = ticks([1, 100, 2, 3], "abab")
    result = bars(table)
    assert result.late.collect()["n"].to_pylist() == [2, 3]
    assert starts(result.collect()) == [0, 100]


def test_a_watermark_is_the_largest_time_so_far_not_a_batch_s_smallest() -> None:
    """denormalized: a batch that reaches far back pulled the watermark with it."""
    table = ticks([50, 60, 1, 61, 2, 62])
    for block_rows in (1, 2, 3, 6):
        assert bars(table, block_rows=block_rows).late.collect()["n"].to_pylist() == [2, 4]


@pytest.mark.parametrize("origin", [-(10**9), -15, -1, 0, 5, 9_223_372_000 - 7, -9_223_372_000 + 3])
def test_origins_far_away_lose_nothing(origin: int) -> None:
    """bytewax#413: windows whose origin lay far in the past, or before 1970, lost rows."""
    seconds = [origin + n for n in (0, 3, 9, 10, 25)]
    found = bars(ticks(seconds)).collect()
    assert starts(found) == sorted({second - second % 10 for second in seconds})
    assert sum(found["n"].to_pylist()) == 5


def test_more_workers_give_the_same_rows_also_when_one_key_has_nearly_all() -> None:
    """bytewax#405, and the hot key of every engine that only exchanges rows."""
    keys = "".join("b" if n % 97 == 0 else "a" for n in range(2_000))
    table = ticks([n // 20 for n in range(2_000)], keys)
    expected = queries.found(bars(table, block_rows=100).collect())
    for workers in (2, 3, 4, 8):
        assert queries.found(bars(table, block_rows=100).collect(workers=workers)) == expected


def test_partial_results_go_through_the_exchange_not_the_rows_of_a_hot_key() -> None:
    plan = plan_graph([bars(ticks([1])).write(CollectSink())], workers=4)
    names = [step.name for step in plan.steps]
    assert names.index("window (combine)") < names.index("window")
    edge = next(edge for step in plan.steps for edge in step.edges if edge.channel)
    assert plan.steps[edge.target].name == "window" and edge.keys == ("k",)


def test_a_file_needs_no_broker_no_licence_and_no_configuration(tmp_path: Path) -> None:
    """quix-streams#921, pathway: a script of five lines in an empty folder, run as it stands."""
    (tmp_path / "ticks.csv").write_text("ts,k,n\n2024-01-01T00:00:01,a,1\n2024-01-01T00:00:02,a,2\n")
    (tmp_path / "job.py").write_text(
        "import streamlib as sl\n"
        'ticks = sl.read_files("ticks.csv").event_time("ts", max_delay="2s")\n'
        'bars = ticks.key_by("k").window(sl.tumbling("10s")).agg(n=sl.col("n").sum())\n'
        'print(sl.run(bars.write_files("bars.csv"), workers=2).rows_out)\n'
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "job.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={"PYTHONPATH": str(root)},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert (tmp_path / "bars.csv").read_text().splitlines()[1].endswith(",3")


def test_a_test_helper_that_recorded_inputs_as_outputs_would_be_found_here() -> None:
    """faust#785: tests passed against themselves. The sink of our tests holds what left the last step."""
    sink = CollectSink()
    sl.run(bars(ticks([1, 2])).write(sink))
    assert sink.table().schema.names == ["k", "window_start", "window_end", "n", "last"]
    assert sink.table().num_rows == 1

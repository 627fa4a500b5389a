"""Looking at a stream while one writes it: shown without being run."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.observe.report import Late, Report
from tests.job.live import Feed


class Untouched(Feed):
    """Must not be read."""

    def open(self, split, position=None):
        raise AssertionError("somebody reads it")


def test_showing_a_stream_runs_nothing() -> None:
    stream = sl.read(Untouched()).event_time("ts", max_delay="2s").key_by("n").named("ticks")
    assert repr(stream) == "KeyedStream[ticks](ts: timestamp[us], n: int64)"
    shown = stream._repr_html_()
    assert "<td>ts</td><td>timestamp[us]</td><td>event time</td>" in shown
    assert "<td>n</td><td>int64</td><td>key</td>" in shown
    assert (
        "endless" in stream.explain() and stream.explain().splitlines()[-1].strip() == "output: deterministic"
    )


def test_names_are_escaped_in_a_notebook() -> None:
    stream = sl.read_arrow(pa.table({"<b>": [1]})).named("<script>")
    assert "<b>" not in stream._repr_html_() and "<script>" not in stream._repr_html_()


def test_a_negative_head_is_refused() -> None:
    with pytest.raises(sl.BuildError):
        sl.read_arrow(pa.table({"n": [1]})).head(-1)


def test_a_report_is_plain_values_and_readable() -> None:
    report = Report(
        "stopped",
        2.0,
        rows_read={"ticks": 10},
        rows_written={"out": 3},
        late={"bars": Late(2, False, "3s")},
        skipped={"numbers": 1},
        dead_letters={"parse": 1},
        retried={"fetch": 4},
        connectors={"tcp://x": {"clients_refused": 2, "dropped_readers": 0}},
        windows_left_open={"bars": 1},
        rows_left_open={"bars": 4},
        name="job",
    )
    plain = json.loads(json.dumps(report.to_dict()))
    assert (plain["name"], plain["rows_in"], plain["rows_late"]) == ("job", 10, 2)
    assert plain["late"]["bars"] == {"rows": 2, "read": False, "max_delay": "3s"}
    lines = str(report).splitlines()
    assert lines[0] == "stopped: 10 rows in 2.00 s (5 rows/s)"
    assert "  skipped               1  numbers" in lines
    assert "  letters               1  parse: rows that it refused, in its .dead_letters" in lines
    assert "  retried               4  calls of fetch" in lines
    assert "  open                  1  windows of bars with 4 rows: stopped before they closed" in lines
    assert "  tcp://x: 2 clients refused" in lines

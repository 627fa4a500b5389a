"""`Table`: what can be asked of it, and what refuses it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.connectors.tables import PrintTableSink, TableSink
from streamlib.contracts import Sink, SinkWriter
from streamlib.errors import BuildError, SinkError

ROWS = pa.table(
    {
        "ts": pa.array([1, 2, 3, 4, 5], pa.timestamp("s")),
        "k": ["b", "a", None, "b", "c"],
        "v": [1, 2, 3, 4, 5],
    }
)


def totals(**options: object) -> sl.Table:
    ticks = sl.read_arrow(ROWS).event_time("ts", max_delay="0s").key_by("k")
    return ticks.agg(n=sl.count(), total=col("v").sum(), **options)


def test_it_shows_its_columns_keys_and_plan() -> None:
    table = totals()
    assert table.schema == pa.schema({"k": pa.string(), "n": pa.int64(), "total": pa.int64()})
    assert table.keys == ("k",)
    assert repr(table) == "Table[running aggregate by k](k: string, n: int64, total: int64)"
    assert "state: keys" in table.explain()
    assert repr(totals().named("totals")).startswith("Table[totals by k]")


def test_collect_gives_the_last_state_sorted_by_key() -> None:
    wanted = [
        {"k": "a", "n": 1, "total": 2},
        {"k": "b", "n": 2, "total": 5},
        {"k": "c", "n": 1, "total": 5},
        {"k": None, "n": 1, "total": 3},
    ]
    for workers in (1, 2, 3):
        for batch_rows in (1, 2, 100):
            assert totals().collect(workers=workers, batch_rows=batch_rows).to_pylist() == wanted
    assert totals().head(2).to_pylist() == wanted[:2]
    with pytest.raises(BuildError, match="0 or more"):
        totals().head(-1)


def test_print_shows_the_last_state() -> None:
    out = io.StringIO()
    sl.run(totals().write(PrintTableSink(rows=2, file=out)), batch_rows=1)
    assert out.getvalue() == "k  n  total\n-  -  -----\na  1      2\nb  2      5\n... and 2 more rows\n"


def test_changes_make_the_table() -> None:
    state: dict[Any, dict[str, Any]] = {}
    changes = totals().changes()
    assert changes.schema.names == ["k", "n", "total", "change"] and isinstance(changes, sl.KeyedStream)
    for row in changes.collect(batch_rows=1).to_pylist():
        assert row.pop("change") == ("update" if row["k"] in state else "insert")
        state[row["k"]] = row
    assert [state[k] for k in ("a", "b", "c", None)] == totals().collect().to_pylist()


def test_changes_say_that_their_number_is_timing_and_the_last_state_does_not() -> None:
    assert "output: timing, because running aggregate: running updates" in sl.explain(
        totals().changes().print()
    )
    assert "output: deterministic" in sl.explain(totals(max_rate="1s").changes().print())
    assert "output: deterministic" in sl.explain(totals().print())
    assert "have outlived their ttl" in sl.explain(totals(ttl="1s").print())


def test_late_rows_that_nobody_reads_are_counted_though_not_all_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    lines = ["ts,symbol,price,size", "2026-01-01 00:00:09,A,1,5", "2026-01-01 00:00:01,A,1,7"]
    path.write_text("\n".join(lines) + "\n")
    timed = sl.read_files(path).event_time("ts", max_delay="1s")
    sizes = timed.key_by("symbol").agg(size=col("size").sum())
    assert sizes.collect().to_pylist() == [{"symbol": "A", "size": 5}]


def test_late_rows_can_be_read() -> None:
    rows = pa.table({"ts": pa.array([5, 1, 6], pa.timestamp("s")), "k": ["a", "a", "a"], "v": [1, 2, 4]})
    table = sl.read_arrow(rows).event_time("ts", max_delay="1s").key_by("k").agg(total=col("v").sum())
    assert table.collect().to_pylist() == [{"k": "a", "total": 5}]
    late = table.late.collect()
    assert late["v"].to_pylist() == [2] and late["late_by"].cast(pa.int64()).to_pylist() == [3 * 10**9]


@pytest.mark.parametrize(
    "write",
    [
        lambda table: table.write_files("out.csv"),
        lambda table: table.write(CollectSink()),
    ],
)
def test_a_sink_that_appends_refuses_a_table_and_says_what_to_do(write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BuildError, match="appends rows") as error:
        write(totals())
    assert ".changes()" in str(error.value) and "test_table.py" in str(error.value)


class Upserts(Sink, SinkWriter):
    """A dict by key, as an outsider would write it."""

    accepts_upserts = True

    def __init__(self) -> None:
        self.rows: dict[Any, dict[str, Any]] = {}

    def for_table(self, keys: Sequence[str]) -> Sink:
        self.keys = list(keys)
        return self

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self

    def write(self, rows: pa.RecordBatch) -> None:
        for row in rows.to_pylist():
            change, key = row.pop("change"), tuple(row[k] for k in self.keys)
            if change == "delete":
                del self.rows[key]
            else:
                self.rows[key] = row


def test_a_sink_of_ones_own_takes_the_changes_by_key() -> None:
    sink = Upserts()
    report = sl.run(totals().write(sink), batch_rows=1)
    assert sink.rows[("b",)] == {"k": "b", "n": 2, "total": 5} and len(sink.rows) == 4
    assert 4 <= report.rows_out <= 5  # how many changes are seen is timing
    gone = Upserts()
    sl.run(totals(ttl="1s").write(gone), batch_rows=1)
    assert list(gone.rows) == [("b",), ("c",)]


def test_what_is_kept_of_a_table_follows_its_rows_not_its_changes() -> None:
    sink = TableSink()
    with pytest.raises(SinkError, match="no rows yet"):
        sink.table()
    sink.for_table(["k"])
    schema = pa.schema({"k": pa.int64(), "n": pa.int64(), "change": pa.string()})
    sink.prepare(schema)
    writer = sink.open(schema, 0)
    rows = 10_000
    for number in range(60):
        change = "insert" if number == 0 else "update"
        writer.write(pa.record_batch([list(range(rows)), [number] * rows, [change] * rows], schema=schema))
        assert sum(len(batch) for batch in sink._states[0]._gathered) <= 70_000
    writer.write(pa.record_batch([[7], [59], ["delete"]], schema=schema))
    sink.commit([writer.finish()])
    table = sink.table()
    assert table.num_rows == rows - 1 and set(table["n"].to_pylist()) == {59}
    assert table["k"].to_pylist() == sorted(set(range(rows)) - {7})


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_whose_inputs_cannot_be_computed_go_by_the_policy_of_the_step(workers: int) -> None:
    rows = ROWS.append_column("text", pa.array(["1", "two", "3", None, "5"]))
    ticks = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
    table = ticks.agg(total=col("text").cast("int64").sum(), n=sl.count()).on_error("dead_letter")
    last, letters = TableSink(), CollectSink()
    sl.run(table.write(last), table.dead_letters.write(letters), workers=workers)
    assert last.table().to_pylist() == [
        {"k": "b", "total": 1, "n": 2},
        {"k": "c", "total": 5, "n": 1},
        {"k": None, "total": 3, "n": 1},
    ]
    assert letters.table()["text"].to_pylist() == ["two"]


def test_the_report_counts_the_late_rows_of_a_table() -> None:
    rows = pa.table({"ts": pa.array([9, 1], pa.timestamp("s")), "k": ["a", "a"]})
    counts = sl.read_arrow(rows).event_time("ts", max_delay="2s").key_by("k").agg(n=sl.count())
    report = sl.run(counts.print(), progress=False)
    assert report.rows_late == 1 and next(iter(report.late.values())).max_delay == "9s"

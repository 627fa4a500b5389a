"""`t.check` calls every function of the user's with other cuts, and says which of them sees the cut."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col

ROWS = [{"ts": f"00:00:{second:02}", "n": second} for second in (3, 1, 4, 15, 9, 26)]


def ticks() -> sl.Stream:
    return sl.read(t.source(ROWS)).event_time("ts", max_delay="8s")


def centered(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Subtracts the mean of its batch."""
    return rows.set_column(1, "n", pc.subtract(rows["n"].cast(pa.float64()), pc.mean(rows["n"]).as_py() or 0))


def doubled(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.set_column(1, "n", pc.multiply(rows["n"], 2))


def test_the_message_names_the_function_and_shows_the_cut() -> None:
    with pytest.raises(AssertionError) as raised:
        t.check(ticks().map_batches(doubled).map_batches(centered))
    message = str(raised.value)
    assert "the rows are not those of a plain run" in message
    assert "map_batches: centered (" in message and "test_recut.py:" in message
    assert "f(x + y) is not f(x) + f(y)" in message and "doubled" not in message
    lines = [line.split("n=")[1] for line in message.splitlines() if line.startswith("    ts=")]
    assert lines == ["6", "2", "8", "30", "18", "52"], "x is the first row, y the five others"
    assert "x, 1 rows" in message and "y, 5 rows" in message
    assert "only in f(x) + f(y): ts=" in message


def test_it_is_found_where_no_result_shows_it() -> None:
    """The sum of the window does not change, as long as the window is whole."""

    def spread(rows: pa.RecordBatch) -> pa.RecordBatch:
        first = [rows.num_rows] + [0] * (rows.num_rows - 1)
        return rows.append_column("share", pa.array(first[: rows.num_rows], pa.int64()))

    total = ticks().map_batches(spread).window(sl.tumbling("1m")).agg(total=col("share").sum())
    assert total.collect()["total"].to_pylist() == [6]
    with pytest.raises(AssertionError, match=r"spread \(.*sees where its batches are cut") as raised:
        t.check(total)
    assert "plain run" not in str(raised.value)


def test_a_function_that_only_works_on_whole_batches_is_named() -> None:
    def unhappy(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows == 3:
            raise ValueError("three")
        return rows

    with pytest.raises(AssertionError, match=r"unhappy .* fails where its rows are cut") as raised:
        t.check(ticks().map_batches(unhappy), batch_rows=[1, 100], shuffle=False, crashes=False)
    assert "ValueError" in str(raised.value) and "x, 3 rows" in str(raised.value)


def test_functions_of_rows_that_remember_are_found() -> None:
    class Numbered:
        def __init__(self) -> None:
            self.count = itertools.count()

        def __call__(self, row: dict[str, Any]) -> Any:
            return {**row, "n": next(self.count)}

    with pytest.raises(AssertionError, match=r"map: .*Numbered .*gives other rows when it is called again"):
        t.check(ticks().map(Numbered, schema=ticks().schema))


def test_functions_that_keep_the_contract_pass() -> None:
    stream = ticks().map_batches(doubled).flat_map(lambda row: [row] * (row["n"] % 3), schema=ticks().schema)
    assert t.check([stream, stream.window(sl.tumbling("10s")).agg(n=sl.count())], seeds=[1]) == 12


def test_rows_that_are_refused_are_not_held_against_a_function() -> None:
    def picky(n: int) -> dict[str, int]:
        return {"n": 60 // (n - 4)}

    stream = sl.read(t.source([{"n": n} for n in range(9)])).map(picky, schema={"n": int}).on_error("skip")
    assert t.check(stream, seeds=[1])

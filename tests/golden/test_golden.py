"""One file of ticks and the bars that DuckDB made of it, committed: every way of running must give them.

`ticks.csv` holds ties, disorder within the delay of 2 s and beyond it, nulls and keys of many bytes.
`bars.csv` and `late.csv` hold `tests.oracle.queries` over it, times in ns.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest

import streamlib as sl
from streamlib.connectors.memory import CollectSink
from tests.oracle import queries
from tests.oracle.queries import SECOND

HERE = Path(__file__).parent
SCHEMA = {"ts": "timestamp[ms]", "symbol": "string", "price": "float64", "volume": "int64"}
DELAY, LATENESS, SIZE = "2s", "1s", "10s"

RUNS = {
    "straight": {},
    "batches of one row": {"batch_rows": 1},
    "batches of seven rows": {"batch_rows": 7},
    "two workers": {"workers": 2},
    "four workers": {"workers": 4},
    "four workers, batches of three rows": {"workers": 4, "batch_rows": 3},
}


def _kept(name: str) -> list[Any]:
    """A committed answer, in canonical form."""
    with open(HERE / name, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    kinds = {"symbol": str, "price": float, "open": float, "high": float, "low": float, "close": float}
    kinds |= {"mean": float, "vwap": float}
    parsed = [
        tuple(
            None if text == "null" else kinds.get(name, int)(text)
            for name, text in zip(rows[0], row, strict=True)
        )
        for row in rows[1:]
    ]
    return queries.canonical(parsed)


def _run(**how: int) -> tuple[list[Any], list[Any]]:
    ticks = sl.read_files(HERE / "ticks.csv", schema=SCHEMA).event_time("ts", max_delay=DELAY)
    result = queries.ticks_to_bars(ticks, SIZE, LATENESS)
    bars, late = CollectSink(), CollectSink()
    sl.run(result.write(bars), result.late.write(late), **how)
    return queries.found(bars.table()), queries.found(late.table())


@pytest.mark.parametrize("how", RUNS.values(), ids=RUNS)
def test_every_way_of_running_gives_the_golden_bars_and_late_rows(how: dict[str, int]) -> None:
    bars, late = _run(**how)
    assert bars == _kept("bars.csv")
    assert late == _kept("late.csv")


def test_the_golden_answers_are_those_of_duckdb() -> None:
    convert = pa.csv.ConvertOptions(
        column_types={"ts": pa.timestamp("ms"), "symbol": pa.string(), "price": pa.float64()},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    rows = queries.numbered([pa.csv.read_csv(HERE / "ticks.csv", convert_options=convert)])
    how = {"delay": 2 * SECOND, "size": 10 * SECOND, "lateness": SECOND}
    assert queries.bars(rows, **how) == _kept("bars.csv")
    assert queries.late(rows, **how) == _kept("late.csv")

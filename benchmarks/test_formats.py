"""Formats: reading a file of ticks without anything behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streamlib as sl
from benchmarks.jobs import CSV_SCHEMA
from benchmarks.ticks import ticks
from streamlib.connectors.files import FileSource
from streamlib.connectors.memory import CollectSink
from streamlib.contracts import Block

ROWS = 100_000


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "inferred"])
@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "arrow"])
def test_read(benchmark: Callable[..., Any], tmp_path: Path, name: str, declared: bool) -> None:
    path = tmp_path / f"ticks.{name}"
    sl.run(sl.read_arrow(ticks(ROWS)).write_files(path), progress=False)

    def read() -> int:
        source = FileSource(path, schema=CSV_SCHEMA if declared else None)
        reader = source.open(source.splits()[0])
        rows = 0
        while isinstance(block := reader.read(), Block):
            rows += sum(batch.num_rows for batch in reader.decode(block))
        reader.close()
        return rows

    assert benchmark(read) == ROWS


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "arrow"])
def test_write(benchmark: Callable[..., Any], tmp_path: Path, name: str) -> None:
    table = ticks(ROWS)
    path = tmp_path / f"out.{name}"

    def write() -> int:
        return sl.run(sl.read_arrow(table).write_files(path, if_exists="replace"), progress=False).rows_out

    assert benchmark(write) == ROWS


def test_arrow_to_memory(benchmark: Callable[..., Any]) -> None:
    """The engine alone: what a run costs that does nothing."""
    table = ticks(ROWS)

    def run() -> int:
        return sl.run(sl.read_arrow(table).write(CollectSink()), progress=False).rows_out

    assert benchmark(run) == ROWS

"""The main job as a user runs it, against DuckDB's answer over the same file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
BARS = """
    select symbol, time_bucket(interval '10s', ts) as window_start,
        time_bucket(interval '10s', ts) + interval '10s' as window_end, count(*) as trades,
        arg_min(price, (ts, row)) as open, max(price) as high, min(price) as low,
        arg_max(price, (ts, row)) as close, sum(volume)::bigint as volume,
        fsum(price * volume) / sum(volume) as vwap
    from (select *, row_number() over () as row from ticks)
    group by all order by window_start, symbol
"""


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    order = [("window_start", "ascending"), ("symbol", "ascending")]
    return [tuple(row.values()) for row in table.sort_by(order).to_pylist()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ticks")
    made = run("make_ticks.py", "ticks.csv", "--rows", "60000", "--symbols", "50", cwd=folder)
    assert made.returncode == 0, made.stderr
    return folder


def by_duckdb(folder: Path) -> list[tuple[object, ...]]:
    ticks = duckdb.read_csv(str(folder / "ticks.csv"))
    assert ticks.columns == ["ts", "symbol", "price", "volume"]
    return duckdb.sql(BARS).fetchall()


def equal(ours: list[tuple[object, ...]], theirs: list[tuple[object, ...]]) -> None:
    assert len(ours) == len(theirs)
    for mine, their in zip(ours, theirs, strict=True):
        assert mine[:-1] == their[:-1]
        assert mine[-1] == pytest.approx(their[-1], rel=1e-12)


def test_the_bars_of_the_demo_are_those_of_duckdb(folder: Path) -> None:
    """Two runs: the second one replaces what the first one wrote."""
    for _ in range(2):
        done = run("stock_ticks.py", "--input", "ticks.csv", cwd=folder)
        assert done.returncode == 0, done.stderr
    assert "60,000 rows" in done.stdout
    equal(rows(pq.read_table(folder / "out" / "bars")), by_duckdb(folder))


@pytest.mark.parametrize(
    "kind", ["jsonl", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("parquet", "arrow"))]
)
def test_it_takes_a_file_of_the_user_s_own(folder: Path, kind: str) -> None:
    """Other column names, other formats, times as numbers, two workers."""
    import streamlib as sl
    from streamlib import col

    own = sl.read_files(folder / "ticks.csv").select(
        time=col("ts").cast("timestamp[us]").cast("int64"),
        pair=col("symbol"),
        p=col("price"),
        q=col("volume"),
    )
    sl.run(own.write_files(folder / f"own.{kind}", if_exists="replace"))
    columns = "ts=time,symbol=pair,price=p,volume=q"
    arguments = ["--input", f"own.{kind}", "--columns", columns, "--epoch", "us", "--workers", "2"]
    done = run("stock_ticks.py", *arguments, "--output", f"bars_{kind}", cwd=folder)
    assert done.returncode == 0, done.stderr
    equal(rows(pq.read_table(folder / f"bars_{kind}")), by_duckdb(folder))


def test_a_wrong_column_is_explained_without_a_trace(folder: Path) -> None:
    done = run("stock_ticks.py", "--input", "ticks.csv", "--columns", "price=prise", cwd=folder)
    assert done.returncode != 0
    assert "there is no column 'prise'" in done.stderr and "Traceback" not in done.stderr

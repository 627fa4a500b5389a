"""Real trades and real flights: the bars and the late rows are those of DuckDB.

The data lies beside the checkout and is not shipped: ``STREAMLIB_REALDATA`` names its folder, else it is
looked for in ``../shared/realdata``. Batches of one row take half a millisecond each, so by default only
the first trades go through them; ``STREAMLIB_REALDATA_ROWS`` raises their number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.connectors.tables import TableSink
from tests.oracle import queries
from tests.oracle.queries import SECOND
from tests.oracle.test_oracle_updates import changes_between, last_state

FOLDER = Path(
    os.environ.get("STREAMLIB_REALDATA") or Path(__file__).resolve().parents[3] / "shared" / "realdata"
)
ROWS_ONE_BY_ONE = int(os.environ.get("STREAMLIB_REALDATA_ROWS") or 3_000)
HOUR = 3_600 * SECOND

RUNS = [  # the rest of all combinations with the slow tests
    run if run in ((2, 1), (4, 100), (1, 65_536)) else pytest.param(*run, marks=pytest.mark.slow)
    for run in ((workers, batch_rows) for workers in (1, 2, 4) for batch_rows in (1, 100, 65_536))
]

_TRADE_BARS = """
select venue, symbol, epoch_ns(start) as window_start, epoch_ns(start) + 10000000000 as window_end,
    count(*) as trades,
    first(price order by trade_time, seq) as open, max(price) as high, min(price) as low,
    last(price order by trade_time, seq) as close,
    list(qty) as quantities, list(price * qty) as turnovers
from (select *, time_bucket(interval 10 seconds, trade_time) as start from trades) group by all
"""


def _table(name: str) -> pa.Table:
    path = FOLDER / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no {name}.parquet: STREAMLIB_REALDATA names the folder of the real data")
    return pq.read_table(path)


@pytest.fixture(scope="module")
def trades() -> pa.Table:
    return _table("binance_trades").select(["seq", "trade_time", "venue", "symbol", "price", "qty"])


@pytest.fixture(scope="module")
def expected(trades: pa.Table) -> dict[int, list[Any]]:
    """The bars of all trades and of the first ones, by their number. Sums are exact, rounded once."""
    return {rows: _trade_bars(trades.slice(0, rows)) for rows in (len(trades), ROWS_ONE_BY_ONE)}


def _trade_bars(trades: pa.Table) -> list[Any]:
    database = queries.database()
    database.register("trades", trades)
    bars = []
    for *bar, quantities, turnovers in database.execute(_TRADE_BARS).fetchall():
        volume = math.fsum(quantities)
        bars.append((*bar, volume, math.fsum(turnovers) / volume))
    return queries.canonical(bars)


@pytest.fixture(scope="module")
def six_files(trades: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file per venue and symbol, each in the order of its own trades."""
    folder = tmp_path_factory.mktemp("trades")
    for number, (_, rows) in enumerate(_by_partition(trades)):
        pq.write_table(rows, folder / f"{number}.parquet", row_group_size=4_096)
    return folder


def _by_partition(trades: pa.Table) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    for pair in trades.group_by(["venue", "symbol"]).aggregate([]).sort_by("venue").to_pylist():
        here = pc.and_(pc.equal(trades["venue"], pair["venue"]), pc.equal(trades["symbol"], pair["symbol"]))
        yield (pair["venue"], pair["symbol"]), trades.filter(here)


def _engine_bars(stream: sl.Stream, workers: int, batch_rows: int) -> list[Any]:
    bars = (
        stream.key_by("venue", "symbol")
        .window(sl.tumbling("10s"))
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("qty").sum(),
            vwap=(col("price") * col("qty")).sum() / col("qty").sum(),
        )
    )
    sink = CollectSink()
    report = sl.run(bars.write(sink), workers=workers, batch_rows=batch_rows)
    assert report.rows_late == 0
    return queries.found(sink.table())


@pytest.mark.parametrize(("workers", "batch_rows"), RUNS)
def test_trades_of_all_venues_in_one_log_with_a_split_per_venue_and_symbol(
    trades: pa.Table, expected: dict[int, list[Any]], workers: int, batch_rows: int
) -> None:
    rows = trades.slice(0, ROWS_ONE_BY_ONE) if batch_rows == 1 else trades
    stream = sl.read_arrow(rows).event_time("trade_time", max_delay="1s", per=["venue", "symbol"])
    assert _engine_bars(stream, workers, batch_rows) == expected[len(rows)]


@pytest.mark.parametrize(("workers", "batch_rows"), [run for run in RUNS if run != (2, 1)])
def test_trades_in_a_file_per_venue_and_symbol(
    six_files: Path, trades: pa.Table, expected: dict[int, list[Any]], workers: int, batch_rows: int
) -> None:
    """Inside one of them no trade is out of order: `max_delay` can be zero."""
    stream = sl.read_files(six_files).event_time("trade_time", max_delay="0s")
    assert _engine_bars(stream, workers, batch_rows) == expected[len(trades)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_first_trades_of_each_venue_and_symbol_one_by_one(
    trades: pa.Table, workers: int, tmp_path: Path
) -> None:
    """The first trades as six files: what is read at batches of one row as well."""
    first = trades.slice(0, ROWS_ONE_BY_ONE)
    for number, (_, rows) in enumerate(_by_partition(first)):
        pq.write_table(rows, tmp_path / f"{number}.parquet")
    stream = sl.read_files(tmp_path).event_time("trade_time", max_delay="0s")
    assert _engine_bars(stream, workers, 1) == _trade_bars(first)


# ---- sessions of trades ------------------------------------------------------------------------------

_TRADE_SESSIONS = """
with begun as (
    select *, coalesce(trade_time - lag(trade_time) over w > interval 250 milliseconds, false)::int as begins
    from trades window w as (partition by venue, symbol order by trade_time, seq)
),
numbered as (
    select *, sum(begins) over (partition by venue, symbol order by trade_time, seq) as session from begun
)
select venue, symbol, epoch_ns(min(trade_time)) as window_start,
    epoch_ns(max(trade_time)) + 250000000 as window_end, count(*) as trades,
    first(price order by trade_time, seq) as open, max(price) as high,
    last(price order by trade_time, seq) as close
from numbered group by venue, symbol, session
"""


@pytest.fixture(scope="module")
def expected_sessions(trades: pa.Table) -> list[Any]:
    database = queries.database()
    database.register("trades", trades)
    return queries.canonical(database.execute(_TRADE_SESSIONS).fetchall())


@pytest.mark.parametrize(("workers", "batch_rows"), [(1, 65_536), (2, 1_000), (4, 65_536)])
def test_sessions_of_trades_with_a_gap_of_250_ms(
    trades: pa.Table, expected_sessions: list[Any], workers: int, batch_rows: int
) -> None:
    stream = sl.read_arrow(trades).event_time("trade_time", max_delay="1s", per=["venue", "symbol"])
    visits = (
        stream.key_by("venue", "symbol")
        .window(sl.session("250ms"))
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            close=col("price").last(),
        )
    )
    sink = CollectSink()
    report = sl.run(visits.write(sink), workers=workers, batch_rows=batch_rows)
    assert report.rows_late == 0
    assert len(expected_sessions) > 1_000
    assert queries.found(sink.table()) == expected_sessions


_HOPS = """
select venue, symbol, start as window_start, start + 10000000000 as window_end, count(*) as trades,
    first(price order by trade_time, seq) as open, max(price) as high, min(price) as low,
    last(price order by trade_time, seq) as close
from (
    select *, 2000000000 * unnest(range(epoch_ns(trade_time) // 2000000000 - 4, epoch_ns(trade_time) // 2000000000 + 1))
        as start
    from trades)
group by all
"""


@pytest.mark.parametrize(("workers", "batch_rows"), [(1, 65_536), (2, 1_000), (4, 65_536)])
def test_ten_seconds_of_trades_every_two_seconds(trades: pa.Table, workers: int, batch_rows: int) -> None:
    database = queries.database()
    database.register("trades", trades)
    wanted = queries.canonical(database.execute(_HOPS).fetchall())
    stream = sl.read_arrow(trades).event_time("trade_time", max_delay="1s", per=["venue", "symbol"])
    windows = stream.key_by("venue", "symbol").window(sl.hopping("10s", every="2s"))
    bars = windows.agg(
        trades=sl.count(),
        open=col("price").first(),
        high=col("price").max(),
        low=col("price").min(),
        close=col("price").last(),
    )
    sink = CollectSink()
    report = sl.run(bars.write(sink), workers=workers, batch_rows=batch_rows)
    assert report.rows_late == 0
    assert queries.found(sink.table()) == wanted


# ---- flights: real disorder, up to 21.7 hours --------------------------------------------------------


@pytest.fixture(scope="module")
def flights() -> pa.Table:
    """Departures under the names of the ticks, so that the oracle and the compiled kernels are theirs."""
    table = _table("nyc_departures").sort_by("seq")
    return pa.table(
        {
            "ts": table["sched_dep_utc"],
            "symbol": table["origin"].cast(pa.string()),
            "price": table["dep_delay"].cast(pa.float64()),
            "volume": table["distance"],
        }
    )


def _flights_run(flights: pa.Table, max_delay: str, workers: int) -> tuple[sl.Report, list[Any], list[Any]]:
    stream = sl.read_arrow(flights).event_time("ts", max_delay=max_delay)
    hours = queries.ticks_to_bars(stream, "1h")
    bars, late = CollectSink(), CollectSink()
    report = sl.run(hours.write(bars), hours.late.write(late), workers=workers)
    return report, queries.found(bars.table()), queries.found(late.table())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_flights_within_22_hours_are_all_in_their_hour(flights: pa.Table, workers: int) -> None:
    _, bars, late = _flights_run(flights, "22h", workers)
    assert late == []
    assert bars == queries.bars(queries.numbered([flights]), delay=22 * HOUR, size=HOUR)
    assert sum(bar[3] for bar in bars) == len(flights)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_flights_an_hour_behind_are_late_exactly_when_sql_says_so(flights: pa.Table, workers: int) -> None:
    report, bars, late = _flights_run(flights, "1h", workers)
    rows = queries.numbered([flights])
    assert late == queries.late(rows, delay=HOUR, size=HOUR)
    assert bars == queries.bars(rows, delay=HOUR, size=HOUR)
    assert 0 < len(late) == report.rows_late == len(flights) - sum(bar[3] for bar in bars)


@pytest.mark.slow
def test_hours_are_corrected_once_by_the_flights_that_come_within_22_hours(flights: pa.Table) -> None:
    stream = sl.read_arrow(flights).event_time("ts", max_delay="1h")
    hours = queries.ticks_to_bars(stream, "1h", lateness="22h", emit="updates")
    changes, last = CollectSink(), TableSink()
    report = sl.run(hours.changes().write(changes), hours.write(last), workers=2)
    rows = queries.numbered([flights])
    first = queries.bars(rows, delay=HOUR, size=HOUR)
    whole = queries.bars(rows, delay=HOUR, size=HOUR, lateness=22 * HOUR)
    assert report.rows_late == len(flights) - sum(bar[3] for bar in whole)
    assert queries.found(changes.table()) == changes_between(first, whole)
    assert queries.found(last.table()) == last_state(first, whole)


def test_the_delay_that_the_report_suggests_keeps_every_flight(flights: pa.Table) -> None:
    report, _, _ = _flights_run(flights, "1h", 1)
    (suggested,) = [late.max_delay for late in report.late.values()]
    assert suggested is not None
    assert _flights_run(flights, suggested, 1)[2] == []


_RUNNING = """
select seq, sum(price * qty) over w / sum(qty) over w as vwap, price / max(price) over w - 1 as drawdown,
    count(*) over w as n
from trades window w as (partition by symbol order by trade_time, seq rows unbounded preceding)
"""


def _running(state: Any, price: Any, qty: Any) -> Any:
    turnover, total, peak, n = state
    turnover, total, peak, n = turnover + price * qty, total + qty, max(peak, price), n + 1
    return (turnover, total, peak, n), (turnover / total, price / peak - 1, n)


def test_running_vwap_and_drawdown_of_trades_out_of_order(trades: pa.Table) -> None:
    """Arrival is drawn: each trade up to two seconds after it happened, by its number where times are equal."""
    delay = np.random.default_rng(5).integers(0, 2_000_000_000, len(trades))
    times = trades["trade_time"].cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy()
    groups = np.unique(times, return_inverse=True)[1]
    arrival = np.lexsort((trades["seq"].to_numpy(), times + delay[groups]))
    arrived = trades.take(pa.array(arrival))
    keyed = sl.read_arrow(arrived).event_time("trade_time", max_delay="2s").key_by("symbol")
    into = {"vwap": "float64", "drawdown": "float64", "n": "int64"}
    stream = keyed.scan(_running, init=(0.0, 0.0, 0.0, 0), into=into)
    assert "_running, compiled  <-" in stream.explain()
    found = stream.select("seq", *into).collect().sort_by("seq")
    connection = duckdb.connect()
    connection.register("trades", trades)
    wanted = connection.sql(_RUNNING).to_arrow_table().sort_by("seq")
    assert found["seq"].to_pylist() == wanted["seq"].to_pylist(), "no trade is late, none is lost"
    assert found["n"].to_pylist() == wanted["n"].to_pylist()
    for name in ("vwap", "drawdown"):
        np.testing.assert_allclose(found[name].to_numpy(), wanted[name].to_numpy(), rtol=1e-12, atol=1e-15)

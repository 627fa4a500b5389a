"""The examples of parts of one's own: against the batteries of conformance, zoneinfo and SQLite's own answer."""

from __future__ import annotations

import datetime as dt
import importlib.util
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.errors import SourceError

ROOT = Path(__file__).parents[2]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


own_window = example("own_window")
own_connector = example("own_connector")
sessions = example("trading_sessions")

# ---- shifts

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]


def bounds_by_hand(time: dt.datetime, zone: str, hours: tuple[int, ...]) -> tuple[dt.datetime, dt.datetime]:
    """The last change at or before `time` and the one after, by Python's own time zones."""
    local = time.astimezone(ZoneInfo(zone)).date()
    changes = sorted(
        dt.datetime.combine(local + dt.timedelta(days), dt.time(hour), ZoneInfo(zone)).astimezone(dt.UTC)
        for days in range(-2, 3)
        for hour in hours
    )
    after = next(i for i, change in enumerate(changes) if change > time)
    return changes[after - 1], changes[after]


@given(
    seconds=st.lists(st.integers(-2_000_000_000, 9_000_000_000), min_size=1, max_size=5),
    zone=st.sampled_from(ZONES),
    hours=st.sampled_from([(6, 14, 22), (0,), (7, 19)]),
)
def test_shifts_begin_and_end_by_local_time(seconds: list[int], zone: str, hours: tuple[int, ...]) -> None:
    window = own_window.Shifts(zone, tuple(hour * 3600 for hour in hours))
    starts = window.starts(np.array(seconds, dtype=np.int64) * 10**9)
    ends = window.ends(starts)
    for second, start, end in zip(seconds, starts.tolist(), ends.tolist(), strict=True):
        time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=second)
        want = bounds_by_hand(time, zone, hours)
        assert [start, end] == [round(w.timestamp()) * 10**9 for w in want]


def test_shifts_keep_what_a_window_promises() -> None:
    t.check_window(own_window.shifts("06:00,14:00,22:00", "Europe/Berlin"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:exchange_calendars", "ignore:Series.values")
def test_trading_sessions_keep_what_a_window_promises() -> None:
    t.check_window(sessions.trading_sessions("XNYS", "2025-01-01", "2026-06-30"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:exchange_calendars", "ignore:Series.values")
def test_trading_sessions_know_holidays_half_days_and_summer_time() -> None:
    window = sessions.trading_sessions("XNYS", "2025-11-01", "2026-03-31")
    rows = sl.read_arrow(sessions.trades_around_thanksgiving()).event_time("ts", max_delay="0s")
    bars = rows.window(window).agg(trades=sl.count()).collect().to_pylist()
    found = [
        (f"{bar['window_start']:%d %H:%M}", f"{bar['window_end']:%d %H:%M}", bar["trades"]) for bar in bars
    ]
    # New York trades from 9:30 to 16:00; not on 27 November 2025, and until 13:00 on the 28th.
    assert found[1::2] == [
        ("26 14:30", "26 21:00", 39),
        ("28 14:30", "28 18:00", 21),
        ("01 14:30", "01 21:00", 39),
    ]
    noon = np.array([np.datetime64("2026-03-09T17:00", "ns")]).astype(np.int64)  # the Monday after the change
    assert str(window.starts(noon).astype("datetime64[ns]")[0])[:16] == "2026-03-09T13:30"


def test_the_night_the_clocks_go_back_has_a_shift_of_nine_hours() -> None:
    parts = sl.read_arrow(own_window.a_weekend_of_parts()).event_time("made", max_delay="10m")
    window = own_window.shifts("06:00,14:00,22:00", "Europe/Berlin")
    counts = parts.window(window).agg(parts=sl.count())
    rows = counts.collect().to_pylist()
    lengths = [int((row["window_end"] - row["window_start"]).total_seconds()) // 3600 for row in rows]
    assert lengths == [8, 8, 9, 8, 8, 8] and sum(row["parts"] for row in rows) == 36 * 6
    assert rows[2]["parts"] == 9 * 6
    t.check(counts)


# ---- SQLite


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    own_connector.make_orders(path)
    return path


def test_the_source_and_the_sink_keep_their_promises(shop: Path) -> None:
    assert t.check_source(lambda: own_connector.SqliteSource(shop, "orders")) == 1
    places = iter(range(100))

    def seen(sink: own_connector.SqliteSink) -> pa.Table | None:
        with closing(sqlite3.connect(sink.path)) as database:
            if not database.execute("select 1 from sqlite_master where name = 'out'").fetchall():
                return None
            found = database.execute("select n, s from out").fetchall()
        return pa.table({"n": pa.array([n for n, _ in found], pa.int64()), "s": [s for _, s in found]})

    t.check_sink(lambda: own_connector.SqliteSink(shop.with_name(f"{next(places)}.db"), "out"), seen)


@pytest.mark.parametrize("workers", [1, 3])
def test_revenue_equals_that_of_sqlite(shop: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_connector, "BLOCK_ROWS", 7)
    orders = sl.read(own_connector.SqliteSource(shop, "orders"))
    revenue = (
        orders.with_columns(placed=sl.from_epoch(col("placed"), "s"))
        .event_time("placed", max_delay="1m")
        .key_by("customer")
        .window(sl.tumbling("10m"))
        .agg(orders=sl.count(), revenue=col("amount").sum())
    )
    sl.run(revenue.write(own_connector.SqliteSink(shop, "revenue")), workers=workers, progress=False)
    with closing(sqlite3.connect(shop)) as database:
        ours = database.execute(
            "select customer, window_start, orders, revenue from revenue order by 2, 1"
        ).fetchall()
        theirs = database.execute(
            "select customer, datetime(placed / 600 * 600, 'unixepoch'), count(*), sum(amount) "
            "from orders group by 1, 2 order by 2, 1"
        ).fetchall()
    assert ours == theirs


def test_a_table_that_is_not_there_is_named(shop: Path) -> None:
    with pytest.raises(SourceError, match="table customers"):
        sl.read(own_connector.SqliteSource(shop, "customers"))

"""Interval joins give what DuckDB's joins give, whatever the splits, the disorder, the cuts and the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.elements import format_duration
from streamlib.operators.windows.session import SessionWindow
from tests.oracle import queries
from tests.oracle.drawn import ORIGINS, UNIT, ticks
from tests.oracle.queries import SECOND
from tests.oracle.test_oracle_asof import _LATE, load, stream
from tests.oracle.test_realdata import _table

HOWS = ("inner", "left", "right", "full", "semi", "anti")
KEYS = (("symbol",), ("price",), ("symbol", "price"), ("volume",), ())

_ON = "{equal} and b.ts - a.ts between {low}::hugeint and {high}::hugeint and {where}"


@dataclass(frozen=True)
class Case:
    """Two inputs and how to join them."""

    left: list[pa.Table]
    right: list[pa.Table]
    delays: tuple[int, int]
    keys: tuple[str, ...]
    within: tuple[int, int]
    how: str
    where: bool
    lateness: int
    workers: int
    batch_rows: int
    block_rows: int

    @property
    def columns(self) -> list[str]:
        """What comes out, by the names that the rows of either side have as ticks."""
        left = ["ts", "symbol", "price", "volume"]
        if self.how in ("semi", "anti"):
            return left
        return left + [f"{name}_right" for name in left if name not in self.keys]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    origin = draw(st.sampled_from(list(ORIGINS.values())))
    sides = [draw(st.lists(ticks(origin), min_size=1, max_size=3)) for _ in range(2)]
    left, right = ([queries.split_table(split) for split in splits] for splits in sides)
    delays = st.sampled_from([0, UNIT, 2 * SECOND, 20 * SECOND])
    ends = st.sampled_from([-30 * SECOND, -2 * SECOND, -UNIT, 0, UNIT, 3 * SECOND, 40 * SECOND])
    low, high = sorted((draw(ends), draw(ends)))
    return Case(
        left=left,
        right=right,
        delays=(draw(delays), draw(delays)),
        keys=draw(st.sampled_from(KEYS)),
        within=(low, high),
        how=draw(st.sampled_from(HOWS)),
        where=draw(st.booleans()),
        lateness=draw(st.sampled_from([0, 0, UNIT, 5 * SECOND])),
        workers=draw(st.sampled_from([1, 2])),
        batch_rows=draw(st.sampled_from([1, 2, 7, 65_536])),
        block_rows=draw(st.sampled_from([1, 3, 65_536])),
    )


def duckdb_rows(case: Case, on: str) -> list[Any]:
    load(case.left, "a", case.delays[0], case.lateness)
    connection = load(case.right, "b", case.delays[1], case.lateness)
    columns = []
    for name in case.columns:
        own = name.removesuffix("_right")
        side = "b" if own != name else "a"
        value = f"{side}.{own}"
        if own in case.keys and case.how in ("right", "full"):
            value = f"coalesce(a.{own}, b.{own})"
        columns.append(f"({value})::bigint" if own == "ts" else value)
    query = f"""
        select {", ".join(columns)} from (select * from a where not late) a
        {case.how} join (select * from b where not late) b on {on}
    """
    return queries.canonical(connection.execute(query).fetchall())


def interval_condition(case: Case) -> str:
    equal = " and ".join([f"a.{key} = b.{key}" for key in case.keys] or ["true"])
    where = "a.volume <= b.volume" if case.where else "true"
    return _ON.format(equal=equal, low=case.within[0], high=case.within[1], where=where)


def streams(case: Case) -> list[sl.Stream]:
    return [
        stream(splits, delay, case.block_rows)
        for splits, delay in zip((case.left, case.right), case.delays, strict=True)
    ]


def joined(case: Case) -> sl.Stream:
    left, right = streams(case)
    other = "volume" if case.keys == ("volume",) else "volume_right"
    return left.join(
        right,
        on=list(case.keys),
        within=tuple(format_duration(end) for end in case.within),
        how=case.how,
        where=col("volume") <= col(other) if case.where else None,
        allowed_lateness=format_duration(case.lateness),
    )


@given(case=cases())
def test_interval_joins_and_late_rows_equal_duckdb(case: Case) -> None:
    whole = joined(case)
    assert whole.schema.names == case.columns
    sinks = [CollectSink() for _ in range(3)]
    report = sl.run(
        whole.write(sinks[0]),
        whole.late_left.write(sinks[1]),
        whole.late_right.write(sinks[2]),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    rows, *late = (sink.table() for sink in sinks)
    assert queries.found(rows) == duckdb_rows(case, interval_condition(case))
    for side, found in zip("ab", late, strict=True):
        query = _LATE.format(side=side, lateness=case.lateness)
        assert queries.found(found) == queries.canonical(queries.database().execute(query).fetchall())
    assert report.rows_late == sum(map(len, late))


@given(case=cases())
def test_columns_that_nobody_reads_change_nothing(case: Case) -> None:
    found = joined(case).select("volume").collect(workers=case.workers, batch_rows=case.batch_rows)
    at = case.columns.index("volume")
    wanted = [(row[at],) for row in duckdb_rows(case, interval_condition(case))]
    assert queries.found(found) == queries.canonical(wanted)


# ---- windows -----------------------------------------------------------------------------------------

_WINDOWS = """
select *, greatest(start, {min})::bigint as window_start, least(start + {size}, {max})::bigint as window_end
from (
    select *, ts - (((ts - {offset}) % {every}) + {every}) % {every} - hop * {every} as start
    from {side}, (select unnest(range({hops}))::hugeint as hop)
)
where start > ts - {size} and {late} coalesce(mark >= start + {size} + {lateness}, false)
"""

_SESSIONS = """
select *, session as start from (
    select *, min(ts) over same as window_start, least(max(ts) over same + {gap}, {max}) as window_end from (
        select *, sum(begins) over (partition by {keys} order by ts, side, split, pos) as session from (
            select *, coalesce(ts - lag(ts) over (partition by {keys} order by ts, side, split, pos) > {gap}, true)
                ::int as begins
            from (select *, 'a' as side from a where not late union all select *, 'b' from b where not late)
        )
    ) window same as (partition by {keys}, session)
) where side = '{side}'
"""

WINDOWS = {
    "tumbling": sl.tumbling("7s"),
    "tumbling with an offset": sl.tumbling("10s", offset="300ms"),
    "hopping": sl.hopping("10s", every="4s"),
    "hopping with an offset": sl.hopping("3s", every="1s", offset="100ms"),
    "session": sl.session("1s"),
}


def sides_of(case: Case, window: Any, late: bool = False) -> list[str]:
    """Both sides as SQL, a row for each window that takes it."""
    if isinstance(window, SessionWindow):
        keys = ", ".join([*case.keys, "1"])
        return [_SESSIONS.format(gap=window.gap, keys=keys, side=side, max=queries.MAX) for side in "ab"]
    every = getattr(window, "every", window.size)
    options = {
        "size": window.size,
        "every": every,
        "offset": window.offset,
        "hops": -(-window.size // every),
        "lateness": case.lateness,
        "late": "" if late else "not",
        "min": queries.MIN,
        "max": queries.MAX,
    }
    return [_WINDOWS.format(side=side, **options) for side in "ab"]


@given(case=cases(), window=st.sampled_from(sorted(WINDOWS)))
def test_window_joins_equal_duckdb(case: Case, window: str) -> None:
    left, right = streams(case)
    other = "volume" if case.keys == ("volume",) else "volume_right"
    whole = left.join(
        right,
        on=list(case.keys),
        window=WINDOWS[window],
        how=case.how,
        where=col("volume") <= col(other) if case.where else None,
        allowed_lateness=format_duration(case.lateness),
    )
    sinks = [CollectSink() for _ in range(3)]
    report = sl.run(
        whole.write(sinks[0]),
        whole.late_left.write(sinks[1]),
        whole.late_right.write(sinks[2]),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    rows, *late = (sink.table() for sink in sinks)
    assert rows.schema.names == [*case.columns, "window_start", "window_end"]
    load(case.left, "a", case.delays[0], case.lateness)
    connection = load(case.right, "b", case.delays[1], case.lateness)
    assert queries.found(rows) == windowed_rows(case, WINDOWS[window], connection)
    for side, found, source in zip("ab", late, sides_of(case, WINDOWS[window], late=True), strict=True):
        if window == "session":
            query = (
                f"select ts::bigint, volume, 1, (mark - {case.lateness} - ts)::bigint from {side} where late"
            )
        else:
            query = f"""
                select ts::bigint, volume, count(*), max(mark - start - {WINDOWS[window].size} - {case.lateness})
                    ::bigint from ({source}) group by split, pos, ts, volume
            """
        wanted = queries.canonical(connection.execute(query).fetchall())
        assert queries.found(found.select(["ts", "volume", "windows_late", "late_by"])) == wanted
    assert report.rows_late == sum(map(len, late))


def windowed_rows(case: Case, window: Any, connection: Any) -> list[Any]:
    columns = []
    for name in [*case.columns, "window_start", "window_end"]:
        own = name.removesuffix("_right")
        value = f"{'b' if own != name else 'a'}.{own}"
        if case.how in ("right", "full") and (own in case.keys or name.startswith("window_")):
            value = f"coalesce(a.{own}, b.{own})"
        columns.append(f"({value})::bigint" if own in ("ts", "window_start", "window_end") else value)
    equal = " and ".join(["a.start = b.start", *(f"a.{key} = b.{key}" for key in case.keys)])
    where = "a.volume <= b.volume" if case.where else "true"
    left, right = sides_of(case, window)
    query = f"select {', '.join(columns)} from ({left}) a {case.how} join ({right}) b on {equal} and {where}"
    return queries.canonical(connection.execute(query).fetchall())


# ---- real trades of two venues, real flights of one plane --------------------------------------------


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("workers", "batch_rows"), [(1, 65_536), (2, 1_000)])
def test_trades_of_two_venues_within_50_ms(how: str, workers: int, batch_rows: int) -> None:
    trades = _table("binance_trades").select(["seq", "trade_time", "venue", "symbol", "price"])
    sides = [trades.filter(pc.equal(trades["venue"], venue)).slice(0, 2_000) for venue in ("spot", "usdm")]
    left, right = (
        sl.read_arrow(side).event_time("trade_time", max_delay="0s", per="symbol") for side in sides
    )
    joined = left.join(right, on="symbol", within=("-50ms", "50ms"), how=how)
    names = ["seq"] if how in ("semi", "anti") else ["seq", "seq_right"]
    found = joined.select(*names).collect(workers=workers, batch_rows=batch_rows)
    database = queries.database()
    for name, side in zip(("spot", "usdm"), sides, strict=True):
        database.register(name, side)
    columns = ", ".join(f"{'b' if name == 'seq_right' else 'a'}.seq" for name in names)
    wanted = database.execute(f"""
        select {columns} from spot a {how} join usdm b on a.symbol = b.symbol
        and epoch_ns(b.trade_time) - epoch_ns(a.trade_time) between -50_000_000 and 50_000_000
    """).fetchall()
    for name in ("spot", "usdm"):
        database.unregister(name)
    assert len(wanted) > 50
    assert queries.found(found) == queries.canonical(wanted)


@pytest.mark.parametrize("window", ["tumbling", "session"])
def test_departures_of_two_airports_in_the_same_hour(window: str) -> None:
    """Real delays: rows are out of order by up to 22 hours."""
    flights = _table("nyc_departures").slice(0, 8_000).select(["seq", "sched_dep_utc", "origin", "dest"])
    sides = [flights.filter(pc.equal(flights["origin"], origin)) for origin in ("JFK", "LGA")]
    left, right = (sl.read_arrow(side).event_time("sched_dep_utc", max_delay="22h") for side in sides)
    chosen = sl.tumbling("1h") if window == "tumbling" else sl.session("20m")
    joined = left.join(right, on="dest", window=chosen, how="full").select("seq", "seq_right", "window_start")
    database = queries.database()
    database.register("flights", pa.concat_tables(sides))
    start = "time_bucket(interval 1 hour, sched_dep_utc)"
    if window == "session":
        start = "min(sched_dep_utc) over (partition by dest, session)"
    wanted = database.execute(f"""
        with begun as (select *, coalesce(sched_dep_utc - lag(sched_dep_utc) over (partition by dest
            order by sched_dep_utc, seq) > interval 20 minutes, true)::int as begins from flights),
        numbered as (select *, sum(begins) over (partition by dest order by sched_dep_utc, seq) as session
            from begun),
        windowed as (select *, {start} as start from numbered)
        select a.seq, b.seq, epoch_ns(coalesce(a.start, b.start))
        from (select * from windowed where origin = 'JFK') a
        full join (select * from windowed where origin = 'LGA') b on a.dest = b.dest and a.start = b.start
    """).fetchall()
    database.unregister("flights")
    assert queries.found(joined.collect(workers=2)) == queries.canonical(wanted)

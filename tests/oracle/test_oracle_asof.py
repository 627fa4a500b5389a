"""As-of joins give what DuckDB's ASOF JOIN gives, whatever the splits, the disorder, the cuts and the workers.

Of right rows with one key and time DuckDB takes any: the oracle leaves it the one that the order of rows
says, the last of them backward and the first forward.
"""

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
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import ORIGINS, UNIT, ticks
from tests.oracle.queries import SECOND
from tests.oracle.test_realdata import ROWS_ONE_BY_ONE, _table

NS = pa.timestamp("ns")

_SIDE = """
create or replace temp table {side} as
with marked as (
    select *, max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
        - {delay}::hugeint as mark
    from rows
)
select *, coalesce(mark > ts + {lateness}, false) as late from marked
"""

_LATE = (
    "select ts::bigint as ts, symbol, price, volume, (mark - {lateness} - ts)::bigint from {side} where late"
)

_RIGHT = """
(select * from b where not late
qualify row_number() over (partition by {key}, ts order by split {order}, pos {order}) = 1)
"""

_JOIN = """
select a.split, a.pos, a.ts, a.{key} as key, a.volume, b.ts as ts_b, b.{other} as other, b.volume as volume_b
from (select * from a where not late) a asof left join {right} b on a.{key} = b.{key} and a.ts {compare} b.ts
"""

_NEAREST = """
select before.* replace (
    case when use_after then after.ts_b else before.ts_b end as ts_b,
    case when use_after then after.other else before.other end as other,
    case when use_after then after.volume_b else before.volume_b end as volume_b)
from ({before}) before join ({after}) after using (split, pos),
lateral (select coalesce(after.ts_b - before.ts < before.ts - before.ts_b, after.ts_b is not null) as use_after)
"""

_RESULT = """
select ts::bigint, key, volume,
    case when near then ts_b::bigint end, case when near then other end, case when near then volume_b end
from ({joined}), lateral (select coalesce({within}, ts_b is not null) as near) where near or {keeps}
"""


@dataclass(frozen=True)
class Case:
    """Two inputs and how to join them."""

    left: list[pa.Table]
    right: list[pa.Table]
    delays: tuple[int, int]
    key: str
    direction: str
    tolerance: int | None
    how: str
    allow_exact: bool
    lateness: int
    workers: int
    batch_rows: int
    block_rows: int

    @property
    def options(self) -> dict[str, Any]:
        tolerance = None if self.tolerance is None else format_duration(self.tolerance)
        return {
            "direction": self.direction,
            "tolerance": tolerance,
            "how": self.how,
            "allow_exact": self.allow_exact,
            "allowed_lateness": format_duration(self.lateness),
        }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    origin = draw(st.sampled_from(list(ORIGINS.values())))
    sides = [draw(st.lists(ticks(origin), min_size=1, max_size=3)) for _ in range(2)]
    left, right = ([queries.split_table(split) for split in splits] for splits in sides)
    delays = st.sampled_from([0, UNIT, 2 * SECOND, 20 * SECOND])
    direction = draw(st.sampled_from(["backward", "forward", "nearest"]))
    tolerances = [UNIT, 3 * SECOND, 0, 600 * SECOND]
    return Case(
        left=left,
        right=right,
        delays=(draw(delays), draw(delays)),
        key=draw(st.sampled_from(["symbol", "symbol", "price"])),
        direction=direction,
        tolerance=draw(st.sampled_from([None, *tolerances] if direction == "backward" else tolerances)),
        how=draw(st.sampled_from(["left", "inner"])),
        allow_exact=draw(st.booleans()),
        lateness=draw(st.sampled_from([0, 0, UNIT, 5 * SECOND])),
        workers=draw(st.sampled_from([1, 2, 4])),
        batch_rows=draw(st.sampled_from([1, 2, 7, 65_536])),
        block_rows=draw(st.sampled_from([1, 3, 65_536])),
    )


def stream(splits: list[pa.Table], delay: int, block_rows: int) -> sl.Stream:
    first, *others = (
        sl.read(ArrowSource(rows, block_rows, name=f"split {n}")) for n, rows in enumerate(splits)
    )
    return first.union(*others).event_time("ts", max_delay=format_duration(delay))


def load(splits: list[pa.Table], side: str, delay: int, lateness: int) -> Any:
    connection = queries._load(queries.numbered(splits))
    connection.execute(_SIDE.format(side=side, delay=delay, lateness=lateness))
    return connection


def duckdb_rows(case: Case) -> list[Any]:
    load(case.left, "a", case.delays[0], case.lateness)
    connection = load(case.right, "b", case.delays[1], case.lateness)
    other = "price" if case.key == "symbol" else "symbol"
    keys = {"key": case.key, "other": other}

    def one(forward: bool, strict: bool) -> str:
        right = _RIGHT.format(key=case.key, order="" if forward else "desc")
        compare = ("<" if forward else ">") + ("" if strict else "=")
        return _JOIN.format(right=right, compare=compare, **keys)

    if case.direction == "nearest":
        joined = _NEAREST.format(before=one(False, not case.allow_exact), after=one(True, True))
    else:
        joined = one(case.direction == "forward", not case.allow_exact)
    within = "null" if case.tolerance is None else f"abs(ts - ts_b) <= {case.tolerance}"
    query = _RESULT.format(joined=joined, within=within, keeps="true" if case.how == "left" else "false")
    return queries.canonical(connection.execute(query).fetchall())


@given(case=cases())
def test_asof_joins_and_late_rows_equal_duckdb(case: Case) -> None:
    left, right = (
        stream(splits, delay, case.block_rows)
        for splits, delay in zip((case.left, case.right), case.delays, strict=True)
    )
    other = "price" if case.key == "symbol" else "symbol"
    whole = left.asof_join(right, on=case.key, **case.options)
    joined = whole.select("ts", case.key, "volume", "ts_right", f"{other}_right", "volume_right")
    sinks = [CollectSink() for _ in range(3)]
    report = sl.run(
        joined.write(sinks[0]),
        whole.late_left.write(sinks[1]),
        whole.late_right.write(sinks[2]),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    rows, *late = (sink.table() for sink in sinks)
    wanted = duckdb_rows(case)
    assert queries.found(rows) == wanted
    for side, found in zip("ab", late, strict=True):
        query = _LATE.format(side=side, lateness=case.lateness)
        assert queries.found(found) == queries.canonical(queries.database().execute(query).fetchall())
    assert report.rows_late == sum(map(len, late))
    if case.how == "left":
        assert len(rows) + len(late[0]) == sum(map(len, case.left)), "a left row vanished"


@given(case=cases())
def test_columns_that_nobody_reads_change_nothing(case: Case) -> None:
    """The same with the fewest columns: what is not read is not there, also on a worker without right rows."""
    left, right = (
        stream(splits, delay, case.block_rows)
        for splits, delay in zip((case.left, case.right), case.delays, strict=True)
    )
    joined = left.asof_join(right, on=case.key, **case.options).select("volume_right", "ts")
    found = joined.collect(workers=case.workers, batch_rows=case.batch_rows)
    wanted = [(row[5], row[0]) for row in duckdb_rows(case)]
    assert queries.found(found) == queries.canonical(wanted)


# ---- real trades as of real quotes, real departures as of the weather --------------------------------


def _quotes() -> pa.Table:
    quotes = _table("binance_quotes")
    return quotes.filter(pc.is_valid(quotes["event_time"]))


@pytest.mark.parametrize("tolerance", [pytest.param(None, marks=pytest.mark.slow), "50ms"])
@pytest.mark.parametrize(
    ("workers", "batch_rows"),
    [(1, 65_536), (2, 100), *(pytest.param(*way, marks=pytest.mark.slow) for way in [(4, 65_536), (2, 1)])],
)
def test_trades_as_of_quotes(tolerance: str | None, workers: int, batch_rows: int) -> None:
    quotes = _quotes().select(["seq", "event_time", "venue", "symbol", "bid", "ask"])
    trades = _table("binance_trades").select(["seq", "trade_time", "venue", "symbol", "price"])
    if batch_rows == 1:
        quotes, trades = quotes.slice(0, ROWS_ONE_BY_ONE), trades.slice(0, ROWS_ONE_BY_ONE // 3)
    each = ["venue", "symbol"]
    left = sl.read_arrow(trades).event_time("trade_time", max_delay="0s", per=each).key_by(*each)
    right = sl.read_arrow(quotes).event_time("event_time", max_delay="0s", per=each).key_by(*each)
    joined = left.asof_join(right, tolerance=tolerance).select("seq", "seq_right", "price", "bid", "ask")
    found = joined.collect(workers=workers, batch_rows=batch_rows)
    near = "true" if tolerance is None else "a.trade_time - b.event_time <= interval 50 milliseconds"
    database = queries.database()
    database.register("trades", trades)
    database.register("quotes", quotes)
    wanted = database.execute(f"""
        select a.seq, case when {near} then b.seq end, a.price,
            case when {near} then b.bid end, case when {near} then b.ask end
        from trades a asof left join (
            select * from quotes
            qualify row_number() over (partition by venue, symbol, event_time order by seq desc) = 1
        ) b on a.venue = b.venue and a.symbol = b.symbol and a.trade_time >= b.event_time
    """).fetchall()
    assert len(wanted) == len(trades)
    assert queries.found(found) == queries.canonical(wanted)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_departures_as_of_the_weather_and_the_next_departure_of_the_same_plane(workers: int) -> None:
    flights = _table("nyc_departures").sort_by("seq").slice(0, 40 * ROWS_ONE_BY_ONE)
    weather = _table("nyc_weather")
    columns = ["seq", "sched_dep_utc", "origin", "tailnum"]
    departures = sl.read_arrow(flights.select(columns)).event_time("sched_dep_utc", max_delay="22h")
    observed = sl.read_arrow(weather).event_time("obs_utc", max_delay="0s")
    following = departures.select("sched_dep_utc", "tailnum", next_seq=col("seq"))
    joined = (
        departures.asof_join(observed, on="origin", tolerance="2h")
        .asof_join(following, on="tailnum", direction="forward", tolerance="1d", allow_exact=False)
        .select("seq", "obs_utc", "sched_dep_utc_right", "next_seq")
    )
    found = joined.collect(workers=workers)
    database = queries.database()
    database.register("flights", flights)
    database.register("weather", weather)
    wanted = database.execute("""
        with observed as (
            select f.*, case when f.sched_dep_utc - w.obs_utc <= interval 2 hours then w.obs_utc end as obs
            from flights f asof left join weather w on f.origin = w.origin and f.sched_dep_utc >= w.obs_utc
        ),
        firsts as (
            select * from flights
            qualify row_number() over (partition by tailnum, sched_dep_utc order by seq) = 1
        )
        select o.seq, epoch_ns(o.obs),
            case when n.sched_dep_utc - o.sched_dep_utc <= interval 1 day then epoch_ns(n.sched_dep_utc) end,
            case when n.sched_dep_utc - o.sched_dep_utc <= interval 1 day then n.seq end
        from observed o asof left join firsts n
            on o.tailnum = n.tailnum and o.sched_dep_utc < n.sched_dep_utc
    """).fetchall()
    assert len(wanted) == len(flights)
    assert queries.found(found) == queries.canonical(wanted)

"""Rolling aggregates and functions of rows equal DuckDB's, whatever the splits, disorder, cuts and workers.

Which rows are late, and the order of the others, comes from SQL too: `row_number()` over the rows that are kept.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import UNIT, Input, inputs

_KEPT = """
with marked as (
    select *,
        max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
            - {delay}::hugeint as mark
    from rows
),
kept as (
    select *, row_number() over (partition by symbol order by ts, split, pos) as nth from marked
    where mark is null or mark <= ts + {lateness}
),
gaps as (
    select *, coalesce(ts - lag(ts) over (partition by symbol order by nth) > {ttl}, false) as is_new from kept
),
lives as (
    select *, sum(is_new::int) over (partition by symbol order by nth rows unbounded preceding) as life from gaps
)
"""

_BY_TIME = """
select a.ts::bigint as ts, a.symbol, a.price, a.volume, count(*) as n,
    sum(b.volume)::bigint as total,
    sum(b.price) / count(b.price) as mean,
    coalesce(max(b.price) filter (not isnan(b.price)), max(b.price)) as high,
    coalesce(min(b.price) filter (not isnan(b.price)), max(b.price)) as low,
    first(b.price order by b.nth) as first, last(b.price order by b.nth) as last,
    max(b.symbol) as text, first(b.symbol order by b.nth) as first_text
from kept a join kept b on a.symbol is not distinct from b.symbol and b.nth <= a.nth and b.ts > a.ts - {span}
group by a.ts, a.symbol, a.price, a.volume, a.nth, a.split, a.pos
"""

_BY_ROWS = """
select ts::bigint as ts, symbol, price, volume, count(*) over w as n,
    (sum(volume) over w)::bigint as total,
    sum(price) over w / count(price) over w as mean,
    coalesce(max(price) filter (not isnan(price)) over w, max(price) over w) as high,
    coalesce(min(price) filter (not isnan(price)) over w, max(price) over w) as low,
    first_value(price) over w as first, last_value(price) over w as last,
    max(symbol) over w as text, first_value(symbol) over w as first_text
from lives
window w as (partition by symbol, life order by nth rows between {before} preceding and current row)
"""

_LATE = """
select ts::bigint as ts, symbol, price, volume, (mark - ts - {lateness})::bigint as late_by
from marked where mark > ts + {lateness}
"""

_FUNCTIONS = """
select ts::bigint as ts, symbol,
    lag(price, {n}) over w as before, lag(symbol, {n}) over w as text, volume - lag(volume, {n}) over w as diff,
    (sum(volume) over so_far)::bigint as total, (sum(volume * 2) over so_far)::bigint as twice,
    case when price is not null then
        coalesce(max(price) filter (not isnan(price)) over so_far, max(price) over so_far) end as high,
    case when price is not null then sum(price) over so_far end as prices,
    count(price) over so_far as count,
    last_value(price ignore nulls) over so_far as filled,
    (sum(volume) over so_far - coalesce(lag(volume) over w, 0))::bigint as mixed
from lives
window w as (partition by symbol, life order by nth),
    so_far as (partition by symbol, life order by nth rows unbounded preceding)
"""

_NEVER = 10**30


def keyed(case: Input) -> sl.KeyedStream:
    first, *others = (
        sl.read(ArrowSource(rows, case.block_rows, name=f"split {n}")) for n, rows in enumerate(case.splits)
    )
    delay = format_duration(case.delay)
    return first.union(*others).event_time("ts", max_delay=delay).key_by("symbol")


def answer(case: Input, query: str, lateness: int = 0, ttl: int = _NEVER, **values: Any) -> list[Any]:
    connection = queries._load(queries.numbered(case.splits))
    sql = _KEPT.format(delay=case.delay, lateness=lateness, ttl=ttl) + query.format(
        lateness=lateness, **values
    )
    return queries.canonical(connection.execute(sql).fetchall())


def aggregated(rolling: Any) -> sl.KeyedStream:
    return rolling.agg(
        n=sl.count(),
        total=col("volume").sum(),
        mean=col("price").mean(),
        high=col("price").max(),
        low=col("price").min(),
        first=col("price").first(),
        last=col("price").last(),
        text=col("symbol").max(),
        first_text=col("symbol").first(),
    )


@given(case=inputs(), span=st.sampled_from([1, UNIT, 3 * UNIT, 5 * queries.SECOND, 40 * queries.SECOND]))
def test_windows_by_time_equal_duckdb(case: Input, span: int) -> None:
    rolling = keyed(case).rolling(format_duration(span), allowed_lateness=format_duration(case.lateness))
    stream, kept, late = aggregated(rolling), CollectSink(), CollectSink()
    sl.run(stream.write(kept), stream.late.write(late), workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(kept.table()) == answer(case, _BY_TIME, case.lateness, span=span)
    assert queries.found(late.table()) == answer(case, _LATE, case.lateness)
    assert kept.table().num_rows + late.table().num_rows == sum(map(len, case.splits)), "a row vanished"


@given(
    case=inputs(),
    rows=st.sampled_from([1, 2, 3, 20]),
    ttl=st.sampled_from([None, UNIT, 5 * queries.SECOND]),
)
def test_windows_by_rows_equal_duckdb(case: Input, rows: int, ttl: int | None) -> None:
    stream = aggregated(keyed(case).rolling(rows=rows, ttl=None if ttl is None else format_duration(ttl)))
    found = stream.collect(workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(found) == answer(case, _BY_ROWS, ttl=ttl or _NEVER, before=rows - 1)


@given(
    case=inputs(),
    n=st.sampled_from([1, 2, 5]),
    ttl=st.sampled_from([None, UNIT, 5 * queries.SECOND]),
)
def test_functions_of_rows_equal_duckdb(case: Input, n: int, ttl: int | None) -> None:
    price, volume = col("price"), col("volume")
    stream = keyed(case).select(
        "ts",
        "symbol",
        before=price.shift(n),
        text=col("symbol").shift(n),
        diff=volume.diff(n),
        total=volume.cum_sum(),
        twice=(volume * 2).cum_sum(),
        high=price.cum_max(),
        prices=price.cum_sum(),
        count=price.cum_count(),
        filled=price.forward_fill(),
        mixed=volume.cum_sum() - volume.shift(1).fill_null(0),
        ttl=None if ttl is None else format_duration(ttl),
    )
    kept, late = CollectSink(), CollectSink()
    sl.run(stream.write(kept), stream.late.write(late), workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(kept.table()) == answer(case, _FUNCTIONS, ttl=ttl or _NEVER, n=n)
    assert queries.found(late.table()) == answer(case, _LATE)


@pytest.mark.slow
@given(case=inputs(most_splits=2))
def test_functions_of_functions_equal_those_of_columns(case: Input) -> None:
    """The inner ones as columns of a step before, and their sum by another: rows of one time keep their order."""
    distinct = [
        rows.set_column(3, "volume", pa.array([1000 * number + n for n in range(len(rows))], pa.int64()))
        for number, rows in enumerate(case.splits)
    ]
    case = Input(**{**vars(case), "splits": distinct})
    nested = keyed(case).select(
        "volume", x=col("volume").diff().cum_sum(), y=col("price").forward_fill().shift(1)
    )
    rows = keyed(case).with_columns(change=col("volume").diff(), filled=col("price").forward_fill())
    known = {row["volume"]: row for row in rows.collect(workers=1).to_pylist()}
    ordered = answer(case, "select symbol, nth, volume from kept")
    totals: dict[Any, list[Any]] = {}
    wanted = []
    for symbol, _, volume in sorted(ordered, key=lambda row: (str(row[0]), row[0] is None, row[1])):
        total, filled = totals.get(symbol, [0, None])
        change = known[volume]["change"]
        total += change or 0
        wanted.append((volume, None if change is None else total, filled))
        totals[symbol] = [total, known[volume]["filled"]]
    found = nested.collect(workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(found) == queries.canonical(wanted)

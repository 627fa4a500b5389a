"""Tables hold what DuckDB says, whatever the splits, the disorder, the cuts and the workers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.connectors.tables import TableSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import UNIT, Input, inputs

_MARKED = """
with marked as (
    select *,
        max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
            - {delay}::hugeint as mark
    from rows
),
kept as (select * from marked where mark is null or mark <= ts)
"""

_AGGREGATED = """
select symbol, count(*) as n, first(price order by ts, split, pos) as first,
    last(price order by ts, split, pos) as last, sum(volume)::bigint as volume,
    coalesce(max(price) filter (not isnan(price)), max(price)) as high
from {rows} group by symbol
"""

_LATEST = """
select ts::bigint as ts, symbol, price, volume from kept
qualify row_number() over (partition by symbol order by ts desc, split desc, pos desc) = 1
"""

_LATE = """
select ts::bigint as ts, symbol, price, volume, (mark - ts)::bigint as late_by from marked where mark > ts
"""

_LIVES = """
, gaps as (
    select *, ts - lag(ts) over (partition by symbol order by ts, split, pos) > {ttl} as is_new from kept
),
lives as (
    select *, sum(coalesce(is_new, false)::int) over
        (partition by symbol order by ts, split, pos rows unbounded preceding) as life from gaps
),
last_lives as (select * from lives qualify life = max(life) over (partition by symbol))
"""


def keyed(case: Input) -> sl.KeyedStream:
    first, *others = (
        sl.read(ArrowSource(rows, case.block_rows, name=f"split {n}")) for n, rows in enumerate(case.splits)
    )
    delay = format_duration(case.delay)
    return first.union(*others).event_time("ts", max_delay=delay).key_by("symbol")


def aggregated(stream: sl.KeyedStream, **options: Any) -> sl.Table:
    return stream.agg(
        n=sl.count(),
        first=col("price").first(),
        last=col("price").last(),
        volume=col("volume").sum(),
        high=col("price").max(),
        **options,
    )


def answer(case: Input, query: str, **values: Any) -> list[Any]:
    connection = queries._load(queries.numbered(case.splits))
    found = connection.execute((_MARKED + query).format(delay=case.delay, **values)).fetchall()
    return queries.canonical(found)


@given(case=inputs())
def test_running_aggregates_and_late_rows_equal_duckdb(case: Input) -> None:
    table = aggregated(keyed(case))
    last, late = TableSink(), CollectSink()
    sl.run(table.write(last), table.late.write(late), workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(last.table()) == answer(case, _AGGREGATED, rows="kept")
    assert queries.found(late.table()) == answer(case, _LATE)
    kept = sum(row["n"] for row in last.table().to_pylist())
    assert kept + late.table().num_rows == sum(map(len, case.splits)), "a row vanished"


@given(case=inputs())
def test_latest_rows_equal_duckdb(case: Input) -> None:
    found = keyed(case).latest().collect(workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(found) == answer(case, _LATEST)


@given(case=inputs(most_splits=3), rate=st.sampled_from(["1s", "7s"]))
def test_changes_with_max_rate_do_not_depend_on_anything_but_the_input(case: Input, rate: str) -> None:
    """They are the states at the ends of the spans that have rows of the key."""
    found = aggregated(keyed(case), max_rate=rate).changes().drop("change")
    span = 1 if rate == "1s" else 7
    sql = """
    , spans as (select distinct symbol, ts - (((ts % {span}) + {span}) % {span}) + {span} as ends from kept),
    joined as (
        select spans.ends, kept.* from spans, kept
        where spans.symbol is not distinct from kept.symbol and kept.ts < spans.ends
    )
    """ + _AGGREGATED.replace("group by symbol", "group by symbol, ends")
    wanted = answer(case, sql, rows="joined", span=span * queries.SECOND)
    assert queries.found(found.collect(workers=case.workers, batch_rows=case.batch_rows)) == wanted


@pytest.mark.slow
@given(case=inputs(most_splits=3), every=st.sampled_from([1, 7]))
def test_states_at_the_ends_of_spans_equal_duckdb(case: Input, every: int) -> None:
    """Of each key at the end of each span that has rows of it, over all rows before."""
    stream = keyed(case).agg(
        n=sl.count(), last=col("price").last(), volume=col("volume").sum(), every=f"{every}s"
    )
    sql = """
    , spans as (
        select distinct symbol, ts - (((ts % {span}) + {span}) % {span}) + {span} as ends from kept
    )
    select spans.symbol, least(ends, {latest})::bigint as ends, count(*) as n,
        last(price order by ts, split, pos) as last, sum(volume)::bigint as volume
    from spans, kept where spans.symbol is not distinct from kept.symbol and kept.ts < ends
    group by spans.symbol, ends
    """
    wanted = answer(case, sql, span=every * queries.SECOND, latest=queries.MAX)
    assert queries.found(stream.collect(workers=case.workers, batch_rows=case.batch_rows)) == wanted


@given(case=inputs(), ttl=st.sampled_from([UNIT, queries.SECOND, 10 * queries.SECOND]))
def test_a_key_that_comes_back_after_its_ttl_begins_anew(case: Input, ttl: int) -> None:
    """The end of the input lets no key go, so that each key's last life is to be seen where W never rose."""
    table = aggregated(keyed(case), ttl=format_duration(ttl))
    states: dict[Any, dict[str, Any]] = {}
    for row in table.changes().collect(workers=1, batch_rows=case.batch_rows).to_pylist():
        if row.pop("change") != "delete":
            states[row["symbol"]] = row
    wanted = answer(case, _LIVES + _AGGREGATED, rows="last_lives", ttl=ttl)
    assert queries.canonical(tuple(row.values()) for row in states.values()) == wanted

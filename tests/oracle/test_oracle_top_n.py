"""`top_n` equals DuckDB's `row_number()`, whatever the splits, disorder, cuts and workers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import UNIT, Input, inputs
from tests.oracle.test_oracle_dedup import half, read

RANKED = {
    "price": ("price", col("price")),
    "volume": ("volume", col("volume")),
    "symbol": ("symbol", col("symbol")),
}
RANKED["computed"] = ("volume % 7", col("volume") % 7)

_WINDOWS = (
    "with {marked} "
    """, ranked as (
    select *, row_number() over (partition by window_start {key} order by {by} {direction}, ts, split, pos) as rank
    from judged where not late and {by} is not null
)
select symbol, greatest(window_start, {min})::bigint as window_start, least(window_end, {max})::bigint as window_end,
    rank, ts::bigint as ts, price, volume
from ranked where rank <= {n}
"""
)

_SO_FAR = """
with marked as (
    select *,
        max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
            - {delay}::hugeint as mark
    from rows
), ranked as (
    select *, row_number() over ({key} order by {by} {direction}, ts, split, pos) as rank from marked
    where (mark is null or mark <= ts) and {by} is not null
)
select symbol, rank, ts::bigint as ts, price, volume from ranked where rank <= {n}
"""


def answer(case: Input, query: str, **values: Any) -> list[Any]:
    connection = queries._load(queries.numbered(case.splits))
    marked = queries._MARKED.format(
        delay=case.delay, size=case.size, lateness=case.lateness, offset=case.offset
    )
    sql = query.format(marked=marked, delay=case.delay, min=queries.MIN, max=queries.MAX, **values)
    return queries.canonical(connection.execute(sql).fetchall())


CHOICES = {
    "by": st.sampled_from(list(RANKED)),
    "n": st.sampled_from([1, 2, 5, 300]),
    "descending": st.booleans(),
    "keyed": st.booleans(),
}


@half
@given(case=inputs(), **CHOICES)
def test_windows_equal_duckdb(case: Input, by: str, n: int, descending: bool, keyed: bool) -> None:
    text, expr = RANKED[by]
    stream = read(case).key_by("symbol") if keyed else read(case)
    top = stream.top_n(
        n,
        expr,
        sl.tumbling(format_duration(case.size), format_duration(case.offset)),
        descending=descending,
        allowed_lateness=format_duration(case.lateness),
    )
    out, late = CollectSink(), CollectSink()
    names = ["symbol", "window_start", "window_end", "rank", "ts", "price", "volume"]
    sl.run(
        top.select(*names).write(out), top.late.write(late), workers=case.workers, batch_rows=case.batch_rows
    )
    direction, key = "desc" if descending else "asc", ", symbol" if keyed else ""
    assert queries.found(out.table()) == answer(case, _WINDOWS, by=text, n=n, direction=direction, key=key)
    options = {"delay": case.delay, "size": case.size, "lateness": case.lateness, "offset": case.offset}
    rows = queries.numbered(case.splits)
    assert queries.found(late.table()) == queries.late(rows, **options)


@half
@given(case=inputs(), rate=st.sampled_from([None, UNIT, 5 * queries.SECOND]), **CHOICES)
def test_tables_equal_duckdb(
    case: Input, by: str, n: int, descending: bool, keyed: bool, rate: int | None
) -> None:
    text, expr = RANKED[by]
    stream = read(case).key_by("symbol") if keyed else read(case)
    max_rate = None if rate is None else format_duration(rate)
    table = stream.top_n(n, expr, descending=descending, max_rate=max_rate)
    found = table.collect(workers=case.workers, batch_rows=case.batch_rows)
    direction, key = "desc" if descending else "asc", "partition by symbol" if keyed else ""
    wanted = answer(case, _SO_FAR, by=text, n=n, direction=direction, key=key)
    assert queries.found(found.select(["symbol", "rank", "ts", "price", "volume"])) == wanted


@half
@given(case=inputs(most_splits=2), n=st.sampled_from([1, 3]))
def test_changes_lead_from_state_to_state(case: Input, n: int) -> None:
    """Each change fits what was there: inserts are new, updates differ, deletes name the row that goes."""
    table, sink = read(case).key_by("symbol").top_n(n, "price", max_rate="500ms", ttl="3s"), CollectSink()
    sl.run(table.changes().write(sink), batch_rows=case.batch_rows)
    state: dict[Any, Any] = {}
    for row in sink.table().to_pylist():
        key, change = (row["symbol"], row["rank"]), row.pop("change")
        if change == "delete":
            assert repr(state.pop(key)) == repr(row)
            continue
        assert (key in state) == (change == "update")
        assert repr(state.get(key)) != repr(row)
        state[key] = row
    ranks: dict[Any, list[int]] = {}
    for symbol, rank in state:
        ranks.setdefault(symbol, []).append(rank)
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in ranks.values())

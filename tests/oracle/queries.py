"""The same questions in batch SQL: what DuckDB says over all rows at once is what the engine must say.

Rows are given as splits. The table `rows` has, besides the columns of the ticks, `split`, `pos` (the row's
number within its split) and `ts` in ns as HUGEINT, so that nothing in the oracle can wrap.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pyarrow as pa

import streamlib as sl
from streamlib import col

MIN, MAX = -(2**63), 2**63 - 1
SECOND = 1_000_000_000

SCHEMA = pa.schema(
    {"ts": pa.timestamp("ns"), "symbol": pa.string(), "price": pa.float64(), "volume": pa.int64()}
)

Tick = tuple[int, str | None, float | None, int]

_MARKED = """
marked as (
    select *,
        max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
            - {delay}::hugeint as mark,
        ts - (((ts - {offset}) % {size}) + {size}) % {size} as window_start
    from rows
),
judged as (
    select *, window_start + {size} as window_end, window_start + {size} + {lateness} as closing,
        coalesce(mark >= window_start + {size} + {lateness}, false) as late
    from marked
)
"""

_BARS = """
with {marked}
select symbol,
    greatest(window_start, {min})::bigint as window_start, least(window_end, {max})::bigint as window_end,
    count(*) as trades,
    first(price order by ts, split, pos) as open,
    coalesce(max(price) filter (not isnan(price)), max(price)) as high,
    coalesce(min(price) filter (not isnan(price)), max(price)) as low,
    last(price order by ts, split, pos) as close,
    sum(volume)::bigint as volume,
    sum(price) / count(price) as mean,
    coalesce(sum(price * volume), 0) / sum(volume) as vwap
from judged where not late group by all
"""

_LATE = """
with {marked}
select ts::bigint as ts, symbol, price, volume, (mark - closing)::bigint as late_by, 1 as windows_late,
    greatest(window_start, {min})::bigint as window_start, least(window_end, {max})::bigint as window_end
from judged where late
"""


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """One for all tests: to open it takes longer than most queries."""
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    return connection


def _load(rows: pa.Table) -> duckdb.DuckDBPyConnection:
    """The database with the table `rows`."""
    names, connection = rows.schema.names, database()
    ts = rows.column("ts").cast(pa.timestamp("ns")).cast(pa.int64())
    connection.register("given", rows.set_column(names.index("ts"), "ts", ts))
    connection.execute("create or replace temp table rows as select * replace (ts::hugeint as ts) from given")
    return connection


def bars(rows: pa.Table, *, delay: int, size: int, lateness: int = 0, offset: int = 0) -> list[Any]:
    """The bars of all rows that are not late, in canonical form."""
    return _answer(_BARS, rows, delay, size, lateness, offset)


def late(rows: pa.Table, *, delay: int, size: int, lateness: int = 0, offset: int = 0) -> list[Any]:
    """The rows that are late, with what `.late` adds to them, in canonical form."""
    return _answer(_LATE, rows, delay, size, lateness, offset)


def _answer(query: str, rows: pa.Table, delay: int, size: int, lateness: int, offset: int) -> list[Any]:
    marked = _MARKED.format(delay=delay, size=size, lateness=lateness, offset=offset)
    return canonical(_load(rows).execute(query.format(marked=marked, min=MIN, max=MAX)).fetchall())


def canonical(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Rows that can be compared whatever their order: NaN is one value, and everything sorts."""
    plain = [tuple("NaN" if isinstance(v, float) and math.isnan(v) else v for v in row) for row in rows]
    return sorted(plain, key=lambda row: [(v is None, str(type(v)), v) for v in row])


def found(table: pa.Table) -> list[Any]:
    """What the engine gave, in canonical form: times and durations as ns."""
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
        elif pa.types.is_duration(column.type):
            column = column.cast(pa.duration("ns")).cast(pa.int64())
        columns.append(column.to_pylist())
    return canonical(zip(*columns, strict=True))


def split_table(ticks: Sequence[Tick]) -> pa.Table:
    """The ticks of one split."""
    columns = list(zip(*ticks, strict=True)) or [()] * len(SCHEMA)
    ts = pa.array(columns[0], pa.int64()).cast(pa.timestamp("ns"))
    rest = [pa.array(c, f.type) for c, f in zip(columns[1:], list(SCHEMA)[1:], strict=True)]
    return pa.table([ts, *rest], schema=SCHEMA)


def numbered(splits: Sequence[pa.Table]) -> pa.Table:
    """All splits as one table with the columns `split` and `pos`, for the oracle."""
    tables = [
        table.append_column("split", pa.array([number] * len(table), pa.int64())).append_column(
            "pos", pa.array(range(len(table)), pa.int64())
        )
        for number, table in enumerate(splits)
    ]
    return pa.concat_tables(tables)


def ticks_to_bars(
    stream: sl.Stream,
    size: str,
    lateness: str = "0s",
    offset: str = "0s",
    keys: Sequence[str] = ("symbol",),
    **options: Any,
) -> Any:
    """The bars of a timed stream of ticks: one set of aggregates for all tests, since each compiles once."""
    return (
        stream.key_by(*keys)
        .window(sl.tumbling(size, offset=offset), allowed_lateness=lateness, **options)
        .agg(
            trades=sl.count(),
            open=col("price").first(),
            high=col("price").max(),
            low=col("price").min(),
            close=col("price").last(),
            volume=col("volume").sum(),
            mean=col("price").mean(),
            vwap=(col("price") * col("volume")).sum() / col("volume").sum(),
        )
    )

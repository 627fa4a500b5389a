"""Windows by rows equal DuckDB's, those by sums a loop over the rows in order that DuckDB says: whatever the input.

Which rows are late, when a key begins anew and the order of the others comes from SQL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.elements import MAX_TIME, format_duration
from tests.oracle import queries
from tests.oracle.drawn import UNIT, Input, inputs
from tests.oracle.test_oracle_rolling import _KEPT, _LATE, answer, keyed

_BARS = """,
numbered as (
    select *, (row_number() over (partition by symbol, life order by nth) - 1) // {rows} as bar from lives
)
select symbol, min(ts)::bigint as window_start, max(ts)::bigint as window_end, count(*) = {rows} as complete,
    count(*) as n, sum(volume)::bigint as volume, sum(price) / count(price) as mean,
    coalesce(max(price) filter (not isnan(price)), max(price)) as high,
    first(price order by nth) as open, last(price order by nth) as close,
    last(symbol order by nth) as text, list(volume order by nth) as volumes
from numbered group by symbol, life, bar
having count(*) = {rows} or {partial}
"""

_LIVES = "select symbol, ts::bigint as ts, price, volume, life from lives order by nth"


def aggregated(windowed: Any) -> sl.Stream:
    return windowed.agg(
        n=sl.count(),
        volume=col("volume").sum(),
        mean=col("price").mean(),
        high=col("price").max(),
        open=col("price").first(),
        close=col("price").last(),
        text=col("symbol").last(),
        volumes=col("volume").list(),
    )


def options(ttl: int | None, case: Input) -> dict[str, Any]:
    return {
        "ttl": None if ttl is None else format_duration(ttl),
        "allowed_lateness": format_duration(case.lateness),
    }


ttls = st.sampled_from([None, UNIT, 5 * queries.SECOND])


@given(case=inputs(), rows=st.sampled_from([1, 2, 3, 7]), ttl=ttls, partial=st.booleans())
def test_windows_by_rows_equal_duckdb(case: Input, rows: int, ttl: int | None, partial: bool) -> None:
    windowed = keyed(case).window(sl.tumbling(rows=rows, partial=partial), **options(ttl, case))
    stream, kept, late = aggregated(windowed), CollectSink(), CollectSink()
    report = sl.run(
        stream.named("bars").write(kept),
        stream.late.write(late),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    wanted = answer(case, _BARS, case.lateness, ttl or queries.MAX, rows=rows, partial=partial)
    if not partial:
        wanted = queries.canonical([(*row[:3], *row[4:]) for row in wanted])
    assert lists_as_tuples(queries.found(kept.table())) == lists_as_tuples(wanted)
    assert queries.found(late.table()) == answer(case, _LATE, case.lateness)
    in_bars = sum(kept.table()["n"].to_pylist())
    dropped = report.dropped.get("bars", 0)
    assert in_bars + dropped + late.table().num_rows == sum(map(len, case.splits)), "a row vanished"
    assert not (partial and dropped)


def lists_as_tuples(rows: list[Any]) -> list[Any]:
    return [tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in rows]


Total = Callable[[list[Any]], Any]

MEASURES: dict[str, tuple[Any, Callable[[Any, int], Any], Total, Any]] = {
    "integers": (col("volume"), lambda price, volume: volume, sum, 100),
    "negative": (col("volume") - 20, lambda price, volume: volume - 20, sum, 15),
    "unsigned": (col("volume").cast("uint8"), lambda price, volume: volume, sum, 120.5),
    "floats": (col("volume") * 0.1 - 1, lambda price, volume: volume * 0.1 - 1, math.fsum, 4.2),
    "nulls": (
        sl.when(col("volume") > 9).then(col("volume") * 1.5),
        lambda price, volume: volume * 1.5 if volume > 9 else 0.0,
        math.fsum,
        100,
    ),
    "decimals": (
        (col("volume") * col("volume")).cast("decimal128(21, 2)"),
        lambda price, volume: Decimal(volume) ** 2,
        sum,
        Decimal("1000.125"),
    ),
    "flags": (col("volume") > 25, lambda price, volume: int(volume > 25), sum, 2),
}


@given(case=inputs(), name=st.sampled_from(list(MEASURES)), ttl=ttls, partial=st.booleans())
def test_windows_by_sums_equal_a_loop(case: Input, name: str, ttl: int | None, partial: bool) -> None:
    measure, of_row, total, size = MEASURES[name]
    windowed = keyed(case).window(sl.tumbling(sum=measure, size=size, partial=partial), **options(ttl, case))
    stream = windowed.agg(n=sl.count(), volume=col("volume").sum(), close=col("price").last())
    found = queries.found(stream.collect(workers=case.workers, batch_rows=case.batch_rows))
    bars, wanted = {}, []
    for symbol, ts, price, volume, life in in_order(case, ttl):
        bar = bars.setdefault((symbol, life), [])
        bar.append((ts, price, volume))
        if Fraction(total([of_row(p, v) for _, p, v in bar])) >= Fraction(str(size)):
            wanted.append((symbol, life, bar, True))
            bars[symbol, life] = []
    if partial:
        wanted += [(symbol, life, bar, False) for (symbol, life), bar in bars.items() if bar]
    assert found == queries.canonical(
        (
            symbol,
            bar[0][0],
            bar[-1][0],
            *([full] if partial else []),
            len(bar),
            sum(v for *_, v in bar),
            bar[-1][1],
        )
        for symbol, _, bar, full in wanted
    )


@given(
    case=inputs(),
    rows=st.integers(1, 8),
    less=st.integers(0, 7),
    ttl=ttls,
    partial=st.booleans(),
)
def test_windows_of_the_last_rows_equal_a_loop(
    case: Input, rows: int, less: int, ttl: int | None, partial: bool
) -> None:
    every = max(1, rows - less)
    windowed = keyed(case).window(sl.hopping(rows=rows, every=every, partial=partial), **options(ttl, case))
    stream, kept, late = aggregated(windowed), CollectSink(), CollectSink()
    report = sl.run(
        stream.named("hops").write(kept),
        stream.late.write(late),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    lives: dict[Any, list[Any]] = {}
    for row in in_order(case, ttl):
        lives.setdefault((row[0], row[4]), []).append(row[:4])
    wanted, in_none = [], 0
    for life in lives.values():
        ends = range(every, len(life) + rows, every)
        windows = [(max(0, end - rows), min(end, len(life)), rows <= end <= len(life)) for end in ends]
        taken = [window for window in windows if window[2] or (partial and window[0] < window[1])]
        wanted += [life_row(life[begin:end], [full] if partial else []) for begin, end, full in taken]
        in_none += len(life) - len({n for begin, end, _ in taken for n in range(begin, end)})
    found = lists_as_tuples(queries.found(kept.table()))
    assert found == lists_as_tuples(queries.canonical(wanted))
    assert report.dropped.get("hops", 0) == in_none, "a row vanished, or is counted though it did not"
    assert queries.found(late.table()) == answer(case, _LATE, case.lateness)


def life_row(rows: list[Any], complete: list[bool]) -> tuple[Any, ...]:
    """What `aggregated` makes of the rows of one window, in order."""
    prices = [price for _, _, price, _ in rows if price is not None]
    numbers = [price for price in prices if not math.isnan(price)]
    return (
        rows[0][0],
        rows[0][1],
        rows[-1][1],
        *complete,
        len(rows),
        sum(volume for *_, volume in rows),
        math.fsum(prices) / len(prices)
        if prices and len(numbers) == len(prices)
        else math.nan
        if prices
        else None,
        max(numbers, default=math.nan if prices else None),
        rows[0][2],
        rows[-1][2],
        rows[-1][0],
        [volume for *_, volume in rows],
    )


def in_order(case: Input, ttl: int | None) -> list[Any]:
    """The rows that are not late, as DuckDB orders them."""
    connection = queries._load(queries.numbered(case.splits))
    sql = _KEPT.format(delay=case.delay, lateness=case.lateness, ttl=ttl or MAX_TIME) + _LIVES
    return connection.execute(sql).fetchall()

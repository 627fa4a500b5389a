"""Windows that overlap: bars and late rows equal those of DuckDB, which puts each row into each of its windows."""

from __future__ import annotations

from dataclasses import dataclass
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
from tests.oracle.drawn import Input, inputs
from tests.oracle.queries import MAX, MIN, SECOND

_HOPPING = """
    unnest(range(
        ((ts - {offset} - {size} - (((ts - {offset} - {size}) % {every}) + {every}) % {every}) // {every} + 1)::bigint,
        ((ts - {offset} - (((ts - {offset}) % {every}) + {every}) % {every}) // {every} + 1)::bigint
    ))::hugeint * {every} + {offset} as begins, begins + {size} as finishes
"""
_CUMULATIVE = """
    ts - (((ts - {offset}) % {size}) + {size}) % {size} as begins,
    begins + {every} * unnest(range(((ts - begins) // {every} + 1)::bigint, {size} // {every} + 1)) as finishes
"""
_WITH = """
with marked as (
    select *,
        max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
            - {delay}::hugeint as mark
    from rows
),
each as (select *, {windows} from marked),
judged as (select *, coalesce(mark >= finishes + {lateness}, false) as late from each)
"""
_BARS = """
{start}
select symbol, greatest(begins, {min})::bigint as window_start, least(finishes, {max})::bigint as window_end,
    count(*) as trades,
    first(price order by ts, split, pos) as open,
    coalesce(max(price) filter (not isnan(price)), max(price)) as high,
    coalesce(min(price) filter (not isnan(price)), max(price)) as low,
    last(price order by ts, split, pos) as close,
    sum(volume)::bigint as volume,
    sum(price) / count(price) as mean,
    min(symbol) as least
from judged where not late group by symbol, begins, finishes
"""
_LATE = """
{start}
select ts::bigint as ts, symbol, price, volume,
    (any_value(mark) - min(finishes) - {lateness})::bigint as late_by, count(*) as windows_late,
    greatest(min(begins), {min})::bigint as window_start, least(min(finishes), {max})::bigint as window_end
from judged where late group by split, pos, ts, symbol, price, volume
"""


@dataclass(frozen=True)
class Shape:
    """Windows by their options, ns."""

    cumulative: bool
    size: int
    every: int
    offset: int

    @property
    def window(self) -> Any:
        size, every, offset = (format_duration(n) for n in (self.size, self.every, self.offset))
        return (sl.cumulative if self.cumulative else sl.hopping)(size, every=every, offset=offset)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    every = draw(st.sampled_from([SECOND, 3 * SECOND, 5 * SECOND]))
    offset = draw(st.sampled_from([0, 3 * SECOND // 10, 4 * SECOND]))
    if draw(st.booleans()):
        return Shape(True, every * draw(st.sampled_from([1, 2, 7])), every, offset)
    return Shape(
        False, draw(st.sampled_from([every, 2 * every, 7 * SECOND, 30 * SECOND])), every, offset % every
    )


def answer(query: str, case: Input, shape: Shape) -> list[Any]:
    windows = _CUMULATIVE if shape.cumulative else _HOPPING
    options = {"size": shape.size, "every": shape.every, "offset": shape.offset, "lateness": case.lateness}
    start = _WITH.format(delay=case.delay, windows=windows.format(**options), **options)
    text = query.format(start=start, min=MIN, max=MAX, **options)
    return queries.canonical(queries._load(queries.numbered(case.splits)).execute(text).fetchall())


def bars(stream: sl.Stream, window: Any, lateness: str) -> sl.Stream:
    price = col("price")
    return (
        stream.key_by("symbol")
        .window(window, allowed_lateness=lateness)
        .agg(
            trades=sl.count(),
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            volume=col("volume").sum(),
            mean=price.mean(),
            least=col("symbol").min(),  # a value beside the records
        )
    )


def check(stream: sl.Stream, case: Input, shape: Shape) -> None:
    result = bars(stream, shape.window, format_duration(case.lateness))
    found, late = CollectSink(), CollectSink()
    report = sl.run(
        result.write(found), result.late.write(late), workers=case.workers, batch_rows=case.batch_rows
    )
    assert queries.found(late.table()) == answer(_LATE, case, shape)
    assert queries.found(found.table()) == answer(_BARS, case, shape)
    assert report.rows_late == late.table().num_rows


def sources(case: Input) -> list[sl.Stream]:
    return [
        sl.read(ArrowSource(table, case.block_rows, name=f"split {n}")) for n, table in enumerate(case.splits)
    ]


@given(case=inputs(), shape=shapes())
def test_overlapping_windows_equal_duckdb(case: Input, shape: Shape) -> None:
    first, *others = sources(case)
    stream = first.union(*others).event_time("ts", max_delay=format_duration(case.delay))
    check(stream, case, shape)


@pytest.mark.slow
@given(case=inputs(most_splits=1), shape=shapes())
def test_one_split_has_no_order_but_arrival(case: Input, shape: Shape) -> None:
    (only,) = sources(case)
    check(only.event_time("ts", max_delay=format_duration(case.delay)), case, shape)


@pytest.mark.slow
@given(case=inputs(), shape=shapes())
def test_words_alone_are_merged_by_other_means_and_equal_duckdb(case: Input, shape: Shape) -> None:
    first, *others = sources(case)
    stream = first.union(*others).event_time("ts", max_delay=format_duration(case.delay))
    windows = stream.key_by("symbol").window(shape.window, allowed_lateness=format_duration(case.lateness))
    found = windows.agg(
        trades=sl.count(), high=col("price").max(), volume=col("volume").sum(), mean=col("price").mean()
    ).collect(workers=case.workers, batch_rows=case.batch_rows)
    expected = ((*bar[:4], bar[5], bar[8], bar[9]) for bar in answer(_BARS, case, shape))
    assert queries.found(found) == queries.canonical(expected)


@given(case=inputs(most_splits=1), shape=shapes())
def test_without_keys_all_rows_are_one_window_a_time(case: Input, shape: Shape) -> None:
    (only,) = sources(case)
    windows = only.event_time("ts", max_delay=format_duration(case.delay)).window(
        shape.window, allowed_lateness=format_duration(case.lateness)
    )
    found = windows.agg(trades=sl.count(), volume=col("volume").sum()).collect(
        workers=case.workers, batch_rows=case.batch_rows
    )
    nameless = [
        table.set_column(1, "symbol", pa.array([""] * len(table), pa.string())) for table in case.splits
    ]
    one = Input(**{**vars(case), "splits": nameless})
    assert queries.found(found) == queries.canonical(
        (b[1], b[2], b[3], b[8]) for b in answer(_BARS, one, shape)
    )


@given(case=inputs(most_splits=2), shape=shapes())
def test_the_same_window_over_the_results_equals_sql_over_the_bars(case: Input, shape: Shape) -> None:
    """The most trades of a symbol in each window, and how many symbols there are."""
    first, *others = sources(case)
    stream = first.union(*others).event_time("ts", max_delay=format_duration(case.delay))
    inner = stream.key_by("symbol").window(shape.window, allowed_lateness=format_duration(case.lateness))
    counts = inner.agg(trades=sl.count()).select("window_start", "window_end", "trades").key_by()
    most = counts.window(sl.same_window()).agg(most=col("trades").max(), symbols=sl.count())
    found = most.collect(workers=case.workers, batch_rows=case.batch_rows)
    expected: dict[tuple[int, int], list[int]] = {}
    for _, start, end, trades, *_ in answer(_BARS, case, shape):
        expected.setdefault((start, end), []).append(trades)
    assert queries.found(found) == queries.canonical(
        (*bounds, max(counts), len(counts)) for bounds, counts in expected.items()
    )

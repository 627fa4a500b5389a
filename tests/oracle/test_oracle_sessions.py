"""Sessions and their late rows equal those of DuckDB, whatever the disorder, the cuts and the workers.

With `max_length` the sessions are those of a loop over the rows of each key in the order of time.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from tests.oracle.drawn import UNIT, Input, inputs
from tests.oracle.queries import MAX, SECOND

_JUDGED = """
marked as (
    select *, max(ts) over (partition by split order by pos rows between unbounded preceding and 1 preceding)
        - {delay}::hugeint as mark
    from rows
),
judged as (select *, coalesce(mark > ts + {lateness}, false) as late from marked)
"""

_NUMBERED = """
with {judged},
begun as (
    select *, coalesce(ts - lag(ts) over w > {gap}, false)::int as begins
    from judged where not late window w as (partition by {key} order by ts, split, pos)
),
numbered as (
    select *, sum(begins) over (partition by {key} order by ts, split, pos) as session from begun
)
"""

_SESSIONS = (
    _NUMBERED
    + """
select {key} as symbol, min(ts)::bigint as window_start, least(max(ts) + {gap}, {max})::bigint as window_end,
    count(*) as trades,
    first(price order by ts, split, pos) as open,
    coalesce(max(price) filter (not isnan(price)), max(price)) as high,
    coalesce(min(price) filter (not isnan(price)), max(price)) as low,
    last(price order by ts, split, pos) as close,
    first(symbol order by ts, split, pos) as name,
    sum(volume)::bigint as volume,
    sum(price) / count(price) as mean
from numbered group by {key}, session
"""
)

_FIRST = (
    _NUMBERED
    + """,
ranked as (
    select *, row_number() over (partition by {key}, session order by price desc nulls last, ts, split, pos) as rank,
        min(ts) over (partition by {key}, session) as first, max(ts) over (partition by {key}, session) as last
    from numbered
)
select symbol, first::bigint as window_start, least(last + {gap}, {max})::bigint as window_end, rank,
    ts::bigint as ts, price, volume
from ranked where rank <= 2 and price is not null
"""
)

_LATE = """
with {judged}
select ts::bigint as ts, symbol, price, volume, (mark - ts - {lateness})::bigint as late_by, 1 as windows_late,
    ts::bigint as window_start, least(ts + {gap}, {max})::bigint as window_end
from judged where late
"""


@dataclass(frozen=True)
class Sessions:
    """An input, and the sessions that are asked for."""

    case: Input
    gap: int
    key: str

    def answer(self, query: str) -> list[Any]:
        """What DuckDB says."""
        rows = queries.numbered(self.case.splits)
        ts = rows.column("ts").cast(pa.timestamp("ns")).cast(pa.int64())
        database = queries.database()
        database.register("given", rows.set_column(0, "ts", ts))
        database.execute(
            "create or replace temp table rows as select * replace (ts::hugeint as ts) from given"
        )
        named = {"delay": self.case.delay, "lateness": self.case.lateness, "gap": self.gap}
        text = query.format(judged=_JUDGED.format(**named), key=self.key, max=MAX, **named)
        return queries.canonical(database.execute(text).fetchall())


@st.composite
def sessions(draw: st.DrawFn, keys: Sequence[str] = ("symbol", "price"), most_splits: int = 4) -> Sessions:
    gap = draw(st.sampled_from([1, UNIT, 3 * UNIT, 2 * SECOND, 20 * SECOND]))
    return Sessions(draw(inputs(most_splits)), gap, draw(st.sampled_from(list(keys))))


def timed(case: Input) -> sl.Stream:
    first, *others = (
        sl.read(ArrowSource(table, case.block_rows, name=f"split {n}")) for n, table in enumerate(case.splits)
    )
    return first.union(*others).event_time("ts", max_delay=format_duration(case.delay))


AGGREGATES = {
    "trades": sl.count(),
    "open": col("price").first(),
    "high": col("price").max(),
    "low": col("price").min(),
    "close": col("price").last(),
    "name": col("symbol").first(),
    "volume": col("volume").sum(),
    "mean": col("price").mean(),
}
"""Words, text beside them, sums of both kinds, and ties that the order decides."""


def run(stream: sl.Stream, case: Input) -> tuple[list[Any], list[Any]]:
    found, late = CollectSink(), CollectSink()
    report = sl.run(
        stream.write(found), stream.late.write(late), workers=case.workers, batch_rows=case.batch_rows
    )
    assert report.rows_late == late.table().num_rows
    return queries.found(found.table()), queries.found(late.table())


@pytest.mark.slow
@given(drawn=sessions())
def test_sessions_by_text_and_by_float_equal_duckdb(drawn: Sessions) -> None:
    """Floats as keys: NaN is one key, null another, and -0.0 is 0.0."""
    case = drawn.case
    keyed = timed(case).key_by(drawn.key)
    if drawn.key == "price":
        keyed = timed(case).key_by(key=col("price"))
    window = keyed.window(
        sl.session(format_duration(drawn.gap)), allowed_lateness=format_duration(case.lateness)
    )
    if drawn.key == "symbol":
        found, late = run(window.agg(**AGGREGATES), case)
        assert late == drawn.answer(_LATE)
        assert found == drawn.answer(_SESSIONS)
    else:
        counts = window.agg(trades=sl.count(), volume=col("volume").sum()).collect(
            case.workers, case.batch_rows
        )
        wanted = [(s[0], s[1], s[2], s[3], s[9]) for s in drawn.answer(_SESSIONS)]
        assert queries.found(counts) == queries.canonical(wanted)


@given(drawn=sessions(keys=("symbol",), most_splits=2))
def test_the_first_rows_of_sessions_equal_duckdb(drawn: Sessions) -> None:
    case = drawn.case
    window, lateness = sl.session(format_duration(drawn.gap)), format_duration(case.lateness)
    keyed = timed(case).key_by("symbol")
    found, late = run(keyed.top_n(2, "price", window, allowed_lateness=lateness), case)
    assert late == drawn.answer(_LATE)
    assert found == drawn.answer(_FIRST)


@given(drawn=sessions(keys=("''",), most_splits=2))
def test_sessions_without_keys_equal_duckdb(drawn: Sessions) -> None:
    case = drawn.case
    window = timed(case).window(
        sl.session(format_duration(drawn.gap)), allowed_lateness=format_duration(case.lateness)
    )
    found = window.agg(trades=sl.count(), volume=col("volume").sum()).collect(case.workers, case.batch_rows)
    wanted = [(s[1], s[2], s[3], s[9]) for s in drawn.answer(_SESSIONS)]
    assert queries.found(found) == queries.canonical(wanted)


@given(
    drawn=sessions(keys=("symbol",), most_splits=2), longest=st.sampled_from([0, UNIT, SECOND, 3 * SECOND])
)
def test_sessions_of_limited_length_equal_a_loop(drawn: Sessions, longest: int) -> None:
    case = drawn.case
    window = sl.session(format_duration(drawn.gap), max_length=format_duration(longest))
    windowed = timed(case).key_by("symbol").window(window, allowed_lateness=format_duration(case.lateness))
    found, late = run(windowed.agg(trades=sl.count(), volume=col("volume").sum()), case)
    assert late == drawn.answer(_LATE)
    assert found == queries.canonical(loop(case, drawn.gap, longest))


def loop(case: Input, gap: int, longest: int) -> list[tuple[Any, ...]]:
    """Rows that are not late, key by key in the order of time."""
    taken: dict[Any, list[tuple[int, int]]] = {}
    for table in case.splits:
        mark = None
        for row in table.set_column(0, "ts", table["ts"].cast(pa.int64())).to_pylist():
            if mark is None or mark - case.delay <= row["ts"] + case.lateness:
                taken.setdefault(row["symbol"], []).append((row["ts"], row["volume"]))
            mark = row["ts"] if mark is None else max(mark, row["ts"])
    done = []
    for key, rows in taken.items():
        open_one: list[int] = []
        for time, volume in sorted(rows):
            if open_one and time - open_one[1] <= gap and time - open_one[0] <= longest:
                open_one[1:] = time, open_one[2] + 1, open_one[3] + volume
                continue
            if open_one:
                done.append((key, *open_one))
            open_one = [time, time, 1, volume]
        done.append((key, *open_one))
    return [(key, first, min(last + gap, MAX), trades, volume) for key, first, last, trades, volume in done]


@given(drawn=sessions(keys=("symbol",), most_splits=2))
def test_first_and_last_over_results_go_by_time_and_then_all_columns(drawn: Sessions) -> None:
    """Sessions of bars: results have no place in the input, so they wait and are sorted."""
    case = drawn.case
    bars = timed(case).key_by("symbol").window(sl.tumbling("1s")).agg(volume=col("volume").sum())
    visits = bars.window(sl.session(format_duration(drawn.gap))).agg(
        bars=sl.count(), first=col("volume").first(), last=col("volume").last()
    )
    found = queries.found(visits.collect(case.workers, case.batch_rows))
    results = queries.found(bars.collect())
    wanted = []
    for key in {bar[0] for bar in results}:
        mine = sorted((bar[2] - 1, bar[3]) for bar in results if bar[0] == key)
        cuts = [n for n in range(1, len(mine)) if mine[n][0] - mine[n - 1][0] > drawn.gap]
        for begin, end in zip([0, *cuts], [*cuts, len(mine)], strict=True):
            part = mine[begin:end]
            end_ns = min(part[-1][0] + drawn.gap, MAX)
            wanted.append((key, part[0][0], end_ns, len(part), part[0][1], part[-1][1]))
    assert found == queries.canonical(wanted)

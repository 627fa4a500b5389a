"""Windows that are filled equal a series that DuckDB generates between and behind those that are not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import Input, inputs
from tests.oracle.queries import MAX, MIN, SECOND
from tests.oracle.test_oracle_overlapping import bars as overlapping_bars
from tests.oracle.test_oracle_rolling import keyed

COLUMNS = ["symbol", "window_start", "window_end", "trades", "close", "volume"]

_FILLED = """
with bars as (
    select *, lead(window_end) over (partition by symbol order by window_end) as following from results
),
gaps as (
    select *, unnest(generate_series(1, (
        (least(window_end + {up_to}, {max}::hugeint, coalesce(following, {max}) - 1) - window_end) // {step}
    )::bigint)) as nth
    from (select * replace (window_end::hugeint as window_end) from bars)
)
select symbol, window_start, window_end, trades, close, volume from results
union all
select symbol, greatest(window_end + nth * {step} - {size}, {min})::bigint, (window_end + nth * {step})::bigint,
    0, close, null
from gaps
"""


@pytest.mark.slow
@given(
    case=inputs(most_splits=3),
    up_to=st.sampled_from([10 * SECOND, 15 * SECOND + 1, 100 * SECOND]),
    step=st.sampled_from([None, 1, 3]),
)
def test_gaps_equal_a_series(case: Input, up_to: int, step: int | None) -> None:
    size, every = case.size, case.size if step is None else -(-case.size // step)
    offset = format_duration(case.offset)
    lateness = format_duration(case.lateness)
    if step is None:
        bars = queries.ticks_to_bars(keyed(case), format_duration(size), lateness, offset)
    else:
        window = sl.hopping(format_duration(size), every=format_duration(every), offset=offset)
        bars = overlapping_bars(keyed(case), window, lateness)
    filled = bars.fill_gaps(trades=0, close="forward", up_to=format_duration(up_to))
    found = filled.collect(workers=case.workers, batch_rows=case.batch_rows).select(COLUMNS)
    wanted = series(queries.found(bars.collect().select(COLUMNS)), up_to, every, size)
    assert queries.found(found) == wanted


def series(bars: list[Any], up_to: int, step: int, size: int) -> list[Any]:
    """What DuckDB makes of the bars."""
    database = queries.database()
    database.execute(
        "create or replace temp table results (symbol varchar, window_start bigint, window_end bigint,"
        " trades bigint, close double, volume bigint)"
    )
    if bars:
        rows = [[float("nan") if v == "NaN" else v for v in bar] for bar in bars]
        database.executemany("insert into results values (?, ?, ?, ?, ?, ?)", rows)
    query = _FILLED.format(up_to=up_to, step=step, size=size, min=MIN, max=MAX)
    return queries.canonical(database.execute(query).fetchall())

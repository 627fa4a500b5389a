"""Joins that are killed and restored by other numbers of workers give what DuckDB's joins give.

Whatever the splits, the disorder, the cuts, the schedule and the moments of the kills.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.elements import format_duration
from streamlib.graph import SourceNode
from streamlib.graph.plan import topological
from streamlib.testing.checking import Variation, play
from streamlib.testing.rebuild import as_list_source
from tests.oracle import queries
from tests.oracle import test_oracle_asof as asof
from tests.oracle import test_oracle_joins as joins

runs = st.builds(
    Variation,
    workers=st.integers(1, 3),
    batch_rows=st.sampled_from([1, 3, 65_536]),
    seed=st.integers(0, 2**20),
    channel_bytes_max=st.sampled_from([1, 8 * 1024 * 1024]),
    kills=st.integers(1, 4),
)


def found(pipeline: sl.Stream, run: Variation) -> list[Any]:
    """The rows that were committed by all attempts together."""
    node = pipeline._node
    sources = [each for each in topological([node]) if isinstance(each, SourceNode)]
    lists = {id(each): as_list_source(each.source) for each in sources}
    (rows,) = play([node], lists, run)
    return queries.found(rows)


@given(case=joins.cases(), run=runs)
def test_interval_joins_equal_duckdb(case: joins.Case, run: Variation) -> None:
    wanted = joins.duckdb_rows(case, joins.interval_condition(case))
    assert found(joins.joined(case), run) == wanted


@pytest.mark.slow
@given(case=joins.cases(), run=runs, window=st.sampled_from(sorted(joins.WINDOWS)))
def test_window_joins_equal_duckdb(case: joins.Case, run: Variation, window: str) -> None:
    left, right = joins.streams(case)
    other = "volume" if case.keys == ("volume",) else "volume_right"
    joined = left.join(
        right,
        on=list(case.keys),
        window=joins.WINDOWS[window],
        how=case.how,
        where=col("volume") <= col(other) if case.where else None,
        allowed_lateness=format_duration(case.lateness),
    )
    joins.load(case.left, "a", case.delays[0], case.lateness)
    connection = joins.load(case.right, "b", case.delays[1], case.lateness)
    assert found(joined, run) == joins.windowed_rows(case, joins.WINDOWS[window], connection)


@pytest.mark.slow
@given(case=asof.cases(), run=runs)
def test_asof_joins_equal_duckdb(case: asof.Case, run: Variation) -> None:
    left, right = (
        asof.stream(splits, delay, case.block_rows)
        for splits, delay in zip((case.left, case.right), case.delays, strict=True)
    )
    other = "price" if case.key == "symbol" else "symbol"
    joined = left.asof_join(right, on=case.key, **case.options)
    chosen = joined.select("ts", case.key, "volume", "ts_right", f"{other}_right", "volume_right")
    assert found(chosen, run) == asof.duckdb_rows(case)

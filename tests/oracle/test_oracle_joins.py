"""Interval joins give what DuckDB's joins give, whatever the splits, the disorder, the cuts and the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import ORIGINS, UNIT, ticks
from tests.oracle.queries import SECOND
from tests.oracle.test_oracle_asof import _LATE, load, stream

HOWS = ("inner", "left", "right", "full", "semi", "anti")
KEYS = (("symbol",), ("price",), ("symbol", "price"), ("volume",), ())

_ON = "{equal} and b.ts - a.ts between {low}::hugeint and {high}::hugeint and {where}"


@dataclass(frozen=True)
class Case:
    """Two inputs and how to join them."""

    left: list[pa.Table]
    right: list[pa.Table]
    delays: tuple[int, int]
    keys: tuple[str, ...]
    within: tuple[int, int]
    how: str
    where: bool
    lateness: int
    workers: int
    batch_rows: int
    block_rows: int

    @property
    def columns(self) -> list[str]:
        """What comes out, by the names that the rows of either side have as ticks."""
        left = ["ts", "symbol", "price", "volume"]
        if self.how in ("semi", "anti"):
            return left
        return left + [f"{name}_right" for name in left if name not in self.keys]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    origin = draw(st.sampled_from(list(ORIGINS.values())))
    sides = [draw(st.lists(ticks(origin), min_size=1, max_size=3)) for _ in range(2)]
    left, right = ([queries.split_table(split) for split in splits] for splits in sides)
    delays = st.sampled_from([0, UNIT, 2 * SECOND, 20 * SECOND])
    ends = st.sampled_from([-30 * SECOND, -2 * SECOND, -UNIT, 0, UNIT, 3 * SECOND, 40 * SECOND])
    low, high = sorted((draw(ends), draw(ends)))
    return Case(
        left=left,
        right=right,
        delays=(draw(delays), draw(delays)),
        keys=draw(st.sampled_from(KEYS)),
        within=(low, high),
        how=draw(st.sampled_from(HOWS)),
        where=draw(st.booleans()),
        lateness=draw(st.sampled_from([0, 0, UNIT, 5 * SECOND])),
        workers=draw(st.sampled_from([1, 2])),
        batch_rows=draw(st.sampled_from([1, 2, 7, 65_536])),
        block_rows=draw(st.sampled_from([1, 3, 65_536])),
    )


def duckdb_rows(case: Case, on: str) -> list[Any]:
    load(case.left, "a", case.delays[0], case.lateness)
    connection = load(case.right, "b", case.delays[1], case.lateness)
    columns = []
    for name in case.columns:
        own = name.removesuffix("_right")
        side = "b" if own != name else "a"
        value = f"{side}.{own}"
        if own in case.keys and case.how in ("right", "full"):
            value = f"coalesce(a.{own}, b.{own})"
        columns.append(f"({value})::bigint" if own == "ts" else value)
    query = f"""
        select {", ".join(columns)} from (select * from a where not late) a
        {case.how} join (select * from b where not late) b on {on}
    """
    return queries.canonical(connection.execute(query).fetchall())


def interval_condition(case: Case) -> str:
    equal = " and ".join([f"a.{key} = b.{key}" for key in case.keys] or ["true"])
    where = "a.volume <= b.volume" if case.where else "true"
    return _ON.format(equal=equal, low=case.within[0], high=case.within[1], where=where)


def streams(case: Case) -> list[sl.Stream]:
    return [
        stream(splits, delay, case.block_rows)
        for splits, delay in zip((case.left, case.right), case.delays, strict=True)
    ]


def joined(case: Case) -> sl.Stream:
    left, right = streams(case)
    other = "volume" if case.keys == ("volume",) else "volume_right"
    return left.join(
        right,
        on=list(case.keys),
        within=tuple(format_duration(end) for end in case.within),
        how=case.how,
        where=col("volume") <= col(other) if case.where else None,
        allowed_lateness=format_duration(case.lateness),
    )


@given(case=cases())
def test_interval_joins_and_late_rows_equal_duckdb(case: Case) -> None:
    whole = joined(case)
    assert whole.schema.names == case.columns
    sinks = [CollectSink() for _ in range(3)]
    report = sl.run(
        whole.write(sinks[0]),
        whole.late_left.write(sinks[1]),
        whole.late_right.write(sinks[2]),
        workers=case.workers,
        batch_rows=case.batch_rows,
    )
    rows, *late = (sink.table() for sink in sinks)
    assert queries.found(rows) == duckdb_rows(case, interval_condition(case))
    for side, found in zip("ab", late, strict=True):
        query = _LATE.format(side=side, lateness=case.lateness)
        assert queries.found(found) == queries.canonical(queries.database().execute(query).fetchall())
    assert report.rows_late == sum(map(len, late))


@given(case=cases())
def test_columns_that_nobody_reads_change_nothing(case: Case) -> None:
    found = joined(case).select("volume").collect(workers=case.workers, batch_rows=case.batch_rows)
    at = case.columns.index("volume")
    wanted = [(row[at],) for row in duckdb_rows(case, interval_condition(case))]
    assert queries.found(found) == queries.canonical(wanted)

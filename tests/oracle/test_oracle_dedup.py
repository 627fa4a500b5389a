"""`dedup` equals a simulator of dicts and sorted lists, whatever the splits, disorder, cuts and workers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.elements import format_duration
from tests.oracle import queries
from tests.oracle.drawn import UNIT, Input, inputs

SPANS = st.sampled_from([0, 1, UNIT, 5 * queries.SECOND, 40 * queries.SECOND, None])
Row = tuple[Any, ...]

half = settings(max_examples=max(1, settings.default.max_examples // 2))


def read(case: Input) -> sl.Stream:
    first, *others = (
        sl.read(ArrowSource(rows, case.block_rows, name=f"split {n}")) for n, rows in enumerate(case.splits)
    )
    return first.union(*others).event_time("ts", max_delay=format_duration(case.delay))


def stream_of(case: Input, within: int | None, keep: Any, ids: tuple[str, ...], keyed: bool) -> sl.Stream:
    options: dict[str, Any] = {
        "within": None if within is None else format_duration(within),
        "keep": keep,
        "allowed_lateness": format_duration(case.lateness),
    }
    stream = read(case)
    return stream.key_by(ids[0]).dedup(*ids[1:], **options) if keyed else stream.dedup(*ids, **options)


def judged(case: Input) -> tuple[list[list[Row]], list[Row]]:
    """The rows of each split that are not late, in the order of their arrival, and those that are."""
    kept: list[list[Row]] = []
    late: list[Row] = []
    for table in case.splits:
        high: int | None = None
        mine: list[Row] = []
        columns = [table["ts"].cast(pa.int64()), *table.columns[1:]]
        for row in zip(*(column.to_pylist() for column in columns), strict=True):
            mark = None if high is None else high - case.delay
            if mark is not None and mark > row[0] + case.lateness:
                late.append((*row, mark - row[0] - case.lateness))
            else:
                mine.append(row)
            high = row[0] if high is None else max(high, row[0])
        kept.append(mine)
    return kept, late


def id_of(row: Row, ids: tuple[str, ...]) -> Row:
    names = ("ts", "symbol", "price", "volume")
    values = [row[names.index(name)] for name in ids]
    return tuple("nan" if v != v else v for v in values)


def simulated(
    rows: list[Row], ids: tuple[str, ...], within: int | None, keep: str
) -> tuple[list[Row], list[Row]]:
    """What comes out of rows in their order, and what is dropped."""
    runs: dict[Row, tuple[int, list[Row]]] = {}
    done: list[list[Row]] = []
    for row in rows:
        key = id_of(row, ids)
        run = runs.get(key)
        if run is None or (within is not None and row[0] - run[0] > within):
            run = runs[key] = (row[0], [])
            done.append(run[1])
        run[1].append(row)
    at = 0 if keep == "first" else -1
    chosen = [run[at] for run in done]
    return chosen, [row for run in done for row in (run[1:] if at == 0 else run[:-1])]


def collected(stream: sl.Stream, case: Input) -> tuple[list[Any], list[Any], list[Any]]:
    out, dropped, late = CollectSink(), CollectSink(), CollectSink()
    sinks = [stream.write(out), stream.duplicates.write(dropped), stream.late.write(late)]
    sl.run(*sinks, workers=case.workers, batch_rows=case.batch_rows)
    return queries.found(out.table()), queries.found(dropped.table()), queries.found(late.table())


IDS = st.sampled_from([("symbol",), ("volume",), ("price",), ("symbol", "volume"), ("price", "symbol")])


@half
@given(case=inputs(), within=SPANS, keep=st.sampled_from(["first", "last"]), ids=IDS, keyed=st.booleans())
def test_the_first_and_the_last_row_of_runs(
    case: Input, within: int | None, keep: str, ids: tuple[str, ...], keyed: bool
) -> None:
    kept, late = judged(case)
    # Rows of one time are ordered by split and position: a stable sort of the splits one after another.
    rows = sorted((row for mine in kept for row in mine), key=lambda row: row[0])
    chosen, dropped = simulated(rows, ids, within, keep)
    found = collected(stream_of(case, within, keep, ids, keyed), case)
    assert found[0] == queries.canonical(chosen)
    assert found[1] == queries.canonical(dropped)
    assert found[2] == queries.canonical(late)


def _near(one: Row, other: Row, within: int | None) -> bool:
    return within is None or abs(one[0] - other[0]) <= within


@half
@given(case=inputs(), within=SPANS, ids=IDS)
def test_any_row(case: Input, within: int | None, ids: tuple[str, ...]) -> None:
    kept, late = judged(case)
    rows = [row for mine in kept for row in mine]
    out, dropped, found_late = collected(stream_of(case, within, "any", ids, keyed=False), case)
    assert found_late == queries.canonical(late)
    assert sorted(map(repr, [*out, *dropped])) == sorted(map(repr, queries.canonical(rows))), "a row vanished"
    assert {id_of(row, ids) for row in out} == {id_of(row, ids) for row in queries.canonical(rows)}
    by_id: dict[Row, list[Row]] = {}
    for row in out:
        assert not any(_near(row, other, within) for other in by_id.get(id_of(row, ids), []))
        by_id.setdefault(id_of(row, ids), []).append(row)
    for row in dropped:
        assert any(_near(row, other, within) for other in by_id[id_of(row, ids)]), "dropped without a cause"


@half
@given(case=inputs(most_splits=1), within=SPANS, ids=IDS)
def test_any_is_the_first_to_arrive(case: Input, within: int | None, ids: tuple[str, ...]) -> None:
    case = Input(**{**vars(case), "workers": 1})
    ((rows,), _) = judged(case)
    chosen: dict[Row, list[Row]] = {}
    for row in rows:
        of_id = chosen.setdefault(id_of(row, ids), [])
        if not any(_near(row, other, within) for other in of_id):
            of_id.append(row)
    out, _, _ = collected(stream_of(case, within, "any", ids, keyed=False), case)
    assert out == queries.canonical([row for of_id in chosen.values() for row in of_id])


@half
@given(case=inputs(), keep=st.sampled_from(["first", "last"]))
def test_of_all_rows_one_of_each_id_as_duckdb(case: Input, keep: str) -> None:
    case = Input(**{**vars(case), "delay": 60 * queries.SECOND})  # nothing is late
    direction = "asc" if keep == "first" else "desc"
    connection = queries._load(queries.numbered(case.splits))
    wanted = connection.execute(
        "select ts::bigint, symbol, price, volume from rows qualify row_number() over"
        f" (partition by symbol order by ts {direction}, split {direction}, pos {direction}) = 1"
    ).fetchall()
    out, _, _ = collected(stream_of(case, None, keep, ("symbol",), keyed=False), case)
    assert out == queries.canonical(wanted)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_results_are_ordered_by_all_their_columns(keep: Any) -> None:
    """Results carry no place in an input: of rows of one time the least comes first."""
    rows = pa.table({"ts": pa.array([1, 1, 1], pa.timestamp("s")), "k": ["b", "c", "a"], "n": [2, 3, 1]})
    windows = (
        sl.read_arrow(rows)
        .event_time("ts", max_delay="0s")
        .key_by("k")
        .window(sl.tumbling("10s"))
        .agg(n=sl.count())
        .select("window_end", "k", "n")
    )
    plain = sl.Stream(windows._node).with_columns(one=sl.lit(1))
    stream = sl.Stream(plain._node).key_by("one").dedup(within="1s", keep=keep)
    assert stream.collect()["k"].to_pylist() == ["a" if keep == "first" else "c"]

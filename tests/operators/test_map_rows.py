"""`map` and `flat_map`: each result keeps what its input row had, and no value is bent to fit."""

from __future__ import annotations

import datetime as dt
import enum
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import UserFunctionError, col
from streamlib.elements import Batch
from streamlib.graph import BuildContext

ROWS = pa.table({"ts": pa.array([5, 1, 30, 2, 31], pa.timestamp("s")), "n": [1, 2, 3, 4, 5]})
TIMED = {"ts": "timestamp[s]", "n": int}


def timed(max_delay: str = "0s") -> sl.Stream:
    return sl.read_arrow(ROWS).event_time("ts", max_delay=max_delay)


def doubled(ts: dt.datetime, n: int) -> tuple[dt.datetime, int]:
    return ts, n * 2


def copies(ts: dt.datetime, n: int) -> Iterator[tuple[dt.datetime, int]]:
    """As many rows as `n` has ones in binary, so none for none."""
    for copy in range(n.bit_count()):
        yield ts, n * 10 + copy


# ---- what a row becomes ------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_rows_do_not_depend_on_the_cut(batch_rows: int, workers: int) -> None:
    how = {"batch_rows": batch_rows, "workers": workers}
    assert timed().map(doubled, TIMED).collect(**how)["n"].to_pylist() == [4, 8, 2, 6, 10]
    found = timed().flat_map(copies, TIMED).collect(**how)["n"].to_pylist()
    assert found == [20, 40, 10, 30, 31, 50, 51]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_exactly_the_results_of_late_rows_are_late(batch_rows: int) -> None:
    windows = {"map": timed().map(doubled, TIMED), "flat_map": timed().flat_map(copies, TIMED)}
    late = {"map": [8], "flat_map": [40]}  # row 4 alone comes after the close of its window
    for name, stream in windows.items():
        result = stream.window(sl.tumbling("10s")).agg(n=sl.count())
        assert result.late.collect(batch_rows=batch_rows)["n"].to_pylist() == late[name]


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 7)), max_size=30),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_flat_map_and_windows_agree_with_plain_python(
    rows: list[tuple[int, int]], batch_rows: int, delay: int
) -> None:
    """Late rows, ties in time and rows that become none or several, against a model in ten lines."""
    wanted: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    late, latest = [], -(10**6)
    for place, (time, n) in enumerate(rows):
        made = [(time, place, n * 10 + copy) for copy in range(n.bit_count())]
        if latest - delay >= time // 10 * 10 + 10:
            late += [value for _, _, value in made]
        else:
            wanted[time // 10].extend(made)
        latest = max(latest, time)
    table = pa.table(
        {
            "ts": pa.array([time for time, _ in rows], pa.timestamp("s")),
            "n": pa.array([n for _, n in rows], pa.int64()),
        }
    )
    stream = sl.read_arrow(table).event_time("ts", max_delay=f"{delay}s").flat_map(copies, TIMED)
    bars = stream.window(sl.tumbling("10s")).agg(
        count=sl.count(), first=col("n").first(), last=col("n").last()
    )
    expected = [
        {"count": len(made), "first": min(made)[2], "last": max(made)[2]}
        for _, made in sorted(wanted.items())
        if made
    ]
    assert bars.collect(batch_rows=batch_rows).drop(["window_start", "window_end"]).to_pylist() == expected
    assert sorted(bars.late.collect(batch_rows=batch_rows)["n"].to_pylist()) == sorted(late)


@pytest.mark.slow
def test_what_the_test_kit_tries_gives_the_same_rows() -> None:
    rows = [
        {"ts": f"00:00:{s:02}", "k": k, "n": s}
        for s, k in zip([3, 1, 4, 1, 5, 12, 2, 16], "aababbab", strict=True)
    ]

    def shared(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for copy in range(row["n"] % 3):
            yield {**row, "n": row["n"] * 10 + copy}

    ticks = sl.read(t.source(rows[:5], rows[5:])).event_time("ts", max_delay="8s")
    parts = ticks.flat_map(shared, schema=ticks.schema)
    bars = parts.key_by("k").window(sl.tumbling("10s")).agg(first=col("n").first(), last=col("n").last())
    assert t.check([bars, parts.map(lambda row: row, schema=ticks.schema)]) > 10


@pytest.mark.parametrize("order", [100, np.array([7, 3, 9, 1, 5])], ids=["counted", "listed"])
def test_hidden_columns_are_those_of_the_row_a_result_stems_from(order: Any) -> None:
    rows = ROWS.combine_chunks().to_batches()[0]
    times = ROWS["ts"].cast("int64").to_numpy() * 10**9
    marks = np.array([-1, 4, 5, 29, 29]) * 10**9
    orders = np.array([100, 101, 102, 103, 104]) if isinstance(order, int) else order
    for stream, stems in (
        (timed().flat_map(copies, TIMED), [0, 1, 2, 2, 3, 4, 4]),
        (timed().map(doubled, TIMED), [0, 1, 2, 3, 4]),
    ):
        operator = stream._node.build(BuildContext(batch_rows=3))
        made = list(operator.on_batch(Batch(rows, times, marks, order)))
        for name, wanted in (("time", times), ("mark", marks)):
            found = [value for batch in made for value in getattr(batch, name).tolist()]
            assert found == wanted[stems].tolist(), name
        assert [value for batch in made for value in batch.orders().tolist()] == orders[stems].tolist()


def test_many_rows_of_one_row_come_in_batches() -> None:
    stream = sl.read_arrow(pa.table({"n": [10, 0, 3]})).flat_map(
        lambda n: ({"i": i} for i in range(n)), schema={"i": int}
    )
    driven = t.harness(stream, batch_rows=4)
    driven.feed(pa.table({"n": [10, 0, 3]}))
    assert [len(batch) for _, batch in driven.outputs] == [4, 4, 4, 1]
    assert driven.rows()["i"].to_pylist() == [*range(10), *range(3)]


def test_behind_a_window_rows_keep_a_time_that_is_no_column() -> None:
    bars = timed().window(sl.tumbling("10s")).agg(total=col("n").sum())
    more = bars.map(lambda total: {"total": total + 1}, schema={"total": int})
    minutes = more.window(sl.tumbling("1m")).agg(total=col("total").sum())
    assert minutes.collect(batch_rows=1)["total"].to_pylist() == [13]


def test_only_columns_that_are_read_are_asked_of_the_source() -> None:
    asked: list[list[str]] = []

    class Asked(type(sl.read_arrow(ROWS)._node.source)):  # type: ignore[attr-defined, misc]
        def with_columns(self, columns: Any) -> Any:
            asked.append(list(columns))
            return super().with_columns(columns)

    wide = ROWS.append_column("other", pa.array([0] * 5))
    stream = sl.read(Asked(wide)).map(lambda n, scale=2: (n * scale,), schema={"n": int})
    assert stream.collect()["n"].to_pylist() == [2, 4, 6, 8, 10]
    assert asked == [["n"]]


# ---- what goes wrong ---------------------------------------------------------------------------------


class Pair(NamedTuple):
    b: int
    a: int


@dataclass
class Other:
    a: int
    c: int


AB = {"a": int, "b": int}


def failing(value: Any) -> Any:
    """A function that is right for rows 0 and 1 and wrong for row 2; row 4 is wrong in another way."""

    def function(n: int) -> Any:
        if n == 4:
            raise RuntimeError("the fourth")
        if n == 2 and isinstance(value, Exception):
            raise value
        return value if n == 2 else {"a": n, "b": n}

    return function


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (ValueError("no such venue"), ["raised ValueError", "no such venue"]),
        (KeyError(), ["raised KeyError"]),
        (StopIteration(), ["raised StopIteration"]),
        (sl.BuildError("own"), ["raised BuildError", "own"]),
        (None, ["returned nothing", "return missing?"]),
        (5, ["no row", "int"]),
        ([1, 2], ["no row", "list"]),
        ({"a": 1}, ["returned no 'b'"]),
        ({"a": 1, "b": 2, "c": 3}, ["'c'", "no column"]),
        ((1,), ["tuple of 1 for 2 columns"]),
        (Other(1, 2), ["returned no 'b'"]),
        ({"a": 1, "b": "x"}, ["column 'b'", "int64", "'x'"]),
        ({"a": 1.5, "b": 2}, ["column 'a'", "1.5"]),
    ],
    ids=str,
)
def test_an_error_names_function_row_and_place(value: Any, parts: list[str]) -> None:
    stream = sl.read_arrow(pa.table({"n": [0, 1, 2, 3, 4]})).map(failing(value), schema=AB).named("mine")
    with pytest.raises(UserFunctionError) as caught:
        stream.collect()
    error = caught.value
    for part in [*parts, "failing.<locals>.function", "test_map_rows.py:", "n=2"]:
        assert part in str(error)
    assert (error.step, error.where, error.row) == ("mine", "arrow, row 2", None)
    if isinstance(value, Exception):
        assert error.__cause__ is value


def test_the_operator_says_which_row_of_the_batch_failed() -> None:
    """So that a policy can cut it out there."""
    batch = pa.table({"n": [0, 1, 2, 3, 4]})
    wrong = failing({"a": 1, "b": "x"})
    stream = sl.read_arrow(batch)
    for made in (stream.map(wrong, AB), stream.flat_map(lambda n: [wrong(n), wrong(n)], AB)):
        with pytest.raises(UserFunctionError) as caught:
            t.harness(made).feed(batch)
        assert caught.value.row == 2, "and not the fourth, which raised earlier"


@given(st.lists(st.sampled_from(["good", "a", "b", "time", "raises", "none"]), min_size=1, max_size=8))
def test_the_first_row_that_fails_is_named_whatever_is_wrong(faults: list[str]) -> None:
    """Columns are made one after the other, and times compared last; the rows decide all the same."""
    rows = pa.table(
        {"ts": pa.array(range(len(faults)), pa.timestamp("s")), "fault": pa.array(faults, pa.string())}
    )

    def function(ts: dt.datetime, fault: str) -> Any:
        if fault == "raises":
            raise ValueError(fault)
        if fault == "none":
            return None
        moved = ts + dt.timedelta(days=fault == "time")
        return {"ts": moved, "a": "x" if fault == "a" else 1, "b": "x" if fault == "b" else 1}

    schema = {"a": int, "ts": "timestamp[s]", "b": int}
    stream = sl.read_arrow(rows).event_time("ts", max_delay="0s")
    several = stream.flat_map(lambda ts, fault: [function(ts, fault)], schema)
    first = next((row for row, fault in enumerate(faults) if fault != "good"), None)
    for made in (stream.map(function, schema), several):
        if first is None:
            assert made.collect().num_rows == len(faults)
        else:
            with pytest.raises(UserFunctionError) as caught:
                made.collect()
            assert caught.value.where == f"arrow, row {first}"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"a": 1, "b": 2}, "put it into a list"),
        (Other(1, 2), "put it into a list"),
        (Pair(1, 2), "put it into a list"),
        ("ab", "put it into a list"),
        (5, "returned no rows"),
        ([None], "returned nothing"),
        ([{"a": 1}], "no 'b'"),
    ],
    ids=str,
)
def test_flat_map_takes_an_iterable_of_rows(value: Any, part: str) -> None:
    stream = sl.read_arrow(pa.table({"n": [0, 1]})).flat_map(lambda n: value if n else None, schema=AB)
    with pytest.raises(UserFunctionError, match=part) as caught:
        stream.collect()
    assert caught.value.where == "arrow, row 1"


def test_a_generator_that_raises_half_way_names_the_row() -> None:
    def some(n: int) -> Iterator[tuple[int, int]]:
        yield n, n
        if n == 2:
            raise ValueError("half way")
        yield n, n

    rows = pa.table({"n": [0, 1, 2, 3]})
    stream = sl.read_arrow(rows).flat_map(some, schema=AB)
    for batch_rows in (1, 2, 3, 100):
        with pytest.raises(UserFunctionError, match="half way") as caught:
            t.harness(stream, batch_rows=batch_rows).feed(rows)
        assert caught.value.row == 2
    kept = stream.on_error("skip").collect()
    assert kept["a"].to_pylist() == [0, 0, 1, 1, 3, 3], "a row leaves whole or not at all"


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_only_the_failing_rows_leave(batch_rows: int) -> None:
    table = pa.table({"n": list(range(40))})

    def picky(n: int) -> dict[str, Any]:
        if n % 7 == 3:
            raise ValueError(n)
        return {"n": n if n % 11 else "eleven"}

    stream = sl.read_arrow(table).map(picky, schema={"n": int}).on_error("skip")
    kept = stream.collect(batch_rows=batch_rows)["n"].to_pylist()
    assert kept == [n for n in range(40) if n % 7 != 3 and n % 11]


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda ts, n: (ts + dt.timedelta(seconds=n == 3), n), "changed the event time"),
        (lambda ts, n: (None if n == 3 else ts, n), "no event time"),
        (lambda ts, n: (dt.datetime(1970, 1, 1, 0, 0, 1) if n == 3 else ts, n), "changed the event time"),
    ],
)
def test_a_row_keeps_its_own_time(function: Any, part: str) -> None:
    """Not only some time of its batch: the function is known to have made it of that row."""
    stream = timed("1m")
    for result in (stream.map(function, TIMED), stream.flat_map(lambda ts, n: [function(ts, n)] * 2, TIMED)):
        with pytest.raises(UserFunctionError, match=part) as caught:
            result.collect()
        assert caught.value.where == "arrow, row 2"


def test_nulls_are_refused_where_the_schema_takes_none() -> None:
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    rows = sl.read_arrow(pa.table({"n": [1, None]}))
    with pytest.raises(UserFunctionError, match="takes no nulls") as caught:
        rows.map(lambda n: (n,), schema=schema).collect()
    assert caught.value.where == "arrow, row 1"
    times = pa.schema([pa.field("at", pa.timestamp("us"), nullable=False)])
    with pytest.raises(UserFunctionError, match="NaT"):
        rows.map(lambda n: (np.datetime64("NaT", "us"),), schema=times).collect()


def test_the_hint_for_a_parameter_that_is_no_column() -> None:
    with pytest.raises(UserFunctionError, match="'prcie' is no column, so it is the whole row"):
        sl.read_arrow(pa.table({"price": [1.0]})).map(lambda prcie: (prcie + 1,), {"x": float}).collect()


def test_a_long_row_is_shown_short() -> None:
    wide = pa.table({f"c{i}": ["x" * 1000] for i in range(50)})
    with pytest.raises(UserFunctionError) as caught:
        sl.read_arrow(wide).map(lambda row: None, {"x": float}).collect()
    assert len(str(caught.value)) < 1500


# ---- classes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_each_worker_builds_one_object_and_closes_it_where_it_was_used(workers: int) -> None:
    """A connection of sqlite3 may only be used and closed by the thread that opened it."""
    opened: list[int] = []
    closed: list[int] = []

    class Names:
        def __init__(self) -> None:
            opened.append(threading.get_ident())
            self.base = sqlite3.connect(":memory:")
            self.base.execute("create table names (n integer, name text)")
            self.base.executemany("insert into names values (?, ?)", [(n, f"name {n}") for n in range(10)])

        def __call__(self, n: int) -> dict[str, Any]:
            ((name,),) = self.base.execute("select name from names where n = ?", (n,)).fetchall()
            return {"name": name}

        def close(self) -> None:
            self.base.close()
            closed.append(threading.get_ident())

    stream = sl.read_arrow(pa.table({"n": [3, 1, 4] * 20})).map(Names, schema={"name": str})
    found = stream.collect(workers=workers, batch_rows=2)["name"].to_pylist()
    assert sorted(found) == sorted([f"name {n}" for n in [3, 1, 4] * 20])
    assert 1 <= len(opened) <= workers and sorted(closed) == sorted(opened)
    assert len(set(opened)) == len(opened), "one each"


def test_an_object_is_closed_when_the_run_fails_and_when_nobody_called_it() -> None:
    log: list[str] = []

    class Logged:
        def __init__(self) -> None:
            log.append("built")

        def __call__(self, n: int) -> dict[str, int]:
            raise ValueError("always")

        def close(self) -> None:
            log.append("closed")

    stream = sl.read_arrow(pa.table({"n": [1]}))
    with pytest.raises(UserFunctionError, match="always"):
        stream.map(Logged, schema={"n": int}).collect()
    assert log == ["built", "closed"]
    stream.filter(col("n") > 5).map(Logged, schema={"n": int}).collect()
    assert log == ["built", "closed"]


def test_a_dataclass_is_a_function_of_columns() -> None:
    assert sl.read_arrow(pa.table({"c": [1], "a": [2], "z": [3]})).map(Other).collect().to_pylist() == [
        {"a": 2, "c": 1}
    ]


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


@dataclass
class Leg:
    side: Side
    size: int | None


@dataclass
class Order:
    legs: list[Leg]
    best: Leg | None


def test_nested_dataclasses_and_enums_come_and_go() -> None:
    legs = [{"side": "buy", "size": 1}, {"side": "sell", "size": None}]
    rows = [{"legs": legs, "best": legs[0]}, {"legs": [], "best": None}]

    def turned(order: Order) -> Order:
        assert all(isinstance(leg.side, Side) for leg in order.legs)
        return Order(order.legs[::-1], order.best)

    stream = sl.read_arrow(pa.Table.from_pylist(rows)).map(turned)
    assert stream.collect().to_pylist() == [{"legs": legs[::-1], "best": legs[0]}, rows[1]]
    wrong = pa.Table.from_pylist([{"legs": [{"side": "hold", "size": 1}], "best": None}])
    with pytest.raises(UserFunctionError, match="'hold' is not a valid Side"):
        sl.read_arrow(wrong).map(turned, schema={"legs": pa.list_(pa.int64()), "best": int}).collect()

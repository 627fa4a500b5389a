"""`map_batches`: the user's function sees any cut of the rows, and each result keeps the time and mark of its row."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import UserFunctionError, col

ROWS = pa.table({"ts": pa.array([5, 1, 30, 2, 31], pa.timestamp("s")), "n": [1, 2, 3, 4, 5]})


def timed() -> sl.Stream:
    return sl.read_arrow(ROWS).event_time("ts", max_delay="0s")


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.set_column(1, "n", pc.multiply(batch["n"], 2))


def odd(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.equal(pc.bit_wise_and(batch["n"], 1), 1))


def twice(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch, batch])


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_rows_do_not_depend_on_the_cut(batch_rows: int, workers: int) -> None:
    how = {"batch_rows": batch_rows, "workers": workers}
    assert timed().map_batches(doubled).collect(**how)["n"].to_pylist() == [4, 8, 2, 6, 10]
    assert timed().map_batches(odd).collect(**how)["n"].to_pylist() == [1, 3, 5]
    assert timed().map_batches(twice).collect(**how)["n"].to_pylist() == [2, 2, 4, 4, 1, 1, 3, 3, 5, 5]


@pytest.mark.parametrize("function", [doubled, twice, odd])
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_exactly_the_results_of_late_rows_are_late(function: object, batch_rows: int) -> None:
    result = timed().map_batches(function).window(sl.tumbling("10s")).agg(n=sl.count())  # type: ignore[arg-type]
    late = result.late.collect(batch_rows=batch_rows)["n"].to_pylist()
    assert late == {doubled: [8], twice: [4, 4], odd: []}[function]  # type: ignore[index]


def test_it_can_stand_before_event_time_and_make_the_time_column() -> None:
    def parsed(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch({"at": batch["ts"].cast(pa.int64()).cast(pa.timestamp("ms")), "n": batch["n"]})

    stream = sl.read_arrow(ROWS).map_batches(parsed).event_time("at", max_delay="1s")
    assert stream.collect()["n"].to_pylist() == [2, 4, 1, 3, 5]


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_it_can_stand_behind_a_window(batch_rows: int) -> None:
    """Bars have an event time, the end of their window, though no column of it."""
    bars = timed().window(sl.tumbling("10s")).agg(total=col("n").sum())

    def plus_one(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.set_column(2, "total", pc.add(batch["total"], 1))

    changed = bars.map_batches(plus_one)
    assert changed.collect(batch_rows=batch_rows)["total"].to_pylist() == [4, 9]
    minutes = changed.window(sl.tumbling("1m")).agg(total=col("total").sum())
    assert minutes.collect(batch_rows=batch_rows)["total"].to_pylist() == [13]


def fails(batch: pa.RecordBatch) -> pa.RecordBatch:
    if batch.num_rows:
        raise ValueError("no such venue")
    return batch


def forgets(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch if batch.num_rows == 0 else None  # type: ignore[return-value]


def shrinks(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch if batch.num_rows == 0 else batch.select(["ts"])


def moves(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.set_column(0, "ts", pa.array([7] * batch.num_rows, pa.timestamp("s")))


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (fails, ["fails", "ValueError", "no such venue"]),
        (forgets, ["forgets", "return"]),
        (shrinks, ["shrinks", "columns"]),
        (moves, ["moves", "event time"]),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_names_the_function_with_its_line_and_the_step(
    function: object, parts: list[str], workers: int
) -> None:
    with pytest.raises(UserFunctionError) as caught:
        timed().map_batches(function).named("user's").collect(workers=workers)  # type: ignore[arg-type]
    for part in [*parts, "test_map_batches.py"]:
        assert part in str(caught.value)
    assert caught.value.step == "user's"
    if function is fails:
        assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_while_splits_are_looked_at_names_the_function_s_step_too() -> None:
    """With several splits their first rows go through the steps before `event_time` when the run opens."""
    both = sl.read_arrow(ROWS).union(sl.read_arrow(ROWS)).map_batches(fails).named("user's")
    with pytest.raises(UserFunctionError) as caught:
        both.event_time("ts", max_delay="1s").collect()
    assert caught.value.step == "user's"


def test_a_function_that_cannot_be_tried_is_refused_when_the_script_is_built() -> None:
    with pytest.raises(UserFunctionError, match="empty batch") as caught:
        timed().map_batches(lambda batch: 1 / batch.num_rows)  # type: ignore[arg-type, return-value]
    assert "test_map_batches.py" in str(caught.value)
    schema = pa.schema({"ts": pa.timestamp("s"), "n": pa.int64()})
    timed().map_batches(lambda batch: batch.slice(0, 1 // batch.num_rows), schema=schema)


def test_the_event_time_column_may_not_be_dropped_and_the_message_names_it() -> None:
    with pytest.raises(sl.BuildError, match="'ts'"):
        timed().map_batches(lambda batch: batch.select(["n"]))


# ---- schemas -----------------------------------------------------------------------------------------


@dataclass
class Small:
    n: float
    s: str


def annotated(rows: pa.RecordBatch) -> Small:  # what it holds, for streamlib
    return pa.record_batch({"s": pa.array(["x"] * rows.num_rows, pa.large_string()), "n": rows["n"]})  # type: ignore[return-value]


def test_schemas_by_argument_annotation_or_an_empty_batch() -> None:
    rows = sl.read_arrow(ROWS)
    wanted = pa.schema({"n": pa.float64(), "s": pa.string()})
    for stream in (
        rows.map_batches(annotated),
        rows.map_batches(lambda batch: annotated(batch), schema=Small),
        rows.map_batches(lambda batch: annotated(batch), schema={"n": float, "s": "string"}),
    ):
        assert stream.schema == wanted
        assert stream.collect().to_pylist()[0] == {"n": 1.0, "s": "x"}


def test_what_an_empty_batch_does_not_show_is_asked_for() -> None:
    def objects(rows: dict[str, np.ndarray]) -> Any:
        made = np.empty(len(rows["n"]), dtype=object)
        made[:] = [[1]] * len(made)
        return {"new": made}

    with pytest.raises(sl.BuildError, match=r"'new'.*does not show in an empty batch"):
        sl.read_arrow(ROWS).map_batches(objects)
    assert sl.read_arrow(ROWS).map_batches(objects, {"new": list[int]}).collect()["new"].to_pylist()[0] == [1]


@pytest.mark.parametrize(
    ("result", "part"),
    [
        (lambda n: {"n": n.cast(pa.float64())}, "other columns than announced"),
        (lambda n: {"n": n.cast(pa.string())}, "other columns than announced"),
        (lambda n: {"n": pa.array([2**40] * len(n))}, "does not fit column 'n'"),
        (lambda n: {"n": [None] * len(n)}, "returned nulls in column 'n'"),
        (lambda n: {"n": n, "m": n[:1]}, "different lengths: n 5, m 1"),
        (lambda n: {"n": 5}, "one value, not a column"),
        (lambda n: {"n": np.zeros((5, 2))}, "2 dimensions"),
        (lambda n: {"n": [1, "x"]}, "column 'n'"),
        (lambda n: [1], "wrong thing"),
        (lambda n: None, "is a return missing"),
    ],
)
def test_results_that_do_not_fit_are_refused(result: Any, part: str) -> None:
    schema = pa.schema([pa.field("n", pa.int32(), nullable=False)])
    stream = sl.read_arrow(ROWS).map_batches(lambda batch: result(batch["n"]), schema=schema)
    with pytest.raises(UserFunctionError, match=part) as caught:
        stream.collect()
    assert "test_map_batches.py" in str(caught.value)


@given(st.lists(st.integers(-200, 300) | st.none(), max_size=6))
def test_whole_numbers_are_checked_for_their_range(numbers: list[int | None]) -> None:
    stream = sl.read_arrow(pa.table({"n": pa.array(numbers, pa.int64())})).map_batches(
        lambda batch: batch, schema={"n": "int8"}
    )
    if all(n is None or -128 <= n <= 127 for n in numbers):
        assert stream.collect()["n"].to_pylist() == numbers
    else:
        with pytest.raises(UserFunctionError):
            stream.collect()


# ---- classes -----------------------------------------------------------------------------------------


class Scaled:
    """Remembers what became of it."""

    log: ClassVar[list[str]] = []

    def __init__(self, factor: int = 2) -> None:
        self.factor = factor
        self.log.append("built")

    def __call__(self, rows: pa.Table) -> pa.Table:
        assert type(rows) is pa.Table
        return rows.set_column(1, "n", pc.multiply(rows["n"], self.factor))

    def close(self) -> None:
        self.log.append("closed")


def test_a_class_is_built_once_on_each_worker_and_closed() -> None:
    Scaled.log.clear()
    stream = timed().map_batches(Scaled, schema=ROWS.schema)
    assert Scaled.log == [], "with a schema none is built before the run"
    assert stream.collect(batch_rows=1)["n"].to_pylist() == [4, 8, 2, 6, 10]
    assert Scaled.log == ["built", "closed"]
    Scaled.log.clear()
    assert timed().map_batches(functools.partial(Scaled, 3)).collect()["n"].to_pylist() == [6, 12, 3, 9, 15]
    assert Scaled.log == ["built", "closed"] * 2, "once to find the columns"


def test_an_object_that_is_there_already_is_not_closed() -> None:
    scaled = Scaled(5)
    Scaled.log.clear()
    assert timed().map_batches(scaled).collect(workers=2)["n"].to_pylist() == [10, 20, 5, 15, 25]
    assert Scaled.log == []


class NeedsModel:
    def __init__(self, model: str) -> None:
        self.model = model

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows


class CannotBuild:
    def __init__(self) -> None:
        raise OSError("no such model")

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows


class CannotClose(CannotBuild):
    def __init__(self) -> None:
        pass

    def close(self) -> None:
        raise OSError("cannot close")


def test_what_goes_wrong_with_a_class_is_named() -> None:
    with pytest.raises(sl.BuildError, match="cannot build NeedsModel") as refused:
        timed().map_batches(NeedsModel)
    assert "functools.partial(NeedsModel, ...)" in str(refused.value)
    timed().map_batches(functools.partial(NeedsModel, "large"))
    with pytest.raises(UserFunctionError, match=r"CannotBuild \(.*test_map_batches.py:\d+\) raised OSError"):
        timed().map_batches(CannotBuild, schema=ROWS.schema).collect()
    with pytest.raises(UserFunctionError, match=r"close\(\) of CannotClose"):
        timed().map_batches(CannotClose, schema=ROWS.schema).collect()


def test_rows_that_a_function_fails_for_are_skipped_alone() -> None:
    def picky(rows: dict[str, np.ndarray]) -> Any:
        if (rows["n"] == 3).any():
            raise ValueError("three")
        return rows

    stream = timed().map_batches(picky).on_error("skip")
    assert stream.collect()["n"].to_pylist() == [2, 4, 1, 5]

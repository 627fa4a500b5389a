"""`map_batches`: the user's function sees any cut of the rows, and each result keeps the time and mark of its row."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

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

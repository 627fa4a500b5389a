"""What a window, an aggregate and an operator promise, as checks that an outsider runs on theirs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.aggregates import AccumulatorPlan, Aggregate
from streamlib.contracts import OverlappingWindow, Window
from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.graph import Node
from streamlib.state import PaneStore
from streamlib.streams import Stream
from streamlib.testing.compare import assert_same
from streamlib.testing.harness import Harness, harness

CASES = 200


def check_window(window: Window | OverlappingWindow, seed: int = 0) -> None:
    """Checks windows of time: a pure function of it, half-open, in its order; and those that overlap.

    Args:
        window: with its options.
        seed: draws the times, over hours, years and centuries around 1970.

    Raises:
        AssertionError: the contract is broken.

    >>> import streamlib as sl
    >>> check_window(sl.tumbling("7m", offset="3s"))
    """
    dice = random.Random(seed)
    scales = (10**9, 3600 * 10**9, 366 * 86_400 * 10**9, 2**62)
    drawn = sorted(dice.randint(-scale, scale) for scale in scales for _ in range(CASES))
    times = np.array([*drawn, *(t + 1 for t in drawn)], dtype=np.int64)
    if isinstance(window, OverlappingWindow):
        _check_overlapping(window, times)
        return
    starts = window.starts(times)
    ends = window.ends(starts)
    assert starts.dtype == np.int64 and ends.dtype == np.int64, "starts and ends are int64 ns"
    assert len(starts) == len(times) == len(ends), "one start for each time, one end for each start"
    assert np.array_equal(starts, window.starts(times)), "the same times give the same starts"
    inside = (starts <= times) & (times < ends)
    assert inside.all(), f"a time lies in its window: {_example(inside, times, starts, ends)}"
    own = window.starts(starts) == starts
    assert own.all(), f"a window's start lies in that window: {_example(own, times, starts, ends)}"
    last = window.starts(ends - 1) == starts
    assert last.all(), f"so does its last nanosecond: {_example(last, times, starts, ends)}"
    order = np.argsort(times, kind="stable")
    assert _rises(starts[order]) and _rises(ends[order]), "later times, later windows"
    assert window.end(int(starts[0])) == int(ends[0]), "end() agrees with ends()"
    _check_unit(window, starts, ends)
    assert len(window.starts(np.empty(0, dtype=np.int64))) == 0, "no times, no starts"
    assert window.describe(), "a window describes itself for explain()"


def _check_unit(window: Window | OverlappingWindow, starts: Any, ends: Any) -> None:
    unit = window.granularity()
    whole = (
        ((starts % unit == 0) & (ends % unit == 0)) | (starts <= MIN_TIME + unit) | (ends >= MAX_TIME - unit)
    )
    assert unit >= 1 and whole.all(), f"the granularity of {unit} ns divides starts and ends"


def _check_overlapping(window: OverlappingWindow, times: Any) -> None:
    first, last = window.first(times), window.last(times)
    assert first.dtype == np.int64 and last.dtype == np.int64, "numbers are int64"
    assert len(first) == len(times) == len(last), "a first and a last number for each time"
    assert np.array_equal(first, window.first(times)), "the same times give the same numbers"
    held = first <= last
    assert held.all(), f"a time is in a window: {_example(held, times, first, last)}"
    order = np.argsort(times, kind="stable")
    assert _rises(first[order]) and _rises(last[order]), "later times, later windows"
    for numbers in (first, last, (first + last) // 2):
        starts, ends = window.starts(numbers), window.ends(numbers)
        assert starts.dtype == np.int64 and ends.dtype == np.int64, "starts and ends are int64 ns"
        inside = (starts <= times) & (times < ends)
        assert inside.all(), (
            f"from the first to the last, each holds the time: {_example(inside, times, starts, ends)}"
        )
        assert window.bounds(int(numbers[0])) == (int(starts[0]), int(ends[0])), "bounds() agrees"
        _check_unit(window, starts, ends)
    before, after = window.ends(first - 1), window.starts(last + 1)
    outside = ((before <= times) | (before == MIN_TIME)) & ((after > times) | (after == MAX_TIME))
    assert outside.all(), f"no other window holds it: {_example(outside, times, before, after)}"
    numbers = np.unique([*first.tolist(), *last.tolist(), *(last + 1).tolist()])
    assert _rises(window.starts(numbers)) and _rises(window.ends(numbers)), "later numbers, later windows"
    slices = window.slices(times)
    same = (window.first(slices) == first) & (window.last(slices) == last) & (slices <= times)
    assert same.all(), f"a slice's start is in the same windows: {_example(same, times, slices, slices)}"
    nothing = np.empty(0, dtype=np.int64)
    assert len(window.first(nothing)) == len(window.last(nothing)) == 0, "no times, no numbers"
    assert window.describe(), "windows describe themselves for explain()"


def _rises(values: Any) -> bool:
    """Whether none is less than the one before; differences could wrap."""
    return bool((values[1:] >= values[:-1]).all())


def _example(holds: Any, times: Any, starts: Any, ends: Any) -> str:
    if holds.all():
        return ""
    at = int(np.flatnonzero(~holds)[0])
    return f"time {times[at]}, window [{starts[at]}, {ends[at]})"


def check_aggregate(aggregate: Aggregate, values: pa.Array | None, seed: int = 0) -> None:
    """Checks an aggregate: rows added whole, in pieces, in any order of pieces, and from a snapshot, agree.

    Args:
        aggregate: without its input.
        values: an input column with nulls; None for an aggregate without input.
        seed: draws times and pieces.

    Raises:
        AssertionError: the contract is broken.

    >>> from streamlib.aggregates import Mean
    >>> check_aggregate(Mean(), pa.array([1, None, 4, 10]))
    """
    kind = None if values is None else values.type
    rows = 20 if values is None else len(values)
    expected_type = aggregate.result_type(kind)
    dice = random.Random(seed)
    times = np.array([dice.randint(0, max(1, rows // 2)) for _ in range(rows)], dtype=np.int64)
    orders = np.arange(rows, dtype=np.int64)
    keys = pa.record_batch({"k": pa.array([dice.randint(0, 2) for _ in range(rows)], pa.int64())})
    for ordered in (False, True):
        plan = _plan(aggregate, values, ordered)
        whole = _store(plan)
        _add(whole, keys, values, times, orders, np.arange(rows))
        wanted = _results(whole)
        for value in wanted["value"].chunks:
            assert value.type == expected_type, f"result_type says {expected_type}, finish gives {value.type}"
        cut = dice.randint(0, rows)
        pieces = [np.arange(cut), np.arange(cut, rows)]
        apart = _store(plan)
        for piece in pieces:
            _add(apart, keys, values, times, orders, piece)
        assert_same(wanted, _results(apart), "rows added in two batches")
        merged = _store(plan)
        for piece in pieces if not ordered else reversed(pieces):
            partial = _store(plan)
            _add(partial, keys, values, times, orders, piece)
            for start in list(partial.starts()):
                merged.merge(partial.partials(start))
        assert_same(wanted, _results(merged), "partial results merged")
        restored = _store(plan)
        restored.restore(apart_again(plan, keys, values, times, orders).snapshot())
        assert_same(wanted, _results(restored), "state taken in from a snapshot")


def apart_again(
    plan: AccumulatorPlan, keys: pa.RecordBatch, values: Any, times: Any, orders: Any
) -> PaneStore:
    """A store that holds all rows."""
    store = _store(plan)
    _add(store, keys, values, times, orders, np.arange(len(times)))
    return store


def _plan(aggregate: Aggregate, values: pa.Array | None, ordered: bool) -> AccumulatorPlan:
    if values is None:
        return AccumulatorPlan([(aggregate, None, None)], ordered=ordered)
    return AccumulatorPlan([(aggregate, 0, values.type)], ordered=ordered)


def _store(plan: AccumulatorPlan) -> PaneStore:
    return PaneStore([pa.field("k", pa.int64())], plan)


def _add(store: PaneStore, keys: pa.RecordBatch, values: Any, times: Any, orders: Any, which: Any) -> None:
    if not len(which):
        return
    inputs = [] if values is None else [values.take(pa.array(which))]
    starts = np.zeros(len(which), dtype=np.int64)
    order = orders[which] if store.plan.ordered else None
    store.add(keys.take(pa.array(which)), starts, inputs, times[which], order)


def _results(store: PaneStore) -> pa.Table:
    tables = []
    for start in list(store.starts()):
        closed = store.pop(start)
        tables.append(pa.table({"k": closed.keys.column(0), "value": closed.results()[0]}))
    return pa.concat_tables(tables)


def check_operator(
    step: Stream | Node, rows: Any, watermarks: Sequence[int] = (), ordered: bool = False
) -> None:
    """Checks the operator of a step: batch cuts, a snapshot half-way, and the watermark it sends on.

    Args:
        step: the result of the step, or its node; with one input.
        rows: a table for it, in the order of arrival, with no row late.
        watermarks: raised to after as many rows as are left when they are shared out evenly, ns.
        ordered: rows carry the order that decides ties.

    Raises:
        AssertionError: the contract is broken.

    >>> import streamlib as sl
    >>> stream = sl.read_arrow(pa.table({"n": [1, 2, 3]}))
    >>> check_operator(stream.filter(sl.col("n") > 1), pa.table({"n": [5, 0, 7]}))
    """
    whole = harness(step, ordered=ordered)
    table = whole._batch(rows, None, 0).rows
    parts = _shared_out(table.num_rows, len(watermarks))
    wanted = _driven(whole, table, parts, watermarks, rows_each=max(1, table.num_rows))
    for rows_each in (1, 2, 3):
        cut = harness(step, batch_rows=max(1, rows_each), ordered=ordered)
        got = _driven(cut, table, parts, watermarks, rows_each)
        assert_same(wanted, got, f"fed in batches of {rows_each} rows")
    for halt in range(len(parts)):
        got = _driven(harness(step, ordered=ordered), table, parts, watermarks, 2, halt)
        assert_same(wanted, got, f"restored from a snapshot after part {halt}")


def _shared_out(rows: int, watermarks: int) -> list[tuple[int, int]]:
    bounds = [rows * part // (watermarks + 1) for part in range(watermarks + 2)]
    return list(itertools.pairwise(bounds))


def _driven(
    driven: Harness,
    rows: pa.RecordBatch,
    parts: list[tuple[int, int]],
    watermarks: Sequence[int],
    rows_each: int,
    halt: int | None = None,
) -> pa.Table:
    """All main rows; after part `halt` the operator is exchanged for one restored from its snapshot."""
    before: list[pa.Table] = []
    for number, (begin, end) in enumerate(parts):
        for offset in range(begin, end, rows_each):
            driven.feed(rows.slice(offset, min(rows_each, end - offset)))
        if number < len(watermarks):
            sent, known = driven.forwarded, len(driven.times())
            driven.watermark(watermarks[number])
            assert driven.forwarded >= sent, "the watermark sent on never falls"
            assert driven.operator.forward(watermarks[number]) <= watermarks[number], (
                "it is not ahead of the input's"
            )
            early = [time for time in driven.times()[known:] if time < sent]
            assert not early, f"a result at {early[:1]} after watermark {sent} was sent on"
        if number == halt:
            state = driven.barrier()
            before.append(driven.rows())
            driven = driven.restored(state)
    driven.end()
    return pa.concat_tables([*before, driven.rows()])

"""Windows of a key's last rows: with which row one ends, what is left over, and what cannot work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.aggregates import AccumulatorPlan, Sum
from streamlib.connectors.memory import CollectSink
from streamlib.errors import BuildError
from streamlib.state import HopTable
from tests.operators.windows.test_rows import SECOND, bars, plain, rows, stream


def test_windows_of_the_last_rows_end_with_every_so_many_rows_of_a_key() -> None:
    table = rows(*((n, "a", n) for n in range(1, 10)), (2, "b", 1), (3, "b", 2), (4, "b", 4))
    assert plain(bars(stream(table, "9s"), sl.hopping(rows=4, every=2)).collect()) == [
        ("a", 1, 4, 4, 10),
        ("a", 3, 6, 4, 18),
        ("a", 5, 8, 4, 26),
    ]
    assert plain(bars(stream(table, "9s"), sl.hopping(rows=3, every=2, partial=True)).collect()) == [
        ("a", 1, 2, False, 2, 3),
        ("b", 2, 3, False, 2, 3),
        ("a", 2, 4, True, 3, 9),
        ("a", 4, 6, True, 3, 15),
        ("a", 6, 8, True, 3, 21),
        ("a", 8, 9, False, 2, 17),
        ("b", 3, 4, False, 2, 6),
    ]
    same = [
        bars(stream(table), window).collect() for window in (sl.tumbling(rows=3), sl.hopping(rows=3, every=3))
    ]
    assert same[0].equals(same[1])


def test_the_last_rows_of_a_stream_without_keys() -> None:
    table = rows(*((n, "a", n) for n in range(1, 6)))
    unkeyed = sl.read_arrow(table).event_time("ts", max_delay="5s")
    assert plain(bars(unkeyed, sl.hopping(rows=3, every=1)).collect(workers=2)) == [
        (None, 1, 3, 3, 6),
        (None, 2, 4, 3, 9),
        (None, 3, 5, 3, 12),
    ]


def test_rows_that_no_window_of_the_last_rows_has_are_counted() -> None:
    sink = CollectSink()
    table = rows(*((n, "a", 1) for n in range(15)), (3, "b", 1))
    report = sl.run(bars(stream(table, "20s"), sl.hopping(rows=5, every=4)).named("hops").write(sink))
    assert plain(sink.table()) == [("a", 3, 7, 5, 5), ("a", 7, 11, 5, 5)]
    assert report.dropped == {"hops": 3 + 3 + 1}, "before the first window, behind the last one, and of b"


def test_slices_that_no_window_needs_leave_no_state() -> None:
    table = HopTable([pa.field("k", pa.int64())], AccumulatorPlan([(Sum(), 0, pa.int64())]), 6, 2, ttl=50)
    keys = pa.record_batch({"k": np.arange(60_000) % 5})
    over = table.add(keys, [keys["k"]], np.arange(60_000))
    assert sum(len(part) for part in over) == 5 * (6_000 - 2)
    assert {
        (n, total)
        for part in over
        for n, total in zip(part.rows, part.closed.results()[0].to_pylist(), strict=True)
    } == {(6, 6 * key) for key in range(5)}
    assert (len(table), table.rows) == (5 * 2, 5 * 4)
    assert table.nbytes < 10_000_000
    table.expire(60_100)
    assert (len(table), table.rows, table.snapshot().num_rows) == (0, 0, 0)


def test_what_is_open_of_the_last_rows_comes_out_when_a_ttl_drops_the_key() -> None:
    step = t.harness(bars(stream(), sl.hopping(rows=4, every=2, partial=True), ttl="10s"))
    step.feed(rows((1, "a", 1), (2, "a", 2), (3, "a", 4)))
    assert plain(step.watermark(4 * SECOND)) == [("a", 1, 2, False, 2, 3)]
    assert (step.operator.open_windows(), step.operator.open_rows()) == ((2, None), 3)
    assert plain(step.watermark(14 * SECOND)) == [("a", 1, 3, False, 3, 7), ("a", 3, 3, False, 1, 4)]
    assert step.times()[-1] == 13 * SECOND
    step.feed(rows((20, "a", 8), (21, "a", 16)))
    assert plain(step.watermark(22 * SECOND)) == [("a", 20, 21, False, 2, 24)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sl.hopping(rows=2), "no every="),  # type: ignore[call-overload]
        (lambda: sl.hopping(rows=0, every=1), "number of rows"),
        (lambda: sl.hopping(rows=2, every=0), "1 or more"),
        (lambda: sl.hopping(rows=2, every="1s"), "1 or more"),  # type: ignore[call-overload]
        (lambda: sl.hopping(rows=2, every=3), "longer than the window"),
        (lambda: sl.hopping("1s", rows=2, every=1), "one size"),  # type: ignore[call-overload]
        (lambda: sl.hopping(rows=2, every=1, offset="1s"), "one size"),  # type: ignore[call-overload]
        (lambda: sl.hopping("2s", every="1s", partial=True), "need no partial="),  # type: ignore[call-overload]
        (lambda: stream().window(sl.hopping(rows=2, every=1)).top_n(1, by="v"), "length of time"),
    ],
)
def test_what_makes_no_sense_fails_when_the_graph_is_built(make: Any, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        make()

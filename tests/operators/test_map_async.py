"""`map_async`: rows under way, their order, what a failing service does, and that nothing is left behind.

The service of these tests answers when it is told to; time passes only on a manual clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError, col
from streamlib.contracts import Wait
from streamlib.elements import Batch
from streamlib.graph import BuildContext
from streamlib.testing.stepped_loop import SteppedLoop

OUT = {"n": int}
SECOND = 1_000_000_000


def numbers(count: int, max_delay: str | None = "0s") -> sl.Stream:
    rows = sl.read_arrow(pa.table({"ts": pa.array(range(count), pa.timestamp("s")), "n": range(count)}))
    return rows if max_delay is None else rows.event_time("ts", max_delay=max_delay)


class Service:
    """Answers a row when the test says so; a row is its column n."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.asked: list[int] = []
        self.running = self.most = 0

    async def ask(self, n: int) -> dict[str, int]:
        self.asked.append(n)
        self.running += 1
        self.most = max(self.most, self.running)
        future = asyncio.get_running_loop().create_future()
        self.waiting[n] = future
        try:
            answer = await future
        finally:
            self.running -= 1
        return {"n": answer}

    def answer(self, *rows: int) -> None:
        for n in rows:
            self.waiting.pop(n).set_result(10 * n)


@dataclass
class Driven:
    """The operator of a step, on a loop that goes on when it is told."""

    operator: Any
    clock: t.ManualClock

    @classmethod
    def of(cls, stream: sl.Stream, **context: Any) -> Driven:
        clock = t.ManualClock()
        built = stream._node.build(BuildContext(new_loop=partial(SteppedLoop, clock), **context))
        built.bind(lambda: None)
        return cls(built, clock)

    def turn(self, times: int = 5) -> None:
        for _ in range(times):
            self.operator.calls.loop.turn()

    def feed(self, *rows: int, mark: list[int] | None = None) -> list[int]:
        """Rows with n and time in seconds; returns what comes out until the step would wait."""
        batch = pa.record_batch({"ts": pa.array(rows, pa.timestamp("s")), "n": pa.array(rows, pa.int64())})
        times = np.array(rows, dtype=np.int64) * SECOND
        marks = None if mark is None else np.array(mark, dtype=np.int64) * SECOND
        self.outputs = iter(self.operator.on_batch(Batch(batch, times, marks)))
        return self.come()

    def come(self) -> list[int]:
        """What the call that goes on yields until it waits."""
        found: list[int] = []
        self.parked = False
        for output in self.outputs:
            if isinstance(output, Wait):
                self.turn()
                if not output.ready():
                    self.parked = True
                    break
            elif isinstance(output, Batch):
                found += output.rows.column("n").to_pylist()
        self.turn()
        return found

    def wake(self) -> list[int]:
        self.turn()
        self.outputs = iter(self.operator.on_wake())
        return self.come()

    def begin(self, what: Callable[[], Any]) -> list[int]:
        self.outputs = iter(what())
        return self.come()


# ---- order, room and watermark -----------------------------------------------------------------------


def test_rows_leave_in_their_order_or_as_they_are_answered() -> None:
    for ordered, first, second in ((True, [], [0, 10, 20]), (False, [20, 10], [0])):
        service = Service()
        driven = Driven.of(numbers(1).map_async(service.ask, ordered=ordered, schema=OUT))
        driven.feed(0, 1, 2)
        service.answer(2, 1)
        assert driven.wake() == first
        service.answer(0)
        assert driven.wake() == second
        assert not driven.operator.is_busy()
        driven.operator.close()


def test_no_more_rows_are_called_for_than_it_says_and_the_batch_behind_waits() -> None:
    service = Service()
    driven = Driven.of(numbers(1).map_async(service.ask, 2, schema=OUT))
    driven.feed(*range(10))
    assert driven.parked
    assert service.asked == [0, 1]
    service.answer(0)
    assert driven.come() == [0]
    assert service.asked == [0, 1, 2]
    for n in range(1, 7):
        service.answer(n)
        driven.turn()
    assert driven.come() == [10 * n for n in range(1, 7)]
    assert not driven.parked, "few enough are left: the step takes another batch"
    assert service.most == 2
    driven.operator.close()


def test_rows_that_are_held_back_by_one_before_them_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    driven = Driven.of(numbers(1).map_async(service.ask, 3, schema=OUT), batch_rows=4)
    for row in range(1, 40):
        driven.feed(row - 1)
        driven.turn()
        service.answer(*[n for n in service.waiting if n > 0])
        driven.turn()
        if driven.parked and not driven.come() and driven.parked:
            break
    assert row < 14, "four times three rows wait for the first"
    service.answer(0)
    assert len(driven.come()) >= 12
    driven.operator.close()
    monkeypatch.setattr("streamlib.operators.map_async.async_operator.IN_FLIGHT_BYTES_MAX", 1)
    driven = Driven.of(numbers(1).map_async(service.ask, 3, schema=OUT))
    driven.feed(50)
    assert not driven.parked, "one batch may be larger"
    driven.feed(51)
    assert driven.parked
    driven.operator.close()


def test_the_watermark_waits_for_the_rows_under_way() -> None:
    for ordered in (True, False):
        service = Service()
        driven = Driven.of(numbers(1).map_async(service.ask, ordered=ordered, schema=OUT))
        driven.feed(5, 3, 9)
        assert driven.operator.forward(2 * SECOND) == 2 * SECOND
        assert driven.operator.forward(20 * SECOND) == 3 * SECOND
        service.answer(5, 3)
        driven.wake()
        assert driven.operator.forward(20 * SECOND) == 9 * SECOND
        service.answer(9)
        driven.wake()
        assert driven.operator.forward(20 * SECOND) == 20 * SECOND
        driven.operator.close()


def test_a_row_behind_its_mark_holds_back_no_more_than_the_mark() -> None:
    service = Service()
    driven = Driven.of(numbers(1).map_async(service.ask, schema=OUT))
    driven.feed(2, 8, mark=[6, 6])
    assert driven.operator.forward(20 * SECOND) == 6 * SECOND
    driven.operator.close()


def test_a_barrier_waits_until_all_rows_have_left() -> None:
    service = Service()
    driven = Driven.of(numbers(1).map_async(service.ask, schema=OUT))
    driven.feed(0, 1)
    assert driven.begin(driven.operator.on_barrier) == []
    assert driven.parked
    service.answer(0, 1)
    assert driven.come() == [0, 10]
    assert not driven.parked
    assert driven.operator.snapshot() == {}
    driven.operator.close()


# ---- the same rows however it is run -----------------------------------------------------------------


async def slow(ts: Any, n: int) -> dict[str, Any]:
    """Later rows are often answered earlier."""
    await asyncio.sleep((n * 7) % 5)
    return {"ts": ts, "n": 3 * n}


TIMED = {"ts": "timestamp[s]", "n": int}


@given(
    ts=st.lists(st.integers(0, 30), max_size=40),
    concurrency=st.integers(1, 5),
    ordered=st.booleans(),
    workers=st.integers(1, 3),
    batch_rows=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_windows_behind_it_have_the_rows_of_map(
    ts: list[int], concurrency: int, ordered: bool, workers: int, batch_rows: int, seed: int
) -> None:
    """Time, mark and order of each row are kept, and no row comes behind the watermark that it had."""
    rows = pa.table({"ts": pa.array(ts, pa.timestamp("s")), "n": pa.array(range(len(ts)), pa.int64())})
    timed = sl.read_arrow(rows).event_time("ts", max_delay="3s")

    def tripled(ts: Any, n: int) -> dict[str, Any]:
        return {"ts": ts, "n": 3 * n}

    how = {"workers": workers, "seed": seed, "batch_rows": batch_rows}

    def bars(stream: sl.Stream) -> list[pa.Table]:
        windows = stream.key_by(k=col("n") % 2).window(sl.tumbling("5s"), allowed_lateness="1s")
        made = windows.agg(rows=sl.count(), total=col("n").sum())
        found = t.run([made, made.late.select("ts", "n", "late_by")], **how)
        assert isinstance(found, list)
        return found

    wanted = bars(timed.map(tripled, TIMED))
    asked = timed.map_async(slow, concurrency, ordered=ordered, schema=TIMED)
    for one, other in zip(wanted, bars(asked), strict=True):
        t.assert_same(one, other, "map and map_async")
    found = t.run(asked, **how)
    assert sorted(found["n"].to_pylist()) == [3 * n for n in range(len(ts))]


def test_the_same_rows_with_kills_and_other_numbers_of_workers() -> None:
    asked = numbers(20).map_async(slow, 3, schema=TIMED)
    assert t.check(asked.key_by("n").window(sl.tumbling("5s")).agg(rows=sl.count()), seeds=[1, 2])


def test_two_of_them_in_a_row_and_no_event_time() -> None:
    async def next_one(n: int) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"n": n + 1}

    asked = numbers(500, None).map_async(next_one, 7, schema=OUT).map_async(next_one, 3, schema=OUT)
    for workers in (1, 2):
        assert asked.collect(workers=workers, batch_rows=64)["n"].to_pylist() == list(range(2, 502))


# ---- what is refused when the graph is built ----------------------------------------------------------


def test_what_cannot_work_fails_at_the_user_s_line() -> None:
    async def answered(n: int) -> dict[str, int]:
        return {"n": n}

    rows = numbers(3, None)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: rows.map_async(lambda n: {"n": n}, schema=OUT), "awaits what it calls"),
        (lambda: rows.map_async(answered, 0, schema=OUT), "concurrency"),
        (lambda: rows.map_async(answered, timeout="0s", schema=OUT), "timeout"),
        (lambda: rows.map_async(answered, retry=3, schema=OUT), "needs a Retry"),  # type: ignore[arg-type]
        (lambda: rows.map(answered, OUT), "cannot call an async function"),
        (
            lambda: rows.map_async(slow, schema=TIMED).event_time("ts", max_delay="1s"),
            "event_time stands behind map_async",
        ),
    ]
    for build, problem in cases:
        with pytest.raises(BuildError, match=problem) as raised:
            build()
        assert raised.value.at is not None
        assert raised.value.at.file.endswith("test_map_async.py")


def test_the_plan_says_that_it_asks_outside() -> None:
    asked = numbers(3).map_async(Service().ask, 5, ordered=False, timeout=None, schema=OUT)
    text = asked.explain()
    assert "ask, concurrency=5, ordered=False, timeout=None" in text
    assert "timing, because map_async: a lookup outside" in text

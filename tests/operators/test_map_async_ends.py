"""`map_async` where things go wrong: services that fail or are slow, sessions, and runs that are called off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import UserFunctionError
from streamlib.connectors.memory import CollectSink
from streamlib.contracts import Refusal
from streamlib.elements import Batch
from streamlib.graph import BuildContext
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.testing.stepped_loop import SteppedLoop
from tests.runtime.sources import ListSource, rows

OUT = {"n": int}
SECOND = 1_000_000_000


def numbers(count: int) -> sl.Stream:
    rows = sl.read_arrow(pa.table({"ts": pa.array(range(count), pa.timestamp("s")), "n": range(count)}))
    return rows.event_time("ts", max_delay="0s")


# ---- failing services --------------------------------------------------------------------------------


async def never(n: int) -> dict[str, int]:
    if n == 1:
        await asyncio.Event().wait()
    return {"n": n}


def test_a_call_that_takes_too_long_names_function_row_and_place() -> None:
    with pytest.raises(UserFunctionError) as raised:
        t.run(numbers(3).map_async(never, timeout="5s", schema=OUT))
    text = str(raised.value)
    assert "never (" in text
    assert "gave no answer in time" in text
    assert "an answer within 5 s" in text
    assert "n=1" in text
    assert "arrow, row 1" in text


def test_the_function_s_own_timeout_error_is_its_own() -> None:
    async def impatient(n: int) -> dict[str, int]:
        raise TimeoutError("of the socket")

    with pytest.raises(UserFunctionError, match="raised TimeoutError") as raised:
        t.run(numbers(1).map_async(impatient, schema=OUT))
    assert "of the socket" in str(raised.value)


class Flaky:
    """Raises until it has been called so often for a row."""

    def __init__(self, clock: t.ManualClock, needed: dict[int, int]) -> None:
        self.clock, self.needed = clock, needed
        self.called: dict[int, list[float]] = {}

    async def ask(self, n: int) -> dict[str, int]:
        calls = self.called.setdefault(n, [])
        calls.append(self.clock() / 1e9)
        if len(calls) < self.needed.get(n, 1):
            raise ConnectionError(f"try {len(calls)} for {n}")
        return {"n": n}


def test_a_call_that_raised_is_made_again_after_a_wait_while_others_go_on() -> None:
    clock = t.ManualClock()
    flaky = Flaky(clock, {1: 3})
    retry = sl.Retry(attempts=3, wait=2.0, factor=3.0)
    asked = numbers(4).map_async(flaky.ask, 2, ordered=False, retry=retry, schema=OUT)
    assert t.run(asked, clock=clock)["n"].to_pylist() == [0, 1, 2, 3]
    first, second, third = flaky.called[1]
    assert [round(second - first), round(third - second)] == [2, 6]
    assert flaky.called[3][0] < second, "a row that waits leaves the others their places"


def test_rows_that_fail_are_dead_letters_with_their_attempts() -> None:
    flaky = Flaky(t.ManualClock(), {1: 99, 3: 99})
    asked = numbers(5).map_async(flaky.ask, retry=sl.Retry(3), schema=OUT).on_error("dead_letter")
    letters = asked.dead_letters.select("n", "error_type", "error_message", "error_where", "error_attempts")
    rows, dead = t.run([asked, letters], clock=flaky.clock)
    assert rows["n"].to_pylist() == [0, 2, 4]
    assert dead["n"].to_pylist() == [1, 3]
    assert dead["error_attempts"].to_pylist() == [3, 3]
    assert dead["error_where"].to_pylist() == ["arrow, row 1", "arrow, row 3"]
    assert "raised ConnectionError in line" in dead["error_message"][0].as_py()
    assert "in the last of 3 calls" in dead["error_message"][0].as_py()


def test_retry_of_on_error_counts_too_and_skipped_rows_are_counted() -> None:
    flaky = Flaky(t.ManualClock(), {0: 2, 2: 99})
    asked = numbers(3).map_async(flaky.ask, schema=OUT).on_error("skip", retry=sl.Retry(2, wait=0))
    report = sl.run(asked.write(CollectSink()))
    assert report.rows_out == 2
    assert len(flaky.called[2]) == 2


def test_answers_that_do_not_fit_are_refused_one_by_one() -> None:
    async def odd(n: int) -> dict[str, Any]:
        return {"n": "one" if n % 3 == 1 else n}

    asked = numbers(9).map_async(odd, schema=OUT).on_error("skip")
    assert t.run(asked)["n"].to_pylist() == [0, 2, 3, 5, 6, 8]
    with pytest.raises(UserFunctionError, match="does not fit column 'n'"):
        t.run(numbers(9).map_async(odd, schema=OUT))


def test_a_call_that_cancels_itself_is_an_error_and_no_hang() -> None:
    async def gives_up(n: int) -> dict[str, int]:
        raise asyncio.CancelledError

    with pytest.raises(UserFunctionError, match="CancelledError"):
        numbers(3).map_async(gives_up, schema=OUT).collect()


def test_a_refusal_keeps_the_hidden_columns() -> None:
    async def fails(n: int) -> dict[str, int]:
        raise ValueError(n)

    loop = partial(SteppedLoop, t.ManualClock())
    operator = numbers(1).map_async(fails, schema=OUT)._node.build(BuildContext(new_loop=loop, refuse=True))
    rows = pa.record_batch({"ts": pa.array([4, 2], pa.timestamp("s")), "n": [4, 2]})
    assert not list(operator.on_batch(Batch(rows, np.array([4, 2]) * SECOND)))
    while not operator.is_ready():
        pass
    (refusal,) = operator.on_wake()
    assert isinstance(refusal, Refusal)
    assert refusal.batch.time is not None
    assert refusal.batch.time.tolist() == [4 * SECOND, 2 * SECOND]
    operator.close()


# ---- classes, threads and ends -----------------------------------------------------------------------


class Session:
    """Opened and closed on the loop, once by each worker."""

    log: list[str]

    def __init__(self) -> None:
        self.log.append("built")

    async def open(self) -> None:
        await asyncio.sleep(0)
        self.thread = threading.current_thread()
        self.log.append("open")

    async def __call__(self, n: int) -> dict[str, int]:
        assert self.thread is threading.current_thread()
        return {"n": -n}

    async def close(self) -> None:
        await asyncio.sleep(0)
        assert self.thread is threading.current_thread()
        self.log.append("close")


def test_a_class_is_built_opened_and_closed_once_by_each_worker() -> None:
    for workers in (1, 2):
        Session.log = []
        kept = numbers(50).key_by("n").map_async(Session, schema=OUT)
        assert kept.collect(workers=workers, batch_rows=5)["n"].to_pylist() == [-n for n in range(50)]
        built = Session.log.count("built")
        assert 1 <= built <= workers
        assert Session.log.count("open") == Session.log.count("close") == built


def test_a_session_that_cannot_be_opened_or_closed_ends_the_run() -> None:
    class Down(Session):
        async def open(self) -> None:
            raise ConnectionError("nobody there")

    class Stuck(Session):
        async def close(self) -> None:
            raise ConnectionError("already gone")

    Session.log = []
    for kind, problem in ((Down, "could not be opened"), (Stuck, "could not be closed")):
        with pytest.raises(UserFunctionError, match=problem):
            numbers(3).map_async(kind, schema=OUT).on_error("skip").collect()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_elsewhere_cancels_what_is_under_way(workers: int) -> None:
    cancelled, asked = threading.Event(), threading.Event()

    async def waits(n: int) -> dict[str, int]:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return {"n": n}

    def breaks(n: int) -> dict[str, int]:
        assert asked.wait(20)
        raise ValueError("elsewhere")

    source = numbers(4)
    with pytest.raises(UserFunctionError, match="elsewhere"):
        sl.run(
            source.map_async(waits, schema=OUT).print(),
            source.map(breaks, OUT).print(),
            workers=workers,
            batch_rows=1,
        )
    assert cancelled.is_set()


def test_a_job_that_is_called_off_cancels_what_is_under_way() -> None:
    asked = threading.Event()

    async def waits(n: int) -> dict[str, int]:
        asked.set()
        await asyncio.Event().wait()
        return {"n": n}

    windows = numbers(3).map_async(waits, timeout=None, schema=OUT).window(sl.tumbling("1s"))
    job = sl.start(windows.agg(rows=sl.count()).print())
    assert asked.wait(20)
    said = next(text for text in (str(job.why()) for _ in range(100_000)) if "waits for" in text)
    assert "map_async waits for 3 answers" in said
    job._interrupt()
    with pytest.raises(sl.StreamlibError, match="called off"):
        job.wait(20)


def test_head_and_iter_batches_wait_for_answers() -> None:
    called: list[int] = []

    async def answered(n: int) -> dict[str, int]:
        called.append(n)
        await asyncio.to_thread(int)
        return {"n": n}

    asked_of = numbers(10_000).map_async(answered, 3, schema=OUT)
    assert asked_of.head(5)["n"].to_pylist() == [0, 1, 2, 3, 4]
    assert len(called) < 5_000, "a service is not called for all rows to see five"
    batches = asked_of.iter_batches(batch_rows=10)
    assert next(batches)["n"][0].as_py() == 0
    batches.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_waits_for_the_rows_under_way(workers: int) -> None:
    """They are in the output; the answers come only when the stop has been asked for."""
    asked, gate = threading.Semaphore(0), threading.Event()

    async def answers(v: int) -> dict[str, int]:
        asked.release()
        await asyncio.to_thread(gate.wait)
        return {"n": v}

    source = ListSource({"a": [rows(1, 2), rows(3)]}, live=True)
    sink = CollectSink()
    job = sl.start(sl.read(source).map_async(answers, schema=OUT).write(sink), workers=workers)
    for _ in range(3):
        assert asked.acquire(timeout=20)
    job._request_stop(flush=False)
    gate.set()
    assert job.wait(20).status == "stopped"
    assert sorted(sink.table()["n"].to_pylist()) == [1, 2, 3]


def test_answers_wake_the_worker_though_nothing_else_comes() -> None:
    waiting: list[Callable[[], object]] = []
    asked = threading.Semaphore(0)

    async def asks(n: int) -> dict[str, int]:
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        waiting.append(lambda: loop.call_soon_threadsafe(event.set))
        asked.release()
        await event.wait()
        return {"n": n}

    sink = CollectSink()
    execution = Execution([numbers(3).map_async(asks, schema=OUT).write(sink)])
    bell = execution.shared.bell

    def answer_one() -> bool:
        assert asked.acquire(timeout=20)
        waiting.pop()()
        rang = bell.wait(20)
        bell.clear()
        return rang

    try:
        execution.open()
        run_inline(execution, idle=answer_one)
        execution.finish()
    finally:
        execution.close()
    assert sink.table()["n"].to_pylist() == [0, 1, 2]

"""The calls of one worker's `map_async`: so many at a time, each with its time-out and its further attempts.

The worker hands batches over and takes answers; everything else happens on the event loop. What both
sides touch are a deque of answers and two counts, each written by one side alone.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamlib.contracts import CallLoop
from streamlib.elements import MAX_TIME, Batch
from streamlib.errors import UserFunctionError
from streamlib.operators.functions.arrays import Misfit
from streamlib.operators.functions.callee import Callee
from streamlib.operators.functions.row_arguments import RowArguments

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Failed:
    """What stands for the answer of a row that has none.

    Attributes:
        error: of its last call.
        attempts: how often it was called.
    """

    error: BaseException
    attempts: int


class Flight:
    """A batch whose rows are being called for.

    Args:
        batch: the rows.
        values: the arguments of each.
        ordered: whether the rows leave in their order.

    Attributes:
        answers: of each row that is `done`: what the function returned, or a `Failed`.
        left: how many rows have left.
    """

    def __init__(self, batch: Batch, values: Iterator[tuple[Any, ...]], ordered: bool) -> None:
        self.batch = batch
        self.values = enumerate(values)
        self.call: Callable[..., Any] | None = None
        self.answers: list[Any] = [None] * len(batch)
        self.done = np.zeros(len(batch), dtype=np.bool_)
        self.left = 0
        self._ordered = ordered
        self._lows = _lows(batch, ordered)

    def __len__(self) -> int:
        return len(self.batch)

    def answered(self) -> int:
        """How many rows, from the first that has not left, have their answers."""
        waiting = self.done[self.left :]
        return int(waiting.argmin()) if not waiting.all() else len(waiting)

    def low(self) -> int:
        """The largest watermark that holds back none of the rows under way, ns."""
        if self._lows is None or self.left == len(self):
            return MAX_TIME
        return int(self._lows[self.left] if self._ordered else self._lows[~self.done].min())


def _lows(batch: Batch, ordered: bool) -> Int64s | None:
    """Which watermark each row allows; in order, each row and all behind it.

    A row behind its mark allows that mark: no step takes the row that a watermark up to it has closed.
    """
    if batch.time is None:
        return None
    lows: Int64s = batch.time if batch.mark is None else np.maximum(batch.time, batch.mark)
    return np.minimum.accumulate(lows[::-1])[::-1] if ordered else lows


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How calls are made.

    Attributes:
        callee: what is called.
        arguments: what it is given.
        concurrency: how many rows at a time.
        timeout: of each attempt, seconds; None for none.
        waits: before each further attempt, seconds.
    """

    callee: Callee
    arguments: RowArguments
    concurrency: int
    timeout: float | None
    waits: tuple[float, ...]


class Calls:
    """The side of the event loop.

    Args:
        options: how calls are made.
        loop: where they run.
        wake: called when there are answers.

    Attributes:
        retried: further attempts so far.
        timed_out: attempts that took too long.
        broken: why no call can be made.
    """

    def __init__(self, options: CallOptions, loop: CallLoop, wake: Callable[[], None]) -> None:
        self.options, self.loop, self.wake = options, loop, wake
        self.retried = self.timed_out = 0
        self.answers: deque[tuple[Flight, int]] = deque()
        self.broken: BaseException | None = None
        self._running = 0
        self._told = self._closing = False
        self._made: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._queue: deque[Flight] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    # On the worker's thread.

    def add(self, flight: Flight) -> None:
        """Hands rows over; they are called for in their order."""
        self.loop.call(self._enqueue, flight)

    def take(self) -> list[tuple[Flight, int]]:
        """The rows that have got their answers since the last call.

        Raises:
            UserFunctionError: the object could not be built or opened.
        """
        self._told = False
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken
        found = []
        while self.answers:
            found.append(self.answers.popleft())
        return found

    def has_answers(self) -> bool:
        """Whether `take` has something to give, or to raise."""
        self.loop.turn()
        return bool(self.answers) or self.broken is not None

    def close(self) -> None:
        """Cancels the calls under way, closes what was built, and ends the loop.

        Raises:
            UserFunctionError: the object could not be closed.
        """
        self._closing = True
        self.loop.close(self._close_made)
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken

    # On the loop.

    def _enqueue(self, flight: Flight) -> None:
        self._queue.append(flight)
        if self._made is not None:
            self._start()
        elif self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        callee = self.options.callee
        try:
            made = callee.make()
            opened = getattr(made, "open", None) if callee.is_built else None
            if opened is not None:
                await _awaited(opened())
        except BaseException as error:
            self._break(error, f"{callee.described} could not be opened")
            return
        self._made = made
        self._start()

    async def _close_made(self) -> None:
        made, self._made = self._made, None
        closed = getattr(made, "close", None) if self.options.callee.is_built else None
        if closed is None:
            return
        try:
            await _awaited(closed())
        except Exception as error:
            self._break(error, f"{self.options.callee.described} could not be closed")

    def _break(self, error: BaseException, problem: str) -> None:
        if self._closing and isinstance(error, asyncio.CancelledError):
            return
        if not isinstance(error, UserFunctionError):
            found = UserFunctionError(
                f"{problem}: {type(error).__name__}", got=str(error) or type(error).__name__
            )
            found.__cause__ = error
            error = found
        self.broken = self.broken or error
        self.wake()

    def _start(self) -> None:
        """Calls for as many rows as there is room for."""
        while self._queue and self._running < self.options.concurrency and not self._closing:
            flight = self._queue[0]
            if flight.call is None:
                arguments = self.options.arguments
                flight.call = arguments.bound(self._made, arguments.names(flight.batch.rows))
            row = next(flight.values, None)  # the arguments are made here
            if row is None:
                self._queue.popleft()
                continue
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._one(flight, flight.call, *row))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, flight: Flight, call: Callable[..., Any], row: int, values: tuple[Any, ...]) -> None:
        attempts = 0
        try:
            for wait in (*self.options.waits, None):
                attempts += 1
                try:
                    flight.answers[row] = await self._attempt(call, values)
                    break
                except Exception as error:
                    if wait is None:
                        flight.answers[row] = Failed(error, attempts)
                        break
                self.retried += 1
                await asyncio.sleep(wait)
        except BaseException as error:
            if self._closing:
                raise
            flight.answers[row] = Failed(error, attempts)  # such as a task of its own that was cancelled
        self._running -= 1
        self.answers.append((flight, row))
        self._start()
        if not self._told:
            self._told = True
            self.wake()

    async def _attempt(self, call: Callable[..., Any], values: tuple[Any, ...]) -> Any:
        limit = self.options.timeout
        if limit is None:
            return await call(*values)
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await call(*values)
        except TimeoutError as error:
            if not timer.expired():
                raise
            self.timed_out += 1
            raise Misfit(
                0, f"an answer within {limit:g} s", "none", "gave no answer in time", _SLOW
            ) from error


_SLOW = "timeout= gives it longer; retry=sl.Retry(...) asks again"


async def _awaited(value: object) -> object:
    return await value if inspect.isawaitable(value) else value

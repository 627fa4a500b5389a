"""What runs of a `map_async` on one worker: the batches under way, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamlib.contracts import Output, Refusal, Wait
from streamlib.elements import MAX_TIME, Batch
from streamlib.errors import UserFunctionError
from streamlib.graph import BuildContext
from streamlib.operators.map_async.calls import CallOptions, Calls, Failed, Flight
from streamlib.operators.map_async.loop import LoopThread
from streamlib.operators.map_async.node import MapAsyncNode
from streamlib.operators.map_rows import MapRowsOperator

IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of the rows under way above which no batch is taken while others are under way."""

Int64s = npt.NDArray[np.int64]


class MapAsyncOperator(MapRowsOperator):
    """Hands rows to the event loop, and makes columns of their answers."""

    def __init__(self, node: MapAsyncNode, context: BuildContext) -> None:
        super().__init__(node, context)
        self.refuse, self.ordered = context.refuse, node.ordered
        retry = node.retry or context.retry
        options = CallOptions(
            node.callee,
            node.arguments,
            node.concurrency,
            None if node.timeout is None else node.timeout / 1e9,
            () if retry is None else tuple(retry.waits()),
        )
        loop = context.new_loop() if context.new_loop is not None else LoopThread(_thread_name(context))
        self.calls = Calls(options, loop, _nobody)
        self.flights: list[Flight] = []
        self.unanswered = self.held = self.held_bytes = 0
        self.unanswered_max = 2 * node.concurrency
        self.held_max = max(context.batch_rows, 4 * node.concurrency)

    def bind(self, wake: Callable[[], None]) -> bool:
        self.calls.wake = wake
        return True

    # Rows in and out.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Begins the calls, and waits where too many rows are under way."""
        if len(batch):
            flight = Flight(batch, self.node.arguments.of(batch.rows), self.ordered)
            self.flights.append(flight)
            self.unanswered += len(flight)
            self.held += len(flight)
            self.held_bytes += batch.nbytes
            self.calls.add(flight)
        yield from self.on_wake()
        while self._is_full():
            yield Wait(self.is_ready)
            yield from self.on_wake()

    def _is_full(self) -> bool:
        return (
            self.unanswered >= self.unanswered_max
            or self.held >= self.held_max
            or (self.held_bytes >= IN_FLIGHT_BYTES_MAX and len(self.flights) > 1)
        )

    def is_ready(self) -> bool:
        """Whether an answer has come."""
        return bool(self.flights) and self.calls.has_answers()

    def is_busy(self) -> bool:
        """Whether rows are under way."""
        return bool(self.flights)

    def on_wake(self) -> Iterator[Output]:
        """Yields the rows whose answers have come."""
        came: dict[int, list[int]] = {}
        for flight, row in self.calls.take():
            flight.done[row] = True
            came.setdefault(id(flight), []).append(row)
        self.unanswered -= sum(map(len, came.values()))
        if self.ordered:
            yield from self._in_order()
            return
        for flight in [f for f in self.flights if id(f) in came]:
            rows = np.array(came[id(flight)], dtype=np.int64)
            self._leave(flight, len(rows))
            yield from self._results(flight, rows)

    def _in_order(self) -> Iterator[Output]:
        while self.flights:
            flight = self.flights[0]
            count = flight.answered()
            if not count:
                return
            rows = np.arange(flight.left, flight.left + count)
            self._leave(flight, count)
            yield from self._results(flight, rows)

    def _leave(self, flight: Flight, rows: int) -> None:
        """Notes that rows leave, and lets go of a batch that has left."""
        flight.left += rows
        self.held -= rows
        if flight.left == len(flight):
            self.flights.remove(flight)
            self.held_bytes -= flight.batch.nbytes

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Yields what has come, so that it holds nothing back."""
        return self.on_wake()

    def forward(self, watermark: int) -> int:
        """min(W, times under way)."""
        return min([watermark, *(flight.low() for flight in self.flights)], default=MAX_TIME)

    def on_barrier(self) -> Iterator[Output]:
        """Waits for the rows under way: they leave before the barrier."""
        while self.flights:
            yield Wait(self.is_ready)
            yield from self.on_wake()

    def on_end(self) -> Iterator[Output]:
        """Waits for the rows under way, and closes what was built."""
        yield from self.on_barrier()
        self.calls.close()

    def close(self) -> None:
        """Cancels the calls under way, where the run ended before the input."""
        self.flights.clear()
        self.calls.close()

    # Answers.

    def _results(self, flight: Flight, rows: Int64s) -> Iterator[Output]:
        """The rows of a batch that leave now, at most `batch_rows` at a time."""
        for begin in range(0, len(rows), self.batch_rows):
            part = rows[begin : begin + self.batch_rows]
            yield from self._made_of(flight, part)
            for row in part.tolist():
                flight.answers[row] = None

    def _made_of(self, flight: Flight, rows: Int64s) -> Iterator[Output]:
        wrong: list[tuple[int, UserFunctionError, int]] = []
        good: list[int] = []
        for row in rows.tolist():
            answer = flight.answers[row]
            if isinstance(answer, Failed):
                wrong.append((row, self._failure(flight, row, answer), answer.attempts))
            else:
                good.append(row)
        batch, made = self._columns(flight, good, wrong)
        if made is not None:
            yield batch.with_rows(made)
        if wrong:
            wrong.sort(key=lambda found: found[0])
            which, errors, attempts = zip(*wrong, strict=True)
            refused = flight.batch.take(np.array(which, dtype=np.int64))
            yield Refusal(refused, errors, attempts)

    def _columns(
        self, flight: Flight, good: list[int], wrong: list[tuple[int, UserFunctionError, int]]
    ) -> tuple[Batch, Any]:
        """The rows whose answers fit, with their columns; those that do not are added to `wrong`."""
        if good:
            batch = _part(flight.batch, good)
            try:
                return batch, self._rows(batch, [flight.answers[row] for row in good], None)
            except UserFunctionError:
                good = self._fitting(flight, good, wrong)
        if not good:
            return flight.batch, None
        batch = _part(flight.batch, good)
        return batch, self._rows(batch, [flight.answers[row] for row in good], None)

    def _fitting(
        self, flight: Flight, good: list[int], wrong: list[tuple[int, UserFunctionError, int]]
    ) -> list[int]:
        """Tries the answers one by one."""
        fitting = []
        for row in good:
            try:
                self._rows(flight.batch.slice(row, 1), [flight.answers[row]], None)
                fitting.append(row)
            except UserFunctionError as error:
                wrong.append((row, self._placed(flight, row, error), 1))
        return fitting

    def _failure(self, flight: Flight, row: int, failed: Failed) -> UserFunctionError:
        """The error of a row whose calls failed."""
        try:
            self._fail(flight.batch, row, failed.error)  # type: ignore[arg-type]
        except UserFunctionError as error:
            if failed.attempts > 1:
                error.problem += f", in the last of {failed.attempts} calls"
            return self._placed(flight, row, error)

    def _placed(self, flight: Flight, row: int, error: UserFunctionError) -> UserFunctionError:
        """An error with the place of its row; raised where the first one ends the run."""
        origin = flight.batch.origin
        if origin is not None:
            error.where = origin.describe(row)
        error.row = None
        if not self.refuse:
            raise error
        return error

    def counters(self) -> dict[str, int]:
        """Calls that were made again, those that took too long, and rows that wait for an answer now."""
        found = {
            "under_way": self.unanswered,
            "retried": self.calls.retried,
            "timed_out": self.calls.timed_out,
        }
        return {name: count for name, count in found.items() if count}


def _part(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch; without copying where they stand together."""
    if rows[-1] - rows[0] + 1 == len(rows) and all(a < b for a, b in pairwise(rows)):
        return batch.slice(rows[0], len(rows))
    return batch.take(np.array(rows, dtype=np.int64))


def _thread_name(context: BuildContext) -> str:
    return f"streamlib-async-{context.worker}"


def _nobody() -> None:
    """Before the step is bound there is nobody to wake."""

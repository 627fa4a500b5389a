"""Rows that a step cannot work on: found by calling it with parts of a batch, counted, sent out.

A step fails for a whole batch although one row is to blame. With a policy other than ``fail`` the
batch is cut until the rows that fail are alone; all others pass, in their order. An error that names
its row is cut out there; where there are many, halves are tried.

`Retry.attempts` are calls in all. Where a function of rows raises, its call for that row was one of them, and
the row has the others alone. A function of batches is called again with the whole batch; with its parts, of
which one fails after all attempts of the batch, once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from streamlib.contracts import Operator, Output, Refusal, Refused, Tagged
from streamlib.elements import Batch
from streamlib.errors import DataError, Location, OnError, Retry, StreamlibError, UserFunctionError
from streamlib.graph import Node, SourceNode
from streamlib.graph.dead_letters import TAG, WHY, dead_letter_schema

HINTS_MAX = 16
"""So many rows of a batch are cut out where their error says; after that halves are tried, which is
cheaper when most rows fail."""

Pause = Callable[[float], object]


class Refuser:
    """What one step of one worker does with rows that it cannot work on.

    Args:
        node: the step.
        policy: not one that simply fails.
        name: the step's name in the plan.
        read: whether anybody reads its dead letters.
        pause: waits so many seconds before a further call; returns true when the run was cancelled.
    """

    def __init__(
        self, node: Node, policy: OnError, name: str, read: bool, pause: Pause | None = None
    ) -> None:
        self.policy = policy
        self.name = name
        self.at: Location | None = node.at
        self.checked = node.refuses == "checked"
        self.read = read and policy.policy == "dead_letter"
        self.schema = None if isinstance(node, SourceNode) else node.refused_schema
        self.letters_schema = dead_letter_schema(node)
        self.pause = pause or threading.Event().wait
        self.refused = 0
        self.retried = 0

    def on_batch(self, operator: Operator, batch: Batch, side: int) -> Iterator[Output]:
        """What `operator.on_batch` yields, without the rows that it fails for."""
        wrong: list[tuple[Batch, StreamlibError]] = []
        for part, outputs in self._parts(operator, batch, side, wrong):
            if outputs is None:
                yield from operator.on_batch(part, side)
            else:
                yield from outputs
        if wrong:
            rows = pa.Table.from_batches([b.rows for b, _ in wrong]).combine_chunks().to_batches()[0]
            together = Batch(
                rows,
                _joined([b.time for b, _ in wrong]),
                _joined([b.mark for b, _ in wrong]),
                _joined([b.orders() for b, _ in wrong]),
            )
            yield Refusal(together, [error for _, error in wrong])

    def _parts(
        self, operator: Operator, batch: Batch, side: int, wrong: list[tuple[Batch, StreamlibError]]
    ) -> Iterator[tuple[Batch, list[Output] | None]]:
        """Parts of the batch that pass, with what they give; None where only `check` was called."""
        todo, cut = [_Part(batch)], 0
        while todo:
            part = todo.pop()
            rows = part.rows
            try:
                outputs = self._tried(operator, part, side)
            except (DataError, UserFunctionError) as error:
                if len(rows) == 1:
                    wrong.append((rows, self._explained(error, rows)))
                    continue
                halves = cut >= HINTS_MAX
                cut += error.row is not None
                if isinstance(error, UserFunctionError) and error.row is not None:
                    pieces = _around(rows, error.row, error, halves)
                else:
                    pieces = [_Part(r, part.calls) for r in _pieces(rows, None if halves else error.row)]
                todo.extend(reversed(pieces))
                continue
            yield rows, outputs

    def _tried(self, operator: Operator, part: _Part, side: int) -> list[Output] | None:
        """Calls the step as often as its policy says, as long as it is not known which row fails."""
        waits = [] if self.policy.retry is None else self.policy.retry.waits()
        while True:
            if part.error is not None:
                if part.calls > len(waits) or self.pause(waits[part.calls - 1]):
                    raise part.error
                self.retried += 1
            try:
                if self.checked:
                    operator.check(part.rows, side)
                    return None
                return list(operator.on_batch(part.rows, side))
            except UserFunctionError as error:
                part.calls += 1
                part.error = error
                if error.row is not None and len(part.rows) > 1:
                    raise

    def _explained(self, error: StreamlibError, part: Batch) -> StreamlibError:
        """The error of a single row, with its place. With the policy ``fail`` it ends the run."""
        error.in_step(self.name, self.at)
        if part.origin is not None:
            error.where = part.origin.describe(0)
        error.row = None
        if self.policy.policy == "fail":
            raise error
        return error

    def letters(self, refusal: Refusal) -> Tagged | None:
        """Counts the rows of a refusal; its dead letters, where somebody reads them."""
        self.refused += len(refusal.batch)
        if not self.read:
            return None
        batch = refusal.batch
        for error in refusal.errors:
            error.in_step(self.name, self.at)
        assert self.schema is None or batch.rows.schema.types == self.schema.types
        columns = [*batch.rows.columns, *self._why(refusal)]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.letters_schema)
        return Tagged(TAG, Batch(rows, batch.time, batch.mark, batch.order))

    def refuse_records(self, refused: Sequence[Refused]) -> Tagged | None:
        """As `letters`, for records that a source could not decode."""
        data = pa.array([record.data for record in refused], pa.binary())
        rows = pa.RecordBatch.from_arrays([data], names=["data"])
        return self.letters(Refusal(Batch(rows), [record.error for record in refused]))

    def _why(self, refusal: Refusal) -> list[pa.Array]:
        retry: Retry | None = self.policy.retry
        errors = refusal.errors
        tried = refusal.attempts or [
            retry.attempts if retry is not None and isinstance(error, UserFunctionError) else 1
            for error in errors
        ]
        values: list[list[object]] = [
            [error.step or self.name for error in errors],
            [type(error).__name__ for error in errors],
            [_brief(error) for error in errors],
            [error.where for error in errors],
            list(tried),
        ]
        return [pa.array(v, field.type) for v, field in zip(values, WHY, strict=True)]

    def counters(self) -> dict[str, int]:
        """Rows refused, and calls that were repeated."""
        found = {"skipped" if self.policy.policy == "skip" else TAG: self.refused, "retried": self.retried}
        return {name: count for name, count in found.items() if count}


@dataclass(slots=True)
class _Part:
    """Rows to call the step with.

    Attributes:
        rows: at least one.
        calls: how often the step's function was called with them, or with rows that they are a part of.
        error: what the last call with them raised.
    """

    rows: Batch
    calls: int = 0
    error: UserFunctionError | None = None


def _around(rows: Batch, at: int, error: UserFunctionError, halves: bool) -> list[_Part]:
    """The row that a function of rows raised for, which was one call, and what is before and behind it."""
    behind = len(rows) - at - 1
    ends = [0, at, at + 1, *([at + 1 + behind // 2] if halves else []), len(rows)]
    parts = [_Part(rows.slice(begin, end - begin)) for begin, end in pairwise(ends) if begin < end]
    failed = parts[1 if at else 0]
    failed.calls, failed.error = 1, error
    return parts


def _brief(error: StreamlibError) -> str:
    """What is wrong, in one line: step and place have columns of their own."""
    return error.problem if error.got is None else f"{error.problem}; got {error.got}"


def _pieces(part: Batch, row: int | None) -> list[Batch]:
    """The part without its row `row`, and that row alone; or its halves."""
    cuts = [0, len(part) // 2, len(part)] if row is None else [0, row, row + 1, len(part)]
    return [part.slice(begin, end - begin) for begin, end in pairwise(cuts) if begin < end]


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """One column of all parts. A part without marks has no row behind its own: the least mark says so."""
    if all(part is None for part in parts):
        return None
    least = np.full(1, np.iinfo(np.int64).min, dtype=np.int64)
    return np.concatenate([least if part is None else part for part in parts])

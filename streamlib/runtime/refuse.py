"""Rows that a step cannot work on: found by calling it with parts of a batch, counted, sent out.

A step fails for a whole batch although one row is to blame. With a policy other than ``fail`` the
batch is cut until the rows that fail are alone; all others pass, in their order. An error that names
its row is cut out there; where there are many, halves are tried.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
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
        todo, cut = [batch], 0
        while todo:
            part = todo.pop()
            try:
                outputs = self._tried(operator, part, side, len(part) in (1, len(batch)))
            except (DataError, UserFunctionError) as error:
                if len(part) == 1:
                    wrong.append((part, self._explained(error, part)))
                    continue
                row = error.row if cut < HINTS_MAX else None
                cut += row is not None
                todo.extend(reversed(_pieces(part, row)))
                continue
            yield part, outputs

    def _tried(self, operator: Operator, batch: Batch, side: int, again: bool) -> list[Output] | None:
        """Calls the step; where `again`, as often as its policy says."""
        waits = self.policy.retry.waits() if again and self.policy.retry is not None else []
        for wait in [*waits, None]:
            try:
                if self.checked:
                    operator.check(batch, side)
                    return None
                return list(operator.on_batch(batch, side))
            except UserFunctionError:
                if wait is None or self.pause(wait):
                    raise
                self.retried += 1
        raise AssertionError("the last call returns or raises")

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

"""An endless source that a test feeds by hand, and a sink that tells the test what came."""

from __future__ import annotations

import datetime as dt
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from streamlib.contracts import PENDING, Block, Sink, SinkWriter, Source, Split, SplitReader
from streamlib.contracts.source import Pending

SCHEMA = pa.schema({"ts": pa.timestamp("us"), "n": pa.int64()})
WAIT_S_MAX = 20.0
"""After this a test that waits fails."""


class Feed(Source, SplitReader):
    """One split; endless unless it is ended."""

    def __init__(self, bounded: bool = False) -> None:
        self.bounded = bounded
        self._rows: deque[pa.RecordBatch] = deque()
        self._ended = False
        self._wake: Callable[[str | None], None] | None = None

    def send(self, *seconds: float) -> Feed:
        """Rows with these event times, and these numbers."""
        times = [dt.datetime(2026, 1, 5, 12) + dt.timedelta(seconds=s) for s in seconds]
        self._rows.append(pa.record_batch([times, [int(s) for s in seconds]], schema=SCHEMA))
        return self._told()

    def end(self) -> Feed:
        self._ended = True
        return self._told()

    def _told(self) -> Feed:
        if self._wake is not None:
            self._wake(None)
        return self

    def bind(self, wake: Callable[[str | None], None]) -> bool:
        self._wake = wake
        return True

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> list[Split]:
        return [Split("feed")]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return self

    def read(self) -> Block | Pending | None:
        if self._rows:
            rows = self._rows.popleft()
            return Block(rows, nbytes=rows.nbytes)
        return None if self._ended else PENDING

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        yield block.data

    def close(self) -> None:
        return None

    def describe(self) -> str:
        return "feed"


class Seen(Sink, SinkWriter):
    """Counts rows as they are written; may hold the writer up."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.committed = self.aborted = False
        self.inside = threading.Event()
        self._changed = threading.Condition()
        self._open = True

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self

    def write(self, rows: pa.RecordBatch) -> None:
        self.inside.set()
        with self._changed:
            self._changed.wait_for(lambda: self._open, WAIT_S_MAX)
            self.rows += rows.column("n").to_pylist()
            self._changed.notify_all()

    def hold(self) -> None:
        """From now on `write` does not return."""
        with self._changed:
            self._open = False

    def release(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def cancel(self) -> None:
        self.release()

    def wait(self, rows: int) -> None:
        """Until so many rows have been written."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.rows) >= rows, WAIT_S_MAX), f"only {self.rows}"

    def commit(self, staged: object) -> None:
        self.committed = True

    def abort(self) -> None:
        self.aborted = True

    def describe(self) -> str:
        return "seen"

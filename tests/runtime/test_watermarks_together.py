"""Watermarks go on together while there is more to read; what comes out is the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.connectors.memory import CollectSink
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import RunOptions

SECONDS = 60


class Batches(CollectSink):
    """Counts the batches that its writers get."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def open(self, schema: pa.Schema, worker: int) -> Any:
        writer, write = (made := super().open(schema, worker)), made.write

        def counted(rows: pa.RecordBatch) -> None:
            self.batches += 1
            write(rows)

        writer.write = counted  # type: ignore[method-assign]
        return writer


def run(every: int, workers: int) -> tuple[list[dict[str, Any]], int]:
    clock = t.ManualClock()
    source = t.source(
        [{"ts": f"12:00:{s:02}", "k": s % 3} for s in range(SECONDS)], clock=clock, block_rows=1
    )
    stream = sl.read(source).event_time("ts", max_delay="1s").key_by("k")
    sink = Batches()
    node = stream.window(sl.tumbling("5s")).agg(n=sl.count()).write(sink)
    execution = Execution([node], workers, RunOptions(now_ns=clock, watermark_every=every))
    execution.open()
    try:
        run_inline(execution)
        execution.finish()
    finally:
        execution.close()
    return sink.table().sort_by([("window_start", "ascending"), ("k", "ascending")]).to_pylist(), sink.batches


@pytest.mark.parametrize("workers", [1, 2])
def test_windows_close_together_and_are_the_same(workers: int) -> None:
    each, batches = run(0, workers)
    together, fewer = run(10**18, workers)
    assert together == each and len(each) == 3 * SECONDS // 5
    assert batches >= SECONDS // 5 - 1 and fewer <= 3 * workers

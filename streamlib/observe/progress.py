"""The progress line of a run on a terminal: rows, rows/s, watermark, open windows."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from streamlib.elements import MIN_TIME, format_time
from streamlib.kernels import busy_with
from streamlib.runtime.execute import Execution

REFRESH_SECONDS = 0.1
COMPILING_SECONDS = 0.7
"""Loading kernels from disk takes less; only compiling is worth a word."""


class Progress:
    """Redraws one line from a thread of its own while the run goes on.

    It only reads counters, so that a run cannot fail or slow down by being looked at.

    Args:
        execution: opened.
        total_bytes: size of the input for the bar; None where it is not known.
    """

    def __init__(self, execution: Execution, total_bytes: int | None) -> None:
        self.execution = execution
        self.total_bytes = total_bytes
        self.started = time.perf_counter()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="streamlib-progress", daemon=True)
        self._live: Any = None

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=sys.stderr), auto_refresh=False, transient=False)
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()
        self._draw()
        self._live.stop()

    def _loop(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            self._draw()

    def _draw(self) -> None:
        from rich.text import Text

        self._live.update(Text(self.line(), no_wrap=True, overflow="ellipsis"), refresh=True)

    def line(self) -> str:
        """The line as it would be drawn now."""
        execution = self.execution
        sources = [s.index for s in execution.plan.steps if s.is_source]
        rows = sum(w.rows_in[s] for w in execution.workers for s in sources)
        seconds = max(time.perf_counter() - self.started, 1e-9)
        marks = [clock.watermark() for clock in execution.shared.clocks.values()]
        if seconds > COMPILING_SECONDS and busy_with() is not None:
            return "compiling kernels, once on this machine ..."
        parts = [f"{rows:,} rows", f"{rows / seconds:,.0f} rows/s"]
        if marks:
            low = min(marks)
            parts.append(f"watermark {'-' if low == MIN_TIME else format_time(low)[:19]}")
            parts.append(f"{self._open_windows():,} open windows")
        if self.total_bytes:
            share = min(1.0, execution.shared.pool.bytes_read / self.total_bytes)
            filled = round(share * 20)
            parts.insert(0, "#" * filled + "." * (20 - filled) + f" {share:>4.0%}")
        return "  ".join(parts)

    def _open_windows(self) -> int:
        return sum(
            worker.operators[step.index].open_windows()[0]
            for worker in self.execution.workers
            for step in self.execution.plan.steps
        )

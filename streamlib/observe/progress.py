"""The progress line of a run on a terminal: rows, rows/s, watermark, open windows, and what holds them open."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from streamlib.elements import MIN_TIME, format_time
from streamlib.kernels import busy_with
from streamlib.observe.report import NodeSteps, node_steps, open_windows, steady
from streamlib.observe.why import waiting_line
from streamlib.runtime.execute import Execution

REFRESH_SECONDS = 0.1
COMPILING_SECONDS = 0.7
"""Loading kernels from disk takes less; only compiling is worth a word."""
QUIET_SECONDS = 3.0
"""When no window has closed for so long the line says what holds the earliest open."""


class Progress:
    """Redraws one line from a thread of its own while the run goes on.

    It only reads counters, so that a run cannot fail or slow down by being looked at.

    Args:
        execution: opened.
        total_bytes: size of the input for the bar; None where it is not known.
        now: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        execution: Execution,
        total_bytes: int | None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.execution = execution
        self.total_bytes = total_bytes
        self.now = now
        self.started = now()
        self._windows = [n for n in node_steps(execution) if n.node.state_bound() == "open windows"]
        self._results = 0
        self._quiet_since = self.started
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
        rows = sum(w.rows_in[s] for w in list(execution.workers) for s in sources)
        seconds = max(self.now() - self.started, 1e-9)
        marks = [clock.watermark() for clock in execution.shared.clocks.values()]
        if seconds > COMPILING_SECONDS and busy_with() is not None:
            return "compiling kernels, once on this machine ..."
        parts = [f"{rows:,} rows", f"{rows / seconds:,.0f} rows/s"]
        if marks:
            low = min(marks)
            parts.append(f"watermark {'-' if low == MIN_TIME else format_time(low)[:19]}")
            windows = sum(open_windows(execution, node)[0] for node in self._windows)
            parts.append(f"{windows:,} open windows")
        if self.total_bytes:
            share = min(1.0, execution.shared.pool.bytes_read / self.total_bytes)
            filled = round(share * 20)
            parts.insert(0, "#" * filled + "." * (20 - filled) + f" {share:>4.0%}")
        held = self._held_open()
        return "  ".join(parts) + (f"\n{held}" if held else "")

    def _held_open(self) -> str | None:
        """What holds the earliest window open, when none has closed for some seconds."""
        results = sum(self._closed(node) for node in self._windows)
        if results != self._results or not self._windows:
            self._results, self._quiet_since = results, self.now()
        if self.now() - self._quiet_since < QUIET_SECONDS:
            return None
        return steady(lambda: waiting_line(self.execution))

    def _closed(self, node: NodeSteps) -> int:
        return sum(w.rows_out[node.last.index] for w in list(self.execution.workers))

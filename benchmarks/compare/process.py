"""The suite's side of an engine's process: it asks, waits, and says why there was no answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.child import ROOT
from benchmarks.compare.engines.base import NotBuilt, Task
from benchmarks.compare.venvs import last_error

END_SECONDS = 20
"""How long a process may take to end once it has nothing more to do."""


class EngineFailed(Exception):
    """The process ended or took too long; the message says what it printed last."""


class EngineProcess:
    """One engine at work on one task.

    Args:
        python: the interpreter that has the engine.
        task: what it does.
        log: a file for what the engine prints.
        seconds_max: how long one answer may take.
    """

    def __init__(self, python: str, task: Task, log: Path, seconds_max: float) -> None:
        self.task, self._log, self._seconds_max = task, log, seconds_max
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._errors = log.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.compare.child", task.text()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            cwd=log.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, where: TracebackType | None) -> None:
        if kind is not None:
            self._kill()
        self.close()

    def ask(self, word: str) -> dict[str, Any]:
        """Says a word and gives the answer.

        Raises:
            NotBuilt: the engine does not have what the job needs yet.
            EngineFailed: it ended, or took too long.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended: the answer below is empty, and its log says why
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer; errors as those of `ask`."""
        assert self._process.stdout is not None
        too_long = threading.Event()

        def stop() -> None:
            too_long.set()
            self._kill()

        clock = threading.Timer(self._seconds_max, stop)
        clock.start()
        try:
            line = self._process.stdout.readline()
        finally:
            clock.cancel()
            clock.join()
        if too_long.is_set():
            raise EngineFailed(f"took more than {self._seconds_max:,.0f} s")
        if not line:
            self.close()
            raise EngineFailed(last_error(self._log.read_text(encoding="utf-8", errors="replace")))
        found: dict[str, Any] = json.loads(line)
        if "not_built" in found:
            raise NotBuilt(found["not_built"])
        return found

    def close(self) -> None:
        """Waits for the process, and stops it with all it has started when it does not end by itself."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            self._process.kill()

"""Environments for the engines whose requirements clash: one each, made once, kept in a cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.compare.engines.base import Engine

MINUTES = 20
"""How long an installation may take."""


class NotAvailable(Exception):
    """An engine cannot be had on this machine; the message says why."""


def default_folder() -> Path:
    """``streamlib-bench`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "streamlib-bench")


def python_of(engine: Engine, folder: Path, interpreter: str = sys.executable) -> str:
    """The interpreter that has the engine; this one when the engine needs none of its own.

    Args:
        engine: what is wanted.
        folder: where environments are kept, a folder for each engine.
        interpreter: the Python to make a new one with.

    Raises:
        NotAvailable: it cannot be installed, or the machine lacks something else.
    """
    lacks = engine.missing()
    if lacks:
        raise NotAvailable(lacks)
    if not engine.requirements:
        return sys.executable
    home = folder / engine.environment
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = home / "requirements"
    wanted = "\n".join(engine.requirements)
    if not python.exists() or not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        print(f"installing {' '.join(engine.requirements)} into {home}", file=sys.stderr, flush=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _step([interpreter, "-m", "venv", "--clear", str(home)])
        _step([str(python), "-m", "pip", "install", "--quiet", *engine.requirements])
        marker.write_text(wanted, encoding="utf-8")
    return str(python)


def _step(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=MINUTES * 60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAvailable(str(error)) from error
    if done.returncode:
        raise NotAvailable(last_error(done.stdout) or f"{' '.join(command)} failed")


def last_error(text: str) -> str:
    """The line of a program's output that says best what went wrong: the last with an error in it.

    >>> last_error("Collecting\\nERROR: No matching distribution\\nsee the manual\\n")
    'ERROR: No matching distribution'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if "error" in line.lower() and not line.startswith(("at ", "File "))]
    return (marked or lines or [""])[-1][:300]

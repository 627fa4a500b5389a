"""Errors between processes: as plain values, and made anew from them. Classes are looked up by name, in lists."""

from __future__ import annotations

import builtins
import traceback
from typing import Any

import pyarrow as pa

from streamlib import errors
from streamlib.errors import Location, StreamlibError

TRACE_CHARS_MAX = 100_000
_FIELDS = ("step", "where", "expected", "got", "hint")


class WorkerTraceback(Exception):
    """The cause of an error that came from another process: the traceback there, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def to_values(error: BaseException) -> dict[str, Any]:
    """An error as values for a message."""
    trace = "".join(traceback.format_exception(error))[-TRACE_CHARS_MAX:]
    values: dict[str, Any] = {
        "class": type(error).__name__,
        "text": str(error),
        "notes": [str(note) for note in getattr(error, "__notes__", ())],
        "trace": trace,
    }
    if isinstance(error, StreamlibError):
        values["problem"] = error.problem
        values["row"] = error.row
        values["at"] = None if error.at is None else [error.at.file, error.at.line]
        values.update((name, getattr(error, name)) for name in _FIELDS)
    else:
        values["args"] = [arg for arg in error.args if isinstance(arg, str | int | float | None)]
        values["whole"] = len(values["args"]) == len(error.args)
    return values


def from_values(values: dict[str, Any]) -> BaseException:
    """The error of `to_values`; one of a class that is not known here becomes a StreamlibError of its text."""
    error = _made(values)
    for note in values["notes"]:
        error.add_note(note)
    error.__cause__ = WorkerTraceback(values["trace"])
    return error


def _made(values: dict[str, Any]) -> BaseException:
    name = values["class"]
    if "problem" in values:
        kind = getattr(errors, name, None)
        if not (isinstance(kind, type) and issubclass(kind, StreamlibError)):
            kind = StreamlibError
        at = None if values["at"] is None else Location(*values["at"])
        made: StreamlibError = kind(values["problem"], at=at, **{f: values[f] for f in _FIELDS})
        made.row = values["row"]
        return made
    known: Any = getattr(builtins, name, None) or getattr(pa, name, None)
    if isinstance(known, type) and issubclass(known, BaseException) and values["whole"]:
        try:
            again: BaseException = known(*values["args"])
        except Exception:  # its class wants other arguments
            return StreamlibError(f"{name}: {values['text']}")
        return again
    return StreamlibError(f"{name}: {values['text']}")

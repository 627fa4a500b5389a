"""Where in the user's own script a step was written: every error and every plan names it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import FrameType

_NOT_THE_USER = frozenset({"streamlib", *sys.stdlib_module_names}) - {"__main__"}


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the user's script.

    >>> str(Location("bars.py", 12))
    'bars.py:12'
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def user_location() -> Location | None:
    """The nearest caller that is part of neither the engine nor Python; None when there is none.

    The file is given relative to the working folder when it lies below it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _NOT_THE_USER:
            return Location(_short(frame.f_code.co_filename), frame.f_lineno)
        frame = frame.f_back
    return None


def _short(path: str) -> str:
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative

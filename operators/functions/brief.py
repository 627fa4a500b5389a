"""Values in a message: short, whatever they are."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

COLUMNS_SHOWN = 6

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 60


def brief(value: Any) -> str:
    """A value, at most 60 characters of each part of it.

    >>> brief("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
    """
    try:
        return _BRIEF.repr(value)
    except Exception:  # the repr of a class of the user's
        return f"<{type(value).__name__}>"


def brief_row(row: Mapping[str, Any]) -> str:
    """A row, its first columns.

    >>> brief_row({"price": 2.5, "symbol": "A"})
    "price=2.5, symbol='A'"
    """
    parts = [f"{name}={brief(value)}" for name, value in list(row.items())[:COLUMNS_SHOWN]]
    return ", ".join([*parts, "..."] if len(row) > COLUMNS_SHOWN else parts)

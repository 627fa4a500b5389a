"""What an answer looks like: the form in which engines are compared. Needs nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """The columns of an answer.

    Attributes:
        types: Arrow's name of each column's type; columns that are not named here are not compared.
        keys: columns that together tell each row from all others: rows are compared in their order.
        near: columns that may differ in their last digits, because engines add floats in different orders.
        noun: what one row is.
    """

    types: Mapping[str, str]
    keys: tuple[str, ...]
    near: tuple[str, ...] = ()
    noun: str = "rows"


BARS = Shape(
    {
        "symbol": "string",
        "window_start": "timestamp[us]",
        "trades": "int64",
        "open": "double",
        "high": "double",
        "low": "double",
        "close": "double",
        "volume": "int64",
        "vwap": "double",
    },
    keys=("symbol", "window_start"),
    near=("vwap",),
    noun="bars",
)
"""Bars of ticks; `window_end` is `window_start` plus the length of the window."""

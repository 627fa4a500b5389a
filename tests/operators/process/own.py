"""Processors and input for tests of them, in a line each."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import streamlib as sl
import streamlib.testing as t

SECOND = 10**9


def keyed(text: str = "ts k v\n00:00:01 a 1", delay: str = "0s") -> sl.KeyedStream:
    return sl.read_arrow(t.table(text)).event_time("ts", max_delay=delay).key_by("k")


def processor(**members: Any) -> type[sl.Processor]:
    return type("Own", (sl.Processor,), members)


def on_row(function: Callable[..., Any]) -> type[sl.Processor]:
    """A processor that only calls a function (self, row, ctx)."""
    return processor(on_row=function)


def count(self: Any, row: Any, ctx: Any) -> None:
    self.n += 1
    ctx.emit({"n": self.n})


N = {"n": int}
ROWS = "ts k v\n00:00:01 a 1\n00:00:02 b 2\n00:00:03 a 3"


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


@dataclasses.dataclass
class Trade:
    k: str
    side: Side
    price: float = 0.0

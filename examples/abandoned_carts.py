"""Carts that were filled and then left: half an hour without a click, and no order.

    python examples/abandoned_carts.py               clicks that are made up
    python examples/abandoned_carts.py --after 10m

Two ways to see it. `silence` says which visitors have gone, in a line, and fast. A processor also knows what they had
in the cart, and that an order from another stream has come in the meantime.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import functools
import random
from typing import Any

import pyarrow as pa

import streamlib as sl

START = dt.datetime(2026, 1, 5, 9, 0)


@dataclasses.dataclass
class Item:
    """Something in a cart."""

    article: str
    price: float


@dataclasses.dataclass
class Cart:
    """A cart that was left."""

    visitor: str
    items: int
    worth: float
    last: str


class Carts(sl.Processor):
    """Keeps what each visitor has in the cart, and says so when it was left for long."""

    items = sl.ListState(Item)

    def __init__(self, after: str = "30m") -> None:
        self._after = after

    def on_row(self, click: dict[str, Any], ctx: sl.Context) -> None:
        if click["what"] == "add":
            self.items.append(Item(click["article"], click["price"]))
        elif click["what"] == "remove":
            self.items = [item for item in self.items if item.article != click["article"]]
        ctx.timer("left", after=self._after)

    def on_orders(self, order: dict[str, Any], ctx: sl.Context) -> None:
        self.items = []
        ctx.cancel_timer("left")

    def on_timer(self, name: str, ctx: sl.Context) -> None:
        if self.items:
            worth = sum(item.price for item in self.items)
            ctx.emit(Cart(ctx.key, len(self.items), round(worth, 2), self.items[-1].article))
        self.items = []


def abandoned(clicks: sl.Stream, orders: sl.Stream, after: str) -> sl.Stream:
    """Carts with something in them, whose visitors did nothing for `after`."""
    by_visitor = clicks.event_time("ts", max_delay="1m").key_by("visitor")
    bought = orders.event_time("ts", max_delay="1m").key_by("visitor")
    return by_visitor.process(functools.partial(Carts, after), orders=bought, schema=Cart)


def gone(clicks: sl.Stream, after: str) -> sl.Stream:
    """Visitors who did nothing for `after`."""
    return clicks.event_time("ts", max_delay="1m").key_by("visitor").silence(after)


def made_up(visitors: int = 40, seed: int = 3) -> tuple[pa.Table, pa.Table]:
    """Clicks and orders of a morning."""
    draw = random.Random(seed)
    clicks, orders = [], []
    for number in range(visitors):
        visitor, time = f"visitor {number}", START + dt.timedelta(minutes=draw.randrange(120))
        for _ in range(draw.randrange(1, 8)):
            time += dt.timedelta(seconds=draw.randrange(1, 300))
            what = draw.choices(["add", "look", "remove"], [5, 4, 1])[0]
            article = draw.choice(["lamp", "chair", "table", "shelf"])
            clicks.append((time, visitor, what, article, float(draw.randrange(20, 200))))
        if draw.random() < 0.6:
            orders.append((time + dt.timedelta(seconds=draw.randrange(30, 600)), visitor))
    clicks.sort(key=lambda row: row[0] + dt.timedelta(seconds=draw.randrange(60)))
    orders.sort()
    names = ("ts", "visitor", "what", "article", "price")
    return (
        pa.table([list(column) for column in zip(*clicks, strict=True)], names=names),
        pa.table([list(column) for column in zip(*orders, strict=True)], names=names[:2]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--after", default="30m", help="without a click for so long a visitor has gone")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    clicks, orders = (sl.read_arrow(rows) for rows in made_up())
    sl.run(
        abandoned(clicks, orders, args.after).print(),
        gone(clicks, args.after).print(rows=5),
        workers=args.workers,
    )


if __name__ == "__main__":
    main()

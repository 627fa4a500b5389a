"""Cards that were declined three times and then approved, within ten minutes.

    python examples/fraud_rule.py                    payments that are made up
    python examples/fraud_rule.py --input payments.csv --declines 4 --minutes 5

The rule is a class with state for each card. The number of declines that are too many can change while the job
runs: limits come from a second input, which reaches every worker.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import functools
import random

import pyarrow as pa

import streamlib as sl

START = dt.datetime(2026, 1, 5, 14, 30)


@dataclasses.dataclass
class Payment:
    """What the rule reads of a payment."""

    amount: float
    approved: bool


@dataclasses.dataclass
class Alert:
    """What it says."""

    card: str
    declines: int
    first: dt.datetime
    approved: dt.datetime
    amount: float


class ThreeDeclines(sl.Processor):
    """Says when a card is approved after too many declines.

    A decline that is older than `within` does not count. A timer forgets the declines of a card when the latest of
    them is so old, so that nothing is kept of cards that are not used.
    """

    declined = sl.ListState(dt.datetime)
    limit = sl.ValueState(int, shared=True)

    def __init__(self, declines: int = 3, within: dt.timedelta = dt.timedelta(minutes=10)) -> None:
        self._declines, self._within = declines, within

    def on_row(self, payment: Payment, ctx: sl.Context) -> None:
        recent = [time for time in self.declined if ctx.time - time <= self._within]
        if payment.approved:
            if len(recent) >= (self.limit or self._declines):
                ctx.emit(Alert(ctx.key, len(recent), recent[0], ctx.time, payment.amount))
            self.declined = []
            ctx.cancel_timer("forget")
        else:
            self.declined = [*recent, ctx.time]
            ctx.timer("forget", after=self._within)

    def on_limits(self, row: dict[str, int], ctx: sl.Context) -> None:
        self.limit = row["declines"]

    def on_timer(self, name: str, ctx: sl.Context) -> None:
        self.declined = []


def alerts(
    payments: sl.Stream, limits: sl.Stream, rule: type[ThreeDeclines] | functools.partial[ThreeDeclines]
) -> sl.Stream:
    """The cards that the rule is about."""
    by_card = payments.event_time("ts", max_delay="30s").key_by("card")
    changes = limits.event_time("ts", max_delay="0s", idle="leave")
    return by_card.process(rule, broadcast={"limits": changes}, schema=Alert)


def made_up(cards: int = 200, payments: int = 5_000, seed: int = 7) -> pa.Table:
    """Payments of half an hour, a few seconds out of order. Some cards are tried until they work."""
    draw = random.Random(seed)
    rows = []
    for _ in range(payments):
        time = START + dt.timedelta(seconds=draw.randrange(1_800))
        rows.append((time, f"card {draw.randrange(cards)}", draw.random() < 0.93))
    for _ in range(5):
        time, card = START + dt.timedelta(seconds=draw.randrange(1_200)), f"card {draw.randrange(cards)}"
        for approved in (False, False, False, True):
            time += dt.timedelta(seconds=draw.randrange(1, 60))
            rows.append((time, card, approved))
    rows.sort(key=lambda row: row[0] + dt.timedelta(seconds=draw.randrange(20)))
    times, names, approved = zip(*rows, strict=True)
    amounts = [round(draw.lognormvariate(3, 1), 2) for _ in rows]
    return pa.table(
        {"ts": pa.array(times, pa.timestamp("ms")), "card": names, "amount": amounts, "approved": approved}
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", help="a CSV file with ts, card, amount, approved; made up when missing")
    parser.add_argument("--declines", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    payments = sl.read_arrow(made_up()) if args.input is None else sl.read_files(args.input)
    limits = sl.read_arrow(
        pa.table({"ts": pa.array([START + dt.timedelta(minutes=25)], pa.timestamp("ms")), "declines": [4]})
    )
    rule = functools.partial(ThreeDeclines, declines=args.declines, within=dt.timedelta(minutes=args.minutes))
    sl.run(alerts(payments, limits, rule).print(), workers=args.workers)


if __name__ == "__main__":
    main()

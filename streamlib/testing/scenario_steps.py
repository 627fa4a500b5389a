"""What follows the sources of a drawn job: shapes of windows, corrected results, functions with state, joins."""

from __future__ import annotations

import random
from dataclasses import replace

from streamlib.testing.specs import PLANS, Joined, Scanned, Spec, Windowed

KEYS: tuple[tuple[str, ...], ...] = ((), ("k",), ("k",), ("k", "g"))
HOWS = ("inner", "inner", "left", "full", "semi", "anti", "asof", "asof")


def shaped(shapes: random.Random, window: Windowed, unit: int, with_rows: bool) -> Windowed:
    """The window, or one that overlaps, or sessions in its place; or one by rows, which needs an order of ties."""
    units = window.size // unit
    drawn = shapes.random()
    if drawn >= 0.9 and with_rows:
        size = shapes.choice((1, 2, 3, 5))
        every = shapes.choice((0, 0, shapes.randint(1, size)))
        return replace(window, kind="rows", size=size, every=every, offset=0)
    if drawn < 0.15:
        longest = shapes.choice((0, 0, 0, 3, 12)) * unit
        return replace(window, kind="session", every=longest, offset=0)
    if drawn < 0.5:
        return window
    if shapes.random() < 0.7:
        every = shapes.choice([n for n in (1, 2, 3, 5, 7, units) if n <= units]) * unit
        return replace(window, kind="hopping", every=every, offset=window.offset % every)
    every = shapes.choice([n for n in range(1, units + 1) if units % n == 0]) * unit
    return replace(window, kind="cumulative", every=every)


def updates(dice: random.Random, sinks: tuple[Spec, ...]) -> list[Spec]:
    """Some of the windows once more, with the changes of their results."""
    windows = [spec for spec in sinks if isinstance(spec, Windowed) and spec.kind != "rows"]
    # Late rows move all later cuts of sessions that are limited in length: the engine refuses it.
    fit = [spec for spec in windows if not (spec.kind == "session" and spec.every and spec.lateness)]
    return [replace(spec, updates=True) for spec in fit if dice.random() < 0.3]


def steps(
    dice: random.Random,
    shapes: random.Random,
    sinks: tuple[Spec, ...],
    stream: Spec,
    parts: list[Spec],
    unit: int,
) -> list[Spec]:
    """The first rows of windows; functions with state; joins; and windows over the results of these."""
    found: list[Spec] = []
    windows = [spec for spec in sinks if isinstance(spec, Windowed) and spec.input is stream]
    windows = [spec for spec in windows if spec.kind != "rows"]
    if windows and dice.random() < 0.25:
        found.append(replace(dice.choice(windows), top=dice.choice((1, 2, 5))))
    if dice.random() < 0.25:
        found.append(Scanned(stream, dice.choice(KEYS[1:]), dice.choice((0, 0, 3)) * unit))
    if dice.random() < 0.35:
        how, low = dice.choice(HOWS), dice.choice((-20, -3, -1, 0, 0, 2)) * unit
        high = 0 if how == "asof" else low + dice.choice((0, 1, 5, 25)) * unit
        keys, lateness = dice.choice(KEYS), dice.choice((0, 0, 3)) * unit
        found.append(Joined(stream, dice.choice((stream, *parts)), keys, how, min(low, high), high, lateness))
    for spec in list(found):
        follows = not isinstance(spec, Joined) or spec.how in ("inner", "left", "asof")
        if follows and dice.random() < 0.3:
            size = dice.choice((1, 2, 5, 10)) * unit
            window = Windowed(
                spec, dice.choice(KEYS), size, 0, dice.choice((0, 3)) * unit, dice.choice(tuple(PLANS))
            )
            if not (isinstance(spec, Windowed) and spec.top):  # its bounds are taken
                found.append(shaped(shapes, window, unit, with_rows=True))
    return found

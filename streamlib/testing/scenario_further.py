"""Further steps of a drawn job: window joins, dedup, tables, filled gaps, processors, and what reads their results.

They are drawn beside the sinks of a job, from dice of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from streamlib.testing.scenario_steps import KEYS, shaped
from streamlib.testing.specs import (
    PLANS,
    Apply,
    Deduped,
    Filled,
    Joined,
    Late,
    Paired,
    Processed,
    Read,
    Rolled,
    Scanned,
    Side,
    Silent,
    Spec,
    Tabled,
    Timed,
    Union,
    Windowed,
    all_specs,
    inputs_of,
)

KEYED = KEYS[1:]
ON_RESULTS = ("keep_large", "add_one", "double")
"""Steps on single rows that take any rows with `n` and `v`."""


def further(
    dice: random.Random, sinks: tuple[Spec, ...], stream: Spec, parts: list[Spec], unit: int
) -> list[Spec]:
    """Some steps, and what reads what they give."""
    draw = _Draw(dice, sinks, stream, parts, unit)
    makers = list(_MAKERS)
    found: list[Spec] = []
    for _ in range(dice.choice((0, 0, 1, 1, 2))):
        for spec in dice.choice(makers)(draw):
            found.append(spec)
            found += draw.readers(spec)
    return found


@dataclass
class _Draw:
    """The dice, and what there is to read."""

    dice: random.Random
    sinks: tuple[Spec, ...]
    stream: Spec
    parts: list[Spec]
    unit: int

    def rows(self) -> Spec:
        """A stream with the columns of a source."""
        chosen = self.dice.choice((self.stream, self.stream, *self.parts))
        drawn = self.dice.random()
        if drawn < 0.7:
            return chosen
        deduped = self.deduped(chosen)
        return deduped if drawn < 0.85 else Side(deduped)

    def any_rows(self) -> Spec:
        """A stream with `k`, `g`, `n` and `v`."""
        drawn = self.dice.random()
        if drawn < 0.6:
            return self.rows()
        if drawn < 0.7:
            return Scanned(self.rows(), self.keys(), self.late())
        if drawn < 0.8:
            return Tabled(self.rows(), self.keys(), "latest", self.span(), "sums")
        if drawn < 0.9:
            return self.late_rows()
        return Rolled(self.rows(), self.keys(), "functions", 1, 0)

    def late_rows(self) -> Spec:
        """Rows that are late for a step that keeps their columns."""
        steps: list[Callable[[], Deduped | Rolled | Joined]] = [
            lambda: self.deduped(self.stream),
            lambda: Rolled(self.stream, self.keys(), "rows", 2, self.late()),
            lambda: Joined(self.stream, self.rows(), ("k",), "inner", 0, self.span(), self.late()),
        ]
        return Late(self.dice.choice(steps)())

    def window(self) -> Windowed:
        """A window over rows, which does not go by rows."""
        windows = [s for s in self.sinks if isinstance(s, Windowed) and s.input is self.stream]
        windows = [s for s in windows if s.kind not in ("rows", "same") and not s.top]
        if windows and self.dice.random() < 0.4:
            return self.dice.choice(windows)
        plan = self.dice.choice(tuple(PLANS))
        window = Windowed(self.rows(), self.dice.choice(KEYS), self.span(), 0, self.late(), plan)
        return fit(shaped(self.dice, window, self.unit, with_rows=False))

    def deduped(self, rows: Spec) -> Deduped:
        """One row of each id."""
        ids = self.dice.choice((("k",), ("n",), ("g", "k"), ("k", "n")))
        within = self.dice.choice((0, 1, 5, 30)) * self.unit
        return Deduped(rows, ids, within, self.dice.choice(("first", "first", "last")), self.late())

    def keys(self) -> tuple[str, ...]:
        """Keys of a step that needs some."""
        return self.dice.choice(KEYED)

    def late(self) -> int:
        """An allowed lateness."""
        return self.dice.choice((0, 0, 0, 3, 12)) * self.unit

    def span(self) -> int:
        """A length of time."""
        return self.dice.choice((1, 2, 5, 10)) * self.unit

    def readers(self, spec: Spec) -> list[Spec]:
        """What reads the rows of a step: its late rows, a window over them, a join with others."""
        found: list[Spec] = []
        if isinstance(spec, Late | Side | Filled) or (isinstance(spec, Windowed) and spec.early):
            sides = 0
        else:
            sides = {Joined: 2, Paired: 2, Processed: 3}.get(type(spec), 1)
        if sides and self.dice.random() < 0.4 and not _has_bounds(spec):
            late = Late(spec, self.dice.randrange(sides))  # type: ignore[arg-type]
            found.append(late)
        if not _is_readable(spec) or self.dice.random() < 0.5:
            return found
        if self.dice.random() < 0.2:
            spec = Apply(spec, self.dice.choice(ON_RESULTS))
        keys = self.dice.choice([keys for keys in KEYS if set(keys) <= set(keys_of(spec))])
        window = Windowed(spec, keys, self.span(), 0, self.late(), self.dice.choice(tuple(PLANS)))
        window = shaped(self.dice, window, self.unit, with_rows=True)
        if (
            self.dice.random() < 0.3
            and window.kind != "rows"
            and not (window.kind == "session" and window.every)
        ):
            window = replace(window, updates=True, lateness=0)
        found.append(fit(window))
        return found


def fit(window: Windowed) -> Windowed:
    """The window, or one without `first` and `last` where these would have no order: the engine refuses it."""
    from_sides = any(isinstance(each, Late | Side) for each in all_specs((window,)))
    if window.plan == "edges" and from_sides and (window.updates or window.kind in ("hopping", "cumulative")):
        return replace(window, plan="sums")
    return window


def keys_of(spec: Spec) -> tuple[str, ...]:
    """Which of `k` and `g` its rows have."""
    if isinstance(spec, Windowed):
        return ("k", "g") if spec.top else spec.keys
    if isinstance(spec, Filled):
        return spec.window.keys
    if isinstance(spec, Tabled) and spec.kind in ("running", "states"):
        return spec.keys
    if isinstance(spec, Side):
        return spec.step.keys if isinstance(spec.step, Processed) else keys_of(spec.step.input)
    if isinstance(spec, Late):
        return keys_of(inputs_of(spec.step)[spec.side])
    if isinstance(spec, Joined | Paired):
        return keys_of(spec.left)
    return ("k", "g") if isinstance(spec, Read | Union | Processed) else keys_of(spec.input)


def _has_bounds(spec: Spec) -> bool:
    """Whether what goes in has columns that late rows get."""
    source = (
        spec.input if hasattr(spec, "input") else spec.left if isinstance(spec, Joined | Paired) else spec
    )
    sources = [source, spec.right] if isinstance(spec, Joined | Paired) else [source]
    if isinstance(spec, Processed):
        sources += [spec.more, spec.rules]
    return any(not isinstance(each, Apply | Timed | Union | Deduped | Side) for each in sources)


def _is_readable(spec: Spec) -> bool:
    """Whether it gives rows with `n` and `v`, whose changes are a function of the input."""
    if isinstance(spec, Silent) or (isinstance(spec, Windowed) and spec.early):
        return False
    return not (isinstance(spec, Joined | Paired) and spec.how in ("right", "full"))


def _paired(draw: _Draw) -> list[Spec]:
    dice = draw.dice
    kind = dice.choice(("tumbling", "tumbling", "hopping", "cumulative", "session"))
    every = dice.choice((1, 2, 3))
    size = every * dice.choice((1, 2, 3)) if kind in ("hopping", "cumulative") else dice.choice((1, 2, 5, 10))
    how = dice.choice(("inner", "left", "right", "full", "semi", "anti"))
    keys = dice.choice(KEYS)
    right: Spec = draw.rows()
    if dice.random() < 0.2:
        right = Windowed(draw.stream, ("k", "g"), draw.span(), 0, draw.late(), "sums")
    every = every * draw.unit if kind in ("hopping", "cumulative") else 0
    return [Paired(draw.rows(), right, keys, how, kind, size * draw.unit, every, draw.late())]


def _deduped(draw: _Draw) -> list[Spec]:
    deduped = draw.deduped(draw.any_rows())
    return [deduped, Side(deduped)]


def _rolled(draw: _Draw) -> list[Spec]:
    kind = draw.dice.choice(("time", "rows", "functions"))
    size = draw.dice.choice((1, 2, 4)) if kind == "rows" else draw.span()
    lateness = 0 if kind == "functions" else draw.late()
    return [Rolled(draw.any_rows(), draw.keys(), kind, size, lateness)]


def _silent(draw: _Draw) -> list[Spec]:
    return [Silent(draw.rows(), draw.keys(), draw.span(), draw.late())]


def _tabled(draw: _Draw) -> list[Spec]:
    kind = draw.dice.choice(("running", "latest", "top", "top", "states"))
    span, plan = draw.span(), draw.dice.choice(tuple(PLANS))
    top = draw.dice.choice((1, 2, 3)) if kind == "top" else 0
    ttl = span * draw.dice.choice((0, 1, 2)) if kind == "states" else 0
    rows = draw.rows() if kind in ("latest", "top") else draw.any_rows()
    return [Tabled(rows, draw.keys(), kind, span, plan, top, ttl)]


def _filled(draw: _Draw) -> list[Spec]:
    window = draw.window()
    if window.kind == "session":
        window = replace(window, kind="tumbling", every=0)
    step = window.every or window.size
    return [window, Filled(window, step * draw.dice.choice((1, 2, 5)))]


def _processed(draw: _Draw) -> list[Spec]:
    ttl = draw.dice.choice((0, 0, 3, 10)) * draw.unit
    made = Processed(draw.rows(), draw.rows(), draw.rows(), draw.keys(), draw.span(), draw.late(), ttl)
    return [made, Side(made)]


def _early(draw: _Draw) -> list[Spec]:
    window = draw.window()
    if window.kind == "session" and (window.every or window.lateness):
        window = replace(window, every=0)
    return [fit(replace(window, updates=True, early=draw.span()))]


def _joined_results(draw: _Draw) -> list[Spec]:
    """A join of the results of two windows, or of rows with results, and a window over it."""
    dice = draw.dice
    windows = [
        shaped(
            dice, Windowed(draw.rows(), keys, draw.span(), 0, draw.late(), "sums"), draw.unit, with_rows=True
        )
        for keys in (draw.keys(), draw.keys())
    ]
    left: Spec = dice.choice((windows[0], windows[0], draw.rows()))
    right: Spec = dice.choice(
        (windows[1], Filled(replace(windows[1], kind="tumbling", every=0), windows[1].size))
    )
    if windows[1].kind == "rows":
        right = windows[1]
    keys = tuple(k for k in keys_of(left) if k in keys_of(right))
    how = dice.choice(("inner", "left", "semi", "anti", "asof", "asof"))
    low = dice.choice((-10, -3, 0)) * draw.unit
    high = 0 if how == "asof" else low + dice.choice((0, 5, 20)) * draw.unit
    return [Joined(left, right, keys, how, low, high, draw.late())]


_MAKERS: tuple[Callable[[_Draw], list[Spec]], ...] = (
    _paired,
    _paired,
    _deduped,
    _rolled,
    _silent,
    _tabled,
    _tabled,
    _filled,
    _processed,
    _processed,
    _early,
    _joined_results,
)

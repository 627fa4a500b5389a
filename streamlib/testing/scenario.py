"""From one integer: input, a job and the way it is run. Everything random of a simulation is drawn here.

Times are drawn in steps of a unit between 1 ns and 20 minutes, around zero, so that there are negative
times, ties, gaps, and splits that stand further apart than `MAX_DRIFT_NS`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from streamlib.testing.specs import (
    PLANS,
    ROW_FUNCTIONS,
    Apply,
    Joined,
    Late,
    Read,
    RowData,
    Scanned,
    Spec,
    Timed,
    Union,
    Windowed,
    all_specs,
    describe,
    inputs_of,
)

UNITS_NS = (1, 1_000, 1_000_000_000, 7_000_000_000, 20 * 60 * 1_000_000_000)
KEYS: tuple[tuple[str, ...], ...] = ((), ("k",), ("k",), ("k", "g"))
ROWS_MAX = 24
"""Of one split."""
ONE_EACH = tuple(name for name in ROW_FUNCTIONS if name != "twice")
"""The steps of branches that meet again: of rows that stem from one all of one branch come first, and the model
has no order of branches with different steps."""
HOWS = ("inner", "inner", "left", "full", "semi", "anti", "asof", "asof")
UNORDERED = ("sums", "extremes", "means")
"""The plans without `first` and `last`: for jobs in which splits appear, where the order of ties is timing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one attempt is run: nothing of it may change the answer.

    Attributes:
        workers: how many.
        batch_rows: the largest batch.
        block_rows: the largest block.
        channel_bytes_max: of every channel.
        withheld: how often a worker is handed an older watermark, 0 to 1.
        stalls: how often a step holds a batch up, 0 to 1.
        pauses: how often a reader has nothing, 0 to 1.
        barriers: how often a barrier is started, per unit of work.
        seed: chooses the schedule, the cuts and all of the above moments.
        asks: rows for which a `map_async` behind each `event_time` calls at a time; 0: there is none.
    """

    workers: int
    batch_rows: int
    block_rows: int
    channel_bytes_max: int
    withheld: float
    stalls: float
    pauses: float
    barriers: float
    seed: int
    asks: int = 0


@dataclass(slots=True)
class Scenario:
    """A job, its input, and how it is run.

    Attributes:
        seed: it is a function of this number alone.
        sources: rows by source and split.
        sinks: what is computed.
        attempts: the settings of each attempt: all but the last are killed.
        idles: splits go idle and enter again, so that late rows depend on timing.
        fails_at: the id of the row at which a function of the user's raises; None for none.
        stops: how the last attempt ends: ``end``, ``stop`` (and is resumed) or ``flush``.
        unpeeked: (source, split) whose first row cannot be looked at.
        appearing: (source, split) that become known only while the run is on.
    """

    seed: int
    sources: list[list[list[RowData]]]
    sinks: tuple[Spec, ...]
    attempts: list[Settings]
    idles: bool = False
    fails_at: int | None = None
    stops: str = "end"
    unpeeked: set[tuple[int, int]] = field(default_factory=set)
    appearing: set[tuple[int, int]] = field(default_factory=set)

    def __str__(self) -> str:
        specs = all_specs(self.sinks)
        numbers = {id(spec): number for number, spec in enumerate(specs)}
        lines = [f"seed {self.seed}: ends by {self.stops}, idles={self.idles}, fails_at={self.fails_at}"]
        for spec in specs:
            sources = ", ".join(str(numbers[id(s)]) for s in inputs_of(spec))
            sink = "  => sink" if any(spec is s for s in self.sinks) else ""
            lines.append(
                f"  {numbers[id(spec)]:>2} {describe(spec)}{' <- ' + sources if sources else ''}{sink}"
            )
        for number, splits in enumerate(self.sources):
            for split, rows in enumerate(splits):
                shown = ", ".join(
                    f"{r['id']}@{r['ts']} {r['k']}/{r['g']} n={r['n']} v={r['v']}" for r in rows
                )
                blind = " (no peek)" if (number, split) in self.unpeeked else ""
                blind += " (appears later)" if (number, split) in self.appearing else ""
                lines.append(f"  source {number} split {split}{blind}: {shown or 'no rows'}")
        lines += [f"  attempt {number}: {settings}" for number, settings in enumerate(self.attempts)]
        return "\n".join(lines)


def draw(seed: int) -> Scenario:
    """The scenario of a seed.

    >>> draw(7).sources == draw(7).sources
    True
    """
    dice = random.Random(seed)
    unit = dice.choice(UNITS_NS)
    count = dice.choice((1, 1, 2, 3))
    delay = dice.randint(0, 8)
    ids = iter(range(1_000_000))
    sources = [
        [_rows(dice, unit, delay, ids) for _ in range(dice.choice((1, 1, 2, 3)))] for _ in range(count)
    ]
    idles = dice.random() < 0.2
    stream, parts = _timed(dice, [Read(number) for number in range(count)], delay * unit, idles)
    shapes = random.Random(f"shapes of windows {seed}")
    sinks = _sinks(dice, shapes, stream, unit, idles)
    if len(parts) > 1 and dice.random() < 0.2:
        sinks = (*sinks, *_joined(dice, shapes, parts, unit, idles))
    if not idles:
        more = _steps(random.Random(f"steps {seed}"), shapes, sinks, stream, parts, unit)
        sinks = (*sinks, *_updates(random.Random(f"updates {seed}"), sinks), *more)
    kills = dice.choice((0, 0, 0, 1, 1, 2))
    stops = dice.choice(("end", "end", "end", "end", "stop", "flush"))
    attempts = [_settings(dice, number < kills, idles) for number in range(kills + 1)]
    scenario = Scenario(seed, sources, sinks, attempts, idles, stops=stops)
    if dice.random() < 0.06 and not idles:
        applied = [spec for spec in all_specs(sinks) if isinstance(spec, Apply)]
        everything = [row for splits in sources for rows in splits for row in rows]
        if applied and everything:
            scenario.fails_at = int(str(dice.choice(everything)["id"]))
            scenario.attempts = scenario.attempts[:1]
            scenario.stops = "end"
    splits = [(number, split) for number, found in enumerate(sources) for split in range(len(found))]
    scenario.unpeeked = {split for split in splits if dice.random() < 0.2}
    if idles:
        scenario.appearing = {split for split in splits if split[1] > 0 and dice.random() < 0.4}
    return scenario


def _rows(dice: random.Random, unit: int, delay: int, ids: object) -> list[RowData]:
    rows: list[RowData] = []
    now = dice.randint(-30, 30)
    disorder = dice.choice((0, delay, delay, delay + 6, 25))
    keys = dice.choice((["a"], ["a", "b", None], ["a", "b", "c", "dd", "a longer key", None]))
    for _ in range(dice.randint(0, dice.choice((0, 3, 8, 12, ROWS_MAX)))):
        now += dice.choice((0, 0, 1, 1, 2, 3)) if dice.random() < 0.95 else dice.randint(10, 60)
        back = dice.randint(0, disorder) if dice.random() < 0.4 else 0
        rows.append(
            {
                "ts": (now - back) * unit,
                "k": dice.choice(keys),
                "g": dice.choice((1, 2, None)),
                "v": None if dice.random() < 0.2 else dice.randint(-40, 40) / 4,
                "n": dice.randint(0, 9),
                "id": next(ids),  # type: ignore[call-overload]
            }
        )
    return rows


def _timed(dice: random.Random, reads: list[Spec], delay: int, idles: bool) -> tuple[Spec, list[Spec]]:
    """The sources brought together before or after they get their event time; and the streams that came together."""
    max_delay = None if dice.random() < 0.05 and not idles else delay
    parts = dice.random() < 0.15
    before = [_applied(dice, read, 0.3, ROW_FUNCTIONS) for read in reads]
    if len(before) > 1 and dice.random() < 0.3:
        before = [Union(tuple(before))]
    per: tuple[str, ...] = dice.choice((("k",), ("k", "g"))) if dice.random() < 0.15 else ()
    after: list[Spec] = [
        Timed(_applied(dice, spec, 0.2, ROW_FUNCTIONS), max_delay, idles, per) for spec in before
    ]
    after = [_applied(dice, spec, 0.3, ROW_FUNCTIONS) for spec in after]
    stream = after[0] if len(after) == 1 else Union(tuple(after))
    if parts:
        stream = Union((_applied(dice, stream, 1.0, ONE_EACH), _applied(dice, stream, 0.5, ONE_EACH)))
    return _applied(dice, stream, 0.2, ROW_FUNCTIONS), after


def _applied(dice: random.Random, spec: Spec, chance: float, steps: tuple[str, ...]) -> Spec:
    while dice.random() < chance:
        spec = Apply(spec, dice.choice(steps))
        chance /= 2
    return spec


def _sinks(
    dice: random.Random, shapes: random.Random, stream: Spec, unit: int, idles: bool
) -> tuple[Spec, ...]:
    sinks: list[Spec] = []
    for _ in range(dice.choice((1, 1, 2))):
        size = dice.choice((1, 2, 5, 7, 10, 30)) * unit
        window = Windowed(
            stream,
            dice.choice(KEYS),
            size,
            dice.choice((0, 0, 1, 3)) * unit % size,
            dice.choice((0, 0, 0, 1, 4, 15)) * unit,
            dice.choice(UNORDERED if idles else tuple(PLANS)),
        )
        window = _shaped(shapes, window, unit, with_rows=not idles)
        sinks.append(window)
        if idles or dice.random() < 0.6:
            sinks.append(Late(window))
        if dice.random() < 0.2:
            sinks.append(_second(dice, shapes, window, window.keys, size, unit))
        if not idles and dice.random() < 0.1:
            more = dice.choice((0, 5, 20)) * unit
            sinks.append(Windowed(Late(window), dice.choice(KEYS), size, 0, window.lateness + more, "sums"))
    if dice.random() < 0.2:
        sinks.append(stream)
    return tuple(sinks)


def _joined(
    dice: random.Random, shapes: random.Random, parts: list[Spec], unit: int, idles: bool
) -> list[Spec]:
    """A window over the results of windows over several streams, and what was late for these."""
    keys, size = dice.choice(KEYS), dice.choice((2, 5, 10)) * unit
    windows = [Windowed(part, keys, size, 0, dice.choice((0, 0, 4)) * unit, "sums") for part in parts]
    windows = [_shaped(shapes, window, unit, with_rows=not idles) for window in windows]
    second = _second(dice, shapes, Union(tuple(windows)), keys, size, unit)
    return [*(Late(window) for window in windows), second]


def _second(
    dice: random.Random, shapes: random.Random, results: Spec, keys: tuple[str, ...], size: int, unit: int
) -> Windowed:
    """A window over the results of windows keyed by `keys`."""
    window = Windowed(
        results,
        dice.choice([some for some in KEYS if set(some) <= set(keys)]),
        size * dice.choice((1, 2, 3)),
        0,
        dice.choice((0, 0, 3)) * unit,
        dice.choice(tuple(PLANS)),
    )
    first = results.inputs if isinstance(results, Union) else (results,)
    if shapes.random() < 0.3 and all(isinstance(w, Windowed) and w.kind != "rows" for w in first):
        return replace(window, kind="same", size=0, lateness=0)
    return _shaped(shapes, window, unit, with_rows=True)


def _shaped(shapes: random.Random, window: Windowed, unit: int, with_rows: bool) -> Windowed:
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


def _updates(dice: random.Random, sinks: tuple[Spec, ...]) -> list[Spec]:
    """Some of the windows once more, with the changes of their results."""
    windows = [spec for spec in sinks if isinstance(spec, Windowed) and spec.kind != "rows"]
    # Late rows move all later cuts of sessions that are limited in length: the engine refuses it.
    fit = [spec for spec in windows if not (spec.kind == "session" and spec.every and spec.lateness)]
    return [replace(spec, updates=True) for spec in fit if dice.random() < 0.3]


def _steps(
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
                found.append(_shaped(shapes, window, unit, with_rows=True))
    return found


def _settings(dice: random.Random, dies: bool, idles: bool) -> Settings:
    """Barriers are frequent where the run is killed; several workers where watermarks leave splits out."""
    often = dice.choice((0.05, 0.2, 0.3)) if dies else dice.choice((0.0, 0.01, 0.05, 0.2))
    settings = Settings(
        workers=dice.choice((1, 2, 2, 3, 4) if idles or dies else (1, 1, 2, 3, 4)),
        batch_rows=dice.choice((1, 2, 7, 50)),
        block_rows=dice.choice((1, 3, 10, 50)),
        channel_bytes_max=dice.choice((1, 1, 300, 8 * 1024 * 1024)),
        withheld=dice.choice((0.0, 0.3, 0.8)),
        stalls=dice.choice((0.0, 0.0, 0.05, 0.2)),
        pauses=dice.choice((0.0, 0.0, 0.1, 0.5)),
        barriers=often,
        seed=dice.randrange(2**31),
    )
    return replace(settings, asks=random.Random(f"asks {settings.seed}").choice((0, 0, 0, 0, 1, 3)))

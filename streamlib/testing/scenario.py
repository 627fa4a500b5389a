"""From one integer: input, a job and the way it is run. Everything random of a simulation is drawn here.

Times are drawn in steps of a unit between 1 ns and 20 minutes, around zero, so that there are negative
times, ties, gaps, and splits that stand further apart than `MAX_DRIFT_NS`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from streamlib.testing.scenario_further import further
from streamlib.testing.scenario_steps import KEYS, shaped, steps, updates
from streamlib.testing.specs import (
    PLANS,
    ROW_FUNCTIONS,
    Apply,
    Late,
    Read,
    RowData,
    Spec,
    Timed,
    Union,
    Windowed,
    all_specs,
    describe,
    inputs_of,
)

UNITS_NS = (1, 1_000, 1_000_000_000, 7_000_000_000, 20 * 60 * 1_000_000_000)
ROWS_MAX = 24
"""Of one split."""
ONE_EACH = tuple(name for name in ROW_FUNCTIONS if name != "twice")
"""The steps of branches that meet again: of rows that stem from one all of one branch come first, and the model
has no order of branches with different steps."""
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
        more = steps(random.Random(f"steps {seed}"), shapes, sinks, stream, parts, unit)
        beside = further(random.Random(f"further {seed}"), sinks, stream, parts, unit)
        sinks = (*sinks, *updates(random.Random(f"updates {seed}"), sinks), *more, *beside)
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
        window = shaped(shapes, window, unit, with_rows=not idles)
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
    windows = [shaped(shapes, window, unit, with_rows=not idles) for window in windows]
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
    return shaped(shapes, window, unit, with_rows=True)


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

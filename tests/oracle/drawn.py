"""What Hypothesis draws: splits of ticks, in order, slightly disordered or wild, around awkward times."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from hypothesis import strategies as st

from tests.oracle.queries import MAX, MIN, SECOND, Tick, split_table

UNIT = SECOND // 10
"""Times are multiples of this after an origin, so that ties are frequent."""

ORIGINS = {
    "1970": 0,
    "just before 1970": -37 * SECOND,
    "2024": 1_723_161_250 * SECOND,
    "the last minute of 2262": MAX - 61 * SECOND,
    "the first minutes of 1677": MIN + 30 * SECOND,  # the first window of all has a test of its own
}

_keys = st.sampled_from(
    ["A", "B", "ß", "東京", "🦆", "a key of more than eight bytes", "a key of more than", "", None]
)
_prices = st.one_of(
    st.integers(-800, 800).map(lambda n: n / 8), st.sampled_from([None, float("nan"), 0.0, -0.0])
)
_volumes = st.integers(1, 50)


@dataclass(frozen=True)
class Input:
    """Splits and how to read them."""

    splits: list[pa.Table]
    delay: int
    size: int
    lateness: int
    offset: int
    workers: int
    batch_rows: int
    block_rows: int


@st.composite
def ticks(draw: st.DrawFn, origin: int) -> list[Tick]:
    """One split: its times are `origin` plus up to a minute."""
    steps = draw(st.lists(st.integers(0, 590), max_size=30))
    disorder = draw(st.sampled_from(["sorted", "slight", "wild"]))
    if disorder == "sorted":
        steps = sorted(steps)
    elif disorder == "slight":
        steps = sorted(steps, key=lambda n: n + (n * 7919) % 40)
    times = [origin + n * UNIT for n in steps]
    return [(time, draw(_keys), draw(_prices), draw(_volumes)) for time in times]


@st.composite
def inputs(draw: st.DrawFn, most_splits: int = 4) -> Input:
    """An input with the options it is read by; the sizes do not divide each other on purpose."""
    origin = draw(st.sampled_from(list(ORIGINS.values())))
    splits = draw(st.lists(ticks(origin), min_size=1, max_size=most_splits))
    size = draw(st.sampled_from([SECOND, 7 * SECOND, 10 * SECOND]))
    return Input(
        splits=[split_table(split) for split in splits],
        delay=draw(st.sampled_from([0, UNIT, 2 * SECOND, 20 * SECOND])),
        size=size,
        lateness=draw(st.sampled_from([0, UNIT, 5 * SECOND])),
        offset=draw(st.sampled_from([0, 3 * UNIT])),
        workers=draw(st.sampled_from([1, 2, 4])),
        batch_rows=draw(st.sampled_from([1, 2, 7, 65_536])),
        block_rows=draw(st.sampled_from([1, 3, 65_536])),
    )

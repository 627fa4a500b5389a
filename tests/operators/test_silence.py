"""Silences against plain Python, whatever the disorder, the cuts, the workers and the kills; types; refusals."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.connectors.memory import ArrowSource
from streamlib.elements import format_duration
from streamlib.errors import BuildError
from streamlib.graph import SourceNode
from streamlib.graph.plan import topological
from streamlib.testing.checking import Variation, play
from streamlib.testing.rebuild import as_list_source
from tests.operators.process.plain_process import Input, marked

SECOND = 10**9
SCHEMA = pa.schema({"ts": pa.timestamp("ns"), "k": pa.string(), "v": pa.int64()})


@given(
    seed=st.integers(0, 2**32),
    workers=st.sampled_from([1, 2, 3]),
    batch_rows=st.sampled_from([1, 3, 65_536]),
    kills=st.sampled_from([0, 0, 2]),
    duration=st.sampled_from([1, 3, 10]),
    lateness=st.sampled_from([0, 0, 2]),
)
def test_silences_are_those_of_plain_python(
    seed: int, workers: int, batch_rows: int, kills: int, duration: int, lateness: int
) -> None:
    dice = random.Random(seed)
    delay = dice.choice((0, 2, 30)) * SECOND
    splits = [_split(dice) for _ in range(dice.choice((1, 2, 3)))]
    first, *others = (
        sl.read(ArrowSource(_table(rows), 3, name=f"split {n}")) for n, rows in enumerate(splits)
    )
    stamped = first.union(*others).event_time("ts", max_delay=format_duration(delay))
    keyed = stamped.filter(col("v") < 7).key_by("k")  # the watermark knows of rows that are filtered
    stream = keyed.silence(f"{duration}s", allowed_lateness=f"{lateness}s")
    how = Variation(
        workers, batch_rows, seed=seed % 2**16, kills=kills, channel_bytes_max=dice.choice((1, 2**23))
    )
    nodes = [stream._node, stream.late._node]
    lists = {id(n): as_list_source(n.source) for n in topological(nodes) if isinstance(n, SourceNode)}
    found, late = play(nodes, lists, how)

    wanted, lost = _silences(Input("row", splits, delay), duration * SECOND, lateness * SECOND)
    bounds = [[int(v.value) for v in found[name]] for name in ("silence_start", "silence_end")]
    assert sorted(zip(map(str, found["k"].to_pylist()), *bounds, strict=True)) == wanted
    assert late.num_rows == lost


def _silences(given: Input, duration: int, lateness: int) -> tuple[list[Any], int]:
    rows = marked(given)
    horizon = max((row["t"] for _, _, row, _ in rows), default=0)
    kept = [(split, pos, row, mark) for split, pos, row, mark in rows if row["v"] < 7]
    on_time = [row for _, _, row, mark in kept if mark <= row["t"] + lateness]
    by_key: dict[str, list[int]] = {}
    for row in on_time:
        by_key.setdefault(str(row["k"]), []).append(row["t"])
    found = []
    for key, times in by_key.items():
        times.sort()
        ends = [*times[1:], None]
        for time, then in zip(times, ends, strict=True):
            if time + duration <= horizon if then is None else then > time + duration:
                found.append((key, time, time + duration))
    return sorted(found), len(kept) - len(on_time)


def _split(dice: random.Random) -> list[dict[str, Any]]:
    steps = [dice.randint(-20, 20) for _ in range(dice.choice((0, 1, 5, 25)))]
    disorder = dice.choice((0, 4, 100))
    steps.sort(key=lambda n: n + dice.randint(0, disorder))
    return [
        {"t": n * SECOND, "k": dice.choice(["a", "b", "c", None]), "v": dice.randint(0, 9)} for n in steps
    ]


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    times = pa.array([row["t"] for row in rows], pa.int64()).cast(SCHEMA.field(0).type)
    return pa.table(
        [times, *(pa.array([r[n] for r in rows], SCHEMA.field(n).type) for n in ("k", "v"))], schema=SCHEMA
    )


def beats(text: str, delay: str = "0s") -> sl.KeyedStream:
    return sl.read_arrow(t.table(text)).event_time("ts", max_delay=delay).key_by("k")


def test_it_comes_out_when_the_watermark_proves_it() -> None:
    driven = t.harness(beats("ts k\n00:00:00 a").silence("5s"))
    assert driven.feed("ts k\n00:00:01 a\n00:00:02 b").num_rows == 0
    assert driven.watermark(6 * SECOND).num_rows == 0, "a row at 00:00:06 would break it"
    assert driven.watermark(6 * SECOND + 1)["k"].to_pylist() == ["a"]
    assert driven.times() == [6 * SECOND]
    driven.feed("ts k\n00:00:07 b\n00:00:09 a")
    assert driven.watermark(14 * SECOND)["k"].to_pylist() == ["b"], "armed again by its row at 00:00:07"


def test_a_silent_key_is_forgotten() -> None:
    driven = t.harness(beats("ts k\n00:00:00 a").silence("1s"))
    driven.feed([{"ts": f"00:00:{n % 60:02}", "k": str(n)} for n in range(5_000)])
    assert driven.barrier()["waiting"].num_rows == 5_000
    assert driven.watermark(100 * SECOND).num_rows == 5_000
    state = driven.barrier()
    assert state["keys"].num_rows == state["waiting"].num_rows == 0
    assert driven.operator.table.count == 0  # type: ignore[attr-defined]


def test_every_way_to_run_it() -> None:
    dice = random.Random(5)
    rows = "ts k\n" + "\n".join(f"00:{n // 6:02}:{n % 6 * 10:02} {dice.choice('abc')}" for n in range(40))
    assert t.check(beats(rows, "30s").silence("50s"), seeds=[1], batch_rows=[1, 9]) > 6


@pytest.mark.parametrize(
    ("unit", "duration", "wanted"),
    [("s", "2s", "s"), ("s", "1500ms", "ns"), ("us", "1500ms", "us"), ("ns", "1us", "ns")],
)
def test_bounds_have_the_type_of_the_time_where_it_is_fine_enough(
    unit: str, duration: str, wanted: str
) -> None:
    rows = pa.table({"ts": pa.array([0, 10, 20], pa.timestamp(unit, "UTC")), "k": [1, 1, 2]})
    stream = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k").silence(duration)
    assert stream.schema.field("silence_end").type == pa.timestamp(wanted, "UTC")
    assert stream.schema.names == ["k", "silence_start", "silence_end"]


def test_the_first_row_of_all_times_does_not_wrap() -> None:
    times = pa.array([-(2**63) + 1, 2**63 - 3], pa.int64()).cast(pa.timestamp("ns"))
    rows = pa.table({"ts": times, "k": ["a", "a"]})
    stream = sl.read_arrow(rows).event_time("ts", max_delay=sl.UNTIL_END).key_by("k").silence("1h")
    found = stream.collect()
    assert found["silence_start"].cast(pa.int64()).to_pylist() == [-(2**63) + 1]


def test_what_is_refused() -> None:
    rows = sl.read_arrow(pa.table({"ts": pa.array([0], pa.timestamp("s")), "k": [1], "silence_end": [1]}))
    with pytest.raises(BuildError, match="needs event time"):
        rows.key_by("k").silence("5m")
    timed = rows.event_time("ts", max_delay="0s")
    with pytest.raises(BuildError, match="has a length"):
        timed.key_by("k").silence("0s")
    with pytest.raises(BuildError, match="string with a unit"):
        timed.key_by("k").silence(5)  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="name of a column of the result"):
        timed.key_by("silence_end").silence("5m")

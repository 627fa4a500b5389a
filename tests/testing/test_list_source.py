from __future__ import annotations

import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.contracts import PENDING, Block
from streamlib.errors import BuildError
from streamlib.testing.list_source import ListSource


def read_all(source: ListSource, split: int = 0, position: object = None) -> list[object]:
    """What the reader answers: rows as lists of n, or PENDING."""
    reader = source.open(source.splits()[split], position)
    answers: list[object] = []
    while (answer := reader.read()) is not None:
        if isinstance(answer, Block):
            batches = list(reader.decode(answer))
            answers.append([n for batch in batches for n in batch.column("n").to_pylist()])
        else:
            answers.append(answer)
    return answers


def rows(*numbers: int) -> list[dict[str, int]]:
    return [{"n": n} for n in numbers]


def test_marks_cut_blocks_and_pause() -> None:
    source = t.source([*rows(1, 2), t.PAUSE(2), *rows(3), t.WATERMARK, *rows(4)])
    assert read_all(source) == [[1, 2], PENDING, PENDING, [3], PENDING, [4]]


def test_a_seed_cuts_blocks_anywhere_and_always_the_same() -> None:
    cuts = {seed: read_all(t.source(rows(*range(20)), seed=seed)) for seed in range(5)}
    assert len({str(c) for c in cuts.values()}) > 1
    for seed, blocks in cuts.items():
        assert [n for block in blocks for n in block] == list(range(20))  # type: ignore[attr-defined]
        assert blocks == read_all(t.source(rows(*range(20)), seed=seed))
    assert all(len(block) <= 3 for block in read_all(t.source(rows(*range(20)), seed=1, block_rows=3)))  # type: ignore[arg-type]


def test_reading_goes_on_from_every_position() -> None:
    source = t.source([*rows(1, 2, 3), t.PAUSE(1), *rows(4, 5)], block_rows=2)
    reader = source.open(source.splits()[0])
    left = [[[3], PENDING, [4, 5]], [PENDING, [4, 5]], []]
    while (answer := reader.read()) is not None:
        if isinstance(answer, Block):
            assert read_all(source, position=answer.position) == left.pop(0)
    assert not left


def test_a_source_keeps_the_contract() -> None:
    assert t.check_source(lambda: t.source(rows(*range(9)), [*rows(5), t.PAUSE(3), *rows(6)], seed=4)) > 2


def test_a_crash_happens_once() -> None:
    source = t.source([*rows(1), t.CRASH, *rows(2)])
    stream = sl.read(source)
    with pytest.raises(t.CrashedError, match="CRASH mark"):
        t.run(stream)
    assert t.run(stream)["n"].to_pylist() == [1, 2]


def test_idle_until_a_time_needs_and_uses_the_manual_clock() -> None:
    clock = t.ManualClock()
    source = t.source([*rows(1), t.IDLE("5s"), *rows(2)], clock=clock)
    reader = source.open(source.splits()[0])
    assert isinstance(reader.read(), Block)
    assert reader.read() is PENDING
    assert clock.jump() == 5_000_000_000
    assert isinstance(reader.read(), Block)
    with pytest.raises(BuildError, match="needs a clock"):
        t.run(sl.read(t.source([t.IDLE("5s"), *rows(1)])))


def test_an_idle_split_waits_for_the_others() -> None:
    late = [{"ts": "00:00:01", "n": 1}, t.IDLE, {"ts": "00:00:02", "n": 2}]
    other = [{"ts": f"00:00:{second}", "n": 1} for second in range(10, 60)]
    stream = sl.read(t.source(late, other, block_rows=3)).event_time("ts", max_delay="0s")
    bars = stream.window(sl.tumbling("10s")).agg(n=col("n").sum())
    assert t.run([bars, bars.late], workers=2)[0]["n"].to_pylist() == [3, 10, 10, 10, 10, 10]


def test_a_split_that_enters_late_is_not_waited_for_where_it_may_leave() -> None:
    clock = t.ManualClock()
    late = [t.ENTER(after="1h"), {"ts": "00:00:02", "n": 100}, {"ts": "00:02:00", "n": 7}]
    other = [{"ts": f"00:00:{second}", "n": 1} for second in range(10, 60)]
    ticks = sl.read(t.source(late, [*other, t.IDLE("2h")], clock=clock))
    timed = ticks.event_time("ts", max_delay="0s", idle="leave", idle_after="30s")
    bars = timed.window(sl.tumbling("10s")).agg(n=col("n").sum())
    results, refused = t.run([bars, bars.late], clock=clock)
    assert results["n"].to_pylist() == [10, 10, 10, 10, 10, 7]
    assert refused["n"].to_pylist() == [100], "its entry mark is what the others had reached"


def test_splits_can_have_names_and_tuples_for_rows() -> None:
    source = t.source(schema={"n": "int64"}, left=[(1,)], right=[])
    assert [split.name for split in source.splits()] == ["left", "right"]
    assert [read_all(source, number) for number in range(2)] == [[[1]], []]
    with pytest.raises(BuildError, match="rows or a schema"):
        t.source([])

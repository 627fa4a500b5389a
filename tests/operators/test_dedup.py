"""`dedup`: what waits and what passes, what is kept, what is refused when the graph is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError

SECOND = 1_000_000_000
ROWS = t.table("""
    ts        id   k  n
    00:00:01  7    a  1
    00:00:04  7    a  2
    00:00:03  8    b  3
    00:00:09  7    b  4
    00:00:12  7    a  5
    00:00:11  -    a  6
    00:00:25  7    a  7
    00:00:21  -    b  8
""")
STREAM = sl.read_arrow(ROWS).event_time("ts", max_delay="5s")
KEEPS = ("first", "last", "any")


def numbers(stream: sl.Stream, **options: Any) -> list[int]:
    return sorted(stream.collect(**options)["n"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "out", "dropped"),
    [
        ("first", [1, 3, 5, 6, 7], [2, 4, 8]),
        ("last", [3, 4, 5, 7, 8], [1, 2, 6]),
        ("any", [1, 3, 5, 6, 7], [2, 4, 8]),
    ],
)
def test_runs_end_with_the_row_that_is_within(keep: Any, out: list[int], dropped: list[int]) -> None:
    stream = STREAM.dedup("id", within="10s", keep=keep)
    assert numbers(stream) == out and numbers(stream.duplicates) == dropped


def test_keys_are_part_of_the_id() -> None:
    keyed = STREAM.key_by("k").dedup("id", within="10s")
    assert numbers(keyed) == [1, 3, 4, 5, 6, 7, 8] and keyed.schema == STREAM.schema
    assert numbers(STREAM.key_by("k").dedup(within="1h")) == [1, 3]
    assert numbers(keyed.window(sl.tumbling("1h")).agg(n=sl.count())) == [3, 4], "the keys stay"


def test_it_says_what_it_does() -> None:
    first = STREAM.dedup("id", within="10s", allowed_lateness="1s").explain()
    assert "'id', within='10s', allowed_lateness='1s'" in first and "state: within x rate" in first
    assert "deterministic" in first
    any_row = STREAM.dedup("id", within=sl.FOREVER, keep="any").explain()
    assert "within=FOREVER, keep='any'" in any_row and "state: keys" in any_row
    assert "timing, because dedup: of the rows of an id the one that arrives first is kept" in any_row


def test_what_waits_for_the_watermark() -> None:
    rows = [{"ts": "00:00:02", "id": 1}, {"ts": "00:00:01", "id": 1}]
    source = sl.read_arrow(t.table("ts id\n 00:00:01 1")).event_time("ts", max_delay="9s")
    waits = t.harness(source.dedup("id", within="5s"))
    assert waits.feed(rows).num_rows == 0 and waits.watermark(2 * SECOND)["ts"].cast(
        pa.int64()
    ).to_pylist() == [SECOND]
    assert waits.forwarded == 2 * SECOND and len(waits.rows("duplicates")) == 0
    passes = t.harness(source.dedup("id", within="5s", keep="any"))
    assert passes.feed(rows)["ts"].cast(pa.int64()).to_pylist() == [2 * SECOND]
    last = t.harness(source.dedup("id", within="5s", keep="last"))
    last.feed(rows)
    assert last.watermark(6 * SECOND).num_rows == 0 and last.forwarded == SECOND
    assert last.watermark(6 * SECOND + 1)["ts"].cast(pa.int64()).to_pylist() == [2 * SECOND]


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("within", ["0s", "10s"])
def test_the_contract_of_operators(keep: Any, within: str) -> None:
    stream = sl.read_arrow(ROWS).event_time("ts", max_delay="30s").dedup("id", within=within, keep=keep)
    marks = [0, 4 * SECOND, 4 * SECOND + 1, 15 * SECOND]
    if keep == "any":  # what arrives first is kept: the rows are the same however they are cut
        t.check_operator(stream, ROWS.take([0, 2, 1, 3, 4, 5, 6]), [0, SECOND], ordered=True)
    else:
        late = ROWS.sort_by("ts")
        t.check_operator(stream, late, [time for time in marks if time <= SECOND], ordered=True)
        t.check_operator(stream, late.slice(4), marks, ordered=True)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_other_cuts_workers_orders_and_crashes(keep: Any) -> None:
    stream = STREAM.key_by("k").dedup("id", within="10s", keep=keep)
    assert t.check([stream, stream.duplicates], seeds=[1], workers=[1, 3], batch_rows=[1, 100]) >= 6


def test_late_rows_are_in_neither() -> None:
    rows = t.table("ts id\n 00:00:20 1\n 00:00:01 1\n 00:00:19 1")
    for keep in KEEPS:
        stream = sl.read_arrow(rows).event_time("ts", max_delay="2s").dedup("id", within="1h", keep=keep)
        found = [numbers_of(s) for s in (stream, stream.duplicates, stream.late)]
        assert sorted(n for each in found for n in each) == [1, 19, 20] and found[2] == [1]
    late = sl.read_arrow(rows).event_time("ts", max_delay="2s")
    assert numbers_of(late.dedup("id", within="5s", allowed_lateness="20s")) == [1, 19]


def numbers_of(stream: sl.Stream) -> list[int]:
    return sorted(time // SECOND for time in stream.collect()["ts"].cast(pa.int64()).to_pylist())


@pytest.mark.slow
def test_memory_follows_what_can_still_be_repeated() -> None:
    """A million ids, of which ten thousand are within reach."""
    source = sl.read_arrow(pa.table({"ts": pa.array([0], pa.timestamp("us")), "id": [0]}))
    for keep in KEEPS:
        step = t.harness(source.event_time("ts", max_delay="0s").dedup("id", within="10ms", keep=keep))
        for begin in range(0, 1_000_000, 50_000):
            ids = pa.array(range(begin, begin + 50_000))
            step.feed(pa.table({"ts": ids.cast(pa.timestamp("us")), "id": ids}))
            step.watermark((begin + 50_000) * 1_000)
        operator: Any = step.operator
        if keep == "last":
            assert operator.runs.count <= 10_001 and operator.runs.nbytes < 6_000_000
        else:
            assert operator.seen.rows <= 10_000 + 65_536 // 4 and operator.seen.nbytes < 70 * 65_536


def test_without_event_time_all_rows_of_an_id_are_one_run() -> None:
    plain = sl.read_arrow(ROWS)
    assert numbers(plain.dedup("id", keep="any")) == [1, 3, 6]
    with pytest.raises(BuildError, match="dedup needs event time"):
        plain.dedup("id")
    with pytest.raises(BuildError, match="dedup needs event time"):
        plain.dedup("id", within="10s", keep="any")


def test_dictionaries_come_out_decoded() -> None:
    rows = ROWS.set_column(2, "k", ROWS["k"].dictionary_encode())
    encoded = sl.read_arrow(rows).event_time("ts", max_delay="30s").map_batches(lambda batch: batch)
    for keep in KEEPS:
        found = encoded.dedup("k", within="1h", keep=keep).collect()["k"]
        assert found.type == pa.string() and sorted(found.to_pylist()) == ["a", "b"]


def endless() -> sl.Stream:
    text = sl.read_socket(
        "tcp-listen://127.0.0.1:0", format="jsonl", schema={"ts": "timestamp[ms]", "id": int}
    )
    return text.event_time("ts", max_delay="1s")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: STREAM.dedup(within="1m"), "needs to know what tells rows apart"),
        (lambda: STREAM.dedup("id", "id", within="1m"), "given a column twice"),
        (lambda: STREAM.dedup(["id"], within="1m"), "takes names of columns"),  # type: ignore[arg-type]
        (lambda: STREAM.dedup("id", within="-1s"), "within= must not be negative"),
        (lambda: STREAM.dedup("id", within="1m", allowed_lateness="-1s"), "allowed_lateness= must not"),
        (lambda: STREAM.dedup("id", within=10), "must be a string with a unit"),  # type: ignore[arg-type]
        (lambda: STREAM.dedup("id", within="1m", keep="best"), "no such way"),  # type: ignore[arg-type]
        (lambda: endless().dedup("id"), "would keep every id for ever"),
        (lambda: endless().dedup("id", keep="any"), "would keep every id for ever"),
        (lambda: endless().dedup("id", keep="last", within=sl.FOREVER), "gives nothing without within="),
        (lambda: STREAM.duplicates, "only the result of dedup has duplicates"),
    ],
)
def test_refused_at_the_line(make: Any, said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        make()
    assert Path(__file__).name in str(caught.value)


def test_what_is_no_id() -> None:
    with pytest.raises(ColumnNotFoundError, match="no column 'idd'"):
        STREAM.dedup("idd", within="1m")
    with pytest.raises(TypeMismatchError, match="cannot be an id"):
        STREAM.with_columns(both=sl.struct("id", "k")).dedup("both", within="1m")
    assert endless().dedup("id", within=sl.FOREVER).schema.names == ["ts", "id"]

"""Rows that a step cannot work on: by policy, against plain Python, whatever the batch cut and the workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.contracts import Block, Refused, Source, Split, SplitReader
from streamlib.errors import FAIL, BuildError, DataError, OnError, UserFunctionError
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.run import RunOptions

TEXTS = st.lists(st.sampled_from(["1", "2", "x", "", None, "7"]), max_size=40)


def run(
    *streams: sl.Stream,
    workers: int = 1,
    batch_rows: int = 65_536,
    on_error: OnError = FAIL,
    pause: Any = None,
) -> tuple[list[pa.Table], dict[str, dict[str, int]]]:
    sinks = [CollectSink() for _ in streams]
    nodes = [stream.write(sink) for stream, sink in zip(streams, sinks, strict=True)]
    execution = Execution(nodes, workers, RunOptions(batch_rows=batch_rows, on_error=on_error, pause=pause))
    execution.open()
    run_inline(execution)
    execution.finish()
    counters = execution.totals().counters
    execution.close()
    return [sink.table() for sink in sinks], counters


def texts(values: list[str | None]) -> sl.Stream:
    """Rows of a text and their number, in one Arrow table."""
    return sl.read_arrow(pa.table({"t": pa.array(values, pa.string()), "n": range(len(values))}))


def is_bad(text: str | None) -> bool:
    return text is not None and not text.isdigit()


@given(values=TEXTS, batch_rows=st.sampled_from([1, 2, 7, 1000]), workers=st.sampled_from([1, 3]))
def test_rows_that_fail_leave_and_all_others_pass_in_their_order(
    values: list[str | None], batch_rows: int, workers: int
) -> None:
    numbers = texts(values).with_columns(v=col("t").cast("int64")).named("parse").on_error("dead_letter")
    (passed, dead), counters = run(numbers, numbers.dead_letters, workers=workers, batch_rows=batch_rows)
    good = [(n, None if t is None else int(t)) for n, t in enumerate(values) if not is_bad(t)]
    bad = [n for n, t in enumerate(values) if is_bad(t)]
    assert list(zip(passed["n"].to_pylist(), passed["v"].to_pylist(), strict=True)) == good or workers > 1
    assert sorted(zip(passed["n"].to_pylist(), passed["v"].to_pylist(), strict=True)) == good
    assert sorted(dead["n"].to_pylist()) == bad
    assert dead.column_names[:2] == ["t", "n"]
    for letter in dead.to_pylist():
        assert letter["error_where"] == f"arrow, row {letter['n']}"
        assert letter["error_step"] == "parse" and letter["error_type"] == "DataError"
        assert repr(letter["t"]) in letter["error_message"] and "\n" not in letter["error_message"]
    assert counters.get("parse", {}).get("dead_letters", 0) == len(bad)


@given(values=TEXTS, batch_rows=st.sampled_from([1, 3, 1000]))
def test_user_functions_are_called_until_the_failing_rows_are_alone(
    values: list[str | None], batch_rows: int
) -> None:
    def parse(rows: pa.RecordBatch) -> pa.RecordBatch:
        parsed = [None if t is None else int(t) for t in rows["t"].to_pylist()]
        return pa.record_batch({"n": rows["n"], "v": pa.array(parsed, pa.int64())})

    numbers = texts(values).map_batches(parse).on_error("skip")
    (passed,), counters = run(numbers, batch_rows=batch_rows)
    good = [n for n, t in enumerate(values) if not is_bad(t)]
    assert passed["n"].to_pylist() == good
    skipped = sum(found.get("skipped", 0) for found in counters.values())
    assert skipped == len(values) - len(good)


def test_the_first_bad_row_ends_the_run_unless_told_otherwise() -> None:
    with pytest.raises(DataError, match="'x'"):
        run(texts(["1", "x"]).with_columns(v=col("t").cast("int64")))


def test_a_run_has_a_policy_for_steps_without_their_own() -> None:
    strict = texts(["1", "x"]).with_columns(v=col("t").cast("int64"))
    (passed,), _ = run(strict, on_error=OnError("skip"))
    assert passed["n"].to_pylist() == [0]
    with pytest.raises(DataError):
        run(strict.on_error("fail"), on_error=OnError("skip"))


def test_most_rows_of_a_large_batch_may_fail() -> None:
    values = ["x" if n % 3 else "1" for n in range(3_000)]
    (passed,), _ = run(texts(values).with_columns(v=col("t").cast("int64")).on_error("skip"))
    assert passed["n"].to_pylist() == list(range(0, 3_000, 3))


TIMES = [5, None, 1, 900, 12, 3, None, 21]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_null_times_and_jumps_leave_and_keep_no_mark(batch_rows: int, workers: int) -> None:
    rows = pa.table({"ts": pa.array(TIMES, pa.timestamp("s")), "n": range(len(TIMES))})
    timed = sl.read_arrow(rows).event_time("ts", max_delay="5s", max_jump="60s").on_error("dead_letter")
    counts = timed.window(sl.tumbling("10s")).agg(rows=sl.count())
    streams = (counts, counts.late, timed.dead_letters)
    (bars, late, dead), _ = run(*streams, workers=workers, batch_rows=batch_rows)
    assert sorted(dead["n"].to_pylist()) == [1, 3, 6]
    # by hand: 5, 1 and 3 in the first window; 3 comes when 12 has moved the mark to 7
    assert sorted(bars["rows"].to_pylist()) == [1, 1, 3] and late.num_rows == 0
    by_row = {letter["n"]: letter for letter in dead.to_pylist()}
    assert "null" in by_row[1]["error_message"] and "max_jump" in by_row[3]["error_message"]


def test_a_jump_that_ends_the_input_is_refused_once() -> None:
    rows = pa.table({"ts": pa.array([1, 2, 900], pa.timestamp("s"))})
    timed = sl.read_arrow(rows).event_time("ts", max_delay="5s", max_jump="60s").on_error("dead_letter")
    for workers in (1, 2, 4):
        (passed, dead), _ = run(timed, timed.dead_letters, workers=workers, batch_rows=1)
        assert passed.num_rows == 2 and dead.num_rows == 1


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_window_refuses_rows_whose_inputs_fail_and_counts_late_ones_once(
    batch_rows: int, workers: int
) -> None:
    seconds = [1, 25, 2, 26, 27, 3]
    values = [1, 2, 3, 2**62, 4, 2**62]
    rows = pa.table({"ts": pa.array(seconds, pa.timestamp("s")), "v": values})
    timed = sl.read_arrow(rows).event_time("ts", max_delay="1s")
    sums = timed.window(sl.tumbling("10s")).agg(s=(col("v") * 4).sum()).named("sums").on_error("dead_letter")
    streams = (sums, sums.late, sums.dead_letters)
    (bars, late, dead), counters = run(*streams, workers=workers, batch_rows=batch_rows)
    assert sorted(bars["s"].to_pylist()) == [4, 4 * 6]
    assert sorted(late["v"].to_pylist()) == [3, 2**62], "a late row is late, whatever it holds"
    assert dead["v"].to_pylist() == [2**62] and dead["ts"].cast(pa.int64()).to_pylist() == [26]
    assert sum(c.get("late", 0) for c in counters.values()) == 2


def test_an_error_of_a_window_names_the_row_although_late_rows_came_before_it() -> None:
    rows = pa.table({"ts": pa.array([25, 2, 26], pa.timestamp("s")), "v": [1, 1, 2**62]})
    timed = sl.read_arrow(rows).event_time("ts", max_delay="1s")
    with pytest.raises(DataError, match="row 2"):
        run(timed.window(sl.tumbling("10s")).agg(s=(col("v") * 4).sum()))


def test_dead_letters_have_a_time_and_can_be_counted_by_window() -> None:
    rows = pa.table({"ts": pa.array([1, 2, 13], pa.timestamp("s")), "t": ["x", "y", "z"]})
    parsed = (
        sl.read_arrow(rows)
        .event_time("ts", max_delay="1s")
        .with_columns(v=col("t").cast("int64"))
        .on_error("dead_letter")
    )
    wrong = parsed.dead_letters.window(sl.tumbling("10s")).agg(n=sl.count())
    (passed, bars), _ = run(parsed, wrong)
    assert passed.num_rows == 0 and bars["n"].to_pylist() == [2, 1]


def test_splits_whose_first_rows_are_refused_are_read_all_the_same(tmp_path: Path) -> None:
    """Several files are peeked at before they are read: what is wrong there is no reason to end."""
    for name, first in (("a", "x"), ("b", ""), ("c", "2026-01-01 00:00:00")):
        lines = ["ts,v", f"{first},1", "2026-01-01 00:00:05,2", "2026-01-01 00:00:06,3"]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    raw = sl.read_files(str(tmp_path / "*.csv"), schema={"ts": str, "v": int})
    timed = raw.with_columns(ts=col("ts").cast(pa.timestamp("s"))).on_error("skip")
    (passed,), counters = run(timed.event_time("ts", max_delay="10s").on_error("skip"))
    assert sorted(passed["v"].to_pylist()) == [1, 2, 2, 2, 3, 3, 3]
    assert sum(found.get("skipped", 0) for found in counters.values()) == 2


# ---- sources -----------------------------------------------------------------------------------------


class Words(Source):
    """Blocks of words, of which only numbers are rows."""

    def __init__(self, *blocks: list[bytes]) -> None:
        self.blocks = blocks

    def schema(self) -> pa.Schema:
        return pa.schema({"n": pa.int64()})

    def splits(self) -> list[Split]:
        return [Split("words")]

    def open(self, split: Split, position: object = None) -> SplitReader:
        return WordReader(self.blocks)


class WordReader(SplitReader):
    def __init__(self, blocks: tuple[list[bytes], ...]) -> None:
        self.left = list(blocks)

    def read(self) -> Block | None:
        return Block(self.left.pop(0), first_row=0) if self.left else None

    def decode(self, block: Block) -> Any:
        yield pa.record_batch({"n": pa.array([int(word) for word in block.data], pa.int64())})

    def decode_leniently(self, block: Block, refused: list[Refused]) -> Any:
        good = []
        for number, word in enumerate(block.data):
            if word.isdigit():
                good.append(int(word))
            else:
                error = DataError("no number", where=f"words, row {number}", got=repr(word))
                refused.append(Refused(word, error, number))
        yield pa.record_batch({"n": pa.array(good, pa.int64())})


@pytest.mark.parametrize("workers", [1, 2])
def test_records_that_a_source_cannot_decode_keep_their_bytes(workers: int) -> None:
    words = sl.read(Words([b"1", b"\xff", b"2"], [], [b"three"], [b"4"])).on_error("dead_letter")
    (passed, dead), counters = run(words, words.dead_letters, workers=workers)
    assert sorted(passed["n"].to_pylist()) == [1, 2, 4]
    found = sorted(zip(dead["error_data"].to_pylist(), dead["error_where"].to_pylist(), strict=True))
    assert found == [(b"three", "words, row 0"), (b"\xff", "words, row 1")]
    assert counters["read"]["dead_letters"] == 2


# ---- retry -------------------------------------------------------------------------------------------


class Moody:
    """Raises at its first calls."""

    def __init__(self, fails: int) -> None:
        self.fails, self.calls = fails, 0

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows:
            self.calls += 1
            if self.calls <= self.fails:
                raise ConnectionError("down for a moment")
        return rows


def test_a_function_that_fails_for_a_moment_is_called_again_after_longer_and_longer_waits() -> None:
    moody, waits = Moody(2), []
    stream = texts(["1", "2"]).map_batches(moody).on_error("fail", retry=sl.Retry(attempts=3, wait=0.5))
    (passed,), counters = run(stream, pause=lambda seconds: waits.append(seconds))
    assert passed.num_rows == 2 and waits == [0.5, 1.0]
    assert counters["map_batches"]["retried"] == 2


def test_a_function_that_goes_on_failing_follows_the_policy() -> None:
    retry = sl.Retry(attempts=2, wait=0)
    with pytest.raises(UserFunctionError, match="ConnectionError"):
        run(texts(["1"]).map_batches(Moody(9)).on_error("fail", retry), pause=lambda _: None)
    dead = texts(["1"]).map_batches(Moody(9)).on_error("dead_letter", retry)
    (passed, letters), _ = run(dead, dead.dead_letters, pause=lambda _: None)
    assert passed.num_rows == 0 and letters["error_attempts"].to_pylist() == [2]


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("bad", [{4}, {0, 9}, set(range(40)), set(range(0, 40, 2))], ids=len)
def test_attempts_are_calls_in_all_for_a_row(attempts: int, bad: set[int]) -> None:
    calls: Counter[int] = Counter()

    def parsed(t: str) -> dict[str, int]:
        n = int(t)
        calls[n] += 1
        if n in bad:
            raise OSError("down")
        return {"n": n}

    waits: list[float] = []
    retry = sl.Retry(attempts, wait=0.5) if attempts > 1 else None
    stream = texts([str(n) for n in range(40)]).map(parsed, schema={"n": int}).on_error("dead_letter", retry)
    (passed, letters), counters = run(
        stream, stream.dead_letters, pause=lambda seconds: waits.append(seconds)
    )
    assert sorted(passed["n"].to_pylist()) == sorted(set(range(40)) - bad)
    assert letters["error_attempts"].to_pylist() == [attempts] * len(bad)
    assert {n: calls[n] for n in bad} == dict.fromkeys(bad, attempts)
    assert waits == [0.5, 1.0][: attempts - 1] * len(bad)
    assert counters["map"].get("retried", 0) == len(waits)


def test_a_function_of_batches_is_called_again_with_the_batch_and_once_with_its_parts() -> None:
    sizes: list[int] = []

    def checked(rows: pa.RecordBatch) -> pa.RecordBatch:
        if "5" in rows.column(0).to_pylist():
            sizes.append(rows.num_rows)
            raise OSError("down")
        return rows

    stream = texts([str(n) for n in range(8)]).map_batches(checked)
    waits: list[float] = []
    asked = stream.on_error("dead_letter", sl.Retry(3, wait=0.5))
    (passed, letters), _ = run(asked, asked.dead_letters, pause=lambda seconds: waits.append(seconds))
    assert (passed.num_rows, letters.num_rows) == (7, 1)
    assert (sizes, waits) == ([8, 8, 8, 4, 2, 1], [0.5, 1.0])


def test_waiting_ends_when_the_run_is_cancelled() -> None:
    stream = texts(["1"]).map_batches(Moody(9)).on_error("skip", retry=sl.Retry(attempts=1_000, wait=1))
    (passed,), counters = run(stream, pause=lambda _: True)
    assert passed.num_rows == 0 and counters["map_batches"] == {"skipped": 1}


# ---- what cannot work --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda s: s.filter(col("n") > 0).on_error("ignore"), ["'dead_letter'", "'ignore'"]),
        (lambda s: s.filter(col("n") > 0).on_error("skip", retry=3), ["sl.Retry"]),
        (lambda s: s.with_row_id().on_error("skip"), ["with_row_id"]),
        (lambda s: s.with_row_id().dead_letters, ["with_row_id"]),
        (lambda s: s.rename({"t": "error_step"}).filter(col("n") > 0).dead_letters, ["rename"]),
        (lambda s: sl.Retry(attempts=0), ["1 to 1,000"]),
        (lambda s: sl.Retry(wait=-1), ["0 or more"]),
    ],
    ids=["policy", "retry", "no rows to refuse", "no dead letters", "columns taken", "attempts", "wait"],
)
def test_what_cannot_work_fails_when_it_is_written(build: Any, words: list[str]) -> None:
    with pytest.raises(BuildError) as caught:
        build(texts(["1"]))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert __file__ in str(caught.value).replace("\n", "") or "test_refuse.py" in str(caught.value)


def test_reading_dead_letters_of_a_step_that_sends_none_is_an_error() -> None:
    kept = texts(["1"]).filter(col("n") > 0)
    with pytest.raises(BuildError, match="dead letters"):
        run(kept, kept.dead_letters)

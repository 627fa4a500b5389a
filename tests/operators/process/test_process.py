"""What methods of a processor are given, when timers come, further inputs, side outputs, the object."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.errors import BuildError, TypeMismatchError, UserFunctionError
from streamlib.operators.process import process_operator
from streamlib.state import ordered
from tests.operators.process.own import ROWS, SECOND, N, Side, Trade, count, keyed, on_row, processor


def trades() -> sl.KeyedStream:
    rows = pa.table(
        {
            "ts": pa.array([1, 2], pa.timestamp("s", "UTC")),
            "k": ["a", "a"],
            "side": ["buy", "sell"],
            "price": [1.5, 2.5],
            "more": [[1], [2]],
        }
    )
    return sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")


def test_rows_are_what_the_annotation_says_and_only_those_columns_are_read() -> None:
    class Last(sl.Processor):
        trades = sl.ListState(Trade)
        best = sl.ValueState(Trade)
        by_side = sl.MapState(Side, float)

        def on_row(self, row: Trade, ctx: sl.Context) -> None:
            self.trades.append(row)
            if self.best is None or row.price > self.best.price:
                self.best = row
            self.by_side[row.side] = row.price
            ctx.emit((len(self.trades), self.best.price, self.trades[0].side.value, len(self.by_side)))

    stream = trades().process(Last, schema={"n": int, "best": float, "first": str, "sides": int})
    assert stream.collect().to_pylist() == [
        {"n": 1, "best": 1.5, "first": "buy", "sides": 1},
        {"n": 2, "best": 2.5, "first": "buy", "sides": 2},
    ]
    assert stream._node.needs(None) == [frozenset({"k", "side", "price"})]
    assert t.check(stream, seeds=[1], workers=[1, 2], batch_rows=[1, 9])
    driven = t.harness(stream)
    driven.feed(trades()._node.inputs[0].inputs[0].source._table)  # type: ignore[attr-defined]
    driven.watermark(10 * SECOND)
    keys = driven.barrier()["keys"]
    assert keys.drop_columns(["last_time", "timers"]).to_pylist() == [
        {
            "k": "a",
            "trades": [{"k": "a", "side": "buy", "price": 1.5}, {"k": "a", "side": "sell", "price": 2.5}],
            "best": {"k": "a", "side": "sell", "price": 2.5},
            "by_side": [{"key": "buy", "value": 1.5}, {"key": "sell", "value": 2.5}],
        }
    ], "a snapshot is open data"


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (pa.timestamp("s"), dt.datetime(1970, 1, 1, 0, 0, 1)),
        (pa.timestamp("us", "UTC"), dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)),
        (pa.timestamp("ms", "+02:00"), dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)),
    ],
)
def test_time_is_as_rows_have_it(kind: pa.DataType, wanted: dt.datetime) -> None:
    seen: list[Any] = []
    rows = pa.table({"ts": pa.array([1], pa.timestamp("s")).cast(kind), "k": [1]})
    stream = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
    stream.process(on_row(lambda self, row, ctx: seen.extend((row["ts"], ctx.time))), schema=N).collect()
    assert seen == [wanted, wanted]
    assert seen[0].utcoffset() == seen[1].utcoffset()


def test_a_time_finer_than_a_microsecond_is_numpys() -> None:
    seen: list[Any] = []
    rows = pa.table({"ts": pa.array([1_001], pa.timestamp("ns")), "k": [1]})
    stream = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
    stream.process(on_row(lambda self, row, ctx: seen.append(ctx.time)), schema=N).collect()
    assert seen == [np.datetime64(1_001, "ns")]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([0.0, -0.0, 0.0]), [1, 2, 3]),
        (pa.array([float("nan"), float("nan"), 1.0]), [1, 2, 1]),
        (pa.array([None, 1, None]), [1, 1, 2]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), [1, 1, 2]),
        (pa.array([1, 2, 1], pa.timestamp("ns")), [1, 1, 2]),
        (pa.array([b"x", b"x", None], pa.large_binary()), [1, 2, 1]),
    ],
)
def test_keys_of_any_type(values: pa.Array, wanted: list[int]) -> None:
    rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": values, "j": ["z"] * 3})
    timed = sl.read_arrow(rows).event_time("ts", max_delay="0s")
    counted = processor(n=sl.ValueState(int, 0), on_row=count)
    for keys in (("k",), ("k", "j")):
        stream = timed.key_by(*keys).process(counted, schema=N)
        assert stream.collect()["n"].to_pylist() == wanted
        assert t.check(stream, seeds=[3], batch_rows=[1, 9], workers=[1, 2])


def test_a_further_input_may_have_other_names_and_types_of_keys() -> None:
    class Matched(sl.Processor):
        left = sl.ValueState(int)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.left = row["v"]

        def on_other(self, row: dict[str, Any], ctx: sl.Context) -> None:
            ctx.emit({"k": ctx.key, "v": self.left})

    one = pa.table({"ts": pa.array([1], pa.timestamp("s")), "k": pa.array([7], pa.int64()), "v": [1]})
    two = pa.table({"ts": pa.array([1], pa.timestamp("s")), "id": pa.array([7], pa.int32())})
    first = sl.read_arrow(one).event_time("ts", max_delay="0s").key_by("k")
    other = sl.read_arrow(two).event_time("ts", max_delay="0s").key_by("id")
    stream = first.process(Matched, other=other, schema={"k": int, "v": int})
    assert stream.collect(workers=2).to_pylist() == [{"k": 7, "v": 1}]
    text = other.with_columns(id=sl.col("id").cast("string")).key_by("id")
    with pytest.raises(TypeMismatchError, match="the keys of the input 'other' of process have other types"):
        first.process(Matched, other=text, schema=N)


# ---- timers ------------------------------------------------------------------------------------------


class Timed(sl.Processor):
    """Does what the column v says; emits what happens."""

    def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
        ctx.emit({"what": row["v"]})
        verb, _, rest = row["v"].partition(":")
        name, _, when = rest.partition(",")
        if verb == "set":
            ctx.timer(name, after=when)
        elif verb == "at":
            ctx.timer(name, at=dt.datetime.fromisoformat(f"1970-01-01T{when}"))
        elif verb == "cancel":
            ctx.cancel_timer(name)

    def on_timer(self, name: str, ctx: sl.Context) -> None:
        ctx.emit({"what": f"{name}@{ctx.time.second}"})
        if name.startswith("again") and len(name) < 8:
            ctx.timer(name + "n", after="0s")


def timed(text: str) -> list[str]:
    driven = t.harness(keyed("ts k v\n00:00:00 a x").process(Timed, schema={"what": str}))
    driven.feed(text)
    driven.watermark(1)
    driven.end()
    return driven.rows()["what"].to_pylist()


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ("00:00:01 a set:t,2s\n00:00:03 a same\n00:00:04 a later", ["set:t,2s", "same", "t@3", "later"]),
        ("00:00:01 a set:t,2s\n00:00:02 a set:t,5s\n00:00:05 a x", ["set:t,2s", "set:t,5s", "x", "t@7"]),
        ("00:00:01 a set:t,5s\n00:00:02 a set:t,1s\n00:00:05 a x", ["set:t,5s", "set:t,1s", "t@3", "x"]),
        (
            "00:00:01 a set:t,5s\n00:00:02 a cancel:t\n00:00:03 a cancel:u",
            ["set:t,5s", "cancel:t", "cancel:u"],
        ),
        (
            "00:00:01 a set:t,1s\n00:00:01 a cancel:t\n00:00:01 a set:t,4s",
            ["set:t,1s", "cancel:t", "set:t,4s", "t@5"],
        ),
        ("00:00:01 a set:b,1s\n00:00:01 a set:a,1s", ["set:b,1s", "set:a,1s", "a@2", "b@2"]),
        ("00:00:05 a at:t,00:00:02\n00:00:05 a same\n00:00:06 a x", ["at:t,00:00:02", "same", "t@5", "x"]),
        ("00:00:05 a at:t,00:00:09\n00:00:10 a x", ["at:t,00:00:09", "t@9", "x"]),
        ("00:00:01 a set:again,1s", ["set:again,1s", "again@2", "againn@2", "againnn@2", "againnnn@2"]),
    ],
)
def test_timers_come_in_their_place(rows: str, wanted: list[str]) -> None:
    assert timed(f"ts k v\n{rows}") == wanted


def test_a_timer_that_is_moved_all_the_time_stays_one() -> None:
    driven = t.harness(keyed("ts k v\n00:00:00 a x").process(Timed, schema={"what": str}))
    for begin in range(50):
        driven.feed([{"ts": f"00:00:{begin:02}.{n:03}", "k": "a", "v": "set:t,20s"} for n in range(20)])
    driven.watermark(40 * SECOND)
    assert len(driven.operator.timers.heap) == 1  # type: ignore[attr-defined]
    assert driven.operator.open_windows()[0] == 1
    assert driven.end()["what"].to_pylist()[-1] == "t@9", "1:09"


@pytest.mark.parametrize("at_end", [False, True])
def test_timers_without_an_end_are_an_error(at_end: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_operator, "FIRED_AT_ONCE_MAX", 10)
    monkeypatch.setattr(process_operator, "FIRED_AT_END_MAX", 20)

    class Ticking(sl.Processor):
        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            ctx.timer("tick", after="1s")

        def on_timer(self, name: str, ctx: sl.Context) -> None:
            ctx.timer("tick", after="1s" if at_end else "0s")

    with pytest.raises(
        UserFunctionError, match="behind|after the last row" if at_end else "for one time of a key"
    ):
        keyed().process(Ticking, schema=N).collect()
    assert keyed().process(Ticking, schema=N, ttl="9s").collect().num_rows == 0 if at_end else True


# ---- several inputs, side outputs, late rows ---------------------------------------------------------


def test_a_rule_holds_from_its_own_time_on() -> None:
    class Limited(sl.Processor):
        limit = sl.ValueState(int, 0, shared=True)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            ctx.emit({"n": self.limit})

        def on_limits(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.limit = row["v"]

    rules = sl.read_arrow(t.table("ts v\n00:00:02 20\n00:00:03 30")).event_time("ts", max_delay="0s")
    stream = keyed(ROWS).process(Limited, broadcast={"limits": rules}, schema=N)
    assert stream.collect(workers=2)["n"].to_pylist() == [0, 20, 30]
    assert "broadcast: limits=event_time" in stream.explain()
    assert t.check(stream, seeds=[1, 2])


@pytest.mark.parametrize(("in_order", "workers"), [(True, 1), (False, 2)])
def test_rows_that_come_out_in_many_batches_are_all_taken_in_their_order(
    in_order: bool, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered, "STAGE_ROWS", 512)
    monkeypatch.setattr(ordered, "_SAMPLED", 64)
    monkeypatch.setattr(ordered, "JOINED_ROWS_MAX", 256)

    class Both(sl.Processor):
        def on_row(self, row: dict[str, int], ctx: sl.Context) -> None:
            ctx.emit({"n": row["n"]})

        def on_others(self, row: dict[str, int], ctx: sl.Context) -> None:
            ctx.emit({"n": row["n"]})

    def numbers(rows: int, step: int) -> sl.KeyedStream:
        n = np.arange(rows) * step
        shuffled = n if in_order else np.random.default_rng(rows).permutation(n)
        table = pa.table({"ts": pa.array(shuffled, pa.timestamp("s")), "n": shuffled, "k": shuffled % 7})
        return sl.read(ArrowSource(table, 700)).event_time("ts", max_delay=sl.UNTIL_END).key_by("k")

    alone = numbers(3_000, 1).process(Both, others=numbers(0, 1), schema=N)
    assert written_by_key(alone, workers) == {key: list(range(key, 3_000, 7)) for key in range(7)}
    both = numbers(3_000, 2).process(Both, others=numbers(1_500, 3), schema=N)
    expected = sorted([*range(0, 6_000, 2), *range(0, 4_500, 3)])
    assert written_by_key(both, workers) == {key: [n for n in expected if n % 7 == key] for key in range(7)}


def written_by_key(stream: sl.Stream, workers: int) -> dict[int, list[int]]:
    """The numbers by their rest of 7, in the order in which they were written."""
    sink = CollectSink()
    sl.run(stream.write(sink), workers=workers, batch_rows=1_000, progress=False)
    found: dict[int, list[int]] = {key: [] for key in range(7)}
    for n in sink.table()["n"].to_pylist():
        found[n % 7].append(n)
    return found


def test_side_outputs_and_late_rows_are_streams() -> None:
    class Split(sl.Processor):
        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            ctx.emit({"k": ctx.key, "n": row["v"]}, to="even" if row["v"] % 2 == 0 else None)

    text = "ts k v\n00:00:05 a 1\n00:00:06 a 2\n00:00:01 a 3"
    stream = keyed(text, "2s").process(
        Split, schema={"k": str, "n": int}, outputs={"even": {"k": str, "n": int}}
    )
    odd, even, late = t.run([stream, stream.output("even"), stream.late])
    assert (odd["n"].to_pylist(), even["n"].to_pylist(), late["v"].to_pylist()) == ([1], [2], [3])
    assert late["late_by"].to_pylist() == [dt.timedelta(seconds=3)]
    windowed = stream.output("even").window(sl.tumbling("10s")).agg(total=sl.col("n").sum())
    assert windowed.collect()["total"].to_pylist() == [2], "results have the time of their row"
    with pytest.raises(BuildError, match="has no output 'evn'") as error:
        stream.output("evn")
    assert "did you mean 'even'" in str(error.value)
    with pytest.raises(BuildError, match="has no input 'other'"):
        stream.late_of("other")
    with pytest.raises(BuildError, match="only the result of process"):
        stream.filter(sl.col("n") > 1).output("even")


def test_rows_of_a_side_output_are_results_of_which_columns_decide_ties() -> None:
    class Both(sl.Processor):
        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            ctx.emit({"v": row["v"]}, to="side")

    rows = [{"ts": "00:00:01", "k": f"k{n % 5}", "v": n * 7 % 24} for n in range(24)]
    source = sl.read(t.source(rows[:12], rows[12:])).event_time("ts", max_delay="0s").key_by("k")
    side = source.process(Both, schema={"v": int}, outputs={"side": {"v": int}}).output("side").key_by()
    windows = side.window(sl.tumbling("10s"))
    t.check(windows.agg(first=sl.col("v").first(), all=sl.col("v").list()), seeds=[1, 2])
    assert windows.agg(all=sl.col("v").list()).collect(workers=2)["all"].to_pylist() == [list(range(24))]


# ---- the object --------------------------------------------------------------------------------------


def test_each_worker_builds_one_object_and_closes_it() -> None:
    class Counting(sl.Processor):
        built: ClassVar[list[str]] = []

        def __init__(self, name: str) -> None:
            self.name = name
            self._cache: dict[str, int] = {}
            self.built.append(name)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self._cache = {"any": 1}

        def close(self) -> None:
            self.built.append("closed")

    keyed(ROWS).process(functools.partial(Counting, name="x"), schema=N).collect(workers=2)
    assert sorted(Counting.built) == ["closed", "closed", "x", "x"]


def test_states_are_inherited_and_methods_may_call_super() -> None:
    class Base(sl.Processor):
        n = sl.ValueState(int, 0)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.n += 1

    class Derived(Base):
        total = sl.ValueState(int, 0)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            super().on_row(row, ctx)
            self.total += row["v"]
            ctx.emit({"n": self.n * 100 + self.total})

    assert keyed(ROWS).process(Derived, schema=N).collect()["n"].to_pylist() == [101, 102, 204]


def test_outside_of_a_run_there_is_no_state() -> None:
    class Counted(sl.Processor):
        n = sl.ValueState(int, 0)

    with pytest.raises(RuntimeError, match="belongs to a key"):
        _ = Counted().n
    with pytest.raises(RuntimeError, match="belongs to a key"):
        Counted().n = 5
    assert isinstance(Counted.n, sl.ValueState)


def test_the_operator_keeps_its_contract() -> None:
    class Counted(sl.Processor):
        n = sl.ValueState(int, 0)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            count(self, row, ctx)
            ctx.timer("t", after="2s")

        def on_timer(self, name: str, ctx: sl.Context) -> None:
            ctx.emit({"n": -self.n})

    rows = t.table("ts k v\n" + "\n".join(f"00:00:{n * 7 % 30:02} {'abc'[n % 3]} {n}" for n in range(30)))
    marks = [5 * SECOND, 12 * SECOND, 29 * SECOND]
    rows = rows.sort_by("ts")
    t.check_operator(keyed().process(Counted, schema=N), rows, marks)
    t.check_operator(keyed().process(Counted, schema=N, ttl="3s", allowed_lateness="1s"), rows, marks)
    t.check_operator(keyed().silence("2s"), rows, marks)

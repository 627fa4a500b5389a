"""Processors: what they are given, what they keep, when timers come, and what is refused, with its message."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.contracts import Source
from streamlib.errors import BuildError, ColumnNotFoundError, TypeMismatchError, UserFunctionError
from streamlib.operators.process import process_operator

SECOND = 10**9


def keyed(text: str = "ts k v\n00:00:01 a 1", delay: str = "0s") -> sl.KeyedStream:
    return sl.read_arrow(t.table(text)).event_time("ts", max_delay=delay).key_by("k")


def processor(**members: Any) -> type[sl.Processor]:
    return type("Own", (sl.Processor,), members)


def on_row(function: Callable[..., Any]) -> type[sl.Processor]:
    """A processor that only calls a function (self, row, ctx)."""
    return processor(on_row=function)


def count(self: Any, row: Any, ctx: Any) -> None:
    self.n += 1
    ctx.emit({"n": self.n})


N = {"n": int}
ROWS = "ts k v\n00:00:01 a 1\n00:00:02 b 2\n00:00:03 a 3"

# ---- what methods are given --------------------------------------------------------------------------


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


@dataclasses.dataclass
class Trade:
    k: str
    side: Side
    price: float = 0.0


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
    assert t.check(stream, seeds=[1])
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


# ---- states ------------------------------------------------------------------------------------------


def test_lists_and_maps_are_pythons_own() -> None:
    seen: list[Any] = []

    def use(self: Any, row: Any, ctx: Any) -> None:
        self.items = [3, 1]
        self.items += [2]
        self.items.extend((5, 4))
        self.items.insert(0, 9)
        self.items.sort()
        self.items.remove(9)
        self.items[1:3] = [7.0]
        del self.items[0]
        self.items *= 2
        self.items.reverse()
        seen.append(
            (list(self.items), self.items.pop(), len(self.items), 7 in self.items, type(self.items.copy()))
        )
        self.by = {"x": 1}
        self.by["y"] = 2
        self.by.update(z=3)
        self.by |= {"w": 4}
        self.by.setdefault("u", 5)
        seen.append((dict(self.by), self.by.pop("x"), self.by.popitem(), self.by.get("nothing")))
        self.items.clear()
        self.by.clear()
        seen.append((bool(self.items), bool(self.by)))

    members = {"items": sl.ListState("float32"), "by": sl.MapState(str, int), "on_row": use}
    keyed().process(processor(**members), schema=N).collect()
    assert seen == [
        ([5.0, 4.0, 7.0, 5.0, 4.0, 7.0], 7.0, 5, True, list),
        ({"x": 1, "y": 2, "z": 3, "w": 4, "u": 5}, 1, ("u", 5), None),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("declared", "given", "wanted"),
    [
        (float, 3, 3.0),
        (int, np.int64(5), 5),
        ("int8", 127, 127),
        ("float32", 0.1, float(np.float32(0.1))),
        (str, "東京", "東京"),
        (bytes, bytearray(b"x"), b"x"),
        (dt.datetime, np.datetime64("2026-01-01T00:00:00"), dt.datetime(2026, 1, 1)),
        (
            "timestamp[us, UTC]",
            dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        ),
        ("timestamp[s]", dt.datetime(2500, 1, 1), dt.datetime(2500, 1, 1)),
        (dt.date, dt.date(2026, 1, 1), dt.date(2026, 1, 1)),
        (list[int], (1, 2), [1, 2]),
        ({"a": int, "b": str}, {"b": "x", "a": 1}, {"a": 1, "b": "x"}),
        (Trade, Trade("a", Side.BUY, 1), Trade("a", Side.BUY, 1.0)),
        (Side, Side.SELL, Side.SELL),
        (int, None, None),
    ],
)
def test_a_state_holds_what_a_restored_one_would(declared: Any, given: Any, wanted: Any) -> None:
    def put(self: Any, row: Any, ctx: Any) -> None:
        if row["v"] == 1:
            self.value = given
        seen.append(self.value)

    seen: list[Any] = []
    stream = keyed(ROWS.replace("b", "a")).process(
        processor(value=sl.ValueState(declared), on_row=put), schema=N
    )
    driven = t.harness(stream)
    driven.feed("ts k v\n00:00:01 a 1")
    driven.watermark(2 * SECOND)
    driven = driven.restored(driven.barrier())
    driven.feed("ts k v\n00:00:03 a 2")
    driven.end()
    assert seen == [wanted, wanted]
    assert type(seen[0]) is type(seen[1]) is type(wanted)


@pytest.mark.parametrize(
    ("declared", "given", "said"),
    [
        (int, "x", "int64"),
        (int, 2**63, "int64"),
        (int, True, "int64"),
        ("int8", 128, "int8"),
        (float, "1", "double"),
        (float, 2**60 + 1, "double"),
        (str, b"x", "string"),
        (dt.date, dt.datetime(2026, 1, 1), "date32"),
        ({"a": int}, {"a": 1, "b": 2}, "these fields"),
        (Trade, {"k": "a"}, "these fields"),
    ],
)
def test_a_state_refuses_what_does_not_fit(declared: Any, given: Any, said: str) -> None:
    def put(self: Any, row: Any, ctx: Any) -> None:
        self.value = given

    stream = keyed().process(processor(value=sl.ValueState(declared), on_row=put), schema=N)
    with pytest.raises(UserFunctionError, match="gave state 'value' a value that does not fit it") as error:
        stream.collect()
    assert said in str(error.value)
    assert "in line" in str(error.value)
    assert "key 'a', at 1970-01-01 00:00:01" in str(error.value)


def test_a_value_changed_in_place_is_kept_and_checked_by_the_checkpoint() -> None:
    class Book(sl.Processor):
        best = sl.ValueState({"price": float}, {"price": 0.0})

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.best["price"] = self.best["price"] + 1 if row["v"] < 9 else "much"
            ctx.emit({"n": int(self.best["price"])})

    stream = keyed(ROWS).process(Book, schema=N)
    assert stream.collect()["n"].to_pylist() == [1, 1, 2], "the default is each key's own"
    driven = t.harness(stream)
    driven.feed("ts k v\n00:00:01 a 1")
    driven.watermark(2 * SECOND)
    driven.operator.keys["a"].cells["best"]["price"] = "much"  # type: ignore[attr-defined]
    with pytest.raises(
        UserFunctionError, match=r"Book: the state 'best' was changed to what does not fit it"
    ) as error:
        driven.barrier()
    assert "key 'a'" in str(error.value)


def test_keys_that_hold_nothing_are_forgotten() -> None:
    class Once(sl.Processor):
        n = sl.ValueState(int, 0)
        items = sl.ListState(int)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.items.append(1)
            self.items.clear()
            self.n = 0
            ctx.timer("x", after="1s")
            ctx.cancel_timer("x")

        def on_timer(self, name: str, ctx: sl.Context) -> None: ...

    driven = t.harness(keyed().process(Once, schema=N))
    for begin in range(0, 10_000, 2_000):
        driven.feed([{"ts": "00:00:01", "k": str(begin + n), "v": 1} for n in range(2_000)])
        driven.watermark(2 * SECOND + begin)
        assert driven.barrier()["keys"].num_rows == 0
    assert len(driven.operator.keys) <= 2_000 + process_operator.KEYS_SWEPT_MIN  # type: ignore[attr-defined]


def test_ttl_frees_a_key_with_its_timers() -> None:
    class Counted(sl.Processor):
        n = sl.ValueState(int, 0)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            count(self, row, ctx)
            ctx.timer("soon", after="5s")
            ctx.timer("never", after="6s")

        def on_timer(self, name: str, ctx: sl.Context) -> None:
            ctx.emit({"n": 100 if name == "soon" else 200})

    stream = keyed().process(Counted, schema=N, ttl="5s")
    driven = t.harness(stream)
    driven.feed([{"ts": "00:00:01", "k": str(n), "v": 1} for n in range(3)])
    assert driven.watermark(6 * SECOND)["n"].to_pylist() == [1, 1, 1]
    driven.feed("ts k v\n00:00:06 0 1\n00:00:12 1 1\n00:00:12 0 1")
    assert driven.watermark(12 * SECOND)["n"].to_pylist() == [2, 100, 100, 100]
    assert driven.end()["n"].to_pylist() == [1, 1, 100, 100], "both keys began anew"
    late = t.harness(stream)
    late.feed([{"ts": "00:00:01", "k": str(n), "v": 1} for n in range(100)])
    late.watermark(20 * SECOND)
    assert not late.operator.keys  # type: ignore[attr-defined]


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


# ---- errors while running ----------------------------------------------------------------------------


def fails(member: Any, **others: Any) -> str:
    members = others if member is None else {"on_row": member, **others}
    with pytest.raises(UserFunctionError) as error:
        keyed().process(processor(**members), schema=N, outputs={"side": N}).collect()
    return str(error.value)


def test_errors_name_method_line_key_and_row() -> None:
    def divide(self: Any, row: Any, ctx: Any) -> None:
        row["v"] / 0

    said = fails(divide)
    line = divide.__code__.co_firstlineno
    assert said.startswith("Own.on_row (")
    assert f":{line}) raised ZeroDivisionError in line {line + 1}" in said
    assert "key 'a', at 1970-01-01 00:00:01" in said
    assert "division by zero, for ts=datetime.datetime(1970, 1, 1, 0, 0, 1), k='a', v=1" in said
    assert "step:     process (" in said

    def set_timer(self: Any, row: Any, ctx: Any) -> None:
        ctx.timer("t", after="1s")

    def broken(self: Any, name: str, ctx: Any) -> None:
        raise KeyError(name)

    said = fails(set_timer, on_timer=broken)
    assert "raised KeyError" in said
    assert "for timer 't'" in said
    assert "at 1970-01-01 00:00:02" in said


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda self, row, ctx: ctx.emit({"m": 1}), "emitted a row without 'n'"),
        (lambda self, row, ctx: ctx.emit({"n": 1, "m": 1}), "emitted 'm', which is no column"),
        (lambda self, row, ctx: ctx.emit({"n": "x"}), "emitted a value that does not fit column 'n'"),
        (lambda self, row, ctx: ctx.emit((1, 2)), "emitted a tuple of 2 for 1 columns"),
        (lambda self, row, ctx: ctx.emit(5), "emitted no row: int"),
        (lambda self, row, ctx: ctx.emit({"n": 1}, to="sde"), "did you mean 'side'?"),
        (lambda self, row, ctx: {"n": 1}, "returned something, and nobody takes it"),
        (lambda self, row, ctx: ctx.timer("x", after="1s"), "a timer needs a method that takes it"),
        (lambda self, row, ctx: setattr(self, "total", 1), "sets self.total, which is no state"),
    ],
)
def test_what_methods_must_not_do(call: Any, said: str) -> None:
    assert said in fails(call)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda self, row, ctx: ctx.timer("x"), "after= or at="),
        (lambda self, row, ctx: ctx.timer("x", after="1s", at=ctx.time), "after= or at="),
        (lambda self, row, ctx: ctx.timer("x", after="-1s"), "must not be negative"),
        (lambda self, row, ctx: ctx.timer("x", after=5), "string with a unit"),
        (lambda self, row, ctx: ctx.timer("x", at="noon"), "timestamp"),
        (lambda self, row, ctx: ctx.timer(5, after="1s"), "name is a text"),
    ],
)
def test_timers_that_are_none(call: Any, said: str) -> None:
    assert said in fails(call, on_timer=lambda self, name, ctx: None)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda self, row, ctx: ctx.emit({"n": 1}), "each would send the row out"),
        (lambda self, row, ctx: ctx.timer("x", after="1s"), "no key that a timer could be of"),
        (lambda self, row, ctx: ctx.key, "it has no key"),
        (lambda self, row, ctx: self.own, "declare it with shared=True"),
        (lambda self, row, ctx: setattr(self, "own", 1), "declare it with shared=True"),
    ],
)
def test_what_a_broadcast_row_must_not_do(call: Any, said: str) -> None:
    members = {"own": sl.ValueState(int, 0), "on_row": lambda self, row, ctx: None, "on_rules": call}
    rules = sl.read_arrow(t.table("ts v\n00:00:00 20")).event_time("ts", max_delay="0s")
    with pytest.raises(UserFunctionError, match="raised RuntimeError") as error:
        keyed().process(processor(**members), broadcast={"rules": rules}, schema=N).collect()
    assert said in str(error.value)


def test_shared_state_changes_by_broadcast_rows_only() -> None:
    members = {
        "rules": sl.MapState(str, int, shared=True),
        "on_row": lambda self, row, ctx: self.rules.update(x=1),
        "on_rules": lambda self, row, ctx: None,
    }
    rules = sl.read_arrow(t.table("ts v\n00:00:00 20")).event_time("ts", max_delay="0s")
    with pytest.raises(UserFunctionError, match="raised RuntimeError") as error:
        keyed().process(processor(**members), broadcast={"rules": rules}, schema=N).collect()
    assert "only methods of broadcast inputs may change it" in str(error.value)


def test_a_call_is_made_again_and_nothing_of_the_first_stays() -> None:
    class Flaky(sl.Processor):
        n = sl.ValueState(int, 0)
        seen = sl.ListState({"v": int})

        def __init__(self) -> None:
            self._calls = 0

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.n += 1
            self.seen.append({"v": row["v"]})
            self.seen[0]["v"] += 10
            ctx.emit({"n": self.n * 1_000 + sum(each["v"] for each in self.seen)})
            self._calls += 1
            if self._calls % 3:
                raise OSError("try again")

    text = "ts k v\n00:00:01 a 1\n00:00:02 a 2"
    stream = keyed(text).process(Flaky, schema=N).on_error("fail", retry=sl.Retry(attempts=3, wait=0))
    assert stream.collect()["n"].to_pylist() == [1_011, 2_023]
    with pytest.raises(UserFunctionError, match="raised OSError"):
        keyed(text).process(Flaky, schema=N).on_error("fail", retry=sl.Retry(attempts=2, wait=0)).collect()


def test_dead_letters_say_what_failed() -> None:
    class Picky(sl.Processor):
        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            ctx.timer("t", after="1s")
            ctx.emit({"n": row["v"] if row["v"] != 2 else "two"})

        def on_other(self, row: dict[str, Any], ctx: sl.Context) -> None:
            raise LookupError("no such ride")

        def on_timer(self, name: str, ctx: sl.Context) -> None:
            raise TimeoutError("late")

    other = keyed("ts k w\n00:00:09 a 5")
    stream = keyed(ROWS).process(Picky, other=other, schema=N).on_error("dead_letter")
    rows, letters = t.run([stream, stream.dead_letters])
    assert rows["n"].to_pylist() == [1, 3]
    assert letters.select(["k", "v", "error_where"]).to_pylist() == [
        {"k": "b", "v": 2, "error_where": "key 'b', at 1970-01-01 00:00:02"},
        {"k": "a", "v": None, "error_where": "key 'a', at 1970-01-01 00:00:02"},
        {"k": "a", "v": None, "error_where": "key 'a', at 1970-01-01 00:00:04"},
        {"k": "a", "v": None, "error_where": "key 'a', at 1970-01-01 00:00:09"},
    ]
    assert ["does not fit column 'n'" in m for m in letters["error_message"].to_pylist()] == [
        True,
        *[False] * 3,
    ]


# ---- errors when the graph is built ------------------------------------------------------------------


class Endless(Source):
    bounded = False

    def schema(self) -> pa.Schema:
        return pa.schema({"ts": pa.timestamp("ns"), "k": pa.string()})

    def splits(self) -> list[Any]:
        return []

    def describe(self) -> str:
        return "endless"

    def open(self, split: Any, position: Any = None) -> Any:
        raise AssertionError("it is never run")


class Row(NamedTuple):
    v: int


def noop(self: Any, row: Any, ctx: Any) -> None: ...


async def waits(self: Any, row: Any, ctx: Any) -> None: ...


def yields(self: Any, row: Any, ctx: Any) -> Any:
    yield row


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (on_row(noop)(), {}, "process takes a class"),
        (print, {}, "process takes a class"),
        (processor(), {}, "has no method on_row"),
        (processor(on_rows=noop), {}, "did you mean 'on_rows'?"),
        (processor(on_row=noop, on_tmer=noop), {}, "did you mean 'on_timer'?"),
        (on_row(waits), {}, "is an async function"),
        (on_row(yields), {}, "expected: rows that are sent out by ctx.emit(row)"),
        (on_row(lambda self, row: None), {}, "def on_row(self, row, ctx)"),
        (processor(on_row=noop, on_timer=lambda self: None), {}, "def on_timer(self, name, ctx)"),
        (processor(on_row=noop, __init__=lambda self, x: None), {}, "functools.partial(Own, ...)"),
        (on_row(noop), {"other": 5}, "process has no option 'other'"),
        (on_row(noop), {"ttL": "5s"}, "did you mean 'ttl'?"),
        (on_row(noop), {"broadcast": [1]}, "broadcast= is no dict"),
        (on_row(noop), {"outputs": {"late": N}}, "cannot be named 'late'"),
        (on_row(noop), {"outputs": [N]}, "outputs= is no dict"),
        (on_row(noop), {"allowed_lateness": "-1s"}, "must not be negative"),
        (on_row(noop), {"ttl": "0s"}, "must be positive"),
        (processor(on_row=noop, x=sl.ValueState(int, "a")), {}, "the default of state 'x'"),
        (processor(on_row=noop, x=sl.ValueState("innt")), {}, "type of column 'x' is unknown"),
        (processor(on_row=noop, x=sl.ValueState(Row)), {}, "cannot hold Row"),
        (processor(on_row=noop, x=sl.MapState(list[int], int)), {}, "the keys of state 'x'"),
        (processor(on_row=noop, x=sl.ListState(int, shared=True)), {}, "nothing could change it"),
    ],
)
def test_what_is_refused_when_built(given: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BuildError) as error:
        keyed().process(given, **{"schema": N, **options})
    assert said in str(error.value).replace("  ", " ").replace("expected: ", "expected: ")
    assert "step:     process (" in str(error.value)
    assert __file__.rpartition("/")[2] in str(error.value)


def test_inputs_that_cannot_be() -> None:
    rows = sl.read_arrow(t.table("ts k\n00:00:01 a"))
    timed = rows.event_time("ts", max_delay="0s")
    both = processor(on_row=noop, on_other=noop)
    with pytest.raises(BuildError, match="which rows belong together"):
        sl.KeyedStream(timed._node).process(on_row(noop), schema=N)
    with pytest.raises(BuildError, match="process needs event time"):
        rows.key_by("k").process(on_row(noop), schema=N)
    with pytest.raises(BuildError, match="the input 'other' of process needs event time"):
        keyed().process(both, other=rows.key_by("k"), schema=N)
    with pytest.raises(ColumnNotFoundError, match="there is no column 'k'"):
        keyed().process(both, other=timed.drop("k"), schema=N)
    with pytest.raises(BuildError, match="given twice"):
        keyed().process(both, other=timed, broadcast={"other": timed}, schema=N)
    with pytest.raises(BuildError, match="has no method on_other"):
        keyed().process(on_row(noop), other=timed, schema=N)
    with pytest.raises(BuildError, match="nothing calls Own.on_other"):
        keyed().process(both, schema=N)
    with pytest.raises(BuildError, match="cannot be named 'timer'"):
        keyed().process(processor(on_row=noop, on_timer=noop), timer=timed, schema=N)
    endless = sl.read(Endless()).event_time("ts", max_delay="0s").key_by("k")
    with pytest.raises(BuildError, match="would keep every key for ever"):
        endless.process(on_row(noop), schema=N)
    assert "ttl=FOREVER" in endless.process(on_row(noop), schema=N, ttl=sl.FOREVER).explain()


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

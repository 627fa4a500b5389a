"""What a processor keeps of a key: Python's own lists and dicts, checked, and forgotten when nothing is in them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.errors import UserFunctionError
from streamlib.operators.process import process_operator
from tests.operators.process.own import ROWS, SECOND, N, Side, Trade, count, keyed, processor


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


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_copies_of_shared_state_that_came_to_different_times_are_put_together(order: tuple[int, int]) -> None:
    class Limited(sl.Processor):
        limit = sl.ValueState(int, 0, shared=True)
        seen = sl.ListState(int)

        def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.seen.append(self.limit)
            ctx.emit({"k": ctx.key, "seen": list(self.seen)})

        def on_limits(self, row: dict[str, Any], ctx: sl.Context) -> None:
            self.limit += row["v"]

    limits = sl.read_arrow(t.table("ts v\n00:00:00 1")).event_time("ts", max_delay="0s")
    stream = keyed().process(Limited, broadcast={"limits": limits}, schema={"k": str, "seen": list[int]})
    states, found = [], []
    for worker, (key, reached) in enumerate([("a", 6), ("b", 3)]):
        driven = t.harness(stream)
        driven.operator.waiting._worker = driven.operator.worker = worker  # type: ignore[attr-defined]
        driven.feed(f"ts k v\n00:00:02 {key} 1\n00:00:05 {key} 1\n00:00:08 {key} 1")
        driven.feed("ts v\n00:00:01 10\n00:00:04 100\n00:00:07 1000", side=1)
        driven.watermark(reached * SECOND)
        found += driven.rows().to_pylist()
        states.append(driven.barrier())
    joined = t.harness(stream)
    for worker in order:
        joined.operator.restore(states[worker])
    joined.end()
    found += joined.rows().to_pylist()
    assert sorted(map(repr, found)) == sorted(
        repr({"k": key, "seen": [10, 110, 1110][:count]}) for key in "ab" for count in (1, 2, 3)
    )

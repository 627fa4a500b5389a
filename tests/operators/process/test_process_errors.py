"""What a processor must not do, and its class must not be, with the messages; calls that are taken back."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.contracts import Source
from streamlib.errors import BuildError, ColumnNotFoundError, UserFunctionError
from tests.operators.process.own import ROWS, N, keyed, on_row, processor

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
    stream = keyed(text).process(Flaky, schema=N).on_error("fail", retry=sl.Retry(attempts=3, wait=0.001))
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
    with pytest.raises(BuildError, match=r"nothing calls Own\.on_other"):
        keyed().process(both, schema=N)
    with pytest.raises(BuildError, match="cannot be named 'timer'"):
        keyed().process(processor(on_row=noop, on_timer=noop), timer=timed, schema=N)
    endless = sl.read(Endless()).event_time("ts", max_delay="0s").key_by("k")
    with pytest.raises(BuildError, match="would keep every key for ever"):
        endless.process(on_row(noop), schema=N)
    assert "ttl=FOREVER" in endless.process(on_row(noop), schema=N, ttl=sl.FOREVER).explain()

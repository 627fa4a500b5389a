"""`scan`: what is compiled and why not, states of any kind, order, time to live, rows that fail, restores."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import deque
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.errors import BuildError, ColumnNotFoundError, UserFunctionError
from streamlib.state.steps.python_text import NoText, classes_of, of_text, to_text
from tests.operators.test_rolling import Endless

ROWS = pa.table(
    {
        "ts": pa.array([1, 2, 3, 4, 5, 9], pa.timestamp("s")),
        "k": ["a", "b", "a", "a", "b", "a"],
        "v": [5, 1, 7, None, 2, 1],
        "x": [0.5, 1.5, 2.5, 3.5, None, 4.5],
    }
)


def keyed(rows: pa.Table = ROWS) -> sl.KeyedStream:
    return sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")


def count(state: Any) -> Any:
    return state + 1, state


def total(state: Any, v: Any) -> Any:
    return state + v, state + v


def loops(state: Any, v: Any) -> Any:
    for _ in range(2):
        state += 1
    return state, state


def text(state: Any, k: Any) -> Any:
    return state, k


def calls(state: Any, v: Any) -> Any:
    return total(state, v)


def either(state: Any, v: Any) -> Any:
    high = max(0, v * 0.5)
    return state, high


def half(state: Any, v: Any) -> Any:
    if v > 5:
        shown = 1
    else:
        shown = 1.5
    return state, shown


def powers(state: Any, x: Any) -> Any:
    return state, x**0.5


def named_wrongly(state: Any, v: Any) -> Any:
    return state + w, v  # type: ignore[name-defined]  # noqa: F821


def explained(step: Any, init: Any = 0, **options: Any) -> str:
    plan = keyed().scan(step, init=init, into={"out": "float64"}, **options).explain()
    return next(line for line in plan.splitlines() if " scan " in line)


def test_explain_says_whether_it_is_compiled_and_why_not() -> None:
    assert "scan  total, compiled  <-" in explained(total)
    assert "count, compiled" in explained(count)
    assert "in Python, row by row: line" in explained(loops) and "a loop runs in Python only" in explained(
        loops
    )
    assert "column 'k' is string" in keyed().scan(text, init=0, into={"out": str}).explain()
    assert "total() runs in Python only" in explained(calls)
    assert "math.nan" not in explained(total)
    assert "max() with these arguments" in explained(either)
    assert "'shown' is a whole number on one way and a float on another" in explained(half)
    assert "** runs in Python only: write x * x" in explained(powers)
    assert "the state is no number, bool or tuple of them" in explained(lambda state, v: (state, v), [])
    assert "it is given whole rows" in explained(lambda state, row: (state, row["x"]))
    assert "compiled, but for the first row of a key" in explained(lambda state, x: (state + x, None))
    assert "compiled" in explained(lambda state, v, scale=2.5: (state, v * scale))


class Counter:
    def __init__(self) -> None:
        self.closed = False

    def __call__(self, state: Any, v: Any) -> Any:
        return state + 1, state

    def close(self) -> None:
        self.closed = True


def test_a_class_is_built_by_each_worker() -> None:
    stream = keyed().scan(Counter, init=0, into={"n": int})
    assert "it is no plain function" in stream.explain()
    assert stream.select("n").collect()["n"].to_pylist() == [0, 0, 1, 2, 1, 3]


@dataclasses.dataclass
class Account:
    total: Decimal
    seen: list[int]


class Pair(NamedTuple):
    low: float
    high: float


@pytest.mark.parametrize(
    "value",
    [
        None,
        2**80,
        -0.0,
        math.inf,
        "text",
        b"\x00bytes",
        (1, (2.5, None)),
        [1, [True]],
        {"a": 1, 2: [3]},
        {(1, 2): {3}},
        frozenset({1}),
        deque([1, 2], maxlen=3),
        dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
        dt.date(1969, 1, 1),
        dt.time(1, 2, 3),
        dt.timedelta(days=-1, microseconds=5),
        Decimal("1.50"),
        np.datetime64(5, "ns"),
        np.timedelta64(7, "ns"),
        Account(Decimal(1), [2]),
        Pair(1.0, 2.0),
    ],
    ids=repr,
)
def test_a_state_is_kept_as_text_and_read_back(value: Any) -> None:
    classes = classes_of(value)
    found = of_text(to_text(value, classes), classes)
    assert found == value and type(found) is type(value) and repr(found) == repr(value)


@pytest.mark.parametrize("value", [object(), [lambda: 0], {1: Exception()}, dt.UTC])
def test_what_cannot_be_kept_is_said_at_build(value: Any) -> None:
    with pytest.raises(NoText):
        to_text(value, classes_of(value))
    with pytest.raises(BuildError, match="what a checkpoint cannot keep"):
        keyed().scan(count, init=value, into={"out": int})


@pytest.mark.parametrize(
    "damaged", ["{", '{"object": ["Other", {}]}', '{"os.system": 1}', '{"a": 1, "b": 2}', '{"deque": 3}']
)
def test_texts_of_others_are_refused(damaged: str) -> None:
    with pytest.raises(NoText):
        of_text(damaged, classes_of(Pair(0.0, 1.0)))


def remembered(state: Any, v: Any) -> Any:
    state.append(v)  # in place
    return state, len(state)


def grows(state: Any, v: Any) -> Any:
    return state * 2**20 + (v or 0), state % 1000


@pytest.mark.parametrize(
    ("step", "init", "into"),
    [(remembered, [], {"out": int}), (grows, 1, {"out": int}), (count, 0, {"out": int})],
    ids=["lists", "large numbers", "in words"],
)
@pytest.mark.parametrize("ttl", [None, "3s"])
def test_not_a_row_depends_on_cuts_or_restores(step: Any, init: Any, into: Any, ttl: str | None) -> None:
    rows = pa.table(
        {
            "ts": pa.array([n + n // 9 * 4 for n in range(40)], pa.timestamp("s")),
            "k": [f"k{n * n % 7}" for n in range(40)],
            "v": pa.array(range(40), pa.int64()),
        }
    )
    stream = keyed(rows).scan(step, init=init, into=into, ttl=ttl)
    t.check_operator(stream, rows, watermarks=[15 * 10**9, 31 * 10**9])


def test_every_way_of_running_gives_the_same() -> None:
    stream = keyed().filter(sl.col("v").is_not_null())
    both = [
        stream.scan(total, init=0, into={"n": int}),
        stream.stateful_batch(sums, state={"total": 0}, schema={"ts": "timestamp[s]", "k": str, "n": int}),
        stream.fold(0, lambda state, v: state + v, into={"n": int}),
    ]
    assert t.check(both, workers=[2], batch_rows=[1], seeds=[1]) > 1


def sums(rows: dict[str, np.ndarray], state: Any, slot: Any) -> Any:
    out = np.empty(len(slot), dtype=np.int64)
    for at, place in enumerate(slot):
        state["total"][place] += rows["v"][at]
        out[at] = state["total"][place]
    return {"ts": rows["ts"], "k": rows["k"], "n": out}, state


def test_a_failing_row_is_named_with_function_line_key_and_time() -> None:
    with pytest.raises(UserFunctionError) as caught:
        keyed().scan(total, init=0, into={"n": int}).collect()
    said = str(caught.value)
    assert "total (" in said and "raised TypeError in line" in said and "test_scan.py" in said
    assert "the row of k='a' at 1970-01-01T00:00:04" in said
    assert "for state=12, v=None" in said


@pytest.mark.parametrize("step", [total, lambda state, v: (state + v, state + v)])
def test_a_refused_row_changes_no_state_and_is_a_dead_letter(step: Any) -> None:
    stream = keyed().scan(step, init=0, into={"n": int}).on_error("dead_letter")
    assert stream.select("v", "n").collect().to_pylist() == [
        {"v": 5, "n": 5},
        {"v": 1, "n": 1},
        {"v": 7, "n": 12},
        {"v": 2, "n": 3},
        {"v": 1, "n": 13},
    ]
    (letter,) = stream.dead_letters.collect().to_pylist()
    assert letter["ts"].second == 4 and letter["error_where"].startswith("the row of k='a'")
    assert "raised TypeError" in letter["error_message"]


def spoils(state: Any, v: Any) -> Any:
    state.append(v)
    if v is None:
        raise ValueError
    return state, len(state)


def test_what_a_failing_row_did_to_a_state_in_place_is_not_kept() -> None:
    stream = keyed().scan(spoils, init=[], into={"n": int}).on_error("skip")
    assert stream.select("n").collect()["n"].to_pylist() == [1, 1, 2, 2, 3]


def test_a_key_begins_anew_after_its_time_to_live() -> None:
    found = keyed().scan(count, init=0, into={"n": int}, ttl="2s").select("k", "n").collect()
    assert found["n"].to_pylist() == [0, 0, 1, 2, 0, 0]
    wide = t.harness(keyed().scan(remembered, init=[], into={"n": int}, ttl="2s"))
    wide.feed(ROWS)
    wide.watermark(100 * 10**9)
    assert wide.operator.snapshot()["keys"].num_rows == 0, "nothing is kept of keys that are gone"


def test_arrival_takes_rows_as_they_come() -> None:
    late = pa.table({"ts": pa.array([9, 1, 5], pa.timestamp("s")), "k": ["a"] * 3, "v": [1, 2, 3]})
    stream = keyed(late).scan(total, init=0, into={"n": int}, order="arrival")
    driven = t.harness(stream)
    driven.feed(late)
    assert driven.rows()["n"].to_pylist() == [1, 3, 6], "they come out at once"
    assert "output: deterministic" in stream.explain()
    two = sl.read_arrow(late).union(sl.read_arrow(late)).event_time("ts", max_delay="0s").key_by("k")
    assert (
        "rows of a key come from several splits"
        in two.scan(total, init=0, into={"n": int}, order="arrival").explain()
    )
    with pytest.raises(BuildError, match="as long as one worker reads it"):
        stream.collect(workers=2)
    ordered = keyed(late).scan(total, init=0, into={"n": int})
    assert sorted(ordered.collect()["n"].to_pylist()) == [1], "the others are late"


def test_a_state_that_leaves_64_bits_is_pythons_until_it_is_back() -> None:
    rows = pa.table(
        {"ts": pa.array(range(5), pa.timestamp("s")), "k": ["a"] * 5, "v": [1, 1, -3, 2**62, 2**62]}
    )

    def step(state: Any, v: Any) -> Any:
        grown = state * 2**40 if v == 1 else state // 2**60 if v < 0 else state + v
        return grown, min(grown, 10**6)

    stream = keyed(rows).scan(step, init=3, into={"low": int})
    assert "compiled" in stream.explain()
    driven = t.harness(stream)
    driven.feed(rows)
    driven.end()
    assert driven.rows()["low"].to_pylist() == [10**6] * 5
    assert driven.operator.counters() == {"in_python": 3}, "rows 2 and 3, and the last"
    state = driven.barrier()
    assert state["keys"]["state_text"].to_pylist() == [str(3 * 2**20 + 2**63)]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((lambda state, v, w: (state, 1), 0, {"n": int}), ColumnNotFoundError, "parameter 'w'"),
        ((lambda: 0, 0, {"n": int}), BuildError, "no parameter for the state"),
        ((total, 0, {"v": int}), BuildError, "'v' is taken"),
        ((total, 0, {}), BuildError, "column"),
        ((named_wrongly, 0, {"n": int}), BuildError, "raised NameError"),
        ((lambda state, k: (state, k * 0.5), 0, {"n": float}), BuildError, "raised TypeError"),
        ((lambda state, v: state + v, 0, {"n": int}), BuildError, "returns no pair"),
        ((lambda state, v: None, 0, {"n": int}), BuildError, "is a return missing"),
        ((lambda state, v: (state, "a"), 0, {"n": int}), BuildError, "does not fit column 'n'"),
        ((lambda state, v: (state, v), 0, {"n": int, "m": int}), BuildError, "a tuple of 2"),
        ((7, 0, {"n": int}), BuildError, "scan needs a function"),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value,
)
def test_what_cannot_work_is_said_at_build(arguments: Any, error: type[Exception], said: str) -> None:
    step, init, into = arguments
    with pytest.raises(error) as caught:
        keyed().scan(step, init=init, into=into)
    assert said in str(caught.value) and "test_scan.py" in str(caught.value)


def test_options_are_checked() -> None:
    with pytest.raises(BuildError, match="no such order"):
        keyed().scan(count, init=0, into={"n": int}, order="any")  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="with order='arrival' none does"):
        keyed().scan(count, init=0, into={"n": int}, order="arrival", allowed_lateness="1s")
    with pytest.raises(BuildError, match="does not call its function again"):
        keyed().scan(count, init=0, into={"n": int}).on_error("skip", retry=sl.Retry(attempts=2)).collect()
    endless = sl.read(Endless()).event_time("ts", max_delay="0s").key_by("k")
    with pytest.raises(BuildError, match="would keep every key"):
        endless.scan(count, init=0, into={"n": int})
    endless.scan(count, init=0, into={"n": int}, ttl=sl.FOREVER)


def clashing(state: Any, x: Any) -> Any:
    a = (x, state)
    a_0, a_there, t1, np, c_0, state_0 = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
    b = a[0] if x > 0.0 else None
    return a[1] + a_0 + a_there + t1 + np + c_0 + state_0, b


def test_names_of_variables_are_the_users_own() -> None:
    rows = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "k": ["a", "a"], "x": [0.5, -1.0]})
    stream = keyed(rows).scan(clashing, init=0.25, into={"out": float})
    assert "compiled" in stream.explain() and stream.collect()["out"].to_pylist() == [0.5, None]
    table = keyed(rows).fold(0.25, lambda state, x: clashing(state, x)[0], into={"n": float})
    assert table.collect()["n"].to_pylist() == [42.25]


@pytest.mark.parametrize("verb", ["scan", "fold", "stateful_batch"])
def test_dead_letters_have_the_columns_as_they_came(verb: str) -> None:
    kind = pa.dictionary(pa.int32(), pa.string())

    def encoded(rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.append_column("d", pa.array(["x"] * len(rows)).cast(kind))

    schema = pa.schema([*ROWS.schema, pa.field("d", kind)])
    source = (
        sl.read_arrow(ROWS).map_batches(encoded, schema=schema).event_time("ts", max_delay="0s").key_by("k")
    )
    made: Any = {
        "scan": lambda: source.scan(total, init=0, into={"n": int}),
        "fold": lambda: source.fold(0, lambda state, v: state + v, into={"n": int}),
        "stateful_batch": lambda: source.stateful_batch(fails, state={"n": int}, schema={"v": int}),
    }[verb]().on_error("dead_letter")
    (letter,) = made.dead_letters.collect().to_pylist()
    assert letter["d"] == "x" and letter["ts"].second == 4
    assert made.dead_letters.schema.field("d").type == kind


def fails(rows: pa.RecordBatch, state: Any, slot: Any) -> Any:
    if rows["v"].null_count:
        raise ValueError
    return {"v": rows["v"]}, state


def test_what_numba_does_not_compile_runs_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = keyed().filter(sl.col("v").is_not_null()).scan(total, init=0, into={"n": int})
    kernel = stream._node.compiled  # type: ignore[attr-defined]
    monkeypatch.setattr(kernel.rows, "compiled", lambda: 1 / 0)
    with pytest.warns(UserWarning, match="numba does not compile it"):
        found = stream.collect()
    assert found["n"].to_pylist() == [5, 1, 12, 3, 13]

"""`stateful_batch` and `fold`: what functions are given, what they may return, cuts, refusals, tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib.errors import BuildError, UserFunctionError

ROWS = pa.table(
    {
        "ts": pa.array([1, 2, 3, 4, 5, 9], pa.timestamp("s")),
        "k": ["a", "b", "a", "a", "b", "a"],
        "v": [5, 1, 7, 0, 2, 1],
    }
)
SCHEMA = {"ts": "timestamp[s]", "k": str, "n": int}


def keyed(rows: pa.Table = ROWS) -> sl.KeyedStream:
    return sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")


def running(rows: pa.RecordBatch, state: Any, slot: Any) -> Any:
    volume, out = rows["v"].to_numpy(), np.empty(len(slot), dtype=np.int64)
    for at, place in enumerate(slot):
        if volume[at] == 7 and state["total"][place] < 0:
            raise ValueError
        state["total"][place] += volume[at]
        out[at] = state["total"][place]
    return {"ts": rows["ts"], "k": rows["k"], "n": out}, state


def test_rows_find_the_state_of_their_key() -> None:
    stream = keyed().stateful_batch(running, state={"total": "int64"})
    assert stream.schema.names == ["ts", "k", "n"] and stream.schema.field("n").type == pa.int64()
    assert stream.collect()["n"].to_pylist() == [5, 1, 12, 12, 3, 13]
    assert "stateful_batch  running, state: total int64" in stream.explain()


@pytest.mark.parametrize("ttl", [None, "3s"])
def test_not_a_row_depends_on_cuts_or_restores(ttl: str | None) -> None:
    rows = pa.table(
        {
            "ts": pa.array([n + n // 9 * 4 for n in range(40)], pa.timestamp("s")),
            "k": [f"k{n * n % 7}" for n in range(40)],
            "v": pa.array(range(40), pa.int64()),
        }
    )
    stream = keyed(rows).stateful_batch(running, state={"total": "int64"}, ttl=ttl)
    t.check_operator(stream, rows, watermarks=[15 * 10**9, 31 * 10**9])
    table = keyed(rows).fold(
        (0, 0.5), lambda s, v: (s[0] + v, s[1] * v), into={"n": int, "x": float}, ttl=ttl
    )
    states = [table.collect(batch_rows=n).to_pylist() for n in (1, 7, 100)]
    assert states[0] == states[1] == states[2]


def vectors(rows: dict[str, np.ndarray], state: Any, slot: Any) -> Any:
    assert state["levels"].shape == (len(state["best"]), 3) and (state["seen"] | True).all()
    np.add.at(state["levels"], (slot, rows["v"] % 3), 1)
    out = {"v": rows["v"], "k": rows["k"], "best": state["best"][slot]}
    return out, {**state, "best": np.maximum(state["best"], 1.5), "seen": state["seen"] | True}


def test_states_may_be_vectors_and_begin_with_values() -> None:
    stream = keyed().stateful_batch(
        vectors,
        state={"levels": np.zeros(3), "best": -1.0, "seen": False},
        schema={"v": int, "k": str, "best": float},
    )
    driven = t.harness(stream)
    driven.feed(ROWS)
    driven.watermark(4 * 10**9)
    saved = driven.barrier()["keys"]
    assert saved["state.levels"].to_pylist() == [[0, 1, 1], [0, 1, 0]]
    assert saved["state.seen"].to_pylist() == [True, True]
    later = driven.restored({"keys": saved})
    later.feed(ROWS.slice(4))
    later.end()
    assert later.rows()["best"].to_pylist() == [1.5, 1.5]


def test_rows_may_be_dropped_where_they_carry_their_time() -> None:
    def large(rows: pa.RecordBatch, state: Any, slot: Any) -> Any:
        keep = rows["v"].to_numpy() > 4
        return rows.filter(pa.array(keep)), state

    assert keyed().stateful_batch(large, state={"n": int}).collect()["v"].to_pylist() == [5, 7]


def wrong(kind: str) -> Any:
    def function(rows: dict[str, np.ndarray], state: Any, slot: Any) -> Any:
        out = {"ts": rows["ts"], "k": rows["k"], "n": rows["v"]}
        if not len(slot):
            return out, state
        if kind == "slot":
            slot += 1
        if kind == "rows":
            rows["v"][0] = 9
        if kind == "short state":
            return out, {"total": state["total"][:1]}
        if kind == "float state":
            return out, {"total": state["total"] * 0.5}
        if kind == "other state":
            return out, {"totals": state["total"]}
        if kind == "no state":
            return out
        if kind == "None":
            return out, None
        if kind == "type":
            return {**out, "n": rows["v"] * 0.5}, state
        if kind == "name":
            return {"ts": rows["ts"], "k": rows["k"]}, state
        if kind == "length":
            return {**out, "n": rows["v"][:1]}, state
        return {**out, "ts": rows["ts"] + 1}, state

    return function


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("slot", "rows and slot are the engine's"),
        ("rows", "rows and slot are the engine's"),
        ("short state", "a state 'total' of the wrong length"),
        ("float state", "a state 'total' of the wrong type"),
        ("other state", "a state with other names"),
        ("no state", "returned no pair"),
        ("None", "returned no state"),
        ("type", "returned other columns than announced"),
        ("name", "returned other columns than announced"),
        ("length", "columns of different lengths"),
        ("time", "changed the event time 'ts'"),
    ],
)
def test_what_a_function_does_wrong_names_it_with_its_line(kind: str, said: str) -> None:
    with pytest.raises(UserFunctionError) as caught:
        keyed().stateful_batch(wrong(kind), state={"total": "int64"}, schema=SCHEMA).collect()
    text = str(caught.value)
    assert said in text and "function (" in text and "test_stateful_batch.py" in text
    assert "a batch of" in text or kind == "time"


def test_another_number_of_rows_needs_their_times() -> None:
    def fewer(rows: pa.RecordBatch, state: Any, slot: Any) -> Any:
        return rows.slice(1).select(["k"]), state

    with pytest.raises(UserFunctionError, match="another number of rows than it was given"):
        keyed().stateful_batch(fewer, state={"n": int}, schema={"k": str}).collect()


@pytest.mark.parametrize(
    ("function", "state", "said"),
    [
        (lambda rows, state: (rows, state), {"n": int}, "cannot be called with rows, state and slots"),
        (running, {}, "needs to know its state"),
        (running, {"n": "string"}, "'n' is no number, bool or vector"),
        (running, {"n": [[1.0]]}, "'n' is no number, bool or vector"),
        (running, {"n": None}, "'n' is no number, bool or vector"),
        (lambda rows, state, slot: rows, {"n": int}, "returned no pair"),
        (lambda rows, state, slot: (rows["w"], state), {"n": int}, "fails on an empty batch"),
    ],
)
def test_what_cannot_work_is_said_at_build(function: Any, state: Any, said: str) -> None:
    with pytest.raises((BuildError, UserFunctionError)) as caught:
        keyed().stateful_batch(function, state=state)
    assert said in str(caught.value) and "test_stateful_batch.py" in str(caught.value)


def negative(rows: dict[str, np.ndarray], state: Any, slot: Any) -> Any:
    if (rows["v"] == 7).any():
        raise ValueError("seven")
    np.add.at(state["total"], slot, rows["v"])
    return {"ts": rows["ts"], "k": rows["k"], "n": state["total"][slot] * 0}, state


def test_a_batch_is_halved_until_the_rows_that_fail_are_alone() -> None:
    stream = keyed().stateful_batch(negative, state={"total": int}, schema=SCHEMA).on_error("dead_letter")
    assert stream.collect()["ts"].to_pylist() == [ts for ts in ROWS["ts"].to_pylist() if ts.second != 3]
    (letter,) = stream.dead_letters.collect().to_pylist()
    assert letter["v"] == 7 and letter["error_where"].startswith("the row of k='a' at 1970-01-01T00:00:03")


def sees_the_cut(rows: pa.RecordBatch, state: Any, slot: Any) -> Any:
    return {"ts": rows["ts"], "k": rows["k"], "n": pa.array([len(slot)] * len(slot))}, state


def test_a_function_that_sees_the_cut_into_batches_is_found() -> None:
    stream = keyed().stateful_batch(sees_the_cut, state={"n": int}, schema=SCHEMA)
    with pytest.raises(AssertionError, match="batch_rows=1"):
        t.check(stream, workers=[1], batch_rows=[1, 100], seeds=[1])


# Tables.


def test_fold_keeps_the_last_state_and_tells_its_changes() -> None:
    def spread(state: Any, v: Any) -> Any:
        return min(state[0], v), max(state[1], v)

    table = keyed().fold((100, -100), spread, into={"low": "int64", "high": "int16"}, max_rate="3s")
    assert table.collect().to_pylist() == [{"k": "a", "low": 0, "high": 7}, {"k": "b", "low": 1, "high": 2}]
    assert "fold  spread, max_rate='3s', compiled" in table.explain()
    changes = table.changes().collect().to_pylist()
    assert [(row["k"], row["high"], row["change"]) for row in changes] == [
        ("a", 5, "insert"),
        ("b", 1, "insert"),
        ("a", 7, "update"),
        ("b", 2, "update"),
        ("a", 7, "update"),
    ]


def test_fold_drops_keys_after_their_time_to_live_and_takes_any_value() -> None:
    later = pa.concat_tables(
        [ROWS, pa.table({"ts": pa.array([30], pa.timestamp("s")), "k": ["c"], "v": [1]})]
    )
    table = keyed(later).fold("", lambda text, v: f"{text}{v}", into={"text": str}, ttl="3s")
    changes = table.changes().select("k", "text", "change").collect().to_pylist()
    assert {"k": "a", "text": "570", "change": "delete"} in changes
    assert {"k": "a", "text": "1", "change": "insert"} in changes
    assert {"k": "b", "text": "12", "change": "delete"} in changes


def test_a_key_of_which_every_row_failed_is_none() -> None:
    def picky(state: Any, v: Any) -> Any:
        return state + 10 // (v - 1 if v < 3 else 1)

    rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [5, 1, 1]})
    table = keyed(rows).fold(0, picky, into={"n": int}).on_error("dead_letter")
    assert table.collect().to_pylist() == [{"k": "a", "n": 10}]
    letters = table.dead_letters.collect().to_pylist()
    assert [row["k"] for row in letters] == ["b", "a"] and "ZeroDivisionError" in letters[0]["error_message"]


def test_a_state_that_fits_no_column_is_an_error_compiled_or_not() -> None:
    for step in (lambda n, v: n * 2, lambda n, v: int(str(n * 2))):
        with pytest.raises(UserFunctionError, match="does not fit column 'n'"):
            keyed().fold(50, step, into={"n": "int8"}).collect()

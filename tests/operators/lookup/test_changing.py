"""`lookup_join` with a table that changes, against a simulator in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError, col

Row = dict[str, Any]
State = Callable[[list[Row]], Row]

SCHEMA = {"ts": "timestamp[s]", "k": "string", "v": "int64", "s": "string"}


def stream(rows: list[Row], max_delay: str) -> sl.Stream:
    given_rows = [{**row, "ts": f"00:00:{row['ts']:02}"} for row in rows]
    return sl.read(t.source(given_rows, schema=SCHEMA)).event_time("ts", max_delay=max_delay)


def summed(table: sl.KeyedStream, **options: Any) -> sl.Table:
    return table.agg(total=col("v").sum(), n=sl.count(), **options)


def sums_of(rows: list[Row]) -> Row:
    values = [row["v"] for row in rows if row["v"] is not None]
    return {"total": sum(values), "n": len(rows)}


def texted(table: sl.KeyedStream, **options: Any) -> sl.Table:
    """States that are no words: texts, and what goes by time and order."""
    return table.agg(last=col("s").last(), largest=col("s").max(), first=col("v").first(), **options)


def texts_of(rows: list[Row]) -> Row:
    texts = [row["s"] for row in rows if row["s"] is not None]
    return {"last": rows[-1]["s"], "largest": max(texts, default=None), "first": rows[0]["v"]}


def latest(table: sl.KeyedStream, **options: Any) -> sl.Table:
    return table.latest(**options)


def latest_of(rows: list[Row]) -> Row:
    return {"v_right": rows[-1]["v"], "s_right": rows[-1]["s"]}


def folded(table: sl.KeyedStream, **options: Any) -> sl.Table:
    def step(state: tuple[int, int], v: int | None) -> tuple[int, int]:
        return state[0] + 1, 2 * state[1] + (v or 0)

    return table.fold((0, 0), step, into={"n": "int64", "mixed": "int64"}, **options)


def folds_of(rows: list[Row]) -> Row:
    mixed = 0
    for row in rows:
        mixed = 2 * mixed + (row["v"] or 0)
    return {"n": len(rows), "mixed": mixed}


TABLES: dict[str, tuple[Callable[..., sl.Table], State]] = {
    "sums": (summed, sums_of),
    "texts": (texted, texts_of),
    "latest": (latest, latest_of),
    "folds": (folded, folds_of),
}


def on_time(rows: list[Row], delay: int) -> list[Row]:
    """The rows that their mark does not refuse."""
    kept, largest = [], None
    for row in rows:
        if largest is None or row["ts"] >= largest - delay:
            kept.append(row)
        largest = row["ts"] if largest is None else max(largest, row["ts"])
    return kept


def simulated(
    left: list[Row], right: list[Row], delay: int, state: State, ttl: int | None
) -> list[tuple[Row, Row | None]]:
    """Each row with the state of its key as of its time."""
    found: list[tuple[Row, Row | None]] = []
    table = sorted(on_time(right, delay), key=lambda row: row["ts"])
    for row in on_time(left, delay):
        rows = [r for r in table if r["k"] == row["k"] and r["ts"] <= row["ts"]]
        if ttl is not None:
            living: list[Row] = []
            for each in rows:
                living = [*([] if living and each["ts"] - living[-1]["ts"] > ttl else living), each]
            rows = living if living and row["ts"] - living[-1]["ts"] <= ttl else []
        found.append((row, state(rows) if rows and row["k"] is not None else None))
    return found


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.integers(0, 20),
            "k": st.sampled_from(["a", "b", None]),
            "v": st.sampled_from([1, 2, 5, None]),
            "s": st.sampled_from(["x", "yy", "a long text, longer than a word", None]),
        }
    ),
    max_size=20,
)


DRAWN = {
    "left": ROWS,
    "right": ROWS,
    "how": st.sampled_from(["left", "inner", "semi", "anti"]),
    "ttl": st.sampled_from([None, None, 2, 6]),
    "delay": st.sampled_from([0, 3, 30]),
    "workers": st.integers(1, 3),
    "batch_rows": st.sampled_from([1, 2, 5, 50]),
    "seed": st.integers(0, 99),
}


@pytest.mark.slow
@given(name=st.sampled_from(["latest", "sums", "folds"]), **DRAWN)
def test_a_row_sees_the_state_as_of_its_time(**drawn: Any) -> None:
    check_states(**drawn)


@pytest.mark.slow
@given(name=st.just("texts"), **DRAWN)
def test_a_row_sees_states_that_are_no_words(**drawn: Any) -> None:
    check_states(**drawn)


def check_states(
    left: list[Row],
    right: list[Row],
    name: str,
    how: Literal["left", "inner", "semi", "anti"],
    ttl: int | None,
    delay: int,
    workers: int,
    batch_rows: int,
    seed: int,
) -> None:
    make, state = TABLES[name]
    options = {} if ttl is None else {"ttl": f"{ttl}s"}
    table = make(stream(right, f"{delay}s").key_by("k"), **options)
    joined = stream(left, f"{delay}s").lookup_join(table, how=how)
    found = t.run(joined, workers=workers, batch_rows=batch_rows, seed=seed).to_pylist()
    columns = [] if how in ("semi", "anti") else list(state([{"v": 1, "s": "x"}]))
    wanted = []
    for row, values in simulated(left, right, delay, state, ttl):
        if (how in ("inner", "semi") and values is None) or (how == "anti" and values is not None):
            continue
        wanted.append({**row, **{c: None if values is None else values[c] for c in columns}})
    compared = ["k", "v", "s", *columns]
    got = [(row["ts"].second, *(row[c] for c in compared)) for row in found]
    assert sorted(got, key=repr) == sorted(
        [(row["ts"], *(row[c] for c in compared)) for row in wanted], key=repr
    )


@pytest.mark.slow
def test_it_does_not_depend_on_cuts_arrival_workers_or_kills() -> None:
    left = [{"ts": s, "k": "ab"[s % 2], "v": s, "s": "x"} for s in range(0, 30, 2)]
    right = [{"ts": s, "k": "ab"[s % 3 % 2], "v": s, "s": str(s)} for s in range(0, 30, 3)]
    for make in (summed, latest):
        table = make(stream(right, "4s").key_by("k"), ttl="9s")
        assert t.check(stream(left, "4s").lookup_join(table), seeds=[1, 2])


def test_the_table_may_be_written_too_and_keys_may_have_other_names() -> None:
    right = stream([{"ts": 1, "k": "a", "v": 5, "s": "x"}], "0s")
    left = stream([{"ts": 2, "k": "a", "v": 1, "s": "y"}], "0s").rename({"k": "who"})
    table = right.key_by("k").agg(total=col("v").sum()).named("totals")
    joined = left.lookup_join(table, left_on="who").select("who", "total")
    rows, state = t.run([joined, table])
    assert rows.to_pylist() == [{"who": "a", "total": 5}]
    assert state.to_pylist() == [{"k": "a", "total": 5}]


def test_late_rows_are_refused_by_their_mark() -> None:
    right = [{"ts": 1, "k": "a", "v": 5, "s": "x"}, {"ts": 20, "k": "a", "v": 6, "s": "x"}]
    left = [{"ts": 20, "k": "a", "v": 1, "s": "y"}, {"ts": 3, "k": "a", "v": 2, "s": "z"}]
    joined = stream(left, "2s").lookup_join(latest(stream(right, "2s").key_by("k")))
    rows, late = t.run([joined, joined.late_left.select("v", "late_by")])
    assert rows["v_right"].to_pylist() == [6]
    assert [row["v"] for row in late.to_pylist()] == [2]


def test_a_table_needs_event_time_on_both_sides() -> None:
    table = latest(stream([{"ts": 1, "k": "a", "v": 5, "s": "x"}], "0s").key_by("k"))
    with pytest.raises(BuildError, match="as of the event time of each row"):
        sl.read_arrow(pa.table({"k": ["a"]})).lookup_join(table)
    left = stream([{"ts": 1, "k": "a", "v": 5, "s": "x"}], "0s")
    windows = left.key_by("k").window(sl.tumbling("5s"), emit="updates").agg(n=sl.count())
    with pytest.raises(BuildError, match="a table by k, window_start, window_end cannot be looked up"):
        left.lookup_join(windows)
    with pytest.raises(BuildError, match="a table by k, rank cannot"):
        left.lookup_join(left.key_by("k").top_n(2, by=col("v")))


def test_state_is_bounded_by_the_time_to_live() -> None:
    table = stream([{"ts": 1, "k": "a", "v": 5, "s": "x"}], "0s").key_by("k")
    left = stream([{"ts": 1, "k": "a", "v": 5, "s": "x"}], "0s")
    assert "state: within x rate" in left.lookup_join(summed(table, ttl="5s")).explain()
    explained = left.lookup_join(summed(table)).explain()
    assert "state: keys" in explained
    assert "output: deterministic" in explained

"""Aggregates of the user's own: in windows and tables, filtered, on several workers; what they do wrong is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.contracts import Aggregate
from streamlib.testing import check_own_aggregate

ROWS = pa.table(
    {
        "ts": pa.array(range(40), pa.timestamp("s")),
        "k": ["a", "b"] * 20,
        "x": [None if n % 7 == 0 else n * 0.5 for n in range(40)],
        "n": range(40),
    }
)


class Range(Aggregate):
    """The largest value less the smallest."""

    def result_type(self, values: pa.DataType) -> pa.DataType:
        return pa.float64()

    def init(self) -> dict[str, Any]:
        return {"low": np.inf, "high": -np.inf}

    def add(self, state: Any, slots: Any, values: pa.Array) -> None:
        known = np.asarray(values.is_valid())
        numbers = values.drop_null().to_numpy()
        np.minimum.at(state["low"], slots[known], numbers)
        np.maximum.at(state["high"], slots[known], numbers)

    def merge(self, state: Any, slots: Any, other: Any) -> None:
        state["low"][slots] = np.minimum(state["low"][slots], other["low"])
        state["high"][slots] = np.maximum(state["high"][slots], other["high"])

    def finish(self, state: Any) -> pa.Array:
        spread = state["high"] - state["low"]
        return pa.array(spread, mask=~np.isfinite(spread))


class Histogram(Aggregate):
    """How many values of one column are in each of some bins, where another is even: a vector of state."""

    def __init__(self, bins: int) -> None:
        self.bins = bins

    def result_type(self, *kinds: pa.DataType) -> pa.DataType:
        return pa.list_(pa.int64())

    def init(self) -> dict[str, Any]:
        return {"counts": np.zeros(self.bins, dtype=np.int32), "rows": 0}

    def add(self, state: Any, slots: Any, values: pa.Array, other: pa.Array) -> None:
        even = np.asarray(other) % 2 == 0
        bins = np.asarray(values.fill_null(0.0))[even].astype(np.int64) % self.bins
        np.add.at(state["counts"], (slots[even], bins), 1)
        np.add.at(state["rows"], slots, 1)

    def merge(self, state: Any, slots: Any, other: Any) -> None:
        state["counts"][slots] += other["counts"]
        state["rows"][slots] += other["rows"]

    def finish(self, state: Any) -> pa.Array:
        assert (state["counts"].sum(axis=1) <= state["rows"]).all()
        return pa.array(state["counts"].astype(np.int64).tolist(), pa.list_(pa.int64()))


def stream() -> sl.KeyedStream:
    return sl.read_arrow(ROWS).event_time("ts", max_delay="0s").key_by("k")


def expected_range(rows: list[dict[str, Any]]) -> float | None:
    values = [row["x"] for row in rows if row["x"] is not None]
    return max(values) - min(values) if values else None


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_rows", [3, 1000])
def test_windows(workers: int, batch_rows: int) -> None:
    spread = sl.agg(Range(), "x")
    made = {
        "spread": spread,
        "odd": spread.filter(col("n") % 2 == 1),
        "bins": sl.agg(Histogram(4), "x", col("n")),
    }
    for window, size, hop in ((sl.tumbling("10s"), 10, 10), (sl.hopping("10s", every="5s"), 10, 5)):
        found = (
            stream()
            .window(window)
            .agg(**made, twice=spread * 2)
            .collect(workers=workers, batch_rows=batch_rows)
        )
        assert found.num_rows == 2 * len(range(hop - size, 40, hop))
        for row in found.to_pylist():
            start = row["window_start"].timestamp() if row["window_start"].tzinfo else None
            begin = (
                int((row["window_start"] - ROWS["ts"][0].as_py()).total_seconds())
                if start is None
                else int(start)
            )
            inside = [r for r in ROWS.to_pylist() if begin <= r["n"] < begin + size and r["k"] == row["k"]]
            want = expected_range(inside)
            assert row["spread"] == want and row["twice"] == (None if want is None else want * 2)
            assert row["odd"] == expected_range([r for r in inside if r["n"] % 2 == 1])
            bins = [0] * 4
            for r in inside:
                if r["n"] % 2 == 0:
                    bins[int(r["x"] or 0) % 4] += 1
            assert row["bins"] == bins


@pytest.mark.slow
def test_tables_and_sessions() -> None:
    spread = sl.agg(Range(), "x")
    table = stream().agg(spread=spread, ttl=sl.FOREVER).collect()
    assert dict(zip(table["k"].to_pylist(), table["spread"].to_pylist(), strict=True)) == {
        "a": 18.0,
        "b": 19.0,
    }
    session = stream().window(sl.session("5s")).agg(spread=spread).collect()
    assert sorted(session["spread"].to_pylist()) == [18.0, 19.0]


def test_conformance() -> None:
    check_own_aggregate(Range(), ROWS["x"].combine_chunks(), rel_tol=0)
    check_own_aggregate(Histogram(3), ROWS["x"].combine_chunks(), ROWS["n"].combine_chunks(), rel_tol=0)


class Forgetful(Range):
    """Writes where it should add up: the last row of a batch wins."""

    def add(self, state: Any, slots: Any, values: pa.Array) -> None:
        numbers = values.fill_null(0.0).to_numpy()
        state["low"][slots] = np.minimum(state["low"][slots], numbers)
        state["high"][slots] = np.maximum(state["high"][slots], numbers)


class Unmerged(Range):
    """Forgets to merge."""

    def merge(self, state: Any, slots: Any, other: Any) -> None:
        state["low"][slots] = other["low"]


@pytest.mark.parametrize("broken", [Forgetful(), Unmerged()], ids=lambda b: type(b).__name__)
def test_the_battery_finds_what_is_broken(broken: Aggregate) -> None:
    with pytest.raises(AssertionError, match="all rows at once"):
        check_own_aggregate(broken, ROWS["x"].combine_chunks())


class Raises(Range):
    def add(self, state: Any, slots: Any, values: pa.Array) -> None:
        raise ValueError("no such thing")


class Short(Range):
    def finish(self, state: Any) -> pa.Array:
        return pa.array([1.0])[:0]


class Strings(Range):
    def init(self) -> dict[str, Any]:
        return {"seen": "a"}


class Untyped(Range):
    def result_type(self, values: pa.DataType) -> Any:
        return "float64"


def test_what_is_wrong_is_said_when_the_graph_is_built() -> None:
    with pytest.raises(sl.BuildError, match="is no aggregate") as raised:
        sl.agg(Range, "x")  # type: ignore[arg-type]
    assert raised.value.hint is not None and "agg(MyAggregate()" in raised.value.hint
    with pytest.raises(sl.BuildError, match="is no aggregate"):
        sl.agg("sum", "x")  # type: ignore[arg-type]
    with pytest.raises(sl.BuildError, match="needs a column"):
        sl.agg(Range())
    windowed = stream().window(sl.tumbling("10s"))
    for wrong, said in ((Strings(), r"init\(\) of Strings\(\) is wrong"), (Untyped(), "is no Arrow type")):
        with pytest.raises(sl.BuildError, match=said):
            windowed.agg(v=sl.agg(wrong, "x"))
    with pytest.raises(sl.UserFunctionError, match=r"result_type\(\) of Range\(\) raised TypeError"):
        windowed.agg(v=sl.agg(Range(), "x", "n"))


def test_what_raises_names_itself() -> None:
    for wrong, said in (
        (Raises(), r"add\(\) of Raises\(\) raised ValueError: no such thing"),
        (Short(), "gave something else"),
    ):
        with pytest.raises(sl.UserFunctionError, match=said):
            stream().window(sl.tumbling("10s")).agg(v=sl.agg(wrong, "x")).collect()


class Strict(Range):
    """Refuses values above ten."""

    def add(self, state: Any, slots: Any, values: pa.Array) -> None:
        if any(value is not None and value > 10 for value in values.to_pylist()):
            raise ValueError("too large")
        super().add(state, slots, values)


@pytest.mark.parametrize("batch_rows", [1, 7, 1000])
@pytest.mark.parametrize("kind", ["tumbling", "session", "table", "rolling"])
def test_rows_that_add_refuses_follow_the_policy_of_the_step(kind: str, batch_rows: int) -> None:
    spread = sl.agg(Strict(), "x")
    if kind == "table":
        made: Any = stream().agg(spread=spread, ttl=sl.FOREVER)
    elif kind == "rolling":
        made = stream().rolling(rows=3).agg(spread=spread)
    else:
        made = (
            stream().window(sl.tumbling("1h") if kind == "tumbling" else sl.session("1h")).agg(spread=spread)
        )
    made = made.on_error("dead_letter")
    rows, letters = CollectSink(), CollectSink()
    sl.run(
        (made.changes() if kind == "table" else made).write(rows),
        made.dead_letters.write(letters),
        batch_rows=batch_rows,
    )
    refused = [row for row in ROWS.to_pylist() if row["x"] is not None and row["x"] > 10]
    assert letters.table().num_rows == len(refused)
    assert "too large" in letters.table()["error_message"][0].as_py()
    if kind != "rolling":
        last = dict(zip(rows.table()["k"].to_pylist(), rows.table()["spread"].to_pylist(), strict=True))
        kept = [row for row in ROWS.to_pylist() if row not in refused]
        assert last == {k: expected_range([row for row in kept if row["k"] == k]) for k in "ab"}

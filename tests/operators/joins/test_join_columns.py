"""Interval and window joins: what is refused when the graph is built, names, types, keys, and chains."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.errors import BuildError, ColumnNotFoundError, StreamlibError, TypeMismatchError
from streamlib.kernels.hashing import LONG_TAG
from streamlib.operators.joins.matches import Matches

NS = pa.timestamp("ns")
HOWS = ("inner", "left", "right", "full", "semi", "anti")


def stream(rows: list[dict[str, Any]], schema: dict[str, pa.DataType] | None = None) -> sl.Stream:
    fields = {"ts": NS, **(schema or {"k": pa.string(), "n": pa.int64()})}
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    return sl.read_arrow(table).event_time("ts", max_delay="0s")


A = stream([{"ts": 1, "k": "x", "n": 1}, {"ts": 2, "k": "y", "n": 2}, {"ts": 3, "k": None, "n": 3}])
B = stream([{"ts": 2, "k": "x", "n": 10}, {"ts": 3, "k": "z", "n": 20}, {"ts": 4, "k": None, "n": 30}])
UNTIMED = sl.read_arrow(pa.table({"k": ["x"]}))

REFUSED: dict[str, tuple[Callable[[], Any], type[StreamlibError], str, str]] = {
    "no bound": (lambda: A.join(B, on="k"), BuildError, "without bounds", "unbounded=True"),
    "two bounds": (
        lambda: A.join(B, on="k", ttl="1m", within=("0s", "1s")),
        BuildError,
        "one of within=, window= and ttl=",
        "within= and ttl=",
    ),
    "a bound and unbounded": (
        lambda: A.join(B, on="k", ttl="1m", unbounded=True),
        BuildError,
        "one of",
        "ttl=",
    ),
    "upside down": (
        lambda: A.join(B, on="k", within=("2m", "-5s")),
        BuildError,
        "upside down",
        "within=('-5s', '2m')",
    ),
    "one duration": (lambda: A.join(B, on="k", within="2m"), BuildError, "pair of durations", "ttl='2m'"),  # type: ignore[arg-type]
    "a bare number": (lambda: A.join(B, on="k", within=(0, 5)), BuildError, "string with a unit", "0"),  # type: ignore[arg-type]
    "a negative ttl": (lambda: A.join(B, on="k", ttl="-5s"), BuildError, "must not be negative", "-5s"),
    "a negative lateness": (
        lambda: A.join(B, on="k", ttl="5s", allowed_lateness="-1s"),
        BuildError,
        "allowed_lateness= must not be negative",
        "-1s",
    ),
    "no time on the left": (
        lambda: UNTIMED.join(B, on="k", ttl="1s"),
        BuildError,
        "needs event time",
        "left side",
    ),
    "no time on the right": (
        lambda: A.join(UNTIMED, on="k", ttl="1s"),
        BuildError,
        "needs event time",
        "right side",
    ),
    "no time in a window": (
        lambda: A.join(UNTIMED, on="k", window=sl.tumbling("1s")),
        BuildError,
        "needs event time",
        "right side",
    ),
    "no keys": (lambda: A.join(B, ttl="1s"), BuildError, "which rows belong together", "on="),
    "an unknown key": (
        lambda: A.join(B, on="kk", ttl="1s"),
        ColumnNotFoundError,
        "no column 'kk'",
        "did you mean 'k'?",
    ),
    "types of keys": (
        lambda: A.join(B, left_on="k", right_on="n", ttl="1s"),
        TypeMismatchError,
        "different types",
        '.cast({"n": "string"})',
    ),
    "numbers of keys": (
        lambda: A.join(B, left_on=["k", "n"], right_on="k", ttl="1s"),
        BuildError,
        "different numbers of keys",
        "k, n",
    ),
    "an unknown how": (lambda: A.join(B, on="k", ttl="1s", how="outer"), BuildError, "no such how", "full"),  # type: ignore[arg-type]
    "clashing names": (
        lambda: A.rename({"n": "ts_right"}).join(B, on="k", ttl="1s"),
        BuildError,
        "two columns the name 'ts_right'",
        "suffix=",
    ),
    "no suffix": (lambda: A.join(B, on="k", ttl="1s", suffix=""), BuildError, "suffix= must be a text", "''"),
    "where is no expression": (
        lambda: A.join(B, on="k", ttl="1s", where="n > 1"),  # type: ignore[arg-type]
        BuildError,
        "where= is a condition",
        "n > 1",
    ),
    "where is no condition": (
        lambda: A.join(B, on="k", ttl="1s", where=col("n") + 1),
        TypeMismatchError,
        "where= needs a condition",
        "int64",
    ),
    "where reads an unknown column": (
        lambda: A.join(B, on="k", ttl="1s", where=col("m") > 1),
        ColumnNotFoundError,
        "no column 'm'",
        "n_right",
    ),
    "where has an aggregate": (
        lambda: A.join(B, on="k", ttl="1s", where=col("n").sum() > 1),
        BuildError,
        "aggregate",
        "sum",
    ),
    "no window": (lambda: A.join(B, on="k", window="10s"), BuildError, "must be a window", "sl.tumbling"),  # type: ignore[arg-type]
    "the same window": (
        lambda: A.join(B, on="k", window=sl.same_window()),
        BuildError,
        "same_window() is no window of a join",
        "window_start",
    ),
    "sessions with a length": (
        lambda: A.join(B, on="k", window=sl.session("1s", max_length="1m")),
        BuildError,
        "without max_length",
        "session",
    ),
    "bounds are taken": (
        lambda: A.rename({"n": "window_start"}).join(B, on="k", window=sl.tumbling("1s")),
        BuildError,
        "the name 'window_start' is taken",
        'within=("0s", "0s")',
    ),
    "late_by is taken": (
        lambda: A.rename({"n": "late_by"}).join(B, on="k", ttl="1s").late_left,
        BuildError,
        "'late_by' of the input",
        "left side",
    ),
    "a table": (
        lambda: A.join(B.key_by("k").latest(), on="k", ttl="1s"),  # type: ignore[arg-type]
        BuildError,
        "join takes a stream",
        "Table",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_when_the_graph_is_built(name: str) -> None:
    build, kind, *texts = REFUSED[name]
    with pytest.raises(kind) as caught:
        build()
    for text in texts:
        assert text in str(caught.value)
    assert "test_join_columns.py" in str(caught.value), "the user's line is named"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("bound", ["within", "window", "session", "unbounded"])
def test_null_keys_match_nothing_and_outer_joins_give_their_rows(how: str, bound: str) -> None:
    options: dict[str, Any] = {
        "within": {"within": ("-10s", "10s")},
        "window": {"window": sl.tumbling("1s")},
        "session": {"window": sl.session("1s")},
        "unbounded": {"unbounded": True},
    }[bound]
    found = A.join(B, on="k", how=how, **options).collect().to_pylist()  # type: ignore[arg-type]
    rows = [(row["k"], row["n"], row.get("n_right")) for row in found]
    pair, lefts, rights = ("x", 1, 10), [("y", 2, None), (None, 3, None)], [("z", None, 20), (None, None, 30)]
    wanted = {
        "inner": [pair],
        "left": [pair, *lefts],
        "right": [pair, *rights],
        "full": [pair, *lefts, *rights],
        "semi": [("x", 1, None)],
        "anti": lefts,
    }
    assert sorted(rows, key=str) == sorted(wanted[how], key=str)


def test_keyed_streams_need_no_names_and_stay_keyed() -> None:
    joined = A.key_by("k").join(B.key_by("k"), ttl="1s")
    assert isinstance(joined, sl.KeyedStream)
    assert joined.window(sl.tumbling("1s")).agg(n=sl.count()).collect()["k"].to_pylist() == ["x"]


def test_keys_of_several_columns_and_other_names() -> None:
    b = B.rename({"k": "name", "n": "m"}).with_columns(n=col("m") // 10)
    joined = A.join(b, left_on=["k", "n"], right_on=["name", "n"], ttl="1s")
    assert joined.schema.names == ["ts", "k", "n", "ts_right", "m"]
    assert joined.collect().select(["k", "n", "m"]).to_pylist() == [{"k": "x", "n": 1, "m": 10}]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (pa.int32(), pa.int64()),
        (pa.uint8(), pa.uint32()),
        (pa.float32(), pa.float64()),
        (pa.string(), pa.large_string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.decimal128(5, 2), pa.decimal128(5, 2)),
        (pa.bool_(), pa.bool_()),
        (pa.timestamp("us"), pa.timestamp("us")),
    ],
)
def test_keys_of_types_that_hold_the_same_values(one: pa.DataType, two: pa.DataType) -> None:
    texts = not pa.types.is_primitive(two) and not pa.types.is_decimal(two)
    values: list[Any] = ["1", "0", None] if texts else [1, 0, None]
    if pa.types.is_decimal(two):
        values = [Decimal(1), Decimal(0), None]
    times = pa.array([1, 2, 3], NS)
    keys = pa.array(values)
    for left, right in ((one, two), (two, one)):
        a = pa.table({"ts": times, "k": keys.cast(left), "n": [1, 2, 3]})
        b = pa.table({"ts": times, "k": keys.cast(right), "m": [10, 20, 30]})
        sides = [sl.read_arrow(side).event_time("ts", max_delay="0s") for side in (a, b)]
        joined = sides[0].join(sides[1], on="k", ttl="0s", how="full")
        rows = joined.collect(workers=2).select(["k", "n", "m"]).to_pylist()
        plain = [None if row["k"] is None else str(row["k"]) for row in rows]
        assert sorted((row["n"] or 9, row["m"] or 99) for row in rows) == [(1, 10), (2, 20), (3, 99), (9, 30)]
        assert plain.count(None) == 2


COLUMNS: dict[str, list[Any]] = {
    "bool": [True, None],
    "int8": [-3, None],
    "uint64": [2**64 - 1, None],
    "float32": [0.5, None],
    "date32[day]": [dt.date(2026, 1, 5), None],
    "string": ["a text that is longer than eight bytes", None],
    "large_binary": [b"\0\1", None],
    "list<item: int64>": [[1, None, 3], None],
    "struct<a: int64, b: string>": [{"a": 1, "b": "x"}, None],
    "decimal128(10, 2)": [Decimal("12.50"), None],
    "duration[ms]": [dt.timedelta(seconds=1), None],
}
TYPES = [
    pa.bool_(),
    pa.int8(),
    pa.uint64(),
    pa.float32(),
    pa.date32(),
    pa.string(),
    pa.large_binary(),
    pa.list_(pa.int64()),
    pa.struct({"a": pa.int64(), "b": pa.string()}),
    pa.decimal128(10, 2),
    pa.duration("ms"),
]


@pytest.mark.parametrize("bound", ["within", "window"])
@pytest.mark.parametrize("how", ["inner", "full", "semi", "anti"])
def test_columns_of_all_types_come_through(bound: str, how: str) -> None:
    schema = {"k": pa.int64(), **{f"c{n}": kind for n, kind in enumerate(TYPES)}}
    rows = [
        {"ts": 1 + n, "k": n, **{f"c{at}": values[n % 2] for at, values in enumerate(COLUMNS.values())}}
        for n in range(4)
    ]
    a, b = stream(rows[:3], schema), stream(rows[1:], schema)
    options: dict[str, Any] = {"within": ("0s", "0s")} if bound == "within" else {"window": sl.tumbling("1s")}
    found = a.join(b, on="k", how=how, **options).collect(batch_rows=2)  # type: ignore[arg-type]
    names = [f"c{n}" for n in range(len(TYPES))]
    by_key = {row["k"]: row for row in found.to_pylist()}
    assert sorted(by_key) == {"inner": [1, 2], "full": [0, 1, 2, 3], "semi": [1, 2], "anti": [0]}[how]
    for key, row in by_key.items():
        if key < 3:
            assert [row[name] for name in names] == [rows[key][name] for name in names]
        if how in ("inner", "full") and key > 0:
            assert [row[f"{name}_right"] for name in names] == [rows[key][name] for name in names]


def test_more_columns_than_one_word_has_flags() -> None:
    count = 100
    schema = {"k": pa.int64(), **{f"c{n}": pa.int16() for n in range(count)}}
    rows = [{"ts": 1, "k": 1, **{f"c{n}": n if n % 3 else None for n in range(count)}}]
    found = stream(rows, schema).join(stream(rows, schema), on="k", ttl="0s").collect().to_pylist()
    assert [found[0][f"c{n}_right"] for n in range(count)] == [n if n % 3 else None for n in range(count)]


@pytest.mark.parametrize("bound", [{"ttl": "1s"}, {"window": sl.tumbling("1s")}])
def test_long_keys_with_one_digest_are_told_apart(
    bound: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_word(self: Matches, rows: pa.RecordBatch, side: int) -> Any:
        return np.full(rows.num_rows, LONG_TAG, dtype=np.uint64)

    monkeypatch.setattr(Matches, "words", one_word)
    schema = {"k": pa.string(), "x": pa.float64(), "n": pa.int64()}
    keys = [("a key of many bytes", 0.0), ("a key of some bytes", 0.0), ("a key of many bytes", float("nan"))]
    rows = [{"ts": 1, "k": k, "x": x, "n": n} for n, (k, x) in enumerate(keys)]
    other = [{**row, "x": -0.0} if row["x"] == 0 else row for row in rows]
    joined = stream(rows, schema).join(stream(other, schema), on=["k", "x"], how="full", **bound)
    assert sorted((row["n"], row["n_right"]) for row in joined.collect().to_pylist()) == [
        (n, n) for n in range(3)
    ]


def test_a_result_has_a_time_column_where_one_always_holds_its_time() -> None:
    def time(low: str, high: str, how: str = "inner") -> str | None:
        return A.join(B, on="k", within=(low, high), how=how)._node.time  # type: ignore[arg-type]

    assert time("0s", "5s") == "ts_right"
    assert time("-5s", "0s") == time("-5s", "0s", "left") == time("-5s", "5s", "semi") == "ts"
    assert time("-5s", "5s") is time("0s", "5s", "left") is time("-5s", "0s", "full") is None


@pytest.mark.slow
def test_chains_of_joins_and_windows_behind_them() -> None:
    """The second join sees the first one's result at its own time, and the window all of them."""
    c = stream([{"ts": 4, "k": "x", "n": 100}, {"ts": 9, "k": "x", "n": 200}])
    first = A.join(B, on="k", within=("0ns", "1ns"), how="left")
    second = first.join(c, on="k", within=("1ns", "2ns"), how="left", suffix="_c")
    rows = second.select("k", "n", "n_right", "n_c").collect(workers=2).to_pylist()
    assert sorted((row["k"] or "", row["n"], row["n_right"], row["n_c"]) for row in rows) == [
        ("", 3, None, None),
        ("x", 1, 10, 100),
        ("y", 2, None, None),
    ]
    counts = second.key_by("k").window(sl.tumbling("5ns")).agg(n=sl.count(), last=col("n_c").max())
    assert sorted(counts.collect()["n"].to_pylist()) == [1, 1, 1]
    windowed = A.join(B, on="k", window=sl.tumbling("5ns")).key_by("k").window(sl.same_window())
    assert windowed.agg(n=sl.count()).collect()["n"].to_pylist() == [1]


def test_a_stream_joined_with_itself() -> None:
    rows = [{"ts": n, "k": "x", "n": n} for n in range(5)]
    a = stream(rows)
    pairs = a.join(a, on="k", within=("1ns", "2ns")).select("n", "n_right").collect(workers=2)
    found = sorted((row["n"], row["n_right"]) for row in pairs.to_pylist())
    assert found == [(n, m) for n in range(5) for m in range(5) if 1 <= m - n <= 2]


def test_the_plan_says_what_bounds_the_state() -> None:
    shown = A.join(B, on="k", ttl="1m", how="left", where=col("n") < col("n_right")).explain()
    assert "within=('-1m', '1m'), how='left', where=" in shown
    assert "within x rate" in shown
    assert "open windows" in A.join(B, on="k", window=sl.tumbling("1m")).explain()
    assert "state: input" in A.join(B, on="k", unbounded=True).explain()


@pytest.mark.parametrize(
    "how", [how if how in ("full", "anti") else pytest.param(how, marks=pytest.mark.slow) for how in HOWS]
)
def test_other_cuts_workers_and_arrivals_give_the_same_rows(how: str) -> None:
    """Peers emit a row with nulls and its match later, or lose pairs whose rows come out of order."""
    rows = [{"ts": (n * 37) % 100, "k": "xyz"[n % 3], "n": n} for n in range(60)]
    sides = [stream(sorted(part, key=lambda row: row["ts"])) for part in (rows[:30], rows[30:])]
    t.check(sides[0].join(sides[1], on="k", within=("-20ns", "5ns"), how=how))  # type: ignore[arg-type]
    t.check(sides[0].join(sides[1], on="k", window=sl.hopping("20ns", every="10ns"), how=how))  # type: ignore[arg-type]

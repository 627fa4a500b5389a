"""What cannot work fails when the script is built, at the user's own line, naming what came and what was expected."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import BuildError, ColumnNotFoundError, TypeMismatchError, col
from streamlib.errors.elsewhere import OF_MODULE, OF_STREAM

TICKS = pa.table(
    {"ts": pa.array([1, 2], pa.timestamp("s")), "symbol": ["A", "B"], "price": [1.0, 2.0], "volume": [1, 2]}
)


def raw(**columns: pa.Array) -> sl.Stream:
    return sl.read_arrow(pa.table({**dict(zip(TICKS.column_names, TICKS.columns, strict=True)), **columns}))


def timed(**columns: pa.Array) -> sl.Stream:
    return raw(**columns).event_time("ts", max_delay="1s")


def windows(**columns: pa.Array) -> sl.WindowedStream:
    return timed(**columns).key_by("symbol").window(sl.tumbling("10s"))


Case = tuple[Callable[[], object], type[BuildError], list[str]]

UNKNOWN_COLUMNS: dict[str, Case] = {
    "filter": (lambda: raw().filter(col("prise") > 1), ColumnNotFoundError, ["'prise'", "'price'", "filter"]),
    "select": (lambda: raw().select("symbl"), ColumnNotFoundError, ["'symbl'", "'symbol'", "select"]),
    "with_columns": (
        lambda: raw().with_columns(x=col("volum") * 2),
        ColumnNotFoundError,
        ["'volum'", "'volume'"],
    ),
    "event_time": (lambda: raw().event_time("tss", max_delay="1s"), ColumnNotFoundError, ["'tss'", "'ts'"]),
    "per": (
        lambda: raw().event_time("ts", "1s", per=["symbols"]),
        ColumnNotFoundError,
        ["'symbols'", "'symbol'"],
    ),
    "key_by": (lambda: timed().key_by("Symbol"), ColumnNotFoundError, ["'Symbol'", "'symbol'", "key_by"]),
    "key_by an expression": (
        lambda: timed().key_by(k=col("pric") > 1),
        ColumnNotFoundError,
        ["'pric'", "'price'"],
    ),
    "agg": (
        lambda: windows().agg(x=col("prices").max()),
        ColumnNotFoundError,
        ["'prices'", "'price'", "window"],
    ),
}

TIME: dict[str, Case] = {
    "a window without it": (
        lambda: raw().window(sl.tumbling("1s")).agg(n=sl.count()),
        BuildError,
        ["event time"],
    ),
    "twice": (lambda: timed().event_time("ts", max_delay="1s"), BuildError, ["twice"]),
    "an integer column": (
        lambda: raw().event_time("volume", "1s"),
        TypeMismatchError,
        ["int64", "from_epoch"],
    ),
    "a string column": (lambda: raw().event_time("symbol", "1s"), TypeMismatchError, ["string", "cast"]),
    "a bare number": (lambda: raw().event_time("ts", max_delay=2), BuildError, ["max_delay", '"10s"', "2"]),
    "a negative delay": (lambda: raw().event_time("ts", max_delay="-1s"), BuildError, ["negative", "-1s"]),
    "an unknown idle policy": (
        lambda: raw().event_time("ts", "1s", idle="skip"),
        BuildError,
        ["'skip'", "leave"],
    ),
    "max_jump of zero": (lambda: raw().event_time("ts", "1s", max_jump="0s"), BuildError, ["max_jump"]),
    "a negative idle_after": (
        lambda: raw().event_time("ts", "1s", idle="leave", idle_after="-3s"),
        BuildError,
        ["idle_after"],
    ),
    "an unknown unit": (
        lambda: raw().event_time("ts", max_delay="2 fortnights"),
        BuildError,
        ["'2 fortnights'"],
    ),
    "months": (lambda: raw().event_time("ts", max_delay="1mo"), BuildError, ["calendar"]),
    "no unit": (lambda: raw().event_time("ts", max_delay="2"), BuildError, ["write the unit: '2s'"]),
    "a unit spelled out": (
        lambda: raw().event_time("ts", max_delay="1 hour 30 Mins"),
        BuildError,
        ["did you mean '1h30m'?"],
    ),
    "an expression": (
        lambda: raw().event_time(col("ts"), max_delay="1s"),
        BuildError,
        ["name", "with_columns"],
    ),
}

WINDOWS: dict[str, Case] = {
    "a size of zero": (lambda: sl.tumbling("0s"), BuildError, ["longer than zero", "'0s'"]),
    "a negative size": (lambda: sl.tumbling("-10s"), BuildError, ["longer than zero", "'-10s'"]),
    "a bare size": (lambda: sl.tumbling(10), BuildError, ["10", '"10s"']),
    "a bare offset": (lambda: sl.tumbling("10s", offset=1), BuildError, ["offset"]),
    "a timedelta of zero": (lambda: sl.tumbling(dt.timedelta()), BuildError, ["longer than zero"]),
    "no window": (lambda: timed().window("10s"), BuildError, ["tumbling", "'10s'"]),
    "bare lateness": (
        lambda: timed().window(sl.tumbling("1s"), allowed_lateness=5),
        BuildError,
        ["allowed_lateness"],
    ),
    "negative lateness": (
        lambda: timed().window(sl.tumbling("1s"), allowed_lateness="-5s").agg(n=sl.count()),
        BuildError,
        ["negative"],
    ),
    "late of no window": (lambda: timed().late, BuildError, ["window", ".agg"]),
    "late of a later step": (lambda: windows().agg(n=sl.count()).select("n").late, BuildError, [".agg"]),
}

NAMES: dict[str, Case] = {
    "window_start as an aggregate": (
        lambda: windows().agg(window_start=sl.count()),
        BuildError,
        ["window_start"],
    ),
    "a key as an aggregate": (lambda: windows().agg(symbol=sl.count()), BuildError, ["symbol", "taken"]),
    "window_start as a key": (
        lambda: (
            windows().agg(n=sl.count()).key_by("window_start").window(sl.tumbling("1m")).agg(m=sl.count())
        ),
        BuildError,
        ["window_start"],
    ),
    "a column of late": (
        lambda: windows(late_by=TICKS["volume"]).agg(n=sl.count()).late,
        BuildError,
        ["late_by"],
    ),
    "a key twice": (lambda: timed().key_by("symbol", "symbol"), BuildError, ["twice"]),
    "no key": (lambda: timed().key_by(), BuildError, ["no column"]),
    "a list as a key": (
        lambda: timed(tags=pa.array([[1], [2]])).key_by("tags"),
        TypeMismatchError,
        ["tags", "list"],
    ),
    "an expression as a key": (lambda: timed().key_by(col("symbol")), BuildError, ["name"]),
    "two of one name": (
        lambda: windows().agg(col("price").max().alias("x"), x=sl.count()),
        BuildError,
        ["'x'"],
    ),
    "select of nothing": (lambda: raw().select(), BuildError, ["no column"]),
}

AGGREGATES: dict[str, Case] = {
    "none": (lambda: windows().agg(), BuildError, ["no aggregate", "sl.count()"]),
    "a plain column": (lambda: windows().agg(x=col("price")), BuildError, ["no aggregate", ".last()"]),
    "a literal": (lambda: windows().agg(x=1), BuildError, ["no aggregate"]),
    "a column beside one": (
        lambda: windows().agg(x=col("price").max() - col("volume")),
        BuildError,
        ["outside", "'volume'"],
    ),
    "of an aggregate": (lambda: windows().agg(x=col("price").max().sum()), BuildError, ["aggregate already"]),
    "sum of strings": (lambda: windows().agg(x=col("symbol").sum()), TypeMismatchError, ["sum", "string"]),
    "mean of strings": (lambda: windows().agg(x=col("symbol").mean()), TypeMismatchError, ["mean", "string"]),
    "in select": (lambda: timed().select(x=col("price").sum()), BuildError, [".agg("]),
    "in with_columns": (lambda: timed().with_columns(n=sl.count()), BuildError, [".agg("]),
    "in filter": (lambda: timed().filter(col("price").max() > 1), BuildError, [".agg("]),
    "in key_by": (lambda: timed().key_by(n=sl.count()), BuildError, [".agg("]),
}

TYPES: dict[str, Case] = {
    "string plus number": (
        lambda: raw().with_columns(x=col("symbol") + 1),
        TypeMismatchError,
        ["string", "int64"],
    ),
    "a filter of numbers": (lambda: raw().filter(col("price")), TypeMismatchError, ["bool", "double"]),
    "a chained comparison": (
        lambda: raw().filter(0 < col("price") < 2),
        BuildError,
        ["truth", "&", "is_between"],
    ),
    "in": (lambda: raw().filter(col("symbol") in ["A", "B"]), BuildError, ["truth", ".is_in(["]),
    "a filter of a column's name": (
        lambda: raw().filter("price"),
        TypeMismatchError,
        ["bool", "is_not_null"],
    ),
    "a time plus a number": (
        lambda: raw().with_columns(x=col("ts") + 5),
        TypeMismatchError,
        ['"5s"', "timedelta"],
    ),
    "an unknown cast": (lambda: raw().with_columns(x=col("price").cast("flaot64")), BuildError, ["flaot64"]),
}

INSTEAD: dict[str, Case] = {
    "a text as a condition": (
        lambda: raw().filter("price > 1"),
        ColumnNotFoundError,
        ["a condition is an expression"],
    ),
    "a constant text": (
        lambda: raw().with_columns(x="hello"),
        ColumnNotFoundError,
        ["x=sl.lit('hello')"],
    ),
    "an expression of Polars": (
        lambda: raw().filter(pl.col("price") > 1),
        BuildError,
        ["polars", "streamlib's"],
    ),
    "when without then": (lambda: raw().with_columns(x=sl.when(col("price") > 1)), BuildError, [".then("]),
    "a method that is not called": (
        lambda: raw().with_columns(x=col("ts").dt.hour),
        BuildError,
        ["a call is missing", ".hour()"],
    ),
    "a function that is not called": (lambda: windows().agg(n=sl.count), BuildError, ["count()"]),
    "a lambda": (lambda: raw().filter(lambda row: row["price"] > 1), BuildError, [".map(...)"]),
    "a function of Python": (lambda: windows().agg(x=sum), BuildError, ["col(...).sum()"]),
    "a list of columns": (lambda: raw().select(["ts", "price"]), BuildError, ["one by one", "*names"]),
    "a list of keys": (lambda: timed().key_by(["symbol"]), BuildError, ["one by one", "*names"]),
}

UNIONS: dict[str, Case] = {
    "branches without event time": (
        lambda: (lambda ticks: ticks.union(ticks.filter(col("price") > 1)))(raw()),
        BuildError,
        ["two branches", "into each of them"],
    ),
    "other columns": (lambda: raw().union(raw().select("ts")), BuildError, ["same columns", "symbol", "ts"]),
    "other types": (
        lambda: raw().union(raw(volume=TICKS["price"])),
        TypeMismatchError,
        ["'volume'", "int64", "double"],
    ),
    "one without event time": (lambda: timed().union(raw()), BuildError, ["event time"]),
}

ALL = {
    f"{group}: {name}": case
    for group, cases in {
        "unknown column": UNKNOWN_COLUMNS,
        "time": TIME,
        "window": WINDOWS,
        "names": NAMES,
        "aggregate": AGGREGATES,
        "types": TYPES,
        "instead": INSTEAD,
        "union": UNIONS,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_the_mistake_is_named_at_its_line(case: Case) -> None:
    build, kind, parts = case
    with pytest.raises(kind) as caught:
        build()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert caught.value.at is not None, f"no line of the script:\n{message}"
    assert caught.value.at.file.endswith("test_build_errors.py")
    first = build.__code__.co_firstlineno
    assert first <= caught.value.at.line <= first + 6


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"workers": 1.5}, {"batch_rows": 0}, {"workers": 10_000}]
)
def test_a_run_with_options_that_cannot_work_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(BuildError, match=next(iter(options))):
        timed().collect(**options)  # type: ignore[arg-type]


def test_run_takes_sinks_and_says_so_at_the_line() -> None:
    with pytest.raises(BuildError, match="takes sinks") as caught:
        sl.run(timed())  # type: ignore[arg-type]
    assert "test_build_errors.py" in str(caught.value)
    with pytest.raises(BuildError, match="nothing to run") as caught:
        sl.run()
    assert "test_build_errors.py" in str(caught.value)


def test_two_steps_of_one_name_are_refused() -> None:
    ticks = timed().named("ticks")
    with pytest.raises(BuildError, match="'ticks'"):
        ticks.filter(col("price") > 0).named("ticks").collect()


@pytest.mark.parametrize("name", ["__time", "__order"])
def test_a_column_may_be_named_like_a_hidden_one(name: str) -> None:
    """`collect` makes hidden columns visible for a moment; that is nobody's business."""
    table = pa.table({"ts": TICKS["ts"], name: [2, 1]})
    assert sl.read_arrow(table).event_time("ts", max_delay="1s").collect().equals(table)


def test_a_number_of_seconds_is_shown_with_its_unit() -> None:
    with pytest.raises(BuildError, match='seconds are "10s"'):
        sl.tumbling(10)  # type: ignore[arg-type]


def test_sinks_in_a_list_are_to_be_given_one_by_one() -> None:
    with pytest.raises(BuildError, match=r"or as \*sinks"):
        sl.run([timed().print()])  # type: ignore[arg-type]


def test_a_column_of_booleans_is_a_condition_by_its_name() -> None:
    rows = raw(big=pa.array([True, None]))
    assert rows.filter("big").collect()["price"].to_pylist() == [1.0]
    yes, no = rows.split("big")
    assert (yes.collect().num_rows, no.collect().num_rows) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (lambda: sl.read_csv("ticks.csv"), "sl.read_files"),  # type: ignore[attr-defined]
        (lambda: sl.sum("price"), r"col\('price'\)\.sum\(\)"),  # type: ignore[attr-defined]
        (lambda: raw().group_by("symbol"), ".key_by"),  # type: ignore[attr-defined]
        (lambda: timed().key_by("symbol").limit(3), r"'KeyedStream' .*\.head"),  # type: ignore[attr-defined]
    ],
    ids=["read_csv", "sum", "group_by", "limit"],
)
def test_the_names_of_other_libraries_lead_to_ours(asked: Callable[[], object], answer: str) -> None:
    with pytest.raises(AttributeError, match=answer):
        asked()


def test_every_name_of_another_library_is_none_of_ours_and_leads_to_one() -> None:
    for name, here in OF_MODULE.items():
        assert name not in sl.__all__, f"{name} is ours by now"
        assert all(part in sl.__all__ for part in re.findall(r"\bsl\.(\w+)", here)), here
    for name, here in OF_STREAM.items():
        assert name not in dir(sl.KeyedStream), f"{name} is ours by now"
        verbs = re.findall(r"(?<![\w)])\.(\w+)", here)
        assert all(hasattr(sl.KeyedStream, verb) for verb in verbs), here


def test_what_no_library_has_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match=r"'Stream' object has no attribute 'frobnicate'$"):
        raw().frobnicate()  # type: ignore[attr-defined]
    assert not hasattr(raw(), "__arrow_c_stream__")

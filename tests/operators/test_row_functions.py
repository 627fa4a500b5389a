"""Functions of a row and those of its key before it: against Polars, over every type, cuts, restores, refusals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.errors import BuildError, TypeMismatchError
from tests.operators.test_rolling import Endless

SCHEMA = pa.schema({"ts": pa.timestamp("ns"), "k": pa.string(), "v": pa.int64(), "x": pa.float64()})


def table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema = SCHEMA) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [
        pa.array(c, pa.int64() if f.name == "ts" else f.type) for c, f in zip(columns, schema, strict=True)
    ]
    return pa.table([arrays[0].cast(schema.field("ts").type), *arrays[1:]], schema=schema)


def keyed(rows: pa.Table | None = None, max_delay: str = "0s") -> sl.KeyedStream:
    given = SCHEMA.empty_table() if rows is None else rows
    return sl.read_arrow(given).event_time("ts", max_delay=max_delay).key_by("k")


values = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.integers(-9, 9)),
        st.one_of(st.none(), st.integers(1, 80).map(lambda n: n / 8)),
    ),
    max_size=25,
).map(lambda drawn: table([(n * 10**9, *row) for n, row in enumerate(drawn)]))


def same(found: pa.Table, wanted: pl.DataFrame) -> None:
    for name in wanted.columns:
        for one, two in zip(found[name].to_pylist(), wanted[name].to_list(), strict=True):
            assert one == (pytest.approx(two, rel=1e-9, nan_ok=True) if isinstance(two, float) else two), name


@pytest.mark.slow
@given(rows=values, n=st.sampled_from([1, 3]), batch_rows=st.sampled_from([1, 4, 100]))
def test_they_are_what_polars_has_over_a_key(rows: pa.Table, n: int, batch_rows: int) -> None:
    v, x = col("v"), col("x")
    stream = keyed(rows).with_columns(
        shift=v.shift(n),
        diff=v.diff(n),
        pct=x.pct_change(n),
        total=v.cum_sum(),
        low=x.cum_min(),
        high=v.cum_max(),
        count=v.cum_count(),
        fill=v.forward_fill(),
        fill_two=x.forward_fill(limit=2),
        span=x.ewm_mean(span=3),
        alpha=v.ewm_mean(alpha=0.5, adjust=False),
        half=x.ewm_mean(half_life=2, ignore_nulls=True),
        com=x.ewm_mean(com=1, adjust=False, ignore_nulls=True),
    )
    driven = t.harness(stream, batch_rows=batch_rows)
    for begin in range(0, len(rows), batch_rows):
        driven.feed(rows.slice(begin, batch_rows))
        driven.watermark(begin * 10**9)
    driven.end()
    pv, px = pl.col("v"), pl.col("x")
    wanted = pl.from_arrow(rows).select(
        shift=pv.shift(n).over("k"),
        diff=pv.diff(n).over("k"),
        pct=px.pct_change(n).over("k"),
        total=pv.cum_sum().over("k"),
        low=px.cum_min().over("k"),
        high=pv.cum_max().over("k"),
        count=pv.cum_count().over("k"),
        fill=pv.forward_fill().over("k"),
        fill_two=px.forward_fill(2).over("k"),
        span=px.ewm_mean(span=3, ignore_nulls=False).over("k"),
        alpha=pv.ewm_mean(alpha=0.5, adjust=False, ignore_nulls=False).over("k"),
        half=px.ewm_mean(half_life=2, ignore_nulls=True).over("k"),
        com=px.ewm_mean(com=1, adjust=False, ignore_nulls=True).over("k"),
    )
    same(driven.rows(), wanted)


@given(rows=values)
def test_weights_may_halve_with_event_time(rows: pa.Table) -> None:
    stream = keyed(rows).with_columns(mean=col("x").ewm_mean(half_life="5s"))
    frame = pl.from_arrow(rows)
    wanted = frame.select(mean=pl.col("x").ewm_mean_by("ts", half_life="5s").over("k"))
    same(stream.collect(workers=1), wanted)


KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), ["a", None, "", "a longer text"]),
    "bool": (pa.bool_(), [True, None, False, True]),
    "int8": (pa.int8(), [1, None, -3, 4]),
    "uint64": (pa.uint64(), [2**64 - 1, None, 0, 4]),
    "float32": (pa.float32(), [0.5, None, -0.0, float("inf")]),
    "date": (pa.date32(), [dt.date(2024, 1, 1), None, dt.date(1969, 1, 1), dt.date(2262, 1, 1)]),
    "zoned": (pa.timestamp("ms", "Europe/Paris"), [0, None, 5, 7]),
    "decimal": (pa.decimal128(9, 2), [Decimal("1.25"), None, Decimal("-3.5"), Decimal(0)]),
    "list": (pa.list_(pa.int8()), [[1, 2], None, [], [None]]),
    "struct": (pa.struct({"a": pa.int8()}), [{"a": 1}, None, {"a": None}, {"a": 3}]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b", "a"]),
    "view": (pa.string_view(), ["a", None, "b", "a view of more than twelve bytes"]),
    "null": (pa.null(), [None, None, None, None]),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ordered", [False, True])
def test_shift_and_forward_fill_take_every_type_over_cuts_and_restores(name: str, ordered: bool) -> None:
    kind, few = KINDS[name]
    many = few * 12
    rows = pa.table(
        {
            "ts": pa.array(range(48), pa.timestamp("s")),
            "k": [f"k{n * n % 5}" for n in range(48)],
            "value": pa.array(many, kind),
        }
    )
    stream = keyed(rows).with_columns(
        one=col("value").shift(), three=col("value").shift(3), fill=col("value").forward_fill(limit=1)
    )
    t.check_operator(stream, rows, watermarks=[15 * 10**9, 31 * 10**9], ordered=ordered)
    before: dict[str, list[Any]] = {}
    given = rows["value"].to_pylist()
    found = stream.collect().to_pylist()
    for row, key, value in zip(found, rows["k"].to_pylist(), given, strict=True):
        seen = before.setdefault(key, [])
        assert row["one"] == (seen[-1] if seen else None)
        assert row["three"] == (seen[-3] if len(seen) > 2 else None)
        assert row["fill"] == (value if value is not None or not seen else seen[-1])
        seen.append(value)


@pytest.mark.parametrize("ttl", [None, "7s"])
def test_not_a_bit_depends_on_cuts_or_restores(ttl: str | None) -> None:
    rng = np.random.default_rng(4)
    rows = table(
        [
            (
                int(ts) * 10**9,
                f"k{rng.integers(4)}",
                int(n),
                float(rng.normal() * 10.0 ** rng.integers(-9, 9)),
            )
            for n, ts in enumerate(np.sort(rng.integers(0, 100, 60)))
        ]
    )
    x = col("x")
    step = keyed().with_columns(
        total=x.cum_sum(),
        ints=(col("v") * 3).cum_sum(),
        mean=x.ewm_mean(span=3),
        by_time=x.ewm_mean(half_life="3s"),
        low=x.cum_min(),
        nested=x.diff().cum_sum().shift(2),
        ttl=ttl,
    )
    times = rows["ts"].cast(pa.int64()).to_pylist()
    t.check_operator(step, rows, watermarks=[times[19], times[39]])


@pytest.mark.slow
def test_rows_that_come_out_of_order_are_put_in_order() -> None:
    rng = np.random.default_rng(5)
    rows = [(int(n) * 10**9, f"k{rng.integers(3)}", n, n / 8) for n in range(150)]
    shuffled = [rows[at] for at in np.argsort([n + rng.integers(0, 10) for n in range(150)], kind="stable")]
    stream = keyed(table(shuffled), "12s").with_columns(
        a=col("v").shift(2), b=col("v").cum_sum(), c=col("x").ewm_mean(alpha=0.1)
    )
    t.check(stream, workers=(1, 2, 4), batch_rows=(1, 7, 100))
    assert (
        stream.collect()["b"].to_pylist()
        == keyed(table(rows)).with_columns(b=col("v").cum_sum()).collect()["b"].to_pylist()
    )


def test_memory_follows_the_keys_that_live() -> None:
    schema = pa.schema({"ts": pa.timestamp("ns"), "k": pa.string(), "s": pa.string()})
    rows = sl.read_arrow(schema.empty_table()).event_time("ts", max_delay="0s").key_by("k")
    stream = rows.with_columns(
        one=col("s").shift(2), fill=col("s").forward_fill(), n=col("s").cum_count(), ttl="10ns"
    )
    driven = t.harness(stream)
    for number in range(40):
        times = [number * 100 + n // 50 for n in range(1000)]
        driven.feed(table([(ts, f"{number} {n}", "x" * 50) for n, ts in enumerate(times)], schema))
        driven.watermark(number * 100 + 99)
        assert driven.operator.snapshot()["keys"].num_rows == 0
        driven.outputs.clear()
    operator = driven.operator
    assert operator.table.count <= 2048 and sum(state.nbytes for state in operator.states) < 500_000
    for state in operator.states[:2]:
        assert state._values._store.nbytes < 500_000


def test_select_keeps_keys_and_time_as_it_does_without_them() -> None:
    rows = table([(1, "a", 1, 0.5), (2, "a", 3, 0.5)])
    stream = keyed(rows).select("k", "ts", change=col("v").diff() * 2)
    assert isinstance(stream, sl.KeyedStream) and stream.schema.names == ["k", "ts", "change"]
    assert stream._node.keys == ("k",) and stream._node.time == "ts"
    again = stream.with_columns(total=col("change").cum_sum())
    assert again.collect()["total"].to_pylist() == [None, 4]
    assert keyed(rows).with_columns(v=col("v").shift()).collect()["v"].to_pylist() == [None, 1]
    assert keyed(rows).with_columns(ttl=col("v") + 1).collect()["ttl"].to_pylist() == [2, 4]
    unused = keyed(rows).with_columns(a=col("v").shift(), b=col("x")).select("b")
    assert unused.collect()["b"].to_pylist() == [0.5, 0.5]


def test_late_rows_are_refused_by_their_mark() -> None:
    driven = t.harness(keyed().with_columns(total=col("v").cum_sum()))
    driven.feed(table([(5, "a", 1, None), (6, "a", 2, None), (7, "a", 4, None)]), mark=[7, 6, 7])
    driven.end()
    assert driven.rows()["total"].to_pylist() == [2, 6]
    assert driven.rows("late")["v"].to_pylist() == [1]
    assert driven.operator.counters() == {"late": 1, "late_by_max": 2}


def test_a_row_whose_input_cannot_be_computed_follows_the_policy() -> None:
    rows = table([(1, "a", 1, 0.5), (2, "a", 2**62, 0.5), (3, "a", 5, 0.5)])
    stream = keyed(rows).with_columns(total=(col("v") * 4).cum_sum())
    with pytest.raises(sl.StreamlibError, match="overflow"):
        stream.collect()
    assert stream.on_error("skip").collect()["total"].to_pylist() == [4, 24]


def test_an_input_without_an_end_needs_a_ttl() -> None:
    endless = sl.read(Endless()).event_time("ts", max_delay="1s").key_by("k")
    with pytest.raises(BuildError, match="would keep every key for ever") as error:
        endless.with_columns(before=col("v").shift())
    assert "sl.FOREVER" in str(error.value)
    assert "state: within x rate" in endless.with_columns(before=col("v").shift(), ttl="1h").explain()
    assert "ttl=FOREVER" in endless.with_columns(before=col("v").shift(), ttl=sl.FOREVER).explain()
    assert endless.with_columns(double=col("v") * 2).schema.names[-1] == "double"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: sl.read_arrow(SCHEMA.empty_table()).with_columns(a=col("v").shift()),
            "needs the rows of a key",
        ),
        (lambda: keyed().filter(col("v").shift() > 0), "needs the rows of a key"),
        (lambda: keyed().agg(a=col("v").diff().sum()), "needs the rows of a key"),
        (lambda: keyed().rolling("1s").agg(a=col("v").diff().sum()), "needs the rows of a key"),
        (
            lambda: keyed().window(sl.tumbling("1s")).agg(a=col("v").cum_sum().max()),
            "needs the rows of a key",
        ),
        (lambda: keyed().with_columns(a=col("v").sum().shift()), "is an aggregate"),
        (lambda: keyed().drop("k").with_columns(a=col("v").shift()), "which rows belong together"),
        (
            lambda: sl.read_arrow(SCHEMA.empty_table()).key_by("k").select(a=col("v").shift()),
            "needs event time",
        ),
        (lambda: keyed().with_columns(a=col("v"), ttl="1h"), "no expression needs them"),
        (lambda: keyed().with_columns(a=col("v").shift(), ttl="0s"), "ttl= must be positive"),
        (lambda: keyed().with_columns(a=col("v").shift(), ttl=5), "ttl must be a string"),
        (lambda: keyed().with_columns(a=col("v").shift(0)), "looks back"),
        (lambda: keyed().with_columns(a=col("v").shift(-1)), "still to come"),
        (lambda: keyed().with_columns(a=col("v").shift(70_000)), "65,536"),
        (lambda: keyed().with_columns(a=col("v").shift("1s")), "no number"),
        (lambda: keyed().with_columns(a=col("v").forward_fill(limit=0)), "at least 1"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean()), "exactly one of"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(span=3, alpha=0.5)), "exactly one of"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(span=0.5)), "out of range"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(alpha=0)), "out of range"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(com=float("nan"))), "out of range"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(half_life="0s")), "must be positive"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(span="3s")), "is a number"),
        (lambda: keyed().with_columns(a=col("v").ewm_mean(half_life="3s", adjust=False)), "neither adjust="),
    ],
)
def test_what_cannot_work_is_refused_at_the_users_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BuildError, match=message) as error:
        make()
    assert "test_row_functions.py" in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: s.cum_sum(), r"cum_sum\(\) does not work on string"),
        (lambda s: s.cum_max(), r"cum_max\(\) does not work on string"),
        (lambda s: s.ewm_mean(span=2), r"ewm_mean\(\) does not work on string"),
        (lambda s: s.diff(), "string"),
    ],
)
def test_types_that_do_not_go_together_are_refused(make: Callable[[sl.Expr], sl.Expr], message: str) -> None:
    with pytest.raises(TypeMismatchError, match=message):
        keyed().with_columns(a=make(col("k")))


def test_an_expression_prints_as_it_was_written() -> None:
    expr = (col("a") + 1).shift(2).forward_fill(limit=3).ewm_mean(half_life="5s")
    assert str(expr) == '(col("a") + 1).shift(2).forward_fill(limit=3).ewm_mean(half_life="5s")'
    assert str(col("a").ewm_mean(span=3, adjust=False)) == 'col("a").ewm_mean(span=3, adjust=False)'
    assert col("a").shift().key() == col("a").shift(1).key() != col("a").shift(2).key()
    assert col("a").shift().output_name() == "a" and col("a").shift().columns() == ["a"]

"""Every aggregate equals Polars over all rows at once: nulls and NaN, filters, cuts, workers, windows, disorder."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import ArrowSource

NAN = math.nan
SCHEMA = pa.schema(
    {
        "ts": pa.timestamp("ns"),
        "k": pa.string(),
        "x": pa.float64(),
        "i": pa.int64(),
        "u": pa.uint64(),
        "s": pa.string(),
        "b": pa.bool_(),
        "t": pa.timestamp("us"),
    }
)
POOLS: dict[str, list[Any]] = {
    "k": ["A", "B", None],
    "x": [None, NAN, 0.0, -0.0, 1.5, -2.25, 0.1, 1e9, 1e9 + 1e-3, math.inf],
    "i": [None, 0, 1, -1, 7, 2**62, -(2**62)],
    "u": [None, 0, 1, 2**64 - 1, 2**63],
    "s": [None, "", "a", "b", "a text longer than seven bytes", "東京"],
    "b": [None, True, False],
    "t": [None, 0, 1_500_000, -3, 1_700_000_000_000_000],
}
SECOND = 1_000_000_000
EPOCH = dt.datetime(1970, 1, 1)


@dataclass(frozen=True)
class Case:
    splits: list[pa.Table]
    workers: int
    batch_rows: int
    block_rows: int


@st.composite
def splits(draw: st.DrawFn) -> pa.Table:
    """Rows within twenty seconds. The first is null throughout, so that one kernel does for all examples."""
    rows = draw(st.integers(0, 16))
    times = draw(st.lists(st.integers(0, 40), min_size=rows, max_size=rows))
    columns: dict[str, list[Any]] = {"ts": [0, *(SECOND * n // 2 for n in times)]}
    for name, pool in POOLS.items():
        columns[name] = [None, *draw(st.lists(st.sampled_from(pool), min_size=rows, max_size=rows))]
    return pa.table({n: pa.array(v, SCHEMA.field(n).type) for n, v in columns.items()}, schema=SCHEMA)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return Case(
        draw(st.lists(splits(), min_size=1, max_size=3)),
        draw(st.sampled_from([1, 2, 4])),
        draw(st.sampled_from([2, 7, 65_536])),
        draw(st.sampled_from([3, 65_536])),
    )


p = pl.col
Made = tuple[sl.Expr, Callable[[pl.Expr | None], pl.Expr]]


def simple(name: str, ours: Callable[[Any], Any], theirs: Callable[[pl.Expr], pl.Expr]) -> Made:
    """An aggregate of one column, and what Polars makes of the column, filtered where there is a predicate."""
    return ours(col(name)), lambda chosen: theirs(p(name) if chosen is None else p(name).filter(chosen))


def among(name: str, chosen: pl.Expr | None) -> pl.Expr:
    return p(name) if chosen is None else p(name).filter(chosen)


def best(value: str, by: str, chosen: pl.Expr | None, descending: bool) -> pl.Expr:
    """The value of the first row of those where `by` is best, NaN only where there is nothing else."""
    keeps = p(by).is_not_null() if chosen is None else p(by).is_not_null() & chosen
    keys = [p(by).is_nan(), p(by)] if by == "x" else [p(by)]
    order = {"descending": [False] * (len(keys) - 1) + [descending], "maintain_order": True}
    return p(value).filter(keeps).sort_by([key.filter(keeps) for key in keys], **order).first()


def top_by(value: str, by: str, chosen: pl.Expr | None, k: int) -> pl.Expr:
    keeps = p(by).is_not_null() if chosen is None else p(by).is_not_null() & chosen
    return p(value).filter(keeps).sort_by(p(by).filter(keeps), descending=True, maintain_order=True).head(k)


def pairs(of: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[pl.Expr | None], pl.Expr]:
    """Of `x` and `w`, where neither is null."""

    def made(chosen: pl.Expr | None) -> pl.Expr:
        both = p("x").is_not_null() & p("w").is_not_null()
        both = both if chosen is None else both & chosen
        return of(p("x").filter(both), p("w").filter(both))

    return made


def aggregates() -> dict[str, Made]:
    """Ours and theirs. Polars' `w` is our `i % 100`."""
    w = col("i") % 100
    made: dict[str, Made] = {
        "any": simple("b", lambda c: c.any(), lambda c: c.any()),
        "all": simple("b", lambda c: c.all(), lambda c: c.all()),
        "first": simple("s", lambda c: c.first(), lambda c: c.first()),
        "last": simple("x", lambda c: c.last(), lambda c: c.last()),
        "list": simple("s", lambda c: c.list(), lambda c: c),
        "list_x": simple("x", lambda c: c.list(), lambda c: c),
        "median_t": simple("t", lambda c: c.median(), lambda c: c.sort().drop_nulls().cast(pl.Int64)),
        "cov": (sl.cov("x", w), pairs(lambda a, b: pl.cov(a, b))),
        "corr": (sl.corr("x", w), pairs(lambda a, b: pl.corr(a, b))),
        "mean": (
            col("x").weighted_mean(w),
            pairs(lambda a, b: pl.when(b.len() > 0).then((a * b).sum() / b.sum())),
        ),
        "low": (col("s").min_by("x"), lambda chosen: best("s", "x", chosen, False)),
        "high": (col("x").max_by("x"), lambda chosen: best("x", "x", chosen, True)),
        "low_u": (col("i").arg_min("u"), lambda chosen: best("i", "u", chosen, False)),
        "high_i": (col("t").arg_max("i"), lambda chosen: best("t", "i", chosen, True)),
        "top_by": (col("x").top_k(2, by="s"), lambda chosen: top_by("x", "s", chosen, 2)),
    }
    for name in "xiusbt":
        made[f"distinct_{name}"] = simple(
            name, lambda c: c.count_distinct(), lambda c: c.drop_nulls().n_unique()
        )
        made[f"unique_{name}"] = simple(name, lambda c: c.n_unique(), lambda c: c.n_unique())
    for name in "xsit":
        made[f"top_{name}"] = simple(
            name,
            lambda c: c.top_k(3),
            lambda c: c.sort(descending=True, nulls_last=True).head(3),
        )
    for name in "xib":
        made[f"median_{name}"] = simple(name, lambda c: c.median(), lambda c: c.cast(pl.Float64).median())
        made[f"var_{name}"] = simple(name, lambda c: c.var(), lambda c: c.cast(pl.Float64).var())
        made[f"std_{name}"] = simple(
            name, lambda c: c.std(ddof=0), lambda c: c.cast(pl.Float64).drop_nulls().std(ddof=0)
        )
    for rule in ("nearest", "lower", "higher", "midpoint", "linear"):
        for q in (0.0, 0.3, 1.0):
            made[f"quantile_{rule}_{q}"] = simple(
                "x",
                lambda c, q=q, rule=rule: c.quantile(q, rule),
                lambda c, q=q, rule=rule: c.quantile(q, rule),
            )
    return made


MADE = aggregates()
CHOSEN = (col("i") >= 0, p("i") >= 0)


def ours(filtered: bool) -> dict[str, sl.Expr]:
    if not filtered:
        return {name: expr for name, (expr, _) in MADE.items()}
    found: dict[str, sl.Expr] = {}
    for name, (expr, _) in MADE.items():
        node = expr.node
        inside = sl.Expr(node.input)
        assert isinstance(expr, type(sl.count()))
        found[name] = type(expr)(node.aggregate, inside.filter(CHOSEN[0]))
    return found


def theirs(frame: pl.DataFrame, filtered: bool) -> dict[tuple[Any, Any], dict[str, Any]]:
    """By key and window what Polars says; the frame has a column `window`."""
    chosen = CHOSEN[1].fill_null(False) if filtered else None
    frame = frame.with_columns(w=(p("i") % 100).cast(pl.Float64)).sort("ts", "split", "pos")
    plan = {name: make(chosen) for name, (_, make) in MADE.items()}
    table = frame.group_by("k", "window", maintain_order=True).agg(**plan)
    return {(row["k"], row["window"]): row for row in table.to_dicts()}


def same(name: str, got: Any, want: Any) -> bool:
    if name == "median_t":  # Polars rounds a median of times by way of floats
        want = (want[(len(want) - 1) // 2] + want[len(want) // 2]) // 2 if want else None
        return (None if got is None else (got - EPOCH) // dt.timedelta(microseconds=1)) == want
    if isinstance(want, list):
        return len(got) == len(want) and all(same("", a, b) for a, b in zip(got, want, strict=True))
    if isinstance(want, float) and isinstance(got, float):
        if math.isnan(want) or math.isnan(got):
            return math.isnan(want) and math.isnan(got)
        return got == want or math.isclose(got, want, rel_tol=1e-6, abs_tol=1e-6)
    return bool(got == want)


def check(found: pa.Table, want: dict[tuple[Any, Any], dict[str, Any]]) -> None:
    rows = found.to_pylist()
    assert len(rows) == len(want)
    for row in rows:
        expected = want[row["k"], row.get("window_start", 0)]
        for name in MADE:
            assert same(name, row[name], expected[name]), (name, row["k"], row[name], expected[name])


def stream(case: Case) -> sl.Stream:
    first, *others = (
        sl.read(ArrowSource(rows, case.block_rows, name=f"split {n}")) for n, rows in enumerate(case.splits)
    )
    return first.union(*others).event_time("ts", max_delay=sl.UNTIL_END)


def frame(case: Case) -> pl.DataFrame:
    parts = [
        pl.DataFrame(rows).with_columns(split=pl.lit(n), pos=pl.int_range(len(rows)))
        for n, rows in enumerate(case.splits)
    ]
    return pl.concat(parts)


def windows(case: Case, kind: str, filtered: bool) -> tuple[pa.Table, dict[tuple[Any, Any], dict[str, Any]]]:
    """The result over one kind of windows, and what it should be."""
    keyed, rows, how = (
        stream(case).key_by("k"),
        frame(case),
        {"workers": case.workers, "batch_rows": case.batch_rows},
    )
    made = ours(filtered)
    if kind == "table":
        return keyed.agg(**made, ttl=sl.FOREVER).collect(**how), theirs(
            rows.with_columns(window=pl.lit(0)), filtered
        )
    if kind == "tumbling":
        found = keyed.window(sl.tumbling("10s")).agg(**made).collect(**how)
        return found, theirs(rows.with_columns(window=p("ts").dt.truncate("10s")), filtered)
    if kind == "hopping":
        found = keyed.window(sl.hopping("10s", every="5s")).agg(**made).collect(**how)
        later = rows.with_columns(window=p("ts").dt.truncate("5s"))
        earlier = later.with_columns(window=p("window").dt.offset_by("-5s"))
        return found, theirs(pl.concat([later, earlier]), filtered)
    assert kind == "session"
    found = keyed.window(sl.session("2s")).agg(**made).collect(**how)
    rows = rows.sort("ts")
    is_new = (p("ts").diff().over("k") > pl.duration(seconds=2)).fill_null(True)
    rows = rows.with_columns(number=is_new.cast(pl.Int64).cum_sum().over("k"))
    return found, theirs(rows.with_columns(window=p("ts").min().over("k", "number")), filtered)


@pytest.mark.slow  # compiles a plan of all aggregates for each kind of window
@pytest.mark.parametrize("filtered", [False, True], ids=["all rows", "filtered"])
@pytest.mark.parametrize("kind", ["tumbling", "hopping", "session", "table"])
@given(case=cases())
def test_all_aggregates_equal_polars(kind: str, filtered: bool, case: Case) -> None:
    check(*windows(case, kind, filtered))

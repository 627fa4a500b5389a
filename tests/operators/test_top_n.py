"""`top_n`: which rows come out with which rank, as a stream and as a table, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.errors import BuildError, TypeMismatchError

SECOND = 1_000_000_000
ROWS = t.table("""
    ts        k  v    name
    00:00:01  a  5.0  one
    00:00:02  a  9.0  two
    00:00:02  b  1.0  three
    00:00:03  a  9.0  four
    00:00:04  a  -    five
    00:00:12  a  nan  six
    00:00:13  a  7.0  seven
    00:00:11  b  2.0  eight
""")
STREAM = sl.read_arrow(ROWS).event_time("ts", max_delay="5s")
KEYED = STREAM.key_by("k")


def names(stream: sl.Stream, **options: Any) -> list[str]:
    """The rows by window, key and rank."""
    found = stream.collect(**options).to_pylist()
    order = sorted(found, key=lambda row: (row["window_end"], row["window_start"], row.get("k"), row["rank"]))
    return [f"{row['rank']} {row['name']}" for row in order]


def test_ties_go_to_the_first_and_nulls_have_no_rank() -> None:
    top = KEYED.top_n(3, by="v", per="10s")
    assert top.schema.names == ["k", "window_start", "window_end", "rank", "ts", "v", "name"]
    assert names(top) == ["1 two", "2 four", "3 one", "1 three", "1 six", "2 seven", "1 eight"]
    low = KEYED.top_n(2, by="v", per="10s", descending=False)
    assert names(low) == ["1 one", "2 two", "1 three", "1 seven", "2 six", "1 eight"]


def test_an_expression_and_all_rows_together() -> None:
    assert names(STREAM.top_n(2, -col("v"), "1m")) == ["1 six", "2 three"]
    assert names(STREAM.top_n(1, "name", "1m"), workers=3, batch_rows=1) == ["1 two"]


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.decimal128(9, 2), pa.string(), pa.date32(), pa.bool_(), pa.float32()]
)
def test_values_of_all_types_are_ranked(kind: pa.DataType) -> None:
    numbers = [1, 0, 2, 2]
    values = [Decimal(n) for n in numbers] if pa.types.is_decimal(kind) else numbers
    if pa.types.is_string(kind):
        values = [str(n) for n in numbers]
    column = pa.array([n > 0 for n in numbers]) if pa.types.is_boolean(kind) else pa.array(values, kind)
    rows = pa.table({"ts": pa.array([1, 2, 3, 4], pa.timestamp("s")), "v": column, "n": [0, 1, 2, 3]})
    stream = sl.read_arrow(rows).event_time("ts", max_delay="9s")
    for descending, wanted in ((True, [2, 3, 0, 1]), (False, [1, 0, 2, 3])):
        if pa.types.is_boolean(kind):
            wanted = [0, 2, 3, 1] if descending else [1, 0, 2, 3]
        found = stream.top_n(4, "v", "1m", descending=descending).collect(batch_rows=1)
        assert found["n"].to_pylist() == wanted and found["v"].type == kind
        assert stream.top_n(4, "v", descending=descending).collect()["n"].to_pylist() == wanted


def test_windows_that_overlap() -> None:
    top = KEYED.top_n(1, "v", sl.hopping("10s", every="5s"))
    assert names(top) == ["1 two", "1 three", "1 two", "1 three", "1 six", "1 eight", "1 six", "1 eight"]
    assert names(KEYED.window(sl.hopping("10s", every="5s")).top_n(1, "v")) == names(top)


@pytest.mark.slow
def test_results_of_one_window_with_one_another() -> None:
    sums = KEYED.window(sl.tumbling("10s")).agg(n=sl.count(), v=col("v").max())
    for ranked in (
        sums.key_by("window_start").top_n(1, by="n", per=sl.same_window()),
        sums.key_by().top_n(1, by="n", per=sl.same_window()),
        sums.key_by("window_end").window(sl.same_window()).top_n(1, by="n"),
    ):
        found = ranked.collect().to_pylist()
        assert [row["n"] for row in found] == [4, 2] and ranked.schema.names.count("window_start") == 1
        assert t.check([ranked], seeds=[1], workers=[1, 3], batch_rows=[1, 50]) > 5
    again = sums.top_n(1, "n", sl.same_window()).window(sl.same_window()).agg(keys=sl.count())
    assert again.collect()["keys"].to_pylist() == [1, 1, 1, 1], "ranked rows are results of their windows"


@pytest.mark.slow
def test_other_cuts_workers_orders_and_crashes() -> None:
    top, table = KEYED.top_n(2, "v", "10s", allowed_lateness="3s"), STREAM.top_n(3, "v", descending=False)
    assert t.check([top, top.late], seeds=[1], workers=[1, 3], batch_rows=[1, 50]) > 5
    assert t.check([table, KEYED.top_n(1, "v")], seeds=[1], workers=[1, 3], batch_rows=[1, 50]) > 5


@pytest.mark.parametrize("window", [sl.session("4s"), sl.session("4s", max_length="6s")], ids=str)
def test_the_first_rows_of_sessions(window: Any) -> None:
    top = KEYED.top_n(2, "v", window, allowed_lateness="1s")
    lists = KEYED.window(window, allowed_lateness="1s").agg(name=col("name").top_k(2, by="v"))
    wanted = [
        {**row, "rank": rank, "name": name}
        for row in lists.collect().to_pylist()
        for rank, name in enumerate(row.pop("name"), start=1)
    ]
    found = top.select("k", "window_start", "window_end", "rank", "name").collect().to_pylist()
    assert sorted(found, key=str) == sorted(wanted, key=str) and len(found) > 4
    assert t.check([top, top.late], seeds=[1], workers=[1, 3], batch_rows=[1, 50]) > 5
    t.check_operator(top, ROWS.sort_by("ts"), watermarks=[2 * SECOND, 10 * SECOND])


def test_only_what_is_read_is_kept() -> None:
    node = KEYED.top_n(1, "v", "10s")._node
    assert node.needs(frozenset({"rank", "name"})) == [frozenset({"k", "v", "name"})]
    assert KEYED.top_n(1, "v", "10s").select("rank").collect()["rank"].to_pylist() == [1] * 4


def test_dictionaries_come_out_decoded() -> None:
    rows = ROWS.set_column(3, "name", ROWS["name"].dictionary_encode())
    encoded = sl.read_arrow(rows).event_time("ts", max_delay="5s").map_batches(lambda batch: batch)
    top = encoded.key_by("k").top_n(1, "v", "10s")
    assert top.schema.field("name").type == pa.string() and names(top)[0] == "1 two"
    assert encoded.key_by("k").top_n(1, "v").collect()["name"].to_pylist() == ["six", "eight"]


def test_a_table_changes_only_where_another_row_is() -> None:
    rows = sl.read_arrow(ROWS.take([0, 1, 3, 6])).event_time("ts", max_delay="0s").key_by("k")
    table = rows.top_n(2, "v", max_rate="1s")
    assert table.keys == ("k", "rank")
    assert table.schema.names == ["k", "rank", "ts", "v", "name"]
    step = t.harness(table._node)
    said = []
    for second in range(5):
        step.feed(ROWS.take([0, 1, 3, 6]).slice(second, 1))
        said.append(
            [
                (r["change"], r["rank"], r["name"])
                for r in step.watermark(second * SECOND + 2 * SECOND).to_pylist()
            ]
        )
    assert said[0] == [("insert", 1, "one")]
    assert said[1] == [("update", 1, "two"), ("insert", 2, "one")]
    assert said[2] == [("update", 2, "four")]
    assert said[3:] == [[], []]


def test_a_key_that_goes_takes_its_ranks_along() -> None:
    rows = t.table("ts k v\n 00:00:01 a 5\n 00:00:02 a 6\n 00:01:00 b 1\n 00:01:30 a 2")
    stream = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
    table = stream.top_n(2, "v", ttl="10s", max_rate="1s")
    changes = [
        (r["change"], r["k"], r["rank"], r["v"]) for r in table.changes().collect(batch_rows=1).to_pylist()
    ]
    assert changes == [
        ("insert", "a", 1, 5),
        ("update", "a", 1, 6),
        ("insert", "a", 2, 5),
        ("delete", "a", 1, 6),
        ("delete", "a", 2, 5),
        ("insert", "b", 1, 1),
        ("delete", "b", 1, 1),
        ("insert", "a", 1, 2),
    ]
    assert table.collect().select(["k", "rank", "v"]).to_pylist() == [{"k": "a", "rank": 1, "v": 2}]


def test_what_is_kept_follows_n() -> None:
    source = sl.read_arrow(pa.table({"ts": pa.array([0], pa.timestamp("ms")), "v": [0], "s": ["x"]}))
    step = t.harness(source.event_time("ts", max_delay="0s").top_n(5, "v", "1h"))
    for begin in range(0, 400_000, 20_000):
        values = pa.array(range(begin, begin + 20_000))
        step.feed(pa.table({"ts": values.cast(pa.timestamp("ms")), "v": values, "s": ["a text"] * 20_000}))
    assert step.operator.store.nbytes < 8_000_000  # type: ignore[attr-defined]
    assert step.end()["v"].to_pylist() == [399_999, 399_998, 399_997, 399_996, 399_995]


def endless() -> sl.Stream:
    text = sl.read_socket(
        "tcp-listen://127.0.0.1:0", format="jsonl", schema={"ts": "timestamp[ms]", "v": int}
    )
    return text.event_time("ts", max_delay="1s")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: KEYED.top_n(0, "v", "10s"), "takes a number of rows"),
        (lambda: KEYED.top_n(1.5, "v"), "takes a number of rows"),  # type: ignore[call-overload]
        (lambda: KEYED.top_n(1, "w", "10s"), "no column 'w'"),
        (lambda: KEYED.top_n(1, col("v").max(), "10s"), "is an aggregate"),
        (lambda: KEYED.top_n(1, 7, "10s"), "by= is a column or an expression"),  # type: ignore[call-overload]
        (lambda: KEYED.top_n(1, "v", 10), "takes a length of time"),  # type: ignore[call-overload]
        (lambda: KEYED.top_n(1, "v", sl.tumbling(rows=2)), "takes a length of time"),  # type: ignore[call-overload]
        (lambda: KEYED.top_n(1, "v", "10s", ttl="1h"), "belong to the table"),  # type: ignore[call-overload]
        (lambda: KEYED.top_n(1, "v", allowed_lateness="1s"), "belongs to the windows"),  # type: ignore[call-overload]
        (lambda: KEYED.with_columns(rank=1).top_n(1, "v", "10s"), "the name 'rank' is taken"),
        (lambda: KEYED.with_columns(change=1).top_n(1, "v"), "the name 'change' is taken"),
        (lambda: KEYED.with_columns(window_start=1).top_n(1, "v", "10s"), "the name 'window_start' is taken"),
        (lambda: KEYED.top_n(1, "v", sl.same_window()), "needs results of a window step"),
        (lambda: sl.read_arrow(ROWS).top_n(1, "v", "10s"), "needs event time"),
        (lambda: sl.read_arrow(ROWS).top_n(1, "v"), "needs event time"),
        (lambda: endless().top_n(1, "v"), "would keep every key for ever"),
    ],
)
def test_refused_at_the_line(make: Any, said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        make()
    assert Path(__file__).name in str(caught.value) and "top_n" in str(caught.value)


def test_what_has_no_order() -> None:
    with pytest.raises(TypeMismatchError, match="cannot rank by"):
        KEYED.top_n(1, sl.struct("v", "name"), "10s")


def test_it_says_what_it_does() -> None:
    said = KEYED.top_n(2, by="v", per="10s", descending=False, allowed_lateness="1s").named("low").explain()
    assert """low  2, by=col("v"), descending=False, per=tumbling('10s'), allowed_lateness='1s'""" in said
    assert "state: open windows" in said and "output: deterministic" in said
    assert "2, by=col(\"v\"), ttl='1h'" in KEYED.top_n(2, by="v", ttl="1h").explain()

"""`lookup_join` with tables that are read, against DuckDB's joins; versions against its `ASOF JOIN`."""

from __future__ import annotations

from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError, ColumnNotFoundError, SourceError, TypeMismatchError
from streamlib.operators.lookup import index

HOWS: list[Literal["left", "inner", "semi", "anti"]] = ["left", "inner", "semi", "anti"]
SECOND = 1_000_000_000


def asked(query: str, **tables: pa.Table) -> pa.Table:
    """What DuckDB answers; the names of the tables are those in the query."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(query).to_arrow_table()


WORDS = st.sampled_from(["a", "b", "bb", "a word of more than seven bytes", "", None])
NUMBERS = st.sampled_from([0, 1, 2, -5, 2**31 - 1, None])


@given(
    left=st.lists(st.tuples(WORDS, NUMBERS), max_size=25),
    right=st.dictionaries(st.tuples(WORDS, NUMBERS), st.integers(0, 99), max_size=10),
    how=st.sampled_from(HOWS),
    workers=st.integers(1, 3),
    batch_rows=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_it_is_the_join_of_duckdb(
    left: list[tuple[Any, Any]],
    right: dict[tuple[Any, Any], int],
    how: Literal["left", "inner", "semi", "anti"],
    workers: int,
    batch_rows: int,
    seed: int,
) -> None:
    """Two keys with other names and other widths; nulls match nothing; a name that is taken."""
    rows = pa.table(
        {
            "name": pa.array([w for w, _ in left], pa.string()),
            "number": pa.array([n for _, n in left], pa.int32()),
            "row": pa.array(range(len(left)), pa.int64()),
        }
    )
    table = pa.table(
        {
            "n": pa.array([n for _, n in right], pa.int64()),
            "row": pa.array(list(right.values()), pa.int64()),
            "w": pa.array([w for w, _ in right], pa.large_string()),
        }
    )
    joined = sl.read_arrow(rows).lookup_join(
        sl.read_table(table, key=["w", "n"]), left_on=["name", "number"], right_on=["w", "n"], how=how
    )
    found = t.run(joined, workers=workers, batch_rows=batch_rows, seed=seed)
    columns = "l.name, l.number, l.row" + (', r.row as "row_right"' if how in ("left", "inner") else "")
    wanted = asked(
        f"select {columns} from l {how} join r on l.name = r.w and l.number = r.n order by l.row",
        l=rows,
        r=table,
    )
    t.assert_same(wanted.cast(found.schema), found, "the join of DuckDB")


@given(
    left=st.lists(st.tuples(st.integers(-5, 20), st.sampled_from(["a", "b", None])), max_size=25),
    right=st.dictionaries(
        st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(-5, 20)),
        st.integers(0, 99),
        max_size=12,
    ),
    how=st.sampled_from(["left", "inner"]),
    workers=st.integers(1, 2),
    batch_rows=st.integers(1, 9),
)
def test_versions_are_the_asof_join_of_duckdb(
    left: list[tuple[int, Any]],
    right: dict[tuple[Any, int], int],
    how: Literal["left", "inner"],
    workers: int,
    batch_rows: int,
) -> None:
    rows = pa.table(
        {
            "ts": pa.array([s for s, _ in left], pa.timestamp("s")),
            "k": pa.array([k for _, k in left], pa.string()),
            "row": pa.array(range(len(left)), pa.int64()),
        }
    )
    table = pa.table(
        {
            "k": pa.array([k for k, _ in right], pa.string()),
            "since": pa.array([1000 * s for _, s in right], pa.timestamp("ms")),
            "v": pa.array(list(right.values()), pa.int64()),
        }
    )
    versions = sl.read_table(table, key="k", valid_from="since")
    joined = sl.read_arrow(rows).event_time("ts", max_delay="30s").lookup_join(versions, how=how)
    found = t.run(joined, workers=workers, batch_rows=batch_rows).sort_by("row")
    wanted = asked(
        f"select l.ts, l.k, l.row, r.since, r.v from l asof {how} join r "
        "on l.k = r.k and l.ts >= r.since order by l.row",
        l=rows,
        r=table,
    )
    t.assert_same(wanted.cast(found.schema), found, "the join of DuckDB")


@pytest.mark.slow
def test_windows_behind_a_lookup_have_time_mark_and_order_of_the_rows() -> None:
    """Also where a batch is cut, and with kills: the step has no state."""
    rows = [{"ts": f"00:00:{s:02}", "k": "ab"[s % 2], "v": s} for s in (3, 1, 14, 2, 26, 9)]
    table = sl.read_table(pa.table({"k": ["a"], "factor": [10]}), key="k")
    ticks = sl.read(t.source(rows)).event_time("ts", max_delay="6s")
    scaled = ticks.lookup_join(table).with_columns(v=sl.col("v") * sl.coalesce(sl.col("factor"), 1))
    bars = scaled.window(sl.tumbling("10s")).agg(v=sl.col("v").sum())
    results, late = t.run([bars, bars.late])
    assert results["v"].to_pylist() == [3 + 1 + 2 * 10, 14 * 10, 26 * 10]
    assert late["v"].to_pylist() == [9]
    assert t.check([bars, bars.late], shuffle=False, seeds=[1]) > 9


def test_only_the_columns_that_are_read_come() -> None:
    rows = pa.table({"k": [1, 2], "v": [3, 4], "not_read": [5, 6]})
    table = sl.read_table(pa.table({"k": [1], "a": ["x"], "b": ["y"]}), key="k")
    joined = sl.read_arrow(rows).lookup_join(table)
    assert joined.select("b").collect().to_pydict() == {"b": ["y", None]}
    assert joined.select("v").collect().to_pydict() == {"v": [3, 4]}
    assert joined.lookup_join(table, suffix="_again").schema.names == [
        *("k", "v", "not_read", "a", "b"),
        *("a_again", "b_again"),
    ]


def test_nan_is_one_key_and_dictionaries_are_their_values() -> None:
    rows = pa.table({"k": [float("nan"), -0.0, 1.5, None]})
    table = sl.read_table(pa.table({"k": [0.0, float("nan"), None], "v": [1, 2, 3]}), key="k")
    assert sl.read_arrow(rows).lookup_join(table).collect()["v"].to_pylist() == [2, 1, None, None]
    coded = pa.table({"k": pa.array(["a", "b"]).dictionary_encode(), "v": [1, 2]})
    other = sl.read_arrow(pa.table({"k": pa.array(["b", "x"]).dictionary_encode()}))
    assert other.lookup_join(sl.read_table(coded, key="k")).collect().to_pydict() == {
        "k": ["b", "x"],
        "v": [2, None],
    }


def test_keys_that_only_the_stream_has_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "STRANGERS_MIN", 10)
    table = pa.record_batch({"k": [5, 105]})
    for made in (
        index.KeyIndex(table, ["k"], [table.schema.field("k")]),
        index.VersionIndex(
            table.append_column("since", pa.array([0, 0], pa.timestamp("s"))),
            ["k"],
            [table.schema.field("k")],
            "since",
        ),
    ):
        most = 0
        for begin in range(0, 60_000, 1000):
            keys = pa.record_batch({"k": np.arange(begin, begin + 1000)})
            found = made.rows(keys, np.zeros(1000, dtype=np.int64))
            assert np.flatnonzero(found >= 0).tolist() == ([5, 105] if begin == 0 else [])
            kept = made._table.count if isinstance(made, index.KeyIndex) else made._store.keys
            most = max(most, kept)
        assert most < 20_000, "strange keys stay"


def test_null_valid_from_is_always() -> None:
    table = pa.table({"k": ["a", "a"], "since": pa.array([None, 5], pa.timestamp("s")), "v": [1, 2]})
    rows = pa.table({"ts": pa.array([-(10**9), 4, 5], pa.timestamp("s")), "k": ["a"] * 3})
    stream = sl.read_arrow(rows).event_time("ts", max_delay="1s")
    found = stream.lookup_join(sl.read_table(table, key="k", valid_from="since")).collect()
    assert found["v"].to_pylist() == [1, 1, 2]


# ---- what cannot work --------------------------------------------------------------------------------


def test_two_rows_of_one_key_are_named() -> None:
    table = pa.table({"k": ["a", "b", None, None, "a"], "n": [1] * 5})
    with pytest.raises(SourceError, match="two rows of one key") as raised:
        sl.read_arrow(pa.table({"k": ["a"]})).lookup_join(sl.read_table(table, key="k")).collect()
    text = str(raised.value)
    assert "rows 0 and 4" in text
    assert "k='a'" in text
    assert "lookup_join (" in text
    versions = pa.table({"k": ["a", "b", "a"], "since": pa.array([7, 7, 7], pa.timestamp("s"))})
    stream = sl.read_arrow(pa.table({"ts": pa.array([1], pa.timestamp("s")), "k": ["a"]}))
    with pytest.raises(SourceError, match="hold from one time") as raised:
        stream.event_time("ts", max_delay="0s").lookup_join(
            sl.read_table(versions, key="k", valid_from="since")
        ).collect()
    assert "k='a', from 1970-01-01 00:00:07" in str(raised.value)


def test_what_cannot_work_fails_when_it_is_built() -> None:
    rows = sl.read_arrow(pa.table({"k": ["a"], "v": [1]}))
    table = sl.read_table(pa.table({"k": ["a"], "n": [1]}), key="k")
    numbered = sl.read_table(pa.table({"k": [1], "n": [1]}), key="k")
    versions = sl.read_table(
        pa.table({"k": ["a"], "since": pa.array([1], pa.timestamp("s"))}), key="k", valid_from="since"
    )
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: rows.lookup_join(numbered), TypeMismatchError, "keys of a join have different types"),
        (lambda: rows.lookup_join(versions), BuildError, "needs event time"),
        (lambda: rows.lookup_join(table, on="v"), BuildError, "looked up by its whole key"),
        (lambda: rows.lookup_join(table, left_on=["k", "v"]), BuildError, "as many columns"),
        (lambda: rows.lookup_join(table, right_on="k"), BuildError, "without left_on"),
        (lambda: rows.lookup_join(table, left_on="x"), ColumnNotFoundError, "no column 'x'"),
        (lambda: rows.rename({"k": "key"}).lookup_join(table), BuildError, "no column 'k', which is a key"),
        (lambda: rows.lookup_join(table, how="right"), BuildError, "no such how"),  # type: ignore[arg-type]
        (lambda: rows.lookup_join(rows), BuildError, "takes a table"),  # type: ignore[arg-type]
        (lambda: sl.read_table(pa.table({"k": ["a"]}), key="x"), ColumnNotFoundError, "no column 'x'"),
        (lambda: sl.read_table(pa.table({"k": ["a"]}), key=[]), BuildError, "has a key"),
        (lambda: sl.read_table(pa.table({"k": [["a"]]}), key="k"), BuildError, "cannot be a key"),
        (lambda: sl.read_table(pa.table({"k": ["a"]}), "k", refresh="1m"), BuildError, "stays as it is"),
        (lambda: sl.read_table(pa.table({"k": ["a"]}), "k", "k"), BuildError, "named twice"),
        (lambda: sl.read_table(pa.table({"k": ["a"]}), "k", format="csv"), BuildError, "format= is that of"),
        (lambda: sl.read_table(5, "k"), BuildError, "cannot be read as Arrow"),
    ]
    for build, kind, problem in cases:
        with pytest.raises(kind, match=problem) as raised:
            build()
        assert isinstance(raised.value, BuildError)
        assert raised.value.at is not None
        assert raised.value.at.file.endswith("test_static.py")

"""What tables are read from, when they are read again, and what becomes of a source that is down."""

from __future__ import annotations

import functools
import pathlib
import sqlite3
from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError, SourceError
from streamlib.contracts import Refusal, TableSource
from streamlib.elements import Batch
from streamlib.graph import BuildContext

TABLE = pa.table({"symbol": ["A", "B"], "lot": [100, 10]})
SECOND = 1_000_000_000
ROWS = pa.table({"symbol": ["B", "C", "A"]})


def lots(table: sl.LookupTable, **options: Any) -> list[Any]:
    found: list[Any] = sl.read_arrow(ROWS).lookup_join(table, **options).collect()["lot"].to_pylist()
    return found


# ---- sources -----------------------------------------------------------------------------------------


def test_files_of_any_format_and_several_of_them(tmp_path: pathlib.Path) -> None:
    pyarrow.csv.write_csv(TABLE.slice(0, 1), tmp_path / "a.csv")
    pyarrow.csv.write_csv(TABLE.slice(1, 1), tmp_path / "b.csv")
    pyarrow.parquet.write_table(TABLE, tmp_path / "all.parquet")
    for source in (
        tmp_path / "*.csv",
        [tmp_path / "a.csv", str(tmp_path / "b.csv")],
        tmp_path / "all.parquet",
    ):
        assert lots(sl.read_table(source, key="symbol")) == [10, None, 100]
    declared = sl.read_table(tmp_path / "*.csv", key="symbol", schema={"symbol": str, "lot": float})
    assert declared.schema.field("lot").type == pa.float64()
    assert lots(declared) == [10.0, None, 100.0]


def test_files_are_read_when_the_run_begins(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "lots.csv"
    pyarrow.csv.write_csv(TABLE, path)
    table = sl.read_table(path, key="symbol")
    assert lots(table) == [10, None, 100]
    pyarrow.csv.write_csv(pa.table({"symbol": ["C"], "lot": [7]}), path)
    assert lots(table) == [None, 7, None]
    assert table.collect().to_pydict() == {"symbol": ["C"], "lot": [7]}
    pyarrow.csv.write_csv(pa.table({"symbol": ["C"], "size": [7]}), path)
    with pytest.raises(SourceError, match="the columns have changed"):
        lots(table)
    path.unlink()
    with pytest.raises(SourceError, match="the lookup table could not be read"):
        lots(table)


def test_arrow_data_of_any_kind() -> None:
    for data in (TABLE, TABLE.to_batches()[0], pl.DataFrame(TABLE), TABLE.to_reader()):
        assert lots(sl.read_table(data, key="symbol")) == [10, None, 100]
    assert lots(sl.read_table(TABLE.slice(0, 0), key="symbol")) == [None, None, None]


def test_a_function_and_another_source() -> None:
    calls: list[int] = []

    def made() -> pl.DataFrame:
        calls.append(1)
        return pl.DataFrame(TABLE)

    table = sl.read_table(made, key="symbol", schema={"symbol": str, "lot": int})
    assert not calls, "with a schema there is nothing to ask"
    assert sl.read_arrow(ROWS).lookup_join(table).collect(workers=2)["lot"].to_pylist() == [10, None, 100]
    assert calls == [1], "once for all workers"
    with pytest.raises(SourceError, match="returned no Arrow data"):
        sl.read_table(lambda: 5, key="symbol")
    assert lots(sl.read_table(t.source(TABLE.to_pylist()), key="symbol")) == [10, None, 100]


class Own(TableSource):
    """A source of a user's own."""

    def schema(self) -> pa.Schema:
        return TABLE.schema

    def read(self) -> pa.Table:
        return TABLE

    def describe(self) -> str:
        return "my own"


def test_a_source_of_one_s_own() -> None:
    table = sl.read_table(Own(), key="symbol", refresh="1m")
    assert lots(table) == [10, None, 100]
    assert "my own" in repr(table)


def database(path: pathlib.Path) -> Callable[[], Any]:
    with sqlite3.connect(path) as connection:
        connection.execute("create table lots (symbol text, lot integer, day text)")
        rows = [("A", 100, "today"), ("B", 10, "today"), ("A", 5, "before")]
        connection.executemany("insert into lots values (?, ?, ?)", rows)
    connection.close()
    return functools.partial(sqlite3.connect, path, check_same_thread=True)


def test_a_query_to_sqlite_and_one_to_duckdb(tmp_path: pathlib.Path) -> None:
    connect = database(tmp_path / "reference.db")
    today = sl.query("select symbol, lot from lots where day = ?", connect, ["today"])
    table = sl.read_table(today, key="symbol")
    assert table.schema == TABLE.schema
    joined = sl.read_arrow(ROWS).lookup_join(table)
    assert joined.collect(workers=2)["lot"].to_pylist() == [10, None, 100]
    assert "a lookup outside" in joined.explain()
    assert "query select symbol, lot from lots where day = ?" in joined.explain()

    def connected() -> Any:
        connection = duckdb.connect()
        connection.execute("create table lots as select * from (values ('A', 100), ('B', 10)) v(symbol, lot)")
        return connection

    for parameters in (None, [1]):
        text = "select symbol, lot from lots" + (" where lot > ?" if parameters else "")
        asked = sl.query(text, connected, parameters)
        assert lots(sl.read_table(asked, key="symbol")) == [10, None, 100]


class ArrowCursor:
    """A cursor like that of an ADBC driver."""

    def execute(self, sql: str) -> None:
        assert sql == "select"

    def fetch_arrow_table(self) -> pa.Table:
        return TABLE

    def close(self) -> None: ...


class ArrowConnection:
    closed = 0

    def cursor(self) -> ArrowCursor:
        return ArrowCursor()

    def close(self) -> None:
        ArrowConnection.closed += 1


def test_arrow_data_of_a_driver_is_taken_as_such_and_connections_are_closed() -> None:
    assert lots(sl.read_table(sl.query("select", ArrowConnection), key="symbol")) == [10, None, 100]
    assert ArrowConnection.closed == 2, "one for the columns, one for the run"


def test_a_query_whose_columns_cannot_be_told(tmp_path: pathlib.Path) -> None:
    connect = database(tmp_path / "reference.db")
    empty = sl.query("select symbol, lot from lots where day = 'never'", connect)
    with pytest.raises(SourceError, match="'symbol' is not known"):
        sl.read_table(empty, key="symbol")
    assert lots(sl.read_table(empty, "symbol", schema={"symbol": str, "lot": int})) == [None] * 3
    mixed = sl.query("select symbol, case lot when 5 then 'five' else lot end as lot from lots", connect)
    with pytest.raises(SourceError, match="'lot' has values that are not of one type"):
        sl.read_table(mixed, key="symbol")
    gone = sl.read_table(
        sl.query("select symbol from lots", connect), "symbol", schema={"symbol": str, "lot": int}
    )
    with pytest.raises(SourceError, match="no column 'lot' any more"):
        lots(gone)
    with pytest.raises(SourceError, match="OperationalError") as raised:
        sl.read_table(sl.query("select nonsense", connect), key="symbol")
    assert "no such column: nonsense" in str(raised.value)
    with pytest.raises(BuildError, match="opens its own connections"):
        sl.query("select 1", "reference.db")  # type: ignore[arg-type]


# ---- read again --------------------------------------------------------------------------------------


class Store:
    """What a table is read from: it changes, and may be down."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> pa.Table:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return pa.table({"symbol": ["A"], "lot": [answer]})


SCHEMA = {"symbol": str, "lot": int}


class Driven:
    """The operator of a lookup, with a clock of its own."""

    def __init__(self, store: Store, policy: str = "fail", **options: Any) -> None:
        self.clock = t.ManualClock()
        self.waits: list[float] = []
        table = sl.read_table(store, "symbol", schema=SCHEMA, refresh="10s", **options)
        node = sl.read_arrow(ROWS).lookup_join(table)._node
        self.operator = node.build(
            BuildContext(now_ns=self.clock, pause=self.waits.append, refuse=policy != "fail")
        )

    def ask(self, after: int = 0) -> list[Any]:
        self.clock.advance(after * SECOND)
        found: list[Any] = []
        for out in self.operator.on_batch(Batch(pa.record_batch({"symbol": ["A"]}))):
            if isinstance(out, Refusal):
                found += out.errors
            else:
                assert isinstance(out, Batch)
                found += out.rows["lot"].to_pylist()
        return found


def test_no_row_is_looked_up_in_a_table_that_is_too_old() -> None:
    driven = Driven(Store(1, 2, 3))
    assert driven.ask() == [1]
    assert driven.ask(9) == [1]
    assert driven.ask(1) == [2], "ten seconds after it was read"
    assert driven.ask(3600) == [3]
    assert driven.operator.counters() == {"table_reads_max": 3}


def test_retry_waits_and_then_the_run_fails() -> None:
    store = Store(1, OSError("down"), OSError("down"), 2, OSError("gone"))
    driven = Driven(store, retry=sl.Retry(attempts=3, wait=2.0))
    assert driven.ask() == [1]
    assert driven.ask(10) == [2]
    assert driven.waits == [2.0, 4.0]
    with pytest.raises(SourceError, match="could not be read in 3 attempts: OSError") as raised:
        driven.ask(10)
    assert "gone" in str(raised.value)
    assert "Store" in str(raised.value)


def test_rows_are_refused_while_a_source_is_down_and_it_is_asked_again_after_a_second() -> None:
    store = Store(1, OSError("down"), OSError("down"), 2)
    driven = Driven(store, policy="dead_letter")
    assert driven.ask() == [1]
    (error,) = driven.ask(10)
    assert isinstance(error, SourceError)
    asked = store.asked
    assert driven.ask() == [error]
    assert store.asked == asked, "not again at once"
    assert isinstance(driven.ask(1)[0], SourceError)
    assert driven.ask(1) == [2]


def test_a_source_that_is_down_at_the_beginning_ends_the_run_before_a_row() -> None:
    store = Store(ConnectionError("refused"))
    table = sl.read_table(store, "symbol", schema=SCHEMA, retry=sl.Retry(attempts=2, wait=0))
    joined = sl.read_arrow(ROWS).lookup_join(table).on_error("skip")
    with pytest.raises(SourceError, match="in 2 attempts: ConnectionError") as raised:
        joined.collect()
    assert "lookup_join (" in str(raised.value)
    assert store.asked == 2


def test_dead_letters_of_a_lookup_have_the_rows() -> None:
    store = Store(1, OSError("down"))
    table = sl.read_table(store, "symbol", schema=SCHEMA, refresh="1ns")
    joined = sl.read_arrow(ROWS).lookup_join(table).on_error("dead_letter")
    clock = t.ManualClock(step_ns=1)

    def later(rows: pa.RecordBatch) -> pa.RecordBatch:
        clock.advance(5)
        return rows

    slow = sl.read_arrow(ROWS).map_batches(later).lookup_join(table).on_error("dead_letter")
    rows, letters = t.run([slow, slow.dead_letters], clock=clock)
    assert rows.num_rows == 0
    assert letters["symbol"].to_pylist() == ["B", "C", "A"]
    assert "could not be read" in letters["error_message"][0].as_py()
    assert (
        "timing, because lookup_join: Store() is a lookup outside, read again every 1ns" in joined.explain()
    )

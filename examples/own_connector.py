"""A connector of your own: tables of an SQLite database as source and sink.

    python examples/own_connector.py
    python examples/own_connector.py --database shop.db

The source is a log: it can be read again from any row. The sink shows its rows whole or not at all:
each worker stages rows in a table of its own, and one transaction moves them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

import streamlib as sl
from streamlib import col
from streamlib.contracts import Block, Sink, SinkWriter, Source, Split, SplitReader
from streamlib.errors import SinkError, SourceError

BLOCK_ROWS = 10_000
TYPES = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string(), "BLOB": pa.binary()}


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


class SqliteSource(Source):
    """The rows of a table, in the order of their rowid.

    Args:
        path: the database.
        table: its name.
        columns: read only these; all when None.
    """

    def __init__(self, path: str | Path, table: str, columns: Sequence[str] | None = None) -> None:
        self.path, self.table = Path(path), table
        if not self.path.exists():
            raise SourceError("there is no such database", where=str(path))
        with closing(sqlite3.connect(self.path)) as database:
            found = database.execute("select name, type from pragma_table_info(?)", [table]).fetchall()
        if not found:
            raise SourceError("there is no such table", where=f"{path}, table {table}")
        unknown = [f"{name} {kind}" for name, kind in found if kind.upper() not in TYPES]
        if unknown:
            raise SourceError(
                "a column has a type that this source does not read",
                where=f"{path}, table {table}",
                expected=", ".join(TYPES),
                got=", ".join(unknown),
            )
        self._schema = pa.schema(
            [(name, TYPES[kind.upper()]) for name, kind in found if columns is None or name in columns]
        )

    def schema(self) -> pa.Schema:
        return self._schema

    def splits(self) -> list[Split]:
        return [Split(self.table)]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return SqliteReader(self, after=-1 if position is None else int(position))

    def with_columns(self, columns: Sequence[str]) -> Source:
        return SqliteSource(self.path, self.table, columns)

    def describe(self) -> str:
        return f"sqlite {self.path}, table {self.table}"


class SqliteReader(SplitReader):
    """Reads blocks of rows; a block's position is its last rowid."""

    def __init__(self, source: SqliteSource, after: int) -> None:
        self.source, self.after = source, after
        # blocks are read under the split's lock, whichever worker's turn it is
        self.database = sqlite3.connect(source.path, check_same_thread=False)
        columns = ", ".join(quoted(name) for name in source.schema().names)
        self.query = (
            f"select rowid, {columns} from {quoted(source.table)} where rowid > ? order by rowid limit ?"
        )

    def read(self) -> Block | None:
        rows = self.database.execute(self.query, [self.after, BLOCK_ROWS]).fetchall()
        if not rows:
            return None
        self.after = rows[-1][0]
        return Block(rows, position=self.after)

    def decode(self, block: Block) -> Iterator[pa.RecordBatch]:
        _, *columns = zip(*block.data, strict=True)
        schema = self.source.schema()
        yield pa.record_batch(
            [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
        )

    def peek(self) -> pa.RecordBatch | None:
        rows = self.database.execute(self.query, [self.after, 1]).fetchall()
        return next(self.decode(Block(rows))) if rows else None

    def close(self) -> None:
        self.database.close()


class SqliteSink(Sink):
    """Adds rows to a table, which is made when it does not exist.

    Args:
        path: the database.
        table: its name.
    """

    guarantee = "exactly_once"

    def __init__(self, path: str | Path, table: str) -> None:
        self.path, self.table = Path(path), table
        self.stages: list[str] = []

    def prepare(self, schema: pa.Schema) -> None:
        self._create(self.table, schema)

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        stage = f"{self.table} staged by {worker}"
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(f"drop table if exists {quoted(stage)}")
        self._create(stage, schema)
        self.stages.append(stage)
        return SqliteWriter(self.path, stage, schema)

    def _create(self, table: str, schema: pa.Schema) -> None:
        columns = ", ".join(quoted(f.name) for f in schema)
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(f"create table if not exists {quoted(table)} ({columns})")

    def commit(self, staged: Sequence[Any]) -> None:
        """Moves what is staged in one transaction; what has been moved is staged no longer."""
        with closing(sqlite3.connect(self.path)) as database, database:
            have = {name for (name,) in database.execute("select name from sqlite_master")}
            for stage in staged:
                if stage in have:
                    database.execute(f"insert into {quoted(self.table)} select * from {quoted(stage)}")
                    database.execute(f"drop table {quoted(stage)}")

    def abort(self) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            for stage in self.stages:
                database.execute(f"drop table if exists {quoted(stage)}")

    def describe(self) -> str:
        return f"sqlite {self.path}, table {self.table}"


class SqliteWriter(SinkWriter):
    """Puts the rows of one worker into a table of their own."""

    def __init__(self, path: Path, stage: str, schema: pa.Schema) -> None:
        self.stage = stage
        self.database = sqlite3.connect(path, check_same_thread=False)
        marks = ", ".join("?" * len(schema))
        self.insert = f"insert into {quoted(stage)} values ({marks})"

    def write(self, rows: pa.RecordBatch) -> None:
        columns = [plain(column) for column in rows.columns]
        try:
            with self.database:
                self.database.executemany(self.insert, zip(*columns, strict=True))
        except sqlite3.Error as error:
            raise SinkError("rows cannot be stored", where=self.stage, got=str(error)) from error

    def finish(self) -> Any:
        self.database.close()
        return self.stage

    def abort(self) -> None:
        self.database.close()


def plain(column: pa.Array) -> list[Any]:
    """Values that SQLite has: times as ISO 8601 text."""
    return [v.isoformat(" ") if isinstance(v, (dt.date, dt.time)) else v for v in column.to_pylist()]


def make_orders(path: Path) -> None:
    """A table of orders, two a minute."""
    start = 1_767_225_600  # 2026-01-01 00:00 UTC
    orders = [(start + 30 * n, f"customer {n % 3}", 10.0 + n) for n in range(60)]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("drop table if exists orders")
        database.execute("drop table if exists revenue")
        database.execute("create table orders (placed INTEGER, customer TEXT, amount REAL)")
        database.executemany("insert into orders values (?, ?, ?)", orders)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--database", help="with a table orders (placed, customer, amount); made when missing"
    )
    args = parser.parse_args()
    path = Path(args.database or "out/shop.db")
    if not args.database or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make_orders(path)

    revenue = (
        sl.read(SqliteSource(path, "orders"))
        .with_columns(placed=sl.from_epoch(col("placed"), "s"))
        .event_time("placed", max_delay="1m")
        .key_by("customer")
        .window(sl.tumbling("10m"))
        .agg(orders=sl.count(), revenue=col("amount").sum())
    )
    print(sl.run(revenue.write(SqliteSink(path, "revenue")), progress=False))
    with closing(sqlite3.connect(path)) as database:
        for row in database.execute("select * from revenue order by window_start, customer limit 5"):
            print(*row, sep="  ")


if __name__ == "__main__":
    main()

"""oracle: `first`, `last`, `min` and `max` of texts, decimals and lists through whole plans, by Polars and DuckDB."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col

ROWS = 3000
VENUES = ["XNAS", "ARCX", "", "zażółć gęślą jaźń", "日本証券取引所", "🎈", "é", "\x7f", None]


def trades(seed: int = 1, rows: int = ROWS) -> pa.Table:
    """Rows in the order of time but for 5 s, many of them of one time."""
    rng = random.Random(seed)
    return pa.table(
        {
            "ts": pa.array([i // 20 + rng.randrange(5) for i in range(rows)], pa.timestamp("s")),
            "symbol": [f"S{rng.randrange(40)}" for _ in range(rows)],
            "venue": pa.array([rng.choice(VENUES) for _ in range(rows)]),
            "price": pa.array(
                [rng.choice([None, Decimal(rng.randrange(-999, 9999)) / 100]) for _ in range(rows)],
                pa.decimal128(12, 2),
            ),
            "pos": range(rows),
        }
    )


def bars(stream: sl.Stream, workers: int, batch_rows: int) -> pa.Table:
    venue, price = col("venue"), col("price")
    result = (
        stream.event_time("ts", max_delay="10s")
        .key_by("symbol")
        .window(sl.tumbling("30s"))
        .agg(
            first=venue.first(),
            last=venue.last(),
            low=venue.min(),
            high=venue.max(),
            n=venue.count(),
            open=price.first(),
            close=price.last(),
            cheap=price.min(),
            dear=price.max(),
            pos=col("pos").last(),
        )
        .collect(workers=workers, batch_rows=batch_rows)
    )
    return result.sort_by([("window_start", "ascending"), ("symbol", "ascending")])


QUERY = """
select symbol, time_bucket(interval '30 seconds', ts) as window_start,
    first(venue order by ts, pos) as first, last(venue order by ts, pos) as last,
    min(venue) as low, max(venue) as high, count(venue) as n,
    first(price order by ts, pos) as open, last(price order by ts, pos) as close,
    min(price) as cheap, max(price) as dear, last(pos order by ts, pos) as pos
from rows group by all order by window_start, symbol
"""


def duck(rows: pa.Table, query: str) -> list[dict[str, Any]]:
    """The rows of a query over `rows`."""
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        done = connection.execute(query)
        names = [column[0] for column in done.description]
        return [dict(zip(names, row, strict=True)) for row in done.fetchall()]


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("batch_rows", [97, pytest.param(65_536, marks=pytest.mark.slow)])
def test_oracle_texts_and_decimals_by_duckdb_and_polars(workers: int, batch_rows: int) -> None:
    rows = trades()
    got = bars(sl.read_arrow(rows), workers, batch_rows).drop_columns(["window_end"])
    assert got.schema.field("first").type == got.schema.field("high").type == pa.string()
    assert got.to_pylist() == duck(rows, QUERY)
    frame = pl.DataFrame(rows).sort("ts", "pos")
    venue = pl.col("venue")
    extremes = (
        frame.group_by("symbol", pl.col("ts").dt.truncate("30s").alias("window_start"))
        .agg(
            venue.first().alias("first"),
            venue.last().alias("last"),
            venue.min().alias("low"),
            venue.max().alias("high"),
        )
        .sort("window_start", "symbol")
    )
    assert got.select(extremes.columns).to_pylist() == extremes.to_dicts()


@pytest.mark.parametrize("workers", [1, 2])
def test_ties_between_splits_go_to_the_same_row_whatever_the_workers(workers: int) -> None:
    one, two = trades(2, 900), trades(3, 900)
    for batch_rows in (50, 1000):
        got = bars(sl.read_arrow(one).union(sl.read_arrow(two)), workers, batch_rows).drop_columns(
            ["window_end"]
        )
        both = pa.concat_tables([one, two]).append_column("place", pa.array(range(1800)))
        assert got.to_pylist() == duck(both, QUERY.replace("order by ts, pos", "order by ts, place"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.binary()], ids=str
)
def test_every_form_of_text_gives_the_same_results(kind: pa.DataType, workers: int) -> None:
    rows = trades(4, 600)
    want = bars(sl.read_arrow(rows), 1, 100)
    place = rows.column_names.index("venue")
    got = bars(sl.read_arrow(rows.set_column(place, "venue", rows["venue"].cast(kind))), workers, 100)
    shown = pa.string() if pa.types.is_dictionary(kind) or pa.types.is_string_view(kind) else kind
    assert got.schema.field("first").type == got.schema.field("high").type == shown
    text = pa.schema([f.with_type(want.schema.field(f.name).type) for f in got.schema])
    assert got.cast(text).to_pylist() == want.to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_lists_and_structs_can_be_first_and_last(workers: int) -> None:
    rows = trades(5, 300)
    nested = rows.append_column(
        "tags", pa.array([None if i % 7 == 0 else [str(i), None] for i in range(300)])
    )
    nested = nested.append_column("at", pa.array([{"pos": i, "text": f"row {i}"} for i in range(300)]))
    got = (
        sl.read_arrow(nested)
        .event_time("ts", max_delay="10s")
        .window(sl.tumbling("1h"))
        .agg(tags=col("tags").last(), at=col("at").first())
        .collect(workers=workers, batch_rows=40)
        .to_pylist()
    )
    ordered = sorted(nested.to_pylist(), key=lambda row: (row["ts"], row["pos"]))
    assert (got[0]["tags"], got[0]["at"]) == (ordered[-1]["tags"], ordered[0]["at"])


def test_the_smallest_list_is_refused_at_the_line() -> None:
    rows = pa.table({"ts": pa.array([1], pa.timestamp("s")), "tags": [["a"]]})
    windowed = sl.read_arrow(rows).event_time("ts", max_delay="0s").window(sl.tumbling("1s"))
    with pytest.raises(sl.TypeMismatchError, match=r"min\(\) does not work on list"):
        windowed.agg(low=col("tags").min())

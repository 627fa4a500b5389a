"""Streams: schemas before any row, columns that are pushed into readers, methods that change nothing else."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors.memory import CollectSink
from streamlib.graph import SourceNode, plan_graph

TABLE = pa.table(
    {
        "ts": pa.array([1, 2, 12], pa.timestamp("s")),
        "symbol": ["A", "B", "A"],
        "price": [1.0, 2.0, 3.0],
        "volume": [1, 2, 3],
        "note": ["x", "y", "z"],
    }
)


def read_columns(*streams: sl.Stream) -> list[list[str]]:
    """What the plan reads of each source."""
    plan = plan_graph([stream.write(CollectSink()) for stream in streams])
    return [step.node.schema.names for step in plan.steps if isinstance(step.node, SourceNode)]


def ticks() -> sl.Stream:
    return sl.read_arrow(TABLE)


def bars(stream: sl.Stream) -> sl.Stream:
    return stream.key_by("symbol").window(sl.tumbling("10s")).agg(high=col("price").max())


def test_only_the_columns_that_are_used_are_read() -> None:
    timed = ticks().event_time("ts", max_delay="1s")
    assert read_columns(bars(timed)) == [["ts", "symbol", "price"]]
    assert read_columns(bars(timed.filter(col("volume") > 1))) == [["ts", "symbol", "price", "volume"]]
    assert read_columns(bars(timed.with_columns(x=col("note")))) == [["ts", "symbol", "price", "note"]]
    assert read_columns(bars(timed.with_columns(price=col("volume") * 1.0))) == [["ts", "symbol", "volume"]]
    assert read_columns(ticks().select(x=col("note"))) == [["note"]]
    assert read_columns(ticks().event_time("ts", "1s", per="note").select("price")) == [
        ["ts", "price", "note"]
    ]


def test_all_columns_are_read_where_all_come_out_or_a_function_may_look_at_them() -> None:
    timed = ticks().event_time("ts", max_delay="1s")
    everything = [TABLE.column_names]
    assert read_columns(timed) == everything
    assert read_columns(timed.filter(col("volume") > 1)) == everything
    assert read_columns(bars(timed.map_batches(lambda batch: batch))) == everything
    assert read_columns(bars(timed).late) == everything


def test_branches_read_the_columns_of_all_of_them() -> None:
    timed = ticks().event_time("ts", max_delay="1s")
    assert read_columns(bars(timed), timed.select("note")) == [["ts", "symbol", "price", "note"]]


def test_each_side_of_a_union_reads_what_is_used_behind_it() -> None:
    left, right = (s.event_time("ts", max_delay="1s") for s in (ticks(), ticks()))
    assert read_columns(bars(left.union(right))) == [["ts", "symbol", "price"]] * 2
    united = left.select("ts", "price", "symbol").union(right.select("symbol", "price", "ts"))
    assert bars(united).collect()["high"].to_pylist() == [1.0, 2.0, 3.0]


def test_what_is_not_read_need_not_be_readable(tmp_path) -> None:
    """A Parquet file whose unused column is damaged gives the bars all the same."""
    path = tmp_path / "ticks.parquet"
    pq.write_table(TABLE, path, compression="none", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(0).column(4)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(sl.SourceError):
        sl.read_files(path).collect()
    timed = sl.read_files(path).event_time("ts", max_delay="1s")
    assert bars(timed).collect()["high"].to_pylist() == [1.0, 2.0, 3.0]


def test_schemas_are_known_before_any_row_is_read_and_are_those_of_the_rows() -> None:
    timed = ticks().event_time("ts", max_delay="0s")
    result = bars(timed)
    streams = [timed, timed.select(x=col("price") / 2), timed.union(timed), result, result.late]
    for stream in streams:
        assert stream.collect().schema.equals(stream.schema)


def test_a_stream_may_be_read_by_several_steps_and_stays_as_it_was() -> None:
    timed = ticks().event_time("ts", max_delay="1s")
    cheap, dear = timed.filter(col("price") < 2), timed.filter(col("price") >= 2)
    assert (len(cheap.collect()), len(dear.collect()), len(timed.collect())) == (1, 2, 3)
    assert cheap.union(dear).collect().num_rows == 3
    assert timed.union(timed).collect().num_rows == 6


def test_collect_sorts_by_time_then_key_then_position() -> None:
    table = pa.table(
        {"ts": pa.array([5, 1, 5, 5], pa.timestamp("s")), "k": ["b", "z", "a", "b"], "n": [1, 2, 3, 4]}
    )
    keyed = sl.read_arrow(table).event_time("ts", max_delay="9s").key_by("k")
    for workers in (1, 3):
        assert keyed.collect(workers=workers, batch_rows=1)["n"].to_pylist() == [2, 3, 1, 4]


def test_pipe_hands_the_stream_on() -> None:
    def above(stream: sl.Stream, column: str, least: float) -> sl.Stream:
        return stream.filter(col(column) >= least)

    assert ticks().pipe(above, "price", least=2.0).collect()["price"].to_pylist() == [2.0, 3.0]


def test_explain_names_steps_lines_types_keys_time_and_state() -> None:
    text = bars(ticks().event_time("ts", max_delay="2s").named("clock")).named("bars").explain()
    for part in (
        "clock",
        "bars",
        "test_streams.py:",
        "max_delay='2s'",
        "keys: symbol",
        "open windows",
        "high double",
    ):
        assert part in text


def test_anything_that_exports_arrow_can_be_read() -> None:
    class Export:
        def __arrow_c_stream__(self, schema: object = None) -> object:
            return TABLE.__arrow_c_stream__(schema)

    for data in (TABLE, TABLE.to_batches()[0], TABLE.to_reader(), Export()):
        assert sl.read_arrow(data).collect().num_rows == 3
    with pytest.raises(sl.BuildError, match="Arrow") as caught:
        sl.read_arrow([1, 2])
    assert "test_streams.py" in str(caught.value)

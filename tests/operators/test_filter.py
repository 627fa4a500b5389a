"""`filter`: keeps rows; what it drops before `event_time` moves no watermark, what it drops after does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.elements import Batch

ROWS = pa.table(
    {"ts": pa.array([1, 50, 2, 51], pa.timestamp("s")), "ok": [True, False, True, None], "n": [1, 2, 3, 4]}
)


def late_rows(stream: sl.Stream) -> list[int]:
    return stream.window(sl.tumbling("10s")).agg(n=sl.count()).late.collect()["n"].to_pylist()


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_only_true_is_kept_null_counts_as_false(batch_rows: int, workers: int) -> None:
    kept = sl.read_arrow(ROWS).filter(col("ok")).collect(workers=workers, batch_rows=batch_rows)
    assert kept["n"].to_pylist() == [1, 3]
    assert sl.read_arrow(ROWS).filter(~col("ok")).collect()["n"].to_pylist() == [2]


def test_a_row_dropped_after_event_time_has_moved_the_watermark() -> None:
    timed = sl.read_arrow(ROWS).event_time("ts", max_delay="0s")
    assert late_rows(timed.filter(col("n") != 2)) == [3]


def test_a_row_dropped_before_event_time_has_not() -> None:
    timed = sl.read_arrow(ROWS).filter(col("n") != 2).event_time("ts", max_delay="0s")
    assert late_rows(timed) == []


def test_nothing_and_everything_may_be_dropped() -> None:
    stream = sl.read_arrow(ROWS).event_time("ts", max_delay="60s")
    assert stream.filter(sl.lit(True)).collect().num_rows == 4
    assert stream.filter(col("n") > 9).collect().num_rows == 0
    windows = stream.filter(col("n") > 9).window(sl.tumbling("10s")).agg(n=sl.count())
    assert windows.collect().num_rows == 0


@given(keep=st.lists(st.booleans(), min_size=1, max_size=40), offset=st.integers(0, 20))
def test_hidden_columns_follow_the_rows_wherever_a_mask_begins_in_its_bytes(
    keep: list[bool], offset: int
) -> None:
    mask = pa.array([True] * offset + keep).slice(offset)
    times = np.arange(len(keep), dtype=np.int64) * 10
    batch = Batch(pa.record_batch({"n": list(range(len(keep)))}), times, times + 1, 7)
    for given_mask in (mask, np.array(keep)):
        kept = batch.filter(given_mask)
        wanted = [n for n, k in enumerate(keep) if k]
        assert kept.rows.column("n").to_pylist() == wanted
        assert kept.time is not None and kept.time.tolist() == [10 * n for n in wanted]
        assert kept.mark is not None and kept.mark.tolist() == [10 * n + 1 for n in wanted]
        orders = kept.orders()
        assert orders is not None and orders.tolist() == [7 + n for n in wanted]

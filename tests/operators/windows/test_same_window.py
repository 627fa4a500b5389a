"""`same_window`: refused where there is no window to be of, and over as soon as its results are complete."""

from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import BuildError, col

SECOND = 1_000_000_000
TABLE = pa.table(
    {"ts": pa.array([1, 2, 3, 12], pa.timestamp("s")), "k": ["a", "a", "b", "b"], "v": [1, 2, 3, 4]}
)


def ticks() -> sl.Stream:
    return sl.read_arrow(TABLE).event_time("ts", max_delay="0s")


def counts(window: object = None) -> sl.Stream:
    chosen = window or sl.hopping("10s", every="5s")
    return ticks().key_by("k").window(chosen).agg(n=sl.count())  # type: ignore[arg-type]


def test_it_closes_with_the_watermark_that_the_window_before_it_sends_on() -> None:
    first = t.harness(counts())
    second = t.harness(counts().key_by().window(sl.same_window()).agg(n=col("n").sum()))
    first.feed(TABLE)
    results = first.watermark(10 * SECOND)
    assert results.num_rows == 4, "two keys in [-5, 5) and [0, 10)"
    times = [e - 1 for e in results["window_end"].cast(pa.timestamp("ns")).cast(pa.int64()).to_pylist()]
    batch = next(b for tag, b in first.outputs if tag is None)
    assert sorted(batch.time.tolist()) == sorted(times)
    list(second.operator.on_batch(batch))
    closed = second.watermark(first.forwarded)
    assert closed["n"].to_pylist() == [3, 3]


def test_windows_with_one_end_and_two_starts_are_two() -> None:
    short, long = counts(sl.tumbling("5s")), counts(sl.tumbling("10s"))
    both = short.union(long).key_by()
    found = both.window(sl.same_window()).agg(n=col("n").sum(), rows=sl.count()).collect()
    bounds = (found[name].cast(pa.int64()).to_pylist() for name in ("window_start", "window_end"))
    assert sorted(zip(*bounds, found["n"].to_pylist(), strict=True)) == [
        (0, 5, 3),
        (0, 10, 3),
        (10, 15, 1),
        (10, 20, 1),
    ]


def test_first_and_last_follow_the_order_of_results() -> None:
    again = counts().select("window_start", "window_end", "n").key_by().window(sl.same_window())
    found = again.agg(least=col("n").first(), most=col("n").last()).collect(workers=2)
    assert found["least"].to_pylist() == [1, 1, 1, 1] and found["most"].to_pylist() == [2, 2, 1, 1]


def test_keys_that_stay_are_keys_of_it_too() -> None:
    again = counts().window(sl.same_window()).agg(n=col("n").max())
    assert again.schema.names == ["k", "window_start", "window_end", "n"]
    assert again.collect().equals(counts().collect())


@pytest.mark.parametrize(
    "stream",
    [
        lambda: ticks().window(sl.same_window()),
        lambda: counts().select("window_start", "n").window(sl.same_window()),
        lambda: counts().late.window(sl.same_window()),
        lambda: counts().window(sl.same_window(), allowed_lateness="1s"),
        lambda: (
            counts()
            .union(counts().late.with_columns(n=sl.lit(1)).select(*counts().schema.names))
            .window(sl.same_window())
        ),
    ],
    ids=["rows", "a bound is missing", "late rows", "lateness", "results and late rows"],
)
def test_it_is_refused_where_rows_have_no_window(stream: object) -> None:
    with pytest.raises(BuildError, match="same_window"):
        stream().agg(n=sl.count())  # type: ignore[operator]

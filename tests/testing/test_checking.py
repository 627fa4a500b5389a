"""`check` finds what depends on the cut, the workers, the arrival and the crash; and lets pass what does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.connectors import CollectSink
from streamlib.operators.windows.aggregate import PaneOperator
from streamlib.testing.checking import Variation, variations
from streamlib.testing.rebuild import as_list_source, max_delays, rebuild, shuffled

ROWS = [
    {"ts": f"00:00:{second:02}", "k": key, "n": second}
    for second, key in zip(
        [3, 1, 4, 1, 5, 12, 2, 16, 15, 13, 25, 28, 29, 8], itertools.cycle("aab"), strict=False
    )
]


def ticks(max_delay: str = "8s") -> sl.Stream:
    return sl.read(t.source(ROWS[:9], ROWS[9:])).event_time("ts", max_delay=max_delay)


def test_a_pipeline_of_ours_passes_with_all_that_is_tried() -> None:
    bars = ticks("2s").key_by("k").window(sl.tumbling("10s")).agg(n=sl.count(), first=col("n").first())
    assert t.check([bars, bars.late, ticks().filter(col("n") > 3)]) == 15
    assert t.run(bars.late).num_rows > 0, "late rows are compared too"


def test_files_and_tables_are_checked_like_lists(tmp_path: Any) -> None:
    table = t.table("ts n\n00:00:01 1\n00:00:02 2\n00:00:11 3")
    bars = sl.read_arrow(table).event_time("ts", max_delay="1s").window(sl.tumbling("10s")).agg(n=sl.count())
    assert t.check(bars, seeds=[7], workers=[2], batch_rows=[1]) == 4


@pytest.mark.slow
def test_of_a_table_the_last_states_are_compared() -> None:
    keyed = ticks("2s").key_by("k")
    latest = keyed.latest()
    assert t.check([keyed.agg(n=sl.count(), last=col("n").last()), latest, latest.late]) == 15


def test_a_table_that_is_not_the_same_in_every_run_is_found() -> None:
    table = ticks().map_batches(numbered).key_by("k").agg(total=col("n").sum())
    with pytest.raises(AssertionError, match="the rows are not those of a plain run"):
        t.check(table)


def test_a_sink_is_nothing_to_check() -> None:
    with pytest.raises(sl.BuildError, match="streams and tables"):
        t.check(sl.read_arrow(t.table("n\n1")).write(CollectSink()))  # type: ignore[arg-type]


def numbered(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Sees the batch cut: a number that begins again with every batch."""
    return rows.set_column(2, "n", pa.array(range(rows.num_rows), pa.int64()))


def counting() -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """Is impure: counts its calls."""
    calls = itertools.count()

    def count(rows: pa.RecordBatch) -> pa.RecordBatch:
        call = next(calls)
        return rows.set_column(2, "n", pa.array([call] * rows.num_rows, pa.int64()))

    return count


@pytest.mark.parametrize("function", [numbered, counting()], ids=["sees the cut", "impure"])
def test_a_function_that_breaks_its_contract_is_found(
    function: Callable[[pa.RecordBatch], pa.RecordBatch],
) -> None:
    bars = ticks().map_batches(function).window(sl.tumbling("10s")).agg(n=col("n").sum())
    with pytest.raises(AssertionError, match="the rows are not those of a plain run") as raised:
        t.check(bars)
    message = str(raised.value)
    assert "batch_rows=1" in message and "seed=1" in message
    assert "missing window_start=" in message and "extra   window_start=" in message


def test_a_watermark_that_does_not_wait_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlib.runtime.receive.InputProgress._merge", _eager)
    bars = ticks().key_by("k").window(sl.tumbling("10s")).agg(n=sl.count())
    with pytest.raises(AssertionError, match=r"after watermark|has closed|not those of a plain run"):
        t.check(bars, workers=[3], batch_rows=[1], seeds=range(8))


def _eager(self: Any) -> bool:
    highest = max(self._marks)
    rose = highest > self.watermark
    self.watermark = max(highest, self.watermark)
    return bool(rose)


def test_a_snapshot_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaneOperator, "snapshot", lambda self: {"panes": self.store.snapshot().slice(1)})
    bars = ticks().key_by("k").window(sl.tumbling("10s")).agg(n=sl.count())
    assert t.check(bars, crashes=False)
    with pytest.raises(AssertionError, match="kills=2"):
        t.check(bars, seeds=range(8))


def test_a_pipeline_that_fails_only_sometimes_says_how() -> None:
    def short(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows == 1:
            raise ValueError("too short")
        return rows

    with pytest.raises(AssertionError, match="with batch_rows=1, seed=1 the run fails"):
        t.check(sl.read(t.source([{"n": 1}, {"n": 2}])).map_batches(short))


def test_tables_are_compared_as_rows_in_any_order() -> None:
    one, other = pa.table({"n": [1, 2, 2]}), pa.table({"n": [2, 1, 2]})
    t.assert_same(one, other, "same")
    with pytest.raises(AssertionError, match=r"counts\n  3 rows expected, 2 came\n  missing n=2"):
        t.assert_same(one, other.slice(1), "counts")
    with pytest.raises(AssertionError, match=r"schema\n  expected the columns n\n  got      m"):
        t.assert_same(one, pa.table({"m": [1]}), "schema")
    with pytest.raises(AssertionError, match="types\n  column 'n' is double, not int64"):
        t.assert_same(one, pa.table({"n": [1.0]}), "types")


def test_shuffling_makes_no_row_late_and_moves_some() -> None:
    import random

    rows = [{"ts": f"00:00:{second:02}", "n": second} for second in range(30)]
    stream = sl.read(t.source(rows)).event_time("ts", max_delay="5s")
    bars = stream.window(sl.tumbling("10s")).agg(n=sl.count())
    (read,) = (stream._node.inputs[0],)
    (step,) = max_delays(read, [bars._node])  # type: ignore[arg-type]
    moved = shuffled(read.source, step, random.Random(3))  # type: ignore[attr-defined]
    (again, late) = rebuild([bars._node, bars.late._node], lambda node: moved)
    assert again is late.inputs[0], "a step stays one step"
    numbers = [n for item in moved.items["split 0"] for n in item.column("n").to_pylist()]  # type: ignore[union-attr]
    assert numbers != sorted(numbers) and sorted(numbers) == list(range(30))
    assert t.run(sl.Stream(late)).num_rows == 0
    assert t.run(sl.Stream(again))["n"].to_pylist() == [10, 10, 10]


def test_a_split_with_late_rows_or_marks_stays_as_it_is() -> None:
    import random

    for items in (
        [{"ts": "00:00:20"}, {"ts": "00:00:01"}],
        [{"ts": "00:00:02"}, t.PAUSE(1), {"ts": "00:00:01"}],
    ):
        source = t.source(items)
        stream = sl.read(source).event_time("ts", max_delay="5s")
        assert shuffled(source, stream._node, random.Random(0)).items == source.items  # type: ignore[arg-type]


def test_a_source_of_any_kind_becomes_a_list() -> None:
    from streamlib.connectors import ArrowSource

    made = as_list_source(ArrowSource(pa.table({"n": [1, 2, 3]}), block_rows=2))
    assert [item.num_rows for item in made.items["arrow"]] == [2, 1]  # type: ignore[union-attr]
    assert as_list_source(made) is made


def test_variations_say_what_they_are() -> None:
    assert str(Variation()) == "one worker, whole batches"
    assert str(Variation(2, 7, seed=3, kills=1)) == "workers=2, batch_rows=7, seed=3, kills=1"
    assert len(list(variations((1, 2), (1, 7), (1,), shuffle=False, crashes=False))) == 5

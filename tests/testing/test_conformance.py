"""The batteries pass what we ship, and fail what breaks a promise: one broken part for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from streamlib import col
from streamlib.aggregates import Count, First, Last, Max, Mean
from streamlib.connectors import ArrowSource, CollectSink, FileSink, FileSource
from streamlib.contracts import Block, Source, Window
from streamlib.elements import Batch
from streamlib.errors import SinkError
from streamlib.operators.filter import FilterOperator
from streamlib.operators.windows.aggregate import PaneOperator

TABLE = pa.table({"n": range(10), "s": [*"abcdefghi", None]})

# ---- sources


def test_our_sources(tmp_path: Path) -> None:
    assert t.check_source(lambda: ArrowSource(TABLE, block_rows=3)) == 4
    sl.run(sl.read_arrow(TABLE).write_files(tmp_path / "one.csv"), progress=False)
    sl.run(sl.read_arrow(TABLE).write_files(tmp_path / "two.csv"), progress=False)
    assert t.check_source(lambda: FileSource(str(tmp_path / "*.csv"))) >= 2


class ForgetsPosition(ArrowSource):
    def open(self, split: Any, position: Any = None) -> Any:
        return super().open(split, None)


class Impure(ArrowSource):
    def open(self, split: Any, position: Any = None) -> Any:
        reader = super().open(split, position)
        seen: list[Block] = []

        def decode(block: Block) -> Any:
            seen.append(block)
            first = block.data[0]
            yield first.slice(0, 0 if seen.count(block) > 1 else first.num_rows)

        reader.decode = decode  # type: ignore[method-assign]
        return reader


class PeeksElsewhere(ArrowSource):
    def open(self, split: Any, position: Any = None) -> Any:
        reader = super().open(split, position)
        last = self._table.slice(self._table.num_rows - 1).to_batches()[0]
        reader.peek = lambda: last  # type: ignore[method-assign]
        return reader


class NamesTwice(ArrowSource):
    def splits(self) -> Any:
        return super().splits() * 2


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (ForgetsPosition, "reading on from its position"),
        (Impure, "decoding a block twice"),
        (PeeksElsewhere, "peek shows the first rows"),
        (NamesTwice, "names are unique"),
    ],
)
def test_a_broken_source(broken: type[ArrowSource], promise: str) -> None:
    def make() -> Source:
        return broken(TABLE, block_rows=3)

    with pytest.raises(AssertionError, match=promise):
        t.check_source(make)


# ---- sinks


def collected(sink: Any) -> pa.Table | None:
    try:
        return sink.table()
    except SinkError:
        return None


def test_our_sinks(tmp_path: Path) -> None:
    t.check_sink(CollectSink, collected)
    places = iter(range(1_000))

    def written(sink: Any) -> pa.Table | None:
        made = sorted(Path(sink.path).glob("*.parquet")) if Path(sink.path).is_dir() else []
        tables = [sl.read_files(str(file)).collect() for file in made]
        return pa.concat_tables(tables) if tables else None

    class Placed(FileSink):
        def __init__(self) -> None:
            self.path = str(tmp_path / f"place {next(places)}")
            super().__init__(self.path, format="parquet")

    t.check_sink(Placed, written)


class ShowsAtOnce(CollectSink):
    def open(self, schema: pa.Schema, worker: int) -> Any:
        writer = super().open(schema, worker)
        self._visible = self._kept[worker]
        return writer


class ForgetsAWorker(CollectSink):
    def commit(self, staged: Sequence[Any]) -> None:
        super().commit(staged[:1])


class DoublesACommit(CollectSink):
    def commit(self, staged: Sequence[Any]) -> None:
        before = self._visible or []
        super().commit(staged)
        assert self._visible is not None
        self._visible = [*before, *self._visible]


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (ShowsAtOnce, "before commit nothing"),
        (ForgetsAWorker, "every row of every writer"),
        (DoublesACommit, "made again after a crash"),
    ],
)
def test_a_broken_sink(broken: type[CollectSink], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        t.check_sink(broken, collected)


# ---- formats


@pytest.mark.parametrize("name", ["arrow", "parquet", "csv", "jsonl"])
def test_our_formats(name: str) -> None:
    assert t.check_format(getattr(sl, name)()) >= 1


def test_a_broken_format() -> None:
    class LosesRows(type(sl.arrow())):  # type: ignore[misc]
        def open_writer(self, file: Any, schema: pa.Schema) -> Any:
            writer = super().open_writer(file, schema)
            write = writer.write
            writer.write = lambda rows: write(rows.slice(1))
            return writer

    with pytest.raises(AssertionError, match="what was written is read back"):
        t.check_format(LosesRows())


# ---- windows


@pytest.mark.parametrize("size", ["1ns", "7ms", "10s", "1d", "1w"])
@pytest.mark.parametrize("offset", ["0s", "3ns", "6h"])
def test_our_windows(size: str, offset: str) -> None:
    t.check_window(sl.tumbling(size, offset))


@dataclass(frozen=True)
class TruncatesTowardsZero(Window):
    """The mistake of dividing as C does."""

    size: int = 10

    def starts(self, times: Any) -> Any:
        return np.fix(times / self.size).astype(np.int64) * self.size

    def ends(self, starts: Any) -> Any:
        return starts + self.size


@dataclass(frozen=True)
class Overlaps(Window):
    """Ends later than the next one starts."""

    def starts(self, times: Any) -> Any:
        return times - times % 10

    def ends(self, starts: Any) -> Any:
        return starts + 11


@pytest.mark.parametrize(
    ("broken", "promise"),
    [(TruncatesTowardsZero(), "a time lies in its window"), (Overlaps(), "last nanosecond")],
)
def test_a_broken_window(broken: Window, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        t.check_window(broken)


# ---- aggregates


@pytest.mark.parametrize(
    ("aggregate", "kind"),
    [
        (Mean(), pa.float64()),
        pytest.param(Max(), pa.int64(), marks=pytest.mark.slow),
        pytest.param(First(), pa.int64(), marks=pytest.mark.slow),
        (Last(), pa.float64()),
    ],
    ids=lambda a: str(getattr(a, "name", a)),
)
def test_our_aggregates(aggregate: Any, kind: pa.DataType) -> None:
    t.check_aggregate(aggregate, pa.array([3, None, 1, 4, 1, None, 5, 9, 2, 6, 5], kind))


def test_an_aggregate_without_input() -> None:
    t.check_aggregate(Count(), None)


def test_a_broken_aggregate() -> None:
    class SaysOtherwise(Mean):
        def result_type(self, input_type: Any) -> Any:
            return pa.int64()

    with pytest.raises(AssertionError, match="result_type says int64"):
        t.check_aggregate(SaysOtherwise(), pa.array([1, 2, 4]))


# ---- operators

ROWS = t.table("ts k n\n" + "\n".join(f"00:00:{s:02} {'ab'[s % 2]} {s}" for s in range(30)))


def bars() -> sl.Stream:
    ticks = sl.read_arrow(ROWS).event_time("ts", max_delay="0s")
    return (
        ticks.key_by("k")
        .window(sl.tumbling("10s"), allowed_lateness="2s")
        .agg(n=col("n").sum(), l=col("n").last())
    )


def test_our_operators() -> None:
    stream = sl.read_arrow(ROWS)
    t.check_operator(stream.filter(col("n") > 7), ROWS)
    t.check_operator(stream.with_columns(m=col("n") * 2), ROWS)
    t.check_operator(stream.map_batches(lambda rows: rows), ROWS)
    for ordered in (False, True):
        t.check_operator(
            bars(), ROWS, watermarks=[9_000_000_000, 19_000_000_000, 29_000_000_000], ordered=ordered
        )


def test_an_operator_that_sees_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    old = FilterOperator.on_batch

    def on_batch(self: FilterOperator, batch: Batch, side: int = 0) -> Any:
        return old(self, batch.slice(0, 1), side)

    monkeypatch.setattr(FilterOperator, "on_batch", on_batch)
    with pytest.raises(AssertionError, match="fed in batches of 1 rows"):
        t.check_operator(sl.read_arrow(ROWS).filter(col("n") > -1), ROWS)


def test_an_operator_that_forgets_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaneOperator, "restore", lambda self, state: None)
    with pytest.raises(AssertionError, match="restored from a snapshot after part 0"):
        t.check_operator(bars(), ROWS, watermarks=[15_000_000_000])


def test_an_operator_that_sends_the_watermark_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaneOperator, "forward", lambda self, watermark: watermark)
    with pytest.raises(AssertionError, match="after watermark"):
        t.check_operator(bars(), ROWS, watermarks=[11_000_000_000, 12_000_000_000])

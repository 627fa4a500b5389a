"""Functions as sinks: what they are given, how often they are called, what they say when they fail."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors.memory import ArrowSource
from streamlib.errors import BuildError, UserFunctionError

TABLE = pa.table({"n": range(10), "s": list("abcdefghij")})
ROWS = sl.read_arrow(TABLE)


def run(*sinks: Any, **options: Any) -> Any:
    return sl.run(*sinks, progress=False, **options)


def test_columns_a_dict_or_a_dataclass() -> None:
    found: list[Any] = []

    @dataclasses.dataclass
    class Row:
        s: str
        n: int = 0

    def whole(row: dict[str, Any]) -> None:
        found.append(row)

    def made(row: Row) -> None:
        found.append(row)

    run(ROWS.for_each(lambda row: found.append(row)))
    assert found[0] == {"n": 0, "s": "a"}
    found.clear()
    run(
        ROWS.for_each(whole),
        ROWS.for_each(made),
        ROWS.for_each(lambda n, s, more=5: found.append((n, s, more))),
    )
    assert (len(found), found.count((9, "j", 5))) == (30, 1)
    assert {"n": 3, "s": "d"} in found and Row("d", 3) in found


def test_only_its_columns_are_read() -> None:
    node = ROWS.for_each(lambda n: None)
    assert node.needs(None) == [frozenset({"n"})]
    run(node)


def test_batches_by_annotation() -> None:
    found: dict[str, int] = Counter()

    def arrow(batch: pa.Table) -> None:
        found["arrow"] += batch.num_rows

    def frame(batch: pl.DataFrame) -> None:
        found["polars"] += int(batch["n"].sum())

    def arrays(batch: dict[str, np.ndarray]) -> None:
        found["numpy"] += int(batch["n"].sum())

    run(*(ROWS.for_each_batch(f) for f in (arrow, frame, arrays)), batch_rows=3)
    assert found == {"arrow": 10, "polars": 45, "numpy": 45}


def test_a_class_is_built_opened_and_closed_by_its_worker() -> None:
    seen: list[tuple[str, int]] = []
    rows: list[int] = []

    class Store:
        def __init__(self) -> None:
            seen.append(("built", threading.get_ident()))

        def open(self) -> None:
            seen.append(("opened", threading.get_ident()))

        def __call__(self, n: int) -> None:
            assert seen[-1][1] == threading.get_ident()
            rows.append(n)

        def close(self) -> None:
            seen.append(("closed", threading.get_ident()))

    run(ROWS.for_each(Store), batch_rows=2)
    assert [what for what, _ in seen] == ["built", "opened", "closed"]
    assert len({thread for _, thread in seen}) == 1 and rows == list(range(10))


def test_every_worker_has_an_object_of_its_own() -> None:
    made: list[Any] = []

    class Count:
        def __init__(self) -> None:
            self.rows = 0
            made.append(self)

        def __call__(self, batch: pa.RecordBatch) -> None:
            self.rows += batch.num_rows

    split = sl.read(ArrowSource(TABLE, 1)).union(sl.read(ArrowSource(TABLE, 1)))
    run(split.for_each_batch(Count), workers=3, batch_rows=1)
    assert 1 <= len(made) <= 3 and sum(each.rows for each in made) == 20


def test_it_closes_after_an_error() -> None:
    closed: list[bool] = []

    class Broken:
        def __call__(self, n: int) -> None:
            raise OSError("gone")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(UserFunctionError, match=r"Broken \(.*test_for_each.py:\d+\) raised OSError"):
        run(ROWS.for_each(Broken))
    assert closed == [True]


def test_what_cannot_be_opened_says_so() -> None:
    class Closed:
        def open(self) -> None:
            raise OSError("no such place")

        def __call__(self, n: int) -> None: ...

    with pytest.raises(UserFunctionError, match=r"open\(\) of .*Closed") as caught:
        run(ROWS.for_each(Closed))
    assert caught.value.got == "no such place"


def test_an_error_names_function_line_row_and_place() -> None:
    def alert(n: int, s: str) -> None:
        if n == 4:
            raise ValueError(f"no {s}")

    with pytest.raises(UserFunctionError) as caught:
        run(ROWS.for_each(alert))
    said = str(caught.value)
    assert "alert (" in said and "raised ValueError in line" in said
    assert "where:    arrow, row 4" in said and "no e, for n=4, s='e'" in said and "for_each (" in said


@given(
    fails=st.sets(st.integers(0, 59)),
    comes_back=st.sets(st.integers(0, 59)),
    batch_rows=st.sampled_from([1, 3, 60]),
    attempts=st.sampled_from([1, 3]),
)
def test_a_row_that_was_handed_over_is_not_again(
    fails: set[int], comes_back: set[int], batch_rows: int, attempts: int
) -> None:
    calls: Counter[int] = Counter()
    done: list[int] = []

    def write(n: int) -> None:
        calls[n] += 1
        if n in fails or (n in comes_back and calls[n] < attempts):
            raise OSError("down")
        done.append(n)

    rows = sl.read(ArrowSource(pa.table({"n": range(60)}), batch_rows))
    retry = sl.Retry(attempts, wait=0) if attempts > 1 else None
    report = run(rows.for_each(write, on_error="skip", retry=retry), batch_rows=batch_rows)
    assert done == [n for n in range(60) if n not in fails], "each row once, in order"
    tried = dict.fromkeys(fails | (comes_back if attempts > 1 else set()), attempts)
    assert calls == {n: tried.get(n, 1) for n in range(60)}, "attempts are calls in all"
    assert report.rows_out == 60 or fails


def test_batches_that_fail_are_cut() -> None:
    done: set[int] = set()

    def write(batch: dict[str, np.ndarray]) -> None:
        if 7 in batch["n"]:
            raise OSError("down")
        done.update(batch["n"].tolist())

    run(ROWS.for_each_batch(write, on_error="skip"))
    assert done == set(range(10)) - {7}


def test_dead_letters_of_a_run(tmp_path: Path) -> None:
    def write(n: int) -> None:
        if n % 4 == 1:
            raise OSError("down")

    run(ROWS.for_each(write), on_error="dead_letter", dead_letters=tmp_path)
    letters = [json.loads(line) for line in (tmp_path / "for_each.jsonl").read_text().splitlines()]
    assert [(each["n"], each["error_type"]) for each in letters] == [
        (n, "UserFunctionError") for n in (1, 5, 9)
    ]


def _alert(n: int) -> None: ...


def _yields(n: int) -> Iterator[int]:
    yield n


async def _waits(n: int) -> None: ...


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ROWS.for_each(_yields), "yields, and a call of it would do nothing"),
        (lambda: ROWS.for_each(_waits), "cannot call an async function"),
        (lambda: ROWS.for_each(lambda price, n: None), "is no column"),
        (lambda: ROWS.for_each(7), "for_each needs a function"),  # type: ignore[arg-type]
        (lambda: ROWS.for_each_batch(lambda n, s: None), "cannot be called with one batch"),
        (lambda: ROWS.for_each(_alert, on_error="ignore"), "no such policy"),  # type: ignore[arg-type]
        (lambda: ROWS.for_each(_alert, retry=3), "retry= needs a Retry"),  # type: ignore[arg-type]
    ],
)
def test_refused_at_the_line(make: Any, said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        make()
    assert "test_for_each.py" in str(caught.value) and "for_each" in str(caught.value)


def test_it_says_what_it_guarantees() -> None:
    node = ROWS.for_each(_alert)
    assert "guarantee: at_least_once" in sl.explain(node)
    assert repr(node) == "<for_each _alert: pass it to sl.run(...)>"

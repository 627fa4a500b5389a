"""Own state equals what a plain loop makes of the sorted rows, whatever the splits, disorder, cuts and workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors.memory import CollectSink
from streamlib.elements import format_duration
from streamlib.streams import KeyedStream
from tests.oracle import queries
from tests.oracle.drawn import UNIT, Input, inputs
from tests.oracle.test_oracle_rolling import keyed

TTLS = st.sampled_from([None, UNIT, 5 * queries.SECOND])


def step(state: Any, price: Any, volume: Any) -> Any:
    count, total, high = state
    count += 1
    if price > high:
        high = price
    return (count, total + volume, high), (count * 1_000 + volume, total, high)


def judged(case: Input, lateness: int) -> tuple[list[dict[str, Any]], list[Any]]:
    """The rows that are not late, in their order; and the late ones, with by how much."""
    kept, late = [], []
    for split, rows in enumerate(case.splits):
        high = None
        times = rows["ts"].cast(pa.int64()).to_pylist()
        for position, (time, row) in enumerate(zip(times, rows.drop(["ts"]).to_pylist(), strict=True)):
            mark = None if high is None else max(high - case.delay, queries.MIN)
            if mark is not None and mark > time + lateness:
                late.append((time, *row.values(), mark - time - lateness))
            else:
                kept.append({"ts": time, **row, "place": (time, split, position)})
            high = time if high is None else max(high, time)
    return sorted(kept, key=lambda row: row["place"]), late


def lives(rows: list[dict[str, Any]], ttl: int | None) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each row, and whether its key begins with it."""
    last: dict[Any, int] = {}
    for row in rows:
        key, time = row["symbol"], row["ts"]
        yield row, key not in last or (ttl is not None and time - last[key] > ttl)
        last[key] = time


def scanned(case: Input, ttl: int | None, lateness: int) -> list[Any]:
    """What `step` gives. A row without a price fails, and leaves the state as it was."""
    states: dict[Any, Any] = {}
    found = []
    for row, anew in lives(judged(case, lateness)[0], ttl):
        state = (0, 0, -1e9) if anew else states[row["symbol"]]
        states[row["symbol"]] = state
        if row["price"] is None:
            continue
        states[row["symbol"]], out = step(state, row["price"], row["volume"])
        found.append((row["ts"], row["symbol"], row["price"], row["volume"], *out))
    return queries.canonical(found)


@given(case=inputs(), ttl=TTLS, compiles=st.booleans())
def test_scan_equals_a_plain_loop(case: Input, ttl: int | None, compiles: bool) -> None:
    into = {"tag": "int64", "before": "int64", "high": "float64"}
    stream = keyed(case).scan(
        step,
        init=(0, 0, -1e9),
        into=into,
        ttl=None if ttl is None else format_duration(ttl),
        allowed_lateness=format_duration(case.lateness),
    )
    stream.on_error("skip")
    node: Any = replace(stream._node, compiles=compiles)  # type: ignore[call-arg]
    stream, kept, late = KeyedStream(node), CollectSink(), CollectSink()
    sl.run(stream.write(kept), stream.late.write(late), workers=case.workers, batch_rows=case.batch_rows)
    assert queries.found(kept.table()) == scanned(case, ttl, case.lateness)
    assert queries.found(late.table()) == queries.canonical(judged(case, case.lateness)[1])


def totals(rows: dict[str, np.ndarray], state: Any, slot: Any) -> Any:
    """Row by row, so that nothing but the order of a key's rows can matter."""
    before = np.empty(len(slot), dtype=np.int64)
    for at, place in enumerate(slot):
        before[at] = state["total"][place]
        state["total"][place] = (state["total"][place] * 3 + rows["volume"][at]) % 1_000_003
    return {"ts": rows["ts"], "symbol": rows["symbol"], "before": before}, state


SCHEMA = {"ts": "timestamp[ns]", "symbol": str, "before": int}


@given(case=inputs(), ttl=TTLS)
def test_stateful_batch_equals_a_plain_loop(case: Input, ttl: int | None) -> None:
    stream = keyed(case).stateful_batch(
        totals, state={"total": 7}, schema=SCHEMA, ttl=None if ttl is None else format_duration(ttl)
    )
    found = stream.collect(workers=case.workers, batch_rows=case.batch_rows)
    states: dict[Any, int] = {}
    wanted = []
    for row, anew in lives(judged(case, 0)[0], ttl):
        before = 7 if anew else states[row["symbol"]]
        wanted.append((row["ts"], row["symbol"], before))
        states[row["symbol"]] = (before * 3 + row["volume"]) % 1_000_003
    assert queries.found(found) == queries.canonical(wanted)


def mixed(state: Any, volume: Any) -> Any:
    return (state[0] * 3 + volume) % 1_000_003, state[1] + 1


@settings(max_examples=max(10, settings().max_examples // 2))
@given(case=inputs(), rate=st.sampled_from([None, UNIT, 5 * queries.SECOND]), compiles=st.booleans())
def test_fold_equals_a_plain_loop(case: Input, rate: int | None, compiles: bool) -> None:
    into = {"total": "int64", "n": "int32"}
    limit = None if rate is None else format_duration(rate)
    table = keyed(case).fold((0, 0), mixed, into=into, max_rate=limit)
    object.__setattr__(table._node, "compiles", compiles)
    found = table.collect(workers=case.workers, batch_rows=case.batch_rows)
    states: dict[Any, Any] = {}
    for row in judged(case, 0)[0]:
        states[row["symbol"]] = mixed(states.get(row["symbol"], (0, 0)), row["volume"])
    assert queries.found(found) == queries.canonical([(key, *state) for key, state in states.items()])

"""A compiled step gives what the function gives, to the bit, whatever the values: errors, overflow, NaN, nulls."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.operators.own_state.scan import ScanNode
from streamlib.streams import KeyedStream
from tests.operators.steps import STEPS

FLOATS = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.0,
    -7.25,
    3.0,
    1e300,
    -1e308,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    2.0**53,
    1e19,
]
WHOLE = [0, 1, -1, 2, 3, -7, 10, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
TYPES = {"x": pa.float64(), "y": pa.float64(), "n": pa.int64(), "m": pa.int64(), "b": pa.bool_()}

some_float = st.one_of(st.sampled_from(FLOATS), st.floats(-100, 100, width=32), st.floats(), st.none())
some_int = st.one_of(
    st.sampled_from(WHOLE), st.integers(-20, 20), st.integers(-(2**63), 2**63 - 1), st.none()
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.sampled_from(["a", "b"]),
            "x": some_float,
            "y": some_float,
            "n": some_int,
            "m": some_int,
            "b": st.sampled_from([True, False, None]),
        }
    ),
    max_size=30,
)


def table(drawn: list[dict[str, Any]]) -> pa.Table:
    columns: dict[str, Any] = {"ts": pa.array(range(len(drawn)), pa.timestamp("s"))}
    columns["k"] = pa.array([row["k"] for row in drawn], pa.string())
    for name, kind in TYPES.items():
        columns[name] = pa.array([row[name] for row in drawn], kind)
    return pa.table(columns)


def stream(given: pa.Table, name: str, compiles: bool) -> KeyedStream:
    step, init, kinds = STEPS[name]
    into = {f"out{place}": kind for place, kind in enumerate(kinds)}
    made = sl.read_arrow(given).event_time("ts", max_delay="0s").key_by("k").scan(step, init=init, into=into)
    made.on_error("dead_letter")
    node = made._node
    assert isinstance(node, ScanNode)
    assert not isinstance(node.compiled, str), node.compiled
    return made if compiles else KeyedStream(replace(node, compiles=False))


def bits(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return (type(value), value)


def results(made: sl.Stream) -> list[Any]:
    """Rows, and behind them the refused ones."""
    found = [[bits(value) for value in row.values()] for row in made.collect().to_pylist()]
    letters = made.dead_letters.drop("error_step").collect()
    return [*found, *([bits(value) for value in row.values()] for row in letters.to_pylist())]


def fits(kind: str, value: Any) -> bool:
    if value is None:
        return True
    if kind == "float64":
        return type(value) is float or (type(value) is int and abs(value) <= 2**53)
    if kind == "bool":
        return type(value) is bool
    return type(value) is int and -(2 ** (int(kind[3:]) - 1)) <= value < 2 ** (int(kind[3:]) - 1)


def by_loop(drawn: list[dict[str, Any]], name: str) -> list[Any]:
    """What a plain loop gives for the rows that do not fail."""
    step, init, kinds = STEPS[name]
    states: dict[str, Any] = {}
    found = []
    names = step.__code__.co_varnames[1 : step.__code__.co_argcount]
    for row in drawn:
        try:
            state, output = step(states.get(row["k"], init), *(row[name] for name in names))
        except Exception:
            continue
        outputs = (output,) if len(kinds) == 1 else output
        if all(map(fits, kinds, outputs)):
            states[row["k"]] = state
            floats = [
                float(v) if k == "float64" and v is not None else v
                for k, v in zip(kinds, outputs, strict=True)
            ]
            found.append([bits(value) for value in floats])
    return found


QUICK = ("vwap", "early")
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in STEPS]


@pytest.mark.parametrize("name", CASES)
@given(drawn=rows)
def test_compiled_and_interpreted_are_the_same_to_the_bit(name: str, drawn: list[dict[str, Any]]) -> None:
    given = table(drawn)
    compiled, interpreted = stream(given, name, True), stream(given, name, False)
    assert results(compiled) == results(interpreted)
    outs = [c for c in compiled.schema.names if c.startswith("out")]
    found = [[bits(v) for v in row.values()] for row in compiled.select(*outs).collect().to_pylist()]
    assert found == by_loop(drawn, name)

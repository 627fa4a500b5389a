"""The line of a user's function that raised."""

from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.errors import UserFunctionError

KNOWN = {1: "one"}
TABLE = pa.table({"n": [1, 2]})


def named(n: int) -> str:
    return KNOWN[n]


def function(n: int) -> dict[str, str]:
    name = named(n)
    return {"name": name}


def by_batch(rows: pa.RecordBatch) -> pa.RecordBatch:
    names = [named(n) for n in rows["n"].to_pylist()]
    return pa.record_batch({"name": pa.array(names, pa.string())})


def test_the_innermost_line_of_the_script_is_named() -> None:
    stream = sl.read_arrow(TABLE)
    inside = named.__code__.co_firstlineno + 1
    for made in (
        stream.map(function, {"name": str}),
        stream.flat_map(lambda n: [function(n)], {"name": str}),
        stream.map_batches(by_batch),
    ):
        with pytest.raises(UserFunctionError, match=f"raised KeyError in line {inside}\n"):
            made.collect()


def test_a_lambda_has_one_line_and_it_is_named_anyway() -> None:
    with pytest.raises(UserFunctionError, match=r"test_function_errors.py:\d+\) raised ZeroDivisionError\n"):
        sl.read_arrow(TABLE).map(lambda n: {"n": 1 // (n - 2)}, {"n": int}).collect()

from __future__ import annotations

import pyarrow as pa
import pytest

import streamlib.testing as t
from streamlib.errors import BuildError
from streamlib.testing.tables import rows_to_table


def test_types_are_those_that_all_values_look_like() -> None:
    found = t.table(
        """
        ts                   n    x     flag   s
        2024-05-01T12:00:01  1    0.5   true   a
        -                    -    2     false  "two words"
        2024-05-01           -3   -     -      -
        """
    )
    assert found.schema.types == [pa.timestamp("ns"), pa.int64(), pa.float64(), pa.bool_(), pa.string()]
    assert found["n"].to_pylist() == [1, None, -3]
    assert found["x"].to_pylist() == [0.5, 2.0, None]
    assert found["flag"].to_pylist() == [True, False, None]
    assert found["s"].to_pylist() == ["a", "two words", None]
    assert found["ts"].cast(pa.int64()).to_pylist() == [1714564801 * 10**9, None, 1714521600 * 10**9]


def test_a_type_behind_the_name_decides() -> None:
    found = t.table("n:float64 s:string at:timestamp[ms]\n1 1 00:00:02.5")
    assert found.schema.types == [pa.float64(), pa.string(), pa.timestamp("ms")]
    assert found["at"].cast(pa.int64()).to_pylist() == [2500]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("12:00", 43_200 * 10**9),
        ("00:00:00.000000001", 1),
        ("-00:00:00.5", -500_000_000),
        ("1969-12-31T23:59:59", -(10**9)),
        ("1970-01-02", 86_400 * 10**9),
    ],
)
def test_times(text: str, nanoseconds: int) -> None:
    assert t.time_ns(text) == nanoseconds


def test_no_rows_and_no_text() -> None:
    assert t.table("a b:int64").num_rows == 0
    with pytest.raises(BuildError, match="no line of names"):
        t.table("  \n ")


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(BuildError, match="as many values"):
        t.table("a b\n1")
    with pytest.raises(BuildError, match="is no int64"):
        t.table("a:int64\nx")
    with pytest.raises(BuildError, match="no type 'integer'"):
        t.table("a:integer\n1")
    with pytest.raises(BuildError, match="does not fit the schema"):
        rows_to_table([{"a": 1, "b": 2}], {"a": "int64"})


def test_rows_as_dicts_and_tuples() -> None:
    schema = {"ts": "time", "n": "int"}
    expected = rows_to_table([("00:00:01", 1), ("00:00:02", None)], schema)
    assert expected.equals(rows_to_table([{"ts": "00:00:01", "n": 1}, {"ts": "00:00:02"}], schema))
    assert expected["ts"].cast(pa.int64()).to_pylist() == [10**9, 2 * 10**9]
    assert rows_to_table([{"ts": "00:00:01"}]).schema.types == [pa.timestamp("ns")]

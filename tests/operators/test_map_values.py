"""Values of columns as Python values and back: nothing is lost on the way, and nothing is bent to fit."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.values import python_values

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float64": (pa.float64(), st.floats()),
    "float32": (pa.float32(), st.floats(width=32)),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), st.text()),
    "large_string": (pa.large_string(), st.text()),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from("abc")),
    "binary": (pa.binary(), st.binary()),
    "date": (pa.date32(), st.dates()),
    "time": (pa.time64("us"), st.times()),
    "seconds": (pa.timestamp("s"), st.integers(-(10**9), 10**9)),
    "millis": (pa.timestamp("ms", "UTC"), st.integers(-(10**12), 10**12)),
    "micros": (pa.timestamp("us", "Europe/Berlin"), st.integers(-(8 * 10**15), 8 * 10**15)),
    "offset": (pa.timestamp("us", "-03:30"), st.integers(-(10**15), 10**15)),
    "nanos": (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
    "nanos-zoned": (pa.timestamp("ns", "UTC"), st.integers(-(2**62), 2**62)),
    "duration": (pa.duration("ms"), st.integers(-(10**12), 10**12)),
    "duration-ns": (pa.duration("ns"), st.integers(-(2**62), 2**62)),
    "decimal": (pa.decimal128(20, 3), st.decimals(-(10**9), 10**9, places=3)),
    "list": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(0, 5), max_size=3)),
    "pairs": (pa.list_(pa.int64(), 2), st.lists(st.none() | st.integers(0, 5), min_size=2, max_size=2)),
    "float16": (pa.float16(), st.floats(width=16).map(np.float16)),
    "time32": (pa.time32("s"), st.times().map(lambda v: v.replace(microsecond=0))),
    "decimal256": (pa.decimal256(40, 3), st.decimals(-(10**9), 10**9, places=3)),
    "map": (pa.map_(pa.string(), pa.int64()), st.lists(st.tuples(st.text(), st.integers(0, 5)), max_size=2)),
    "list-of-nanos": (pa.list_(pa.timestamp("ns")), st.lists(st.integers(-(2**62), 2**62), max_size=3)),
    "struct": (
        pa.struct([("a", pa.int64()), ("at", pa.timestamp("ns"))]),
        st.fixed_dictionaries({"a": st.none() | st.integers(0, 5), "at": st.none() | st.integers(0, 10**18)}),
    ),
    "nested": (
        pa.list_(pa.struct([("x", pa.list_(pa.string()))])),
        st.lists(
            st.none() | st.fixed_dictionaries({"x": st.none() | st.lists(st.text(), max_size=2)}), max_size=2
        ),
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
@given(data=st.data())
def test_a_value_that_is_handed_on_is_what_it_was(name: str, data: st.DataObject) -> None:
    """Through Python and back nothing is lost: not a nanosecond, not a null, not a NaN."""
    kind, values = COLUMNS[name]
    drawn = pa.array(data.draw(st.lists(st.none() | values, max_size=8)), kind)
    skipped = data.draw(st.integers(0, len(drawn)))
    column = drawn.slice(skipped)
    back = array_of(python_values(column), kind)
    back.validate(full=True)
    assert back.type == kind
    if pa.types.is_dictionary(kind):
        back, column = back.dictionary_decode(), column.dictionary_decode()
    assert back.equals(column) or str(back) == str(column), "NaN is not equal to itself"


def test_common_columns_are_what_python_users_expect() -> None:
    noon = dt.datetime(2026, 7, 1, 12)
    for kind in (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns")):
        assert python_values(pa.array([noon, None], kind)) == [noon, None]
        assert type(python_values(pa.array([noon], kind))[0]) is dt.datetime
    (berlin,) = python_values(pa.array([noon], pa.timestamp("ns", "Europe/Berlin")))
    assert berlin == noon.replace(tzinfo=dt.UTC) and berlin.utcoffset() == dt.timedelta(hours=2)
    assert python_values(pa.array([1, None])) == [1, None]
    assert [type(v) for v in python_values(pa.array([1, None, 2]))] == [int, type(None), int]
    (fine,) = python_values(pa.array([1], pa.timestamp("ns")))
    assert fine == np.datetime64(1, "ns")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), 1.5),
        (pa.int64(), 2.0),
        (pa.int64(), True),
        (pa.int64(), "5"),
        (pa.int8(), 300),
        (pa.int64(), 2**70),
        (pa.int64(), math.nan),
        (pa.float64(), "1.5"),
        (pa.float64(), False),
        (pa.float64(), 2**60 + 1),
        (pa.float32(), 1e300),
        (pa.bool_(), 1),
        (pa.string(), 5),
        (pa.string(), b"x"),
        (pa.string(), "\ud800"),
        (pa.binary(), "x"),
        (pa.timestamp("s"), dt.datetime(2026, 1, 1, 0, 0, 0, 5)),
        (pa.timestamp("ms"), np.datetime64(1_000, "ns")),
        (pa.timestamp("us"), np.datetime64(1, "ns")),
        (pa.timestamp("us"), 5),
        (pa.timestamp("us"), dt.date(2026, 1, 1)),
        (pa.timestamp("us"), "2026-01-01"),
        (pa.timestamp("ns"), dt.datetime(9999, 1, 1)),
        (pa.date32(), dt.datetime(2026, 1, 1, 5)),
        (pa.duration("s"), dt.timedelta(microseconds=5)),
        (pa.time32("s"), dt.time(1, 2, 3, 4)),
        (pa.decimal128(10, 2), decimal.Decimal("1.111")),
        (pa.decimal128(10, 2), 1.1),
        (pa.list_(pa.int64()), {1, 2}),
        (pa.list_(pa.int64()), "12"),
        (pa.list_(pa.int64()), [1, 2.5]),
        (pa.list_(pa.int64(), 2), [1]),
        (pa.list_(pa.int64(), 2), [1, 2.5]),
        (pa.struct([("a", pa.int64())]), {"c": 1}),
        (pa.struct([("a", pa.int64())]), {"a": 1, "c": 1}),
        (pa.struct([("a", pa.int64())]), {"a": 1.5}),
        (pa.struct([("a", pa.int64())]), 5),
        (pa.dictionary(pa.int32(), pa.string()), 5),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused_with_its_index(kind: pa.DataType, value: Any) -> None:
    with pytest.raises(Misfit) as caught:
        array_of([None, None, value, None, value], kind)
    assert caught.value.index == 2


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (pa.float64(), 5, 5.0),
        (pa.int64(), np.int32(5), 5),
        (pa.float32(), 0.1, np.float32(0.1)),
        (pa.float64(), math.inf, math.inf),
        (pa.float32(), math.inf, math.inf),
        (pa.timestamp("us"), np.datetime64("2026-01-01", "D"), dt.datetime(2026, 1, 1)),
        (pa.timestamp("us"), np.datetime64("NaT"), None),
        (
            pa.timestamp("us"),
            dt.datetime(2026, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            dt.datetime(2026, 1, 1),
        ),
        (pa.list_(pa.int64()), (1, 2), [1, 2]),
        (pa.list_(pa.int64()), np.array([1, 2]), [1, 2]),
        (pa.decimal128(10, 2), 5, decimal.Decimal("5.00")),
    ],
    ids=str,
)
def test_a_value_that_means_the_same_is_taken(kind: pa.DataType, value: Any, wanted: Any) -> None:
    assert array_of([value], kind).to_pylist() == [wanted]


def test_a_time_of_pandas_keeps_its_nanoseconds() -> None:
    pandas = pytest.importorskip("pandas")
    fine = pandas.Timestamp(1_000_001, unit="ns")
    assert array_of([fine, None], pa.timestamp("ns")).cast(pa.int64()).to_pylist() == [1_000_001, None]
    with pytest.raises(Misfit):
        array_of([fine], pa.timestamp("us"))


def test_a_time_that_python_cannot_hold_names_its_row() -> None:
    times = pa.array([0, 2**60], pa.timestamp("s"))
    stream = sl.read_arrow(pa.table({"at": times})).map(lambda at: (at,), schema={"at": "timestamp[s]"})
    with pytest.raises(sl.DataError, match="years 1 to 9999") as caught:
        stream.collect()
    assert caught.value.where == "arrow, row 1"

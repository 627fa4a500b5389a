"""Which types aggregates take and give; what they refuse says what would be right."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, Aggregate, Count, First, Last, Max, Mean, Min, Sum
from streamlib.errors import DataError, TypeMismatchError
from streamlib.state import PaneStore, Tumbling

PLAIN = [
    pa.int8(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(),
    pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"), pa.timestamp("us", "UTC"), pa.duration("ms"),
]  # fmt: skip


KEPT = [
    pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary(4), pa.binary_view(),
    pa.decimal128(5), pa.decimal256(50, 2), pa.null(),
]  # fmt: skip


@pytest.mark.parametrize("kind", [*PLAIN, *KEPT], ids=str)
def test_min_max_first_last_keep_the_type(kind: pa.DataType) -> None:
    for aggregate in (Min(), Max(), First(), Last()):
        assert aggregate.result_type(kind) == kind
        assert aggregate.result_type(pa.dictionary(pa.int8(), kind)) == kind
    assert Count().result_type(kind) == Count().result_type(None) == pa.int64()


def test_sums_and_means_widen() -> None:
    assert [Sum().result_type(t) for t in (pa.int8(), pa.uint8(), pa.float32(), pa.bool_())] == [
        pa.int64(), pa.uint64(), pa.float64(), pa.int64(),
    ]  # fmt: skip
    assert Sum().result_type(pa.duration("s")) == pa.duration("s")
    assert Mean().result_type(pa.uint8()) == pa.float64()


@pytest.mark.parametrize(
    ("aggregate", "kind"),
    [
        (Sum(), pa.string()),
        (Sum(), pa.timestamp("ns")),
        (Sum(), pa.decimal128(5)),
        (Mean(), pa.duration("s")),
        (Min(), pa.list_(pa.int8())),
        (Max(), pa.struct([("x", pa.int8())])),
        (Min(), pa.uuid() if hasattr(pa, "uuid") else pa.map_(pa.string(), pa.int8())),
        (Last(), pa.sparse_union([pa.field("x", pa.int8())])),
        (First(), pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        (First(), None),
    ],
    ids=str,
)
def test_what_does_not_work_is_refused_when_the_graph_is_built(aggregate: Aggregate, kind: Any) -> None:
    with pytest.raises(TypeMismatchError, match=rf"{aggregate.name}\(\)") as raised:
        aggregate.result_type(kind)
    assert raised.value.expected is not None
    with pytest.raises(TypeMismatchError):
        AccumulatorPlan([(aggregate, 0 if kind else None, kind)])


def run(column: pa.Array, aggregates: list[Aggregate]) -> list[Any]:
    plan = AccumulatorPlan([(a, 0, column.type) for a in aggregates], ["x"])
    store = PaneStore([], plan)
    keys = pa.RecordBatch.from_struct_array(pa.array([{}] * len(column), pa.struct([])))
    store.add(keys, Tumbling(10), [column], np.zeros(len(column), dtype=np.int64))
    results = store.pop(0).results()
    assert [r.type for r in results] == plan.result_types
    for result in results:
        result.validate(full=True)
    return [r[0].as_py() for r in results]


ALL = [Count(), Min(), Max(), First(), Last()]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([3, None, -5, 4], pa.int16()),
        ([3, 2**64 - 1, 1], pa.uint64()),
        ([1.5, None, -2.5], pa.float32()),
        ([True, False, None, True], pa.bool_()),
        ([dt.date(2020, 1, 2), None, dt.date(1950, 1, 2)], pa.date32()),
        ([dt.datetime(2020, 1, 2, 3), dt.datetime(1950, 1, 2)], pa.timestamp("us")),
        ([dt.time(3), None, dt.time(1)], pa.time32("ms")),
        ([dt.timedelta(seconds=3), dt.timedelta(seconds=-1)], pa.duration("ms")),
        (["b", None, "", "a"], pa.string()),
        (["b", None, "long enough to lie outside of a view"], pa.string_view()),
        ([b"b", None, b"\xff"], pa.binary_view()),
        ([b"bb", None, b"\xff\0"], pa.binary(2)),
        ([Decimal("1.5"), None, Decimal("-20.0")], pa.decimal128(5, 1)),
        ([Decimal("1.5"), None, Decimal("-20.0")], pa.decimal256(70, 1)),
    ],
)
def test_values_come_back_as_they_were(values: list[Any], kind: pa.DataType) -> None:
    valid = [v for v in values if v is not None]
    assert run(pa.array(values, kind), ALL) == [len(valid), min(valid), max(valid), values[0], values[-1]]


def test_without_values_a_sum_is_zero_and_the_rest_null() -> None:
    for kind in (pa.int32(), pa.float64(), pa.bool_()):
        got = run(pa.array([None, None], kind), [*ALL, Sum(), Mean()])
        assert got == [0, None, None, None, None, 0, None]


@pytest.mark.slow
def test_nan_and_zero() -> None:
    assert run(pa.array([math.nan, 1.0]), [Min(), Max()]) == [1.0, 1.0]
    assert all(math.isnan(v) for v in run(pa.array([math.nan, None]), [Min(), Max()]))
    for values in ([-0.0, 0.0], [0.0, -0.0]):
        assert [math.copysign(1, v) for v in run(pa.array(values), [Min(), Max()])] == [1, 1]
    assert math.copysign(1, run(pa.array([-0.0]), [First()])[0]) == -1


def test_an_integer_sum_may_overflow_on_the_way_but_not_at_the_end() -> None:
    top = 2**63 - 1
    assert run(pa.array([top, top, -top]), [Sum()]) == [top]
    assert run(pa.array([top, top]), [Mean()]) == [float(top)]
    with pytest.raises(DataError, match="the sum of x does not fit into int64"):
        run(pa.array([top, 1]), [Sum()])
    assert run(pa.array([dt.timedelta(1), dt.timedelta(2)], pa.duration("s")), [Sum()]) == [dt.timedelta(3)]

"""pyarrow.compute functions by name."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import call, col
from tests.expr.columns import one


def test_a_function_is_called_with_its_options() -> None:
    assert one(call("utf8_upper", col("s")), s="abc") == "ABC"
    assert one(col("s").call("utf8_lpad", width=5, padding="."), s="abc") == "..abc"
    assert one(col("s").call("is_in", value_set=pa.array(["abc"])), s="abc") is True
    assert one(call("max_element_wise", col("a"), col("b"), 5), a=1, b=2) == 5
    assert one(call("if_else", col("x"), col("a"), 0), x=False, a=1) == 0


def test_two_sets_of_values_are_two_calls() -> None:
    few, many = (col("s").call("is_in", value_set=pa.array([str(i) for i in range(n)])) for n in (50, 60))
    assert few.key() != many.key()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: call("utf8_uper", col("s")), "did you mean 'utf8_upper'"),
        (lambda: call("cumulative_sum", col("s")), "cut into batches"),
        (lambda: call("sum", col("s")), "cut into batches"),
        (lambda: call("random", 3), "does not work row by row"),
        (lambda: call("add", col("s")), "called with 1 inputs"),
        (lambda: call("coalesce"), "called with 0 inputs"),
        (lambda: call("utf8_upper", col("s"), width=3), "does not take these options"),
        (lambda: call("utf8_lpad", col("s"), wide=3), "does not take these options"),
        (lambda: call("utf8_lpad", col("s")), "does not take these options"),
    ],
)
def test_a_wrong_call_fails_where_it_is_written(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(BuildError) as caught:
        build()
    assert message in str(caught.value)


def test_a_wrong_type_names_the_call() -> None:
    with pytest.raises(TypeMismatchError, match=r'cannot compute call\("utf8_upper", col\("n"\)\)'):
        call("utf8_upper", col("n")).type_in(pa.schema({"n": pa.int64()}))

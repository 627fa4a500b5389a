"""Programs: what is shared, what is planned once, what the errors say."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streamlib.errors import ColumnNotFoundError, DataError, TypeMismatchError
from streamlib.expr import Program, col, lit

SCHEMA = pa.schema({"price": pa.float64(), "symbol": pa.string(), "volume": pa.int64()})


def without_step(error: Exception) -> str:
    """The message but for the line of this file."""
    return "\n".join(line for line in str(error).splitlines() if not line.startswith("  step:"))


def test_equal_parts_are_computed_once() -> None:
    value = col("price") * col("volume")
    alone = Program({"value": value}, SCHEMA)
    together = Program({"value": value, "twice": value * 2, "half": value / 2}, SCHEMA)
    assert len(together._steps) == len(alone._steps) + 2


def test_conversions_are_shared() -> None:
    program = Program({"a": col("volume") / 2, "b": col("volume") / 3}, SCHEMA)
    assert len(program._steps) == 3  # one cast, two divisions


def test_constants_are_folded() -> None:
    assert not Program({"a": lit(1) + 2, "b": lit(4) / 2}, SCHEMA)._steps


def test_only_columns_that_are_read_are_fetched() -> None:
    assert len(Program({"a": col("price") + 1}, SCHEMA)._columns) == 1


def test_the_results_have_the_schema_that_was_planned() -> None:
    program = Program({"v": col("volume") / 2, "s": col("symbol"), "c": lit(1)}, SCHEMA)
    assert program.schema == pa.schema({"v": pa.float64(), "s": pa.string(), "c": pa.int64()})
    batch = pa.record_batch({"price": [1.0, 2.0], "symbol": ["a", None], "volume": [3, None]}, SCHEMA)
    for rows in (batch, batch.slice(1), batch.slice(0, 0)):
        results = program.evaluate(rows)
        assert [r.type for r in results] == program.schema.types
        assert [len(r) for r in results] == [rows.num_rows] * 3


def test_a_slice_gives_the_rows_of_the_slice() -> None:
    batch = pa.record_batch({"a": pa.array([1, None, 3, 4, 0]), "b": pa.array([2, 2, None, 3, 0])})
    expr = (col("a") // col("b")).fill_null(-1) % 3 + col("a") * 2
    whole = expr.evaluate(batch).to_pylist()
    for start in range(5):
        assert expr.evaluate(batch.slice(start, 2)).to_pylist() == whole[start : start + 2]


def test_an_expression_is_planned_again_for_another_schema() -> None:
    expr = col("a") + 1
    assert expr.evaluate(pa.record_batch({"a": [1]})).to_pylist() == [2]
    assert expr.evaluate(pa.record_batch({"b": ["x"], "a": [1.5]})).to_pylist() == [2.5]


def test_an_unknown_column_gives_the_nearest() -> None:
    with pytest.raises(ColumnNotFoundError) as caught:
        (col("prise") * 2).type_in(SCHEMA)
    assert without_step(caught.value) == (
        "there is no column 'prise'\n"
        "  expected: one of: price, symbol, volume\n"
        "  got:      'prise'\n"
        "  hint:     did you mean 'price'?"
    )


def test_a_mismatch_names_the_part_as_it_was_written_and_its_types() -> None:
    with pytest.raises(TypeMismatchError) as caught:
        ((col("price") + col("symbol")) * col("volume")).sum().type_in(SCHEMA)
    assert without_step(caught.value) == (
        'cannot compute col("price") + col("symbol")\n'
        '  got:      col("price") is float64, col("symbol") is string\n'
        "  hint:     + takes numbers, not string"
    )


def test_a_value_that_cannot_be_computed_names_the_part_the_row_and_the_values() -> None:
    batch = pa.record_batch({"a": [1, 2**62, 5], "b": [3, 2, 2**62]})
    with pytest.raises(DataError) as caught:
        (col("a") * col("b") - 1).evaluate(batch)
    assert without_step(caught.value) == (
        'cannot compute col("a") * col("b"): overflow\n'
        "  where:    row 1 of the batch\n"
        "  expected: a result that fits int64\n"
        '  got:      col("a") = 4611686018427387904, col("b") = 2\n'
        "  hint:     cast to a wider type first"
    )

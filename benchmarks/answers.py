"""Whether engines agree, and the hash that stands beside each figure."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from benchmarks.shapes import BARS, Shape

RELATIVE_TOLERANCE = 1e-9
"""How far two answers may differ in the columns that a shape calls `near`."""

AGREES = "agrees"
"""Stands in place of the hash of an engine whose answer has passed `check_same`."""


def canonical(answer: pa.Table, shape: Shape = BARS) -> pa.Table:
    """The answer with the same columns, types and order from every engine."""
    columns = {}
    for name, kind in shape.types.items():
        column = answer.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = column.cast(pa.type_for_alias(kind))
    return pa.table(columns).sort_by([(key, "ascending") for key in shape.keys]).combine_chunks()


def hash_of(answer: pa.Table, shape: Shape = BARS, near: bool = True) -> str:
    """12 hex digits over every value of every row, bit for bit.

    Args:
        answer: what an engine gave.
        shape: its columns.
        near: also the columns that may differ in their last digits. Without them, answers that agree
            have one hash whatever engine they come from.
    """
    digest = hashlib.sha256()
    table = canonical(answer, shape)
    for name in shape.types:
        if name in shape.near and not near:
            continue
        column = table.column(name)
        text = pa.types.is_string(column.type)
        digest.update("\n".join(column.to_pylist()).encode() if text else np.asarray(column).tobytes())
    return digest.hexdigest()[:12]


def check_same(
    want: pa.Table, got: pa.Table, who: str, shape: Shape = BARS, other: str = "streamlib"
) -> None:
    """Compares two engines' answers: all columns exactly, those that are `near` to nine digits.

    Raises:
        AssertionError: they differ; the message says in which column, and shows the first difference.
    """
    missing = [name for name in shape.types if name not in got.column_names]
    assert not missing, f"{who} has no column {', '.join(missing)}"
    want, got = canonical(want, shape), canonical(got, shape)
    assert want.num_rows == got.num_rows, (
        f"{who} has {got.num_rows:,} {shape.noun}, {other} {want.num_rows:,}"
    )
    for name in shape.types:
        a, b = want.column(name), got.column(name)
        if a.equals(b):
            continue
        if name in shape.near:
            same = np.isclose(np.asarray(a), np.asarray(b), rtol=RELATIVE_TOLERANCE, atol=0.0)
        else:
            same = np.asarray([x == y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)])
        if not same.all():
            row = int(np.argmin(same))
            at = ", ".join(str(want.column(key)[row]) for key in shape.keys)
            raise AssertionError(
                f"{who} and {other} differ in {name} of {int((~same).sum()):,} {shape.noun}; "
                f"at {at}: {b[row]}, not {a[row]}"
            )

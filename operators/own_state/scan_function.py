"""A step function and its columns, translated for a kernel where it can be: what `scan` and `fold` share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from streamlib.elements import Batch
from streamlib.errors import BuildError
from streamlib.operators.functions.callee import Callee
from streamlib.operators.own_state.scan_rows import column_kind, output_kind
from streamlib.state.steps.python_text import NoText, classes_of, to_text
from streamlib.state.steps.step_kernel import OutputKind, StepKernel, step_kernel
from streamlib.state.steps.step_values import NotCompiled

KEPT = "numbers, texts, bytes, times, Decimals, tuples, lists, dicts, sets, and dataclasses that init= has"
"""What a checkpoint can keep of a state."""


def translated(
    callee: Callee, read: Sequence[str], source: pa.Schema, init: Any, into: pa.Schema, folds: bool = False
) -> StepKernel | str:
    """The function for a kernel; or why it is called by Python.

    Args:
        read: the columns it is given, in order.
        source: their types.
        folds: whether it returns the new state alone.
    """
    if callee.given is not callee.code:
        return "it is no plain function"
    kinds: dict[str, str] = {}
    for name in read:
        kind = column_kind(source.field(name).type)
        if kind is None:
            return f"column {name!r} is {source.field(name).type}"
        kinds[name] = kind
    outputs: list[OutputKind] = []
    for field in into:
        found = output_kind(field.type)
        if found is None:
            return f"column {field.name!r} of into= is {field.type}"
        outputs.append(found)
    defaults = {
        p.name: p.default for p in callee.parameters[1:] if p.name not in kinds and p.default is not p.empty
    }
    try:
        return step_kernel(callee.code, kinds, defaults, init, outputs, folds)
    except NotCompiled as error:
        return str(error)


def usable(found: StepKernel | str) -> StepKernel | None:
    """The kernel, once numba has compiled it; None where there is none."""
    if isinstance(found, str):
        return None
    try:
        found.rows.compiled()
    except Exception as error:  # of numba, or of what it calls: the function itself gives the same results
        name = type(error).__name__
        warnings.warn(f"a step function runs in Python: numba does not compile it ({name})", stacklevel=2)
        return None
    return found


def how(found: StepKernel | str) -> str:
    """For `explain()`: whether it is compiled."""
    if isinstance(found, str):
        return f"in Python, row by row: {found}"
    return "compiled" + (f", but for {'; '.join(found.notes)}" if found.notes else "")


def as_given(rows: Batch, schema: pa.Schema) -> Batch:
    """Rows with the columns as they came: those that were decoded are dictionaries again."""
    columns = [
        column if column.type == schema.field(name).type else column.cast(schema.field(name).type)
        for name, column in zip(rows.rows.schema.names, rows.rows.columns, strict=True)
    ]
    return rows.with_rows(pa.RecordBatch.from_arrays(columns, names=rows.rows.schema.names))


def require_kept(init: Any) -> None:
    """Raises BuildError where a checkpoint could not keep the first state."""
    try:
        to_text(init, classes_of(init))
    except NoText as error:
        raise BuildError("init= holds what a checkpoint cannot keep", expected=KEPT, got=str(error)) from None

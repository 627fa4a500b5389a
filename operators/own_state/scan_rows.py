"""The rows of `scan`: through the kernel where there is one, else through the user's function, one by one.

The function decides. The kernel does what compiled code does exactly as Python, row for row in the same
order, and stops at any other row, which is then given to the function. So the results are the same whether
there is a kernel or not. A row that fails leaves its key's state as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import Batch
from streamlib.errors import StreamlibError, UserFunctionError
from streamlib.kernels.columns import decoded, values_of, word_column
from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.brief import brief, brief_row
from streamlib.operators.functions.callee import Callee, Made
from streamlib.operators.functions.row_arguments import RowArguments
from streamlib.operators.functions.values import python_values
from streamlib.state.pane import address
from streamlib.state.slabs import lasting_room, room
from streamlib.state.steps.step_kernel import (
    CALL_COLUMNS,
    CALL_FRESH,
    CALL_SKIP,
    CALL_SLOTS,
    OutputKind,
    StepKernel,
)
from streamlib.state.steps.step_states import StepStates, is_fixed
from streamlib.state.steps.step_values import BOOL, FLOAT, INT

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]

CHUNK = 1_024
"""Rows whose columns are made Python values at once."""


def output_kind(kind: pa.DataType) -> OutputKind | None:
    """How a kernel writes values of a type; None where it does not."""
    if pa.types.is_float64(kind):
        return OutputKind(FLOAT)
    if pa.types.is_boolean(kind):
        return OutputKind(BOOL)
    if pa.types.is_integer(kind) and kind != pa.uint64():
        limits = np.iinfo(kind.to_pandas_dtype())
        return OutputKind(INT, int(limits.min), int(limits.max))
    return None


def column_kind(kind: pa.DataType) -> str | None:
    """What values of a column's type are in Python, where a kernel can read them."""
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return FLOAT
    if pa.types.is_boolean(kind):
        return BOOL
    return INT if pa.types.is_integer(kind) else None


class StepRows:
    """The user's function over rows.

    Args:
        callee: the function, ``step(state, ...) -> (new state, output)``.
        arguments: what it is given besides the state.
        into: the columns it makes.
        kernel: the function, compiled.
        states: of keys.
        refuse: whether rows that fail are left out and told of, instead of raising.
        folds: whether the function returns the new state alone, and that is what `into` has the columns of.

    Attributes:
        in_python: rows that the function itself has done.
    """

    def __init__(
        self,
        callee: Callee,
        arguments: RowArguments,
        into: pa.Schema,
        kernel: StepKernel | None,
        states: StepStates,
        refuse: bool,
        folds: bool = False,
    ) -> None:
        self.callee, self.arguments, self.into = callee, arguments, into
        self.kernel, self.states, self.refuse, self.folds = kernel, states, refuse, folds
        self.made = Made(callee)
        self.in_python = 0
        self._fits = [fitting(field) for field in into]

    def run(
        self, given: pa.RecordBatch, slots: Int64s, count: int, fresh: Flags | None
    ) -> tuple[list[pa.Array], list[tuple[int, UserFunctionError]]]:
        """The new columns, and which rows failed: their values mean nothing.

        Args:
            given: the columns that the function reads.
            slots: of the rows' keys.
            count: how many slots there are.
            fresh: 1 for rows whose key begins anew.

        Raises:
            UserFunctionError: a row failed, and `refuse` is not set; `row` says which.
        """
        rows = _PythonRows(self, given, slots, fresh)
        if self.folds:
            self._folded(rows, given.num_rows, count)
            arrays = []
        elif self.kernel is None:
            made: list[list[Any]] = [[] for _ in self.into]
            for at in range(given.num_rows):
                for column, value in zip(made, rows.do(at), strict=True):
                    column.append(value)
            arrays = [array_of(values, f.type) for values, f in zip(made, self.into, strict=True)]
        else:
            arrays = self._through_kernel(self.kernel, rows, given, count, list(self.into))
        self.in_python += rows.done
        return arrays, rows.failed

    def _folded(self, rows: _PythonRows, total: int, count: int) -> None:
        """Takes the rows into the states."""
        if self.kernel is None:
            for at in range(total):
                rows.do(at)
        else:
            self._through_kernel(self.kernel, rows, rows.given, count, ())

    def _through_kernel(
        self,
        kernel: StepKernel,
        rows: _PythonRows,
        given: pa.RecordBatch,
        count: int,
        into: Sequence[pa.Field],
    ) -> list[pa.Array]:
        total = given.num_rows
        words = [word_column(decoded(column)) for column in given.columns]
        skip = _skipped(given.columns)
        outs = [lasting_room(total, np.float64 if _is_float(f) else np.int64) for f in into]
        theres = [room(total, np.uint8) for _ in into]
        for there in theres:
            there.fill(1)
        call = np.zeros(CALL_COLUMNS + len(words) + 2 * len(outs), dtype=np.int64)
        call[CALL_SLOTS] = address(rows.slots)
        call[CALL_FRESH] = 0 if rows.fresh is None else address(rows.fresh)
        call[CALL_SKIP] = 0 if skip is None else address(skip)
        call[CALL_COLUMNS:] = [*(w.values for w in words), *map(address, outs), *map(address, theres)]
        state, odd, template, starts_odd = self.states.addresses(count)
        call[1], call[2], call[5], call[6] = state, odd, template, starts_odd
        at = kernel.rows(0, total, call)
        while at < total:
            for out, there, value in zip(outs, theres, rows.do(at), strict=True):
                if value is None:
                    there[at] = 0
                    out[at] = 0
                else:
                    out[at] = value
            at = kernel.rows(at + 1, total, call)
        return [_array(*parts) for parts in zip(outs, theres, into, strict=True)]

    def function(self) -> Callable[..., Any]:
        """The function, as one that takes the state and all columns by their place."""
        function, names = self.made.function(), self.arguments.columns or ()
        if not self.arguments.by_keyword:
            return function
        places = len(names) - self.arguments.by_keyword
        keywords = names[places:]

        def call(state: Any, *values: Any) -> Any:
            return function(state, *values[:places], **dict(zip(keywords, values[places:], strict=True)))

        return call

    def outputs(self, output: Any) -> Sequence[Any]:
        """An output as one value for each column.

        Raises:
            Misfit: a value fits no column.
        """
        count = len(self._fits)
        if count == 1:
            given: Sequence[Any] = (output,)
        elif type(output) is tuple and len(output) == count:
            given = output
        else:
            expected = f"a tuple of {count}: {', '.join(self.into.names)}"
            raise Misfit(0, expected, brief(output), "returned the wrong output")
        for fits, value in zip(self._fits, given, strict=True):
            fits(value)
        return given


class _PythonRows:
    """The rows of one batch that the function itself does."""

    def __init__(self, owner: StepRows, given: pa.RecordBatch, slots: Int64s, fresh: Flags | None) -> None:
        self.owner, self.given, self.slots, self.fresh = owner, given, slots, fresh
        self.failed: list[tuple[int, UserFunctionError]] = []
        self.done = 0
        self._function = owner.function()
        self._begin = self._end = 0
        self._values: list[tuple[Any, ...]] = []

    def do(self, at: int) -> Sequence[Any]:
        """One row: keeps the new state, returns a value for each column."""
        owner, slot = self.owner, int(self.slots[at])
        self.done += 1
        fresh = self.fresh is not None and bool(self.fresh[at])
        if fresh:
            owner.states.forget(self.slots[at : at + 1])
        state = owner.states.get(slot, fresh)
        before = state
        try:
            values = self._arguments(at)
            if owner.refuse and not is_fixed(state):
                state = copy.deepcopy(state)  # what a row that fails has changed is not kept
            result = self._function(state, *values)
            if owner.folds:
                result = (result, result)
            elif type(result) is not tuple or len(result) != 2:
                got = "nothing: is a return missing?" if result is None else brief(result)
                raise Misfit(0, "(new state, output)", got, "returned no pair")
            outputs = owner.outputs(result[1])
        except Exception as error:
            failure = self._failure(at, before, error)
            if not owner.refuse:
                raise failure from error
            self.failed.append((at, failure))
            return [] if owner.folds else [None] * len(owner.into)
        owner.states.put(slot, result[0])
        return () if owner.folds else outputs

    def _arguments(self, at: int) -> tuple[Any, ...]:
        if not self._begin <= at < self._end:
            self._begin = at
            self._end = min(at + CHUNK, self.given.num_rows)
            part = self.given.slice(at, self._end - at)
            self._values = list(self.owner.arguments.of(part)) if part.num_columns else [()] * part.num_rows
        return self._values[at - self._begin]

    def _failure(self, at: int, state: Any, error: Exception) -> UserFunctionError:
        callee = self.owner.callee
        given = {name: python_values(c.slice(at, 1))[0] for name, c in self._columns()}
        shown = brief_row({"state": state, **given})
        problem, expected, got, hint = callee.raised(error), None, str(error) or type(error).__name__, None
        if isinstance(error, Misfit):
            problem = f"{callee.described} {error.problem or 'failed'}"
            expected, got, hint = error.expected, error.got, error.hint
        elif isinstance(error, StreamlibError):
            problem, hint = error.problem, error.hint
        failure = UserFunctionError(problem, expected=expected, got=f"{got}, for {shown}", hint=hint)
        failure.row = at
        return failure

    def _columns(self) -> Sequence[tuple[str, pa.Array]]:
        return list(zip(self.given.schema.names, self.given.columns, strict=True))


def _is_float(field: pa.Field) -> bool:
    return bool(pa.types.is_floating(field.type))


def _array(out: npt.NDArray[Any], there: Flags, field: pa.Field) -> pa.Array:
    mask = None if there.all() else there == 0
    if pa.types.is_boolean(field.type):
        return pa.array(out != 0, mask=mask)
    if pa.types.is_integer(field.type):
        out = out.astype(field.type.to_pandas_dtype(), copy=False)
    return pa.array(out, mask=mask, from_pandas=False)


def _skipped(columns: Sequence[pa.Array]) -> Flags | None:
    """Which rows have a null, or a whole number of 64 bits without sign; None when no row has."""
    found: npt.NDArray[np.bool_] | None = None
    for column in columns:
        column = decoded(column)
        masks = []
        if column.null_count:
            masks.append(np.asarray(column.is_null()))
        if pa.types.is_uint64(column.type):
            masks.append(values_of(column) > np.uint64(2**63 - 1))
        for mask in masks:
            found = mask if found is None else found | mask
    return None if found is None or not found.any() else found.view(np.uint8)


def fitting(field: pa.Field) -> Callable[[Any], None]:
    """A check that a value fits a column; raises Misfit."""
    kind, plain = field.type, _plain(field.type)
    within: Callable[[Any], bool] = lambda value: True  # noqa: E731
    if plain is int:
        limits = np.iinfo(kind.to_pandas_dtype())
        low, high = int(limits.min), int(limits.max)
        within = lambda value: low <= value <= high  # noqa: E731
    elif plain is str:
        within = str.isascii

    def check(value: Any) -> None:
        if value is None and field.nullable:
            return
        if type(value) is plain and within(value):
            return
        try:
            array = array_of([value], kind)
        except Misfit as error:
            what = error.problem or f"returned a value that does not fit column {field.name!r}"
            raise Misfit(0, error.expected, error.got, what, error.hint) from error
        if array.null_count and not field.nullable:
            problem = f"returned nothing for column {field.name!r}, which takes no nulls"
            raise Misfit(0, str(kind), brief(value), problem)

    return check


def _plain(kind: pa.DataType) -> type | None:
    """The one Python class whose values a type takes as they are, within its range."""
    if pa.types.is_integer(kind):
        return int
    for test, plain in ((pa.types.is_float64, float), (pa.types.is_boolean, bool), (pa.types.is_string, str)):
        if test(kind):
            return plain
    return None


def kept_rows(rows: int, failed: Sequence[tuple[int, UserFunctionError]]) -> npt.NDArray[np.bool_]:
    """Which rows did not fail."""
    keep = np.ones(rows, dtype=np.bool_)
    keep[[at for at, _ in failed]] = False
    return keep


def row_named(error: UserFunctionError, rows: Batch, keys: Sequence[str]) -> None:
    """Says in the error which row of the input its row is: of which key, and when."""
    assert rows.time is not None and error.row is not None
    of = ", ".join(f"{name}={rows.rows.column(name)[error.row].as_py()!r}" for name in keys)
    time = np.datetime_as_string(np.datetime64(int(rows.time[error.row]), "ns"), unit="auto")
    error.where, error.row = f"the row of {of} at {time}", None

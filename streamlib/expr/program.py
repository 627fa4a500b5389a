"""Expressions planned for one schema: a straight list of kernel calls over numbered slots.

Planning infers every type by running each kernel once on empty arrays, folds constants, and gives
equal sub-expressions one slot. Running a batch is then one `pyarrow.compute` call per step and no
look at the tree. Constants stay scalars, so that kernels take their scalar path. A program has no
state: threads share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.errors import BuildError, ColumnNotFoundError, DataError, TypeMismatchError
from streamlib.expr.mistakes import data_hint, kernel_hint
from streamlib.expr.nodes import (
    Aggregated,
    Filtered,
    Node,
    argument,
    post_order,
    scalar_text,
    text_of,
)

Slots = list[Any]
_REFUSALS = (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError)


_WRITTEN = {
    "double": "float64",
    "float": "float32",
    "halffloat": "float16",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}


class UnsupportedError(Exception):
    """Raised while a node is planned: its operands' types do not go together. Carries a hint, or nothing."""


@dataclass(frozen=True, slots=True)
class Operand:
    """What is known of a value while planning.

    Attributes:
        slot: where the value stands while a batch runs.
        type: its type.
        constant: its value when it does not depend on the rows.
        free: a plain Python constant, which takes the type of what it meets.
    """

    slot: int
    type: pa.DataType
    constant: pa.Scalar | None = None
    free: bool = False


class _Function(Protocol):
    """What a step calls: a kernel of pyarrow.compute, or a function of our own."""

    def call(self, inputs: Any, options: pc.FunctionOptions | None) -> Any:
        """The column it makes of its inputs."""


@dataclass(frozen=True, slots=True)
class _Vector:
    """A function of our own, called as kernels are."""

    function: Callable[..., Any]

    def call(self, inputs: Sequence[Any], options: pc.FunctionOptions | None) -> Any:
        """The column it makes of its inputs."""
        return self.function(*inputs)


@dataclass(frozen=True, slots=True)
class _Step:
    """One kernel call: fills slot `out`."""

    run: Callable[[Slots], None]
    out: int
    inputs: tuple[int, ...]
    node: Node


class Builder:
    """Collects the steps of a program. Nodes call it from their `plan`."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self.template: Slots = []
        self.columns: list[tuple[int, int]] = []
        self.steps: list[_Step] = []
        self.operands: dict[Node, Operand] = {}
        self.aggregates: list[Aggregated] = []
        self._calls: dict[object, Operand] = {}
        self._node: Node | None = None

    def add(self, root: Node) -> Operand:
        """Plans `root`; what was planned before is used again."""
        order = post_order(root)
        for node in order:
            if node not in self.operands:
                inputs = [self.operands[child] for child in node.children]
                self._node = node
                try:
                    self.operands[node] = node.plan(self, inputs)
                except ColumnNotFoundError as error:
                    if any(o.takes_names and node in o.children for o in order):
                        as_text = f"a constant text is written lit({text_of(node)[4:]}"
                        error.hint = f"{error.hint} {as_text}" if error.hint else as_text
                    raise
                except UnsupportedError as refusal:
                    raise _mismatch(node, inputs, str(refusal) or None) from None
                except _REFUSALS as error:
                    hint = kernel_hint(_reason(error), [operand.type for operand in inputs])
                    raise _mismatch(node, inputs, hint) from None
        return self.operands[root]

    def column(self, name: str) -> Operand:
        """The input column `name`."""
        index = self._schema.get_field_index(name)
        if index < 0:
            raise ColumnNotFoundError.of(name, self._schema.names)
        slot = self._new_slot(None)
        self.columns.append((slot, index))
        return Operand(slot, self._schema.field(index).type)

    def constant(self, value: pa.Scalar, *, free: bool = False) -> Operand:
        """A value that is the same for all rows."""
        return Operand(self._new_slot(value), value.type, value, free)

    def aggregate(self, node: Aggregated, result_type: pa.DataType) -> Operand:
        """The place of an aggregate, which has a type but no value here."""
        self.aggregates.append(node)
        return Operand(self._new_slot(None), result_type)

    def kernel(self, name: str, *inputs: Operand, options: pc.FunctionOptions | None = None) -> Operand:
        """A call of the pyarrow.compute function `name`; computed now when all inputs are constants."""
        key = (name, tuple(i.slot for i in inputs)) if options is None else None
        return self._emit(key, pc.get_function(name), inputs, options)

    def cast(self, value: Operand, to: pa.DataType, *, safe: bool = True) -> Operand:
        """`value` as type `to`; itself when it has that type. Unsafe: ints above 2**53 lose digits."""
        if value.type.equals(to):
            return Operand(value.slot, value.type, value.constant) if value.free else value
        options = pc.CastOptions.safe(to) if safe else pc.CastOptions.unsafe(to)
        return self._emit(("cast", value.slot, to, safe), pc.get_function("cast"), (value,), options)

    def null_unless(self, condition: Operand, value: Operand) -> Operand:
        """`value` where `condition` is true, null elsewhere.

        Raises:
            UnsupportedError: `condition` is none.
        """
        if not (pa.types.is_boolean(condition.type) or pa.types.is_null(condition.type)):
            raise UnsupportedError("a condition is true or false, such as col(...) > 0")
        nothing = self.constant(pa.scalar(None, value.type))
        return self.kernel("if_else", self.cast(condition, pa.bool_()), value, nothing)

    def vector(self, function: Callable[..., Any], *inputs: Operand) -> Operand:
        """A call of our own function of whole columns, where pyarrow.compute has none.

        Args:
            function: takes an array per input, or a scalar where the input is a constant, at least one
                an array; gives an array of their length. It raises ArrowInvalid for values that it
                refuses, also when it sees the failing row alone.
            inputs: its arguments.
        """
        if inputs and all(i.constant is not None for i in inputs):
            columns = [pa.array([i.constant.as_py()], i.type) for i in inputs if i.constant is not None]
            return self.constant(function(*columns)[0])
        return self._emit(None, _Vector(function), inputs, None)

    def _emit(
        self,
        key: object,
        function: _Function,
        inputs: tuple[Operand, ...],
        options: pc.FunctionOptions | None,
    ) -> Operand:
        if key is not None and key in self._calls:
            return self._calls[key]
        sample = [pa.nulls(0, i.type) if i.constant is None else i.constant for i in inputs]
        result = function.call(sample, options)
        if isinstance(result, pa.Scalar):
            made = self.constant(result)
        else:
            made = Operand(self._new_slot(None), result.type)
            slots = tuple(i.slot for i in inputs)
            assert self._node is not None
            self.steps.append(
                _Step(_runner(function, slots, options, made.slot), made.slot, slots, self._node)
            )
        if key is not None:
            self._calls[key] = made
        return made

    def _new_slot(self, value: pa.Scalar | None) -> int:
        self.template.append(value)
        return len(self.template) - 1


class HasNode(Protocol):
    """What a program is made of: an `Expr`."""

    @property
    def node(self) -> Node: ...


class Program:
    """Expressions planned together for one schema; what they share is computed once per batch.

    >>> import pyarrow as pa
    >>> from streamlib.expr import Program, col
    >>> batch = pa.record_batch({"price": [2.0, 3.0], "volume": [10, 20]})
    >>> program = Program({"value": col("price") * col("volume")}, batch.schema)
    >>> program.schema
    value: double
    >>> program.evaluate(batch)[0].to_pylist()
    [20.0, 60.0]
    """

    def __init__(self, exprs: Mapping[str, HasNode], schema: pa.Schema) -> None:
        """Plans `exprs` for batches of `schema`.

        Raises:
            ColumnNotFoundError: an expression reads a column that `schema` has not.
            TypeMismatchError: an operation on types that it does not work on.
        """
        for expr in exprs.values():
            refuse_filtered(expr.node)
        builder = Builder(schema)
        results = {name: builder.add(expr.node) for name, expr in exprs.items()}
        self.schema = pa.schema([(name, operand.type) for name, operand in results.items()])
        self._outputs = [operand.slot for operand in results.values()]
        self._template = builder.template
        self._steps, used = _needed(builder.steps, self._outputs)
        self._columns = [(slot, index) for slot, index in builder.columns if slot in used]
        self._runs = [step.run for step in self._steps]
        self._operands = builder.operands
        self._aggregates = builder.aggregates

    def evaluate(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """One array per expression, each as long as `batch`, which must have the planned schema.

        Raises:
            BuildError: an expression holds an aggregate.
            DataError: a value that cannot be computed: an integer overflow, a failed cast.
        """
        if self._aggregates:
            raise aggregate_misplaced(self._aggregates[0])
        slots = self._template.copy()
        for slot, index in self._columns:
            slots[slot] = batch.column(index)
        try:
            for run in self._runs:
                run(slots)
        except _REFUSALS as error:
            raise self._explain(slots, error) from None
        rows = batch.num_rows
        return [_as_array(slots[slot], rows) for slot in self._outputs]

    def _explain(self, slots: Slots, error: Exception) -> DataError:
        """Names the expression, the first row that fails and its values. Runs only once something failed."""
        step = next(s for s in self._steps if slots[s.out] is None)
        row, error = _first_failing_row(step, slots, error)
        node = step.node
        values = {}
        for child in node.children:
            value = slots[self._operands[child].slot]
            if not isinstance(value, pa.Scalar):
                values[text_of(child)] = scalar_text(value[row])
        problem = DataError(
            f"cannot compute {text_of(node)}: {_reason(error)}",
            where=f"row {row} of the batch",
            expected=f"a result that fits {type_name(self._operands[node].type)}",
            got=", ".join(f"{text} = {value}" for text, value in values.items()) or None,
            hint=data_hint(_reason(error)),
        )
        problem.row = row
        return problem


def refuse_aggregate(expr: HasNode) -> None:
    """Raises BuildError for an expression that holds an aggregate, where there is one value per row."""
    found = next((node for node in post_order(expr.node) if isinstance(node, Aggregated)), None)
    if found is not None:
        raise aggregate_misplaced(found)


def aggregate_misplaced(node: Node) -> BuildError:
    """The error for an aggregate where there is one value per row."""
    return BuildError(
        f"{text_of(node)} is an aggregate: use it in .agg(...)",
        expected="an expression with one value per row",
    )


def refuse_filtered(root: Node) -> None:
    """Raises BuildError for a `filter(...)` in `root` that no aggregate takes."""
    for node in post_order(root, into_aggregates=False):
        if type(node) is Filtered:
            raise BuildError(
                f"{text_of(node)} has fewer values than there are rows: let an aggregate follow",
                expected=f"such as {text_of(node)}.sum()",
                got=text_of(root),
                hint="compute before you filter, or drop rows with .filter(...) on the stream",
            )


def type_name(data_type: pa.DataType) -> str:
    """The type as users write it: Arrow prints float64 as double."""
    return _WRITTEN.get(str(data_type), str(data_type))


def _mismatch(node: Node, inputs: Sequence[Operand], hint: str | None) -> TypeMismatchError:
    got = [
        f"{argument(child, text_of(child))} is {type_name(operand.type)}"
        for child, operand in zip(node.children, inputs, strict=True)
    ]
    told = ", ".join(dict.fromkeys(got)) or None
    return TypeMismatchError(f"cannot compute {text_of(node)}", got=told, hint=hint)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].strip()


def _needed(steps: Sequence[_Step], outputs: Sequence[int]) -> tuple[list[_Step], set[int]]:
    """The steps that the outputs depend on, and all slots they read."""
    used, kept = set(outputs), []
    for step in reversed(steps):
        if step.out in used:
            used.update(step.inputs)
            kept.append(step)
    return kept[::-1], used


def _runner(
    function: _Function, inputs: tuple[int, ...], options: pc.FunctionOptions | None, out: int
) -> Callable[[Slots], None]:
    call = function.call
    if len(inputs) == 1:
        (only,) = inputs

        def run_one(slots: Slots) -> None:
            slots[out] = call((slots[only],), options)

        return run_one
    if len(inputs) == 2:
        left, right = inputs

        def run_two(slots: Slots) -> None:
            slots[out] = call((slots[left], slots[right]), options)

        return run_two

    def run_many(slots: Slots) -> None:
        slots[out] = call([slots[i] for i in inputs], options)

    return run_many


def _first_failing_row(step: _Step, slots: Slots, error: Exception) -> tuple[int, Exception]:
    """Bisects: the first row that fails, and its own error, since a kernel may report a later row."""
    good, bad = 0, max(len(slots[i]) for i in step.inputs if not isinstance(slots[i], pa.Scalar))
    while bad - good > 1:
        middle = (good + bad) // 2
        if (found := _run_part(step, slots, good, middle)) is None:
            good = middle
        else:
            bad, error = middle, found
    return good, _run_part(step, slots, good, bad) or error


def _run_part(step: _Step, slots: Slots, start: int, stop: int) -> Exception | None:
    """Runs one step over some of the rows; its error, if it fails."""
    part = [v if v is None or isinstance(v, pa.Scalar) else v.slice(start, stop - start) for v in slots]
    try:
        step.run(part)
    except pa.ArrowException as error:
        return Exception(str(error))
    return None


def _as_array(value: Any, rows: int) -> pa.Array:
    if isinstance(value, pa.Array):
        return value
    if isinstance(value, pa.Scalar):
        return pa.repeat(value, rows) if value.is_valid else pa.nulls(rows, value.type)
    return pa.concat_arrays(value.chunks) if value.num_chunks else pa.nulls(0, value.type)

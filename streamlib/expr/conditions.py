"""The nodes that choose: `when(...).then(...).otherwise(...)`, `is_in`, and `struct(...)`, which gathers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from streamlib.errors import BuildError
from streamlib.expr import lowering
from streamlib.expr.nodes import (
    Column,
    Literal,
    Node,
    as_scalar,
    is_plain,
    quote,
    value_key,
    value_text,
)
from streamlib.expr.operations import Method
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name
from streamlib.expr.promote import adapt, common_type, is_number, is_text

SHOWN_VALUES_MAX = 100
"""More values of `is_in` than these are printed as their number."""


@dataclass(frozen=True, eq=False)
class When(Node):
    """The value behind the first condition that is true; the last one, or null, where none is.

    `operands` are condition, value, condition, value, ..., and the value of `otherwise` if there is one.
    """

    operands: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        return self.operands

    @property
    def naming(self) -> tuple[Node, ...]:
        return (*self.operands[1::2], *self.operands[len(self.operands) // 2 * 2 :])

    @property
    def takes_names(self) -> bool:
        return True

    def with_children(self, children: Sequence[Node]) -> Node:
        return When(tuple(children))

    def write(self, texts: Sequence[str]) -> str:
        shown = [_bare(n, t) for n, t in zip(self.operands, texts, strict=True)]
        branches = [f"when({c}).then({v})" for c, v in zip(shown[::2], shown[1::2], strict=False)]
        last = [f"otherwise({shown[-1]})"] if len(shown) % 2 else []
        return ".".join([*branches, *last])

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        pairs = len(inputs) // 2
        values = list(inputs[1 : 2 * pairs : 2])
        values += inputs[2 * pairs :] or [builder.constant(pa.scalar(None))]
        values = lowering.alike(builder, values)
        result = values[-1]
        for condition, value in reversed(list(zip(inputs[: 2 * pairs : 2], values[:-1], strict=True))):
            if not (pt.is_boolean(condition.type) or pt.is_null(condition.type)):
                raise UnsupportedError("when() takes a condition, such as col(...) > 0")
            true = builder.vector(_true_only, builder.cast(condition, pa.bool_()))
            result = builder.kernel("if_else", true, value, result)
        return result


def _true_only(condition: pa.Array) -> pa.Array:
    """Null as false: `if_else` would give null for it."""
    return pc.fill_null(condition, False) if condition.null_count else condition


def _bare(node: Node, text: str) -> str:
    """An argument as it is written where a bare text is the name of a column."""
    if isinstance(node, Literal) and not isinstance(node.value, str):
        return value_text(node.value)
    return text


@dataclass(frozen=True, eq=False)
class IsIn(Method):
    """`input.is_in(values)`."""

    values: tuple[Any, ...] | pa.Array

    def shape(self) -> Hashable:
        if isinstance(self.values, pa.Array):
            return (str(self.values.type), tuple(map(str, self.values)))
        return value_key(self.values)

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0])

    def write(self, texts: Sequence[str]) -> str:
        if len(self.values) > SHOWN_VALUES_MAX:
            shown = f"<{len(self.values)} values>"
        elif isinstance(self.values, pa.Array):
            shown = f'pa.array({self.values.to_pylist()}, "{self.values.type}")'
        else:
            shown = f"[{', '.join(map(value_text, self.values))}]"
        return self.method_text("is_in", texts, shown)

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        (value,) = inputs
        if pt.is_dictionary(value.type):
            value = builder.cast(value, value.type.value_type)
        known = self._known(builder, value)
        if not (pt.is_null(known.type) or pt.is_null(value.type)):
            kinds = {lowering.kind_of(known.type), lowering.kind_of(value.type)}
            if len(kinds) > 1:
                raise UnsupportedError(
                    f"the values are {type_name(known.type)}, which never equals {type_name(value.type)}"
                )
        common = common_type(value.type, known.type)
        if common is not None:
            value, known = builder.cast(value, common, safe=False), known.cast(common, safe=False)
        elif not known.type.equals(value.type):
            known = known.cast(value.type)
        if pt.is_floating(known.type) and 0.0 in known.to_pylist():
            known = pa.concat_arrays(
                [known, pa.array([0.0, -0.0], known.type)]
            )  # the kernel tells them apart
        has_nan = pt.is_floating(known.type) and bool(pc.any(pc.is_nan(known)).as_py())
        return builder.vector(partial(_is_in, pc.SetLookupOptions(known, skip_nulls=True), has_nan), value)

    def _known(self, builder: Builder, value: Operand) -> pa.Array:
        if isinstance(self.values, pa.Array):
            return self.values
        plain = all(is_plain(v) for v in self.values)
        if plain and (is_number(value.type) or is_text(value.type) or pt.is_boolean(value.type)):
            return pa.array(list(self.values))
        scalars = []
        for item in self.values:
            constant = builder.constant(as_scalar(item), free=is_plain(item))
            taken = (adapt(builder, constant, value.type) if constant.free else constant).constant
            assert taken is not None
            if not (pt.is_null(taken.type) or taken.type.equals(value.type)) and pt.is_temporal(value.type):
                taken = _same_time(taken, value.type)
            scalars.append(taken)
        return pa.array([s for s in scalars if s.is_valid], None if scalars else pa.null())


def _same_time(constant: pa.Scalar, to: pa.DataType) -> pa.Scalar:
    """A time in the column's type; null where the column cannot hold it, since it then equals none."""
    try:
        return constant.cast(to)
    except pa.ArrowInvalid:
        return pa.scalar(None, to)


def _is_in(options: pc.SetLookupOptions, has_nan: bool, values: pa.Array) -> pa.Array:
    found = pc.is_in(values, options=options)
    if has_nan:  # the kernel finds only NaN of the same bits
        found = pc.or_(found, pc.fill_null(pc.is_nan(values), False))
    return pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.bool_())) if values.null_count else found


def constants(values: Iterable[object]) -> tuple[Any, ...] | pa.Array:
    """The values of `is_in`: those of a set in a fixed order.

    Raises:
        BuildError: they are no collection of constants.
    """
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, (str, bytes)) or hasattr(values, "node") or not isinstance(values, Iterable):
        hint = "to look in a list column use .list.contains(...)" if hasattr(values, "node") else None
        raise BuildError(
            "is_in() takes a collection of values", expected="such as [1, 2]", got=repr(values), hint=hint
        )
    items = sorted(values, key=value_text) if isinstance(values, (set, frozenset)) else list(values)
    for item in items:
        as_scalar(item)
    return tuple(items)


@dataclass(frozen=True, eq=False)
class MakeStruct(Node):
    """`struct(inputs)`: their values side by side, as fields."""

    inputs: tuple[Node, ...]
    names: tuple[str, ...]
    positional: int
    """How many were written without a name of their own."""

    @property
    def children(self) -> tuple[Node, ...]:
        return self.inputs

    @property
    def takes_names(self) -> bool:
        return True

    def shape(self) -> Hashable:
        return self.names

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, inputs=tuple(children))

    def write(self, texts: Sequence[str]) -> str:
        shown = [
            quote(n.name) if isinstance(n, Column) else t for n, t in zip(self.inputs, texts, strict=True)
        ]
        named = [
            f"{name}={_bare(n, t)}"
            for name, n, t in list(zip(self.names, self.inputs, texts, strict=True))[self.positional :]
        ]
        return f"struct({', '.join([*shown[: self.positional], *named])})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        options = pc.MakeStructOptions(list(self.names))
        return builder.kernel("make_struct", *inputs, options=options)


@dataclass(frozen=True, eq=False)
class ConcatText(Node):
    """`concat_str(inputs, separator, ignore_nulls)`."""

    inputs: tuple[Node, ...]
    separator: str
    ignore_nulls: bool

    @property
    def children(self) -> tuple[Node, ...]:
        return self.inputs

    @property
    def takes_names(self) -> bool:
        return True

    def shape(self) -> Hashable:
        return (self.separator, self.ignore_nulls)

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, inputs=tuple(children))

    def write(self, texts: Sequence[str]) -> str:
        options = [f"separator={quote(self.separator)}"] if self.separator else []
        options += ["ignore_nulls=True"] if self.ignore_nulls else []
        shown = [_bare(n, t) for n, t in zip(self.inputs, texts, strict=True)]
        return f"concat_str({', '.join([*shown, *options])})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        if any(pt.is_nested(i.type) for i in inputs):
            raise UnsupportedError("a list is joined by .list.join(separator)")
        texts = [
            i if is_text(i.type) and not pt.is_dictionary(i.type) else builder.cast(i, pa.string())
            for i in inputs
        ]
        wide = pa.large_string() if any(pt.is_large_string(t.type) for t in texts) else pa.string()
        texts = [builder.cast(t, wide) for t in texts]
        separator = builder.constant(pa.scalar(self.separator, wide))
        handling = "skip" if self.ignore_nulls else "emit_null"
        return builder.kernel(
            "binary_join_element_wise", *texts, separator, options=pc.JoinOptions(null_handling=handling)
        )

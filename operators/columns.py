"""`drop`, `rename`, `cast`, `fill_null` and `unnest`: `select` and `with_columns` under the name of what they do.

The rows stay, and with them their time, mark and order. The event-time column and the keys are
followed: renamed they stay what they are; a key whose values change is no key any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.contracts import Operator, Output
from streamlib.elements import Batch
from streamlib.errors import BuildError, ColumnNotFoundError, StreamlibError, TypeMismatchError
from streamlib.expr import Expr, col
from streamlib.graph import BuildContext, Node
from streamlib.operators.projection import SelectNode, SelectOperator


@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnsNode(SelectNode):
    """A selection that a verb made.

    Attributes:
        verb: the method's name.
        shown: its arguments, as the user wrote them.
        renamed: new names by old ones.
        same_time: whether the event-time column is the same instant although it is computed anew.
    """

    kind: ClassVar[str] = "columns"
    verb: str
    shown: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    same_time: bool = False

    @property
    def label(self) -> str:
        return self.name or self.verb

    def derive_time(self) -> str | None:
        time = self.inputs[0].time
        return time if self.same_time else super().derive_time()

    def derive_keys(self) -> tuple[str, ...]:
        if not self.renamed:
            return super().derive_keys()
        return tuple(self.renamed.get(key, key) for key in self.inputs[0].keys)

    def describe(self) -> str:
        return self.shown

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        if wanted is None and self.keep:
            return [None]
        names = set(self.exprs) if wanted is None else wanted
        needed = {c for n in names if n in self.exprs for c in self.exprs[n].columns()}
        return [frozenset(needed | (set(names) - set(self.exprs) if self.keep else set()))]

    def build(self, context: BuildContext) -> Operator:
        return ColumnsOperator(self)


class ColumnsOperator(SelectOperator):
    """Computes what can be computed of the columns that there are: the others are not read below."""

    def __init__(self, node: ColumnsNode) -> None:
        super().__init__(node)
        self.all = node.exprs
        self.names: list[str] = []

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Yields the rows with their new columns."""
        names = batch.rows.schema.names
        if names != self.names:
            self.names = names
            self.exprs = {n: e for n, e in self.all.items() if set(e.columns()) <= set(names)}
        if self.exprs or self.keep:
            yield from super().on_batch(batch)
        else:
            yield batch  # only the number of rows matters


def _known(node: Node, names: list[str]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise BuildError("a column is named by a string", expected='such as "price"', got=repr(name))
        if name not in node.schema.names:
            raise ColumnNotFoundError.of(name, node.schema.names)


def drop(node: Node, names: list[str], at: Any) -> Node:
    """All columns but these."""
    _known(node, names)
    kept = {n: col(n) for n in node.schema.names if n not in names}
    if not kept:
        raise BuildError("drop() would leave no column", got=", ".join(names))
    return ColumnsNode(inputs=(node,), at=at, exprs=kept, verb="drop", shown=", ".join(names))


def rename(node: Node, names: Mapping[str, str], at: Any) -> Node:
    """The same columns under other names."""
    if not isinstance(names, Mapping):
        raise BuildError(
            "rename() takes the new names by the old ones", expected='such as {"old": "new"}', got=repr(names)
        )
    _known(node, list(names))
    new = [names.get(n, n) for n in node.schema.names]
    twice = sorted({n for n in new if new.count(n) > 1})
    if twice:
        raise BuildError(f"rename() would give two columns the name {twice[0]!r}", got=_pairs(names))
    exprs = {names.get(n, n): col(n) for n in node.schema.names}
    return ColumnsNode(
        inputs=(node,), at=at, exprs=exprs, verb="rename", shown=_pairs(names), renamed=dict(names)
    )


def cast(node: Node, types: Mapping[str, Any], at: Any, strict: bool = True) -> Node:
    """Some columns as another type; where not `strict`, with nulls for what has no place in it."""
    if not isinstance(types, Mapping):
        raise BuildError(
            "cast() takes types by column", expected='such as {"price": "float64"}', got=repr(types)
        )
    _known(node, list(types))
    exprs = {n: col(n).cast(to, strict=strict) for n, to in types.items()}
    exprs = {n: e for n, e in exprs.items() if not e.type_in(node.schema).equals(node.schema.field(n).type)}
    same = (
        strict
        and node.time in exprs
        and _is_finer(node.schema.field(node.time).type, exprs[node.time].type_in(node.schema))
    )
    return _kept(node, at, exprs, "cast", _pairs(types), same_time=same)


def _is_finer(own: pa.DataType, to: pa.DataType) -> bool:
    """Whether every time of type `own` is the same instant as `to`."""
    units = ("s", "ms", "us", "ns")
    if not pa.types.is_timestamp(to):
        return False
    return pa.types.is_date(own) or units.index(to.unit) >= units.index(own.unit)


def fill_null(node: Node, value: Any, at: Any) -> Node:
    """A value where there is none: by column, or the one for every column that can hold it."""
    if isinstance(value, Mapping):
        _known(node, list(value))
        filled = {n: col(n).fill_null(v) for n, v in value.items()}
        for name, expr in filled.items():
            own, made = node.schema.field(name).type, expr.type_in(node.schema)
            if not (own.equals(made) or pa.types.is_null(own)):
                raise TypeMismatchError(
                    f"fill_null() would change the type of {name!r}",
                    expected=f"a value that fits {own}",
                    got=f"{value[name]!r}, with which it becomes {made}",
                    hint=f'cast the column first: .cast({{"{name}": "{made}"}})',
                )
        return _kept(node, at, filled, "fill_null", _pairs(value))
    settled = {node.time, *node.keys}
    fitting = {f.name: col(f.name).fill_null(value) for f in node.schema if f.name not in settled}
    fitting = {n: e for n, e in fitting.items() if _stays(e, n, node.schema)}
    if not fitting:
        raise BuildError(
            "fill_null() found no column that can hold the value",
            expected=f"a value for one of: {', '.join(f'{f.name} {f.type}' for f in node.schema)}",
            got=repr(value),
        )
    return _kept(node, at, fitting, "fill_null", repr(value))


def _stays(expr: Expr, name: str, schema: pa.Schema) -> bool:
    try:
        return bool(expr.type_in(schema).equals(schema.field(name).type))
    except StreamlibError:
        return False


def unnest(node: Node, names: list[str], at: Any) -> Node:
    """The fields of structs as columns, in the place of the struct."""
    _known(node, names)
    if not names:
        raise BuildError("unnest() was given no column", expected='such as unnest("order")')
    exprs: dict[str, Expr] = {}
    for column in node.schema:
        made = {column.name: col(column.name)}
        if column.name in names:
            if not pa.types.is_struct(column.type):
                raise TypeMismatchError(
                    f"column {column.name!r} is no struct", expected="a struct", got=str(column.type)
                )
            fields = [column.type.field(i).name for i in range(column.type.num_fields)]
            made = {f: col(column.name).struct.field(f) for f in fields}
        for name, expr in made.items():
            if name in exprs:
                raise BuildError(
                    f"unnest() would give two columns the name {name!r}",
                    hint=f'rename the other one first: .rename({{"{name}": ...}})',
                )
            exprs[name] = expr
    return ColumnsNode(inputs=(node,), at=at, exprs=exprs, verb="unnest", shown=", ".join(names))


def _kept(
    node: Node, at: Any, exprs: dict[str, Expr], verb: str, shown: str, same_time: bool = False
) -> Node:
    """All columns, some computed anew. Nothing to compute is no reason to fail."""
    changed = exprs or {n: col(n) for n in node.schema.names}
    keep = bool(exprs)
    return ColumnsNode(
        inputs=(node,), at=at, exprs=changed, keep=keep, verb=verb, shown=shown, same_time=same_time
    )


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())

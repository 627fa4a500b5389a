"""`fill_gaps`: rows for the windows of a key in which nothing happened.

W is the watermark of the results. A window without a row is known to be empty when its end is at most W:
results have the time window_end - 1, so none of it can come any more. What is filled has the time of its
window too, and W is sent on as it is. Of each key its last row is kept until no window that follows it
within `up_to` is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.contracts import Operator, OverlappingWindow, Window
from streamlib.elements import format_duration
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.expr import Expr, Program, col
from streamlib.expr.nodes import Literal
from streamlib.graph import BuildContext, Node
from streamlib.kernels.columns import decoded_type
from streamlib.operators.windows.cumulative import CumulativeWindow
from streamlib.operators.windows.hopping import HoppingWindow
from streamlib.operators.windows.node import WindowAggregateNode
from streamlib.operators.windows.results import BOUNDS
from streamlib.operators.windows.same_window import SameWindow
from streamlib.operators.windows.session import SessionWindow
from streamlib.operators.windows.tumbling import TumblingWindow

FORWARD = "forward"


@dataclass(frozen=True, eq=False, kw_only=True)
class FillGapsNode(Node):
    """Rows of windows, and rows for the windows between and behind them.

    Attributes:
        fills: by column ``"forward"``, or a value; columns that are not named become null.
        up_to: how long after a key's last row its windows are filled, ns.
    """

    kind: ClassVar[str] = "fill_gaps"
    exchange_by: ClassVar[bool] = True
    makes_windows: ClassVar[bool] = True
    fills: Mapping[str, Any]
    up_to: int

    @property
    def window(self) -> Window | OverlappingWindow:
        """The windows that the rows are of."""
        source = self.inputs[0]
        assert isinstance(source, WindowAggregateNode)
        return source.window

    def derive_schema(self) -> pa.Schema:
        source = self.inputs[0]
        window = source.window if isinstance(source, WindowAggregateNode) else None
        if window is None or isinstance(window, SameWindow | SessionWindow):
            raise BuildError(
                "fill_gaps() needs windows that follow one another",
                expected='the result of .window(...).agg(...) with windows by time, such as sl.tumbling("10s")',
                got=f"the result of {source.label}" + (f" with {window.describe()}" if window else ""),
                hint="call it right behind .agg(...), before other steps" if window is None else None,
            )
        self._check_up_to(window)
        for name in self.fills:
            self.require_columns([name])
            if name in source.keys or name in BOUNDS:
                raise BuildError(
                    f"column {name!r} is not filled",
                    expected="columns of aggregates",
                    got=repr(name),
                    hint="each row has its key, and the bounds of its window",
                )
        schema = pa.schema([field.with_type(decoded_type(field.type)) for field in source.schema])
        for name in self.fills:
            self.value_of(name, schema.field(name).type)
        return schema

    def _check_up_to(self, window: Window | OverlappingWindow) -> None:
        steps = {TumblingWindow: "size", HoppingWindow: "every", CumulativeWindow: "every"}
        step = getattr(window, steps.get(type(window), ""), 1)
        if self.up_to < step:
            raise BuildError(
                "up_to= is shorter than the way to the next window: nothing would be filled",
                expected=f"at least {format_duration(step)!r}" if step > 1 else "more than zero",
                got=format_duration(self.up_to),
            )

    def value_of(self, name: str, kind: pa.DataType) -> pa.Array | None:
        """What fills a column, as one row; None for the last value of the key.

        Raises:
            TypeMismatchError: a value that the column cannot hold.
        """
        fill = self.fills.get(name)
        if isinstance(fill, str) and fill == FORWARD:
            return None
        if isinstance(fill, Expr):
            if not isinstance(fill.node, Literal):
                raise BuildError(
                    f"{name}= is filled with a value or forward",
                    expected='"forward", a value such as 0, None, or sl.lit(...)',
                    got=str(fill),
                )
            fill = fill.node.value
        nulls = pa.nulls(1, kind)
        if fill is None:
            return nulls
        filled = col(name).fill_null(fill)
        row = pa.RecordBatch.from_arrays([nulls], names=[name])
        try:
            fits = filled.type_in(row.schema) == kind
        except TypeMismatchError:
            fits = False
        if not fits:
            raise TypeMismatchError(
                f"column {name!r} cannot be filled with {fill!r}",
                expected=f'a value of type {kind}, None or "forward"',
                got=repr(fill),
            )
        return Program({name: filled}, row.schema).evaluate(row)[0]

    @cached_property
    def values(self) -> list[pa.Array | None]:
        """By column of an aggregate, what fills it; None for the last value."""
        first = len(self.inputs[0].keys) + len(BOUNDS)
        return [self.value_of(field.name, field.type) for field in list(self.schema)[first:]]

    def derive_time(self) -> None:
        return None

    def describe(self) -> str:
        fills = [
            f"{name}={fill if isinstance(fill, Expr) else repr(fill)}" for name, fill in self.fills.items()
        ]
        return ", ".join([*fills, f"up_to={format_duration(self.up_to)!r}"])

    def state_bound(self) -> str:
        return "within x rate"

    def build(self, context: BuildContext) -> Operator:
        from streamlib.operators.windows.fill_gaps_operator import FillGapsOperator

        return FillGapsOperator(self, context)

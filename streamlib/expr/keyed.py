"""Functions of a row and the rows of its key before it: `shift`, `diff`, `cum_sum` and others.

They stand in `with_columns` and `select` of a keyed stream, alone or within larger expressions, and that
step computes them (`operators.row_functions`). Anywhere else there is no order of rows, so they are refused
when the graph is built.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from streamlib.elements import duration_ns
from streamlib.errors import BuildError
from streamlib.expr.named import check_int
from streamlib.expr.nodes import Node, receiver, text_of, value_key, value_text

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr
    from streamlib.expr.program import Builder, Operand

SHIFT_MAX = 65_536
"""How many rows back `shift` may look: each key keeps so many values."""


@dataclass(frozen=True, eq=False)
class RowFunction(Node):
    """`input.name(arguments)` over the rows of a key, in their order.

    Attributes:
        written: the arguments as the user wrote them, by name; `None` names one without.
        options: what they mean.
    """

    input: Node
    name: str
    written: tuple[tuple[str | None, Any], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.input,)

    @property
    def option(self) -> dict[str, Any]:
        """What the arguments mean, by name."""
        return dict(self.options)

    def shape(self) -> Hashable:
        return (self.name, value_key(self.options))

    def with_children(self, children: Sequence[Node]) -> Node:
        return replace(self, input=children[0])

    def write(self, texts: Sequence[str]) -> str:
        inside = [value_text(v) if name is None else f"{name}={value_text(v)}" for name, v in self.written]
        return f"{receiver(self.input, texts[0])}.{self.name}({', '.join(inside)})"

    def plan(self, builder: Builder, inputs: Sequence[Operand]) -> Operand:
        raise BuildError(
            f"{text_of(self)} needs the rows of a key in their order",
            expected="it stands in with_columns or select of a keyed stream",
            hint=f'make a column of it first: .key_by("k").with_columns(x={text_of(self)})',
        )


class RowFunctions:
    """Functions of the rows of a key up to this one."""

    __slots__ = ()

    _node: Node

    def shift(self, n: int = 1) -> Expr:
        """The value `n` rows before in the same key; null in the first `n` rows of a key.

        For use in `with_columns` and `select` of a keyed stream. A null is a value here.

        Args:
            n: at least 1: rows that are still to come cannot be asked for.

        >>> import pyarrow as pa, streamlib as sl
        >>> from streamlib import col
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [5, 6, 7]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.with_columns(before=col("v").shift(1)).collect()["before"].to_pylist()
        [None, None, 5]
        """
        check_int(n, "the number of rows of shift()")
        if not 1 <= n <= SHIFT_MAX:
            raise BuildError(
                "shift() looks back",
                expected=f"1 to {SHIFT_MAX:,} rows",
                got=str(n),
                hint="rows that are still to come are not known" if n < 0 else None,
            )
        return self._row_function("shift", ((None, n),), n=n)

    def diff(self, n: int = 1) -> Expr:
        """The value less the one `n` rows before in the same key; null in the first `n` rows.

        >>> from streamlib import col
        >>> col("price").diff()
        col("price") - col("price").shift(1)
        """
        return self._expr() - self.shift(n)

    def pct_change(self, n: int = 1) -> Expr:
        """By which fraction the value changed since `n` rows before in the same key; null where one of both is.

        >>> from streamlib import col
        >>> (col("price").pct_change() * 100).output_name()
        'price'
        """
        before = self.shift(n)
        return (self._expr() - before) / before

    def cum_sum(self) -> Expr:
        """The sum of the key's values up to this row; null where the value is. Its type is that of `sum()`.

        >>> import pyarrow as pa, streamlib as sl
        >>> from streamlib import col
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a", "b", "a"], "v": [5, 6, 7]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.with_columns(total=col("v").cum_sum()).collect()["total"].to_pylist()
        [5, 6, 12]
        """
        return self._row_function("cum_sum")

    def cum_min(self) -> Expr:
        """The least of the key's values up to this row; null where the value is."""
        return self._row_function("cum_min")

    def cum_max(self) -> Expr:
        """The greatest of the key's values up to this row; null where the value is."""
        return self._row_function("cum_max")

    def cum_count(self) -> Expr:
        """How many of the key's values up to this row are not null."""
        return self._row_function("cum_count")

    def forward_fill(self, limit: int | None = None) -> Expr:
        """The value, or where it is null the last one of the key that is not.

        Args:
            limit: at most so many nulls in a row are filled; None for all.

        >>> import pyarrow as pa, streamlib as sl
        >>> from streamlib import col
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a"] * 3, "v": [5, None, None]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.with_columns(v=col("v").forward_fill(limit=1)).collect()["v"].to_pylist()
        [5, 5, None]
        """
        if limit is None:
            return self._row_function("forward_fill", limit=-1)
        check_int(limit, "limit= of forward_fill()", least=1)
        return self._row_function("forward_fill", (("limit", limit),), limit=limit)

    def ewm_mean(
        self,
        *,
        com: float | None = None,
        span: float | None = None,
        half_life: float | str | dt.timedelta | None = None,
        alpha: float | None = None,
        adjust: bool = True,
        ignore_nulls: bool = False,
    ) -> Expr:
        """The exponentially weighted mean of the key's values up to this row; null where the value is.

        Exactly one of the first four says how fast weights fall; they mean what they do in Polars and pandas.

        Args:
            com: centre of mass, at least 0: alpha = 1 / (1 + com).
            span: at least 1: alpha = 2 / (span + 1).
            half_life: rows after which a weight has halved; or a duration such as ``"10m"``: weights halve
                with event time, as in Polars' `ewm_mean_by`.
            alpha: above 0, at most 1.
            adjust: divide by the sum of the weights; else each row moves the mean by alpha.
            ignore_nulls: a null does not age the values before it.

        >>> import pyarrow as pa, streamlib as sl
        >>> from streamlib import col
        >>> rows = pa.table({"ts": pa.array([1, 2, 3], pa.timestamp("s")), "k": ["a"] * 3, "v": [1.0, 2.0, 4.0]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> keyed.with_columns(m=col("v").ewm_mean(alpha=0.5, adjust=False)).collect()["m"].to_pylist()
        [1.0, 1.5, 2.75]
        """
        given = {"com": com, "span": span, "half_life": half_life, "alpha": alpha}
        said = {name: value for name, value in given.items() if value is not None}
        if len(said) != 1:
            raise BuildError(
                "ewm_mean() takes exactly one of com=, span=, half_life= and alpha=",
                got=", ".join(f"{name}={value!r}" for name, value in said.items()) or "none",
            )
        ((name, value),) = said.items()
        written = [(name, value), *([("adjust", False)] if not adjust else [])]
        written += [("ignore_nulls", True)] if ignore_nulls else []
        if isinstance(value, (str, dt.timedelta)):
            return self._by_time(name, value, adjust, ignore_nulls)
        return self._row_function(
            "ewm_mean", tuple(written), alpha=_alpha(name, value), adjust=adjust, ignore_nulls=ignore_nulls
        )

    def _by_time(self, name: str, value: str | dt.timedelta, adjust: bool, ignore_nulls: bool) -> Expr:
        if name != "half_life":
            raise BuildError(f"{name}= of ewm_mean() is a number", got=repr(value))
        if not adjust or ignore_nulls:
            raise BuildError(
                "ewm_mean() by event time takes neither adjust= nor ignore_nulls=",
                hint="the time between two values says how much the earlier one counts",
            )
        length = duration_ns(value, "half_life")
        if length <= 0:
            raise BuildError("half_life= must be positive", got=repr(value))
        return self._row_function("ewm_mean", ((name, value),), half_life=length)

    def _expr(self) -> Expr:
        from streamlib.expr.expression import Expr

        return Expr(self._node)

    def _row_function(
        self, name: str, written: tuple[tuple[str | None, Any], ...] = (), **options: Any
    ) -> Expr:
        from streamlib.expr.expression import Expr

        return Expr(RowFunction(self._node, name, written, tuple(options.items())))


def _alpha(name: str, value: float) -> float:
    """The weight of the newest value."""
    ranges = {"com": "0 or more", "span": "1 or more", "half_life": "above 0", "alpha": "above 0, at most 1"}
    number = type(value) in (int, float) and math.isfinite(value)
    good = (
        number
        and {
            "com": value >= 0,
            "span": value >= 1,
            "half_life": value > 0,
            "alpha": 0 < value <= 1,
        }[name]
    )
    if not good:
        raise BuildError(f"{name}= of ewm_mean() is out of range", expected=ranges[name], got=repr(value))
    if name == "com":
        return 1 / (1 + value)
    if name == "span":
        return 2 / (value + 1)
    return value if name == "alpha" else -math.expm1(-math.log(2) / value)

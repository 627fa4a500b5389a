"""The namespaces of an expression: `.str`, `.dt`, `.list`, `.struct`.

They stand apart from `Expr` because their names hide Python's own `str` and `list` in its annotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr
    from streamlib.expr.lists import Lists
    from streamlib.expr.strings import Strings
    from streamlib.expr.structs import Structs
    from streamlib.expr.times import Times


class Accessors:
    """What an expression offers for one kind of column."""

    __slots__ = ()

    @property
    def str(self) -> Strings:
        """Methods of texts, such as `col("symbol").str.to_uppercase()`."""
        from streamlib.expr.strings import Strings

        return Strings(cast("Expr", self))

    @property
    def dt(self) -> Times:
        """Methods of dates, times and durations, such as `col("ts").dt.hour()`."""
        from streamlib.expr.times import Times

        return Times(cast("Expr", self))

    @property
    def list(self) -> Lists:
        """Methods of lists, such as `col("prices").list.max()`; called, `col("price").list()`, an aggregate."""
        from streamlib.expr.lists import Lists

        return Lists(cast("Expr", self))

    @property
    def struct(self) -> Structs:
        """Methods of structs, such as `col("order").struct.field("price")`."""
        from streamlib.expr.structs import Structs

        return Structs(cast("Expr", self))

"""`.list`: methods of lists. Names and meanings follow Polars. A null list gives null."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from streamlib.aggregates import List
from streamlib.expr import list_kernels as kernels
from streamlib.expr.list_kernels import list_vector, reduced
from streamlib.expr.named import Namespace, changed, check_int, check_text

if TYPE_CHECKING:
    from streamlib.expr.expression import AggExpr, Expr


class Lists(Namespace):
    """The methods of a column of lists."""

    __slots__ = ()

    space = "list"

    def __call__(self) -> AggExpr:
        """All values of a window or key, in the order of event time, as a list; for use in `.agg(...)`.

        Nulls are values; ties in time go by the order of the input.

        >>> from streamlib import col
        >>> col("price").list()
        col("price").list()
        """
        return self._expr._aggregate(List())

    def len(self) -> Expr:
        """How many values the list has, nulls among them.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.len().evaluate(pa.record_batch({"v": [[1, None], [], None]})).to_pylist()
        [2, 0, None]
        """
        return self._call("len", partial(kernels.list_kernel, "list_value_length"))

    def get(self, index: int | Expr, null_on_oob: bool = False) -> Expr:
        """The value at a position, counted from the end when it is negative.

        Args:
            index: a number or an expression.
            null_on_oob: null for a position that the list has not; otherwise a DataError.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"v": [[1, 2], [3]]})
        >>> col("v").list.get(-1).evaluate(rows).to_pylist()
        [2, 3]
        >>> col("v").list.get(1, null_on_oob=True).evaluate(rows).to_pylist()
        [2, None]
        """
        if not hasattr(index, "node"):
            check_int(index, "index")
        shown = changed(null_on_oob=(null_on_oob, False))
        return self._with((index,), "get", list_vector(partial(kernels.element, null_on_oob)), **shown)

    def first(self) -> Expr:
        """The first value; null for an empty list.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.first().evaluate(pa.record_batch({"v": [[1, 2], []]})).to_pylist()
        [1, None]
        """
        return self._call("first", partial(kernels.element_at, 0))

    def last(self) -> Expr:
        """The last value; null for an empty list.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.last().evaluate(pa.record_batch({"v": [[1, 2], []]})).to_pylist()
        [2, None]
        """
        return self._call("last", partial(kernels.element_at, -1))

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Values from `offset` on, from the end when it is negative; at most `length` of them.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.slice(1, 2).evaluate(pa.record_batch({"v": [[1, 2, 3, 4], [5]]})).to_pylist()
        [[2, 3], []]
        """
        check_int(offset, "offset")
        if length is not None:
            check_int(length, "length", 0)
        shown = (offset,) if length is None else (offset, length)
        return self._call("slice", list_vector(partial(kernels.cut, offset, length)), *shown)

    def head(self, n: int = 5) -> Expr:
        """The first `n` values; without the last ones when `n` is negative.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.head(2).evaluate(pa.record_batch({"v": [[1, 2, 3]]})).to_pylist()
        [[1, 2]]
        """
        return self._call("head", list_vector(partial(kernels.head, check_int(n, "n"))), n)

    def tail(self, n: int = 5) -> Expr:
        """The last `n` values; without the first ones when `n` is negative.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.tail(2).evaluate(pa.record_batch({"v": [[1, 2, 3]]})).to_pylist()
        [[2, 3]]
        """
        return self._call("tail", list_vector(partial(kernels.tail, check_int(n, "n"))), n)

    def reverse(self) -> Expr:
        """The values from the last to the first.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.reverse().evaluate(pa.record_batch({"v": [[1, 2, None]]})).to_pylist()
        [[None, 2, 1]]
        """
        return self._call("reverse", list_vector(kernels.reverse))

    def drop_nulls(self) -> Expr:
        """The values that are not null.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.drop_nulls().evaluate(pa.record_batch({"v": [[1, None]]})).to_pylist()
        [[1]]
        """
        return self._call("drop_nulls", list_vector(kernels.drop_nulls))

    def contains(self, item: object) -> Expr:
        """Whether a value, a constant or an expression, is in the list. Null finds null, and NaN NaN.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.contains(2).evaluate(pa.record_batch({"v": [[1, 2], [3], None]})).to_pylist()
        [True, False, None]
        """
        return self._with((item,), "contains", kernels.contains)

    def join(self, separator: str, ignore_nulls: bool = True) -> Expr:
        """The texts of the list in one. A null in it is left out, or makes the result null.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.join("-").evaluate(pa.record_batch({"v": [["a", "b"], []]})).to_pylist()
        ['a-b', '']
        """
        lower = partial(kernels.joined, check_text(separator, "separator"), ignore_nulls)
        return self._call("join", lower, separator, **changed(ignore_nulls=(ignore_nulls, True)))

    def sum(self) -> Expr:
        """The sum of the values that are not null; 0 when there is none. Types are those of `Expr.sum`.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.sum().evaluate(pa.record_batch({"v": [[1, 2, None], []]})).to_pylist()
        [3, 0]
        """
        return self._call("sum", reduced("sum"))

    def mean(self) -> Expr:
        """The mean of the values that are not null; null when there is none.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.mean().evaluate(pa.record_batch({"v": [[1, 2], []]})).to_pylist()
        [1.5, None]
        """
        return self._call("mean", reduced("mean"))

    def min(self) -> Expr:
        """The least value that is not null; NaN only when there is no other.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.min().evaluate(pa.record_batch({"v": [[2, 1], []]})).to_pylist()
        [1, None]
        """
        return self._call("min", reduced("min"))

    def max(self) -> Expr:
        """The greatest value that is not null; NaN only when there is no other.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.max().evaluate(pa.record_batch({"v": [[2, 1], []]})).to_pylist()
        [2, None]
        """
        return self._call("max", reduced("max"))

    def any(self) -> Expr:
        """Whether some value is true; nulls are passed over.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.any().evaluate(pa.record_batch({"v": [[False, True], []]})).to_pylist()
        [True, False]
        """
        return self._call("any", list_vector(partial(kernels.truth, False)))

    def all(self) -> Expr:
        """Whether no value is false; nulls are passed over.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> col("v").list.all().evaluate(pa.record_batch({"v": [[False, True], []]})).to_pylist()
        [False, True]
        """
        return self._call("all", list_vector(partial(kernels.truth, True)))

"""The verbs that act on rows and columns one row at a time; `Stream` inherits them.

What each means stands on its node or maker, in `streamlib.operators`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pyarrow as pa

from streamlib.errors import Location, StreamlibError, user_location
from streamlib.expr import Expr, col, to_expr
from streamlib.graph import Node


class RowVerbs:
    """Rows that become other rows, each by itself."""

    _node: Node

    def __init__(self, node: Node) -> None:
        self._node = node

    def drop(self, *names: str) -> Self:
        """All columns but these.

        The event-time column may go too: the rows keep their time, and windows still work.

        >>> import pyarrow as pa, streamlib as sl
        >>> sl.read_arrow(pa.table({"a": [1], "b": [2]})).drop("b").collect().to_pydict()
        {'a': [1]}
        """
        from streamlib.operators.columns import drop

        with _Made("drop") as at:
            return type(self)(drop(self._node, list(names), at))

    def rename(self, names: Mapping[str, str]) -> Self:
        """The same columns, some under other names. Event time and keys follow.

        >>> import pyarrow as pa, streamlib as sl
        >>> sl.read_arrow(pa.table({"a": [1]})).rename({"a": "b"}).collect().to_pydict()
        {'b': [1]}
        """
        from streamlib.operators.columns import rename

        with _Made("rename") as at:
            return type(self)(rename(self._node, names, at))

    def cast(self, types: Mapping[str, pa.DataType | str | type], *, strict: bool = True) -> Self:
        """Some columns as another type; see `Expr.cast`. Where not `strict`, what has no place in it is null.

        The event-time column stays that when its type becomes a timestamp that holds the same times.
        A stream is no longer keyed by a column that is cast.

        >>> import pyarrow as pa, streamlib as sl
        >>> sl.read_arrow(pa.table({"n": ["1"]})).cast({"n": "int64"}).collect().to_pydict()
        {'n': [1]}
        """
        from streamlib.operators.columns import cast

        with _Made("cast") as at:
            return type(self)(cast(self._node, types, at, strict))

    def drop_nulls(self, *names: str) -> Self:
        """The rows that have a value in these columns, or in all columns when none is named.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = sl.read_arrow(pa.table({"a": [1, None], "b": [None, 2]}))
        >>> rows.drop_nulls("a").collect().to_pydict()
        {'a': [1], 'b': [None]}
        """
        from streamlib.operators.part import drop_nulls

        with _Made("drop_nulls") as at:
            return type(self)(drop_nulls(self._node, names, at))

    def fill_null(self, value: Any) -> Self:
        """A value where there is none.

        Args:
            value: by column, as a dict; or one for every column that can hold it without a change of
                type, keys apart: a null key is a key.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = sl.read_arrow(pa.table({"n": [1, None], "s": [None, "x"]}))
        >>> rows.fill_null({"n": 0, "s": "-"}).collect().to_pydict()
        {'n': [1, 0], 's': ['-', 'x']}
        >>> rows.fill_null(0).collect().to_pydict()
        {'n': [1, 0], 's': [None, 'x']}
        """
        from streamlib.operators.columns import fill_null

        with _Made("fill_null") as at:
            return type(self)(fill_null(self._node, value, at))

    def unnest(self, *names: str) -> Self:
        """The fields of struct columns as columns, in the struct's place; null where the struct is.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = sl.read_arrow(pa.table({"order": [{"price": 2.0, "size": 1}]}))
        >>> rows.unnest("order").collect().to_pydict()
        {'price': [2.0], 'size': [1]}
        """
        from streamlib.operators.columns import unnest

        with _Made("unnest") as at:
            return type(self)(unnest(self._node, list(names), at))

    def explode(self, *names: str) -> Self:
        """A row for each value of a list column; one with null where the list is empty or null.

        Several columns are exploded together, value by value; their lists must be of equal length.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = sl.read_arrow(pa.table({"id": [1, 2], "tags": [["a", "b"], []]}))
        >>> rows.explode("tags").collect().to_pydict()
        {'id': [1, 1, 2], 'tags': ['a', 'b', None]}
        """
        from streamlib.operators.explode import ExplodeNode

        return type(self)(ExplodeNode(inputs=(self._node,), at=user_location(), columns=names))

    def split(self, predicate: Expr | str) -> tuple[Self, Self]:
        """Two streams: the rows for which `predicate` is true, and all others. Null counts as false.

        >>> import pyarrow as pa, streamlib as sl
        >>> large, rest = sl.read_arrow(pa.table({"n": [1, None, 3]})).split(sl.col("n") > 2)
        >>> large.collect().to_pydict(), rest.collect().to_pydict()
        ({'n': [3]}, {'n': [1, None]})
        """
        from streamlib.operators.part import split

        with _Made("split") as at:
            chosen = col(predicate) if isinstance(predicate, str) else to_expr(predicate)
            matching, rest = split(self._node, chosen, at)
            return type(self)(matching), type(self)(rest)

    def with_row_id(self, name: str = "row_id") -> Self:
        """An int64 column in front that tells rows apart, the same in every run over the same input.

        It is made of the row's split (a file, a connection) and its position among the rows of the
        split that reached `event_time`; workers, batch sizes and timing have no part in it. Another set
        of files numbers splits anew.

        Raises:
            BuildError: before `event_time`, or behind a step that makes new rows, such as `explode`,
                `union` or a window, whose results are told apart by key and ``window_start``.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([5, 6], pa.timestamp("s"))})
        >>> ids = sl.read_arrow(rows).event_time("ts", max_delay="0s").with_row_id()
        >>> ids.collect()["row_id"].to_pylist()
        [0, 1]
        """
        from streamlib.operators.row_id import RowIdNode

        return type(self)(RowIdNode(inputs=(self._node,), at=user_location(), column=name))


class _Made:
    """Names the verb and the user's line in errors that are raised before there is a node."""

    def __init__(self, verb: str) -> None:
        self.verb, self.at = verb, user_location()

    def __enter__(self) -> Location | None:
        return self.at

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StreamlibError):
            error.in_step(self.verb, self.at)

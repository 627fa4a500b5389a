"""What becomes of rows that a step cannot work on: the verbs of `Stream` for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from streamlib.errors import BuildError, ErrorPolicy, OnError, Retry, user_location
from streamlib.graph.dead_letters import dead_letters_of

if TYPE_CHECKING:
    from streamlib.graph import Node
    from streamlib.streams.stream import Stream


class ErrorVerbs:
    """`on_error` and `dead_letters`; part of `Stream`. They mean the step before them."""

    _node: Node

    def on_error(self, policy: ErrorPolicy, retry: Retry | None = None) -> Self:
        """Says what becomes of rows that the step before cannot work on.

        A batch is cut until the rows that fail are alone; all others pass, in their order. Each refused
        row is counted in the report.

        Args:
            policy: ``"fail"`` ends the run at the first such row, ``"skip"`` leaves them out,
                ``"dead_letter"`` sends them to `.dead_letters`. A step without a policy has that of
                the run: ``"fail"``, or what ``sl.run(..., on_error=...)`` says.
            retry: a user's function that raised is called again before that.

        Raises:
            BuildError: there is no such policy, or the step has no rows to refuse.

        >>> import pyarrow as pa, streamlib as sl
        >>> texts = sl.read_arrow(pa.table({"n": ["1", "two", "3"]}))
        >>> numbers = texts.select(n=sl.col("n").cast("int64")).on_error("skip")
        >>> numbers.collect().to_pydict()
        {'n': [1, 3]}
        """
        if self._node.refuses == "never":
            raise BuildError(
                f"{self._node.label} refuses no rows: there is nothing to say",
                at=user_location(),
                expected="a step that works on each row: a source, filter, select, map, event_time, a window",
                hint="call .on_error right after the step that may fail",
            )
        object.__setattr__(self._node, "on_error", OnError(policy, retry))
        return self

    @property
    def dead_letters(self) -> Stream:
        """The rows that the step before refused, with ``.on_error("dead_letter")``.

        Columns: those of the rows it was given (of a source: ``error_data``, the record's bytes as they
        came), ``error_step``, ``error_type``, ``error_message``, ``error_where`` (the place in the
        input, where it is known) and ``error_attempts``. They are rows as any other: once corrected
        they can be sent through the step again.

        >>> import pyarrow as pa, streamlib as sl
        >>> texts = sl.read_arrow(pa.table({"n": ["1", "two", "3"]}))
        >>> numbers = texts.select(n=sl.col("n").cast("int64")).on_error("dead_letter")
        >>> numbers.dead_letters.select("n", "error_where").collect().to_pylist()
        [{'n': 'two', 'error_where': 'arrow, row 1'}]
        """
        from streamlib.streams.stream import Stream

        return Stream(dead_letters_of(self._node))

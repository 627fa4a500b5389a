"""What `process` returns: a keyed stream with side outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlib.errors import BuildError, nearest_names, user_location
from streamlib.graph import SideNode
from streamlib.streams.stream import KeyedStream, Stream

if TYPE_CHECKING:
    from streamlib.operators.process.node import ProcessNode


class ProcessedStream(KeyedStream):
    """The rows that a processor sends out. It stays keyed where the key columns are among its own."""

    def output(self, name: str) -> KeyedStream:
        """The rows that ``ctx.emit(row, to=name)`` sends out.

        Raises:
            BuildError: there is no such output.

        >>> import pyarrow as pa, streamlib as sl
        >>> class Sort(sl.Processor):
        ...     def on_row(self, row, ctx):
        ...         ctx.emit({"v": row["v"]}, to="large" if row["v"] > 9 else None)
        >>> rows = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "k": ["a", "a"], "v": [5, 50]})
        >>> keyed = sl.read_arrow(rows).event_time("ts", max_delay="0s").key_by("k")
        >>> found = keyed.process(Sort, schema={"v": int}, outputs={"large": {"v": int}})
        >>> found.output("large").collect().to_pylist()
        [{'v': 50}]
        """
        node = self._process
        schema = node.outputs.get(name)
        if schema is None:
            near = nearest_names(name, list(node.outputs))
            raise BuildError(
                f"{node.label} has no output {name!r}",
                at=user_location(),
                expected=f"one of outputs=: {', '.join(node.outputs) or '(none)'}",
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
        return KeyedStream(
            SideNode(inputs=(self._node,), at=user_location(), tag=name, side_schema=schema, has_results=True)
        )

    @property
    def late(self) -> Stream:
        """The rows of the first input that came too late, once each.

        Columns: those of the input, and ``late_by``: more than that as additional `max_delay` would have
        kept the row.
        """
        from streamlib.operators.process.node import ProcessNode

        return self.late_of("row") if isinstance(self._node, ProcessNode) else super().late

    def late_of(self, name: str) -> KeyedStream:
        """The rows of a further input that came too late, as `late` has those of the first.

        Raises:
            BuildError: there is no such input.
        """
        node = self._process
        if name not in ("row", *node.names):
            raise BuildError(
                f"{node.label} has no input {name!r}",
                at=user_location(),
                expected=f"one of: {', '.join(node.names) or '(no further input)'}",
            )
        side = node.side_of(name)
        return KeyedStream(
            SideNode(
                inputs=(self._node,),
                at=user_location(),
                tag=node.late_tag(side),
                side_schema=node.late_schema_of(side),
                side_time=node.inputs[side].time,
            )
        )

    @property
    def _process(self) -> ProcessNode:
        from streamlib.operators.process.node import ProcessNode

        node = self._node
        if not isinstance(node, ProcessNode):
            raise BuildError(
                "only the result of process has these rows",
                at=user_location(),
                step=node.label,
                hint="call it on what .process(...) returned",
            )
        return node

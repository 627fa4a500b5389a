"""Own state by key: `process`, and `silence`; verbs of `KeyedStream`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamlib.elements import duration_ns
from streamlib.errors import BuildError, StreamlibError, nearest_names, user_location
from streamlib.graph import Node
from streamlib.streams.ordered import ttl_options

if TYPE_CHECKING:
    from streamlib.streams.process_results import ProcessedStream
    from streamlib.streams.readers import SchemaLike
    from streamlib.streams.stream import KeyedStream, Stream
    from streamlib.streams.table import Forever


class ProcessVerbs:
    """Steps that keep what a class of the user's says."""

    _node: Node

    def process(
        self,
        processor: Any,
        *,
        schema: SchemaLike,
        outputs: Mapping[str, SchemaLike] | None = None,
        broadcast: Mapping[str, Stream] | None = None,
        ttl: str | dt.timedelta | Forever | None = None,
        allowed_lateness: str | dt.timedelta = "0s",
        **inputs: Stream,
    ) -> ProcessedStream:
        """Runs a class with state by key and timers: see `Processor`, and docs/process.md.

        All rows of a key, of every input, come in the order of event time; a timer comes behind the rows up to
        its time and before any later one. A call is made when the watermark has passed its row, and results
        have the row's time, or the timer's.

        Args:
            processor: a subclass of `sl.Processor`; each worker builds one object of it.
            schema: the columns of the rows that ``ctx.emit(row)`` sends out.
            outputs: those of side outputs, by the name in ``ctx.emit(row, to=name)``: `output` reads them.
            broadcast: further inputs whose rows reach every worker, by name: ``on_<name>`` changes with them
                what all keys share. They need no keys.
            ttl: a key without rows for longer than this, in event time, begins anew: without state, without
                timers. `sl.FOREVER` keeps every key; an input without an end needs one of both.
            allowed_lateness: how much longer rows wait for others that come late.
            inputs: further inputs, by name: ``on_<name>`` takes their rows. A stream without keys is keyed by
                columns of the same names.

        Raises:
            BuildError: the class does not fit the inputs, or state would grow without end.
            UserFunctionError: while running: a method raised, or gave a state or an output what does not fit it.

        >>> import pyarrow as pa, streamlib as sl
        >>> class Visits(sl.Processor):
        ...     pages = sl.ValueState(int, 0)
        ...     def on_row(self, row, ctx):
        ...         self.pages += 1
        ...         ctx.timer("left", after="30m")
        ...     def on_timer(self, name, ctx):
        ...         ctx.emit({"user": ctx.key, "pages": self.pages})
        ...         self.pages = 0
        >>> rows = pa.table({"ts": pa.array([0, 60, 7200], pa.timestamp("s")), "user": ["ann", "ann", "ann"]})
        >>> clicks = sl.read_arrow(rows).event_time("ts", max_delay="1m").key_by("user")
        >>> clicks.process(Visits, schema={"user": str, "pages": int}).collect().to_pylist()
        [{'user': 'ann', 'pages': 2}, {'user': 'ann', 'pages': 1}]
        """
        from streamlib.operators.functions.annotations import names_of_the_caller
        from streamlib.operators.functions.declared import declared_schema
        from streamlib.operators.process.methods import FIRST, processor_class
        from streamlib.operators.process.node import ProcessNode, output_schemas
        from streamlib.streams.process_results import ProcessedStream

        at, local = user_location(), names_of_the_caller()
        try:
            further = {**_streams(inputs), **_streams(broadcast or {})}
            if len(further) < len(inputs) + len(broadcast or {}):
                both = sorted(set(inputs) & set(broadcast or {}))
                raise BuildError(
                    f"the input {both[0]!r} is given twice", hint="broadcast inputs have other names"
                )
            nodes = [(FIRST, self._node.schema), *((name, node.schema) for name, node in further.items())]
            options = ttl_options(ttl)
            found = processor_class(processor, nodes, len(broadcast or {}), local)
            given = declared_schema(schema, local)
            sides = output_schemas(outputs, lambda each: declared_schema(each, local))
            lateness = duration_ns(allowed_lateness, "allowed_lateness")
        except StreamlibError as error:
            raise error.in_step("process", at) from None
        return ProcessedStream(
            ProcessNode(
                inputs=(self._node, *further.values()),
                at=at,
                processor=found,
                given=given,
                outputs=sides,
                names=tuple(further),
                broadcast=len(broadcast or {}),
                allowed_lateness=lateness,
                **options,
            )
        )

    def silence(
        self, duration: str | dt.timedelta, *, allowed_lateness: str | dt.timedelta = "0s"
    ) -> KeyedStream:
        """A row for each time that a key had no row for so long, in event time: devices that fell silent.

        Columns: the keys, ``silence_start`` (the time of the key's last row) and ``silence_end``
        (``duration`` later, which is the result's event time). It comes out when the watermark has passed that;
        a row exactly ``duration`` later breaks the silence. The next row of the key arms it again.

        The end of the input is no silence: then only those come out that were over by its latest row.

        Args:
            duration: how long, such as ``"5m"``.
            allowed_lateness: how much longer silences wait for rows that come late.

        Raises:
            BuildError: there are no keys or no event time, or the duration is none.

        >>> import pyarrow as pa, streamlib as sl
        >>> rows = pa.table({"ts": pa.array([0, 60, 600], pa.timestamp("s")), "device": ["a", "b", "b"]})
        >>> beats = sl.read_arrow(rows).event_time("ts", max_delay="10s").key_by("device")
        >>> for row in beats.silence("5m").collect().to_pylist():
        ...     print(row["device"], row["silence_start"].time(), row["silence_end"].time())
        a 00:00:00 00:05:00
        b 00:01:00 00:06:00
        """
        from streamlib.operators.silence import SilenceNode, horizons_of
        from streamlib.streams.stream import KeyedStream

        at = user_location()
        try:
            length = duration_ns(duration, "duration")
            lateness = duration_ns(allowed_lateness, "allowed_lateness")
        except StreamlibError as error:
            raise error.in_step("silence", at) from None
        inputs = (self._node, *horizons_of(self._node))
        return KeyedStream(SilenceNode(inputs=inputs, at=at, duration=length, allowed_lateness=lateness))


def _streams(given: Any) -> dict[str, Node]:
    """The further inputs by name."""
    from streamlib.streams.stream import Stream

    if not isinstance(given, Mapping):
        raise BuildError(
            "broadcast= is no dict of streams", expected='such as broadcast={"rules": rules}', got=repr(given)
        )
    found = {}
    for name, stream in given.items():
        if not isinstance(stream, Stream):
            near = nearest_names(name, ("ttl", "schema", "outputs", "broadcast", "allowed_lateness"))
            raise BuildError(
                f"process has no option {name!r}, and as an input it must be a stream",
                expected="a stream",
                got=repr(stream),
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
        if name in ("row", "timer") or not name.isidentifier():
            raise BuildError(f"an input cannot be named {name!r}", expected="a name that on_<name> can have")
        found[name] = stream._node
    return found

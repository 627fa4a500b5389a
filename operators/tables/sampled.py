"""Running aggregates as a stream: the state of a key at the end of each span of event time.

The event time of a row is the end of its span, T: the state is that of all rows before T. It comes out
when the watermark reaches T. A key gives a row for each span in which it had a row, no more: what it gave
last holds until the next. So there are never more rows out than in, however long a key is silent and
however far a time jumps; and they are a function of the input. With `ttl` a key begins anew when it had no
row for longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import MAX_TIME, Batch
from streamlib.graph import BuildContext
from streamlib.operators.tables.running import AggregatingNode
from streamlib.operators.tables.running_operator import TableOperator
from streamlib.operators.windows.results import as_times, bounds_type
from streamlib.operators.windows.tumbling import TumblingWindow
from streamlib.state import Expiry, Touched

Int64s = npt.NDArray[np.int64]

EVENT_TIME = "event_time"
"""The column with the end of the span."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SampledNode(AggregatingNode):
    """Aggregates all rows of a key so far, and gives the state at the end of each span (`max_rate`)."""

    kind: ClassVar[str] = "state"
    span_name: ClassVar[str] = "every"
    max_rate: int

    @cached_property
    def added(self) -> pa.Field:
        source = self.inputs[0]
        kind = None if source.time is None else source.schema.field(source.time).type
        return pa.field(EVENT_TIME, bounds_type(kind, TumblingWindow(self.max_rate)))

    @property
    def columns(self) -> Sequence[str]:
        return [*self.inputs[0].keys, EVENT_TIME, *self.aggregates]

    def derive_time(self) -> str | None:
        return EVENT_TIME

    def build(self, context: BuildContext) -> Operator:
        return SampledOperator(self, context)


class SampledOperator(TableOperator):
    """Rows that wait for the end of their span, and the state of each key."""

    node: SampledNode

    def _changes(self, touched: Touched) -> Iterator[Batch]:
        self.known.upto(self.table.count)[touched.slots] = True
        every = self.node.max_rate
        begins = touched.high // every * every
        ends = np.where(begins > MAX_TIME - every, MAX_TIME, begins + every)
        for begin in range(0, len(ends), self.batch_rows):
            part = slice(begin, begin + self.batch_rows)
            yield self._batch(touched.slots[part], as_times(ends[part], self.node.added.type), ends[part])

    def _gone(self, slots: Int64s, expiry: Expiry) -> Iterator[Batch]:
        """A key goes without a row: what it gave last was true when it was given."""
        return iter(())

"""State of the steps: per pane, bounded by the windows that are open, or per key; and rows that wait.

A *pane* is one fixed window's state: its own key index, records, key columns and byte arena, freed
whole when the window closes. Panes are identified by the window's start::

    plan = AccumulatorPlan([(Count(), None, None), (Sum(), 0, pa.float64())])
    store = PaneStore([pa.field("symbol", pa.string())], plan)
    store.add(keys, starts=Tumbling(size, offset), inputs=[price], time=times)
    for start in store.starts():
        if start + size <= watermark:
            closed = store.pop(start)         # closed.keys: RecordBatch, closed.results: list of arrays

* `PaneStore`: add rows, merge partial results, pop panes, snapshot and restore.
* `Tumbling`: windows whose starts the kernel computes itself.
* `TwoStacks`: panes of slices of time, and the sum over the latest of them, for windows that overlap.
* `SlotTable`: aggregates per key, without windows; a slot per key, and keys that are freed one by one.
* `SessionTable`: the open sessions of each key; `NumberedStore`: aggregates by number, for what has no keys.
* `BarTable`: the open bar of each key, which is full after so many rows or when a sum is reached.
* `Expiry`: which slots have had no row for long.
* `AsOfStore`: the rows of each key through time, and which of them held when.
* `OrderedBuffer`: rows that wait until the watermark has passed them, and come out in order.

Modules: `panes` (the store), `pane` (one pane's memory and growth), `directory` (window start to
pane, as the kernels read it), `fused` (the generated loop of a plan), `probe` (the loop that finds
records), `values` and `value_store` (values that are no words, beside the records), `slots` (one pane
that never closes), `rings` (the last rows of each key, and aggregates over
them; `rolling_source` generates its loop, `rolling_values` has what is no words), `row_states` (what
functions of rows keep of a key), `sessions`, `bars` (`bar_kernels` has its loop), `numbered`, `expiry`,
`ordered`, `layout` (what lies where in the blocks that Python and kernels share).
"""

from streamlib.state.asof import AsOfStore
from streamlib.state.bars import BarSize, BarTable, OverBars
from streamlib.state.closed import Closed, Tumbling
from streamlib.state.expiry import Expiry
from streamlib.state.key_columns import with_fields
from streamlib.state.numbered import NumberedStore
from streamlib.state.ordered import Order, OrderedBuffer, joined
from streamlib.state.panes import PaneStore
from streamlib.state.sessions import ClosedSessions, SessionTable
from streamlib.state.slots import SlotColumn, SlotTable, Touched
from streamlib.state.two_stacks import TwoStacks

__all__ = [
    "AsOfStore",
    "BarSize",
    "BarTable",
    "Closed",
    "ClosedSessions",
    "Expiry",
    "NumberedStore",
    "Order",
    "OrderedBuffer",
    "OverBars",
    "PaneStore",
    "SessionTable",
    "SlotColumn",
    "SlotTable",
    "Touched",
    "Tumbling",
    "TwoStacks",
    "joined",
    "with_fields",
]

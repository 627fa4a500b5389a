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
* `HandingStore`: one that gives its panes to other workers of the process, and takes theirs.
* `Tumbling`: windows whose starts the kernel computes itself.
* `TwoStacks`: panes of slices of time, and the sum over the latest of them, for windows that overlap.
* `SlotTable`: aggregates per key, without windows; a slot per key, and keys that are freed one by one.
* `SessionTable`: the open sessions of each key; `NumberedStore`: aggregates by number, for what has no keys.
* `SeenKeys`: which keys came before, and when; `LastRows`: the last row of each run of a key.
* `BarTable`: the open bar of each key, which is full after so many rows or when a sum is reached.
* `HopTable`: the last rows of each key, in slices, and windows of them that overlap.
* `Expiry`: which slots have had no row for long.
* `AsOfStore`: the rows of each key through time, and which of them held when.
* `IntervalStore`: the rows of one side of a join, found by key and time; `NumberedRows`: rows taken out by number.
* `OrderedBuffer`: rows that wait until the watermark has passed them, and come out in order.
* `StepStates`, `ArrayStates`: what functions of the user's keep of keys.

Modules: `panes` (the store), `pane` (one pane's memory and growth), `directory` (window start to pane, as the
kernels read it), `fused` (the generated loop of a plan), `probe` (the loop that finds records), `handing`
(panes that go to other workers; `handed_probe` finds their records), `values` and `value_store` (values that
are no words, beside the records), `slots` (one pane that never closes), `placed` and `two_stacks` (slices),
`sessions`, `bars` (`bar_kernels` has its loop), `hops` (`hop_kernels`), `numbered`, `seen`, `last_rows`,
`expiry`, `ordered` (`gathering` takes rows of several batches, into memory of `slabs`), `layout` (what lies
where in the blocks that Python and kernels share). Rooms: `collected` (what is no few words per key), `joins`,
`rolling` (the last rows of each key), `steps` (functions of the user's).
"""

from streamlib.state.bars import BarSize, BarTable, OverBars
from streamlib.state.closed import Closed, Tumbling, concat
from streamlib.state.expiry import Expiry
from streamlib.state.handing import BY_KEY, HandedPane, HandingStore, Owners, Share
from streamlib.state.hops import HopTable
from streamlib.state.joins.asof import AsOfStore
from streamlib.state.joins.interval import IntervalStore
from streamlib.state.joins.numbered_rows import NumberedRows
from streamlib.state.key_columns import with_fields
from streamlib.state.last_rows import LastRows
from streamlib.state.numbered import NumberedStore
from streamlib.state.ordered import Order, OrderedBuffer, joined
from streamlib.state.panes import PaneStore
from streamlib.state.record_memory import moved_into
from streamlib.state.seen import SeenKeys
from streamlib.state.sessions import ClosedSessions, SessionTable
from streamlib.state.slots import SlotColumn, SlotTable, Touched
from streamlib.state.steps.array_states import ArrayStates
from streamlib.state.steps.step_states import StepStates
from streamlib.state.two_stacks import TwoStacks

__all__ = [
    "BY_KEY",
    "ArrayStates",
    "AsOfStore",
    "BarSize",
    "BarTable",
    "Closed",
    "ClosedSessions",
    "Expiry",
    "HandedPane",
    "HandingStore",
    "HopTable",
    "IntervalStore",
    "LastRows",
    "NumberedRows",
    "NumberedStore",
    "Order",
    "OrderedBuffer",
    "OverBars",
    "Owners",
    "PaneStore",
    "SeenKeys",
    "SessionTable",
    "Share",
    "SlotColumn",
    "SlotTable",
    "StepStates",
    "Touched",
    "Tumbling",
    "TwoStacks",
    "concat",
    "joined",
    "moved_into",
    "with_fields",
]

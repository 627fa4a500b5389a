"""The operator contract: what runs on a worker for one step of the graph.

An operator yields its output and never calls its successor. It has one instance per worker and is
driven by that worker's thread alone. Only what a step needs has to be written: a filter is one
method.

A complete operator::

    class Positive(Operator):
        def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
            keep = np.asarray(pc.greater(batch.rows.column("price"), 0))
            yield batch.filter(keep)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.elements import Batch, BlockEnd, Handed
from streamlib.errors import StreamlibError


@dataclass(frozen=True, slots=True)
class Tagged:
    """A batch for a side output, such as ``late``."""

    tag: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """Yielded when a step cannot go on yet: its stack is parked until `ready()` and asked again then."""

    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows that a step cannot work on, one error each: the step's policy says what becomes of them."""

    batch: Batch
    errors: Sequence[StreamlibError]
    attempts: Sequence[int] | None = None
    """How often each row was tried, where the step itself tries again; by its policy when None."""


Output = Batch | Handed | Tagged | Wait | Refusal
State = Mapping[str, pa.Table]
"""State tables by name: open data, rows hold keys and never slots."""


class Operator:
    """One step on one worker. The defaults describe a stateless step without output.

    Attributes:
        may_wait: what it does at two watermarks costs little more than at one, as where windows close:
            while there is more to read, costly watermarks come less often. Rows that wait for their turn
            should not wait longer.
    """

    may_wait: ClassVar[bool] = False

    def on_batch(self, batch: Batch, side: int = 0) -> Iterable[Output]:
        """Rows on input `side` (0 for the first). Yields output; batches of at most `batch_rows`."""
        return ()

    def on_handed(self, handed: Handed) -> Iterable[Output]:
        """State of a step of the same process, which the two know: only where a step hands such over."""
        raise NotImplementedError(f"{type(self).__name__} takes no state that is handed over")

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row that `on_batch` could not take, and changes nothing.

        Only steps with state need it: where rows are to be skipped it is called first, on parts of
        the batch until the rows that fail are alone. A stateless step is tried with `on_batch` itself.
        """

    def on_block_end(self, end: BlockEnd) -> Iterable[Output | BlockEnd]:
        """A block of a split is complete: only steps before `event_time`, and that step, meet it."""
        return (end,)

    def on_watermark(self, time: int) -> Iterable[Output]:
        """The merged watermark of all inputs rose to `time`, ns. Yields what it closes.

        Where `on_side_watermark` is written it is called after that as well, though only one side rose.
        """
        return ()

    def on_side_watermark(self, time: int, side: int) -> None:
        """The watermark of one input rose: for steps that keep one side's state by the other's.

        `time` is MAX_TIME when that input has ended. An idle one rises with the others.
        """

    def on_end(self) -> Iterable[Output]:
        """All inputs have ended: yields everything that is left."""
        return ()

    def forward(self, watermark: int) -> int:
        """The watermark to send on when the merged one is `watermark`, as SEMANTICS 4."""
        return watermark

    def on_barrier(self) -> Iterable[Output]:
        """A barrier is about to be sent on: yields what was only gathered for the next step."""
        return ()

    def snapshot(self) -> State:
        """The state at a barrier, as Arrow tables with the keys' own columns."""
        return {}

    def restore(self, state: State) -> None:
        """Takes rows of earlier snapshots that belong to this worker. Called before the first batch."""

    # Work between the calls: a step that waits for something outside, such as the answer of a service.

    def bind(self, wake: Callable[[], None]) -> bool:
        """Called once, before the first batch. True: the step works between the calls too.

        Such a step calls `wake`, from any thread, when `on_wake` has something to yield or what a
        `Wait` of it waits for has come.
        """
        return False

    def is_ready(self) -> bool:
        """Whether `on_wake` would yield something: asked often, on the worker's thread."""
        return False

    def is_busy(self) -> bool:
        """Whether `wake` will be called though no input comes: nobody takes the run for stuck."""
        return False

    def on_wake(self) -> Iterable[Output]:
        """Yields what has come meanwhile; `forward` is asked again behind it."""
        return ()

    def open_windows(self) -> tuple[int, int | None]:
        """How many windows are open, and the end of the earliest, ns: for progress and `why`."""
        return 0, None

    def open_rows(self) -> int:
        """Input rows that wait in open windows: what a stop leaves unfinished."""
        return 0

    def counters(self) -> Mapping[str, int]:
        """Counts for the report by name, such as ``late`` rows."""
        return {}

    def close(self) -> None:
        """Frees what the operator holds outside memory. Called once, also after an error."""

"""What the user asked for: frozen nodes with inputs, options, schema, keys, time column and state bound.

A node checks itself when it is made, so that what cannot work fails at the user's own line. It
builds its own operators: nothing is wired by name.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from streamlib.contracts import NewLoop, Operator, Sink, Source
from streamlib.contracts.format import TEXT_BECAUSE
from streamlib.elements import Batch
from streamlib.errors import (
    BuildError,
    ColumnNotFoundError,
    Location,
    OnError,
    Retry,
    StreamlibError,
    TypeMismatchError,
)
from streamlib.eventtime import EventClock


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What an operator may know of the run.

    Attributes:
        worker: index of the worker it is built for.
        workers: how many there are.
        batch_rows: the largest batch it may yield.
        shares_memory: whether all workers are in this process, so that one may read what another has made.
        needs_order: whether ties in event time can come from several splits or workers.
        wanted: the columns of its result that are read; None for all.
        late_read: whether somebody reads the step's `late` output.
        sides_read: the side outputs of the step that somebody reads, by tag.
        clock: what the step's `make_clock` made, shared by all workers.
        refuse: whether rows that the step cannot work on leave it as a `Refusal` instead of an error.
        retry: how often what failed is tried again, by the step's policy.
        shared: what the node's `share` made for all workers of the process.
        now_ns: the processing clock.
        pause: waits so many seconds; returns true when the run was cancelled meanwhile.
        new_loop: what `async` functions run on; an event loop on a thread of its own when None.
    """

    worker: int = 0
    workers: int = 1
    batch_rows: int = 65_536
    shares_memory: bool = False
    needs_order: bool = False
    wanted: frozenset[str] | None = None
    late_read: bool = False
    sides_read: frozenset[str] = frozenset()
    clock: EventClock | None = None
    refuse: bool = False
    retry: Retry | None = None
    shared: Any = None
    now_ns: Callable[[], int] = time.monotonic_ns
    pause: Callable[[float], object] = threading.Event().wait
    new_loop: NewLoop | None = None


@dataclass(frozen=True, slots=True)
class LostKeys:
    """Keys that rows had, of which a step let a column go.

    Attributes:
        keys: the columns that the stream was keyed by.
        step: the label of the step that has not all of them.
        at: its line.
    """

    keys: tuple[str, ...]
    step: str
    at: Location | None

    def refusal(self, what: str) -> BuildError:
        """The error of a step that would work on the rows of a key, and is given all rows as one."""
        columns = ", ".join(repr(key) for key in self.keys)
        where = "" if self.at is None else f" ({self.at})"
        return BuildError(
            f"{what} works by key, and {self.step}{where} has let go of the keys",
            expected=f"{columns} in what {self.step} gives, unchanged or under another name",
            got="a stream that was keyed and is not any more",
            hint="keep the key columns, or say anew which rows belong together: .key_by(...); "
            "for all rows as one write .key_by() before",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Node(ABC):
    """One step of the logical graph.

    Attributes:
        inputs: the nodes it reads.
        at: the line of the user's script that made it.
        name: given by `.named(...)`; None for a derived one.
        on_error: given by `.on_error(...)`; None for that of the run.
    """

    kind: ClassVar[str] = "step"

    inputs: tuple[Node, ...] = ()
    at: Location | None = None
    name: str | None = None
    on_error: OnError | None = None
    schema: pa.Schema = field(init=False)
    """The columns of its rows."""
    time: str | None = field(init=False, default=None)
    """The event-time column; None before `event_time`, or where it is no longer among the columns."""
    timed: bool = field(init=False, default=False)
    """Whether its rows have an event time at all."""
    keys: tuple[str, ...] = field(init=False, default=())
    """The key columns of a keyed stream."""
    lost: LostKeys | None = field(init=False, default=None)
    """The keys that its rows had, where they have none."""

    def __post_init__(self) -> None:
        try:
            if self.exchange_by and self.goes_by_keys:
                self._refuse_lost_keys()
            self._set(schema=self.derive_schema())
            self._set(timed=self.derive_timed(), time=self.derive_time(), keys=self.derive_keys())
            self._set(lost=self.derive_lost())
            self.validate()
        except StreamlibError as error:
            if isinstance(error, TypeMismatchError):
                error.hint = _text_hint(self) or error.hint
            error.in_step(self.label, self.at)
            raise

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    # What a node says of itself.

    @abstractmethod
    def derive_schema(self) -> pa.Schema:
        """The columns it yields."""

    def derive_time(self) -> str | None:
        """The time column it yields: the first input's, while its rows still have that column."""
        time = self.inputs[0].time if self.inputs else None
        return time if time in self.schema.names else None

    def derive_timed(self) -> bool:
        """Whether its rows have an event time: whether all its inputs' have."""
        return bool(self.inputs) and all(n.timed for n in self.inputs)

    def derive_keys(self) -> tuple[str, ...]:
        """A result stays keyed while its key columns stay."""
        keys = self.inputs[0].keys if self.inputs else ()
        return keys if all(k in self.schema.names for k in keys) else ()

    def derive_lost(self) -> LostKeys | None:
        """The keys that its rows have lost, here or before."""
        if self.keys:
            return None
        if not self.inputs or not self.inputs[0].keys:
            return self.inputs[0].lost if self.inputs else None
        return LostKeys(self.inputs[0].keys, self.label, self.at)

    def _refuse_lost_keys(self) -> None:
        lost = self.inputs[0].lost
        if lost is not None:
            raise lost.refusal(self.label)

    def validate(self) -> None:
        """Raises BuildError when the node cannot work on its inputs."""

    @property
    def label(self) -> str:
        """Its name in plans and messages."""
        return self.name or self.kind

    def describe(self) -> str:
        """Its options, as the user wrote them."""
        return ""

    def state_bound(self) -> str:
        """What bounds its state: ``none``, ``open windows``, ``within x rate``, ``keys`` or ``input``."""
        return "none"

    def timing_because(self) -> str | None:
        """Why its output may depend on timing, from the closed list of SEMANTICS 5; None when it does not."""
        return None

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        """The columns it needs of each input when `wanted` of its own are read (None: all)."""
        return [None] * len(self.inputs)

    @property
    def reads_order(self) -> bool:
        """Whether ties in event time matter to it, so that the hidden order column must come along."""
        return False

    refuses: ClassVar[Literal["never", "rows", "checked"]] = "never"
    """Whether single rows may be more than it can work on. ``rows``: its operator has no state, and
    `on_batch` may be called again with parts of a batch; ``checked``: the operator has `check`."""

    @property
    def refused_schema(self) -> pa.Schema:
        """The columns of rows that it refuses."""
        return self.inputs[0].schema

    # What runs.

    exchange_by: ClassVar[bool] = False
    """Whether rows of one key must meet on one worker before it (by `keys`; none: all on worker 0)."""

    goes_by_keys: ClassVar[bool] = True
    """Whether, where `exchange_by`, these are the keys of its first input; else it is told which."""

    def exchange_keys(self, side: int) -> tuple[str, ...]:
        """The columns of input `side` that choose the worker, where `exchange_by`."""
        return self.keys

    def broadcasts(self, side: int) -> bool:
        """Whether every worker is given all rows of input `side`, where `exchange_by`."""
        return False

    def state_keys(self, table: str) -> tuple[str, ...] | None:
        """The columns of its state table `table` that choose the worker, where `exchange_by`; None: all have it."""
        return self.keys

    combines: ClassVar[bool] = False
    """Whether `build_combiner` and `build_merger` exist: rows are made fewer before the exchange."""

    gives_order: ClassVar[bool] = False
    """Whether it makes the hidden order column when a step below reads it: only `event_time` does."""
    blurs_order: ClassVar[bool] = False
    """Whether several rows can have one order, and arrival decides between them. Where they meet other rows that
    stem from the same ones, `BuildContext.needs_order` is true: then arrival must not depend on batches."""
    interleaves: ClassVar[bool] = False
    """Whether it mixes rows of several inputs, so that arrival is no order."""

    @abstractmethod
    def build(self, context: BuildContext) -> Operator:
        """The operator that does the whole step on rows of its worker's keys."""

    def build_combiner(self, context: BuildContext) -> Operator:
        """The operator before the exchange, which makes the rows fewer."""
        raise AssertionError(f"{self.label} has no combiner")

    def build_merger(self, context: BuildContext) -> Operator:
        """The operator behind the exchange, which takes what `build_combiner` yields."""
        raise AssertionError(f"{self.label} has no combiner")

    def make_clock(self) -> EventClock | None:
        """The clock that the step's workers share: only `event_time` has one."""
        return None

    def share(self) -> Any:
        """What the step's workers share in one run, such as a table that is read once; None for nothing."""
        return None

    def first_time(self, batch: Batch) -> int | None:
        """Of a step with a clock: the event time of the first row of `batch`, ns; None if it has none."""
        return None

    # Helpers for nodes.

    def require_columns(self, names: Sequence[str], schema: pa.Schema | None = None) -> None:
        """Raises ColumnNotFoundError for the first name that is not a column of the first input."""
        known = (schema or self.inputs[0].schema).names
        for name in names:
            if name not in known:
                raise ColumnNotFoundError.of(name, known)

    def require_time(self, what: str) -> None:
        """Raises BuildError where the rows have no event time."""
        if not self.inputs[0].timed:
            raise BuildError(
                f"{what} needs event time",
                expected="a stream with .event_time(...) before this step",
                got="a stream without event time",
                hint='add .event_time("ts", max_delay="2s") after the source',
            )


def _text_hint(node: Node) -> str | None:
    """Which inferred columns are text only because of single values: the likely cause of a type error."""
    found: list[str] = []
    pending, seen = list(node.inputs), set()
    while pending:
        source = pending.pop()
        if id(source) in seen:
            continue
        seen.add(id(source))
        pending.extend(source.inputs)
        if isinstance(source, SourceNode):
            for field in source.schema:
                why = (field.metadata or {}).get(TEXT_BECAUSE)
                if why is not None:
                    found.append(f"column {field.name!r} was read as text {why.decode()}")
    if not found:
        return None
    return f"{'; '.join(found[:3])}: correct it, or declare the types with schema="


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceNode(Node):
    """Reads a source."""

    kind: ClassVar[str] = "read"
    refuses = "rows"
    source: Source

    def derive_schema(self) -> pa.Schema:
        return self.source.schema()

    def describe(self) -> str:
        return self.source.describe()

    def timing_because(self) -> str | None:
        return None if self.source.replayable else f"{self.label}: the source cannot be read again"

    def build(self, context: BuildContext) -> Operator:
        return Operator()


@dataclass(frozen=True, eq=False, kw_only=True)
class SideNode(Node):
    """A side output of another node, such as `.late`. It has no operator: it is an edge with a tag.

    Attributes:
        has_results: its rows are results, as those of the main output; else they are rows that came in.
    """

    kind: ClassVar[str] = "side output"
    tag: str
    side_schema: pa.Schema
    side_time: str | None = None
    side_timed: bool | None = None
    has_results: bool = False

    def derive_schema(self) -> pa.Schema:
        return self.side_schema

    def derive_time(self) -> str | None:
        return self.side_time

    def derive_timed(self) -> bool:
        return super().derive_timed() if self.side_timed is None else self.side_timed

    @property
    def label(self) -> str:
        return f"{self.inputs[0].label}.{self.tag}"

    def build(self, context: BuildContext) -> Operator:
        raise AssertionError("a side output has no operator")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SinkNode(Node):
    """Writes a stream. `run` takes sinks and runs what leads to them."""

    kind: ClassVar[str] = "write"
    sink: Sink

    def derive_schema(self) -> pa.Schema:
        return self.inputs[0].schema

    def describe(self) -> str:
        return self.sink.describe()

    def __repr__(self) -> str:
        return f"<{self.describe()}: pass it to sl.run(...)>"

    def build(self, context: BuildContext) -> Operator:
        return SinkOperator(self, context)


class SinkOperator(Operator):
    """Hands rows to the sink's writer of this worker. Opens it with the run, not with the first row."""

    def __init__(self, node: SinkNode, context: BuildContext) -> None:
        self.schema = node.schema
        self.writer = node.sink.open(node.schema, context.worker)

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Writes the visible columns."""
        if batch.rows.num_rows:
            self.writer.write(batch.rows)
        return ()

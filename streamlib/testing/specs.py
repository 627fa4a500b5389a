"""The jobs that the simulation plays, as plain data: what the engine's graph and the model are both made from.

A spec says what a step does by name and number only. It has no code, so that the engine and the
model (`streamlib.testing.model`) share nothing but the question.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

COLUMNS = ("ts", "k", "g", "v", "n", "id")
"""Of the rows of a source."""
RowData = dict[str, object]
"""A row by column name. Times are int nanoseconds."""


@dataclass(frozen=True, eq=False, slots=True)
class Read:
    """Rows of source number `source`."""

    source: int


@dataclass(frozen=True, eq=False, slots=True)
class Apply:
    """A step on single rows: a filter, computed columns or a batch function, by the name in `ROW_FUNCTIONS`."""

    input: Spec
    function: str


@dataclass(frozen=True, eq=False, slots=True)
class Timed:
    """`event_time` by column ``ts``; `max_delay` in ns, None for the end of the input.

    Attributes:
        leaves: silent splits are left out.
        per: columns whose values are splits of their own.
    """

    input: Spec
    max_delay: int | None
    leaves: bool = False
    per: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Union:
    """The rows of all inputs."""

    inputs: tuple[Spec, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Windowed:
    """Windows, keyed by `keys`, aggregated by the plan of that name in `PLANS`; times in ns.

    Attributes:
        kind: ``tumbling``, ``hopping``, ``cumulative``, ``session``, ``rows``, or ``same``: the window that a
            result is of.
        size: of a session the gap; of ``rows`` how many rows a window has.
        every: from one hop or step to the next, also of ``rows``, where 0 means that windows do not overlap; of
            a session its largest length, 0 for none.
        updates: results are a table, of which the changes are read.
        top: how many rows come out of each window, those with the largest `v`; 0 for aggregates.
        early: how often open windows are shown besides, with `updates`; 0 for not at all.
    """

    input: Spec
    keys: tuple[str, ...]
    size: int
    offset: int
    lateness: int
    plan: str
    kind: str = "tumbling"
    every: int = 0
    updates: bool = False
    top: int = 0
    early: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Scanned:
    """Of each row the number of rows of its key so far, and the sum of their `n`; `lateness` in ns."""

    input: Spec
    keys: tuple[str, ...]
    lateness: int


@dataclass(frozen=True, eq=False, slots=True)
class Joined:
    """Rows of two inputs with equal `keys`; times in ns.

    Attributes:
        how: ``inner``, ``left``, ``full``, ``semi`` or ``anti`` of an interval join; ``asof`` for the latest right
            row that is not later.
        low, high: the right row's time less the left one's; of ``asof`` `-low` is the tolerance.
    """

    left: Spec
    right: Spec
    keys: tuple[str, ...]
    how: str
    low: int
    high: int
    lateness: int


@dataclass(frozen=True, eq=False, slots=True)
class Paired:
    """Rows of two inputs with equal `keys` in the same window; times in ns.

    Attributes:
        how: ``inner``, ``left``, ``right``, ``full``, ``semi`` or ``anti``.
        kind, size, every: as of `Windowed`: ``tumbling``, ``hopping``, ``cumulative`` or ``session``.
    """

    left: Spec
    right: Spec
    keys: tuple[str, ...]
    how: str
    kind: str
    size: int
    every: int
    lateness: int


@dataclass(frozen=True, eq=False, slots=True)
class Deduped:
    """One row of each run of an id: the ``first`` or ``last``, as `keep` says; times in ns."""

    input: Spec
    ids: tuple[str, ...]
    within: int
    keep: str
    lateness: int


@dataclass(frozen=True, eq=False, slots=True)
class Rolled:
    """Each row with what the rows of its key before it give.

    Attributes:
        kind: ``time``: count and sum of `n` in the last `size` ns; ``rows``: of the last `size` rows;
            ``functions``: the sum of all `n` so far, the `v` before it, and the last `v` that is there.
    """

    input: Spec
    keys: tuple[str, ...]
    kind: str
    size: int
    lateness: int


@dataclass(frozen=True, eq=False, slots=True)
class Silent:
    """When a key had no row for `duration` ns."""

    input: Spec
    keys: tuple[str, ...]
    duration: int
    lateness: int


@dataclass(frozen=True, eq=False, slots=True)
class Tabled:
    """The changes of a table of all rows so far, by spans of `span` ns.

    Attributes:
        kind: ``running`` aggregates by `plan`; the ``latest`` row; the ``top`` rows by `v`; or the ``states`` at
            the ends of spans, which is a stream.
        top: how many rows; 0 but for ``top``.
        ttl: of ``states``: after how long a key begins anew, ns; 0 for never.
    """

    input: Spec
    keys: tuple[str, ...]
    kind: str
    span: int
    plan: str
    top: int = 0
    ttl: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Filled:
    """The results of windows, and rows for the windows between and behind them; `up_to` in ns."""

    window: Windowed
    up_to: int


@dataclass(frozen=True, eq=False, slots=True)
class Processed:
    """What a processor makes of rows, of those of a further input, of rules for all keys, and of timers.

    It counts rows and adds up `n`. A row with an even `n` sets the timer `after` ns later; one of the further
    input adds 100 more, and takes the timer back where its `n` is above 6. A rule sets the limit.

    Attributes:
        ttl: after how long a key begins anew, ns; 0 for never.
    """

    input: Spec
    more: Spec
    rules: Spec
    keys: tuple[str, ...]
    after: int
    lateness: int
    ttl: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Side:
    """A side output of a step, but for late rows: the ``duplicates`` of dedup, what ``timers`` send out."""

    step: Deduped | Processed


@dataclass(frozen=True, eq=False, slots=True)
class Late:
    """The rows that were too late for a step; of a step with several inputs those of input number `side`."""

    step: Windowed | Scanned | Joined | Paired | Deduped | Rolled | Silent | Tabled | Processed
    side: int = 0


Spec = (
    Read | Apply | Timed | Union | Windowed | Scanned | Joined | Paired | Deduped | Rolled | Silent | Tabled
    | Filled | Processed | Side | Late
)  # fmt: skip

RESULTS = (Windowed, Filled, Tabled)
"""Steps whose rows have keys, `n` and `v`, and no `id`; but for some tables."""


def right_columns(spec: Spec) -> dict[str, str]:
    """What a join adds to the left row, by the right row's columns."""
    if isinstance(spec, RESULTS) and not (isinstance(spec, Tabled) and spec.kind in ("latest", "top")):
        return {"r_n": "n", "r_v": "v"}
    return {"r_id": "id", "r_ts": "ts", "r_n": "n"}


PLANS: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "sums": (("n", "count", None), ("v", "sum", "v")),
    "edges": (("n", "count", None), ("v", "last", "v"), ("m", "first", "n")),
    "extremes": (("n", "count", None), ("v", "max", "v"), ("m", "min", "n")),
    "means": (("n", "sum", "n"), ("v", "mean", "v"), ("m", "count", "v")),
}
"""The few aggregate lists of the simulation, so that few kernels are compiled: (column, aggregate, its input)."""

ROW_FUNCTIONS = ("keep_large", "keep_keyed", "keep_valued", "add_one", "double", "same", "drop_even", "twice")
"""Steps on single rows; `twice` gives two rows for one."""
BATCH_FUNCTIONS = ("same", "drop_even", "twice")
"""Those of them that are functions of batches."""


def inputs_of(spec: Spec) -> tuple[Spec, ...]:
    """What a step reads."""
    if isinstance(spec, Read):
        return ()
    if isinstance(spec, Union):
        return spec.inputs
    if isinstance(spec, Joined | Paired):
        return (spec.left, spec.right)
    if isinstance(spec, Processed):
        return (spec.input, spec.more, spec.rules)
    if isinstance(spec, Filled):
        return (spec.window,)
    return (spec.step,) if isinstance(spec, Late | Side) else (spec.input,)


def all_specs(sinks: tuple[Spec, ...]) -> list[Spec]:
    """All steps that lead to `sinks`, inputs before their readers, each once; the first sink's come first."""
    found: dict[int, Spec] = {}

    def visit(spec: Spec) -> None:
        if id(spec) not in found:
            for source in inputs_of(spec):
                visit(source)
            found[id(spec)] = spec

    for sink in sinks:
        visit(sink)
    return list(found.values())


def has_siblings(spec: Spec) -> bool:
    """Whether several rows may stem from one row of the input, so that their order is that of arrival.

    That lasts until they go to the workers of their keys, and from there to others.
    """
    if isinstance(spec, Apply):
        return spec.function in BATCH_FUNCTIONS or has_siblings(spec.input)
    if isinstance(spec, Union):
        branches = [{id(each) for each in all_specs((source,))} for source in spec.inputs]
        if len(set().union(*branches)) < sum(map(len, branches)):
            return True
        return any(map(has_siblings, spec.inputs))
    if isinstance(spec, Late) or (isinstance(spec, Side) and isinstance(spec.step, Deduped)):
        return any(map(has_siblings, inputs_of(spec.step)))
    return False


def describe(spec: Spec) -> str:
    """One step in words, for the report of a failing seed."""
    if isinstance(spec, Read):
        return f"read source {spec.source}"
    if isinstance(spec, Apply):
        return spec.function
    if isinstance(spec, Timed):
        leaves = ", leaves when idle" if spec.leaves else ""
        return f"event_time max_delay={spec.max_delay} per={','.join(spec.per) or '-'}{leaves}"
    if isinstance(spec, Windowed):
        updates = (
            f"updates (early={spec.early}) of " if spec.updates else f"top {spec.top} of " if spec.top else ""
        )
        return (
            f"{updates}{spec.kind} size={spec.size} every={spec.every} offset={spec.offset} lateness={spec.lateness} "
            f"keys={','.join(spec.keys) or '-'} plan={spec.plan}"
        )
    if isinstance(spec, Scanned):
        return f"scan lateness={spec.lateness} keys={','.join(spec.keys)}"
    if isinstance(spec, Joined):
        within = f"{spec.low}..{spec.high}"
        return f"{spec.how} join within={within} lateness={spec.lateness} keys={','.join(spec.keys) or '-'}"
    if isinstance(spec, Late):
        return f"late rows of input {spec.side}"
    if isinstance(spec, Side | Union):
        return type(spec).__name__.lower()
    shown = ((field.name, getattr(spec, field.name)) for field in fields(spec))
    plain = (f"{name}={value}" for name, value in shown if isinstance(value, str | int | tuple))
    return f"{type(spec).__name__.lower()} {' '.join(plain)}"

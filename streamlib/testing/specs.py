"""The jobs that the simulation plays, as plain data: what the engine's graph and the model are both made from.

A spec says what a step does by name and number only. It has no code, so that the engine and the
model (`streamlib.testing.model`) share nothing but the question.
"""

from __future__ import annotations

from dataclasses import dataclass

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
class Late:
    """The rows that were too late for a window step."""

    window: Windowed


Spec = Read | Apply | Timed | Union | Windowed | Scanned | Joined | Late

RIGHT_COLUMNS = {"r_id": "id", "r_ts": "ts", "r_n": "n"}
"""What a join adds to the left row, by the right row's columns."""

PLANS: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "sums": (("n", "count", None), ("v", "sum", "v")),
    "edges": (("n", "count", None), ("v", "last", "v"), ("m", "first", "n")),
    "extremes": (("n", "count", None), ("v", "max", "v"), ("m", "min", "n")),
    "means": (("n", "sum", "n"), ("v", "mean", "v"), ("m", "count", "v")),
}
"""The few aggregate lists of the simulation, so that few kernels are compiled: (column, aggregate, its input)."""

ROW_FUNCTIONS = ("keep_large", "keep_keyed", "keep_valued", "add_one", "double", "same", "drop_even", "twice")
"""Steps on single rows; `twice` gives two rows for one."""


def inputs_of(spec: Spec) -> tuple[Spec, ...]:
    """What a step reads."""
    if isinstance(spec, Read):
        return ()
    if isinstance(spec, Union):
        return spec.inputs
    if isinstance(spec, Joined):
        return (spec.left, spec.right)
    return (spec.window,) if isinstance(spec, Late) else (spec.input,)


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
        updates = "updates of " if spec.updates else f"top {spec.top} of " if spec.top else ""
        return (
            f"{updates}{spec.kind} size={spec.size} every={spec.every} offset={spec.offset} lateness={spec.lateness} "
            f"keys={','.join(spec.keys) or '-'} plan={spec.plan}"
        )
    if isinstance(spec, Scanned):
        return f"scan lateness={spec.lateness} keys={','.join(spec.keys)}"
    if isinstance(spec, Joined):
        within = f"{spec.low}..{spec.high}"
        return f"{spec.how} join within={within} lateness={spec.lateness} keys={','.join(spec.keys) or '-'}"
    return "late" if isinstance(spec, Late) else "union"

"""Where an unread split stands: the event time of its first row, by the steps that the row will meet."""

from __future__ import annotations

from collections.abc import Callable

from streamlib.contracts import SplitReader
from streamlib.elements import Batch, Origin
from streamlib.errors import DataError, StreamlibError
from streamlib.graph import BuildContext, Plan, Step

PEEK_ROWS = 1_000
_ORIGIN = Origin(0, 0, "the first rows")


def first_times(plan: Plan, source: int, clocks: list[int]) -> Callable[[SplitReader], int | None]:
    """A function that finds the earliest event time which the first row of a reader has for `clocks`.

    The steps between the source and each clock are stateless; they are tried on the first rows. When
    these are all filtered out, or refused, the time stays unknown, and the split is read first.
    """
    lenient = plan.steps[source].on_error.policy != "fail"
    chains = []
    for clock in clocks:
        between = plan.upstream(clock) & plan.downstream(source)
        path = [step for step in sorted(between) if step not in (source, clock)]
        steps = [plan.steps[step] for step in path]
        chains.append((plan.steps[clock], steps))

    def first_time(reader: SplitReader) -> int | None:
        try:
            rows = reader.peek()
        except DataError:
            if lenient:
                return None
            raise
        if rows is None or rows.num_rows == 0:
            return None
        times = []
        for clock, steps in chains:
            first = _first_through(steps, Batch(rows.slice(0, PEEK_ROWS), origin=_ORIGIN))
            time = None if first is None else clock.node.first_time(first)
            if time is None:
                return None
            times.append(time)
        return min(times)

    return first_time


def _first_through(steps: list[Step], batch: Batch) -> Batch | None:
    """What is left of the first rows behind stateless steps; None if that is nothing."""
    batches = [batch]
    for step in steps:
        operator = step.build(BuildContext())
        try:
            outputs = [out for one in batches for out in operator.on_batch(one)]
        except StreamlibError as error:
            if step.on_error.policy != "fail":
                return None
            error.in_step(step.name, step.node.at)
            raise
        finally:
            operator.close()
        batches = [out for out in outputs if isinstance(out, Batch) and len(out)]
    return batches[0] if batches else None

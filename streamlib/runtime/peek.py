"""Where an unread split stands: the event time of its first row, by the steps that the row will meet."""

from __future__ import annotations

from collections.abc import Callable

from streamlib.contracts import SplitReader
from streamlib.elements import Batch, Origin
from streamlib.errors import StreamlibError
from streamlib.graph import BuildContext, Plan

PEEK_ROWS = 1_000


def first_times(plan: Plan, source: int, clocks: list[int]) -> Callable[[SplitReader], int | None]:
    """A function that finds the earliest event time which the first row of a reader has for `clocks`.

    The steps between the source and each clock are stateless; they are tried on the first rows. When
    these are all filtered out the time stays unknown, and the split is read first.
    """
    chains = []
    for clock in clocks:
        between = plan.upstream(clock) & plan.downstream(source)
        path = [step for step in sorted(between) if step not in (source, clock)]
        steps = [plan.steps[step] for step in path]
        chains.append((plan.steps[clock], [(step, step.build(BuildContext())) for step in steps]))

    def first_time(reader: SplitReader) -> int | None:
        rows = reader.peek()
        if rows is None or rows.num_rows == 0:
            return None
        times = []
        for clock, operators in chains:
            batches = [Batch(rows.slice(0, PEEK_ROWS), origin=Origin(0, 0, "the first rows"))]
            for step, operator in operators:
                try:
                    batches = [
                        b for batch in batches for b in operator.on_batch(batch) if isinstance(b, Batch)
                    ]
                except StreamlibError as error:
                    error.in_step(step.name, step.node.at)
                    raise
            first = next((batch for batch in batches if len(batch)), None)
            time = None if first is None else clock.node.first_time(first)
            if time is None:
                return None
            times.append(time)
        return min(times)

    return first_time

"""Where an unread split stands: the event time of its first row, by the steps that the row will meet."""

from __future__ import annotations

from collections.abc import Callable

from streamlib.contracts import SplitReader
from streamlib.elements import Batch, Origin
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
        chains.append((plan.steps[clock].node, [plan.steps[step].build(BuildContext()) for step in path]))

    def first_time(reader: SplitReader) -> int | None:
        rows = reader.peek()
        if rows is None or rows.num_rows == 0:
            return None
        times = []
        for node, operators in chains:
            batches = [Batch(rows.slice(0, PEEK_ROWS), origin=Origin(0, 0, "the first rows"))]
            for operator in operators:
                batches = [b for batch in batches for b in operator.on_batch(batch) if isinstance(b, Batch)]
            first = next((batch for batch in batches if len(batch)), None)
            time = None if first is None else node.first_time(first)
            if time is None:
                return None
            times.append(time)
        return min(times)

    return first_time

"""What steps that hand state to functions of the user's ask of the plan.

With `order="arrival"` rows are taken as they come: whether that is the order of the input is for the plan to prove.
"""

from __future__ import annotations

from streamlib.errors import BuildError
from streamlib.graph import BuildContext, Node, SourceNode
from streamlib.graph.plan import topological


def comes_from_one_split(node: Node) -> bool:
    """Whether all rows of a step are rows of one split, in their order."""
    nodes = topological([node])
    sources = [found for found in nodes if isinstance(found, SourceNode)]
    if len(sources) != 1 or any(found.interleaves for found in nodes):
        return False
    source = sources[0].source
    return not source.grows and len(source.splits()) == 1


def arrival_is_timing(node: Node) -> str | None:
    """Why the arrival of a key's rows is timing; None where they come from one split."""
    if comes_from_one_split(node.inputs[0]):
        return None
    return f"{node.label}: order='arrival', and rows of a key come from several splits"


def arrival_needs_one_worker(node: Node, context: BuildContext) -> None:
    """Raises BuildError where the rows of the one split would pass several workers, and so lose their order."""
    if context.workers > 1 and comes_from_one_split(node.inputs[0]):
        raise BuildError(
            "order='arrival' is the order of the one split, as long as one worker reads it",
            step=node.label,
            at=node.at,
            expected="workers=1, or order='time'",
            got=f"workers={context.workers}",
        )


def refuse_retry(node: Node) -> None:
    """Raises BuildError where a function with state is to be called again for a row that failed."""
    if node.on_error is not None and node.on_error.retry is not None:
        raise BuildError(
            f"{node.label} does not call its function again for rows that failed",
            step=node.label,
            at=node.at,
            got=repr(node.on_error.retry),
            hint="its result depends on state and rows alone; services are asked in map, before this step",
        )

"""Which rows are rows of the input: those carry an order, and marks. Results of stateful steps carry neither.

They are ordered by time and then their visible columns (SEMANTICS 3).
"""

from __future__ import annotations

from collections.abc import Sequence

from streamlib.graph import Node, SideNode
from streamlib.graph.plan import topological


def from_input(node: Node) -> tuple[bool, bool]:
    """Whether all rows of a step carry an order that decides ties, and whether some are rows of the input.

    Rows that stem from one have one order, and arrival decides between them as long as they stay on one worker.
    A side output of a step that sends rows of different keys to different workers has lost that.
    """
    if node.gives_order or not node.inputs:
        return True, True
    behind = _behind(node)
    if behind is None:
        return False, False
    found = [from_input(source) for source in behind]
    some = any(one for _, one in found)
    if isinstance(node, SideNode) and _parts_siblings(node.inputs[0]):
        return False, some
    return all(whole for whole, _ in found), some


def _behind(node: Node) -> Sequence[Node] | None:
    """Where the rows of a step are rows of; None where they are results."""
    if isinstance(node, SideNode):
        return _behind(node.inputs[0]) if node.has_results else node.inputs[0].inputs
    return node.inputs if node.state_bound() == "none" else None


def _parts_siblings(step: Node) -> bool:
    """Whether rows that stem from one may leave it on several workers."""
    return step.exchange_by and not step.combines and any(_has_siblings(source) for source in step.inputs)


def _has_siblings(node: Node) -> bool:
    """Whether several rows of a step may stem from one row of the input."""
    behind = _behind(node)
    if node.gives_order or not behind:
        return False
    if node.blurs_order:
        return True
    branches = [{id(each) for each in topological([source])} for source in behind]
    if len(set().union(*branches)) < sum(map(len, branches)):
        return True
    return any(_has_siblings(source) for source in behind)

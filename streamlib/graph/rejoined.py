"""Where rows meet others that stem from the same input rows: branches of one stream that are united again."""

from __future__ import annotations

from collections.abc import Sequence

from streamlib.graph.node import Node


def rejoined(nodes: Sequence[Node]) -> set[int]:
    """The ids of those nodes with `blurs_order` whose rows meet rows of another branch, or have met them.

    Behind such a place arrival depends on the cut into batches as much as in front of it.

    Args:
        nodes: all, inputs before what reads them.
    """
    before: dict[int, frozenset[int]] = {}
    for node in nodes:
        before[id(node)] = frozenset({id(node)}.union(*(before[id(source)] for source in node.inputs)))
    blurring = [node for node in nodes if node.blurs_order and node.timed]
    found: set[int] = set()
    for node in nodes:
        branches = [before[id(source)] for source in node.inputs]
        if node.interleaves and len(branches) > 1:
            found |= {id(each) for each in blurring if _meets(before[id(each)], id(each), branches)}
            if _share(branches):
                found |= {id(each) for each in blurring if id(node) in before[id(each)]}
    return found


def _share(branches: Sequence[frozenset[int]]) -> bool:
    """Whether two branches or more read the same node."""
    return len(frozenset().union(*branches)) < sum(map(len, branches))


def _meets(origins: frozenset[int], node: int, branches: Sequence[frozenset[int]]) -> bool:
    """Whether a node is in one branch, and itself or what it reads in another."""
    through = [number for number, branch in enumerate(branches) if node in branch]
    return bool(through) and sum(bool(origins & branch) for branch in branches) > 1

"""The plan in words: one line a step, with types, keys, time, state bound and determinism."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from streamlib.graph.node import Node, SideNode, SinkNode, SourceNode
from streamlib.graph.plan import topological


def explain(sinks: Sequence[Node]) -> str:
    """The graph that leads to `sinks`, a step a line, inputs first; of the ends also determinism and guarantee."""
    nodes = topological(sinks)
    numbers = {id(node): number for number, node in enumerate(nodes, 1)}
    ends = {id(sink) for sink in sinks}
    lines: list[str] = []
    for node in nodes:
        inputs = ", ".join(str(numbers[id(n)]) for n in node.inputs)
        head = f"{numbers[id(node)]:>3}  {node.label}"
        if node.describe():
            head += f"  {node.describe()}"
        if inputs:
            head += f"  <- {inputs}"
        if node.at is not None:
            head += f"  ({node.at})"
        lines.append(head)
        facts = []
        if not isinstance(node, SinkNode):
            facts.append(f"columns: {_columns(node.schema)}")
        if node.timed and not isinstance(node, SinkNode):
            facts.append(f"event time: {node.time or '(kept, no longer a column)'}")
        if node.keys and not isinstance(node, SinkNode):
            facts.append(f"keys: {', '.join(node.keys)}")
        if not isinstance(node, (SourceNode, SideNode, SinkNode)) and node.state_bound() != "none":
            facts.append(f"state: {node.state_bound()}")
        if isinstance(node, SourceNode) and not node.source.bounded:
            facts.append("input: endless")
        if id(node) in ends:
            reasons = timing_reasons(node)
            facts.append(
                "output: " + (f"timing, because {'; '.join(reasons)}" if reasons else "deterministic")
            )
        if isinstance(node, SinkNode):
            facts.append(f"guarantee: {node.sink.guarantee} within one run")
        lines.extend(f"       {fact}" for fact in facts)
    return "\n".join(lines)


def timing_reasons(sink: Node) -> list[str]:
    """Why the rows of a sink may depend on timing; empty when they are a function of the input."""
    return [reason for node in topological([sink]) if (reason := node.timing_because())]


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)

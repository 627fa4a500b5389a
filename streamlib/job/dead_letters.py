"""The dead letters of a whole run: a file for each step whose own nobody reads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from streamlib.errors import BuildError, Location, OnError
from streamlib.graph import SideNode, SinkNode
from streamlib.graph.dead_letters import TAG, dead_letters_of
from streamlib.graph.plan import step_names, topological


def dead_letter_sinks(
    sinks: Sequence[SinkNode], folder: str | os.PathLike[str], policy: OnError, at: Location | None
) -> list[SinkNode]:
    """Sinks that write what the steps before `sinks` refuse, one JSON Lines file a step.

    Args:
        sinks: of the run.
        folder: where the files are put, each named by its step.
        policy: of steps without their own.
        at: the line that asked for it.

    Raises:
        BuildError: no step sends dead letters.
    """
    from streamlib.connectors.files.sink import FileSink

    nodes = topological(sinks)
    names = step_names(nodes)
    read = {id(node.inputs[0]) for node in nodes if isinstance(node, SideNode) and node.tag == TAG}
    made = []
    for node in nodes:
        sends = node.refuses != "never" and (node.on_error or policy).policy == "dead_letter"
        if sends and id(node) not in read:
            path = os.path.join(os.fspath(folder), file_name(names[id(node)]))
            letters = dead_letters_of(node)
            made.append(SinkNode(inputs=(letters,), at=at, sink=FileSink(path, format="jsonl")))
    if not made and not read:
        raise BuildError(
            "dead_letters= is given, but no step sends any",
            at=at,
            expected='on_error="dead_letter" for the run, or .on_error("dead_letter") on a step',
        )
    return made


def file_name(step: str) -> str:
    """The file of a step.

    >>> file_name("parse prices"), file_name("select 2")
    ('parse-prices.jsonl', 'select-2.jsonl')
    """
    return (re.sub(r"[^\w.+-]+", "-", step).strip("-.") or "step") + ".jsonl"

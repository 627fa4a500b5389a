"""The columns of dead letters: the row that a step refused, and why."""

from __future__ import annotations

import pyarrow as pa

from streamlib.errors import BuildError, user_location
from streamlib.graph.node import Node, SideNode, SourceNode

TAG = "dead_letters"
DATA = "error_data"

WHY = pa.schema(
    [
        pa.field("error_step", pa.string(), False),
        pa.field("error_type", pa.string(), False),
        pa.field("error_message", pa.string(), False),
        pa.field("error_where", pa.string()),
        pa.field("error_attempts", pa.int32(), False),
    ]
)
"""What every dead letter says: the step, the class of the error, its text, the place in the input, the calls."""


def dead_letter_schema(node: Node) -> pa.Schema:
    """The columns of the dead letters of `node`.

    Of a step: those of the rows it was given, so that they can be sent through it again. Of a source:
    ``error_data``, the record's bytes as they came.
    """
    row = [pa.field(DATA, pa.binary(), False)] if isinstance(node, SourceNode) else list(node.refused_schema)
    return pa.schema([*row, *WHY])


def dead_letters_of(node: Node) -> SideNode:
    """The stream of rows that `node` refuses."""
    if node.refuses == "never":
        raise BuildError(
            f"{node.label} refuses no rows",
            expected="a step that works on each row: a source, filter, select, map, event_time, a window",
            got=node.label,
            hint="call it on what that step returned",
        )
    feeder = node.inputs[0] if node.inputs else None
    taken = [] if feeder is None else [name for name in WHY.names if name in feeder.schema.names]
    if taken:
        raise BuildError(
            f"dead letters of {node.label} have no room for the columns that say why",
            expected=f"rows without {', '.join(WHY.names)}",
            got=", ".join(taken),
            hint="rename these columns before the step",
        )
    return SideNode(
        inputs=(node,),
        at=user_location(),
        tag=TAG,
        side_schema=dead_letter_schema(node),
        side_time=None if feeder is None else feeder.time,
        side_timed=feeder is not None and feeder.timed,
    )

"""The event-time column of what a user's function returns: as long as it is there, so are its times."""

from __future__ import annotations

import pyarrow as pa

from streamlib.errors import BuildError, TypeMismatchError
from streamlib.graph import Node


def keeps_time(node: Node, described: str, may_go: bool = False) -> None:
    """Checks that what a function returns still has the event-time column, as a time.

    Args:
        node: the step; its schema and its time are known.
        described: the function, for the message.
        may_go: whether it may be left out, because the row that a result stems from is known.

    Raises:
        BuildError: the column is gone, or is no time any more.
    """
    time = node.inputs[0].time
    if time is None or (node.time is None and may_go):
        return
    if node.time is None:
        raise BuildError(
            f"{described} drops the event-time column",
            expected=f"a column {time!r} in what it returns",
            got=", ".join(node.schema.names),
            hint=f'return it too, or write .drop("{time}") before this step: rows keep their time without it',
        )
    kind = node.schema.field(time).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise TypeMismatchError(
            f"{described} makes the event-time column {time!r} something else",
            expected=str(node.inputs[0].schema.field(time).type),
            got=str(kind),
        )

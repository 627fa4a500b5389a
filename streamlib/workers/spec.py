"""How worker processes are asked for."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass

from streamlib.errors import BuildError, user_location

PROCESSES_MAX = 64


@dataclass(frozen=True, slots=True)
class Processes:
    """Workers that are processes. Made by `processes`.

    Attributes:
        count: how many.
    """

    count: int


def processes(count: int) -> Processes:
    """Workers that are processes of their own, for ``workers=``: Python functions then run side by side.

    Threads share one interpreter, in which a single one runs Python at a time; the engine's own steps run
    without it, so that threads are as good for them, and cheaper. A process takes a second to start and
    some 100 MB.

    Functions may be lambdas or stand in the script itself, which needs no ``if __name__ == "__main__"``. What
    they refer to is copied to each process; what they change there is not seen elsewhere.

    Args:
        count: 1 to 64.

    Raises:
        BuildError: no such number, or a system without Unix sockets that hand over descriptors (Windows).

    >>> import pyarrow as pa, streamlib as sl
    >>> rows = sl.read_arrow(pa.table({"n": [1, 2, 3]}))
    >>> squares = rows.map(lambda n: {"square": n * n}, schema={"square": "int64"})
    >>> squares.collect(workers=sl.processes(2)).column("square").to_pylist()
    [1, 4, 9]
    """
    given: object = count
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= PROCESSES_MAX:
        raise BuildError(
            "processes() has no such number",
            at=user_location(),
            expected=f"1 to {PROCESSES_MAX}",
            got=repr(given),
        )
    if not can_hand_over() or not sys.executable:
        raise BuildError(
            "workers cannot be processes here",
            at=user_location(),
            expected="a Unix system, and a Python interpreter that can be started",
            got=f"{sys.platform}, {sys.executable or 'no interpreter'}",
            hint="workers=4 runs on threads",
        )
    return Processes(count)


def can_hand_over() -> bool:
    """Whether this system's sockets hand over descriptors."""
    return hasattr(socket, "send_fds")

"""Steps whose result is a table: one current row per key, and its rows are the changes of that.

The last column of a change, ``change``, says what it does: ``insert`` and ``update`` carry the key's
new row, ``delete`` the row that is gone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import pyarrow as pa

from streamlib.graph import Node

CHANGE = "change"
"""The last column of changes."""
INSERT, UPDATE, DELETE = "insert", "update", "delete"


@dataclass(frozen=True, eq=False, kw_only=True)
class TableStep(Node):
    """A step that keeps a row per key. Its rows are the changes, with the column ``change`` as the last."""

    @property
    def table_keys(self) -> tuple[str, ...]:
        """The columns of which the table has one row per value."""
        return self.keys

    @property
    def table_schema(self) -> pa.Schema:
        """The columns without ``change``."""
        return self.schema.remove(len(self.schema) - 1)

    @property
    @abstractmethod
    def late_schema(self) -> pa.Schema:
        """The columns of `.late`."""

    def history_because(self) -> str | None:
        """Why it is timing how many changes are seen; None where they are a function of the input."""
        return None

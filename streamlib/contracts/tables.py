"""The contract of what a lookup table is read from: all of its rows at once, and perhaps again later.

A complete one::

    class Countries(TableSource):
        def schema(self) -> pa.Schema:
            return pa.schema({"code": pa.string(), "name": pa.string()})

        def read(self) -> pa.Table:
            return pa.table({"code": ["DE"], "name": ["Germany"]}, schema=self.schema())

        def describe(self) -> str:
            return "countries"
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import pyarrow as pa


class TableSource(ABC):
    """Rows that are read whole. `read` may be called by any thread, by one at a time."""

    outside: bool = False
    """Whether another run, later, may be given other rows for the same script and files."""
    changes: bool = True
    """Whether there is any use in reading it again."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns; the same for every `read`. May ask for them, so it is called while the script is built."""

    @abstractmethod
    def read(self) -> pa.Table:
        """All rows as they are now.

        Raises:
            Exception: any; the step says what it was reading, and tries again as its `retry` says.
        """

    @abstractmethod
    def describe(self) -> str:
        """What is read, in a few words."""

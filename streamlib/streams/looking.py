"""The verbs that look at a stream while one writes it; `Stream` inherits them.

What prints a stream never runs it: columns and types are known before any row is read.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

import pyarrow as pa

from streamlib.errors import BuildError
from streamlib.graph import Node, explain
from streamlib.workers import Processes


class LookingVerbs:
    """`schema`, `explain`, `head`, `iter_batches`, and how a stream is shown."""

    _node: Node

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types, known before any row is read."""
        return self._node.schema

    def explain(self) -> str:
        """The steps that lead here, with types, keys, event time, what bounds their state, and determinism.

        >>> import pyarrow as pa, streamlib as sl
        >>> print(sl.read_arrow(pa.table({"n": [1]})).filter(sl.col("n") > 0).explain())
          1  read  arrow, 1 rows in memory  (...)
               columns: n int64
          2  filter  col("n") > 0  <- 1  (...)
               columns: n int64
               output: deterministic
        """
        return explain([self._node])

    def head(self, n: int = 5) -> pa.Table:
        """Runs the stream as far as is needed for `n` rows and returns them: for a look while one writes.

        They are the first rows that come out where one worker runs, which every call over the same
        input gives alike. They are not the earliest by event time: sort `collect()` for those. What
        lies behind them is not read, and sinks are not written to.

        >>> import pyarrow as pa, streamlib as sl
        >>> sl.read_arrow(pa.table({"n": [3, 1, 2]})).filter(sl.col("n") < 3).head(1).to_pydict()
        {'n': [1]}
        """
        from streamlib.streams.head import head

        if n < 0:
            raise BuildError("head() takes a number of rows", expected="0 or more", got=repr(n))
        return head(self._node, n)

    def iter_batches(
        self, workers: int | Processes = 1, batch_rows: int = 65_536
    ) -> Iterator[pa.RecordBatch]:
        """Runs the stream and gives its rows, batch by batch, as they come.

        Nothing runs before the first batch is asked for. The run waits for a caller that is slower, so
        that memory stays bounded, also on endless input. Closing the iterator, or breaking off the loop
        and dropping it, calls the run off. Batches are never empty; no order between them is promised:
        `collect` sorts.

        Args:
            workers: threads, or `sl.processes(n)`.
            batch_rows: the largest batch.

        Raises:
            StreamlibError: the first error of the run, after the batches that came before it.

        >>> import pyarrow as pa, streamlib as sl
        >>> numbers = sl.read_arrow(pa.table({"n": range(5)}))
        >>> [batch.num_rows for batch in numbers.iter_batches(batch_rows=2)]
        [2, 2, 1]
        """
        from streamlib.job.batches import iter_batches

        return iter_batches(self._node, workers, batch_rows)

    def __repr__(self) -> str:
        columns = ", ".join(f"{f.name}: {f.type}" for f in self.schema)
        return f"{type(self).__name__}[{self._node.label}]({columns})"

    def _repr_html_(self) -> str:
        """The columns as a table, for notebooks; nothing is run."""
        node = self._node
        cells = "".join(
            f"<tr><td>{html.escape(f.name)}</td><td>{html.escape(str(f.type))}</td>"
            f"<td>{html.escape(_part(node, f.name))}</td></tr>"
            for f in self.schema
        )
        what = f"{type(self).__name__}: {node.label}"
        if node.describe():
            what += f" {node.describe()}"
        return (
            f"<table><caption>{html.escape(what)}</caption>"
            f"<thead><tr><th>column</th><th>type</th><th></th></tr></thead><tbody>{cells}</tbody></table>"
        )


def _part(node: Node, column: str) -> str:
    """What a column is for."""
    parts = [word for word, names in (("key", node.keys), ("event time", (node.time,))) if column in names]
    return ", ".join(parts)

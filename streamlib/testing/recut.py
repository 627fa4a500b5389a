"""Functions of the user's, called with their rows cut in other places.

The contract of `map_batches` is f(x + y) = f(x) + f(y). A function that breaks it, such as one that
subtracts the mean of its batch, makes results depend on where batches happen to be cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import Batch
from streamlib.errors import StreamlibError
from streamlib.graph import BuildContext, Node
from streamlib.graph.plan import topological
from streamlib.operators.map_async.node import MapAsyncNode
from streamlib.operators.map_batches import MapBatchesNode
from streamlib.operators.map_rows import MapRowsNode
from streamlib.testing.compare import ROWS_SHOWN, lines_of

ROWS_TRIED = 1_000


def function_that_sees_the_cut(nodes: Sequence[Node], rows_of: Callable[[Node], pa.Table]) -> str | None:
    """Names the first function of the graph that breaks the contract, with the cut that shows it.

    Args:
        nodes: what leads to the results.
        rows_of: the rows that a node yields, in the order of a plain run; the first thousand are tried.

    Returns:
        A message; None when every function keeps the contract.
    """
    for node in topological(nodes):
        if isinstance(node, (MapBatchesNode, MapRowsNode)) and not isinstance(node, MapAsyncNode):
            table = rows_of(node.inputs[0]).slice(0, ROWS_TRIED).combine_chunks()
            for rows in table.to_batches():
                found = _tried(node, rows)
                if found is not None:
                    return found
    return None


def _tried(node: MapBatchesNode | MapRowsNode, rows: pa.RecordBatch) -> str | None:
    operator = node.build(BuildContext())
    named = f"{node.label}: {node.callee.described}"
    try:
        try:
            whole = _called(operator, rows)
        except StreamlibError:
            return None  # what it does with these rows is for the run to say
        count = rows.num_rows
        for at in dict.fromkeys([0, 1, count // 2, count - 1, count // 3]):
            if at >= count:
                continue
            parts = [rows.slice(0, at), rows.slice(at)] if at else [rows]
            try:
                found = sum((_called(operator, part) for part in parts), Counter())
            except StreamlibError as error:
                return f"{named} fails where its rows are cut, whole it does not\n{_cut(parts)}\n{error}"
            if found != whole:
                what = (
                    "sees where its batches are cut: f(x + y) is not f(x) + f(y)"
                    if at
                    else "gives other rows when it is called again: f(x) is not f(x)"
                )
                return f"{named} {what}\n{_cut(parts)}\n{_differences(whole, found, len(parts))}"
    finally:
        operator.close()
    return None


def _called(operator: Operator, rows: pa.RecordBatch) -> Counter[str]:
    found: Counter[str] = Counter()
    if rows.num_rows:
        for batch in operator.on_batch(Batch(rows)):
            if isinstance(batch, Batch):
                found.update(lines_of(pa.Table.from_batches([batch.rows])))
    return found


def _cut(parts: Sequence[pa.RecordBatch]) -> str:
    lines = []
    for name, part in zip("xy", parts, strict=False):
        lines.append(f"  {name}, {part.num_rows:,} rows:")
        lines += [f"    {line}" for line in lines_of(pa.Table.from_batches([part.slice(0, ROWS_SHOWN)]))]
        if part.num_rows > ROWS_SHOWN:
            lines.append("    ...")
    return "\n".join(lines)


def _differences(whole: Counter[str], cut: Counter[str], parts: int) -> str:
    one, other = ("f(x + y)", "f(x) + f(y)") if parts > 1 else ("the first call", "the second call")
    lines = [f"  only in {one}: {line}" for line in sorted((whole - cut).elements())[:ROWS_SHOWN]]
    lines += [f"  only in {other}: {line}" for line in sorted((cut - whole).elements())[:ROWS_SHOWN]]
    return "\n".join(lines)

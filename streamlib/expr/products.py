"""Products of two columns: what a step may multiply itself while it reads them."""

from __future__ import annotations

import pyarrow as pa

from streamlib.expr.nodes import Column
from streamlib.expr.operations import Binary
from streamlib.expr.program import HasNode


def factors_of(expr: HasNode, schema: pa.Schema) -> tuple[str, str] | None:
    """The two columns that `expr` multiplies in float64, and nothing else; None where it is anything else.

    >>> from streamlib.expr import col
    >>> schema = pa.schema({"price": pa.float64(), "volume": pa.int32()})
    >>> factors_of(col("price") * col("volume"), schema)
    ('price', 'volume')
    >>> factors_of(col("volume") * col("volume"), schema), factors_of(col("price") * 2, schema)
    (None, None)
    """
    node = expr.node
    if not (isinstance(node, Binary) and node.operator == "*"):
        return None
    if not (isinstance(node.left, Column) and isinstance(node.right, Column)):
        return None
    kinds = [schema.field(side.name).type for side in (node.left, node.right)]
    floats = [pa.types.is_float64(kind) for kind in kinds]
    if not any(floats) or not all(f or pa.types.is_integer(k) for f, k in zip(floats, kinds, strict=True)):
        return None
    return node.left.name, node.right.name

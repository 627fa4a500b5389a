"""Two tables as two bags of rows."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

ROWS_SHOWN = 5


def assert_same(wanted: pa.Table, got: pa.Table, what: str) -> None:
    """Compares the rows of two tables, in any order; the message shows those that are missing or too many.

    Raises:
        AssertionError: they differ.

    >>> assert_same(pa.table({"n": [1, 2]}), pa.table({"n": [2, 1]}), "the order of rows does not matter")
    """
    if wanted.schema != got.schema:
        raise AssertionError("\n".join([what, *_schema_differences(wanted.schema, got.schema)]))
    expected, found = Counter(lines_of(wanted)), Counter(lines_of(got))
    if expected == found:
        return
    missing, extra = sorted((expected - found).elements()), sorted((found - expected).elements())
    lines = [what, f"  {wanted.num_rows:,} rows expected, {got.num_rows:,} came"]
    lines += [f"  missing {line}" for line in missing[:ROWS_SHOWN]]
    lines += [f"  extra   {line}" for line in extra[:ROWS_SHOWN]]
    raise AssertionError("\n".join(lines))


def _schema_differences(wanted: pa.Schema, got: pa.Schema) -> list[str]:
    if wanted.names != got.names:
        return [f"  expected the columns {', '.join(wanted.names)}", f"  got      {', '.join(got.names)}"]
    both = zip(wanted, got, strict=True)
    lines = [
        f"  column {one.name!r} is {other.type}, not {one.type}"
        for one, other in both
        if one.type != other.type
    ]
    return lines or [f"  expected {wanted}", f"  got      {got}"]


def lines_of(rows: pa.Table) -> list[str]:
    """Each row as text, such as ``n=1, s='a'``."""
    columns = []
    for column in rows.columns:
        temporal = pa.types.is_timestamp(column.type) or pa.types.is_duration(column.type)
        columns.append((column.cast(pa.string()) if temporal else column).to_pylist())
    return [
        ", ".join(f"{name}={value!r}" for name, value in zip(rows.schema.names, values, strict=True))
        for values in zip(*columns, strict=True)
    ]

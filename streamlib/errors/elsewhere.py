"""What is called otherwise in other libraries: the names that people try, and ours for them."""

from __future__ import annotations

from collections.abc import Mapping

_READ = "sl.read_files(path), whose format follows from the ending"
_AGGREGATE = "an aggregate of a column, such as col('price').sum(), in .agg(...)"
_AGG = ".agg(...) behind .key_by(...) or .window(...)"
_WRITE = ".write_files(path), run by sl.run(...)"

OF_MODULE: Mapping[str, str] = {
    **dict.fromkeys(("read_csv", "read_parquet", "read_json", "read_ndjson", "read_ipc", "read_text"), _READ),
    **dict.fromkeys(("scan_csv", "scan_parquet", "scan_ndjson", "scan_ipc"), _READ),
    **dict.fromkeys(("sum", "mean", "min", "max", "first", "last"), _AGGREGATE),
    **dict.fromkeys(
        ("from_arrow", "from_pandas", "from_polars", "DataFrame", "LazyFrame"), "sl.read_arrow(data)"
    ),
    "bytes": "sl.raw_bytes(...)",
    "concat": "stream.union(other)",
    "len": "sl.count()",
    "json": "sl.jsonl(...)",
    "ndjson": "sl.jsonl(...)",
}
"""Names that are looked for in `streamlib`."""

OF_STREAM: Mapping[str, str] = {
    **dict.fromkeys(
        ("group_by", "groupby", "group_by_dynamic", "keyBy", "partition_by"),
        ".key_by(...), then .window(...).agg(...) or .agg(...)",
    ),
    **dict.fromkeys(("assign", "with_column", "withColumn", "mutate"), ".with_columns(...)"),
    **dict.fromkeys(("where", "query"), ".filter(...)"),
    **dict.fromkeys(("limit", "take", "fetch", "show"), ".head(n), which runs as far as needed"),
    **dict.fromkeys(("to_pandas", "toPandas"), ".collect().to_pandas()"),
    **dict.fromkeys(("to_polars", "pl"), "pl.from_arrow(stream.collect())"),
    **dict.fromkeys(("to_arrow", "to_table"), ".collect()"),
    **dict.fromkeys(("to_dicts", "to_pylist"), ".collect().to_pylist()"),
    **dict.fromkeys(
        ("to_csv", "to_parquet", "to_json", "write_csv", "write_parquet", "write_ndjson"), _WRITE
    ),
    **dict.fromkeys(("sink_csv", "sink_parquet", "sink_ndjson", "sink_ipc", "write_json", "sink_to"), _WRITE),
    **dict.fromkeys(
        ("sort", "sort_by", "sort_values", "order_by", "orderBy"),
        ".collect(), which stands in the order of time; or sort what it returns",
    ),
    **dict.fromkeys(("sum", "mean", "min", "max", "count", "len", "reduce", "aggregate"), _AGG),
    **dict.fromkeys(("apply", "map_elements", "map_rows"), ".map(function)"),
    **dict.fromkeys(("mapInPandas", "map_partitions"), ".map_batches(function)"),
    **dict.fromkeys(("concat", "append", "vstack", "unionAll", "union_all"), ".union(other)"),
    **dict.fromkeys(
        ("assign_timestamps_and_watermarks", "with_watermark", "withWatermark"),
        '.event_time("ts", max_delay="2s")',
    ),
    **dict.fromkeys(("execute", "run", "start"), "sl.run(stream.print()), or another sink in place of print"),
    **dict.fromkeys(("collect_schema", "print_schema", "dtypes"), ".schema"),
    "columns": ".schema.names",
    "flatMap": ".flat_map(function)",
    "name": ".named(...)",
}
"""Names that are looked for on a stream."""


def ours(name: str, known: Mapping[str, str]) -> str:
    """How to go on for the name of another library, as the end of a message; empty where it is unknown.

    >>> ours("concat", OF_MODULE)
    '; here it is stream.union(other)'
    """
    return f"; here it is {known[name]}" if name in known else ""

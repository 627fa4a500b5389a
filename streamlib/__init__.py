"""streamlib: event-time stream processing over Arrow micro-batches.

>>> import pyarrow as pa, streamlib as sl
>>> from streamlib import col
>>> times = pa.array([1, 2, 12], pa.timestamp("s"))
>>> ticks = pa.table({"ts": times, "symbol": ["A", "A", "A"], "price": [9.0, 7.0, 8.0]})
>>> bars = (
...     sl.read_arrow(ticks).event_time("ts", max_delay="2s")
...     .key_by("symbol").window(sl.tumbling("10s")).agg(high=col("price").max(), close=col("price").last())
... )
>>> bars.collect().select(["symbol", "high", "close"]).to_pylist()
[{'symbol': 'A', 'high': 9.0, 'close': 7.0}, {'symbol': 'A', 'high': 8.0, 'close': 8.0}]
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlib._version import __version__
    from streamlib.connectors.formats import arrow, csv, jsonl, lines, parquet, raw_bytes, regex
    from streamlib.connectors.lookup_tables import query
    from streamlib.contracts import Context, ListState, MapState, Processor, ValueState
    from streamlib.errors import (
        BuildError,
        ColumnNotFoundError,
        DataError,
        Retry,
        SinkError,
        SourceError,
        StreamlibError,
        TypeMismatchError,
        UserFunctionError,
        WorkerError,
    )
    from streamlib.expr import (
        Expr,
        agg,
        call,
        coalesce,
        col,
        concat_str,
        corr,
        count,
        cov,
        from_epoch,
        lit,
        struct,
        when,
    )
    from streamlib.job import Job, explain, run, start
    from streamlib.observe.report import Report
    from streamlib.operators.windows.calendar_window import calendar
    from streamlib.operators.windows.cumulative import cumulative
    from streamlib.operators.windows.hopping import hopping
    from streamlib.operators.windows.same_window import same_window
    from streamlib.operators.windows.session import session
    from streamlib.operators.windows.tumbling import tumbling
    from streamlib.streams import (
        FOREVER,
        UNTIL_END,
        KeyedStream,
        LookupTable,
        ProcessedStream,
        RollingStream,
        Stream,
        Table,
        WindowedStream,
        WindowedUpdates,
        read,
        read_arrow,
        read_files,
        read_socket,
        read_table,
    )
    from streamlib.workers import processes

_HOME = {
    "streamlib._version": ("__version__",),
    "streamlib.connectors.formats": ("arrow", "csv", "jsonl", "lines", "parquet", "raw_bytes", "regex"),
    "streamlib.connectors.lookup_tables": ("query",),
    "streamlib.contracts": ("Context", "ListState", "MapState", "Processor", "ValueState"),
    "streamlib.errors": (
        "BuildError",
        "ColumnNotFoundError",
        "DataError",
        "Retry",
        "SinkError",
        "SourceError",
        "StreamlibError",
        "TypeMismatchError",
        "UserFunctionError",
        "WorkerError",
    ),
    "streamlib.expr": (
        "Expr",
        "agg",
        "call",
        "coalesce",
        "col",
        "concat_str",
        "corr",
        "count",
        "cov",
        "from_epoch",
        "lit",
        "struct",
        "when",
    ),
    "streamlib.job": ("Job", "explain", "run", "start"),
    "streamlib.observe.report": ("Report",),
    "streamlib.operators.windows.calendar_window": ("calendar",),
    "streamlib.operators.windows.cumulative": ("cumulative",),
    "streamlib.operators.windows.hopping": ("hopping",),
    "streamlib.operators.windows.same_window": ("same_window",),
    "streamlib.operators.windows.session": ("session",),
    "streamlib.operators.windows.tumbling": ("tumbling",),
    "streamlib.streams": (
        "FOREVER",
        "UNTIL_END",
        "KeyedStream",
        "LookupTable",
        "ProcessedStream",
        "RollingStream",
        "Stream",
        "Table",
        "WindowedStream",
        "WindowedUpdates",
        "read",
        "read_arrow",
        "read_files",
        "read_socket",
        "read_table",
    ),
    "streamlib.workers": ("processes",),
}
"""Where each public name lives. A room is imported when one of its names is first used."""

__all__ = [
    "FOREVER",
    "UNTIL_END",
    "BuildError",
    "ColumnNotFoundError",
    "Context",
    "DataError",
    "Expr",
    "Job",
    "KeyedStream",
    "ListState",
    "LookupTable",
    "MapState",
    "ProcessedStream",
    "Processor",
    "Report",
    "Retry",
    "RollingStream",
    "SinkError",
    "SourceError",
    "Stream",
    "StreamlibError",
    "Table",
    "TypeMismatchError",
    "UserFunctionError",
    "ValueState",
    "WindowedStream",
    "WindowedUpdates",
    "WorkerError",
    "__version__",
    "agg",
    "arrow",
    "calendar",
    "call",
    "coalesce",
    "col",
    "concat_str",
    "corr",
    "count",
    "cov",
    "csv",
    "cumulative",
    "explain",
    "from_epoch",
    "hopping",
    "jsonl",
    "lines",
    "lit",
    "parquet",
    "processes",
    "query",
    "raw_bytes",
    "read",
    "read_arrow",
    "read_files",
    "read_socket",
    "read_table",
    "regex",
    "run",
    "same_window",
    "session",
    "start",
    "struct",
    "tumbling",
    "when",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _HOME.items():
        if name in names:
            value: object = getattr(import_module(module), name)
            globals()[name] = value
            return value
    from streamlib.errors.elsewhere import OF_MODULE, ours

    raise AttributeError(f"module 'streamlib' has no attribute {name!r}{ours(name, OF_MODULE)}", name=name)


def __dir__() -> list[str]:
    return sorted(__all__)

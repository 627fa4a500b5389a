"""The order of docs/reference.md, and what it says between the names; see `reference`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """A section of the page.

    Attributes:
        title: its heading.
        text: what stands below it, in Markdown.
        names: what belongs to it, in this order.
    """

    title: str
    text: str
    names: tuple[str, ...]


GROUPS = (
    Group(
        "Read",
        "Where a stream begins. Nothing is read before a run; columns and types are known at once.",
        (
            "sl.read_files",
            "sl.read_arrow",
            "sl.read_socket",
            "sl.read",
            "sl.csv",
            "sl.jsonl",
            "sl.parquet",
            "sl.arrow",
            "sl.lines",
            "sl.regex",
            "sl.raw_bytes",
        ),
    ),
    Group(
        "Time",
        "When things happened. [Time](time.md) explains it, with an example for each rule.",
        ("Stream.event_time", "sl.UNTIL_END", "sl.from_epoch"),
    ),
    Group(
        "Rows",
        "Steps that work on each row by itself. They keep the order of rows, their event time and their keys.",
        (
            "sl.Stream",
            "Stream.filter",
            "Stream.select",
            "Stream.with_columns",
            "Stream.drop",
            "Stream.rename",
            "Stream.cast",
            "Stream.drop_nulls",
            "Stream.fill_null",
            "Stream.unnest",
            "Stream.explode",
            "Stream.split",
            "Stream.union",
            "Stream.with_row_id",
            "Stream.map",
            "Stream.flat_map",
            "Stream.map_batches",
            "Stream.map_async",
            "Stream.pipe",
            "Stream.named",
        ),
    ),
    Group(
        "Keys and tables",
        "Which rows belong together, and what is kept for each key.",
        (
            "Stream.key_by",
            "Stream.dedup",
            "Stream.duplicates",
            "Stream.top_n",
            "sl.KeyedStream",
            "KeyedStream.*",
            "sl.RollingStream",
            "RollingStream.agg",
            "sl.Table",
            "Table.*",
            "sl.FOREVER",
        ),
    ),
    Group(
        "Own state",
        "A Python class with state for each key, timers and several inputs: [State of your own](process.md).",
        (
            "sl.Processor",
            "sl.Context",
            "Context.*",
            "sl.ValueState",
            "sl.ListState",
            "sl.MapState",
            "sl.ProcessedStream",
            "ProcessedStream.*",
        ),
    ),
    Group(
        "Windows",
        "Rows of a span of event time, by key or without.",
        (
            "Stream.window",
            "sl.WindowedStream",
            "WindowedStream.agg",
            "WindowedStream.top_n",
            "sl.WindowedUpdates",
            "WindowedUpdates.agg",
            "sl.tumbling",
            "sl.hopping",
            "sl.cumulative",
            "sl.calendar",
            "sl.session",
            "sl.same_window",
            "Stream.late",
            "Stream.fill_gaps",
        ),
    ),
    Group(
        "Joins",
        "Rows of two streams, matched by key and event time. [Joins](joins.md) explains them.",
        ("Stream.join", "Stream.asof_join", "Stream.late_left", "Stream.late_right"),
    ),
    Group(
        "Lookups",
        "Rows completed from a table, by key. [Lookups and services](lookups.md) explains them.",
        ("Stream.lookup_join", "sl.read_table", "sl.query", "sl.LookupTable", "LookupTable.*"),
    ),
    Group(
        "Write",
        "Where a stream ends. A sink does nothing by itself: hand it to `sl.run`.",
        (
            "Stream.write_files",
            "Stream.write_socket",
            "Stream.for_each",
            "Stream.for_each_batch",
            "Stream.print",
            "Stream.write",
        ),
    ),
    Group(
        "Run",
        "From sinks to results.",
        (
            "sl.run",
            "sl.processes",
            "sl.start",
            "sl.Job",
            "Job.*",
            "Stream.collect",
            "Stream.head",
            "Stream.iter_batches",
            "sl.Report",
            "Report.*",
        ),
    ),
    Group(
        "Look",
        "What a stream is, without running it.",
        ("Stream.schema", "Stream.explain", "sl.explain"),
    ),
    Group(
        "Expressions",
        """\
What is computed for each row, on whole columns. Names and meanings follow Polars.

An expression is made by one of these functions and by operators: `+ - * / // % **`, `== != < <= > >=`, `&` for and,
`|` for or, `~` for not. Each comparison beside `&` and `|` needs parentheses: `(col("a") > 1) & (col("b") > 2)`.
[Types](types.md) says which types meet in which, and what becomes of nulls, NaN and overflow.""",
        (
            "sl.col",
            "sl.lit",
            "sl.when",
            "when.then",
            "Then.when",
            "Then.otherwise",
            "sl.coalesce",
            "sl.struct",
            "sl.concat_str",
            "sl.call",
            "sl.Expr",
            "Expr.alias",
            "Expr.cast",
            "Expr.abs",
            "Expr.round",
            "Expr.is_null",
            "Expr.is_not_null",
            "Expr.is_nan",
            "Expr.fill_null",
            "Expr.is_between",
            "Expr.is_in",
            "Expr.call",
            "Expr.type_in",
            "Expr.evaluate",
        ),
    ),
    Group(
        "Expressions on text",
        "Patterns are regular expressions of the RE2 syntax. Null stays null.",
        ("Expr.str", "Expr.str.*"),
    ),
    Group(
        "Expressions on times",
        "A time with a zone is read on that zone's clock, one without a zone as UTC. Null stays null.",
        ("Expr.dt", "Expr.dt.*"),
    ),
    Group(
        "Expressions on lists and structs",
        "Null stays null.",
        ("Expr.list", "Expr.list.*", "Expr.struct", "Expr.struct.*"),
    ),
    Group(
        "Aggregates",
        'What `.agg(...)` computes. They go into larger expressions: `col("pv").sum() / col("v").sum()`.',
        (
            "sl.count",
            "Expr.count",
            "Expr.sum",
            "Expr.mean",
            "Expr.min",
            "Expr.max",
            "Expr.first",
            "Expr.last",
            "Expr.any",
            "Expr.all",
            "Expr.var",
            "Expr.std",
            "Expr.median",
            "Expr.quantile",
            "Expr.approx_quantile",
            "Expr.count_distinct",
            "Expr.n_unique",
            "Expr.approx_count_distinct",
            "Expr.top_k",
            "Expr.min_by",
            "Expr.max_by",
            "Expr.arg_min",
            "Expr.arg_max",
            "Expr.weighted_mean",
            "sl.corr",
            "sl.cov",
            "sl.agg",
            "Expr.filter",
        ),
    ),
    Group(
        "Rows before",
        "A row and those of its key before it, in `with_columns` and `select` of a keyed stream. "
        "[The rows before](rolling.md) explains them.",
        (
            "Expr.shift",
            "Expr.diff",
            "Expr.pct_change",
            "Expr.cum_sum",
            "Expr.cum_min",
            "Expr.cum_max",
            "Expr.cum_count",
            "Expr.forward_fill",
            "Expr.ewm_mean",
        ),
    ),
    Group(
        "Errors",
        "[Errors](errors.md) shows the message of each, its cause and its cure.",
        (
            "sl.StreamlibError",
            "sl.BuildError",
            "sl.ColumnNotFoundError",
            "sl.TypeMismatchError",
            "sl.DataError",
            "sl.SourceError",
            "sl.SinkError",
            "sl.UserFunctionError",
            "sl.WorkerError",
            "Stream.on_error",
            "Stream.dead_letters",
            "sl.Retry",
            "Retry.waits",
        ),
    ),
    Group(
        "Testing",
        "`import streamlib.testing as t`. [Testing](testing.md) shows how they go together.",
        (
            "t.table",
            "t.source",
            "t.WATERMARK",
            "t.PAUSE",
            "t.IDLE",
            "t.ENTER",
            "t.CRASH",
            "t.CrashedError",
            "t.ManualClock",
            "ManualClock.*",
            "t.run",
            "t.check",
            "t.assert_same",
            "t.time_ns",
        ),
    ),
    Group(
        "Testing parts of your own",
        """\
For an operator, window, aggregate, format, source or sink that you write yourself: what holds for ours must hold
for it.
The contracts are in [streamlib/contracts](../streamlib/contracts/__init__.py).""",
        (
            "t.check_source",
            "t.check_sink",
            "t.check_format",
            "t.check_window",
            "t.check_own_aggregate",
            "t.check_aggregate",
            "t.check_operator",
            "t.harness",
            "t.Harness",
            "Harness.*",
            "t.ListSource",
        ),
    ),
)

NOT_FOR_USERS = frozenset(
    {
        # what the engine asks an expression
        "Expr.node",
        "Expr.key",
        "Expr.columns",
        "Expr.columns_outside_aggregates",
        "Expr.aggregates",
        "Expr.is_column",
        "Expr.contains_aggregate",
        "Expr.output_name",
        "Expr.replace",
        # how the engine makes an error
        "StreamlibError.in_step",
        "ColumnNotFoundError.of",
        # how `streamlib explain` ends a job
        "Job.ended",
        # the contract of a source, which the engine calls
        "ListSource.schema",
        "ListSource.splits",
        "ListSource.open",
        "ListSource.rebuilt",
        "ListSource.describe",
        "ListSource.bind",
        "ListSource.new_splits",
        "ListSource.close",
        "ListSource.counters",
        "ListSource.with_columns",
        "ListSource.total_bytes",
        "sl.__version__",
    }
)
"""Public names that are not for users of streamlib, and not on the page."""

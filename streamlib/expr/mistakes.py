"""What to do instead, for mistakes that are made often."""

from __future__ import annotations

import types
from collections.abc import Sequence

import pyarrow as pa

from streamlib.errors import BuildError


def no_constant(value: object, text: str) -> BuildError:
    """The error for what is neither an expression nor a constant.

    Args:
        value: what was given.
        text: how it is shown.
    """
    return BuildError(
        "this is no expression, and as a constant it has no Arrow type",
        expected="a number, text, bytes, bool, None, Decimal, date, datetime, timedelta or a pyarrow scalar",
        got=f"{text} ({type(value).__name__})",
        hint=_instead_of(value),
    )


def _instead_of(value: object) -> str | None:
    package = type(value).__module__.partition(".")[0]
    if package in ("polars", "pyarrow", "pandas", "duckdb"):
        return f"an expression or column of {package} means nothing here: write it with streamlib's col, lit and when"
    if hasattr(value, "then"):
        return "a value is missing: when(...).then(...)"
    name, home = getattr(value, "__name__", ""), getattr(value, "__module__", None) or ""
    if isinstance(value, types.MethodType):
        return f"a call is missing: write .{name}()"
    if isinstance(value, types.FunctionType) and home.partition(".")[0] == "streamlib":
        return f"a call is missing: write {name}()"
    if callable(value):
        return "a function of your own is called by .map(...) or .map_batches(...); a sum is col(...).sum()"
    return None


def kernel_hint(reason: str, inputs: Sequence[pa.DataType]) -> str:
    """The hint where no function takes these types; `reason` is how Arrow says so."""
    timed = any(pa.types.is_temporal(t) and not pa.types.is_duration(t) for t in inputs)
    if timed and any(pa.types.is_integer(t) or pa.types.is_floating(t) for t in inputs):
        return 'a length of time is a text with its unit, such as "5s", or a timedelta'
    return reason


def data_hint(reason: str) -> str | None:
    """The hint where a function refuses a value; `reason` is how Arrow says so."""
    if reason == "overflow":
        return "cast to a wider type first"
    if "is ambiguous in timezone" in reason:
        return 'the clock showed it twice: say ambiguous="earliest", "latest" or "null"'
    if "doesn't exist in timezone" in reason:
        return 'the clock skipped it: say non_existent="earliest", "latest" or "null"'
    return None

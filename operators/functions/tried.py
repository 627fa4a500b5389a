"""The columns of a batch function, found by calling it with an empty batch when the graph is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from streamlib.errors import BuildError, StreamlibError, UserFunctionError
from streamlib.operators.functions.batch_forms import Form, given_as
from streamlib.operators.functions.batch_results import found_schema, rows_of
from streamlib.operators.functions.callee import Callee, Made


def tried(
    callee: Callee, form: Form, source: pa.Schema, call: Callable[[Callable[..., Any], Any], Any]
) -> pa.Schema:
    """The schema of what a function returns.

    Args:
        form: how it is given rows.
        source: the columns of those.
        call: calls the function with an empty batch in that form, and gives the rows it returned.

    Raises:
        UserFunctionError: it fails, or does not return rows.
        BuildError: the type of a column does not show.
    """
    described = callee.described
    made = Made(callee)
    empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in source], schema=source)
    try:
        result = call(made.function(), given_as(form)(empty))
    except StreamlibError:
        raise
    except Exception as error:
        raise UserFunctionError(
            f"{described} fails on an empty batch, which is how its columns are found",
            got=f"{type(error).__name__}: {error}",
            hint="make it work on a batch of no rows, or name the columns with schema=",
        ) from error
    finally:
        made.close()
    found, unknown = found_schema(rows_of(result, described).schema, source)
    if unknown:
        raise BuildError(
            f"the type of column {unknown[0]!r}, which {described} returns, does not show in an empty batch",
            hint=f"name the columns with schema={{{unknown[0]!r}: ..., ...}}",
        )
    return found

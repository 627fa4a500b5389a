"""The forms that a batch function is given its rows in: pyarrow, Polars, pandas or NumPy.

The annotation of its parameter decides; without one it is a pyarrow.RecordBatch. No form loses
anything: pandas columns are backed by Arrow, so that whole numbers with nulls stay whole, and a NumPy
column that has nulls is a masked array.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import typing
from collections.abc import Callable
from enum import Enum
from inspect import Parameter
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.errors import BuildError
from streamlib.operators.functions.annotations import is_mapping, shown
from streamlib.operators.functions.callee import Callee
from streamlib.operators.functions.values import python_values

_FRAME = re.compile(r"(?:(pl|polars)|(pd|pandas))\.DataFrame")
_TABLE = re.compile(r"(?:pa|pyarrow)\.(RecordBatch|Table)")
_ARRAYS = re.compile(r"(?:typing\.)?(?:dict|Dict|Mapping)\[str, *(?:[\w.]*ndarray|[\w.]*NDArray)\b.*\]")


class Form(Enum):
    """What a batch function is given."""

    BATCH = "pyarrow.RecordBatch"
    TABLE = "pyarrow.Table"
    POLARS = "polars.DataFrame"
    PANDAS = "pandas.DataFrame"
    NUMPY = "dict[str, numpy.ndarray]"


def form_of(callee: Callee) -> Form:
    """The form that the function's parameter is annotated as.

    Raises:
        BuildError: it has not one parameter to fill, is annotated as something else, or needs a library
            that is not installed.
    """
    needed = [
        p
        for p in callee.parameters
        if p.default is Parameter.empty and p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    places = [p for p in callee.parameters if p.kind not in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)]
    if len(needed) > 1 or not places or (needed and needed[0] is not places[0]):
        raise BuildError(
            f"{callee.described} cannot be called with one batch",
            expected="a function of one parameter: the batch",
            got=f"parameters {', '.join(p.name for p in callee.parameters) or '(none)'}",
            hint="map() takes functions whose parameters are columns" if len(needed) > 1 else None,
        )
    annotation = places[0].annotation
    if annotation in (Parameter.empty, Any, object):
        return Form.BATCH
    form = _by_text(annotation) if isinstance(annotation, str) else _by_class(annotation)
    if form is None:
        raise BuildError(
            f"{callee.described} cannot be given {shown(annotation)}",
            expected=", ".join(f.value for f in Form),
            got=f"{places[0].name}: {shown(annotation)}",
            hint="annotate the parameter as one of these, or not at all",
        )
    _require(form, callee)
    return form


def _by_text(text: str) -> Form | None:
    if found := _FRAME.fullmatch(text.strip()):
        return Form.POLARS if found[1] else Form.PANDAS
    if found := _TABLE.fullmatch(text.strip()):
        return Form.BATCH if found[1] == "RecordBatch" else Form.TABLE
    return Form.NUMPY if _ARRAYS.fullmatch(text.strip()) else None


def _by_class(annotation: Any) -> Form | None:
    if annotation is pa.RecordBatch:
        return Form.BATCH
    if annotation is pa.Table:
        return Form.TABLE
    if is_mapping(annotation):
        key, value = (typing.get_args(annotation) or (None, None))[:2]
        return Form.NUMPY if key is str and (typing.get_origin(value) or value) is np.ndarray else None
    if getattr(annotation, "__name__", "") == "DataFrame":
        package = getattr(annotation, "__module__", "").partition(".")[0]
        return {"polars": Form.POLARS, "pandas": Form.PANDAS}.get(package)
    return None


def _require(form: Form, callee: Callee) -> None:
    package = {Form.POLARS: "polars", Form.PANDAS: "pandas"}.get(form)
    if package is not None and not installed(package):
        raise BuildError(
            f"{callee.described} takes a {form.value}, and {package} is not installed",
            hint=f"pip install {package}, or take a pyarrow.RecordBatch",
        )


def installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def given_as(form: Form) -> Callable[[pa.RecordBatch], Any]:
    """Makes a record batch what a function of this form is given."""
    return {
        Form.BATCH: lambda rows: rows,
        Form.TABLE: lambda rows: pa.Table.from_batches([rows]),
        Form.POLARS: _polars,
        Form.PANDAS: _pandas,
        Form.NUMPY: _arrays,
    }[form]


def _polars(rows: pa.RecordBatch) -> Any:
    import polars as pl

    return pl.from_arrow(rows)


def _pandas(rows: pa.RecordBatch) -> Any:
    import pandas as pd

    return rows.to_pandas(types_mapper=pd.ArrowDtype)


def _arrays(rows: pa.RecordBatch) -> dict[str, Any]:
    return {name: numpy_array(rows.column(name)) for name in rows.schema.names}


def numpy_array(column: pa.Array) -> Any:
    """A column as a NumPy array; where it has nulls, a masked array, or NaT for a time.

    Numbers without nulls are not copied, and cannot be written to. Texts, bytes, decimals, lists and
    structs are arrays of Python objects, with None for null.

    >>> numpy_array(pa.array([1, None, 3])) * 2
    masked_array(data=[2, --, 6],
                 mask=[False,  True, False],
           fill_value=999999)
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return numpy_array(column.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_date32(kind):
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        if not column.null_count:
            return column.to_numpy(zero_copy_only=False)
        nothing = column.is_null().to_numpy(zero_copy_only=False)
        filler = False if pa.types.is_boolean(kind) else np.nan if pa.types.is_floating(kind) else 0
        filled = column.fill_null(pa.scalar(filler, kind)).to_numpy(zero_copy_only=False)
        return np.ma.MaskedArray(filled, mask=nothing)
    made = np.empty(len(column), dtype=object)
    made[:] = python_values(column)
    return made


def column_of(values: Any) -> pa.Array:
    """An array of any library as an Arrow array; the masked values of a masked array are null."""
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"an array of {values.ndim} dimensions is no column")
        mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        return pa.array(np.ma.getdata(values) if mask is not None else values, mask=mask)
    if hasattr(values, "__arrow_c_array__"):
        return pa.array(values)
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values).combine_chunks()
    if isinstance(values, (str, bytes, int, float, bool, dt.date, type(None))):
        raise TypeError(f"{values!r} is one value, not a column of them")
    return pa.array(values)

"""How the methods of `.list` are computed: on the flattened values, with the row that each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from streamlib.aggregates import Mean, Sum
from streamlib.errors import TypeMismatchError
from streamlib.expr.named import Lowering
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name
from streamlib.expr.promote import adapt, is_text

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def is_list(kind: pa.DataType) -> bool:
    """A list of any layout."""
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def lists_of(builder: Builder, value: Operand) -> Operand:
    """A list operand in a layout with offsets.

    Raises:
        UnsupportedError: it is no list.
    """
    if not is_list(value.type):
        raise UnsupportedError(f".list works on lists, not {type_name(value.type)}")
    if pt.is_fixed_size_list(value.type):
        return builder.cast(value, pa.list_(value.type.value_type))
    return value


def list_vector(function: Any) -> Lowering:
    """The lowering to a function of our own that takes lists, and further operands as they are."""
    return partial(_list_vector, function)


def _list_vector(function: Any, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    return builder.vector(function, lists_of(builder, inputs[0]), *inputs[1:])


def list_kernel(function: str, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """The lowering to one kernel that takes a list."""
    return builder.kernel(function, lists_of(builder, inputs[0]))


def lengths(lists: pa.Array) -> Int64s:
    """How many values each list has; 0 for null."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)


def parents(lists: pa.Array) -> Int64s:
    """For each flattened value the row of its list."""
    return np.repeat(np.arange(len(lists), dtype=np.int64), lengths(lists))


def _starts(lists: pa.Array) -> Int64s:
    """Where each list begins among the flattened values."""
    ends = np.cumsum(lengths(lists))
    return ends - lengths(lists)


def _null(lists: pa.Array) -> Bools:
    return np.asarray(pc.is_null(lists))


# ---- elements -----------------------------------------------------------------------------------------


def element(null_on_oob: bool, lists: pa.Array, index: Any) -> pa.Array:
    """The value at `index`, from the end when it is negative."""
    size = lengths(lists)
    scalar = isinstance(index, pa.Scalar)
    missing = _null(lists) | (~np.asarray(index.is_valid) if scalar else np.asarray(pc.is_null(index)))
    at = np.int64(index.as_py() or 0) if scalar else np.asarray(pc.fill_null(index, 0)).astype(np.int64)
    at = np.where(at < 0, at + size, at)
    outside = (at < 0) | (at >= size)
    if not null_on_oob and (outside & ~missing).any():
        row = int(np.flatnonzero(outside & ~missing)[0])
        raise pa.ArrowInvalid(f"the index is outside of a list of {size[row]} values")
    where = pa.array(_starts(lists) + at, pa.int64(), mask=outside | missing)
    return lists.flatten().take(where)


def element_at(index: int, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """The lowering of `first` and `last`: null where there is no such value."""
    where = builder.constant(pa.scalar(index))
    return builder.vector(partial(element, True), lists_of(builder, inputs[0]), where)


def cut(offset: int, length: int | None, lists: pa.Array) -> pa.Array:
    """Values from `offset` on, from the end when it is negative; at most `length`."""
    size = lengths(lists)
    begin = np.full(len(size), offset, dtype=np.int64) if offset >= 0 else size + offset
    end = size if length is None else begin + length
    begin, end = np.clip(begin, 0, size), np.clip(end, 0, size)
    return _gather(lists, _starts(lists) + begin, np.maximum(end - begin, 0))


def tail(n: int, lists: pa.Array) -> pa.Array:
    """The last `n` values; all but the first `-n` when `n` is negative."""
    size = lengths(lists)
    count = np.minimum(size, n) if n >= 0 else np.maximum(size + n, 0)
    return _gather(lists, _starts(lists) + size - count, count)


def head(n: int, lists: pa.Array) -> pa.Array:
    """The first `n` values; all but the last `-n` when `n` is negative."""
    size = lengths(lists)
    return _gather(lists, _starts(lists), np.minimum(size, n) if n >= 0 else np.maximum(size + n, 0))


def reverse(lists: pa.Array) -> pa.Array:
    """The values from the last to the first."""
    size, start = lengths(lists), _starts(lists)
    within = np.arange(int(size.sum()), dtype=np.int64)
    where = np.repeat(2 * start + size - 1, size) - within
    return _lists(lists, size, lists.flatten().take(pa.array(where, pa.int64())))


def drop_nulls(lists: pa.Array) -> pa.Array:
    """Without the values that are null."""
    values = lists.flatten()
    if not values.null_count:
        return lists
    keep = pc.is_valid(values)
    size = np.bincount(parents(lists)[np.asarray(keep)], minlength=len(lists)).astype(np.int64)
    return _lists(lists, size, values.filter(keep))


def join(separator: str, ignore_nulls: bool, lists: pa.Array) -> pa.Array:
    """The texts of a list, one after the other."""
    return pc.binary_join(drop_nulls(lists) if ignore_nulls else lists, separator)


def _gather(lists: pa.Array, start: Int64s, size: Int64s) -> pa.Array:
    """Lists of the flattened values [start, start + size)."""
    before = np.cumsum(size) - size
    where = np.repeat(start - before, size) + np.arange(int(size.sum()), dtype=np.int64)
    return _lists(lists, size, lists.flatten().take(pa.array(where, pa.int64())))


def _lists(like: pa.Array, size: Int64s, values: pa.Array) -> pa.Array:
    """Lists of these sizes, null where `like` is."""
    large = pt.is_large_list(like.type)
    offsets = np.concatenate(([0], np.cumsum(size))).astype(np.int64 if large else np.int32)
    make = pa.LargeListArray if large else pa.ListArray
    mask = pa.array(_null(like)) if like.null_count else None
    return make.from_arrays(pa.array(offsets), values, type=like.type, mask=mask)


# ---- one value per list -------------------------------------------------------------------------------


def contains(builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """Whether a value is in the list."""
    lists, item = lists_of(builder, inputs[0]), inputs[1]
    if item.free:
        item = adapt(builder, item, lists.type.value_type)
    return builder.vector(_contains, lists, item)


def _contains(lists: pa.Array, item: Any) -> pa.Array:
    values, owner = lists.flatten(), parents(lists)
    sought = item if isinstance(item, pa.Scalar) else item.take(pa.array(owner))
    found = np.asarray(pc.fill_null(pc.equal(values, sought), False))
    if pt.is_floating(values.type) and pt.is_floating(sought.type):
        found = found | np.asarray(pc.fill_null(pc.and_(pc.is_nan(values), pc.is_nan(sought)), False))
    none = np.asarray(pc.is_null(sought)) if isinstance(sought, pa.Array) else not sought.is_valid
    found = found | (np.asarray(pc.is_null(values)) & none)
    return _per_list(lists, np.bincount(owner[found], minlength=len(lists)) > 0)


def truth(every: bool, lists: pa.Array) -> pa.Array:
    """Whether any value, or every one, is true; nulls are passed over."""
    decisive = np.asarray(pc.fill_null(pc.equal(lists.flatten(), pa.scalar(not every)), False))
    some = np.bincount(parents(lists)[decisive], minlength=len(lists)) > 0
    return _per_list(lists, ~some if every else some)


def _per_list(lists: pa.Array, values: Any, null: Bools | None = None) -> pa.Array:
    mask = _null(lists) if null is None else _null(lists) | null
    return pa.array(values, mask=mask if mask.any() else None)


def reduced(name: str) -> Lowering:
    """The lowering of sum, mean, min and max: as the aggregates of windows, null values passed over."""
    return partial(_reduced, name)


def _reduced(name: str, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    lists = lists_of(builder, inputs[0])
    kind = lists.type.value_type
    try:
        if name == "sum":
            return builder.vector(partial(_sum, Sum().result_type(kind)), lists)
        if name == "mean":
            Mean().result_type(kind)
            return builder.vector(_mean, lists)
    except TypeMismatchError as error:
        raise UnsupportedError(f"{error.problem}; {error.expected}") from None
    if pt.is_nested(kind):
        raise UnsupportedError(f"{name} does not work on lists of {type_name(kind)}")
    return builder.vector(partial(_extreme, name), lists)


def _sum(result: pa.DataType, lists: pa.Array) -> pa.Array:
    storage = pa.float64() if pt.is_floating(result) else pa.uint64() if pt.is_uint64(result) else pa.int64()
    values = lists.flatten()
    values = values.cast(result) if pt.is_duration(result) else values.cast(storage)
    plain = np.asarray(pc.fill_null(values.view(storage), 0))
    sums = _add(lists, plain)
    if not pt.is_floating(storage):
        size = _add(lists, np.abs(plain.astype(np.float64)))
        for row in np.flatnonzero(size > 2.0**62).tolist():
            exact = sum(v for v in lists[row].values.cast(result).view(storage).to_pylist() if v is not None)
            low, high = (0, 2**64) if pt.is_uint64(storage) else (-(2**63), 2**63)
            if not low <= exact < high:
                raise pa.ArrowInvalid("overflow")
    return _per_list(lists, sums).view(result)


def _add(lists: pa.Array, plain: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The sum of the values of each list."""
    sums = np.zeros(len(lists), dtype=plain.dtype)
    filled = lengths(lists) > 0
    if filled.any():
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and no warning
            sums[filled] = np.add.reduceat(plain, _starts(lists)[filled])
    return sums


def _valid(lists: pa.Array) -> npt.NDArray[Any]:
    """How many values of each list are not null."""
    return _add(lists, np.asarray(pc.is_valid(lists.flatten())).astype(np.int64))


def _mean(lists: pa.Array) -> pa.Array:
    count = _valid(lists)
    sums = _add(lists, np.asarray(pc.fill_null(lists.flatten().cast(pa.float64(), safe=False), 0.0)))
    return _per_list(lists, sums / np.maximum(count, 1), count == 0)


def _extreme(name: str, lists: pa.Array) -> pa.Array:
    values = lists.flatten()
    if pt.is_floating(values.type):
        plain = np.asarray(pc.fill_null(values, np.nan))
        best = np.full(len(lists), np.nan, dtype=plain.dtype)
        filled = lengths(lists) > 0
        if filled.any():
            choose = np.fmin if name == "min" else np.fmax
            best[filled] = choose.reduceat(plain, _starts(lists)[filled])
        return _per_list(lists, best, _valid(lists) == 0)
    valid = np.asarray(pc.is_valid(values))
    table = pa.table({"row": parents(lists)[valid], "value": values.filter(pa.array(valid))})
    best = table.group_by("row", use_threads=False).aggregate([("value", name)])
    where = np.full(len(lists), -1, dtype=np.int64)
    where[np.asarray(best["row"])] = np.arange(best.num_rows)
    found = best[f"value_{name}"].combine_chunks()
    found = found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)
    return found.take(pa.array(where, pa.int64(), mask=where < 0))


def joined(separator: str, ignore_nulls: bool, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    """The lowering of `join`."""
    lists = lists_of(builder, inputs[0])
    if not is_text(lists.type.value_type):
        raise UnsupportedError(f"join works on lists of text, not of {type_name(lists.type.value_type)}")
    return builder.vector(partial(join, separator, ignore_nulls), lists)

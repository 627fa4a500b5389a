"""The key columns of a pane. One column of words or texts is in its records already, and not kept a second time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import typed_values
from streamlib.aggregates.accumulators.kept import as_given
from streamlib.errors import DataError
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import is_word
from streamlib.kernels.hashing import LONG_TAG, NULL_WORD, copy_bytes
from streamlib.kernels.memory import I64, load_i64, load_u64, store_u64
from streamlib.state.key_columns import canonical_floats, keys_without_views
from streamlib.state.layout import PANE_ARENA, PANE_COUNT, PANE_NULL_SLOT, PANE_RECORDS
from streamlib.state.pane import Pane, address

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_TOP = np.uint64(56)
_EIGHT = np.int64(8)
_BYTES_MAX = 2**31 - 1


def gives_keys(schema: pa.Schema) -> bool:
    """Whether records have all of such keys: those of one column of words, text or bytes."""
    if len(schema) != 1:
        return False
    kind = schema.types[0]
    return is_word(kind) or _is_bytes(kind)


def keys_of_records(panes: Int64s, record_bytes: int, schema: pa.Schema) -> pa.RecordBatch:
    """The keys of the records of panes, one pane after the other, by `schema`.

    Args:
        panes: a descriptor for each; shape (panes, PANE_WORDS).

    Raises:
        DataError: texts of more than 2 GB.
    """
    kind, rows = schema.types[0], int(panes[:, PANE_COUNT].sum())
    null = np.zeros(rows, dtype=np.bool_)
    if _is_bytes(kind):
        column = _bytes_of_records(
            panes, record_bytes, null, pa.types.is_string(kind) or pa.types.is_large_string(kind)
        )
        return pa.RecordBatch.from_arrays([column.cast(kind)], schema=schema)
    words = np.empty(rows, dtype=np.int64)
    write_key_words(panes, record_bytes, words, null)
    return pa.RecordBatch.from_arrays([typed_values(words, null, kind)], schema=schema)


def keep_keys(panes: Mapping[int, Pane], keys: pa.RecordBatch, notes: Int64s) -> None:
    """Appends the key columns of new slots to their panes: one take, then a slice per pane.

    Args:
        panes: by number.
        notes: pairs (pane number, row of `keys`).
    """
    numbers, at = notes[:, 0], notes[:, 1]
    keys = keys_without_views(keys)
    if numbers[0] == numbers[-1] and (numbers == numbers[0]).all():
        panes[int(numbers[0])].keys.append(keys.take(pa.array(at)))
        return
    order = np.argsort(numbers, kind="stable")
    taken = keys.take(pa.array(at[order]))
    sorted_numbers = numbers[order]
    ends = [*(np.flatnonzero(np.diff(sorted_numbers)) + 1).tolist(), len(notes)]
    begin = 0
    for end in ends:
        panes[int(sorted_numbers[begin])].keys.append(taken.slice(begin, end - begin))
        begin = end


def kept_between(pane: Pane, begin: int, end: int, schema: pa.Schema) -> pa.RecordBatch:
    """The kept keys of the slots from `begin` to `end`, by `schema`."""
    if len(schema) == 0:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * (end - begin), pa.struct([])))
    if len(pane.keys) > 1:
        pane.keys = [pa.concat_batches(pane.keys)]
    assert pane.keys[0].num_rows == pane.count, "every slot has its key"
    keys = canonical_floats(pane.keys[0].slice(begin, end - begin))
    if keys.schema.types == schema.types:
        return keys
    columns = [as_given(column, field.type) for column, field in zip(keys.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_bytes(kind: pa.DataType) -> bool:
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(texts or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _bytes_of_records(panes: Int64s, record_bytes: int, null: Flags, is_text: bool) -> pa.Array:
    rows = len(null)
    offsets = np.empty(rows + 1, dtype=np.int32)
    size = write_key_offsets(panes, record_bytes, offsets, null)
    if size > _BYTES_MAX:
        raise DataError("the keys of one batch are too large", expected="at most 2 GB", got=f"{size:,} bytes")
    data = np.empty(size + 8, dtype=np.uint8)
    write_key_bytes(panes, record_bytes, offsets, address(data))
    validity = None
    if null.any():
        validity = pa.py_buffer(np.packbits(~null, bitorder="little"))
    kind = pa.string() if is_text else pa.binary()
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, rows, buffers)


@kernel("void(int64[:, ::1], int64, int64[::1], bool_[::1])")
def write_key_words(panes: Int64s, record_bytes: I64, words: Int64s, null: Flags) -> None:
    """Writes the word of each record's key, and True where the key is null (EXACT keys)."""
    row = 0
    for pane in panes:
        record = pane[PANE_RECORDS]
        if pane[PANE_NULL_SLOT] != 0:
            null[row + pane[PANE_NULL_SLOT] - 1] = True
        for _ in range(pane[PANE_COUNT]):
            words[row] = load_i64(record, 0)
            record += record_bytes
            row += 1


@kernel("int64(int64[:, ::1], int64, int32[::1], bool_[::1])")
def write_key_offsets(panes: Int64s, record_bytes: I64, offsets: Int32s, null: Flags) -> I64:
    """Writes where the text of each record's key begins among them all; returns their bytes.

    Args:
        panes: descriptors.
        offsets: one more than records; not all right where there are more than 2 GB.
        null: where a key is null, True is written.
    """
    total, row = np.int64(0), 0
    offsets[0] = 0
    for pane in panes:
        record, arena = pane[PANE_RECORDS], pane[PANE_ARENA]
        for _ in range(pane[PANE_COUNT]):
            word = load_u64(record, 0)
            if word >= LONG_TAG:
                total += load_i64(arena + np.int64(word - LONG_TAG), 0)
            elif word == NULL_WORD:
                null[row] = True
            else:
                total += np.int64(word >> _TOP)
            row += 1
            offsets[row] = np.int32(total)
            record += record_bytes
    return total


@kernel("void(int64[:, ::1], int64, int32[::1], int64)")
def write_key_bytes(panes: Int64s, record_bytes: I64, offsets: Int32s, data: I64) -> None:
    """Writes the texts of the records' keys to `data`, which has 8 bytes more than they need."""
    row = 0
    for pane in panes:
        record, arena = pane[PANE_RECORDS], pane[PANE_ARENA]
        for _ in range(pane[PANE_COUNT]):
            word = load_u64(record, 0)
            if word >= LONG_TAG:
                kept = arena + np.int64(word - LONG_TAG)
                copy_bytes(data + offsets[row], kept + _EIGHT, load_i64(kept, 0))
            elif word != NULL_WORD:
                store_u64(data + offsets[row], 0, word)  # what lies behind the text is written next
            row += 1
            record += record_bytes


@kernel("void(int64[:, ::1], int64, int64, int64[:, ::1])")
def write_state(panes: Int64s, record_bytes: I64, head: I64, state: Int64s) -> None:
    """Writes the words of all records from word `head` on, a row of `state` for each word."""
    words, row = state.shape[0], 0
    for pane in panes:
        record = pane[PANE_RECORDS]
        for _ in range(pane[PANE_COUNT]):
            for k in range(words):
                state[k, row] = load_i64(record, head + k)
            record += record_bytes
            row += 1

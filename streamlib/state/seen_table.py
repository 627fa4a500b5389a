"""The table of `seen` made anew: larger or smaller, or as large and without the entries of chunks that are over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.memory import I64, load_u64, store_u64
from streamlib.state.seen_buckets import (
    BUCKET_ENTRIES,
    FULL_BIT,
    bucket_after,
    bucket_of,
    enter,
    lowest_byte,
    zero_bytes,
)
from streamlib.state.seen_probe import is_over

Uint64s = npt.NDArray[np.uint64]

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_BYTE = np.uint64(0xFF)


@inline
def enter_newest(table: I64, mask: I64, half: I64, number: I64) -> I64:
    """Enters a key that the table does not have; returns how many buckets have no room now and had some."""
    full = np.int64(0)
    bucket = bucket_of(table, mask, half)
    tops = zero_bytes(load_u64(bucket, 0))
    while tops == _ZERO:
        held = load_u64(bucket, 0)
        full += np.int64(held >> FULL_BIT == _ZERO)
        store_u64(bucket, 0, held | (_ONE << FULL_BIT))
        bucket = bucket_after(table, mask, bucket)
        tops = zero_bytes(load_u64(bucket, 0))
    enter(bucket, lowest_byte(tops), half, number)
    return full


@kernel("int64(int64, int64, int64, int64, int64)")
def move_entries(directory: I64, source: I64, source_mask: I64, table: I64, mask: I64) -> I64:
    """Enters what a table has, but for chunks that are over, into an empty one of another size.

    What is needed of the hash stands in the entry: so no record is read. A larger table is written from begin to end.

    Returns:
        How many are entered, and above 32 bits how many buckets have no room now.
    """
    entered, full = np.int64(0), np.int64(0)
    for number in range(source_mask + 1):
        bucket = bucket_of(source, source_mask, number)
        for place in range(BUCKET_ENTRIES):
            entry = load_u64(bucket, place + 1)
            if entry != _ZERO and not is_over(directory, entry):
                full += enter_newest(table, mask, entry >> _HALF, np.int64(entry & _LOW_HALF))
                entered += np.int64(1)
    return (full << np.int64(32)) | entered


@kernel("int64(int64, int64, int64, uint64[::1])")
def sweep_entries(directory: I64, table: I64, mask: I64, strays: Uint64s) -> I64:
    """Takes the entries of chunks that are over out of a table, where it lies.

    Those that found no room where they are looked for first get a place anew.

    Args:
        strays: room for all entries that stay.

    Returns:
        How many stay, and above 32 bits how many buckets have no room now.
    """
    entered, full, strayed = np.int64(0), np.int64(0), np.int64(0)
    for number in range(mask + 1):
        bucket = bucket_of(table, mask, number)
        held = load_u64(bucket, 0) & ~(_ONE << FULL_BIT)
        for place in range(BUCKET_ENTRIES):
            entry = load_u64(bucket, place + 1)
            lives = entry != _ZERO and not is_over(directory, entry)
            if lives and np.int64(entry >> _HALF) & mask == number:
                entered += np.int64(1)
                continue
            if lives:
                strays[strayed] = entry
                strayed += np.int64(1)
            held &= ~(_BYTE << np.uint64(8 * place))
            store_u64(bucket, place + 1, _ZERO)
        store_u64(bucket, 0, held)
    for i in range(strayed):
        entry = strays[i]
        full += enter_newest(table, mask, entry >> _HALF, np.int64(entry & _LOW_HALF))
    return (full << np.int64(32)) | (entered + strayed)

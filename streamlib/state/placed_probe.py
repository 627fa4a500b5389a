"""The loop that finds each row's record by the slot of its key, which an index of all keys has given.

A pane has a table by slot where that is small for the records in it, or else one with hashes as in
`probe`: so a key that is not in a pane costs it nothing, and one that is takes a single look.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import inline, kernel
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.memory import I64, load_i64, load_u64, store_i64, store_u64
from streamlib.state.layout import (
    NO_PANE,
    PANE_COUNT,
    PANE_FULL,
    PANE_LIMIT,
    PANE_MASK,
    PANE_RECORDS,
    PANE_TABLE,
    REPORT_REASON,
    REPORT_START,
)
from streamlib.state.probe import find_pane

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)


@inline
def find_hashed(pane: I64, slot: I64, mask: I64, record_words: I64) -> tuple[I64, I64]:
    """The record of a slot in a pane with hashes, 0 where there is none; and the place where the search ended."""
    table, records = load_i64(pane, PANE_TABLE), load_i64(pane, PANE_RECORDS)
    half = hash_word(np.uint64(slot)) >> _HALF
    place = np.int64(half) & mask
    entry = load_u64(table, place)
    while entry != _ZERO:
        if entry >> _HALF == half:
            record = records + np.int64((entry & _LOW_HALF) - _ONE) * (8 * record_words)
            if load_i64(record, 0) == slot:
                return record, place
        place = (place + 1) & mask
        entry = load_u64(table, place)
    return np.int64(0), place


@inline
def place_record(pane: I64, slot: I64, template: I64, record_words: I64) -> I64:
    """The address of a slot's record, which is made where there is none; 0 where there is no room for it.

    A mask below zero says that the pane's table is by slot, and how long it is.
    """
    table, mask, place = load_i64(pane, PANE_TABLE), load_i64(pane, PANE_MASK), slot
    if mask < 0:
        if slot >= -mask:
            return np.int64(0)
        entry = load_i64(table, slot)
        if entry != 0:
            return load_i64(pane, PANE_RECORDS) + (entry - 1) * (8 * record_words)
    else:
        record, place = find_hashed(pane, slot, mask, record_words)
        if record != 0:
            return record
    count = load_i64(pane, PANE_COUNT)
    if count >= load_i64(pane, PANE_LIMIT):
        return np.int64(0)
    record = load_i64(pane, PANE_RECORDS) + count * (8 * record_words)
    store_i64(record, 0, slot)
    for k in range(1, record_words):
        store_i64(record, k, load_i64(template, k))
    if mask < 0:
        store_i64(table, slot, count + 1)
    else:
        half = hash_word(np.uint64(slot)) >> _HALF
        store_u64(table, place, (half << _HALF) | np.uint64(count + 1))
    store_i64(pane, PANE_COUNT, count + 1)
    return record


@inline
def find_placed(
    rows: I64,
    starts: I64,
    slots: I64,
    directory: I64,
    directory_mask: I64,
    template: I64,
    record_words: I64,
    report: I64,
    found: I64,
) -> I64:
    """Writes the record address of each row to `found`; returns how many rows were served.

    Stops at a row whose pane is missing or full, and says so in `report`.

    Args:
        starts, slots: addresses of window starts and slots of the rows.
    """
    for i in range(rows):
        start = load_i64(starts, i)
        pane = find_pane(directory, directory_mask, start)
        if load_i64(pane, PANE_TABLE) == 0:
            store_i64(report, REPORT_REASON, NO_PANE)
            store_i64(report, REPORT_START, start)
            return i
        record = place_record(pane, load_i64(slots, i), template, record_words)
        if record == 0:
            store_i64(report, REPORT_REASON, PANE_FULL)
            store_i64(report, REPORT_START, start)
            return i
        store_i64(found, i, record)
    return rows


@kernel("void(ints, uint64[::1])")
def enter_hashed(slots: npt.NDArray[np.int64], table: npt.NDArray[np.uint64]) -> None:
    """Enters the slots of records 0, 1, 2 and so on into an empty table with hashes."""
    mask = len(table) - 1
    for i in range(len(slots)):
        half = hash_word(np.uint64(slots[i])) >> _HALF
        place = np.int64(half) & mask
        while table[place] != _ZERO:
            place = (place + 1) & mask
        table[place] = (half << _HALF) | np.uint64(i + 1)

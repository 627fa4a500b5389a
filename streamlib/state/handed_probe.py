"""Finds, or makes, in one pane the record for a key of another pane: both have the key in the same form."""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline
from streamlib.kernels.hashing import LONG_TAG, copy_bytes
from streamlib.kernels.memory import I64, load_i64, load_u64, store_i64, store_u64
from streamlib.state.layout import (
    ARENA_FULL,
    PANE_ARENA,
    PANE_ARENA_SIZE,
    PANE_ARENA_USED,
    PANE_COUNT,
    PANE_FULL,
    PANE_LIMIT,
    PANE_MASK,
    PANE_RECORDS,
    PANE_START,
    PANE_TABLE,
    RECORD_STATE,
    REPORT_NEED,
    REPORT_REASON,
    REPORT_START,
)
from streamlib.state.probe import same_bytes

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)


@inline
def handed_record(entry: I64, source: I64, record_words: I64) -> I64:
    """The address of the record that an entry stands for, among those at `source`."""
    return source + np.int64((entry & _LOW_HALF) - _ONE) * (8 * record_words)


@inline
def find_handed(
    pane: I64, entry: I64, other: I64, arena: I64, long_keys: bool, record_words: I64
) -> tuple[I64, I64]:
    """The record of a key, 0 where there is none; and the place in the table where the search ended.

    Args:
        entry: holds `half_hash` of the key's word, as entries of tables do.
        other: the record of the key in another pane.
        arena: of that pane.
        long_keys: key words may stand for bytes in the arenas (BYTES keys).
    """
    table, records = load_i64(pane, PANE_TABLE), load_i64(pane, PANE_RECORDS)
    mask, half = load_i64(pane, PANE_MASK), np.uint64(entry) >> _HALF
    word = load_u64(other, 0)
    place = np.int64(half) & mask
    mine = load_u64(table, place)
    while mine != _ZERO:
        if mine >> _HALF == half:
            record = records + np.int64((mine & _LOW_HALF) - _ONE) * (8 * record_words)
            kept = load_u64(record, 0)
            if not long_keys or word < LONG_TAG:
                if kept == word:
                    return record, place
            elif kept >= LONG_TAG:
                text = arena + np.int64(word - LONG_TAG)
                if same_bytes(pane, kept, text + 8, load_i64(text, 0)):
                    return record, place
        place = (place + 1) & mask
        mine = load_u64(table, place)
    return np.int64(0), place


@inline
def adopt(
    pane: I64,
    entry: I64,
    place: I64,
    other: I64,
    arena: I64,
    long_keys: bool,
    record_words: I64,
    report: I64,
) -> bool:
    """Copies a record of another pane; false where there is no room, which `report` says then.

    Args:
        place: the free place in the table where the search ended.
    """
    count, used = load_i64(pane, PANE_COUNT), load_i64(pane, PANE_ARENA_USED)
    word = load_u64(other, 0)
    is_long = long_keys and word >= LONG_TAG
    text, size = np.int64(0), np.int64(0)
    if is_long:
        text = arena + np.int64(word - LONG_TAG)
        size = load_i64(text, 0)
    full = count >= load_i64(pane, PANE_LIMIT)
    if full or (is_long and used + size + 16 > load_i64(pane, PANE_ARENA_SIZE)):
        store_i64(report, REPORT_REASON, np.int64(PANE_FULL) if full else np.int64(ARENA_FULL))
        store_i64(report, REPORT_START, load_i64(pane, PANE_START))
        store_i64(report, REPORT_NEED, size + 16)
        return False
    record = load_i64(pane, PANE_RECORDS) + count * (8 * record_words)
    for k in range(RECORD_STATE, record_words):
        store_i64(record, k, load_i64(other, k))
    if is_long:
        kept = load_i64(pane, PANE_ARENA) + used
        store_i64(kept, 0, size)
        copy_bytes(kept + 8, text + 8, size)
        store_i64(pane, PANE_ARENA_USED, used + 8 + ((size + 7) & ~7))
        word = LONG_TAG | np.uint64(used)
    store_u64(record, 0, word)
    half = np.uint64(entry) >> _HALF
    store_u64(load_i64(pane, PANE_TABLE), place, (half << _HALF) | np.uint64(count + 1))
    store_i64(pane, PANE_COUNT, count + 1)
    return True

"""The hash of keys: fixed, and part of the format of saved state (`HASH_VERSION`).

A key is a word (see `keys`); its hash is one folded multiplication, the step of wyhash (Wang Yi,
2019). Bytes of 8 and more fold into a word eight at a time, and the last eight may overlap the ones
before: no loop over a tail, whose mispredicted branches cost more than the hash. The top bits choose
key group and partition, the upper 32 the place in a table, or a hash of that hash (`half_hash`).

Two different keys may share a hash: every table compares keys.
"""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, fold, load_u8, load_u64, store_u8, store_u64

HASH_VERSION = 1
"""Changes when equal keys would hash otherwise than in saved state."""

K0 = np.uint64(0x9E3779B97F4A7C15)
K1 = np.uint64(0xA0761D6478BD642F)
LONG_TAG = np.uint64(0xFF << 56)
NULL_WORD = np.uint64(0xFE << 56)
_BYTE = np.uint64(8)
_HALF = np.uint64(32)
_TOP = np.uint64(56)
_ONE = np.uint64(1)


@inline
def hash_word(word: I64) -> I64:
    """The 64-bit hash of a key's word."""
    return fold(np.uint64(word) ^ K1, K0)


@inline
def half_hash(word: I64) -> I64:
    """32 bits of hash of a key's word, any of which choose a place in a table.

    Of `hash_word` only the top bits do: what lies below them follows the word, so that 65,536 numbers in a row
    come to have 15,000 places among 131,072, and chains of twenty. One more multiplication scatters them.
    """
    return (hash_word(word) * K1) >> _HALF


@inline
def hash_bytes(address: I64, length: I64) -> I64:
    """A 64-bit digest of `length` >= 8 bytes."""
    digest = np.uint64(length) * K1
    last = address + length - 8
    place = address
    while place < last:
        digest = fold(digest ^ load_u64(place, 0), K0)
        place += 8
    return fold(digest ^ load_u64(last, 0), K0)


@inline
def bytes_word(address: I64, length: I64, end: I64) -> I64:
    """The word of a byte string: up to 7 bytes stand in it, with the length above; else tag and digest.

    Args:
        end: the end of the readable memory around the string: eight bytes are loaded at once only
            up to there.
    """
    if length >= 8:
        return LONG_TAG | (hash_bytes(address, length) >> _BYTE)
    if address + 8 <= end:
        raw = load_u64(address, 0)
    else:
        raw = np.uint64(0)
        for k in range(length):
            raw |= load_u8(address, k) << (np.uint64(k) * _BYTE)
    bits = np.uint64(length) * _BYTE
    return (raw & ((_ONE << bits) - _ONE)) | (np.uint64(length) << _TOP)


@inline
def equal_bytes(a: I64, b: I64, length: I64) -> bool:
    """Whether two strings of `length` >= 8 bytes are equal."""
    place = np.int64(0)
    last = length - 8
    while place < last:
        if load_u64(a + place, 0) != load_u64(b + place, 0):
            return False
        place += 8
    return bool(load_u64(a + last, 0) == load_u64(b + last, 0))


@inline
def copy_bytes(target: I64, source: I64, length: I64) -> None:
    """Copies `length` bytes between places that do not overlap."""
    if length >= 8:
        place = np.int64(0)
        last = length - 8
        while place < last:
            store_u64(target + place, 0, load_u64(source + place, 0))
            place += 8
        store_u64(target + last, 0, load_u64(source + last, 0))
    else:
        for k in range(length):
            store_u8(target, k, load_u8(source, k))

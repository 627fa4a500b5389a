"""The table of `seen`: entries of 8 bytes in buckets, a cache line each.

An entry is the upper half of a key's hash, and one more than the number of a record. The first word of a bucket
has a byte of the hash of each of its seven entries. So a key that is new is told from all others of its bucket by
one word (as in the tables of Abseil, M. Kulukundis, 2017). A bucket without room says so in its eighth byte, and
the next one is looked at too.
"""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_u64, store_u64

BUCKET_ENTRIES = 7
BUCKET_WORDS = BUCKET_ENTRIES + 1
FULL_BIT = np.uint64(56)
"""From which bit on a bucket's first word says that it has no room."""

_BUCKET = np.int64(8 * BUCKET_WORDS)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x0080808080808080)
_BYTE = np.uint64(0xFF)


@inline
def bucket_of(table: I64, mask: I64, half: I64) -> I64:
    """The address of the bucket where an entry is looked for first."""
    return table + (np.int64(half) & mask) * _BUCKET


@inline
def bucket_after(table: I64, mask: I64, bucket: I64) -> I64:
    """The address of the next bucket."""
    return table + (((bucket - table) // _BUCKET + np.int64(1)) & mask) * _BUCKET


@inline
def tag_of(half: I64) -> I64:
    """The byte that stands for an entry in the first word of its bucket; 0 stands for none."""
    tag = half >> np.uint64(24)
    return tag + np.uint64(tag == _ZERO)


@inline
def tags_of(half: I64) -> I64:
    """That byte in all bytes of a word."""
    return tag_of(half) * _ONES


@inline
def zero_bytes(word: I64) -> I64:
    """The top bits of the lowest seven bytes that are 0; the lowest of them is right, others may be too many."""
    return (word - _ONES) & ~word & _TOPS


@inline
def lowest_byte(tops: I64) -> I64:
    """Which byte the lowest of some top bits belongs to."""
    below = (tops & (_ZERO - tops)) - _ONE
    return np.int64(((below & _ONES) * _ONES) >> FULL_BIT) - np.int64(1)


@inline
def enter(bucket: I64, place: I64, half: I64, number: I64) -> None:
    """Writes an entry to a place of a bucket."""
    shift = np.uint64(8 * place)
    tags = load_u64(bucket, 0) & ~(_BYTE << shift)
    store_u64(bucket, 0, tags | (tag_of(half) << shift))
    store_u64(bucket, place + 1, (half << _HALF) | np.uint64(number))

"""Words of memory by address: what the kernels are written in.

Each function works in plain Python (through ctypes) and compiles to one or two machine
instructions (`_intrinsics`). Addresses are int64; loads and stores need no alignment. Nothing is
checked: a wrong address ends the process.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from streamlib.kernels._jit import primitive

I64 = Any
"""A 64-bit integer: in plain Python an int or a NumPy scalar, which no annotation covers at once."""
F64 = Any
"""A 64-bit float, likewise."""

_MASK = (1 << 64) - 1


@primitive
def load_i64(base: I64, index: I64) -> I64:
    """The int64 at `base + 8 * index`."""
    return ctypes.c_int64.from_address(int(base) + 8 * int(index)).value


@primitive
def load_u64(base: I64, index: I64) -> I64:
    """The uint64 at `base + 8 * index`."""
    return ctypes.c_uint64.from_address(int(base) + 8 * int(index)).value


@primitive
def load_f64(base: I64, index: I64) -> F64:
    """The float64 at `base + 8 * index`."""
    return ctypes.c_double.from_address(int(base) + 8 * int(index)).value


@primitive
def load_i32(base: I64, index: I64) -> I64:
    """The int32 at `base + 4 * index`, as int64."""
    return ctypes.c_int32.from_address(int(base) + 4 * int(index)).value


@primitive
def load_u8(base: I64, index: I64) -> I64:
    """The byte at `base + index`, as uint64."""
    return ctypes.c_uint8.from_address(int(base) + int(index)).value


@primitive
def store_i64(base: I64, index: I64, value: I64) -> None:
    """Writes an int64 to `base + 8 * index`."""
    ctypes.c_int64.from_address(int(base) + 8 * int(index)).value = int(value)


@primitive
def store_u64(base: I64, index: I64, value: I64) -> None:
    """Writes a uint64 to `base + 8 * index`."""
    ctypes.c_uint64.from_address(int(base) + 8 * int(index)).value = int(value)


@primitive
def store_f64(base: I64, index: I64, value: F64) -> None:
    """Writes a float64 to `base + 8 * index`."""
    ctypes.c_double.from_address(int(base) + 8 * int(index)).value = float(value)


@primitive
def store_i32(base: I64, index: I64, value: I64) -> None:
    """Writes the lower half of an int64 to `base + 4 * index`."""
    ctypes.c_int32.from_address(int(base) + 4 * int(index)).value = int(value)


@primitive
def store_u8(base: I64, index: I64, value: I64) -> None:
    """Writes a byte to `base + index`."""
    ctypes.c_uint8.from_address(int(base) + int(index)).value = int(value)


@primitive
def store_f64_pair(base: I64, index: I64, first: F64, second: F64) -> None:
    """Writes two float64 to `base + 8 * index`, in one store."""
    store_f64(base, index, first)
    store_f64(base, int(index) + 1, second)


@primitive
def store_pair_if_less(base: I64, index: I64, first: I64, second: I64) -> None:
    """Writes two int64 to `base + 8 * index` where the first is less than what is there; without a branch."""
    if first < load_i64(base, index):
        store_i64(base, index, first)
        store_i64(base, int(index) + 1, second)


@primitive
def store_pair_unless_less(base: I64, index: I64, first: I64, second: I64) -> None:
    """Writes two int64 to `base + 8 * index` where the first is not less than what is there; without a branch."""
    if first >= load_i64(base, index):
        store_i64(base, index, first)
        store_i64(base, int(index) + 1, second)


@primitive
def store_row_if_before(base: I64, index: I64, time: I64, order: I64, value: I64) -> None:
    """Writes time, order, value and 0 where (time, order) is before what is there; without a branch."""
    if (time, order) < (load_i64(base, index), load_i64(base, int(index) + 1)):
        _store_row(base, index, time, order, value)


@primitive
def store_row_unless_before(base: I64, index: I64, time: I64, order: I64, value: I64) -> None:
    """Writes time, order, value and 0 where (time, order) is not before what is there; without a branch."""
    if (time, order) >= (load_i64(base, index), load_i64(base, int(index) + 1)):
        _store_row(base, index, time, order, value)


def _store_row(base: I64, index: I64, *words: I64) -> None:
    for place, word in enumerate((*words, np.int64(0))):
        store_i64(base, int(index) + place, word)


@primitive
def prefetch(address: I64) -> None:
    """Asks for the cache line at `address`; any address is allowed."""


@primitive
def fold(a: I64, b: I64) -> I64:
    """The two halves of the 128-bit product of two uint64, xor'ed: the mixing step of wyhash."""
    product = int(a) * int(b)
    return (product ^ (product >> 64)) & _MASK


@primitive
def match_bytes(address: I64, byte: I64) -> I64:
    """Which of the 64 bytes at `address` are `byte`: the first by the lowest bit of a uint64."""
    line = ctypes.string_at(int(address), 64)
    return np.uint64(sum(1 << i for i, one in enumerate(line) if one == int(byte)))


@primitive
def count_bits(word: I64) -> I64:
    """How many bits of a uint64 are set."""
    return int(word).bit_count()

"""The loops of functions over the rows of a key: a state per slot, an output per row.

`fresh` says which rows begin their key anew: the state of such a slot is whatever it was before. Values come
as the address of 8-byte words, with the address of a validity bitmap (0: no nulls) and the first row's bit;
results are words, and a byte that says whether there is one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import is_valid
from streamlib.kernels.memory import I64, load_f64, load_i64

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

SHIFT_HEAD = 2
"""Words of a slot before its values: how many there are, and where the next one goes."""


@kernel("void(ints, ints, uint8[::1], int64[::1], int64, uint8[::1])")
def begin_anew(slots: Int64s, times: Int64s, known: Flags, last: Int64s, ttl: I64, fresh: Flags) -> None:
    """Which rows are the first of their key, or come more than `ttl` (0: never) after its last row.

    Args:
        known, last: by slot, whether it had a row, and that row's time; kept up to date.
    """
    for i in range(len(slots)):
        slot = slots[i]
        gone = ttl > 0 and np.uint64(times[i]) - np.uint64(last[slot]) > np.uint64(ttl)
        fresh[i] = np.uint8(known[slot] == 0 or gone)
        known[slot] = 1
        last[slot] = times[i]


@kernel("void(ints, flags, int64, int64, int64, int64[:, ::1], int64, int64[::1], uint8[::1])")
def shift_rows(
    slots: Int64s,
    fresh: Flags,
    values: I64,
    validity: I64,
    bit: I64,
    state: Int64s,
    n: I64,
    out: Int64s,
    valid: Flags,
) -> None:
    """The value n rows before. A slot: how many are kept, where the next goes, n values, whether they are valid."""
    for i in range(len(slots)):
        slot = slots[i]
        if fresh[i] != 0:
            state[slot, 0] = 0
            state[slot, 1] = 0
        place = state[slot, 1]
        full = state[slot, 0] == n
        out[i] = state[slot, SHIFT_HEAD + place] if full else 0
        valid[i] = np.uint8(full and state[slot, SHIFT_HEAD + n + place] != 0)
        has_value = validity == 0 or is_valid(validity, bit + i)
        state[slot, SHIFT_HEAD + place] = load_i64(values, i) if has_value else 0
        state[slot, SHIFT_HEAD + n + place] = np.int64(has_value)
        state[slot, 1] = place + 1 if place + 1 < n else 0
        if not full:
            state[slot, 0] += 1


@kernel("void(ints, flags, int64, int64, int64, int64[:, ::1], int64, int64[::1], uint8[::1])")
def fill_rows(
    slots: Int64s,
    fresh: Flags,
    values: I64,
    validity: I64,
    bit: I64,
    state: Int64s,
    limit: I64,
    out: Int64s,
    valid: Flags,
) -> None:
    """The last value that is not null, over at most `limit` nulls (-1: any).

    A slot: the value, whether there is one, the nulls since.
    """
    for i in range(len(slots)):
        slot = slots[i]
        if fresh[i] != 0:
            state[slot, 0] = 0
            state[slot, 1] = 0
            state[slot, 2] = 0
        if validity == 0 or is_valid(validity, bit + i):
            state[slot, 0] = load_i64(values, i)
            state[slot, 1] = 1
            state[slot, 2] = 0
        else:
            state[slot, 2] += 1
        out[i] = state[slot, 0]
        valid[i] = np.uint8(state[slot, 1] != 0 and (limit < 0 or state[slot, 2] <= limit))


@kernel(
    "void(ints, flags, int64, int64, int64, float64[:, ::1], float64, boolean, boolean, float64[::1], uint8[::1])"
)
def smooth_rows(
    slots: Int64s,
    fresh: Flags,
    values: I64,
    validity: I64,
    bit: I64,
    state: Floats,
    alpha: Any,
    adjust: bool,
    ignore_nulls: bool,
    out: Floats,
    valid: Flags,
) -> None:
    """Exponentially weighted means. A slot: mean, its weight (0: no value yet)."""
    newest = 1.0 if adjust else alpha
    for i in range(len(slots)):
        slot = slots[i]
        if fresh[i] != 0:
            state[slot, 1] = 0.0
        has_value = validity == 0 or is_valid(validity, bit + i)
        valid[i] = np.uint8(has_value)
        out[i] = 0.0
        if state[slot, 1] == 0.0:
            if has_value:
                state[slot, 0] = load_f64(values, i)
                state[slot, 1] = 1.0
        elif has_value or not ignore_nulls:
            weight = state[slot, 1] * (1.0 - alpha)
            # A mean whose weight has sunk to nothing is still one: the least weight keeps the slot known.
            state[slot, 1] = max(weight, 5e-324)
            if has_value:
                value = load_f64(values, i)
                if state[slot, 0] != value:
                    state[slot, 0] = (weight * state[slot, 0] + newest * value) / (weight + newest)
                state[slot, 1] = weight + 1.0 if adjust else 1.0
        if has_value:
            out[i] = state[slot, 0]


@kernel(
    "void(ints, flags, ints, int64, int64, int64, float64[:, ::1], int64[::1], float64, float64[::1], uint8[::1])"
)
def smooth_rows_by_time(
    slots: Int64s,
    fresh: Flags,
    times: Int64s,
    values: I64,
    validity: I64,
    bit: I64,
    state: Floats,
    last: Int64s,
    half_life: Any,
    out: Floats,
    valid: Flags,
) -> None:
    """The mean moves to each value by 1 - 2 ** (-time since the last value / half_life). A slot: mean, whether any.

    Args:
        last: by slot, the time of its last value.
    """
    for i in range(len(slots)):
        slot = slots[i]
        if fresh[i] != 0:
            state[slot, 1] = 0.0
        has_value = validity == 0 or is_valid(validity, bit + i)
        valid[i] = np.uint8(has_value)
        out[i] = 0.0
        if not has_value:
            continue
        value = load_f64(values, i)
        if state[slot, 1] == 0.0:
            state[slot, 0] = value
            state[slot, 1] = 1.0
        else:
            passed = np.float64(np.uint64(times[i]) - np.uint64(last[slot]))
            kept = math.exp(-math.log(2.0) * passed / half_life)
            state[slot, 0] = (1.0 - kept) * value + kept * state[slot, 0]
        last[slot] = times[i]
        out[i] = state[slot, 0]

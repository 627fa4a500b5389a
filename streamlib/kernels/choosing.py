"""Stores that depend on a condition and take no branch: one that often goes wrong costs more than some writes.

The condition is a mask: -1 where it holds, else 0. LLVM makes a branch of a selection that reads memory
(``x86-cmov-converter-force-mem-operand``), and none of this.
"""

from __future__ import annotations

import numpy as np

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_i64, store_i64


@inline
def mask_of(condition: bool) -> I64:
    """-1 or 0."""
    return -np.int64(condition)


@inline
def store_where(mask: I64, base: I64, index: I64, value: I64) -> None:
    """Writes `value` where `mask` is -1; where it is 0, what is there stays."""
    kept = load_i64(base, index)
    store_i64(base, index, kept ^ ((kept ^ value) & mask))

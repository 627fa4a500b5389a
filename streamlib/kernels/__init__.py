"""Loops over rows that more than one room uses, compiled by numba at their first call.

* `marks`: event-time marks and the running maximum of a split.
* `keys`: key columns as one word per row, exact; key groups and partitions.
* `columns`: value columns as 8-byte words.
* `hashing`: the hash behind all of them.
* `exact`: arithmetic on floats as Python has it.
* `sorting`: rows by time, gathered from several batches.
* `sessions`: which session each row belongs to, and which sessions close.
* `memory`: loads and stores by address, the words kernels are written in.
* `_jit`: how and where kernels are compiled and kept.

Importing this package does not import numba.
"""

from streamlib.kernels._jit import Compilations, busy_with, compilations, on_compile

__all__ = ["Compilations", "busy_with", "compilations", "on_compile"]

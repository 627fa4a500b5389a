"""Event times in ns, from columns of any unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MAX_TIME, times_ns
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import values_of
from streamlib.kernels.memory import I64

Int64s = npt.NDArray[np.int64]

_UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}


def event_times(column: pa.Array, name: str) -> Int64s:
    """As `times_ns`, in one call without the GIL.

    >>> event_times(pa.array([1, -2], pa.timestamp("ms")), "ts").tolist()
    [1000000, -2000000]
    """
    kind = column.type
    factor = _UNITS_NS.get(kind.unit) if pa.types.is_timestamp(kind) else None
    if factor is None or column.null_count:
        return times_ns(column, name)
    times = np.empty(len(column), dtype=np.int64)
    if not scale(values_of(column), factor, MAX_TIME // factor, times):
        return times_ns(column, name)  # which says what does not fit
    return times


@kernel("boolean(ints, int64, int64, int64[::1])")
def scale(values: Int64s, factor: I64, most: I64, times: Int64s) -> bool:
    """Writes `values * factor`; false where a value is not from `-most` to `most`."""
    low, high = np.int64(0), np.int64(0)
    for i in range(len(values)):
        low, high = min(low, values[i]), max(high, values[i])
        times[i] = values[i] * factor
    return bool((low >= -most) & (high <= most))

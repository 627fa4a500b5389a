"""Step functions that are compiled, or not, and what a plain loop makes of them."""

from __future__ import annotations

import math
from typing import Any

OFFSET = 3
HALF = 0.5


def vwap(state: Any, x: Any, n: Any) -> Any:
    turnover, total = state[0] + x * n, state[1] + n
    return (turnover, total), turnover / total


def whole(state: Any, n: Any, m: Any) -> Any:
    total = state * 3 + n - m
    return total, (n // m, n % m, -n, abs(m), n * m, total & m | 5 ^ n)


def real(state: Any, x: Any, y: Any) -> Any:
    return state + x * y, (x // y, x % y, -x, abs(y), x / y, x - y)


def mixed(state: Any, x: Any, n: Any, m: Any) -> Any:
    state += n
    return state, (n / m, x // n, x % n, x < n, n <= x, n == x, (m - n) * x)


def compared(state: Any, x: Any, y: Any, b: Any, n: Any) -> Any:
    low, high = min(x, y, 0.5), max(y, x)
    order = 0 < n <= 3 != b
    if x < y or not b:
        state = (state[0] + 1, b)
    elif n and y:
        state = state[1] + 0, state[0] > 2
    return state, (low, high, order, b and x > y, n or 7, x or y)


def optional(state: Any, x: Any, n: Any) -> Any:
    found = None
    if n > 0:
        found = x / n
    again = found if n > 1 else None
    return state + (0 if found is None else 1), (found, again, None if again is None else again * 2.0)


def functions(state: Any, x: Any, n: Any) -> Any:
    state = state * HALF + math.sqrt(x) if x > 0 else state - math.fabs(x) * math.pi
    return state, (
        math.exp(x),
        math.log(x),
        math.floor(x),
        math.ceil(x),
        int(x),
        float(n) + OFFSET,
        math.isnan(x) or math.isinf(x),
        math.copysign(x, n),
        bool(n),
    )


def early(state: Any, x: Any, n: Any) -> Any:
    if n < 0:
        return (0.0, state[1], state[2]), (False, state[1])
    best, count, up = state
    if x > best:
        best, up = x, True
    elif x < best - 1.0:
        up = False
    count += 1
    return (best, count, up), (up, count**2)


def starts_whole(state: Any, x: Any) -> Any:
    return state + x, state


def settles_late(state: Any, x: Any, n: Any) -> Any:
    if n == 2:
        return 0, state
    return x if n > 2 else state, -state


def outgrows(state: Any, n: Any) -> Any:
    return state * 2 + n, min(state % 1_000, 7)


def swaps(state: Any, x: Any, y: Any) -> Any:
    a, b = state
    a, b = b, a + x
    (a, b), c = (b, a), y
    return (a, b), a - b if c > 0.0 else b - a


FLOAT, INT, BOOL = "float64", "int64", "bool"
STEPS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "vwap": (vwap, (0.0, 0), (FLOAT,)),
    "whole": (whole, 1, (INT,) * 6),
    "real": (real, 0.0, (FLOAT,) * 6),
    "mixed": (mixed, 0, (FLOAT, FLOAT, FLOAT, BOOL, BOOL, BOOL, FLOAT)),
    "compared": (compared, (0, False), (FLOAT, FLOAT, BOOL, BOOL, INT, FLOAT)),
    "optional": (optional, 0, (FLOAT, FLOAT, FLOAT)),
    "functions": (functions, 1.0, (FLOAT, FLOAT, INT, INT, INT, FLOAT, BOOL, FLOAT, BOOL)),
    "early": (early, (0.0, 0, False), (BOOL, INT)),
    "starts_whole": (starts_whole, 0, (FLOAT,)),
    "settles_late": (settles_late, 0.0, (FLOAT,)),
    "outgrows": (outgrows, 1, ("int8",)),
    "swaps": (swaps, (0.0, 1.0), (FLOAT,)),
}

"""Arithmetic on floats exactly as Python has it, for functions of the user's that are compiled.

The algorithms are those of CPython's ``float_divmod`` and ``float_rem`` (Objects/floatobject.c); C's
``fmod`` is exact, so the results are the same to the bit.
"""

from __future__ import annotations

import math

import numpy as np

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import F64


@inline
def float_modulo(a: F64, b: F64) -> F64:
    """``a % b`` of finite floats, `b` not 0.

    >>> float(float_modulo(-7.5, 2.0)), -7.5 % 2.0
    (0.5, 0.5)
    """
    rest = np.fmod(a, b)
    if rest != 0.0:
        if (b < 0.0) != (rest < 0.0):
            rest += b
    else:
        rest = math.copysign(0.0, b)
    return rest


@inline
def float_floor_divide(a: F64, b: F64) -> F64:
    """``a // b`` of finite floats, `b` not 0.

    >>> float(float_floor_divide(-7.5, 2.0)), -7.5 // 2.0
    (-4.0, -4.0)
    """
    rest = np.fmod(a, b)
    quotient = (a - rest) / b
    if rest != 0.0 and (b < 0.0) != (rest < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return math.copysign(0.0, a / b)
    floor = float(math.floor(quotient)) if abs(quotient) < 4503599627370496.0 else quotient
    return floor + 1.0 if quotient - floor > 0.5 else floor

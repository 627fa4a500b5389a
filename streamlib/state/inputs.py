"""The inputs of a batch, as the fused kernels read them: addresses in the call block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.columns import Product, lane, plain_words, word_column
from streamlib.state import layout

Factors = dict[int, tuple[str, str]]
"""Of inputs that come as two columns: how the words of both are read."""


def put_inputs(
    plan: AccumulatorPlan,
    inputs: Sequence[pa.Array | Product],
    call: npt.NDArray[np.int64],
    nullable: list[bool],
    kept: list[Any],
) -> Factors:
    """Writes where the inputs' words are.

    Notes in `nullable` which have nulls, and in `kept` who owns memory that is not of the inputs.
    """
    factors: Factors = {}
    for index, column in enumerate(inputs):
        if not plan.reads_words[index]:
            continue
        at = layout.CALL_INPUTS + layout.INPUT_WORDS * index
        if isinstance(column, Product):
            left, right = column
            factor = plain_words(right)
            if factor is None:  # of fewer bits
                other = word_column(right)
                kept.append(other)
                factor = other.values
            call[at + 3] = factor
            factors[index] = (lane(left.type), lane(right.type))
            column = left
        plain = plain_words(column)
        if plain is not None:
            call[at] = plain
            call[at + 1] = 0
            continue
        words = word_column(column)
        kept.append(words)
        call[at] = words.values
        call[at + 1] = words.validity
        call[at + 2] = words.bit
        if words.validity:
            nullable[index] = True
    return factors

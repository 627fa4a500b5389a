"""The inputs of a batch, as the fused kernels read them: addresses in the call block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.columns import Product, lane, word_column
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
    """Writes where the inputs' words are; notes in `nullable` which have nulls, and in `kept` who owns the memory."""
    factors: Factors = {}
    for index, column in enumerate(inputs):
        if not plan.reads_words[index]:
            continue
        at = layout.CALL_INPUTS + layout.INPUT_WORDS * index
        if isinstance(column, Product):
            other = word_column(column.right)
            kept.append(other)
            call[at + 3] = other.values
            factors[index] = (lane(column.left.type), lane(column.right.type))
            column = column.left
        words = word_column(column)
        kept.append(words)
        call[at] = words.values
        call[at + 1] = words.validity
        call[at + 2] = words.bit
        if words.validity:
            nullable[index] = True
    return factors

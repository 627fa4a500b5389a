"""What an aggregate is: a rule that turns the rows of one key and window into one value.

An aggregate (`Sum`) is built from accumulators (a float sum in two doubles, an integer sum in 128
bits, see `streamlib.aggregates.accumulators`). Accumulators are the state; two aggregates over the
same input share equal accumulators. The classes here only choose accumulators, name the result
type and finish; no row passes through them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from streamlib.errors import TypeMismatchError

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished
    from streamlib.aggregates.plan import Wanted


class Aggregate(ABC):
    """One number (or value) per key and window. Implementations are frozen dataclasses without input.

    One over several columns has a struct of them as its input.
    """

    name: str
    """As it is spelt in an expression: ``sum`` for ``col("x").sum()``."""
    passes_nulls: ClassVar[bool] = True
    """Whether a null input is as good as no row. If not, `among` makes an aggregate that knows a filter."""

    reads_chunks: ClassVar[bool] = False
    """Whether `finish` takes what is collected as `Finished.parts`, and not as one column."""

    def arguments(self) -> str:
        """What stands between the parentheses when it is written."""
        return ""

    def among(self) -> Aggregate:
        """The same over a struct of one field, null in the rows that a filter leaves out."""
        raise NotImplementedError(f"{self.name}() passes over nulls, so a filter makes nulls")

    @abstractmethod
    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        """The type of the result over an input column of `input_type` (None: no input, as in `count()`).

        Raises:
            TypeMismatchError: the aggregate does not work on that type.
        """

    @abstractmethod
    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        """The state it needs besides the row count, for an input that `result_type` accepts.

        Accumulators over the input or over columns made of it, and what is collected of it.

        Args:
            ordered: rows carry `order`, which decides ties in event time.
        """

    @abstractmethod
    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        """The results, one per key, of type `result_type(input_type)`.

        Args:
            state: the words of the accumulators, and the counts.

        Raises:
            DataError: an integer sum that does not fit its result type.
        """


def refuse(
    name: str, input_type: pa.DataType | None, expected: str, hint: str | None = None
) -> TypeMismatchError:
    """The error for an aggregate that does not work on `input_type`."""
    if input_type is None:
        return TypeMismatchError(f"{name}() needs a column", expected=expected, got="no column")
    return TypeMismatchError(
        f"{name}() does not work on {input_type}", expected=expected, got=str(input_type), hint=hint
    )

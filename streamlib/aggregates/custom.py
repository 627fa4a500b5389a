"""An aggregate of the user's own: its `init, add, merge, finish` on arrays, as an aggregate of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.base import Aggregate, refuse
from streamlib.errors import BuildError, StreamlibError, UserFunctionError

if TYPE_CHECKING:
    from streamlib.aggregates.accumulators import Finished, StateColumns
    from streamlib.aggregates.plan import Wanted

State = Mapping[str, npt.NDArray[Any]]


@runtime_checkable
class Foldable(Protocol):
    """What `streamlib.contracts.Aggregate` asks for."""

    def result_type(self, *inputs: pa.DataType) -> pa.DataType:
        """The type of the result."""

    def init(self) -> Mapping[str, Any]:
        """The state of a key without rows."""

    def add(self, state: State, slots: npt.NDArray[np.int64], *values: pa.Array) -> None:
        """Adds rows."""

    def merge(self, state: State, slots: npt.NDArray[np.int64], other: State) -> None:
        """Adds states."""

    def finish(self, state: State) -> pa.Array:
        """The results."""


@dataclass(frozen=True, slots=True)
class Custom(Aggregate):
    """An aggregate of the user's own over a struct of its columns.

    Attributes:
        own: with the five methods of `streamlib.contracts.Aggregate`.
    """

    name = "agg"
    own: Foldable

    def __post_init__(self) -> None:
        if not isinstance(self.own, Foldable) or isinstance(self.own, type):  # type: ignore[redundant-expr]
            missing = [
                m for m in ("result_type", "init", "add", "merge", "finish") if not hasattr(self.own, m)
            ]
            raise BuildError(
                "the first argument of agg() is no aggregate",
                expected="an object with result_type, init, add, merge and finish",
                got=repr(self.own),
                hint=f"it has no {', '.join(missing)}" if missing else "make one: agg(MyAggregate(), ...)",
            )

    def arguments(self) -> str:
        return f"{type(self.own).__name__}()"

    def result_type(self, input_type: pa.DataType | None) -> pa.DataType:
        if input_type is None:
            raise refuse(self.arguments(), None, "at least one column")
        self._check_state()
        kind = self._called("result_type", *(field.type for field in input_type))
        if not isinstance(kind, pa.DataType):
            raise BuildError(
                f"result_type() of {self.arguments()} is no Arrow type",
                expected="such as pa.float64()",
                got=repr(kind),
            )
        return kind

    def _check_state(self) -> None:
        """Raises BuildError for a state that is not made of numbers."""
        initial = self._called("init")
        wrong: object = initial
        if isinstance(initial, Mapping) and initial:
            arrays = {name: np.asarray(value) for name, value in initial.items()}
            bad = [n for n, a in arrays.items() if a.dtype.kind not in "biuf" or a.ndim > 1 or a.size == 0]
            if not bad:
                return
            wrong = {name: initial[name] for name in bad}
        raise BuildError(
            f"init() of {self.arguments()} is wrong",
            expected='a dict of numbers or vectors of numbers, such as {"sum": 0.0, "n": 0}',
            got=repr(wrong),
        )

    def accumulators(self, input_type: pa.DataType | None, ordered: bool = False) -> Sequence[Wanted]:
        return (self._state(),)

    def finish(self, state: Finished, input_type: pa.DataType | None) -> pa.Array:
        from streamlib.aggregates.accumulators import columns_of

        kept = state.values[self._state()]
        kind = self.result_type(input_type)
        result = self._called("finish", columns_of(kept))
        if not isinstance(result, pa.Array):
            result = pa.array(result)
        if result.type != kind or len(result) != len(kept):
            raise UserFunctionError(
                f"finish() of {self.arguments()} gave something else than it said",
                expected=f"{len(kept)} values of {kind}",
                got=f"{len(result)} values of {result.type}",
            )
        return result

    def _state(self) -> StateColumns:
        from streamlib.aggregates.accumulators import StateColumns

        return StateColumns(aggregate=self)

    def try_rows(self, column: pa.StructArray) -> None:
        """Adds rows to a state of their own, to see whether `add` takes them.

        Raises:
            UserFunctionError: it does not.
        """
        _, values = self._state().chosen(column)
        if len(values):
            state = {name: value[np.newaxis].copy() for name, value in self._state().initial().items()}
            self.add(state, np.zeros(len(values), dtype=np.int64), *values.flatten())

    # What `StateColumns` calls.

    def init(self) -> Mapping[str, Any]:
        """The state of a key without rows."""
        found: Mapping[str, Any] = self._called("init")
        return found

    def add(self, state: State, slots: npt.NDArray[np.int64], *values: pa.Array) -> None:
        """Adds rows."""
        self._called("add", state, slots, *values)

    def merge(self, state: State, slots: npt.NDArray[np.int64], other: State) -> None:
        """Adds states."""
        self._called("merge", state, slots, other)

    def _called(self, method: str, *arguments: Any) -> Any:
        """The result of one of the user's methods; what it raises names it."""
        try:
            return getattr(self.own, method)(*arguments)
        except StreamlibError:
            raise
        except Exception as error:
            raise UserFunctionError(
                f"{method}() of {self.arguments()} raised {type(error).__name__}: {error}"
            ) from error

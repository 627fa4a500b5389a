"""What functions with a state for each key share: keys that are let go of, and an object that is closed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from streamlib.aggregates import AccumulatorPlan
from streamlib.contracts import Output
from streamlib.graph import BuildContext
from streamlib.operators.functions.callee import Made
from streamlib.operators.ordered import OrderedNode, OrderedOperator
from streamlib.state import SlotTable
from streamlib.state.steps.array_states import ArrayStates
from streamlib.state.steps.key_lives import KeyLives
from streamlib.state.steps.step_states import StepStates


class KeyedStates(OrderedOperator):
    """Rows in their order, and a state for each key.

    Args:
        states: by slot of the key.
    """

    def __init__(self, node: OrderedNode, context: BuildContext, states: StepStates | ArrayStates) -> None:
        super().__init__(node, context)
        self.refuse = context.refuse
        self.keys = list(node.inputs[0].keys)
        self.table = SlotTable(node.key_fields, AccumulatorPlan([]))
        self.lives = KeyLives(node.ttl)
        self._states = states

    @property
    @abstractmethod
    def called(self) -> Made:
        """The function of this worker."""

    def tidy(self, before: int) -> None:
        """Lets go of keys that had no row for long."""
        due = self.lives.due(before, self.table)
        if not len(due):
            return
        self._states.forget(due)
        live = self.table.free(due)
        if live is not None:
            self._states.renumber(live)
            self.lives.renumber(live)

    def on_end(self) -> Iterator[Output]:
        """Takes all rows; an object that was built is closed by the thread that called it."""
        yield from super().on_end()
        self.called.close()

    def close(self) -> None:
        """Closes what was built, where the run ended before the input."""
        self.called.close()

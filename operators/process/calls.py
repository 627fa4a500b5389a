"""The calls of a processor's methods on one worker: what they raise, and calls that leave nothing behind.

Where rows may be refused, a call that fails is taken back: what it changed in states, set of timers and sent
out. So its row, or timer, may be left out as if it had never come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlib.contracts import Refusal
from streamlib.elements import Batch, format_time
from streamlib.errors import UserFunctionError
from streamlib.graph import BuildContext
from streamlib.operators.functions.brief import brief, brief_row
from streamlib.operators.process.emitted import Emitted
from streamlib.operators.process.methods import Method
from streamlib.operators.process.node import ProcessNode
from streamlib.operators.process.run_context import RunContext, SharedContext
from streamlib.operators.process.saved import refused_rows
from streamlib.operators.process.states import NO_KEY, Turn
from streamlib.operators.process.timers import KeyState

Place = tuple[Batch, int, int]
"""A row: its batch, its number there, and its input."""


class Calls:
    """The object of one worker.

    Args:
        node: the step.
        context: of the worker.
        turn: of the states of `bound`.
        bound: the class to build.
        outputs: where rows are sent out.
        run: what methods are given for a key.
        for_all: what they are given for a row of a broadcast input.

    Attributes:
        made: the object; None before it was built.
        handlers: by input, the method that takes its rows.
        guards: whether calls may fail and the run goes on.
        retried: calls that were made again.
    """

    def __init__(
        self,
        node: ProcessNode,
        context: BuildContext,
        turn: Turn,
        bound: type,
        outputs: list[Emitted],
        run: RunContext,
        for_all: SharedContext,
    ) -> None:
        self.node, self.turn, self.bound, self.outputs = node, turn, bound, outputs
        self.context, self.for_all = run, for_all
        self._waits = [] if context.retry is None else context.retry.waits()
        self._pause = context.pause
        self._refuses = context.refuse
        self._worker = context.worker
        self.guards = self._refuses or bool(self._waits)
        self._refusals: list[tuple[Batch, UserFunctionError]] = []
        self.retried = 0
        self.made: Any = None
        self._own: dict[str, Any] = {}
        self.handlers: list[Callable[..., Any]] = []

    def build(self) -> None:
        """Builds the object, on the thread that calls it."""
        if self.made is not None:
            return
        processor = self.node.processor
        self.made = processor.make(self.bound)
        self._own = dict(vars(self.made))
        for method in processor.methods:
            call = getattr(self.made, method.name)
            self.handlers.append(call if method.make is None else _made_of(call, method.make))

    def close(self) -> None:
        """Closes the object."""
        made, self.made, self.handlers = self.made, None, []
        if made is not None:
            self.node.processor.close(made)

    def refused(self) -> list[Refusal]:
        """The rows that were refused since the last time."""
        found, self._refusals = self._refusals, []
        return [Refusal(batch, [error]) for batch, error in found]

    def guarded(
        self,
        call: Callable[[], Any],
        state: KeyState | None,
        place: Place | None,
        method: Method,
        given: Any,
    ) -> bool:
        """Makes a call, again as often as the policy says; whether it went well. A refusal waits for `refused`."""
        time = self.for_all.now if state is None else self.context.now
        error = self._attempt(call, state)
        for wait in self._waits:
            if error is None or self._pause(wait):
                break
            self.retried += 1
            error = self._attempt(call, state)
        if error is None:
            return True
        failed = self._explained(method, error, given, None if state is None else state.key, time)
        if not self._refuses:
            raise failed from error
        if state is not None or not self._worker:  # of a row that all workers have, the first one says so
            self._refusals.append((refused_rows(self.node, place, state, time), failed))
        return False

    def _attempt(self, call: Callable[[], Any], state: KeyState | None) -> Exception | None:
        """Makes a call; what it raised, when everything is again as it was."""
        turn, context = self.turn, self.context
        turn.cells = NO_KEY if state is None else state.cells
        turn.may_share = state is None
        cells = turn.shared if state is None else state.cells
        kept, timers = dict(cells), None if state is None else state.kept_timers()
        rows = [(output, len(output.times)) for output in self.outputs]
        emitted = context.emitted
        turn.saves = {}
        try:
            result = call()
            if result is not None:
                raise TypeError(f"it returned {brief(result)}: rows are sent out by ctx.emit(row)")
        except Exception as error:
            for restore in turn.saves.values():
                restore()
            restored = {
                name: cells.get(name) if name in turn.saves else value for name, value in kept.items()
            }
            cells.clear()
            cells.update(restored)
            if state is not None:
                state.timers = timers
            for output, count in rows:
                output.cut(count)
            context.emitted = emitted
            return error
        finally:
            turn.saves = None
            turn.may_share = False
        return None

    # Errors.

    def failed(
        self, side: int | None, error: Exception, given: Any, key: Any, time: int
    ) -> UserFunctionError:
        processor = self.node.processor
        method = processor.on_timer if side is None else processor.methods[side]
        assert method is not None
        return self._explained(method, error, given, key, time)

    def _explained(
        self, method: Method, error: Exception, given: Any, key: Any, time: int
    ) -> UserFunctionError:
        problem, expected, got, hint = method.failed(error)
        shown = brief_row(given) if isinstance(given, dict) else f"timer {given!r}"
        of_key = "" if key is None and not isinstance(given, str) else f"key {brief(key)}, "
        return UserFunctionError(
            problem,
            where=f"{of_key}at {format_time(time)}",
            expected=expected,
            got=f"{got}, for {shown}",
            hint=hint,
        )

    def returned(self, side: int | None, result: Any, given: Any, key: Any, time: int) -> UserFunctionError:
        error = TypeError(f"it returned {brief(result)}")
        found = self.failed(side, error, given, key, time)
        found.problem = found.problem.replace("raised TypeError", "returned something, and nobody takes it")
        found.expected = "rows that are sent out by ctx.emit(row)"
        return found

    def refuse_own_attributes(self) -> None:
        """Raises where the object was given attributes: they would be the same for all keys of this worker."""
        found = vars(self.made)
        for name, value in found.items():
            if not name.startswith("_") and self._own.get(name, self) is not value:
                raise UserFunctionError(
                    f"{self.node.processor.name} sets self.{name}, which is no state: it would be the same for all "
                    "keys of a worker, and gone after a restart",
                    expected=f"a state that the class declares, such as {name} = sl.ValueState(int, 0)",
                    got=f"self.{name} = {brief(value)}",
                    hint=f"name it self._{name} if it is no part of the answer, such as a cache",
                )


def _made_of(call: Callable[..., Any], make: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """The method, given a dataclass made of the row."""
    return lambda row, context: call(make(row), context)

"""What runs of `process` on one worker: rows and timers in their order, a call for each.

A call that fails ends the run. Where rows may be refused instead, it leaves nothing behind: what it changed
in states, set of timers and sent out is taken back, and the row leaves as a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from streamlib.contracts import Operator, Output, State, Tagged
from streamlib.elements import MIN_TIME, Batch, add_time, format_time
from streamlib.errors import UserFunctionError
from streamlib.graph import BuildContext
from streamlib.operators.functions.brief import brief
from streamlib.operators.process.calls import Calls
from streamlib.operators.process.emitted import Emitted
from streamlib.operators.process.node import ProcessNode
from streamlib.operators.process.run_context import RunContext, SharedContext
from streamlib.operators.process.saved import SavedKeys
from streamlib.operators.process.states import NO_KEY, Turn
from streamlib.operators.process.timers import Forgetting, KeyState, Timers
from streamlib.operators.process.waiting import Released, Waiting

KEYS_SWEPT_MIN = 1024
"""With fewer keys nobody looks for those that hold nothing."""
FIRED_AT_ONCE_MAX = 10_000
"""So many timers of a key may come for one time, before it is taken for one that sets itself for ever."""
FIRED_AT_END_MAX = 100_000
"""So many timers of a key may come behind the end of the input."""

Steps = Generator[Output, None, None]


class ProcessOperator(Operator):
    """The keys of one worker, and the object that is called for them."""

    def __init__(self, node: ProcessNode, context: BuildContext) -> None:
        self.node = node
        self.worker = context.worker
        self.batch_rows = context.batch_rows
        self.waiting = Waiting(node, context)
        self.turn = Turn()
        bound, states = node.processor.bind(self.turn)
        self.saved = SavedKeys(node, states)
        self.keys: dict[Any, KeyState] = {}
        self.timers = Timers()
        self.forgetting = None if node.ttl is None else Forgetting(node.ttl)
        self.outputs: dict[str | None, Emitted] = {None: Emitted(node.given)}
        self.outputs.update((name, Emitted(schema)) for name, schema in node.outputs.items())
        zone = _zone_of(node)
        self.context = RunContext(self.outputs, self.timers, zone, node.processor.on_timer is not None)
        self.for_all = SharedContext(zone)
        outputs = list(self.outputs.values())
        self.calls = Calls(node, context, self.turn, bound, outputs, self.context, self.for_all)
        self.reached = MIN_TIME
        self.sweep_at = KEYS_SWEPT_MIN
        self.counts: Counter[str] = Counter()
        self.fired_last: tuple[int, KeyState | None] = (MIN_TIME, None)
        self.fired_at_once = 0
        self.fired_at_end: Counter[KeyState] = Counter()

    # Rows in.

    def on_batch(self, batch: Batch, side: int = 0) -> Iterator[Output]:
        """Has rows wait; yields those that are late, if somebody reads them."""
        late = self.waiting.add(batch, side)
        if late is not None:
            yield late

    def check(self, batch: Batch, side: int = 0) -> None:
        """Raises for a row of the first input that has no Python values; whole calls are tried later."""
        if side == 0:
            self.waiting.check(batch, side)

    # Rows and timers in their order.

    def forward(self, watermark: int) -> int:
        """W - L."""
        return add_time(watermark, -self.node.allowed_lateness)

    def on_watermark(self, time: int) -> Iterator[Output]:
        """Calls the methods for what nothing can come before any more."""
        before = self.forward(time)
        yield from self._advance(before)
        self.reached = max(self.reached, before)
        self._forget(before)

    def on_end(self) -> Iterator[Output]:
        """Calls the methods for all rows, and for the timers that are left, and closes the object."""
        yield from self._advance(None)
        self.calls.close()

    def _advance(self, before: int | None) -> Steps:
        for rows in self.waiting.release(before):
            self.calls.build()
            yield from self._guarded_rows(rows) if self.calls.guards else self._rows(rows)
            yield from self._flush()
            self.calls.refuse_own_attributes()
        if self.timers.heap:
            self.calls.build()
            yield from self._fire(before)
            yield from self._flush()
            self.calls.refuse_own_attributes()

    def _rows(self, rows: Released) -> Steps:
        """One call for each row; the first that fails ends the run."""
        keys, turn, context = self.keys, self.turn, self.context
        heap, pop_timer = self.timers.heap, self.timers.pop
        handlers, ttl, forgetting = self.calls.handlers, self.node.ttl, self.forgetting
        keyed, limit = self.node.keyed, self.batch_rows
        for time, key, row, side in rows.turns():
            if heap and heap[0][0] < time:
                while (due := pop_timer(time)) is not None:
                    self._fire_one(*due, False)
                    if context.emitted >= limit:
                        yield from self._flush()
            if side >= keyed:
                self._share(time, row, side)
                continue
            state = keys.get(key)
            if state is None:
                state = keys[key] = KeyState(key)
            elif ttl is not None and time > state.last + ttl:
                self._begin_anew(state)
            state.last = time
            if forgetting is not None and not state.filed:
                forgetting.file(state)
            turn.cells = state.cells
            context.key = key
            context.state = state
            context.now = time
            try:
                result = handlers[side](row, context)
            except Exception as error:
                raise self.calls.failed(side, error, row, key, time) from error
            if result is not None:
                raise self.calls.returned(side, result, row, key, time)
            if context.emitted >= limit:
                yield from self._flush()

    def _share(self, time: int, row: dict[str, Any], side: int) -> None:
        """Calls the method of a broadcast input."""
        self.for_all.now = time
        self.turn.cells = NO_KEY
        self.turn.may_share = True
        try:
            self.calls.handlers[side](row, self.for_all)
        except Exception as error:
            raise self.calls.failed(side, error, row, None, time) from error
        finally:
            self.turn.may_share = False

    def _fire(self, before: int | None) -> Steps:
        """Calls `on_timer` for the timers that are due before a time, ns; for all when None."""
        while (due := self.timers.pop(before)) is not None:
            if self.calls.guards:
                self._fire_guarded(*due, before is None)
            else:
                self._fire_one(*due, before is None)
            if self.context.emitted >= self.batch_rows:
                yield from self._flush()

    def _fire_one(self, time: int, name: str, state: KeyState, at_end: bool) -> None:
        if not self._is_due(time, state, at_end):
            return
        self.turn.cells = state.cells
        try:
            result = self.calls.made.on_timer(name, self.context)
        except Exception as error:
            raise self.calls.failed(None, error, name, state.key, time) from error
        if result is not None:
            raise self.calls.returned(None, result, name, state.key, time)

    def _fire_guarded(self, time: int, name: str, state: KeyState, at_end: bool) -> None:
        if self._is_due(time, state, at_end):
            method = self.node.processor.on_timer
            assert method is not None, "timers are set only where there is a method for them"
            self.calls.guarded(
                partial(self.calls.made.on_timer, name, self.context), state, None, method, name
            )

    def _is_due(self, time: int, state: KeyState, at_end: bool) -> bool:
        """Whether the key still lives at the time of its timer; then it is its turn."""
        ttl = self.node.ttl
        if ttl is not None and time > state.last + ttl:
            self.counts["timers_expired"] += 1
            self._begin_anew(state)
            return False
        self._refuse_endless(time, state, at_end)
        self._turn_of(state, time)
        return True

    def _turn_of(self, state: KeyState, time: int) -> None:
        context = self.context
        context.key, context.state, context.now = state.key, state, time

    def _flush(self) -> Steps:
        """What was sent out since the last time, and what was refused."""
        if self.context.emitted:
            self.context.emitted = 0
            for name, output in self.outputs.items():
                for batch in output.batches(self.batch_rows):
                    if name is None:
                        yield batch
                    else:
                        self.counts[f"rows_{name}"] += len(batch)
                        yield Tagged(name, batch)
        yield from self.calls.refused()

    # Calls that leave nothing behind when they fail.

    def _guarded_rows(self, rows: Released) -> Steps:
        """As `_rows`, where a call that fails is made again, or its row is refused."""
        at = dict.fromkeys(rows.batches, -1)
        for time, key, row, side in rows.turns():
            at[side] += 1
            if self.timers.heap and self.timers.heap[0][0] < time:
                yield from self._fire(time)
            place = (rows.batches[side], at[side], side)
            method = self.node.processor.methods[side]
            if side >= self.node.keyed:
                self.for_all.now = time
                call = partial(self.calls.handlers[side], row, self.for_all)
                self.calls.guarded(call, None, place, method, row)
                continue
            state = self.keys.get(key)
            if state is None:
                state = self.keys[key] = KeyState(key)
                state.last = time
            elif self.node.ttl is not None and time > state.last + self.node.ttl:
                self._begin_anew(state)
            last, state.last = state.last, time
            self._turn_of(state, time)
            call = partial(self.calls.handlers[side], row, self.context)
            if not self.calls.guarded(call, state, place, method, row):
                state.last = last
            if self.forgetting is not None and not state.filed:
                self.forgetting.file(state)
            if self.context.emitted >= self.batch_rows:
                yield from self._flush()

    def _refuse_endless(self, time: int, state: KeyState, at_end: bool) -> None:
        """Raises where a timer sets itself again for ever."""
        if self.fired_last == (time, state):
            self.fired_at_once += 1
        else:
            self.fired_last, self.fired_at_once = (time, state), 1
        if at_end:
            self.fired_at_end[state] += 1
        name = f"{self.node.processor.name}.on_timer"
        problem = hint = None
        if self.fired_at_once > FIRED_AT_ONCE_MAX:
            problem = f"{name} was called {FIRED_AT_ONCE_MAX:,} times for one time of a key"
            hint = "a timer that sets itself again needs to set it for later"
        elif self.fired_at_end[state] > FIRED_AT_END_MAX:
            problem = (
                f"{name} was called {FIRED_AT_END_MAX:,} times for a key after the last row of the input"
            )
            hint = "ttl= ends timers that set themselves again: a key without rows for so long is forgotten"
        if problem is not None:
            where = f"key {brief(state.key)}, at {format_time(time)}"
            raise UserFunctionError(problem, where=where, expected="timers that come to an end", hint=hint)

    # Keys.

    def _begin_anew(self, state: KeyState) -> None:
        """The key had no row for long: nothing is left of it."""
        self.counts["timers_expired"] += len(state.pending())
        state.cells = {}
        state.timers = None

    def _forget(self, before: int) -> None:
        """Lets go of keys that had no row for long; now and then of those that hold nothing."""
        if self.forgetting is not None:
            for state in self.forgetting.due(before):
                if self.keys.get(state.key) is state:
                    self._begin_anew(state)
                    del self.keys[state.key]
        if len(self.keys) > self.sweep_at:
            self.keys = {key: state for key, state in self.keys.items() if not self.saved.is_empty(state)}
            self.sweep_at = max(KEYS_SWEPT_MIN, 2 * len(self.keys))

    # Barriers.

    def snapshot(self) -> State:
        """The rows that wait, the keys with their states and timers, and what all keys share."""
        found = {**self.waiting.snapshot(self.reached), "keys": self.saved.keys(self.keys.values())}
        if self.node.broadcast:
            found["shared"] = self.saved.shared(self.turn.shared, self.reached, self.worker)
        return found

    def restore(self, state: State) -> None:
        """Takes in this worker's keys and waiting rows."""
        for name, table in state.items():
            if name.startswith("waiting_"):
                self.waiting.restore(name.removeprefix("waiting_"), table)
            elif name == "shared":
                copy = self.saved.take_shared(table, self.turn.shared)
                self.reached = self.reached if copy is None else copy
            else:
                for key in self.saved.take(table, self.timers):
                    self.keys[key.key] = key
                    if self.forgetting is not None:
                        self.forgetting.file(key)

    def close(self) -> None:
        """Closes the object, where the run ended before the input."""
        self.calls.close()

    # What it says of itself.

    def open_windows(self) -> tuple[int, int | None]:
        """1 while rows or timers wait: their results are not out yet."""
        low = min([self.waiting.low, *(at for at, *_ in self.timers.heap[:1])])
        return (1, low) if self.waiting.rows or self.timers.heap else (0, None)

    def open_rows(self) -> int:
        """Rows that wait."""
        return self.waiting.rows

    def counters(self) -> dict[str, int]:
        """Late rows, by how much the latest missed its turn, ns; rows sent to side outputs; timers that a ttl ended."""
        found = {
            name: count for name, count in {**self.counts, "retried": self.calls.retried}.items() if count
        }
        if sum(self.waiting.late):
            found["late"] = sum(self.waiting.late)
            found["late_by_max"] = self.waiting.late_by_max
            for side, count in enumerate(self.waiting.late):
                if side and count:
                    found[self.node.late_tag(side)] = count
        return found


def _zone_of(node: ProcessNode) -> str | None:
    """The time zone of the times of the first input."""
    source = node.inputs[0]
    kind = None if source.time is None else source.schema.field(source.time).type
    return kind.tz if kind is not None and pa.types.is_timestamp(kind) else None

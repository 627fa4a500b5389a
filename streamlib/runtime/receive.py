"""What a step does with each kind of element: progress at its inputs, alignment, and the operator's calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from streamlib.contracts import Operator, Output
from streamlib.elements import (
    MIN_TIME,
    Active,
    Barrier,
    Batch,
    BlockEnd,
    Element,
    End,
    Handed,
    Idle,
    Watermark,
)
from streamlib.eventtime import InputProgress

if TYPE_CHECKING:
    from streamlib.runtime.worker import Worker

Outgoing = Output | Element


class Receiver:
    """One step on one worker, seen from its inputs.

    Args:
        step: its index.
        worker: who drives it.
        inputs: how many inputs it has; none for a source.
    """

    __slots__ = (
        "_acted",
        "_active",
        "_active_mark",
        "_barrier",
        "_higher",
        "_met",
        "_reached",
        "_step",
        "_worker",
        "ended",
        "forwarded",
        "held",
        "progress",
        "sides",
    )

    def __init__(self, step: int, worker: Worker, inputs: int) -> None:
        self._step = step
        self._worker = worker
        self.progress = InputProgress(inputs)
        self.sides = [incoming.side for incoming in worker.run.incoming[step]]
        self.forwarded = MIN_TIME
        """The last watermark sent on, ns. It never falls."""
        self.ended = False
        self.held = False
        """Whether a watermark has come that is not acted on yet."""
        self._higher = False  # whether it is one of all inputs
        self._acted = MIN_TIME  # the last one that was acted on
        self._barrier = 0
        self._met: set[int] = set()
        self._reached: dict[int, int] = {}  # by side, for an operator that goes by the sides
        self._active: set[int] = set()
        self._active_mark = MIN_TIME

    def held_back(self, number: int) -> bool:
        """Whether input `number` has delivered the barrier that other inputs still owe."""
        return number in self._met

    def receive(self, number: int, element: Element) -> Iterable[Outgoing]:
        """What the step yields for an element on input `number`."""
        if isinstance(element, Batch):
            worker, step = self._worker, self._step
            worker.rows_in[step] += element.rows.num_rows
            refuser = worker.refusers.get(step)
            if refuser is not None:
                return refuser.on_batch(worker.operators[step], element, self.sides[number])
            return worker.operators[step].on_batch(element, self.sides[number])
        if isinstance(element, Watermark):
            return self._watermark(number, element.time)
        if isinstance(element, BlockEnd):
            return self._block_end(element)
        if isinstance(element, Handed):
            self._worker.rows_in[self._step] += element.rows
            return self._worker.operators[self._step].on_handed(element)
        if isinstance(element, Barrier):
            return self._barrier_met(number, element.checkpoint)
        if isinstance(element, Idle):
            return self._idle(number)
        if isinstance(element, Active):
            return self._counted(number, element)
        assert isinstance(element, End)
        return self._end(number)

    def _watermark(self, number: int, time: int) -> Iterator[Outgoing]:
        self._higher |= self.progress.advance(number, time)
        if self._worker.may_hold(self._step):
            self.held = True
        else:
            yield from self.release()

    def release(self) -> Iterator[Outgoing]:
        """What the watermarks lead to that came and were not acted on."""
        self.held = False
        if self._sides_rose(self._higher):
            self._worker.pace.begin(self._step)
            yield from self._rose()
            self._worker.pace.end(self._step)

    def woken(self) -> Iterator[Outgoing]:
        """What a step that works between the calls has for the next one."""
        operator = self._worker.operators[self._step]
        yield from operator.on_wake()
        yield from self._forwarded(operator)

    def _sides_rose(self, rose: bool) -> bool:
        """Tells an operator that goes by its sides how far they have come; whether one of them rose, or all."""
        operator = self._worker.operators[self._step]
        if type(operator).on_side_watermark is Operator.on_side_watermark:
            return rose
        for side in set(self.sides):
            reached = self.progress.of_inputs(n for n, other in enumerate(self.sides) if other == side)
            if reached > self._reached.get(side, MIN_TIME):
                self._reached[side] = reached
                operator.on_side_watermark(reached, side)
                rose = True
        return rose

    def _rose(self) -> Iterator[Outgoing]:
        self.held = self._higher = False
        self._acted = self.progress.watermark
        operator = self._worker.operators[self._step]
        yield from operator.on_watermark(self._acted)
        yield from self._forwarded(operator)

    def _forwarded(self, operator: Operator) -> Iterator[Outgoing]:
        onward = operator.forward(self._acted)
        if onward > self.forwarded:
            self.forwarded = onward
            yield Watermark(onward)

    def _block_end(self, element: BlockEnd) -> Iterator[Outgoing]:
        worker = self._worker
        yield from worker.operators[self._step].on_block_end(element)
        clock = worker.run.clocks.get(self._step)
        if clock is not None and worker.pace.due(self._step):
            time = clock.watermark()
            if time > self.forwarded:
                yield from self.send_progress(time)

    def send_progress(self, time: int) -> Iterator[Outgoing]:
        """An `event_time` step sends on what its clock has come to."""
        self._worker.pace.begin(self._step)
        self.forwarded = time
        yield Watermark(time)
        self._worker.pace.end(self._step)

    def block_end(self, split: int, block: int, rows: int) -> BlockEnd:
        """The end of a block, for a source step."""
        self._worker.rows_in[self._step] += rows
        return BlockEnd(split, block, rows)

    def _idle(self, number: int) -> Iterator[Outgoing]:
        if self._sides_rose(self.progress.idle(number)):
            yield from self._rose()
        if self.progress.all_idle:
            yield from self._gone_idle()

    def _gone_idle(self) -> Iterator[Outgoing]:
        """Leaves the edge out when it owes nothing.

        What was only gathered goes out first. A step that still holds windows is waited for: their
        results would lie before the watermark of the others.
        """
        if self.held:
            yield from self.release()
        operator = self._worker.operators[self._step]
        yield from operator.on_barrier()
        if operator.open_windows()[0] == 0:
            yield Idle()

    def announce(self, element: Active) -> Iterator[Outgoing]:
        """An `event_time` step announces a split that enters."""
        yield Active(element.entry, self.forwarded)
        if not self._worker.steps[self._step].edges:
            self._worker.run.answer(element.entry, self.forwarded)

    def _counted(self, number: int, element: Active) -> Iterator[Outgoing]:
        run, worker = self._worker.run, self._worker
        self._active_mark = max(self._active_mark, element.mark, self.progress.active(number))
        self._active.add(number)
        entry = run.entry
        assert entry is not None and entry.number == element.entry
        below = run.plan.downstream(entry.clock_step)
        due = {n for n, incoming in enumerate(run.incoming[self._step]) if incoming.feeder in below}
        if self._active >= due:
            mark, self._active_mark = self._active_mark, MIN_TIME
            self._active.clear()
            if worker.steps[self._step].edges:
                yield Active(element.entry, mark)
            else:
                run.answer(element.entry, mark)

    def _barrier_met(self, number: int, checkpoint: int) -> Iterator[Outgoing]:
        self._barrier = checkpoint
        self._met.add(number)
        yield from self._aligned()

    def _aligned(self) -> Iterator[Outgoing]:
        """Sends the barrier on when all inputs have delivered it; an ended one counts."""
        due = set(range(len(self.sides))) - self.progress.ended_inputs()
        if self._met and self._met >= due:
            if self.held:
                yield from self.release()
            number = self._barrier
            yield from self._worker.operators[self._step].on_barrier()
            self._met.clear()
            self._worker.barrier_at(self._step, number)
            yield Barrier(number)

    def _end(self, number: int) -> Iterator[Outgoing]:
        rose = self._sides_rose(self.progress.end(number))
        if self.progress.all_ended:
            self.ended, self.held = True, False
            yield from self._worker.operators[self._step].on_end()
            yield End()
            self._worker.step_ended()
            return
        if rose:
            yield from self._rose()
        if self._met:
            yield from self._aligned()
        if self.progress.all_idle:
            yield from self._gone_idle()

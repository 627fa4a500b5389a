"""A worker: runs every step of the plan on its own share, one stack of steps a stage.

Operators yield and never call each other. A frame is a step that is yielding; what it yields is
delivered before it is asked for more. A batch that a channel does not admit, or a step that must
wait its turn, parks the stack of its stage; the worker goes on nearest to the sinks, with any stage
that is not upstream of a parked one. Sources are read only when nothing is parked. So a worker never
blocks while it holds what another one needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from streamlib.contracts import Operator, Refusal, State, Tagged, Wait
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
)
from streamlib.errors import StreamlibError
from streamlib.exchange import Channel, Partitioner
from streamlib.graph import Edge, Step
from streamlib.runtime.between import Between
from streamlib.runtime.decode import decoded
from streamlib.runtime.frames import Frame, Status, stage_heads, upstream_stages
from streamlib.runtime.pace import Pace, may_wait
from streamlib.runtime.receive import Receiver
from streamlib.runtime.refuse import Refuser
from streamlib.runtime.run import Checkpoint, SharedRun
from streamlib.runtime.splits import Claim, ReadError

__all__ = ["Status", "Worker"]


class Worker:
    """One worker of a run.

    Args:
        index: from 0.
        run: what it shares with the others.
    """

    def __init__(self, index: int, run: SharedRun) -> None:
        self.index = index
        self.run = run
        self.steps = run.plan.steps
        self.operators: list[Operator] = []
        self.refusers: dict[int, Refuser] = {}
        self.rows_in = [0] * len(self.steps)
        self.rows_out = [0] * len(self.steps)
        self.done = False
        self._stages = 1 + max(step.stage for step in self.steps)
        self._stacks: list[list[Frame]] = [[] for _ in range(self._stages)]
        self._ready: list[Callable[[], bool] | None] = [None] * self._stages
        self._heads = stage_heads(run, self._stages)
        self._upstream = upstream_stages(run, self._heads)
        self._turn = [0] * self._stages
        self._input_of: dict[tuple[int, int, int, str | None, int | None], int] = {}
        self._injected = 0
        self._entry_sent = 0
        self.pace = Pace(0, run.options.now_ns, [])
        self._holding = False
        self._idle_sent: set[int] = set()
        self._states: dict[int, dict[int, State]] = {}
        self._reached: dict[int, dict[int, int]] = {}
        self._partitioners: dict[tuple[int, Edge], Partitioner] = {}
        self.between = Between(lambda: run.wake_up(index))
        self._receivers = [Receiver(step.index, self, len(run.incoming[step.index])) for step in self.steps]
        for step in self.steps:
            for number, incoming in enumerate(run.incoming[step.index]):
                edge = incoming.edge
                self._input_of[incoming.feeder, step.index, edge.side, edge.tag, incoming.sender] = number
        self._onward = [self._only_next(step) for step in self.steps]

    def _only_next(self, step: Step) -> tuple[int, int] | None:
        """The step, and its input, that gets all that `step` yields; None where it is not one here alone."""
        if len(step.edges) == 1:
            edge = step.edges[0]
            if not edge.channel and edge.keys is None and edge.tag is None:
                return edge.target, self._input_of[step.index, edge.target, edge.side, None, None]
        return None

    def open(self) -> None:
        """Builds the operators: sinks open their writers here."""
        for step in self.steps:
            try:
                self.operators.append(step.build(self.run.context(step, self.index)))
            except Exception as error:
                self._explain(error, step.index, None)
                raise
            if not step.on_error.fails:
                self.refusers[step.index] = Refuser(
                    step.node, step.on_error, step.name, step.dead_letters_read, self.run.pause
                )
            for edge in step.edges:
                if edge.keys is not None:
                    self._partitioners[step.index, edge] = Partitioner(
                        edge.keys, self.run.plan.workers, edge.everywhere
                    )
            self.between.add(step.index, self.operators[-1])
        options = self.run.options
        self.pace = Pace(options.watermark_every, options.now_ns, may_wait(self.steps, self.operators))

    # One unit of work.

    def step(self) -> Status:
        """Does one thing: resumes what was parked, serves an inbox, or reads a block."""
        if self.done:
            return Status.DONE
        if (checkpoint := self.run.barrier) is not None:
            self._inject_barrier(checkpoint)
        waiting: set[int] = set()
        closed: set[int] = set()
        for stage, stack in enumerate(self._stacks):
            ready = self._ready[stage]
            if stack and ready is not None and not ready():
                waiting.add(stage)
                closed |= self._upstream[stage]
        if 0 not in closed and not self._stacks[0] and self._send_progress(when_due=True):
            return Status.WORKED
        if self._holding and self._release_held(closed, when_due=True):
            return Status.WORKED
        if (woken := self.between.ready(lambda s: self._is_free(self.steps[s].stage, closed))) is not None:
            self._start(woken, self._receivers[woken].woken())
            return Status.WORKED
        for stage in range(self._stages - 1, -1, -1):
            if self._stacks[stage]:
                if stage not in waiting:  # also upstream of a parked one, which may wait for its barrier
                    self._drive(stage)
                    return Status.WORKED
            elif stage not in closed and self._serve(stage):
                return Status.WORKED
        if closed:
            return Status.WAITING
        return self._feed()

    def _is_free(self, stage: int, closed: set[int]) -> bool:
        return stage not in closed and not self._stacks[stage]

    def _serve(self, stage: int) -> bool:
        """Takes one element from the stage's inbox, in turn from its channels; says whether there was one."""
        head = self._heads[stage]
        if head is None:
            return False
        receiver = self._receivers[head]
        incoming = self.run.incoming[head]
        count = len(incoming)
        for offset in range(count):
            number = (self._turn[stage] + offset) % count
            if receiver.held_back(number):
                continue
            taken = self.run.channels[head, number, self.index].take()
            if taken is None:
                continue
            element, room = taken
            sender = incoming[number].sender
            if room and sender is not None:
                self.run.wake(sender)
            self._turn[stage] = number + 1
            self._receive(head, number, element)
            self._drive(stage)
            return True
        return False

    def may_hold(self, step: int) -> bool:
        """Whether `step`, which has met a higher watermark, may wait before it acts on it."""
        hold = self._heads[self.steps[step].stage] == step and not self.pace.due(step)
        self._holding |= hold
        return hold

    def _release_held(self, closed: set[int], when_due: bool = False) -> bool:
        """Acts on a watermark that was held back; says whether there was one."""
        held = [head for head in self._heads if head is not None and self._receivers[head].held]
        self._holding = bool(held)
        for head in held:
            stage = self.steps[head].stage
            if stage in closed or self._stacks[stage] or (when_due and not self.pace.due(head)):
                continue
            self._start(head, self._receivers[head].release())
            return True
        return False

    def _send_progress(self, when_due: bool = False) -> bool:
        """Sends on what the clocks have come to, by this worker's blocks or by those of others.

        When it is due this comes before the inboxes: a worker that is busy with rows which others send it
        would else hold back the watermark of all, and with it what they may close.
        """
        for stamping, clock in self.run.clocks.items():
            if when_due and not self.pace.due(stamping):
                continue
            time = clock.watermark()
            if time > self._receivers[stamping].forwarded:
                self._start(stamping, self._receivers[stamping].send_progress(time))
                return True
        return False

    def has_sent(self, stamping: int, time: int) -> bool:
        """Whether the `event_time` step `stamping` has sent on the watermark `time`."""
        return self._receivers[stamping].forwarded >= time

    def _feed(self) -> Status:
        """Nothing is parked and all inboxes are empty: reads a block."""
        if self._announce():
            return Status.WORKED
        try:
            claim = self.run.pool.claim(self.index)
        except ReadError as failed:
            self._explain(failed.error, failed.step, None)
            raise failed.error from failed.error.__cause__
        if claim is not None:
            self._start(claim.run.step, self._decode(claim))
            return Status.WORKED
        if self._send_progress() or self._release_held(set()):
            return Status.WORKED
        stopped = self.run.pool.stopped
        for step in self.steps:
            if not step.is_source or self._receivers[step.index].ended:
                continue
            if self.run.pool.exhausted(step.index) or (stopped and self.run.flush):
                self._receivers[step.index].ended = True
                self._start(step.index, iter([End()]))
                return Status.WORKED
        if all(receiver.ended for receiver in self._receivers):
            self.done = True
            return Status.DONE
        return Status.WAITING

    def _start(self, step: int, outputs: Iterator[object]) -> None:
        self._push(step, outputs)
        self._drive(self.steps[step].stage)

    def _decode(self, claim: Claim) -> Iterator[Element | Tagged]:
        """The batches of a block, then its end."""
        step = claim.run.step
        rows = yield from decoded(claim, self.run.options.batch_rows, self.refusers.get(step))
        self.run.pool.done(claim)
        yield self._receivers[step].block_end(claim.run.index, claim.number, rows)

    # Barriers, idle and entering splits.

    def _inject_barrier(self, checkpoint: Checkpoint) -> None:
        """Puts a barrier behind everything read so far, parked or not."""
        if checkpoint.number == self._injected:
            return
        self._injected = checkpoint.number
        self._states[checkpoint.number] = {}
        self._reached[checkpoint.number] = {}
        stack = self._stacks[0]
        for step in self.steps:
            if step.is_source and not self._receivers[step.index].ended:
                self._states[checkpoint.number][step.index] = {}
                stack.insert(0, Frame(step.index, iter([Barrier(checkpoint.number)])))
        self.run.barrier_injected(self.index, checkpoint.number)
        self._report_barrier(checkpoint.number)

    def barrier_at(self, step: int, number: int) -> None:
        """Step `step` of this worker has met the barrier on all inputs: its state belongs to the checkpoint."""
        self._states[number][step] = self.operators[step].snapshot()
        self._reached[number][step] = self._receivers[step].progress.watermark
        self._report_barrier(number)

    def _report_barrier(self, number: int) -> None:
        states = self._states.get(number)
        if states is not None and all(r.ended or s in states for s, r in enumerate(self._receivers)):
            del self._states[number]
            reached = self._reached.pop(number)
            reached.update((s, r.progress.watermark) for s, r in enumerate(self._receivers) if r.ended)
            self.run.barrier_passed(self.index, number, states, reached)

    def step_ended(self) -> None:
        """An ended step counts for a barrier that is under way."""
        for number in list(self._states):
            self._report_barrier(number)

    def _announce(self) -> bool:
        run = self.run
        for step, clock in run.clocks.items():
            if step not in self._idle_sent and self._silent(step):
                if self._send_progress():
                    return True
                self._idle_sent.add(step)
                self._start(step, iter([Idle()]))
                return True
            if step in self._idle_sent and clock.any_live():
                self._idle_sent.discard(step)
        if not run.pool.entering and run.entry is None:
            return False
        if self._send_progress():
            return True
        entry = run.announce()
        if entry is None or entry.number == self._entry_sent:
            return False
        self._entry_sent = entry.number
        self._idle_sent.discard(entry.clock_step)
        receiver = self._receivers[entry.clock_step]
        self._start(entry.clock_step, receiver.announce(Active(entry.number, MIN_TIME)))
        return True

    def _silent(self, step: int) -> bool:
        """Whether all splits below the clock are idle, though some have not ended."""
        clock = self.run.clocks[step]
        entry = self.run.entry
        return clock.all_idle() and (entry is None or entry.clock_step != step)

    # The stack.

    def _push(self, step: int, outputs: Iterator[object], element: Element | None = None) -> None:
        self._stacks[self.steps[step].stage].append(Frame(step, outputs, element))

    def _receive(self, step: int, number: int, element: Element) -> None:
        """Has a step take an element on input `number`; what it makes of it goes on at once, or by a frame."""
        while True:
            try:
                outputs = self._receivers[step].receive(number, element)
            except Exception as error:
                self._explain(error, step, element)
                raise
            if outputs == ():
                return
            onward = self._onward[step]
            if onward is None or type(outputs) is not tuple or type(outputs[0]) is not Batch or outputs[1:]:
                self._push(step, iter(outputs), element)
                return
            element = outputs[0]
            if not element.rows.num_rows:
                return
            self.rows_out[step] += element.rows.num_rows
            step, number = onward

    def _explain(self, error: Exception, step: int, element: Element | None) -> None:
        """Says in an error which step it came from and, of one row, where that was read."""
        name, at = self.steps[step].name, self.steps[step].node.at
        if not isinstance(error, StreamlibError):
            error.add_note(f"streamlib: in step {name} ({at})")
            return
        error.in_step(name, at)
        if error.row is not None and isinstance(element, Batch):
            if element.origin is not None:
                error.where = element.origin.describe(error.row)
            error.row = None

    def _drive(self, stage: int) -> None:
        """Runs the stage's stack until it is empty or must be parked."""
        stack = self._stacks[stage]
        self._ready[stage] = None
        while stack:
            frame = stack[-1]
            if frame.parts:
                if not self._deliver(stage, frame):
                    return
                continue
            try:
                output = next(frame.outputs, None)
            except Exception as error:
                self._explain(error, frame.step, frame.element)
                raise
            if output is None:
                stack.pop()
                continue
            onward = self._onward[frame.step]
            if onward is not None and type(output) is Batch:
                if output.rows.num_rows:
                    self.rows_out[frame.step] += output.rows.num_rows
                    self._receive(*onward, output)
            elif onward is not None and type(output) is BlockEnd:
                self._receive(*onward, output)
            elif isinstance(output, Refusal):
                letters = self.refusers[frame.step].letters(output)
                if letters is not None:
                    self._address(frame, letters)
            elif isinstance(output, Wait):
                if not output.ready():
                    self._ready[stage] = output.ready
                    return
            else:
                self._address(frame, output)

    def _address(self, frame: Frame, output: object) -> None:
        """Lists who gets what a step yielded; the first receiver is last in the list."""
        step = self.steps[frame.step]
        tag = None
        if isinstance(output, Tagged):
            tag, output = output.tag, output.batch
        if isinstance(output, Batch):
            if len(output) == 0:
                return
            self.rows_out[frame.step] += len(output) if tag is None else 0
            for edge in reversed(step.edges):
                if edge.tag != tag:
                    continue
                if edge.keys is not None:
                    parts = self._partitioners[frame.step, edge].parts(output)
                    frame.parts.extend((edge, worker, part) for worker, part in reversed(parts))
                else:
                    frame.parts.append((edge, self.index, output))
            return
        if isinstance(output, Handed):
            self.rows_out[frame.step] += output.rows
            edges = (edge for edge in reversed(step.edges) if edge.tag is None)
            frame.parts.extend((edge, output.worker, output) for edge in edges)
            return
        for edge in reversed(step.edges):
            if edge.keys is not None:
                frame.parts.extend((edge, worker, output) for worker in range(self.run.plan.workers))  # type: ignore[misc]
            else:
                frame.parts.append((edge, self.index, output))  # type: ignore[arg-type]

    def _deliver(self, stage: int, frame: Frame) -> bool:
        """Delivers the next part; False when its channel does not admit it and the stack was parked."""
        edge, worker, element = frame.parts[-1]
        sender = None if edge.keys is None else self.index
        number = self._input_of[frame.step, edge.target, edge.side, edge.tag, sender]
        if not edge.channel:
            frame.parts.pop()
            self._receive(edge.target, number, element)
            return True
        channel: Channel = self.run.channels[edge.target, number, worker]
        if isinstance(element, (Batch, Handed)):
            if not channel.offer(element):
                self._ready[stage] = channel.admits
                return False
        else:
            channel.send(element)
        frame.parts.pop()
        if worker != self.index:
            self.run.wake(worker)
        return True

    def release(self) -> None:
        """See `Execution.release`."""
        self._receivers.clear()

    def close(self) -> None:
        """Closes the operators, also when one of them fails; called once, also after an error."""
        failed: Exception | None = None
        for step, operator in enumerate(self.operators):
            try:
                operator.close()
            except Exception as error:
                self._explain(error, step, None)
                failed = failed or error
        if failed is not None:
            raise failed

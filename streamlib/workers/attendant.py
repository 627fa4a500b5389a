"""Who serves one worker process in the process that runs the job: a thread that does what the worker asks for.

It claims, reads and decodes blocks, lets splits pass, and writes what no other process can write, as the
worker's own thread would: pool, clocks and barriers are the same for threads and for processes.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streamlib.contracts import Refused
from streamlib.errors import StreamlibError, WorkerError
from streamlib.runtime.run import SharedRun
from streamlib.runtime.splits import Claim, ReadError
from streamlib.workers.failures import from_values, to_values
from streamlib.workers.mirror import Mirror
from streamlib.workers.remote import per_schema
from streamlib.workers.rows import read_rows, read_table, write_rows, write_table
from streamlib.workers.turns import give_back, read_split, write_split
from streamlib.workers.wire import BrokenWireError, Connection, Message, Part

if TYPE_CHECKING:
    from streamlib.workers.execution import ProcessExecution


class Attendant:
    """Serves one worker process.

    Args:
        index: of the worker.
        execution: the run.
        process: the worker's.
        end: the socket to it.
    """

    def __init__(
        self,
        index: int,
        execution: ProcessExecution,
        process: subprocess.Popen[bytes],
        end: socket.socket,
    ) -> None:
        self.index, self.execution, self.process = index, execution, process
        self.shared: SharedRun = execution.shared
        self.plan = execution.plan
        self.connection = Connection(end, blocking=True)
        self.mirror = Mirror(index, self.plan, self._restore)
        self.opened = threading.Event()
        self.leaving = False
        self._states: dict[int, dict[int, dict[str, pa.Table]]] = {}
        self._news_lock = threading.Lock()
        self._told = self._again = False
        self._hungry = False
        self._last: list[Any] = []
        self._replied = threading.Event()
        self._reply: Message | None = None
        self._handlers: dict[str, Callable[[Message], None]] = {
            "opened": self._opened,
            "claim": self._claim,
            "passed": self._passed,
            "ended": self._ended,
            "heard": self._heard,
            "answer": self._answer,
            "injected": self._injected,
            "state": self._state,
            "barrier_passed": self._barrier_passed,
            "status": self._status,
            "done": self._done,
            "write": self._write,
            "finished": self._finished,
            "not finished": self._finished,
            "error": self._error,
            "left": self._left,
        }
        self.thread = threading.Thread(target=self._serve, name=f"streamlib-process-{index}", daemon=True)

    def send(self, values: Sequence[Any], parts: Sequence[Part] = ()) -> None:
        """Sends the worker a message."""
        self.connection.send(values, parts)

    def call(self, values: Sequence[Any]) -> Message | None:
        """Asks the worker, from another thread than its own; None when it has gone."""
        self._replied.clear()
        self.send(values)
        self._replied.wait()
        return self._reply

    def _serve(self) -> None:
        try:
            while not self.connection.ended:
                for message in self.connection.receive():
                    self._handlers[message.values[0]](message)
        except BrokenWireError as error:
            self.execution.failed(StreamlibError(f"{self.name} sent what is no message: {error}"))
        except BaseException as error:  # handed to the thread that runs the job
            self.execution.failed(error)
        self._gone()

    def _gone(self) -> None:
        """The worker has closed its end, or nobody listens to it any more."""
        if not self.leaving:
            self.connection.socket.shutdown(socket.SHUT_RDWR)
            self.execution.failed(self._lost())
        self._reply = None
        self._replied.set()
        self.opened.set()
        self.shared.bell.set()

    def _lost(self) -> WorkerError:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return WorkerError(f"{self.name} has closed its connection")
        if code >= 0:
            return WorkerError(f"{self.name} ended by itself", got=f"exit code {code}")
        return WorkerError(
            f"{self.name} was ended by a signal",
            got=signal_name(-code),
            hint="SIGKILL is also what the system sends when memory runs out" if code == -9 else None,
        )

    @property
    def name(self) -> str:
        """The worker, for messages."""
        return f"worker {self.index} (process {self.process.pid})"

    # News: what all workers must know of the run. One message is on its way at a time.

    def nudge(self) -> None:
        """Tells the worker what has become of the run, if that is new or it waits for blocks."""
        with self._news_lock:
            if self._told:
                self._again = True
                return
            news = self.execution.news()
            if news == self._last and not self._hungry:
                return
            self._told, self._hungry, self._last = True, False, news
            self.send(["news", *news])

    def _heard(self, message: Message) -> None:
        with self._news_lock:
            self._told = False
            again, self._again = self._again, False
        if again:
            self.nudge()

    # What the worker asks for.

    def _opened(self, message: Message) -> None:
        self.opened.set()

    def _claim(self, message: Message) -> None:
        self._hungry = True
        try:
            claim = self.shared.pool.claim(self.index)
        except ReadError as failed:
            self._in_step(failed.error, failed.step)
            raise failed.error from failed.error.__cause__
        if self.shared.pool.entering:
            self.shared.announce()
        if claim is None:
            self.nudge()
            self.send(["nothing", self.execution.wait_seconds()])
            return
        self._hungry = False
        self._send_block(claim)

    def _send_block(self, claim: Claim) -> None:
        run, step = claim.run, self.plan.steps[claim.run.step]
        refused: list[Refused] = []
        lenient = not step.on_error.fails
        try:
            if lenient:
                batches = list(claim.reader.decode_leniently(claim.block, refused))
            else:
                batches = list(claim.reader.decode(claim.block))
        except Exception as error:
            self._in_step(error, run.step)
            raise
        self.shared.pool.done(claim)
        schema = batches[0].schema if batches else step.node.schema
        parts: list[Part] = [write_rows(batches, schema)]
        letters = [[to_values(one.error), one.number] for one in refused]
        if refused:
            data = pa.record_batch({"data": pa.array([one.data for one in refused], pa.binary())})
            parts.append(write_rows([data], data.schema))
        turns = []
        for clock in run.clocks:
            at = self.execution.step_of(clock)
            if self.execution.takes_turn(self, at, run.index, claim.number):
                values, more = write_split(clock.splits[run.index], per_schema(self.plan.steps[at]))
                turns.append([at, values, len(more)])
                parts.extend(more)
        block = claim.block
        self.send(
            [
                "block",
                run.step,
                run.index,
                run.split.name,
                claim.number,
                block.first_row,
                block.first_line,
                turns,
                letters,
            ],
            parts,
        )

    def send_turn(self, step: int, split: int) -> None:
        """All earlier blocks of a split have passed: the worker's block has the turn."""
        known = self.shared.clocks[step].splits[split]
        values, parts = write_split(known, per_schema(self.plan.steps[step]))
        self.send(["turn", step, split, values], parts)

    def _passed(self, message: Message) -> None:
        _, step, split, block, values = message.values
        clock = self.shared.clocks[step]
        give_back(clock.splits[split], read_split(values, message.parts))
        clock.pass_block(split)
        self.execution.turn_over(step, split, block + 1)

    def _ended(self, message: Message) -> None:
        step = message.values[1]
        clock = self.shared.clocks[step]
        ended = clock.worker_ended()
        splits, parts = [], []
        if ended == self.plan.workers:
            for split, known in clock.splits.items():
                if known.suspect is not None:
                    values, more = write_split(known, per_schema(self.plan.steps[step]))
                    splits.append([split, values, len(more)])
                    parts.extend(more)
        self.send(["ended", ended, splits], parts)

    def _answer(self, message: Message) -> None:
        _, number, mark = message.values
        self.shared.answer(number, mark)
        if self.shared.pool.entering:
            self.shared.announce()

    def _injected(self, message: Message) -> None:
        self.shared.barrier_injected(self.index, message.values[1])

    def _state(self, message: Message) -> None:
        _, number, step, name = message.values
        self._states.setdefault(number, {}).setdefault(step, {})[name] = read_table(message.parts[0])

    def _barrier_passed(self, message: Message) -> None:
        _, number, steps, reached = message.values
        states = self._states.pop(number, {})
        self.shared.barrier_passed(
            self.index, number, {step: states.get(step, {}) for step in steps}, dict(reached)
        )

    def _status(self, message: Message) -> None:
        self.mirror.update(message.values[1])
        if self.shared.pool.stopped:
            self.shared.bell.set()

    def _done(self, message: Message) -> None:
        self.mirror.done = True
        self.shared.bell.set()

    def _write(self, message: Message) -> None:
        _, step, size = message.values
        writer = self.execution.writers[step][self.index]
        try:
            for rows in read_rows(message.parts[0])[1]:
                writer.write(rows)
        except Exception as error:
            self._in_step(error, step)
            raise
        self.send(["written", step, size])

    def _finished(self, message: Message) -> None:
        self._reply = message
        self._replied.set()

    def _error(self, message: Message) -> None:
        self.execution.failed(from_values(message.values[1]))
        self.opened.set()

    def _left(self, message: Message) -> None:
        if message.values[1] is not None:
            self.execution.not_closed.append(from_values(message.values[1]))

    def _in_step(self, error: Exception, step: int) -> None:
        one = self.plan.steps[step]
        if isinstance(error, StreamlibError):
            error.in_step(one.name, one.node.at)
        else:
            error.add_note(f"streamlib: in step {one.name} ({one.node.at})")

    def _restore(self, step: int, name: str, table: pa.Table) -> None:
        self.send(["restore", step, name], [write_table(table)])


def signal_name(number: int) -> str:
    """A signal's name.

    >>> signal_name(9)
    'SIGKILL'
    """
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

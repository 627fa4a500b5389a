"""From sinks to a finished run: plan, pool of splits, workers, and the one commit at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from streamlib.elements import MIN_TIME, Batch
from streamlib.errors import SourceError, StreamlibError
from streamlib.exchange import Partitioner
from streamlib.graph import Node, Plan, SinkNode, SourceNode, plan_graph
from streamlib.graph.never_run import taken
from streamlib.graph.node import SinkOperator
from streamlib.graph.plan import topological
from streamlib.runtime.peek import first_times
from streamlib.runtime.run import Checkpoint, RunOptions, SharedRun
from streamlib.runtime.worker import Worker


@dataclass(slots=True)
class Totals:
    """What a run counted, over all workers.

    Attributes:
        rows_in: rows into each step, by name.
        rows_out: rows out of each step, by name.
        counters: the operators' own counts, by step name.
        open_windows: windows that are open, by step name.
        open_rows: rows that wait in them, by step name; counted only once the run was stopped.
        seconds: wall time.
    """

    rows_in: dict[str, int] = field(default_factory=dict)
    rows_out: dict[str, int] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    open_windows: dict[str, int] = field(default_factory=dict)
    open_rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Execution:
    """One run of a graph. Made by `sl.run`, `collect`, the simulation and the tests alike.

    Args:
        sinks: what to run.
        workers: on how many workers.
        options: limits and the processing clock.
    """

    apart = False
    """Whether workers are processes, which run by themselves."""

    def __init__(
        self, sinks: Sequence[SinkNode], workers: int = 1, options: RunOptions | None = None
    ) -> None:
        self.options = options or RunOptions()
        for sink in sinks:
            taken(sink)
        splits = {id(n): list(n.source.splits()) for n in _sources(sinks)}
        several = self.options.checkpoints or sum(len(s) for s in splits.values()) > 1
        several = several or any(n.source.grows for n in _sources(sinks))
        self.plan: Plan = plan_graph(sinks, workers, several, self.options.on_error)
        self.shared = SharedRun(self.plan, self.options)
        self.started = time.perf_counter()
        self.workers: list[Worker] = []
        self._stop_barrier: int | None = None

    def open(self, resume: Checkpoint | None = None) -> None:
        """Checks the sinks, makes the splits known and builds the operators."""
        for sink in self.plan.sinks:
            try:
                sink.sink.prepare(sink.schema)
            except Exception as error:
                _in_step(error, sink)
                raise
        if resume is not None:
            self._resume_clocks(resume)
        for step in self.plan.steps:
            if isinstance(step.node, SourceNode):
                self._add_splits(step.index, step.node, resume)
        self.open_workers()
        if resume is not None:
            self._restore(resume)

    def open_workers(self) -> None:
        """Makes the workers, and has them build their operators."""
        for index in range(self.plan.workers):
            worker = Worker(index, self.shared)
            self.workers.append(worker)
            worker.open()

    @property
    def compile_seconds(self) -> float:
        """What compiling kernels took where workers are `apart`: the longest of them."""
        return 0.0

    def run(self) -> None:
        """Runs workers that are `apart`; others are run by `run_threads` or `run_inline`."""
        raise AssertionError("these workers are run by threads")

    def _resume_clocks(self, resume: Checkpoint) -> None:
        """Sets each clock to its state at the barrier, and what the steps behind it had reached then."""
        by_name = {step.name: step.index for step in self.plan.steps}
        reached = {
            by_name[resume.steps[s]]: t for s, t in resume.watermarks.items() if resume.steps[s] in by_name
        }
        for old, state in resume.clocks.items():
            step = by_name[resume.steps[old]]
            assert state is not None, "the checkpoint is not complete"
            below = self.plan.downstream(step)
            self.shared.clocks[step].resume_from(state, max(reached.get(s, MIN_TIME) for s in below))

    def _restore(self, resume: Checkpoint) -> None:
        """Gives each worker the rows of the checkpoint that are its own: those that the exchange sends it.

        Steps are found by name, since a plan for several workers has more of them. Rows of steps
        without an exchange before them, and of windows without keys, belong to worker 0.
        """
        by_name = {step.name: step for step in self.plan.steps}
        for (old, _), state in sorted(resume.states.items()):
            if not state:
                continue
            step = by_name[resume.steps[old]]
            exchanged = any(i.edge.keys is not None for i in self.shared.incoming[step.index])
            for name, table in state.items():
                keys = step.node.state_keys(name) if exchanged else ()
                partitioner = Partitioner(keys or (), self.plan.workers, everywhere=keys is None)
                for rows in table.to_batches():
                    for worker, part in partitioner.parts(Batch(rows)):
                        own = pa.Table.from_batches([part.rows], table.schema)
                        self.workers[worker].operators[step.index].restore({name: own})

    def _add_splits(self, step: int, node: SourceNode, resume: Checkpoint | None) -> None:
        splits = node.source.splits()
        if not splits and not node.source.grows:
            raise SourceError(f"{node.source.describe()} has nothing to read").in_step(node.label, node.at)
        below = self.plan.downstream(step)
        clocks = {s: c for s, c in self.shared.clocks.items() if s in below}
        several = len(splits) > 1 or len(_sources(self.plan.sinks)) > 1
        peek = first_times(self.plan, step, list(clocks)) if clocks and several else None
        positions = None if resume is None else _positions(resume, self.plan.steps[step].name)
        try:
            self.shared.pool.add(step, node.source, splits, list(clocks.values()), peek, positions)
        except Exception as error:
            _in_step(error, node)
            raise

    def stop(self, flush: bool = False) -> None:
        """Ends reading and finishes what is in flight; `flush` closes the open windows too."""
        self.shared.stop(flush)

    @property
    def stopped(self) -> bool:
        """Whether a stop has run through: everything that had been read has left or waits in a window."""
        shared = self.shared
        if not shared.pool.stopped or shared.flush:
            return False
        if self._stop_barrier is None:
            if shared.pool.all_exhausted():  # it came too late: the input has ended, and so will the run
                return False
            number = shared.start_barrier() if self._progress_sent() else None  # None: one is under way
            self._stop_barrier = number or self._stop_barrier
            return False
        return len(shared.checkpoints[self._stop_barrier].workers_done) == self.plan.workers

    def _progress_sent(self) -> bool:
        """Whether all blocks have passed and all workers sent on the watermark that they led to.

        The barrier of a stop goes behind it, so that what it leaves open does not depend on timing.
        """
        passed = all(
            clock.is_turn(run.index, run.blocks)
            for run in list(self.shared.pool.splits.values())
            for clock in run.clocks
        )
        return passed and all(
            worker.done or worker.has_sent(step, clock.watermark())
            for step, clock in self.shared.clocks.items()
            for worker in self.workers
        )

    def finish(self) -> None:
        """All workers are done: makes the output of all sinks visible."""
        staged: list[tuple[SinkNode, list[Any]]] = []
        for sink in self.plan.sinks:
            try:
                staged.append((sink, [writer.finish() for writer in self.writers_of(sink)]))
            except Exception as error:
                _in_step(error, sink)
                raise
        for sink, values in staged:
            try:
                sink.sink.commit(values)
            except Exception as error:
                _in_step(error, sink)
                raise

    def abort(self) -> None:
        """After an error: nothing half-written stays."""
        for sink in self.plan.sinks:
            for writer in self.writers_of(sink):
                writer.abort()
            sink.sink.abort()

    def cancel(self) -> None:
        """A worker has failed, or the run was interrupted: no sink may keep the others waiting."""
        for sink in self.plan.sinks:
            sink.sink.cancel()

    def close(self) -> None:
        """Frees readers and operators."""
        self.shared.pool.close()
        for worker in self.workers:
            worker.close()

    def release(self) -> None:
        """Undoes what refers to one another: all memory is free once nobody asks for the run any more.

        Else input and output would stay until Python looks for such circles. The run cannot be asked then.
        """
        for worker in () if self.apart else self.workers:
            worker.release()
        self.shared.release()

    def writers_of(self, sink: SinkNode) -> list[Any]:
        """The writers of a sink, by worker."""
        found = []
        for step in self.plan.steps:
            if step.node is sink:
                for worker in self.workers:
                    if step.index < len(worker.operators):
                        operator = worker.operators[step.index]
                        assert isinstance(operator, SinkOperator)
                        found.append(operator.writer)
        return found

    def total_bytes(self) -> int | None:
        """The size of all sources; None where one does not know its own."""
        sizes = [s.node.source.total_bytes() for s in self.plan.steps if isinstance(s.node, SourceNode)]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

    def totals(self) -> Totals:
        """What has been counted so far."""
        totals = Totals(seconds=time.perf_counter() - self.started)
        workers = [w for w in self.workers if len(w.operators) == len(self.plan.steps)]
        for step in self.plan.steps:
            totals.rows_in[step.name] = sum(w.rows_in[step.index] for w in workers)
            totals.rows_out[step.name] = sum(w.rows_out[step.index] for w in workers)
            counts: dict[str, int] = {}
            for worker in workers:
                refuser = worker.refusers.get(step.index)
                own = {} if refuser is None else refuser.counters()
                for name, count in {**worker.operators[step.index].counters(), **own}.items():
                    before = counts.get(name, 0)
                    counts[name] = max(before, count) if name.endswith("_max") else before + count
            if isinstance(step.node, SourceNode):
                counts.update(step.node.source.counters())
            elif isinstance(step.node, SinkNode):
                counts.update(step.node.sink.counters())
            if counts:
                totals.counters[step.name] = counts
            open_windows = sum(w.operators[step.index].open_windows()[0] for w in workers)
            if open_windows:
                totals.open_windows[step.name] = open_windows
                if self.stopped:
                    totals.open_rows[step.name] = sum(w.operators[step.index].open_rows() for w in workers)
        return totals


def _sources(sinks: Sequence[SinkNode]) -> list[SourceNode]:
    return [n for n in topological(sinks) if isinstance(n, SourceNode)]


def _positions(resume: Checkpoint, step: str) -> dict[str, Any]:
    if step not in resume.steps:
        return {}
    prefix = f"{resume.steps.index(step)}/"
    return {k.removeprefix(prefix): v for k, v in resume.positions.items() if k.startswith(prefix)}


def _in_step(error: Exception, node: Node) -> None:
    if isinstance(error, StreamlibError):
        error.in_step(node.label, node.at)

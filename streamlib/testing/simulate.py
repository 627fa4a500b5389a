"""The whole engine single-stepped from one seed, against the model. See `python -m streamlib.testing.simulate -h`.

A seed chooses input, job, schedule, withheld watermarks, full channels, silent splits, barriers, kills and
restores (`streamlib.testing.scenario`). The rows that come out must be those of `streamlib.testing.model`,
exactly; every edge is checked on the way. A seed that fails prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from functools import partial

from streamlib.contracts import Split
from streamlib.errors import UserFunctionError
from streamlib.graph import SourceNode
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from streamlib.runtime.peek import first_times
from streamlib.runtime.run import Checkpoint, RunOptions
from streamlib.runtime.worker import Worker
from streamlib.testing.build import Graph
from streamlib.testing.list_source import ListReader, ListSource
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.model import run_model
from streamlib.testing.model_tables import last_state
from streamlib.testing.scenario import Scenario, Settings, draw
from streamlib.testing.specs import Apply, Late, RowData, Spec, Windowed, all_specs
from streamlib.testing.stepped_loop import SteppedLoop
from streamlib.testing.watched import rows_of

UNITS_OF_WORK_MAX = 60_000
"""A run that takes more does not end."""
JUMPS_MAX = 3_000


class SimulationError(AssertionError):
    """The engine and the model differ, or the engine broke a rule."""


class Killed(Exception):
    """The run was killed on purpose."""


class Attempt:
    """One run of a scenario, from the beginning or from a checkpoint, to its end or until it is killed.

    Args:
        scenario: what is run.
        settings: how.
        resume: where from.
        dies: whether it is killed.
        hidden: the splits that are not known yet; those that appear are taken out.
    """

    def __init__(
        self,
        scenario: Scenario,
        settings: Settings,
        resume: Checkpoint | None,
        dies: bool,
        hidden: set[tuple[int, int]],
    ) -> None:
        self.scenario, self.settings, self.dies, self.hidden = scenario, settings, dies, hidden
        self.clock = ManualClock(step_ns=7)
        self.graph = Graph(scenario, settings, self.clock, hidden)
        self.dice = random.Random(settings.seed + 1)
        self.life = self.dice.randint(1, 150) if dies else UNITS_OF_WORK_MAX
        self.units = self.jumps = 0
        self.weights = [1.0]
        options = RunOptions(
            settings.batch_rows,
            settings.channel_bytes_max,
            self.clock,
            checkpoints=True,
            watermark_every=random.Random(settings.seed + 2).choice([0, 0, 20, 500, 10**9]),
            new_loop=partial(SteppedLoop, self.clock),
        )
        self.execution = Execution(self.graph.sinks, settings.workers, options)
        self.resume = resume
        self.stop_at = self.dice.randint(0, 200) if scenario.stops != "end" and not dies else -1
        self.stop_number: int | None = None

    def run(self) -> None:
        """Runs it; raises what the run raises, and `Killed`."""
        try:
            self.execution.open(self.resume)
            run_inline(self.execution, self._next, self._idle)
        finally:
            self.execution.close()

    def last_checkpoint(self) -> Checkpoint | None:
        """The last complete one."""
        shared = self.execution.shared
        done = [c for c in shared.checkpoints.values() if len(c.workers_done) == self.settings.workers]
        return done[-1] if done else None

    def given(self) -> dict[tuple[int, int], int]:
        """How many rows of each split the workers were given, since the beginning of the first attempt."""
        found = {}
        for run in self.execution.shared.pool.splits.values():
            assert isinstance(run.source, ListSource)
            source, _, split = run.split.name.partition(".")
            rows = ListReader(run.source, run.split.name, run.position).rows
            found[int(source), int(split)] = rows
        return found

    def rows(self, barrier: int | None = None) -> list[list[RowData]]:
        """The rows of each sink, before a barrier."""
        return [rows_of(sink.table(barrier)) for sink in self.graph.sinks]

    def _next(self, workers: Sequence[Worker]) -> Worker:
        """The schedule: some workers are favoured for a while. Kills, barriers and stops happen in between."""
        self.units += 1
        if self.units >= self.life:
            if self.dies:
                raise Killed
            raise SimulationError(f"the run did not end in {UNITS_OF_WORK_MAX} units of work")
        if self.units == self.stop_at:
            self.execution.stop(flush=self.scenario.stops == "flush")
        if self.dice.random() < self.settings.barriers:
            self.execution.shared.start_barrier()
        if self.hidden and self.dice.random() < 0.03:
            self._appear(self.dice.choice(sorted(self.hidden)))
        if self.units % 10 == 1:
            self.weights = [self.dice.choice((0.01, 0.2, 1.0, 1.0)) for _ in workers]
        self.clock.advance(self.dice.choice((0, 0, 0, 1)))
        return self.dice.choices(workers, self.weights)[0]

    def _appear(self, split: tuple[int, int]) -> None:
        """A split becomes known while the run is on, unless its source has ended."""
        plan, shared, name = self.execution.plan, self.execution.shared, f"{split[0]}.{split[1]}"
        for step in plan.steps:
            if isinstance(step.node, SourceNode) and isinstance(step.node.source, ListSource):
                source = step.node.source
                if name in source.hidden and not shared.pool.exhausted(step.index):
                    clocks = [number for number in shared.clocks if number in plan.downstream(step.index)]
                    peek = first_times(plan, step.index, clocks)
                    behind = [shared.clocks[number] for number in clocks]
                    shared.pool.add(step.index, source, [Split(name)], behind, peek)
                    source.hidden.discard(name)
                    self.hidden.discard(split)

    def _idle(self) -> bool:
        self.jumps += 1
        self.clock.jump()
        return self.jumps < JUMPS_MAX


def simulate(seed: int) -> Scenario:
    """Plays one seed.

    Raises:
        SimulationError: the answer is not the model's.
        AssertionError: the engine broke one of its own rules.
    """
    scenario = draw(seed)
    play(scenario)
    return scenario


def play(scenario: Scenario) -> None:
    """Runs all attempts of a scenario and compares what came out."""
    committed: list[list[RowData]] = [[] for _ in scenario.sinks]
    resume: Checkpoint | None = None
    hidden = set(scenario.appearing)
    attempts = list(enumerate(scenario.attempts, 1))
    while attempts:
        number, settings = attempts.pop(0)
        attempt = Attempt(scenario, settings, resume, number < len(scenario.attempts), hidden)
        try:
            attempt.run()
        except Killed:
            last = attempt.last_checkpoint()
            if last is not None:
                resume = last
                _add(committed, attempt.rows(last.number))
            continue
        except UserFunctionError as error:
            if scenario.fails_at is None or attempt.graph.failures != 1 or "told to fail" not in str(error):
                raise
            return
        if scenario.stops == "flush" and attempt.execution.shared.pool.stopped:
            _cut_to(scenario, attempt.given())  # how much had been read is timing
        if attempt.execution.stopped:
            resume = attempt.last_checkpoint()
            assert resume is not None, "a stop takes a checkpoint"
            _add(committed, attempt.rows(resume.number))
            scenario.stops = "end"
            attempts = [(number, settings)]
            continue
        _add(committed, attempt.rows())
        break
    if _must_fail(scenario):
        raise SimulationError(f"a function raised at row {scenario.fails_at} and the run went on")
    for source, split in hidden:
        scenario.sources[source][split] = []  # never read
    _compare(scenario, committed)


def _must_fail(scenario: Scenario) -> bool:
    """Whether the row at which functions raise reaches one of them."""
    if scenario.fails_at is None:
        return False
    applied = tuple(spec for spec in all_specs(scenario.sinks) if isinstance(spec, Apply))
    rows = run_model(scenario.sources, applied)
    return any(row.get("id") == scenario.fails_at for some in rows for row in some)


def _add(committed: list[list[RowData]], rows: list[list[RowData]]) -> None:
    for mine, more in zip(committed, rows, strict=True):
        mine.extend(more)


def _compare(scenario: Scenario, got: list[list[RowData]]) -> None:
    refused = _refused(scenario, got) if scenario.idles else None
    wanted = run_model(scenario.sources, scenario.sinks, refused)
    for number, spec in enumerate(scenario.sinks):
        if scenario.idles and isinstance(spec, Late):
            _check_late(spec, wanted[number], got[number])
            continue
        compare_sink(number, spec, wanted[number], got[number])


def compare_sink(number: int, spec: Spec, wanted: list[RowData], got: list[RowData]) -> None:
    """Raises SimulationError where a sink's rows are not the model's; of previews the last state counts."""
    if isinstance(spec, Windowed) and spec.early:
        last = [list(last_state(rows, spec).values()) for rows in (wanted, got)]
        difference(f"the last state of sink {number}", *last)
    else:
        difference(f"sink {number}", wanted, got)


def _cut_to(scenario: Scenario, given: dict[tuple[int, int], int]) -> None:
    """Leaves those rows that had been read when a run was stopped for good."""
    for number, splits in enumerate(scenario.sources):
        for split, rows in enumerate(splits):
            del rows[given.get((number, split), 0) :]


def _refused(scenario: Scenario, got: list[list[RowData]]) -> dict[int, dict[object, int]]:
    """Of how many windows of each step the rows with these ids were late, as its late sink shows them."""
    found: dict[int, dict[object, int]] = {}
    for spec, rows in zip(scenario.sinks, got, strict=True):
        if isinstance(spec, Late):
            found[id(spec.step)] = {row["id"]: int(str(row["windows_late"])) for row in rows}
    return found


def _check_late(spec: Late, wanted: list[RowData], got: list[RowData]) -> None:
    """Entry marks may refuse more rows than the model's marks, never fewer, and say by how much."""
    least = Counter((row["id"], row["late_by"]) for row in wanted if int(str(row["late_by"])) >= 0)
    by = {row["id"]: int(str(row["late_by"])) for row in got}
    for row_id, late_by in least:
        if row_id not in by or by[row_id] < int(str(late_by)):
            raise SimulationError(f"row {row_id} is late by {late_by} by its own split; got {by.get(row_id)}")
    if any(late_by < 0 for late_by in by.values()):
        raise SimulationError("a row was refused before its window closed")


def difference(what: str, wanted: list[RowData], got: list[RowData]) -> None:
    """Raises SimulationError with the rows that are missing and those that should not be there."""
    expected, found = (Counter(tuple(row.items()) for row in rows) for rows in (wanted, got))
    if expected == found:
        return
    lines = [f"{what} differs from the model"]
    lines += [f"  missing {dict(row)}" for row in list((expected - found).elements())[:5]]
    lines += [f"  extra   {dict(row)}" for row in list((found - expected).elements())[:5]]
    raise SimulationError("\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays seeds; returns how many failed (at most 100)."""
    parser = argparse.ArgumentParser(prog="python -m streamlib.testing.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many to play")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--seed", type=int, help="play only this one")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many failures")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the scenario")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first, chosen.first + chosen.seeds) if chosen.seed is None else [chosen.seed]
    began, failed, played = time.perf_counter(), 0, 0
    for seed in seeds:
        played += 1
        try:
            if chosen.verbose:
                print(draw(seed))
            simulate(seed)
        except Exception as error:
            failed += 1
            if chosen.verbose:
                traceback.print_exc()
            print(f"seed {seed}: {type(error).__name__}: {error}")
            print(f"  repeat: python -m streamlib.testing.simulate --seed {seed} -v", flush=True)
            if failed == chosen.failures:
                break
    seconds = time.perf_counter() - began
    print(
        f"{played:,} seeds, {failed} failed, {seconds:.1f} s ({1000 * seconds / max(played, 1):.1f} ms each)"
    )
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())

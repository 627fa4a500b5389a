"""The scenarios of the simulation, run by the messages between processes, against the model."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from streamlib.connectors.memory import CollectSink
from streamlib.graph import SinkNode
from streamlib.runtime.run import Checkpoint, RunOptions
from streamlib.testing.build import Graph
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.scenario import Scenario, Settings, draw
from streamlib.testing.simulate import _add, _compare
from streamlib.testing.specs import RowData
from streamlib.testing.watched import rows_of
from tests.processes.loopback import LoopbackExecution


def attempt(
    scenario: Scenario, settings: Settings, resume: Checkpoint | None, stop_at: int | None
) -> tuple[list[list[RowData]], Checkpoint | None]:
    """The rows of each sink; and the checkpoint of a stop after so many claims, where one was made."""
    graph = Graph(scenario, settings, ManualClock(), set())
    sinks = [SinkNode(inputs=sink.inputs, sink=CollectSink()) for sink in graph.sinks]
    ticks = itertools.count()
    options = RunOptions(
        settings.batch_rows, settings.channel_bytes_max, lambda: 7 * next(ticks), checkpoints=True
    )
    execution = LoopbackExecution(sinks, settings.workers, options)
    claim, claims = execution.shared.pool.claim, itertools.count()

    def counted(worker: int) -> Any:
        if next(claims) == stop_at:
            execution.stop()
        return claim(worker)

    execution.shared.pool.claim = counted  # type: ignore[method-assign]
    try:
        execution.open(resume)
        execution.run()
        execution.finish()
    except BaseException:
        execution.abort()
        raise
    finally:
        execution.close()
    rows = [rows_of(sink.sink.table()) for sink in sinks]
    if not execution.shared.pool.stopped or all(worker.done for worker in execution.workers):
        return rows, None
    return rows, execution.shared.checkpoints[max(execution.shared.checkpoints)]


def play(seed: int) -> None:
    """Runs a scenario with workers that talk by messages; one that is to be stopped is resumed with another number."""
    scenario = draw(seed)
    scenario.fails_at = None
    for source, split in scenario.appearing:
        scenario.sources[source][split] = []
    committed: list[list[RowData]] = [[] for _ in scenario.sinks]
    settings, resume = replace(scenario.attempts[-1], withheld=0.0), None
    stop_at = seed % 5 if scenario.stops == "stop" else None
    while True:
        rows, resume = attempt(scenario, settings, resume, stop_at)
        _add(committed, rows)
        if resume is None:
            break
        settings, stop_at = replace(scenario.attempts[0], withheld=0.0), None
    _compare(scenario, committed)


@pytest.mark.parametrize("seed", [0, 30])
def test_simulated_jobs_give_the_rows_of_the_model(seed: int) -> None:
    play(seed)


@pytest.mark.slow
def test_more_simulated_jobs() -> None:
    for seed in range(2_000, 2_200):
        play(seed)

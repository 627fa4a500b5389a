"""The scenarios of the simulation, run by the messages between processes, against the model."""

import itertools

import pytest

from streamlib.connectors.memory import CollectSink
from streamlib.graph import SinkNode
from streamlib.runtime.run import RunOptions
from streamlib.testing.build import Graph
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.scenario import draw
from streamlib.testing.simulate import _compare
from streamlib.testing.watched import rows_of
from tests.processes.loopback import LoopbackExecution


def play(seed: int) -> None:
    scenario = draw(seed)
    scenario.fails_at = None
    hidden = scenario.appearing
    scenario.appearing = set()
    for source, split in hidden:
        scenario.sources[source][split] = []
    settings = scenario.attempts[-1]
    graph = Graph(scenario, settings, ManualClock(), set())
    sinks = [SinkNode(inputs=sink.inputs, sink=CollectSink()) for sink in graph.sinks]
    ticks = itertools.count()
    options = RunOptions(
        settings.batch_rows, settings.channel_bytes_max, lambda: 7 * next(ticks), checkpoints=True
    )
    execution = LoopbackExecution(sinks, settings.workers, options)
    try:
        execution.open()
        execution.run()
        execution.finish()
    except BaseException:
        execution.abort()
        raise
    finally:
        execution.close()
    _compare(scenario, [rows_of(sink.sink.table()) for sink in sinks])


@pytest.mark.parametrize("seed", range(12))
def test_simulated_jobs_give_the_models_rows(seed: int) -> None:
    play(seed)

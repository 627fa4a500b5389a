"""Scenarios on real threads: no seed chooses these interleavings, and the answer is the same."""

from __future__ import annotations

from streamlib.runtime.execute import Execution
from streamlib.runtime.run import RunOptions
from streamlib.runtime.threads import run_threads
from streamlib.testing.build import Graph
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.model import run_model
from streamlib.testing.scenario import draw
from streamlib.testing.simulate import compare_sink
from streamlib.testing.watched import rows_of

SEEDS = range(1_000, 1_060)


def test_threads_give_the_rows_of_the_model() -> None:
    played = 0
    for seed in SEEDS:
        scenario = draw(seed)
        settings = scenario.attempts[-1]
        if scenario.idles or scenario.fails_at is not None or settings.workers == 1:
            continue
        graph = Graph(scenario, settings, ManualClock(), ())
        options = RunOptions(settings.batch_rows, settings.channel_bytes_max)
        execution = Execution(graph.sinks, settings.workers, options)
        try:
            execution.open()
            run_threads(execution)
        finally:
            execution.close()
        wanted = run_model(scenario.sources, scenario.sinks)
        for number, (spec, sink) in enumerate(zip(scenario.sinks, graph.sinks, strict=True)):
            compare_sink(number, spec, wanted[number], rows_of(sink.table()))
        played += 1
    assert played > 10

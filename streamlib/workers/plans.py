"""The plan as a worker process gets it: by cloudpickle, without sources, sinks and rows.

Sources are read by the process that runs the job, and so is written what no other process can write; in
their place the copy has stand-ins. Arrays that functions of the user's refer to travel in shared memory.
"""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.contracts import Sink, SinkWriter, Source, Split, SplitReader
from streamlib.errors import BuildError
from streamlib.graph import Plan
from streamlib.runtime.run import RunOptions
from streamlib.workers.segments import Segment

_ALIGNED = 64


class AbsentSource(Source):
    """Stands for a source that another process reads."""

    def __init__(self, schema: pa.Schema, name: str, bounded: bool, replayable: bool, grows: bool) -> None:
        self._schema, self._name = schema, name
        self.bounded, self.replayable, self.grows = bounded, replayable, grows

    def schema(self) -> pa.Schema:
        return self._schema

    def splits(self) -> Sequence[Split]:
        raise AssertionError("a source is read where it is")

    def open(self, split: Split, position: Any = None) -> SplitReader:
        raise AssertionError("a source is read where it is")

    def describe(self) -> str:
        return self._name


class AbsentSink(Sink):
    """Stands for a sink that another process writes."""

    opener: Callable[[], SinkWriter]
    """Set by the worker process, which knows the way."""

    def __init__(self, name: str) -> None:
        self._name = name

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        return self.opener()

    def describe(self) -> str:
        return self._name


def write_plan(plan: Plan, options: RunOptions) -> tuple[list[tuple[int, bool]], Segment]:
    """The plan in shared memory, and of what lies there one after another the size and whether it may change.

    Raises:
        BuildError: a function or a step of the user's cannot be sent.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = _dumps((plan, replace(options, pause=None, now_ns=time.monotonic_ns)), buffers)
    except Exception as error:
        raise _cannot_be_sent(plan, error) from error
    blobs = [memoryview(data), *(buffer.raw() for buffer in buffers)]
    segment = Segment(max(1, sum(_rounded(len(blob)) for blob in blobs)))
    at = 0
    for blob in blobs:
        segment.memory[at : at + len(blob)] = blob
        at += _rounded(len(blob))
    return [(len(blob), not blob.readonly) for blob in blobs], segment


def read_plan(about: Sequence[tuple[int, bool]], memory: Any) -> tuple[Plan, RunOptions]:
    """The plan of `write_plan`. Only what came over the socket of this process's parent is read.

    Arrays that a function may write to are copied, since each process has its own; Arrow data is not.
    """
    view, at = memoryview(memory), 0
    blobs: list[Any] = []
    for size, writable in about:
        blob = view[at : at + size]
        blobs.append(bytearray(blob) if writable else blob.toreadonly())
        at += _rounded(size)
    plan, options = pickle.loads(blobs[0], buffers=blobs[1:])
    assert isinstance(plan, Plan) and isinstance(options, RunOptions)
    return plan, options


def _rounded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _dumps(value: Any, buffers: list[pickle.PickleBuffer]) -> bytes:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Source):
                about = (obj.schema(), obj.describe(), obj.bounded, obj.replayable, obj.grows)
                return AbsentSource, about
            if isinstance(obj, Sink) and not obj.stages_apart:
                return AbsentSink, (obj.describe(),)
            if isinstance(obj, pc.FunctionOptions):  # which pickle does not take
                return _options_of, (obj.serialize().to_pybytes(),)
            return super().reducer_override(obj)

    out = io.BytesIO()
    Pickler(out, protocol=5, buffer_callback=buffers.append).dump(value)
    return out.getvalue()


def _options_of(data: bytes) -> pc.FunctionOptions:
    return pc.FunctionOptions.deserialize(pa.py_buffer(data))


def _cannot_be_sent(plan: Plan, error: Exception) -> BuildError:
    at = step = None
    for one in plan.steps:
        try:
            _dumps(one.node, [])
        except Exception:
            at, step = one.node.at, one.name
            break
    return BuildError(
        "this plan cannot be sent to another process",
        step=step,
        at=at,
        expected="functions that refer to nothing which belongs to one process alone",
        got=str(error),
        hint="open connections, files and locks within the function, or run on threads: workers=2",
    )

"""What tests of pipelines and of engine parts need. Written ``import streamlib.testing as t``.

Pipelines: `table`, `source` with its marks, `ManualClock`, `run`, and `check`, which plays one pipeline in
many ways that must not matter. One operator by hand: `harness`. Parts of one's own: `check_source`,
`check_sink`, `check_format`, `check_window`, `check_own_aggregate`, `check_operator`; of the engine
`check_aggregate`. The engine itself: ``python -m streamlib.testing.simulate``.

>>> import streamlib as sl, streamlib.testing as t
>>> ticks = sl.read(t.source([{"ts": "00:00:01", "v": 1}, t.PAUSE(2), {"ts": "00:00:12", "v": 5}]))
>>> sums = ticks.event_time("ts", max_delay="1s").window(sl.tumbling("10s")).agg(total=sl.col("v").sum())
>>> t.run(sums, workers=2)["total"].to_pylist()
[1, 5]
"""

from streamlib.testing.checking import check
from streamlib.testing.compare import assert_same
from streamlib.testing.conform_aggregates import check_own_aggregate
from streamlib.testing.conform_connectors import check_format, check_sink, check_source
from streamlib.testing.conform_steps import check_aggregate, check_operator, check_window
from streamlib.testing.harness import Harness, harness
from streamlib.testing.list_source import (
    CRASH,
    ENTER,
    IDLE,
    PAUSE,
    WATERMARK,
    CrashedError,
    ListSource,
    source,
)
from streamlib.testing.manual_clock import ManualClock
from streamlib.testing.running import run
from streamlib.testing.tables import table, time_ns

__all__ = [
    "CRASH",
    "ENTER",
    "IDLE",
    "PAUSE",
    "WATERMARK",
    "CrashedError",
    "Harness",
    "ListSource",
    "ManualClock",
    "assert_same",
    "check",
    "check_aggregate",
    "check_format",
    "check_operator",
    "check_own_aggregate",
    "check_sink",
    "check_source",
    "check_window",
    "harness",
    "run",
    "source",
    "table",
    "time_ns",
]

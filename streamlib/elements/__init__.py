"""What travels on an edge of the graph: batches of rows, and the marks of progress between them."""

from streamlib.elements.batch import Batch, Origin
from streamlib.elements.control import (
    Active,
    Barrier,
    BlockEnd,
    Control,
    Element,
    End,
    Idle,
    Watermark,
)
from streamlib.elements.handed import Handed
from streamlib.elements.times import (
    MAX_TIME,
    MIN_TIME,
    add_time,
    duration_ns,
    format_duration,
    format_time,
    times_ns,
)

__all__ = [
    "MAX_TIME",
    "MIN_TIME",
    "Active",
    "Barrier",
    "Batch",
    "BlockEnd",
    "Control",
    "Element",
    "End",
    "Handed",
    "Idle",
    "Origin",
    "Watermark",
    "add_time",
    "duration_ns",
    "format_duration",
    "format_time",
    "times_ns",
]

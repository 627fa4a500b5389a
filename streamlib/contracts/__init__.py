"""All that an outsider implements: source, sink, format, window, operator. No implementation here."""

from streamlib.contracts.aggregate import Aggregate
from streamlib.contracts.format import Format, FormatReader, FormatWriter
from streamlib.contracts.loops import CallLoop, NewLoop
from streamlib.contracts.operators import Operator, Output, Refusal, State, Tagged, Wait
from streamlib.contracts.processor import Context, Declared, ListState, MapState, Processor, ValueState
from streamlib.contracts.sink import Sink, SinkWriter
from streamlib.contracts.source import PENDING, Block, Pending, Refused, Source, Split, SplitReader, Wake
from streamlib.contracts.tables import TableSource
from streamlib.contracts.window import OverlappingWindow, Window

__all__ = [
    "PENDING",
    "Aggregate",
    "Block",
    "CallLoop",
    "Context",
    "Declared",
    "Format",
    "FormatReader",
    "FormatWriter",
    "ListState",
    "MapState",
    "NewLoop",
    "Operator",
    "Output",
    "OverlappingWindow",
    "Pending",
    "Processor",
    "Refusal",
    "Refused",
    "Sink",
    "SinkWriter",
    "Source",
    "Split",
    "SplitReader",
    "State",
    "TableSource",
    "Tagged",
    "ValueState",
    "Wait",
    "Wake",
    "Window",
]

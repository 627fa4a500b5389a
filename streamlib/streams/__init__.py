"""What a user holds: streams whose methods build one node each, and the readers they begin with."""

from streamlib.streams.lookups import LookupTable, read_table
from streamlib.streams.process_results import ProcessedStream
from streamlib.streams.readers import read, read_arrow, read_files
from streamlib.streams.rolling import RollingStream
from streamlib.streams.sockets import read_socket
from streamlib.streams.stream import UNTIL_END, KeyedStream, Stream
from streamlib.streams.table import FOREVER, Table
from streamlib.streams.windowed import WindowedStream, WindowedUpdates

__all__ = [
    "FOREVER",
    "UNTIL_END",
    "KeyedStream",
    "LookupTable",
    "ProcessedStream",
    "RollingStream",
    "Stream",
    "Table",
    "WindowedStream",
    "WindowedUpdates",
    "read",
    "read_arrow",
    "read_files",
    "read_socket",
    "read_table",
]

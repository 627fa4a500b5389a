"""What a user holds: streams whose methods build one node each, and the readers they begin with."""

from streamlib.streams.read import read, read_arrow, read_files
from streamlib.streams.stream import UNTIL_END, KeyedStream, Stream
from streamlib.streams.windowed import WindowedStream

__all__ = ["UNTIL_END", "KeyedStream", "Stream", "WindowedStream", "read", "read_arrow", "read_files"]

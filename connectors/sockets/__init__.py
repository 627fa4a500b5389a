"""Sockets as a source of rows and as a place for results: TCP and Unix, as client and as server.

Each socket source or sink has one thread of its own that moves bytes and nothing else, into and out
of buffers with a limit. Rows are made, and made into bytes, on the workers.
"""

if __name__ != "streamlib.connectors.sockets":
    raise ImportError("import streamlib.connectors.sockets, not connectors.sockets")

from streamlib.connectors.sockets.sink import SocketSink
from streamlib.connectors.sockets.source import SocketSource

__all__ = ["SocketSink", "SocketSource"]

"""Files as a source of rows and as a place for results."""

if __name__ != "streamlib.connectors.files":
    raise ImportError("import streamlib.connectors.files, not connectors.files")

from streamlib.connectors.files.sink import FileSink
from streamlib.connectors.files.source import FileSource

__all__ = ["FileSink", "FileSource"]

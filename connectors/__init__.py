"""Where rows come from and go to: files, memory, the console; and the formats that bytes are read in.

Importing this is cheap: what a connector needs beyond pyarrow itself is imported when it is opened.
"""

if __name__ != "streamlib.connectors":
    raise ImportError("import streamlib.connectors, not connectors")

from streamlib.connectors.console import PrintSink
from streamlib.connectors.files import FileSink, FileSource
from streamlib.connectors.formats import arrow, csv, format_of, jsonl, parquet
from streamlib.connectors.memory import ArrowSource, CollectSink

__all__ = [
    "ArrowSource",
    "CollectSink",
    "FileSink",
    "FileSource",
    "PrintSink",
    "arrow",
    "csv",
    "format_of",
    "jsonl",
    "parquet",
]

"""Formats: bytes to rows and rows to bytes, one module each; `format_of` finds one by name or file ending."""

if __name__ != "streamlib.connectors.formats":
    raise ImportError("import streamlib.connectors.formats, not connectors.formats")

from streamlib.connectors.formats.arrow_ipc import ArrowIpc, arrow
from streamlib.connectors.formats.csv_text import Csv, csv
from streamlib.connectors.formats.jsonl import Jsonl, jsonl
from streamlib.connectors.formats.lines import Lines, lines
from streamlib.connectors.formats.names import compression_of, format_of, has_format_suffix
from streamlib.connectors.formats.parquet import Parquet, parquet
from streamlib.connectors.formats.raw import RawBytes, raw_bytes
from streamlib.connectors.formats.regex import Regex, regex

__all__ = [
    "ArrowIpc",
    "Csv",
    "Jsonl",
    "Lines",
    "Parquet",
    "RawBytes",
    "Regex",
    "arrow",
    "compression_of",
    "csv",
    "format_of",
    "has_format_suffix",
    "jsonl",
    "lines",
    "parquet",
    "raw_bytes",
    "regex",
]

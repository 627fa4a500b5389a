"""Which format a file has: by `format=`, or by its ending."""

from __future__ import annotations

import os
from collections.abc import Callable

from streamlib.connectors.formats.arrow_ipc import arrow
from streamlib.connectors.formats.csv_text import csv
from streamlib.connectors.formats.jsonl import jsonl
from streamlib.connectors.formats.lines import lines
from streamlib.connectors.formats.parquet import parquet
from streamlib.connectors.formats.raw import raw_bytes
from streamlib.contracts import Format
from streamlib.errors import BuildError, nearest_names

BY_SUFFIX: dict[str, Callable[[], Format]] = {"csv": csv, "jsonl": jsonl, "parquet": parquet, "arrow": arrow}
"""The formats that a file's ending tells, by name, with their default options."""

FORMATS: dict[str, Callable[[], Format]] = {**BY_SUFFIX, "lines": lines, "bytes": raw_bytes}
"""The formats by the name that `format=` takes. Any file can be read as lines or bytes, so it must be said."""

ANY_FILE = ("lines", "regex", "bytes")
"""Formats, by name, that read every file of a folder, whatever its ending."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""What a file's last ending says about its compression."""


def compression_of(path: str | os.PathLike[str]) -> str | None:
    """The compression that the ending of `path` means; None for none.

    >>> compression_of("ticks.csv.gz")
    'gzip'
    """
    return COMPRESSIONS.get(os.path.splitext(os.fspath(path))[1].lower())


def format_of(fmt: str | Format | None, path: str | os.PathLike[str] | None = None) -> Format:
    """The format that `format=` and the ending of `path` mean.

    Args:
        fmt: a name, a format with options, or None to go by the ending.
        path: the file; endings of compression are ignored.

    Raises:
        BuildError: a name or an ending that means no format.

    >>> format_of(None, "ticks.csv.gz").name
    'csv'
    """
    if isinstance(fmt, Format):
        return fmt
    if fmt is not None:
        return _by_name(fmt)
    suffix = format_suffix(path) if path is not None else ""
    for make in BY_SUFFIX.values():
        found = make()
        if suffix in found.suffixes:
            return found
    near = ["lines"] if suffix in (".log", ".txt") else nearest_names(suffix.lstrip("."), BY_SUFFIX)
    raise BuildError(
        "the file's ending does not say what format it has" if suffix else "the format is not said",
        where=None if path is None else os.fspath(path),
        expected=f"an ending of {', '.join(s for m in BY_SUFFIX.values() for s in m().suffixes)}",
        got=repr(suffix),
        hint=f"say format={(near or list(BY_SUFFIX))[0]!r}",
    )


def has_format_suffix(path: str) -> bool:
    """Whether `path` ends like a file of a known format."""
    return format_suffix(path) in {s for make in BY_SUFFIX.values() for s in make().suffixes}


def format_suffix(path: str | os.PathLike[str]) -> str:
    """The ending of `path` below a compression's: ``.csv`` of ``ticks.csv.gz``; empty where there is none."""
    root, suffix = os.path.splitext(os.path.basename(os.fspath(path).rstrip("/")).lower())
    return os.path.splitext(root)[1] if suffix in COMPRESSIONS else suffix


def _by_name(name: str) -> Format:
    make = FORMATS.get(name)
    if make is None:
        near = nearest_names(str(name), FORMATS)
        raise BuildError(
            "there is no such format",
            expected=f"one of {', '.join(map(repr, FORMATS))}, or a format such as sl.csv(delimiter=';')",
            got=repr(name),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return make()

"""Which format a file has: by `format=`, or by its ending."""

from __future__ import annotations

import os
from collections.abc import Callable

from streamlib.connectors.formats.arrow_ipc import arrow
from streamlib.connectors.formats.csv_text import csv
from streamlib.connectors.formats.jsonl import jsonl
from streamlib.connectors.formats.parquet import parquet
from streamlib.contracts import Format
from streamlib.errors import BuildError, nearest_names

FORMATS: dict[str, Callable[[], Format]] = {"csv": csv, "jsonl": jsonl, "parquet": parquet, "arrow": arrow}
"""The formats by the name that `format=` takes, with their default options."""

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
    for make in FORMATS.values():
        found = make()
        if suffix in found.suffixes:
            return found
    near = nearest_names(suffix.lstrip("."), FORMATS)
    raise BuildError(
        "the file's ending does not say what format it has" if suffix else "the format is not said",
        where=None if path is None else os.fspath(path),
        expected=f"an ending of {', '.join(s for m in FORMATS.values() for s in m().suffixes)}",
        got=repr(suffix),
        hint=f"say format={(near or list(FORMATS))[0]!r}",
    )


def has_format_suffix(path: str) -> bool:
    """Whether `path` ends like a file of a known format."""
    return format_suffix(path) in {s for make in FORMATS.values() for s in make().suffixes}


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

"""Readers: where a stream begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from streamlib.contracts import Format, Source
from streamlib.errors import BuildError, StreamlibError, user_location
from streamlib.graph import SourceNode
from streamlib.streams.stream import Stream

SchemaLike: TypeAlias = "pa.Schema | Mapping[str, Any] | type"
"""A pyarrow.Schema, a dict of column names to types, or a dataclass."""


def read(source: Source) -> Stream:
    """A stream of the rows of any source (see `streamlib.contracts.Source`)."""
    return Stream(SourceNode(source=source, at=user_location()))


def read_files(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    format: str | Format | None = None,
    schema: SchemaLike | None = None,
    *,
    order: str | None = None,
    metadata: bool = False,
    follow: bool = False,
    on_truncate: str = "fail",
) -> Stream:
    """A stream of the rows of one or more files.

    Args:
        path: a file, a folder, a pattern such as ``ticks/*.csv``, or a list of them. Each file is a
            split of its own: a sequence of rows with its own progress in event time.
        format: ``csv``, ``jsonl``, ``parquet``, ``arrow``, ``lines`` or ``bytes``, or one with options
            such as ``sl.csv(delimiter=";")`` or ``sl.regex(...)``; by the ending of the file's name when
            None. Endings ``.gz`` and ``.zst`` are decompressed.
        schema: the columns and their types; inferred from the first file when None, and then every
            other file must have the same. In Parquet and Arrow files a column may have a type of which each
            value has its place in that, such as ``large_string`` or a dictionary in ``string``, ``int32``
            in ``int64``, or nulls only. Declared types read CSV faster.
        order: ``"name"`` makes all files one split, read in the order of their names.
        metadata: adds the columns ``file_path`` and ``file_row`` (the record's number in its file, from 0).
        follow: goes on when the files have been read: what is added to a file, and files that appear
            later, are read as they come, until the run is stopped. Each path given is one log: its
            files are read in the order of their names, so a new one must sort after those begun. With
            ``schema=`` there need be no file yet. A file may be rotated by renaming it.
        on_truncate: when a followed file turns out shorter than what was read of it, or other: ``"fail"``,
            or ``"restart"`` to read it from its beginning.

    Raises:
        SourceError: no such file, or one that is empty, damaged or of another schema.
        BuildError: a format or type that does not exist, options that exclude one another.
    """
    from streamlib.connectors.files.follow import FollowedFiles
    from streamlib.connectors.files.source import FileSource

    at = user_location()
    source: FileSource
    try:
        if not follow and on_truncate != "fail":
            raise BuildError("on_truncate= is for followed files", expected="follow=True")
        if follow and order not in (None, "name"):
            raise BuildError("followed files are read in the order of their names", got=f"order={order!r}")
        if follow:
            source = FollowedFiles(path, format, schema, metadata=metadata, on_truncate=on_truncate)
        else:
            source = FileSource(path, format=format, schema=schema, order=order, metadata=metadata)
    except StreamlibError as error:
        raise error.in_step("read_files", at) from error.__cause__
    return Stream(SourceNode(source=source, at=at))


def read_arrow(data: Any) -> Stream:
    """A stream of the rows of an Arrow table, batch or reader, or of anything that exports one.

    Polars and pandas data frames and DuckDB results do (``__arrow_c_stream__``).

    >>> import pyarrow as pa, streamlib as sl
    >>> sl.read_arrow(pa.table({"n": [1, 2, 3]})).filter(sl.col("n") > 1).collect().to_pydict()
    {'n': [2, 3]}
    """
    from streamlib.connectors.memory import ArrowSource

    at = user_location()
    try:
        source = ArrowSource(data)
    except StreamlibError as error:
        raise error.in_step("read_arrow", at) from error.__cause__
    return Stream(SourceNode(source=source, at=at))

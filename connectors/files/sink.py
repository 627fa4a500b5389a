"""Files as a place for results: a folder of parts, or one file. They appear whole or not at all.

Rows are staged beside the output, made durable, and renamed when the run has ended well; after an
error or a crash nothing of them is visible. `commit` may be made again.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from streamlib.connectors.files.merge import merge_parts
from streamlib.connectors.files.open_files import identity, remove_tree, writing
from streamlib.connectors.files.parts import PartNames, Parts
from streamlib.connectors.files.staging import (
    Staging,
    is_published,
    publish,
    publish_into,
    remove_leftovers,
)
from streamlib.connectors.formats.names import COMPRESSIONS, compression_of, format_of, has_format_suffix
from streamlib.contracts import Format, Sink, SinkWriter
from streamlib.errors import BuildError, ColumnNotFoundError, SinkError

IF_EXISTS = ("error", "replace", "append")
_PART = re.compile(r"part-([0-9a-f]{8}-)?\d{5}-\d{5}\.[a-z0-9.]+")


class FileSink(Sink):
    """Writes rows to files.

    Args:
        path: a folder, or one file if it ends like a file of a known format (``out/late.jsonl``), also
            compressed (``.csv.gz``). With ``/`` at its end it is always a folder.
        format: a name or a format with options; None goes by the ending. A folder needs it.
        partition_by: columns whose values name folders below the output, ``venue=usdm/``, and are not
            written to the files. For folders only.
        roll: rows after which a worker begins a new part. For folders only.
        if_exists: ``"error"`` refuses an output that is there already, ``"replace"`` swaps it when the
            run has ended well, ``"append"`` adds parts to a folder.
        compression: ``"gzip"`` or ``"zstd"`` for the parts of a folder in a text format.

    Raises:
        BuildError: options that cannot work.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "bars")
    >>> schema = pa.schema({"n": pa.int64()})
    >>> sink = FileSink(path, "parquet")
    >>> sink.prepare(schema)
    >>> writer = sink.open(schema, worker=0)
    >>> writer.write(pa.record_batch({"n": [1, 2]}))
    >>> staged = [writer.finish()]
    >>> os.path.exists(path)
    False
    >>> sink.commit(staged)
    >>> os.listdir(path)
    ['part-00000-00000.parquet']
    """

    guarantee = "exactly_once"
    stages_apart = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: str | Format | None = None,
        partition_by: Sequence[str] = (),
        roll: int | None = None,
        if_exists: str = "error",
        compression: str | None = None,
    ) -> None:
        given = os.fspath(path)
        self.path = given.rstrip("/" + os.sep) or given
        self.one_file = not given.endswith(("/", os.sep)) and has_format_suffix(given)
        self._format = format_of(format, given if self.one_file else None)
        self._keys = [partition_by] if isinstance(partition_by, str) else list(partition_by)
        self._roll, self._if_exists = roll, if_exists
        self._compression = compression_of(given) if self.one_file else compression
        self._check_options(compression)
        self._staging: Staging | None = None

    def prepare(self, schema: pa.Schema) -> None:
        self._check_schema(schema)
        if self._staging is not None:
            self._staging.remove()
        remove_leftovers(self.path)
        self._check_target()
        self._staging = Staging(self.path)
        self._staging.create()

    def open(self, schema: pa.Schema, worker: int) -> SinkWriter:
        if self._staging is None:
            self.prepare(schema)
        assert self._staging is not None
        names = PartNames(worker, self._suffix(), self._staging.run if self._if_exists == "append" else None)
        parts = Parts(
            self._staging.data, names, self._format, schema, self._keys, self._roll, self._compression
        )
        return FileSinkWriter(self._staging, parts, worker)

    def commit(self, staged: Sequence[Any]) -> None:
        staged = sorted(staged, key=lambda one: int(one["worker"]))
        if not staged:
            return
        staging, data = str(staged[0]["staging"]), str(staged[0]["data"])
        if not os.path.isdir(staging):
            self._check_published(staged)
            return
        try:
            parts = self._chosen_parts(staged, data)
            if self.one_file:
                self._commit_file(staging, data, parts)
            elif self._if_exists == "append" and os.path.isdir(self.path):
                publish_into(data, self.path, parts)
            elif not is_published(self.path, staged[0]["identity"]):
                self._check_target()
                publish(data, self.path, staging)
        except SinkError:
            self._drop_staging(staging)
            raise
        self._drop_staging(staging)

    def abort(self) -> None:
        if self._staging is not None:
            self._staging.remove()
            self._staging = None

    def describe(self) -> str:
        return f"files {self.path} ({self._format.name})"

    def _drop_staging(self, staging: str) -> None:
        if self._staging is not None and self._staging.path == staging:
            self._staging.release()
        remove_tree(staging)

    def _chosen_parts(self, staged: Sequence[Any], data: str) -> list[str]:
        """The parts that make the output: those with rows, or one without if none has any."""
        parts = [part for one in staged for part in one["parts"]]
        chosen = [part for part in parts if part["rows"]] or parts[:1]
        for part in parts:
            path = os.path.join(data, part["name"])
            if part not in chosen and os.path.exists(path):
                with writing(path):
                    os.remove(path)
        return [str(part["name"]) for part in chosen]

    def _commit_file(self, staging: str, data: str, parts: list[str]) -> None:
        """Makes the file `whole` of the parts, then publishes it. Each step can be made again."""
        whole = os.path.join(staging, "whole")
        if os.path.isdir(data):
            paths = [os.path.join(data, part) for part in parts]
            with writing(whole):
                if len(paths) > 1:
                    if os.path.exists(whole):
                        os.remove(whole)
                    merge_parts(paths, whole, self._format, self._compression)
                elif os.path.exists(paths[0]):
                    os.rename(paths[0], whole)
                os.rename(data, f"{data}.merged")  # from here on, no `whole` means that it is published
        if os.path.exists(whole):
            self._check_target()
            publish(whole, self.path, staging)

    def _check_published(self, staged: Sequence[Any]) -> None:
        if not os.path.exists(self.path):
            raise SinkError(
                "what was staged is gone",
                where=self.path,
                got=f"no {staged[0]['staging']}",
                hint="was it removed by hand, or by another run?",
            )

    def _suffix(self) -> str:
        ending = next((e for e, c in COMPRESSIONS.items() if c == self._compression), "")
        return self._format.suffixes[0] + ending

    def _check_options(self, compression: str | None) -> None:
        if self._if_exists not in IF_EXISTS:
            raise BuildError(
                "if_exists= is unknown",
                expected=f"one of {', '.join(map(repr, IF_EXISTS))}",
                got=repr(self._if_exists),
            )
        if self._roll is not None and self._roll < 1:
            raise BuildError("roll= is not usable", expected="a number of rows", got=repr(self._roll))
        if self.one_file:
            for option, used in (
                ("partition_by=", bool(self._keys)),
                ("roll=", self._roll is not None),
                ("if_exists='append'", self._if_exists == "append"),
                ("compression=", compression is not None),
            ):
                if used:
                    raise BuildError(
                        f"{option} needs a folder",
                        got=f"the file {self.path!r}",
                        hint=f"a folder is written when the path ends with '/': {self.path + '/'!r}",
                    )
        if self._compression is not None and self._compression not in COMPRESSIONS.values():
            raise BuildError(
                "compression= is unknown", expected="'gzip' or 'zstd'", got=repr(self._compression)
            )
        if self._compression is not None and self._format.compresses:
            raise BuildError(
                f"{self._format.name} files compress themselves",
                got=f"compression {self._compression!r}",
                hint=f"say format=sl.{self._format.name}(compression='zstd')",
            )

    def _check_schema(self, schema: pa.Schema) -> None:
        for name in self._keys:
            if name not in schema.names:
                raise ColumnNotFoundError.of(name, schema.names)
        rest = pa.schema([f for f in schema if f.name not in self._keys])
        if not len(rest):
            raise BuildError("no column is left to write", got=f"partition_by={self._keys!r}")
        try:
            self._format.open_writer(io.BytesIO(), rest).close()
        except (pa.ArrowException, NotImplementedError) as error:
            raise SinkError(
                f"these columns cannot be written as {self._format.name}",
                where=self.path,
                got=str(error).splitlines()[0],
            ) from error

    def _check_target(self) -> None:
        path = self.path
        if not os.path.lexists(path):
            parent = os.path.dirname(os.path.abspath(path))
            with writing(path):
                os.makedirs(parent, exist_ok=True)
            if not os.access(parent, os.W_OK | os.X_OK):
                raise SinkError("the folder cannot be written to", where=parent, hint="no permission")
            return
        if self.one_file:
            if not os.path.isfile(path):
                raise SinkError("the output is a folder", where=path, expected="no folder of this name")
        elif not os.path.isdir(path):
            raise SinkError("the output is a file", where=path, expected="a folder, or nothing")
        elif not os.listdir(path):
            return
        if self._if_exists == "error":
            raise SinkError(
                "the output exists already",
                where=path,
                hint="say if_exists='replace'" + ("" if self.one_file else " or 'append'"),
            )
        if self._if_exists == "replace" and not self.one_file:
            foreign = _foreign(path)
            if foreign is not None:
                raise SinkError(
                    "the folder to replace holds what no output of ours holds",
                    where=path,
                    expected="only files named part-...",
                    got=foreign,
                    hint="remove it by hand, or write to another folder",
                )


class FileSinkWriter(SinkWriter):
    """The writer of one worker."""

    def __init__(self, staging: Staging, parts: Parts, worker: int) -> None:
        self._staging, self._parts, self._worker = staging, parts, worker

    def write(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            self._parts.write(rows)

    def finish(self) -> Any:
        self._parts.finish(at_least_one=self._worker == 0)
        return {
            "worker": self._worker,
            "staging": self._staging.path,
            "data": self._staging.data,
            "identity": identity(self._staging.data),
            "parts": self._parts.done,
        }

    def abort(self) -> None:
        self._parts.abandon()
        self._staging.remove()


def _foreign(folder: str) -> str | None:
    """Something below `folder` that is not a part of an output; None when there is nothing such."""
    for path, folders, files in os.walk(folder):
        for name in files:
            if not _PART.fullmatch(name) and not name.startswith("."):
                return os.path.join(path, name)
        for name in folders:
            if "=" not in name:
                return os.path.join(path, name)
    return None

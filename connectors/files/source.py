"""Files as a source: a split per file, or one log of all files in the order of their names.

Every file must fit one schema: the declared one, or that of the first file by name. Files are
compared with it when they are opened. Files and folders whose name begins with ``.`` or ``_`` are not
seen by patterns and folders: outputs in the making are named so.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from streamlib.connectors.files.open_files import missing, open_input, unreadable
from streamlib.connectors.files.reader import FILE_COLUMNS, FilesReader
from streamlib.connectors.formats.names import ANY_FILE, format_of, format_suffix, has_format_suffix
from streamlib.connectors.schemas import schema_of
from streamlib.contracts import Format, FormatReader, Source, Split, SplitReader
from streamlib.errors import BuildError, ColumnNotFoundError, SourceError, nearest_names

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class FileSource(Source):
    """Rows of files.

    Args:
        path: a file; a pattern (``ticks/*.csv``, ``**`` for folders below); a folder, which means the
            files directly in it; or a list of these.
        format: a name or a format with options; None goes by the ending, below ``.gz`` or ``.zst``.
        schema: a `pyarrow.Schema`, a dict or a dataclass. It selects columns by name (by position in CSV
            without a header) and others are not read. None: the schema of the first file by name.
        order: ``"name"`` makes all files one log, read one after another; None a split per file.
        metadata: whether to add the columns ``file_path`` and ``file_row``.
        columns: read only these.

    Raises:
        BuildError: an option that cannot work.
        SourceError: a file that is missing, unreadable, empty, damaged or of another schema; raised by
            `schema`, `splits` or `open`.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.csv").write_text("n,s\\n1,x\\n2,y\\n")
    >>> source = FileSource(folder / "*.csv")
    >>> source.schema().names
    ['n', 's']
    >>> reader = source.open(source.splits()[0])
    >>> [rows.to_pylist() for rows in reader.decode(reader.read())]
    [[{'n': 1, 's': 'x'}, {'n': 2, 's': 'y'}]]
    >>> reader.close()
    """

    def __init__(
        self,
        path: Paths,
        format: str | Format | None = None,
        schema: Any = None,
        *,
        order: str | None = None,
        metadata: bool = False,
        columns: Sequence[str] | None = None,
    ) -> None:
        if order not in (None, "name"):
            raise BuildError("order= of files is unknown", expected="None or 'name'", got=repr(order))
        single = isinstance(path, str | os.PathLike)
        self._paths = [os.fspath(path)] if single else [os.fspath(p) for p in path]  # type: ignore[arg-type, union-attr]
        self._given = format
        self._declared = None if schema is None else schema_of(schema)
        self._order, self._metadata = order, metadata
        self._columns = None if columns is None else list(columns)
        self._found: list[str] | None = None
        self._format: Format | None = None if format is None else format_of(format)
        self._full: pa.Schema | None = None

    def schema(self) -> pa.Schema:
        full = self._full_schema()
        if self._columns is None:
            return full
        for name in self._columns:
            if name not in full.names:
                raise ColumnNotFoundError.of(name, full.names)
        return pa.schema([f for f in full if f.name in set(self._columns)])

    def splits(self) -> list[Split]:
        files = self._files()
        if self._order == "name":
            return [Split(", ".join(self._paths), tuple(files))]
        return [Split(file, (file,)) for file in files]

    def open(self, split: Split, position: Any = None) -> SplitReader:
        return FilesReader(self, split.detail, position)

    def with_columns(self, columns: Sequence[str]) -> FileSource:
        schema = self.schema()
        for name in columns:
            if name not in schema.names:
                raise ColumnNotFoundError.of(name, schema.names)
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        own = [n for n in schema.names if n not in FILE_COLUMNS.names or not self._metadata]
        keep = list(columns)
        if not any(n in own for n in keep):
            keep.append(own[0])  # rows are counted by some column
        other._columns = [n for n in schema.names if n in keep]
        return other

    def total_bytes(self) -> int | None:
        try:
            return sum(os.path.getsize(f) for f in self._files())
        except OSError:
            return None

    def describe(self) -> str:
        return f"files {', '.join(self._paths)}"

    def open_file(self, path: str, position: Any) -> FormatReader:
        """A reader of one of the files."""
        file = open_input(path)
        try:
            return self.reader_of(file, path, position)
        except BaseException:
            file.close()
            raise

    def reader_of(self, file: BinaryIO, path: str, position: Any) -> FormatReader:
        """A reader of an open file, which it closes."""
        fmt, schema = self._chosen_format(), self._full_schema()
        own = [n for n in schema.names if not (self._metadata and n in FILE_COLUMNS.names)]
        columns = None if self._columns is None else [n for n in own if n in set(self._columns)]
        fields = pa.schema([schema.field(n) for n in own])
        return fmt.open_reader(file, path, fields, columns, position, exact=self._declared is None)

    @property
    def metadata(self) -> bool:
        """Whether rows carry their file and row number."""
        return self._metadata

    def _chosen_format(self) -> Format:
        if self._format is None:
            self._format = format_of(None, self._files()[0])
        return self._format

    def _full_schema(self) -> pa.Schema:
        if self._full is None:
            own = self._schema_of_files()
            if self._metadata:
                taken = [n for n in own.names if n in FILE_COLUMNS.names]
                if taken:
                    raise BuildError(
                        f"metadata=True adds a column {taken[0]!r} that the files have already",
                        where=", ".join(self._paths),
                    )
                own = pa.schema([*own, *FILE_COLUMNS])
            self._full = own
        return self._full

    def _schema_of_files(self) -> pa.Schema:
        """The declared schema, if it fits the first file, or that file's own."""
        first, fmt = self._files()[0], self._chosen_format()
        with open_input(first) as file:
            if self._declared is None:
                return fmt.infer_schema(file, first)
            fmt.open_reader(file, first, self._declared).close()  # what cannot work is known before the run
        return self._declared

    def _files(self) -> list[str]:
        if self._found is None:
            found = sorted({file for path in self._paths for file in self._expand(path)})
            if not found:
                raise SourceError("no files are given", got=repr(self._paths))
            self._found = found
        return self._found

    def _expand(self, path: str) -> list[str]:
        if os.path.isdir(path):
            return self._files_of_folder(path)
        if os.path.exists(path) or not glob.has_magic(path):
            if not os.path.exists(path):
                raise missing(path)
            return [path]
        found = [f for f in glob.glob(path, recursive=True) if os.path.isfile(f) and not is_hidden(f, path)]
        if not found:
            raise _no_match(path)
        return found

    def _files_of_folder(self, folder: str) -> list[str]:
        try:
            names = sorted(n for n in os.listdir(folder) if n[0] not in "._")
        except OSError as error:
            raise unreadable(folder, error) from error
        files = [os.path.join(folder, n) for n in names if os.path.isfile(os.path.join(folder, n))]
        if self._given is None:
            files = [f for f in files if has_format_suffix(f)]
            kinds = sorted({format_of(None, f).name for f in files})
            if len(kinds) > 1:
                raise SourceError(
                    "the folder holds files of several formats",
                    where=folder,
                    expected="files of one format, or format=",
                    got=", ".join(kinds),
                )
        else:
            given = format_of(self._given)
            if given.name not in ANY_FILE:
                files = [f for f in files if format_suffix(f) in given.suffixes]
        if not files:
            raise SourceError(
                "the folder holds no files to read",
                where=folder,
                expected="files of a known format directly in it",
                got=f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" or "an empty folder",
                hint=f"files of folders below are found by {os.path.join(folder, '**', '*.csv')!r}",
            )
        return files


def is_hidden(file: str, pattern: str) -> bool:
    """Whether a part of the path that the pattern matched begins like an output in the making."""
    fixed = 0
    for part in pattern.split(os.sep):
        if glob.has_magic(part):
            break
        fixed += 1
    return any(part[:1] in ("_", ".") for part in file.split(os.sep)[fixed:])


def _no_match(pattern: str) -> SourceError:
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    hint = None
    if not os.path.isdir(folder or "."):
        hint = f"there is no folder {folder!r}"
    else:
        names = sorted(n for n in os.listdir(folder or ".") if not n.startswith("."))
        plain = os.path.basename(pattern).replace("*", "").replace("?", "")
        near = nearest_names(plain, names) or names[:3]
        hint = (
            f"in {folder or '.'!r} there are {', '.join(map(repr, near))}" if near else f"{folder!r} is empty"
        )
    return SourceError("no file matches the pattern", where=pattern, hint=hint)

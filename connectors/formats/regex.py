"""Lines taken apart by a regular expression: each named group is a column.

The expression is Python's, with ``\\d``, ``\\w``, ``\\s`` and ``\\b`` of ASCII, and may match anywhere in the
line (write ``^`` and ``$`` to bind it). What means the same to RE2 is handed to Arrow, which is many times
faster; everything else goes through Python's own engine, line by line. A group that matched nothing is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.formats.csv_diagnose import expected_value
from streamlib.connectors.formats.jsonl import from_text
from streamlib.connectors.formats.lenient import odd_ones
from streamlib.connectors.formats.lines import LINE_BYTES_MAX, LineFault, LinesReader, check_line_options
from streamlib.connectors.formats.re2 import re2_pattern
from streamlib.connectors.formats.text import BLOCK_BYTES
from streamlib.connectors.schemas import schema_of
from streamlib.contracts import Format, FormatReader, FormatWriter
from streamlib.errors import BuildError, ColumnNotFoundError


@dataclass(frozen=True)
class Regex(Format):
    """The format of lines that a regular expression takes apart. Use `regex(...)` to make one."""

    pattern: str
    types: tuple[tuple[str, pa.DataType], ...] = ()
    encoding: str = "utf-8"
    max_line: int = LINE_BYTES_MAX
    block_bytes: int = BLOCK_BYTES
    keep_empty: bool = field(default=False, init=False)

    name = "regex"
    suffixes = (".log", ".txt")

    def __post_init__(self) -> None:
        check_line_options(self.encoding, self.max_line)
        self._check(self.schema)

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The expression as Python runs it."""
        try:
            return re.compile(self.pattern, re.ASCII)
        except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BuildError(
                "the regular expression cannot be compiled",
                expected="one of Python's module re, with named groups",
                got=repr(self.pattern),
                hint=str(error),
            ) from None

    @cached_property
    def fast(self) -> str | None:
        """The expression as RE2 understands it; None where it would not, or not in the same way."""
        return re2_pattern(self.pattern, self.compiled)

    @property
    def schema(self) -> pa.Schema:
        """The columns: those declared, or all named groups as text."""
        return pa.schema(self.types or [(name, pa.string()) for name in self.compiled.groupindex])

    def infer_schema(self, file: BinaryIO, name: str) -> pa.Schema:
        return self.schema

    def open_reader(
        self,
        file: BinaryIO,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        position: Any = None,
        exact: bool = False,
    ) -> FormatReader:
        self._check(schema)
        reader = RegexReader(file, name, self, pa.schema([f.remove_metadata() for f in schema]), columns)
        reader.go_to(position)
        return reader

    def open_writer(self, file: BinaryIO, schema: pa.Schema) -> FormatWriter:
        raise BuildError(
            "a regular expression cannot be written", expected="format='lines', 'csv' or 'jsonl'"
        )

    def _check(self, schema: pa.Schema) -> None:
        groups = list(self.compiled.groupindex)
        if not groups:
            raise BuildError(
                "the regular expression names no columns",
                expected="named groups such as (?P<status>[0-9]+)",
                got=repr(self.pattern),
            )
        for column in schema:
            if column.name not in groups:
                raise ColumnNotFoundError.of(column.name, groups)
            if pa.types.is_nested(column.type):
                raise BuildError(
                    f"a group cannot hold column {column.name!r}",
                    expected="a type without parts",
                    got=str(column.type),
                )


def regex(
    pattern: str, schema: Any = None, *, encoding: str = "utf-8", max_line: int = LINE_BYTES_MAX
) -> Regex:
    """Lines whose columns are the named groups of a regular expression.

    Args:
        pattern: an expression of Python's `re`, found anywhere in a line; ``\\d``, ``\\w``, ``\\s`` and ``\\b``
            mean ASCII. A line without a match is a bad record; an empty line is none.
        schema: types of the groups that are read; all of them as text when None. Numbers and times are
            those that a cast from text knows.
        encoding: such as ``latin-1`` or ``utf-16``; UTF-8 is read fastest.
        max_line: the longest line in bytes of UTF-8; a longer one is a bad record.

    Raises:
        BuildError: an expression that does not compile or names no groups, an unknown type.
        ColumnNotFoundError: a column of the schema that is no group.

    >>> regex(r"(?P<status>\\d{3}) (?P<path>.*)", {"status": int}).schema
    status: int64
    """
    declared = () if schema is None else tuple((f.name, f.type) for f in schema_of(schema))
    return Regex(pattern, declared, encoding, max_line)


class RegexReader(LinesReader):
    """Reads one file of lines by an expression."""

    endless_hint = "is this a file of lines?"

    def __init__(
        self, file: BinaryIO, name: str, fmt: Regex, schema: pa.Schema, columns: Sequence[str] | None
    ) -> None:
        wanted = None if columns is None else set(columns)
        chosen = pa.schema([f for f in schema if wanted is None or f.name in wanted])
        super().__init__(file, name, fmt, chosen)
        self._format, self._checked = fmt, schema

    def rows_of(self, texts: pa.Array) -> tuple[pa.RecordBatch, dict[int, LineFault]]:
        matched, groups = self._groups(texts)
        faults: dict[int, LineFault] = {}
        if not pc.all(matched).as_py() and len(matched):
            missed = np.flatnonzero(~matched.to_numpy(zero_copy_only=False))
            faults = {int(i): LineFault("the line does not match the expression") for i in missed}
        columns = {}
        for column in self._checked:  # also those that are not read: they decide which lines are bad
            try:
                columns[column.name] = typed(groups[column.name], column.type)
            except pa.ArrowException:
                faults = self._odd_values(column, groups[column.name]) | faults
        if not faults:
            return self._batch(columns), {}
        good = pa.array(np.setdiff1d(np.arange(len(texts)), np.fromiter(faults, np.int64, len(faults))))
        kept = {f.name: typed(groups[f.name].take(good), f.type) for f in self._schema}
        return self._batch(kept), faults

    def expected(self, fault: LineFault) -> str:
        if fault.column is not None:
            return expected_value(fault.column.type)
        if "match" in fault.problem:
            return f"a match of {self._format.pattern}"
        return super().expected(fault)

    def _batch(self, columns: dict[str, pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([columns[n] for n in self._schema.names], schema=self._schema)

    def _groups(self, texts: pa.Array) -> tuple[pa.Array, dict[str, pa.Array]]:
        """Which lines match, and the text of each group, null where it is empty or there is no match."""
        names = self._checked.names
        fast = self._format.fast
        if fast is not None:
            found = pc.extract_regex(texts, fast)
            matched = found.is_valid()
            groups = {name: found.field(name) for name in names}
            return matched, {n: pc.if_else(pc.not_equal(g, ""), g, None) for n, g in groups.items()}
        search = self._format.compiled.search
        matches = [search(text) for text in texts.to_pylist()]
        return pa.array([m is not None for m in matches], pa.bool_()), {
            name: pa.array([None if m is None else m[name] or None for m in matches], pa.string())
            for name in names
        }

    def _odd_values(self, column: pa.Field, values: pa.Array) -> dict[int, LineFault]:
        distinct = values.unique().drop_null()

        def fits(a: int, b: int) -> bool:
            try:
                typed(distinct.slice(a, b - a), column.type)
            except pa.ArrowException:
                return False
            return True

        odd = distinct.take(pa.array(odd_ones(len(distinct), fits), pa.int64()))
        rows: Iterable[int] = pc.indices_nonzero(pc.fill_null(pc.is_in(values, odd), False)).to_pylist()
        problem = f"the value is no {column.type}"
        return {i: LineFault(problem, column, values[i].as_py()) for i in rows}


def typed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Text as another type: whole numbers, numbers, ``true`` and ``false``, times as ISO 8601.

    Raises:
        pyarrow.ArrowInvalid: a value that is no such text.
    """
    if pa.types.is_time(kind):
        return from_text(values, kind)
    if pa.types.is_dictionary(kind):
        return typed(values, kind.value_type).dictionary_encode().cast(kind)
    try:
        found = values.cast(kind)
        if pa.types.is_decimal(kind):
            found.validate(full=True)
        return found
    except NotImplementedError as error:
        raise BuildError(f"text cannot be read as {kind}", got=str(error)) from None

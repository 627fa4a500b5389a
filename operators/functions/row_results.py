"""What row functions return, as columns: a dict, a dataclass or a tuple for each row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import pyarrow as pa

from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.brief import brief

Columns = list[Sequence[Any]]


class RowResults:
    """Makes columns of what was returned.

    Args:
        schema: of the rows.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.names: list[str] = schema.names
        self._wanted = set(self.names)
        self._readers: dict[type, Callable[[Sequence[Any]], Columns]] = {}

    def batch(self, made: Sequence[Any]) -> pa.RecordBatch:
        """The rows as a record batch.

        Raises:
            Misfit: one of them is no row, or has a value that does not fit. Columns are made one after
                the other, so an earlier row may not fit either.
        """
        arrays = []
        for field, values in zip(self.schema, self._columns(made), strict=True):
            try:
                array = array_of(values, field.type)
            except Misfit as error:
                what = error.problem or f"returned a value that does not fit column {field.name!r}"
                raise Misfit(error.index, error.expected, error.got, what) from error
            if array.null_count and not field.nullable:
                index = array.is_null().index(True).as_py()
                problem = f"returned nothing for column {field.name!r}, which takes no nulls"
                raise Misfit(index, str(field.type), brief(values[index]), problem)
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _columns(self, made: Sequence[Any]) -> Columns:
        kinds = set(map(type, made))
        if not kinds:
            return [[] for _ in self.names]
        if len(kinds) == 1:
            return self._reader(kinds.pop(), made)(made)
        rows = []
        for index, row in enumerate(made):
            try:
                rows.append([column[0] for column in self._reader(type(row), [row])([row])])
            except Misfit as error:
                error.index = index
                raise
        return _transposed(rows, len(self.names))

    def _reader(self, kind: type, made: Sequence[Any]) -> Callable[[Sequence[Any]], Columns]:
        """How rows of one class are taken apart."""
        found = self._readers.get(kind)
        if found is None:
            if issubclass(kind, Mapping):
                found = self._dicts
            elif issubclass(kind, tuple):
                found = self._tuples
            elif dataclasses.is_dataclass(kind):
                names = [field.name for field in dataclasses.fields(kind)]
                self._same_names(names, made[0])
                found = self._attributes
            else:
                raise self._no_row(made[0])
            self._readers[kind] = found
        return found

    def _dicts(self, made: Sequence[Mapping[str, Any]]) -> Columns:
        count = len(self.names)
        try:
            columns: Columns = [[row[name] for row in made] for name in self.names]
            if sum(map(len, made)) == count * len(made):
                return columns
        except KeyError:
            pass
        for index, row in enumerate(made):
            self._same_names(row, row, index)
        raise AssertionError("some row has other names")

    def _attributes(self, made: Sequence[Any]) -> Columns:
        return [list(map(attrgetter(name), made)) for name in self.names]

    def _tuples(self, made: Sequence[tuple[Any, ...]]) -> Columns:
        names = getattr(made[0], "_fields", None)
        if names is not None:
            self._same_names(names, made[0])
            if list(names) != self.names:
                return self._attributes(made)
        count = len(self.names)
        if set(map(len, made)) != {count}:
            index, row = next((i, row) for i, row in enumerate(made) if len(row) != count)
            problem = f"returned a tuple of {len(row)} for {count} columns"
            raise Misfit(index, ", ".join(self.names), brief(row), problem)
        return _transposed(made, count)

    def _same_names(self, found: Any, row: Any, index: int = 0) -> None:
        missing = [name for name in self.names if name not in found]
        if missing:
            problem = f"returned no {missing[0]!r}"
            raise Misfit(index, f"a value for each of {', '.join(self.names)}", brief(row), problem)
        extra = [name for name in found if name not in self._wanted]
        if extra:
            problem = f"returned {extra[0]!r}, which is no column of the result"
            raise Misfit(index, ", ".join(self.names), brief(row), problem)

    def _no_row(self, value: Any) -> Misfit:
        expected = f"a dict, a dataclass or a tuple with {', '.join(self.names)}"
        if value is None:
            return Misfit(0, expected, "None: is a return missing?", "returned nothing")
        return Misfit(0, expected, f"{brief(value)} ({type(value).__name__})", "returned no row")


def _transposed(rows: Sequence[Sequence[Any]], columns: int) -> Columns:
    """The columns of rows; three times as fast as ``zip(*rows)`` where there are many rows."""
    return [[row[place] for row in rows] for place in range(columns)]


def several(value: Any, described: Sequence[str]) -> Iterator[Any]:
    """The rows that a flat_map function returned for one row: none for None.

    Raises:
        Misfit: it is no iterable of rows, or is a row itself.
    """
    if value is None:
        return iter(())
    is_row = (
        isinstance(value, (Mapping, str, bytes))
        or dataclasses.is_dataclass(value)
        or hasattr(value, "_fields")
    )
    expected = f"an iterable of rows with {', '.join(described)}, or None"
    if is_row:
        raise Misfit(0, expected, brief(value), "returned one row, not rows: put it into a list")
    try:
        return iter(value)
    except TypeError:
        raise Misfit(0, expected, brief(value), "returned no rows") from None

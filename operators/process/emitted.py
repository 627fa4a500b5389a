"""The rows that a processor sends out: taken apart and checked at once, made columns when there are enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.elements import Batch
from streamlib.operators.functions.arrays import Misfit, array_of
from streamlib.operators.functions.brief import brief
from streamlib.operators.process.fits import Fit, fit_of, misfit_of, refused

Taker = Callable[[Any], tuple[Any, ...]]


class Emitted:
    """The rows of one output that were not sent on yet.

    Args:
        schema: of the output.

    Attributes:
        times: of each row, ns.

    >>> out = Emitted(pa.schema({"user": pa.string(), "n": pa.int64()}))
    >>> out.add({"n": 3, "user": "ann"}, 7)
    >>> [batch.rows.to_pylist() for batch in out.batches(100)]
    [[{'user': 'ann', 'n': 3}]]
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.times: list[int] = []
        self._columns: list[list[Any]] = [[] for _ in schema]  # no object for each row
        self._names: list[str] = schema.names
        self._items: Taker = itemgetter(*self._names) if len(self._names) > 1 else self._one_by_one
        self._fits: list[Fit] = [_fit(field) for field in schema]
        self._takers: dict[type, Taker] = {}

    def add(self, row: Any, time: int) -> None:
        """Takes a row.

        Raises:
            Misfit: it is none, or a value does not fit its column.
        """
        taker = self._takers.get(type(row)) or self._taker(row)
        try:
            values = [fit(value) for fit, value in zip(self._fits, taker(row), strict=True)]
        except Misfit as error:
            raise self._named(error, taker(row)) from error
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        self.times.append(time)

    def cut(self, rows: int) -> None:
        """Forgets all but the first `rows`."""
        for column in (self.times, *self._columns):
            del column[rows:]

    def batches(self, batch_rows: int) -> Iterator[Batch]:
        """The rows as batches; there are none left then."""
        columns, times = self._columns, self.times
        self._columns, self.times = [[] for _ in self.schema], []
        for begin in range(0, len(times), batch_rows):
            part = slice(begin, begin + batch_rows)
            arrays = [
                array_of(column[part], field.type) for column, field in zip(columns, self.schema, strict=True)
            ]
            yield Batch(
                pa.RecordBatch.from_arrays(arrays, schema=self.schema), np.array(times[part], dtype=np.int64)
            )

    def _taker(self, row: Any) -> Taker:
        """How rows of one class are taken apart."""
        kind = type(row)
        taker: Taker
        if issubclass(kind, Mapping):
            taker = self._of_mapping
        elif dataclasses.is_dataclass(kind):
            taker = self._of_attributes([field.name for field in dataclasses.fields(kind)], row)
        elif issubclass(kind, tuple):
            names = getattr(kind, "_fields", None)
            taker = self._of_tuple if names is None else self._of_attributes(list(names), row)
        else:
            expected = f"a dict, a dataclass or a tuple with {', '.join(self._names)}"
            raise refused(expected, row, f"emitted no row: {type(row).__name__}")
        self._takers[kind] = taker
        return taker

    def _of_mapping(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        if len(row) != len(self._names):
            self._same_names(list(row), row)
        try:
            return self._items(row)
        except KeyError:
            self._same_names(list(row), row)
            raise

    def _one_by_one(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple([row[name] for name in self._names])

    def _of_attributes(self, found: list[str], row: Any) -> Taker:
        self._same_names(found, row)
        if len(self._names) == 1:
            get = attrgetter(self._names[0])
            return lambda one: (get(one),)
        several: Taker = attrgetter(*self._names)
        return several

    def _of_tuple(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(row) != len(self._names):
            raise refused(
                ", ".join(self._names), row, f"emitted a tuple of {len(row)} for {len(self._names)} columns"
            )
        return row

    def _same_names(self, found: list[str], row: Any) -> None:
        missing = [name for name in self._names if name not in found]
        if missing:
            expected = f"a value for each of {', '.join(self._names)}"
            raise refused(expected, row, f"emitted a row without {missing[0]!r}")
        extra = [name for name in found if name not in self._names]
        if extra:
            expected = ", ".join(self._names)
            raise refused(expected, row, f"emitted {extra[0]!r}, which is no column of the result")

    def _named(self, error: Misfit, values: tuple[Any, ...]) -> Misfit:
        """The error with the column whose value it is."""
        for field, fit, value in zip(self.schema, self._fits, values, strict=True):
            try:
                fit(value)
            except Misfit:
                what = f"emitted a value that does not fit column {field.name!r}"
                return misfit_of(error, what)
        return error


def _fit(field: pa.Field) -> Fit:
    fit = fit_of(field.type)
    if field.nullable:
        return fit

    def given(value: Any) -> Any:
        if value is None:
            raise Misfit(
                0,
                str(field.type),
                brief(value),
                f"emitted nothing for column {field.name!r}, which takes no nulls",
            )
        return fit(value)

    return given

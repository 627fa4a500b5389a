"""The exceptions of streamlib. One shape for all messages, so that a reader finds the same thing in the same place."""

from __future__ import annotations

from collections.abc import Iterable

from streamlib.errors.location import Location, user_location
from streamlib.errors.names import nearest_names


class StreamlibError(Exception):
    """Base of every error that streamlib raises on purpose.

    Args:
        problem: one sentence that says what is wrong.
        step: the step it happened in, as `explain()` names it.
        at: the line of the user's script that made the step.
        where: the place in the data, such as ``ticks.csv, line 7, column 'price'``.
        expected: what would have been right.
        got: what came instead.
        hint: the likely cause, or what to do.

    Attributes:
        row: the row of the batch, from 0, while its place in the input is not known yet.

    >>> print(StreamlibError("the value is no number", where="ticks.csv, line 7", got="'abc'"))
    the value is no number
      where:    ticks.csv, line 7
      got:      'abc'
    """

    row: int | None = None

    def __init__(
        self,
        problem: str,
        *,
        step: str | None = None,
        at: Location | None = None,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.step = step
        self.at = at
        self.where = where
        self.expected = expected
        self.got = got
        self.hint = hint

    def in_step(self, step: str, at: Location | None) -> StreamlibError:
        """Names the step, unless an inner step was named already: the origin is never overwritten."""
        if self.step is None:
            self.step, self.at = step, at or self.at
        return self

    def __str__(self) -> str:
        step = self.step
        if step is not None and self.at is not None:
            step = f"{step} ({self.at})"
        elif step is None and self.at is not None:
            step = str(self.at)
        lines = [self.problem]
        for label, text in (
            ("step", step),
            ("where", self.where),
            ("expected", self.expected),
            ("got", self.got),
            ("hint", self.hint),
        ):
            if text is not None:
                lines.append(f"  {label + ':':<10}{text}")
        return "\n".join(lines)


class BuildError(StreamlibError):
    """The graph cannot work. Raised while the script builds it, before any row is read, at its line."""

    def __init__(
        self,
        problem: str,
        *,
        step: str | None = None,
        at: Location | None = None,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        at = at or user_location()
        super().__init__(problem, step=step, at=at, where=where, expected=expected, got=got, hint=hint)


class ColumnNotFoundError(BuildError):
    """A column that is not in the schema; the message gives the nearest names."""

    @classmethod
    def of(cls, name: str, known: Iterable[str]) -> ColumnNotFoundError:
        """The error for `name` where only `known` columns exist."""
        names = list(known)
        near = nearest_names(name, names)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else None
        return cls(
            f"there is no column {name!r}",
            expected=f"one of: {', '.join(names) or '(no columns)'}",
            got=repr(name),
            hint=hint,
        )


class TypeMismatchError(BuildError):
    """An operation on column types that it cannot work on."""


class DataError(StreamlibError):
    """Bad rows: a malformed line, a null event time, a value that does not fit its type."""


class SourceError(StreamlibError):
    """An input that is missing, empty, unreadable, damaged or of another schema."""


class SinkError(StreamlibError):
    """An output that cannot be written."""


class WorkerError(StreamlibError):
    """A worker process that could not be started, or that ended before its work was done."""


class UserFunctionError(StreamlibError):
    """A function of the user's raised, or returned what it must not."""

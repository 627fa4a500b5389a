"""Python's operators on expressions: each builds a larger expression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr


class Operators(ABC):
    """Arithmetic, comparison and logic, with a constant on either side."""

    __slots__ = ()

    @abstractmethod
    def _combine(self, operator: str, left: object, right: object) -> Expr:
        """`left operator right`."""

    @abstractmethod
    def _prefix(self, operator: str) -> Expr:
        """`operator self`."""

    @abstractmethod
    def __hash__(self) -> int: ...

    def __add__(self, other: object) -> Expr:
        return self._combine("+", self, other)

    def __radd__(self, other: object) -> Expr:
        return self._combine("+", other, self)

    def __sub__(self, other: object) -> Expr:
        return self._combine("-", self, other)

    def __rsub__(self, other: object) -> Expr:
        return self._combine("-", other, self)

    def __mul__(self, other: object) -> Expr:
        return self._combine("*", self, other)

    def __rmul__(self, other: object) -> Expr:
        return self._combine("*", other, self)

    def __truediv__(self, other: object) -> Expr:
        return self._combine("/", self, other)

    def __rtruediv__(self, other: object) -> Expr:
        return self._combine("/", other, self)

    def __floordiv__(self, other: object) -> Expr:
        return self._combine("//", self, other)

    def __rfloordiv__(self, other: object) -> Expr:
        return self._combine("//", other, self)

    def __mod__(self, other: object) -> Expr:
        return self._combine("%", self, other)

    def __rmod__(self, other: object) -> Expr:
        return self._combine("%", other, self)

    def __pow__(self, other: object) -> Expr:
        return self._combine("**", self, other)

    def __rpow__(self, other: object) -> Expr:
        return self._combine("**", other, self)

    def __and__(self, other: object) -> Expr:
        return self._combine("&", self, other)

    def __rand__(self, other: object) -> Expr:
        return self._combine("&", other, self)

    def __or__(self, other: object) -> Expr:
        return self._combine("|", self, other)

    def __ror__(self, other: object) -> Expr:
        return self._combine("|", other, self)

    def __xor__(self, other: object) -> Expr:
        return self._combine("^", self, other)

    def __rxor__(self, other: object) -> Expr:
        return self._combine("^", other, self)

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return self._combine("==", self, other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return self._combine("!=", self, other)

    def __lt__(self, other: object) -> Expr:
        return self._combine("<", self, other)

    def __le__(self, other: object) -> Expr:
        return self._combine("<=", self, other)

    def __gt__(self, other: object) -> Expr:
        return self._combine(">", self, other)

    def __ge__(self, other: object) -> Expr:
        return self._combine(">=", self, other)

    def __neg__(self) -> Expr:
        return self._prefix("-")

    def __invert__(self) -> Expr:
        return self._prefix("~")

"""Lines for arithmetic and for the functions that are translated: what is tested before, and what is computed."""

from __future__ import annotations

import ast
import builtins
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from streamlib.state.steps.step_values import BOOL, FLOAT, INT, NONE, TUPLE, Value

_EXACT = "9007199254740992"
"""2 ** 53: whole numbers up to it are floats, exactly."""
_LEAST = "-9223372036854775807"
_BUILTINS = ("abs", "min", "max", "float", "int", "bool")
_MATH = ("sqrt", "exp", "log", "floor", "ceil", "trunc", "fabs", "isnan", "isinf", "isfinite", "copysign")


class CallLines:
    """Lines, and names for what they compute."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self._temps = 0

    def emit(self, *lines: str) -> None:
        """Adds lines at the present depth."""
        self.lines += ["    " * self.depth + line for line in lines]

    def fresh(self) -> str:
        """A name that is not in use."""
        self._temps += 1
        return f"t{self._temps}"

    def temp(self, text: str) -> str:
        """A name for an expression, which is computed now."""
        name = self.fresh()
        self.emit(f"{name} = {text}")
        return name

    def hand_over(self) -> None:
        """Leaves the row to Python."""
        self.emit("return False")

    def require(self, test: str) -> None:
        """Rows for which the test fails are Python's."""
        self.emit(f"if not ({test}):", "    return False")

    def require_exact(self, whole: str) -> None:
        """Rows whose whole number is no float are Python's."""
        self.require(f"-{_EXACT} <= {whole} <= {_EXACT}")

    @abstractmethod
    def number(self, value: Value, node: ast.AST) -> Value:
        """The value where it is a number."""

    @abstractmethod
    def floated(self, value: Value) -> Value:
        """A number as a float."""

    @abstractmethod
    def truth(self, node: ast.expr) -> str:
        """Whether an expression counts as true."""

    def whole(self, sign: str, a: str, b: str) -> Value:
        """Arithmetic on whole numbers."""
        if sign == "/":
            self.require_exact(a)
            self.require_exact(b)
            return self.real(sign, self.temp(f"float({a})"), self.temp(f"float({b})"))
        if sign in ("//", "%"):
            self.require(f"{b} != 0 and {a} >= {_LEAST}")
            return Value(INT, self.temp(f"{a} {sign} {b}"))
        if sign == "*":
            self.require(f"abs(float({a}) * float({b})) < 9.2e18")
            return Value(INT, self.temp(f"{a} * {b}"))
        made = self.temp(f"{a} {sign} {b}")
        flipped = f"({a} ^ {made}) & ({b} ^ {made})" if sign == "+" else f"({a} ^ {b}) & ({a} ^ {made})"
        self.require(f"({flipped}) >= 0")
        return Value(INT, made)

    def real(self, sign: str, a: str, b: str) -> Value:
        """Arithmetic on floats."""
        if sign == "/":
            self.require(f"{b} != 0.0")
        if sign in ("//", "%"):
            self.require(f"{b} != 0.0 and math.isfinite({a}) and math.isfinite({b})")
            name = "float_floor_divide" if sign == "//" else "float_modulo"
            return Value(FLOAT, self.temp(f"{name}({a}, {b})"))
        return Value(FLOAT, self.temp(f"{a} {sign} {b}"))

    def known_name(self, function: Any) -> str | None:
        """What a global function is called here; None for one that is not translated."""
        for name in _BUILTINS:
            if function is getattr(builtins, name):
                return name
        for name in _MATH:
            if function is getattr(math, name):
                return f"math.{name}"
        return None

    def called(self, name: str, given: Sequence[Value], node: ast.AST) -> Value | None:
        """The result of a function; None where it is not translated for such arguments."""
        if name in ("min", "max"):
            return self._extreme(name, given, node)
        if len(given) != (2 if name == "math.copysign" else 1):
            return None
        if name == "bool" and given[0].kind not in (TUPLE, NONE) and not given[0].there:
            value = given[0]
            zero = "0.0" if value.kind == FLOAT else "0"
            return value if value.kind == BOOL else Value(BOOL, self.temp(f"{value.text} != {zero}"))
        numbers = [self.number(value, node) for value in given]
        if name in ("abs", "int", "math.floor", "math.ceil", "math.trunc"):
            return self._whole_call(name, numbers[0])
        floats = [self.floated(value).text for value in numbers]
        return self._real_call(name, floats) if name == "float" or name.startswith("math.") else None

    def _extreme(self, name: str, given: Sequence[Value], node: ast.AST) -> Value | None:
        """The first of the least or largest, as Python finds it: where NaN is met, its place decides."""
        if len(given) < 2 or len({value.kind for value in given}) > 1 or given[0].kind not in (INT, FLOAT):
            return None
        numbers = [self.number(value, node) for value in given]
        made = self.temp(numbers[0].text)
        for value in numbers[1:]:
            self.emit(
                f"if {value.text} {'<' if name == 'min' else '>'} {made}:", f"    {made} = {value.text}"
            )
        return Value(numbers[0].kind, made)

    def _whole_call(self, name: str, value: Value) -> Value:
        if name == "abs":
            if value.kind == INT:
                self.require(f"{value.text} >= {_LEAST}")
            return Value(value.kind, self.temp(f"abs({value.text})"))
        if value.kind == INT:
            return value
        self.require(f"abs({value.text}) < 9.2e18")
        inner = {"math.floor": "math.floor", "math.ceil": "math.ceil"}.get(name, "math.trunc")
        return Value(INT, self.temp(f"np.int64({inner}({value.text}))"))

    def _real_call(self, name: str, floats: Sequence[str]) -> Value | None:
        first = floats[0]
        if name == "float":
            return Value(FLOAT, first)
        if name in ("math.isnan", "math.isinf", "math.isfinite"):
            return Value(BOOL, self.temp(f"{name}({first})"))
        if name == "math.fabs":
            return Value(FLOAT, self.temp(f"abs({first})"))
        if name == "math.copysign":
            return Value(FLOAT, self.temp(f"math.copysign({first}, {floats[1]})"))
        if name not in ("math.sqrt", "math.exp", "math.log"):
            return None
        if name == "math.sqrt":
            self.require(f"not {first} < 0.0")
        if name == "math.log":
            self.require(f"not {first} <= 0.0")
        made = self.temp(f"{name}({first})")
        if name == "math.exp":
            self.require(f"{made} != math.inf or {first} == math.inf")
        return Value(FLOAT, made)

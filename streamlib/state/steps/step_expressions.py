"""Lines for expressions: their kinds are found, and what compiled code does not do as Python is tested for."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from streamlib.state.steps.step_calls import CallLines
from streamlib.state.steps.step_values import (
    BOOL,
    FLOAT,
    INT,
    INT_MAX,
    NONE,
    TUPLE,
    ZERO,
    NotCompiled,
    Value,
    assigned,
    described,
    named,
    shape_of,
    together,
)

_COMPARED = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_ARITHMETIC = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_BITWISE = {ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^"}


class Poison:
    """A variable that has no one kind: it may not be used."""

    def __init__(self, why: str) -> None:
        self.why = why


class ExpressionLines(CallLines):
    """The lines of expressions.

    Args:
        constants: values of names that are no variables: globals, the closure, and defaults of parameters.
        variables: the parameters' values by name.
    """

    def __init__(self, constants: Mapping[str, Any], variables: Mapping[str, Value]) -> None:
        super().__init__()
        self.constants = constants
        self.env: dict[str, Value | Poison] = dict(variables)
        self.local: set[str] = set(variables)

    def refuse(self, node: ast.AST, why: str) -> NotCompiled:
        """That the function cannot be compiled, with the line."""
        return NotCompiled(f"line {self.line_of(node)}: {why}")

    def line_of(self, node: ast.AST) -> int:
        """The line of the user's file."""
        return int(getattr(node, "lineno", 1))

    def value(self, node: ast.expr) -> Value:
        """The value of an expression; the lines that make it go before."""
        if isinstance(node, ast.Constant):
            return self._constant(node.value, node)
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.Tuple):
            return Value(TUPLE, items=tuple([self.value(item) for item in node.elts]))
        if isinstance(node, ast.BinOp):
            return self.operation(node, node.op, self.value(node.left), self.value(node.right))
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BoolOp):
            return self._and_or(node)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.IfExp):
            return self._either(node)
        if isinstance(node, ast.Subscript):
            return self._item(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self.refuse(node, f"{type(node).__name__} runs in Python only")

    def _constant(self, value: Any, node: ast.AST) -> Value:
        if value is None:
            return Value(NONE)
        if type(value) is bool:
            return Value(BOOL, repr(value), is_literal=True)
        if type(value) is int and -INT_MAX <= value <= INT_MAX:
            return Value(INT, repr(value), is_literal=True)
        if type(value) is float:
            text = repr(value) if math.isfinite(value) else f"math.{'nan' if value != value else 'inf'}"
            return Value(FLOAT, f"-{text}" if value == -math.inf else text, is_literal=True)
        if type(value) is tuple:
            return Value(TUPLE, items=tuple([self._constant(item, node) for item in value]))
        raise self.refuse(node, f"a value of type {type(value).__name__}")

    def name(self, node: ast.Name) -> Value:
        """The value of a variable, or of a constant."""
        found = self.env.get(node.id)
        if isinstance(found, Poison):
            raise self.refuse(node, found.why)
        if found is not None:
            return found
        if node.id in self.local or node.id not in self.constants:
            raise self.refuse(node, f"{node.id!r} may have no value")
        return self._constant(self.constants[node.id], node)

    def number(self, value: Value, node: ast.AST) -> Value:
        """The value where it is a number; a bool counts as one. Where it may be None, the row may be Python's."""
        if value.kind in (TUPLE, NONE):
            raise self.refuse(node, f"it computes with {described(shape_of(value))}")
        if value.there:
            self.require(value.there)
        if value.kind == BOOL:
            return Value(INT, self.temp(f"np.int64({value.text})"))
        return replace(value, there="")

    def floated(self, value: Value) -> Value:
        """A number as Python makes a float of it."""
        if value.kind == FLOAT:
            return value
        if value.is_literal:
            return Value(FLOAT, repr(float(value.text)), is_literal=True)
        return Value(FLOAT, self.temp(f"float({value.text})"))

    def _folded(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value | None:
        """The result of an operation on two literals; None where it has to be computed for each row."""
        function = _OPERATORS.get(type(op))
        if not (left.is_literal and right.is_literal and function) or "math" in left.text + right.text:
            return None
        one, two = ast.literal_eval(left.text), ast.literal_eval(right.text)
        if isinstance(op, ast.Pow) and not (abs(one) <= 1_000 and abs(two) <= 100):
            return None
        try:
            return self._constant(function(one, two), node)
        except (ArithmeticError, ValueError, NotCompiled):
            return None

    def operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """What an operator makes of two values."""
        folded = self._folded(node, op, left, right)
        if folded is not None:
            return folded
        if type(op) in _BITWISE:
            sign, both_bool = _BITWISE[type(op)], left.kind == right.kind == BOOL
            one, two = self.number(left, node), self.number(right, node)
            if FLOAT in (one.kind, two.kind):
                raise self.refuse(node, f"{sign} of a float")
            made = self.temp(f"{one.text} {sign} {two.text}")
            return Value(BOOL, self.temp(f"{made} != 0")) if both_bool else Value(INT, made)
        left, right = self.number(left, node), self.number(right, node)
        if isinstance(op, ast.Pow):
            return self._power(node, left, right)
        if type(op) not in _ARITHMETIC:
            raise self.refuse(node, f"the operator {type(op).__name__} runs in Python only")
        sign = _ARITHMETIC[type(op)]
        if left.kind == right.kind == INT:
            return self.whole(sign, left.text, right.text)
        return self.real(sign, self.floated(left).text, self.floated(right).text)

    def _power(self, node: ast.AST, left: Value, right: Value) -> Value:
        if left.kind != INT or right.text not in ("2", "3"):
            raise self.refuse(node, "** runs in Python only: write x * x")
        made = left
        for _ in range(int(right.text) - 1):
            made = self.whole("*", made.text, left.text)
        return made

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value(BOOL, self.temp(f"not {self.truth(node.operand)}"))
        value = self.number(self.value(node.operand), node)
        if isinstance(node.op, ast.USub):
            if value.is_literal and "math" not in value.text:
                return self._constant(-ast.literal_eval(value.text), node)
            if value.kind == INT:
                return self.whole("-", "0", value.text)
            return Value(FLOAT, self.temp(f"-{value.text}"))
        if isinstance(node.op, ast.UAdd):
            return value
        if value.kind == FLOAT:
            raise self.refuse(node, "~ of a float")
        return Value(INT, self.temp(f"~{value.text}"))

    def truth(self, node: ast.expr) -> str:
        """The name of a bool: whether the expression counts as true."""
        if isinstance(node, ast.BoolOp):
            return self._all_or_any(node)
        value = self.value(node)
        if value.kind == BOOL and not value.there:
            return value.text
        if value.kind == TUPLE:
            return repr(bool(value.items))
        if value.kind == NONE:
            return "False"
        test = value.text if value.kind == BOOL else f"{value.text} != {ZERO[value.kind]}"
        return self.temp(f"{value.there} and {test}" if value.there else test)

    def _all_or_any(self, node: ast.BoolOp) -> str:
        found, indents = self.fresh(), 0
        for place, part in enumerate(node.values):
            self.emit(f"{found} = {self.truth(part)}")
            if place < len(node.values) - 1:
                self.emit(f"if {found}:" if isinstance(node.op, ast.And) else f"if not {found}:")
                self.depth += 1
                indents += 1
        self.depth -= indents
        return found

    def _and_or(self, node: ast.BoolOp) -> Value:
        """The value of the part that decides, as long as all parts are of one kind."""
        base, indents = self.fresh(), 0
        shape: Value | None = None
        for place, part in enumerate(node.values):
            value = self.value(part)
            if value.kind in (TUPLE, NONE) or value.there or (shape and shape.kind != value.kind):
                raise self.refuse(part, "and, or between values of several kinds")
            shape = shape_of(value)
            self.emit(f"{base} = {value.text}")
            if place < len(node.values) - 1:
                test = base if value.kind == BOOL else f"{base} != {ZERO[value.kind]}"
                self.emit(f"if {test}:" if isinstance(node.op, ast.And) else f"if not ({test}):")
                self.depth += 1
                indents += 1
        self.depth -= indents
        assert shape is not None, "and, or have parts"
        return named(shape, base)

    def _compared(self, node: ast.Compare) -> Value:
        found, indents = self.fresh(), 0
        left = self.value(node.left)
        for place, (op, part) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = self.value(part)
            self.emit(f"{found} = {self._comparison(node, op, left, right)}")
            if place < len(node.ops) - 1:
                self.emit(f"if {found}:")
                self.depth += 1
                indents += 1
            left = right
        self.depth -= indents
        return Value(BOOL, found)

    def _comparison(self, node: ast.AST, op: ast.cmpop, left: Value, right: Value) -> str:
        if isinstance(op, (ast.Is, ast.IsNot)):
            if right.kind != NONE:
                raise self.refuse(node, "'is' with something else than None")
            is_there = "False" if left.kind == NONE else left.there or "True"
            return f"not {is_there}" if isinstance(op, ast.Is) else is_there
        if type(op) not in _COMPARED:
            raise self.refuse(node, f"{type(op).__name__} runs in Python only")
        one, two = self.number(left, node), self.number(right, node)
        if one.kind != two.kind:  # Python compares exactly
            for value in (one, two):
                if value.kind == INT and not value.is_literal:
                    self.require_exact(value.text)
            one, two = self.floated(one), self.floated(two)
        return f"{one.text} {_COMPARED[type(op)]} {two.text}"

    def _either(self, node: ast.IfExp) -> Value:
        condition, base = self.truth(node.test), self.fresh()
        self.emit(f"if {condition}:")
        self.depth += 1
        one = self.value(node.body)
        place = len(self.lines)
        self.depth -= 1
        self.emit("else:")
        self.depth += 1
        two = self.value(node.orelse)
        shape = together(one, two)
        if shape is None:
            raise self.refuse(
                node, f"it is {described(shape_of(one))} or {described(shape_of(two))}: make it one of them"
            )
        self.emit(*assigned(base, two, shape), "pass")
        indent = "    " * self.depth
        self.depth -= 1
        self.lines[place:place] = [indent + line for line in [*assigned(base, one, shape), "pass"]]
        return named(shape, base)

    def _item(self, node: ast.Subscript) -> Value:
        value, place = self.value(node.value), node.slice
        if isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub):
            inner = place.operand
            index = -inner.value if isinstance(inner, ast.Constant) and type(inner.value) is int else None
        else:
            index = place.value if isinstance(place, ast.Constant) and type(place.value) is int else None
        if value.kind != TUPLE or index is None or not -len(value.items) <= index < len(value.items):
            raise self.refuse(node, "it takes an item out of something else than a tuple, by a number")
        return value.items[index]

    def _attribute(self, node: ast.Attribute) -> Value:
        if self.is_math(node):
            return self._constant(getattr(math, node.attr, None), node)
        raise self.refuse(node, f"the attribute {node.attr!r} runs in Python only")

    def is_math(self, node: ast.expr) -> bool:
        """Whether it is a name of the module `math`."""
        owner = node.value if isinstance(node, ast.Attribute) else None
        return (
            isinstance(owner, ast.Name)
            and owner.id not in self.local
            and self.constants.get(owner.id) is math
        )

    def _call(self, node: ast.Call) -> Value:
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self.refuse(node, "a call with keywords or *")
        name: str | None = None
        if isinstance(node.func, ast.Attribute) and self.is_math(node.func):
            name = f"math.{node.func.attr}"
        elif isinstance(node.func, ast.Name) and node.func.id not in self.local:
            function = self.constants.get(node.func.id)
            name = self.known_name(function)
        if name is None:
            raise self.refuse(node, f"{ast.unparse(node.func)}() runs in Python only")
        made = self.called(name, [self.value(argument) for argument in node.args], node)
        if made is None:
            raise self.refuse(node, f"{name}() with these arguments runs in Python only")
        return made

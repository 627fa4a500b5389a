"""A function of the user's, statement by statement, as lines that numba compiles.

Only what the compiled form does exactly as Python is translated. Where that depends on values, the lines test
for it and return False: the row is then Python's. So a whole number that leaves 64 bits, a division by zero,
`math.log` of nothing and a comparison that rounds are all as in Python, because they are done by Python. What
is left is IEEE arithmetic on doubles and arithmetic on 64-bit whole numbers that was seen not to overflow.

The kinds of values are found here, not by numba: a variable that is a whole number on one way through the
function and a float on the other would be made a float by numba, and -0 is not -0.0.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamlib.state.steps.step_expressions import ExpressionLines, Poison
from streamlib.state.steps.step_values import TUPLE, Value, assigned, described, named, shape_of, together


class FunctionLines(ExpressionLines):
    """The lines of one function.

    Args:
        constants: values of names that are no variables: globals, the closure, and defaults of parameters.
        variables: the parameters' values by name.
        give: makes lines of a value that is returned.
    """

    def __init__(
        self,
        constants: Mapping[str, Any],
        variables: Mapping[str, Value],
        give: Callable[[FunctionLines, Value, int], None],
    ) -> None:
        super().__init__(constants, variables)
        self.give = give
        self._numbers: dict[str, int] = {}
        self.ended = False

    def base(self, name: str) -> str:
        """What the names of a variable's parts begin with: numbers, which clash with no name of the user's."""
        return f"v{self._numbers.setdefault(name, len(self._numbers))}"

    # Statements.

    def function(self, node: ast.FunctionDef | ast.Lambda) -> None:
        """The whole function."""
        if isinstance(node, ast.Lambda):
            self._returned(node.body, node)
            return
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                self.local.add(inner.id)
        self.block(node.body)
        if not self.ended:
            self.hand_over()  # it returns None

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Statements; those behind a `return` are never met."""
        for statement in body:
            if self.ended:
                return
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Return):
            self._returned(node.value, node)
        elif isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self._assign(target, value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assign(node.target, self.value(node.value))
        elif isinstance(node, ast.AugAssign):
            if not isinstance(node.target, ast.Name):
                raise self.refuse(node, "it assigns to an item or an attribute")
            left = self.name(ast.copy_location(ast.Name(node.target.id, ast.Load()), node))
            self._assign(node.target, self.operation(node, node.op, left, self.value(node.value)))
        elif isinstance(node, ast.If):
            self._if(node)
        elif isinstance(node, ast.Raise):
            self.hand_over()
            self.ended = True
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pass
        elif not isinstance(node, ast.Pass):
            raise self.refuse(node, f"{_statement_words(node)} runs in Python only")

    def _returned(self, node: ast.expr | None, at: ast.AST) -> None:
        if node is None:
            self.hand_over()
        else:
            self.give(self, self.value(node), self.line_of(at))
        self.ended = True

    def _assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            base = self.base(target.id)
            kept = self._copied(value)  # `a = a[1], a[0]` reads what it overwrites
            self.emit(*assigned(base, kept))
            self.env[target.id] = named(shape_of(value), base)
        elif isinstance(target, (ast.Tuple, ast.List)):
            if value.kind != TUPLE or len(value.items) != len(target.elts):
                raise self.refuse(
                    target, f"it takes {described(shape_of(value))} apart into {len(target.elts)}"
                )
            for part, item in zip(target.elts, self._copied(value).items, strict=True):
                self._assign(part, item)
        else:
            raise self.refuse(target, "it assigns to an item or an attribute")

    def _copied(self, value: Value) -> Value:
        if value.kind != TUPLE:
            return value
        base = self.fresh()
        self.emit(*assigned(base, value))
        return named(shape_of(value), base)

    def _if(self, node: ast.If) -> None:
        condition = self.truth(node.test)
        before = dict(self.env)
        self.emit(f"if {condition}:")
        then = self._branch(node.body, before)
        self.emit("else:")
        other = self._branch(node.orelse, before)
        self.ended = then is None and other is None
        if then is None or other is None:
            self.env = (then or other or (before, 0))[0]
            return
        merged: dict[str, Value | Poison] = {}
        fixes: list[tuple[list[str], int]] = [([], then[1]), ([], other[1])]
        for name in {**then[0], **other[0]}:
            one, two = then[0].get(name), other[0].get(name)
            merged[name] = self._merged(name, one, two, fixes)
        self.env = merged
        for lines, place in reversed(fixes):  # the later place first: it stays where it is
            self.lines[place:place] = lines

    def _branch(
        self, body: Sequence[ast.stmt], before: Mapping[str, Value | Poison]
    ) -> tuple[dict[str, Value | Poison], int] | None:
        """The variables behind a branch, and the place of its end; None where it returns."""
        self.env, self.ended = dict(before), False
        self.depth += 1
        self.emit("pass")
        self.block(body)
        self.depth -= 1
        return None if self.ended else (self.env, len(self.lines))

    def _merged(
        self,
        name: str,
        one: Value | Poison | None,
        two: Value | Poison | None,
        fixes: Sequence[tuple[list[str], int]],
    ) -> Value | Poison:
        for value in (one, two):
            if isinstance(value, Poison):
                return value
        if not isinstance(one, Value) or not isinstance(two, Value):
            return Poison(f"{name!r} may have no value")
        shape = together(one, two)
        if shape is None:
            return Poison(
                f"{name!r} is {described(shape_of(one))} on one way and {described(shape_of(two))} on another"
            )
        base = self.base(name)
        indent = "    " * (self.depth + 1)
        for (lines, _), value in zip(fixes, (one, two), strict=True):
            lines += [indent + line for line in assigned(base, value, shape)]
        return named(shape, base)


def _statement_words(node: ast.stmt) -> str:
    if isinstance(node, (ast.For, ast.While)):
        return "a loop"
    return {"FunctionDef": "a function in it", "Try": "try"}.get(
        type(node).__name__, type(node).__name__.lower()
    )

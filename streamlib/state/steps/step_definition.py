"""The definition of a function of the user's: its syntax tree, if it is that of the code which runs."""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamlib.state.steps.step_values import NotCompiled

_FUTURE_FLAGS = 0x1FF0000
"""The bits of `co_flags` that stand for imports from __future__."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A function's text.

    Attributes:
        node: the function.
        constants: the values of its globals, of names of its closure and of builtins, as they are now.
    """

    node: ast.FunctionDef | ast.Lambda
    constants: dict[str, Any]


def definition_of(function: Any) -> Definition:
    """Finds the text of a function, in the file that it comes from.

    Raises:
        NotCompiled: it is no plain function, or its text is not to be had.
    """
    if not isinstance(function, types.FunctionType):
        raise NotCompiled("it is no plain function")
    code = function.__code__
    try:
        text = "".join(inspect.findsource(code)[0])
        tree = ast.parse(text)
        flags = code.co_flags & _FUTURE_FLAGS
        whole = compile(text, code.co_filename, "exec", flags=flags, dont_inherit=True)
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        raise NotCompiled("its source cannot be read") from None
    if not any(_same(found, code) for found in _codes(whole)):
        raise NotCompiled("its source is not that of the code which runs")  # the file has changed since
    nodes = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.Lambda)) and _begins(node) == code.co_firstlineno
    ]
    nodes = [node for node in nodes if getattr(node, "name", "<lambda>") == code.co_name]
    if len(nodes) != 1:
        raise NotCompiled("several functions begin on its line")
    return Definition(nodes[0], {**vars(builtins), **_known(function)})


def _begins(node: ast.FunctionDef | ast.Lambda) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *(one.lineno for one in decorators)])


def _known(function: types.FunctionType) -> dict[str, Any]:
    """Its globals and its closure."""
    found = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield const
            yield from _codes(const)


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    if one.co_name != other.co_name or one.co_firstlineno != other.co_firstlineno:
        return False
    parts = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount")
    if any(getattr(one, part) != getattr(other, part) for part in parts):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    for a, b in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(a, types.CodeType) and isinstance(b, types.CodeType):
            if not _same(a, b):
                return False
        elif type(a) is not type(b) or repr(a) != repr(b):
            return False
    return True

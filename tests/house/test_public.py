"""The public surface: what `dir`, `__all__` and type checkers see, and what it costs to import."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import streamlib
from tests.house import repository

INIT = Path("streamlib/__init__.py")
HEAVY = (
    "duckdb",
    "hypothesis",
    "llvmlite",
    "numba",
    "pandas",
    "polars",
    "pytest",
    "ray",
    "rich",
)
"""What `import streamlib` must not load: each is loaded by the step that needs it."""


def test_dir_shows_what_all_says() -> None:
    assert sorted(dir(streamlib)) == sorted(streamlib.__all__)
    assert len(set(streamlib.__all__)) == len(streamlib.__all__)


def test_every_name_is_there() -> None:
    missing = [name for name in streamlib.__all__ if not hasattr(streamlib, name)]
    assert not missing


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        streamlib.no_such_name  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """Names are found when first used, which a type checker cannot follow: it reads the imports instead."""
    seen = set(_bound(repository.syntax(INIT).body))
    assert set(streamlib.__all__) <= seen, "in __all__ and not imported under TYPE_CHECKING"
    public = {name for name in seen if not name.startswith("_")} - {"annotations", "TYPE_CHECKING", "Any"}
    modules = {"importlib", "sys"}
    assert public - modules <= set(streamlib.__all__), "imported in streamlib and not in __all__"


def _bound(body: list[ast.stmt]) -> list[str]:
    names: list[str] = []
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.If):
            names += _bound(node.body)
    return names


def test_every_public_name_is_documented() -> None:
    silent = []
    for name in streamlib.__all__:
        thing = getattr(streamlib, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue  # a value such as the version: documented where it is defined
        if not (thing.__doc__ or "").strip() or thing.__doc__ == getattr(type(thing), "__doc__", None):
            silent.append(name)
        if inspect.isclass(thing):
            silent += _silent_members(name, thing)
    assert not silent, f"without a docstring: {', '.join(silent)}"


def _silent_members(name: str, owner: type) -> list[str]:
    """Public methods and properties without a docstring, here or in the contract that they fulfil."""
    silent = []
    for member, raw in vars(owner).items():
        if member.startswith("_") or not (inspect.isroutine(raw) or isinstance(raw, property)):
            continue
        if not inspect.getdoc(getattr(owner, member)):
            silent.append(f"{name}.{member}")
    return silent


def test_importing_loads_nothing_heavy() -> None:
    loaded = json.loads(_python("import streamlib, sys, json; print(json.dumps(sorted(sys.modules)))"))
    heavy = sorted({name.partition(".")[0] for name in loaded} & set(HEAVY))
    assert not heavy, (
        f"`import streamlib` loads {', '.join(heavy)}; see `python -X importtime -c 'import streamlib'`"
    )


def test_importing_starts_and_writes_nothing(tmp_path: Path) -> None:
    code = "import threading, streamlib, sys; print(threading.active_count(), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=_environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1\n")
    assert not list(tmp_path.iterdir())


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=_environment()
    ).stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repository.ROOT)}

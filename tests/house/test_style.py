"""The rules of the house that a linter does not know. Each test is one rule and lists every offender."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import repository
from tests.house.repository import PACKAGES

FILE_LINES_MAX = 450

RUNS_CODE_FROM_DATA = {
    "streamlib/kernels/_jit.py": "compiles kernels whose signature and source the engine wrote itself",
    "streamlib/workers/plans.py": "sends a plan to processes that this one has started; rows never go that way",
    "tests/house/test_docs.py": "runs the examples of the documentation, which are our own text",
}
"""Files that may use pickle, eval, exec and the like, each with the reason. No data may ever reach them."""

_UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
_UNSAFE_CALLS = {"eval", "exec", "__import__"}
_UNSAFE_WORD = re.compile("|".join(sorted(_UNSAFE_MODULES | _UNSAFE_CALLS)))

# Written so that this line does not find itself.
_MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|home|Users|farm)/")


def _offenders(found: Iterator[str]) -> str:
    return "\n  ".join(["", *found])


def test_files_are_short_enough_to_be_one_room() -> None:
    lengths = {path: repository.text(path).count("\n") for path in repository.python_files()}
    long = {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX}
    assert not long, f"more than {FILE_LINES_MAX} lines:" + _offenders(f"{p}: {n}" for p, n in long.items())


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    same = [
        path
        for path in repository.python_files(*PACKAGES)
        for name in [path.parent.name if path.name == "__init__.py" else path.stem]
        if name in sys.stdlib_module_names
    ]
    assert not same, "named like a standard module:" + _offenders(map(str, same))


def test_nothing_runs_code_that_comes_from_data() -> None:
    found = [
        f"{path}:{line}: {what}"
        for path in repository.python_files()
        if path.as_posix() not in RUNS_CODE_FROM_DATA and _UNSAFE_WORD.search(repository.text(path))
        for line, what in _unsafe(repository.syntax(path))
    ]
    assert not found, "pickle, eval or exec without a reason in RUNS_CODE_FROM_DATA:" + _offenders(
        iter(found)
    )


def test_each_exception_for_running_code_is_still_needed() -> None:
    for name in RUNS_CODE_FROM_DATA:
        path = Path(name)
        assert path in repository.files(), f"{name} is gone: take it off the list"
        assert list(_unsafe(repository.syntax(path))), f"{name} needs no exception: take it off the list"


def _unsafe(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in _UNSAFE_CALLS:
                yield node.lineno, f"{node.func.id}()"
            continue
        else:
            continue
        for name in names:
            if name.partition(".")[0] in _UNSAFE_MODULES:
                yield node.lineno, f"import {name}"


def test_nobody_sleeps() -> None:
    """Wait for an event, a condition, or a clock that a test can move: sleep is slow, and flaky all the same."""
    found = [
        f"{path}:{line}"
        for path in repository.python_files()
        if "sleep" in repository.text(path)
        for line in _sleeps(repository.syntax(path))
    ]
    assert not found, "time.sleep:" + _offenders(iter(found))


def _sleeps(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if any(alias.name == "sleep" for alias in node.names):
                yield node.lineno
        elif isinstance(node, ast.Attribute) and node.attr == "sleep":
            if isinstance(node.value, ast.Name) and node.value.id == "time":
                yield node.lineno


def test_no_path_of_somebodys_machine() -> None:
    found = []
    for path in repository.files():
        try:
            lines = repository.text(path).splitlines()
        except UnicodeDecodeError:  # binary: test data
            continue
        found += [
            f"{path}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if _MACHINE_PATH.search(line)
        ]
    assert not found, "absolute paths:" + _offenders(iter(found))


def test_setting_up_names_no_host() -> None:
    """Where packages come from is the user's configuration, never ours."""
    for name in ("Makefile", ".ci/run", "pyproject.toml"):
        assert "://" not in repository.text(Path(name)), f"{name} names a host"


def test_every_package_and_module_says_what_it_is_for() -> None:
    silent = [
        path
        for path in repository.python_files(*PACKAGES, "examples", "benchmarks")
        if not ast.get_docstring(repository.syntax(path))
    ]
    assert not silent, "without a docstring:" + _offenders(map(str, silent))


def test_every_folder_with_modules_is_a_package() -> None:
    """A folder without `__init__.py` imports in the checkout and is missing from the wheel."""
    modules = repository.python_files(*PACKAGES)
    bare = {p.parent for p in modules} - {p.parent for p in modules if p.name == "__init__.py"}
    assert not bare, "without __init__.py:" + _offenders(map(str, sorted(bare)))


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (_unsafe, "import pickle"),
        (_unsafe, "from cloudpickle import dumps"),
        (_unsafe, "eval('1')"),
        (_sleeps, "import time\ntime.sleep(1)"),
        (_sleeps, "from time import sleep"),
    ],
)
def test_the_rules_can_fail(rule: Callable[[ast.Module], Iterator[object]], source: str) -> None:
    assert list(rule(ast.parse(source)))
    assert not list(rule(ast.parse("import time, json\njson.loads('1')\ntime.monotonic()\nre.compile('x')")))


def test_the_rule_about_paths_can_fail() -> None:
    for name in ("root", "home", "work"):
        assert _MACHINE_PATH.search(f"open('/{name}/me/ticks.csv')")
    assert not _MACHINE_PATH.search("../work/ticks.csv, ~/home/x, https://example.org/a/work")

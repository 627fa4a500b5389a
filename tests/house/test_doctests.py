"""Every example in a docstring runs, in an empty folder."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.house import repository

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.DONT_ACCEPT_TRUE_FOR_1

WITH_EXAMPLES = [
    name for name, path in repository.shipped_modules().items() if ">>>" in repository.text(path)
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_the_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert tests, f"{name} has examples that doctest does not find: indent them as in a docstring"
    runner = doctest.DocTestRunner(optionflags=_FLAGS)
    report: list[str] = []
    for test in tests:
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)

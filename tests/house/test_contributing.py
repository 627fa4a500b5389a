"""CONTRIBUTING.md tells the truth: its tour is that of import-linter, and its table names what exists.

The table of what can be added is the one whose first heading is "to add". A cell's words in backticks
are checked by its column: `implement` is imported, `put it in` and `like` are paths, and `run` is a
command of which every path exists and holds tests. The tour is the table that begins with "room".
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import repository
from tests.house.repository import ROOT

TO_BE_ADDED = ["a window", "an aggregate", "an operator", "a format", "a source", "a sink"]
COLUMNS = ["to add", "implement", "put it in", "like", "run"]

_CODE = re.compile(r"`([^`]+)`")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _table(columns: list[str]) -> dict[str, dict[str, str]]:
    """The rows of the one table with these headings, by their first cell."""
    lines = repository.text(Path("CONTRIBUTING.md")).splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith("|") and _cells(line) == columns)
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = _cells(line)
        rows[cells[0]] = dict(zip(columns, cells, strict=True))
    return rows


ROWS = _table(COLUMNS)
TOUR = _table(["room", "what is in it"])


def _code(cell: str) -> list[str]:
    found = _CODE.findall(cell)
    assert found, f"nothing in backticks: {cell}"
    return found


def test_the_tour_goes_down_the_layers() -> None:
    """Every layer that is built is on the tour, from the top down, and nothing else is."""
    settings = tomllib.loads(repository.text(Path("pyproject.toml")))["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in settings["contracts"] if c["id"] == "layers")
    modules = repository.shipped_modules()
    down = [
        module
        for layer in layers
        for module in (f"streamlib.{name}" for name in re.findall(r"[\w.]+", layer))
        if module in modules
    ]
    assert [_code(room)[0] for room in TOUR] == down


def test_the_table_has_all_that_can_be_added() -> None:
    assert list(ROWS) == TO_BE_ADDED


@pytest.mark.parametrize("row", ROWS)
def test_what_to_implement_can_be_imported(row: str) -> None:
    for dotted in _code(ROWS[row]["implement"]):
        module, _, name = dotted.rpartition(".")
        contract = getattr(importlib.import_module(module), name)
        assert inspect.isclass(contract), f"{dotted} is no class"
        assert inspect.getdoc(contract), f"{dotted} has no docstring"


@pytest.mark.parametrize("row", ROWS)
def test_where_to_put_it_and_what_to_look_at_exist(row: str) -> None:
    for place in _code(ROWS[row]["put it in"]):
        assert (ROOT / place).is_dir(), f"{place} is no folder"
    for example in _code(ROWS[row]["like"]):
        assert (ROOT / example).is_file(), f"{example} is no file"
        places = [ROOT / place for place in _code(ROWS[row]["put it in"])]
        assert any(place in (ROOT / example).parents for place in places), f"{example} is kept elsewhere"


@pytest.mark.parametrize("row", ROWS)
def test_what_looks_alike_implements_the_contract(row: str) -> None:
    """The file to look at holds a class that is what the row says to implement."""
    contracts = [
        getattr(importlib.import_module(module), name)
        for module, _, name in (dotted.rpartition(".") for dotted in _code(ROWS[row]["implement"]))
    ]
    modules = {path: name for name, path in repository.shipped_modules().items()}
    for example in _code(ROWS[row]["like"]):
        classes = list(_classes(modules[Path(example)]))
        for contract in contracts:
            assert any(issubclass(c, contract) for c in classes), f"{example} has no {contract.__name__}"


def _classes(module_name: str) -> Iterator[type]:
    module = importlib.import_module(module_name)
    for _, thing in inspect.getmembers(module, inspect.isclass):
        if thing.__module__ == module_name:
            yield thing


@pytest.mark.parametrize("row", ROWS)
def test_what_to_run_is_there(row: str) -> None:
    for command in _code(ROWS[row]["run"]):
        program, *arguments = command.split()
        assert program == "pytest", command
        paths = [argument for argument in arguments if not argument.startswith("-")]
        assert paths, f"{command} names no tests"
        for path in paths:
            at = ROOT / path
            tests = [at] if at.is_file() else sorted(at.rglob("test_*.py"))
            assert tests, f"{command}: there are no tests in {path}"
            assert any("def test_" in test.read_text(encoding="utf-8") for test in tests)

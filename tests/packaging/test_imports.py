"""The folders at the top of the repository are packages of streamlib, and of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house import repository
from tests.house.repository import ROOT

SETTINGS = tomllib.loads(repository.text(Path("pyproject.toml")))


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("folder", ["operators", "connectors"])
def test_a_folder_imports_as_part_of_streamlib_only(folder: str) -> None:
    done = _python(
        "-c", f"import streamlib.{folder}; print(streamlib.{folder}.__name__)", PYTHONPATH=str(ROOT)
    )
    assert (done.stdout, done.stderr) == (f"streamlib.{folder}\n", "")

    # The checkout is the working folder, so the name is found; it must say where it should come from.
    done = _python("-c", f"import {folder}")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError:"), done.stderr
    assert f"streamlib.{folder}" in last


@pytest.mark.parametrize("folder", ["operators", "connectors"])
def test_links_for_type_checkers_are_there(folder: str) -> None:
    link = ROOT / "streamlib" / folder
    if sys.platform == "win32" and not link.is_symlink():
        pytest.skip("this checkout was made without links")
    assert os.readlink(link) == f"../{folder}"


def test_every_package_is_named_in_pyproject() -> None:
    there = {n for n, path in repository.shipped_modules().items() if path.name == "__init__.py"}
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == there, (
        "pyproject.toml: [tool.setuptools] packages"
    )


def test_packages_are_sorted() -> None:
    packages = SETTINGS["tool"]["setuptools"]["packages"]
    assert packages == sorted(packages)

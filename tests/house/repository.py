"""The files that make up the repository, for tests that read them."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "streamlib": "streamlib",
    "operators": "streamlib.operators",
    "connectors": "streamlib.connectors",
}
"""The folders that ship, and the import name of each."""

_LEFT_BY_TOOLS = {"__pycache__", "build", "dist", "htmlcov", "out"}


@functools.cache
def files() -> tuple[Path, ...]:
    """All files of the repository, relative to its root: committed, or new and not ignored."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
        ).stdout.decode()
        paths = [Path(name) for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # an archive of the sources: no git, or no repository
        paths = _walk()
    return tuple(sorted(p for p in set(paths) if (ROOT / p).is_file()))


def _walk() -> list[Path]:
    found = []
    for folder, names, file_names in os.walk(ROOT):
        names[:] = [n for n in names if n not in _LEFT_BY_TOOLS and not n.endswith(".egg-info")]
        names[:] = [n for n in names if not n.startswith(".") or n == ".ci"]
        names[:] = [n for n in names if not Path(folder, n).is_symlink()]
        found += [Path(folder, name).relative_to(ROOT) for name in file_names]
    return found


def python_files(*folders: str) -> list[Path]:
    """The Python files below `folders`; of the whole repository when none is given."""
    return [p for p in files() if p.suffix == ".py" and (not folders or p.parts[0] in folders)]


def markdown_files() -> list[Path]:
    """The pages: every Markdown file."""
    return [p for p in files() if p.suffix == ".md"]


def text(path: Path) -> str:
    """A file's text."""
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def syntax(path: Path) -> ast.Module:
    """A Python file's syntax tree."""
    return ast.parse(text(path), str(path))


def module_name(path: Path) -> str:
    """The import name of a file that ships: ``operators/filter.py`` is ``streamlib.operators.filter``."""
    parts = [PACKAGES[path.parts[0]], *path.with_suffix("").parts[1:]]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def shipped_modules() -> dict[str, Path]:
    """Every module that ships, by import name."""
    return {module_name(p): p for p in python_files(*PACKAGES)}

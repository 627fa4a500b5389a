"""Every Python example of README.md and docs/ runs, and prints what the page says it prints.

The examples of one page share their names and run in order, in an empty folder. How a page marks
what is special stands in `pages.py`.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import linecache
import re
import sys
import types
from pathlib import Path

import pytest

from tests.house import repository
from tests.house.pages import Block, blocks

PAGES = [p for p in repository.markdown_files() if p == Path("README.md") or p.parts[0] == "docs"]

_MAKE = re.compile(r"^\s*(?:\$ )?make ([a-z][\w-]*)", re.MULTILINE)


def run_page(name: str, page: str) -> int:
    """Runs the Python blocks of a page and compares their output; the number of blocks that ran."""
    module = types.ModuleType("__main__")
    module.__file__ = name
    main = sys.modules["__main__"]
    sys.modules["__main__"] = module
    printed: str | None = None
    ran = 0
    try:
        for block in blocks(page):
            if block.is_output:
                _compare(name, block, printed)
            elif block.language == "python" and block.no_run is None:
                printed = _run(name, block, module)
                ran += 1
            elif block.language == "python":
                printed = None
    finally:
        sys.modules["__main__"] = main
        linecache.cache.pop(name, None)
    return ran


def _run(name: str, block: Block, module: types.ModuleType) -> str:
    # blank lines before it, so that a traceback names the line of the page
    text = "\n" * (block.line - 1) + block.text
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # as a notebook does
    code = compile(text, name, "exec", dont_inherit=True)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, module.__dict__)
    return out.getvalue()


def _compare(name: str, block: Block, printed: str | None) -> None:
    assert printed is not None, f"{name}:{block.line}: output of a block that did not run"
    want = "".join(line.rstrip() + "\n" for line in block.text.strip("\n").splitlines())
    got = "".join(line.rstrip() + "\n" for line in printed.strip("\n").splitlines())
    same = doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
    assert same, f"{name}:{block.line}: the example prints something else.\n--- page\n{want}--- run\n{got}"


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_examples_of_the_page_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    run_page(str(path), repository.text(path))


def test_readme_shows_an_example() -> None:
    shown = [b for b in blocks(repository.text(Path("README.md"))) if b.language == "python" and not b.no_run]
    assert shown, "README.md has no Python example that runs"


@pytest.mark.parametrize("path", repository.markdown_files(), ids=str)
def test_commands_of_the_page_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", repository.text(Path("Makefile")), re.MULTILINE))
    shells = {"", "bash", "console", "sh", "shell"}
    for block in blocks(repository.text(path)):
        if block.language in shells:
            for target in _MAKE.findall(block.text):
                assert target in targets, f"{path}:{block.line}: there is no `make {target}`"


# ---- the runner itself -------------------------------------------------------------------------------

_PAGE = """\
# A page

<!-- setup
hidden = 2
-->

```python
shown = hidden + 1
print("shown", shown)
```
<!-- output -->
```text
shown {}
```

<!-- no-run: needs a broker -->

```python
raise AssertionError
```
"""


def test_a_page_whose_output_is_right_passes() -> None:
    assert run_page("page.md", _PAGE.format(3)) == 2
    assert run_page("page.md", _PAGE.format("...")) == 2


def test_a_page_whose_output_is_wrong_fails() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:13"):
        run_page("page.md", _PAGE.format(4))


def test_a_failing_example_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        run_page("page.md", "text\n\n```python\nx = 1\nx / 0\n```\n")
    assert raised.traceback[-1].lineno == 4  # from 0
    assert str(raised.traceback[-1].path).endswith("page.md")


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1)\n",
        "<!-- no-run: -->\n```python\n1\n```\n",
        "<!-- no-run: because -->\nwords\n",
        "<!-- setup\nx = 1\n",
    ],
)
def test_a_malformed_page_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match=r"line \d"):
        list(blocks(page))


def test_output_of_a_block_that_did_not_run_is_refused() -> None:
    page = "<!-- no-run: because -->\n```python\n1\n```\n<!-- output -->\n```text\n1\n```\n"
    with pytest.raises(AssertionError, match="did not run"):
        run_page("page.md", page)

"""Every relative link of every page leads somewhere: the file exists, and so does the heading."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.house import repository
from tests.house.pages import outside_blocks

_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*(?:\".*\")?$")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def links(page: str) -> Iterator[tuple[int, str]]:
    """The targets of a page's links, with the line each stands on."""
    for number, line in enumerate(outside_blocks(page).splitlines(), 1):
        words = _CODE.sub(lambda code: " " * len(code[0]), line)
        for pattern in (_LINK, _REFERENCE):
            for found in pattern.finditer(words):
                yield number, found[1]


@functools.cache
def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    found = set(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", page))
    for line in outside_blocks(page).splitlines():
        heading = _HEADING.match(line)
        if heading:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            times = seen.get(slug, 0)
            seen[slug] = times + 1
            found.add(f"{slug}-{times}" if times else slug)
    return found


def broken(path: Path, page: str) -> Iterator[str]:
    """The links of `page`, which stands at `path`, that lead nowhere."""
    for line, target in links(page):
        if _SCHEME.match(target):
            continue
        name, _, anchor = unquote(target).partition("#")
        to = (repository.ROOT / path).parent / name if name else repository.ROOT / path
        if name and not to.exists():
            yield f"{path}:{line}: {target}: no such file"
        elif anchor and to.suffix == ".md":
            there = page if not name else to.read_text(encoding="utf-8")
            if anchor not in anchors(there):
                yield f"{path}:{line}: {target}: no such heading"


@pytest.mark.parametrize("path", repository.markdown_files(), ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    dead = list(broken(path, repository.text(path)))
    assert not dead, "\n  ".join(["", *dead])


def test_a_dead_link_is_found() -> None:
    page = "# A heading: with `code`\n\n[a](LICENSE) [b](#a-heading-with-code) `[c](not a link)`\n"
    assert not list(broken(Path("page.md"), page))
    assert len(list(broken(Path("page.md"), page + "[d](missing.md)\n"))) == 1
    assert len(list(broken(Path("page.md"), page + "[e](#missing)\n"))) == 1
    assert not list(broken(Path("page.md"), page + "```text\n[f](missing.md)\n```\n"))

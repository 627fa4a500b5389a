"""The fenced blocks of a Markdown page, with what the comments around them ask for.

Before a ```python block, a line `<!-- no-run: reason -->` keeps it from running. After one, a line
`<!-- output -->` says that the ```text block which follows is what it prints; `...` in it stands for
anything. A comment that begins with `<!-- setup` holds Python that runs where it stands and is not
shown to the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})\s*(\S*)")
_NO_RUN = re.compile(r"<!--\s*no-run:\s*(.*?)\s*-->")
_OUTPUT = re.compile(r"<!--\s*output\s*-->")
_SETUP = re.compile(r"<!--\s*setup\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        language: what follows the opening fence, such as ``python``.
        text: the lines between the fences.
        line: the page's line, from 1, that the first line of `text` stands on.
        no_run: why it does not run; None when it does.
        is_output: whether it is announced as the output of the block before.
    """

    language: str
    text: str
    line: int
    no_run: str | None = None
    is_output: bool = False


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: a fence or a comment that does not end, a `no-run` without a reason or a block.
    """
    lines = page.splitlines()
    note = ""  # the last line that is not blank
    index = 0
    while index < len(lines):
        line = lines[index]
        opening = _FENCE.match(line)
        if opening:
            indent, fence, language = opening.groups()
            end = _closing(
                lines, index + 1, lambda text, f=fence: text.strip() == f, f"fence at line {index + 1}"
            )
            body = [text.removeprefix(indent) for text in lines[index + 1 : end]]
            reason = _NO_RUN.fullmatch(note)
            if reason and not reason[1]:
                raise ValueError(f"line {index}: no-run needs a reason")
            yield Block(
                language,
                "\n".join(body) + "\n",
                index + 2,
                reason[1] if reason else None,
                bool(_OUTPUT.fullmatch(note)),
            )
            index, note = end, ""
        elif _SETUP.match(line):
            end = _closing(
                lines, index + 1, lambda text: text.strip() == "-->", f"comment at line {index + 1}"
            )
            yield Block("python", "\n".join(lines[index + 1 : end]) + "\n", index + 2)
            index, note = end, ""
        else:
            if line.strip():
                if _NO_RUN.fullmatch(note) or _OUTPUT.fullmatch(note):
                    raise ValueError(f"line {index + 1}: {note} stands before no block")
                note = line.strip()
        index += 1


def _closing(lines, start, closes, what) -> int:
    for index in range(start, len(lines)):
        if closes(lines[index]):
            return index
    raise ValueError(f"the {what} does not end")


def outside_blocks(page: str) -> str:
    """The page's prose: lines of fenced blocks are blanked, so that line numbers stay."""
    kept = page.splitlines()
    for block in blocks(page):
        for number in range(block.line - 1, block.line - 1 + block.text.count("\n")):
            kept[number] = ""
    return "\n".join(kept)

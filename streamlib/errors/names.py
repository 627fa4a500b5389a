"""The names nearest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that look most like `name`, best first; at most `most` of them.

    >>> nearest_names("prise", ["ts", "price", "volume"])
    ['price']
    """
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=most, cutoff=0.6)
    return [by_folded[folded] for folded in close]

"""Telling bad records from good ones: what `decode_leniently` of the text formats shares.

A block is first parsed whole; nothing here runs while nothing is bad. Then each format says which
records it knows or suspects to be bad, so that the good ones need one more parse, not one each. What the
parser refuses decides: a record is refused exactly when the parser refuses it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from streamlib.contracts import Refused


@dataclass(frozen=True, slots=True)
class RefusedRecord(Refused):
    """A refused record that knows its number within the block, from 0, so that the others keep theirs."""

    record: int = 0


Parse = Callable[[Sequence[int]], pa.RecordBatch | None]
"""The rows of the records with these numbers, in ascending order; None when one of them is bad."""


def sift(
    count: int, parse: Parse, known: Collection[int] = (), suspects: Collection[int] = ()
) -> tuple[list[pa.RecordBatch], list[int]]:
    """The rows of the good records, in order, and the numbers of the bad ones.

    Args:
        count: how many records there are.
        parse: the parser.
        known: records that are bad for certain.
        suspects: records that are likely to be bad; which ones they are costs time only.

    >>> values = ["1", "x", "3", "-"]
    >>> def parse(ids):
    ...     try:
    ...         return pa.record_batch({"n": pa.array([int(values[i]) for i in ids])})
    ...     except ValueError:
    ...         return None
    >>> rows, bad = sift(4, parse, suspects=[3])
    >>> [batch.to_pydict() for batch in rows], bad
    ([{'n': [1, 3]}], [1, 3])
    """
    bad = set(known)
    doubtful = [i for i in suspects if i not in bad]
    bad.update(i for i in _parts(doubtful, parse) if isinstance(i, int))
    found = _rows([i for i in range(count) if i not in bad], parse, bad)
    if len(found) > 1:  # records nobody suspected were bad; now that they are known, one parse may do
        found = _rows([i for i in range(count) if i not in bad], parse, bad)
    return found, sorted(bad)


def _rows(records: list[int], parse: Parse, bad: set[int]) -> list[pa.RecordBatch]:
    found = []
    for part in _parts(records, parse):
        if isinstance(part, int):
            bad.add(part)
        else:
            found.append(part)
    return found


def _parts(records: Sequence[int], parse: Parse) -> Iterator[pa.RecordBatch | int]:
    """In order: the rows of runs that can be parsed, and the numbers of records that cannot."""
    waiting = [records] if records else []
    while waiting:
        part = waiting.pop()
        rows = parse(part)
        if rows is not None:
            yield rows
        elif len(part) == 1:
            yield part[0]
        else:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]


def odd_ones(count: int, fits: Callable[[int, int], bool]) -> list[int]:
    """Which of some values do not fit, where `fits(a, b)` tells it of those from a up to b together.

    >>> odd_ones(9, lambda a, b: not any(a <= bad < b for bad in (2, 7)))
    [2, 7]
    """
    odd, waiting = [], [(0, count)] if count else []
    while waiting:
        a, b = waiting.pop()
        if fits(a, b):
            continue
        if b - a == 1:
            odd.append(a)
        else:
            middle = (a + b) // 2
            waiting += [(middle, b), (a, middle)]
    return odd

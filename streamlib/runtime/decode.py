"""The rows of a block, in batches that say where they were read."""

from __future__ import annotations

from collections.abc import Generator

import pyarrow as pa

from streamlib.contracts import Refused, Tagged
from streamlib.elements import Batch, Origin
from streamlib.elements.dictionaries import without_null_words
from streamlib.runtime.claims import Claim
from streamlib.runtime.refuse import Refuser


def decoded(claim: Claim, limit: int, refuser: Refuser | None) -> Generator[Batch | Tagged, None, int]:
    """The batches of a block, of at most `limit` rows; returns how many rows there were.

    Args:
        claim: of the block.
        limit: the most rows of a batch.
        refuser: takes what cannot be decoded; None where that fails the run.
    """
    run, block, rows = claim.run, claim.block, 0
    line, first = block.first_line, block.first_row
    refused: list[Refused] = []
    reader = claim.reader
    coded: list[int] | None = None
    for part in reader.decode(block) if refuser is None else reader.decode_leniently(block, refused):
        if coded is None:
            coded = [n for n, kind in enumerate(part.schema.types) if pa.types.is_dictionary(kind)]
        for place in coded:
            column = without_null_words(part.column(place))
            part = part.set_column(place, part.schema.field(place), column)
        total = part.num_rows
        for offset in range(0, total, limit):
            cut = part if total <= limit else part.slice(offset, limit)
            origin = Origin(
                run.index,
                claim.number,
                run.split.name,
                None if first is None else first + rows,
                None if line is None else line + rows,
            )
            if refused:
                origin = origin.thinned(cut.num_rows + len(refused))
            yield Batch(cut, origin=origin)
            rows += cut.num_rows
    if refuser is not None and refused:
        letters = refuser.refuse_records(refused)
        if letters is not None:
            yield letters
    return rows

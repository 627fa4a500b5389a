"""A split's progress in event time between processes: whoever has the turn has it, and gives it back changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.eventtime import SplitTime
from streamlib.eventtime.splits import PerValues, SplitState, Suspect
from streamlib.workers.rows import read_batch, read_rows, write_batch, write_rows
from streamlib.workers.wire import Part


def write_split(known: SplitTime, per_schema: pa.Schema | None) -> tuple[list[Any], list[Part]]:
    """A split's progress as values and parts; `per_schema` has the columns of ``per=``, where it is used."""
    parts: list[Part] = []
    per = suspect = None
    if known.per is not None:
        assert per_schema is not None, "only a step with per= has values of it"
        seen = list(known.per.codes)
        columns = [pa.array([value[i] for value in seen], field.type) for i, field in enumerate(per_schema)]
        rows = pa.RecordBatch.from_arrays(columns, schema=per_schema)
        per = len(seen)
        parts.append(write_rows([rows], per_schema, [known.per.max_time, known.per.floor]))
    if known.suspect is not None:
        about, part = write_batch(known.suspect.row)
        suspect = [about, known.suspect.where, known.suspect.time, known.suspect.limit]
        parts.append(part)
    values = [
        known.name,
        known.max_time,
        known.floor,
        known.first_time,
        known.next_block,
        known.rows,
        known.passed,
        known.late_entry_rows,
        per,
        suspect,
    ]
    return values, parts


def read_split(values: Sequence[Any], parts: Sequence[Any]) -> SplitTime:
    """The progress of `write_split`. Its state is live: only such a split has blocks to pass."""
    name, max_time, floor, first_time, next_block, rows, passed, late, per_count, suspect = values
    left = list(parts)
    per = None
    if per_count is not None:
        (times, floors), batches = read_rows(left.pop(0), 2, per_count)
        seen = zip(*(column.to_pylist() for column in batches[0].columns), strict=True)
        codes = {value: code for code, value in enumerate(seen)}
        per = PerValues(codes, np.array(times), np.array(floors))
    doubt = None
    if suspect is not None:
        about, where, time, limit = suspect
        doubt = Suspect(read_batch(about, left.pop(0)), where, time, limit)
    return SplitTime(
        name, max_time, floor, first_time, next_block, rows, SplitState.LIVE, per, passed, late, None, doubt
    )


def give_back(known: SplitTime, changed: SplitTime) -> None:
    """Takes over what a block that passed in another process changed."""
    known.max_time, known.rows = changed.max_time, changed.rows
    known.per, known.suspect = changed.per, changed.suspect
    known.passed, known.late_entry_rows = changed.passed, changed.late_entry_rows

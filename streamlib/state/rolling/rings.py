"""Rolling windows by key: the rows that are in the window of their key, and what each window holds.

All rows lie in one log, in the order in which they came, which is that of time. The rows of a key are
linked, and `rolling_source` says how a window's state follows from theirs: from its rows and from how
they were parted into front and back, which depends on the key's rows alone. So neither the cut into
batches nor a snapshot changes a bit of any result.

Memory: a row in a window takes 8 bytes for each word of its state and 32 more, and the log at most
doubles before the rows that are gone leave it; each addition is paid for by few moves of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels.columns import values_of, word_column
from streamlib.kernels.rolling import (
    COUNT,
    HEAD,
    SLOT,
    TIME,
    compact_log,
    drop_keys,
    expand_windows,
    mark_front,
)
from streamlib.state.pane import address
from streamlib.state.rolling import rolling_source as source

Int64s = npt.NDArray[np.int64]

_ROWS_MIN = 1024
_SPARE_MIN = 4096
"""Rows that are gone below which compacting is not worth it."""


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """What the windows of some rows hold.

    Attributes:
        state: the plan's words; shape (rows, words).
        oldest: where in the log the oldest row of each window lies.
        first: where the first of the rows lies; the others follow it.
    """

    state: Int64s
    oldest: Int64s
    first: int


class RollingState:
    """The last rows of each key, and the aggregates over them.

    Args:
        plan: what to aggregate: state in words, rows in order.
        span: how long a row is in its key's window, ns; None for windows by rows.
        rows: how many rows a window has at most; None for windows by time.
        ttl: windows by rows: a key without rows for longer begins anew, ns; None for never.

    >>> from streamlib.aggregates import Count
    >>> state = RollingState(AccumulatorPlan([(Count(), None, None)]), span=10)
    >>> times, slots = np.array([1, 5, 11, 12]), np.array([0, 0, 0, 1])
    >>> state.add(slots, 2, times, []).state[:, 0].tolist()
    [1, 2, 2, 1]
    """

    def __init__(
        self,
        plan: AccumulatorPlan,
        span: int | None = None,
        rows: int | None = None,
        ttl: int | None = None,
    ) -> None:
        assert (span is None) != (rows is None), "by time or by rows"
        self.plan = plan
        self.by_time = span is not None
        words = HEAD + len(plan.words)
        self._log: Int64s = np.empty((_ROWS_MIN, words), dtype=np.int64)
        self._used = 0
        self._template = np.concatenate([np.array([-1, -1, -1, 0], dtype=np.int64), plan.initial])
        self._slots: Int64s = np.tile(self._template, (64, 1))
        self._slot_count = 0
        self._call = np.zeros(source.CALL_INPUTS + 3 * len(plan.input_types), dtype=np.int64)
        self._call[source.CALL_LIMIT] = span or rows or 0
        self._call[source.CALL_TTL] = ttl or 0
        self._call[source.CALL_TEMPLATE] = address(self._template[HEAD:]) - 8 * HEAD
        self._roll = source.roll_kernel(plan, self.by_time)

    @property
    def rows(self) -> int:
        """Rows that are in a window."""
        return int(self._slots[: self._slot_count, COUNT].sum())

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._log.nbytes + self._slots.nbytes

    def add(self, slots: Int64s, slot_count: int, times: Int64s, inputs: Sequence[pa.Array]) -> Rolled:
        """Adds rows in their order; what each one's window holds with it as the last row.

        Args:
            slots: of the rows' keys.
            slot_count: how many slots there are.
            times: ascending, ns.
            inputs: the plan's inputs.
        """
        rows = len(slots)
        self._make_room(rows, slot_count)
        call, kept = self._call, []
        for index, column in enumerate(self.plan.columns(inputs)):
            words = word_column(column)
            kept.append(words)
            at = source.CALL_INPUTS + 3 * index
            call[at : at + 3] = words.values, words.validity, words.bit
        out = np.empty((rows, len(self.plan.words)), dtype=np.int64)
        oldest = np.empty(rows, dtype=np.int64)
        slots, times = np.ascontiguousarray(slots), np.ascontiguousarray(times)
        call[source.CALL_ROW_SLOTS], call[source.CALL_TIMES] = address(slots), address(times)
        call[source.CALL_OUT], call[source.CALL_OLDEST] = address(out), address(oldest)
        first = self._used
        if rows:
            self._run(0, rows)
        del kept
        return Rolled(out, oldest, first)

    def evict(self, now: int) -> None:
        """By time: rows go that are too old for every row from `now` on, ns."""
        self._call[source.CALL_NOW] = now
        self._run(0, 0)

    def drop(self, slots: Int64s) -> None:
        """Forgets all rows of some slots."""
        drop_keys(self._log, self._slots, np.ascontiguousarray(slots), self._template)

    def members(self, rolled: Rolled, begin: int, end: int) -> Int64s:
        """Where the rows lie that are in the windows of rows [begin, end), window after window."""
        counts = np.ascontiguousarray(rolled.state[begin:end, 0])
        found = np.empty(int(counts.sum()), dtype=np.int64)
        expand_windows(self._log, rolled.first + begin, counts, found)
        return found

    def times(self, places: Int64s) -> Int64s:
        """The times of the rows that lie at `places`, ns."""
        return self._log[places, TIME]

    def compact(self) -> Int64s | None:
        """Lets go of rows that are in no window, when it is worth it.

        Returns:
            None, or the former places of the rows that stay: they are rows 0, 1, 2 and so on from now.
        """
        if self._used - self.rows <= max(_SPARE_MIN, self.rows):
            return None
        used = self._used
        moved = np.empty(used, dtype=np.int64)
        self._used = compact_log(self._log, used, self._slots, self._slot_count, moved)
        self._call[source.CALL_FIRST] = 0
        if len(self._log) > max(_ROWS_MIN, 4 * self._used + 2 * _SPARE_MIN):
            self._log = self._log[: 2 * self._used + _ROWS_MIN].copy()
        return np.flatnonzero(moved >= 0)

    def empty(self, slots: Int64s) -> Int64s:
        """Those of the slots whose window has no row."""
        known = slots[slots < self._slot_count]
        return known[self._slots[known, COUNT] == 0]

    def renumber(self, live: Int64s) -> None:
        """Slots get new numbers: `live` are 0, 1, 2 and so on from now, the others are gone."""
        numbers = np.full(max(self._slot_count, int(live.max(initial=-1)) + 1) + 1, -1, dtype=np.int64)
        numbers[live] = np.arange(len(live))
        log = self._log[: self._used]
        log[:, SLOT] = numbers[log[:, SLOT]]  # -1 finds the last one, which is -1
        kept = self._slots[live[live < self._slot_count]]
        assert len(kept) == len(live), "each key that lives has rows"
        self._slots = np.tile(self._template, (max(64, 2 * len(kept)), 1))
        self._slots[: len(kept)] = kept
        self._slot_count = len(kept)

    # Snapshots.

    def live(self) -> tuple[Int64s, Int64s, Int64s, npt.NDArray[np.bool_]]:
        """The rows that are in a window: their places, slots, times, and whether they are in the front."""
        log = self._log[: self._used]
        places = np.flatnonzero(log[:, SLOT] >= 0)
        front = np.zeros(self._used, dtype=np.uint8)
        mark_front(self._log, self._slots, self._slot_count, front)
        return places, log[places, SLOT], log[places, TIME], front[places] > 0

    def fields(self) -> list[pa.Field]:
        """The words of a row in a snapshot: named and typed."""
        return [pa.field(word.name, pa.type_for_alias(word.type)) for word in self.plan.words]

    def words(self, places: Int64s) -> list[pa.Array]:
        """The state of rows, by `fields`: of a row of the front that of it and those of the front after it."""
        state = self._log[places, HEAD:]
        return [
            pa.array(np.ascontiguousarray(state[:, index])).view(field.type)
            for index, field in enumerate(self.fields())
        ]

    def take_in(
        self,
        slots: Int64s,
        slot_count: int,
        times: Int64s,
        front: npt.NDArray[np.bool_],
        words: Sequence[Any],
    ) -> None:
        """Begins with these rows, which are all there are: in the order of time, the rows of a key in theirs."""
        assert self._used == 0, "a state takes rows in before it has any"
        rows = len(slots)
        self._make_room(rows, slot_count)
        log = self._log[:rows]
        log[:, TIME], log[:, SLOT] = times, slots
        for index, column in enumerate(words):
            log[:, HEAD + index] = values_of(column).view(np.int64)
        in_front = np.ascontiguousarray(front, dtype=np.uint8)
        self._call[source.CALL_FRESH] = address(in_front)
        source.relink_kernel(self.plan)(0, rows, self._call)
        self._used = rows

    def _run(self, begin: int, end: int) -> None:
        self._call[source.CALL_LOG] = address(self._log)
        self._call[source.CALL_SLOTS] = address(self._slots)
        self._call[source.CALL_USED] = self._used
        self._roll(begin, end, self._call)
        self._used = int(self._call[source.CALL_USED])

    def _make_room(self, rows: int, slot_count: int) -> None:
        if self._used + rows > len(self._log):
            grown = np.empty((max(self._used + rows, 2 * len(self._log)), self._log.shape[1]), dtype=np.int64)
            grown[: self._used] = self._log[: self._used]
            self._log = grown
        if slot_count > len(self._slots):
            slots = np.tile(self._template, (max(slot_count, 2 * len(self._slots)), 1))
            slots[: self._slot_count] = self._slots[: self._slot_count]
            self._slots = slots
        self._slot_count = max(self._slot_count, slot_count)
        self._call[source.CALL_LOG] = address(self._log)
        self._call[source.CALL_SLOTS] = address(self._slots)

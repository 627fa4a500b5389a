"""The rows of one side of an interval join: by key and time, for as long as a row can still match.

Rows are records in pages of `PAGE_ROWS`, in the order in which they came. The oldest pages go, for all
keys at once, when none of their rows can match any more. Where rows that stay keep many others from going
(two splits far apart, one row far ahead), all that live are written anew: so no more than about a
quarter of the records is dead, and memory follows the rows that can still match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.elements import MAX_TIME, MIN_TIME
from streamlib.kernels import interval_join as kernels
from streamlib.kernels.interval_join import BEGIN, END, PAGE_BITS, PAGE_ROWS, PAGES, PLACES, STRETCH, WIDTH
from streamlib.state.joins.kept_blocks import KeptBlocks
from streamlib.state.joins.record_layout import RecordLayout
from streamlib.state.pane import address
from streamlib.state.slabs import lasting_room

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

_TABLE_MIN = 1024
_PLACES = 3
"""A table has at least so many places for each row: another key's row in the chain is a mispredicted branch."""
_SPARE_PAGES = 4
_DEAD = 4
"""Records are written anew when one of so many is dead."""
_STEPS_MAX = 4
"""Records that a probe looks at for each row and each pair, above which a key is looked up by time too."""
_STRETCHES = 2
"""A stretch of the table is that many times as long as the interval, or up to twice that."""
_LOW = 0xFFFFFFFF


def stretch_of(low: int, high: int) -> int:
    """The logarithm of the stretch of time (ns) that suits an interval.

    >>> stretch_of(0, 1000), stretch_of(MIN_TIME, MAX_TIME)
    (11, 63)
    """
    return min(kernels.ALL_TIME, (_STRETCHES * (high - low)).bit_length())


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Pairs of a row given and a row of a store.

    Attributes:
        rows: those given.
        numbers: those of the store.
        times: the later time of each pair, ns.
        words: by their place in a record, words of the rows of the store.
        store: whose rows these are.
    """

    rows: Int64s
    numbers: Int64s
    times: Int64s
    words: Mapping[int, Int64s]
    store: IntervalStore

    def __len__(self) -> int:
        return len(self.rows)

    def filtered(self, keep: npt.NDArray[np.bool_]) -> Found:
        """Some of the pairs."""
        words = {place: values[keep] for place, values in self.words.items()}
        return Found(self.rows[keep], self.numbers[keep], self.times[keep], words, self.store)

    def columns(self, which: Sequence[int]) -> list[pa.Array]:
        """Some columns, by number, of the rows of the store: those that were asked for."""
        return self.store.columns(self.words, self.numbers, which)


class IntervalStore:
    """Rows by key and time, that are found by both.

    Args:
        layout: their columns.
        stretch: as `stretch_of`.
        by_key: whether keys have few rows, as far as is known: then they are looked up by their key
            only, until that turns out to be wrong.

    >>> store = IntervalStore(RecordLayout([pa.field("v", pa.int64())]), stretch_of(0, 10))
    >>> store.add(np.array([1, 1], dtype=np.uint64), np.array([5, 50]), [pa.array([7, 8])])
    >>> word, time = np.array([1], dtype=np.uint64), np.array([1])
    >>> [(found.rows.tolist(), found.numbers.tolist()) for found in store.probe(word, time, 0, 10, 100)]
    [([0], [0])]
    """

    def __init__(self, layout: RecordLayout, stretch: int, by_key: bool = True) -> None:
        self.layout = layout
        self._stretch = stretch
        self._is_long = by_key and stretch < kernels.ALL_TIME
        self._spare: list[Int64s] = []
        self._pairs = np.empty((2, 0), dtype=np.int64)
        self._values = np.empty((0, 0), dtype=np.int64)
        self._ages = np.empty((2, kernels.TILE), dtype=np.int64)
        self._kept = KeptBlocks([layout.fields[n].type for n in layout.kept])
        self._store = np.zeros(kernels.STORE_WORDS, dtype=np.int64)
        self._pages: Int64s
        self._lows: Int64s
        self._highs: Int64s
        self._clear()

    def _clear(self) -> None:
        self._store[:] = 0
        self._store[WIDTH] = self.layout.width
        self._store[STRETCH] = kernels.ALL_TIME if self._is_long else self._stretch
        self._memory: dict[int, Int64s] = {}
        self._set_pages(8)
        self._set_table(_TABLE_MIN)
        self._kept.clear()
        self._limit = 8 * PAGE_ROWS

    @property
    def rows(self) -> int:
        """How many there are, those that can match no more included."""
        return int(self._store[END] - self._store[BEGIN])

    @property
    def earliest(self) -> int:
        """A time that no row that is not marked lies before, ns; MAX_TIME when there is none."""
        return int(self._lows.min())

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        pages = (len(self._memory) + len(self._spare)) * PAGE_ROWS * 8 * self.layout.width
        lists = self._pages.nbytes + self._lows.nbytes + self._highs.nbytes
        return pages + lists + self._table.nbytes + self._kept.nbytes

    # Rows in.

    def add(
        self,
        words: UInt64s,
        times: Int64s,
        columns: Sequence[pa.Array],
        marked: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            words: of their keys.
            times: ns.
            columns: by the layout; plain.
            marked: which have matched already.
        """
        if not len(words):
            return
        flags, values = self.layout.pack(columns, len(words))
        if marked is not None and marked.any():
            flags = (flags if len(flags) else np.zeros(len(words), np.int64)) | np.where(
                marked, kernels.MARKED, 0
            )
        own = [pa.concat_arrays([columns[n], columns[n].slice(0, 0)]) for n in self.layout.kept]
        self._put(words, times, flags, values, own)

    def _put(
        self, words: UInt64s, times: Int64s, flags: Int64s, values: Sequence[Int64s], kept: Sequence[pa.Array]
    ) -> None:
        begin = int(self._store[END])
        self._make_room(begin + len(words))
        kernels.put_records(
            words,
            np.ascontiguousarray(times),
            flags,
            np.array([address(column) for column in values], dtype=np.int64),
            begin,
            self._store,
            self._pages,
            self._table,
            address(self._table),
            self._lows,
            self._highs,
        )
        self._kept.append(begin, kept)

    def _make_room(self, end: int) -> None:
        first, last = int(self._store[BEGIN]) >> PAGE_BITS, (end - 1) >> PAGE_BITS
        if last - first >= len(self._pages):
            self._set_pages(2 * (last - first + 1))
        for page in range(last, first - 1, -1):
            if page in self._memory:
                break
            shape = PAGE_ROWS * self.layout.width
            memory = self._spare.pop() if self._spare else np.empty(shape, dtype=np.int64)
            self._memory[page] = memory
            place = page & int(self._store[PAGES])
            self._pages[place] = address(memory)
            self._lows[place], self._highs[place] = MAX_TIME, MIN_TIME
        rows = end - int(self._store[BEGIN])
        if _PLACES * rows > len(self._table):
            self._set_table(_PLACES * rows)

    def _set_pages(self, pages: int) -> None:
        """A list of pages with room for so many."""
        count = 1 << max(3, (pages - 1).bit_length())
        mask = int(self._store[PAGES])
        found = [np.zeros(count, np.int64), np.full(count, MAX_TIME), np.full(count, MIN_TIME)]
        if self._memory:
            numbers = np.array(list(self._memory))
            for new, values in zip(found, (self._pages, self._lows, self._highs), strict=True):
                new[numbers & (count - 1)] = values[numbers & mask]
        self._pages, self._lows, self._highs = found
        self._store[PAGES] = count - 1

    def _set_table(self, rows: int) -> None:
        """A table for so many rows, and all rows linked in it."""
        places = max(_TABLE_MIN, 1 << (rows - 1).bit_length())
        self._table = np.full(places, (int(self._store[BEGIN]) - 1) & _LOW, dtype=np.uint32)
        self._store[PLACES] = places - 1
        kernels.link_records(self._store, self._pages, self._table)

    # Rows found.

    def probe(
        self,
        words: UInt64s,
        times: Int64s,
        low: int,
        high: int,
        most: int,
        first_only: bool = False,
        columns: Sequence[int] = (),
    ) -> Iterator[Found]:
        """The pairs of rows given and rows here with one word, `low` to `high` ns apart.

        Args:
            words, times: of the rows given.
            low, high: the time here minus the time given, ns; both ends are included.
            most: how many pairs at once.
            first_only: whether one row here is enough for each row given.
            columns: those of the rows here that will be read.

        Yields:
            Pairs, good until the next are asked for. Nothing may be added before the last.
        """
        if not self.rows or not len(words):
            return
        resume, met = np.zeros(kernels.RESUME_WORDS, dtype=np.int64), 0
        times = np.ascontiguousarray(times)
        which = self.layout.words_of(columns)
        wanted = np.array(which, dtype=np.int64)
        given = np.ascontiguousarray(words)
        if self._pairs.shape[1] != most:
            self._pairs = np.empty((2, most), dtype=np.int64)
        while True:
            if self._values.shape != (1 + len(which), most):
                self._values = lasting_room((1 + len(which)) * most).reshape(1 + len(which), most)
            values = self._values
            found = kernels.probe_records(
                address(given),
                address(times),
                len(given),
                low,
                high,
                self._store,
                address(self._pages),
                address(self._table),
                first_only,
                resume,
                address(self._ages),
                wanted,
                address(self._pairs),
                address(values),
                most,
            )
            met += found
            if found:
                if 2 * found < most:
                    values = values[:, :found].copy()
                else:
                    self._values = self._values[:0]
                rows, numbers = self._pairs[:, :found]
                later, *others = values[:, :found]
                yield Found(rows, numbers, later, dict(zip(which, others, strict=True)), self)
            if found < most:
                break
        steps = int(resume[kernels.STEPS])
        if self._is_long and steps > _STEPS_MAX * (len(words) + met):
            self._is_long = False  # keys have many rows: they are looked up by time, too
            self._store[STRETCH] = self._stretch
            self._set_table(len(self._table))

    def read(self, numbers: Int64s, columns: Sequence[int]) -> list[pa.Array]:
        """Some columns, by number, of some rows."""
        return self.columns(self._words(numbers, self.layout.words_of(columns)), numbers, columns)

    def columns(self, words: Mapping[int, Int64s], numbers: Int64s, columns: Sequence[int]) -> list[pa.Array]:
        """Some columns of some rows, of which the words are there."""
        beside = [n for n in columns if n in self.layout.kept]
        places = [self.layout.kept.index(n) for n in beside]
        kept = dict(zip(beside, self._kept.take(numbers, places), strict=True))
        return [kept[n] if n in kept else self.layout.column(words, n) for n in columns]

    def times(self, numbers: Int64s) -> Int64s:
        """The times of some rows, ns."""
        return self._words(numbers, [kernels.TIME])[kernels.TIME]

    def _words(self, numbers: Int64s, which: Sequence[int]) -> dict[int, Int64s]:
        out = np.empty((len(which), len(numbers)), dtype=np.int64)
        if which:
            words = np.array(which, dtype=np.int64)
            kernels.read_records(numbers, self._store, self._pages, words, out)
        return dict(zip(which, out, strict=True))

    def mark(self, numbers: Int64s) -> Int64s:
        """Marks rows as having matched; returns those that had not, once each."""
        fresh = np.empty(len(numbers), dtype=np.int64)
        return fresh[: kernels.mark_records(numbers, self._store, self._pages, fresh)]

    # Rows out.

    def take_due(self, limit: int | None) -> Int64s:
        """Marks the rows before a time (ns), or all for None; returns those that were not marked."""
        pages = len(self._memory) if limit is None else int((self._lows < limit).sum())
        if not pages:
            return np.empty(0, dtype=np.int64)
        due = np.empty(pages * PAGE_ROWS, dtype=np.int64)
        time, everything = (MAX_TIME, True) if limit is None else (limit, False)
        found = kernels.take_due(self._store, self._pages, self._lows, time, everything, due)
        return due[:found]

    def drop(self, limit: int | None) -> None:
        """Drops rows before a time (ns), all for None: those in whole pages of them, the oldest first."""
        if limit is None:
            if self.rows:
                self._spare.clear()
                self._clear()
            return
        begin, end, mask = (int(self._store[word]) for word in (BEGIN, END, PAGES))
        while begin < end and self._highs[(begin >> PAGE_BITS) & mask] < limit:
            until = ((begin >> PAGE_BITS) + 1) << PAGE_BITS
            if until > end:
                break
            memory = self._memory.pop(begin >> PAGE_BITS)
            if len(self._spare) < _SPARE_PAGES:
                self._spare.append(memory)
            place = (begin >> PAGE_BITS) & mask
            self._lows[place], self._highs[place] = MAX_TIME, MIN_TIME
            begin = until
        if begin != int(self._store[BEGIN]):
            self._store[BEGIN] = begin
            self._kept.drop(begin)
        unused = len(self._highs) - len(self._memory)
        dead_pages = int((self._highs < limit).sum()) - unused
        if self.rows > self._limit or dead_pages > _SPARE_PAGES + len(self._memory) // _DEAD:
            self._drop_scattered(limit)
        if 16 * max(self.rows, _TABLE_MIN) < len(self._table):
            self._set_table(_PLACES * max(1, self.rows))

    def _drop_scattered(self, limit: int) -> None:
        """Writes the rows that live anew, when too many between them do not."""
        living = np.empty(self.rows, dtype=np.int64)
        living = living[: kernels.living_records(self._store, self._pages, limit, living)]
        if len(living) * _DEAD <= self.rows * (_DEAD - 1):
            words = self._words(living, range(self.layout.width))
            kept = self._kept.take(living, range(len(self.layout.kept)))
            self._spare.clear()
            self._clear()
            time, word, link, *values = (words[n] for n in range(self.layout.width))
            self._put(word.view(np.uint64), time, link & ~_LOW, values, kept)
        self._limit = self.rows + self.rows // _DEAD + 4 * PAGE_ROWS

    # Snapshots.

    def snapshot(self) -> tuple[list[pa.Array], Int64s, npt.NDArray[np.bool_]]:
        """The columns of all rows, their times (ns), and which are marked."""
        numbers = np.arange(int(self._store[BEGIN]), int(self._store[END]))
        columns = self.read(numbers, range(len(self.layout.fields)))
        marked = self._words(numbers, [kernels.LINK])[kernels.LINK] < 0
        return columns, self.times(numbers), marked

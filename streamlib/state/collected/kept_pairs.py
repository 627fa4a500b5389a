"""Sketches of each key of a pane, as pairs of slot and code: registers of a HyperLogLog, buckets of a DDSketch."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import Buckets, Registers, lengths, lists_of
from streamlib.aggregates.sketch import BIAS, INFINITE, NAN, ZERO, log_gamma
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import values_of
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.keys import KeyEncoder
from streamlib.kernels.memory import F64, I64
from streamlib.state.collected.grouping import sorted_by_slot
from streamlib.state.collected.pair_table import CODE_BITS, SLOTS_MAX, PairTable, pair_words

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]
Float64s = npt.NDArray[np.float64]

_SHIFT_BITS = np.int64(CODE_BITS)
_ONE = np.uint64(1)
RANK_BITS = 6


@kernel("void(words, ints, int64, uint64[::1])")
def write_register_words(hashes: Uint64s, slots: Int64s, bits: I64, words: Uint64s) -> None:
    """Writes pairs of slot and register with its rank: the position of the first 1 behind the register's bits."""
    for i in range(len(hashes)):
        mixed = hash_word(hashes[i])
        register = mixed >> np.uint64(64 - bits)
        rest = (mixed << np.uint64(bits)) | (_ONE << np.uint64(bits - 1))
        rank = _ONE
        while rest >> np.uint64(63) == np.uint64(0):
            rest = rest << _ONE
            rank += _ONE
        code = (register << np.uint64(RANK_BITS)) | rank
        words[i] = (np.uint64(slots[i] + 1) << np.uint64(_SHIFT_BITS)) | code


@kernel("void(float64[::1], ints, float64, uint64[::1])")
def write_bucket_words(values: Float64s, slots: Int64s, width: F64, words: Uint64s) -> None:
    """Writes pairs of slot and bucket: the logarithm of the value, rounded up, in units of `width`."""
    for i in range(len(values)):
        value = values[i]
        size = abs(value)
        bucket = np.int64(ZERO)
        if value != value:
            bucket = np.int64(NAN)
        elif size > 0.0:
            part = np.int64(INFINITE)
            if size <= 1.7976931348623157e308:
                part = np.int64(math.ceil(math.log(size) / width))
            part += np.int64(BIAS)
            bucket += part if value > 0.0 else -part
        words[i] = np.uint64(((slots[i] + 1) << _SHIFT_BITS) | bucket)


class _Pairs:
    """What sketches share.

    Attributes:
        like: places of the table, for that of the next pane.
    """

    def __init__(self, table: PairTable) -> None:
        self._table = table

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes

    @property
    def like(self) -> int:
        return self._table.places

    def drop(self, slots: Int64s) -> None:
        """Forgets the pairs of some slots."""
        kept, codes, counts = self._table.pairs()
        stays = ~np.isin(kept, slots)
        if not stays.all():
            self._table = self._table.empty()
            weights = counts[stays] if self._table.counted else None
            self._table.add(pair_words(kept[stays], codes[stays]), weights)

    def _lists(self, count: int, slots: Int64s | None) -> tuple[Int64s, Int64s, Int64s]:
        """Of each of `count` slots, or of some: where its pairs begin; all codes and their counts."""
        kept, codes, counts = self._table.pairs()
        offsets, order = rows_by_slot(kept, count, slots)
        return offsets, codes[order], counts[order] if self._table.counted else counts


def rows_by_slot(kept: Int64s, count: int, slots: Int64s | None) -> tuple[Int64s, Int64s]:
    """Where the rows of each of `count` slots begin, or of some, and the rows in that order."""
    if slots is None:
        return sorted_by_slot(kept.astype(np.int32), count)
    place = np.full(count, -1, dtype=np.int32)
    place[slots] = np.arange(len(slots), dtype=np.int32)
    rows = np.flatnonzero(place[kept] >= 0)
    offsets, order = sorted_by_slot(place[kept[rows]], len(slots))
    return offsets, rows[order]


def check_slots(slots: Int64s) -> None:
    """Raises MemoryError for more keys than a pair has room for."""
    if len(slots) and int(slots.max()) >= SLOTS_MAX:
        raise MemoryError(f"a window has more than {SLOTS_MAX:,} keys")


class KeptRegisters(_Pairs):
    """The registers of a HyperLogLog for each slot; those never reached are left out."""

    def __init__(self, collected: Registers, kind: pa.DataType, room: int) -> None:
        super().__init__(PairTable(shift=RANK_BITS, places=room))
        self._bits = collected.bits
        self._encoder = KeyEncoder([kind])

    def add(self, slots: Int64s, values: pa.Array) -> None:
        check_slots(slots)
        if values.null_count:
            slots, values = slots[np.asarray(values.is_valid())], values.drop_null()
        hashes = self._encoder.hashes(self._encoder.encode([values], len(values)))
        words = np.empty(len(slots), dtype=np.uint64)
        write_register_words(hashes, slots, self._bits, words)
        self._table.add(words)

    def merge(self, slots: Int64s, partial: pa.LargeListArray) -> None:
        """Adds what `partial` of another gave."""
        codes = values_of(partial.flatten())
        self._table.add(pair_words(np.repeat(slots, lengths(partial)), codes))

    def partial(self, count: int, slots: Int64s | None = None) -> pa.LargeListArray:
        """The registers of each of `count` slots, or of some."""
        offsets, codes, _ = self._lists(count, slots)
        return lists_of(offsets, pa.array(codes))

    final = partial


class KeptBuckets(_Pairs):
    """The buckets of a DDSketch for each slot, with their counts."""

    def __init__(self, collected: Buckets, kind: pa.DataType, room: int) -> None:
        super().__init__(PairTable(counted=True, places=room))
        self._width = log_gamma(collected.error)

    def add(self, slots: Int64s, values: pa.Array) -> None:
        check_slots(slots)
        if values.null_count:
            slots, values = slots[np.asarray(values.is_valid())], values.drop_null()
        numbers = values_of(values).astype(np.float64)
        words = np.empty(len(slots), dtype=np.uint64)
        write_bucket_words(numbers, slots, self._width, words)
        self._table.add(words)

    def merge(self, slots: Int64s, partial: pa.LargeListArray) -> None:
        """Adds what `partial` of another gave."""
        buckets, counts = (values_of(column) for column in partial.flatten().flatten())
        words = pair_words(np.repeat(slots, lengths(partial)), buckets)
        self._table.add(words, np.ascontiguousarray(counts))

    def partial(self, count: int, slots: Int64s | None = None) -> pa.LargeListArray:
        """The buckets of each of `count` slots, or of some."""
        offsets, codes, counts = self._lists(count, slots)
        fields = [pa.field("bucket", pa.int64()), pa.field("count", pa.int64())]
        return lists_of(
            offsets, pa.StructArray.from_arrays([pa.array(codes), pa.array(counts)], fields=fields)
        )

    final = partial

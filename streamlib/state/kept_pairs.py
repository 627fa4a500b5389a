"""Sets and sketches of each key of a pane, as pairs of slot and code: distinct values, registers, buckets.

Codes of distinct values are the values themselves, less a base, where they are integers that lie
within 36 bits of one another; else each value gets a number from an index like that of keys, which is
exact for every type.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import Buckets, Distinct, Registers, lengths, lists_of, plain_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.aggregates.sketch import BIAS, INFINITE, NAN, ZERO, log_gamma
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import decoded, is_word, lane, storage_dtype, values_of
from streamlib.kernels.hashing import hash_word
from streamlib.kernels.keys import KeyEncoder
from streamlib.kernels.memory import F64, I64
from streamlib.state.grouping import sorted_by_slot
from streamlib.state.pair_table import CODE_BITS, CODE_MAX, SLOTS_MAX, PairTable, pair_words

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]
Float64s = npt.NDArray[np.float64]

_NULL_CODE = CODE_MAX
_SHIFT_BITS = np.int64(CODE_BITS)
_ONE = np.uint64(1)
RANK_BITS = 6


@kernel("int64(ints, ints, int64, uint64[::1])")
def write_near_words(values: Int64s, slots: Int64s, base: I64, words: Uint64s) -> I64:
    """Writes pairs of slot and value - base; returns how many rows were served before one that is too far."""
    for i in range(len(values)):
        code = np.uint64(values[i]) - np.uint64(base)
        if code >= np.uint64(_NULL_CODE):
            return i
        words[i] = (np.uint64(slots[i] + 1) << np.uint64(_SHIFT_BITS)) | code
    return len(values)


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
    """What the kinds share."""

    def __init__(self, table: PairTable) -> None:
        self._table = table

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._table.nbytes

    def add(self, slots: Int64s, values: pa.Array) -> None:
        """Adds rows."""
        if len(slots) and int(slots.max()) >= SLOTS_MAX:
            raise MemoryError(f"a window has more than {SLOTS_MAX:,} keys")

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
        if slots is not None:
            place = np.full(count, -1, dtype=np.int64)
            place[slots] = np.arange(len(slots))
            rows = np.flatnonzero(place[kept] >= 0)
            kept, codes, count = place[kept[rows]], codes[rows], len(slots)
            counts = counts[rows] if self._table.counted else counts
        offsets, order = sorted_by_slot(kept.astype(np.int32), count)
        return offsets, codes[order], counts[order] if self._table.counted else counts


class KeptDistinct(_Pairs):
    """The distinct values of each slot.

    >>> distinct = KeptDistinct(Distinct(), pa.string())
    >>> distinct.add(np.array([0, 1, 0]), pa.array(["a", "a", "a"]))
    >>> distinct.final(2).to_pylist(), distinct.partial(2).to_pylist()
    ([1, 1], [['a'], ['a']])
    """

    def __init__(self, collected: Distinct, kind: pa.DataType) -> None:
        super().__init__(PairTable())
        self._nulls = collected.nulls
        self._kind = plain_type(kind)
        self._base: int | None = None
        self._index: Any = None
        if not is_word(self._kind) or lane(self._kind) == "float64":
            self._number()

    @property
    def nbytes(self) -> int:
        return super().nbytes + (0 if self._index is None else int(self._index.nbytes))

    def add(self, slots: Int64s, values: pa.Array) -> None:
        super().add(slots, values)
        values = decoded(values)
        if values.null_count and not self._nulls:
            slots, values = slots[np.asarray(values.is_valid())], values.drop_null()
        if len(values) == 0:
            return
        words = None if self._index is not None else self._near(slots, values)
        if words is None:
            self._number()
            words = self._numbered(slots, values)
        self._table.add(words)

    def _near(self, slots: Int64s, values: pa.Array) -> Uint64s | None:
        """Pairs with values less a base; None where they lie too far apart."""
        null = np.asarray(values.is_null()) if values.null_count else None
        numbers = np.ascontiguousarray(values_of(values), dtype=lane(self._kind)).view(np.int64)
        words = np.empty(len(slots), dtype=np.uint64)
        if null is not None:
            words[null] = pair_words(slots[null], np.full(int(null.sum()), _NULL_CODE))
            known = np.flatnonzero(~null)
            slots, numbers = slots[known], numbers[known]
        if self._base is None and len(numbers):
            low = int(numbers.min())
            self._base = max(low - 2 ** (CODE_BITS - 2), -(2**63)) if low <= 0 or low > 2**34 else 0
        found = words if null is None else np.empty(len(slots), dtype=np.uint64)
        if write_near_words(numbers, slots, self._base or 0, found) < len(slots):
            return None
        if null is not None:
            words[known] = found
        return words

    def _number(self) -> None:
        """From now on values get numbers from an index of their own."""
        from streamlib.state.slots import SlotTable

        self._index = SlotTable([pa.field("value", self._kind)], AccumulatorPlan([]))
        if len(self._table):
            slots, codes, _ = self._table.pairs()
            values = self._values(codes, numbered=False)
            self._table = PairTable()
            self._table.add(self._numbered(slots, values))

    def _numbered(self, slots: Int64s, values: pa.Array) -> Uint64s:
        batch = pa.record_batch([values.cast(self._kind)], names=["value"])
        return pair_words(slots, self._index.find(batch))

    def _values(self, codes: Int64s, numbered: bool) -> pa.Array:
        """The values that codes stand for."""
        if numbered:
            known = self._index.read(np.arange(self._index.count)).keys.column(0)
            return known.take(pa.array(codes))
        null = codes == _NULL_CODE
        mask = null if null.any() else None
        numbers = (codes + (self._base or 0)).view(lane(self._kind))
        if pa.types.is_boolean(self._kind):
            return pa.array(numbers != 0, mask=mask)
        numbers = np.where(null, numbers.dtype.type(0), numbers) if mask is not None else numbers
        return pa.array(numbers.astype(storage_dtype(self._kind)), mask=mask).view(self._kind)

    def merge(self, slots: Int64s, partial: pa.LargeListArray) -> None:
        """Adds what `partial` of another gave."""
        self.add(np.repeat(slots, lengths(partial)), partial.flatten())

    def partial(self, count: int, slots: Int64s | None = None) -> pa.LargeListArray:
        """The distinct values of each of `count` slots, or of some."""
        offsets, codes, _ = self._lists(count, slots)
        if len(codes) == 0:
            return lists_of(offsets, pa.nulls(0, self._kind))
        return lists_of(offsets, self._values(codes, self._index is not None))

    def final(self, count: int, slots: Int64s | None = None) -> pa.Array:
        """How many distinct values each slot has."""
        counts = self._table.per_slot(count)
        return pa.array(counts if slots is None else counts[slots])


class KeptRegisters(_Pairs):
    """The registers of a HyperLogLog for each slot; those never reached are left out."""

    def __init__(self, collected: Registers, kind: pa.DataType) -> None:
        super().__init__(PairTable(shift=RANK_BITS))
        self._bits = collected.bits
        self._encoder = KeyEncoder([kind])

    def add(self, slots: Int64s, values: pa.Array) -> None:
        super().add(slots, values)
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

    def __init__(self, collected: Buckets, kind: pa.DataType) -> None:
        super().__init__(PairTable(counted=True))
        self._width = log_gamma(collected.error)

    def add(self, slots: Int64s, values: pa.Array) -> None:
        super().add(slots, values)
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
        return lists_of(offsets, pa.StructArray.from_arrays([pa.array(codes), pa.array(counts)], fields=fields))

    final = partial

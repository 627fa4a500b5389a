"""The distinct values of each key of a pane, exactly, as a set of pairs of slot and value.

Three forms of the set, each for what the one before cannot hold:

* *near*: integers that lie within 36 bits of one another, less a base: 8 bytes a pair;
* *wide*: any machine words: 16 bytes a pair. Floats have one NaN and one zero;
* *numbered*: all else. Each value gets a number from an index like that of keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import Distinct, lengths, lists_of, plain_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import decoded, is_word, lane, storage_dtype, values_of
from streamlib.kernels.memory import I64
from streamlib.state.collected.kept_pairs import check_slots, rows_by_slot
from streamlib.state.collected.pair_table import CODE_BITS, CODE_MAX, PairTable, WideTable, pair_words

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

_NULL_CODE = CODE_MAX
_SHIFT_BITS = np.int64(CODE_BITS)


@kernel("int64(ints, ints, int64, uint64[::1])")
def write_near_words(values: Int64s, slots: Int64s, base: I64, words: Uint64s) -> I64:
    """Writes pairs of slot and value - base; returns how many rows were served before one that is too far."""
    for i in range(len(values)):
        code = np.uint64(values[i]) - np.uint64(base)
        if code >= np.uint64(_NULL_CODE):
            return i
        words[i] = (np.uint64(slots[i] + 1) << np.uint64(_SHIFT_BITS)) | code
    return len(values)


class KeptDistinct:
    """The distinct values of each slot.

    Args:
        collected: what is kept.
        kind: the type of the values.
        room: places of the table to begin with.

    >>> distinct = KeptDistinct(Distinct(), pa.string(), 64)
    >>> distinct.add(np.array([0, 1, 0]), pa.array(["a", "a", "a"]))
    >>> distinct.final(2).to_pylist(), distinct.partial(2).to_pylist()
    ([1, 1], [['a'], ['a']])
    """

    def __init__(self, collected: Distinct, kind: pa.DataType, room: int) -> None:
        self._nulls = collected.nulls
        self._kind = plain_type(kind)
        self._base: int | None = None
        self._index: Any = None
        self._set: PairTable | WideTable
        if is_word(self._kind):
            self._set = WideTable(room) if lane(self._kind) == "float64" else PairTable(places=room)
        else:
            from streamlib.state.slots import SlotTable

            self._set = PairTable(places=room)
            self._index = SlotTable([pa.field("value", self._kind)], AccumulatorPlan([]))

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._set.nbytes + (0 if self._index is None else int(self._index.nbytes))

    @property
    def room(self) -> int:
        """Places of the table, for that of the next pane."""
        return self._set.places

    def add(self, slots: Int64s, values: pa.Array) -> None:
        """Adds values."""
        check_slots(slots)
        values = decoded(values)
        if values.null_count and not self._nulls:
            slots, values = slots[np.asarray(values.is_valid())], values.drop_null()
        if len(values) == 0:
            return
        if self._index is not None:
            assert isinstance(self._set, PairTable), "values have numbers"
            batch = pa.record_batch([values.cast(self._kind)], names=["value"])
            self._set.add(pair_words(slots, self._index.find(batch)))
            return
        null = np.asarray(values.is_null()) if values.null_count else None
        words = _words(values, self._kind)
        if isinstance(self._set, PairTable):
            near = self._near(slots, words, null)
            if near is not None:
                self._set.add(near)
                return
            self._widen()
        assert isinstance(self._set, WideTable), "values are words"
        self._set.add(slots, words, null)

    @property
    def form(self) -> str:
        """Which form it has: ``near``, ``wide`` or ``numbered``."""
        if self._index is not None:
            return "numbered"
        return "near" if isinstance(self._set, PairTable) else "wide"

    def card(self, slots: int) -> Int64s | None:
        """What `direct` adds to it by; None where it takes no words, or none yet."""
        if self._index is not None or (self._base is None and isinstance(self._set, PairTable)):
            return None
        return self._set.card(slots, self._base or 0)

    def used(self, count: int) -> None:
        """So many pairs are in it now."""
        self._set.used(count)

    def grow(self) -> None:
        """Makes room for more."""
        self._set.grow()

    def _near(self, slots: Int64s, words: Int64s, null: Flags | None) -> Uint64s | None:
        """Pairs with values less a base; None where they lie too far apart."""
        known = words if null is None else words[~null]
        if self._base is None and len(known):
            self._base = max(int(known.min()) - 2 ** (CODE_BITS - 2), -(2**63))
        base = self._base or 0
        if null is not None:
            words = np.where(null, base, words)
        found = np.empty(len(slots), dtype=np.uint64)
        if write_near_words(words, slots, base, found) < len(slots):
            return None
        if null is not None:
            found[null] = pair_words(slots[null], np.full(int(null.sum()), _NULL_CODE))
        return found

    def _widen(self) -> None:
        """Goes over to the wide form."""
        assert isinstance(self._set, PairTable), "it is not wide"
        slots, codes, _ = self._set.pairs()
        self._set = WideTable(self._set.places)
        self._set.add(slots, codes + (self._base or 0), codes == _NULL_CODE)

    def merge(self, slots: Int64s, partial: pa.LargeListArray) -> None:
        """Adds what `partial` of another gave."""
        self.add(np.repeat(slots, lengths(partial)), partial.flatten())

    def partial(self, count: int, slots: Int64s | None = None) -> pa.LargeListArray:
        """The distinct values of each of `count` slots, or of some."""
        kept, words, null = self._set.pairs()
        offsets, order = rows_by_slot(kept, count, slots)
        words = words[order]
        if self._index is not None:
            if not len(words):
                return lists_of(offsets, pa.nulls(0, self._kind))
            known = self._index.read(np.arange(self._index.count)).keys.column(0)
            return lists_of(offsets, known.take(pa.array(words)))
        if isinstance(self._set, WideTable):
            return lists_of(offsets, _typed(words, null[order].astype(np.bool_), self._kind))
        return lists_of(offsets, _typed(words + (self._base or 0), words == _NULL_CODE, self._kind))

    def final(self, count: int, slots: Int64s | None = None) -> pa.Array:
        """How many distinct values each slot has."""
        counts = self._set.per_slot(count)
        return pa.array(counts if slots is None else counts[slots])

    def drop(self, slots: Int64s) -> None:
        """Forgets the values of some slots."""
        kept, words, null = self._set.pairs()
        stays = ~np.isin(kept, slots)
        if stays.all():
            return
        if isinstance(self._set, WideTable):
            self._set = WideTable(self._set.places)
            self._set.add(kept[stays], words[stays], null[stays].astype(np.bool_))
        else:
            self._set = self._set.empty()
            self._set.add(pair_words(kept[stays], words[stays]))


def _words(values: pa.Array, kind: pa.DataType) -> Int64s:
    """The bits of values; those of nulls are arbitrary."""
    numbers = np.ascontiguousarray(values_of(values), dtype=lane(kind))
    if numbers.dtype.kind == "f":
        numbers = numbers + 0.0  # -0.0 is 0.0
        numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.int64)


def _typed(words: Int64s, null: Flags, kind: pa.DataType) -> pa.Array:
    """Values of their bits."""
    mask = null if null.any() else None
    numbers = np.where(null, 0, words).view(lane(kind)) if mask is not None else words.view(lane(kind))
    if pa.types.is_boolean(kind):
        return pa.array(numbers != 0, mask=mask)
    return pa.array(numbers.astype(storage_dtype(kind)), mask=mask, from_pandas=False).view(kind)

"""The distinct values of each key of a pane, exactly, as a set of pairs of slot and value.

Four forms of the set, each for what the one before cannot hold:

* *bits*: integers that lie so near one another that a bit for each slot and value takes no more memory than a
  table: what the sets before have told. To add one is to set a bit;
* *near*: integers that lie within 36 bits of one another, less a base: 8 bytes a pair;
* *wide*: any machine words: 16 bytes a pair. Floats have one NaN and one zero;
* *numbered*: all else. Each value gets a number from an index like that of keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.aggregates.accumulators import Distinct, lengths, lists_of, plain_type
from streamlib.aggregates.plan import AccumulatorPlan
from streamlib.kernels._jit import kernel
from streamlib.kernels.columns import decoded, is_word, lane, storage_dtype, values_of
from streamlib.kernels.memory import I64
from streamlib.state.collected.bit_table import BitTable
from streamlib.state.collected.direct_kernels import set_bits
from streamlib.state.collected.kept_pairs import check_slots, rows_by_slot
from streamlib.state.collected.pair_table import CODE_BITS, CODE_MAX, PairTable, WideTable, pair_words
from streamlib.state.pane import address

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

_NULL_CODE = CODE_MAX
_SHIFT_BITS = np.int64(CODE_BITS)
_SLOTS_MIN = 16
_WAIT_MIN = 4


@kernel("int64(ints, ints, int64, uint64[::1])")
def write_near_words(values: Int64s, slots: Int64s, base: I64, words: Uint64s) -> I64:
    """Writes pairs of slot and value - base; returns how many rows were served before one that is too far."""
    for i in range(len(values)):
        code = np.uint64(values[i]) - np.uint64(base)
        if code >= np.uint64(_NULL_CODE):
            return i
        words[i] = (np.uint64(slots[i] + 1) << np.uint64(_SHIFT_BITS)) | code
    return len(values)


@dataclass(frozen=True, slots=True)
class Like:
    """What a set tells the one of the next pane.

    Attributes:
        places: of a table.
        wide: values lie too far apart for the near form.
        base, codes: the range of the values, for a set of bits; no such set where there are no codes.
        slots: how many the pane had.
        closed: panes in a row that were not suited to bits.
        wait: how many such panes there must be before this is looked at again.
    """

    places: int = 64
    wide: bool = False
    base: int | None = None
    codes: int = 0
    slots: int = 0
    closed: int = 0
    wait: int = 0


class KeptDistinct:
    """The distinct values of each slot.

    Args:
        collected: what is kept.
        kind: the type of the values.
        like: what the set of the pane before has told.

    >>> distinct = KeptDistinct(Distinct(), pa.string())
    >>> distinct.add(np.array([0, 1, 0]), pa.array(["a", "a", "a"]))
    >>> distinct.final(2).to_pylist(), distinct.partial(2).to_pylist()
    ([1, 1], [['a'], ['a']])
    """

    def __init__(self, collected: Distinct, kind: pa.DataType, like: Like | None = None) -> None:
        like = like or Like()
        self._nulls = collected.nulls
        self._kind = plain_type(kind)
        self._base: int | None = None
        self._index: Any = None
        self._before = like
        self._slots = 0
        self._set: PairTable | WideTable | BitTable
        if not is_word(self._kind):
            from streamlib.state.slots import SlotTable

            self._set = PairTable(places=like.places)
            self._index = SlotTable([pa.field("value", self._kind)], AccumulatorPlan([]))
        elif lane(self._kind) == "float64" or like.wide:
            self._set = WideTable(like.places)
        elif like.codes:
            self._set = BitTable(like.codes, like.slots + like.slots // 8)
            self._base = like.base
        else:
            self._set = PairTable(places=like.places)

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self._set.nbytes + (0 if self._index is None else int(self._index.nbytes))

    @property
    def like(self) -> Like:
        """What the set of the next pane may know."""
        kept, before = self._set, self._before
        if isinstance(kept, BitTable):
            return replace(before, slots=max(self._slots, _SLOTS_MIN))
        made = Like(kept.places, wide=isinstance(kept, WideTable), closed=before.closed + 1, wait=before.wait)
        if before.codes:  # it had to leave the bits
            return replace(made, closed=0, wait=max(_WAIT_MIN, 2 * before.wait))
        if made.closed <= made.wait or made.wide or self._nulls or self._index is not None:
            return made
        if not len(kept) or not isinstance(kept, PairTable):
            return made
        low, high = (int(code) for code in kept.code_range())
        slots, span = max(self._slots, _SLOTS_MIN), high - low + 1
        codes = min(2 * span, 8 * kept.nbytes // slots)
        if codes < span + span // 4:
            return replace(made, closed=0, wait=max(1, 2 * before.wait))
        base = max((self._base or 0) + low - (codes - span) // 2, -(2**63))
        return replace(made, base=base, codes=codes, slots=slots)

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
        if isinstance(self._set, BitTable):
            if self._set_bits(np.ascontiguousarray(slots), words):
                return
            self._leave_bits()
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
        """Which form it has: ``bits``, ``near``, ``wide`` or ``numbered``."""
        if self._index is not None:
            return "numbered"
        if isinstance(self._set, BitTable):
            return "bits"
        return "near" if isinstance(self._set, PairTable) else "wide"

    @property
    def has_base(self) -> bool:
        """Whether it has had a value."""
        return self._base is not None

    def begin(self, low: int) -> None:
        """Chooses a base for values from about `low` on."""
        self._base = max(low - 2 ** (CODE_BITS - 2), -(2**63))

    def card(self, slots: int) -> Int64s | None:
        """What `direct` adds to it by; None where it takes no words."""
        self._slots = max(self._slots, slots)
        return None if self._index is not None else self._set.card(slots, self._base or 0)

    def used(self, count: int) -> None:
        """So many pairs are in it now."""
        self._set.used(count)

    def grow(self) -> None:
        """Makes room for more."""
        self._set.grow()

    def _set_bits(self, slots: Int64s, words: Int64s) -> bool:
        """Sets the bits of pairs; False where one has none."""
        card = self.card(int(slots.max()) + 1)
        if card is None:
            return False
        return set_bits(0, slots, slots[:0], 0, card.reshape(1, -1), address(words), 0, 0) == len(slots)

    def _leave_bits(self) -> None:
        """Goes over from bits to the near form."""
        assert isinstance(self._set, BitTable), "it has bits"
        slots, codes = self._set.pairs()
        base = self._base or 0
        if len(codes):
            self.begin(base + int(codes.min()))
        self._set = PairTable(places=self._before.places)
        self._set.add(pair_words(slots, codes + (base - (self._base or 0))))

    def _near(self, slots: Int64s, words: Int64s, null: Flags | None) -> Uint64s | None:
        """Pairs with values less a base; None where they lie too far apart."""
        known = words if null is None else words[~null]
        if self._base is None and len(known):
            self.begin(int(known.min()))
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
        kept, words, null = self._pairs()
        offsets, order = rows_by_slot(kept, count, slots)
        words = words[order]
        if self._index is not None:
            if not len(words):
                return lists_of(offsets, pa.nulls(0, self._kind))
            known = self._index.keys_at(np.arange(self._index.count)).column(0)
            return lists_of(offsets, known.take(pa.array(words)))
        if isinstance(self._set, WideTable):
            return lists_of(offsets, _typed(words, null[order].astype(np.bool_), self._kind))
        return lists_of(offsets, _typed(words + (self._base or 0), words == _NULL_CODE, self._kind))

    def final(self, count: int, slots: Int64s | None = None) -> pa.Array:
        """How many distinct values each slot has."""
        self._slots = max(self._slots, count)
        counts = self._set.per_slot(count)
        return pa.array(counts if slots is None else counts[slots])

    def drop(self, slots: Int64s) -> None:
        """Forgets the values of some slots."""
        if isinstance(self._set, BitTable):
            self._set.drop(slots)
            return
        kept, words, null = self._pairs()
        stays = ~np.isin(kept, slots)
        if stays.all():
            return
        if isinstance(self._set, WideTable):
            self._set = WideTable(self._set.places)
            self._set.add(kept[stays], words[stays], null[stays].astype(np.bool_))
        else:
            self._set = PairTable()
            self._set.add(pair_words(kept[stays], words[stays]))

    def _pairs(self) -> tuple[Int64s, Int64s, Flags]:
        """Slots, codes or words, and which of the words of a wide set are null."""
        if isinstance(self._set, WideTable):
            return self._set.pairs()
        slots, codes = self._set.pairs()[:2]
        return slots, codes, np.empty(0, dtype=np.bool_)


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

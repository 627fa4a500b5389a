"""A column that grows by appending: values of one accumulator in one pane, by their place in it.

Chunks are joined so that each is more than twice the next one: there are few of them, and a value is
copied a number of times that grows with the logarithm of how many there are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.state.gathering import taken

Int64s = npt.NDArray[np.int64]

_SPARE_BYTES = 64 * 1024
_CHUNK_BYTES = 512
"""What a chunk costs besides its values, about."""


class ValueStore:
    """Values of one type.

    Args:
        kind: their type; no view, dictionary or run-end encoding.

    Attributes:
        nbytes: bytes they take.

    >>> store = ValueStore(pa.string())
    >>> store.append(pa.array(["a", "b"])), store.append(pa.array(["c"]))
    (0, 2)
    >>> store.take(np.array([2, -1, 0])).to_pylist()
    ['c', None, 'a']
    """

    __slots__ = ("_begins", "_chunks", "_kind", "_limit", "nbytes")

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._chunks: list[pa.Array] = []
        self._begins = [0]
        self.nbytes = 0
        self._limit = _SPARE_BYTES

    def __len__(self) -> int:
        return self._begins[-1]

    @property
    def is_due(self) -> bool:
        """Whether `keep` should drop what is not referred to: the size has doubled since it last did."""
        return self.nbytes > self._limit

    def append(self, values: pa.Array) -> int:
        """Adds values, which should own their memory; returns the place of the first."""
        first = len(self)
        self._chunks.append(values)
        self._begins.append(first + len(values))
        self.nbytes += values.nbytes + _CHUNK_BYTES
        joined = 1
        while joined < len(self._chunks):
            begin = self._begins[-joined - 1]
            if begin - self._begins[-joined - 2] > 2 * (len(self) - begin):
                break
            joined += 1
        if joined > 1:
            self._chunks[-joined:] = [pa.concat_arrays(self._chunks[-joined:])]
            del self._begins[-joined:-1]
            self.nbytes -= (joined - 1) * _CHUNK_BYTES
        return first

    def all(self) -> pa.Array:
        """All values, in their order."""
        if len(self._chunks) > 1:
            self.keep_chunk(pa.concat_arrays(self._chunks))
        return self._chunks[0] if self._chunks else pa.nulls(0, self._kind)

    def keep_chunk(self, values: pa.Array) -> None:
        """Has these values in place of all others."""
        self._chunks, self._begins = [values], [0, len(values)]
        self.nbytes = values.nbytes + _CHUNK_BYTES
        self._limit = 2 * self.nbytes + _SPARE_BYTES

    def take(self, places: Int64s, bits: pa.Buffer | None = None) -> pa.Array:
        """The values at `places`; null where a place is negative: `bits`, where `present_bits` was asked before."""
        if not self._chunks:
            assert (places < 0).all(), "nothing was kept"
            return pa.nulls(len(places), self._kind)
        found = taken(self._chunks, self._begins, places, bits) if len(self) else None
        if found is not None:
            return found
        missing = places < 0
        mask = missing if missing.any() else None
        if len(self._chunks) == 1:
            return self._chunks[0].take(pa.array(places, mask=mask))
        chunks = np.searchsorted(self._begins, places, side="right") - 1
        parts, order = [], []
        for number, chunk in enumerate(self._chunks):
            rows = np.flatnonzero(chunks == number)
            if len(rows):
                parts.append(chunk.take(pa.array(places[rows] - self._begins[number])))
                order.append(rows)
        if not parts:
            return pa.nulls(len(places), self._kind)
        where = np.zeros(len(places), dtype=np.int64)
        where[np.concatenate(order)] = np.arange(sum(map(len, parts)))
        return pa.concat_arrays(parts).take(pa.array(where, mask=mask))

    def keep(self, places: Int64s) -> None:
        """Keeps the values at `places` only; their places are 0, 1, 2 and so on from now."""
        self.keep_chunk(self.take(places))

"""dedup_text: the job of `dedup`, by UUIDs as texts of 36 characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.jobs.dedup import Dedup
from benchmarks.shapes import Shape

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_DASHES = (8, 13, 18, 23)
_LENGTH = 36
_CHUNK = 1_000_000


class DedupText(Dedup):
    """The same, by UUIDs as texts."""

    name = "dedup_text"
    columns = {**Dedup.columns, "uid": "string"}
    answer = Shape({"uid": "string"}, keys=("uid",), noun="ids")

    def ids(self, numbers: np.ndarray) -> pa.Array:
        import pyarrow as pa

        parts = range(0, len(numbers), _CHUNK)
        return pa.chunked_array([_uuids(numbers[at : at + _CHUNK]) for at in parts] or [[]], pa.string())


def _uuids(numbers: np.ndarray) -> pa.Array:
    """A text in the form of a UUID for each number, different ones for different numbers."""
    import numpy as np
    import pyarrow as pa

    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    letters = np.full((len(numbers), _LENGTH), ord("-"), dtype=np.uint8)
    places = [place for place in range(_LENGTH) if place not in _DASHES]
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # odd, so that none is met twice
    for words, half in ((mixed, places[:16]), (mixed ^ (mixed >> np.uint64(29)), places[16:])):
        for nibble, place in enumerate(half):
            letters[:, place] = digits[(words >> np.uint64(4 * nibble)) & np.uint64(15)]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * _LENGTH
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(letters))


JOB = DedupText()

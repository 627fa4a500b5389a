"""many_keys_text: the job of `many_keys`, by strings of 16 bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.jobs.many_keys import ManyKeys, shape

if TYPE_CHECKING:
    import pyarrow as pa


class ManyKeysText(ManyKeys):
    """The same totals, of up to 8 million keys that are strings of 16 bytes."""

    name = "many_keys_text"
    columns = {**ManyKeys.columns, "key": "string"}
    answer = shape("string")

    def key(self, numbers: pa.Array) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.utf8_lpad(numbers.cast(pa.string()), 16, "0")


JOB = ManyKeysText()

"""hot_key: the bars of `tumbling_bars`, with nine ticks of ten on one symbol. Two workers must share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.jobs.tumbling_bars import TumblingBars

if TYPE_CHECKING:
    import pyarrow as pa

SHARE = 0.9


class HotKey(TumblingBars):
    """The same bars, with 90 % of the ticks on one symbol."""

    name = "hot_key"
    targets = {}
    scaling = 1.6

    def data(self, rows: int) -> pa.Table:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        ticks = super().data(rows)
        hot = pa.array(np.random.default_rng(7).random(rows) < SHARE)
        symbol = pc.if_else(hot, "S0000", ticks["symbol"].combine_chunks())
        return ticks.set_column(ticks.column_names.index("symbol"), "symbol", symbol).combine_chunks()


JOB = HotKey()

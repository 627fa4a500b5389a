"""One engine a file: how it is run. `base.Engine` is the contract, `ENGINES` are all of them by name."""

from __future__ import annotations

from benchmarks.compare.engines.base import Engine
from benchmarks.compare.engines.bytewax import Bytewax, BytewaxMemory
from benchmarks.compare.engines.duckdb import DuckDB
from benchmarks.compare.engines.flink import Flink
from benchmarks.compare.engines.pathway import Pathway
from benchmarks.compare.engines.polars import Polars
from benchmarks.compare.engines.pyarrow import PyArrow
from benchmarks.compare.engines.streamlib import Streamlib, StreamlibCsv

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Streamlib(),
        PyArrow(),
        Polars(),
        DuckDB(),
        BytewaxMemory(),
        StreamlibCsv(),
        Flink(),
        Bytewax(),
        Pathway(),
    )
}
"""By name, in the order of the table: libraries first, then those that read and write files."""

"""A pipeline small enough for any installation; run as a script by an interpreter that has only streamlib."""

import importlib.util
import pkgutil
import sys

import pyarrow as pa

import streamlib as sl

# every module of the package is there and can be imported
modules = ["streamlib"]
for found in pkgutil.walk_packages(sl.__path__, "streamlib."):
    if not found.name.startswith("streamlib.testing"):  # wants the development tools
        importlib.import_module(found.name)
    modules.append(found.name)
for room in ("streamlib.operators.windows", "streamlib.connectors.files", "streamlib.connectors.formats"):
    assert room in modules, f"{room} is missing"
for alone in ("operators", "connectors"):
    assert importlib.util.find_spec(alone) is None, f"{alone} was installed as a package of its own"

ticks = pa.table(
    {
        "ts": pa.array([0, 4, 9, 10, 19], pa.timestamp("s")),
        "symbol": ["A", "B", "A", "A", "B"],
        "price": [1.0, 2.0, 3.0, -1.0, 5.0],
    }
)
bars = (
    sl.read_arrow(ticks)
    .event_time("ts", max_delay="0s")
    .filter(sl.col("price") > 0)
    .key_by("symbol")
    .window(sl.tumbling("10s"))
    .agg(trades=sl.count(), high=sl.col("price").max())
    .collect()
)
got = sorted(
    bars.select(["symbol", "trades", "high"]).to_pylist(), key=lambda row: (row["symbol"], row["high"])
)
assert got == [
    {"symbol": "A", "trades": 2, "high": 3.0},
    {"symbol": "B", "trades": 1, "high": 2.0},
    {"symbol": "B", "trades": 1, "high": 5.0},
], got
print(
    f"streamlib {sl.__version__} on Python {sys.version.split()[0]}: {len(modules)} modules, {len(got)} bars"
)

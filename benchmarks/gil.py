"""The share of its time for which a worker holds Python's lock, and the scaling on threads that this allows.

A thread that needs no lock itself looks at it all the time while one worker runs a job: the share of looks
that find it held is that of the time. Threads can share everything else, so by Amdahl's law n of them are
at most 1 / (share + (1 - share) / n) times as fast as one.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.csv as pacsv

import streamlib as sl
from benchmarks import answers, jobs
from benchmarks.compare.jobs.hopping_60_panes import JOB as HOPPING
from benchmarks.compare.jobs.python_map import JOB as PYTHON_MAP
from benchmarks.measure import Row, one_arrow_thread, parser, report
from benchmarks.ticks import ticks
from streamlib.connectors.memory import CollectSink

THREADS = (8, 32)
_RUNTIME_BYTES = 400_000
"""What is searched for the lock: the interpreter's own state, which has it in every version from 3.11 on."""


def lock_flag() -> npt.NDArray[np.int32]:
    """The word of this process that is 1 while some thread holds the lock.

    The lock's state begins with its switch interval in microseconds, the last holder's address, and this
    word; it is found by an interval that nothing else has.

    Raises:
        LookupError: this Python keeps it elsewhere.
    """
    before, marker = sys.getswitchinterval(), 7_654_321
    sys.setswitchinterval(marker / 1e6)
    try:
        runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
        state = np.ctypeslib.as_array((ctypes.c_uint64 * (_RUNTIME_BYTES // 8)).from_address(runtime))
        found = np.flatnonzero(state == marker)
    finally:
        sys.setswitchinterval(before)
    for at in found.tolist():
        flag = np.ctypeslib.as_array((ctypes.c_int32 * 1).from_address(runtime + at * 8 + 16))
        if flag[0] == 1:  # held by who asks
            return flag
    raise LookupError("this Python keeps the state of its lock elsewhere")


def share_held(job: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """The share of the time for which the lock is held while `job` runs, again and again; and the looks taken."""
    from numba import njit

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def look(flag: Any, stop: Any, seen: Any) -> None:
        while stop[0] == 0:
            seen[1 if flag[0] != 0 else 0] += 1

    flag, stop, seen = lock_flag(), np.ones(1, np.int8), np.zeros(2, np.int64)
    look(flag, stop, seen)  # compiles
    stop[0] = 0
    looker = threading.Thread(target=look, args=(flag, stop, seen), daemon=True)
    looker.start()
    until = time.perf_counter() + seconds
    try:
        while time.perf_counter() < until:
            job()
    finally:
        stop[0] = 1
        looker.join()
    return float(seen[1] / seen.sum()), int(seen.sum())


def allowed(share: float, threads: int) -> float:
    """How many times as fast as one so many threads can be at most.

    >>> round(allowed(0.05, 8), 2), round(allowed(0.05, 32), 2)
    (5.93, 12.55)
    """
    return 1 / (share + (1 - share) / threads)


def measure(rows: int, seconds: int) -> list[Row]:
    """The share for bars from memory and from CSV, for overlapping windows, and for a function of Python."""
    table = ticks(rows)
    few = table.slice(0, max(1, rows // 20))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ticks.csv"
        pacsv.write_csv(table, file)
        streams: dict[str, Callable[[], sl.Stream]] = {
            "bars from memory": lambda: jobs.bars(sl.read_arrow(table)),
            "bars from CSV": lambda: jobs.bars(sl.read_files(str(file), schema=jobs.CSV_SCHEMA)),
            "hopping windows": lambda: HOPPING.streamlib(sl.read_arrow(table)),
            "a Python function for each row": lambda: PYTHON_MAP.streamlib(sl.read_arrow(few)),
        }
        made = []
        for name, stream in streams.items():
            sinks: list[CollectSink] = []

            def job(stream: Callable[[], sl.Stream] = stream, sinks: list[CollectSink] = sinks) -> None:
                sinks[:] = [CollectSink()]
                sl.run(stream().write(sinks[0]), progress=False, why=False)

            job()  # compiles
            share, looks = share_held(job, seconds)
            notes = {f"{n} threads at most": f"{allowed(share, n):.1f} x" for n in THREADS}
            result = answers.hash_of(sinks[0].table()) if name.startswith("bars") else ""
            made.append(Row("gil", name, 100 * share, "% held", looks, None, "", result, notes))
    return made


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, rows=3_000_000, seconds=3).parse_args(arguments)
    one_arrow_thread()
    rows = measure(args.rows, args.seconds)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()

"""What runs in a process of its own, so that memory, imports and compilation are those of a fresh one.

    python -m benchmarks.child FILE.csv FOLDER WORKERS

runs the job from CSV to Parquet and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def python(*arguments: str, **environment: str) -> Any:
    """What a fresh interpreter with this checkout prints, as JSON."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def job(source: Path, target: Path, workers: int, **environment: str) -> Any:
    """Runs the job in a fresh interpreter; what `main` printed."""
    return python("-m", "benchmarks.child", str(source), str(target), str(workers), **environment)


def main(source: str, target: str, workers: str) -> None:
    began = time.perf_counter()
    import streamlib as sl
    from benchmarks import jobs
    from benchmarks.measure import peak_bytes
    from streamlib.kernels import compilations

    before = peak_bytes()
    bars = jobs.bars(sl.read_files(source, schema=jobs.CSV_SCHEMA))
    report = sl.run(
        bars.write_files(target, format="parquet", if_exists="replace"), workers=int(workers), progress=False
    )
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "kernels_compiled": compilations().compiled,
                "kernels_loaded": compilations().loaded,
                "kernels_seconds": compilations().seconds,
                "rows": report.rows_in,
                "peak_bytes": peak_bytes(),
                "peak_bytes_before": before,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

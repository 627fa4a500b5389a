"""A sink that was made and never run is named when the script ends: it would write nothing, in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BEGIN = """
import pyarrow as pa, streamlib as sl
rows = sl.read_arrow(pa.table({"n": [1]}))
"""


def _errors_of(script: str, folder: Path) -> str:
    path = folder / "script.py"
    path.write_text(_BEGIN + script)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_sink_that_is_kept_and_never_run_is_named_with_its_line(tmp_path: Path) -> None:
    told = _errors_of('sink = rows.write_files("out", "csv")\n', tmp_path)
    assert "files out (csv)" in told and "script.py:4" in told and "never run" in told


def test_a_sink_that_nobody_kept_is_named_too(tmp_path: Path) -> None:
    """The likeliest way to forget one: the line alone, without sl.run around it."""
    told = _errors_of('rows.write_files("out", "csv")\n', tmp_path)
    assert "files out (csv)" in told and "script.py:4" in told


def test_a_sink_that_was_run_is_not_named_even_if_the_run_failed(tmp_path: Path) -> None:
    script = """
sl.run(rows.write_files("out", "csv"))
try:
    sl.run(rows.write_files("out", "csv"))
except sl.SinkError:
    pass
rows.collect()
"""
    assert _errors_of(script, tmp_path) == ""

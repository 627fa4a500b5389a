"""Kernels are compiled when they are called, kept on disk, and stay plain functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from streamlib.kernels import _jit

PROGRAM = """
import sys
import streamlib.kernels.keys, streamlib.kernels.marks, streamlib.state
assert "numba" not in sys.modules, "numba was imported without need"
from streamlib.kernels import compilations, on_compile, marks
import numpy as np
seen = []
on_compile(lambda name, seconds, from_disk: seen.append((name, from_disk)))
assert marks.advance(np.array([1, 5, 2]), 0, 0, 1).behind == 1
done = compilations()
assert done.compiled + done.loaded == len(seen) == 2 and done.seconds > 0
print(sorted(seen))
"""


def run(folder: Path, **more: str) -> str:
    environment = {**os.environ, "STREAMLIB_CACHE_DIR": str(folder), **more}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_kernels_are_compiled_once_and_then_loaded(tmp_path: Path) -> None:
    assert run(tmp_path) == "[('scan', False), ('write_marks', False)]"
    assert run(tmp_path) == "[('scan', True), ('write_marks', True)]"
    for file in tmp_path.rglob("*.nbc"):
        file.write_bytes(b"damaged")
    assert run(tmp_path) == "[('scan', False), ('write_marks', False)]"


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run(blocked) == "[('scan', False), ('write_marks', False)]"


def test_generated_kernels_are_shared_and_have_a_source() -> None:
    text = "def twice(a):\n    return a + a\n"
    one = _jit.generated("twice", text, "int64(int64)", "streamlib.kernels")
    assert one is _jit.generated("twice", text, "int64(int64)", "streamlib.kernels")
    assert one(4) == one.py(4) == 8
    assert Path(one.py.__code__.co_filename).read_text() == text

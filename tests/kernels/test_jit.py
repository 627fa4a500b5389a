"""Kernels are compiled when they are called, kept on disk, and stay plain functions."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_a_new_folder_takes_the_place_of_those_long_unused(tmp_path: Path) -> None:
    day, now = 86_400, time.time()
    kept = [
        ("kernels-" + "1" * 16, 29),
        ("kernels-" + "2" * 15, 99),
        ("kernels-" + "2" * 17, 99),
        ("kernels-" + "g" * 16, 99),
        ("other", 99),
    ]
    gone = [("kernels-" + "3" * 16, 31), ("kernels-" + "4" * 16 + ".old", 31)]
    for name, days in kept + gone:
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text("x")
        os.utime(tmp_path / name, (now - days * day,) * 2)
    (tmp_path / ("kernels-" + "5" * 16)).write_text("a file")
    os.utime(tmp_path / ("kernels-" + "5" * 16), (now - 99 * day,) * 2)
    outside = tmp_path / "outside"
    outside.mkdir()
    os.utime(outside, (now - 99 * day,) * 2)
    (tmp_path / ("kernels-" + "6" * 16)).symlink_to(outside)
    run(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    own = {name for name in left if name == f"kernels-{_jit.source_hash()}"}
    others = {"outside", "kernels-" + "5" * 16, "kernels-" + "6" * 16}
    assert own and left == {name for name, _ in kept} | others | own
    assert all((tmp_path / name / "deep" / "file").exists() for name, _ in kept)


@pytest.mark.slow
def test_folders_are_removed_only_when_a_new_one_is_made_and_use_keeps_them(tmp_path: Path) -> None:
    run(tmp_path)
    own = next(tmp_path.iterdir())
    long_ago = time.time() - 99 * 86_400
    os.utime(own, (long_ago, long_ago))
    unused = tmp_path / ("kernels-" + "3" * 16)
    unused.mkdir()
    os.utime(unused, (long_ago, long_ago))
    assert run(tmp_path) == "[('scan', True), ('write_marks', True)]"
    assert unused.exists()
    assert own.stat().st_mtime > time.time() - 3600


def test_a_process_whose_folder_is_removed_goes_on(tmp_path: Path) -> None:
    program = f"""
import shutil
from streamlib.kernels import _jit, marks
import numpy as np
folder = _jit.cache_dir()
shutil.rmtree(folder)
assert marks.advance(np.array([1, 5, 2]), 0, 0, 1).behind == 1
shutil.rmtree(folder)
twice = _jit.generated("twice", "def twice(a):\\n    return a + a\\n", "int64(int64)", "streamlib.kernels")
assert twice(4) == 8 and folder.parent == __import__("pathlib").Path({str(tmp_path)!r})
"""
    environment = {**os.environ, "STREAMLIB_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_generated_kernels_are_shared_and_have_a_source() -> None:
    text = "def twice(a):\n    return a + a\n"
    one = _jit.generated("twice", text, "int64(int64)", "streamlib.kernels")
    assert one is _jit.generated("twice", text, "int64(int64)", "streamlib.kernels")
    assert one(4) == one.py(4) == 8
    assert Path(one.py.__code__.co_filename).read_text() == text


@_jit.inline
def _doubled_and(a: int, b: int) -> int:
    return 2 * a + b


def test_a_helper_is_compiled_once_for_all_constants_that_it_is_called_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_jit, "cache_dir", lambda: tmp_path)

    def both(a):  # type: ignore[no-untyped-def]
        return _doubled_and(a, 3) + _doubled_and(a, b=4)

    compiled = _jit._compile(both, "int64(int64)")[0]
    assert compiled(5) == 27
    assert len(_jit._helper(_doubled_and).overloads) == 1


def test_garbage_is_collected_again_behind_a_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_jit, "cache_dir", lambda: tmp_path)

    def negated(a):  # type: ignore[no-untyped-def]
        return -a

    assert _jit._compile(negated, "int64(int64)")[0](2) == -2 and gc.isenabled()
    gc.disable()
    try:
        _jit._compile(negated, "float64(float64)")
        assert not gc.isenabled()
    finally:
        gc.enable()

"""The scripts of this folder, for `make bench`: each in a process of its own, with its full size.

Without `--benchmark-enable` they run small, which checks that they work and that the engines agree.
Figures go to `out/benchmarks/`, as those of `python -m benchmarks.all` do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.all import SCRIPTS, run_script
from benchmarks.child import ROOT


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str, measured: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = ROOT / "out" / "benchmarks" if measured else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    with capfd.disabled():
        assert run_script(name, folder, small=not measured)

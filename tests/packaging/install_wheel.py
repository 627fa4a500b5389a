"""Installs a built wheel as a user would, in a fresh environment, and runs a pipeline with it.

Run by `make package`: it needs the package index, which tests do not. `python install_wheel.py dist`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SMOKE = Path(__file__).with_name("smoke.py").resolve()


def main(dist: Path) -> None:
    """Installs the one wheel of the folder `dist`."""
    (wheel,) = dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="streamlib-wheel-") as folder:
        home = Path(folder, "venv")
        python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
        uv = shutil.which("uv")
        if uv:
            run = [[uv, "venv", "--quiet", "--python", sys.executable, home]]
            pip = [uv, "pip"]
            run += [
                [*pip, "install", "--quiet", "--python", python, wheel],
                [*pip, "check", "--python", python],
            ]
        else:
            venv.create(home, with_pip=True)
            pip = [python, "-m", "pip", "--disable-pip-version-check"]
            run = [[*pip, "install", "--quiet", wheel], [*pip, "check"]]
        # -I: neither the working folder nor PYTHONPATH, so that only what was installed can be found
        run.append([python, "-I", SMOKE])
        for command in run:
            subprocess.run(command, check=True, cwd=folder)
    print(f"{wheel.name} installs and runs")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"failed: {' '.join(map(str, failed.cmd))}")

"""What is built holds every file once and runs without the checkout. Needs no network: nothing is fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house import repository
from tests.house.repository import PACKAGES, ROOT


def _in_wheel(name: str, path: Path) -> str:
    return name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")


SHIPPED = sorted(
    [_in_wheel(name, path) for name, path in repository.shipped_modules().items()] + ["streamlib/py.typed"]
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    source = tmp_path_factory.mktemp("source")
    for path in repository.files():
        if path.parts[0] in {*PACKAGES, "pyproject.toml", "README.md", "LICENSE"}:
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, target)
    for folder in ("operators", "connectors"):
        os.symlink(f"../{folder}", source / "streamlib" / folder)
    dist = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dist


def test_the_wheel_holds_every_file_once(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
    assert sorted(names) == SHIPPED


def test_the_sdist_holds_every_file_once(built: Path) -> None:
    """Its folders are the repository's: operators/ stands at the top, and the wheel puts it in its place."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        members = [m.name.partition("/")[2] for m in tar.getmembers() if m.isfile()]
    there = sorted(n for n in members if n.endswith(".py") and n.partition("/")[0] in PACKAGES)
    assert there == sorted(p.as_posix() for p in repository.python_files(*PACKAGES))
    assert len(members) == len(set(members))


def test_the_wheel_runs_without_the_checkout(built: Path, tmp_path: Path) -> None:
    """In an environment of its own, which finds the dependencies where the tests do, but not the checkout."""
    (wheel,) = built.glob("*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    variables = {"base": str(home), "platbase": str(home)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", vars=variables))
    zipfile.ZipFile(wheel).extractall(site_packages)
    # A plain line adds a folder without obeying the .pth files in it, such as that of an editable install.
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(dependencies)))
    python = Path(sysconfig.get_path("scripts", "venv", vars=variables), "python")
    done = subprocess.run(
        [python, "-I", ROOT / "tests" / "packaging" / "smoke.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("streamlib ")

"""What is installed from a wheel: all that the packages need besides their code."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import REPOSITORY

PACKAGES = ("search_spaces", "harness", "reports")


def test_a_wheel_holds_every_file_of_the_packages(tmp_path: Path):
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))

    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--wheel-dir", str(built)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, check=True, timeout=120)

    (wheel,) = built.glob("mnist_harness-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {path.relative_to(source).as_posix() for name in PACKAGES for path in (source / name).rglob("*.*")}
    assert held == {name for name in there if ".egg-info" not in name}

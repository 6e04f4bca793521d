"""A wheel contains all files of the packages, and trains without a compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("harness",)


MAX_BYTES = 6_000_000  # size of the wheel


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel") / "source"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    folder = source.parent / "built"
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, check=True, timeout=120)
    [path] = folder.glob("mnist_harness-*.whl")
    return path


def test_wheel_contains_every_file_of_the_packages(source: Path, wheel: Path):
    wheel_files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package_files = {path.relative_to(source).as_posix() for name in PACKAGES for path in (source / name).rglob("*.*")}
    assert wheel_files == {name for name in package_files if ".egg-info" not in name}
    assert wheel.stat().st_size < MAX_BYTES


def test_package_links_to_every_table_of_the_bench():
    folders = {path.parent.name for path in (REPOSITORY / "measurements" / "tables").glob("*/table.json")}
    links = {path.parent.name for path in (REPOSITORY / "harness" / "bench" / "shipped").glob("*/table.json")}
    assert links == folders >= {"mnist-bench"}


@pytest.mark.nightly
def test_wheel_inside_a_git_repository_trains_without_compiler(wheel: Path, tmp_path: Path):
    project = tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(project / "packages")
    (project / "own.py").write_text("1\n", encoding="utf-8")
    author = ["-c", "user.name=x", "-c", "user.email=x"]
    for command in (["init", "-q"], ["add", "own.py"], [*author, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(str(shutil.which("git")))
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin"), "PYTHONPATH": str(project / "packages")}

    def answer(*arguments: str) -> tuple[dict[str, Any], str]:
        command = [sys.executable, "-m", "harness", *arguments, "--json"]
        process = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=600, check=True
        )
        return json.loads(process.stdout), process.stderr

    network = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"
    training, stderr = answer("train", network, "--dataset", "mnist-5k", "--recipe", "smoke")
    assert training["environment"]["engine"] == "torch"
    assert "no C++ compiler" in stderr
    # The commit of the surrounding project must not be recorded as the commit of the harness.
    assert training["environment"]["commit"] is None


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["wheel", "clone"])
def test_modules_of_the_user_do_not_replace_modules_of_the_program(wheel: Path, tmp_path: Path, kind: str):
    packages = REPOSITORY
    if kind == "wheel":
        packages = tmp_path / "packages"
        zipfile.ZipFile(wheel).extractall(packages)
    project = tmp_path / "project"
    (project / "reports").mkdir(parents=True)
    for name in ("reports/__init__.py", "reports.py", "search_spaces.py", "measurements.py"):
        (project / name).write_text("MEANING = 'of the user'\n", encoding="utf-8")
    (project / "script.py").write_text(
        "import harness, reports, search_spaces\n"
        "if __name__ == '__main__':\n"
        "    harness.search('mnist-5k', time='20s', trials=1, target_pct=60, recipe='smoke', workers=1, study='x')\n"
        "    print(harness.__file__, reports.MEANING, search_spaces.MEANING)\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(packages)}
    runs = [
        subprocess.run(
            [sys.executable, *words], cwd=project, env=environment, capture_output=True, text=True, timeout=300
        )
        for words in (["script.py"], ["-m", "harness", "report", "x"])
    ]

    assert [(run.returncode, "Traceback" in run.stderr) for run in runs] == [(0, False)] * 2
    assert runs[0].stdout.split()[0] == str(packages / "harness" / "__init__.py")
    assert list(project.glob("runs/x/*.html"))

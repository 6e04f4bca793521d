"""The hash of somebody's method changes with its files, and with no others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench.method import MAIN, EntryPoint, Method, Program
from harness.bench.source import source_sha256


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Method]:
    """Return a function that makes an entry point of what it is given, as pip would leave it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(begin: str) -> Method:
        info = tmp_path / "theirs-1.0.dist-info"
        written(info / "METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        written(info / "entry_points.txt", f"[harness.bench]\ntheirs = {begin}\n")
        return EntryPoint(name="theirs")

    return made


@pytest.mark.parametrize(
    ("begin", "edited", "other"),
    [
        ("theirs_one:begin", "theirs_one.py", "theirs_two.py"),
        ("theirs_three:begin", "theirs_three/core.py", "theirs_two.py"),
        ("theirs_three.main:begin", "theirs_three/core.py", "theirs_three/__pycache__/main.pyc"),
    ],
)
def test_an_entry_point_is_its_module_or_the_whole_package(
    begin: str, edited: str, other: str, install: Callable[[str], Method], tmp_path: Path
):
    # Nobody's code is run to find it.
    for name in ("theirs_one.py", "theirs_two.py", "theirs_three/__init__.py", "theirs_three/main.py", edited, other):
        written(tmp_path / name, "raise AssertionError('imported')\n")
    method = install(begin)
    before = source_sha256(method)

    written(tmp_path / other, "changed")
    assert source_sha256(method) == before
    written(tmp_path / edited, "changed")
    assert source_sha256(method) != before


def test_a_program_is_the_files_that_its_command_names(tmp_path: Path):
    script, settings, other = tmp_path / "mine.py", tmp_path / "mine.toml", tmp_path / "other.py"
    for path in (script, settings, other):
        written(path, "1")
    method = Program(name="mine", command=(sys.executable, str(script), "--fast", str(settings)))
    seen = [source_sha256(method)]

    written(other, "2")
    assert source_sha256(method) == seen[0]
    for path in (script, settings):
        written(path, "2")
        seen.append(source_sha256(method))
    assert len(set(seen)) == 3


def test_a_program_that_is_found_on_the_path_is_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    method = Program(name="mine", command=("mine",))
    seen = [source_sha256(method)]
    for text in ("1", "2"):
        written(tmp_path / "mine", text)
        (tmp_path / "mine").chmod(0o755)
        seen.append(source_sha256(method))

    assert len(set(seen)) == 3


def test_what_comes_with_the_bench_has_none():
    assert source_sha256(MAIN["random"]) is None

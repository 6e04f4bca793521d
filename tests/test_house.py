"""What a file and a folder may hold: rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("search_spaces", "harness", "reports")
MACHINE_PATH = re.compile(r"\.\./shared|(?<![\w.~-])/(?:work|farm|root|tmp|home|Users|opt|mnt)/\w")
LONGEST_FILE = 350
# In one folder, folders in it not counted.
MOST_FILES = 16


def project_files() -> list[Path]:
    """All files under version control, or about to be."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout, so the files of the project are not known")
    paths = [REPOSITORY / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_folder_of_one_machine():
    exempt = {".ci", "tests"}
    found = []
    for path in project_files():
        name = path.relative_to(REPOSITORY)
        if name.parts[0] in exempt:
            continue
        lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
        found += [f"{name}:{number}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]

    assert found == []


@pytest.mark.parametrize("text", ["cp ../shared/x .", "data=/work/mnist", "'/home/me/x'", "/tmp/w"])
def test_a_folder_of_one_machine_is_recognised(text: str):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["~/.cache/harness/mnist", "#!/usr/bin/env bash", "per image/work/step"])
def test_an_ordinary_path_is_no_folder_of_one_machine(text: str):
    assert not MACHINE_PATH.search(text)


def test_a_room_holds_few_files():
    rooms = {path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}
    counts = {
        room.relative_to(REPOSITORY).as_posix(): sum(path.name != "__init__.py" for path in room.glob("*.py"))
        for room in rooms
    }

    assert {room: count for room, count in counts.items() if count > MOST_FILES} == {}


def test_no_source_file_is_too_long():
    lengths = {
        path.relative_to(REPOSITORY).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in project_files()
        if path.suffix == ".py"
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_one_place_says_why_the_system_refuses_a_file():
    readers = [
        path.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
        if re.search(r"\.strerror\b(?!\()|\"strerror\"", path.read_text(encoding="utf-8"))
    ]

    assert readers == ["search_spaces/errors.py"]

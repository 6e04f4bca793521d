"""The folder that commands write to: its parts, which names a study may have, and whether it can be written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness.system.errors import StorageError, UsageError
from harness.system.files import Workspace, check_reachable, check_writable, workspace


def test_the_parts_lie_where_they_are_documented():
    place = Workspace(Path("/w"))

    assert [place.runs, place.records, place.ledger, place.test_log, place.leaderboard] == [
        Path("/w/runs"),
        Path("/w/records"),
        Path("/w/records/ledger.jsonl"),
        Path("/w/records/test_reads.jsonl"),
        Path("/w/leaderboard.csv"),
    ]


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_WORKSPACE", "/some/where")
    assert workspace().root == Path("/some/where")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_WORKSPACE", "")
    assert workspace().root == tmp_path
    monkeypatch.delenv("HARNESS_WORKSPACE")
    assert workspace().root == tmp_path


@pytest.mark.parametrize(
    "name", ["a", "mnist-card-20000-2f6e01", "with blank", "-", "a...", "ä" * 100, "x" * 200, "😀"]
)
def test_a_study_is_a_folder_of_its_name(name: str, tmp_path: Path):
    folder = Workspace(tmp_path).study(name)

    folder.mkdir(parents=True)
    assert os.listdir(tmp_path / "runs") == [name]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "...",
        ".teachers",
        "../x",
        "a/b",
        "/etc",
        "a\\b",
        "a\nb",
        "a\0b",
        "x" * 201,
        "ä" * 101,
        "x" * 300,
        "\udcff",
    ],
)
def test_another_name_is_refused(name: str, tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        Workspace(tmp_path).study(name)

    assert caught.value.message == (
        f"study name {name[:60]!r}: a study is a folder below {tmp_path}/runs, so its name holds "
        "1 to 200 bytes of UTF-8 without slashes or line ends, and does not begin with a dot"
    )
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < len(str(tmp_path)) + 350


def test_a_workspace_that_is_no_folder_is_refused_and_a_name_that_is_too_long_is_left_to_who_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"^HARNESS_WORKSPACE is .*file, which is not a folder$"):
        workspace()

    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / ("x" * 300)))
    with pytest.raises(StorageError):
        check_writable(workspace().root)


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path: Path):
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path / "a" / "b")

    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("kept")

    with pytest.raises(UsageError, match=f"^cannot write to the folder {re.escape(str(blocked))}: File exists$"):
        check_writable(blocked)
    with pytest.raises(UsageError, match=f"^cannot write to the folder {re.escape(str(blocked))}/x: Not a directory$"):
        check_writable(blocked / "x")

    assert blocked.read_text() == "kept"


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Permissions do not bind root, who may run the tests.
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)

    with pytest.raises(UsageError, match=r"^cannot write to the folder .*: Permission denied$"):
        check_writable(tmp_path)


def test_a_folder_that_could_be_written_is_not_made_for_asking(tmp_path: Path):
    check_reachable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("file", "gone"):
        with pytest.raises(UsageError, match=rf"^cannot write to the folder {re.escape(str(tmp_path / name))}: "):
            check_reachable(tmp_path / name / "a" / "b")

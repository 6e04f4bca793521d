"""Writes of files and lines are complete or without effect, locks end with processes, and studies have folders."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.system import files
from harness.system.errors import ContentError, StorageError, UsageError
from harness.system.files import Workspace, check_writable, workspace


def lock_once(path: Path) -> None:
    with files.locked(path):
        pass


def no_space(*arguments: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, "new"),
    "together": lambda path: files.write_together({path.parent / "other": b"new", path: b"new"}),
}
APPENDERS: dict[str, Callable[[Path], None]] = {"line": lambda path: files.append_line(path, "x"), "lock": lock_once}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def test_pipe_is_neither_replaced_nor_read(tmp_path: Path):
    path = tmp_path / "special"
    os.mkfifo(path)

    with pytest.raises(StorageError):
        files.write_text(path, "text")
    with pytest.raises(ContentError):
        files.log_text(path)

    assert not path.is_file()


def test_log_text_replaces_invalid_bytes_and_is_empty_for_missing_file(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"one\n\xff\n")
    assert files.log_text(tmp_path / "log") == "one\n\N{REPLACEMENT CHARACTER}\n"
    assert files.log_text(tmp_path / "none") == ""
    with pytest.raises(ContentError):
        files.log_text(tmp_path)


def test_written_content_is_exact(tmp_path: Path):
    folder = tmp_path / "a" / "b"
    files.write_bytes(folder / "a", b"\0\r\n\xff")
    files.write_text(folder / "b", "é\r\n\u2028")
    files.write_json(folder / "c", {"name": "é", "list": [1]})

    assert (folder / "a").read_bytes() == b"\0\r\n\xff"
    assert (folder / "b").read_bytes() == b"\xc3\xa9\r\n\xe2\x80\xa8"
    assert (folder / "c").read_bytes() == b'{\n "name": "\xc3\xa9",\n "list": [\n  1\n ]\n}\n'


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_umask(mask: int, tmp_path: Path):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "a" / "written", "")
        files.append_line(tmp_path / "a" / "appended", "")
        lock_once(tmp_path / "a" / "lock")
    finally:
        os.umask(before)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()}
    assert modes == dict.fromkeys(("written", "appended", "lock"), 0o666 & ~mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("change", ["moved", "removed", "replaced"])
@pytest.mark.parametrize("write", [*WRITERS.values(), *APPENDERS.values(), check_writable])
def test_no_write_creates_held_folder_again(change: str, write: Callable[[Path], None], tmp_path: Path):
    folder = tmp_path / "workspace" / "study"
    folder.mkdir(parents=True)
    with files.held(folder):
        files.write_text(folder / "before", "text")
        (tmp_path / "workspace").rename(tmp_path / "elsewhere")
        if change == "removed":
            shutil.rmtree(tmp_path / "elsewhere")
        if change == "replaced":
            folder.mkdir(parents=True)

        with pytest.raises(StorageError):
            write(folder / "after")

    assert (tmp_path / "workspace").exists() == (change == "replaced")
    assert [*folder.glob("*")] == []


@each_writer
@pytest.mark.parametrize("step", ["fsync", "interrupt", "second fsync"])
def test_failed_write_keeps_old_files_and_leaves_no_temporary_file(
    step: str, write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    for name in ("file", "other"):
        (tmp_path / name).write_bytes(b"old")
    sync, calls = os.fsync, []

    def fail(*arguments: Any) -> None:
        calls.append(arguments)
        if step == "second fsync" and len(calls) == 1 and write is WRITERS["together"]:
            sync(*arguments)
        elif step == "interrupt":
            raise KeyboardInterrupt
        else:
            no_space()

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt if step == "interrupt" else StorageError):
        write(path)

    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"file": b"old", "other": b"old"}


def test_content_is_synchronised_before_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[tuple[str, bytes | None]] = []
    path = tmp_path / "file"
    sync, replace = os.fsync, os.replace

    def recorded_call(step: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            function(*arguments)
            steps.append((step, path.read_bytes() if path.exists() else None))

        return call

    monkeypatch.setattr(os, "fsync", recorded_call("fsync", sync))
    monkeypatch.setattr(os, "replace", recorded_call("replace", replace))
    files.write_bytes(path, b"new")

    assert steps == [("fsync", None), ("replace", b"new")]


@pytest.mark.parametrize("write", (WRITERS | APPENDERS).values(), ids=WRITERS | APPENDERS)
def test_write_to_invalid_path_raises_storage_error(write: Callable[[Path], None], tmp_path: Path):
    (tmp_path / "blocked").write_text("a file")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "blocked" / "file", tmp_path / "folder"):
        with pytest.raises(StorageError):
            write(path)
    assert sorted(os.listdir(tmp_path)) == ["blocked", "folder"]


def test_append_after_torn_line_begins_a_new_line(tmp_path: Path):
    path = tmp_path / "new" / "log.jsonl"
    files.append_line(path, "é")
    path.write_bytes(path.read_bytes() + b'{"torn')
    files.append_line(path, "third")
    assert path.read_text(encoding="utf-8").splitlines() == ["é", '{"torn', "third"]


@pytest.mark.parametrize("has_space", [True, False])
def test_line_written_in_parts_is_completed_or_removed(
    has_space: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    files.append_line(path, "before")
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda handle, content: write(handle, content[:3]) if has_space or len(content) > 4 else no_space()
    )

    if has_space:
        files.append_line(path, "12345678")
    else:
        with pytest.raises(StorageError):
            files.append_line(path, "12345678")

    assert path.read_bytes() == (b"before\n12345678\n" if has_space else b"before\n")


APPEND = """
import os, sys
from pathlib import Path
from harness.system import files
os.fsync = lambda handle: None
for number in range(50):
    files.append_line(Path(sys.argv[1]), sys.argv[2] * 20_000)
"""


def test_lines_of_concurrent_processes_are_complete(tmp_path: Path):
    path = tmp_path / "log"
    processes = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), letter]) for letter in "abc"]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(path.read_text().splitlines()) == [letter * 20_000 for letter in "abc" for _ in range(50)]


def is_free(path: Path) -> bool:
    """Return whether no process has the exclusive lock of a file."""
    handle = os.open(path, os.O_WRONLY)
    try:
        # A shared lock, so that shared locks of further processes do not count.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def test_lock_is_exclusive_until_end_of_block(tmp_path: Path):
    path = tmp_path / "new" / "lock"

    with files.locked(path):
        assert not is_free(path)
        with pytest.raises(files.Held):
            files.locked(path, seconds=0.05).__enter__()
    assert is_free(path)

    with pytest.raises(RuntimeError), files.locked(path):
        raise RuntimeError
    assert is_free(path)


def test_lock_ends_with_killed_process(tmp_path: Path):
    path = tmp_path / "lock"
    program = "import sys, time\nfrom pathlib import Path\nfrom harness.system import files\n"
    program += "with files.locked(Path(sys.argv[1])):\n    print(flush=True)\n    time.sleep(60)"

    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        was_locked = not is_free(path)
        process.kill()

    assert was_locked
    assert is_free(path)


def test_environment_variable_selects_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_WORKSPACE", "/some/where")
    assert workspace().root == Path("/some/where")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_WORKSPACE", "")
    assert workspace().root == tmp_path
    monkeypatch.delenv("HARNESS_WORKSPACE")
    assert workspace().root == tmp_path

    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "file"))
    with pytest.raises(UsageError):
        workspace()


@pytest.mark.parametrize("name", ["a", "with blank", "a...", "ä" * 100, "😀"])
def test_study_folder_has_name_of_study(name: str, tmp_path: Path):
    Workspace(tmp_path).study(name).mkdir(parents=True)
    assert os.listdir(tmp_path / "runs") == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("", "..", ".data", "../x", "a/b", "/etc", "a\\b", "a\nb", "a\0b", "\udcff", "a\x1b[2J"),
        *("x" * 201, "ä" * 101, "leaderboard.csv", "index.html", "records"),
    ],
)
def test_invalid_study_name_is_refused_in_one_line(name: str, tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        Workspace(tmp_path).study(name)
    assert "\n" not in caught.value.message


def test_check_writable_refuses_invalid_folder(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    for folder in (blocked, blocked / "x", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError):
            check_writable(folder)
    assert blocked.read_text() == "kept"


def test_removal_that_is_interrupted_leaves_no_folder_and_is_completed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        files.write_text(tmp_path / name / "config.json", "{}")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            files.remove_folder(tmp_path / "first")
    assert [path.parent.name for path in tmp_path.glob("*/config.json")] == ["second"]

    files.remove_folder(tmp_path / "second")

    assert not list(tmp_path.iterdir())


def test_folder_is_removed_while_a_second_process_removes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rename = Path.rename

    def rename_after_second_process(path: Path, target: Path) -> Path:
        monkeypatch.undo()
        files.remove_folder(tmp_path / "second")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_after_second_process)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    files.remove_folder(tmp_path / "first")
    with pytest.raises(StorageError, match="first"):
        files.remove_folder(tmp_path / "first")

    assert not list(tmp_path.iterdir())

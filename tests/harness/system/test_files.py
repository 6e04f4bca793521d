"""Writes that are whole or do not happen, lines and locks that several processes share, and the workspace."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.system import files
from harness.system.errors import ContentError, StorageError, UsageError
from harness.system.files import Workspace, check_reachable, check_writable, workspace

WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: files.write_bytes(path, b"new"),
    "text": lambda path: files.write_text(path, "new"),
    "json": lambda path: files.write_json(path, {"is": "new"}),
    "together": lambda path: files.write_together({path: b"new"}),
}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_not_replaced_by_a_file(tmp_path: Path):
    device = tmp_path / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))

    with pytest.raises(StorageError, match="device"):
        files.write_text(device, "text")

    assert device.is_char_device()


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StorageError, match="device"):
        files.write_text(tmp_path / "pipe", "text")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_log_that_is_no_file_is_content_that_cannot_be_read(make: Callable[[Path], None], tmp_path: Path):
    make(tmp_path / "log")

    with pytest.raises(ContentError, match="log"):
        files.log_text(tmp_path / "log")


def test_a_log_is_read_whatever_its_bytes_are_and_may_be_absent(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"one\n\xff\n")

    assert files.log_text(tmp_path / "log") == "one\n\N{REPLACEMENT CHARACTER}\n"
    assert files.log_text(tmp_path / "none") == ""


def test_what_is_written_is_what_was_given(tmp_path: Path):
    files.write_bytes(tmp_path / "a", b"\0\r\n\xff")
    files.write_text(tmp_path / "b", "é\r\n\u2028")
    files.write_json(tmp_path / "c", {"name": "é", "list": [1]})

    assert (tmp_path / "a").read_bytes() == b"\0\r\n\xff"
    assert (tmp_path / "b").read_bytes() == b"\xc3\xa9\r\n\xe2\x80\xa8"
    assert (tmp_path / "c").read_bytes() == b'{\n "name": "\xc3\xa9",\n "list": [\n  1\n ]\n}\n'


@each_writer
def test_folders_are_made_and_others_may_read(write: Callable[[Path], None], tmp_path: Path):
    path = tmp_path / "a" / "b" / "file"

    write(path)

    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["file"]


@each_writer
@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    step: str, write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(UsageError, match=re.escape(str(path))):
        write(path)

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(path, b"new")

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[tuple[str, bytes | None]] = []
    path = tmp_path / "file"
    sync, replace = os.fsync, os.replace

    def seen(step: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            function(*arguments)
            steps.append((step, path.read_bytes() if path.exists() else None))

        return call

    monkeypatch.setattr(os, "fsync", seen("fsync", sync))
    monkeypatch.setattr(os, "replace", seen("replace", replace))
    files.write_bytes(path, b"new")

    assert steps == [("fsync", None), ("replace", b"new")]


def test_files_written_together_are_all_new_or_all_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second, folder = tmp_path / "first", tmp_path / "second", tmp_path / "folder"
    files.write_together({first: b"1", second: b"2"})
    folder.mkdir()
    sync, synced = os.fsync, []

    def fail_at_the_second(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 2:
            _full()
        sync(handle)

    with pytest.raises(UsageError, match=re.escape(str(folder))):
        files.write_together({first: b"new", folder: b"new"})
    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    with pytest.raises(UsageError, match=re.escape(str(second))):
        files.write_together({first: b"new", second: b"new"})

    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert sorted(os.listdir(tmp_path)) == ["first", "folder", "second"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_is_not_written(value: float, tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "file", {"loss": value})

    assert os.listdir(tmp_path) == []


def locked_once(path: Path) -> None:
    with files.locked(path):
        pass


@pytest.mark.parametrize(
    "write", [*WRITERS.values(), lambda path: files.append_line(path, "x"), locked_once], ids=[*WRITERS, "line", "lock"]
)
def test_what_cannot_be_written_is_named(write: Callable[[Path], None], tmp_path: Path):
    (tmp_path / "blocked").write_text("a file")
    below, folder = tmp_path / "blocked" / "file", tmp_path / "folder"
    folder.mkdir()

    with pytest.raises(UsageError, match=re.escape(str(below))):
        write(below)
    with pytest.raises(UsageError, match=re.escape(str(folder))):
        write(folder)

    assert sorted(os.listdir(tmp_path)) == ["blocked", "folder"]


def test_a_line_is_added_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "new" / "log"
    files.append_line(path, "é")
    writes: list[bytes] = []

    def write(handle: int, content: bytes) -> int:
        writes.append(content)
        return len(content)

    monkeypatch.setattr(os, "write", write)

    files.append_line(path, "two")

    assert path.read_bytes() == b"\xc3\xa9\n"
    assert writes == [b"two\n"]


def test_a_line_after_a_torn_one_begins_a_line_of_its_own(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    files.append_line(path, "first")
    path.write_bytes(path.read_bytes() + b'{"torn')

    files.append_line(path, "third")

    assert path.read_text(encoding="utf-8").splitlines() == ["first", '{"torn', "third"]


def test_a_line_that_the_disk_takes_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "log"
    whole = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: whole(handle, content[:3]))

    files.append_line(path, "12345678")

    assert path.read_bytes() == b"12345678\n"


def test_a_line_that_the_disk_takes_in_part_only_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "log"
    files.append_line(path, "before")
    whole = os.write
    monkeypatch.setattr(
        os, "write", lambda handle, content: whole(handle, content[:3]) if len(content) > 4 else _full()
    )

    with pytest.raises(UsageError, match="log"):
        files.append_line(path, "123456")

    assert path.read_bytes() == b"before\n"


def _full() -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_line_that_does_not_reach_the_disk_is_an_error(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)

    with pytest.raises(UsageError, match="log"):
        files.append_line(tmp_path / "log", "x")


APPEND = """
import os, sys
from pathlib import Path
from harness.system import files
os.fsync = lambda handle: None
for number in range(50):
    files.append_line(Path(sys.argv[1]), sys.argv[2] * 20_000)
"""


def test_lines_of_several_processes_stay_whole(tmp_path: Path):
    path = tmp_path / "log"

    processes = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), letter]) for letter in "abc"]

    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(path.read_text().splitlines()) == [letter * 20_000 for letter in "abc" for _ in range(50)]


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock alone."""
    handle = os.open(path, os.O_WRONLY)
    try:
        # Shared, so that a lock which is only shared does not count as held.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def test_a_lock_excludes_others_until_the_end_of_the_block(tmp_path: Path):
    path = tmp_path / "new" / "lock"

    with files.locked(path):
        assert not is_free(path)
    assert is_free(path)

    with pytest.raises(RuntimeError), files.locked(path):
        raise RuntimeError
    assert is_free(path)


def test_a_lock_falls_with_its_holder(tmp_path: Path):
    path = tmp_path / "lock"
    hold = "import sys, time\nfrom pathlib import Path\nfrom harness.system import files\n"
    hold += "with files.locked(Path(sys.argv[1])):\n    print(flush=True)\n    time.sleep(60)"

    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = not is_free(path)
        process.kill()

    assert held
    assert is_free(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("use", [lambda path: files.append_line(path, "x"), locked_once], ids=["line", "lock"])
def test_a_file_system_without_locks_is_said_in_one_line_and_nothing_is_written(
    number: int, use: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(handle: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        use(tmp_path / "file")

    assert str(tmp_path / "file") in caught.value.message
    assert "\n" not in caught.value.told
    assert (tmp_path / "file").read_bytes() == b""


def test_a_lock_that_another_holds_is_waited_for_so_long_and_no_longer(tmp_path: Path):
    with files.locked(tmp_path / "lock"), pytest.raises(files.Held, match=str(tmp_path)):
        files.locked(tmp_path / "lock", seconds=0.05).__enter__()


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

    assert "\n" not in caught.value.message
    assert len(caught.value.message) < len(str(tmp_path)) + 350


def test_a_workspace_that_is_no_folder_is_refused_and_a_name_that_is_too_long_is_left_to_who_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="HARNESS_WORKSPACE"):
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

    with pytest.raises(UsageError):
        check_writable(blocked)
    with pytest.raises(UsageError):
        check_writable(blocked / "x")

    assert blocked.read_text() == "kept"


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Permissions do not bind root, who may run the tests.
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)

    with pytest.raises(UsageError):
        check_writable(tmp_path)


def test_a_folder_that_could_be_written_is_not_made_for_asking(tmp_path: Path):
    check_reachable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("file", "gone"):
        with pytest.raises(UsageError):
            check_reachable(tmp_path / name / "a" / "b")

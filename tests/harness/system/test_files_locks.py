"""File systems without locks: one line each, and nothing is written."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness import cli
from harness.evidence import study
from harness.system import files
from harness.system.errors import StorageError, refused_storage


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("log", lambda folder: files.append_line(folder / "log", "x")),
        ("lock", lambda folder: files.locked(folder / "lock").__enter__()),
    ],
)
def test_a_file_system_without_locks_is_said_in_one_line(
    number: int, name: str, use: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    without_locks(number, monkeypatch)

    with pytest.raises(StorageError) as caught:
        use(tmp_path)

    words = (f"cannot lock {tmp_path / name}", "no locks", os.strerror(number), "another disk")
    assert all(word in caught.value.told for word in words)
    assert "\n" not in caught.value.told
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b""]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_study_without_locks_is_refused_in_one_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def own() -> None:
        with study.owned(tmp_path):
            pass

    without_locks(number, monkeypatch)
    monkeypatch.setattr(cli, "cli", click.command()(own))

    assert cli.run([]) == StorageError.exit_code == 2

    [line] = capsys.readouterr().err.splitlines()
    assert all(word in line for word in (f"cannot lock {tmp_path}", os.strerror(number), "another disk"))
    # The same number has other causes, which are no matter of disks.
    assert refused_storage(OSError(number, os.strerror(number))) is None


def without_locks(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)

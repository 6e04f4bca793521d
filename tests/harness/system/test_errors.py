"""Classification of system errors, and installation commands for missing libraries."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path

import pytest

from harness.spaces.space_errors import SearchSpaceError
from harness.system.errors import DeviceError, HarnessError, StorageError, install_command, refused
from harness.system.terminal import say
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_refused_recognises_storage_errors_as_causes(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    assert isinstance(refused(outer), StorageError) == is_storage


@pytest.mark.parametrize("mark", ["\n", "\r", "\x1b", "\u202e", "\u2028", "\x85", "\0", "\u200b"])
def test_names_cannot_forge_lines_of_messages(mark: str, capsys: pytest.CaptureFixture[str]):
    name = f"a.png{mark}error: forged"
    for error in (HarnessError(name, hint=name), SearchSpaceError(name, hint=name)):
        say(error.message, "error")
        say(str(error.hint), "hint")
        assert str(error) == error.message == "a.png?error: forged"
    say(name, "warning")

    lines = capsys.readouterr().err.split("\n")
    assert [line.partition(":")[0] for line in lines] == ["error", "hint", "error", "hint", "warning", ""]


def test_long_lists_of_numbers_are_shortened():
    numbers = list(range(500))
    message = HarnessError(f"wrong images: {numbers} stated, {numbers[:16]} in the record; {tuple(numbers)}").message
    assert f"{numbers[:16]}" in message
    assert message.startswith("wrong images: [0, 1, 2, ")
    assert message.endswith("499)")
    assert len(message) < 250


@pytest.mark.parametrize("is_checkout", [False, True])
@pytest.mark.parametrize(
    ("has_pip", "installer"),
    [(True, [sys.executable, "-m", "pip", "install"]), (False, ["uv", "pip", "install", "--python", sys.executable])],
)
def test_install_command_fits_environment(
    has_pip: bool, installer: list[str], is_checkout: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.system.errors.find_spec", lambda name: name if has_pip else None)
    package = ["--editable", f"{REPOSITORY}[export]"]
    if not is_checkout:
        monkeypatch.setattr("harness.system.errors.__file__", str(tmp_path / "env/lib/harness/system/errors.py"))
        package = ["mnist-harness[export]"]

    assert shlex.split(install_command("export")) == [*installer, *package]


@pytest.mark.parametrize("message", ["x.so: failed to map segment from shared object", "x.so: Cannot allocate memory"])
def test_library_without_memory_is_a_device_error(message: str):
    refusal = refused(ImportError(message))

    assert isinstance(refusal, DeviceError)
    assert refused(ImportError("No module named 'x'")) is None

"""Classification of system errors, and installation commands for missing libraries."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

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


INSTALLED = "mnist-harness[export]"
WHEEL = "file:///wheels/mnist_harness-0.1.0-py3-none-any.whl"
# By kind of environment: marker files, whether pip is installed, and the expected command.
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], bool, list[str]]] = {
    "venv": ((), True, ["PYTHON", "-m", "pip", "install", INSTALLED]),
    "uv": ((), False, ["uv", "pip", "install", "--python", "PYTHON", INSTALLED]),
    "uv tool": (("env/uv-receipt.toml",), False, ["uv", "pip", "install", "--python", "PYTHON", INSTALLED]),
    "pipx": (("env/pipx_metadata.json",), True, ["pipx", "runpip", "env", "install", INSTALLED]),
    "uvx": (("CACHEDIR.TAG",), False, ["uvx", "--from", f"{INSTALLED} @ {WHEEL}", "harness"]),
    "pipx run": (
        ("env/pipx_metadata.json", "CACHEDIR.TAG"),
        False,
        ["pipx", "run", "--spec", f"{INSTALLED} @ {WHEEL}", "harness"],
    ),
}


def enter(environment: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make a folder the environment of this process, and return the expected command."""
    names, has_pip, command = ENVIRONMENTS[environment]
    (folder / "env").mkdir()
    for name in names:
        (folder / name).touch()
    monkeypatch.setattr(sys, "prefix", str(folder / "env"))
    monkeypatch.setattr("harness.system.errors.find_spec", lambda name: name if has_pip else None)
    return [sys.executable if word == "PYTHON" else word for word in command]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_install_command_fits_environment(environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = enter(environment, tmp_path, monkeypatch)
    monkeypatch.setattr("harness.system.errors.__file__", str(tmp_path / "env/lib/harness/system/errors.py"))
    origin = SimpleNamespace(read_text=lambda name: json.dumps({"url": WHEEL}) if name == "direct_url.json" else None)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: origin)

    assert shlex.split(install_command("export")) == command


@pytest.mark.parametrize("environment", ["venv", "uv"])
def test_install_command_of_checkout_is_editable(environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = enter(environment, tmp_path, monkeypatch)

    assert shlex.split(install_command("export")) == [*command[:-1], "--editable", f"{REPOSITORY}[export]"]


@pytest.mark.parametrize("message", ["x.so: failed to map segment from shared object", "x.so: Cannot allocate memory"])
def test_library_without_memory_is_a_device_error(message: str):
    refusal = refused(ImportError(message))

    assert isinstance(refusal, DeviceError)
    assert refused(ImportError("No module named 'x'")) is None

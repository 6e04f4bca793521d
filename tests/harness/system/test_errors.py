from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.system.errors import DeviceError, StorageError, install_command, refused
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_storage_that_is_refused_is_told_from_other_errors_also_as_a_cause(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    assert isinstance(refused(outer), StorageError) == is_storage


INSTALLED = "mnist-harness[export]"
WHEEL = "file:///wheels/mnist_harness-0.1.0-py3-none-any.whl"
# By kind of environment: files in its folder and around, whether pip is installed, and the beginning of the command.
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
    names, has_pip, words = ENVIRONMENTS[environment]
    (folder / "env").mkdir()
    for name in names:
        (folder / name).touch()
    monkeypatch.setattr(sys, "prefix", str(folder / "env"))
    monkeypatch.setattr("harness.system.errors.find_spec", lambda name: name if has_pip else None)
    return [sys.executable if word == "PYTHON" else word for word in words]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_hint_of_a_missing_library_is_the_command_of_this_environment(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = enter(environment, tmp_path, monkeypatch)
    monkeypatch.setattr("harness.system.errors.__file__", str(tmp_path / "env/lib/harness/system/errors.py"))
    origin = SimpleNamespace(read_text=lambda name: json.dumps({"url": WHEEL}) if name == "direct_url.json" else None)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: origin)

    assert shlex.split(install_command("export")) == words


@pytest.mark.parametrize("environment", ["venv", "uv"])
def test_a_checkout_stays_editable(environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = enter(environment, tmp_path, monkeypatch)

    assert shlex.split(install_command("export")) == [*words[:-1], "--editable", f"{REPOSITORY}[export]"]


@pytest.mark.parametrize("message", ["x.so: failed to map segment from shared object", "x.so: Cannot allocate memory"])
def test_a_library_that_finds_no_memory_is_a_fault_of_the_machine(message: str):
    refusal = refused(ImportError(message))

    assert isinstance(refusal, DeviceError)
    assert refused(ImportError("No module named 'x'")) is None

"""What hints tell people to type, and what an error says of storage."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.system import errors
from harness.system.errors import DeviceError, StorageError, refused_storage, typed

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_a_command_is_typed_as_the_program_was_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HARNESS_COMMAND", raising=False)
    assert typed("explain", "gap | linear(10)") == "harness explain 'gap | linear(10)'"
    monkeypatch.setenv("HARNESS_COMMAND", "./scripts/harness")
    assert typed("doctor") == "./scripts/harness doctor"


def test_what_is_missing_is_named_with_the_command_that_installs_it():
    with pytest.raises(DeviceError, match="no_such_module") as caught:
        errors.require("export", ("json", "no_such_module"), "--onnx")
    assert caught.value.hint == errors.install_command("export")
    errors.require("export", ("json",), "--onnx")


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_the_command_names_the_packages_of_the_extra(extra: str):
    python, *pip, install = shlex.split(errors.install_command(extra))[:4]
    packages = shlex.split(errors.install_command(extra))[4:]

    assert Path(python).resolve() == Path(sys.executable).resolve()
    assert (pip, install) == (["-m", "pip"], "install")
    names = [package.partition("<")[0].partition(">")[0] for package in packages]
    assert names == [package.partition(">")[0] for package in PROJECT["optional-dependencies"][extra]]
    assert PROJECT["name"] == errors.DISTRIBUTION


def test_pip_takes_the_command():
    command = [*shlex.split(errors.install_command("export")), "--dry-run", "--no-deps", "--no-index", "--quiet"]
    subprocess.run(command, check=True, timeout=120)


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_storage_that_is_refused_is_told_from_other_errors_also_as_a_cause(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    found = refused_storage(outer)
    assert isinstance(found, StorageError) == is_storage
    assert found is None or "file" in found.message

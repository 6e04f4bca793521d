from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path

import pytest

from harness.system.errors import DeviceError, StorageError, install_command, refused


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_storage_that_is_refused_is_told_from_other_errors_also_as_a_cause(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    assert isinstance(refused(outer), StorageError) == is_storage


def test_the_hint_of_a_missing_library_installs_it_beside_this_program(monkeypatch: pytest.MonkeyPatch):
    command = shlex.split(install_command("export"))

    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[4].endswith("[export]")
    assert (Path(command[4].removesuffix("[export]")) / "pyproject.toml").is_file()
    # uv makes environments without pip.
    monkeypatch.setattr("harness.system.errors.find_spec", lambda name: None)
    assert shlex.split(install_command("export"))[:5] == ["uv", "pip", "install", "--python", sys.executable]


@pytest.mark.parametrize("message", ["x.so: failed to map segment from shared object", "x.so: Cannot allocate memory"])
def test_a_library_that_finds_no_memory_is_a_fault_of_the_machine(message: str):
    refusal = refused(ImportError(message))

    assert isinstance(refusal, DeviceError)
    assert refused(ImportError("No module named 'x'")) is None

"""What hints tell people to type, and what an error says of storage."""

from __future__ import annotations

import errno
import os

import pytest

from harness.system import errors
from harness.system.errors import DeviceError, StorageError, refused_storage, typed


def test_a_command_is_typed_as_the_program_was_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HARNESS_COMMAND", raising=False)
    assert typed("explain", "gap | linear(10)") == "harness explain 'gap | linear(10)'"
    monkeypatch.setenv("HARNESS_COMMAND", "./scripts/harness")
    assert typed("doctor") == "./scripts/harness doctor"


def test_what_is_missing_is_named_with_the_command_that_installs_it():
    with pytest.raises(DeviceError, match="no_such_module") as caught:
        errors.require("export", ("json", "no_such_module"), "--onnx")
    assert caught.value.hint == "pip install '.[export]'"
    errors.require("export", ("json",), "--onnx")


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_storage_that_is_refused_is_told_from_other_errors_also_as_a_cause(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    found = refused_storage(outer)
    assert isinstance(found, StorageError) == is_storage
    assert found is None or "file" in found.message

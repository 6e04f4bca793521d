from __future__ import annotations

import errno
import os

import pytest

from harness.system.errors import StorageError, refused


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_storage_that_is_refused_is_told_from_other_errors_also_as_a_cause(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    assert isinstance(refused(outer), StorageError) == is_storage

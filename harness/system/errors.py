"""The errors a person can cause or meet, each with the exit code of its family, and what hints tell people to type.

Errors of the notation live in ``search_spaces.errors`` and leave with exit code 4. Anything else that
escapes is a fault of the program and leaves with exit code 1.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

# The words of the system are told alike in both packages.
from search_spaces.errors import reason as reason

DISTRIBUTION = "mnist-harness"


class HarnessError(Exception):
    """Base of all errors that are reported in one line: what was given, which rule it broke and what is allowed.

    Attributes:
        hint: the next thing to try, if there is one.
        position: offset in ``text``, if the error points into one.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, hint: str | None = None, position: int | None = None, text: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.position = position
        self.text = text
        if hint:
            self.add_note(hint)  # for those who see a traceback

    @property
    def told(self) -> str:
        """The message with its hint, in one line."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(HarnessError):
    """Raise when the command line itself is wrong."""

    exit_code, kind = 2, "usage"


class StorageError(UsageError):
    """Raise when a file cannot be written. It ends what needs the file; it is never the outcome of a training."""


class TargetMissed(HarnessError):
    """Raise when a run ended as it should but the target was not reached."""

    exit_code, kind = 3, "missed"


class ContentError(HarnessError):
    """Raise when a network, space, recipe, record or study does not hold together."""

    exit_code, kind = 4, "content"


class MissingSubject(ContentError):
    """Raise when a record or a study is of a data set that is missing or damaged; others do not hang on it."""


class DataError(HarnessError):
    """Raise when a data file is missing, damaged or cannot be fetched."""

    exit_code, kind = 5, "data"


class DeviceError(HarnessError):
    """Raise when the device asked for cannot be used; memory that it refuses leaves with the same exit code."""

    exit_code, kind = 6, "device"


class Interrupted(HarnessError):
    """Raise when a person has ended something that the same command goes on with."""

    exit_code, kind = 130, "interrupted"


_NO_ROOM_TO_LOAD = ("failed to map segment", "cannot allocate memory")


def refused(error: BaseException) -> StorageError | DeviceError | None:
    """Return what an error, or its cause, says of storage or memory that was refused."""
    if isinstance(error, StorageError):
        return error
    # A disk that is full, over a quota, read-only or broken.
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    if isinstance(error, OSError) and error.errno in full:
        return StorageError(f"cannot write {error.filename or 'the output'}: {reason(error)}")
    # torch's own class, which is not looked up: many commands need no torch. On a CPU torch has none.
    is_torchs = type(error).__name__ == "OutOfMemoryError"
    if is_torchs or isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        line = str(error).partition("\n")[0] or "out of memory"
        return DeviceError(line, hint="where a recipe is trained, a smaller batch_size takes less")
    # The loader of shared libraries says so where a process may not have more memory (ulimit -v).
    if isinstance(error, ImportError) and any(words in str(error).lower() for words in _NO_ROOM_TO_LOAD):
        return DeviceError(f"a library cannot be loaded: {error}", hint="give the process more memory (ulimit -v)")
    return None if error.__cause__ is None else refused(error.__cause__)


def typed(*arguments: str) -> str:
    """Return what to type for a command; HARNESS_COMMAND says how this one was called."""
    return shlex.join([os.environ.get("HARNESS_COMMAND") or "harness", *arguments])


def option_words(values: Mapping[str, str | None]) -> list[str]:
    """Return options with their values as words of a command; what is left open, by None or auto, is left out."""
    return [word for name, value in values.items() if value not in (None, "auto") for word in (name, str(value))]


def require(extra: str, modules: Sequence[str], purpose: str) -> None:
    """Raise DeviceError, whose hint installs the extra, unless all modules that ``purpose`` needs can be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        raise DeviceError(f"{purpose} needs {needed}, which is not installed here", hint=install_command(extra))


def install_command(extra: str) -> str:
    """Return the command that installs an extra beside this program, in its own environment."""
    root = Path(__file__).resolve().parents[2]
    package = str(root) if (root / "pyproject.toml").is_file() else DISTRIBUTION
    pip = [sys.executable, "-m", "pip", "install"]
    if find_spec("pip") is None:
        # As in an environment of uv.
        pip = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*pip, f"{package}[{extra}]"])

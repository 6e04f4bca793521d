"""Exceptions that are reported in a single line, with exit codes, and command lines for hints.

    HarnessError              1  base class; internal error
    |- UsageError             2  invalid command line or argument of a function
    |  |- StorageError        2  a file cannot be written
    |  `- Held                2  a different process holds the lock (harness.system.files)
    |- TargetMissed           3  the target was not reached
    |- ContentError           4  invalid network, space, recipe, record or study
    |  |- MissingSubject      4  the data set of a record or study is missing or damaged
    |  `- OtherCode           4  user code differs from the code of the recipe (harness.system.user_code)
    |- DataError              5  a data file is missing or damaged
    |  `- MissingData         5  no copy was found or fetched (harness.data.training_images)
    |- DeviceError            6  the device cannot be used, or out of memory
    |  `- ForeignProgram      6  a compiled program cannot be run (harness.exports.compiled)
    `- Interrupted          130  interrupted by Ctrl-C, SIGTERM or SIGHUP

``SearchSpaceError`` (``harness.spaces.space_errors``) has exit code 4, or 2 for an unknown name. All other exceptions
are internal errors with exit code 1.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

# Both packages report system errors with the same words.
from harness.spaces.space_errors import message_line
from harness.spaces.space_errors import reason as reason

DISTRIBUTION = "mnist-harness"


class HarnessError(Exception):
    """Base class of the errors that are reported in a single line.

    Attributes:
        exit_code: Exit code of the program.
        kind: Error family in JSON output.
        message: The given value, the violated rule and the allowed values, in a single line.
        hint: The next thing to try.
        position: Offset of the error in the parsed ``text``, in characters.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, hint: str | None = None, position: int | None = None, text: str | None = None
    ) -> None:
        # File names and texts of other programs may contain line ends.
        message = message_line(message)
        hint = hint and message_line(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.position = position
        self.text = text
        if hint:
            self.add_note(hint)  # shown in tracebacks

    @property
    def one_line(self) -> str:
        """Return message and hint in a single line."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(HarnessError):
    """The command line, or an argument of a Python function, is invalid."""

    exit_code, kind = 2, "usage"


class StorageError(UsageError):
    """A file cannot be written."""


class TargetMissed(HarnessError):
    """A run ended regularly without reaching the target."""

    exit_code, kind = 3, "missed"


class ContentError(HarnessError):
    """A network, space, recipe, record or study is invalid."""

    exit_code, kind = 4, "content"


class MissingSubject(ContentError):
    """The data set of a record or a study is missing or damaged."""


class DataError(HarnessError):
    """A data file is missing, damaged or cannot be fetched."""

    exit_code, kind = 5, "data"


class DeviceError(HarnessError):
    """The requested device cannot be used, or does not have enough memory."""

    exit_code, kind = 6, "device"


class Interrupted(HarnessError):
    """The user interrupted an operation, which the same command resumes."""

    exit_code, kind = 130, "interrupted"


# Messages of the dynamic loader beyond the memory limit (ulimit -v).
_NO_ROOM_TO_LOAD = ("failed to map segment", "cannot allocate memory")


def refused(error: BaseException) -> StorageError | DeviceError | None:
    """Return a StorageError or DeviceError if ``error`` or its cause reports a lack of storage or memory."""
    if isinstance(error, StorageError):
        return error
    storage_errors = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    if isinstance(error, OSError) and error.errno in storage_errors:
        return StorageError(f"cannot write {error.filename or 'the output'}: {reason(error)}")
    # By name, to avoid the import; on a CPU, torch raises a RuntimeError instead.
    is_torch_error = type(error).__name__ == "OutOfMemoryError"
    if is_torch_error or isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        line = str(error).partition("\n")[0] or "out of memory"
        return DeviceError(line, hint="training with a smaller batch_size needs less memory")
    if isinstance(error, ImportError) and any(words in str(error).lower() for words in _NO_ROOM_TO_LOAD):
        hint = "raise the memory limit of the process (ulimit -v)"
        return DeviceError(f"a library cannot be loaded: {error}", hint=hint)
    return None if error.__cause__ is None else refused(error.__cause__)


def as_command(*arguments: str) -> str:
    """Return a command line as text; HARNESS_COMMAND replaces the program name ``harness``."""
    return shlex.join([os.environ.get("HARNESS_COMMAND") or "harness", *arguments])


def option_words(values: Mapping[str, str | None]) -> list[str]:
    """Return options as words of a command line, without the defaults None and ``auto``."""
    words = []
    for name, value in values.items():
        if value is not None and value != "auto":
            words += [name, value]
    return words


def require(extra: str, modules: Sequence[str], purpose: str) -> None:
    """Raise DeviceError, with a hint to install ``extra``, unless all ``modules`` are installed."""
    missing_modules = [name for name in modules if find_spec(name) is None]
    if missing_modules:
        names = " and ".join(missing_modules)
        hint = install_command(extra) if extra else f"install {names}"
        raise DeviceError(f"{purpose} requires {names}, which is not installed", hint=hint)


def install_command(extra: str) -> str:
    """Return the command that installs an extra of this package in the current environment.

    A checkout stays editable. The environments of ``uvx`` and ``pipx run`` are caches, which are created anew.
    """
    package = f"{DISTRIBUTION}[{extra}]"
    prefix = Path(sys.prefix)
    root = Path(__file__).resolve().parents[2]
    has_pip = find_spec("pip") is not None
    is_of_pipx = (prefix / "pipx_metadata.json").is_file()
    is_cache = any((folder / "CACHEDIR.TAG").is_file() for folder in prefix.parents)
    # Environments created by uv have no pip.
    pip = [sys.executable, "-m", "pip"] if has_pip else ["uv", "pip"]
    words = [*pip, "install", *([] if has_pip else ["--python", sys.executable])]
    if (root / "pyproject.toml").is_file():
        words += ["--editable", f"{root}[{extra}]"]
    elif is_of_pipx and is_cache:
        words = ["pipx", "run", "--spec", package + _source(), "harness"]
    elif is_of_pipx:
        words = ["pipx", "runpip", prefix.name, "install", package]
    elif is_cache and not has_pip:
        words = ["uvx", "--from", package + _source(), "harness"]
    else:
        words.append(package)
    return shlex.join(words)


def _source() -> str:
    """Return `` @ URL`` if this package was not installed from an index, else an empty text (PEP 610)."""
    from importlib.metadata import distribution

    text = distribution(DISTRIBUTION).read_text("direct_url.json")
    return "" if text is None else f" @ {json.loads(text)['url']}"

"""What somebody's method is made of, as one hash: a repeat is kept for the method as it was when the repeat was run.

It covers the file or package that an entry point lies in, and the files that a program's command names. What these
import or start is not covered.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from harness.bench import door
from harness.bench.method import BuiltIn, EntryPoint, Method, Program


def source_sha256(method: Method) -> str | None:
    """Return the SHA-256 of the files of a method; None for one that comes with the bench."""
    match method:
        case BuiltIn():
            return None
        case EntryPoint():
            (begin,) = door.installed()[method.name]
            paths = _module_files(begin.partition(":")[0])
        case Program():
            paths = _command_files(method.command)
        case _:
            assert_never(method)
    whole = hashlib.sha256()
    for path in paths:
        # What may be run but not read is passed over.
        with suppress(OSError), path.open("rb") as file:
            whole.update(path.name.encode(errors="replace") + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _module_files(module: str) -> list[Path]:
    """Return the file of a module, or all modules of its package; looking for them imports nothing of theirs."""
    spec = find_spec(module.partition(".")[0])
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [path for folder in spec.submodule_search_locations for path in sorted(Path(folder).rglob("*.py"))]
    return [Path(spec.origin)] if spec.origin and spec.has_location else []


def _command_files(command: Sequence[str]) -> list[Path]:
    words = [shutil.which(command[0]) or command[0], *command[1:]]
    return [path for path in map(Path, words) if path.is_file()]

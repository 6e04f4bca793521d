"""What a method and the bench itself are made of, as hashes: a repeat is kept for both as they were when it was run.

Of somebody's method it covers the file or package that an entry point lies in, and the files that a program's command
names; what these import or start is not covered. Of the bench, all of its code that a repeat runs through.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from harness.bench.methods import external_method
from harness.bench.methods.method import BuiltIn, EntryPoint, Method, Program

ROOT = Path(__file__).resolve().parents[3]
# What a repeat runs through on a table; what is made of its answers afterwards is no part of it.
REPLAYED = (
    "search_spaces",
    "harness/search",
    "harness/data/datasets.py",
    "harness/evidence/study.py",
    "harness/system/statistics.py",
    "harness/training/result.py",
    "harness/bench/methods",
    "harness/bench/simulation/clock.py",
    "harness/bench/simulation/readings.py",
    "harness/bench/simulation/replay.py",
    "harness/bench/tables/table.py",
)
# And what trains where there is no table.
TRAINED = ("harness/data", "harness/training", "harness/system/machine.py", "harness/bench/simulation/live.py")
# Whose draws and figures a search is made of, beside Python's.
LIBRARIES = ("numpy", "optuna", "scipy")


def code_sha256(*, live: bool) -> str:
    """Return the SHA-256 of the bench's code and of the versions of the libraries that decide a repeat."""
    versions = [f"python {sys.version_info.major}.{sys.version_info.minor}"]
    versions += [f"{name} {version(name)}" for name in LIBRARIES]
    whole = hashlib.sha256("\n".join(versions).encode())
    for path in code_files(live=live):
        whole.update(path.relative_to(ROOT).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def code_files(*, live: bool) -> list[Path]:
    """Return the files of the bench's code that decide a repeat, each once, in order."""
    places = [ROOT / place for place in REPLAYED + (TRAINED if live else ())]
    found = {path for place in places for path in ((place,) if place.is_file() else place.rglob("*"))}
    return sorted(path for path in found if path.suffix in (".py", ".lark", ".cpp", ".h", ".cu"))


def source_sha256(method: Method) -> str | None:
    """Return the SHA-256 of the files of a method; None for one that comes with the bench."""
    match method:
        case BuiltIn():
            return None
        case EntryPoint():
            (begin,) = external_method.installed()[method.name]
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

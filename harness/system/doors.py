"""Doors: groups of entry points by which optional features and packages of third parties enter (docs/use/extending.md).

An entry point is loaded on first use, and states the extra of libraries that are not required, as in ``onnx =
harness.exports.onnx:FORMAT [export]``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Set
from enum import StrEnum
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness.spaces.space_errors import nearest
from harness.system.errors import DeviceError, UsageError, install_command, reason

_ROOT = __name__.partition(".")[0]


class Door(StrEnum):
    """A group of entry points."""

    COMMANDS = "harness.commands"  # Click commands
    FORMATS = "harness.formats"  # formats of `harness export`
    OBSERVERS = "harness.observers"  # observers of a search, chosen by --log and --storage
    EXECUTORS = "harness.executors"  # clusters, chosen by --cluster


@cache
def _entry_points(door: Door) -> dict[str, EntryPoint]:
    """Return the entry points by name; the names of this package cannot be replaced."""
    points = {point.name: point for point in sorted(entry_points(group=door), key=_is_of_this_package)}
    # A clone may be newer than its installation, or not installed.
    declaration = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if declaration.is_file():
        project = tomllib.loads(declaration.read_text(encoding="utf-8"))["project"]
        points |= {name: EntryPoint(name, value, door) for name, value in project["entry-points"][door].items()}
    return points


def _package(point: EntryPoint) -> str:
    # ``EntryPoint.module`` raises an exception for an invalid value.
    return str(point.value).partition(":")[0].partition(".")[0]


def _is_of_this_package(point: EntryPoint) -> bool:
    return _package(point) == _ROOT


def names(door: Door) -> Set[str]:
    """Return the names of the entry points of a door."""
    return _entry_points(door).keys()


def guests(door: Door) -> dict[str, str]:
    """Return the packages of the entry points of third parties, by entry point."""
    return {name: _package(point) for name, point in _entry_points(door).items() if not _is_of_this_package(point)}


def feature(door: Door, name: str, purpose: str) -> Any:
    """Return the object of an entry point; ``purpose`` is the use for error messages, such as ``--onnx``.

    Raises:
        UsageError: No entry point has this name.
        DeviceError: The import failed; the hint names a missing library, or the command that installs the library.
    """
    points = _entry_points(door)
    if name not in points:
        raise UsageError(f"{purpose}: {name!r} is not one of {', '.join(sorted(points))}", hint=nearest(name, points))
    point = points[name]
    package = _package(point)
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        library = (getattr(error, "name", None) or "").partition(".")[0]
        if not isinstance(error, ModuleNotFoundError) or library == package:
            line = f"{type(error).__name__}: {reason(error)}"
            raise DeviceError(f"{purpose}: the package {package} cannot be imported: {line}") from error
        hint = install_command(point.extras[0]) if point.extras and package == _ROOT else f"install {library}"
        raise DeviceError(f"{purpose} requires {library}, which is not installed", hint=hint) from error

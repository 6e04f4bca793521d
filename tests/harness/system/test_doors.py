"""Entry points of packages: names, objects, and errors that name the missing library or the faulty package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.system import doors
from harness.system.doors import Door
from harness.system.errors import DeviceError, HarnessError, UsageError

MODULES = {
    "guest": "FORMAT = 'the format'",
    "guest_without_library": "import absent_library",
    "guest_with_fault": "1 / 0",
    "guest_that_exits": "raise SystemExit(0)",
}
ENTRY_POINTS = """\
[harness.formats]
guest = guest:FORMAT
fault = guest_with_fault
library = guest_without_library
misspelt = guest:FROMAT
moved = guest.moved
exit = guest_that_exits:FORMAT
spaced = no module:FORMAT
"""


@pytest.fixture(autouse=True)
def _guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package for the test."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    metadata = tmp_path / "guest-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    doors._entry_points.cache_clear()
    yield
    doors._entry_points.cache_clear()


def test_entry_point_gives_its_object():
    assert set(doors.names(Door.FORMATS)) >= {"guest", "fault", "library"}
    assert doors.feature(Door.FORMATS, "guest", "--guest") == "the format"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("library", DeviceError, "--library requires absent_library, which is not installed"),
        ("fault", DeviceError, "--fault: the package guest_with_fault cannot be imported: ZeroDivisionError: "),
        ("misspelt", DeviceError, "--misspelt: the package guest cannot be imported: AttributeError: "),
        ("moved", DeviceError, "--moved: the package guest cannot be imported: ModuleNotFoundError: "),
        ("exit", DeviceError, "--exit: the package guest_that_exits cannot be imported: SystemExit: "),
        ("spaced", DeviceError, "--spaced: the package no module cannot be imported: "),
        ("gest", UsageError, "--gest: 'gest' is not one of "),
    ],
)
def test_errors_name_the_library_the_package_or_the_known_names(name: str, kind: type[HarnessError], message: str):
    with pytest.raises(kind) as failure:
        doors.feature(Door.FORMATS, name, f"--{name}")

    assert failure.value.message.startswith(message)
    assert {"library": "install absent_library", "gest": "did you mean 'guest'?"}.get(name) == failure.value.hint


def test_clone_without_installation_has_the_features_of_the_clone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doors, "entry_points", lambda group: ())
    assert {door: {*doors.names(door)} for door in Door} == {
        Door.COMMANDS: {"bench", "publication", "toy"},
        Door.FORMATS: {"c", "onnx", "pytorch"},
        Door.OBSERVERS: {"mlflow", "storage", "tensorboard"},
        Door.EXECUTORS: {"ray"},
    }

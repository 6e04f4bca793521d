"""Formats of installed packages in ``harness export`` and ``harness.export``."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness
from harness.cli import run
from harness.commands import export as command
from harness.data.training_images import ImageData
from harness.interface.formats import format_names
from harness.system import doors
from harness.system.errors import DeviceError, UsageError
from tests.factories import NETWORK

GUEST = """
from harness.interface.formats import Files, Format

class Notation(Format):
    libraries = ()

    def files(self, network, path):
        return Files({path: str(network.architecture).encode()}, {"ops": len(network.architecture.ops)}, "one line")

class Absent(Notation):
    libraries = ("absent_library",)

NOTATION, ABSENT = Notation(), Absent()
"""


@pytest.fixture(autouse=True)
def _guest(small_data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with two formats for the test."""
    metadata = tmp_path / "guest-1.dist-info"
    metadata.mkdir()
    (tmp_path / "guest_formats.py").write_text(GUEST)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1\n")
    lines = "[harness.formats]\nnotation = guest_formats:NOTATION\nabsent = guest_formats:ABSENT\n"
    (metadata / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(tmp_path)
    doors._entry_points.cache_clear()
    yield
    doors._entry_points.cache_clear()


def test_formats_of_packages_join_the_formats_of_harness():
    assert {"absent", "c", "notation", "onnx", "pytorch", "safetensors"} <= set(format_names())


def test_format_of_package_is_an_option_and_a_key_of_formats(capsys: pytest.CaptureFixture[str]):
    export = importlib.reload(command).export
    arguments = [NETWORK, "--recipe", "@quick.toml", "--notation", "net.txt", "--json"]
    answer = CliRunner().invoke(export, arguments, standalone_mode=False)

    assert Path("net.txt").read_text() == NETWORK
    [file] = json.loads(answer.stdout)["files"]
    assert (file["format"], file["file"], file["ops"]) == ("notation", "net.txt", 9)
    exported = harness.export(NETWORK, recipe="@quick.toml", formats={"notation": "copy.txt"})
    assert str(exported).endswith(f"copy.txt: notation, {len(NETWORK)} bytes; one line")


def test_missing_library_and_unknown_format_are_refused_before_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.interface.weights.train_here", pytest.fail)

    with pytest.raises(DeviceError, match=r"^--absent requires absent_library, which is not installed"):
        harness.export(NETWORK, recipe="@quick.toml", formats={"absent": "net"})
    with pytest.raises(UsageError, match=r"^--tflite: 'tflite' is not one of "):
        harness.export(NETWORK, recipe="@quick.toml", formats={"tflite": "net"})


@pytest.mark.parametrize(
    ("network", "setting", "option", "path", "code"),
    [
        ("conv3x3(4) swish gap linear(10)", 'precision = "int8"', "--onnx", "net", 4),
        ("conv3x3(4) swish gap linear(10)", "epochs = 1", "--c", "net", 4),
        (NETWORK, 'precision = "int8"', "--pytorch", "net", 4),
        (NETWORK, 'initialisation = "dirac"', "--pytorch", "net", 4),
        (NETWORK, "epochs = 1", "--pytorch", "full", 2),
        (NETWORK, "epochs = 1", "--c", "full", 2),
        (NETWORK, "epochs = 1", "--onnx", "full", 2),
    ],
)
def test_unsupported_network_recipe_and_path_are_refused_before_training(
    network: str, setting: str, option: str, path: str, code: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    (workspace / "own.toml").write_text(f"batch_size = 16\n{setting}\n", encoding="utf-8")
    (workspace / "full").mkdir()
    (workspace / "full" / "notes.txt").write_text("mine")
    monkeypatch.setattr("harness.interface.weights.train_here", pytest.fail)

    assert run(["export", network, "--recipe", "@own.toml", option, path]) == code

    assert not (workspace / "net").exists()
    assert [file.name for file in (workspace / "full").iterdir()] == ["notes.txt"]

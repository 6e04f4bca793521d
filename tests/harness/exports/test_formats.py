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
from harness.system import doors
from harness.system.errors import ContentError, DeviceError, UsageError
from tests.factories import NETWORK

GUEST = """
from harness.interface.formats import Files, Format

class Notation(Format):
    libraries = ()

    def files(self, network, path):
        return Files({path: str(network.architecture).encode()}, {"ops": len(network.architecture.ops)}, "one line")

class Absent(Notation):
    libraries = ("absent_library",)

class Faulty(Notation):
    def files(self, network, path):
        print("on stderr")
        return {}["shape"]

class Text(Notation):
    def files(self, network, path):
        return Files({path: "text"})

NOTATION, ABSENT, FAULTY, TEXT = Notation(), Absent(), Faulty(), Text()
"""

ENTRY_POINTS = """
[harness.formats]
notation = guest_formats:NOTATION
notation-text = guest_formats:NOTATION
absent = guest_formats:ABSENT
faulty = guest_formats:FAULTY
text = guest_formats:TEXT
json = guest_formats:NOTATION
seed = guest_formats:NOTATION
help = guest_formats:NOTATION
optimize = guest_formats:NOTATION
network = guest_formats:NOTATION
as-json = guest_formats:NOTATION
a.b = guest_formats:NOTATION
notation_text = guest_formats:NOTATION
type = guest_formats:Notation
"""


@pytest.fixture(autouse=True)
def _guest(small_data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with two formats for the test."""
    metadata = tmp_path / "guest-1.dist-info"
    metadata.mkdir()
    (tmp_path / "guest_formats.py").write_text(GUEST)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    doors._entry_points.cache_clear()
    yield
    doors._entry_points.cache_clear()


@pytest.mark.parametrize("name", ["notation", "notation-text"])
def test_format_of_package_is_an_option_and_a_key_of_formats(name: str):
    export = importlib.reload(command).export
    arguments = [NETWORK, "--recipe", "@quick.toml", f"--{name}", "net.txt", "--json"]
    answer = CliRunner().invoke(export, arguments, standalone_mode=False)

    assert Path("net.txt").read_text() == NETWORK
    [file] = json.loads(answer.stdout)["files"]
    assert (file["format"], file["file"], file["ops"]) == (name, "net.txt", 9)
    exported = harness.export(NETWORK, recipe="@quick.toml", formats={"notation": "copy.txt"})
    assert str(exported).endswith(f"copy.txt: notation, {len(NETWORK)} bytes; one line")


def test_format_with_the_name_of_an_option_is_reported_and_has_no_option(capsys: pytest.CaptureFixture[str]):
    parameters = importlib.reload(command).export.params

    names = ("a.b", "as-json", "help", "json", "network", "notation_text", "optimize", "seed")
    reason = "has no option:"
    lines = [
        f"warning: the format {name} of the package guest_formats {reason} --{name} is taken or invalid"
        for name in names
    ]
    assert capsys.readouterr().err.splitlines() == lines
    assert {"absent", "notation", "notation_text", "seed"} < {parameter.name for parameter in parameters}
    assert len(parameters) == len({parameter.name for parameter in parameters})
    assert str(harness.export(NETWORK, recipe="@quick.toml", formats={"json": "net"})).endswith("one line")


@pytest.mark.parametrize(
    ("name", "line"), [("faulty", "KeyError: 'shape'"), ("text", "TypeError: string argument without an encoding")]
)
def test_error_of_a_format_names_the_package(name: str, line: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(
        ContentError,
        match=rf"^the format {name} of the package guest_formats failed: (guest_formats.py:[0-9]+: )?{line}",
    ):
        harness.export(NETWORK, recipe="@quick.toml", formats={"notation": "net", name: "other"})

    assert not Path("net").exists()
    assert capsys.readouterr().out == ""


def test_missing_library_and_unknown_format_are_refused_before_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.interface.weights.train_here", pytest.fail)

    with pytest.raises(DeviceError, match=r"^--absent requires absent_library, which is not installed") as missing:
        harness.export(NETWORK, recipe="@quick.toml", formats={"absent": "net"})
    assert missing.value.hint == "install absent_library"
    with pytest.raises(UsageError, match=r"^--tflite: 'tflite' is not one of "):
        harness.export(NETWORK, recipe="@quick.toml", formats={"tflite": "net"})
    with pytest.raises(UsageError, match=r"^--type: <class 'guest_formats.Notation'> is not an object of a subclass"):
        harness.export(NETWORK, recipe="@quick.toml", formats={"type": "net"})


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

"""Extras: what is missing is named, and the hint is a command of pip that installs it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.system import errors
from harness.system.errors import DeviceError

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ({"onnx"}, "--onnx needs onnx, which is not installed here"),
        ({"onnx", "onnxruntime"}, "--onnx needs onnx and onnxruntime, which are not installed here"),
    ],
)
def test_what_is_missing_is_named(absent: set[str], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name in absent else object())

    with pytest.raises(DeviceError) as caught:
        errors.require("export", ("onnx", "onnxruntime"), "--onnx")

    assert caught.value.message == message
    assert caught.value.hint == errors.install_command("export")


def test_what_is_installed_is_accepted():
    errors.require("export", ("json", "onnx"), "this")


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_the_command_names_the_packages_of_the_extra(extra: str):
    python, *pip, install = shlex.split(errors.install_command(extra))[:4]
    packages = shlex.split(errors.install_command(extra))[4:]

    assert Path(python).resolve() == Path(sys.executable).resolve()
    assert (pip, install) == (["-m", "pip"], "install")
    names = [package.partition("<")[0].partition(">")[0] for package in packages]
    wanted = [package.partition(">")[0] for package in PROJECT["optional-dependencies"][extra]]
    assert names == wanted


def test_pip_takes_the_command():
    command = [*shlex.split(errors.install_command("export")), "--dry-run", "--no-deps", "--no-index", "--quiet"]

    subprocess.run(command, check=True, timeout=120)


def test_the_distribution_is_the_one_of_pyproject():
    assert PROJECT["name"] == errors.DISTRIBUTION

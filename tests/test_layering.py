"""Who may import what: rules of the house that no type checker knows."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("search_spaces", "harness", "reports")

# The only files that may import torch. What is not here can be read, tested and reported without it.
TORCH_FILES = {
    f"harness/{name}.py"
    for name in (
        "bench/tables/request",
        "commands/evaluate",
        "commands/export",
        "commands/train",
        "cross_check",
        "data/labelled",
        "data/testset",
        "data/torchvision_import",
        "data/training_images",
        "doctor",
        "evidence/verification/evaluation",
        "export",
        "installation",
        "system/device",
        "toy/gradient_check",
        "training/augment",
        "training/distillation",
        "training/environment",
        "training/gpu/captured_step",
        "training/gpu/population",
        "training/images",
        "training/inspecting",
        "training/modules/batch_statistics",
        "training/modules/build",
        "training/modules/seeded_initialisation",
        "training/modules/op_modules",
        "training/modules/posed",
        "training/native/engine_choice",
        "training/native/flat_state",
        "training/native/native_training",
        "training/run",
        "training/teacher",
        "training/train",
        "training/weights",
        "training/workers/lanes",
    )
}
OPTUNA_FILES = {"harness/evidence/mirror/optuna_storage.py", "harness/search/proposals/sampler.py"}
RAY_FILES = {"harness/training/cluster/ray_link.py"}
# What a report may know of the harness: results and standings, not how they came about.
REPORTED = {
    "harness.bench",  # of it what a comparison found; the test below says that no torch comes with it
    "harness.system.csv_text",
    "harness.data.datasets",
    "harness.system.duration",  # how long a search may take, as its command says it
    "harness.system.errors",
    "harness.training.inspection",  # written for reports and for nothing else
    "harness.evidence.events",
    "harness.evidence.leaderboard",
    "harness.evidence.ledger",
    "harness.evidence.record",
    "harness.system.statistics",
    "harness.evidence.weight_file",  # whether weights are at hand that a command loads
    "harness.system.files",
    "harness.system.invocation",  # commands as they are typed here
    "search_spaces.network_name",
    "harness.search.nearest_miss.allowed_errors",
    "harness.search.proposals.prior",  # how many earlier trainings a study keeps
    "harness.search.pruning",  # where the rungs are, and who is spared
    "harness.search.race",  # the numbers of its rules, for the glossaries
    "harness.evidence.study",
    "harness.toy.backprop",
    "harness.toy.formulas",
    "harness.training.recipe",
    "harness.training.result",
    "harness.training.seeds",
    "harness.system.workspace",
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
    "psycopg",
    "pydantic",
    "ray",
    "scipy",
    "sqlalchemy",
    "torch",
    "torchvision",
    "xlsxwriter",
}


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


@functools.cache
def package_imports(package: str) -> tuple[Import, ...]:
    return tuple(
        found
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for found in imports_in(path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8"))
    )


def all_imports(*packages: str) -> list[Import]:
    return [found for package in packages for found in package_imports(package)]


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


def edges_in(folder: str, modules: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """For each file and folder of a folder: which of its neighbours it imports, late imports and types included."""
    found: dict[str, set[str]] = {}
    start = f"{folder}." if folder else ""
    for module, imported in modules.items():
        if not module.startswith(start):
            continue
        unit = module.removeprefix(start).partition(".")[0]
        units = {name.removeprefix(start).partition(".")[0] for name in imported if name.startswith(start)}
        found.setdefault(unit, set()).update(units - {unit})
    return found


def circles(edges: Mapping[str, set[str]]) -> set[str]:
    """Which units are on a circle of imports."""

    def reached(unit: str) -> set[str]:
        seen: set[str] = set()
        waiting = [unit]
        while waiting:
            new = edges.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    return {unit for unit in edges if unit in reached(unit)}


def module_imports() -> dict[str, set[str]]:
    """Which modules of the packages each module imports; a package's name stands for its ``__init__``."""
    paths = [path.relative_to(REPOSITORY) for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    known = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    found: dict[str, set[str]] = {name: set() for name in known}
    for item in all_imports(*PACKAGES):
        importer = item.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        imported = item.module if item.module in known else item.module.rpartition(".")[0]
        if imported in known:
            found[importer].add(imported)
    return found


def test_a_circle_is_seen_through_folders():
    modules = {"a.b.c": ["a.d"], "a.d": ["a.e.f"], "a.e.f": ["a.b.g"], "a.b.g": [], "a.h": ["a.d"]}

    assert circles(edges_in("a", modules)) == {"b", "d", "e"}
    assert circles(edges_in("a.b", modules)) == set()


def test_files_and_folders_of_a_folder_import_in_one_direction():
    modules = module_imports()
    folders = {module.rpartition(".")[0] for module in modules} - {""}

    assert {folder: found for folder in sorted(folders) if (found := circles(edges_in(folder, modules)))} == {}


def test_the_folders_of_the_harness_import_to_the_left_only():
    order = ["system", "data", "training", "evidence", "search", "bench", "toy", "commands"]
    edges = edges_in("harness", module_imports())

    wrong = {
        (importer, imported)
        for place, importer in enumerate(order)
        for imported in edges[importer]
        if imported not in order[:place]
    }
    assert {path.name for path in (REPOSITORY / "harness").iterdir() if (path / "__init__.py").exists()} == set(order)
    # What a command shows may come from a file beside the folders; what works below it may not.
    assert {pair for pair in wrong if pair[0] != "commands"} == set()


def test_reports_import_only_results_and_standings_of_the_harness():
    wrong = [str(item) for item in all_imports("reports") if item.package == "harness" and not reported(item.module)]

    assert wrong == []


@pytest.mark.parametrize(
    ("libraries", "files"),
    [
        ({"torch", "torchvision", "torchsummary", "fvcore"}, TORCH_FILES),
        ({"optuna"}, OPTUNA_FILES),
        ({"ray"}, RAY_FILES),
    ],
    ids=["torch", "optuna", "ray"],
)
def test_a_heavy_library_is_imported_only_where_it_is_listed(libraries: set[str], files: set[str]):
    found = [item for item in all_imports(*PACKAGES) if item.package in libraries]

    assert [str(item) for item in found if item.file not in files] == []


def test_every_file_that_may_import_a_heavy_library_does():
    found = {item.file for item in all_imports(*PACKAGES) if item.package in {"torch", "torchvision", "torchsummary"}}

    assert found >= TORCH_FILES


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

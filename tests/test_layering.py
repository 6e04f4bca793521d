"""Who may import what: the order of the packages and folders, no circles, and no slow library before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("search_spaces", "harness", "reports")
# Each imports only what stands before it.
ORDER = (
    "search_spaces", "harness.system", "harness.data", "harness.training", "harness.pytorch", "harness.studies",
    "harness.evidence", "harness.searching", "harness.bench", "harness.toy", "harness.deployment", "reports",
    "harness.interface", "harness.commands", "harness.cli", "harness.__main__",
)  # fmt: skip
# It imports what it offers when that is asked for.
FRONT = "harness"
# Too slow to load before a command has begun its work.
LAZY_LIBRARIES = {
    "altair", "jinja2", "onnx", "onnxruntime", "optuna", "pandas", "psycopg", "pyarrow", "pydantic",
    "ray", "scipy", "sqlalchemy", "torch", "torchvision", "vl_convert", "xlsxwriter",
}  # fmt: skip


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module a file imports, as ``from a import b`` gives ``a.b``; late imports and types included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def edges() -> dict[str, set[str]]:
    """Which modules of the packages each module imports; a package's name stands for its ``__init__``."""
    paths = [path.relative_to(REPOSITORY) for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    known = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
        names = set(imported(tree, ".".join(path.parent.parts)))
        found[module] = {name if name in known else name.rpartition(".")[0] for name in names} | names
    return found


EDGES = edges()


def test_the_walk_sees_every_form_of_import():
    source = "import a.b\nfrom c import d\nfrom . import e\nfrom .f import g\ndef h():\n    import i\n"

    assert set(imported(ast.parse(source), "x.y")) == {"a.b", "c.d", "x.y.e", "x.y.f.g", "i"}


def test_search_spaces_imports_the_standard_library_and_lark_only():
    # torch and scipy within functions: an op's module, an interval.
    allowed = {*sys.stdlib_module_names, "lark", "scipy", "search_spaces", "torch"}
    names = {
        name.partition(".")[0]
        for module, found in EDGES.items()
        if module.startswith("search_spaces")
        for name in found
    }

    assert names - allowed - {""} == set()
    modules = [module for module in EDGES if module.startswith("search_spaces") and module != "search_spaces.modules"]
    assert loaded_by(f"import {', '.join(modules)}") & LAZY_LIBRARIES == set()


def place(module: str) -> int | None:
    """Return where a module stands in the order, None where it has no place."""
    parts = module.split(".")
    return next((ORDER.index(name) for name in (parts[0], ".".join(parts[:2])) if name in ORDER), None)


def test_every_module_has_a_place_and_imports_to_the_left_only():
    lost = {module for module in EDGES if place(module) is None}
    wrong = {
        (importer, found)
        for importer, names in EDGES.items()
        for found in names
        if (here := place(importer)) is not None and (there := place(found)) is not None and there > here
    }

    assert (wrong, lost) == (set(), {FRONT})


def test_files_and_folders_of_a_folder_import_in_one_direction():
    def reached(unit: str, neighbours: dict[str, set[str]]) -> set[str]:
        seen: set[str] = set()
        waiting = [unit]
        while waiting:
            new = neighbours.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    circles = {}
    for folder in {module.rpartition(".")[0] for module in EDGES} - {""}:
        start, neighbours = f"{folder}.", dict[str, set[str]]()
        for module in (module for module in EDGES if module.startswith(start)):
            unit = module.removeprefix(start).partition(".")[0]
            units = {name.removeprefix(start).partition(".")[0] for name in EDGES[module] if name.startswith(start)}
            neighbours.setdefault(unit, set()).update(units - {unit})
        circles[folder] = {unit for unit in neighbours if unit in reached(unit, neighbours)}

    assert {folder: found for folder, found in circles.items() if found} == {}


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_command_line_starts_without_the_slow_libraries():
    assert loaded_by("import harness.cli") & LAZY_LIBRARIES == set()


def test_reports_load_no_torch_even_through_the_harness():
    modules = [module for module in EDGES if module.startswith("reports")]

    assert "torch" not in loaded_by(f"import {', '.join(modules)}")

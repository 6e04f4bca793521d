"""Rules of imports: order of packages and folders, no cycles, and late imports of slow libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("harness",)
# The core: a package imports only packages to the left.
CORE = (
    "harness.spaces", "harness.system", "harness.data", "harness.training", "harness.pytorch", "harness.studies",
    "harness.evidence", "harness.searching", "harness.pages", "harness.interface", "harness.commands", "harness.cli",
    "harness.__main__",
)  # fmt: skip
# Optional features, which enter through entry points (``harness.system.doors``). The core never imports these folders;
# a feature imports the core, and no other feature.
FEATURES = (
    "harness.bench", "harness.cluster", "harness.exports", "harness.loggers", "harness.publication", "harness.storage",
    "harness.toy",
)  # fmt: skip
# ``harness/__init__.py`` imports the public names at first access, so the package has no position in the order.
FRONT = "harness"
# Libraries that are too slow to import at the start of a command.
TORCH_MODULES = ("harness.spaces.modules", "harness.spaces.posed")  # imported by ops when a torch module is built
LAZY_LIBRARIES = {
    "altair", "jinja2", "onnx", "onnxruntime", "optuna", "pandas", "psycopg", "pyarrow", "pydantic",
    "ray", "scipy", "sqlalchemy", "torch", "torchvision", "vl_convert", "xlsxwriter",
}  # fmt: skip


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield all imports of a file, including imports in functions and for types; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def edges() -> dict[str, set[str]]:
    """Return the imported names of each module; the name of a package stands for ``__init__``."""
    paths = [path.relative_to(REPOSITORY) for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    known = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    imports: dict[str, set[str]] = {}
    for module, path in known.items():
        tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
        names = set(imported(tree, ".".join(path.parent.parts)))
        imports[module] = {name if name in known else name.rpartition(".")[0] for name in names} | names
    return imports


def test_imported_yields_every_form_of_import():
    source = "import a.b\nfrom c import d\nfrom . import e\nfrom .f import g\ndef h():\n    import i\n"

    assert set(imported(ast.parse(source), "x.y")) == {"a.b", "c.d", "x.y.e", "x.y.f.g", "i"}


def test_spaces_import_only_standard_library_and_lark_at_start():
    # torch and scipy are imported in functions: for modules of ops and for confidence intervals.
    allowed = {*sys.stdlib_module_names, "lark", "scipy", "harness", "torch"}
    names = {
        name.partition(".")[0]
        for module, imports in edges().items()
        if module.startswith("harness.spaces")
        for name in imports
    }

    assert names - allowed - {""} == set()
    modules = [module for module in edges() if module.startswith("harness.spaces") and module not in TORCH_MODULES]
    assert loaded_by(f"import {', '.join(modules)}") & LAZY_LIBRARIES == set()


def package_of(module: str, packages: tuple[str, ...]) -> str | None:
    """Return the package or module in ``packages`` that contains a module; None if there is none."""
    return next((name for name in packages if f"{module}.".startswith(f"{name}.")), None)


def test_core_imports_only_to_the_left_and_no_feature():
    assert {module for module in edges() if package_of(module, CORE + FEATURES) is None} == {FRONT}
    violations = set()
    for importer, names in edges().items():
        source = package_of(importer, CORE)
        for name in names:
            target = package_of(name, CORE)
            if package_of(name, FEATURES) is not None and package_of(importer, FEATURES) is None:
                violations.add((importer, name))
            if source is not None and target is not None and CORE.index(target) > CORE.index(source):
                violations.add((importer, name))

    assert violations == set()


def test_features_do_not_import_each_other():
    violations = set()
    for importer, names in edges().items():
        feature = package_of(importer, FEATURES)
        others = {name for name in names if package_of(name, FEATURES) not in (None, feature)}
        violations |= {(importer, name) for name in others if feature is not None}

    assert violations == set()


def test_files_and_folders_of_a_folder_have_no_import_cycles():
    def reachable(unit: str, neighbours: dict[str, set[str]]) -> set[str]:
        visited: set[str] = set()
        queue = [unit]
        while queue:
            new = neighbours.get(queue.pop(), set()) - visited
            visited |= new
            queue += new
        return visited

    cycles = {}
    for folder in {module.rpartition(".")[0] for module in edges()} - {""}:
        start, neighbours = f"{folder}.", dict[str, set[str]]()
        for module in (module for module in edges() if module.startswith(start)):
            unit = module.removeprefix(start).partition(".")[0]
            units = {name.removeprefix(start).partition(".")[0] for name in edges()[module] if name.startswith(start)}
            neighbours.setdefault(unit, set()).update(units - {unit})
        cycles[folder] = {unit for unit in neighbours if unit in reachable(unit, neighbours)}

    assert {folder: units_in_cycles for folder, units_in_cycles in cycles.items() if units_in_cycles} == {}


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_command_line_starts_without_slow_libraries():
    assert loaded_by("import harness.cli") & LAZY_LIBRARIES == set()


def test_reports_and_processes_of_bench_methods_import_no_torch():
    modules = [module for module in edges() if module.startswith("harness.pages") or module.endswith("_page")]

    assert {"harness.bench.bench_page", "harness.exports.tryout_page", "harness.toy.toy_page"} < {*modules}
    modules.append("harness.bench.methods")
    assert "torch" not in loaded_by(f"import {', '.join(modules)}")

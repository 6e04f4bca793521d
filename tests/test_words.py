"""Rules of CONTRIBUTING.md for names and lines: a variable is a noun, and a line has a single purpose.

``python tests/test_words.py harness/data`` lists the violations in a folder.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "measurements", "tests")
BANNED = {"found", "given", "told", "made", "said", "asked", "kept", "shown", "there", "place", "each"}
# Allowed violations: functions with banned names, packed assignments, flagged texts; the numbers only fall.
LIMITS = {"tests": 19}


def nodes_of(function: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from nodes_of(node)


def banned_names(function: ast.FunctionDef) -> set[str]:
    """Return the banned names among parameters and variables; ``each`` is allowed in comprehensions."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = {argument.arg for argument in parameters if argument is not None}
    for node in nodes_of(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id != "each":
            names.add(node.id)
        if isinstance(node, ast.For) and "each" in {
            part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)
        }:
            names.add("each")
    return names & BANNED


def is_packed(node: ast.AST) -> bool:
    """Return whether an assignment unpacks three or more values that are written as a tuple."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and isinstance(node.targets[0], ast.Tuple)
        and len(node.value.elts) > 2
    )


def is_flagged(node: ast.AST) -> bool:
    """Return whether a text or list is multiplied by a truth value, as in ``"text" * flag``; numbers are allowed."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    sides = (node.left, node.right)
    texts = [side for side in sides if isinstance(side, ast.List | ast.JoinedStr)]
    strings = [side for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, str)]
    flags = [side for side in sides if isinstance(side, ast.Compare | ast.BoolOp | ast.UnaryOp)]
    calls = [side.func for side in sides if isinstance(side, ast.Call) and isinstance(side.func, ast.Name)]
    is_flag = bool(flags) or any(function.id in ("bool", "isinstance") for function in calls)
    return is_flag and bool(texts or strings)


def survey(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (names := banned_names(node)):
            yield node.lineno, f"{node.name}: {', '.join(sorted(names))}"
        if is_packed(node) or is_flagged(node):
            yield getattr(node, "lineno", 0), "packed assignment" if is_packed(node) else "text or list times a flag"


def files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]


def package_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).parts[:-1]
    return "/".join(parts[:2]) if parts[0] == "harness" else parts[0]


def test_number_of_violations_does_not_grow():
    counts = Counter(package_of(path) for path in files() for _ in survey(path))

    assert {package: count for package, count in counts.items() if count > LIMITS.get(package, 0)} == {}


def test_number_of_errors_has_noun_in_singular_or_plural():
    """``counted`` in ``harness/system/terminal.py`` writes both; means are always plural."""
    numbers = re.compile(r"\{[^{}]*errors(:,|:,\.0f)?\} errors")

    texts = {path: path.read_text() for path in files() if package_of(path) != "tests"}

    assert [path for path, text in texts.items() if numbers.search(text)] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("def f(found): ...", 1),
        ("def f():\n    place = 1\n    def g():\n        told = 2", 2),
        ("def f(rows):\n    for each in rows: ...", 1),
        ("def f(rows):\n    return [each for each in rows]", 0),
        ("def f():\n    a, b, c = 1, 2, 3", 1),
        ("def f():\n    a, b = b, a", 0),
        ("def f(rows):\n    return ' ' * bool(rows), ['x'] * (len(rows) > 1), '-' * 3", 2),
    ],
)
def test_survey_counts_violations(text: str, count: int, tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(text)

    assert len(list(survey(path))) == count


if __name__ == "__main__":
    for path in files():
        if str(path.relative_to(REPOSITORY)).startswith(tuple(sys.argv[1:]) or ""):
            for line, kind in survey(path):
                print(f"{path.relative_to(REPOSITORY)}:{line} {kind}")

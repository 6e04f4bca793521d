"""What the outcome of ``harness search`` rests on where nobody gives an option: a fingerprint of the code's defaults.

Measured searches carry it, so that they can be told from those that the present code would make. Comments, docstrings
and layout are no part of it: they decide nothing, and the searches take hours.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from harness.commands.search import search
from harness.data.datasets import DATASETS
from harness.evidence.error_ratio import error_ratio_of
from harness.training.recipe import named_recipe
from search_spaces.catalog import space

ROOT = Path(__file__).resolve().parent.parent
DATASET = "mnist"
# What a search prints, where it lies and which machines train decides nothing; every measured search gets its seed.
WITHOUT_EFFECT = {"plan_only", "verbose", "as_json", "name", "folder", "cluster", "seed", "storage"}
# What decides the order beside the files of harness/search: the threshold, what stands, what a draw, a change of it and
# its costs are.
BESIDES = (
    "harness/evidence/error-ratios.json",
    "harness/evidence/study.py",
    "harness/system/statistics.py",
    "search_spaces/cost.py",
    "search_spaces/draw.py",
)
_ABSENT = "not there"


def defaults() -> dict[str, Any]:
    """Return the defaults as plain JSON values: options, the hashes of what they name, and of what orders a search."""
    options = {str(option.name): _default(option) for option in search.params if option.name not in WITHOUT_EFFECT}
    return {
        "options": options,
        "space_sha256": _sha256(space(str(options["space"])).text.encode()),
        "recipe_hash": named_recipe(str(options["recipe"])).recipe.hash,
        "threshold_pct": round(error_ratio_of(DATASET).threshold_pct(DATASETS[DATASET].target_pct), 6),
        "sources": sources(ROOT),
    }


def sources(root: Path) -> dict[str, str]:
    """Return the hash of each file below ``root`` that decides the order of a search, by its path."""
    found = [path for path in (root / "harness" / "search").rglob("*") if path.is_file()]
    found = [path for path in found if "__pycache__" not in path.parts and not path.name.startswith(".")]
    found += [root / name for name in BESIDES]
    return {path.relative_to(root).as_posix(): _content_hash(path) for path in sorted(found)}


def code_hash(source: str) -> str:
    """Return the SHA-256 of Python code without its comments, docstrings and layout.

    ``ast.dump`` would do, but it writes the same tree in several ways from one version of Python to the next.

    Raises:
        SyntaxError: it is no Python.
    """
    return _sha256(repr(_plain(ast.parse(source))).encode())


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield a line for each value in which two plain documents differ, with its key."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            where = f"{place}.{key}" if place else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), where)
    elif old != new:
        yield f"{place}: {old!r} then, {new!r} now"


def _default(option: click.Parameter) -> str | float | bool | None:
    if isinstance(option, click.Option) and option.is_flag:
        return option.default is True
    # From click 8.3 on an option without a default has a mark of click's own instead of None.
    return option.default if isinstance(option.default, str | float | int) else None


def _content_hash(path: Path) -> str:
    if path.suffix == ".py":
        return code_hash(path.read_text(encoding="utf-8"))
    return _sha256(path.read_bytes())


def _plain(value: Any) -> Any:
    """Return a syntax tree as nested tuples: no places, nothing that is empty, no statement that is but a string."""
    if isinstance(value, ast.JoinedStr):
        # Python 3.12 puts an empty piece after some formats.
        pieces = (piece for piece in value.values if not (isinstance(piece, ast.Constant) and piece.value == ""))
        return "JoinedStr", *map(_plain, pieces)
    if isinstance(value, ast.AST):
        parts = [(name, _plain(part)) for name, part in ast.iter_fields(value) if name != "kind"]
        return type(value).__name__, *(part for part in parts if part[1] not in (None, ()))
    if isinstance(value, list):
        return tuple(_plain(item) for item in value if not _is_docstring(item))
    return None if value is None else repr(value)


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""Files, modules and functions that are mentioned in docs, comments and docstrings exist."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FILE = re.compile(r"(?<![\w./*-])(?:[\w.-]+/)*[\w-]+\.(?:py|cpp|h|js|lark|md)\b(?![\w/(])")
DOTTED = re.compile(r"\b(?:harness|measurements|tests)(?:\.(?!md\b)[a-z]\w*)+(?:\.[A-Z]\w*)?")
# Example files of a user.
EXAMPLES = {"harness/spaces/ops/patches.py", "mine.py", "FILE.py", "net.py", "guest_tools.py", "export_rows.py"}
EXAMPLES |= {"search_spaces.py", "reports/__init__.py"}
# Headers of C, a file of a shell, and files in exported folders.
OUTSIDE = {"malloc.h", "stdint.h", "digits.h", "manifest.json", "harness.fish", "model.py", "weights.pt"}
OUTSIDE |= {"harness.formats", "harness.observers", "harness.executors"}  # groups of entry points
HISTORY = re.compile(r"CHANGELOG\.md|research/|findings/")  # mention names of earlier versions and of other projects


def prose(path: Path) -> Iterator[str]:
    """Yield docstrings and comments of Python, comments of C++ and JavaScript, and all lines of Markdown."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from text.splitlines() if path.suffix == ".md" else re.findall(r"(?://|/\*|\*).*", text)
        return
    # Tokens take most of the time of this test, so they are read only if a comment may mention a file or a module.
    if any(FILE.search(words) or DOTTED.search(words) for words in re.findall("#.*", text)):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        yield from (token.string for token in tokens if token.type == tokenize.COMMENT)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    yield from (ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, documented))


@cache
def names_of(path: Path) -> frozenset[str]:
    """Return the names that a module defines or imports, and all string constants, for names that are imported late."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    aliases = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assigned = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return frozenset(
        [*(node.name for node in nodes), *(alias.asname or alias.name for alias in aliases), *assigned, *strings]
    )


def is_defined(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        path = REPOSITORY.joinpath(*parts[:count])
        module = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if module.is_file() or path.is_dir():
            rest = parts[count:]
            return not rest or (module.is_file() and rest[0] in names_of(module))
    return False


def test_mentioned_files_and_modules_exist():
    listing = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    paths = [Path(name) for name in listing.split()]
    endings = {"/".join(path.parts[start:]) for path in paths for start in range(len(path.parts))}
    known = endings | EXAMPLES | OUTSIDE
    stale = []
    for name in listing.split():
        path = REPOSITORY / name
        if path.suffix not in (".py", ".md", ".cpp", ".h", ".js") or HISTORY.search(name):
            continue
        for text in prose(path):
            for match in FILE.finditer(text):
                reference = match[0].lstrip("./")
                if reference not in known:
                    stale.append(f"{name}: {match[0]}")
            stale += [
                f"{name}: {match[0]}"
                for match in DOTTED.finditer(text)
                if match[0] not in OUTSIDE and not is_defined(match[0])
            ]
    assert stale == []

"""Docstrings, comments and pages are written in plain technical English: counts of words that replace nouns.

``python tests/test_prose.py harness/data docs/use/data.md`` lists the rates of folders and pages, and the worst files.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# Words that stand in place of a noun; the sentences of Optuna, httpx and scikit-learn have 8 to 20 per 1,000 words.
DIALECT = re.compile(
    r"\b(?:what|its?|they|them|theirs?|ones?|where|others?|another|(?:those|that|these|this) of"
    r"|(?:some|no|any|every)(?:body|thing|one)|so (?:many|few|much|little|long))\b"
)
LIMIT = 25  # words per 1,000 in each folder and page
MIN_WORDS = 300  # of a folder or page; rates of shorter texts are noise
FOLDERS = (
    "measurements",
    *(
        f"harness/{name}"
        for name in (
            "bench",
            "cluster",
            "commands",
            "data",
            "exports",
            "evidence",
            "interface",
            "loggers",
            "pages",
            "publication",
            "searching",
            "spaces",
            "storage",
            "studies",
            "system",
            "toy",
            "training",
        )
    ),
)
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    *(path.relative_to(REPOSITORY).as_posix() for path in sorted((REPOSITORY / "docs").rglob("*.md"))),
)


def texts(path: Path) -> Iterator[str]:
    """Yield the docstrings and comments of a Python file, or the whole text of a page without its code blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    yield from (ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, documented))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    yield from (token.string for token in tokens if token.type == tokenize.COMMENT)


def rate(paths: Iterable[Path]) -> tuple[float, int]:
    """Return the dialect words per 1,000 words, and the number of words."""
    prose = "\n".join(text for path in paths for text in texts(path)).lower()
    words = len(re.findall(r"[a-z']+", prose))
    return 1000 * len(DIALECT.findall(prose)) / max(words, 1), words


def python_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if "node_modules" not in path.parts]


@pytest.mark.parametrize("name", [*FOLDERS, *PAGES])
def test_sentences_name_their_subjects(name: str):
    path = REPOSITORY / name
    per_thousand, words = rate(python_files(path) if path.is_dir() else [path])

    assert words < MIN_WORDS or per_thousand <= LIMIT


def test_words_in_place_of_nouns_are_counted(tmp_path: Path):
    (tmp_path / "a.py").write_text('"""Return what it costs."""\nx = 1  # as many as another one has\n')

    per_thousand, words = rate([tmp_path / "a.py"])
    assert words == 10
    assert per_thousand == pytest.approx(1000 * 4 / 10)


if __name__ == "__main__":
    for argument in sys.argv[1:] or [*FOLDERS, *PAGES]:
        named = REPOSITORY / argument
        files = python_files(named) if named.is_dir() else [named]
        print(f"{argument}: {rate(files)[0]:.1f} of {rate(files)[1]:,} words")
        worst = sorted((round(rate([each])[0], 1), each.name) for each in files)[:-6:-1] if named.is_dir() else []
        print("".join(f"    {value} {file}\n" for value, file in worst), end="")

"""Committed content of the folders of the evidence, read from git."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from harness.evidence.ledger import Attempt
from harness.system.machine import git


class History(NamedTuple):
    """Content of a folder that was ever committed, by file.

    Attributes:
        lines: First commit of each line (``line_of``).
        blobs: First commit and first git blob id.
    """

    lines: dict[Path, dict[str, str]]
    blobs: dict[Path, tuple[str, str]]


def history_of(folder: Path) -> History:
    """Return the committed content of a folder; empty outside a repository."""
    # ``-m`` shows both sides of each merge; by default git omits a branch of which a merge has kept nothing.
    options = ("--raw", "--patch", "--unified=0", "--no-renames", "--no-abbrev", "--no-color", "--no-ext-diff")
    text = git(folder, "-c", "core.quotePath=off", "log", "--full-history", "-m", *options,
               "--no-prefix", "--relative", "--format=commit %H", "--", ".")  # fmt: skip
    lines: dict[Path, dict[str, str]] = defaultdict(dict)
    blobs: dict[Path, tuple[str, str]] = {}
    commit = ""
    path = folder
    # The log starts with the latest commit.
    for line in (text or "").split("\n"):
        if line.startswith("commit "):
            commit = line.split()[1]
        elif line.startswith(":"):
            facts, _, name = line.partition("\t")
            if (blob := facts.split()[3]).strip("0"):
                blobs[folder / name] = (commit, blob)
        elif line.startswith("+++ "):
            path = folder / line[4:].removesuffix("\t")
        elif line.startswith("+"):
            lines[path][line_of(line[1:])] = commit
    return History(lines, blobs)


def line_of(text: str) -> str:
    """Return a line without the trailing comma that it gains when a list is continued."""
    return text.strip().rstrip(",")


def declaring_commit(attempt: Attempt, histories: Iterable[History]) -> str | None:
    """Return the first commit whose ledger has the declaration of an attempt; None if there is none."""
    for history in histories:
        for path, commit_of_line in history.lines.items():
            for line, commit in commit_of_line.items():
                if path.name == "ledger.jsonl" and attempt.is_declared_in(line):
                    return commit
    return None

"""What git remembers of a workspace's evidence: what is committed, and what was committed once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; ``utc`` is an ISO 8601 time."""

    name: str
    utc: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What was ever committed in a folder, each with the first commit that had it.

    Attributes:
        lines: of text files.
        blobs: git's digest of a file as it was first committed.
    """

    lines: dict[Path, dict[str, Commit]] = field(default_factory=dict)
    blobs: dict[Path, tuple[Commit, str]] = field(default_factory=dict)


def remembered(folder: Path) -> Memory:
    """Return what git remembers of a folder; nothing outside a repository."""
    # The whole history and both sides of a merge: by default git leaves out a branch of which a merge has kept nothing.
    shown = ("--raw", "--patch", "--unified=0", "--no-renames", "--no-abbrev", "--no-color", "--no-ext-diff")
    text = _git(folder, "-c", "core.quotePath=off", "log", "--full-history", "-m", *shown,
                "--no-prefix", "--relative", "--format=commit %H %cI", "--", ".")  # fmt: skip
    found, commit, path = Memory(), Commit("", ""), folder
    # Latest first, so the earliest commit stays.
    for line in (text or "").split("\n"):
        if line.startswith("commit "):
            commit = Commit(*line.split()[1:])
        elif line.startswith(":"):
            facts, _, name = line.partition("\t")
            blob = facts.split()[3]
            if blob.strip("0"):
                found.blobs[folder / name] = (commit, blob)
        elif line.startswith("+++ "):
            path = folder / line[4:].removesuffix("\t")
        elif line.startswith("+"):
            found.lines.setdefault(path, {})[line[1:]] = commit
    return found


def blobs(paths: Iterable[Path]) -> dict[Path, str]:
    """Return git's digest of each of these files as it is now."""
    there = [path for path in paths if path.is_file()]
    said = _git(there[0].parent, "hash-object", "--", *map(str, there)) if there else None
    return dict(zip(there, (said or "").split(), strict=False))


def committed(path: Path) -> str | None:
    """Return a file's content at the last commit: empty where it is in none, None where there is no repository."""
    if _git(path.parent, "rev-parse", "--git-dir") is None:
        return None
    return _git(path.parent, "show", f"HEAD:./{path.name}") or ""


def is_whole(folder: Path) -> bool:
    """Whether a folder lies in a repository that has all of its history; a shallow clone has not."""
    return (_git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "false"


def is_tracked(path: Path) -> bool:
    """Return whether git keeps a file."""
    return _git(path.parent, "ls-files", "--error-unmatch", "--", path.name) is not None


def _git(folder: Path, *arguments: str) -> str | None:
    if not folder.is_dir():
        return None
    try:
        answer = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", errors="replace")

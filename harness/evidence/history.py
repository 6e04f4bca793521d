"""What git remembers of a workspace's evidence: each line that was ever committed, and each file as it was first."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.evidence.ledger import Attempt, is_declaration


@dataclass(frozen=True, slots=True)
class Memory:
    """What was ever committed in a folder, each with the id of the first commit that had it.

    Attributes:
        lines: of text files, as ``line_of`` gives them.
        blobs: git's digest of a file as it was first committed.
    """

    lines: defaultdict[Path, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    blobs: dict[Path, tuple[str, str]] = field(default_factory=dict)


def line_of(text: str) -> str:
    """Return a line without the comma after it: where a list goes on, the same line ends otherwise."""
    return text.strip().rstrip(",")


def remembered(folder: Path) -> Memory:
    """Return what git remembers of a folder; nothing outside a repository."""
    # The whole history and both sides of a merge: by default git leaves out a branch of which a merge has kept nothing.
    shown = ("--raw", "--patch", "--unified=0", "--no-renames", "--no-abbrev", "--no-color", "--no-ext-diff")
    text = git(folder, "-c", "core.quotePath=off", "log", "--full-history", "-m", *shown,
               "--no-prefix", "--relative", "--format=commit %H", "--", ".")  # fmt: skip
    found, commit, path = Memory(), "", folder
    # Latest first, so the earliest commit stays.
    for line in (text or "").split("\n"):
        if line.startswith("commit "):
            commit = line.split()[1]
        elif line.startswith(":"):
            facts, _, name = line.partition("\t")
            if (blob := facts.split()[3]).strip("0"):
                found.blobs[folder / name] = (commit, blob)
        elif line.startswith("+++ "):
            path = folder / line[4:].removesuffix("\t")
        elif line.startswith("+"):
            found.lines[path][line_of(line[1:])] = commit
    return found


def declared_in(memories: Iterable[Memory], attempt: Attempt) -> str | None:
    """Return the id of the first commit that has the line of a ledger that declared an attempt."""
    lines = [
        entry
        for memory in memories
        for path, found in memory.lines.items()
        if path.name == "ledger.jsonl"
        for entry in found.items()
    ]
    return next((commit for line, commit in lines if is_declaration(line, attempt)), None)


def blobs(paths: Iterable[Path]) -> dict[Path, str]:
    """Return git's digest of each of these files as it is now."""
    there = [path for path in paths if path.is_file()]
    said = git(there[0].parent, "hash-object", "--", *map(str, there)) if there else None
    return dict(zip(there, (said or "").split(), strict=False))


def is_whole(folder: Path) -> bool:
    """Whether a folder lies in a repository that has all of its history; a shallow clone has not."""
    return (git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "false"


def is_tracked(path: Path) -> bool:
    """Return whether git keeps a file."""
    return git(path.parent, "ls-files", "--error-unmatch", "--", path.name) is not None


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git answers in a folder, the objects as they were committed; None where it fails."""
    command = ["git", "--no-replace-objects", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", errors="replace")

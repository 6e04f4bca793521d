"""What git remembers of a workspace's evidence: what is committed, and what was committed once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Version:
    """A file as a commit has it; ``committed_utc`` is an ISO 8601 time."""

    commit: str
    committed_utc: str
    content: str


def committed(path: Path) -> str | None:
    """Return a file's content at the last commit: empty where it is in none, None where there is no repository."""
    if _git(path.parent, "rev-parse", "--git-dir") is None:
        return None
    return _content(path, "HEAD") or ""


def is_whole(folder: Path) -> bool:
    """Whether a folder lies in a repository that has all of its history; a shallow clone has not."""
    return (_git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "false"


def is_tracked(path: Path) -> bool:
    """Return whether git keeps a file."""
    return _git(path.parent, "ls-files", "--error-unmatch", "--", path.name) is not None


def versions(path: Path) -> Iterator[Version]:
    """Yield a file as each commit that changed it has it, latest first; nothing outside a repository."""
    # The whole history: by default git leaves out a branch of which a merge has kept nothing.
    found = _git(path.parent, "log", "--full-history", "--format=%H %cI", "--", path.name)
    for line in (found or "").splitlines():
        commit, date = line.split()
        content = _content(path, commit)
        if content is not None:
            yield Version(commit, date, content)


def removed(folder: Path, *, below: bool = False) -> list[Path]:
    """Return the files in a folder that some commit held and that are there no more, committed so or not.

    Args:
        below: look into its subfolders too; else right in the folder alone.
    """
    shown = ("--diff-filter=A", "--no-renames", "--format=", "--name-only", "--relative")
    found = _git(folder, "log", "--full-history", *shown, "--", ".")
    names = sorted({name for name in (found or "").splitlines() if name and (below or "/" not in name)})
    return [folder / name for name in names if not (folder / name).exists()]


def changed(folder: Path) -> dict[Path, str]:
    """Return the files below a folder that are not as the first commit that held them has them, and that commit."""
    shown = ("--diff-filter=A", "--no-renames", "--no-abbrev", "--raw", "--relative", "--format=%H")
    first: dict[str, tuple[str, str]] = {}
    commit = ""
    # Latest first, so the earliest of several commits that add a file stays.
    for line in (_git(folder, "log", "--full-history", *shown, "--", ".") or "").splitlines():
        facts, _, name = line.partition("\t")
        if name:
            first[name] = (commit, facts.split()[3])
        elif line:
            commit = line
    there = [name for name in first if (folder / name).is_file()]
    blobs = (_git(folder, "hash-object", "--", *there) or "").split() if there else []
    return {folder / name: first[name][0] for name, blob in zip(there, blobs, strict=False) if blob != first[name][1]}


def _content(path: Path, commit: str) -> str | None:
    return _git(path.parent, "show", f"{commit}:./{path.name}")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None where it fails, or is not installed."""
    if not folder.is_dir():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return answer.stdout

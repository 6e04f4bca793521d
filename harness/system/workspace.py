"""Where a person's results live: one folder with ``records/``, ``runs/`` and ``leaderboard.csv``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.system.errors import StorageError, UsageError, reason

# Beside the studies: all of them share what is in it.
TEACHERS = ".teachers"
RECORDINGS = ".tables"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder that commands read from and write to."""

    root: Path

    @property
    def runs(self) -> Path:
        """One folder a study."""
        return self.root / "runs"

    @property
    def teachers(self) -> Path:
        """Trained teachers; what is missing is trained again."""
        return self.runs / TEACHERS

    @property
    def tables(self) -> Path:
        """Tables of recorded trainings: one folder a table."""
        return self.root / "benchmarks" / "tables"

    @property
    def records(self) -> Path:
        """The evidence behind the leaderboard: one JSON file a row."""
        return self.root / "records"

    @property
    def ledger(self) -> Path:
        """All certification attempts, one JSON line an event."""
        return self.records / "ledger.jsonl"

    @property
    def test_log(self) -> Path:
        """All reads of a test set, one JSON line each."""
        return self.records / "test_reads.jsonl"

    @property
    def leaderboard(self) -> Path:
        """The standings, as they are published."""
        return self.root / "leaderboard.csv"

    @property
    def local_leaderboard(self) -> Path:
        """The standings with what was run here, where git keeps the published ones."""
        return self.runs / "leaderboard.csv"

    def study(self, name: str) -> Path:
        """Return the folder of a study.

        Raises:
            UsageError: the name cannot be a folder's.
        """
        return self.runs / _checked(name, "study", self.runs)

    def table(self, name: str) -> Path:
        """Return the folder of a person's own table.

        Raises:
            UsageError: the name cannot be a folder's.
        """
        return self.tables / _checked(name, "table", self.tables)

    def recording(self, name: str) -> Path:
        """Return where the runs of a table are kept while it is recorded, and afterwards.

        Raises:
            UsageError: the name cannot be a folder's.
        """
        return self.runs / RECORDINGS / _checked(name, "table", self.tables)


def _checked(name: str, kind: str, folder: Path) -> str:
    # What a shell passes on in another encoding holds lone surrogates, which no file of ours could name.
    size = len(name.encode(errors="replace")) if name == name.encode(errors="replace").decode() else 0
    # What all studies share lies in folders that begin with a dot.
    if not 0 < size <= 200 or name.startswith(".") or any(mark in name for mark in "/\\\0\n"):
        raise UsageError(
            f"{kind} name {name[:60]!r}: a {kind} is a folder below {folder}, so its name holds "
            "1 to 200 bytes of UTF-8 without slashes or line ends, and does not begin with a dot"
        )
    return name


def workspace() -> Workspace:
    """Return the folder that ``HARNESS_WORKSPACE`` names, or the current one.

    Raises:
        UsageError: it names something else than a folder.
    """
    root = Path(os.environ.get("HARNESS_WORKSPACE") or Path.cwd())
    # These raise nothing, whatever the path is like.
    if os.path.exists(root) and not os.path.isdir(root):
        raise UsageError(f"HARNESS_WORKSPACE is {root}, which is not a folder")
    return Workspace(root)


def check_writable(folder: Path) -> None:
    """Raise StorageError unless files can be made in ``folder``; makes the folder, leaves nothing in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"cannot write to the folder {folder}: {reason(error)}") from error


@contextmanager
def no_empty_folder(folder: Path) -> Iterator[None]:
    """Take a folder away after the block where nothing but its lock is in it."""
    try:
        yield
    finally:
        if folder.is_dir() and [path.name for path in folder.iterdir()] == [".lock"]:
            shutil.rmtree(folder)


def check_reachable(folder: Path) -> None:
    """Raise UsageError unless files could be written in ``folder``; where it is missing it is not made."""
    while not os.path.lexists(folder):
        folder = folder.parent
    check_writable(folder)

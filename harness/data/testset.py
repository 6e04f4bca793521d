"""Access to the locked test set: the function that reads test images, and the log of reads.

No other module may return test images, which a test checks. Code of the user can open the files without a log entry.
"""

from __future__ import annotations

import datetime
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.data.datasets import Dataset
from harness.data.training_images import ImageData, image_digests, locked_arrays
from harness.system import files
from harness.system.errors import DataError

_SKETCH_SIZE = 32  # digests of each kind; parts with a tenth of all images in common share a digest in 97 % of cases
# Grey levels by which a test part may become brighter or darker and keep its digests, even at the end of
# the range.
_BRIGHTNESS_CHANGE = 32
_MIN_NUMBERS = 64  # of an image; smaller images often have equal differences of brightness by chance


def read_test_set(data: ImageData, *, purpose: str, log: Path) -> tuple[Tensor, Tensor]:
    """Log a read of the test set, then return the test images and labels.

    Args:
        log: File of JSON lines with the keys ``date_utc``, ``dataset``, ``data_hash`` and ``purpose``.

    Returns:
        Images, uint8 (images, channels, rows, columns), and labels, int64 (images,).

    Raises:
        ValueError: ``purpose`` is empty.
        UsageError: The log cannot be written.
        DataError: The files are missing or damaged.
    """
    note_read(data.dataset.name, data.data_hash, purpose=purpose, log=log)
    images, labels = locked_arrays(data.dataset, data.folder)
    return torch.from_numpy(images), torch.from_numpy(labels)


def sketch_of_test_part(spec: Dataset, folder: Path | None) -> tuple[str, ...]:
    """Return digests of the test images for the ledger; empty if this machine does not have the images.

    The 32 smallest digests of the images are followed by the 32 smallest digests that a change of all pixels by the
    same number of grey levels does not change. Two test parts with Jaccard similarity J have no digest of a kind in
    common with probability (1 - J)^32 (MinHash: Broder, "On the resemblance and containment of documents", 1997).
    """
    with suppress(DataError):
        images = locked_arrays(spec, folder)[0]
        differences = images - images.min((1, 2, 3), keepdims=True), images.max((1, 2, 3), keepdims=True) - images
        # Images of a single shade all have the same differences.
        has_contrast = differences[0].any((1, 2, 3))
        unshaded = np.concatenate(differences)[np.tile(has_contrast, 2)].clip(max=255 - _BRIGHTNESS_CHANGE)
        kinds = [images, unshaded] if images[0].size >= _MIN_NUMBERS else [images]
        return tuple(digest for kind in kinds for digest in sorted(image_digests(kind))[:_SKETCH_SIZE])
    return ()


def have_equal_test_images(first: Dataset, second: Dataset) -> bool:
    """Return whether two data sets have the same test images, in any order; False if this machine lacks the images."""
    with suppress(DataError):
        return image_digests(locked_arrays(first, None)[0]) == image_digests(locked_arrays(second, None)[0])
    return False


def note_read(dataset: str, data_hash: str, *, purpose: str, log: Path) -> None:
    """Append a read of the test set to the log, before any worker reads; raises as `read_test_set`."""
    if not purpose.strip():
        raise ValueError("a read of the test set needs a purpose")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"date_utc": now, "dataset": dataset, "data_hash": data_hash, "purpose": purpose}
    files.append_line(log, json.dumps(entry, ensure_ascii=False))

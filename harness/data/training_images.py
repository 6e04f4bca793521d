"""The training images of a data set in memory, and their fixed split for search.

The test set is not here: ``harness.data.testset`` alone reads it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.data_files import (
    EMBEDDED_SHA256,
    MissingData,
    cache_folder,
    combined_hash,
    embedded_source,
    fetch,
    find,
    hashes_of_test_files,
    read_verified,
    stratified_choice,
    training_part,
)
from harness.data.datasets import AUTO, Dataset, dataset


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """A data set's training images, checked, as they are stored.

    Attributes:
        train_images: uint8 (images, channels, rows, columns), 0 to 255: training and validation together.
        train_labels: int64 (images,).
        data_hash: names the exact bytes, test set included.
        source: where the images were found: a folder, or a package and its version.
        folder: holds the files; None where they come inside a package.
    """

    dataset: Dataset
    train_images: Tensor
    train_labels: Tensor
    data_hash: str
    source: str
    folder: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Indices into the training images, int64, ascending, without overlap; those of `split` together all of them."""

    train: Tensor
    validation: Tensor


def resolve(name: str, folder: Path | None) -> ImageData:
    """Load the data set that ``--dataset`` names; for ``auto`` MNIST, or ``mnist-5k`` where MNIST cannot be had.

    A folder that was named must hold MNIST, and a damaged copy is an error: neither is passed over.

    Raises:
        UsageError: there is no data set of that name.
        DataError: the files are missing or damaged.
    """
    try:
        return load("mnist" if name == AUTO else name, folder)
    except MissingData as error:
        if name != AUTO or folder is not None:
            raise
        data = load("mnist-5k", None)
        lines = (
            "WARNING: THIS IS NOT MNIST. Going on with mnist-5k, 5,000 images out of 70,000.",
            "Accuracies on it are lower and noisier, are labelled mnist-5k,",
            "and cannot be compared with any MNIST result.",
            f"Why: {error.message}",
            f"To use MNIST: {error.hint}",
        )
        print("!" * 78, *(f"!! {line}" for line in lines), "!" * 78, sep="\n", file=sys.stderr, flush=True)
        return data


def load(name: str, folder: Path | None = None, *, allow_download: bool = True) -> ImageData:
    """Load a data set from ``folder`` or, where none is given, the user's cache, else by download.

    All files are checked, those of the test set too, so that damage is found now and not at the end of a
    search.

    Raises:
        UsageError: there is no data set of that name.
        DataError: the files are missing or damaged; `MissingData` if there is no copy.
    """
    spec = dataset(name)
    if spec.embedded:
        pixels, classes = training_part()
        return ImageData(
            dataset=spec,
            train_images=images_tensor(pixels, spec),
            train_labels=labels_tensor(classes),
            data_hash=combined_hash(EMBEDDED_SHA256),
            source=embedded_source(),
            folder=None,
        )
    try:
        place = find(spec, folder)
    except MissingData:
        if folder is not None or not allow_download:
            raise
        fetch(spec, cache_folder() / spec.folder)
        place = find(spec, None)
    (images, images_hash), (labels, labels_hash) = [read_verified(place, file) for file in spec.training_files]
    return ImageData(
        dataset=spec,
        train_images=images_tensor(images, spec),
        train_labels=labels_tensor(labels),
        data_hash=combined_hash([images_hash, labels_hash, *hashes_of_test_files(place, spec)]),
        source=str(place),
        folder=place,
    )


def images_tensor(pixels: np.ndarray[Any, Any], spec: Dataset) -> Tensor:
    """Return pixels as a uint8 tensor (images, channels, rows, columns) of its own memory."""
    return torch.from_numpy(pixels.copy()).reshape(-1, *spec.image_shape)


def labels_tensor(labels: np.ndarray[Any, Any]) -> Tensor:
    """Return labels as an int64 tensor (images,)."""
    return torch.from_numpy(labels.astype(np.int64))


def split(data: ImageData) -> Split:
    """Split the training images into those to train on and those to validate on, the same way every time.

    Stratified: see `harness.data.data_files.stratified_choice`; the tag is ``split-v1:`` and the data set's name.
    """
    spec = data.dataset
    labels = data.train_labels.tolist()
    validation = torch.tensor(stratified_choice(labels, spec.validation_size, f"split-v1:{spec.name}"))
    in_train = torch.ones(len(labels), dtype=torch.bool)
    in_train[validation] = False
    return Split(train=in_train.nonzero().flatten(), validation=validation)

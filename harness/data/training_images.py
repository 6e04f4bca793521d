"""The training images of a data set in memory, and their fixed split for search.

The test set is not here: ``harness.data.testset`` alone reads it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness.data.data_files import MissingData, fetch, find, source_of, stratified_choice, training_arrays
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
        told = f"{error.told}; going on with mnist-5k, whose accuracies cannot be compared with MNIST's"
        print(f"warning: THIS IS NOT MNIST: {told}", file=sys.stderr, flush=True)
        return load("mnist-5k", None)


def load(name: str, folder: Path | None = None, *, allow_download: bool = True) -> ImageData:
    """Load a data set from ``folder`` or, where none is given, the user's cache, else by download.

    All files are checked, those of the test set too, so that damage is found now and not at the end of a
    search.

    Raises:
        UsageError: there is no data set of that name.
        DataError: the files are missing or damaged; `MissingData` if there is no copy.
    """
    spec = dataset(name)
    try:
        place = find(spec, folder)
    except MissingData:
        if folder is not None or not allow_download:
            raise
        fetch(spec, None)
        place = find(spec, None)
    images, labels, data_hash = training_arrays(spec, place)
    inside = None if spec.embedded else place
    return ImageData(
        spec, torch.from_numpy(images), torch.from_numpy(labels), data_hash, source=source_of(inside), folder=inside
    )


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

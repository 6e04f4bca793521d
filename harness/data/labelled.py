"""Labelled images beside a data set's own: QMNIST's further test digits, or any pair of IDX files of the right shape.

Nothing here trains or chooses: these images are for ``harness evaluate`` alone.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import math
import struct
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.data_files import MissingData, cache_folder
from harness.data.datasets import Dataset
from harness.data.download import MIRROR_SECONDS, fetch
from harness.data.torchvision_import import import_torchvision
from harness.system import files
from harness.system.errors import DataError, UsageError, reason

QMNIST = "qmnist-50k"
_FOLDER = "QMNIST/raw"
# MNIST's test images are the first of QMNIST's 60,000; the others were lost until 2019 (Yadav and Bottou, "Cold case:
# the lost MNIST digits", NeurIPS 2019).
_MNISTS_OWN = 10_000
# The third byte of an IDX file, and what it stands for (http://yann.lecun.com/exdb/mnist, "the IDX file format").
_KINDS = {0x08: "u1", 0x0C: ">i4"}
_LARGEST_BYTES = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images that a network may be evaluated on.

    Attributes:
        name: ``qmnist-50k``, or the last part of the folder's.
        pixels: uint8 (images, channels, rows, columns).
        labels: int64 (images,).
        sha256: of all pixels and labels.
    """

    name: str
    pixels: Tensor
    labels: Tensor
    sha256: str


def labelled_images(name: str, spec: Dataset, folder: Path | None) -> LabelledImages:
    """Return the images that ``--on`` names.

    Args:
        name: ``qmnist-50k``, or a folder with one IDX file of images and one of labels, packed or not.
        spec: the data set of the network; it says which shape and how many classes are right.
        folder: as ``--data`` gives it; QMNIST is looked for there, and only there.

    Raises:
        UsageError: no such set or folder.
        DataError: files are missing, damaged, or of another shape.
    """
    if name == QMNIST and spec.name not in ("mnist", "mnist-5k"):
        raise UsageError(f"--on {QMNIST}: these are digits of MNIST's kind, but the network was trained on {spec.name}")
    if name == QMNIST:
        images, labels = (_read(path) for path in _qmnist_files(folder))
        images, labels = images[_MNISTS_OWN:], labels[_MNISTS_OWN:]
    elif Path(name).is_dir():
        images, labels = (_read(_only(Path(name), kind)) for kind in ("images", "labels"))
    else:
        raise UsageError(
            f"--on {name!r}: there is no such folder; give {QMNIST}, or a folder with an IDX file of images and one of "
            "labels"
        )
    # QMNIST's labels have eight columns; the first is the class.
    return _checked(name, images, labels[:, 0] if labels.ndim == 2 and labels.shape[1] else labels, spec)


def _checked(name: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], spec: Dataset) -> LabelledImages:
    if images.dtype != np.uint8 or images.shape[1:] != spec.image_shape[1:] or spec.image_shape[0] != 1:
        raise DataError(
            f"{name} has images of {images.shape[1:]} {images.dtype}; {spec.name} has {spec.image_shape[1:]} uint8"
        )
    if labels.ndim != 1 or len(labels) != len(images) or not len(labels):
        raise DataError(
            f"{name} has {len(images):,} images and labels of shape {labels.shape}; a label an image is due"
        )
    if labels.min() < 0 or labels.max() >= spec.classes:
        raise DataError(
            f"{name} has labels from {labels.min()} to {labels.max()}; {spec.name} has 0 to {spec.classes - 1}"
        )
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes() + labels.astype("<i8").tobytes())
    pixels = torch.from_numpy(images.copy()).reshape(-1, *spec.image_shape)
    # The ledger is for other machines too, which know nothing of the folders of this one.
    known_as = name if name == QMNIST else Path(name).resolve().name
    return LabelledImages(known_as, pixels, torch.from_numpy(labels.astype(np.int64)), digest.hexdigest())


def _only(folder: Path, kind: str) -> Path:
    found = sorted(path for path in folder.iterdir() if kind in path.name and "idx" in path.name)
    if len(found) != 1:
        raise DataError(
            f"{folder} holds {len(found)} IDX files of {kind} (named like my-{kind}-idx1-ubyte.gz); one is needed"
        )
    return found[0]


def _read(path: Path) -> np.ndarray[Any, Any]:
    """Return what an IDX file holds; it may be packed."""
    try:
        stored = path.read_bytes()
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                stored = stream.read(_LARGEST_BYTES)
        zeros, kind, rank = struct.unpack(">HBB", stored[:4])
        shape = struct.unpack(f">{rank}I", stored[4 : 4 + 4 * rank])
        if (
            zeros
            or kind not in _KINDS
            or len(stored) != 4 + 4 * rank + math.prod(shape) * np.dtype(_KINDS[kind]).itemsize
        ):
            raise ValueError("its header does not fit its size, or its numbers are neither bytes nor integers")
        return np.frombuffer(stored, _KINDS[kind], offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise DataError(f"{path} is damaged, or no IDX file: {reason(error)}") from error


def _qmnist_files(folder: Path | None) -> list[Path]:
    """Return QMNIST's files of test images and labels, held to torchvision's MD5; fetched where no folder is given."""
    place = (folder or cache_folder()) / _FOLDER
    paths = []
    for url, md5 in _resources():
        path = place / url.rpartition("/")[2]
        if not path.exists():
            if folder is not None:
                raise MissingData(f"{QMNIST} not found: {path} is missing", hint=f"it is at {url}")
            _fetch(url, md5, path)
        try:
            problem = _problem(path.read_bytes(), md5)
        except OSError as error:
            raise DataError(f"cannot read {path}: {reason(error)}") from error
        if problem:
            raise DataError(f"{path} is {problem}", hint="remove it")
        paths.append(path)
    return paths


def _resources() -> list[tuple[str, str]]:
    """Return address and MD5 of QMNIST's files of test images and labels, as torchvision lists them."""
    try:
        listed = import_torchvision().datasets.QMNIST.resources["test"]
    except ImportError as error:
        raise MissingData(f"{QMNIST}: torchvision, which knows its files, is missing: {error}") from error
    return [(str(url), str(md5)) for url, md5 in listed]


def _problem(stored: bytes, md5: str) -> str:
    """Say what is wrong with a file; empty where nothing is."""
    found = hashlib.md5(stored, usedforsecurity=False).hexdigest()
    return "" if found == md5 else f"damaged or another file: its MD5 should be {md5} and is {found}"


def _fetch(url: str, md5: str, path: Path) -> None:
    """Fetch a file and store it if it is the right one."""
    print(f"fetching {url} (at most {MIRROR_SECONDS:g} s)", file=sys.stderr)
    began = time.monotonic()
    try:
        stored = fetch(url, MIRROR_SECONDS)
        if problem := _problem(stored, md5):
            raise ValueError(f"the downloaded file is {problem}")
        files.write_bytes(path, stored)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MissingData(
            f"{QMNIST} could not be fetched from {url} in {time.monotonic() - began:.0f} s: {error}",
            hint=f"place the file at {path}, or name a folder that holds {_FOLDER} with --data",
        ) from error

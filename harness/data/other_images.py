"""Images beside a data set's own: QMNIST's further test digits, pairs of IDX files, a person's own pictures.

Nothing here trains or chooses: these images are for ``harness evaluate`` alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from harness.data import own
from harness.data.datasets import Dataset
from harness.data.training_images import cache_folder, from_torchvision, idx_array
from harness.system.errors import DataError, UsageError, reason

_QMNIST = "qmnist-50k"
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm")
_EDGE = 28
# A digit of MNIST was scaled into a box of 20 pixels, and its centre of mass put in the middle of 28 (LeCun and others,
# "Gradient-based learning applied to document recognition", 1998, section III).
_BOX = 20
# Ink is what is at least so much of the brightest pixel; less is paper, noise or the halo of a JPEG.
_INK = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class _LabelledImages:
    """Images that a network may be evaluated on: uint8 (images, channels, rows, columns), their labels, int64."""

    name: str
    pixels: Tensor
    labels: Tensor
    sha256: str  # of all pixels and labels


def labelled_images(name: str, spec: Dataset, folder: Path | None) -> _LabelledImages:
    """Return the images that ``--on`` names.

    Args:
        name: ``qmnist-50k``, or a folder with one IDX file of images and one of labels, packed or not.
        spec: the data set of the network; it says which shape and how many classes are right.
        folder: as ``--data`` gives it; QMNIST is looked for there, and fetched into it.

    Raises:
        UsageError: no such set or folder.
        DataError: files are missing, damaged, or of another shape.
    """
    if name == _QMNIST and spec.name not in ("mnist", "mnist-5k"):
        raise UsageError(f"--on {_QMNIST}: digits of MNIST's kind, but the network was trained on {spec.name}")
    if name == _QMNIST:
        # MNIST's test images are the first 10,000 of QMNIST's 60,000; the other 50,000 were lost until 2019 (Yadav and
        # Bottou, "Cold case: the lost MNIST digits", NeurIPS 2019). Of a label's eight columns the first is the class.
        found = from_torchvision("QMNIST", folder or cache_folder(), what="test50k")
        images, labels, known_as = found.data.numpy(), found.targets.numpy()[:, 0], _QMNIST
    elif Path(name).is_dir():
        paths = [sorted(Path(name).glob(f"*{kind}*idx*")) for kind in ("images", "labels")]
        if [len(each) for each in paths] != [1, 1]:
            raise DataError(f"{name} has to hold one IDX file of images and one of labels (as my-labels-idx1-ubyte.gz)")
        (images, _), (labels, _) = (idx_array(path) for [path] in paths)
        # The ledger is for other machines too, which know nothing of the folders of this one.
        known_as = Path(name).resolve().name
    else:
        raise UsageError(f"--on {name!r}: no such folder; allowed are {_QMNIST} and folders with two IDX files")
    of_images, of_labels = images.dtype == np.uint8 and images.shape[1:] == spec.image_shape[1:], labels.ndim == 1
    if not (of_images and of_labels and spec.image_shape[0] == 1 and len(labels) == len(images) > 0):
        given = f"images {images.shape} {images.dtype} and labels {labels.shape}"
        raise DataError(f"{name} has {given}; {spec.name} has images of {spec.image_shape[1:]} uint8, a label each")
    if labels.min() < 0 or labels.max() >= spec.classes:
        given = f"labels from {labels.min()} to {labels.max()}"
        raise DataError(f"{name} has {given}; {spec.name} has 0 to {spec.classes - 1}")
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    pixels = torch.from_numpy(images.copy()).reshape(-1, *spec.image_shape)
    return _LabelledImages(known_as, pixels, torch.from_numpy(labels.astype(np.int64)), digest)


@dataclass(frozen=True, slots=True, eq=False)
class _OwnImage:
    """One picture, ready for a network: uint8 (channels, rows, columns), and what was ``done`` to it, for people."""

    path: Path
    pixels: np.ndarray[Any, Any]
    done: str


def own_images(place: Path, spec: Dataset) -> tuple[list[_OwnImage], list[DataError]]:
    """Return the picture, or those of a folder in order of their names, and why others of the folder are left out.

    Raises:
        UsageError: there is no such file or folder, or the folder has no picture.
        DataError: the file is no picture, or an empty one; so is every one of the folder.
    """
    if not place.exists():
        raise UsageError(f"--images {place}: there is no such file or folder")
    if not place.is_dir():
        return [_own_image(place, spec)], []
    found: list[_OwnImage] = []
    faults: list[DataError] = []
    for path in sorted(path for path in place.iterdir() if path.suffix.lower() in _ENDINGS):
        try:
            found.append(_own_image(path, spec))
        except DataError as error:
            faults.append(error)
    if not found:
        raise faults[0] if faults else UsageError(f"--images {place}: there is no picture ({', '.join(_ENDINGS)})")
    return found, faults


def _own_image(path: Path, spec: Dataset) -> _OwnImage:
    if spec.sha256:
        pixels = own.picture(path, spec.image_shape)[0]
        return _OwnImage(path, np.moveaxis(pixels, 2, 0), "")
    try:
        with Image.open(path) as picture:
            # A phone stores what its sensor saw, and beside it which side is up.
            upright = ImageOps.exif_transpose(picture)
            # What is transparent is paper, and paper is white.
            flat = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
            grey = np.asarray(flat.convert("L"), dtype=np.float64)
    except (OSError, Image.DecompressionBombError, ValueError) as error:
        raise DataError(f"cannot read the picture {path}: {reason(error)}") from error
    if np.ptp(grey) < 1:
        raise DataError(f"the picture {path} is all of one shade: there is no digit in it")
    done = []
    if _border(grey) > (grey.min() + grey.max()) / 2:
        grey, done = 255 - grey, ["turned to white on black"]
    if grey.shape != (_EDGE, _EDGE):
        grey = _centred(grey)
        done.append("cut out, scaled and centred")
    return _OwnImage(path, np.clip(np.rint(grey), 0, 255).astype(np.uint8)[None], ", ".join(done))


def _border(grey: np.ndarray[Any, Any]) -> float:
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _centred(grey: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    paper = np.median(grey)
    if paper > (grey.min() + grey.max()) / 2:
        paper = _border(grey)  # The digit fills most of the picture.
    grey = (grey - paper).clip(0)
    grey *= 255 / grey.max()
    rows, columns = (np.flatnonzero((grey >= 255 * _INK).any(axis=axis)) for axis in (1, 0))
    digit = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX / max(digit.shape)
    size = (max(1, round(digit.shape[1] * scale)), max(1, round(digit.shape[0] * scale)))
    small = np.asarray(Image.fromarray(digit.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)).clip(0, 255)
    centre = [float((small.sum(axis=1 - axis) * np.arange(small.shape[axis])).sum() / small.sum()) for axis in (0, 1)]
    image = np.zeros((_EDGE, _EDGE))
    top, left = (
        min(max(round(_EDGE / 2 - 0.5 - middle), 0), _EDGE - extent)
        for middle, extent in zip(centre, small.shape, strict=True)
    )
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image

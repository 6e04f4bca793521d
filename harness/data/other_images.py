"""Additional images for ``harness evaluate``: QMNIST's 50,000 test digits, labelled data and single pictures.

The images are used for evaluation only, never for training or selection. ``harness.data.own`` reads the files;
``_own_image`` converts a picture of a digit to the form of MNIST's digits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.data.datasets import Dataset
from harness.data.own import sources, values
from harness.data.own.values import Array
from harness.data.training_images import cache_folder, from_torchvision
from harness.system.errors import DataError, UsageError
from search_spaces.ops import Shape

_QMNIST = "qmnist-50k"
_EDGE = 28  # pixels, side of an image
# Side of the box to which MNIST's digits were scaled, before the centre of mass was moved to the centre of the image
# (LeCun et al., "Gradient-based learning applied to document recognition", 1998, section III).
_BOX = 20
_INK = 0.3  # of the brightest pixel, least value of ink; darker pixels are paper, noise or JPEG artefacts


@dataclass(frozen=True, slots=True, eq=False)
class _LabelledImages:
    """Labelled images to evaluate a network on: uint8 (images, channels, rows, columns), and int64 (images,)."""

    name: str
    pixels: Tensor
    labels: Tensor
    sha256: str  # SHA-256 of all pixels and labels


def labelled_images(name: str, spec: Dataset, folder: Path | None) -> _LabelledImages:
    """Return the images that ``--on`` names.

    Args:
        name: ``qmnist-50k``, or the path of data with one part, in any form that `own.read` accepts. Classes are
            matched by name; the names are numbers if the data set has no class names.
        spec: Data set of the network, which defines shape, range and classes.
        folder: Folder of ``--data``, in which QMNIST is stored or to which QMNIST is fetched.
    """
    if name == _QMNIST and spec.name not in ("mnist", "mnist-5k"):
        raise UsageError(f"--on {_QMNIST}: the images are MNIST digits, but the network was trained on {spec.name}")
    shape = spec.image_shape if spec.input else None
    part, known_as = _part_of(name, shape, folder)
    labels = _numbered(part, spec, name)
    if shape is None and isinstance(part.images, np.ndarray):
        pixels = values.pixels_of(spec, part.images)
    else:
        channels = part.channels or spec.channels or None
        pixels = values.checked_pixels(spec, values.arranged(part.images, part.names, channels, shape))
    digest = hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    return _LabelledImages(known_as, torch.from_numpy(pixels), torch.from_numpy(labels), digest)


def _part_of(name: str, shape: Shape | None, folder: Path | None) -> tuple[sources.DataPart, str]:
    # Returns the images of ``name`` and the name to write to the ledger.
    path = Path(name)
    if name == _QMNIST:
        # MNIST's test images are the first 10,000 of QMNIST's 60,000; the other 50,000 were lost until 2019 (Yadav
        # and Bottou, "Cold case: the lost MNIST digits", NeurIPS 2019). The first of a label's 8 columns is the class.
        download = from_torchvision("QMNIST", folder or cache_folder(), what="test50k")
        return sources.part_of_arrays(download.data.numpy(), download.targets.numpy()[:, 0], "test"), _QMNIST
    if not path.is_dir() and not (path.is_file() and sources.is_data_file(path)):
        raise UsageError(
            f"--on {name!r} is not a data set; allowed: {_QMNIST}, folders, {sources.endings_text()} files"
        )
    parts = sources.source_at(path, shape).parts
    if len(parts) != 1:
        raise DataError(f"{name} has the parts {', '.join(parts)}; --on requires data with a single part")
    [part] = parts.values()
    # The ledger is shared between machines, so the name must not contain a local path.
    return part, path.resolve().name


def _numbered(part: sources.DataPart, spec: Dataset, name: str) -> Array:
    classes = {label: index for index, label in enumerate(spec.class_names or map(str, range(spec.classes)))}
    by_number = {str(index): index for index in range(spec.classes)} if not spec.sha256 else {}
    number = by_number | classes
    if strange := [label for label in part.classes if label not in number]:
        raise DataError(f"{name} has the class {strange[0]!r}; classes of {spec.name}: {', '.join(list(classes)[:20])}")
    return np.array([number[label] for label in part.labels], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _OwnImage:
    """A picture as network input, uint8 (channels, rows, columns), with the conversions ``done``, as text."""

    path: Path
    pixels: Array
    done: str


def own_images(root: Path, spec: Dataset) -> tuple[list[_OwnImage], list[DataError]]:
    """Return the picture ``root``, or the pictures of the folder by name, and errors of the files left out."""
    if not root.exists():
        raise UsageError(f"--images {root}: no such file or folder")
    if not root.is_dir():
        return [_own_image(root, spec)], []
    images: list[_OwnImage] = []
    faults: list[DataError] = []
    others: list[Path] = []
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or not values.is_picture(path) or path.is_dir():
            others.append(path)
            continue
        try:
            images.append(_own_image(path, spec))
        except DataError as error:
            faults.append(error if str(path) in error.message else DataError(f"{path}: {error.message}"))
    if not images:
        raise faults[0] if faults else UsageError(f"--images {root}: no picture found ({values.ENDINGS})")
    if others:
        names = ", ".join(path.name for path in others[:5])
        faults.append(DataError(f"entries of {root} that are not pictures ({len(others):,}): {names}"))
    return images, faults


def _own_image(path: Path, spec: Dataset) -> _OwnImage:
    if not values.is_picture(path) or not path.is_file():
        raise DataError(f"{path} is not a picture ({values.ENDINGS})")
    numbers, is_transparent, _ = values.picture(path)
    if spec.sha256:
        if spec.image_shape[1] == 1 and numbers.shape[0] > 1:
            raise DataError(f"{path} is a picture with {numbers.shape[0]} rows, but {spec.name} contains series")
        rows, columns, channels = numbers.shape
        done = ["transparent parts filled with white"] if is_transparent else []
        if (rows, columns) != spec.image_shape[1:]:
            done.append(f"resized from {rows}x{columns}")
        if channels != spec.image_shape[0]:
            done.append(
                "converted to grey" if spec.image_shape[0] == 1 else f"converted to {spec.image_shape[0]} channels"
            )
        numbers = np.moveaxis(values.resized(numbers, spec.image_shape), 2, 0)[None]
        return _OwnImage(path, values.checked_pixels(spec, numbers)[0], ", ".join(done))
    if numbers.dtype != np.uint8:
        # Numbers of more than 8 bits have no fixed black and white, so the range of the picture is used.
        low, high = values.range_of([np.moveaxis(numbers, 2, 0)[None]])
        numbers = np.moveaxis(values.scaled(np.moveaxis(numbers, 2, 0)[None], low, high)[0], 0, 2)
    grey = values.resized(numbers, (1, *numbers.shape[:2]))[:, :, 0].astype(np.float64)
    if np.ptp(grey) < 1:
        raise DataError(f"the picture {path} has a single shade and shows no digit")
    done = []
    if _border(grey) > (grey.min() + grey.max()) / 2:
        grey = 255 - grey
        done.append("inverted to white on black")
    if grey.shape != (_EDGE, _EDGE):
        grey = _centred(grey)
        done.append("cropped, scaled and centred")
    return _OwnImage(path, np.clip(np.rint(grey), 0, 255).astype(np.uint8)[None], ", ".join(done))


def _border(grey: Array) -> float:
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _centred(grey: Array) -> Array:
    paper = np.median(grey)
    if paper > (grey.min() + grey.max()) / 2:
        paper = _border(grey)  # the digit fills most of the picture, so the median is ink
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

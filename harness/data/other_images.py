"""Additional images for ``harness evaluate``: QMNIST's 50,000 test digits, labelled data and single pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.data.datasets import Dataset
from harness.data.training_images import cache_folder, from_torchvision
from harness.data.user import divisions, sources, values
from harness.data.user.near_duplicates import near_keys
from harness.data.user.values import Array
from harness.spaces.ops import Shape, shape_text
from harness.system.errors import DataError, UsageError

_QMNIST = "qmnist-50k"
_DIGITS = ("mnist", "mnist-5k")  # data sets whose preparation is known
_EDGE = 28  # pixels, side of an image of the known data sets
# Side of the box to which MNIST's digits were scaled before centring (LeCun et al., "Gradient-based learning applied to
# document recognition", 1998, section III).
_BOX = 20
_INK = 0.3  # of the brightest pixel; darker pixels are paper, noise or JPEG artefacts


@dataclass(frozen=True, slots=True, eq=False)
class _LabelledImages:
    name: str
    pixels: Tensor
    labels: Tensor
    sha256: str  # SHA-256 of all pixels and labels
    group_sizes: tuple[int, ...]  # images of each group of copies; empty without copies


def labelled_images(name: str, spec: Dataset, folder: Path | None) -> _LabelledImages:
    """Return the images that ``--on`` names.

    Args:
        name: ``qmnist-50k``, or the path of data with one part.
        folder: Folder of QMNIST; None for the cache.

    Raises:
        UsageError: ``name`` is no data, or the network was not trained on MNIST digits.
        DataError: The data have several parts, a class that the network lacks, or another shape or scale; `MissingData`
            if QMNIST cannot be fetched.
    """
    if name == _QMNIST and spec.name not in _DIGITS:
        raise UsageError(f"--on {_QMNIST}: the images are MNIST digits, but the network was trained on {spec.name}")
    # Images are resized only if the images of the data set were (``--input``).
    shape = spec.image_shape if spec.input else None
    part, ledger_name = _part_of(name, shape, folder)
    labels = _class_indices(part, spec, name)
    if shape is None and isinstance(part.images, np.ndarray):
        # The shape of the data set determines the channel axis.
        pixels = values.pixels_of(spec, part.images)
    else:
        channels = part.channels or spec.channels or None
        pixels = values.checked_pixels(spec, values.arranged(part.images, part.names, channels, shape))
    digest = hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    group_sizes: tuple[int, ...] = ()
    if name != _QMNIST:
        group_sizes = divisions.group_sizes(near_keys(pixels, values.digests(pixels), labels).keys)
    return _LabelledImages(ledger_name, torch.from_numpy(pixels), torch.from_numpy(labels), digest, group_sizes)


def _part_of(name: str, shape: Shape | None, folder: Path | None) -> tuple[sources.DataPart, str]:
    path = Path(name)
    if name == _QMNIST:
        # MNIST's test images are the first 10,000 of QMNIST's 60,000; the other 50,000 were lost until 2019 (Yadav
        # and Bottou, "Cold case: the lost MNIST digits", NeurIPS 2019). The first of a label's 8 columns is the class.
        download = from_torchvision("QMNIST", folder or cache_folder(), what="test50k")
        return sources.part_of_arrays(download.data.numpy(), download.targets.numpy()[:, 0], "test"), _QMNIST
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in sources.DATA_ENDINGS):
        allowed_sources = f"{_QMNIST}, folders, {', '.join(sources.DATA_ENDINGS)} files"
        raise UsageError(f"--on {name!r} is not a data set; allowed: {allowed_sources}")
    parts = sources.source_at(path, shape).parts
    if len(parts) != 1:
        raise DataError(f"{name} has the parts {', '.join(parts)}; --on requires data with a single part")
    [part] = parts.values()
    # The ledger is shared, so the name must not contain a local path.
    return part, path.resolve().name


def _class_indices(part: sources.DataPart, spec: Dataset, name: str) -> Array:
    index_of = {label: index for index, label in enumerate(spec.class_labels)}
    if not spec.is_user_data:
        # The files of known data sets number the classes; a name precedes a number.
        index_of = {str(index): index for index in range(spec.classes)} | index_of
    if strange := [label for label in part.classes if label not in index_of]:
        allowed_labels = ", ".join(spec.class_labels[:20])
        raise DataError(f"{name} has the class {strange[0]!r}; classes of {spec.name}: {allowed_labels}")
    return np.array([index_of[label] for label in part.labels], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    path: Path
    pixels: Array  # uint8 (channels, rows, columns)
    conversions: str  # separated by commas, such as "inverted to white on black"


def pictures_at(root: Path, spec: Dataset) -> tuple[list[_Picture], list[DataError]]:
    """Return the picture ``root``, or the pictures of the folder ``root`` by name, and errors of the files left out.

    Raises:
        UsageError: There is no file, folder or picture.
        DataError: The picture ``root``, or each picture of the folder, cannot be converted.
    """
    if not root.exists():
        raise UsageError(f"--images {root}: no such file or folder")
    if not root.is_dir():
        return [_prepared_picture(root, spec)], []
    images: list[_Picture] = []
    faults: list[DataError] = []
    names_left_out: list[str] = []
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or not values.is_picture(path) or path.is_dir():
            names_left_out.append(path.name)
            continue
        try:
            images.append(_prepared_picture(path, spec))
        except DataError as error:
            faults.append(error if str(path) in error.message else DataError(f"{path}: {error.message}"))
    if not images:
        hint = "--on evaluates a folder with a subfolder of pictures for each class" if names_left_out else None
        raise faults[0] if faults else UsageError(f"--images {root}: no picture found ({values.ENDINGS})", hint=hint)
    if names_left_out:
        names = ", ".join(names_left_out[:5])
        faults.append(DataError(f"entries of {root} that are not pictures ({len(names_left_out):,}): {names}"))
    return images, faults


def _prepared_picture(path: Path, spec: Dataset) -> _Picture:
    if not values.is_picture(path) or not path.is_file():
        raise DataError(f"{path} is not a picture ({values.ENDINGS})")
    numbers, is_transparent, _ = values.picture(path)
    if spec.name in _DIGITS:
        return _digit_picture(path, numbers)
    if not spec.is_user_data:
        return _checked_picture(path, numbers, spec)
    rows, columns, channels = numbers.shape
    if spec.image_shape[1] == 1 and rows > 1:
        raise DataError(f"{path} is a picture with {rows} rows, but {spec.name} contains series")
    steps = []
    if is_transparent:
        steps.append("transparent parts filled with white")
    if (rows, columns) != spec.image_shape[1:]:
        steps.append(f"resized from {rows}x{columns}")
    if channels != spec.image_shape[0]:
        form = "grey" if spec.image_shape[0] == 1 else f"{spec.image_shape[0]} channels"
        steps.append(f"converted to {form}")
    numbers = np.moveaxis(values.resized(numbers, spec.image_shape), 2, 0)[None]
    return _Picture(path, values.checked_pixels(spec, numbers)[0], ", ".join(steps))


def _checked_picture(path: Path, numbers: Array, spec: Dataset) -> _Picture:
    """Return a picture (rows, columns, channels) that has the form of a known data set of unknown preparation."""
    grey = numbers[:, :, 0]
    is_grey = numbers.dtype == np.uint8 and bool((numbers == numbers[:, :, :1]).all())
    if is_grey and grey.shape == spec.image_shape[1:] and 2 * _border(grey) <= int(grey.min()) + int(grey.max()):
        return _Picture(path, grey[None], "")
    form = f"grey, 8 bits, bright on black, {shape_text(spec.image_shape)}"
    cause = f"how the pictures of {spec.name} were prepared is not known to this program"
    raise DataError(f"{path} has another form than the data set ({form}), and {cause}")


def _digit_picture(path: Path, numbers: Array) -> _Picture:
    """Return a picture of a digit, (rows, columns, channels), in the form of MNIST's digits: white on black, centred.

    A picture of the size of MNIST's images is neither scaled nor centred.
    """
    if numbers.dtype != np.uint8:
        # Numbers of more than 8 bits have no fixed black and white.
        batch = np.moveaxis(numbers, 2, 0)[None]
        numbers = np.moveaxis(values.Scale.fitted([batch]).pixels(batch)[0], 0, 2)
    grey = values.resized(numbers, (1, *numbers.shape[:2]))[:, :, 0].astype(np.float64)
    if np.ptp(grey) < 1:
        raise DataError(f"the picture {path} has a single shade and shows no digit")
    steps = []
    if _border(grey) > (grey.min() + grey.max()) / 2:
        grey = 255 - grey
        steps.append("inverted to white on black")
    if grey.shape != (_EDGE, _EDGE):
        grey = _centred(grey)
        steps.append("cropped, scaled and centred")
    return _Picture(path, np.clip(np.rint(grey), 0, 255).astype(np.uint8)[None], ", ".join(steps))


def _border(grey: Array) -> float:
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _centred(grey: Array) -> Array:
    paper = np.median(grey)
    if paper > (grey.min() + grey.max()) / 2:
        paper = _border(grey)  # the digit fills most of the picture, so the median is ink
    grey = (grey - paper).clip(0)
    grey *= 255 / grey.max()
    is_ink = grey >= 255 * _INK
    ink_rows = np.flatnonzero(is_ink.any(axis=1))
    ink_columns = np.flatnonzero(is_ink.any(axis=0))
    digit = grey[ink_rows[0] : ink_rows[-1] + 1, ink_columns[0] : ink_columns[-1] + 1]
    scale = _BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    picture = Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    small_digit = np.asarray(picture).clip(0, 255)
    image = np.zeros((_EDGE, _EDGE))
    top = _start(small_digit, axis=0)
    left = _start(small_digit, axis=1)
    image[top : top + height, left : left + width] = small_digit
    return image


def _start(digit: Array, axis: int) -> int:
    extent = digit.shape[axis]
    centre = float((digit.sum(axis=1 - axis) * np.arange(extent)).sum() / digit.sum())
    return int(min(max(round(_EDGE / 2 - 0.5 - centre), 0), _EDGE - extent))

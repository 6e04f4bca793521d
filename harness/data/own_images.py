"""A person's own pictures of digits, made into images such as MNIST has: white on black, 28x28, centred."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.system.errors import DataError, UsageError, reason

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm")
EDGE = 28
# A digit of MNIST was scaled into a box of 20 pixels, and its centre of mass put in the middle of 28 (LeCun and others,
# "Gradient-based learning applied to document recognition", 1998, section III).
BOX = 20
# Ink is what is at least so much of the brightest pixel; less is paper, noise or the halo of a JPEG.
INK = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class OwnImage:
    """One picture, ready for a network.

    Attributes:
        pixels: uint8 (28, 28), white on black.
        done: what was done to it, for people; empty where it was taken as it is.
    """

    path: Path
    pixels: np.ndarray[Any, Any]
    done: str


def own_images(place: Path) -> tuple[list[OwnImage], list[DataError]]:
    """Return the picture, or those of a folder in order of their names, and why others of the folder are left out.

    Raises:
        UsageError: there is no such file or folder, or the folder has no picture.
        DataError: the file is no picture, or an empty one; so is every one of the folder.
    """
    if not place.exists():
        raise UsageError(f"--images {place}: there is no such file or folder")
    if not place.is_dir():
        return [own_image(place)], []
    paths = sorted(path for path in place.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        raise UsageError(f"--images {place}: the folder has no picture ({', '.join(ENDINGS)})")
    found: list[OwnImage] = []
    faults: list[DataError] = []
    for path in paths:
        try:
            found.append(own_image(path))
        except DataError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    return found, faults


def own_image(path: Path) -> OwnImage:
    """Return one picture as MNIST would have it.

    What is white on black and 28x28 already is taken as it is. Else paper that is brighter than ink is turned over, the
    digit is cut out, scaled into a box of 20 pixels and put with its centre of mass in the middle.

    Raises:
        DataError: the file is no picture, or all of it is one shade.
    """
    try:
        with Image.open(path) as picture:
            # A phone stores what its sensor saw, and beside it which side is up.
            upright = ImageOps.exif_transpose(picture)
            # What is transparent is paper, and paper is white.
            flat = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
            grey = np.asarray(flat.convert("L"), dtype=np.float64)
    except UnidentifiedImageError as error:
        raise DataError(f"cannot read the picture {path}: it is in no format that Pillow knows") from error
    except (OSError, Image.DecompressionBombError, ValueError) as error:
        raise DataError(f"cannot read the picture {path}: {reason(error)}") from error
    if np.ptp(grey) < 1:
        raise DataError(f"the picture {path} is all of one shade: there is no digit in it")
    done = []
    if _border(grey) > (grey.min() + grey.max()) / 2:
        grey, done = 255 - grey, ["turned to white on black"]
    if grey.shape != (EDGE, EDGE):
        grey = _centred(grey)
        done.append("cut out, scaled and centred")
    return OwnImage(path, np.clip(np.rint(grey), 0, 255).astype(np.uint8), ", ".join(done))


def _border(grey: np.ndarray[Any, Any]) -> float:
    """Return the shade at the edges of a picture, (rows, columns)."""
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _centred(grey: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the digit of a picture, (rows, columns) white on black, in an image of 28x28."""
    paper = np.median(grey)
    if paper > (grey.min() + grey.max()) / 2:
        paper = _border(grey)  # The digit fills most of the picture.
    grey = (grey - paper).clip(0)
    grey *= 255 / grey.max()
    rows, columns = (np.flatnonzero((grey >= 255 * INK).any(axis=axis)) for axis in (1, 0))
    digit = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    size = (max(1, round(digit.shape[1] * scale)), max(1, round(digit.shape[0] * scale)))
    small = np.asarray(Image.fromarray(digit.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)).clip(0, 255)
    centre = [float((small.sum(axis=1 - axis) * np.arange(small.shape[axis])).sum() / small.sum()) for axis in (0, 1)]
    image = np.zeros((EDGE, EDGE))
    top, left = (
        min(max(round(EDGE / 2 - 0.5 - middle), 0), EDGE - extent)
        for middle, extent in zip(centre, small.shape, strict=True)
    )
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image

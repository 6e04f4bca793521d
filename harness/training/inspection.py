"""What one verified seed made of the test images, kept for people to look at; no decision ever rests on it.

The images of a test set are behind a lock (``testset``). A verification opens it anyway, so it leaves here what a
report wants to show: the images that were classed wrongly, how sure the network was, and its first kernels.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import ContentError

# Networks that are right in 99 % are nearly always sure, so the classes of confidence narrow towards 1.
CONFIDENCE_EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One wrong test image.

    Attributes:
        image: its index; ``label`` the class it has, ``said`` the one it was given.
        confidence: the probability that the network gave to ``said``.
        pixels: as ``packed`` returns them.
    """

    image: int
    label: int
    said: int
    confidence: float
    pixels: str


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """The images of which the network was that sure: its highest probability lies above ``low``, up to ``high``."""

    low: float
    high: float
    images: int
    right: int
    mean: float


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One seed, looked at.

    Attributes:
        weights_sha256: of the weights that were looked at, as in the record.
        label_counts: test images of each class.
        image_shape: rows and columns.
        confidences: all test images by how sure the network was; classes without images are left out.
        kernel_edge: rows of a kernel of the first convolution, 0 where the network begins otherwise.
        kernels: the first convolution's kernels, row by row.
    """

    hash: str
    recipe_hash: str
    dataset: str
    data_hash: str
    seed_index: int
    weights_sha256: str
    label_counts: tuple[int, ...]
    image_shape: tuple[int, int]
    misses: tuple[Miss, ...]
    confidences: tuple[Confidence, ...]
    kernel_edge: int
    kernels: tuple[tuple[float, ...], ...]
    schema_version: Literal[1] = 1


def path_of(runs: Path, row: str, seed_index: int) -> Path:
    """Return the file of one seed of a row; ``row`` is the name of the record's file without its ending."""
    return runs / ".inspections" / row / f"seed-{seed_index:04d}.json"


def write(path: Path, inspection: Inspection) -> None:
    """Write one seed's file, whole or not at all."""
    files.write_json(path, asdict(inspection))


def read_inspections(runs: Path, row: str) -> list[Inspection]:
    """Return what is there of a row, in order of the seeds; a row without any has an empty list.

    Raises:
        ContentError: a file does not hold an inspection.
    """
    found = []
    for path in sorted(path_of(runs, row, 0).parent.glob("seed-*.json")):
        found.append(read_as(Inspection, path, f"the inspection {path}"))
        rows, columns = found[-1].image_shape
        if any(len(unpacked(miss.pixels)) != rows * columns for miss in found[-1].misses):
            raise ContentError(f"{path} holds an image that is not of {rows} x {columns} pixels; remove the file")
    return found


def packed(pixels: bytes) -> str:
    """Return pixels, a byte each, as a short text.

    >>> unpacked(packed(bytes(784))) == bytes(784)
    True
    """
    return base64.b64encode(zlib.compress(pixels, 9)).decode("ascii")


def unpacked(text: str) -> bytes:
    """Return the pixels of such a text; nothing where it is damaged."""
    try:
        return zlib.decompress(base64.b64decode(text, validate=True))
    except (ValueError, zlib.error):
        return b""

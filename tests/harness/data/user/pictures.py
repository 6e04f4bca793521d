"""Images of three classes, and writers of the source formats."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.datasets import Dataset
from harness.data.testset import read_test_set
from harness.data.training_images import load

CLASSES = ("cat", "dog", "ox")


def pictures(count: int = 20, seed: int = 0, upper: int = 256) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, upper, (3 * count, 5, 7)).astype(np.uint8), np.repeat(CLASSES, count)


def as_folder(folder: Path, images: np.ndarray, labels: np.ndarray, ending: str = ".png") -> Path:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{index}{ending}")
    return folder


def as_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def as_idx(folder: Path, images: np.ndarray, labels: np.ndarray, part: str, form: str = "{}-{}-{}-ubyte.gz") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for kind, number, array in (("images", "idx3", images), ("labels", "idx1", labels.astype(np.uint8))):
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        path = folder / form.format(part, kind, number)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return folder


def all_images(spec: Dataset, log: Path) -> list[tuple[int, bytes]]:
    """Return class and pixels of the images of all parts, sorted."""
    data = load(spec.name)
    locked, labels = read_test_set(data, purpose="a test", log=log)
    parts = [(data.train_images, data.train_labels), (locked, labels)]
    return sorted(
        (int(kind), image.numpy().tobytes())
        for images, kinds in parts
        for image, kind in zip(images, kinds, strict=True)
    )

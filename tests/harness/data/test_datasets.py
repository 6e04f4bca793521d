"""Published facts of data sets, compared with the files and with torchvision."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from harness.data.datasets import DATASETS, dataset
from harness.data.training_images import find, import_torchvision, load

FILED = [name for name, spec in DATASETS.items() if spec.all_files]


@pytest.mark.parametrize("name", FILED)
def test_files_and_md5_sums_equal_torchvision(name: str):
    spec = dataset(name)
    reference = getattr(import_torchvision().datasets, spec.folder.partition("/")[0])
    assert [(f"{file.name}.gz", file.gzip_md5) for file in spec.all_files] == reference.resources
    assert spec.folder == f"{reference.__name__}/raw"
    assert len(reference.classes) == spec.classes


@pytest.mark.nightly
@pytest.mark.parametrize("name", FILED)
def test_mean_and_deviation_equal_training_images(name: str, mnist_folder):
    spec = dataset(name)
    if not (mnist_folder / spec.folder).is_dir():
        pytest.skip(f"HARNESS_DATA has no {spec.folder}")
    counts = np.bincount(load(name, mnist_folder).train_images.numpy().ravel(), minlength=256)
    shades = np.arange(256) / 255
    mean = np.average(shades, weights=counts)
    assert spec.mean == pytest.approx((mean,), abs=5e-5)
    assert spec.std == pytest.approx((np.average((shades - mean) ** 2, weights=counts) ** 0.5,), abs=5e-5)


def test_debian_fashion_mnist_equals_published_files_except_headers():
    """With file name and time in the headers the ``.gz`` files have the published MD5 sums."""
    spec, folder = DATASETS["fashion-mnist"], Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    for file in spec.all_files:
        content = (folder / f"{file.name}.gz").read_bytes()
        seconds = 1504176606 if file.name.startswith("train") else 1504176627
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", seconds) + b"\0\x03" + file.name.encode() + b"\0"

        assert hashlib.md5(header + content[10:]).hexdigest() == file.gzip_md5
    assert find(spec, None) == folder

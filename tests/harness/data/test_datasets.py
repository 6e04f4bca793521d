from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from harness.data.datasets import DATASETS, dataset
from harness.data.training_images import find, import_torchvision, training_arrays

FILED = [name for name, spec in DATASETS.items() if not spec.embedded]


@pytest.mark.parametrize("name", FILED)
def test_files_and_md5_sums_are_those_of_torchvision(name: str):
    spec = dataset(name)
    theirs = getattr(import_torchvision().datasets, spec.folder.partition("/")[0])
    assert [(f"{file.name}.gz", file.gzip_md5) for file in spec.all_files] == theirs.resources
    assert spec.folder == f"{theirs.__name__}/raw"
    assert len(theirs.classes) == spec.classes


@pytest.mark.parametrize("name", FILED)
def test_mean_and_deviation_are_those_of_the_training_images(name: str, mnist_folder):
    spec = dataset(name)
    if not (mnist_folder / spec.folder).is_dir():
        pytest.skip(f"HARNESS_DATA has no {spec.folder}")
    counts = np.bincount(training_arrays(spec, find(spec, mnist_folder))[0].ravel(), minlength=256)
    shades = np.arange(256) / 255
    mean = np.average(shades, weights=counts)
    assert spec.mean == pytest.approx((mean,), abs=5e-5)
    assert spec.std == pytest.approx((np.average((shades - mean) ** 2, weights=counts) ** 0.5,), abs=5e-5)


def test_facts_and_checks_need_no_torch():
    program = "import sys, harness.data.training_images, harness.commands.doctor; sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "torch was loaded"

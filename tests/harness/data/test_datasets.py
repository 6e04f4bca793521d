from __future__ import annotations

import subprocess
import sys

import pytest

from harness.data.data_files import read_verified
from harness.data.datasets import DATASETS, dataset
from harness.data.torchvision_import import import_torchvision
from harness.system.errors import UsageError

FILED = [name for name, spec in DATASETS.items() if not spec.embedded]


def test_the_four_data_sets_are_known():
    assert list(DATASETS) == ["mnist", "fashion-mnist", "kmnist", "mnist-5k"]
    assert all(dataset(name).name == name for name in DATASETS)


@pytest.mark.parametrize("name", FILED)
def test_the_split_uses_all_training_images_and_keeps_the_published_test_set(name: str):
    spec = dataset(name)

    assert (spec.train_size, spec.validation_size, spec.test_size) == (50_000, 10_000, 10_000)
    assert [file.shape[0] for file in spec.all_files] == [60_000, 60_000, 10_000, 10_000]


def test_mnist_5k_is_divided_into_4000_500_and_500():
    spec = dataset("mnist-5k")

    assert (spec.train_size, spec.validation_size, spec.test_size) == (4_000, 500, 500)


def test_the_target_of_mnist_is_that_of_the_project():
    assert dataset("mnist").target_pct == 99.4


@pytest.mark.parametrize("name", FILED)
def test_files_and_md5_sums_are_those_of_torchvision(name: str):
    spec = dataset(name)
    theirs = getattr(import_torchvision().datasets, spec.torchvision_class)

    assert [(f"{file.name}.gz", file.gzip_md5) for file in spec.all_files] == theirs.resources
    assert spec.folder == f"{theirs.__name__}/raw"
    assert len(theirs.classes) == spec.classes


@pytest.mark.parametrize("name", FILED)
def test_mean_and_deviation_are_those_of_the_training_images(name: str, mnist_folder):
    np = pytest.importorskip("numpy")
    spec = dataset(name)
    if not (mnist_folder / spec.folder).is_dir():
        pytest.skip(f"HARNESS_DATA has no {spec.folder}")
    pixels = np.frombuffer(read_verified(mnist_folder / spec.folder, spec.training_files[0])[0], np.uint8)
    pixels = pixels / 255

    assert spec.mean == pytest.approx((pixels.mean(),), abs=5e-5)
    assert spec.std == pytest.approx((pixels.std(),), abs=5e-5)


@pytest.mark.parametrize(("given", "nearest"), [("fasion-mnist", "fashion-mnist"), ("MNIST", "mnist")])
def test_an_unknown_name_is_answered_with_the_known_ones_and_the_nearest(given: str, nearest: str):
    with pytest.raises(UsageError) as caught:
        dataset(given)

    assert caught.value.message == (
        f"unknown data set {given!r}: known are mnist, fashion-mnist, kmnist, mnist-5k; did you mean {nearest}?"
    )


def test_a_name_near_to_none_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"^unknown data set 'xyz': known are .*mnist-5k$"):
        dataset("xyz")


def test_facts_and_checks_need_no_torch():
    program = "import sys, harness.data.data_check, harness.commands.data; sys.exit('torch' in sys.modules)"

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr or "torch was loaded"

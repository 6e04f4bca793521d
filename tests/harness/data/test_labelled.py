"""Other labelled images: QMNIST's further test digits, and folders with two IDX files."""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data import labelled
from harness.data.data_files import MissingData
from harness.data.datasets import DATASETS
from harness.data.labelled import QMNIST, labelled_images
from harness.data.torchvision_import import import_torchvision
from harness.system.errors import DataError, UsageError
from tests.harness.data.test_download import LIMIT_SECONDS, mirror, slow_mirror, stall

MNIST = DATASETS["mnist"]
IMAGES, LABELS = "qmnist-test-images-idx3-ubyte.gz", "qmnist-test-labels-idx2-int.gz"
KINDS = {"uint8": "08", "int32": "0c"}


def idx(values: np.ndarray) -> bytes:
    """The format of http://yann.lecun.com/exdb/mnist: 0, 0, kind, rank, sizes, then the numbers, most weight first."""
    header = f"0000{KINDS[str(values.dtype)]}{values.ndim:02x}" + "".join(f"{size:08x}" for size in values.shape)
    return bytes.fromhex(header) + values.astype(values.dtype.newbyteorder(">")).tobytes()


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 28, 28), dtype=np.uint8)


@pytest.fixture
def qmnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """QMNIST's two files with ten images, the first four of which are MNIST's; torchvision knows their MD5."""
    # Class, series, writer, number, and four more that look like classes.
    labels = np.array([[place % 10, 4, 2100 + place, place, 7, 7, 0, 300_000] for place in range(10)], dtype=np.int32)
    packed = {IMAGES: gzip.compress(idx(digits(10))), LABELS: gzip.compress(idx(labels))}
    monkeypatch.setattr(labelled, "_MNISTS_OWN", 4)
    listed(monkeypatch, packed, "http://127.0.0.1:9/")
    return packed


def listed(monkeypatch: pytest.MonkeyPatch, packed: dict[str, bytes], address: str) -> None:
    sums = [(address + name, hashlib.md5(content).hexdigest()) for name, content in packed.items()]
    monkeypatch.setattr(import_torchvision().datasets.QMNIST, "resources", {"test": sums})


def placed(folder: Path, packed: dict[str, bytes]) -> Path:
    (folder / "QMNIST" / "raw").mkdir(parents=True)
    for name, content in packed.items():
        (folder / "QMNIST" / "raw" / name).write_bytes(content)
    return folder


# QMNIST ---------------------------------------------------------------------------------------------------------


def test_qmnist_is_what_follows_mnist_s_own_images_and_its_class_the_first_column(
    qmnist: dict[str, bytes], tmp_path: Path
):
    found = labelled_images(QMNIST, MNIST, placed(tmp_path, qmnist))

    assert (found.name, found.pixels.dtype, found.labels.dtype) == (QMNIST, torch.uint8, torch.int64)
    assert found.pixels.shape == (6, 1, 28, 28)
    assert np.array_equal(found.pixels[:, 0].numpy(), digits(10)[4:])
    assert found.labels.tolist() == [4, 5, 6, 7, 8, 9]
    little_endian = b"".join(label.to_bytes(8, "little") for label in range(4, 10))
    assert found.sha256 == hashlib.sha256(digits(10)[4:].tobytes() + little_endian).hexdigest()


def test_mnist_s_own_images_are_the_size_of_its_test_set():
    assert MNIST.test_size == labelled._MNISTS_OWN


def test_the_names_of_qmnist_s_files_are_torchvision_s():
    listed_there = [url.rpartition("/")[2] for url, _ in import_torchvision().datasets.QMNIST.resources["test"]]

    assert listed_there == [IMAGES, LABELS]


def test_a_folder_that_lacks_a_file_is_told_where_it_is_and_nothing_is_fetched(
    qmnist: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(labelled, "fetch", None)
    placed(tmp_path, {IMAGES: qmnist[IMAGES]})

    with pytest.raises(MissingData, match=rf"{LABELS} is missing$") as caught:
        labelled_images(QMNIST, MNIST, tmp_path)

    assert caught.value.hint == f"it is at http://127.0.0.1:9/{LABELS}"


@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_a_file_of_another_md5_is_refused_though_it_can_be_read(name: str, qmnist: dict[str, bytes], tmp_path: Path):
    other = gzip.compress(gzip.decompress(qmnist[name]), compresslevel=1, mtime=1)
    placed(tmp_path, {**qmnist, name: other})

    with pytest.raises(DataError) as caught:
        labelled_images(QMNIST, MNIST, tmp_path)

    due, found = (hashlib.md5(content).hexdigest() for content in (qmnist[name], other))
    assert caught.value.message.endswith(f"{name} is damaged or another file: its MD5 should be {due} and is {found}")
    assert caught.value.hint == "remove it"


def test_what_is_no_file_is_refused(qmnist: dict[str, bytes], tmp_path: Path):
    (tmp_path / "QMNIST" / "raw" / IMAGES).mkdir(parents=True)

    with pytest.raises(DataError, match=rf"^cannot read .*{IMAGES}: Is a directory$"):
        labelled_images(QMNIST, MNIST, tmp_path)


def test_without_a_folder_it_is_fetched_once_and_kept(
    qmnist: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[str] = []
    with mirror(qmnist, asked) as address:
        listed(monkeypatch, qmnist, address)
        first = labelled_images(QMNIST, MNIST, None)
        second = labelled_images(QMNIST, MNIST, None)

    assert asked == [f"/{IMAGES}", f"/{LABELS}"]
    assert first.sha256 == second.sha256
    assert {path.name: path.read_bytes() for path in (cache / "QMNIST" / "raw").iterdir()} == qmnist
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("(at most 20 s)\n")) == ("", 2)


def test_what_came_and_is_another_file_is_not_kept(
    qmnist: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
):
    with mirror({IMAGES: b"<html>moved</html>"}) as address:
        listed(monkeypatch, qmnist, address)
        with pytest.raises(MissingData, match="file is damaged or another file: its MD5 should be"):
            labelled_images(QMNIST, MNIST, None)

    assert not list(cache.rglob("qmnist*"))


def cut_short(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(1000)
    connection.sendall(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("behave", [None, cut_short])
def test_no_network_is_one_line_that_says_where_to_put_the_file(
    behave: Callable[[socket.socket, threading.Event], None] | None,
    qmnist: dict[str, bytes],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def told() -> MissingData:
        with pytest.raises(
            MissingData, match=rf"^{QMNIST} could not be fetched from http://.*{IMAGES} in \d s: ."
        ) as got:
            labelled_images(QMNIST, MNIST, None)
        return got.value

    if behave is None:
        error = told()
        assert "Connection refused" in error.message
    else:
        with slow_mirror(behave) as address:
            listed(monkeypatch, qmnist, address)
            error = told()

    assert "\n" not in error.message.strip()
    assert (error.hint or "").startswith(f"place the file at {cache / 'QMNIST' / 'raw' / IMAGES}, or name a folder")


def test_a_server_that_dawdles_is_cut_at_the_limit(
    qmnist: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(labelled, "MIRROR_SECONDS", LIMIT_SECONDS)

    with slow_mirror(stall) as address:
        listed(monkeypatch, qmnist, address)
        began = time.monotonic()
        with pytest.raises(MissingData, match="time"):
            labelled_images(QMNIST, MNIST, None)
        assert time.monotonic() - began < LIMIT_SECONDS + 2


def test_a_missing_torchvision_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "torchvision", None)

    with pytest.raises(MissingData, match=r"^qmnist-50k: torchvision, which knows its files, is missing"):
        labelled_images(QMNIST, MNIST, tmp_path)


# A folder of IDX files ----------------------------------------------------------------------------------------------


def pair(folder: Path, images: np.ndarray, labels: np.ndarray, *, packed: bool = False) -> str:
    folder.mkdir(exist_ok=True)
    for name, values in (("mine-images-idx3-ubyte", images), ("mine-labels-idx1-ubyte", labels)):
        content = idx(values)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return str(folder)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_a_folder_of_two_files_is_read_packed_or_not(packed: bool, kind: type, tmp_path: Path):
    name = pair(tmp_path / "a", digits(7), np.arange(3, 10, dtype=kind), packed=packed)
    (tmp_path / "a" / "README").write_text("images")

    found = labelled_images(name, MNIST, None)

    assert found.name == "a"
    assert np.array_equal(found.pixels[:, 0].numpy(), digits(7))
    assert found.labels.tolist() == list(range(3, 10))


def test_the_digest_is_of_the_content_and_not_of_how_it_is_stored(tmp_path: Path):
    labels = np.arange(7, dtype=np.uint8)
    stored = [pair(tmp_path / "a", digits(7), labels), pair(tmp_path / "b", digits(7), labels.astype(np.int32))]
    stored.append(pair(tmp_path / "c", digits(7), labels[::-1].copy()))

    first, same, other = (labelled_images(name, MNIST, None).sha256 for name in stored)

    assert first == same != other


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (np.zeros((3, 27, 28), np.uint8), np.zeros(3, np.uint8), "has images of (27, 28) uint8"),
        (np.zeros((3, 28, 28), np.int32), np.zeros(3, np.uint8), "has images of (28, 28) >i4"),
        (np.zeros((3, 784), np.uint8), np.zeros(3, np.uint8), "has images of (784,) uint8"),
        (np.zeros((3, 28, 28), np.uint8), np.zeros(4, np.uint8), "has 3 images and labels of shape (4,)"),
        (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8), "has 0 images and labels of shape (0,)"),
        (np.zeros((3, 28, 28), np.uint8), np.zeros((3, 0), np.uint8), "has 3 images and labels of shape (3, 0)"),
        (np.zeros((3, 28, 28), np.uint8), np.zeros((3, 1, 1), np.uint8), "has 3 images and labels of shape (3, 1, 1)"),
        (np.zeros((3, 28, 28), np.uint8), np.array([0, 10, 2], np.uint8), "has labels from 0 to 10; mnist has 0 to 9"),
        (np.zeros((3, 28, 28), np.uint8), np.array([0, -1, 2], np.int32), "has labels from -1 to 2; mnist has 0 to 9"),
    ],
)
def test_images_or_labels_that_do_not_fit_are_refused(
    images: np.ndarray, labels: np.ndarray, told: str, tmp_path: Path
):
    with pytest.raises(DataError, match=re.escape(told)):
        labelled_images(pair(tmp_path / "a", images, labels), MNIST, None)


def test_a_data_set_with_colours_takes_no_grey_images(tmp_path: Path):
    colour = replace(MNIST, image_shape=(3, 28, 28))

    with pytest.raises(DataError, match="has images of"):
        labelled_images(pair(tmp_path / "a", digits(2), np.zeros(2, np.uint8)), colour, None)


GOOD = idx(np.zeros((2, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        pytest.param("", b"", id="empty"),
        pytest.param("", b"\0\0", id="two bytes"),
        pytest.param("", b"\x89PNG\r\n\x1a\n" + bytes(100), id="PNG"),
        pytest.param("", b"\1" + GOOD[1:], id="begins otherwise"),
        pytest.param("", GOOD[:-1], id="too short"),
        pytest.param("", GOOD + b"\0", id="too long"),
        pytest.param("", GOOD[:3] + b"\xff" + GOOD[4:], id="255 axes"),
        pytest.param("", b"\0\0\x0d" + GOOD[3:], id="floats"),
        pytest.param(".gz", GOOD, id="not packed"),
        pytest.param(".gz", gzip.compress(GOOD)[:-12], id="cut"),
        pytest.param(".gz", gzip.compress(GOOD)[:10] + b"\xff" * 20, id="cannot be unpacked"),
    ],
)
def test_what_is_no_idx_file_is_refused_in_one_line(ending: str, content: bytes, tmp_path: Path):
    name = pair(tmp_path / "a", digits(2), np.zeros(2, np.uint8))
    (tmp_path / "a" / "mine-images-idx3-ubyte").unlink()
    (tmp_path / "a" / f"mine-images-idx3-ubyte{ending}").write_bytes(content)

    with pytest.raises(DataError, match=r"mine-images-idx3-ubyte.* is damaged, or no IDX file: .") as caught:
        labelled_images(name, MNIST, None)

    assert "\n" not in caught.value.message


def test_a_folder_with_too_many_or_too_few_files_is_refused(tmp_path: Path):
    name = pair(tmp_path / "a", digits(2), np.zeros(2, np.uint8))
    (tmp_path / "a" / "your-labels-idx1-ubyte").touch()

    with pytest.raises(DataError, match="holds 2 IDX files of labels"):
        labelled_images(name, MNIST, None)

    (tmp_path / "a" / "mine-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="holds 0 IDX files of images"):
        labelled_images(name, MNIST, None)


@pytest.mark.parametrize("name", ["qmnist", "no/such/folder", "file"])
def test_another_name_is_refused_with_what_is_known(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"give qmnist-50k, or a folder with an IDX file"):
        labelled_images(name, MNIST, None)

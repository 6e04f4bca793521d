"""Images outside of a data set: QMNIST, folders of IDX files, and pictures of a user."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from harness.data import other_images
from harness.data.datasets import DATASETS
from harness.data.other_images import labelled_images, pictures_at
from harness.data.training_images import import_torchvision
from harness.system.errors import DataError, UsageError
from tests.factories import idx
from tests.fakes import mirror

MNIST = DATASETS["mnist"]


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def qmnist_files(monkeypatch: pytest.MonkeyPatch, address: str) -> dict[str, bytes]:
    """Return QMNIST files of 10,006 images, the last six not in MNIST; torchvision accepts the MD5 sums."""
    images = np.concatenate([np.zeros((10_000, 28, 28), np.uint8), digits(6)])
    # Class, series, writer, number, and four further columns that look like classes.
    labels = np.array([[index % 10, 4, 2100, index, 7, 7, 0, 300_000] for index in range(4, 10_010)], dtype=np.int32)
    contents = {"images": gzip.compress(idx(images)), "labels": gzip.compress(idx(labels))}
    kind = import_torchvision().datasets.QMNIST
    files = {}
    sums = []
    for (url, _), content in zip(kind.resources["test"], contents.values(), strict=True):
        files[url.rpartition("/")[2]] = content
        sums.append((address + url.rpartition("/")[2], hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(kind, "resources", {"test": sums})
    return files


def test_qmnist_is_fetched_once_and_excludes_images_of_mnist(cache: Path, monkeypatch: pytest.MonkeyPatch):
    contents: dict[str, bytes] = {}
    with mirror(contents) as address:
        contents.update(qmnist_files(monkeypatch, address))
        first = labelled_images("qmnist-50k", DATASETS["mnist-5k"], None)
    second = labelled_images("qmnist-50k", MNIST, None)

    assert (first.name, first.pixels.dtype, first.labels.dtype) == ("qmnist-50k", torch.uint8, torch.int64)
    assert np.array_equal(first.pixels[:, 0].numpy(), digits(6))
    assert first.labels.tolist() == [4, 5, 6, 7, 8, 9]
    little_endian = b"".join(label.to_bytes(8, "little") for label in range(4, 10))
    assert first.sha256 == second.sha256 == hashlib.sha256(digits(6).tobytes() + little_endian).hexdigest()


def write_pair(folder: Path, images: np.ndarray, labels: np.ndarray, *, packed: bool = False) -> str:
    folder.mkdir(exist_ok=True)
    for name, values in (("mine-images-idx3-ubyte", images), ("mine-labels-idx1-ubyte", labels)):
        content = idx(values)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return str(folder)


@pytest.mark.parametrize(("packed", "kind"), [(False, np.uint8), (True, np.int32)])
def test_folder_of_two_files_is_read_and_digest_covers_content(packed: bool, kind: type, tmp_path: Path):
    labels = np.arange(3, 10)
    name = write_pair(tmp_path / "a", digits(7), labels.astype(kind), packed=packed)
    (tmp_path / "a" / "README").write_text("images")

    images = labelled_images(name, MNIST, None)

    assert images.name == "a"
    assert np.array_equal(images.pixels[:, 0].numpy(), digits(7))
    assert images.labels.tolist() == list(range(3, 10))
    assert images.sha256 == hashlib.sha256(digits(7).tobytes() + labels.astype("<i8").tobytes()).hexdigest()


GREY = np.zeros((3, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.full((3, 28, 28), 999, np.int32), np.zeros(3, np.uint8)),
        (np.zeros((3, 784), np.uint8), np.zeros(3, np.uint8)),
        (GREY, np.zeros(4, np.uint8)),
        (GREY[:0], np.zeros(0, np.uint8)),
        (GREY, np.zeros((3, 2), np.uint8)),
        (np.zeros((3, 27, 28), np.uint8), np.zeros(3, np.uint8)),
        (GREY, np.array([0, 10, 2], np.uint8)),
        (GREY, np.array([0, -1, 2], np.int32)),
    ],
)
def test_unsuitable_images_or_labels_are_rejected(images: np.ndarray, labels: np.ndarray, tmp_path: Path):
    with pytest.raises(DataError):
        labelled_images(write_pair(tmp_path / "a", images, labels), MNIST, None)


VALID_IDX = idx(GREY)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        pytest.param("", b"", id="empty"),
        pytest.param("", b"\x89PNG\r\n\x1a\n" + bytes(100), id="PNG"),
        pytest.param("", VALID_IDX[:-1], id="too short"),
        pytest.param("", b"\0\0\x0d" + VALID_IDX[3:], id="floats"),
        pytest.param(".gz", gzip.compress(VALID_IDX)[:-12], id="cut"),
    ],
)
def test_invalid_idx_file_is_rejected_in_one_line(ending: str, content: bytes, tmp_path: Path):
    name = write_pair(tmp_path / "a", GREY, np.zeros(3, np.uint8))
    (tmp_path / "a" / "mine-images-idx3-ubyte").unlink()
    (tmp_path / "a" / f"mine-images-idx3-ubyte{ending}").write_bytes(content)
    with pytest.raises(DataError) as excinfo:
        labelled_images(name, MNIST, None)
    assert "\n" not in excinfo.value.message


def test_unknown_name_is_rejected(tmp_path: Path):
    write_pair(tmp_path / "a", GREY, np.zeros(3, np.uint8))
    for unknown in ("qmnist", str(tmp_path / "none"), str(tmp_path / "a" / "mine-labels-idx1-ubyte")):
        with pytest.raises(UsageError):
            labelled_images(unknown, MNIST, None)


def user_picture(path: Path) -> other_images._Picture:
    """Return the only picture of a path."""
    [[picture], _] = pictures_at(path, DATASETS["mnist"])
    return dataclasses.replace(picture, pixels=picture.pixels[0])


def save(path: Path, grey: np.ndarray) -> Path:
    Image.fromarray(grey).save(path)
    return path


def like_mnist() -> np.ndarray:
    """Return a digit-like picture: 28 x 28, white on black, with an empty border."""
    grey = np.zeros((28, 28), np.uint8)
    grey[4:24, 10:16] = np.random.default_rng(2).integers(100, 256, (20, 6))
    return grey


def seven(size: tuple[int, int], corner: tuple[int, int], edge: int, ink: int, paper: int) -> Image.Image:
    """Return a picture with a seven of height ``edge``; the stroke has a tenth of the height."""
    picture = Image.new("L", size, paper)
    (left, top), width = corner, edge // 10
    bar = [(left, top), (left + edge * 2 // 3, top)]
    ImageDraw.Draw(picture).line([*bar, (left + edge // 4, top + edge)], ink, width, "curve")
    return picture


def centre_of_mass(pixels: np.ndarray) -> tuple[float, float]:
    """Return row and column of the centre of mass; the centre of 28 pixels is 13.5."""
    weight = pixels.astype(np.float64) / pixels.sum()
    return float((weight.sum(1) * np.arange(28)).sum()), float((weight.sum(0) * np.arange(28)).sum())


def extent(pixels: np.ndarray) -> tuple[int, int]:
    """Return the number of rows and columns between the outermost pixels with ink."""
    return tuple(int(np.ptp(np.flatnonzero(pixels.max(axis) > 60))) + 1 for axis in (1, 0))  # type: ignore[return-value]


@pytest.mark.parametrize(("grey", "remark"), [(like_mnist(), ""), (255 - like_mnist(), "inverted to white on black")])
def test_picture_like_mnist_is_kept_or_inverted(grey: np.ndarray, remark: str, tmp_path: Path):
    picture = user_picture(save(tmp_path / "a.png", grey))
    assert np.array_equal(picture.pixels, like_mnist())
    assert (picture.pixels.dtype, picture.conversions, picture.path) == (np.uint8, remark, tmp_path / "a.png")


@pytest.mark.parametrize(("ink", "paper"), [(30, 215), (240, 20)])
@pytest.mark.parametrize("corner", [(60, 50), (500, 20)])
def test_digit_in_large_picture_is_scaled_to_20_pixels_and_centred(
    ink: int, paper: int, corner: tuple[int, int], tmp_path: Path
):
    picture = seven((640, 480), corner, 150, ink, paper)
    # Uneven light and the noise of a camera.
    noise = np.random.default_rng(1).normal(0, 3, (480, 640)) + np.linspace(-8, 8, 640)
    grey = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)

    image = user_picture(save(tmp_path / "photo.png", grey))

    assert image.pixels.shape == (28, 28)
    assert image.pixels.max() >= 250
    rows, columns = extent(image.pixels)
    assert (19 <= rows <= 21, 10 <= columns <= 16) == (True, True)
    # Pictures are shifted by whole pixels.
    assert all(abs(middle - 13.5) <= 0.75 for middle in centre_of_mass(image.pixels))
    assert image.conversions.endswith("cropped, scaled and centred")
    assert image.conversions.startswith("inverted") == (paper > ink)


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_pictures_for_other_known_data_sets_are_kept_or_refused(name: str, tmp_path: Path):
    spec, grey = DATASETS[name], np.zeros((28, 28), np.uint8)
    grey[3:27, 2:20] = np.random.default_rng(0).integers(1, 256, (24, 18))  # off the centre
    coloured = np.dstack([grey, grey, grey // 2])
    for form in (grey, np.dstack([grey] * 3)):
        [[picture], _] = pictures_at(save(tmp_path / "a.png", form), spec)
        assert np.array_equal(picture.pixels[0], grey)
        assert picture.conversions == ""
    for image in (
        255 - grey,
        grey[:27],
        np.kron(grey, np.ones((2, 2), np.uint8)),
        coloured,
        grey.astype(np.uint16) * 257,
    ):
        with pytest.raises(DataError, match=f"{name} were prepared"):
            pictures_at(save(tmp_path / "a.png", image), spec)


def test_rotated_photograph_is_set_upright(tmp_path: Path):
    upright = seven((300, 200), (100, 20), 150, 0, 255)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the first row is the right side (Exif 2.3, table 6).
    upright.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
    assert np.array_equal(user_picture(tmp_path / "phone.png").pixels, user_picture(tmp_path / "upright.png").pixels)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I;16"])
def test_pictures_of_all_modes_are_read(mode: str, tmp_path: Path):
    picture = seven((300, 200), (100, 20), 150, 0, 255)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        save(path, np.asarray(picture).astype(np.uint16) * 257)
    else:
        picture.convert(mode).save(path)

    assert 19 <= extent(user_picture(path).pixels)[0] <= 21


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), 0, 128, 255])
def test_invalid_or_uniform_picture_is_rejected_in_one_line(content: bytes | int, tmp_path: Path):
    if isinstance(content, bytes):
        (tmp_path / "a.png").write_bytes(content)
    else:
        save(tmp_path / "a.png", np.full((50, 40), content, np.uint8))

    with pytest.raises(DataError) as excinfo:
        user_picture(tmp_path / "a.png")

    assert "\n" not in excinfo.value.message


def test_folder_gives_pictures_by_name_and_reports_unreadable_files(tmp_path: Path):
    for name in ("b.PNG", "a.png", "c.bmp"):
        save(tmp_path / name, like_mnist())
    (tmp_path / "notes.txt").write_text("which digit is which")
    (tmp_path / "torn.png").write_bytes(b"no picture")

    pictures, faults = pictures_at(tmp_path, DATASETS["mnist"])

    assert [picture.path.name for picture in pictures] == ["a.png", "b.PNG", "c.bmp"]
    assert [name in fault.message for name, fault in zip(("torn.png", "notes.txt"), faults, strict=True)] == [True] * 2
    for picture in pictures:
        picture.path.unlink()
    with pytest.raises(DataError):
        pictures_at(tmp_path, DATASETS["mnist"])
    (tmp_path / "torn.png").unlink()
    with pytest.raises(UsageError) as refusal:
        pictures_at(tmp_path, DATASETS["mnist"])
    assert "--on" in refusal.value.one_line
    with pytest.raises(UsageError):
        pictures_at(tmp_path / "none", DATASETS["mnist"])

"""Near-duplicate images: detection, and placement on the same side of every division."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from harness.data import user
from harness.data.user.near_duplicates import _copy_levels, _near_pairs, near_keys
from harness.data.user.values import digests
from harness.system.errors import DataError
from tests.harness.data.user.pictures import CLASSES
from tests.harness.data.user.test_divisions import sides

RANDOM = np.random.default_rng(0)


def scenes(count: int, channels: int = 1, side: int = 28, seed: int = 0) -> np.ndarray:
    """Return images of eight random rectangles, uint8 of shape (count, channels, side, side)."""
    random = np.random.default_rng(seed)
    images = np.zeros((count, channels, side, side), np.uint8)
    for image in images:
        for _ in range(8):
            top, left, height, width = random.integers(1, side // 2, 4)
            image[:, top : top + height, left : left + width] = random.integers(0, 256, (channels, 1, 1))
    return images


def recompress(images: np.ndarray) -> np.ndarray:
    copies = np.empty_like(images)
    for image, copy in zip(images, copies, strict=True):
        for channel, target in zip(image, copy, strict=True):
            file = io.BytesIO()
            Image.fromarray(channel).save(file, "JPEG", quality=95)
            target[:] = np.asarray(Image.open(file))
    return copies


def change_pixel(images: np.ndarray) -> np.ndarray:
    copies = images.copy()
    copies[:, :, 5, 5] ^= 1
    return copies


def add_noise(images: np.ndarray) -> np.ndarray:
    return (images.astype(int) + RANDOM.integers(-3, 4, images.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [change_pixel, add_noise, recompress, lambda images: np.roll(images, 1, 2)])
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 40), (1, 130)])
def test_near_duplicates_are_pairs(change: Callable[[np.ndarray], np.ndarray], channels: int, side: int):
    images = scenes(60, channels, side)
    near = _near_pairs(np.concatenate([images, change(images)]), np.arange(120))[0]
    pairs = {(first, second - 60) for first, second in near.tolist()}

    assert pairs >= {(index, index) for index in range(60)}


def brighten(images: np.ndarray, levels: int) -> np.ndarray:
    return (images.astype(int) + levels).clip(0, 255).astype(np.uint8)


def enhance(images: np.ndarray, factor: float) -> np.ndarray:
    enhanced = [[ImageEnhance.Brightness(Image.fromarray(each)).enhance(factor) for each in image] for image in images]
    return np.array(enhanced)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda images: images[..., ::-1],
    "upside down": lambda images: images[..., ::-1, :],
    "turned by 180 degrees": lambda images: np.rot90(images, 2, (2, 3)),
    "brighter by a level": lambda images: brighten(images, 1),
    "brighter": lambda images: brighten(images, 6),
    "darker": lambda images: brighten(images, -20),
    "factor of brightness": lambda images: enhance(images, 0.8),
    "mirrored, brighter and saved again": lambda images: recompress(brighten(images, 6)[..., ::-1]),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(("channels", "rows", "columns"), [(1, 28, 28), (3, 40, 24), (1, 130, 130)])
def test_changed_copies_share_keys_unless_classes_differ(name: str, channels: int, rows: int, columns: int):
    # Grey levels from 20 to 220, so that few pixels reach the end of the range.
    images = (scenes(40, channels, max(rows, columns))[:, :, :rows, :columns] * (200 / 255) + 20).astype(np.uint8)
    all_images = np.concatenate([images, CHANGES[name](images)])
    labels = np.arange(80) % 4
    labels[-8:] += 1
    keys = near_keys(all_images, digests(all_images), labels).keys

    is_joined = keys[:40] == keys[40:]
    # A difference of a level is an ordinary near-duplicate, which may have a wrong label.
    assert is_joined.tolist() == [True] * 32 + [name == "brighter by a level"] * 8
    assert len(np.unique(keys)) == 80 - is_joined.sum()


def test_quarter_turns_are_copies_and_other_changes_are_not():
    images = scenes(40, side=32)
    changes = [
        np.rot90(images, 1, (2, 3)),
        np.roll(images, 2, 3),
        np.array([[np.asarray(Image.fromarray(image[0]).rotate(5))] for image in images]),
        255 - images,
        (images * 0.5).astype(np.uint8),
    ]
    counts = []
    for changed_images in changes:
        all_images = np.concatenate([images, changed_images])
        keys = near_keys(all_images, digests(all_images), np.arange(80) % 4).keys
        counts.append(int((keys[:40] == keys[40:]).sum()))

    assert counts[0] == 40
    assert max(counts[1:]) <= 1


def test_mirrored_classes_are_no_copies():
    # Pictures of b are mirrored pictures of d, and a picture of either class is seldom a mirrored picture of its class.
    images = scenes(60)
    all_images = np.concatenate([images, images[..., ::-1], images[:3] // 2, images[:3, :, :, ::-1] // 2])
    labels = np.array([0, 1]).repeat(60).tolist() + [0] * 6
    keys = near_keys(all_images, digests(all_images), np.array(labels)).keys

    assert len(np.unique(keys)) == len(all_images)


def test_pairs_equal_comparison_of_all_images():
    images = scenes(40)
    all_images = np.concatenate([images, add_noise(images[:20]), add_noise(images[:5])])
    # Reference: root mean square difference of each pair for all shifts, over the overlap, in NumPy.
    padded = np.pad(all_images.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    expected: dict[tuple[int, int], float] = {}
    for first in range(len(all_images)):
        for down in (0, 1, 2):
            for right in (0, 1, 2):
                shifted_image = padded[:, :, down : down + 28, right : right + 28]
                distance = np.sqrt(np.nanmean((shifted_image - all_images[first]) ** 2, axis=(1, 2, 3)))
                for second in range(first + 1, len(all_images)):
                    least = min(distance[second], expected.get((first, second), math.inf))
                    expected[first, second] = float(least)
    expected = {pair: distance for pair, distance in expected.items() if distance <= 5}

    pairs, differences = _near_pairs(all_images, np.arange(len(all_images)))
    assert {
        (first, second): pytest.approx(difference)
        for (first, second), difference in zip(pairs.tolist(), differences, strict=True)
    } == expected
    assert len(expected) >= 25


SCENES = scenes(50)


@pytest.mark.parametrize("images", [SCENES, np.zeros_like(SCENES), SCENES[:, :, :1], SCENES[:, :, :5, :5]])
def test_different_images_blank_images_and_series_are_no_pairs(images: np.ndarray):
    assert len(_near_pairs(images, np.arange(len(images)))[0]) == 0


def test_near_duplicates_stay_on_one_side_and_are_counted(tmp_path: Path):
    images = scenes(120)
    all_images = np.concatenate([images, change_pixel(images)])
    spec = user.Data.from_arrays("twins", all_images[:, 0], np.array(CLASSES)[np.arange(240) % 3])

    assert any("240 near-duplicate images stay" in remark for remark in spec.remarks)
    for first, second in sides(spec, tmp_path / "log"):
        # Without the changed pixel.
        assert not {image[:145] + image[146:] for image in first} & {image[:145] + image[146:] for image in second}


def test_parts_with_near_duplicates_are_rejected_unless_allowed():
    images = scenes(120)
    labels = np.array(CLASSES)[np.arange(120) % 3]
    parts = (images[:, 0], labels, change_pixel(images[:30])[:, 0], labels[:30])

    with pytest.raises(DataError, match="30 of 30 test images are nearly equal to images of the train part"):
        user.Data.from_arrays("twins", *parts)
    assert "nearly equal" in user.Data.from_arrays("twins", *parts, allow_overlap=True).overlap


def test_chains_of_near_duplicates_stay_on_one_side(tmp_path: Path):
    # Thirty bursts: thirteen frames that rise by a grey level each, and nine copies of the last frame.
    images = np.repeat(scenes(30, side=24) // 2 + 20, 22, axis=0)
    images += np.tile(np.minimum(np.arange(22), 12), 30)[:, None, None, None].astype(np.uint8)
    spec = user.Data.from_arrays("bursts", images[:, 0], np.repeat(np.array(CLASSES)[np.arange(30) % 3], 22))

    for first, second in sides(spec, tmp_path / "log"):
        assert not {_scene(image) for image in first} & {_scene(image) for image in second}


def _scene(image: bytes) -> bytes:
    """Return the common content of all frames of a burst: the difference of each pixel from the first pixel."""
    pixels = np.frombuffer(image, np.uint8)
    return bytes((pixels - pixels[0]).tobytes())


def test_remark_states_division_of_mostly_near_duplicates():
    # Static camera: small defects on a constant background.
    images = np.tile(scenes(1, side=64)[0, 0], (200, 1, 1))
    for image, (row, column) in zip(images[100:], RANDOM.integers(0, 60, (100, 2)), strict=True):
        image[row : row + 3, column : column + 3] ^= 90
    images += RANDOM.integers(0, 2, images.shape).astype(np.uint8)
    spec = user.Data.from_arrays("camera", images, np.array(CLASSES)[:2].repeat(100))

    assert any("BOTH SIDES" in remark for remark in spec.remarks)


@pytest.mark.parametrize("copy_count", [0, 60])
def test_similar_pictures_of_different_classes_are_no_near_duplicates(copy_count: int):
    # Low contrast: 60 pictures of random classes that differ by about 4 levels of noise from one of four pictures.
    base = scenes(4, side=16)[:, 0] // 4 + 100
    images = np.concatenate([_noisy(picture, 60, 2.8) for picture in base])
    labels = np.array(CLASSES)[RANDOM.integers(0, 3, len(images))]
    copies = images[:copy_count] + (RANDOM.random((copy_count, 16, 16)) < 0.2)
    spec = user.Data.from_arrays(
        "faint", np.concatenate([images, copies]), np.concatenate([labels, labels[:copy_count]])
    )

    remarks = [remark for remark in spec.remarks if "near-duplicate image" in remark]
    assert [remark.split()[0] for remark in remarks] == ["120"] * bool(copy_count)
    assert any("not counted as near-duplicates" in remark for remark in spec.remarks)


def _noisy(picture: np.ndarray, count: int, deviation: float) -> np.ndarray:
    noise = RANDOM.normal(0, deviation, (count, *picture.shape))
    return np.rint(picture + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("wrong_labels", [0.0, 0.05, 0.1, 0.15])
def test_copies_with_wrong_labels_are_near_duplicates(wrong_labels: float):
    # Differences as after JPEG; two of ten classes of a pair are equal by chance.
    random = np.random.default_rng(1)
    for _ in range(50):
        differences = random.normal(3, 0.8, 400).clip(0.1, 5)
        assert _copy_levels(differences, random.random(400) < wrong_labels, 0.9) == 5


def test_the_difference_of_copies_separates_copies_from_similar_pictures():
    # Copies differ by at most 2 levels; similar pictures by 2 to 5, with classes that differ as in all pairs.
    random = np.random.default_rng(1)
    differences = np.concatenate([random.uniform(0, 2, 300), random.uniform(2, 5, 3_000)])
    for chance in (0.9, 0.5, 0.04):
        has_other_class = (differences > 2) & (random.random(3_300) < chance)
        assert _copy_levels(differences, has_other_class, chance) == 2
        assert _copy_levels(differences[300:], has_other_class[300:], chance) == 0

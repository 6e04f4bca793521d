"""Values of images: equal to Pillow and NumPy in all sources, and conversion to pixels."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import user
from harness.data.other_images import labelled_images
from harness.data.user import values
from harness.spaces.notation import parse_network
from harness.system.errors import DataError
from harness.training.pixels import RawInputNetwork
from harness.training.torch_network import build
from tests.harness.data.user.pictures import all_images, as_folder, as_npz, pictures

RANDOM = np.random.default_rng(3)
GREY = RANDOM.integers(0, 256, (6, 5), np.uint8)
COLOUR = RANDOM.integers(0, 256, (6, 5, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (6, 5), np.uint8)
# Blended with a white background.
FLAT = np.rint(COLOUR * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255))


def palette(transparent: int | None = None) -> Image.Image:
    image = Image.fromarray(GREY % 4).convert("P")
    image.putpalette([200, 0, 0, 0, 150, 0, 0, 0, 100, 9, 9, 9])
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


PALETTE = np.array([[200, 0, 0], [0, 150, 0], [0, 0, 100], [9, 9, 9]])[GREY % 4]
HOLE = np.where((GREY % 4 == 1)[..., None], 255, PALETTE)
WIDE = (GREY.astype(np.uint16) * 16, GREY.astype(np.uint16) * 257)
SIGNED, FLOATS = GREY.astype(np.int32) * 1000 - 9000, GREY.astype(np.float32) / 255 - 0.5
LAYERED = np.dstack([COLOUR, ALPHA])
PICTURES: list[tuple[str, Any, Any]] = [
    *[(ending, GREY, GREY) for ending in (".png", ".bmp", ".tif", ".tiff", ".pgm", ".gif", ".tga", ".PNG")],
    *[(ending, COLOUR, COLOUR) for ending in (".png", ".bmp", ".tif", ".ppm", ".pnm", ".tga", ".TIFF")],
    *[(ending, GREY > 99, np.where(GREY > 99, 255, 0)) for ending in (".png", ".tif", ".pbm", ".bmp")],
    *[(ending, WIDE[1], WIDE[1]) for ending in (".png", ".tif", ".pgm")],
    (".png", WIDE[0], WIDE[0]),
    (".tif", Image.frombytes("I;16B", (5, 6), WIDE[0].astype(">u2").tobytes()), WIDE[0]),
    (".tif", SIGNED, SIGNED),
    (".tif", FLOATS, FLOATS),
    (".pfm", FLOATS, FLOATS),
    (".png", LAYERED, FLAT),
    (".tif", LAYERED, FLAT),
    (".webp", np.dstack([COLOUR, np.full_like(ALPHA, 255)]), COLOUR),
    (".png", np.dstack([GREY, ALPHA]), np.rint(GREY * (ALPHA / 255) + 255 * (1 - ALPHA / 255))),
    (".png", palette(), PALETTE),
    (".gif", palette(), PALETTE),
    (".tif", palette(), PALETTE),
    (".png", palette(1), HOLE),
    (".gif", palette(1), HOLE),
]


@pytest.mark.parametrize(("ending", "source", "reference"), PICTURES)
def test_image_of_every_mode_has_stored_numbers(ending: str, source: Any, reference: Any, tmp_path: Path):
    image = source if isinstance(source, Image.Image) else Image.fromarray(source)
    options: dict[str, Any] = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
    options |= {"lossless": True} if ending == ".webp" else {}
    image.save(tmp_path / f"a{ending}", **options)
    numbers, is_transparent, _ = values.picture(tmp_path / f"a{ending}")

    expected = reference[..., None] if reference.ndim == 2 else reference
    assert numbers.shape == expected.shape
    # Pillow rounds differently when it blends images.
    margin = 1 if reference is FLAT or (isinstance(source, np.ndarray) and source.shape[2:] == (2,)) else 0
    assert np.abs(numbers.astype(float) - expected).max() <= margin
    assert is_transparent == (reference is HOLE or margin == 1)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("ending", [".jpg", ".jpe", ".jfif", ".jpeg", ".tif"])
def test_colour_modes_equal_pillow(mode: str, ending: str, tmp_path: Path):
    Image.fromarray(COLOUR).convert(mode).save(tmp_path / f"a{ending}")
    with Image.open(tmp_path / f"a{ending}") as image:
        assert np.array_equal(values.picture(tmp_path / f"a{ending}")[0], np.asarray(image.convert("RGB")))


def test_rotated_image_is_upright_and_further_frames_are_counted(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side (Exif 2.3, table 6)
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    Image.fromarray(np.rot90(GREY)).save(tmp_path / "phone.png", exif=exif)
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])

    assert np.array_equal(values.picture(tmp_path / "phone.png")[0][..., 0], GREY)
    assert np.array_equal(values.picture(tmp_path / "scan.tif")[0][..., 0], GREY)
    assert values.picture(tmp_path / "scan.tif")[2] == 1


@pytest.mark.parametrize("content", [None, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n", b"", b"%PDF-1.4\n"])
def test_unsupported_format_is_rejected(content: bytes | None, tmp_path: Path):
    # Pillow would read PCX in spite of the ending, as well as formats that start external programs.
    Image.fromarray(GREY).save(tmp_path / "a.png", format="PCX")
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="cannot read the picture"):
        values.picture(tmp_path / "a.png")


SOURCES = {
    "bytes": lambda images: images,
    "12 bits": lambda images: images.astype(np.uint16) * 16,
    "16 bits": lambda images: images.astype(np.uint16) * 257,
    "int32": lambda images: images.astype(np.int32) * 70_000 - 5,
    "floats": lambda images: (images / 255).astype(np.float32),
    "signed floats": lambda images: (images / 128 - 1).astype(np.float32),
    "dark": lambda images: images // 16,
}


@pytest.mark.parametrize("shape", [None, (1, 9, 9), (3, 5, 7)])
@pytest.mark.parametrize("kind", SOURCES)
def test_images_and_arrays_with_equal_numbers_are_equal_data_sets(kind: str, shape: Any, tmp_path: Path):
    images, labels = pictures()
    numbers = SOURCES[kind](images)
    folder = as_folder(tmp_path / "a", numbers, labels, ".tif")
    arrays = as_npz(tmp_path / "a.npz", X=numbers, y=labels)
    spec = user.Data.from_arrays("a", numbers.astype(np.float64), labels, shape=shape)

    assert user.Data.read(folder, shape) == user.Data.read(arrays, shape) == spec
    if shape is None:
        low, high = (np.array(limit)[:, None, None] for limit in (spec.low, spec.high))
        expected = np.clip(np.rint(255 * (numbers[:, None].astype(np.float64) - low) / (high - low)), 0, 255)
        images_of_parts = all_images(spec, tmp_path / "log")
        number = {label: index for index, label in enumerate(spec.class_names)}
        assert images_of_parts == sorted(
            (number[label], image.astype(np.uint8).tobytes()) for image, label in zip(expected, labels, strict=True)
        )


def test_bytes_are_resized_like_pillow(tmp_path: Path):
    images, _ = pictures()
    image = Image.fromarray(images[0])
    assert np.array_equal(
        values.resized(images[0][..., None], (1, 9, 4))[..., 0],
        np.asarray(image.resize((4, 9), Image.Resampling.BILINEAR)),
    )
    assert np.array_equal(values.resized(COLOUR, (1, 6, 5))[..., 0], np.asarray(Image.fromarray(COLOUR).convert("L")))


@pytest.mark.parametrize(
    ("least", "most", "low", "high"),
    [(0, 255, 0, 255), (3, 200, 0, 255), (0, 1, 0, 1), (0.1, 0.9, 0, 1), (0, 16, 0, 16), (-1, 1, -1, 1),
     (0, 0.003, 0, 0.003), (0, 4095, 0, 4095), (0.5, 300, 0.5, 300)],
)  # fmt: skip
def test_range_follows_training_values(least: float, most: float, low: float, high: float):
    is_integer = float(least).is_integer() and float(most).is_integer()
    block = np.linspace(least, most, 64).reshape(4, 1, 4, 4)
    block = np.rint(block) if is_integer else block
    scale = values.Scale.fitted([block[:2], block[2:]])

    assert [scale.low[0], scale.high[0]] == pytest.approx([low, high])


def test_range_is_independent_of_test_part():
    images, labels = pictures(upper=60)
    spec = user.Data.from_arrays("a", images, labels, np.minimum(images + 40, 99) + 1, labels)

    assert (spec.low, spec.high) == ((float(images.min()),), (float(images.max()),))


SERIES = np.random.default_rng(0).normal(size=(60, 30)) * 2
BYTES = pictures()[0].astype(np.int64)


@pytest.mark.parametrize(
    ("numbers", "other_numbers"),
    [(BYTES, BYTES / 255), (BYTES / 255, BYTES), (SERIES, 255 * np.abs(SERIES)), (SERIES, SERIES / 500),
     (BYTES, BYTES - 300.0), (BYTES * 16, BYTES * 4000)],
)  # fmt: skip
def test_numbers_of_different_scale_are_rejected(numbers: np.ndarray, other_numbers: np.ndarray):
    labels = pictures()[1]
    spec = user.Data.from_arrays("a", numbers, labels)
    with pytest.raises(DataError):
        user.pixels_of(spec, other_numbers)
    with pytest.raises(DataError):
        user.Data.from_arrays("a", numbers, labels, other_numbers + 1e-9, labels)

    assert user.pixels_of(spec, numbers[:1]).dtype == np.uint8
    assert user.pixels_of(spec, numbers[:5] * 0 + numbers.min()).max() == 0


def test_outlier_that_dominates_range_is_reported():
    numbers = SERIES.copy()
    assert user.Data.from_arrays("a", numbers, pictures()[1]).remarks == ()
    numbers[9, 3] = 4000

    spec = user.Data.from_arrays("a", numbers, np.repeat(["a", "b"], 30), shape=None, allow_overlap=True)
    assert any("4000" in remark for remark in spec.remarks)


@pytest.mark.parametrize("shape", [None, (1, 4, 4)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_finite_numbers_without_finite_squares_are_refused(part: str, shape: Any):
    images, labels = pictures()
    large = images * 1e300
    with warnings.catch_warnings(action="error"), pytest.raises(DataError, match="too large"):
        user.Data.from_arrays("a", large if part == "train" else images, labels, large // 2, labels, shape=shape)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a")])
def test_remark_on_outliers_is_independent_of_order_of_classes(names: tuple[str, ...]):
    numbers = np.random.default_rng(0).normal(size=(900, 30))
    numbers[:600] *= np.linspace(1, 4000, 30)  # in the first two classes the numbers fill the range
    remarks = user.Data.from_arrays("a", numbers, np.repeat(names, 300)).remarks

    assert remarks == ()


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [((60, 3, 20, 20), None, (3, 20, 20)), ((60, 20, 20, 3), None, (3, 20, 20)), ((60, 8, 8), None, (1, 8, 8)),
     ((60, 12, 40), None, (1, 12, 40)), ((60, 60, 20), None, (1, 60, 20)),
     ((60, 3, 16, 16), None, None), ((60, 1, 8, 8), None, None), ((60, 8, 8, 1), None, None),
     ((60, 3, 16, 16), "first", (3, 16, 16)), ((60, 3, 16, 16), "last", (16, 3, 16)), ((60, 20, 20, 20), None, None),
     ((60, 20, 20, 20), "last", None), ((60, 30), None, (1, 1, 30)), ((60, 3, 30), "first", (3, 1, 30)),
     ((60, 30, 3), "last", (3, 1, 30)), ((60, 28, 28), "last", None), ((60,), "last", None),
     ((60, 8, 8, 3), "none", None)],
)  # fmt: skip
def test_channels_are_inferred_or_required(shape: tuple[int, ...], channels: str | None, expected: Any):
    numbers = np.random.default_rng(0).integers(0, 256, shape)
    labels = np.arange(60) % 3
    for source in (numbers, numbers.tolist()):  # an array, and nested lists
        if expected is None:
            with pytest.raises(DataError):
                user.Data.from_arrays("a", source, labels, channels=channels)
            continue
        spec = user.Data.from_arrays("a", source, labels, channels=channels)

        assert spec.image_shape == expected
        # Further images have the same channels.
        assert user.pixels_of(spec, source).shape == (60, *expected)


def test_reading_uses_less_than_four_bytes_of_memory_per_pixel(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (4000, 32, 32), np.uint8)
    path = as_npz(tmp_path / "a.npz", X=images, y=np.arange(4000) % 4)
    user.Data.from_arrays("warm", images[:50], np.arange(50) % 2)
    tracemalloc.start()
    user.Data.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * images.nbytes


def test_archive_of_zeros_is_rejected(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((1300, 256, 256), np.uint8), y=np.arange(1300) % 2)
    with pytest.raises(DataError, match="compression ratio of"):
        user.Data.read(tmp_path / "a.npz")


def test_transparent_parts_are_reported(tmp_path: Path):
    shades = GREY // np.arange(1, 21, dtype=np.uint8)[:, None, None]
    layered = np.stack([shades, np.broadcast_to(ALPHA, shades.shape)], axis=-1)
    [remark] = user.Data.read(as_folder(tmp_path / "a", layered, np.arange(20) % 2)).remarks

    assert "20 pictures with transparent parts" in remark


# Scales of the same pictures, dark as digits are.
DARK = np.where(np.random.default_rng(4).random((60, 9, 8)) < 0.2, pictures()[0][:, 0, 0][:, None, None], 0).astype(int)
DARK[:, 0, 0], DARK[:, 4, 4] = 0, 255
SCALES: dict[str, Any] = {
    "fractions": DARK / 255,
    "from -1 to 1": DARK / 127.5 - 1,
    "standardised": (DARK / 255 - 0.1307) / 0.3081,
    "0 to 15": DARK // 17,
    "bytes": DARK,
    "bytes as uint8": DARK.astype(np.uint8),
    "0 to 1,008": DARK * 1008 // 255,
    "12 bits": DARK * 16,
    "16 bits": DARK * 257,
}
DARK_LABELS = np.arange(60) % 3


def _doubts(action: Callable[[], Any]) -> bool:
    """Return whether an action refuses numbers, warns, or states a remark."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        try:
            result = action()
        except DataError:
            return True
    return bool(issued) or "SCALES" in " ".join(getattr(result, "remarks", ()))


def _through_all_doors(folder: Path, fitted: Any, numbers: Any) -> dict[str, bool]:
    """Return by door whether the scale of ``numbers`` is doubted, where ``fitted`` is the training part."""
    folder.mkdir()
    spec = user.Data.from_arrays("a", fitted[::2], DARK_LABELS[::2])
    arrays = {"x": fitted[::2], "y": DARK_LABELS[::2]}
    others = {"x_{}": numbers[1::2], "y_{}": DARK_LABELS[1::2]}
    parts = {part: {key.format(part): value for key, value in others.items()} for part in ("val", "test")}
    for part, content in parts.items():
        as_npz(folder / f"{part}.npz", **arrays, **content)
    as_npz(folder / "on.npz", X=numbers[1::2], y=DARK_LABELS[1::2])
    torch_parts = [
        [(torch.from_numpy(np.asarray(image))[None], index % 3) for index, image in enumerate(images)]
        for images in (fitted, numbers)
    ]
    for part, rows in (("TRAIN", fitted[::2]), ("TEST", numbers[1::2])):
        lines = [f"{','.join(map(repr, row.ravel().tolist()))}:{index % 3}" for index, row in enumerate(rows)]
        (folder / f"s_{part}.ts").write_text("@data\n" + "\n".join(lines))
    network = parse_network("linear(3)", spec.task)
    raw_network = RawInputNetwork(build(network, spec.task), spec).eval()
    return {
        "arrays": _doubts(lambda: user.Data.from_arrays("b", **arrays, x_test=numbers[1::2], y_test=DARK_LABELS[1::2])),
        "npz, test": _doubts(lambda: user.Data.read(folder / "test.npz")),
        "npz, validation": _doubts(lambda: user.Data.read(folder / "val.npz")),
        "torch": _doubts(lambda: user.Data.from_torch("t", torch_parts[0][::2], torch_parts[1][1::2])),
        "series": _doubts(lambda: user.Data.read(folder / "s_TRAIN.ts")),
        "predict": _doubts(lambda: user.pixels_of(spec, numbers[1::2])),
        "load": _doubts(lambda: raw_network(torch.from_numpy(numbers[1::2].copy()))),
        "evaluate --on": _doubts(lambda: labelled_images(str(folder / "on.npz"), spec, None)),
    }


@pytest.mark.parametrize("fitted", SCALES)
def test_different_scale_is_doubted_at_each_door_in_both_directions(fitted: str, tmp_path: Path):
    for index, (name, numbers) in enumerate(SCALES.items()):
        is_same = name == fitted or {name, fitted} == {"bytes", "bytes as uint8"}
        doors = _through_all_doors(tmp_path / str(index), SCALES[fitted], numbers)
        assert set(doors.values()) == {not is_same}, (fitted, name, doors)


@pytest.mark.parametrize(
    ("fitted", "numbers", "is_certain"),
    [
        ("bytes", DARK[:1] / 255, True),
        ("bytes", DARK[:1] // 17, False),
        ("bytes", (DARK[:1] / 255 - 0.1307) / 0.3081, True),
        ("bytes", DARK[:1] + 0.25, None),
        ("bytes", DARK[:1] * 0, None),
        ("fractions", DARK[:1] / 255, None),
        ("fractions", DARK[:1] / 1020, False),
        ("standardised", DARK[:1] / 255, False),
        ("12 bits", DARK[:1].astype(np.uint8), True),
        ("12 bits", DARK[:1], False),
        ("0 to 15", DARK[:1] / 255, False),
        ("0 to 1,008", DARK / 255, True),
        ("bytes", DARK / 2.55, False),
        ("from -1 to 1", DARK / 255 - 0.5, False),
    ],
)
def test_single_pictures_are_refused_only_if_scale_is_impossible(fitted: str, numbers: Any, is_certain: bool | None):
    spec = user.Data.from_arrays("a", SCALES[fitted], DARK_LABELS)
    fault = values.Scale(*map(np.array, spec.number_range)).fault(numbers[:, None], np.array(spec.std))

    assert (fault and fault.is_certain) is is_certain

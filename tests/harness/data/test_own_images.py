"""A person's own pictures of digits, made like MNIST's: white on black, in a box of 20, their weight in the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from harness.data.own_images import ENDINGS, own_image, own_images
from harness.system.errors import DataError, UsageError


def saved(path: Path, grey: np.ndarray) -> Path:
    Image.fromarray(grey).save(path)
    return path


def like_mnist() -> np.ndarray:
    """White on black, 28x28, nothing on the border."""
    grey = np.zeros((28, 28), np.uint8)
    grey[4:24, 10:16] = np.random.default_rng(2).integers(100, 256, (20, 6))
    return grey


def seven(size: tuple[int, int], corner: tuple[int, int], edge: int, ink: int, paper: int) -> Image.Image:
    """A seven of that height in a large picture, a stroke of a tenth of it."""
    picture = Image.new("L", size, paper)
    (left, top), width = corner, edge // 10
    bar = [(left, top), (left + edge * 2 // 3, top)]
    ImageDraw.Draw(picture).line([*bar, (left + edge // 4, top + edge)], ink, width, "curve")
    return picture


def centre_of_mass(pixels: np.ndarray) -> tuple[float, float]:
    """Row and column, 13.5 in the middle of 28."""
    weight = pixels.astype(np.float64) / pixels.sum()
    return float((weight.sum(1) * np.arange(28)).sum()), float((weight.sum(0) * np.arange(28)).sum())


def box(pixels: np.ndarray) -> tuple[int, int]:
    """Rows and columns that hold any ink."""
    return tuple(int(np.ptp(np.flatnonzero(pixels.max(axis) > 60))) + 1 for axis in (1, 0))  # type: ignore[return-value]


def test_a_picture_as_mnist_has_it_is_left_alone(tmp_path: Path):
    found = own_image(saved(tmp_path / "a.png", like_mnist()))

    assert np.array_equal(found.pixels, like_mnist())
    assert (found.pixels.dtype, found.done, found.path) == (np.uint8, "", tmp_path / "a.png")


def test_black_on_white_is_turned(tmp_path: Path):
    found = own_image(saved(tmp_path / "a.png", 255 - like_mnist()))

    assert np.array_equal(found.pixels, like_mnist())
    assert found.done == "turned to white on black"


@pytest.mark.parametrize(("ink", "paper"), [(30, 215), (0, 255), (240, 20)])
@pytest.mark.parametrize("corner", [(60, 50), (500, 20), (330, 240)])
def test_a_digit_anywhere_in_a_large_picture_is_scaled_to_a_box_of_20_and_centred(
    ink: int, paper: int, corner: tuple[int, int], tmp_path: Path
):
    picture = seven((640, 480), corner, 150, ink, paper)
    # Light that falls from one side, and the noise of a camera.
    noise = np.random.default_rng(1).normal(0, 3, (480, 640)) + np.linspace(-8, 8, 640)
    grey = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)

    found = own_image(saved(tmp_path / "photo.png", grey))

    assert found.pixels.shape == (28, 28)
    assert found.pixels.max() >= 250
    rows, columns = box(found.pixels)
    assert (19 <= rows <= 21, 10 <= columns <= 16) == (True, True)
    # The place of an image is whole pixels.
    assert all(abs(middle - 13.5) <= 0.75 for middle in centre_of_mass(found.pixels))
    assert found.done.endswith("cut out, scaled and centred")
    assert found.done.startswith("turned") == (paper > ink)


def test_a_wide_stroke_keeps_its_shape(tmp_path: Path):
    grey = np.full((100, 300), 255, np.uint8)
    grey[45:55, 50:250] = 0

    found = own_image(saved(tmp_path / "minus.png", grey))

    assert box(found.pixels) == (1, 20)


def test_a_digit_whose_weight_is_far_from_its_middle_stays_inside(tmp_path: Path):
    grey = np.zeros((400, 400), np.uint8)
    grey[10:390, 180:220] = 255
    grey[330:390, 20:380] = 255

    found = own_image(saved(tmp_path / "a.png", grey))

    assert box(found.pixels)[0] == 20
    # As far up as there is room.
    assert found.pixels[0].max() > 60


def test_what_is_transparent_is_white_paper(tmp_path: Path):
    alpha = np.asarray(seven((200, 200), (60, 30), 120, 255, 0))
    # All of it is black; only how much of it one sees makes the digit.
    drawn = np.dstack([np.zeros_like(alpha)] * 3 + [alpha])
    Image.fromarray(drawn, "RGBA").save(tmp_path / "drawn.png")
    saved(tmp_path / "flat.png", 255 - alpha)

    found, flat = own_image(tmp_path / "drawn.png"), own_image(tmp_path / "flat.png")

    assert np.array_equal(found.pixels, flat.pixels)
    assert found.done.startswith("turned")


def test_colours_become_grey(tmp_path: Path):
    picture = seven((200, 200), (60, 30), 120, 0, 255).convert("RGB")
    blue = np.asarray(picture).copy()
    blue[..., 2] = 255
    Image.fromarray(blue).save(tmp_path / "blue.png")

    found = own_image(tmp_path / "blue.png")

    assert 19 <= box(found.pixels)[0] <= 21


def test_a_photograph_that_was_taken_sideways_is_set_upright(tmp_path: Path):
    upright = seven((300, 200), (100, 20), 150, 0, 255)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the first row is the right side (Exif 2.3, table 6).
    upright.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)

    assert np.array_equal(own_image(tmp_path / "phone.png").pixels, own_image(tmp_path / "upright.png").pixels)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I;16"])
def test_pictures_of_every_kind_are_read(mode: str, tmp_path: Path):
    picture = seven((300, 200), (100, 20), 150, 0, 255)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        saved(path, np.asarray(picture).astype(np.uint16) * 257)
    else:
        picture.convert(mode).save(path)

    assert 19 <= box(own_image(path).pixels)[0] <= 21


def test_a_bold_digit_may_fill_most_of_the_picture(tmp_path: Path):
    grey = np.zeros((120, 100), np.uint8)
    grey[6:114, 6:94] = 255

    assert box(own_image(saved(tmp_path / "a.png", grey)).pixels) == (20, 16)


def test_a_dark_frame_around_the_paper_is_no_crash(tmp_path: Path):
    grey = np.asarray(seven((300, 300), (100, 80), 150, 0, 255)).copy()
    grey[:4], grey[-4:], grey[:, :4], grey[:, -4:] = 0, 0, 0, 0

    assert own_image(saved(tmp_path / "scan.png", grey)).pixels.max() == 255


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_one_shade_has_no_digit(shade: int, tmp_path: Path):
    with pytest.raises(DataError, match=r"the picture .*a\.png is all of one shade: there is no digit in it"):
        own_image(saved(tmp_path / "a.png", np.full((50, 40), shade, np.uint8)))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused_in_one_line(content: bytes, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(DataError, match=r"^cannot read the picture .*a\.png: ") as caught:
        own_image(tmp_path / "a.png")

    assert "\n" not in caught.value.message


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "gif", "webp"])
def test_a_picture_that_was_cut_off_is_refused(share: float, ending: str, tmp_path: Path):
    path = tmp_path / f"a.{ending}"
    noise = np.random.default_rng(3).integers(0, 256, (60, 60), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(DataError, match="cannot read the picture"):
        own_image(path)


def test_a_folder_gives_its_pictures_in_order_of_their_names(tmp_path: Path):
    for name in ("b.PNG", "a.png", "c.bmp"):
        saved(tmp_path / name, like_mnist())
    (tmp_path / "notes.txt").write_text("which digit is which")

    assert [picture.path.name for picture in own_images(tmp_path)[0]] == ["a.png", "b.PNG", "c.bmp"]
    assert [picture.path.name for picture in own_images(tmp_path / "a.png")[0]] == ["a.png"]


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path: Path):
    saved(tmp_path / "a.png", like_mnist())
    saved(tmp_path / "black.png", np.zeros((28, 28), np.uint8))
    (tmp_path / "torn.png").write_bytes(b"no picture")

    found, faults = own_images(tmp_path)

    assert [picture.path.name for picture in found] == ["a.png"]
    assert ["black.png" in faults[0].message, "torn.png" in faults[1].message] == [True, True]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"black\.png"):
        own_images(tmp_path)


def test_a_folder_without_pictures_and_no_folder_are_refused(tmp_path: Path):
    (tmp_path / "notes.txt").touch()

    with pytest.raises(UsageError, match="the folder has no picture") as caught:
        own_images(tmp_path)
    assert all(ending in caught.value.message for ending in ENDINGS)
    with pytest.raises(UsageError, match="there is no such file or folder"):
        own_images(tmp_path / "none")

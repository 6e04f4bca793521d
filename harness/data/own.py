"""A person's own data: read from files or arrays, checked, parted, and kept in the workspace under the hash of it.

Whatever the source, the outcome is the same value: uint8 images (channels, rows, columns) and classes by name. What is
kept is read like any other data set, by its name, ``NAME-HASH``; two data sets of one name cannot mix. The order in
which a source lists its images has no part in it, so that a folder of pictures and an ``.npz`` of the same are the same
data set.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from harness.data.datasets import DataFile, Dataset, dataset
from harness.data.training_images import OWN_FILES, idx_array
from harness.system.document import document_of
from harness.system.errors import DataError, reason
from harness.system.files import json_text, workspace, write_together
from search_spaces.ops import Shape, shape_text

_Array: TypeAlias = np.ndarray[Any, Any]
_PARTS = {
    "train": ("train", "training"),
    "validation": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
# The keys of Keras, of MedMNIST (images and labels) and of scikit-learn's manner; a validation part may be missing.
_KEYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("X", "y"), ("X_train", "y_train")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels"), ("X_val", "y_val")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels"), ("X_test", "y_test")),
}
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_MOST_BYTES = 2**31
_MOST_CHANNELS, _MOST_CLASSES = 16, 256
# A fifth is set aside where a part is missing, as is the custom.
_SHARE = Fraction(1, 5)
# Where a class has fewer images to train on, one split says little: the fifths take turns in validating.
_FEW = 200
FOLDS = 5
_ALWAYS_TRAINED = 255
_NAMED = 10


@dataclass(slots=True, eq=False)
class _Part:
    """Images as a source has them: (images, rows, columns, channels), or a list of (rows, columns, channels)."""

    images: Any
    labels: list[str]
    names: list[str]
    groups: list[str]


def name_of(given: str, shape: Shape | None = None, group_by: str | None = None, *, balanced: bool = False) -> str:
    """Return the name of a data set of the workspace, or that under which the file or folder of this path is kept.

    Raises:
        UsageError: there is no such data set, file or folder.
        DataError: as `read` raises it.
    """
    if not os.path.exists(given) or (workspace().data(given) / "data.json").is_file():
        return dataset(given).name
    return read(Path(given), shape, group_by, balanced=balanced).name


def parts_text(spec: Dataset) -> str:
    """Return the sizes of the parts, for people."""
    turns = f" (in {spec.folds} turns)" if spec.folds > 1 else ""
    sizes = f"{spec.train_size:,} training, {spec.validation_size:,} validation{turns}"
    return f"{sizes} and {spec.test_size:,} test images{', as many of each class' * spec.balanced}"


def read(place: Path, shape: Shape | None = None, group_by: str | None = None, *, balanced: bool = False) -> Dataset:
    """Read a data set from a file or folder, keep it in the workspace, and return it.

    Args:
        place: an ``.npz`` with the keys of Keras or MedMNIST or ``X, y[, X_test, y_test]``; a folder
            ``train/CLASS/*`` (with or without ``validation`` and ``test``) or ``CLASS/*`` of pictures, or one of IDX
            files; series as ``.ts`` or UCR's ``.tsv`` (``NAME_TRAIN`` finds its ``NAME_TEST``).
        shape: (channels, rows, columns) to which images are resized.
        group_by: what stays on one side of every split: an array of the ``.npz``, or ``_`` for what stands in a file's
            name before the first ``_``.
        balanced: validate and test on as many images of each class, so that accuracy is the mean of the classes' own;
            further test images are left out, further validation images are trained on.

    Raises:
        DataError: it is none of these, or its content does not hold together.
    """
    try:
        if place.is_dir():
            parts = _of_idx(place) or _of_folders(place, group_by, shape)
        elif place.suffix == ".npz":
            parts = _of_npz(place, group_by)
        elif place.suffix in (".ts", ".tsv"):
            parts = _of_series(place)
        else:
            raise DataError(f"{place}: allowed are folders of pictures or IDX files, .npz, .ts and .tsv")
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, SyntaxError) as error:
        raise DataError(f"cannot read {place}: {' '.join(reason(error).split())}") from error
    return _kept(place.resolve().stem, parts, shape, balanced=balanced)


def from_arrays(
    name: str,
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    groups: Any = None,
    shape: Shape | None = None,
    balanced: bool = False,
) -> Dataset:
    """Keep arrays as a data set, and return it.

    Args:
        x: numbers (images, rows, columns[, channels]), or series (series, steps).
        y: a class each, integers or texts.
        x_test: what is locked; None sets a fifth of ``x`` aside.
        y_test: its classes.
        groups: one value an image; images of one value stay on one side of every split.
        balanced: as `read` has it.

    Raises:
        DataError: the arrays do not hold together.
    """
    parts = {"train": _of_arrays(x, y, "train", groups)}
    if x_test is not None:
        parts["test"] = _of_arrays(x_test, y_test, "test")
    return _kept(name, parts, shape, balanced=balanced)


def from_torch(name: str, train: Any, test: Any = None, *, shape: Shape | None = None) -> Dataset:
    """Do as `from_arrays` with torch's map-style data sets of (picture or tensor (channels, rows, columns), class)."""
    arrays: list[Any] = []
    for part in (train, test):
        if part is not None:
            pairs = [part[index] for index in range(len(part))]
            images = [np.asarray(image) for image, _ in pairs]
            if hasattr(pairs[0][0], "numpy"):
                images = [np.moveaxis(image, 0, -1) if image.ndim == 3 else image for image in images]
            names = getattr(part, "classes", None)
            labels = [int(label) for _, label in pairs]
            arrays += [images, [names[label] for label in labels] if names else labels]
    return from_arrays(name, *arrays, shape=shape)


class Data:
    """Makes data sets of one's own, which ``harness.search`` and the other functions take in place of a name."""

    from_arrays = staticmethod(from_arrays)
    from_torch = staticmethod(from_torch)
    read = staticmethod(read)


# Sources ---------------------------------------------------------------------------------------------------------


def _of_arrays(images: Any, labels: Any, part: str, groups: Any = None) -> _Part:
    flat = np.asarray(labels)
    flat = flat.reshape(-1) if flat.ndim == 2 and flat.shape[1] == 1 else flat
    if flat.ndim != 1 or (flat.dtype.kind not in "iubfU" and not all(isinstance(each, str) for each in flat)):
        raise DataError(f"labels of {part} are {flat.dtype} {flat.shape}; allowed is one integer or text an image")
    if flat.dtype.kind == "f" and not np.array_equal(flat, np.round(flat)):
        raise DataError(f"labels of {part} are fractions; allowed are integers and texts")
    told = [str(int(each)) if flat.dtype.kind in "iubf" else str(each) for each in flat]
    if len(images) != len(told):
        raise DataError(f"{part} has {len(images)} images and {len(told)} labels")
    names = [f"{part} {index}" for index in range(len(told))]
    return _Part(images, told, names, [] if groups is None else [str(each) for each in np.asarray(groups)])


def _of_npz(place: Path, group_by: str | None) -> dict[str, _Part]:
    with zipfile.ZipFile(place) as stored:
        _check_bytes(place, sum(info.file_size for info in stored.infolist()))
    parts = {}
    with np.load(place, allow_pickle=False) as arrays:
        for part, pairs in _KEYS.items():
            for images, labels in pairs:
                if images in arrays and labels in arrays:
                    groups = arrays[group_by] if group_by and part == "train" and group_by in arrays else None
                    parts[part] = _of_arrays(arrays[images], arrays[labels], part, groups)
        if "train" not in parts:
            allowed = "; ".join(f"{images}, {labels}" for images, labels in _KEYS["train"][:3])
            raise DataError(f"{place} holds {', '.join(arrays) or 'nothing'}; allowed are {allowed} (and a test part)")
    return parts


def _check_bytes(place: Path, size: int) -> None:
    if size > _MOST_BYTES:
        raise DataError(f"{place} holds {size / 2**30:.1f} GiB; at most {_MOST_BYTES // 2**30} GiB are read")


def _of_idx(folder: Path) -> dict[str, _Part]:
    """Read the pair of IDX files whose names begin with ``train``, and the one of other names."""
    found: dict[str, dict[str, _Array]] = {"train": {}, "test": {}}
    for path in sorted(path for path in folder.iterdir() if "idx" in path.name and path.is_file()):
        for kind in ("images", "labels"):
            if kind in path.name:
                found["train" if path.name.startswith("train") else "test"][kind] = _idx(path)
    return {part: _of_arrays(pair["images"], pair["labels"], part) for part, pair in found.items() if len(pair) == 2}


def _idx(path: Path) -> _Array:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        _check_bytes(path, len(file.read(_MOST_BYTES + 1)))
    return idx_array(path)[0]


def _of_folders(place: Path, group_by: str | None, shape: Shape | None) -> dict[str, _Part]:
    below = {path.name.lower(): path for path in sorted(place.iterdir()) if path.is_dir()}
    named = {part: below[name] for part, names in _PARTS.items() for name in names if name in below}
    folders = named if "train" in named else {"train": place}
    parts, size = {}, 0
    for part, folder in folders.items():
        paths = [
            (kind.name, path)
            for kind in sorted(folder.iterdir())
            if kind.is_dir() and not kind.name.startswith(".")
            for path in [kind, *sorted(kind.iterdir())]
        ]
        images, labels, names = [], [], []
        for label, path in paths:
            if not label.isprintable():
                raise DataError(f"the class {label!r} of {folder} has a name that cannot be printed")
            if not path.resolve().is_relative_to(place.resolve()):
                raise DataError(f"{path} is a link out of {place}")
            if path.suffix.lower() in _PICTURES and path.is_file():
                pixels, grown = picture(path, shape)
                size += grown
                _check_bytes(place, size)
                images.append(pixels)
                labels.append(label)
                names.append(str(path.relative_to(place)))
        empty = sorted({label for label, _ in paths} - set(labels))
        if empty:
            raise DataError(f"the class {empty[0]!r} of {folder} has no picture ({', '.join(_PICTURES)})")
        groups = [Path(name).name.partition("_")[0] for name in names] if group_by else []
        parts[part] = _Part(images, labels, names, groups)
    if not parts["train"].labels:
        raise DataError(f"{place} holds no folder of pictures a class, and no pair of IDX files")
    # One coloured picture makes all of them coloured.
    deepest = max(image.shape[2] for held in parts.values() for image in held.images)
    for held in parts.values():
        held.images = [np.repeat(each, deepest // each.shape[2], axis=2) for each in held.images]
    return parts


def picture(path: Path, shape: Shape | None) -> tuple[_Array, int]:
    """Return uint8 (rows, columns, 1 or 3), and its bytes; a header that promises too much is refused unread."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            _check_bytes(path, opened.width * opened.height * 3)
            upright = ImageOps.exif_transpose(opened)
            grey = upright.mode in ("1", "L", "LA", "I", "I;16", "F")
            if upright.mode.startswith("I"):
                upright = upright.point(lambda value: value / 256).convert("L")
            wanted = "L" if (shape and shape[0] == 1) or (grey and not (shape and shape[0] == 3)) else "RGB"
            plain = upright.convert(wanted)
            if shape is not None:
                plain = plain.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the picture {path}: {' '.join(reason(error).split())}") from error
    array = np.asarray(plain)
    return array.reshape(*array.shape[:2], -1), array.nbytes


def _of_series(place: Path) -> dict[str, _Part]:
    """Read ``.ts`` (dimensions between colons, the class last) or ``.tsv`` (the class first) of one or both parts."""
    parts = {}
    twins = {"train": place}
    if match := re.fullmatch(r"(.*)_(TRAIN|TEST)", place.stem, re.IGNORECASE):
        upper = match[2].isupper()
        both = {part: place.with_stem(f"{match[1]}_{part.upper() if upper else part}") for part in ("train", "test")}
        twins = {part: path for part, path in both.items() if path.exists()}
    for part, path in twins.items():
        _check_bytes(path, path.stat().st_size)
        if path.suffix == ".tsv":
            import pandas as pd

            table = pd.read_csv(path, sep="\t", header=None)
            series = [row.reshape(1, -1, 1) for row in table.iloc[:, 1:].to_numpy(dtype=np.float32)]
            labels: list[Any] = table.iloc[:, 0].tolist()
        else:
            lines = [line for line in path.read_text("utf-8").splitlines() if line and line[0] not in "@#%"]
            rows = [line.split(":") for line in lines]
            labels = [row[-1].strip() for row in rows]
            series = [
                np.array([[float(value) for value in one.split(",")] for one in row[:-1]], np.float32).T[None]
                for row in rows
            ]
        parts[part] = _of_arrays(series, labels, part)
    if "train" not in parts:
        raise DataError(f"{place}: there is no {place.stem.rpartition('_')[0]}_TRAIN beside it")
    return parts


# From what a source has to one value -----------------------------------------------------------------------------


def _kept(name: str, parts: Mapping[str, _Part], shape: Shape | None, *, balanced: bool) -> Dataset:
    stacked = {part: _stacked(each, shape) for part, each in parts.items()}
    low, high = _range(stacked)
    images = {part: _scaled(each, low, high) for part, each in stacked.items()}
    classes = sorted(
        {*parts["train"].labels}, key=lambda label: (0, int(label), "") if label.isdigit() else (1, 0, label)
    )
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise DataError(f"{name} has {len(classes)} classes to train on; allowed are 2 to {_MOST_CLASSES}")
    for part, each in parts.items():
        strange, missing = sorted({*each.labels} - {*classes}), sorted({*classes} - {*each.labels})
        if strange or missing:
            told = f"lacks the class {missing[0]!r}" if missing else f"has the class {strange[0]!r}, which train lacks"
            raise DataError(f"the {part} part of {name} {told}")
    number = {label: index for index, label in enumerate(classes)}
    labels = {part: np.array([number[label] for label in each.labels], "<i8") for part, each in parts.items()}
    digests = {part: [hashlib.sha256(image.tobytes()).hexdigest() for image in images[part]] for part in parts}
    repeats = _duplicates(parts, digests)
    if "test" in parts:
        shared = sum(each in {*digests["train"]} for each in digests["test"])
        if 2 * shared >= len(digests["test"]):
            raise DataError(f"{shared} of the {len(digests['test'])} test images of {name} are images to train on, too")
    # One order for all sources of the same images: by class, then by content.
    order = {part: np.lexsort((np.array(digests[part]), labels[part])) for part in parts}
    pixels = {part: images[part][order[part]] for part in parts}
    kinds = {part: labels[part][order[part]] for part in parts}
    content = {part: [digests[part][index] for index in order[part]] for part in parts}
    grouped = bool(parts["train"].groups)
    groups = [parts["train"].groups[index] for index in order["train"]] if grouped else content["train"]
    if "test" not in parts:
        chosen = _chosen(kinds["train"], groups, "test-v1", grouped)
        for held in (pixels, kinds):
            held["test"], held["train"] = held["train"][chosen], held["train"][~chosen]
        groups = [group for group, out in zip(groups, chosen, strict=True) if not out]
    if "validation" in parts:
        fold = np.repeat([_ALWAYS_TRAINED, 0], [len(kinds["train"]), len(kinds["validation"])]).astype(np.uint8)
        for held in (pixels, kinds):
            held["train"] = np.concatenate([held["train"], held.pop("validation")])
    elif grouped or np.bincount(kinds["train"]).min() >= _FEW:
        fold = np.where(_chosen(kinds["train"], groups, "split-v1", grouped), 0, _ALWAYS_TRAINED).astype(np.uint8)
    else:
        fold = _folds(kinds["train"], groups)
    folds = FOLDS if (fold == 1).any() else 1
    if balanced:
        _balance(pixels, kinds, fold)
    spread = pixels["train"].astype(np.float64).reshape(len(pixels["train"]), pixels["train"].shape[1], -1) / 255
    deviations = spread.std(axis=(0, 2))
    if not deviations.all():
        raise DataError(f"all images of {name} to train on are of one shade in channel {int(deviations.argmin())}")
    stored = {
        "train": {"pixels": pixels["train"], "labels": kinds["train"], "fold": fold},
        "test": {"pixels": pixels["test"], "labels": kinds["test"]},
    }
    # Not of the files, in which a version of numpy may have its part.
    shapes = [list(each["pixels"].shape) for each in stored.values()]
    hashed = hashlib.sha256(json.dumps([classes, shapes], ensure_ascii=False).encode())
    for array in (array for each in stored.values() for array in each.values()):
        hashed.update(array.tobytes())
    hashed.update(b"balanced" * balanced)
    digest = hashed.hexdigest()
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "own"
    files = {each: _npz(held) for each, held in zip(OWN_FILES, stored.values(), strict=True)}
    channels, rows, columns = pixels["train"].shape[1:]
    spec = Dataset(
        name=f"{plain}-{digest[:8]}",
        target_pct=0.0,
        mean=tuple(round(float(each), 6) for each in spread.mean(axis=(0, 2))),
        std=tuple(round(float(each), 6) for each in deviations),
        licence="",
        classes=len(classes),
        image_shape=(channels, rows, columns),
        train_size=int((fold != 0).sum()),
        validation_size=int((fold == 0).sum()),
        test_size=len(kinds["test"]),
        class_names=tuple(classes),
        all_files=tuple(DataFile(each, hashlib.sha256(held).hexdigest(), "") for each, held in files.items()),
        sha256=digest,
        folds=folds,
        balanced=balanced,
        duplicates=repeats,
        low=tuple(map(float, low)),
        high=tuple(map(float, high)),
    )
    place = workspace().data(spec.name)
    if not (place / "data.json").is_file():
        files["data.json"] = json_text(document_of(spec)).encode()
        write_together({place / each: held for each, held in files.items()})
    return spec


def _stacked(part: _Part, shape: Shape | None) -> _Array:
    """Return (images, channels, rows, columns) of one kind of number."""
    if not len(part.images):
        raise DataError("a data set needs images")
    images = part.images
    if shape is not None and not isinstance(images, np.ndarray | list):
        images = list(images)
    if not isinstance(images, np.ndarray):
        images = [np.asarray(each) for each in images]
        images = [each[..., None] if each.ndim == 2 else each for each in images]
        sizes = {each.shape: name for each, name in zip(images, part.names, strict=True)}
        if shape is None and len(sizes) > 1:
            told = " and ".join(f"{'x'.join(map(str, size))} ({name})" for size, name in sorted(sizes.items())[:2])
            raise DataError(f"images are of several shapes: {told}; 'data describe --input 1x32x32' resizes them")
        if shape is not None:
            images = [_resized(each, shape) for each in images]
        images = np.stack(images)
    if images.dtype.kind not in "buif":
        raise DataError(f"pixels are {images.dtype}; allowed are integers and fractions")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise DataError("some pixels are not finite")
    if images.ndim == 2:
        images = images[:, None, :]
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(f"images are of shape {images.shape}; allowed are images x rows x columns [x channels]")
    first = images.shape[1] <= _MOST_CHANNELS < images.shape[3]
    images = images if first else np.moveaxis(images, 3, 1)
    if not 1 <= images.shape[1] <= _MOST_CHANNELS or 0 in images.shape:
        raise DataError(f"images are of shape {images.shape[1:]}; allowed are 1 to {_MOST_CHANNELS} channels")
    if shape is not None and images.shape[1:] != shape:
        images = np.stack([np.moveaxis(_resized(np.moveaxis(each, 0, 2), shape), 2, 0) for each in images])
    return np.ascontiguousarray(images)


def _resized(image: _Array, shape: Shape) -> _Array:
    """Return an image (rows, columns, channels) with the rows, columns and channels of ``shape``."""
    from PIL import Image

    if image.shape[2] == 3 and shape[0] == 1:  # the weights of ITU-R BT.601, as Pillow's
        image = image @ np.array([[0.299], [0.587], [0.114]])
    if image.shape[2] == 1 and shape[0] == 3:
        image = np.repeat(image, 3, axis=2)
    if image.shape[2] != shape[0]:
        raise DataError(f"--input asks for {shape[0]} channels, but images have {image.shape[2]}")
    if image.shape[:2] == shape[1:]:
        return image
    size = (shape[2], shape[1])
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(image, 2, 0)]
    resized = [np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes]
    return (
        np.stack(resized, axis=2)
        .astype(image.dtype if image.dtype.kind == "f" else np.float32)
        .round(6 if image.dtype.kind == "f" else 0)
    )


def _range(parts: dict[str, _Array]) -> tuple[_Array, _Array]:
    """Return what becomes 0 and 255: bytes stay, shares of one are spread, and so is any other range of a channel."""
    shapes = {part: images.shape[1:] for part, images in parts.items()}
    if len({*shapes.values()}) > 1:
        told = ", ".join(f"{part} {'x'.join(map(str, shape))}" for part, shape in shapes.items())
        raise DataError(f"the parts have images of several shapes: {told}")
    train = parts["train"]
    low, high = (limit(axis=(0, 2, 3)).astype(np.float64) for limit in (train.min, train.max))
    whole = all(np.array_equal(images, np.round(images)) for images in parts.values())
    if train.dtype == np.uint8 or (whole and low.min() >= 0 and 127 < high.max() <= 255):
        low, high = np.zeros_like(low), np.full_like(high, 255)
    elif low.min() >= 0 and 0 < high.max() <= 1:
        low, high = np.zeros_like(low), np.ones_like(high)
    else:
        return low, np.where(high > low, high, low + 1)
    for part, images in parts.items():
        if images.min() < 0 or images.max() > high[0]:
            told = f"from {images.min():g} to {images.max():g}"
            raise DataError(f"pixels of {part} go {told}, those of train from {train.min():g} to {train.max():g}")
    return low, high


def _scaled(images: _Array, low: _Array, high: _Array) -> _Array:
    shares = (images - low[:, None, None]) / (high - low)[:, None, None]
    return np.ascontiguousarray(np.clip(np.rint(255 * shares), 0, 255).astype(np.uint8))


def pixels_of(spec: Dataset, x: Any) -> _Array:
    """Return further arrays, as `from_arrays` takes them, as the data set's pixels: uint8 (images, *image_shape).

    Raises:
        DataError: they are of another shape, or not finite.
    """
    images = _stacked(_Part(np.asarray(x), [], [], []), None)
    if images.shape[1:] != spec.image_shape:
        found, due = (shape_text(shape) for shape in (images.shape[1:], spec.image_shape))
        raise DataError(f"images are of {found}, but those of {spec.name} of {due}")
    return _scaled(images, np.array(spec.low), np.array(spec.high))


def _duplicates(parts: Mapping[str, _Part], digests: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the images that are there more than once, as "A = B"; the first few by name, then how many more."""
    first: dict[str, str] = {}
    found = []
    for part, each in parts.items():
        for digest, name in zip(digests[part], each.names, strict=True):
            if digest in first:
                found.append(f"{first[digest]} = {name}")
            first.setdefault(digest, name)
    more = len(found) - _NAMED
    return (*found[:_NAMED], *([f"and {more} more"] if more > 0 else []))


def _chosen(labels: _Array, groups: Sequence[str], tag: str, grouped: bool) -> _Array:
    """Return which images make a fifth, the same on every machine; images of one group (the same image) stay together.

    Where a person's groups decide, whole groups are taken until a fifth is reached, in the order of their SHA-256;
    else every class gives its share, its images in the order of theirs.
    """
    rank = {group: hashlib.sha256(f"{tag}:{group}".encode()).digest() for group in groups}
    chosen = np.zeros(len(labels), bool)
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    kinds = [slice(None)] if grouped else [labels == kind for kind in range(labels.max() + 1)]
    for kind in kinds:
        inside = np.zeros(len(labels), bool)
        inside[kind] = True
        wanted = max(1, round(int(inside.sum()) * _SHARE))
        taken = 0
        for group in sorted({groups[index] for index in np.flatnonzero(inside).tolist()}, key=rank.__getitem__):
            if taken >= wanted:
                break
            at = [index for index in members[group] if inside[index]]
            chosen[at] = True
            taken += len(at)
    for out in (chosen, ~chosen):
        if len({*labels[out].tolist()}) <= labels.max():
            raise DataError(
                f"a fifth of {len(labels)} images cannot be set aside: each class needs images on both sides"
            )
    return chosen


def _folds(labels: _Array, groups: Sequence[str]) -> _Array:
    """Return in which of five parts of equal size an image is validated; images over are always trained on."""
    rank = sorted(
        range(len(labels)), key=lambda index: (labels[index], hashlib.sha256(groups[index].encode()).digest())
    )
    fold = np.full(len(labels), _ALWAYS_TRAINED, np.uint8)
    whole = len(labels) // FOLDS * FOLDS
    fold[rank[:whole]] = np.arange(whole) % FOLDS
    return fold


def _balance(pixels: dict[str, _Array], kinds: dict[str, _Array], fold: _Array) -> None:
    """Leave as many test images of each class, and as many to validate on; others of these are trained on.

    Those that stay are the first in the order of their content.
    """

    def even(labels: _Array, each: int) -> _Array:
        first = [np.flatnonzero(labels == kind)[:each] for kind in range(labels.max() + 1)]
        return np.isin(np.arange(len(labels)), np.concatenate(first))

    tested = even(kinds["test"], np.bincount(kinds["test"]).min())
    pixels["test"], kinds["test"] = pixels["test"][tested], kinds["test"][tested]
    turns = [np.flatnonzero(fold == turn) for turn in range(FOLDS) if turn in fold]
    counts = [np.bincount(kinds["train"][at], minlength=kinds["train"].max() + 1) for at in turns]
    if not (each := int(np.min(counts))):
        raise DataError("a class has too few images to validate on as many of each")
    for at in turns:
        fold[at[~even(kinds["train"][at], each)]] = _ALWAYS_TRAINED


def _npz(arrays: Mapping[str, _Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()

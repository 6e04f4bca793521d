"""User data sets: read a source, check and split the images, and store the result in the workspace.

All sources are converted to uint8 images (channels, rows, columns) and class names. A stored data set is read like a
known data set, by the name ``NAME-HASH``. The hash covers the content, so data sets of the same ``NAME`` stay separate.
The order of images in the source has no influence: a folder of pictures and an ``.npz`` of the same numbers give the
same data set.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.data.datasets import DataFile, Dataset, dataset, plain_name
from harness.data.own import parts as divisions
from harness.data.own import values
from harness.data.own.near_duplicates import near_keys
from harness.data.own.sources import PARTS, DataPart, Source, part_of_arrays, part_of_torch, source_at
from harness.data.own.values import Array
from harness.data.training_images import OWN_FILES, content_digest
from harness.system.document import document_of, read_as
from harness.system.errors import DataError, UsageError
from harness.system.files import json_text, read_bytes, workspace, write_json, write_together
from harness.system.terminal import counted
from search_spaces.ops import Shape, shape_text

_MOST_CLASSES = 256  # of a data set
_MOST_NAMED = 10  # duplicates listed by name
_MOST_SPLITS = 8  # attempts to find a split whose sides share no equal pixels
_ROUNDED = "different images become equal or nearly equal when numbers are rounded to 256 pixel values"
# Indices into ``PARTS``.
_TRAIN, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of reading a source, with the meaning of the arguments of `read`."""

    shape: Shape | None = None
    group_by: str | None = None
    balanced: bool = False
    channels: str | None = None
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        """Raise DataError if a value is not allowed."""
        if self.shape is not None:
            sizes = self.shape if isinstance(self.shape, list | tuple) else ()
            if len(sizes) != 3 or not all(isinstance(size, int | np.integer) and 0 < size < 10_000 for size in sizes):
                raise DataError(
                    f"shape must be three integers (channels, rows, columns) from 1 to 9999, got {self.shape!r}"
                )
            object.__setattr__(self, "shape", tuple(map(int, sizes)))
        if self.channels not in (None, "first", "last", "none"):
            raise DataError(f'channels must be "first", "last" or "none", got {self.channels!r}')
        if not isinstance(self.balanced, bool) or not isinstance(self.allow_overlap, bool):
            flags = f"{self.balanced!r} and {self.allow_overlap!r}"
            raise DataError(f"balanced and allow_overlap must be True or False, got {flags}")

    def __str__(self) -> str:
        shape = shape_text(self.shape) if self.shape else ""
        pairs = {"--input": shape, "--group-by": self.group_by, "--channels": self.channels}
        texts = [f"{option} {value}" for option, value in pairs.items() if value]
        flags = {"--score balanced": self.balanced, "--allow-overlap": self.allow_overlap}
        texts += [option for option, is_set in flags.items() if is_set]
        return " ".join(texts) or "no options"


def data_name(text: str, options: SourceOptions | None = None, name: str = "") -> str:
    """Return the name of the data set ``text``, after reading and storing the source if ``text`` is a path.

    Args:
        text: Name of a data set, or path of a source.
        options: Options for ``data describe``, which are remembered for the path. None uses the remembered options.
        name: Name for the data set in place of the name of the path.

    Raises:
        UsageError: The data set, file or folder does not exist, the data set was read with different options, or the
            path was described in several ways.
        DataError: Same as for `read`.
    """
    if not os.path.exists(text) and os.sep in text:
        raise UsageError(f"no such file or folder: {text[:200]}")
    if not os.path.exists(text) or os.path.isfile(workspace().data(text) / "data.json"):
        spec = dataset(text)
        _check_options(spec, options or SourceOptions())
        return spec.name
    reading = described_options(text) if options is None else options
    source = source_at(Path(text), reading.shape, reading.group_by)
    spec = _store(replace(source, name=name or source.name), reading)
    if options is not None:
        _remember(text, spec.name, options)
    return spec.name


def described_options(text: str) -> SourceOptions:
    """Return the remembered options of a path, or the default options if the path was never described.

    Raises:
        UsageError: The path was described in several ways.
    """
    readings = descriptions(text)
    if len({*readings.values()}) > 1:
        choices = "; ".join(f"{name} with {options}" for name, options in readings.items())
        message = f"{text} was described with different options: {choices}"
        raise UsageError(message, hint="pass the name of the data set instead of the path")
    return next(iter(readings.values()), SourceOptions())


def descriptions(text: str) -> dict[str, SourceOptions]:
    """Return the remembered options of a path by name of the data set; data sets no longer stored are left out."""
    path = _memory_file()
    readings = {}
    for reading in _memory().get(os.path.realpath(text), []):
        entry = read_as(_StoredReading, json.dumps(reading), f"the file {path}", _REMOVE_MEMORY)
        if (workspace().data(entry.name) / "data.json").is_file():
            readings[entry.name] = entry.options
    return readings


@dataclass(frozen=True, slots=True)
class _StoredReading:
    """Name of a data set that was read from a path, and the options of reading."""

    name: str
    options: SourceOptions


_REMOVE_MEMORY = "the file may be removed: only the options of described paths are lost"


def _remember(text: str, name: str, options: SourceOptions) -> None:
    memory = _memory()
    key = os.path.realpath(text)
    reading = {"name": name, "options": asdict(options)}
    if reading not in memory.get(key, []):
        write_json(_memory_file(), memory | {key: [*memory.get(key, []), reading]})


def _memory_file() -> Path:
    return workspace().data("described.json")


def _memory() -> dict[str, list[Any]]:
    path = _memory_file()
    if not path.is_file():
        return {}
    memory = read_as(dict[str, Any], path, f"the file {path}", _REMOVE_MEMORY)
    # Entries of older versions are ignored: a single set of options, without the name of the data set.
    return {key: readings for key, readings in memory.items() if isinstance(readings, list)}


def _check_options(spec: Dataset, options: SourceOptions) -> None:
    # allow_overlap is not compared, because the option does not change the content.
    requested = (options.shape, options.group_by, options.balanced, options.channels)
    recorded = (spec.image_shape, spec.group_by, spec.balanced, spec.channels)
    if any(value and value != known for value, known in zip(requested, recorded, strict=True)):
        raise UsageError(
            f"data set {spec.name} was not read with {options}",
            hint="to read the source again with these options, pass the path of the file or folder",
        )


def parts_text(spec: Dataset) -> str:
    """Return a description of the parts: sizes, folds, balance, groups and overlap."""
    turns = ""
    if spec.folds > 1:
        turns = f" (in the first of {spec.folds} folds)" if spec.group_folds else f" ({spec.folds} folds)"
    sizes = f"{spec.train_size:,} training, {spec.validation_size:,} validation{turns}"
    balance = ", equally many of each class" if spec.balanced else ""
    overlap = f"; THE PARTS OVERLAP: {spec.overlap}" if spec.overlap else ""
    groups = ""
    if spec.test_group_sizes:
        validation = counted(len(spec.validation_group_sizes), "validation group")
        groups = f"; {validation} and {counted(len(spec.test_group_sizes), 'test group')}"
    return f"{sizes} and {spec.test_size:,} test images{balance}{groups}{overlap}"


def read(
    path: str | Path,
    shape: Shape | None = None,
    group_by: str | None = None,
    *,
    balanced: bool = False,
    channels: str | None = None,
    allow_overlap: bool = False,
) -> Dataset:
    """Read a data set from a file or folder and store the data set in the workspace.

    Args:
        path: An ``.npz`` with the keys of Keras or MedMNIST or ``X, y[, X_test, y_test]``; a folder of pictures,
            ``train/CLASS/*`` (with or without ``validation`` and ``test``) or ``CLASS/*``; a folder of IDX files; or
            series as ``.ts`` or UCR's ``.tsv`` (``NAME_TEST`` is found beside ``NAME_TRAIN``).
        shape: (channels, rows, columns) to resize images to; None keeps the size.
        group_by: Groups that must not be divided by a split: name of an array of the ``.npz`` (``NAME_test`` for the
            test part), or ``_`` for the part of a file name before the first ``_``.
        balanced: Validate and test on equally many images of each class, so that the accuracy is the mean of the class
            accuracies. Surplus test images are left out; surplus validation images are trained on, or left out if the
            data have groups.
        channels: Position of the channel axis in an ambiguous array of an ``.npz``: ``first``, ``last``, or ``none``
            for pictures without channels.
        allow_overlap: Accept parts with common images or groups; the overlap is stated in the data set.

    Returns:
        The facts of the stored data set.

    Raises:
        DataError: The path is not a supported source, or the content is inconsistent.
    """
    options = SourceOptions(shape, group_by, balanced, channels, allow_overlap)
    if not isinstance(path, str | os.PathLike) or not os.path.exists(path):
        raise DataError(f"no such file or folder: {path!s:.200}")
    return _store(source_at(Path(path), options.shape, group_by), options)


def from_arrays(
    name: str,
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    groups: Any = None,
    groups_test: Any = None,
    shape: Shape | None = None,
    balanced: bool = False,
    channels: str | None = None,
    allow_overlap: bool = False,
) -> Dataset:
    """Store arrays as a data set in the workspace.

    Args:
        name: Name of the data set.
        x: Images (images, rows, columns[, channels]) or series (series, steps).
        y: Class of each image, integers or texts.
        x_test: Test images, which are locked; None sets a fifth of ``x`` aside.
        y_test: Classes of ``x_test``.
        groups: Group of each image; images of the same group must not be divided by a split.
        groups_test: Groups of ``x_test``, required if ``groups`` is given.
        shape: Same as for `read`; so are ``balanced`` and ``allow_overlap``.
        channels: Position of the channel axis, ``first`` or ``last``; required for ambiguous arrays and for series with
            channels. ``none`` states that narrow pictures are not series.

    Returns:
        The facts of the stored data set.

    Raises:
        DataError: The arrays are inconsistent.
    """
    options = SourceOptions(shape, "groups" if groups is not None else None, balanced, channels, allow_overlap)
    source = Source(str(name), {"train": part_of_arrays(x, y, "train", groups)})
    if x_test is not None:
        source.parts["test"] = part_of_arrays(x_test, y_test, "test", groups_test)
    elif y_test is not None or groups_test is not None:
        raise DataError("y_test or groups_test was given without x_test")
    return _store(source, options)


def from_torch(
    name: str,
    train: Any,
    test: Any = None,
    *,
    shape: Shape | None = None,
    channels: str | None = None,
    allow_overlap: bool = False,
) -> Dataset:
    """Same as `from_arrays`, for map-style torch data sets of (picture or tensor (channels, rows, columns), class)."""
    options = SourceOptions(shape, channels=channels, allow_overlap=allow_overlap)
    source = Source(str(name), {})
    for part, data in (("train", train), ("test", test)):
        if data is not None:
            source.parts[part] = part_of_torch(data, part, channels, source.remarks)
    return _store(source, options)


class Data:
    """Constructors of user data sets, which ``harness.search`` and similar functions accept as ``dataset``."""

    from_arrays = staticmethod(from_arrays)
    from_torch = staticmethod(from_torch)
    read = staticmethod(read)


# From a source to a data set ---------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _ImageTable:
    """All images of a source, sorted by part, class and content; every array has an entry per image.

    Attributes:
        numbers: Unscaled images of each part, by index of the part in ``PARTS``.
        part: Index of the part in ``PARTS``.
        position: Index of the image in ``numbers`` of the part.
        labels: Index of the class.
        digests: SHA-256 of the unscaled image.
        groups: Group; None if the source has no groups.
        names: Names of the images for messages, by part and position.
    """

    numbers: dict[int, Array]
    part: Array
    position: Array
    labels: Array
    digests: Array
    groups: Array | None
    names: dict[int, list[str]]

    def blocks(self, indices: Array) -> Iterator[tuple[Array, Array]]:
        """Yield the unscaled images ``indices`` in blocks, each with the positions in ``indices``."""
        for part, numbers in self.numbers.items():
            inside = np.flatnonzero(self.part[indices] == part)
            for block in values.chunks(len(inside), numbers[0].size):
                yield inside[block], numbers[self.position[indices[inside[block]]]]

    def pixels(self, low: Array, high: Array) -> Array:
        """Return all images, scaled to pixels, uint8 (images, channels, rows, columns)."""
        shape = next(iter(self.numbers.values())).shape[1:]
        pixels = np.empty((len(self.part), *shape), np.uint8)
        for inside, block in self.blocks(np.arange(len(self.part))):
            pixels[inside] = values.scaled(block, low, high)
        return pixels

    def keys(self) -> list[Array]:
        """Return the groups and the digests; images with a common key must not be divided by a split."""
        return [self.digests] if self.groups is None else [self.groups, self.digests]

    def name(self, index: int) -> str:
        """Return the name of an image for messages."""
        part, position = int(self.part[index]), int(self.position[index])
        return self.names[part][position] if self.names[part] else f"{PARTS[part]} {position}"


class _Scaled(NamedTuple):
    """All images, scaled to pixels, with the choice of the test images.

    Attributes:
        is_test: Mask of the locked test images.
        low: Number per channel that is mapped to 0; ``high`` is mapped to 255.
        near: Key of each image that equal pictures and near-duplicates share.
        joint: Key of each image that pictures share which must not be divided: ``near``, or ``pixel_digests`` if
            near-duplicates cannot stay together.
    """

    is_test: Array
    low: Array
    high: Array
    pixels: Array
    pixel_digests: Array
    near: Array
    joint: Array


def _store(source: Source, options: SourceOptions) -> Dataset:
    """Check and split a source, write the parts to the workspace, and return the data set."""
    table, classes = _image_table(source, options)
    scaled, fold, is_used = _divided(table, balanced=options.balanced)
    low, high = scaled.low, scaled.high
    indices = {PARTS[part]: np.flatnonzero(table.part == part) for part in table.numbers}
    overlap = divisions.overlap(indices, scaled.pixel_digests, scaled.near, table.groups)
    if overlap and not options.allow_overlap:
        raise DataError(
            f"the parts of {source.name} overlap: {overlap}",
            hint="--allow-overlap accepts the parts and records the overlap in the data set",
        )
    remarks = _remarks(source, table, scaled)
    duplicates = _duplicates(table, scaled.pixel_digests)
    table.numbers.clear()
    train, test, groups = _parts_to_write(table, scaled, fold, is_used, balanced=options.balanced)
    # The parts hold copies of the pixels; free the original to save memory.
    del scaled
    if surplus := len(table.part) - len(train["labels"]) - len(test["labels"]):
        remarks.append(f"left out: {counted(surplus, 'surplus image')} of larger classes")
    facts = [classes, low.tolist(), high.tolist(), overlap, options.balanced, *map(list, filter(None, groups[:2]))]
    digest = content_digest(facts, [*train.values(), *test.values()])
    mean, deviation = _statistics(train["pixels"], source.name)
    channels, rows, columns = train["pixels"].shape[1:]
    validation_size, folds = _turns_of(train["fold"])
    spec = Dataset(
        name=f"{plain_name(source.name) or 'own'}-{digest[:8]}",
        target_pct=0.0,
        mean=mean,
        std=deviation,
        licence="",
        classes=len(classes),
        image_shape=(channels, rows, columns),
        train_size=len(train["labels"]) - validation_size,
        validation_size=validation_size,
        test_size=len(test["labels"]),
        validation_group_sizes=groups[0],
        test_group_sizes=groups[1],
        test_groups=groups[2],
        class_names=tuple(classes),
        sha256=digest,
        folds=folds,
        balanced=options.balanced,
        overlap=overlap,
        duplicates=duplicates,
        remarks=tuple(remarks),
        input="" if options.shape is None else shape_text(options.shape),
        group_by=options.group_by or "",
        channels=options.channels or "",
        allow_overlap=options.allow_overlap,
        low=tuple(map(float, low)),
        high=tuple(map(float, high)),
    )
    return _write(spec, train, test)


def _image_table(source: Source, options: SourceOptions) -> tuple[_ImageTable, list[str]]:
    by_index = {index: source.parts[part] for index, part in enumerate(PARTS) if part in source.parts}
    if _TRAIN not in by_index:
        raise DataError(f"{source.name} has no training part; parts found: {', '.join(source.parts)}")
    classes = by_index[_TRAIN].classes
    if not 2 <= len(classes) <= _MOST_CLASSES:
        noun = "class" if len(classes) == 1 else "classes"
        raise DataError(f"{source.name} has {len(classes)} {noun} for training; allowed: 2 to {_MOST_CLASSES}")
    numbers = _numbers(by_index, source.name, options)
    class_index = {label: index for index, label in enumerate(classes)}
    parts = np.concatenate([np.full(len(part.labels), index) for index, part in by_index.items()])
    positions = np.concatenate([np.arange(len(part.labels)) for part in by_index.values()])
    labels = np.array([class_index[label] for part in by_index.values() for label in part.labels])
    digests = np.concatenate([values.digests(images) for images in numbers.values()])
    groups = [group.encode("utf-8", "surrogateescape") for part in by_index.values() for group in part.groups]
    # Sort by content, so that the order of the source has no influence on the hash of the data set.
    order = np.lexsort((digests, labels, parts))
    names = {index: part.names for index, part in by_index.items()}
    members = np.array(groups)[order] if groups else None
    return _ImageTable(numbers, parts[order], positions[order], labels[order], digests[order], members, names), classes


def _check_like(train: DataPart, part: DataPart, name: str, source: str) -> None:
    if differing := {*part.classes} ^ {*train.classes}:
        lacking = {*train.classes} & differing
        present, absent = ("train", name) if lacking else (name, "train")
        label = min(lacking or differing)
        raise DataError(f"class {label!r} of {source} is in the {present} part, but not in the {absent} part")
    if bool(part.groups) != bool(train.groups):
        raise DataError(
            f"groups must be given for both train and {name}, or for neither (groups, groups_test of from_arrays)"
        )


def _numbers(by_index: Mapping[int, DataPart], source: str, options: SourceOptions) -> dict[int, Array]:
    # The images are removed from the parts, so that memory holds one copy.
    numbers: dict[int, Array] = {}
    for index, part in by_index.items():
        _check_like(by_index[_TRAIN], part, PARTS[index], source)
        numbers[index] = values.arranged(part.images, part.names, part.channels or options.channels, options.shape)
        part.images = None
    shapes = {PARTS[index]: shape_text(images.shape[1:]) for index, images in numbers.items()}
    if len({*shapes.values()}) > 1:
        sizes = ", ".join(f"{part} {shape}" for part, shape in shapes.items())
        raise DataError(f"the parts have images of different shapes: {sizes}")
    return numbers


def _divided(table: _ImageTable, *, balanced: bool) -> tuple[_Scaled, Array, Array]:
    """Return the scaled images with the test images, the fold of each image, and the mask of the images that are used.

    Near-duplicates are not divided, unless so many are connected that no split exists.
    """
    try:
        scaled = _split_and_scale(table, joins_near=True)
        return scaled, *_turns(table, scaled, balanced=balanced)
    except DataError:
        scaled = _split_and_scale(table, joins_near=False)
        return scaled, *_turns(table, scaled, balanced=balanced)


def _split_and_scale(table: _ImageTable, *, joins_near: bool) -> _Scaled:
    """Lock the test part, or a fifth if there is none, and scale all images to the range of the unlocked images."""
    keys = table.keys()
    has_test = (table.part == _TEST).any()
    for _ in range(_MOST_SPLITS):
        if has_test:
            is_test = table.part == _TEST
        else:
            together = divisions.units(keys, "test-v1")
            grouped = table.groups is not None
            try:
                is_test = divisions.fifth(table.labels, together, table.part == _VALIDATION, grouped=grouped)
            except DataError as error:
                cause = f": {_ROUNDED}" if len(keys) > len(table.keys()) else ""
                raise DataError(f"{error.message}{cause}") from error
        low, high = values.range_of(block for _, block in table.blocks(np.flatnonzero(~is_test)))
        for part in (_VALIDATION, _TEST):
            if part in table.numbers and (difference := values.other_range(table.numbers[part], low, high)):
                raise DataError(f"pixels of {PARTS[part]} {difference}")
        pixels = table.pixels(low, high)
        digests = values.digests(pixels)
        near = near_keys(pixels, digests)
        joint = near if joins_near else digests
        if has_test or not np.isin(joint[is_test], joint[~is_test]).any():
            return _Scaled(is_test, low, high, pixels, digests, near, joint)
        # Different numbers became equal or nearly equal pixels on both sides. Another key keeps such images together.
        # The next split has a different range, which may make more images equal. Units only grow, so few attempts are
        # sufficient.
        keys.append(joint)
    raise DataError(f"cannot set aside a fifth of the images: {_ROUNDED}")


def _turns(table: _ImageTable, scaled: _Scaled, *, balanced: bool) -> tuple[Array, Array]:
    """Return, for the images that are not locked, the fold in which each validates, and the mask of those used."""
    not_test = np.flatnonzero(~scaled.is_test)
    units = divisions.units([key[not_test] for key in (*table.keys(), scaled.joint)], "split-v1")
    in_validation = table.part[not_test] == _VALIDATION
    given_validation = in_validation if in_validation.any() else None
    grouped = table.groups is not None
    labels = table.labels[not_test]
    return divisions.validated(labels, units, given_validation, grouped=grouped, balanced=balanced)


def _parts_to_write(
    table: _ImageTable, scaled: _Scaled, fold: Array, is_used: Array, *, balanced: bool
) -> tuple[dict[str, Array], dict[str, Array], tuple[tuple[int, ...], ...]]:
    """Return the arrays of the training and validation images, the arrays of the test images, and the groups.

    The groups are the sizes of the validation groups, the sizes of the test groups, and the index of the group of each
    test image, all empty without groups.
    """
    not_test, test = np.flatnonzero(~scaled.is_test), np.flatnonzero(scaled.is_test)
    labels = table.labels[not_test]
    if balanced:
        test = test[divisions.evened(table.labels[test], np.arange(len(test)), int(table.labels.max()) + 1)]
    pixels = scaled.pixels[not_test[is_used]]
    groups: tuple[tuple[int, ...], ...] = ((), (), ())
    if table.groups is not None:
        validating = not_test[is_used][fold[is_used] != divisions.ALWAYS_TRAINED]
        of_image = np.unique(table.groups[test], return_inverse=True)[1]
        groups = (_sizes(table.groups[validating]), _sizes(of_image), tuple(of_image.tolist()))
    return (
        {"pixels": pixels, "labels": labels[is_used].astype("<i8"), "fold": fold[is_used]},
        {"pixels": scaled.pixels[test], "labels": table.labels[test].astype("<i8")},
        groups,
    )


def _sizes(groups: Any) -> tuple[int, ...]:
    return tuple(np.unique(groups, return_counts=True)[1].tolist())


def _remarks(source: Source, table: _ImageTable, scaled: _Scaled) -> list[str]:
    remarks = list(source.remarks)
    pixels = scaled.pixels
    first = np.arange(min(len(pixels), 200))
    if any(values.squeezed(block, pixels[inside]) for inside, block in table.blocks(first)):
        extent = f"{scaled.low.min():g} to {scaled.high.max():g}"
        remarks.append(f"outliers extend the range to {extent}, so most images use few of the 256 pixel values")
    channels, rows, columns = pixels.shape[1:]
    edge = round(columns**0.5)
    is_flat = source.parts["train"].channels is None and (channels, rows) == (1, 1)
    if is_flat and edge >= 8 and edge**2 == columns:
        remarks.append(
            f"rows of {columns} numbers are read as series; pictures have the shape images x {edge} x {edge}"
        )
    # Images with a near-duplicate that is not an equal image.
    near = np.unique(scaled.near, return_inverse=True)[1]
    equal = np.unique(scaled.pixel_digests, return_inverse=True)[1]
    different = np.unique(near * len(near) + equal) // len(near)
    if number := int((np.bincount(different)[near] > 1).sum()):
        stays = "stay on the same side of every split made by this program"
        if scaled.joint is not scaled.near:
            stays = (
                "lie on BOTH SIDES of splits, because too many are connected; define groups (--group-by) if possible"
            )
        remarks.append(f"{counted(number, 'near-duplicate image')} {stays}")
    if table.groups is not None:
        remarks.append(counted(len(np.unique(table.groups)), "group"))
    return remarks


def _duplicates(table: _ImageTable, digests: Array) -> tuple[str, ...]:
    """Return texts "A = B" of at most ``_MOST_NAMED`` images that occur more than once, then the number of the rest."""
    _, firsts, inverse = np.unique(digests, return_index=True, return_inverse=True)
    originals = firsts[inverse]
    repeats = np.flatnonzero(originals != np.arange(len(digests))).tolist()
    pairs = [f"{table.name(originals[index])} = {table.name(index)}" for index in repeats[:_MOST_NAMED]]
    more = len(repeats) - _MOST_NAMED
    return (*pairs, *([f"and {more:,} more"] if more > 0 else []))


def check_facts(spec: Dataset) -> None:
    """Raise DataError if ``data.json`` of a user data set contradicts the stored images."""
    folder = workspace().data(spec.name)
    with np.load(folder / OWN_FILES[0]) as train, np.load(folder / OWN_FILES[1]) as test:
        mean, std = _statistics(train["pixels"], spec.name)
        validation_size, folds = _turns_of(train["fold"])
        due = {
            "mean": mean,
            "std": std,
            "image_shape": train["pixels"].shape[1:],
            "train_size": len(train["labels"]) - validation_size,
            "validation_size": validation_size,
            "folds": folds,
            "test_size": len(test["labels"]),
        }
    if spec.test_groups:
        due["test_group_sizes"] = _sizes(spec.test_groups)
    for name, value in due.items():
        if getattr(spec, name) != value:
            raise DataError(f"{folder / 'data.json'}: {name}: {getattr(spec, name)} stated, {value} computed")


def _turns_of(fold: Array) -> tuple[int, int]:
    """Return the number of validation images of the first fold, and the number of folds."""
    return int((fold == 0).sum()), int(fold[fold != divisions.ALWAYS_TRAINED].max()) + 1


def _statistics(pixels: Array, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, on a scale from 0 to 1."""
    shades = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        counts = np.zeros(256, np.int64)
        for block in values.chunks(len(pixels), pixels[0].size):
            counts += np.bincount(pixels[block, channel].ravel(), minlength=256)
        mean = np.average(shades, weights=counts)
        deviation = float(np.average((shades - mean) ** 2, weights=counts) ** 0.5)
        if np.count_nonzero(counts) < 2:
            raise DataError(f"all training images of {name} have the same shade in channel {channel}")
        means.append(round(float(mean), 6))
        deviations.append(round(deviation, 6))
    return tuple(means), tuple(deviations)


def _write(spec: Dataset, *parts: Mapping[str, Array]) -> Dataset:
    """Write a data set unless already stored, update the facts about the source, and return ``spec`` with the files."""
    folder = workspace().data(spec.name)
    files: dict[str, bytes] = {}
    is_new = not os.path.isfile(folder / "data.json")
    if is_new:
        for file, arrays in zip(OWN_FILES, parts, strict=True):
            buffer = io.BytesIO()
            np.savez(buffer, allow_pickle=False, **arrays)
            files[file] = buffer.getvalue()
        sums = [DataFile(file, hashlib.sha256(content).hexdigest(), "") for file, content in files.items()]
        spec = replace(spec, all_files=tuple(sums))
    else:
        # The fields that are not compared describe the source, whose name or order may have changed.
        source_facts = {item.name: getattr(spec, item.name) for item in fields(spec) if not item.compare}
        stored = dataset(spec.name)
        # Equal images may be read with other groups of the same sizes; the groups read first decide.
        source_facts["test_groups"] = stored.test_groups or spec.test_groups
        spec = replace(stored, **source_facts)
    files["data.json"] = json_text(document_of(spec)).encode()
    if is_new or read_bytes(folder / "data.json") != files["data.json"]:
        write_together({folder / file: content for file, content in files.items()})
    return spec

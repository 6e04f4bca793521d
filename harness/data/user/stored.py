"""User data sets: read a source, check and split the images, and store the result in the workspace.

A stored data set is read by the name ``NAME-HASH``; the hash covers the content. The order of images in the source and
the kind of source have no influence.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.data.datasets import DataFile, Dataset, dataset, plain_name
from harness.data.groups import independent_cases
from harness.data.training_images import USER_FILES, content_digest
from harness.data.user import divisions, values
from harness.data.user.layouts import PARTS
from harness.data.user.near_duplicates import NearKeys, near_keys
from harness.data.user.sources import DataPart, Source, part_of_arrays, part_of_torch, source_at
from harness.data.user.values import Array, Scale
from harness.spaces.ops import Shape, shape_text
from harness.system.document import document_of, read_as
from harness.system.errors import DataError, UsageError
from harness.system.files import json_text, locked, read_bytes, workspace, write_json, write_together
from harness.system.terminal import counted

_MAX_CLASSES = 256  # classes of a data set
_MAX_NAMED = 10  # duplicates listed by name
_MAX_SPLITS = 8  # attempts to find a split whose sides share no equal pixels
_FEW_VALUES = 16  # most pixel values of a channel that outliers may have squeezed (``_squeezed``)
_MANY_TIMES = 8  # least ratio of different numbers in the source to pixel values of the channel
_ROUNDED = "different images become equal or nearly equal when numbers are rounded to 256 pixel values"
# Indices into ``PARTS``.
_TRAIN, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of reading a source (`Data.read`); ``str`` returns the command-line options."""

    shape: Shape | None = None
    group_by: str | None = None
    balanced: bool = False
    channels: str | None = None
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        if self.shape is not None:
            sizes = self.shape if isinstance(self.shape, list | tuple) else ()
            if len(sizes) != 3 or not all(isinstance(size, int | np.integer) and 0 < size < 10_000 for size in sizes):
                expected_text = "three integers (channels, rows, columns) from 1 to 9999"
                raise DataError(f"shape must be {expected_text}, got {self.shape!r}")
            object.__setattr__(self, "shape", tuple(map(int, sizes)))
        if self.channels not in (None, "first", "last", "none"):
            raise DataError(f'channels must be "first", "last" or "none", got {self.channels!r}')
        if not isinstance(self.balanced, bool) or not isinstance(self.allow_overlap, bool):
            flags = f"{self.balanced!r} and {self.allow_overlap!r}"
            raise DataError(f"balanced and allow_overlap must be True or False, got {flags}")

    @property
    def input(self) -> str:
        """Value of the option ``--input``; empty without a shape."""
        return shape_text(self.shape) if self.shape else ""

    def __str__(self) -> str:
        pairs = {"--input": self.input, "--group-by": self.group_by, "--channels": self.channels}
        texts = [f"{option} {value}" for option, value in pairs.items() if value]
        flags = {"--score balanced": self.balanced, "--allow-overlap": self.allow_overlap}
        texts += [option for option, is_set in flags.items() if is_set]
        return " ".join(texts) or "no options"


def data_name(text: str, options: SourceOptions | None = None, name: str = "") -> str:
    """Return the name of a data set, after reading and storing the source if ``text`` is a path.

    Args:
        options: Options, which are remembered for the path; None uses the remembered options.
        name: Name in place of the name of the path.

    Raises:
        UsageError: The data set, file or folder does not exist, the data set was read with different options, or the
            path was described in several ways.
        ContentError: ``described.json``, or the stored facts of the data set, are damaged.
        DataError: Same as for `Data.read`.
    """
    if not os.path.exists(text) and os.sep in text:
        raise UsageError(f"no such file or folder: {text[:200]}")
    # A stored data set has priority over a file of the same name.
    if not os.path.exists(text) or os.path.isfile(workspace().data(text) / "data.json"):
        spec = dataset(text)
        _check_options(spec, options or SourceOptions())
        if spec.is_user_data and not spec.test_pictures:
            hint = "remove the data set and read the source again"
            raise UsageError(
                f"data set {spec.name} was stored by an earlier version without groups of copies", hint=hint
            )
        return spec.name
    source_options = options_of_path(text) if options is None else options
    source = source_at(Path(text), source_options.shape, source_options.group_by)
    spec = _store(replace(source, name=name or source.name), source_options)
    if options is not None:
        _remember(text, spec.name, options)
    return spec.name


def options_of_path(text: str) -> SourceOptions:
    """Return the remembered options of a path, or the default options.

    Raises:
        UsageError: The path was described in several ways.
        ContentError: ``described.json`` is damaged.
    """
    choices_by_name = options_by_name(text)
    if len({*choices_by_name.values()}) > 1:
        choices = "; ".join(f"{name} with {options}" for name, options in choices_by_name.items())
        message = f"{text} was described with different options: {choices}"
        raise UsageError(message, hint="pass the name of the data set instead of the path")
    return next(iter(choices_by_name.values()), SourceOptions())


def options_by_name(text: str) -> dict[str, SourceOptions]:
    """Return the remembered options by name of the data set, if still stored; raises as above."""
    entries = _entries_by_path().get(os.path.realpath(text), [])
    return {each.name: each.options for each in entries if os.path.isfile(workspace().data(each.name) / "data.json")}


@dataclass(frozen=True, slots=True)
class _NamedOptions:
    name: str
    options: SourceOptions


def _remember(text: str, name: str, options: SourceOptions) -> None:
    entry = _NamedOptions(name, options)
    with locked(workspace().data(".lock")):
        entries_by_path = _entries_by_path()
        entries = entries_by_path.setdefault(os.path.realpath(text), [])
        if entry not in entries:
            entries.append(entry)
            write_json(_options_file(), document_of(entries_by_path))


def _options_file() -> Path:
    return workspace().data("described.json")  # beside the folders of the data sets


def _entries_by_path() -> dict[str, list[_NamedOptions]]:
    path = _options_file()
    if not path.is_file():
        return {}
    hint = "the file may be removed: only the options of described paths are lost"
    return read_as(dict[str, list[_NamedOptions]], path, f"the file {path}", hint=hint)


def _check_options(spec: Dataset, options: SourceOptions) -> None:
    # Images may have this shape without being resized. allow_overlap does not change the content.
    requests = (options.shape, options.group_by, options.balanced, options.channels)
    stored_values = (spec.image_shape, spec.group_by, spec.balanced, spec.channels)
    if any(value and value != stored_value for value, stored_value in zip(requests, stored_values, strict=True)):
        raise UsageError(
            f"data set {spec.name} was not read with {options}",
            hint="to read the source again with these options, pass the path of the file or folder",
        )


class Data:
    """Constructors of user data sets, which ``harness.search`` and similar functions accept as ``dataset``."""

    @staticmethod
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
            path: An ``.npz`` with the keys of Keras or MedMNIST or ``X, y[, X_test, y_test]``; a folder of pictures in
                a layout of `layouts` (``CLASS/*``, ``PART/CLASS/*`` or ``CLASS/PART/*``); a folder of IDX files; or
                series as ``.ts`` or UCR's ``.tsv`` (``NAME_TEST`` is found beside ``NAME_TRAIN``).
            shape: (channels, rows, columns) to resize images to; None keeps the size.
            group_by: Groups that must not be divided by a split: name of an array of the ``.npz`` (``NAME_test`` for
                the test part), or ``_`` for the part of a file name before the first ``_``.
            balanced: Validate and test on equally many images of each class, so that the accuracy is the mean of the
                class accuracies. Surplus test images are left out; surplus validation images are trained on, or left
                out if the data have groups. An epoch repeats the training images of small classes.
            channels: Position of the channel axis in an ambiguous array of an ``.npz``: ``first``, ``last``, or
                ``none`` for pictures without channels.
            allow_overlap: Accept parts with common images or groups; the overlap is stated in the data set.

        Returns:
            The facts of the stored data set.

        Raises:
            DataError: The path does not exist or is not a supported source, an option is not allowed, or the content is
                inconsistent.
        """
        options = SourceOptions(shape, group_by, balanced, channels, allow_overlap)
        if not isinstance(path, str | os.PathLike) or not os.path.exists(path):
            raise DataError(f"no such file or folder: {path!s:.200}")
        return _store(source_at(Path(path), options.shape, group_by), options)

    @staticmethod
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
            x: Images (images, rows, columns[, channels]) or series (series, steps); with ``channels``, further layouts
                of `values.arranged`. A list has an array per image.
            y: Class of each image, integers or texts.
            x_test: Test images, which are locked; None sets a fifth of ``x`` aside.
            y_test: Classes of ``x_test``.
            groups: Group of each image; images of the same group must not be divided by a split.
            groups_test: Groups of ``x_test``, required if ``groups`` and ``x_test`` are given.
            shape: Same as for `read`; so are ``balanced`` and ``allow_overlap``.
            channels: Position of the channel axis, ``first`` or ``last``; required for ambiguous arrays and for series
                with channels. ``none`` states that narrow pictures are not series.

        Returns:
            The facts of the stored data set.

        Raises:
            DataError: The arrays are inconsistent, or an option is not allowed.
        """
        group_by = None if groups is None else "groups"
        options = SourceOptions(shape, group_by, balanced, channels, allow_overlap)
        source = Source(str(name), {"train": part_of_arrays(x, y, "train", groups)})
        has_one_of_both = (x_test is None) != (y_test is None)
        if has_one_of_both or (x_test is None and groups_test is not None):
            raise DataError("x_test and y_test must be passed together, groups_test only with both")
        if x_test is not None:
            source.parts["test"] = part_of_arrays(x_test, y_test, "test", groups_test)
        return _store(source, options)

    @staticmethod
    def from_torch(
        name: str,
        train: Any,
        test: Any = None,
        *,
        shape: Shape | None = None,
        channels: str | None = None,
        allow_overlap: bool = False,
    ) -> Dataset:
        """Same as `from_arrays`, for map-style torch data sets of (picture or tensor (channels, rows, columns), class).

        ``channels`` applies to items that are NumPy arrays. Without ``test``, a fifth of ``train`` is the test part.
        Items must not change when read again, so random transforms are refused. The attribute ``classes`` names the
        classes only if the labels of the items are proven to be names or indices of ``classes``.
        """
        options = SourceOptions(shape, channels=channels, allow_overlap=allow_overlap)
        source = Source(str(name), {})
        for part, data in (("train", train), ("test", test)):
            if data is not None:
                source.parts[part] = part_of_torch(data, part, channels, source.remarks)  # appends remarks
        return _store(source, options)


# From a source to a data set ---------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _ImageTable:
    """All images of a source, sorted by part, class and content; every array has an entry per image.

    Attributes:
        numbers: Unscaled images of each part, by index of the part in ``PARTS``.
        digests: SHA-256 of the unscaled image.
        groups: Name of the group, bytes; None if the source has no groups.
    """

    numbers: dict[int, Array]
    part: Array
    index_in_part: Array
    labels: Array
    classes: list[str]
    digests: Array
    groups: Array | None
    names: dict[int, list[str]]

    @property
    def keys(self) -> list[Array]:
        """Keys of images that must not be divided by a split; the first kind determines which images are chosen."""
        return [self.digests] if self.groups is None else [self.groups, self.digests]

    def blocks(self, indices: Array) -> Iterator[tuple[Array, Array]]:
        for part, numbers in self.numbers.items():
            in_part = np.flatnonzero(self.part[indices] == part)
            for block in values.chunks(len(in_part), numbers[0].size):
                places = in_part[block]
                yield places, numbers[self.index_in_part[indices[places]]]

    def pixels(self, scale: Scale) -> Array:
        pixels = np.empty((len(self.part), *next(iter(self.numbers.values())).shape[1:]), np.uint8)
        for places, block in self.blocks(np.arange(len(self.part))):
            pixels[places] = scale.pixels(block)
        return pixels

    def name(self, index: int) -> str:
        return self.names[int(self.part[index])][int(self.index_in_part[index])]


class _ScaledImages(NamedTuple):
    """All images in the order of `_ImageTable`, scaled to pixels.

    If ``near_stays_together``, splits do not divide near-duplicates.
    """

    is_test: Array
    scale: Scale
    pixels: Array
    pixel_digests: Array
    near_duplicates: NearKeys
    near_stays_together: bool

    @property
    def together(self) -> Array:
        return self.near_duplicates.keys if self.near_stays_together else self.pixel_digests


def _store(source: Source, options: SourceOptions) -> Dataset:
    table = _image_table(source, options)
    remarks = _scale_remarks(table)
    images, fold, is_used = _divided(table, balanced=options.balanced)
    overlap = _overlap(source, options, table, images)
    remarks += _remarks(source, table, images)
    duplicates = _duplicates(table, images.pixel_digests)
    # To save memory, the numbers are freed when no longer needed, and the pixels when the parts hold copies.
    table.numbers.clear()
    scale = images.scale
    unlocked_part, locked_part, groups = _parts_to_write(table, images, fold, is_used, balanced=options.balanced)
    del images
    if table.groups is None and (groups["validation_group_sizes"] or groups["test_group_sizes"]):
        remarks.append("all copies of an image, nearly equal images included, count as a group")
    if surplus := len(table.part) - len(unlocked_part["labels"]) - len(locked_part["labels"]):
        remarks.append(f"left out: {counted(surplus, 'surplus image')} of larger classes")
    spec = Dataset(
        name="",  # follows from the hash
        target_pct=0.0,  # no default target
        licence="",
        classes=len(table.classes),
        **_computed_facts(unlocked_part, locked_part, source.name),
        **groups,
        class_names=tuple(table.classes),
        balanced=options.balanced,
        overlap=overlap,
        duplicates=duplicates,
        remarks=tuple(remarks),
        input=options.input,
        group_by=options.group_by or "",
        channels=options.channels or "",
        allow_overlap=options.allow_overlap,
        low=tuple(map(float, scale.low)),
        high=tuple(map(float, scale.high)),
    )
    digest = content_digest(spec, [*unlocked_part.values(), *locked_part.values()])
    spec = replace(spec, name=f"{plain_name(source.name) or 'own'}-{digest[:8]}", sha256=digest)
    with locked(workspace().data(".lock")):
        return _write(spec, unlocked_part, locked_part)


def _overlap(source: Source, options: SourceOptions, table: _ImageTable, images: _ScaledImages) -> str:
    indices = {PARTS[part]: np.flatnonzero(table.part == part) for part in table.numbers}
    overlap = divisions.overlap(indices, images.pixel_digests, images.near_duplicates.keys, table.groups)
    if overlap and not options.allow_overlap:
        hint = "the option allow-overlap accepts the parts and records the overlap in the data set"
        raise DataError(f"the parts of {source.name} overlap: {overlap}", hint=hint)
    return overlap


def _image_table(source: Source, options: SourceOptions) -> _ImageTable:
    by_index = {index: source.parts[part] for index, part in enumerate(PARTS) if part in source.parts}
    if _TRAIN not in by_index:
        raise DataError(f"{source.name} has no training part; parts found: {', '.join(source.parts) or 'none'}")
    classes = by_index[_TRAIN].classes
    if not 2 <= len(classes) <= _MAX_CLASSES:
        classes_text = counted(len(classes), "class", "classes")
        raise DataError(f"{source.name} has {classes_text} for training; allowed: 2 to {_MAX_CLASSES}")
    numbers = _numbers(by_index, source.name, options)
    class_index = {label: index for index, label in enumerate(classes)}
    parts = np.concatenate([np.full(len(part.labels), index) for index, part in by_index.items()])
    indices = np.concatenate([np.arange(len(part.labels)) for part in by_index.values()])
    labels = np.array([class_index[label] for part in by_index.values() for label in part.labels])
    digests = np.concatenate([values.digests(images) for images in numbers.values()])
    # Names of groups may contain lone surrogates.
    keys = [group.encode("utf-8", "surrogateescape") for part in by_index.values() for group in part.groups]
    # The order of the source must not influence the hash of the data set.
    order = np.lexsort((digests, labels, parts))
    names = {index: part.names for index, part in by_index.items()}
    groups = np.array(keys)[order] if keys else None
    return _ImageTable(numbers, parts[order], indices[order], labels[order], classes, digests[order], groups, names)


def _check_same_classes_and_groups(train: DataPart, part: DataPart, name: str, source: str) -> None:
    train_only = {*train.classes} - {*part.classes}
    part_only = {*part.classes} - {*train.classes}
    if train_only or part_only:
        present, absent = ("train", name) if train_only else (name, "train")
        classes = sorted(train_only or part_only)
        labels = ", ".join(map(repr, classes[:20]))
        message = f"{source} has {counted(len(classes), 'class', 'classes')} in the {present} part"
        message += f" that the {absent} part lacks: {labels}{', ...' if len(classes) > 20 else ''}"
        raise DataError(message, hint=f"remove these classes, or remove the {name} part, which is then set aside")
    if bool(part.groups) != bool(train.groups):
        raise DataError(f"groups must be given for both the train and the {name} part, or for neither")


def _numbers(by_index: Mapping[int, DataPart], source: str, options: SourceOptions) -> dict[int, Array]:
    """Return the unscaled images, (images, channels, rows, columns), by index of the part.

    The images are removed from the parts, so that memory holds one copy.
    """
    numbers: dict[int, Array] = {}
    for index, part in by_index.items():
        _check_same_classes_and_groups(by_index[_TRAIN], part, PARTS[index], source)
        numbers[index] = values.arranged(part.images, part.names, part.channels or options.channels, options.shape)
        part.images = None
    shapes = {PARTS[index]: shape_text(images.shape[1:]) for index, images in numbers.items()}
    if len({*shapes.values()}) > 1:
        sizes = ", ".join(f"{part} {shape}" for part, shape in shapes.items())
        raise DataError(f"the parts have images of different shapes: {sizes}")
    return numbers


def _scale_remarks(table: _ImageTable) -> list[str]:
    """Return a remark for each part of doubtful scale; raise DataError if a part has another scale than training.

    The reference is the training part alone, because the range for pixels also follows from the validation part.
    """
    train, *other_parts = table.numbers.items()
    scale = Scale.fitted([train[1]])
    deviation = scale.deviation(train[1])
    remarks = []
    for part, numbers in other_parts:
        fault = scale.fault(numbers, deviation)
        if fault is not None and fault.is_certain:
            raise DataError(f"numbers of {PARTS[part]} {fault.text}", hint="all parts must have the same scale")
        if fault is not None:
            remarks.append(f"THE SCALES OF THE PARTS MAY DIFFER: numbers of {PARTS[part]} {fault.text}")
    return remarks


def _divided(table: _ImageTable, *, balanced: bool) -> tuple[_ScaledImages, Array, Array]:
    """Near-duplicates are not divided, unless so many are connected that no split exists."""
    try:
        images = _split_and_scale(table, near_stays_together=True)
        return images, *_choose_folds(table, images, balanced=balanced)
    except DataError:
        images = _split_and_scale(table, near_stays_together=False)
        return images, *_choose_folds(table, images, balanced=balanced)


def _split_and_scale(table: _ImageTable, *, near_stays_together: bool) -> _ScaledImages:
    """Lock the test part, or a fifth if there is none, and scale all images to the range of the unlocked images.

    Raises:
        DataError: No fifth can be set aside.
    """
    keys = table.keys
    is_test = table.part == _TEST
    has_test = is_test.any()
    for attempt in range(_MAX_SPLITS):
        if not has_test:
            # The tag makes this choice independent of the folds.
            units = divisions.connected_units(keys, tag="test-v1")
            try:
                is_test = divisions.choose_fifth(
                    table.labels, units, table.part == _VALIDATION, table.classes, has_groups=table.groups is not None
                )
            except DataError as error:
                cause = f": {_ROUNDED}" if attempt else ""
                raise DataError(f"{error.message}{cause}") from error
        scale = Scale.fitted(block for _, block in table.blocks(np.flatnonzero(~is_test)))
        pixels = table.pixels(scale)
        pixel_digests = values.digests(pixels)
        duplicates = near_keys(pixels, pixel_digests, table.labels)
        images = _ScaledImages(is_test, scale, pixels, pixel_digests, duplicates, near_stays_together)
        if has_test or not np.isin(images.together[is_test], images.together[~is_test]).any():
            return images
        # Different numbers became equal or nearly equal pixels on both sides, and are kept together. The next split has
        # a different range, which may make more images equal; units only grow.
        keys.append(images.together)
    raise DataError(f"cannot set aside a fifth of the images: {_ROUNDED}")


def _choose_folds(table: _ImageTable, images: _ScaledImages, *, balanced: bool) -> tuple[Array, Array]:
    not_test = np.flatnonzero(~images.is_test)
    units = divisions.connected_units([key[not_test] for key in (*table.keys, images.together)], tag="split-v1")
    in_validation = table.part[not_test] == _VALIDATION
    validation = in_validation if in_validation.any() else None
    return divisions.choose_validation(
        table.labels[not_test], units, validation, table.classes, has_groups=table.groups is not None, balanced=balanced
    )


def _parts_to_write(
    table: _ImageTable, images: _ScaledImages, fold: Array, is_used: Array, *, balanced: bool
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Any]]:
    image_indices = np.flatnonzero(~images.is_test)[is_used]
    fold = fold[is_used]
    test = np.flatnonzero(images.is_test)
    if balanced:
        labels = table.labels[test]
        test = test[divisions.evened(labels, unit_of_image=np.arange(len(test)), cell_count=len(table.classes))]
    # A connected group has the least key, so groups without copies keep the order of the names.
    units = divisions.connected_units([*table.keys, images.near_duplicates.keys])
    keys = units.keys[units.of_image]
    validation_keys = keys[image_indices[fold != divisions.ALWAYS_TRAINED]]
    copy_keys = images.near_duplicates.keys[test]
    has_groups = table.groups is not None
    test_sizes = divisions.group_sizes(keys[test], has_groups=has_groups)
    groups = {
        "validation_group_sizes": divisions.group_sizes(validation_keys, has_groups=has_groups),
        "test_group_sizes": test_sizes,
        "test_groups": tuple(np.unique(keys[test], return_inverse=True)[1].tolist()) if test_sizes else (),
        "test_pictures": independent_cases(divisions.group_sizes(copy_keys) or (1,) * len(copy_keys)),
    }
    return (
        {"pixels": images.pixels[image_indices], "labels": table.labels[image_indices].astype("<i8"), "fold": fold},
        {"pixels": images.pixels[test], "labels": table.labels[test].astype("<i8")},
        groups,
    )


def _remarks(source: Source, table: _ImageTable, images: _ScaledImages) -> list[str]:
    remarks = list(source.remarks)
    pixels = images.pixels
    # The smallest hashes are a sample of all images, independent of order and classes.
    sample = np.argsort(table.digests, kind="stable")[:200]
    if any(_squeezed(block, pixels[sample[places]]) for places, block in table.blocks(sample)):
        extent = f"{images.scale.low.min():g} to {images.scale.high.max():g}"
        remarks.append(f"outliers extend the range to {extent}, so most images use few of the 256 pixel values")
    channels, rows, columns = pixels.shape[1:]
    edge = round(columns**0.5)
    is_flat = source.parts["train"].channels is None and (channels, rows) == (1, 1)
    if is_flat and edge >= 8 and edge**2 == columns:
        shape = f"images x {edge} x {edge}"
        remarks.append(f"rows of {columns} numbers are read as series; pictures have the shape {shape}")
    duplicates = images.near_duplicates
    component = np.unique(duplicates.keys, return_inverse=True)[1]
    picture_counts = np.bincount(component[np.unique(images.pixel_digests, return_index=True)[1]])
    if number := int((picture_counts[component] > 1).sum()):
        stays = "stay on the same side of every split made by this program"
        if not images.near_stays_together:
            stays = "lie on BOTH SIDES of splits, because too many are connected; define groups if possible"
        remarks.append(f"{counted(number, 'near-duplicate image')} {stays}")
    if duplicates.dropped_pairs:
        limit = counted(duplicates.levels, "grey level")
        remarks.append(
            f"{counted(duplicates.dropped_pairs, 'pair')} of similar images that differ by more than {limit} are not"
            " counted as near-duplicates, because too many have different classes"
        )
    if table.groups is not None:
        remarks.append(counted(len(np.unique(table.groups)), "group"))
    return remarks


def _squeezed(numbers: Array, pixels: Array) -> bool:
    planes = np.ndindex(pixels.shape[:2])  # image and channel
    counts = [(len(np.unique(pixels[plane])), len(np.unique(numbers[plane]))) for plane in planes]
    pixel_values, source_values = np.median(counts, axis=0)
    return bool(pixel_values <= _FEW_VALUES and source_values >= _MANY_TIMES * pixel_values)


def _duplicates(table: _ImageTable, digests: Array) -> tuple[str, ...]:
    _, firsts, inverse = np.unique(digests, return_index=True, return_inverse=True)
    originals = firsts[inverse]
    repeats = np.flatnonzero(originals != np.arange(len(digests))).tolist()
    duplicates = [f"{table.name(originals[index])} = {table.name(index)}" for index in repeats[:_MAX_NAMED]]
    if len(repeats) > _MAX_NAMED:
        duplicates.append(f"and {len(repeats) - _MAX_NAMED:,} more")
    return tuple(duplicates)


def check_facts(spec: Dataset) -> None:
    """Raise DataError if the facts in ``data.json`` of a user data set contradict the stored images."""
    folder = workspace().data(spec.name)
    with np.load(folder / USER_FILES[0]) as train, np.load(folder / USER_FILES[1]) as test:
        expected_facts = _computed_facts(train, test, spec.name)
    if spec.test_groups:
        expected_facts["test_group_sizes"] = divisions.group_sizes(np.array(spec.test_groups), has_groups=True)
    for name, value in expected_facts.items():
        if getattr(spec, name) != value:
            raise DataError(f"{folder / 'data.json'}: {name}: {getattr(spec, name)} stated, {value} computed")


def _computed_facts(train: Mapping[str, Array], test: Mapping[str, Array], name: str) -> dict[str, Any]:
    pixels = train["pixels"]
    fold = train["fold"]
    shades = np.arange(256) / 255
    means = []
    deviations = []
    for channel in range(pixels.shape[1]):
        counts = np.histogram(pixels[:, channel], bins=256, range=(0, 256))[0]
        mean = float(np.average(shades, weights=counts))
        if np.count_nonzero(counts) < 2:
            raise DataError(f"all training images of {name} have the same shade in channel {channel}")
        means.append(round(mean, 6))
        deviations.append(round(float(np.average((shades - mean) ** 2, weights=counts) ** 0.5), 6))
    validation_size = int((fold == 0).sum())
    return {
        "mean": tuple(means),
        "std": tuple(deviations),
        "image_shape": pixels.shape[1:],
        "train_size": len(pixels) - validation_size,
        "validation_size": validation_size,
        "folds": int(fold[fold != divisions.ALWAYS_TRAINED].max()) + 1,
        "test_size": len(test["labels"]),
    }


def _write(spec: Dataset, *parts: Mapping[str, Array]) -> Dataset:
    folder = workspace().data(spec.name)
    files: dict[str, bytes] = {}
    is_new = not os.path.isfile(folder / "data.json")
    if is_new:
        for file, arrays in zip(USER_FILES, parts, strict=True):
            buffer = io.BytesIO()
            np.savez(buffer, allow_pickle=False, **arrays)
            files[file] = buffer.getvalue()
        sums = [DataFile(file, hashlib.sha256(content).hexdigest(), "") for file, content in files.items()]
        spec = replace(spec, all_files=tuple(sums))
    else:
        # These fields describe the source, which may have changed.
        source_facts = {item.name: getattr(spec, item.name) for item in fields(spec) if not item.compare}
        stored_spec = dataset(spec.name)
        if spec.group_by and stored_spec.test_groups:
            # Equal images may be read with other groups of the same sizes; the groups read first decide.
            source_facts["test_groups"] = stored_spec.test_groups
        spec = replace(stored_spec, **source_facts)
    spec = spec.sealed()
    files["data.json"] = json_text(document_of(spec)).encode()
    if is_new or read_bytes(folder / "data.json") != files["data.json"]:
        write_together({folder / file: content for file, content in files.items()})
    return spec

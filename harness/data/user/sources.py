"""Readers of user data: folders of pictures, ``.npz``, IDX files, series, arrays and torch data sets."""

from __future__ import annotations

import gzip
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.training_images import idx_array
from harness.data.user import values
from harness.data.user.labels import read_labels, text_label
from harness.data.user.layouts import PART_OF_WORD, kind_of, read_layout
from harness.spaces.ops import Shape
from harness.system.errors import DataError, HarnessError, reason
from harness.system.terminal import counted

DATA_ENDINGS = (".npz", ".ts", ".tsv")  # of files that `source_at` reads
_KIND_OF_WORD = {
    **dict.fromkeys(("x", "images", "image"), "images"),
    **dict.fromkeys(("y", "labels", "label", "target", "targets"), "labels"),
}
_GROUPS_REMARK = "{} repeated values; if these name persons or devices, --group-by {} keeps their images in one part"
# Archives that exceed both limits are refused as decompression bombs.
_SMALL_CONTENT = 2**26  # bytes of the content
_MAX_COMPRESSION = 200  # compression ratio; images reach about 50


_ITEMS_READ_TWICE = 32  # of a torch data set; a random flip is missed with probability 2^-32


@dataclass(slots=True, eq=False)
class DataPart:
    """The images of a part, as stored in the source.

    Attributes:
        images: An array, or a list with an array per image.
        labels: Class name of each image.
        groups: Group of each image; empty without ``group_by``.
        channels: Position of the channel axis, ``first`` or ``last``; None if unknown.
    """

    images: Any
    labels: list[str]
    classes: list[str]
    names: list[str]
    groups: list[str] = field(default_factory=list)
    channels: str | None = None


@dataclass(slots=True, eq=False)
class Source:
    """The parts of a source, by name, and ``remarks`` for the user, such as the files left out."""

    name: str
    parts: dict[str, DataPart]
    remarks: list[str] = field(default_factory=list)


def source_at(root: Path, shape: Shape | None = None, group_by: str | None = None) -> Source:
    """Read a file or folder.

    Args:
        shape: (channels, rows, columns) to which pictures in folders are resized while reading, to save memory.
        group_by: Array of groups in an ``.npz``, or ``_`` for the prefix of file names; None for no groups.

    Raises:
        DataError: The format is not supported, the content is damaged, or groups are missing.
    """
    try:
        if root.is_dir():
            source = _idx_folder(root) or _picture_folder(root, shape, group_by)
        elif not root.is_file():
            raise DataError(f"{root} must be a file or a folder, not a device or a pipe")
        elif root.suffix.lower() in DATA_ENDINGS:
            read = _npz if root.suffix.lower() == ".npz" else _series
            source = read(root, group_by)
        else:
            allowed_sources = f"folders of pictures or IDX files, {', '.join(DATA_ENDINGS)} files"
            raise DataError(f"{root} is not a data set; allowed: {allowed_sources}")
    except HarnessError:
        raise
    except Exception as error:  # libraries raise arbitrary errors for damaged files
        hint = "save texts and numbers, not objects, as in y.astype(str)" if "allow_pickle" in str(error) else None
        raise DataError(f"cannot read {root}: {' '.join(reason(error).split())}", hint=hint) from error
    if group_by is not None and not all(part.groups for part in source.parts.values()):
        allowed_sources = ".npz files and folders of pictures"
        raise DataError(f"groups by {group_by}: {root} has no groups; allowed: {allowed_sources}")
    return source


def part_of_arrays(images: Any, labels: Any, part: str, groups: Any = None, channels: str | None = None) -> DataPart:
    """Return images and labels as a part.

    Args:
        images: Array, tensor or data frame, or a list with an array per image.
        labels: Class of each image (``read_labels``); so are ``groups``.
        channels: Position of the channel axis; tensors with four axes have the channels first.

    Raises:
        DataError: The numbers of images, labels and groups differ, or labels or groups are not allowed.
    """
    label_names, classes = read_labels(labels, f"labels of {part}")
    if hasattr(images, "detach") and images.ndim == 4:
        channels = "first"
    if not isinstance(images, list | tuple):
        images = values.as_array(images)
        if not images.ndim:
            raise DataError(f"images of {part} must be an array, got a scalar of type {images.dtype}")
    if len(images) != len(label_names):
        raise DataError(f"{part} has {len(images)} images and {len(label_names)} labels")
    names = [f"{part} {index}" for index in range(len(images))]
    data_part = DataPart(images, label_names, classes, names, channels=channels)
    if groups is not None:
        data_part.groups, _ = read_labels(groups, f"groups of {part}")
        if len(images) != len(data_part.groups):
            raise DataError(f"{part} has {len(images)} images and {len(data_part.groups)} groups")
    return data_part


# Arrays ----------------------------------------------------------------------------------------------------------


def _npz(path: Path, group_by: str | None) -> Source:
    _check_archive(path)
    with np.load(path, allow_pickle=False) as arrays:
        parts: dict[str, DataPart] = {}
        unused_arrays = list(arrays)
        for part, keys in _keys_by_part(path, list(arrays)).items():
            if group_by is not None:
                keys["groups"] = _group_key(group_by, part, list(arrays), path)
            parts[part] = part_of_arrays(part=part, **{kind: arrays[key] for kind, key in keys.items()})
            unused_arrays = [key for key in unused_arrays if key not in keys.values()]
        may_be_groups = [key for key in unused_arrays if _may_be_groups(arrays[key], parts["train"].labels)]
    source = Source(path.stem, parts)
    if unused_arrays:
        source.remarks.append(f"left out: the arrays {', '.join(unused_arrays)}")
    if may_be_groups and group_by is None:
        name = "_".join(word for word in may_be_groups[0].split("_") if word.lower() not in PART_OF_WORD)
        source.remarks.append(_GROUPS_REMARK.format(f"the array {may_be_groups[0]} contains", name))
    return source


def _may_be_groups(names: Any, labels: Sequence[str]) -> bool:
    array = np.asarray(names)
    if array.shape != (len(labels),) or array.dtype.kind not in "iuUS":
        return False
    pairs = {*zip(array.tolist(), labels, strict=True)}
    return 1 < len({name for name, _ in pairs}) <= len(labels) / 2 and len(pairs) > len({*labels})


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    values.check_bytes(path, size)
    packed_size = path.stat().st_size
    if size > _SMALL_CONTENT and size > _MAX_COMPRESSION * packed_size:
        raise DataError(f"{path} has a compression ratio of {size // packed_size}; allowed: up to {_MAX_COMPRESSION}")
    repetitions = _repeated(entry.filename for entry in entries)
    if repetitions:
        raise DataError(f"{path} contains {repetitions[0]} twice")


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, number in Counter(names).items() if number > 1]


def _keys_by_part(path: Path, names: list[str]) -> dict[str, dict[str, str]]:
    keys = _by_role(path, {key: key.lower().split("_") for key in names}, "array")
    complete = {part: keys_of_part for part, keys_of_part in keys.items() if len(keys_of_part) == 2}
    if not complete:
        content = ", ".join(names) or "nothing"
        allowed_names = "X and y, x_train and y_train, or train_images and train_labels"
        raise DataError(f"{path} contains {content}; expected arrays such as {allowed_names}")
    return complete


def _by_role(source: Path, words_of: Mapping[str, list[str]], noun: str) -> dict[str, dict[str, str]]:
    names: dict[str, dict[str, str]] = {}
    for name, words in words_of.items():
        role = _role(words)
        if role is not None:
            part, kind = role
            earlier_name = names.setdefault(part, {}).setdefault(kind, name)
            if earlier_name != name:
                names_text = f"{earlier_name} and {name}, both {kind} of {part}"
                raise DataError(f"{source} contains {names_text}; keep a single {noun}")
    return names


def _role(words: list[str]) -> tuple[str, str] | None:
    parts = [PART_OF_WORD[word] for word in words if word in PART_OF_WORD]
    kinds = [_KIND_OF_WORD[word] for word in words if word in _KIND_OF_WORD]
    if len(kinds) != 1 or len(parts) > 1 or len(words) != len(kinds) + len(parts):
        return None
    return parts[0] if parts else "train", kinds[0]


def _group_key(group_by: str, part: str, keys: list[str], path: Path) -> str:
    usual_key = group_by if part == "train" else f"{group_by}_{part}"
    words = [word for word, part_of_word in PART_OF_WORD.items() if part_of_word == part]
    for key in (usual_key, *(f"{group_by}_{word}" for word in words), *(f"{word}_{group_by}" for word in words)):
        if key in keys:
            return key
    raise DataError(f"groups by {group_by}: {path} has no array {usual_key}; arrays: {', '.join(keys)}")


def _idx_folder(folder: Path) -> Source | None:
    parts = {}
    unused_paths = set(folder.iterdir())
    # The reverse order lets the uncompressed of two files win.
    paths = {path.name.lower().removesuffix(".gz"): path for path in sorted(unused_paths, reverse=True)}
    words_of = {}
    for name, path in sorted(paths.items()):
        if re.search(r"(^|[^a-z])idx", name) and not name.startswith(".") and path.is_file():
            words = re.split(r"[^a-z0-9]+", name)
            words_of[path.name] = [word for word in words if word in (*PART_OF_WORD, *_KIND_OF_WORD)]
    for part, names in _by_role(folder, words_of, "file").items():
        pair = {kind: folder / name for kind, name in names.items()}
        if len(pair) < 2:
            absent = "labels" if "images" in pair else "images"
            raise DataError(f"{folder} has no {absent} of {part}")
        labels = _idx(pair["labels"])
        if labels.shape[1:] == (8,):
            # QMNIST's labels have eight columns, of which the first is the class (Yadav and Bottou 2019).
            labels = labels[:, 0]
        parts[part] = part_of_arrays(_idx(pair["images"]), labels, part)
        unused_paths -= {*pair.values()}
    if not parts:
        return None
    return Source(folder.resolve().name, parts, _left_out_remarks(Counter(map(kind_of, unused_paths))))


def _idx(path: Path) -> values.Array:
    size = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while piece := file.read(2**20):
            size += len(piece)
            values.check_bytes(path, size)
    return idx_array(path)[0]


# Folders of pictures ---------------------------------------------------------------------------------------------


def _picture_folder(root: Path, shape: Shape | None, group_by: str | None) -> Source:
    if group_by not in (None, "_"):
        allowed_values = "_ (groups are the parts of the file names before the first _)"
        raise DataError(f"groups by {group_by}: allowed for a folder of pictures: {allowed_values}")
    left_out = Counter[str]()  # files by kind (``kind_of``), and further frames
    conversions = Counter[str]()  # number of pictures by remark
    size = 0
    are_bytes = set[bool]()  # whether pictures have 8 bits per channel; two values: both kinds
    parts: dict[str, DataPart] = {}
    classes_by_part, remark = read_layout(root, left_out)
    for name, classes in classes_by_part.items():
        part = parts[name] = DataPart([], [], [], [], channels="last")
        pictures = [(label, folder.path, file) for label, folder in classes for file in folder.below()]
        for label, class_path, file in pictures:
            picture, is_transparent, further_frames = values.picture(file)
            are_bytes.add(picture.dtype == np.uint8)
            if len(are_bytes) > 1:
                raise DataError(f"{root} has pictures of different bit depths, such as {file}; use a single bit depth")
            numbers = picture if shape is None else values.resized(picture, shape)
            size += numbers.nbytes
            values.check_bytes(root, size)
            conversions["pictures with transparent parts (filled with white)"] += int(is_transparent)
            conversions["pictures in subfolders (included)"] += int(file.parent != class_path)
            left_out["further frame"] += further_frames
            part.images.append(numbers)
            part.labels.append(label)
            part.names.append(os.fsencode(file.relative_to(root)).decode("utf-8", "replace"))
        # Folder names that differ only in the Unicode form are the same class.
        part.classes = sorted({*part.labels})
    if group_by is not None:
        _group_by_names(parts, root)
    remarks = [f"{number:,} {remark}" for remark, number in sorted(conversions.items()) if number]
    names = [Path(name).name for name in parts["train"].names]
    prefixes = [name.partition("_")[0] for name in names]
    if group_by is None and all("_" in name for name in names) and _may_be_groups(prefixes, parts["train"].labels):
        remarks.append(_GROUPS_REMARK.format("file names begin with", "_"))
    if remark:
        remarks.append(remark)
    return Source(root.resolve().name, parts, _left_out_remarks(left_out) + remarks)


def _group_by_names(parts: Mapping[str, DataPart], root: Path) -> None:
    names = [name for part in parts.values() for name in part.names]
    names_without_group = [name for name in names if "_" not in Path(name).name]
    if names_without_group:
        total = f"{len(names_without_group):,} of the {len(names):,} pictures of {root}"
        raise DataError(f"groups by _: {total} have no _ in the file name, such as {names_without_group[0]}")
    for part in parts.values():
        part.groups = [Path(name).name.partition("_")[0] for name in part.names]


def _left_out_remarks(left_out: Mapping[str, int]) -> list[str]:
    counts = [counted(number, kind) for kind, number in sorted(left_out.items()) if number]
    return [f"left out: {', '.join(counts)}"] if counts else []


# Series ----------------------------------------------------------------------------------------------------------


def _series(root: Path, _group_by: str | None) -> Source:
    """Read ``.ts`` (dimensions separated by colons, class last) or ``.tsv`` (class first).

    If the name of the file ends in ``_TRAIN`` or ``_TEST``, the file of the opposite part is read too, if it exists.
    """
    part_files = {"train": root}
    name = root.stem
    if match := re.fullmatch(r"(.+)_(train|test)", root.stem, re.IGNORECASE):
        name = match[1]
        part_of_name = {f"{name}_{part}{root.suffix}".lower(): part for part in ("train", "test")}
        part_files = {}
        for path in sorted(root.parent.iterdir()):
            if path.name.lower() in part_of_name and path.stem.startswith(name):
                part_files[part_of_name[path.name.lower()]] = path
        # Where names differ in case only, the requested file has priority.
        part_files[part_of_name[root.name.lower()]] = root
    remarks: list[str] = []
    parts = {}
    for part, path in part_files.items():
        if not path.is_file():
            raise DataError(f"{path} is a device or a pipe, not a file")
        values.check_bytes(path, path.stat().st_size)
        # Texts need much more memory than the array.
        with path.open(encoding="utf-8-sig") as lines:
            rows, labels = _tsv(path, lines, remarks) if path.suffix.lower() == ".tsv" else _ts(path, lines)
        # A series becomes an image: (1, steps, channels).
        series = [row.T[None] for row in rows]
        parts[part] = part_of_arrays(series, np.array(labels, dtype=object), part, channels="last")
    return Source(name, parts, remarks)


def _ts(path: Path, lines: Iterable[str]) -> tuple[list[values.Array], list[str]]:
    header: dict[str, str] = {}
    rows: list[values.Array] = []
    labels: list[str] = []
    for line in map(str.strip, lines):
        if line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
        elif line and line[0] not in "#%":
            if not labels:
                _check_ts_header(path, header)
            *dimensions, label = line.split(":")
            labels.append(label.strip())
            numbers = [_floats(path, len(labels), dimension.split(",")) for dimension in dimensions]
            if len({*map(len, numbers)}) > 1:
                raise DataError(f"{path} has a series with dimensions of different lengths")
            rows.append(np.array(numbers))
    if rows:
        _check_ts_shapes(path, header, {row.shape for row in rows})
    classes = header.get("classlabel", "").split()[1:]
    class_names = {name.lower() for name in classes}
    for label in labels:
        if "," in label:
            raise DataError(f"{path}: expected a class after the last colon, got {label[:40]!r}")
        if class_names and label.lower() not in class_names:
            raise DataError(f"{path} has the class {label!r}; classes in the header: {', '.join(classes)}")
    return rows, labels


def _check_ts_header(path: Path, header: Mapping[str, str]) -> None:
    first_words = {key: value.lower().split(" ")[0] for key, value in header.items()}
    if first_words.get("targetlabel") == "true" or first_words.get("classlabel") == "false":
        raise DataError(f"{path} has no classes according to the header (@targetLabel, @classLabel)")
    if first_words.get("timestamps") == "true":
        raise DataError(f"{path} has time stamps (@timeStamps true), which are not supported")


def _check_ts_shapes(path: Path, header: Mapping[str, str], shapes: set[tuple[int, ...]]) -> None:
    dimension_counts = sorted({shape[0] for shape in shapes})
    lengths = sorted({shape[-1] for shape in shapes})
    is_univariate = header.get("univariate", "").lower() == "true"
    equal_length = header.get("equallength", "").lower()
    statements = (
        ("by @dimensions", header.get("dimensions", header.get("dimension", "")), dimension_counts),
        ("by @univariate", "1" if is_univariate else "", dimension_counts),
        ("before the class of each series", str(max(1, *dimension_counts)), dimension_counts),
        ("by @seriesLength", "" if equal_length == "false" else header.get("serieslength", ""), lengths),
        ("by @equalLength", str(max(lengths)) if equal_length == "true" else "", lengths),
    )
    for cause, number, numbers in statements:
        if number.isdecimal() and numbers != [int(number)]:
            counts = " and ".join(map(str, numbers[:5]))
            noun = "steps" if numbers is lengths else "dimensions"
            raise DataError(f"{path} has series with {counts} {noun}; expected {number} {cause}")


def _tsv(path: Path, lines: Iterable[str], remarks: list[str]) -> tuple[list[values.Array], list[str]]:
    """Return the numbers, by series (one dimension, steps), and the classes, from UCR's format.

    A header is left out, which is added to ``remarks``.
    """
    table = (line.rstrip("\n").split("\t") for line in lines if line.strip())
    first_row = next(table, [])
    is_header = bool(first_row) and _is_header(first_row)
    first_number = 1 if is_header else 2  # of the series in the second row
    rows: list[values.Array] = []
    labels: list[str] = []
    for number, row in enumerate(table, first_number):
        rows.append(_floats(path, number, row[1:])[None])
        labels.append(row[0].strip())
    if len(first_row) == 1 and not any(row.size for row in rows):
        form = "the file has a single column"
        for mark, marks in ((" ", "spaces"), (";", "semicolons"), (",", "commas")):
            if mark in first_row[0].strip():
                form = f"the columns seem to be separated by {marks}"
        raise DataError(f"{path} has no tabs: {form}; separate the columns by tabs")
    if is_header or _is_header_of_numbers(first_row, labels):
        if not first_row[0].strip():
            raise DataError(f"{path} has a column of row numbers before the classes; remove the column (index=False)")
        remarks.append(f"left out: the header of {path.name}")
    elif first_row:
        rows.insert(0, _floats(path, 1, first_row[1:])[None])
        labels.insert(0, first_row[0].strip())
    return rows, labels


def _is_header(row: list[str]) -> bool:
    is_numbered_from_class = len(row) > 2 and row == [str(index) for index in range(len(row))]
    is_numbered_from_steps = row[1:] == [str(index) for index in range(len(row) - 1)] and _number(row[0]) is None
    if is_numbered_from_class or is_numbered_from_steps:
        return True
    # An empty value or a question mark is a missing number, not a word.
    return len(row) > 1 and all(_number(value) is None and value.strip() not in ("", "?") for value in row[1:])


def _is_header_of_numbers(row: list[str], labels: list[str]) -> bool:
    numbers = [_number(value) for value in row[1:]]
    if len(row) < 3 or None in numbers or row[0].strip() in labels:
        return False
    return bool((np.diff(np.array(numbers, float)) > 0).all())


def _number(text: str) -> float | None:
    # Python accepts underscores and the digits of all scripts, most programs do not.
    if not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _floats(path: Path, number: int, texts: list[str]) -> values.Array:
    numbers = np.array([*map(_number, texts)], float)  # None becomes NaN
    is_finite = np.isfinite(numbers)
    if not is_finite.all():
        step = int(is_finite.argmin())
        position = f"{path}: series {number}, step {step + 1}"
        raise DataError(f"{position}: expected a finite number, got {texts[step].strip()[:40]!r}")
    return numbers


# torch -----------------------------------------------------------------------------------------------------------


def part_of_torch(data: Any, part: str, channels: str | None, remarks: list[str]) -> DataPart:
    """Return a map-style torch data set of (image, class) as a part.

    Images are pictures of Pillow, tensors (channels, rows, columns), or arrays, whose channel axis ``channels`` states.
    Remarks about the names of the classes are appended to ``remarks``.

    Raises:
        DataError: The data set has no length, its items have another form or change, or images have different types.
    """
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise DataError(f"{part} must be a map-style torch data set, which has a length, got {type(data).__name__}")
    items = [_torch_item(data, index, part) for index in range(len(data))]
    for index in np.linspace(0, len(items) - 1, min(len(items), _ITEMS_READ_TWICE)).astype(int).tolist():
        again = _torch_item(data, index, part)
        if again[::2] != items[index][::2] or again[1].tobytes() != items[index][1].tobytes():
            hint = "remove random transforms; a search chooses and applies an augmentation of its own"
            raise DataError(f"item {index} of {part} differs when read twice; items must stay the same", hint=hint)
    kinds = {kind for kind, _, _ in items}
    if len(kinds) > 1:
        raise DataError(f"{part} has {' and '.join(sorted(kinds))} images; all images must have the same type")
    images = [numbers for _, numbers, _ in items]
    if kinds != {"array"} and images and images[0].ndim == 3:
        channels = "last" if kinds == {"picture"} else "first"
    labels = [label for _, _, label in items]
    data_part = part_of_arrays(images, np.array(labels, dtype=object), part, channels=channels)
    _name_classes(data_part, data, labels, part, remarks)
    return data_part


def _torch_item(data: Any, index: int, part: str) -> tuple[str, values.Array, Any]:
    item = data[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"item {index} of {part} must be (image, class), got {type(item).__name__}")
    image, label = item
    if hasattr(label, "tolist"):
        label = label.tolist()
    if isinstance(label, list | tuple | dict):
        raise DataError(f"the class of item {index} of {part} must be an integer or a string, got {str(label)[:40]}")
    if hasattr(image, "getextrema"):
        return "picture", values.picture_numbers(image)[0], label
    # A copy, because a data set may return the same memory for each item.
    return "tensor" if hasattr(image, "detach") else "array", np.array(values.as_array(image)), label


def _name_classes(data_part: DataPart, data: Any, labels: list[Any], part: str, remarks: list[str]) -> None:
    """Rename and order the classes as in the attribute ``classes`` of a torch data set, if the labels prove the names.

    Labels are names if they are texts of ``classes``, or indices if they equal the stored labels and all classes occur.
    Otherwise, as with a ``target_transform``, the labels themselves stay the names.
    """
    from torch.utils.data import Subset

    indices = np.arange(len(labels))
    while type(data) is Subset:  # a subclass or another wrapper may change the labels
        indices = np.asarray(data.indices)[indices]
        data = data.dataset
    classes = getattr(data, "classes", None)
    listed = list(classes) if isinstance(classes, list | tuple | dict | np.ndarray) else []
    names = [text_label(name, f"classes of {part}") for name in listed]
    repetitions = _repeated(names)
    if repetitions:
        raise DataError(f"{part} has two classes named {repetitions[0]}; class names must be unique")
    is_text = all(isinstance(label, str) for label in labels)
    positions = getattr(data, "class_to_idx", None)
    has_order = not isinstance(positions, dict) or all(positions.get(name, i) == i for i, name in enumerate(listed))
    if not is_text and has_order and _are_indices(data, labels, indices, len(names)):
        data_part.labels = [names[int(label)] for label in labels]
    elif not is_text or not {*data_part.labels} <= {*names}:
        if names:
            remark = f"the classes of {part} are the labels of the items, such as {data_part.classes[0]}; the attribute"
            remarks.append(f"{remark} classes ({', '.join(names)[:80]}) is not proven to name these labels")
        return
    present = {*data_part.labels}
    data_part.classes = [name for name in names if name in present]
    absent = [name for name in names if name not in present]
    if absent:
        remarks.append(f"left out: classes of {part} without images: {', '.join(absent)[:80]}")


def _are_indices(data: Any, labels: list[Any], indices: values.Array, class_count: int) -> bool:
    with suppress(Exception):  # attributes of these names may contain anything
        stored = [getattr(data, name) for name in ("targets", "labels", "_labels") if hasattr(data, name)]
        stored += [
            [pair[-1] for pair in getattr(data, name)] for name in ("samples", "_samples") if hasattr(data, name)
        ]
        arrays = [array for array in map(np.asarray, stored) if array.dtype.kind in "iu" and len(array) > indices.max()]
        return any(
            np.array_equal(np.unique(array), np.arange(class_count)) and np.array_equal(array[indices], labels)
            for array in arrays
        )
    return False

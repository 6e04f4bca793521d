"""Readers of user data: folders of pictures, ``.npz``, IDX files, series, arrays and torch data sets.

Each reader returns a `Source` with the stored numbers, label, name and group of every image, and counts the files and
arrays left out.
"""

from __future__ import annotations

import gzip
import itertools
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.datasets import TEST_FILES
from harness.data.own import values
from harness.data.own.labels import read_labels, text_label
from harness.data.training_images import idx_array
from harness.system.errors import DataError, HarnessError, reason
from harness.system.terminal import counted
from search_spaces.ops import Shape

PARTS = ("train", "validation", "test")
# Part and kind by the words in names of folders, files and arrays.
_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "validation"),
    **dict.fromkeys(("test", "testing", TEST_FILES), "test"),
}
_KINDS = {
    **dict.fromkeys(("x", "images", "image"), "images"),
    **dict.fromkeys(("y", "labels", "label", "target", "targets"), "labels"),
}
_SYSTEM = ("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini")  # created by operating systems and tools
# Larger archives with a larger compression ratio are refused as decompression bombs.
_SMALL = 2**26  # bytes of the content
_MOST_TIMES = 200  # compression ratio; images reach about 50


@dataclass(slots=True, eq=False)
class DataPart:
    """The images of a part, as stored in the source.

    Attributes:
        images: Stored numbers, an array or a list with an array per image, for `values.arranged`.
        labels: Class name of each image.
        classes: All class names, in the order of the source.
        names: Name of each image for messages; empty if the index identifies an image.
        groups: Group of each image; empty without ``group_by``.
        channels: Position of the channel axis, ``first`` or ``last``; None if the source does not define the position.
    """

    images: Any
    labels: list[str]
    classes: list[str]
    names: list[str] = field(default_factory=list)
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
        root: File or folder.
        shape: (channels, rows, columns) to which pictures are resized while reading.
        group_by: Array of groups in an ``.npz``, or ``_`` for the prefix of file names.

    Raises:
        DataError: The format is not supported, the content is damaged, or groups are missing.
    """
    try:
        if root.is_dir():
            source = _idx_folder(root) or _picture_folder(root, shape, group_by)
        elif not root.is_file():
            raise DataError(f"{root} must be a file or a folder, not a device or a pipe")
        elif is_of_data(root):
            source = _FILES[root.suffix.lower()].read(root, group_by)
        else:
            raise DataError(
                f"{root} is not a data set; allowed: folders of pictures or IDX files, {endings_text()} files"
            )
    except HarnessError:
        raise
    except Exception as error:  # libraries raise arbitrary errors for damaged files
        raise DataError(f"cannot read {root}: {' '.join(reason(error).split())}") from error
    if group_by is not None and not all(part.groups for part in source.parts.values()):
        endings = ", ".join(ending for ending, form in _FILES.items() if form.has_groups)
        raise DataError(
            f"--group-by {group_by}: {root} has no groups; allowed: {endings} files and folders of pictures"
        )
    return source


def is_of_data(path: Path) -> bool:
    """Return whether the ending of a file is a supported data format."""
    return path.suffix.lower() in _FILES


def endings_text() -> str:
    """Return the supported file endings as text for messages."""
    *first, last = _FILES
    return f"{', '.join(first)} and {last}"


def part_of_arrays(images: Any, labels: Any, part: str, groups: Any = None, channels: str | None = None) -> DataPart:
    """Return images and labels as a part; raise DataError if the lengths differ."""
    names, classes = read_labels(labels, f"labels of {part}")
    if hasattr(images, "detach") and images.ndim == 4:
        channels = "first"
    if not isinstance(images, list | tuple):
        images = values.as_array(images)
        if not images.ndim:
            raise DataError(f"images of {part} must be an array, got a scalar of type {images.dtype}")
    if len(images) != len(names):
        raise DataError(f"{part} has {len(images)} images and {len(names)} labels")
    source = DataPart(images, names, classes, channels=channels)
    if groups is not None:
        source.groups, _ = read_labels(groups, f"groups of {part}")
        if len(images) != len(source.groups):
            raise DataError(f"{part} has {len(images)} images and {len(source.groups)} groups")
    return source


# Arrays ----------------------------------------------------------------------------------------------------------


def _npz(path: Path, group_by: str | None) -> Source:
    _check_archive(path)
    with np.load(path, allow_pickle=False) as arrays:
        parts = {}
        unused = list(arrays)
        for part, keys in _keys_by_part(path, list(arrays)).items():
            if group_by is not None:
                keys["groups"] = _group_key(group_by, part, list(arrays), path)
            parts[part] = part_of_arrays(part=part, **{kind: arrays[key] for kind, key in keys.items()})
            unused = [key for key in unused if key not in keys.values()]
    source = Source(path.stem, parts)
    if unused:
        source.remarks.append(f"left out: the arrays {', '.join(unused)}")
    return source


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    values.check_bytes(path, size)
    packed = path.stat().st_size
    if size > _SMALL and size > _MOST_TIMES * packed:
        raise DataError(f"{path} has a compression ratio of {size // packed}; allowed: up to {_MOST_TIMES}")
    repeated = _repeated(entry.filename for entry in entries)
    if repeated:
        raise DataError(f"{path} contains {repeated[0]} twice")


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, number in Counter(names).items() if number > 1]


def _keys_by_part(path: Path, names: list[str]) -> dict[str, dict[str, str]]:
    """Return the keys of images and labels of each part that has both."""
    keys: dict[str, dict[str, str]] = {}
    for key in names:
        role = _role(key.lower().split("_"))
        if role is None:
            continue
        part, kind = role
        of_part = keys.setdefault(part, {})
        if kind in of_part:
            raise DataError(f"{path} contains {of_part[kind]} and {key}, both {kind} of {part}; keep a single array")
        of_part[kind] = key
    whole = {part: of_part for part, of_part in keys.items() if len(of_part) == 2}
    if not whole:
        content = ", ".join(names) or "nothing"
        allowed = "X and y, x_train and y_train, or train_images and train_labels"
        raise DataError(f"{path} contains {content}; expected arrays such as {allowed}")
    return whole


def _role(words: list[str]) -> tuple[str, str] | None:
    """Return the part and kind (images or labels) that the words of a name state; None if unknown or ambiguous."""
    parts = [_WORDS[word] for word in words if word in _WORDS]
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    if len(kinds) != 1 or len(parts) > 1 or len(words) != len(kinds) + len(parts):
        return None
    return parts[0] if parts else "train", kinds[0]


def _group_key(group_by: str, part: str, keys: list[str], path: Path) -> str:
    usual = group_by if part == "train" else f"{group_by}_{part}"
    words = [word for word, word_part in _WORDS.items() if word_part == part]
    for key in (usual, *(f"{group_by}_{word}" for word in words), *(f"{word}_{group_by}" for word in words)):
        if key in keys:
            return key
    raise DataError(f"--group-by {group_by}: {path} has no array {usual}; arrays: {', '.join(keys)}")


def _idx_folder(folder: Path) -> Source | None:
    """Read IDX files named as by torchvision, EMNIST, QMNIST or Kaggle; return None if the folder has none."""
    parts = {}
    unused = set(folder.iterdir())
    for part, pair in _idx_pairs(folder).items():
        for kind in ("images", "labels"):
            if kind not in pair:
                raise DataError(f"{folder} has no {kind} of {part}")
        labels = _idx(pair["labels"])
        if labels.shape[1:] == (8,):
            # QMNIST's labels have eight columns, of which the first is the class (Yadav and Bottou 2019).
            labels = labels[:, 0]
        parts[part] = part_of_arrays(_idx(pair["images"]), labels, part)
        unused -= {*pair.values()}
    if not parts:
        return None
    return Source(folder.resolve().name, parts, _left_out(Counter(map(_kind_of, unused))))


def _idx_pairs(folder: Path) -> dict[str, dict[str, Path]]:
    pairs: dict[str, dict[str, Path]] = {}
    # The same file may exist both compressed and uncompressed; the reverse order lets the uncompressed file win.
    paths = {path.name.lower().removesuffix(".gz"): path for path in sorted(folder.iterdir(), reverse=True)}
    for name, path in sorted(paths.items()):
        words = [word for word in re.split(r"[^a-z0-9]+", name) if word in (*_WORDS, *_KINDS)]
        role = _role(words)
        is_idx = re.search(r"(^|[^a-z])idx", name) is not None
        if role is None or not is_idx or name.startswith(".") or not path.is_file():
            continue
        part, kind = role
        pair = pairs.setdefault(part, {})
        if kind in pair:
            raise DataError(
                f"{folder} contains {pair[kind].name} and {path.name}; keep a single pair of files per part"
            )
        pair[kind] = path
    return pairs


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
        allowed = "_ (groups are the parts of the file names before the first _)"
        raise DataError(f"--group-by {group_by}: allowed for a folder of pictures: {allowed}")
    others = Counter[str]()
    counts = Counter[str]()
    size = 0
    depths = set[bool]()
    parts: dict[str, DataPart] = {}
    for name, folder in _part_folders(root, others).items():
        part = parts[name] = DataPart([], [], [], channels="last")
        for label, file, is_nested in _labelled_pictures(folder, root, others):
            stored, is_transparent, further_frames = values.picture(file)
            depths.add(stored.dtype == np.uint8)
            if len(depths) > 1:
                raise DataError(f"{root} has pictures of different bit depths, such as {file}; use a single bit depth")
            numbers = stored if shape is None else values.resized(stored, shape)
            size += numbers.nbytes
            values.check_bytes(root, size)
            counts["pictures with transparent parts (filled with white)"] += int(is_transparent)
            counts["pictures in subfolders (included)"] += int(is_nested)
            others["further frame"] += further_frames
            part.images.append(numbers)
            part.labels.append(label)
            part.names.append(os.fsencode(file.relative_to(root)).decode("utf-8", "replace"))
        # Folder names that differ only in the Unicode form are the same class.
        part.classes = sorted({*part.labels})
    if not parts["train"].labels:
        raise DataError(f"{root} contains neither a folder of pictures per class nor a pair of IDX files")
    if group_by is not None:
        _group_by_names(parts, root)
    words = [f"{number:,} {noun}" for noun, number in sorted(counts.items()) if number]
    return Source(root.resolve().name, parts, _left_out(others) + words)


def _labelled_pictures(folder: Path, root: Path, others: Counter[str]) -> Iterator[tuple[str, Path, bool]]:
    """Yield class and path of each picture of a part, and whether the picture is in a subfolder of the class."""
    labels = set[str]()
    for path in _visible(folder, others):
        if not path.is_dir():
            others[_kind_of(path)] += 1
            continue
        label = text_label(path.name, f"the classes of {folder.name}")
        for file in _pictures_below(path, root, others):
            labels.add(label)
            yield label, file, file.parent != path
        if label not in labels:
            raise DataError(f"class {label!r} of {folder} has no pictures ({values.ENDINGS})")


def _group_by_names(parts: Mapping[str, DataPart], root: Path) -> None:
    names = [name for part in parts.values() for name in part.names]
    lacking = [name for name in names if "_" not in Path(name).name]
    if lacking:
        total = f"{len(lacking):,} of the {len(names):,} pictures of {root}"
        raise DataError(f"--group-by _: {total} have no _ in the file name, such as {lacking[0]}")
    for part in parts.values():
        part.groups = [Path(name).name.partition("_")[0] for name in part.names]


def _part_folders(root: Path, others: Counter[str]) -> dict[str, Path]:
    """Return the folder of each part; ``root`` itself is the training part if there are no folders of parts."""
    nested = _nested_folders(root)
    if not nested:
        return {"train": root}
    parts: dict[str, Path] = {}
    for path in nested:
        part = _WORDS[path.name.lower()]
        if part in parts:
            raise DataError(
                f"{root} contains {parts[part].name}/ and {path.name}/, both for {part}; keep a single folder"
            )
        parts[part] = path
    if "train" not in parts:
        raise DataError(f"{root} contains {nested[0].name}/, but no train/")
    others.update(_kind_of(path) for path in _visible(root, others) if path not in nested)
    return parts


def _nested_folders(root: Path) -> list[Path]:
    """Return folders with the name of a part and with subfolders; a folder that contains pictures is a class."""
    folders = _folders(root)
    candidates = [path for path in folders if path.name.lower() in _WORDS]
    nested = [path for path in candidates if _folders(path) and not _holds_pictures(path)]
    if len(nested) == 1:
        # Beside a single folder of a part, any folder with pictures may be a class.
        candidates = folders
    classes = [path.name for path in candidates if _holds_pictures(path)]
    if nested and classes:
        raise DataError(
            f"{root} contains {nested[0].name}/ with folders and {classes[0]}/ with pictures; "
            "move classes into a folder train/, and divide each part into a folder per class"
        )
    return nested


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder, Counter()) if path.is_dir()]


def _holds_pictures(folder: Path) -> bool:
    return any(values.is_picture(path) for path in _visible(folder, Counter()))


def _visible(folder: Path, others: Counter[str]) -> list[Path]:
    """Return the sorted paths in a folder; hidden files and files of ``_SYSTEM`` are counted and left out."""
    paths = sorted(folder.iterdir())
    hidden = [path for path in paths if path.name.startswith(".") or path.name in _SYSTEM]
    others["hidden file"] += len(hidden)
    return [path for path in paths if path not in hidden]


def _pictures_below(folder: Path, root: Path, others: Counter[str]) -> Iterator[Path]:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{folder} is a link to a folder outside {root}")
    for path in _visible(folder, others):
        if path.is_dir() and not path.is_symlink():
            yield from _pictures_below(path, root, others)
        elif values.is_picture(path) and path.is_file():
            if not path.resolve().is_relative_to(root.resolve()):
                raise DataError(f"{path} is a link to a file outside {root}")
            yield path
        else:
            others[_kind_of(path)] += 1


def _kind_of(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden file"
    if path.is_dir():
        return "linked folder" if path.is_symlink() else "further folder"
    if not path.suffix or not path.suffix.isprintable():
        return "unknown file"
    return f"{path.suffix.lower()} file"


def _left_out(others: Mapping[str, int]) -> list[str]:
    counts = [counted(number, kind) for kind, number in sorted(others.items()) if number]
    return [f"left out: {', '.join(counts)}"] if counts else []


# Series ----------------------------------------------------------------------------------------------------------


def _series(root: Path, _group_by: str | None) -> Source:
    """Read ``.ts`` (dimensions separated by colons, class last) or ``.tsv`` (class first), with both parts if found."""
    twins = {"train": root}
    name = root.stem
    if match := re.fullmatch(r"(.+)_(train|test)", root.stem, re.IGNORECASE):
        name = match[1]
        part_of_name = {f"{name}_{part}{root.suffix}".lower(): part for part in ("train", "test")}
        twins = {}
        for path in sorted(root.parent.iterdir()):
            if path.name.lower() in part_of_name and path.stem.startswith(name):
                twins[part_of_name[path.name.lower()]] = path
        twins[part_of_name[root.name.lower()]] = root
    remarks: list[str] = []
    parts = {}
    for part, path in twins.items():
        if not path.is_file():
            raise DataError(f"{path} is a device or a pipe, not a file")
        values.check_bytes(path, path.stat().st_size)
        lines = path.read_text("utf-8-sig").splitlines()
        if path.suffix.lower() == ".tsv":
            rows, labels = _tsv(path, lines, remarks)
        else:
            rows, labels = _ts(path, lines)
        series = [np.array(row, np.float64).T[None] for row in rows]
        parts[part] = part_of_arrays(series, np.array(labels, dtype=object), part, channels="last")
    return Source(name, parts, remarks)


def _ts(path: Path, lines: list[str]) -> tuple[list[list[list[float]]], list[str]]:
    """Return the dimensions and the class of each series, from the format of aeon and sktime."""
    header: dict[str, str] = {}
    rows: list[list[str]] = []
    for line in map(str.strip, lines):
        if line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
        elif line and line[0] not in "#%":
            rows.append(line.split(":"))
    _check_ts_header(path, header, {len(row) - 1 for row in rows})
    labels = [row[-1].strip() for row in rows]
    _check_ts_labels(path, labels, header.get("classlabel", "").split()[1:])
    numbers = [
        [_floats(path, number, dimension.split(",")) for dimension in row[:-1]] for number, row in enumerate(rows, 1)
    ]
    if any(len(dimension) != len(row[0]) for row in numbers for dimension in row):
        raise DataError(f"{path} has a series with dimensions of different lengths")
    return numbers, labels


def _check_ts_header(path: Path, header: Mapping[str, str], dimensions: set[int]) -> None:
    flags = {key: value.split()[0].lower() if value else "" for key, value in header.items()}
    if flags.get("targetlabel") == "true" or flags.get("classlabel") == "false":
        raise DataError(f"{path} has no classes according to the header (@targetLabel, @classLabel)")
    if flags.get("timestamps") == "true":
        raise DataError(f"{path} has time stamps (@timeStamps true), which are not supported")
    stated = flags.get("dimensions", flags.get("dimension", ""))
    if dimensions == {0} or len(dimensions) > 1 or (stated.isdecimal() and dimensions != {int(stated)}):
        raise DataError(
            f"{path} has series with {' and '.join(map(str, sorted(dimensions)))} dimensions before the class; "
            f"expected {stated or 'at least 1, the same number for all series'}"
        )


def _check_ts_labels(path: Path, labels: list[str], classes: list[str]) -> None:
    allowed = {name.lower() for name in classes}
    for label in labels:
        if "," in label:
            raise DataError(f"{path}: expected a class after the last colon, got {label[:40]!r}")
        if allowed and label.lower() not in allowed:
            raise DataError(f"{path} has the class {label!r}; classes in the header: {', '.join(classes)}")


def _tsv(path: Path, lines: list[str], remarks: list[str]) -> tuple[list[list[list[float]]], list[str]]:
    rows = [line.split("\t") for line in lines if line.strip()]
    if rows and max(map(len, rows)) == 1:
        form = "the file has a single column"
        for mark, marks in ((" ", "spaces"), (";", "semicolons"), (",", "commas")):
            if mark in rows[0][0].strip():
                form = f"the columns seem to be separated by {marks}"
        raise DataError(f"{path} has no tabs: {form}; separate the columns by tabs")
    if rows and (_is_header(rows[0]) or _is_header_of_numbers(rows)):
        if not rows[0][0].strip():
            raise DataError(f"{path} has a column of row numbers before the classes; remove the column (index=False)")
        remarks.append(f"left out: the header of {path.name}")
        rows = rows[1:]
    numbers = [[_floats(path, number, row[1:])] for number, row in enumerate(rows, 1)]
    return numbers, [row[0].strip() for row in rows]


def _is_header(row: list[str]) -> bool:
    """Return whether a row is a header: words, or column numbers as written by pandas."""
    if len(row) > 2 and row == [str(index) for index in range(len(row))]:
        return True
    is_counted = row[1:] == [str(index) for index in range(len(row) - 1)]
    if is_counted and not _is_number(row[0]):
        return True
    return len(row) > 1 and not any(_is_number(value) or value.strip() in ("", "?") for value in row[1:])


def _is_header_of_numbers(rows: list[list[str]]) -> bool:
    """Return whether the first row is a header of times or years: increasing, with a label that is unique."""
    label, *texts = rows[0]
    if len(texts) < 2 or not all(map(_is_number, texts)) or any(row[0] == label for row in rows[1:]):
        return False
    numbers = list(map(float, texts))
    return all(before < after for before, after in itertools.pairwise(numbers))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # Python accepts underscores and the digits of all scripts, most programs do not.
    return text.isascii() and "_" not in text


def _floats(path: Path, number: int, texts: list[str]) -> list[float]:
    """Return the numbers of series ``number``, counted from 1."""
    for step, text in enumerate(texts, 1):
        if not _is_number(text) or not math.isfinite(float(text)):
            step_text = f"{path}: series {number}, step {step}"
            raise DataError(f"{step_text}: expected a finite number, got {text.strip()[:40]!r}")
    return list(map(float, texts))


@dataclass(frozen=True, slots=True)
class _FileForm:
    """A supported file format: the function that reads a file, given ``group_by``, and support for groups."""

    read: Callable[[Path, str | None], Source]
    has_groups: bool = False


_FILES = {".npz": _FileForm(_npz, has_groups=True), ".ts": _FileForm(_series), ".tsv": _FileForm(_series)}


# torch -----------------------------------------------------------------------------------------------------------


def part_of_torch(data: Any, part: str, channels: str | None, remarks: list[str]) -> DataPart:
    """Return a map-style torch data set of (picture or tensor (channels, rows, columns), class) as a part."""
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise DataError(f"{part} must be a map-style torch data set, which has a length, got {type(data).__name__}")
    images = []
    labels = []
    kinds = set()
    for image, label in _torch_items(data, part):
        if hasattr(image, "getextrema"):
            kinds.add("picture")
            images.append(values.picture_numbers(image)[0])
        else:
            kinds.add("tensor" if hasattr(image, "detach") else "array")
            images.append(values.as_array(image))
        labels.append(label)
    if len(kinds) > 1:
        raise DataError(f"{part} has {' and '.join(sorted(kinds))} images; all images must have the same type")
    if kinds != {"array"} and images and images[0].ndim == 3:
        channels = "last" if kinds == {"picture"} else "first"
    source = part_of_arrays(images, np.array(labels, dtype=object), part, channels=channels)
    while not hasattr(data, "classes") and hasattr(data, "dataset"):
        data = data.dataset
    if names := [str(name) for name in getattr(data, "classes", None) or ()]:
        _name_classes(source, names, part, remarks)
    return source


def _torch_items(data: Any, part: str) -> Iterator[tuple[Any, Any]]:
    for index in range(len(data)):
        item = data[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {index} of {part} must be (image, class), got {type(item).__name__}")
        image, label = item
        if hasattr(label, "tolist"):
            label = label.tolist()
        if isinstance(label, list | tuple | dict):
            raise DataError(
                f"the class of item {index} of {part} must be an integer or a string, got {str(label)[:40]}"
            )
        yield image, label


def _name_classes(source: DataPart, names: list[str], part: str, remarks: list[str]) -> None:
    """Rename and order the classes as in the torch data set; classes without images are left out, with a remark."""
    names = [text_label(name, f"classes of {part}") for name in names]
    repeated = _repeated(names)
    if repeated:
        raise DataError(f"{part} has two classes named {repeated[0]}; class names must be unique")
    name_of = {str(index): name for index, name in enumerate(names)}
    if {*source.labels} <= {*names} and not {*source.labels} <= name_of.keys():
        name_of = dict(zip(names, names, strict=True))
    for label in source.labels:
        if label not in name_of:
            raise DataError(f"{part} has an image of class {label}; attribute classes: {', '.join(names)[:80]}")
    source.labels = [name_of[label] for label in source.labels]
    present = {*source.labels}
    source.classes = [name for name in names if name in present]
    absent = [name for name in names if name not in present]
    if absent:
        remarks.append(f"left out: classes of {part} without images: {', '.join(absent)[:80]}")

"""What people's data come from: folders of pictures, .npz, IDX files, series, arrays and torch's data sets.

A source gives for each image its numbers as they are stored, its label, name and group, and counts what it leaves out.
"""

from __future__ import annotations

import gzip
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.datasets import TEST_FILES
from harness.data.own import values
from harness.data.own.labels import read_labels, text_label
from harness.data.training_images import idx_array
from harness.system.errors import DataError, reason
from harness.system.terminal import counted
from search_spaces.ops import Shape

PARTS = ("train", "validation", "test")
_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_IDX_WORDS = _WORDS | {TEST_FILES: "test"}
_IMAGES, _LABELS = ("x", "images", "image"), ("y", "labels", "label", "target", "targets")
# What systems put beside people's files.
_SYSTEM = ("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini")
# An archive that unpacks to so many times its size holds nothing but repetitions; images reach about fifty.
_MOST_TIMES, _SMALL = 200, 2**26
_LISTED = 12


@dataclass(slots=True, eq=False)
class Part:
    """Images of one part as a source has them.

    Attributes:
        images: numbers as stored, an array or one array an image, as `values.arranged` takes them.
        labels: the class of each by name; ``classes`` has all of them in the source's order.
        names: of each image, for people; empty where its number says enough.
        groups: what each belongs to; empty where nobody asked.
        channels: where channels stand: ``first``, ``last``, or None where the source does not say.
    """

    images: Any
    labels: list[str]
    classes: list[str]
    names: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    channels: str | None = None


@dataclass(slots=True, eq=False)
class Source:
    """The parts of a source, a name for it, and ``remarks``: what was left out, and what else people should know."""

    name: str
    parts: dict[str, Part]
    remarks: list[str] = field(default_factory=list)


def source_at(place: Path, shape: Shape | None = None, group_by: str | None = None) -> Source:
    """Read a file or folder.

    Raises:
        DataError: it is of no kind that is read, or its content does not hold together.
    """
    readers: dict[str, Callable[[Path], Source]] = {
        ".npz": lambda path: _npz(path, group_by),
        ".ts": _series,
        ".tsv": _series,
    }
    ending = place.suffix.lower()
    try:
        if place.is_dir():
            pairs = _idx_pairs(place)
            source = _idx_folder(place, pairs) if pairs else _picture_folder(place, shape, group_by)
        elif not place.is_file():
            raise DataError(f"{place} is a device or a pipe; allowed are files and folders")
        elif ending in readers:
            source = readers[ending](place)
            pairs = {}
        else:
            raise DataError(f"{place}: allowed are folders of pictures or IDX files, .npz, .ts and .tsv")
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, SyntaxError) as error:
        raise DataError(f"cannot read {place}: {' '.join(reason(error).split())}") from error
    if group_by is not None and (pairs or ending in (".ts", ".tsv")):
        raise DataError(f"--group-by {group_by}: {place} has no groups; allowed are .npz and folders of pictures")
    return source


def part_of_arrays(images: Any, labels: Any, part: str, groups: Any = None, channels: str | None = None) -> Part:
    """Return images and their labels as a part; raise DataError where their numbers differ."""
    names, classes = read_labels(labels, f"labels of {part}")
    members = [] if groups is None else read_labels(groups, f"groups of {part}")[0]
    if hasattr(images, "detach") and images.ndim == 4:
        channels = "first"
    if not isinstance(images, list | tuple):
        images = values.as_array(images)
        if not images.ndim:
            raise DataError(f"images of {part} are {images.dtype}; allowed are arrays")
    for one, noun in ((names, "labels"), (members if groups is not None else images, "groups")):
        if len(images) != len(one):
            raise DataError(f"{part} has {len(images)} images and {len(one)} {noun}")
    return Part(images, names, classes, groups=members, channels=channels)


# Arrays ----------------------------------------------------------------------------------------------------------


def _npz(place: Path, group_by: str | None) -> Source:
    with zipfile.ZipFile(place) as archive:
        names = [entry.filename for entry in archive.infolist()]
        size = sum(entry.file_size for entry in archive.infolist())
    values.check_bytes(place, size)
    packed = place.stat().st_size
    if size > _SMALL and size > _MOST_TIMES * packed:
        raise DataError(f"{place} unpacks to {size // packed} times its size; images do not")
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise DataError(f"{place} holds {twice[0]} twice")
    with np.load(place, allow_pickle=False) as arrays:
        keys: dict[str, dict[str, str]] = {part: {} for part in PARTS}
        for key in arrays:
            if (role := _role(key)) is None:
                continue
            part, kind = role
            if kind in keys[part]:
                raise DataError(f"{place} holds {keys[part][kind]} and {key}, both {kind} of {part}: leave one")
            keys[part][kind] = key
        whole = {part: each for part, each in keys.items() if len(each) == 2}
        held = ", ".join(arrays) or "nothing"
        if not whole:
            raise DataError(f"{place} holds {held}; allowed are X, y; x_train, y_train; train_images, train_labels")
        asked = whole if group_by is not None else {}
        of_groups = {part: _group_key(str(group_by), part, list(arrays), place) for part in asked}
        parts = {
            part: part_of_arrays(
                arrays[each["images"]],
                arrays[each["labels"]],
                part,
                arrays[of_groups[part]] if of_groups else None,
            )
            for part, each in whole.items()
        }
        used = {key for each in whole.values() for key in each.values()} | {*of_groups.values()}
        unused = [key for key in arrays if key not in used]
    left_out = f"left out: {_listed(unused, 'array')}" if unused else ""
    return Source(place.stem, parts, [left_out] if left_out else [])


def _role(key: str) -> tuple[str, str] | None:
    """Return of which part and kind an array is: ``x_train``, ``val_images`` or ``X`` (to train on) say so."""
    words = key.lower().split("_")
    part = [_WORDS[word] for word in words if word in _WORDS]
    kind = ["images" if word in _IMAGES else "labels" for word in words if word in (*_IMAGES, *_LABELS)]
    if len(kind) != 1 or len(part) > 1 or len(words) != len(kind) + len(part):
        return None
    return (part[0] if part else "train"), kind[0]


def _group_key(group_by: str, part: str, keys: list[str], place: Path) -> str:
    words = [word for word, meant in _WORDS.items() if meant == part]
    forms = [*([group_by] if part == "train" else []), *(f"{group_by}_{word}" for word in words)]
    forms += [f"{word}_{group_by}" for word in words]
    for form in forms:
        if form in keys:
            return form
    wanted = forms[0] if part == "train" else f"{group_by}_{part}"
    raise DataError(f"--group-by {group_by}: {place} has no array {wanted}; it holds {', '.join(keys)}")


def _listed(names: list[str], noun: str) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"the {noun}{'s' if len(names) > 1 else ''} {', '.join(names[:_LISTED])}{more}"


def _idx_pairs(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the IDX files of a folder by part and kind, by the names of torchvision, EMNIST, QMNIST and Kaggle."""
    pairs: dict[str, dict[str, Path]] = {}
    paths = {path.name.lower().removesuffix(".gz"): path for path in sorted(folder.iterdir(), reverse=True)}
    for name, path in sorted(paths.items()):
        words = re.split(r"[^a-z0-9]+", name)
        kinds = [kind for kind in ("images", "labels") if {kind, kind[:-1]} & {*words}]
        if name.startswith(".") or not any(word.startswith("idx") for word in words) or len(kinds) != 1:
            continue
        if not path.is_file():
            continue
        part = [_IDX_WORDS[word] for word in words if word in _IDX_WORDS]
        held = pairs.setdefault(part[0] if part else "train", {})
        if kinds[0] in held:
            raise DataError(f"{folder} holds {held[kinds[0]].name} and {path.name}: leave one pair a part")
        held[kinds[0]] = path
    return pairs


def _idx_folder(folder: Path, pairs: Mapping[str, Mapping[str, Path]]) -> Source:
    parts = {}
    for part, paths in pairs.items():
        if len(paths) < 2:
            [(kind, path)] = paths.items()
            raise DataError(f"{folder} has no {'labels' if kind == 'images' else 'images'} beside {path.name}")
        arrays = {kind: _idx(path) for kind, path in paths.items()}
        if arrays["labels"].ndim == 2 and arrays["labels"].shape[1] == 8:
            # QMNIST's labels have eight columns, of which the first is the class (Yadav and Bottou 2019).
            arrays["labels"] = arrays["labels"][:, 0]
        parts[part] = part_of_arrays(arrays["images"], arrays["labels"], part)
    read = {path for paths in pairs.values() for path in paths.values()}
    others = Counter(_kind_of(path) for path in folder.iterdir() if path not in read)
    return Source(folder.resolve().name, parts, _left_out(others))


def _idx(path: Path) -> values.Array:
    size = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while piece := file.read(2**20):
            size += len(piece)
            values.check_bytes(path, size)
    return idx_array(path)[0]


# Folders of pictures ---------------------------------------------------------------------------------------------


def _picture_folder(place: Path, shape: Shape | None, group_by: str | None) -> Source:
    if group_by not in (None, "_"):
        raise DataError(f"--group-by {group_by}: of a folder, allowed is _ (what stands in a name before the first _)")
    others: Counter[str] = Counter()
    parts, size, transparent, deeper = {}, 0, 0, 0
    for part, folder in _part_folders(place, others).items():
        images: list[values.Array] = []
        labels: list[str] = []
        names: list[str] = []
        classes: list[str] = []
        for below in _visible(folder, others):
            if not below.is_dir():
                others[_kind_of(below)] += 1
                continue
            if not below.resolve().is_relative_to(place.resolve()):
                raise DataError(f"{below} is a link out of {place}")
            classes.append(text_label(below.name, f"the classes of {folder.name}"))
            before = len(images)
            for path in _pictures_below(below, others):
                if not path.resolve().is_relative_to(place.resolve()):
                    raise DataError(f"{path} is a link out of {place}")
                content = values.picture(path)
                numbers = content.numbers if shape is None else values.resized(content.numbers, shape)
                size += numbers.nbytes
                values.check_bytes(place, size)
                transparent += content.is_transparent
                others["further frame"] += content.further_frames
                deeper += path.parent != below
                images.append(numbers)
                labels.append(classes[-1])
                names.append(os.fsencode(path.relative_to(place)).decode("utf-8", "replace"))
            if len(images) == before:
                raise DataError(f"the class {classes[-1]!r} of {folder} has no picture ({values.ENDINGS})")
        groups = [Path(name).name.partition("_")[0] for name in names] if group_by else []
        # Names that differ in Unicode's form only are one class.
        parts[part] = Part(images, labels, sorted({*classes}), names, groups, channels="last")
    if not parts["train"].labels:
        raise DataError(f"{place} holds no folder of pictures a class, and no pair of IDX files")
    remarks = _left_out(others)
    if deeper:
        remarks.append(f"{counted(deeper, 'picture')} of subfolders belong to the class above")
    if transparent:
        remarks.append(f"{counted(transparent, 'picture')} with transparent parts, which are white")
    return Source(place.resolve().name, parts, remarks)


def _part_folders(place: Path, others: Counter[str]) -> dict[str, Path]:
    """Return the folders of the parts; a folder that has a part's name and holds pictures itself is a class."""
    folders = [path for path in _visible(place, Counter()) if path.is_dir()]
    flat = [path for path in folders if any(values.is_picture(each) for each in _visible(path, Counter()))]
    named = [path for path in folders if path.name.lower() in _WORDS]
    nested = [path for path in named if path not in flat and any(each.is_dir() for each in _visible(path, Counter()))]
    if not nested:
        return {"train": place}
    classes = [path.name for path in flat if path in named or len(nested) == 1]
    if classes:
        raise DataError(
            f"{place} holds {nested[0].name}/ with folders and {classes[0]}/ with pictures: if these are classes, put "
            "them into a folder train/; if they are parts, give each its folders of classes"
        )
    parts: dict[str, Path] = {}
    for path in nested:
        part = _WORDS[path.name.lower()]
        if part in parts:
            raise DataError(f"{place} holds {parts[part].name}/ and {path.name}/, both the {part} part: leave one")
        parts[part] = path
    if "train" not in parts:
        raise DataError(f"{place} holds {nested[0].name}/ and no train/")
    for path in _visible(place, others):
        if path not in nested:
            others[_kind_of(path)] += 1
    return parts


def _visible(folder: Path, others: Counter[str]) -> list[Path]:
    """Return what lies in a folder, by name; what is hidden or a system's is counted."""
    paths = sorted(folder.iterdir())
    hidden = [path for path in paths if path.name.startswith(".") or path.name in _SYSTEM]
    others["hidden file"] += len(hidden)
    return [path for path in paths if path not in hidden]


def _pictures_below(folder: Path, others: Counter[str]) -> Iterator[Path]:
    for path in _visible(folder, others):
        if path.is_dir() and not path.is_symlink():
            yield from _pictures_below(path, others)
        elif values.is_picture(path) and path.is_file():
            yield path
        else:
            others[_kind_of(path)] += 1


def _kind_of(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden file"
    if path.is_dir():
        return "linked folder" if path.is_symlink() else "further folder"
    return f"{path.suffix.lower()} file" if path.suffix and path.suffix.isprintable() else "other file"


def _left_out(others: Mapping[str, int]) -> list[str]:
    counts = [counted(number, kind) for kind, number in sorted(others.items()) if number]
    return [f"left out: {', '.join(counts)}"] if counts else []


# Series ----------------------------------------------------------------------------------------------------------


def _series(place: Path) -> Source:
    """Read ``.ts`` (dimensions between colons, the class last) or ``.tsv`` (the class first) of one or both parts."""
    twins, name = {"train": place}, place.stem
    if match := re.fullmatch(r"(.+)_(train|test)", place.stem, re.IGNORECASE):
        name = match[1]
        wanted = {f"{name}_{part}{place.suffix}".lower(): part for part in ("train", "test")}
        twins = {
            wanted[path.name.lower()]: path
            for path in sorted(place.parent.iterdir())
            if path.name.lower() in wanted and (path == place or path.stem[: len(name)] == name)
        }
        twins[wanted[place.name.lower()]] = place
    remarks: list[str] = []
    parts = {}
    for part, path in twins.items():
        values.check_bytes(path, path.stat().st_size)
        lines = path.read_text("utf-8-sig").splitlines()
        rows, labels = _tsv(path, lines, remarks) if path.suffix.lower() == ".tsv" else _ts(path, lines)
        series = [np.array(row, np.float64).T[None] for row in rows]
        if not all(np.isfinite(one).all() for one in series):
            raise DataError(f"{path} has missing values, and a network needs all")
        parts[part] = part_of_arrays(series, np.array(labels, dtype=object), part, channels="last")
    return Source(name, parts, remarks)


def _ts(path: Path, lines: list[str]) -> tuple[list[list[list[float]]], list[str]]:
    """Return the dimensions of each series, and its class; the header is that of aeon's and sktime's format."""
    header: dict[str, str] = {}
    rows: list[list[str]] = []
    for line in map(str.strip, lines):
        if line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
        elif line and line[0] not in "#%":
            rows.append(line.split(":"))
    said = {key: value.split()[0].lower() if value else "" for key, value in header.items()}
    if said.get("targetlabel") == "true" or said.get("classlabel") == "false":
        raise DataError(f"{path} has no classes, as its header says (@targetLabel, @classLabel)")
    if said.get("timestamps") == "true":
        raise DataError(f"{path} has times beside its values (@timeStamps true), which are not read")
    dimensions = {len(row) - 1 for row in rows}
    stated = said.get("dimensions", said.get("dimension", ""))
    if dimensions == {0} or len(dimensions) > 1 or (stated.isdecimal() and dimensions != {int(stated)}):
        raise DataError(
            f"{path} has series of {' and '.join(map(str, sorted(dimensions)))} dimensions before the class; "
            f"allowed is {stated or 'one number of them'}"
        )
    labels = [row[-1].strip() for row in rows]
    if strange := [label for label in labels if "," in label]:
        raise DataError(f"{path} has {strange[0][:40]!r} where a class has to be, behind the last colon")
    allowed = header.get("classlabel", "").split()[1:]
    if strange := [label for label in labels if allowed and label.lower() not in {name.lower() for name in allowed}]:
        raise DataError(f"{path} has the class {strange[0]!r}; its header names {', '.join(allowed)}")
    numbers = [[_floats(path, one.split(",")) for one in row[:-1]] for row in rows]
    for row in numbers:
        if len({len(one) for one in row}) > 1:
            raise DataError(
                f"{path} has a series with a dimension of {len(row[0])} values and another of another length"
            )
    if said.get("serieslength", "").isdecimal() and said.get("equallength") != "false":
        lengths = {len(row[0]) for row in numbers}
        if lengths != {int(said["serieslength"])}:
            raise DataError(f"{path} has series of {min(lengths)} values; its header says {said['serieslength']}")
    return numbers, labels


def _tsv(path: Path, lines: list[str], remarks: list[str]) -> tuple[list[list[list[float]]], list[str]]:
    rows = [line.split("\t") for line in lines if line.strip()]
    if rows and _is_header(rows[0]):
        if not rows[0][0].strip():
            raise DataError(f"{path} has a column of row numbers before the classes; write it without (index=False)")
        remarks.append(f"left out: the header of {path.name}")
        rows = rows[1:]
    return [[_floats(path, row[1:])] for row in rows], [row[0].strip() for row in rows]


def _is_header(row: list[str]) -> bool:
    """Return whether a row names columns: words, or the numbers that pandas counts columns with."""
    if len(row) > 2 and row == [str(index) for index in range(len(row))]:
        return True
    is_counted = row[1:] == [str(index) for index in range(len(row) - 1)]
    if is_counted and not _is_number(row[0]):
        return True
    return len(row) > 1 and not any(_is_number(value) or value.strip() in ("", "?") for value in row[1:])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _floats(path: Path, texts: list[str]) -> list[float]:
    if strange := [text.strip() for text in texts if not _is_number(text)]:
        raise DataError(f"{path} has {strange[0][:40]!r} where a number has to be")
    return [float(text) for text in texts]


# torch -----------------------------------------------------------------------------------------------------------


def part_of_torch(data: Any, part: str, channels: str | None) -> Part:
    """Return one of torch's map-style data sets of (picture or tensor (channels, rows, columns), class) as a part.

    Raises:
        DataError: it has no length, or its items are something else.
    """
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise DataError(
            f"{part} is {type(data).__name__}; allowed are torch's map-style data sets, which have a length"
        )
    images, labels = [], []
    kinds = set()
    for index in range(len(data)):
        item = data[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {index} of {part} is {type(item).__name__}; allowed is (image, class)")
        image, label = item
        is_picture = hasattr(image, "getextrema")
        kinds.add("picture" if is_picture else "tensor" if hasattr(image, "detach") else "array")
        images.append(values.picture_numbers(image)[0] if is_picture else values.as_array(image))
        label = label.tolist() if hasattr(label, "tolist") else label
        if isinstance(label, list | tuple | dict):
            raise DataError(
                f"the class of item {index} of {part} is {str(label)[:40]}; allowed is an integer or a text"
            )
        labels.append(label)
    if len(kinds) > 1:
        raise DataError(f"{part} has {' and '.join(sorted(kinds))} images; allowed is one kind")
    if kinds != {"array"} and images and images[0].ndim == 3:
        channels = "last" if kinds == {"picture"} else "first"
    source = part_of_arrays(images, np.array(labels, dtype=object), part, channels=channels)
    while not hasattr(data, "classes") and hasattr(data, "dataset"):
        data = data.dataset
    if names := [str(name) for name in getattr(data, "classes", None) or ()]:
        _name_classes(source, names, part)
    return source


def _name_classes(source: Part, names: list[str], part: str) -> None:
    """Call classes as a torch data set does, in its order; those without an image stay away."""
    names = [text_label(name, f"classes of {part}") for name in names]
    calls = {str(index): name for index, name in enumerate(names)}
    if {*source.labels} <= {*names} and not {*source.labels} <= calls.keys():
        calls = {name: name for name in names}
    if strange := [label for label in source.labels if label not in calls]:
        raise DataError(f"{part} has the class {strange[0]}, but its classes are {', '.join(names)[:80]}")
    source.labels = [calls[label] for label in source.labels]
    present = {*source.labels}
    source.classes = [name for name in names if name in present]

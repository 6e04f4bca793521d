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
from collections.abc import Iterator, Mapping
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
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "validation"),
    **dict.fromkeys(("test", "testing", TEST_FILES), "test"),
}
_KINDS = {
    **dict.fromkeys(("x", "images", "image"), "images"),
    **dict.fromkeys(("y", "labels", "label", "target", "targets"), "labels"),
}
# What systems put beside people's files.
_SYSTEM = ("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini")
# An archive that unpacks to so many times its size holds nothing but repetitions; images reach about fifty.
_MOST_TIMES, _SMALL = 200, 2**26


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


def source_at(root: Path, shape: Shape | None = None, group_by: str | None = None) -> Source:
    """Read a file or folder."""
    ending = root.suffix.lower()
    try:
        if root.is_dir():
            source = _idx_folder(root) or _picture_folder(root, shape, group_by)
        elif not root.is_file():
            raise DataError(f"{root} is a device or a pipe; allowed are files and folders")
        elif ending not in (".npz", ".ts", ".tsv"):
            raise DataError(f"{root}: allowed are folders of pictures or IDX files, .npz, .ts and .tsv")
        else:
            source = _npz(root, group_by) if ending == ".npz" else _series(root)
    except (OSError, MemoryError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, SyntaxError) as error:
        raise DataError(f"cannot read {root}: {' '.join(reason(error).split())}") from error
    if group_by is not None and not all(part.groups for part in source.parts.values()):
        raise DataError(f"--group-by {group_by}: {root} has no groups; allowed are .npz and folders of pictures")
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


def _npz(path: Path, group_by: str | None) -> Source:
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist()]
        size = sum(entry.file_size for entry in archive.infolist())
    values.check_bytes(path, size)
    packed = path.stat().st_size
    if size > _SMALL and size > _MOST_TIMES * packed:
        raise DataError(f"{path} unpacks to {size // packed} times its size; images do not")
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise DataError(f"{path} holds {twice[0]} twice")
    with np.load(path, allow_pickle=False) as arrays:
        keys: dict[str, dict[str, str]] = {}
        for key in arrays:
            if role := _role(key.lower().split("_")):
                of_part = keys.setdefault(role[0], {})
                if role[1] in of_part:
                    raise DataError(
                        f"{path} holds {of_part[role[1]]} and {key}, both {role[1]} of {role[0]}: leave one"
                    )
                of_part[role[1]] = key
        keys = {part: of_part for part, of_part in keys.items() if len(of_part) == 2}
        if not keys:
            content = ", ".join(arrays) or "nothing"
            raise DataError(f"{path} holds {content}; allowed are X, y; x_train, y_train; train_images, train_labels")
        parts = {}
        for part, of_part in keys.items():
            if group_by is not None:
                of_part["groups"] = _group_key(group_by, part, list(arrays), path)
            parts[part] = part_of_arrays(part=part, **{kind: arrays[key] for kind, key in of_part.items()})
        unused = [key for key in arrays if key not in {key for of_part in keys.values() for key in of_part.values()}]
    return Source(path.stem, parts, [f"left out: the arrays {', '.join(unused)}"] if unused else [])


def _role(words: list[str]) -> tuple[str, str] | None:
    """Return of which part and kind something is whose name has these words; None where they do not say it."""
    parts, kinds = ([meanings[word] for word in words if word in meanings] for meanings in (_WORDS, _KINDS))
    is_plain = len(kinds) == 1 and len(parts) < 2 and len(words) == len(kinds) + len(parts)
    return (parts[0] if parts else "train", kinds[0]) if is_plain else None


def _group_key(group_by: str, part: str, keys: list[str], path: Path) -> str:
    words = [word for word, meant in _WORDS.items() if meant == part]
    forms = [f"{group_by}_{word}" for word in words] + [f"{word}_{group_by}" for word in words]
    forms = [group_by, *forms] if part == "train" else [f"{group_by}_{part}", *forms]
    key = next((form for form in forms if form in keys), None)
    if key is None:
        raise DataError(f"--group-by {group_by}: {path} has no array {forms[0]}; it holds {', '.join(keys)}")
    return key


def _idx_folder(folder: Path) -> Source | None:
    """Read IDX files by the names that torchvision, EMNIST, QMNIST and Kaggle give them; None where there are none."""
    pairs: dict[str, dict[str, Path]] = {}
    # The same file may lie there packed and unpacked.
    paths = {path.name.lower().removesuffix(".gz"): path for path in sorted(folder.iterdir(), reverse=True)}
    for name, path in sorted(paths.items()):
        words = [word for word in re.split(r"[^a-z0-9]+", name) if word in (*_WORDS, *_KINDS)]
        if re.search(r"(^|[^a-z])idx", name) and (role := _role(words)) and path.is_file() and name[0] != ".":
            pair = pairs.setdefault(role[0], {})
            if role[1] in pair:
                raise DataError(f"{folder} holds {pair[role[1]].name} and {path.name}: leave one pair a part")
            pair[role[1]] = path
    parts = {}
    for part, pair in pairs.items():
        if len(pair) < 2:
            raise DataError(f"{folder} has no {'labels' if 'images' in pair else 'images'} of {part}")
        images, labels = _idx(pair["images"]), _idx(pair["labels"])
        # Of the eight columns of QMNIST's labels the first is the class (Yadav and Bottou 2019).
        parts[part] = part_of_arrays(images, labels[:, 0] if labels.shape[1:] == (8,) else labels, part)
    used = {path for pair in pairs.values() for path in pair.values()}
    others = Counter(_kind_of(path) for path in folder.iterdir() if path not in used)
    return Source(folder.resolve().name, parts, _left_out(others)) if parts else None


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
        raise DataError(f"--group-by {group_by}: of a folder, allowed is _ (what stands in a name before the first _)")
    others = Counter[str]()
    counts = Counter[str]()
    depths = set[bool]()
    parts: dict[str, Part] = {}
    for name, folder in _part_folders(root, others).items():
        part = parts[name] = Part([], [], [], channels="last")
        for path in _visible(folder, others):
            if not path.is_dir():
                others[_kind_of(path)] += 1
                continue
            label = text_label(path.name, f"the classes of {folder.name}")
            for file in _pictures_below(path, root, others):
                stored, is_transparent, further_frames = values.picture(file)
                depths.add(stored.dtype == np.uint8)
                if len(depths) > 1:
                    raise DataError(f"{root} has pictures of 8 bits and of more, such as {file}: make them alike")
                numbers = stored if shape is None else values.resized(stored, shape)
                counts["bytes"] += numbers.nbytes
                values.check_bytes(root, counts["bytes"])
                counts["pictures with transparent parts (white now)"] += int(is_transparent)
                counts["pictures of subfolders (read)"] += int(file.parent != path)
                others["further frame"] += further_frames
                part.images.append(numbers)
                part.labels.append(label)
                part.names.append(os.fsencode(file.relative_to(root)).decode("utf-8", "replace"))
            if label not in part.labels:
                raise DataError(f"the class {label!r} of {folder} has no picture ({values.ENDINGS})")
        # Names that differ in Unicode's form only are one class.
        part.classes = sorted({*part.labels})
        if group_by is not None:
            part.groups = [Path(name).name.partition("_")[0] for name in part.names]
    if not parts["train"].labels:
        raise DataError(f"{root} holds no folder of pictures a class, and no pair of IDX files")
    if group_by is not None:
        names = [name for part in parts.values() for name in part.names]
        lacking = [name for name in names if "_" not in Path(name).name]
        if lacking:
            total = f"{len(lacking):,} of the {len(names):,} pictures of {root}"
            raise DataError(f"--group-by _: {total} have no _ in their names, such as {lacking[0]}")
    words = [f"{number:,} {what}" for what, number in sorted(counts.items()) if number and what != "bytes"]
    return Source(root.resolve().name, parts, _left_out(others) + words)


def _part_folders(root: Path, others: Counter[str]) -> dict[str, Path]:
    """Return the folders of the parts; a folder that has a part's name and holds pictures itself is a class."""
    folders = [path for path in _visible(root, Counter()) if path.is_dir()]
    flat = [path for path in folders if any(values.is_picture(each) for each in _visible(path, Counter()))]
    named = [path for path in folders if path.name.lower() in _WORDS]
    nested = [path for path in named if path not in flat and any(each.is_dir() for each in _visible(path, Counter()))]
    if not nested:
        return {"train": root}
    if classes := [path.name for path in flat if path in named or len(nested) == 1]:
        raise DataError(
            f"{root} holds {nested[0].name}/ with folders and {classes[0]}/ with pictures: if these are classes, put "
            "them into a folder train/; if they are parts, give each its folders of classes"
        )
    parts: dict[str, Path] = {}
    for path in nested:
        part = _WORDS[path.name.lower()]
        if part in parts:
            raise DataError(f"{root} holds {parts[part].name}/ and {path.name}/, both the {part} part: leave one")
        parts[part] = path
    if "train" not in parts:
        raise DataError(f"{root} holds {nested[0].name}/ and no train/")
    others.update(_kind_of(path) for path in _visible(root, others) if path not in nested)
    return parts


def _visible(folder: Path, others: Counter[str]) -> list[Path]:
    """Return what lies in a folder, by name; what is hidden or a system's is counted."""
    paths = sorted(folder.iterdir())
    hidden = [path for path in paths if path.name.startswith(".") or path.name in _SYSTEM]
    others["hidden file"] += len(hidden)
    return [path for path in paths if path not in hidden]


def _pictures_below(folder: Path, root: Path, others: Counter[str]) -> Iterator[Path]:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{folder} is a link out of {root}")
    for path in _visible(folder, others):
        if path.is_dir() and not path.is_symlink():
            yield from _pictures_below(path, root, others)
        elif values.is_picture(path) and path.is_file():
            if not path.resolve().is_relative_to(root.resolve()):
                raise DataError(f"{path} is a link out of {root}")
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


def _series(root: Path) -> Source:
    """Read ``.ts`` (dimensions between colons, the class last) or ``.tsv`` (the class first) of one or both parts."""
    twins, name = {"train": root}, root.stem
    if match := re.fullmatch(r"(.+)_(train|test)", root.stem, re.IGNORECASE):
        name = match[1]
        wanted = {f"{name}_{part}{root.suffix}".lower(): part for part in ("train", "test")}
        twins = {
            wanted[path.name.lower()]: path
            for path in sorted(root.parent.iterdir())
            if path.name.lower() in wanted and (path == root or path.stem[: len(name)] == name)
        }
        twins[wanted[root.name.lower()]] = root
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
    flags = {key: value.split()[0].lower() if value else "" for key, value in header.items()}
    if flags.get("targetlabel") == "true" or flags.get("classlabel") == "false":
        raise DataError(f"{path} has no classes, as its header says (@targetLabel, @classLabel)")
    if flags.get("timestamps") == "true":
        raise DataError(f"{path} has times beside its values (@timeStamps true), which are not read")
    dimensions = {len(row) - 1 for row in rows}
    dimension_text = flags.get("dimensions", flags.get("dimension", ""))
    if dimensions == {0} or len(dimensions) > 1 or (dimension_text.isdecimal() and dimensions != {int(dimension_text)}):
        raise DataError(
            f"{path} has series of {' and '.join(map(str, sorted(dimensions)))} dimensions before the class; "
            f"allowed is {dimension_text or 'one number of them'}"
        )
    labels = [row[-1].strip() for row in rows]
    if strange := [label for label in labels if "," in label]:
        raise DataError(f"{path} has {strange[0][:40]!r} where a class has to be, behind the last colon")
    allowed = header.get("classlabel", "").split()[1:]
    if strange := [label for label in labels if allowed and label.lower() not in {name.lower() for name in allowed}]:
        raise DataError(f"{path} has the class {strange[0]!r}; its header names {', '.join(allowed)}")
    numbers = [[_floats(path, one.split(",")) for one in row[:-1]] for row in rows]
    if any(len(one) != len(row[0]) for row in numbers for one in row):
        raise DataError(f"{path} has a series whose dimensions are of several lengths")
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
    # What Python takes for a number and no other program does.
    return "_" not in text


def _floats(path: Path, texts: list[str]) -> list[float]:
    if strange := [text.strip() for text in texts if not _is_number(text)]:
        raise DataError(f"{path} has {strange[0][:40]!r} where a number has to be")
    return [float(text) for text in texts]


# torch -----------------------------------------------------------------------------------------------------------


def part_of_torch(data: Any, part: str, channels: str | None, remarks: list[str]) -> Part:
    """Return one of torch's map-style data sets of (picture or tensor (channels, rows, columns), class) as a part."""
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
        _name_classes(source, names, part, remarks)
    return source


def _name_classes(source: Part, names: list[str], part: str, remarks: list[str]) -> None:
    """Call classes as a torch data set does, in its order; those without an image stay away."""
    names = [text_label(name, f"classes of {part}") for name in names]
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise DataError(f"{part} calls two classes {twice[0]}; each needs a name of its own")
    calls = {str(index): name for index, name in enumerate(names)}
    if {*source.labels} <= {*names} and not {*source.labels} <= calls.keys():
        calls = {name: name for name in names}
    if strange := [label for label in source.labels if label not in calls]:
        raise DataError(f"{part} has the class {strange[0]}, but its classes are {', '.join(names)[:80]}")
    source.labels = [calls[label] for label in source.labels]
    present = {*source.labels}
    source.classes = [name for name in names if name in present]
    if absent := [name for name in names if name not in present]:
        remarks.append(f"left out: classes of {part} without an image: {', '.join(absent)[:80]}")

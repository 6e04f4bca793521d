"""Layouts of folders of pictures: ``CLASS``, ``PART/CLASS`` and ``CLASS/PART``.

A layout may lie below any number of folders that contain a single folder. A tree that can be read in several ways is
refused, with the names of the folders.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from harness.data.user import values
from harness.data.user.labels import text_label
from harness.system.errors import DataError

PARTS = ("train", "validation", "test")
_TEST_FILES = "t10k"  # prefix of MNIST's test files, which hold 10,000 images
_MAX_LEVELS = 32  # levels of folders
_SYSTEM_NAMES = ("__MACOSX", "__pycache__", "@eaDir", "Thumbs.db", "desktop.ini")  # created by systems and tools
_PART_WORDS = {
    "train": "train training tr",
    "validation": "valid val validation dev development",
    "test": "test testing te eval evaluation holdout",
}
_PLAIN_WORDS = ("data", "dataset", "image", "images", "img", "imgs", "pictures", "photos", "set", "split")
_MIXED = re.compile(r"(images|imgs)([\W\d_]|part)*", re.IGNORECASE)  # folders that are no classes, such as images_001
# Glued words such as testset are included.
PART_OF_WORD = {_TEST_FILES: "test"} | {
    word + ending: part for part, text in _PART_WORDS.items() for word in text.split() for ending in ("", *_PLAIN_WORDS)
}


@dataclass(slots=True, eq=False)
class _Folder:
    """A folder, with the pictures and the visible folders directly inside, both sorted by name.

    Attributes:
        full: Folders inside that contain pictures, at any level; ``bare`` are the folders without pictures.
        has_others: Whether the folder or a subfolder contains further visible files, such as annotations.
    """

    path: Path
    pictures: list[Path] = field(default_factory=list)
    full: list[_Folder] = field(default_factory=list)
    bare: list[_Folder] = field(default_factory=list)
    has_others: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def below(self) -> Iterator[Path]:
        yield from self.pictures
        for folder in self.full:
            yield from folder.below()


_Classes: TypeAlias = list[tuple[str, _Folder]]  # name and folder of each class


def read_layout(root: Path, left_out: Counter[str]) -> tuple[dict[str, _Classes], str]:
    """Return name and folder of each class, by part, and a remark on the layout, empty for ``CLASS``.

    Paths left out are added to ``left_out``, by kind (`kind_of`).

    Raises:
        DataError: A link leads out of ``root``, the folders are too deep, or parts and classes are ambiguous.
    """
    top = _inner(_scanned(root, root, left_out, _MAX_LEVELS))
    parts = _parts_among(top.full)
    # The only folder that is called a part may be a class, as in ``bus``, ``car`` and ``train``: unlabelled pictures
    # are of no use for training, but are usual as test pictures.
    is_class = [*parts.values()] == ["train"] and len(top.full) > 1 and all(folder.pictures for folder in top.full)
    if parts and not is_class:
        left_out["further folder"] += len(top.bare)
        folders = _by_part(top, parts)
        places = ", ".join(f"{part} in {folder.path.relative_to(root)}/" for part, folder in folders.items())
        return {part: _classes_of_part(folder, part) for part, folder in folders.items()}, f"parts: {places}"
    inner_parts = {folder: _parts_among(_inner(folder).full) for folder in top.full}
    if any(inner_parts.values()):
        classes = _parts_in_classes(top, inner_parts)
        return classes, f"parts: {' and '.join(classes)}, a folder for each inside each class"
    return {"train": _classes_in(top)}, "" if top.path == root else f"classes in {top.path.relative_to(root)}/"


def _scanned(path: Path, root: Path, left_out: Counter[str], levels: int) -> _Folder:
    if not levels:
        raise DataError(f"{root} has more than {_MAX_LEVELS} levels of folders; pass the folder with the classes")
    folder = _Folder(path)
    with os.scandir(path) as entries:
        sorted_entries = sorted(entries, key=lambda entry: entry.name)
    for entry in sorted_entries:
        entry_path = path / entry.name
        if entry.name.startswith(".") or entry.name in _SYSTEM_NAMES:
            left_out["hidden file"] += 1
        elif entry.is_symlink() and not entry_path.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{entry_path} is a link to a place outside {root}")
        elif entry.is_dir(follow_symlinks=False):
            inner = _scanned(entry_path, root, left_out, levels - 1)
            (folder.full if inner.pictures or inner.full else folder.bare).append(inner)
            folder.has_others = folder.has_others or inner.has_others
        elif values.is_picture(entry_path) and entry.is_file():
            folder.pictures.append(entry_path)
        else:
            folder.has_others = True
            left_out[kind_of(entry_path)] += 1
    return folder


def kind_of(path: Path) -> str:
    """Return the kind of a path that is left out, a singular noun."""
    if path.name.startswith("."):
        return "hidden file"
    if path.is_dir():
        return "linked folder" if path.is_symlink() else "further folder"
    if not path.suffix or not path.suffix.isprintable():
        return "unknown file"
    return f"{path.suffix.lower()} file"


# Parts -----------------------------------------------------------------------------------------------------------


def _part_and_stem(name: str) -> tuple[str, tuple[str, ...]] | None:
    # Words end at characters other than letters, and between a small and a capital letter.
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(rf"{_TEST_FILES}|[^\W\d_]+", re.sub(r"hold[\W_]out", "holdout", text))
    parts = {PART_OF_WORD[word] for word in words if word in PART_OF_WORD}
    if len(parts) != 1:
        return None
    return parts.pop(), tuple(word for word in words if word not in PART_OF_WORD and word not in _PLAIN_WORDS)


def _parts_among(folders: Sequence[_Folder]) -> dict[_Folder, str]:
    """Return the folders that are parts by their names.

    Either a name has usual words only, such as ``Train Images``, or the names of several parts have equal further
    words, such as ``seg_train`` and ``seg_test``.
    """
    named_folders = {folder: name for folder in folders if (name := _part_and_stem(folder.name)) is not None}
    parts_by_stem = defaultdict[tuple[str, ...], set[str]](set)
    for part, stem in named_folders.values():
        parts_by_stem[stem].add(part)
    return {folder: part for folder, (part, stem) in named_folders.items() if not stem or len(parts_by_stem[stem]) > 1}


def _inner(folder: _Folder, part: str | None = None) -> _Folder:
    """Return the first folder, at or below ``folder``, that is not the only folder with pictures in its folder.

    A folder with the name of a part other than ``part`` is not entered. Folders without pictures must contain other
    files, such as annotations; an empty folder may be a class.
    """
    while len(folder.full) == 1 and not folder.pictures and all(bare.has_others for bare in folder.bare):
        [single] = folder.full
        if not single.full or {*_parts_among([single]).values()} - {part}:
            break
        folder = single
    return folder


def _by_part(top: _Folder, parts: Mapping[_Folder, str]) -> dict[str, _Folder]:
    strangers = [folder.name + "/" for folder in top.full if folder not in parts]
    strangers += [picture.name for picture in top.pictures]
    if strangers:
        hint = "if all are classes, move these into a folder train/; otherwise pass a folder with the parts only"
        names = ", ".join(f"{folder.name}/" for folder in parts)
        raise DataError(f"{top.path} contains {names} (by name parts) beside {', '.join(strangers[:3])}", hint=hint)
    if bare_parts := _parts_among(top.bare):
        raise DataError(f"{next(iter(bare_parts)).path} contains no pictures ({values.ENDINGS})")
    folders: dict[str, _Folder] = {}
    for folder, part in parts.items():
        if part in folders:
            raise DataError(f"{top.path} contains {folders[part].name}/ and {folder.name}/, both for {part}")
        folders[part] = folder
    if "train" not in folders:
        raise DataError(f"{top.path} contains {next(iter(parts)).name}/, but no train/")
    return {part: folders[part] for part in PARTS if part in folders}


def _parts_in_classes(top: _Folder, inner_parts: Mapping[_Folder, Mapping[_Folder, str]]) -> dict[str, _Classes]:
    undivided = [folder for folder, parts in inner_parts.items() if not parts]
    if undivided or top.pictures:
        example = (undivided or top.pictures)[0].name
        raise DataError(f"{top.path}: {example} is not divided into parts, but other classes are")
    classes: dict[str, _Classes] = {}
    for folder, parts in inner_parts.items():
        for part, part_folder in _by_part(_inner(folder), parts).items():
            pictures = _inner(part_folder, part)
            if len(pictures.full) > 1 or (pictures.full and not pictures.full[0].pictures):
                raise DataError(f"{part_folder.path} contains folders; expected pictures of the class {folder.name}")
            classes.setdefault(part, []).append((_label(folder), part_folder))
    return classes


# Classes ---------------------------------------------------------------------------------------------------------


def _classes_of_part(folder: _Folder, part: str) -> _Classes:
    inner = _inner(folder, part)
    nested_parts = [nested for nested in _parts_among(inner.full) if nested.full]
    if nested_parts:
        raise DataError(f"{inner.path}, the part {part}, contains {nested_parts[0].name}/ (by name a part)")
    if len(inner.full) == 1:
        words = re.findall(r"[a-z]+", inner.full[0].name.lower())
        if all(word in _PLAIN_WORDS or word in PART_OF_WORD for word in words):
            inner = inner.full[0]  # pictures without a folder for each class
    if part != "train" and inner.pictures and not inner.full:
        hint = "move the folder to another place; images of the training part are then set aside for this part"
        raise DataError(f"{inner.path}, the part {part}, contains pictures without classes", hint=hint)
    return _classes_in(inner)


def _classes_in(top: _Folder) -> _Classes:
    if top.pictures:
        example = top.pictures[0].name
        raise DataError(f"{top.path} contains {example}; every picture must be in the folder of a class")
    if not top.full:
        raise DataError(f"{top.path} contains neither a folder of pictures per class nor a pair of IDX files")
    if top.bare:
        raise DataError(f"class {_label(top.bare[0])!r} of {top.path} has no pictures ({values.ENDINGS})")
    mixed_names = [folder.name for folder in top.full if _MIXED.fullmatch(folder.name)]
    if mixed_names and len(top.full) > 1:
        hint = "move the pictures of each class into a folder with the name of the class"
        raise DataError(f"{top.path} contains {mixed_names[0]}/ (by name pictures of all classes)", hint=hint)
    flat = [folder for folder in top.full if folder.pictures]
    deep = [folder for folder in top.full if not folder.pictures]
    if flat and deep:
        both = f"{flat[0].name}/ with pictures and {deep[0].name}/ with folders only"
        raise DataError(f"{top.path} contains {both}; the pictures of all classes must be at the same level")
    names = Counter(folder.name.lower() for folder in top.full)
    for folder in deep:
        names.update(inner.name.lower() for inner in _inner(folder).full[1:] and _inner(folder).full)
    repeated_names = [name for name, number in names.items() if number > 1]
    if len(repeated_names) > 1:
        hint = "call the outer folders train, validation and test, or move all pictures of a class into a single folder"
        message = f"{top.path} contains several folders called {repeated_names[0]}, so parts and classes are not clear"
        raise DataError(message, hint=hint)
    return [(_label(folder), folder) for folder in top.full]


def _label(folder: _Folder) -> str:
    return text_label(folder.name, f"the classes of {folder.path.parent.name}")

"""Division of images into training, validation and test parts without leakage.

Equal images (even of different classes) and images of the same group form a unit, and a unit is never divided. All
choices use SHA-256 of images or groups, so that choices cannot be manipulated and do not depend on the order of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

from harness.data.own.values import Array
from harness.system.errors import DataError
from harness.system.terminal import counted

_SHARE = Fraction(1, 5)  # share of the images that replaces a missing part
_FEW = 200  # training images; if any class has fewer, a single split is too noisy and ``FOLDS`` folds are used
FOLDS = 5
_FEWEST_GROUPS = 5  # least number of groups that validate or test, unless a third of all groups is less
ALWAYS_TRAINED = 255  # fold number of images that never validate


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Units of images that must not be divided.

    Attributes:
        of_image: Unit of each image, int64 (images,).
        ranks: SHA-256 of each unit, by which units are ordered.
    """

    of_image: Array
    ranks: list[bytes]

    def members(self, images: Iterable[int]) -> dict[int, list[int]]:
        """Return ``images`` by unit; units are ordered by rank."""
        members: dict[int, list[int]] = {}
        for image in images:
            members.setdefault(int(self.of_image[image]), []).append(image)
        return dict(sorted(members.items(), key=lambda item: self.ranks[item[0]]))


def units(keys: Sequence[Array], tag: str = "") -> Units:
    """Return the connected components of images that share a key of any kind.

    Args:
        keys: Keys of the images, bytes (images,), for each kind of key; the first kind determines the ranks.
        tag: Prefix of the hashed keys, so that ranks for different purposes are independent.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A graph with a node for each image and for each distinct key; an edge joins an image with each of its keys.
    count = len(keys[0])
    image_nodes = np.tile(np.arange(count), len(keys))
    key_nodes = []
    nodes = count
    for kind in keys:
        distinct, indices = np.unique(kind, return_inverse=True)
        key_nodes.append(nodes + indices)
        nodes += len(distinct)
    edges = (image_nodes, np.concatenate(key_nodes))
    graph = coo_array((np.ones(len(image_nodes), bool), edges), shape=(nodes, nodes))
    components = connected_components(graph, directed=False)[1][:count]
    # The rank of a unit is the hash of its least key of the first kind.
    order = np.lexsort((keys[0], components))
    numbers, firsts = np.unique(components[order], return_index=True)
    least_keys = keys[0][order[firsts]].tolist()
    ranks = [hashlib.sha256(tag.encode() + b":" + key).digest() for key in least_keys]
    return Units(np.searchsorted(numbers, components), ranks)


def choose_fifth(labels: Array, together: Units, barred: Array, *, grouped: bool) -> Array:
    """Return a mask of a fifth of each class; more than a fifth if whole units demand so.

    Args:
        labels: Classes, int64 (images,).
        together: Units of the images.
        barred: Mask of images that must not be chosen, together with the units of these images.
        grouped: Whether units are groups. If so, at least ``_FEWEST_GROUPS`` are chosen, but at most a third of all.

    Raises:
        DataError: A class would have no image on either side.
    """
    chosen = np.zeros(len(labels), bool)
    free = ~np.isin(together.of_image, together.of_image[barred])
    members = together.members(range(len(labels)))
    for label in np.unique(labels):
        in_class = ~barred & (labels == label)
        image_count = max(1, round(int(in_class.sum()) * _SHARE))
        count = int((in_class & chosen).sum())
        for unit in together.members(np.flatnonzero(in_class & free & ~chosen).tolist()):
            if count >= image_count:
                break
            chosen[members[unit]] = True
            count += int(in_class[members[unit]].sum())
    if grouped:
        _add_units(chosen, labels, together, free & ~barred)
    for side in (chosen, ~chosen & ~barred):
        if {*labels[side].tolist()} != {*labels[~barred].tolist()}:
            size = f"{int((~barred).sum())} images in {len(members)} units"
            rule = "each class needs images on both sides, and equal images, near-duplicates and groups stay together"
            raise DataError(f"cannot set aside a fifth of {size}: {rule}")
    return chosen


def _add_units(chosen: Array, labels: Array, together: Units, free: Array) -> None:
    """Add units to ``chosen`` by rank, up to the least number, if an image of each class stays on the opposite side."""
    members = together.members(np.flatnonzero(free).tolist())
    count = sum(bool(chosen[images[0]]) for images in members.values())
    group_count = min(_FEWEST_GROUPS, len(members) // 3)
    for images in members.values():
        if count >= group_count:
            break
        opposite = free & ~chosen
        opposite[images] = False
        if not chosen[images[0]] and {*labels[opposite].tolist()} == {*labels[free].tolist()}:
            chosen[images] = True
            count += 1


def choose_validation(
    labels: Array, together: Units, named: Array | None, *, grouped: bool, balanced: bool
) -> tuple[Array, Array]:
    """Choose the validation images.

    With many images or with groups, a fixed fifth validates. Otherwise ``FOLDS`` folds of equal size take turns. If
    the fixed fifth has fewer than ``_FEWEST_GROUPS`` groups, up to ``FOLDS`` folds of whole groups take turns instead,
    so that all groups validate; these folds have different sizes if the groups have.

    Args:
        labels: Classes, int64 (images,).
        together: Units of the images.
        named: Mask of the validation images if the source defines a validation part, else None.
        grouped: Whether units are groups.
        balanced: Whether equally many images of each class validate. Without groups, surplus units are always trained
            on. With groups, a fixed fifth validates, and single surplus images are left out, as a group must not be
            divided.

    Returns:
        Fold in which each image validates, uint8 (images,), or ``ALWAYS_TRAINED``; mask of the images that are used.

    Raises:
        DataError: A class has too few different images.
    """
    used = np.ones(len(labels), bool)
    if named is None and (grouped or np.bincount(labels).min() >= _FEW):
        named = choose_fifth(labels, together, np.zeros(len(labels), bool), grouped=grouped)
        if grouped and not balanced and len(np.unique(together.of_image[named])) < _FEWEST_GROUPS:
            fold = _folds(labels, together, min(FOLDS, len(together.ranks)), balanced=False)
            if _trains_all_classes(labels, fold, used):
                return fold, used
    if named is None:
        fold = _folds(labels, together, FOLDS, balanced=balanced)
    else:
        fold = np.where(named, 0, ALWAYS_TRAINED).astype(np.uint8)
    images = np.flatnonzero(fold != ALWAYS_TRAINED)
    # All cells get equally many images. A cell is a fold, or a class in a fold if the classes must be balanced.
    cells = fold[images].astype(int)
    cell_count = int(cells.max()) + 1
    of_image = together.of_image[images]
    if balanced:
        classes = int(labels.max()) + 1
        cells = cells * classes + labels[images]
        cell_count *= classes
    if balanced and grouped:
        of_image = np.arange(len(images))  # each image alone
    if balanced or cell_count > 1:
        surplus = images[~evened(cells, of_image, cell_count)]
        fold[surplus] = ALWAYS_TRAINED
        if balanced and grouped:
            used[surplus] = False
    if not _trains_all_classes(labels, fold, used):
        raise DataError("a class has too few different images for training and validation")
    return fold, used


def _trains_all_classes(labels: Array, fold: Array, used: Array) -> bool:
    """Return whether the training images of each fold have all classes."""
    trained = [labels[used & (fold != number)] for number in range(FOLDS)]
    return all(len(np.setdiff1d(labels, each)) == 0 for each in trained)


def _folds(labels: Array, together: Units, number_of_folds: int, *, balanced: bool) -> Array:
    fold: Array = np.full(len(labels), ALWAYS_TRAINED, np.uint8)
    members = together.members(range(len(labels)))
    classes = {unit: np.unique(labels[images]) for unit, images in members.items()}
    counts = np.zeros((number_of_folds, int(labels.max()) + 1), int)  # images by fold and class
    # Largest units first, so that small units fill the gaps.
    for unit in sorted(members, key=lambda unit: (-len(members[unit]), int(classes[unit][0]))):
        if balanced and len(classes[unit]) > 1:
            continue
        # The fold with the fewest images of the unit's classes, then with the fewest images; the first of equal folds.
        in_classes = counts[:, classes[unit]].sum(axis=1)
        number = int(np.lexsort((counts.sum(axis=1), in_classes))[0])
        fold[members[unit]] = number
        counts[number] += np.bincount(labels[members[unit]], minlength=counts.shape[1])
    return fold


def evened(cells: Array, of_image: Array, count: int) -> Array:
    """Return a mask of the images to keep, such that all ``count`` cells have equally many images.

    A unit is kept or dropped as a whole; units that belong to several cells are dropped.

    Args:
        cells: Cell of each image, 0 to ``count - 1``.
        of_image: Unit of each image.
        count: Number of cells.

    Raises:
        DataError: No equal size above zero is possible.
    """
    first_cell = np.full(of_image.max() + 1, count)
    last_cell = np.full(of_image.max() + 1, -1)
    np.minimum.at(first_cell, of_image, cells)
    np.maximum.at(last_cell, of_image, cells)
    in_one_cell: Array = first_cell[of_image] == last_cell[of_image]
    members = [np.flatnonzero(in_one_cell & (cells == cell)) for cell in range(count)]
    for size in range(min(map(len, members)), 0, -1):
        stay = in_one_cell.copy()
        for images in members:
            surplus = _whole_units(images, of_image, len(images) - size)
            if surplus is None:
                break
            stay[surplus] = False
        else:
            return stay
    raise DataError("a class has too few different images for balanced validation and test parts")


def _whole_units(images: Array, of_image: Array, number: int) -> list[int] | None:
    """Return ``number`` of the images that form whole units, largest units first, then the last; None if impossible."""
    members: dict[int, list[int]] = {}
    for image in reversed(images.tolist()):
        members.setdefault(int(of_image[image]), []).append(image)
    chosen: list[int] = []
    for unit in sorted(members.values(), key=len, reverse=True):
        if len(chosen) + len(unit) <= number:
            chosen += unit
    return chosen if len(chosen) == number else None


def overlap(parts: Mapping[str, Array], equal: Array, near: Array, groups: Array | None) -> str:
    """Return a description of images and groups that belong to two parts, with counts; empty without overlap.

    The hash of a user data set covers the text (``training_images.content_digest``), so the wording must not change.

    Args:
        parts: Indices of the images of each part, training part first.
        equal: Key of each image that equal images share; ``near`` is a key that near-duplicates share as well.
        groups: Group of each image; None without groups.
    """
    sentences = []
    for earlier, part in combinations(parts, 2):
        images = parts[part]
        earlier_images = parts[earlier]
        of_part = f"of {len(images):,} {part} images"
        shared = int(np.isin(equal[images], equal[earlier_images]).sum())
        if shared > 0:
            sentences.append(f"{shared:,} {of_part} lie in the {earlier} part, too")
        alike = int(np.isin(near[images], near[earlier_images]).sum()) - shared
        if alike > 0:
            sentences.append(f"{alike:,} {of_part} are nearly equal to images of the {earlier} part")
        if groups is not None:
            common_groups = len(np.intersect1d(groups[images], groups[earlier_images]))
            if common_groups > 0:
                sentences.append(f"{counted(common_groups, 'group')} of the {part} part lie in the {earlier} part, too")
    return "; ".join(sentences)

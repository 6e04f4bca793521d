"""Division of images into training, validation and test parts without leakage.

Equal images (even of different classes) and images of the same group form a unit, and a unit is never divided. All
choices use SHA-256 of images or groups, so that choices cannot be manipulated and do not depend on the order of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from harness.data.own.values import Array
from harness.system.errors import DataError
from harness.system.terminal import counted

_SHARE = Fraction(1, 5)  # share of the images that replaces a missing part
_FEW = 200  # training images; if any class has fewer, a single split is too noisy and ``FOLDS`` folds are used
FOLDS = 5
FEWEST_GROUPS = 5  # least number of groups that validate or test, unless a third of all groups is less
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

    size = nodes = len(keys[0])
    images = np.tile(np.arange(size), len(keys))
    ends = []
    for one in keys:
        unique, indices = np.unique(one, return_inverse=True)
        ends.append(nodes + indices)
        nodes += len(unique)
    graph = coo_array((np.ones(len(images), bool), (images, np.concatenate(ends))), shape=(nodes, nodes))
    of_image = connected_components(graph, directed=False)[1][:size]
    order = np.lexsort((keys[0], of_image))
    numbers, firsts = np.unique(of_image[order], return_index=True)
    least = keys[0][order[firsts]].tolist()
    ranks = [hashlib.sha256(tag.encode() + b":" + key).digest() for key in least]
    return Units(np.searchsorted(numbers, of_image), ranks)


def fifth(labels: Array, together: Units, barred: Array, *, grouped: bool) -> Array:
    """Return a mask of a fifth of each class; more than a fifth if whole units demand so.

    Args:
        labels: Classes, int64 (images,).
        together: Units of the images.
        barred: Mask of images that must not be chosen, together with the units of these images.
        grouped: Whether units are groups. If so, at least ``FEWEST_GROUPS`` are chosen, but at most a third of all.

    Raises:
        DataError: A class would have no image on either side.
    """
    chosen = np.zeros(len(labels), bool)
    free = ~np.isin(together.of_image, together.of_image[barred])
    everything = together.members(range(len(labels)))
    for label in np.unique(labels):
        kind = ~barred & (labels == label)
        wanted, taken = max(1, round(int(kind.sum()) * _SHARE)), int((kind & chosen).sum())
        for unit in together.members(np.flatnonzero(kind & free & ~chosen).tolist()):
            if taken >= wanted:
                break
            chosen[everything[unit]] = True
            taken += int(kind[everything[unit]].sum())
    if grouped:
        _add_units(chosen, labels, together, free & ~barred)
    for side in (chosen, ~chosen & ~barred):
        if {*labels[side].tolist()} != {*labels[~barred].tolist()}:
            size = f"{int((~barred).sum())} images in {len(everything)} units"
            rule = "each class needs images on both sides, and equal images, near-duplicates and groups stay together"
            raise DataError(f"cannot set aside a fifth of {size}: {rule}")
    return chosen


def _add_units(chosen: Array, labels: Array, together: Units, free: Array) -> None:
    """Add units to ``chosen`` by rank, up to the least number, if an image of each class stays on the opposite side."""
    members = together.members(np.flatnonzero(free).tolist())
    count = sum(bool(chosen[images[0]]) for images in members.values())
    wanted = min(FEWEST_GROUPS, len(members) // 3)
    for images in members.values():
        others = free & ~chosen
        others[images] = False
        if count < wanted and not chosen[images[0]] and {*labels[others].tolist()} == {*labels[free].tolist()}:
            chosen[images] = True
            count += 1


def validated(
    labels: Array, together: Units, named: Array | None, *, grouped: bool, balanced: bool
) -> tuple[Array, Array]:
    """Choose the validation images.

    With many images or with groups, a fixed fifth validates. Otherwise ``FOLDS`` folds of equal size take turns.

    Args:
        labels: Classes, int64 (images,).
        together: Units of the images.
        named: Mask of the validation images if the source defines a validation part, else None.
        grouped: Whether units are groups.
        balanced: Whether equally many images of each class validate. Without groups, surplus units are always trained
            on. With groups, single surplus images are left out, as a group must not be divided.

    Returns:
        Fold in which each image validates, uint8 (images,), or ``ALWAYS_TRAINED``; mask of the images that are used.

    Raises:
        DataError: A class has too few different images.
    """
    if named is None and (grouped or np.bincount(labels).min() >= _FEW):
        named = fifth(labels, together, np.zeros(len(labels), bool), grouped=grouped)
    one = None if named is None else np.where(named, 0, ALWAYS_TRAINED).astype(np.uint8)
    turns = _turns(labels, together, balanced) if one is None else one
    stay = np.ones(len(labels), bool)
    images = np.flatnonzero(turns != ALWAYS_TRAINED)
    cells, of_image = turns[images].astype(int), together.of_image[images]
    due = int(cells.max()) + 1
    if balanced:
        classes = int(labels.max()) + 1
        cells = cells * classes + labels[images]
        due *= classes
        of_image = np.arange(len(images)) if grouped else of_image
    if balanced or due > 1:
        surplus = images[~evened(cells, of_image, due)]
        stay[surplus] = not (balanced and grouped)
        turns[surplus] = ALWAYS_TRAINED
    for turn in range(FOLDS):
        if {*labels.tolist()} - {*labels[stay & (turns != turn)].tolist()}:
            raise DataError("a class has too few different images for training and validation")
    return turns, stay


def _turns(labels: Array, together: Units, balanced: bool) -> Array:
    turns: Array = np.full(len(labels), ALWAYS_TRAINED, np.uint8)
    members = together.members(range(len(labels)))
    kinds = {unit: np.unique(labels[images]) for unit, images in members.items()}
    counts = np.zeros((FOLDS, int(labels.max()) + 1), int)
    # Largest units first, so that small units fill the gaps.
    for unit in sorted(members, key=lambda unit: (-len(members[unit]), int(kinds[unit][0]))):
        if balanced and len(kinds[unit]) > 1:
            continue
        turn = min(range(FOLDS), key=lambda turn: (counts[turn, kinds[unit]].sum(), counts[turn].sum(), turn))
        turns[members[unit]] = turn
        counts[turn] += np.bincount(labels[members[unit]], minlength=counts.shape[1])
    return turns


def evened(cells: Array, of_image: Array, due: int) -> Array:
    """Return a mask of the images to keep, such that all ``due`` cells have equally many images.

    A unit is kept or dropped as a whole; units that belong to several cells are dropped.

    Args:
        cells: Cell of each image, 0 to ``due - 1``.
        of_image: Unit of each image.
        due: Number of cells.

    Raises:
        DataError: No equal size above zero is possible.
    """
    first, last = np.full(of_image.max() + 1, due), np.full(of_image.max() + 1, -1)
    np.minimum.at(first, of_image, cells)
    np.maximum.at(last, of_image, cells)
    inside: Array = first[of_image] == last[of_image]
    members = {cell: np.flatnonzero(inside & (cells == cell)) for cell in range(due)}
    for size in range(min(map(len, members.values())), 0, -1):
        stay = inside.copy()
        if all(_drop(stay, indices, of_image, len(indices) - size) for indices in members.values()):
            return stay
    raise DataError("a class has too few different images for balanced validation and test parts")


def _drop(stay: Array, indices: Array, of_image: Array, number: int) -> bool:
    """Drop whole units with ``number`` images in total from the end of a cell, largest first; return success."""
    members: dict[int, list[int]] = {}
    for index in reversed(indices.tolist()):
        members.setdefault(int(of_image[index]), []).append(index)
    for images in sorted(members.values(), key=len, reverse=True):
        if len(images) <= number:
            stay[images] = False
            number -= len(images)
    return number == 0


def overlap(parts: Mapping[str, Array], equal: Array, near: Array, groups: Array | None) -> str:
    """Return a description of images and groups that belong to two parts, with counts; empty without overlap.

    Args:
        parts: Indices of the images of each part, training part first.
        equal: Key of each image that equal images share; ``near`` is a key that near-duplicates share as well.
        groups: Group of each image; None without groups.
    """
    words = []
    names = list(parts)
    for at, part in enumerate(names):
        for other in names[:at]:
            images = parts[part]
            others = parts[other]
            if shared := int(np.isin(equal[images], equal[others]).sum()):
                words.append(f"{shared:,} of {len(images):,} {part} images lie in the {other} part, too")
            alike = int(np.isin(near[images], near[others]).sum()) - shared
            if alike > 0:
                words.append(
                    f"{alike:,} of {len(images):,} {part} images are nearly equal to images of the {other} part"
                )
            if groups is not None and (both := len(np.intersect1d(groups[images], groups[others]))):
                words.append(f"{counted(both, 'group')} of the {part} part lie in the {other} part, too")
    return "; ".join(words)

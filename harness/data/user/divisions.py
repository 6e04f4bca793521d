"""Division of images into training, validation and test parts without leakage.

Images that share a key (a digest, a group or a near-duplicate) form a unit, which is never divided. Choices use SHA-256
of images or groups, so that the order of images has no influence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

from harness.data.groups import independent_cases
from harness.data.user.values import Array
from harness.system.errors import DataError
from harness.system.terminal import counted

_SHARE = Fraction(1, 5)  # of each class, for a test or validation part that the source lacks
_FEW = 200  # independent images of a class; with fewer, a single split is too noisy and folds are used
_FOLDS = 5  # number of folds that take turns in validating
# Design effect (Kish 1965) up to which copies are neglected: standard errors are at most 5 % too small. The effect of
# 10 % of the images in pairs is 1.1.
_NEGLIGIBLE_EFFECT = 1.1
_MIN_GROUPS = 5  # least number of groups that validate or test, unless a third of all groups is less
# Least number of fixed validation groups, else folds take turns: with relative deviations of 0.5 between groups and
# 0.08 between seeds, the variance of the mean over 78 groups equals the variance over two seeds.
_FIXED_GROUPS = 78
ALWAYS_TRAINED = 255  # fold number of images that never validate


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Units of images that must not be divided.

    Attributes:
        of_image: Index of the unit of each image, int64 (images,).
        keys: Least key of the first kind in each unit, by index, bytes (units,).
        ranks: SHA-256 of each unit, by index; units are chosen in the order of these digests.
    """

    of_image: Array
    keys: Array
    ranks: list[bytes]

    def members(self, images: Iterable[int]) -> dict[int, list[int]]:
        members: dict[int, list[int]] = {}
        for image in images:
            members.setdefault(int(self.of_image[image]), []).append(image)
        return dict(sorted(members.items(), key=lambda item: self.ranks[item[0]]))


def components_of(nodes: Array, neighbours: Array, node_count: int) -> Array:
    """Return the connected component of each node of a graph with edges from ``nodes`` to ``neighbours``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(nodes), bool), (nodes, neighbours)), shape=(node_count, node_count))
    return connected_components(graph, directed=False)[1]  # type: ignore[no-any-return]


def least_keys(keys: Array, components: Array) -> Array:
    """Return the least key of each component, given key and component of each image."""
    order = np.lexsort((keys, components))
    least: Array = keys[order[np.unique(components[order], return_index=True)[1]]]
    return least


def connected_units(keys: Sequence[Array], tag: str = "") -> _Units:
    """Return the connected components of images that share a key of any kind.

    Args:
        keys: Keys of each kind, bytes (images,); the first kind determines the ranks.
        tag: Prefix of the hashed keys, so that ranks for different purposes are independent.
    """
    image_count = len(keys[0])
    image_nodes = np.tile(np.arange(image_count), len(keys))
    key_nodes = []
    node_count = image_count
    for kind in keys:
        distinct, indices = np.unique(kind, return_inverse=True)
        key_nodes.append(node_count + indices)
        node_count += len(distinct)
    components = components_of(image_nodes, np.concatenate(key_nodes), node_count)[:image_count]
    unit_keys = least_keys(keys[0], components)
    ranks = [hashlib.sha256(tag.encode() + b":" + key).digest() for key in unit_keys.tolist()]
    return _Units(np.unique(components, return_inverse=True)[1], unit_keys, ranks)


def group_sizes(keys: Array, *, has_groups: bool = False) -> tuple[int, ...]:
    """Return the number of images with each key, by ascending key.

    Empty if few images are copies, unless ``has_groups``: groups are more than copies.
    """
    sizes: tuple[int, ...] = tuple(np.unique(keys, return_counts=True)[1].tolist())
    has_few_copies = len(keys) <= _NEGLIGIBLE_EFFECT * independent_cases(sizes)
    return () if has_few_copies and not has_groups else sizes


def choose_fifth(labels: Array, units: _Units, is_barred: Array, classes: Sequence[str], *, has_groups: bool) -> Array:
    """Return a mask of the images set aside: a fifth of each class, or more if whole units demand so.

    Args:
        labels: Classes, int64 (images,).
        is_barred: Mask of images that must not be chosen, together with the units of these images.
        has_groups: Whether units are groups, of which at least ``_MIN_GROUPS`` or a third are chosen.

    Raises:
        DataError: A class would have no image on one of the sides.
    """
    is_chosen = np.zeros(len(labels), bool)
    is_free = ~np.isin(units.of_image, units.of_image[is_barred])
    members = units.members(range(len(labels)))
    for label in np.unique(labels):
        in_class = ~is_barred & (labels == label)
        least_count = max(1, round(int(in_class.sum()) * _SHARE))
        count = int((in_class & is_chosen).sum())
        for unit in units.members(np.flatnonzero(in_class & is_free & ~is_chosen).tolist()):
            if count >= least_count:
                break
            is_chosen[members[unit]] = True
            count += int(in_class[members[unit]].sum())
    if has_groups:
        _add_units(is_chosen, labels, units, is_free)
    for side in (is_chosen, ~is_chosen & ~is_barred):
        if len(absent := np.setdiff1d(labels[~is_barred], labels[side])):
            unit_text = counted(len(np.unique(units.of_image[~is_barred & (labels == absent[0])])), "unit")
            rule = "each class needs images on both sides, and equal images, near-duplicates or groups form a unit"
            raise DataError(f"cannot set aside a fifth of class {classes[absent[0]]!r}, which has {unit_text}; {rule}")
    return is_chosen


def _add_units(is_chosen: Array, labels: Array, units: _Units, is_free: Array) -> None:
    members = units.members(np.flatnonzero(is_free).tolist())
    count = sum(bool(is_chosen[images[0]]) for images in members.values())
    least_count = min(_MIN_GROUPS, len(members) // 3)
    for images in members.values():
        if count >= least_count:
            break
        opposite = is_free & ~is_chosen
        opposite[images] = False
        if not is_chosen[images[0]] and {*labels[opposite].tolist()} == {*labels[is_free].tolist()}:
            is_chosen[images] = True
            count += 1


def choose_validation(
    labels: Array, units: _Units, validation: Array | None, classes: Sequence[str], *, has_groups: bool, balanced: bool
) -> tuple[Array, Array]:
    """Choose the validation images.

    A validation part of the source is kept. Else a fixed fifth validates if the data have groups or at least ``_FEW``
    independent images of each class; otherwise ``_FOLDS`` folds of equal size take turns. If the fixed fifth has fewer
    than ``_FIXED_GROUPS`` groups, up to ``_FOLDS`` folds of whole groups take turns instead.

    Args:
        validation: Mask of the validation images if the source defines a validation part.
        balanced: Whether equally many images of each class validate. Surplus units are trained on; single surplus
            images of groups are left out.

    Returns:
        Fold in which each image validates, uint8 (images,), or ``ALWAYS_TRAINED``; mask of the images that are used.

    Raises:
        DataError: A class has too few different images, or whole units leave a class without images on one side.
    """
    is_used = np.ones(len(labels), bool)
    units_of_classes = [units.of_image[labels == label] for label in np.unique(labels)]
    least_cases = min(independent_cases(group_sizes(each) or (1,) * len(each)) for each in units_of_classes)
    if validation is None and (has_groups or least_cases >= _FEW):
        validation = choose_fifth(labels, units, np.zeros(len(labels), bool), classes, has_groups=has_groups)
        if has_groups and not balanced and len(np.unique(units.of_image[validation])) < _FIXED_GROUPS:
            fold = _folds(labels, units, min(_FOLDS, len(units.ranks)), balanced=False)
            if _trains_all_classes(labels, fold, is_used):
                return fold, is_used
    if validation is None:
        fold = _folds(labels, units, _FOLDS, balanced=balanced)
    else:
        fold = np.where(validation, 0, ALWAYS_TRAINED).astype(np.uint8)
    validation_indices = np.flatnonzero(fold != ALWAYS_TRAINED)
    # A cell is a fold, or if balanced a class in a fold.
    cells = fold[validation_indices].astype(int)
    cell_count = int(cells.max()) + 1
    unit_of_image = units.of_image[validation_indices]
    if balanced:
        cells = cells * len(classes) + labels[validation_indices]
        cell_count *= len(classes)
    if balanced and has_groups:
        unit_of_image = np.arange(len(validation_indices))  # each image alone
    if balanced or cell_count > 1:
        surplus = validation_indices[~evened(cells, unit_of_image, cell_count)]
        fold[surplus] = ALWAYS_TRAINED
        if balanced and has_groups:
            is_used[surplus] = False
    if (fold == ALWAYS_TRAINED).all() or not _trains_all_classes(labels, fold, is_used):
        label = min(range(len(classes)), key=lambda label: len(np.unique(units.of_image[labels == label])))
        rule = "too few different images to divide them for training and validation"
        raise DataError(f"{rule}; class {classes[label]!r} has the fewest")
    return fold, is_used


def _trains_all_classes(labels: Array, fold: Array, is_used: Array) -> bool:
    training_labels = [labels[is_used & (fold != number)] for number in range(_FOLDS)]
    return all(len(np.setdiff1d(labels, each)) == 0 for each in training_labels)


def _folds(labels: Array, units: _Units, fold_count: int, *, balanced: bool) -> Array:
    """Return the fold of each image; if ``balanced``, units with images of several classes are always trained on."""
    fold: Array = np.full(len(labels), ALWAYS_TRAINED, np.uint8)
    members = units.members(range(len(labels)))
    classes = {unit: np.unique(labels[images]) for unit, images in members.items()}
    counts = np.zeros((fold_count, int(labels.max()) + 1), int)  # images by fold and class
    # Largest units first, so that small units fill the gaps.
    for unit in sorted(members, key=lambda unit: (-len(members[unit]), int(classes[unit][0]))):
        if balanced and len(classes[unit]) > 1:
            continue
        in_classes = counts[:, classes[unit]].sum(axis=1)
        number = int(np.lexsort((counts.sum(axis=1), in_classes))[0])
        fold[members[unit]] = number
        counts[number] += np.bincount(labels[members[unit]], minlength=counts.shape[1])
    return fold


def evened(cells: Array, unit_of_image: Array, cell_count: int) -> Array:
    """Return a mask of the images to keep, such that all cells have equally many images.

    A unit is kept or dropped as a whole; units that belong to several cells are dropped. The common size is the largest
    for which ``_whole_units`` finds the images to drop in each cell.
    """
    first_cell = np.full(unit_of_image.max() + 1, cell_count)
    last_cell = np.full(unit_of_image.max() + 1, -1)
    np.minimum.at(first_cell, unit_of_image, cells)
    np.maximum.at(last_cell, unit_of_image, cells)
    in_one_cell: Array = first_cell[unit_of_image] == last_cell[unit_of_image]
    images_by_cell = [np.flatnonzero(in_one_cell & (cells == cell)) for cell in range(cell_count)]
    for size in range(min(map(len, images_by_cell)), 0, -1):
        stay = in_one_cell.copy()
        for images in images_by_cell:
            surplus = _whole_units(images, unit_of_image, len(images) - size)
            if surplus is None:
                break
            stay[surplus] = False
        else:
            return stay
    return np.zeros(len(cells), bool)


def _whole_units(images: Array, unit_of_image: Array, count: int) -> list[int] | None:
    """Return ``count`` of ``images`` that form whole units, or None.

    Larger units are taken first; of equal sizes, the unit whose last image is the latest.
    """
    members: dict[int, list[int]] = {}
    for image in reversed(images.tolist()):
        members.setdefault(int(unit_of_image[image]), []).append(image)
    surplus: list[int] = []
    for unit_images in sorted(members.values(), key=len, reverse=True):
        if len(surplus) + len(unit_images) <= count:
            surplus += unit_images
    return surplus if len(surplus) == count else None


def overlap(parts: Mapping[str, Array], equal_keys: Array, near_keys: Array, groups: Array | None) -> str:
    """Describe images and groups that belong to two parts, with counts; empty without overlap.

    The hash of a user data set covers the text (``training_images.content_digest``), so the wording must not change.
    """
    sentences = []
    for earlier, part in combinations(parts, 2):
        images = parts[part]
        earlier_images = parts[earlier]
        of_part = f"of {len(images):,} {part} images"
        shared_count = int(np.isin(equal_keys[images], equal_keys[earlier_images]).sum())
        if shared_count > 0:
            sentences.append(f"{shared_count:,} {of_part} lie in the {earlier} part, too")
        near_count = int(np.isin(near_keys[images], near_keys[earlier_images]).sum()) - shared_count
        if near_count > 0:
            sentences.append(f"{near_count:,} {of_part} are nearly equal to images of the {earlier} part")
        if groups is not None:
            common_groups = len(np.intersect1d(groups[images], groups[earlier_images]))
            if common_groups > 0:
                sentences.append(f"{counted(common_groups, 'group')} of the {part} part lie in the {earlier} part, too")
    return "; ".join(sentences)

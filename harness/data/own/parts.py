"""Which images are trained on, validated on and locked: what belongs together lies on one side of every division.

Images belong together that are equal, of two classes too, or of one group. All choices are by SHA-256 of the images or
the groups, so that nobody can steer them, and the order of images has no part in them.
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

# A fifth is set aside where a part is missing, as is the custom.
_SHARE = Fraction(1, 5)
# Where a class has fewer images to train on, one split says little: the fifths take turns in validating.
_FEW = 200
FOLDS = 5
FEWEST_GROUPS = 5  # groups of a part that validates or tests, of a third of all groups at most
ALWAYS_TRAINED = 255


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What belongs together: the unit of each image, int64 (images,), and a rank of each unit that nobody can steer."""

    of_image: Array
    ranks: list[bytes]

    def members(self, images: Iterable[int]) -> dict[int, list[int]]:
        """Return these images by their unit, units in the order of their ranks."""
        members: dict[int, list[int]] = {}
        for image in images:
            members.setdefault(int(self.of_image[image]), []).append(image)
        return dict(sorted(members.items(), key=lambda item: self.ranks[item[0]]))


def units(keys: Sequence[Array], tag: str = "") -> Units:
    """Return the units of images that share a key of any kind.

    Args:
        keys: of each kind one key an image, bytes (images,); the first kind ranks.
        tag: makes ranks of one purpose differ from those of another.
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
    """Return which images make a fifth of each class; of a unit all or none, so of some classes it is more.

    Args:
        barred: images that may not be chosen, nor what belongs to them.
        grouped: whether units are groups; then at least ``FEWEST_GROUPS`` are chosen, of a third of all at most.
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
            apart = f"{len(everything)} apart, as equal and nearly equal ones and groups stay together"
            what = f"{int((~barred).sum())} images ({apart})"
            raise DataError(f"a fifth of {what} cannot be set aside: each class needs images on both sides")
    return chosen


def _add_units(chosen: Array, labels: Array, together: Units, free: Array) -> None:
    """Choose further units, in the order of their ranks, which leave an image of each class on the other side."""
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
    """Return in which turn an image validates, or that it is always trained on, and which images are used at all.

    One fifth validates always where there are many images or groups, else five take turns, of which all have as many
    images. Where ``balanced``, as many images of each class validate: further ones are trained on with all that belongs
    to them, those of groups, which must not be torn, are left out.

    Args:
        named: images that validate because a person says so.
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
        if {*labels.tolist()} - {*labels[turns != turn].tolist()}:
            raise DataError("a class has too few different images to train and to validate on")
    return turns, stay


def _turns(labels: Array, together: Units, balanced: bool) -> Array:
    turns: Array = np.full(len(labels), ALWAYS_TRAINED, np.uint8)
    members = together.members(range(len(labels)))
    kinds = {unit: np.unique(labels[images]) for unit, images in members.items()}
    counts = np.zeros((FOLDS, int(labels.max()) + 1), int)
    # The largest first, as the small ones fill what is left.
    for unit in sorted(members, key=lambda unit: (-len(members[unit]), int(kinds[unit][0]))):
        if balanced and len(kinds[unit]) > 1:
            continue
        turn = min(range(FOLDS), key=lambda turn: (counts[turn, kinds[unit]].sum(), counts[turn].sum(), turn))
        turns[members[unit]] = turn
        counts[turn] += np.bincount(labels[members[unit]], minlength=counts.shape[1])
    return turns


def evened(cells: Array, of_image: Array, due: int) -> Array:
    """Return which images stay so that ``due`` cells have equally many.

    Of a unit all stay or none; none of a unit that lies in several cells.
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
    raise DataError("a class has too few different images to validate on as many of each")


def _drop(stay: Array, indices: Array, of_image: Array, number: int) -> bool:
    """Take whole units of that many images from the end of a cell, the largest that fit first."""
    members: dict[int, list[int]] = {}
    for index in reversed(indices.tolist()):
        members.setdefault(int(of_image[index]), []).append(index)
    for images in sorted(members.values(), key=len, reverse=True):
        if len(images) <= number:
            stay[images] = False
            number -= len(images)
    return number == 0


def overlap(parts: Mapping[str, Array], equal: Array, near: Array, groups: Array | None) -> str:
    """Return what lies in two parts, with counts, in words; empty where nothing does.

    Args:
        parts: indices of the images of each part, the part to train on first.
        equal: of each image, bytes that equal ones share; ``near`` that nearly equal ones share; ``groups`` likewise,
            None where there are none.
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

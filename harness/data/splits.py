"""Fixed stratified choices of images, the same on every machine and with every library.

No random generator is used: their streams change between versions. Image ``i`` is ranked by the SHA-256 of
a tag and its index, which nobody can steer, and each class gives its share from the top of its ranking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def stratified_choice(labels: Sequence[int], size: int, tag: str) -> list[int]:
    """Choose ``size`` indices, every class by its share, and return them in ascending order.

    A share is ``size * images of the class / images``, rounded by largest remainder (of equal remainders
    the lower class comes first), so that the shares add up to ``size`` exactly. Within a class the indices
    with the smallest SHA-256 of ``"{tag}:{index}"`` are chosen.

    Raises:
        ValueError: fewer labels than ``size``.
    """
    if not 0 <= size <= len(labels):
        raise ValueError(f"cannot choose {size} of {len(labels)} images")
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    chosen: list[int] = []
    for label, share in _shares({label: len(members[label]) for label in members}, size).items():
        chosen += sorted(members[label], key=lambda index: _rank(tag, index))[:share]
    return sorted(chosen)


def stratified_folds(labels: Sequence[int], among: Sequence[int], count: int, tag: str) -> list[list[int]]:
    """Divide the indices ``among`` into ``count`` folds, each in ascending order.

    Within a class the indices are ranked as for `stratified_choice`, and the classes, the lowest first, are dealt out
    one index a fold in turn. So folds differ by at most one image, and by at most one of each class.

    Raises:
        ValueError: fewer indices than folds, or no fold.
    """
    if not 1 <= count <= len(among):
        raise ValueError(f"cannot divide {len(among)} images into {count} folds")
    ranked = sorted(among, key=lambda index: (labels[index], _rank(tag, index)))
    return [sorted(ranked[fold::count]) for fold in range(count)]


def _rank(tag: str, index: int) -> bytes:
    return hashlib.sha256(f"{tag}:{index}".encode()).digest()


def _shares(counts: dict[int, int], size: int) -> dict[int, int]:
    """Divide ``size`` in proportion to ``counts``, in integers, by largest remainder."""
    total = sum(counts.values())
    shares = {label: size * count // total for label, count in counts.items()}
    by_remainder = sorted(counts, key=lambda label: (-(size * counts[label] % total), label))
    for label in by_remainder[: size - sum(shares.values())]:
        shares[label] += 1
    return shares

"""The test images that a network's seeds got wrong, what they were said to be, and what they look like.

A record has the indices and the classes said. Labels and pixels come from inspections, which verifications leave on the
machine that ran them; nothing here reads the test set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from harness.evidence.record import Record
from harness.training.inspection import Inspection, unpacked

# Test images of MNIST whose label most of five raters rejected: Northcutt, Athalye and Mueller 2021 (arXiv 2103.14749),
# data cleanlab/label-errors, mnist_mturk. The corrected labels are not known here, only which labels are wrong.
CONFIRMED_LABEL_ERRORS: dict[str, frozenset[int]] = {
    "mnist": frozenset((947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729))
}


class _Mistake(NamedTuple):
    """One test image that so many seeds got wrong, and what by how many, most frequent first.

    The class it has and its pixels, a byte each, are None where no inspection tells.
    """

    image: int
    label: int | None
    said: tuple[tuple[int, int], ...]
    seeds: int
    mislabelled: bool
    pixels: bytes | None


class Mistakes(NamedTuple):
    """All mistakes of a network's so many recorded seeds, those of most seeds first.

    ``confusion`` counts images by label (row) and class said (column), summed over the seeds, None where a label or the
    number of images of a class is not known; ``image_shape`` is rows and columns, None where no image is known.
    """

    seeds: int
    mistakes: tuple[_Mistake, ...]
    confusion: list[list[int]] | None
    image_shape: tuple[int, int] | None


def mistakes(record: Record, inspections: Sequence[Inspection]) -> Mistakes:
    """Return the mistakes of a record; ``inspections`` are those of its own seeds, and may be none."""
    said: dict[int, Counter[int]] = defaultdict(Counter)
    for run in record.seeds:
        for image, answer in run.wrong:
            said[image][answer] += 1
    seen = {miss.image: miss for inspection in reversed(inspections) for miss in inspection.misses}
    suspects = CONFIRMED_LABEL_ERRORS.get(record.dataset, frozenset())
    found = [
        _Mistake(
            image=image,
            label=seen[image].label if image in seen else None,
            said=tuple(sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))),
            seeds=answers.total(),
            mislabelled=image in suspects,
            pixels=unpacked(seen[image].pixels) if image in seen else None,
        )
        for image, answers in said.items()
    ]
    return Mistakes(
        seeds=len(record.seeds),
        mistakes=tuple(sorted(found, key=lambda mistake: (-mistake.seeds, mistake.image))),
        confusion=_confusion(found, inspections[0].label_counts, len(record.seeds)) if inspections else None,
        image_shape=inspections[0].image_shape if inspections else None,
    )


def _confusion(found: Sequence[_Mistake], label_counts: Sequence[int], seeds: int) -> list[list[int]] | None:
    table = [[0] * len(label_counts) for _ in label_counts]
    for mistake in found:
        if mistake.label is None:
            return None
        for answer, count in mistake.said:
            table[mistake.label][answer] += count
    for label, images in enumerate(label_counts):
        table[label][label] = images * seeds - sum(table[label])
    return table


class _SharedMistake(NamedTuple):
    """One test image, as the first network that got it wrong and has its pixels knows it.

    For each network the classes said, most frequent first, and the share of its seeds that got it wrong.
    """

    mistake: _Mistake
    shape: tuple[int, int]
    said: tuple[tuple[list[int], float], ...]


def shared_mistakes(images: Collection[int], sides: Sequence[Mistakes]) -> list[_SharedMistake]:
    """Return those of these images whose pixels are known, the one that most seeds get wrong first."""
    by_image = [{mistake.image: mistake for mistake in side.mistakes} for side in sides]
    found = []
    for image in images:
        made = [known.get(image) for known in by_image]
        said = tuple(
            ([answer for answer, _ in one.said], one.seeds / side.seeds) if one else ([], 0.0)
            for one, side in zip(made, sides, strict=True)
        )
        for one, side in zip(made, sides, strict=True):
            if one is not None and one.pixels is not None and side.image_shape is not None:
                found.append(_SharedMistake(one, side.image_shape, said))
                break
    return sorted(found, key=lambda item: (-sum(share for _, share in item.said), item.mistake.image))

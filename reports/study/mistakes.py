"""The test images that a network's seeds got wrong, what they were said to be, and what they look like.

A record has the indices and the classes said. Labels and pixels come from inspections, which verifications leave on the
machine that ran them; nothing here reads the test set.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.record import Record
from harness.training.inspection import Inspection, Miss, unpacked
from reports.study.answer import CONFIRMED_LABEL_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mistake:
    """One test image that at least one seed got wrong.

    Attributes:
        label: the class it has, None where no inspection tells; so with ``pixels``, a byte each.
        said: what it was said to be and by how many seeds, most frequent first.
        seeds: how many got it wrong.
        confidence: mean probability given to what was said, None where no inspection tells.
        mislabelled: its label is a confirmed error.
    """

    image: int
    label: int | None
    said: tuple[tuple[int, int], ...]
    seeds: int
    confidence: float | None
    mislabelled: bool
    pixels: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """All mistakes of a network's recorded seeds, those of most seeds first.

    Attributes:
        seeds: how many there are.
        confusion: images by label (row) and class said (column), summed over the seeds; None where a label or the
            number of images of a class is not known.
        image_shape: rows and columns, None where no image is known.
    """

    seeds: int
    mistakes: tuple[_Mistake, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    image_shape: tuple[int, int] | None


def mistakes(record: Record, inspections: Sequence[Inspection]) -> Mistakes:
    """Return the mistakes of a record; ``inspections`` are those of its own seeds, and may be none."""
    said: dict[int, Counter[int]] = defaultdict(Counter)
    for run in record.seeds:
        for image, answer in run.wrong:
            said[image][answer] += 1
    seen: dict[int, list[Miss]] = defaultdict(list)
    for inspection in inspections:
        for miss in inspection.misses:
            seen[miss.image].append(miss)
    suspects = CONFIRMED_LABEL_ERRORS.get(record.dataset, frozenset())
    found = [_mistake(image, answers, seen[image], image in suspects) for image, answers in said.items()]
    return Mistakes(
        seeds=len(record.seeds),
        mistakes=tuple(sorted(found, key=lambda mistake: (-mistake.seeds, mistake.image))),
        confusion=_confusion(found, inspections[0].label_counts, len(record.seeds)) if inspections else None,
        image_shape=inspections[0].image_shape if inspections else None,
    )


def _mistake(image: int, said: Mapping[int, int], seen: Sequence[Miss], mislabelled: bool) -> _Mistake:
    confidences = [miss.confidence for miss in seen]
    return _Mistake(
        image=image,
        label=seen[0].label if seen else None,
        said=tuple(sorted(said.items(), key=lambda pair: (-pair[1], pair[0]))),
        seeds=sum(said.values()),
        confidence=sum(confidences) / len(confidences) if confidences else None,
        mislabelled=mislabelled,
        pixels=unpacked(seen[0].pixels) if seen else None,
    )


def _confusion(
    found: Sequence[_Mistake], label_counts: Sequence[int], seeds: int
) -> tuple[tuple[int, ...], ...] | None:
    classes = len(label_counts)
    table = [[0] * classes for _ in range(classes)]
    for mistake in found:
        if mistake.label is None:
            return None
        for answer, count in mistake.said:
            table[mistake.label][answer] += count
    for label, images in enumerate(label_counts):
        table[label][label] = images * seeds - sum(table[label])
    return tuple(tuple(row) for row in table)


@dataclass(frozen=True, slots=True)
class SharedMistake:
    """One test image.

    Attributes:
        label: the class that it has.
        pixels: a byte each.
        said: for each network the classes said, most frequent first, and the share of its seeds that got it wrong.
        mislabelled: its label is a confirmed error.
    """

    image: int
    label: int
    pixels: bytes
    shape: tuple[int, int]
    said: tuple[tuple[tuple[int, ...], float], ...]
    mislabelled: bool


def shared_mistakes(images: Collection[int], sides: Sequence[Mistakes]) -> tuple[SharedMistake, ...]:
    """Return those of these images whose pixels are known, the one that most seeds get wrong first.

    Args:
        images: their indices.
        sides: the mistakes of each network.
    """
    by_image = [{mistake.image: mistake for mistake in side.mistakes} for side in sides]
    found = []
    for image in images:
        made = [mistakes.get(image) for mistakes in by_image]
        known = [
            (one.label, one.pixels, side.image_shape, one.mislabelled)
            for one, side in zip(made, sides, strict=True)
            if one is not None
        ]
        for label, pixels, shape, mislabelled in known:
            if label is not None and pixels is not None and shape is not None:
                said = tuple(_said(one, side.seeds) for one, side in zip(made, sides, strict=True))
                found.append(SharedMistake(image, label, pixels, shape, said, mislabelled))
                break
    return tuple(sorted(found, key=lambda item: (-sum(share for _, share in item.said), item.image)))


def _said(mistake: _Mistake | None, seeds: int) -> tuple[tuple[int, ...], float]:
    if mistake is None:
        return (), 0.0
    return tuple(answer for answer, _ in mistake.said), mistake.seeds / seeds


def image_uri(pixels: bytes, shape: tuple[int, int]) -> str:
    """Return grey pixels, a byte each, row by row, as an address that holds a PNG (RFC 2083) of 16 shades."""
    height, width = shape
    rows = bytearray()
    for row in range(height):
        line = [pixels[row * width + column] >> 4 for column in range(width)] + [0] * (width % 2)
        rows.append(0)  # no filter
        rows.extend(high << 4 | low for high, low in zip(line[::2], line[1::2], strict=True))
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b"")):
        content += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")

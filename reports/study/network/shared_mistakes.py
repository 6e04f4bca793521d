"""Test images that compared networks get wrong, as people look at them: each once, with the answers of all networks.

Labels and pixels come from inspections, as in ``mistakes``; nothing here reads the test set.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reports.html.page import Html, element, foreign, items, joined, text
from reports.study.network.mistakes import Mistake, Mistakes
from reports.study.network.mistakes_gallery import LABEL_WRONG, digit

# An image takes about 400 bytes of the page.
MOST_PICTURES = 40


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


def draw(found: Sequence[SharedMistake], names: Sequence[str]) -> Html:
    """Return the first of these images with what each network says."""
    return items((_figure(item, names) for item in found[:MOST_PICTURES]), class_="digits")


def _said(mistake: Mistake | None, seeds: int) -> tuple[tuple[int, ...], float]:
    if mistake is None:
        return (), 0.0
    return tuple(answer for answer, _ in mistake.said), mistake.seeds / seeds


def _figure(item: SharedMistake, names: Sequence[str]) -> Html:
    lines = [element("b", text(f"label {item.label}")), *([LABEL_WRONG] if item.mislabelled else [])]
    for name, (answers, share) in zip(names, item.said, strict=True):
        words = f": {' or '.join(map(str, answers))}, {100 * share:.0f} %" if answers else ": right"
        lines.append(joined([foreign(name), text(words)], ""))
    caption = joined([*lines, text(f"#{item.image}")], "<br>")
    alt = f"test image {item.image}, label {item.label}"
    return digit(item.pixels, item.shape, alt, caption, mislabelled=item.mislabelled)

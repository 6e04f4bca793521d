"""Test images that compared networks get wrong, as people look at them: each once, with the answers of all networks.

Labels and pixels come from inspections, as in ``mistakes``; nothing here reads the test set.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.html.page import Html, element, foreign, items, joined, text
from reports.study.mistakes import SharedMistake
from reports.study.network.mistakes_gallery import LABEL_WRONG, digit

# An image takes about 400 bytes of the page.
MOST_PICTURES = 40


def draw(found: Sequence[SharedMistake], names: Sequence[str]) -> Html:
    """Return the first of these images with what each network says."""
    return items((_figure(item, names) for item in found[:MOST_PICTURES]), class_="digits")


def _figure(item: SharedMistake, names: Sequence[str]) -> Html:
    lines = [element("b", text(f"label {item.label}")), *([LABEL_WRONG] if item.mislabelled else [])]
    for name, (answers, share) in zip(names, item.said, strict=True):
        words = f": {' or '.join(map(str, answers))}, {100 * share:.0f} %" if answers else ": right"
        lines.append(joined([foreign(name), text(words)], ""))
    caption = joined([*lines, text(f"#{item.image}")], "<br>")
    alt = f"test image {item.image}, label {item.label}"
    return digit(item.pixels, item.shape, alt, caption, mislabelled=item.mislabelled)

"""A network's mistakes as people look at them: the confusion matrix and the digits."""

from __future__ import annotations

from reports.html.page import Html, element, text
from reports.study.mistakes import image_uri

# Of an image with a confirmed label error.
LABEL_WRONG = element("span", text("label wrong"), class_="tag wait")
# An image takes about 400 bytes of the page.
MOST_PICTURES = 60
# Shades of the matrix: a cell's share of the largest count off the diagonal.
_SHADES = 4


def digit(pixels: bytes, shape: tuple[int, int], alt: str, caption: Html, *, mislabelled: bool) -> Html:
    """Return a test image, twice as large as it is, with what is said of it."""
    rows, columns = shape
    image = element("img", src=image_uri(pixels, shape), width=2 * columns, height=2 * rows, alt=alt)
    return element("figure", image, element("figcaption", caption), class_="suspect" if mislabelled else None)

"""The page on which one tries an integer network: draw or choose a picture, and the same integers answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.render import page

# Its edge in pixels is six of them a pixel of MNIST.
PAD_EDGE = 168


def render(document: Mapping[str, Any]) -> str:
    """Return the page of a document that ``harness.deployment.plan_document`` has made."""
    channels, rows, _ = document["image_shape"]
    # A picture has bytes. What they are on another scale, of fractions, 0 to 16 or 16 bits, nobody but its maker knows.
    has_bytes = {*document["low"]} == {0.0} and {*document["high"]} == {255.0}
    return page(
        "pad.html",
        styles=["pad.css"],
        scripts=["integer.js", "pad.js"],
        data=document,
        document=document,
        pad_edge=PAD_EDGE,
        takes_pictures=has_bytes and not document["takes_digits"] and rows > 1 and channels in (1, 3),
    )

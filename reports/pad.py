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
    return page(
        "pad.html",
        styles=["pad.css"],
        scripts=["integer.js", "pad.js"],
        data=document,
        document=document,
        pad_edge=PAD_EDGE,
        takes_pictures=not document["takes_digits"] and rows > 1 and channels in (1, 3),
    )

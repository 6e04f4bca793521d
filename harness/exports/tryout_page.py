"""Page that runs an integer network in the browser on a drawn or chosen picture, with the same integer arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.pages.render import page

_PAD_EDGE = 168  # pixels, of the drawing area: six per MNIST pixel


def render(document: Mapping[str, Any]) -> str:
    """Return the page of a ``document`` made by ``harness.exports.integer_plan_json``."""
    channels, rows, _ = document["image_shape"]
    # The conversion of the bytes of a picture to other input ranges is unknown here.
    has_bytes = {*document["low"]} == {0.0} and {*document["high"]} == {255.0}
    return page(
        "pad.html",
        package="harness.exports",
        styles=["pad.css"],
        scripts=["integer.js", "pad.js"],
        data=document,
        document=document,
        pad_edge=_PAD_EDGE,
        takes_pictures=has_bytes and not document["takes_digits"] and rows > 1 and channels in (1, 3),
    )

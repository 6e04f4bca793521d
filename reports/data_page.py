"""The page of a data set: its facts, and a sheet of examples of each class."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from harness.data.training_images import ImageData
from reports.render import page, series_svg

# Examples of a class, and of all classes together, so that a page stays small.
_EXAMPLES = 12
_ALL_EXAMPLES = 120
# The longest side of an image, in pixels.
_EDGE = 56
# The channels of a series that are drawn, each as a line.
_LINES = 3


def data_page(data: ImageData, facts: dict[str, Any], lines: Sequence[str]) -> str:
    """Return the page of a data set; only images that are trained or validated on are shown."""
    labels = data.train_labels.numpy()
    counts = facts["images_by_class"]
    examples = max(1, min(_EXAMPLES, _ALL_EXAMPLES // len(counts)))
    classes = []
    for index, (name, count) in enumerate(counts.items()):
        images = data.train_images[np.flatnonzero(labels == index)[:examples]].numpy()
        is_series = 1 in images.shape[2:] and images.shape[2:] != (1, 1)
        picture = _lines(images) if is_series else _strip(images)
        classes.append((name, count, picture))
    return page("data.html", facts=facts, lines=lines, classes=classes)


def _lines(images: np.ndarray[Any, Any]) -> str:
    return series_svg(images[:, :_LINES].reshape(len(images), -1, images.shape[2] * images.shape[3]).tolist())


def _strip(images: np.ndarray[Any, Any]) -> str:
    """Return images side by side as an address of a PNG: three channels in colour, of others the first alone."""
    channels = 3 if images.shape[1] == 3 else 1
    rows, columns = images.shape[2:]
    scale = _EDGE / max(rows, columns)
    # Small images are enlarged by whole numbers, so that pixels stay squares.
    scale = max(1, int(scale)) if scale >= 1 else scale
    size = (max(1, round(scale * columns)), max(1, round(scale * rows)))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    sheet = Image.new("RGB", (len(images) * (size[0] + 1), size[1]), "white")
    for number, image in enumerate(images):
        pixels = np.moveaxis(image[:channels], 0, 2)
        picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
        sheet.paste(picture.resize(size, method), (number * (size[0] + 1), 0))
    buffer = io.BytesIO()
    (sheet if channels == 3 else sheet.convert("L")).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""HTML page of a data set: facts, and a sheet of example images per class."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from harness.data.training_images import ImageData
from harness.pages.render import page, series_svg

_EXAMPLES = 12  # most examples per class
_ALL_EXAMPLES = 120  # of all classes together, to keep the page small
_EDGE = 56  # pixels, longest side of an example image
_DRAWN_CHANNELS = 3  # of a series, each as a line


def data_page(data: ImageData, facts: dict[str, Any], description_lines: Sequence[str]) -> str:
    """Return the page of a data set; only ``train_images`` are shown, which include the validation images.

    ``facts`` are from ``harness.data.description.description``, ``description_lines`` the same as text.
    """
    labels = data.train_labels.numpy()
    counts = facts["images_by_class"]
    examples = max(1, min(_EXAMPLES, _ALL_EXAMPLES // len(counts)))
    classes = []
    for index, (name, count) in enumerate(counts.items()):
        images = data.train_images[np.flatnonzero(labels == index)[:examples]].numpy()
        if 1 in images.shape[2:] and images.shape[2:] != (1, 1):
            series = images[:, :_DRAWN_CHANNELS].reshape(len(images), -1, max(images.shape[2:]))  # time is last
            picture = series_svg(series.tolist())
        else:
            picture = _strip(images)
        classes.append((name, count, picture))
    return page("data.html", facts=facts, lines=description_lines, classes=classes)


def _strip(images: np.ndarray[Any, Any]) -> str:
    """Return images side by side as a PNG data URI, in colour with three channels, else the first channel in grey."""
    mode = "RGB" if images.shape[1] == 3 else "L"
    rows, columns = images.shape[2:]
    scale = _EDGE / max(rows, columns)
    method = Image.Resampling.BOX
    if scale >= 1:
        # Only an integer factor gives all pixels the same size.
        scale = int(scale)
        method = Image.Resampling.NEAREST
    width = max(1, round(scale * columns))
    height = max(1, round(scale * rows))
    sheet = Image.new(mode, (len(images) * (width + 1), height), "white")
    for number, image in enumerate(images):
        pixels = np.moveaxis(image, 0, 2) if mode == "RGB" else image[0]
        sheet.paste(Image.fromarray(pixels).resize((width, height), method), (number * (width + 1), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

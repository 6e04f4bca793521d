"""The page of a data set: its facts, and a sheet of examples of each class."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from harness.data.training_images import ImageData
from reports.render import page

_EXAMPLES, _EDGE = 12, 56


def data_page(data: ImageData, facts: dict[str, Any], lines: Sequence[str]) -> str:
    """Return the page of a data set; only images that are trained or validated on are shown."""
    labels = data.train_labels.numpy()
    classes = [
        (name, count, _strip(data.train_images[np.flatnonzero(labels == index)[:_EXAMPLES]].numpy()))
        for index, (name, count) in enumerate(facts["images_by_class"].items())
    ]
    return page("data.html", facts=facts, lines=lines, classes=classes)


def _strip(images: np.ndarray[Any, Any]) -> str:
    # One, or three channels in colour; of others the first alone.
    channels = 3 if images.shape[1] == 3 else 1
    gap = ((0, 0), (0, 1), (0, 0))
    rows = [np.pad(np.moveaxis(each[:channels], 0, 2), gap, constant_values=255) for each in images]
    joined = np.concatenate(rows, axis=1)
    times = max(1, _EDGE // joined.shape[0])
    picture = Image.fromarray(joined if channels == 3 else joined[:, :, 0])
    picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

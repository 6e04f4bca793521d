"""What an engine of our own may be handed: it trusts its caller with every address, so tensors are looked at before.

These are our own mistakes, not people's; they end a run before the engine reads or writes beside a tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.task import Task


def check_pixels(pixels: Tensor, count: int, task: Task) -> None:
    """Raise AssertionError unless these are the pixels of so many images of the task."""
    _check_layout("the pixels", pixels, torch.uint8, (count, *task.input_shape))


def check_images(pixels: Tensor, labels: Tensor, task: Task) -> None:
    """Raise AssertionError unless each label is a class and has its image."""
    check_pixels(pixels, len(labels), task)
    _check_layout("the labels", labels, torch.int64, (len(labels),))
    _check_range("the labels", labels, task.classes)


def check_order(order: Tensor, taken: int, images: int) -> None:
    """Raise AssertionError unless an order has at least the ``taken`` indices that steps take, all of images."""
    _check_layout("the order", order, torch.int64, (len(order),))
    if len(order) < taken:
        raise AssertionError(f"the order names {len(order)} images, but the steps take {taken}")
    _check_range("the order", order, images)


def _check_layout(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    contiguous = tensor.is_contiguous()
    if tensor.dtype is not dtype or tuple(tensor.shape) != shape or not contiguous or tensor.device.type != "cpu":
        raise AssertionError(
            f"{name}: {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}{'' if contiguous else ', not contiguous'}"
            f"; the engine reads contiguous {dtype} {shape} on cpu"
        )


def _check_range(name: str, tensor: Tensor, limit: int) -> None:
    least, most = torch.stack(tensor.aminmax()).tolist()
    if least < 0 or most >= limit:
        raise AssertionError(f"{name}: from {least} to {most}; the engine reads 0 to {limit - 1}")

"""What an engine of our own may be handed: it trusts its caller with every address, so tensors are looked at before.

These are our own mistakes, not people's; they end a run before the engine reads or writes beside a tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from search_spaces.task import Task


def check_pixels(pixels: Tensor, count: int, task: Task, device: str = "cpu") -> None:
    """Raise AssertionError unless these are the pixels of so many images of the task."""
    _check_layout("the pixels", pixels, torch.uint8, (count, *task.input_shape), device)


def check_images(pixels: Tensor, labels: Tensor, task: Task, device: str = "cpu") -> None:
    """Raise AssertionError unless each label is a class and has its image."""
    check_pixels(pixels, len(labels), task, device)
    _check_layout("the labels", labels, torch.int64, (len(labels),), device)
    _check_range("the labels", labels, task.classes)


def check_order(order: Tensor, taken: int, images: int, device: str = "cpu") -> None:
    """Raise AssertionError unless an order has at least the ``taken`` indices that steps take, all of images."""
    check_orders([order], [taken], images, device)


def check_orders(orders: Sequence[Tensor], taken: Sequence[int], images: int, device: str = "cpu") -> None:
    """Do as ``check_order`` with each order; a GPU is waited for once, however many there are."""
    for order, count in zip(orders, taken, strict=True):
        _check_layout("the order", order, torch.int64, (len(order),), device)
        if len(order) < count:
            raise AssertionError(f"the order names {len(order)} images, but the steps take {count}")
    _check_range("the order", torch.cat(list(orders)), images)


def _check_layout(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...], device: str) -> None:
    contiguous = tensor.is_contiguous()
    if tensor.dtype is not dtype or tuple(tensor.shape) != shape or not contiguous or tensor.device.type != device:
        raise AssertionError(
            f"{name}: {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}{'' if contiguous else ', not contiguous'}"
            f"; the engine reads contiguous {dtype} {shape} on {device}"
        )


def _check_range(name: str, tensor: Tensor, limit: int) -> None:
    least, most = torch.stack(tensor.aminmax()).tolist()
    if least < 0 or most >= limit:
        raise AssertionError(f"{name}: from {least} to {most}; the engine reads 0 to {limit - 1}")

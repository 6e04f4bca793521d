"""Tests of what the native engine may be handed."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from harness.training.native.native_training import _check_images, _check_order, _check_pixels
from search_spaces.task import MNIST

PIXELS, LABELS = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 9, 2, 3])
ORDER = torch.tensor([3, 0, 1])


def test_what_the_engine_reads_is_accepted():
    _check_images(PIXELS, LABELS, MNIST)
    _check_order(ORDER, 3, 4)
    _check_order(ORDER, 2, 4)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (torch.tensor([0, 1, 4]), "the order: from 0 to 4; the engine reads 0 to 3"),
        (torch.tensor([0, 1, -1]), "the order: from -1 to 1; the engine reads 0 to 3"),
        (torch.arange(2), "the order names 2 images, but the steps take 3"),
        (
            torch.arange(3.0),
            "the order: torch.float32 (3,) on cpu; the engine reads contiguous torch.int64 (3,) on cpu",
        ),
        (torch.arange(6)[::2], "the order: torch.int64 (3,) on cpu, not contiguous; the engine reads contiguous"),
        (torch.zeros(3, dtype=torch.int64, device="meta"), "the order: torch.int64 (3,) on meta; the engine reads"),
    ],
)
def test_an_order_is_of_images_that_are_there(order: Tensor, message: str):
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}"):
        _check_order(order, 3, 4)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS, torch.tensor([0, 10, 2, 3]), "the labels: from 0 to 10; the engine reads 0 to 9"),
        (PIXELS, torch.tensor([0, -100, 2, 3]), "the labels: from -100 to 3; the engine reads 0 to 9"),
        (PIXELS, LABELS.int(), "the labels: torch.int32 (4,) on cpu; the engine reads contiguous torch.int64 (4,) on"),
        (
            PIXELS,
            LABELS[:3],
            "the pixels: torch.uint8 (4, 1, 28, 28) on cpu; the engine reads contiguous torch.uint8 (",
        ),
        (PIXELS.float(), LABELS, "the pixels: torch.float32 (4, 1, 28, 28) on cpu; the engine reads"),
        (PIXELS[:, :, ::2].contiguous(), LABELS, "the pixels: torch.uint8 (4, 1, 14, 28) on cpu; the engine reads"),
        (PIXELS.transpose(2, 3), LABELS, "the pixels: torch.uint8 (4, 1, 28, 28) on cpu, not contiguous; the engine"),
    ],
)
def test_images_have_classes_and_lie_as_the_engine_reads_them(pixels: Tensor, labels: Tensor, message: str):
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}"):
        _check_images(pixels, labels, MNIST)


def test_pixels_without_labels_are_so_many_images():
    _check_pixels(PIXELS, 4, MNIST)
    with pytest.raises(AssertionError, match=r"the engine reads contiguous torch\.uint8 \(5, 1, 28, 28\) on cpu$"):
        _check_pixels(PIXELS, 5, MNIST)

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.training.modules import _maps_of, augment
from harness.training.recipe import Recipe

STILL = Recipe(augmented_share=1.0, rotation_degrees=0.0, shift_pixels=0.0, scale=0.0, shear=0.0)
IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def affine_maps(count: int, rows: int, columns: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    return _maps_of(torch.rand(7, count, generator=generator), rows, columns, recipe)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(count: int = 2000, **changes: float) -> Tensor:
    return affine_maps(count, 28, 28, replace(STILL, **changes), generator())  # type: ignore[arg-type]  # floats all


def resampled(image: Any, theta: Any) -> Any:
    """Bilinear resampling of one square image, pixel by pixel; outside the image there is 0.

    Coordinates run from -1 to 1 between the outer edges of the outer pixels.
    """
    edge = len(image)

    def pixel(row: int, column: int) -> float:
        return float(image[row, column]) if 0 <= row < edge and 0 <= column < edge else 0.0

    moved = np.zeros((edge, edge))
    for row in range(edge):
        for column in range(edge):
            place = np.array([(2 * column + 1) / edge - 1, (2 * row + 1) / edge - 1, 1.0])
            x, y = ((theta @ place + 1) * edge - 1) / 2
            left, top = math.floor(x), math.floor(y)
            right_share, low_share = x - left, y - top
            moved[row, column] = (
                pixel(top, left) * (1 - right_share) * (1 - low_share)
                + pixel(top, left + 1) * right_share * (1 - low_share)
                + pixel(top + 1, left) * (1 - right_share) * low_share
                + pixel(top + 1, left + 1) * right_share * low_share
            )
    return moved


@pytest.mark.parametrize("edge", [9, 28])
def test_images_are_moved_as_a_naive_resampling_moves_them(edge: int):
    recipe = Recipe(augmented_share=0.7, rotation_degrees=30, shift_pixels=3, scale=0.3, shear=0.4)
    images = torch.rand(6, 1, edge, edge, generator=generator(2))
    moved = augment(images, recipe, generator(3))
    theta = affine_maps(6, edge, edge, recipe, generator(3)).numpy().astype(np.float64)
    for image, one, result in zip(images, theta, moved, strict=True):
        # Single precision over some tens of pixels.
        np.testing.assert_allclose(result[0], resampled(image[0].double().numpy(), one), atol=2e-5)


def test_a_shift_is_in_pixels_and_brings_in_background():
    images = torch.ones(400, 1, 28, 28)
    moved = augment(images, replace(STILL, shift_pixels=2.0), generator())
    # A shift by (a, b) pixels takes 28 a + 28 b - ab of the 784 ones out of sight.
    lost = 784 - moved.sum((1, 2, 3))
    assert 0 <= float(lost.min()) < 20
    assert 90 < float(lost.max()) <= 2 * 28 * 2 - 4 + 1e-3


def test_a_share_of_zero_moves_nothing_and_draws_nothing():
    images, source = torch.rand(4, 1, 28, 28), generator()
    before = source.get_state()
    assert augment(images, replace(STILL, augmented_share=0.0, shear=1.0), source) is images
    assert torch.equal(source.get_state(), before)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_the_share_of_images_that_are_moved_is_the_recipes(share: float):
    theta = maps(4000, augmented_share=share, rotation_degrees=10.0, shift_pixels=2.0, scale=0.1, shear=0.1)
    moved = (theta != IDENTITY).flatten(1).any(1).double().mean()
    assert float(moved) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


def test_a_rotation_is_a_rotation_up_to_the_largest_angle_both_ways():
    theta = maps(rotation_degrees=10.0)
    linear = theta[:, :, :2]
    torch.testing.assert_close(linear @ linear.transpose(1, 2), torch.eye(2).expand(2000, 2, 2))
    angles = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -10.0 - 1e-4 <= float(angles.min()) < -9.9
    assert 9.9 < float(angles.max()) <= 10.0 + 1e-4
    assert not theta[:, :, 2].any()


def test_scales_of_the_two_axes_are_drawn_apart_within_their_range():
    theta = maps(scale=0.25)
    wide, high = 1 / theta[:, 0, 0], 1 / theta[:, 1, 1]
    for axis in (wide, high):
        assert 0.75 - 1e-5 <= float(axis.min()) < 0.76
        assert 1.24 < float(axis.max()) <= 1.25 + 1e-5
    assert abs(float(torch.corrcoef(torch.stack([wide, high]))[0, 1])) < 0.1
    assert not theta[:, 0, 1].any()
    assert not theta[:, 1, 0].any()


def test_shear_moves_the_horizontal_axis_only():
    theta = maps(shear=0.2)
    shear = theta[:, 0, 1]
    assert -0.2 <= float(shear.min()) < -0.199
    assert 0.199 < float(shear.max()) <= 0.2
    rest = theta.clone()
    rest[:, 0, 1] = 0
    assert torch.equal(rest, IDENTITY.expand(2000, 2, 3))


def test_shifts_of_the_two_axes_are_drawn_apart_within_their_range():
    pixels = maps(shift_pixels=3.0)[:, :, 2] * 14
    assert -3 - 1e-5 <= float(pixels.min()) < -2.98
    assert 2.98 < float(pixels.max()) <= 3 + 1e-5
    assert abs(float(torch.corrcoef(pixels.T)[0, 1])) < 0.1

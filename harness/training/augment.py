"""Random affine moves of a batch of images, each image its own, in one resampling on the images' device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.training.recipe import Recipe
from search_spaces.task import Task


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return the images moved as the recipe says; what comes in from outside is 0, the background of MNIST.

    Args:
        images: (batch, channels, rows, columns), background 0.
        generator: on the device of the images.
    """
    if recipe.augmented_share == 0:
        return images
    # One draw for all seven numbers an image: on a GPU each call is a launch.
    draws = torch.rand(7, len(images), generator=generator, device=generator.device)
    rows, columns = images.shape[-2:]
    theta = maps_of(draws, rows, columns, recipe)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def epoch_maps(recipe: Recipe, generator: torch.Generator, steps: int, task: Task) -> Tensor | None:
    """Draw what ``augment`` draws, in its order, for all steps at once, (steps * batch, 2, 3); None without moves."""
    if recipe.augmented_share == 0:
        return None
    draws = torch.rand(steps, 7, recipe.batch_size, generator=generator, device=generator.device)
    return maps_of(draws.transpose(0, 1).reshape(7, -1), *task.input_shape[1:], recipe).contiguous()


def maps_of(draws: Tensor, rows: int, columns: int, recipe: Recipe) -> Tensor:
    """Return the maps, (count, 2, 3), that seven uniform draws an image, (7, count), stand for.

    They lead from output to input coordinates, in units of half an edge. The linear part is scale times rotation, plus
    a shear of the horizontal axis; images that are not to be moved get the identity.
    """
    moved = (draws[6] < recipe.augmented_share).float()
    spread = (2 * draws[:6] - 1) * moved  # (6, count), each from -1 to 1
    angle = spread[0] * math.radians(recipe.rotation_degrees)
    wide, high = 1 + spread[1] * recipe.scale, 1 + spread[2] * recipe.scale
    shear = spread[3] * recipe.shear
    right = spread[4] * (2 * recipe.shift_pixels / columns)
    down = spread[5] * (2 * recipe.shift_pixels / rows)
    # Rows and columns are measured in their own half edges.
    tall = rows / columns
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return torch.stack(
        [cosine / wide, (-sine / wide + shear) * tall, right, sine / high / tall, cosine / high, down], dim=1
    ).view(-1, 2, 3)

"""What a training step reads and minimises: images and their moves, learning rates, and what teachers say of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.training.modules import Network
from harness.training.recipe import Recipe, Schedule, first_averaged_step
from search_spaces.network import Architecture, Task


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images on one device: uint8 (n, channels, rows, columns) and int64 (n,).

    Attributes:
        mean: of the pixels, on a scale from 0 to 1, one a channel; with ``deviation`` it normalises them.
        classes: labels are below it.
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: int = 10

    def __post_init__(self) -> None:
        """Check that each channel has its mean and deviation; the engine reads as many."""
        channels = self.pixels.shape[1]
        assert len(self.mean) == len(self.deviation) == channels, f"{channels} channels need as many means"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def task(self) -> Task:
        """What a network for these images takes and gives."""
        channels, rows, columns = self.pixels.shape[1:]
        return Task((channels, rows, columns), self.classes)


def normalised(pixels: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel, in place.

    Args:
        pixels: floating point (n, channels, rows, columns), on a scale from 0 to 1.
        mean: one a channel, as ``deviation``.
    """
    if len(mean) == 1:
        # Records were made with plain numbers; a GPU rounds a division by a tensor otherwise.
        return pixels.sub_(mean[0]).div_(deviation[0])
    centre, scale = (_by_channel(values, pixels.dtype, pixels.device) for values in (mean, deviation))
    return pixels.sub_(centre).div_(scale)


@lru_cache(maxsize=64)
def _by_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Kept, because a captured step must not copy from the host.
    return torch.tensor(values, dtype=dtype, device=device).view(-1, 1, 1)


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
    theta = _maps_of(draws, images.shape[-2], images.shape[-1], recipe)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def epoch_maps(recipe: Recipe, generator: torch.Generator, steps: int, task: Task) -> Tensor | None:
    """Draw what ``augment`` draws, in its order, for all steps at once, (steps * batch, 2, 3); None without moves."""
    if recipe.augmented_share == 0:
        return None
    draws = torch.rand(steps, 7, recipe.batch_size, generator=generator, device=generator.device)
    return _maps_of(draws.transpose(0, 1).reshape(7, -1), *task.input_shape[1:], recipe).contiguous()


def _maps_of(draws: Tensor, rows: int, columns: int, recipe: Recipe) -> Tensor:
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


@dataclass(frozen=True, slots=True)
class Steps:
    """What moves over some steps in a row, an item a step: all that an engine needs to know of it.

    Attributes:
        rates: learning rates.
        shares: how much of the new state the average takes; all of it until it begins.
        corrections: what Adam divides its mean, and the root of its mean square, by (Kingma and Ba, arXiv 1412.6980).
    """

    rates: list[float]
    shares: list[float]
    corrections: list[tuple[float, float]]


def epoch_steps(recipe: Recipe, done: int, count: int) -> Steps:
    """Return the ``count`` steps of an epoch, of which ``done`` were taken before."""
    first = first_averaged_step(recipe, count)
    numbers = range(done + 1, done + count + 1)
    return Steps(
        [learning_rate(recipe, number - 1, count) for number in numbers],
        [average_share(recipe, number, first) for number in numbers],
        [(1 - recipe.momentum**number, math.sqrt(1 - 0.999**number)) for number in numbers],
    )


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the rate of one step, counted from 0."""
    done = step / (steps_per_epoch * recipe.epochs)
    if done < recipe.warmup:
        return recipe.learning_rate * (0.1 + 0.9 * done / recipe.warmup)
    match recipe.schedule:
        case Schedule.CONSTANT:
            return recipe.learning_rate
        case Schedule.STEP:
            passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.step_epochs)
            return recipe.learning_rate * recipe.step_factor**passed
        case Schedule.LINEAR:
            rate = recipe.learning_rate * (1 - done) / (1 - recipe.warmup)
        case Schedule.COSINE:
            turned = math.pi * (done - recipe.warmup) / (1 - recipe.warmup)
            rate = recipe.learning_rate * (1 + math.cos(turned)) / 2
    # What falls to zero falls to the recipe's last rate; the same number where that is zero.
    return recipe.final_rate * recipe.learning_rate + (1 - recipe.final_rate) * rate


def average_share(recipe: Recipe, step: int, first: int) -> float:
    """Return how much of the new state the average takes after a step; all of it until it begins."""
    # A young average must forget its beginning faster than an old one: with n steps behind it its decay is at
    # most (1 + n) / (10 + n), the rule of TensorFlow's ExponentialMovingAverage.
    behind = step - first
    if step <= max(1, first):
        return 1.0
    return 1 - min(recipe.average_decay, (1 + behind) / (10 + behind))


@dataclass(frozen=True, slots=True)
class Teacher:
    """The trained teachers of one recipe: one architecture, a network a seed.

    Attributes:
        networks: in evaluation mode, with the weights that predict: averaged where their recipe averages.
        seconds: that the training of all of them took.
    """

    architecture: Architecture
    networks: tuple[Network, ...]
    seconds: float


def soft_targets(teacher: Teacher, batch: Tensor, temperature: float) -> Tensor:
    """Return the mean over the teachers of their softened probabilities, (batch, classes), without a gradient."""
    with torch.no_grad():
        each = [functional.softmax(network(batch).float() / temperature, 1) for network in teacher.networks]
        return torch.stack(each).mean(0)


def soft_losses(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the divergence of each image's softened logits from its targets, times the temperature squared, (batch,).

    The square keeps the gradient's size independent of the temperature.
    """
    log_probabilities = functional.log_softmax(logits / temperature, 1)
    return functional.kl_div(log_probabilities, targets, reduction="none").sum(1) * temperature**2

"""Trains public networks with the recipe that their repository states, and counts test errors after each epoch.

A *claim* is a public repository's statement about the accuracy of one of its networks. ``measure`` executes the source
of the network, translates the network into the notation, and trains it with the native engine from the weights that
the source draws. The seeds of all claims are trained in turn (seed 0 of each claim first), so that a run that is cut
short has a result for each claim. No test image affects a training: schedules that wait for a plateau read the
training loss, also where the repository reads the test set.

Differences from PyTorch that every row shares: an incomplete last batch of an epoch is dropped, augmented pixels are
rounded to bytes, and AdamW's decay acts every ``_DECAY_STEPS`` steps.

    python -m measurements.claims_training CLAIMS SOURCES OUTPUT [--seeds 5] [--minutes 60]

CLAIMS has a JSON line per claim. SOURCES is a folder with a Python file per claim, named by its number with three
digits. OUTPUT gets a JSON line per training.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.training_images import idx_array
from harness.pytorch.translate import Translation, translate, with_weights
from harness.spaces.network import MNIST
from harness.system.errors import HarnessError
from harness.training.native.driver import FlatState, NativeProgram
from harness.training.native.engine import choose_engine, load
from harness.training.recipe import Recipe, StepSettings
from harness.training.torch_network import Images, state_tensors

SIDE = 28  # pixels, side of an image
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's training pixels in [0, 1], as nearly all repositories write them
_DECAY_STEPS = 10  # steps between two decays of AdamW; the rate changes by less than 2 % within ten steps
_CYCLE_STEPS = 10  # steps between two changes of the momentum under OneCycleLR


# Augmentation: torchvision's definitions, applied to all N images of an epoch at once.


def augment(images: Tensor, settings: dict[str, Any]) -> Tensor:
    """Return the images of an epoch, augmented by ``settings`` in the order of torchvision's transforms.

    Args:
        images: Values in [0, 1], shape (N, 1, 28, 28).
        settings: ``crop`` (probability), ``rotation`` (degrees), ``affine`` (degrees, translate, scale, shear),
            ``jitter`` (brightness, contrast), ``perspective`` (distortion, probability), ``fill`` (0 to 1) and
            ``erasing`` (probability, scale, ratio). Unnamed transforms are not applied.
    """
    fill = settings.get("fill", 0.0)
    if "crop" in settings:
        images = _crop_and_resize(images, settings["crop"])
    if "rotation" in settings:
        images = _affine(images, {"degrees": settings["rotation"]}, fill)
    if "affine" in settings:
        images = _affine(images, settings["affine"], settings["affine"].get("fill", 0.0))
    if "perspective" in settings:
        images = _perspective(images, **settings["perspective"])
    if "jitter" in settings:
        images = _jitter(images, **settings["jitter"])
    if "erasing" in settings:
        images = _erase(images, **settings["erasing"])
    return images


def _uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count).uniform_(low, high)


def sample(images: Tensor, matrix: Tensor, mode: str, fill: float) -> Tensor:
    """Sample ``images`` at affinely mapped positions; ``matrix`` (N, 2, 3) maps output to input, in half sides."""
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images - fill, grid, mode=mode, align_corners=False) + fill


def affine_matrix(angle: Tensor, shear: Tensor, scale: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """Return the map from output to input positions, (N, 2, 3), in units of half a side.

    The inverse of shifting (pixels), rotating (radians), shearing along x (radians) and scaling about the centre, as
    ``torchvision.transforms.functional.affine`` defines the order.
    """
    a, b = angle.cos(), -angle.cos() * shear.tan() - angle.sin()
    c, d = angle.sin(), -angle.sin() * shear.tan() + angle.cos()
    rows = [d, -b, -d * shift_x + b * shift_y, -c, a, c * shift_x - a * shift_y]
    matrix = (torch.stack(rows, 1) / scale[:, None]).view(-1, 2, 3)
    matrix[:, :, 2] /= SIDE / 2
    return matrix


def _affine(images: Tensor, settings: dict[str, Any], fill: float) -> Tensor:
    """Rotate, shift, scale and shear images at random, as ``torchvision.transforms.RandomAffine``.

    Args:
        images: Values in [0, 1].
        settings: ``degrees``, ``translate`` (share of the side), ``scale`` (lowest, highest), ``shear`` (degrees),
            ``mode`` of the interpolation (by default ``nearest``) and ``probability``.
        fill: Value of pixels from outside of the image.
    """
    count = len(images)
    degrees = settings.get("degrees", 0.0)
    translate = settings.get("translate", 0.0)
    low, high = settings.get("scale", (1.0, 1.0))
    slope = settings.get("shear", 0.0)
    angle = torch.deg2rad(_uniform(count, -degrees, degrees))
    shear = torch.deg2rad(_uniform(count, -slope, slope))
    scale = _uniform(count, low, high)
    shift_x = _uniform(count, -translate * SIDE, translate * SIDE).round()
    shift_y = _uniform(count, -translate * SIDE, translate * SIDE).round()
    matrix = affine_matrix(angle, shear, scale, shift_x, shift_y)
    mode = settings.get("mode", "nearest")
    sampled = sample(images, matrix, mode, fill)
    is_unchanged = torch.rand(count) >= settings.get("probability", 1.0)
    return torch.where(is_unchanged[:, None, None, None], images, sampled)


def _crop_and_resize(images: Tensor, probability: float) -> Tensor:
    """Enlarge the central 22x22 pixels of some images to 28x28 (``CenterCrop(22)``, ``Resize``)."""
    zoom = torch.zeros(len(images), 2, 3)
    zoom[:, 0, 0] = zoom[:, 1, 1] = 22 / SIDE
    cropped = sample(images, zoom, "bilinear", 0.0)
    is_changed = torch.rand(len(images)) < probability
    return torch.where(is_changed[:, None, None, None], cropped, images)


def _perspective(images: Tensor, distortion: float, probability: float) -> Tensor:
    """Move the four corners inwards at random (``RandomPerspective``), bilinear."""
    count = len(images)
    start = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    end = start * (1 - distortion * torch.rand(count, 4, 2))
    x, y = end[..., 0], end[..., 1]
    u, v = (start[:, axis].expand(count, 4) for axis in (0, 1))
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    # The eight coefficients of the homography that maps output to input positions, for each image.
    solution = torch.linalg.solve(torch.cat([rows_u, rows_v], 1), torch.cat([u, v], 1)[..., None])[..., 0]
    position = (torch.arange(SIDE) + 0.5) / (SIDE / 2) - 1
    grid_y, grid_x = torch.meshgrid(position, position, indexing="ij")
    h = solution[:, :, None, None]
    denominator = h[:, 6] * grid_x + h[:, 7] * grid_y + 1
    source_x = (h[:, 0] * grid_x + h[:, 1] * grid_y + h[:, 2]) / denominator
    source_y = (h[:, 3] * grid_x + h[:, 4] * grid_y + h[:, 5]) / denominator
    moved = functional.grid_sample(images, torch.stack([source_x, source_y], -1), align_corners=False)
    is_changed = torch.rand(count) < probability
    return torch.where(is_changed[:, None, None, None], moved, images)


def _jitter(images: Tensor, brightness: float, contrast: float) -> Tensor:
    """Change brightness, then contrast (``ColorJitter``); hue and saturation do not change grey images."""
    brightness_factor = _uniform(len(images), 1 - brightness, 1 + brightness)[:, None, None, None]
    images = (images * brightness_factor).clamp(0, 1)
    contrast_factor = _uniform(len(images), 1 - contrast, 1 + contrast)[:, None, None, None]
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images * contrast_factor + mean * (1 - contrast_factor)).clamp(0, 1)


def _erase(images: Tensor, probability: float, scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """Set a random rectangle of some images to the mean (``RandomErasing`` of normalised images, value 0)."""
    count = len(images)
    area = _uniform(count, *scale) * SIDE * SIDE
    aspect = torch.exp(_uniform(count, math.log(ratio[0]), math.log(ratio[1])))
    height = (area * aspect).sqrt().round().clamp(1, SIDE)
    width = (area / aspect).sqrt().round().clamp(1, SIDE)
    top = (torch.rand(count) * (SIDE - height + 1)).floor()
    left = (torch.rand(count) * (SIDE - width + 1)).floor()
    row = torch.arange(SIDE)[None]
    in_rows = (row >= top[:, None]) & (row < (top + height)[:, None])
    in_columns = (row >= left[:, None]) & (row < (left + width)[:, None])
    is_changed = torch.rand(count) < probability
    erased = in_rows[:, :, None] & in_columns[:, None, :] & is_changed[:, None, None]
    return images.masked_fill(erased[:, None], MEAN)


# Learning rates and momenta.


def _optimizer(recipe: dict[str, Any]) -> torch.optim.Optimizer:
    """Return torch's optimizer of the recipe over a dummy parameter, for torch's schedulers."""
    parameter = [nn.Parameter(torch.zeros(1))]
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(parameter, lr=recipe["lr"], momentum=recipe["momentum"])
    return torch.optim.Adam(parameter, lr=recipe["lr"])


class Schedule:
    """Learning rate and momentum of each step, from torch's scheduler of the recipe.

    The optimizer of ``_optimizer`` only carries the rates; the native engine trains.
    """

    def __init__(self, recipe: dict[str, Any], steps: int) -> None:
        """Begin a training with ``steps`` steps per epoch."""
        settings = dict(recipe["schedule"])
        self.name = settings.pop("name")
        self.steps = steps
        self.optimizer = _optimizer(recipe)
        self.scheduler: Any = None
        if self.name == "OneCycleLR":
            # The repositories count the incomplete last batch, which is dropped here.
            settings |= {"epochs": recipe["epochs"], "steps_per_epoch": steps + 1}
        if self.name != "none":
            self.scheduler = getattr(torch.optim.lr_scheduler, self.name)(self.optimizer, **settings)

    def epoch(self) -> tuple[list[float], list[float]]:
        """Return the rates and the momenta (Adam: beta1) of the steps of the next epoch."""
        rates, momenta = [], []
        for _ in range(self.steps):
            group = self.optimizer.param_groups[0]
            rates.append(float(group["lr"]))
            momenta.append(float(group["betas"][0] if "betas" in group else group["momentum"]))
            if self.name == "OneCycleLR":
                self.optimizer.step()
                self.scheduler.step()
        return rates, momenta

    def end_epoch(self, training_loss: float) -> None:
        """Change the rate of the next epoch; ``ReduceLROnPlateau`` reads the training loss."""
        if self.name in ("none", "OneCycleLR"):
            return
        self.optimizer.step()
        if self.name == "ReduceLROnPlateau":
            self.scheduler.step(training_loss if self.scheduler.mode == "min" else -training_loss)
        else:
            self.scheduler.step()


# One training.


def mnist(folder: Path) -> tuple[Images, Images]:
    """Return the 60,000 training images and the 10,000 test images of MNIST from a folder in torchvision's layout."""
    parts = []
    for prefix in ("train", "t10k"):
        pixels = torch.from_numpy(idx_array(folder / "MNIST/raw" / f"{prefix}-images-idx3-ubyte.gz")[0])
        labels = torch.from_numpy(idx_array(folder / "MNIST/raw" / f"{prefix}-labels-idx1-ubyte.gz")[0])
        parts.append(Images(pixels.view(-1, 1, SIDE, SIDE), labels.long(), (MEAN,), (DEVIATION,)))
    return parts[0], parts[1]


class ClaimTraining:
    """A training of the network of a claim with a seed.

    Args:
        build: Function that builds the network of the source.
        recipe: ``training`` of the claim.
        seed: Seed of the initial weights, the order of the images and the augmentation.
        images: Training images.

    Raises:
        Untranslatable: The notation lacks an operator of the network.
        DeviceError: The native engine lacks a kernel for an op.
    """

    def __init__(self, build: Callable[[], nn.Module], recipe: dict[str, Any], seed: int, images: Images) -> None:
        """Draw the initial weights as the source of the network does."""
        self.recipe, self.images = recipe, images
        torch.manual_seed(seed)
        module = build()
        translation: Translation = translate(module, MNIST)
        self.network = with_weights(translation, module.state_dict(), MNIST)
        is_sgd = recipe["optimizer"] == "sgd"
        decay = 0.0 if recipe["optimizer"] == "adamw" else recipe["weight_decay"]
        settings = Recipe(
            batch_size=recipe["batch"],
            optimizer="sgd" if is_sgd else "adam",
            momentum=recipe["momentum"] if is_sgd else 0.9,
            nesterov=recipe.get("nesterov", False),
            weight_decay=decay,
            decay_all=decay > 0,
            label_smoothing=recipe.get("smoothing", 0.0),
        )
        ops = translation.architecture.op_types
        engine = choose_engine("native", settings, torch.device("cpu"), ops).engine
        assert engine is not None
        self.native = NativeProgram(engine, translation.architecture, settings, images)
        self.native.seed_masks(torch.Generator().manual_seed(seed))
        parameters = self.network.parameters()
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(parameters, lr=1.0) if is_sgd else torch.optim.Adam(parameters, lr=1.0)
        )
        self.schedule = Schedule(recipe, len(images) // recipe["batch"])
        self.step = 0

    def train_epoch(self) -> None:
        """Train for an epoch with new augmented images in a new order."""
        pixels = augment(self.images.pixels / 255, self.recipe["augmentation"])
        rounded = (pixels * 255).round().clamp(0, 255).byte().contiguous()
        images = Images(rounded, self.images.labels, self.images.mean, self.images.deviation)
        order = torch.randperm(len(images))
        rates, momenta = self.schedule.epoch()
        span = len(rates)
        if self.schedule.name == "OneCycleLR":
            span = _CYCLE_STEPS
        if self.recipe["optimizer"] == "adamw":
            span = _DECAY_STEPS
        flat = FlatState.of(self.network, self.optimizer, None, self.native.number_type)
        loss = 0.0
        for first in range(0, len(rates), span):
            span_rates = rates[first : first + span]
            settings = StepSettings(span_rates, [1.0] * len(span_rates), float("inf"))
            self.native.settings.momentum = momenta[first]
            loss += self.native.train(flat, images, order[first * self.recipe["batch"] :], None, settings, self.step)
            self.step += len(settings.rates)
            if self.recipe["optimizer"] == "adamw":
                # AdamW (Loshchilov and Hutter, arXiv 1711.05101): weights shrink by rate times decay in each step.
                flat.state[: self.native.program.parameter_count] *= 1 - sum(span_rates) * self.recipe["weight_decay"]
        flat.restore(self.network, self.optimizer, self.step)
        self.schedule.end_epoch(loss / len(rates))

    def errors(self, images: Images) -> int:
        """Return the number of wrong predictions for ``images``."""
        classes = self.native.predict(self.network, state_tensors(self.network), images.pixels).argmax(1)
        return int((classes != images.labels).sum())


# Claims, sources and results.


def network_builder(source: Path, claim: dict[str, Any]) -> Callable[[], nn.Module]:
    """Execute ``source`` and return a function that builds the network of ``claim``."""
    spec = importlib.util.spec_from_file_location(f"claim_{source.stem}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network_class = getattr(module, claim["class"])
    arguments = claim["constructor_arguments"]
    return lambda: network_class(*arguments["positional"], **arguments["named"])


def measure(claim: dict[str, Any], source: Path, seed: int, parts: tuple[Images, Images]) -> dict[str, Any]:
    """Return the row of a training: test errors after each epoch, or the reason why the training is refused.

    Args:
        claim: Line of the claims.
        source: Python file of the network.
        seed: Seed of the training.
        parts: Training images and test images.
    """
    began = time.process_time()
    row: dict[str, Any] = {"nr": claim["nr"], "seed": seed, "engine": load().name}
    training_images, test_images = parts
    try:
        training = ClaimTraining(network_builder(source, claim), claim["training"], seed, training_images)
        row["test_errors"] = []
        for _ in range(claim["training"]["epochs"]):
            training.train_epoch()
            row["test_errors"].append(training.errors(test_images))
    except HarnessError as error:
        row["refused"] = error.one_line
    row["cpu_seconds"] = round(time.process_time() - began, 1)
    return row


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _due(claims: list[dict[str, Any]], output: Path, seeds: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the trainings that OUTPUT does not hold, seed by seed, in a random order of claims.

    A run that is cut short has a random sample of the claims. Only one process may write OUTPUT.
    """
    shuffled = random.Random(0).sample(claims, len(claims))
    for seed in range(seeds):
        for claim in shuffled:
            rows = [row for row in _lines(output) if row["nr"] == claim["nr"]]
            if all(row["seed"] != seed and "refused" not in row for row in rows):
                yield claim, seed


def main() -> None:
    """Train the networks of claims with several seeds and append a line per training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claims", type=Path, help="JSON lines with nr, class, constructor_arguments and training")
    parser.add_argument("sources", type=Path, help="folder with the source of each network as NNN.py")
    parser.add_argument("output", type=Path, help="JSON lines, appended")
    parser.add_argument("--data", type=Path, required=True, help="folder of MNIST in torchvision's layout")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=1e9, help="no training begins later")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    deadline = time.monotonic() + 60 * arguments.minutes
    parts = mnist(arguments.data)
    for claim, seed in _due(_lines(arguments.claims), arguments.output, arguments.seeds):
        if time.monotonic() > deadline:
            break
        row = measure(claim, arguments.sources / f"{claim['nr']:03d}.py", seed, parts)
        with arguments.output.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row["nr"], seed, row.get("test_errors", row.get("refused")), row["cpu_seconds"], flush=True)


if __name__ == "__main__":
    main()

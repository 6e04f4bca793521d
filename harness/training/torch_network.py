"""Torch networks of architectures with first weights, and the inputs of networks: images and augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.spaces.modules import FastDropout, indexed_filters
from harness.spaces.network import Architecture, Task, analyse
from harness.spaces.ops import Op, Residual, Role, Shape, UserModule
from harness.spaces.posed import PosedConv2d
from harness.spaces.space_errors import SearchSpaceError
from harness.training.recipe import Recipe
from harness.training.user_modules.execution import SeededModule, built

# Draws of weights in ``vain_op``: a relu before a wide maxpool may change the output in some draws only.
_VAIN_DRAWS = 32


class _ResidualModule(nn.Module):  # adds the input to the output of the ops
    def __init__(self, ops: nn.Sequential) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, values: Tensor) -> Tensor:
        return values + self.ops(values)  # type: ignore[no-any-return]  # Sequential returns Any


def _sequence(ops: tuple[Op, ...], shape: Shape, module_of_tie: dict[str, nn.Module]) -> nn.Sequential:
    """Return the modules of ops for inputs of ``shape``, (channels, rows, columns) or (features,).

    ``module_of_tie`` has the first module of each tie, whose weights all modules of the tie share; ties are added.
    """
    modules: list[nn.Module] = []
    for op in ops:
        if op.role is Role.SUM:
            module: nn.Module = _ResidualModule(_sequence(op.ops, shape, module_of_tie))
        elif isinstance(op, UserModule):
            module = built(op, op.map_of(shape))
        else:
            module = op.module(shape)
        if op.tie is not None:
            first_module = module_of_tie.setdefault(op.tie, module)
            module = first_module if op.is_joint else module
            # A convolution keeps the bias.
            names = ("weight", "bias") if isinstance(module, _BatchNorm) else ("weight",)
            for name in names:
                module.register_parameter(name, getattr(first_module, name))
        modules.append(module)
        shape = op.shape(shape)
    return nn.Sequential(*modules)


class TorchNetwork(nn.Module):
    """The ops of an architecture in order; maps images (batch, channels, rows, columns) to logits (batch, classes)."""

    def __init__(self, ops: nn.Sequential) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        # The loss needs vectors.
        return torch.flatten(self.ops(images), 1)


def build(architecture: Architecture, task: Task) -> TorchNetwork:
    """Return the torch module of an architecture, with the default first weights of torch.

    Raises:
        ShapeError: The ops do not fit together.
        AssertionError: torch counts a different number of parameters than ``analyse``: a fault of this program.
        ContentError, UsageError: A user's module has changed or is missing.
    """
    expected_count = analyse(architecture, task).parameters
    network = TorchNetwork(_sequence(architecture.ops, task.input_shape, {}))
    count = sum(parameter.numel() for parameter in network.parameters())
    # A user's module may count buffers, and was compared by ``built``.
    if count != expected_count and architecture.user_module is None:
        raise AssertionError(
            f"torch counts {count} parameters, harness.spaces.network {expected_count}: please report this network"
        )
    return network


def vain_op(architecture: Architecture, task: Task) -> Op | None:
    """Return an op that has no effect, or None.

    Without this op the network has equally many parameters, and computes the same in training for random weights and
    images.
    """
    for op, _ in _shortened(architecture.ops):
        # Rates are multiples of 1/65,536 (``FastDropout``).
        if op.role is Role.DROPOUT and not round(op.drop_rate * 65_536):
            return op
    parameters = analyse(architecture, task).parameters
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for op, ops in _shortened(architecture.ops):
            shorter = Architecture(ops)
            try:
                is_as_large = analyse(shorter, task).parameters == parameters
            except SearchSpaceError:
                continue
            if is_as_large and _are_alike(build(architecture, task), build(shorter, task), task):
                return op
    return None


def _shortened(ops: tuple[Op, ...]) -> Iterator[tuple[Op, tuple[Op, ...]]]:
    """Yield each op, including ops within residual sums, with the sequence of all ops without this op."""
    for index, op in enumerate(ops):
        before = ops[:index]
        after = ops[index + 1 :]
        yield op, (*before, *after)
        for inner, remaining_ops in _shortened(op.ops):
            yield inner, (*before, Residual(remaining_ops), *after)


def _are_alike(network: TorchNetwork, shorter: TorchNetwork, task: Task) -> bool:
    """Return whether networks of equally many parameters have equal outputs for all draws of weights."""
    images = torch.randn(4, *task.input_shape)
    for seed in range(_VAIN_DRAWS):
        outputs = []
        for module in (network, shorter):
            torch.manual_seed(seed)
            for value in module.parameters():
                value.normal_()
            # Random draws, as by dropout, are part of the function.
            outputs.append(module.train()(images))
        if not torch.equal(*outputs):
            return False
    return True


def _draw_first_weights(network: TorchNetwork, recipe: Recipe) -> None:
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if recipe.initialisation != "torch":
        for weight in {id(module.weight): module.weight for module in convolutions}.values():
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        for bias in (module.bias for module in convolutions if module.bias is not None):
            nn.init.zeros_(bias)
    if recipe.initialisation == "dirac":
        for module in convolutions:
            poses = module.poses if isinstance(module, PosedConv2d) else 1
            if module.in_channels == poses * module.out_channels:
                nn.init.zeros_(module.weight)
                # Each pose copies the same pose of the input.
                nn.init.dirac_(module.weight[:, ::poses], module.groups)


def network_on(
    architecture: Architecture,
    task: Task,
    device: torch.device,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    generator: torch.Generator | None = None,
) -> TorchNetwork:
    """Return a network on a device, in training mode; the state of torch's global generator is kept.

    Args:
        seed: Seed of the first weights, drawn on the CPU and thus equal on all devices.
        recipe: Sets the first weights; None for the defaults of torch.
        generator: Generator of the dropout masks; None for the global generator.

    Raises:
        ShapeError, ContentError, UsageError: Same as for ``build``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build(architecture, task)
        # The user's code sets the first weights.
        if recipe is not None and architecture.user_module is None:
            _draw_first_weights(network, recipe)
    for module in network.modules():
        if isinstance(module, FastDropout | SeededModule):
            module.generator = generator
        if isinstance(module, PosedConv2d) and device.type == "cuda":
            module.in_poses = indexed_filters
    if architecture.user_module is not None:
        # ``view`` in the code of users requires the usual order of the numbers.
        return network.to(device)
    # The type stubs of torch lack this overload.
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def state_tensors(network: nn.Module) -> list[Tensor]:
    """Return all floating-point tensors of a state; a tied kernel is repeated."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def recompute_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every BN to the statistics of the inputs over all batches, without dropout.

    The average of the statistics of several networks differs from the statistics of the network with the averaged
    weights (Izmailov et al., arXiv 1803.05407, section 3.2). Meanwhile each BN normalises by the batch, so that later
    layers get nearly the final inputs from a batch of some hundred images. The network is left in evaluation mode.
    """
    counts: dict[nn.Module, int] = {}
    sums: dict[nn.Module, Tensor] = {}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        by_channel = inputs[0].detach().double().transpose(0, 1)  # (channels, batch, ...)
        # (means, values): channels that share a mean are neighbours.
        values = by_channel.reshape(sums[norm].shape[1], -1)
        counts[norm] += values.shape[1]
        sums[norm] += torch.stack([values.sum(1), (values * values).sum(1)])

    norms = [
        module
        for module in network.modules()
        # Statistics of a user's normalisation may have a different form, or be missing.
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and len(module.running_mean) == module.num_features
    ]
    network.eval()
    for norm in norms:
        # A BN may have no scale.
        assert norm.running_mean is not None
        counts[norm] = 0
        sums[norm] = torch.zeros(2, norm.num_features, dtype=torch.float64, device=norm.running_mean.device)
    hooks = [norm.train().register_forward_pre_hook(add) for norm in norms]
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    network.eval()
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count = counts[norm]
        mean, square = sums[norm] / count
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean * mean).clamp(min=0) * (count / max(1, count - 1)))


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images on a device: uint8 (n, channels, rows, columns) and int64 (n,)."""

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]  # of each channel, pixels scaled to 0 to 1
    deviation: tuple[float, ...]  # of each channel, pixels scaled to 0 to 1
    classes: int = 10  # labels are 0 to classes - 1

    def __post_init__(self) -> None:
        """The native engine reads a mean and a standard deviation of each channel."""
        channels = self.pixels.shape[1]
        assert len(self.mean) == len(self.deviation) == channels, (
            f"{channels} channels need {channels} means and deviations"
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        pixels = self.pixels[index].float().div_(255)
        batch = normalised(pixels.view(-1, *self.pixels.shape[1:]), self.mean, self.deviation)
        return batch.view(pixels.shape), self.labels[index]

    @property
    def task(self) -> Task:
        """Input shape and number of classes of a network for these images."""
        channels, rows, columns = self.pixels.shape[1:]
        return Task((channels, rows, columns), self.classes)


def normalised(pixels: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel, in place; return ``pixels``.

    ``pixels`` are floating-point, (n, channels, rows, columns), on the scale from 0 to 1 of ``mean`` and ``deviation``.
    """
    if len(mean) == 1:
        # Plain numbers as in all records: a GPU rounds a division by a tensor differently.
        return pixels.sub_(mean[0]).div_(deviation[0])

    def by_channel(values: tuple[float, ...]) -> Tensor:
        # On the device: a CUDA graph cannot record a copy.
        return torch.stack([pixels.new_full((1, 1), value) for value in values])

    return pixels.sub_(by_channel(mean)).div_(by_channel(deviation))


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return images with random affine transformations of the recipe; pixels from outside are 0.

    ``images`` have background 0 and are not normalised yet, float32 (batch, channels, rows, columns).
    """
    if recipe.augmented_share == 0:
        return images
    # Each call is a launch on a GPU.
    draws = torch.rand(7, len(images), generator=generator, device=generator.device)
    affine_maps = _affine_maps(draws, images.shape[-2], images.shape[-1], recipe)
    grid = functional.affine_grid(affine_maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def epoch_maps(recipe: Recipe, generator: torch.Generator, steps: int, task: Task) -> Tensor | None:
    """Draw the affine maps of ``augment`` for all steps of an epoch at once, float32 (steps * batch, 2, 3).

    The numbers are the same as step by step. None without augmentation.
    """
    if recipe.augmented_share == 0:
        return None
    draws = torch.rand(steps, 7, recipe.batch_size, generator=generator, device=generator.device)
    return _affine_maps(draws.transpose(0, 1).reshape(7, -1), *task.input_shape[1:], recipe).contiguous()


def _affine_maps(draws: Tensor, rows: int, columns: int, recipe: Recipe) -> Tensor:
    """Return affine maps from output to input coordinates, (count, 2, 3), in the form of torch's ``affine_grid``.

    The linear part is scale times rotation, plus a shear of the horizontal axis; images without augmentation get the
    identity. ``draws`` are seven uniform draws from 0 to 1 per image, (7, count).
    """
    is_augmented = (draws[6] < recipe.augmented_share).float()
    changes = (2 * draws[:6] - 1) * is_augmented  # (6, count), each from -1 to 1
    angle = changes[0] * math.radians(recipe.rotation_degrees)
    x_scale = 1 + changes[1] * recipe.scale
    y_scale = 1 + changes[2] * recipe.scale
    shear = changes[3] * recipe.shear
    # From -1 to 1, so x is in units of half the width, y in units of half the height.
    x_shift = changes[4] * (2 * recipe.shift_pixels / columns)
    y_shift = changes[5] * (2 * recipe.shift_pixels / rows)
    aspect = rows / columns
    cosine = torch.cos(angle)
    sine = torch.sin(angle)
    x_row = [cosine / x_scale, (-sine / x_scale + shear) * aspect, x_shift]
    y_row = [sine / y_scale / aspect, cosine / y_scale, y_shift]
    return torch.stack([*x_row, *y_row], dim=1).view(-1, 2, 3)

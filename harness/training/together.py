"""Training several seeds of one network at once, each with its own weights, order of images and moves.

A whole step reads all that changes from tensors on the device: the number of the step, its learning rate, its images
and their moves. So on a GPU one step is captured as a CUDA graph, once for all epochs, and replayed, and nothing waits
for the host within an epoch; elsewhere the same function is called in a loop. Members are ordinary runs before and
after each epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.training.modules import Network, drawing_from, seed_dropout, sequence
from harness.training.native.native_training import (
    average_tensors,
    engine_tensors,
    flat_of,
    flat_optimizer_state,
    flat_state,
    memories_of,
    restore,
    restore_optimizer,
)
from harness.training.recipe import Optimizer, check_batch, decay_of, first_averaged_step, recipe_of_epoch
from harness.training.result import Epoch
from harness.training.steps import (
    Images,
    epoch_maps,
    epoch_steps,
    learning_rate,
    normalised,
    soft_losses,
    soft_targets,
)
from harness.training.train import Training, autocast, end_epoch
from search_spaces.network import Architecture, Task

# Steps before a capture: cuDNN chooses its kernels and allocates in the first ones (torch's notes on CUDA graphs).
_WARM_UP = 3


@dataclass(slots=True)
class _EpochSteps:
    """What an epoch's steps read, all on the device; ``step`` is the index of the next one, a tensor of one number.

    Attributes:
        order: indices of images, (steps, members * batch).
        maps: moves, (steps, members * batch, 2, 3), or None.
        rates: learning rates, (steps,).
        shares: how much of the new state the average takes, (steps,).
        corrections: Adam's two bias corrections, (steps, 2).
        loss: sum of the losses so far, a member each, (members,).
    """

    step: Tensor
    order: Tensor
    maps: Tensor | None
    rates: Tensor
    shares: Tensor
    corrections: Tensor
    loss: Tensor


@dataclass(slots=True)
class _Population:
    """The grouped network of several runs, the state of its optimizer, its average, and its images.

    Attributes:
        optimizer_state: a tensor a parameter, for each kind of state.
        average: a tensor for each of ``engine_tensors``.
        schedule: of the latest epoch; the next one is written into the same tensors where it has the same parts.
        graph: a captured step, which reads and writes all these tensors; None before the first, and off a GPU.
    """

    members: Sequence[Training]
    network: Network
    images: Images
    optimizer_state: list[list[Tensor]]
    average: list[Tensor]
    schedule: _EpochSteps | None = None
    graph: torch.cuda.CUDAGraph | None = None

    @property
    def first(self) -> Training:
        return self.members[0]


def _grouped_network(architecture: Architecture, members: int, task: Task) -> Network:
    """Return several copies of one network as one network: channels side by side, every convolution grouped by member.

    Nothing of one member reaches another. It takes (batch, members * channels, rows, columns) and gives (batch, members
    * classes); parameters and buffers come in the single network's order, each with ``members`` times the rows.
    """
    return Network(sequence(architecture.ops, task.input_shape, members))


def population_of(runs: Sequence[Training], images: Images) -> _Population:
    """Return a population of runs of one network and recipe, all at the same step; their dropout draws as the first's.

    Raises:
        ContentError: there are fewer images than a batch takes.
    """
    recipe, device = runs[0].recipe, runs[0].device
    check_batch(recipe, len(images))
    # What is drawn is written over before the first step.
    with drawing_from(0):
        network = _grouped_network(runs[0].architecture, len(runs), runs[0].task).to(device)
    network.train()
    seed_dropout(network, runs[0].generator)
    memories = memories_of(runs[0].optimizer)
    optimizer_state = [[torch.zeros_like(parameter) for parameter in network.parameters()] for _ in memories]
    average = [torch.zeros_like(tensor) for tensor in engine_tensors(network)]
    return _Population(runs, network, images, optimizer_state, average)


def train_epoch_together(population: _Population, on_step: Callable[[], None] | None = None) -> list[Epoch]:
    """Train all members for one pass; append to their histories.

    Args:
        on_step: called after each step has been asked for; a GPU may not have taken it yet. It may raise, which ends
            the epoch half-way: members and population are of no use then.
    """
    runs, recipe, real = population.members, population.first.recipe, torch.float32
    steps = len(population.images) // recipe.batch_size
    began = time.perf_counter()
    _spread([flat_state(run.network, real) for run in runs], engine_tensors(population.network))
    memories = [flat_optimizer_state(run.network, run.optimizer, real) for run in runs]
    for of_each, memory in zip(zip(*memories, strict=True), population.optimizer_state, strict=True):
        _spread(of_each, memory)
    _spread([flat_of(run.network, run.average or run.state, real) for run in runs], population.average)
    fresh, kept = _schedule(population, steps), population.schedule
    if kept is None or (kept.maps is None) != (fresh.maps is None):
        # A captured step reads these tensors; one with transforms is another than one without, and is captured anew.
        population.schedule = kept = fresh
        population.graph = None
    for field in fields(_EpochSteps):
        if (tensor := getattr(kept, field.name)) is not None:
            tensor.copy_(getattr(fresh, field.name))
    _run(population, lambda: _step(population, kept), steps, on_step or (lambda: None))
    losses = (kept.loss / steps).tolist()
    _scatter(population, steps)
    seconds = time.perf_counter() - began
    rate = learning_rate(recipe, runs[0].step - 1, steps)
    return [end_epoch(run, loss, rate, seconds / len(runs)) for run, loss in zip(runs, losses, strict=True)]


def _spread(flat: Sequence[Tensor], tensors: list[Tensor]) -> None:
    sizes = [tensor.numel() // len(flat) for tensor in tensors]
    with torch.no_grad():
        for tensor, parts in zip(tensors, torch.split(torch.stack(list(flat)), sizes, 1), strict=True):
            tensor.copy_(parts.reshape(tensor.shape))


def _collected(tensors: list[Tensor], members: int) -> Tensor:
    return torch.cat([tensor.detach().reshape(members, -1) for tensor in tensors], 1)


def _schedule(population: _Population, steps: int) -> _EpochSteps:
    recipe, runs, images = population.first.recipe, population.members, population.images
    device, before = population.first.device, runs[0].step
    count = steps * recipe.batch_size
    transforms = recipe_of_epoch(recipe, len(runs[0].history))
    orders, maps = [], []
    for run in runs:
        orders.append(torch.randperm(len(images), generator=run.generator, device=device)[:count])
        if (moves := epoch_maps(transforms, run.generator, steps, images.task)) is not None:
            maps.append(moves.view(steps, recipe.batch_size, 2, 3))
    moving = epoch_steps(recipe, before, steps)
    return _EpochSteps(
        step=torch.zeros(1, dtype=torch.int64, device=device),
        order=torch.stack([order.view(steps, -1) for order in orders], 1).flatten(1),
        maps=torch.stack(maps, 1).flatten(1, 2) if maps else None,
        rates=torch.tensor(moving.rates, device=device),
        shares=torch.tensor(moving.shares, device=device),
        corrections=torch.tensor(moving.corrections, device=device),
        loss=torch.zeros(len(runs), device=device),
    )


def _run(population: _Population, step: Callable[[], None], steps: int, on_step: Callable[[], None]) -> None:
    if population.first.device.type != "cuda" or steps <= _WARM_UP:
        for _ in range(steps):
            step()
            on_step()
        return
    with torch.cuda.device(population.first.device):
        left = steps
        if population.graph is None:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    step()
                    on_step()
            torch.cuda.current_stream().wait_stream(side)
            left -= _WARM_UP
            graph = torch.cuda.CUDAGraph()
            # Up to 2.13 torch has to be told; from 2.14 it finds out by itself, and this only warns (pytorch#176753).
            graph.register_generator_state(population.first.generator)
            with torch.cuda.graph(graph):
                step()
            population.graph = graph
        for _ in range(left):
            population.graph.replay()
            on_step()


def _step(population: _Population, schedule: _EpochSteps) -> None:
    recipe, images, members = population.first.recipe, population.images, len(population.members)
    chosen = schedule.order.index_select(0, schedule.step)[0]
    pixels = images.pixels[chosen].float().div_(255)  # (members * batch, channels, rows, columns)
    if schedule.maps is not None:
        maps = schedule.maps.index_select(0, schedule.step)[0]
        grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
        pixels = functional.grid_sample(pixels, grid, align_corners=False)
    each_image = normalised(pixels, images.mean, images.deviation)
    grouped = each_image.view(members, recipe.batch_size, *pixels.shape[1:]).transpose(0, 1)
    batch = grouped.flatten(1, 2)  # (batch, members * channels, rows, columns)
    with autocast(population.first):
        logits = population.network(batch.contiguous())
    # (batch, members * classes) -> a row an image and member, members first
    rows = logits.float().view(recipe.batch_size, members, -1).transpose(0, 1).flatten(0, 1)
    losses = functional.cross_entropy(
        rows, images.labels[chosen], label_smoothing=recipe.label_smoothing, reduction="none"
    )
    if population.first.teacher is not None:
        with autocast(population.first):
            targets = soft_targets(population.first.teacher, each_image, recipe.distill_temperature)
        losses = torch.lerp(losses, soft_losses(rows, targets, recipe.distill_temperature), recipe.distill_weight)
    each = losses.view(members, -1).mean(1)
    parameters: list[Tensor] = list(population.network.parameters())
    gradients = list(torch.autograd.grad(each.sum(), parameters))
    with torch.no_grad():
        _update(population, parameters, gradients, schedule)
        if recipe.average_decay:
            share = schedule.shares.index_select(0, schedule.step)
            for kept, value in zip(population.average, engine_tensors(population.network), strict=True):
                kept.add_(share * (value - kept))
        schedule.loss += each.detach()
        schedule.step += 1


def _update(population: _Population, parameters: list[Tensor], gradients: list[Tensor], schedule: _EpochSteps) -> None:
    recipe, rate = population.first.recipe, schedule.rates.index_select(0, schedule.step)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if decay := decay_of(recipe, kernel=parameter.ndim > 1):
            gradient.add_(parameter, alpha=decay)
    if recipe.optimizer is Optimizer.ADAM:
        first, second = population.optimizer_state
        torch._foreach_lerp_(first, gradients, 1 - recipe.momentum)
        torch._foreach_mul_(second, 0.999)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - 0.999)
        corrections = schedule.corrections.index_select(0, schedule.step)[0]
        for parameter, mean, square in zip(parameters, first, second, strict=True):
            parameter.sub_(rate / corrections[0] * mean / (square.sqrt() / corrections[1] + 1e-8))
        return
    (momenta,) = population.optimizer_state
    torch._foreach_mul_(momenta, recipe.momentum)
    torch._foreach_add_(momenta, gradients)
    directions = torch._foreach_add(gradients, momenta, alpha=recipe.momentum) if recipe.nesterov else momenta
    for parameter, move in zip(parameters, directions, strict=True):
        parameter.sub_(rate * move)


def _scatter(population: _Population, steps: int) -> None:
    runs, recipe = population.members, population.first.recipe
    step = runs[0].step + steps
    states = _collected(engine_tensors(population.network), len(runs))
    memories = [_collected(memory, len(runs)) for memory in population.optimizer_state]
    averages = _collected(population.average, len(runs))
    for index, run in enumerate(runs):
        run.finished_average, run.step = None, step
        restore(run.network, states[index])
        restore_optimizer(run.network, run.optimizer, [memory[index] for memory in memories], step)
        if recipe.average_decay and step >= max(1, first_averaged_step(recipe, steps)):
            run.average = average_tensors(run.network, averages[index])

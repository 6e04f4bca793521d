"""Training several seeds of one network at once, each with its own weights, order of images and moves.

A whole step reads all that changes from tensors on the device: the number of the step, its learning rate, its images
and their moves. So on a GPU one step is captured as a CUDA graph and replayed, and nothing waits for the host within
an epoch; elsewhere the same function is called in a loop. Members are ordinary runs before and after each epoch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.engine.flat_state import MEMORIES, state_tensors
from harness.errors import ContentError
from harness.training.augment import maps_of
from harness.training.build import Network, seed_dropout
from harness.training.distillation import Teacher, soft_losses, soft_targets
from harness.training.grouped import grouped_network, stack, unstack
from harness.training.recipe import Optimizer, Recipe, first_averaged_step, recipe_of_epoch
from harness.training.result import Epoch
from harness.training.schedule import learning_rate
from harness.training.train import Images, Training, autocast

# Steps before a capture: cuDNN chooses its kernels and allocates in the first ones (torch's notes on CUDA graphs).
WARM_UP = 3


@dataclass(slots=True)
class Schedule:
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
class Population:
    """The grouped network of several runs, and what its optimizer and its average remember."""

    members: Sequence[Training]
    network: Network
    recipe: Recipe
    teacher: Teacher | None
    memories: list[list[Tensor]]
    average: list[Tensor]


def train_epoch_together(
    runs: Sequence[Training], images: Images, on_step: Callable[[], None] | None = None
) -> list[Epoch]:
    """Train runs of one network and recipe, all at the same step, for one pass; append to their histories.

    Args:
        on_step: called after each step has been asked for; a GPU may not have taken it yet.

    Raises:
        ContentError: there are fewer images than a batch takes.
    """
    recipe = runs[0].recipe
    steps = len(images) // recipe.batch_size
    if steps == 0:
        raise ContentError(
            f"recipe: batch_size is {recipe.batch_size}, but there are only {len(images)} images to train on"
        )
    began = time.perf_counter()
    population = _gathered(runs)
    schedule = _schedule(population, images, steps)
    with _on(runs[0].device):
        _run(lambda: _step(population, images, schedule), steps, runs[0].generator, on_step or (lambda: None))
    losses = (schedule.loss / steps).tolist()
    _scattered(population, steps)
    seconds = time.perf_counter() - began
    rate = learning_rate(recipe, runs[0].step - 1, steps)
    return [_ended(run, loss, rate, seconds / len(runs)) for run, loss in zip(runs, losses, strict=True)]


def _on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Make a GPU the current one: streams and graphs belong to that."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _ended(run: Training, loss: float, rate: float, seconds: float) -> Epoch:
    run.seconds += seconds
    run.diverged = not math.isfinite(loss)
    epoch = Epoch(len(run.history) + 1, rate, None if run.diverged else loss, run.seconds)
    run.history.append(epoch)
    return epoch


def _gathered(runs: Sequence[Training]) -> Population:
    """Return the population of the runs as they are now."""
    recipe, device = runs[0].recipe, runs[0].device
    network = grouped_network(runs[0].architecture, len(runs)).to(device)
    stack([run.network for run in runs], network)
    network.train()
    seed_dropout(network, runs[0].generator)
    memories = [_memory(runs, network, name) for name in MEMORIES[recipe.optimizer]]
    average = [tensor.detach().clone() for tensor in state_tensors(network)]
    if runs[0].average is not None:
        for target, *parts in zip(average, *(run.average or [] for run in runs), strict=True):
            target.copy_(torch.cat([part.reshape(-1) for part in parts]).view(target.shape))
    return Population(runs, network, recipe, runs[0].teacher, memories, average)


def _memory(runs: Sequence[Training], network: Network, name: str) -> list[Tensor]:
    """Return one of the optimizer's memories of all members, a tensor a parameter."""
    found = []
    for target, *parts in zip(network.parameters(), *(run.network.parameters() for run in runs), strict=True):
        kept = [run.optimizer.state[part].get(name) for run, part in zip(runs, parts, strict=True)]
        known = [
            torch.zeros(part.numel(), device=part.device) if value is None else value.reshape(-1)
            for part, value in zip(parts, kept, strict=True)
        ]
        found.append(torch.cat(known).view(target.shape))
    return found


def _schedule(population: Population, images: Images, steps: int) -> Schedule:
    recipe, runs = population.recipe, population.members
    device, before = runs[0].device, runs[0].step
    count = steps * recipe.batch_size
    moves = recipe_of_epoch(recipe, len(runs[0].history))
    orders, maps = [], []
    for run in runs:
        orders.append(torch.randperm(len(images), generator=run.generator, device=device)[:count])
        if moves.augmented_share:
            draws = torch.rand(steps, 7, recipe.batch_size, generator=run.generator, device=device)
            flat = draws.transpose(0, 1).reshape(7, -1)
            maps.append(maps_of(flat, 28, moves).view(steps, recipe.batch_size, 2, 3))
    first = first_averaged_step(recipe, steps)
    return Schedule(
        step=torch.zeros(1, dtype=torch.int64, device=device),
        order=torch.stack([order.view(steps, -1) for order in orders], 1).flatten(1),
        maps=torch.stack(maps, 1).flatten(1, 2) if maps else None,
        rates=torch.tensor([learning_rate(recipe, before + step, steps) for step in range(steps)], device=device),
        shares=torch.tensor([_share(recipe, before + step + 1, first) for step in range(steps)], device=device),
        corrections=torch.tensor([_corrections(recipe, before + step + 1) for step in range(steps)], device=device),
        loss=torch.zeros(len(runs), device=device),
    )


def _share(recipe: Recipe, step: int, first: int) -> float:
    """Return how much of the new state the average takes after a step, as in ``train``; all of it until it begins."""
    behind = step - first
    if step <= max(1, first):
        return 1.0
    return 1 - min(recipe.average_decay, (1 + behind) / (10 + behind))


def _corrections(recipe: Recipe, step: int) -> tuple[float, float]:
    return 1 - recipe.momentum**step, math.sqrt(1 - 0.999**step)


def _run(step: Callable[[], None], steps: int, generator: torch.Generator, on_step: Callable[[], None]) -> None:
    """Call a step so many times; on a GPU it is captured once and replayed."""
    if generator.device.type != "cuda" or steps <= WARM_UP:
        for _ in range(steps):
            step()
            on_step()
        return
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
            on_step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)  # of dropout
    # A capture runs nothing: what it records is the step after the warm-up.
    with torch.cuda.graph(graph):
        step()
    for _ in range(steps - WARM_UP):
        graph.replay()
        on_step()


def _step(population: Population, images: Images, schedule: Schedule) -> None:
    """Take one step; every tensor that changes from step to step is read at ``schedule.step``."""
    recipe, members = population.recipe, len(population.members)
    chosen = schedule.order.index_select(0, schedule.step)[0]
    pixels = images.pixels[chosen].float().div_(255)  # (members * batch, 1, 28, 28)
    if schedule.maps is not None:
        maps = schedule.maps.index_select(0, schedule.step)[0]
        grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
        pixels = functional.grid_sample(pixels, grid, align_corners=False)
    each_image = pixels.sub_(images.mean).div_(images.deviation)
    batch = each_image.view(members, recipe.batch_size, 28, 28).transpose(0, 1)
    with autocast(population.members[0]):
        logits = population.network(batch.contiguous())
    # (batch, members * classes) -> a row an image and member, members first
    rows = logits.float().view(recipe.batch_size, members, -1).transpose(0, 1).flatten(0, 1)
    losses = functional.cross_entropy(
        rows, images.labels[chosen], label_smoothing=recipe.label_smoothing, reduction="none"
    )
    if population.teacher is not None:
        with autocast(population.members[0]):
            targets = soft_targets(population.teacher, each_image, recipe.distill_temperature)
        losses = torch.lerp(losses, soft_losses(rows, targets, recipe.distill_temperature), recipe.distill_weight)
    each = losses.view(members, -1).mean(1)
    parameters: list[Tensor] = list(population.network.parameters())
    gradients = list(torch.autograd.grad(each.sum(), parameters))
    with torch.no_grad():
        _update(population, parameters, gradients, schedule)
        if recipe.average_decay:
            share = schedule.shares.index_select(0, schedule.step)
            state = state_tensors(population.network)
            for kept, value in zip(population.average, state, strict=True):
                kept.add_(share * (value - kept))
        schedule.loss += each.detach()
        schedule.step += 1


def _update(population: Population, parameters: list[Tensor], gradients: list[Tensor], schedule: Schedule) -> None:
    """Update as torch.optim.SGD and torch.optim.Adam do, the learning rate read from the device."""
    recipe, rate = population.recipe, schedule.rates.index_select(0, schedule.step)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.ndim > 1 and recipe.weight_decay:
            gradient.add_(parameter, alpha=recipe.weight_decay)
    if recipe.optimizer is Optimizer.ADAM:
        first, second = population.memories
        torch._foreach_lerp_(first, gradients, 1 - recipe.momentum)
        torch._foreach_mul_(second, 0.999)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - 0.999)
        corrections = schedule.corrections.index_select(0, schedule.step)[0]
        for parameter, mean, square in zip(parameters, first, second, strict=True):
            parameter.sub_(rate / corrections[0] * mean / (square.sqrt() / corrections[1] + 1e-8))
        return
    (momenta,) = population.memories
    torch._foreach_mul_(momenta, recipe.momentum)
    torch._foreach_add_(momenta, gradients)
    moves = torch._foreach_add(gradients, momenta, alpha=recipe.momentum) if recipe.nesterov else momenta
    for parameter, move in zip(parameters, moves, strict=True):
        parameter.sub_(rate * move)


def _scattered(population: Population, steps: int) -> None:
    """Give the members back what became of them."""
    runs, recipe = population.members, population.recipe
    for run in runs:
        run.settled = None
    unstack(population.network, [run.network for run in runs])
    step = runs[0].step + steps
    averages = [tensor.reshape(len(runs), -1) for tensor in population.average]
    for index, run in enumerate(runs):
        run.step = step
        for name, memory in zip(MEMORIES[recipe.optimizer], population.memories, strict=True):
            for parameter, values in zip(run.network.parameters(), memory, strict=True):
                run.optimizer.state[parameter][name] = (
                    values.reshape(len(runs), -1)[index].view(parameter.shape).clone()
                )
        if recipe.optimizer is Optimizer.ADAM:
            for parameter in run.network.parameters():
                run.optimizer.state[parameter]["step"] = torch.tensor(float(step))
        if recipe.average_decay and step >= max(1, first_averaged_step(recipe, steps)):
            shapes = state_tensors(run.network)
            run.average = [rows[index].view(like.shape).clone() for rows, like in zip(averages, shapes, strict=True)]

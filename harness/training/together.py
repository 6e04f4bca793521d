"""Training several seeds of one network at once, each with its own weights, order of images and moves.

A whole step reads all that changes from tensors on the device: the number of the step, its learning rate, its images
and their moves. So on a GPU one step is captured as a CUDA graph, once for all epochs, and replayed, and nothing waits
for the host within an epoch; elsewhere the same function is called in a loop. Members are ordinary runs before and
after each epoch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.training.modules import Images, epoch_maps, network_on, normalised, soft_losses, soft_targets
from harness.training.recipe import Steps, check_batch, decay_of, epoch_steps, recipe_of_epoch
from harness.training.result import Epoch
from harness.training.train import Training, autocast, end_epoch, engine_tensors, flat_parts, restore

# Steps before a capture: cuDNN chooses its kernels and allocates in the first ones (torch's notes on CUDA graphs).
_WARM_UP = 3


class Population:
    """Several runs of one network and recipe, all at the same step, as one network; dropout draws as the first's.

    Raises:
        ContentError: there are fewer images than a batch takes.
    """

    def __init__(self, members: Sequence[Training], images: Images) -> None:
        self.members, self.images, self.first = members, images, members[0]
        self.recipe, self.device = self.first.recipe, self.first.device
        check_batch(self.recipe, len(images))
        architecture, task, generator = self.first.architecture, self.first.task, self.first.generator
        # First weights are written over before the first step.
        self.network = network_on(architecture, task, self.device, generator=generator, members=len(members))
        self.network.train()
        self.parameters: list[Tensor] = list(self.network.parameters())
        state, kinds = engine_tensors(self.network), 2 if self.recipe.optimizer == "adam" else 1
        # As in ``flat_parts``: state, average, and each kind of memory that the optimizer has.
        self.average = [torch.zeros_like(tensor) for tensor in state]
        self.memories = [[torch.zeros_like(tensor) for tensor in self.parameters] for _ in range(kinds)]
        self.parts = [state, self.average, *self.memories]
        # Of the latest epoch; the next one is written into the same tensors where it has the same ones.
        self.schedule: dict[str, Tensor] = {}
        # A captured step, which reads and writes all these tensors; None before the first, and off a GPU.
        self.graph: torch.cuda.CUDAGraph | None = None

    def train_epoch(self) -> list[Epoch]:
        """Train all members for one pass; append to their histories."""
        began, count = time.perf_counter(), len(self.members)
        moving = epoch_steps(self.recipe, self.first.step, len(self.images) // self.recipe.batch_size)
        steps = len(moving.rates)
        self._gather()
        fresh = self._scheduled(moving)
        if fresh.keys() != self.schedule.keys():
            # A captured step reads these tensors; one with moves is another than one without, and is captured anew.
            self.schedule, self.graph = fresh, None
        for name, tensor in fresh.items():
            self.schedule[name].copy_(tensor)
        self._run(steps)
        losses = (self.schedule["loss"] / steps).tolist()
        flat = [torch.cat([each.detach().reshape(count, -1) for each in part], 1) for part in self.parts]
        for index, run in enumerate(self.members):
            restore(run, [part[index] for part in flat], moving)
        seconds = (time.perf_counter() - began) / count
        return [end_epoch(run, loss, moving.rates[-1], seconds) for run, loss in zip(self.members, losses, strict=True)]

    def _gather(self) -> None:
        flat = [flat_parts(run, torch.float32) for run in self.members]
        with torch.no_grad():
            for tensors, *rows in zip(self.parts, *flat, strict=True):
                sizes = [tensor.numel() // len(rows) for tensor in tensors]
                for tensor, values in zip(tensors, torch.split(torch.stack(rows), sizes, 1), strict=True):
                    tensor.copy_(values.reshape(tensor.shape))

    def _scheduled(self, moving: Steps) -> dict[str, Tensor]:
        """Return what an epoch's steps read, all on the device.

        ``step`` is the index of the next one, (1,); ``order`` has indices of images, (steps, members * batch); ``maps``
        moves, (steps, members * batch, 2, 3), where there are some; ``rates``, ``shares`` and ``corrections`` are those
        of ``Steps``; ``loss`` is the sum of the losses so far, (members,).
        """
        steps, batch, device = len(moving.rates), self.recipe.batch_size, self.device
        moves = recipe_of_epoch(self.recipe, len(self.first.history))
        orders, maps = [], []
        for run in self.members:
            order = torch.randperm(len(self.images), generator=run.generator, device=device)
            orders.append(order[: steps * batch].view(steps, batch))
            if (drawn := epoch_maps(moves, run.generator, steps, self.images.task)) is not None:
                maps.append(drawn.view(steps, batch, 2, 3))
        return {
            "step": torch.zeros(1, dtype=torch.int64, device=device),
            "order": torch.stack(orders, 1).flatten(1),
            **({"maps": torch.stack(maps, 1).flatten(1, 2)} if maps else {}),
            "rates": torch.tensor(moving.rates, device=device),
            "shares": torch.tensor(moving.shares, device=device),
            "corrections": torch.tensor(moving.corrections, device=device),
            "loss": torch.zeros(len(self.members), device=device),
        }

    def _run(self, steps: int) -> None:
        if self.device.type != "cuda" or steps <= _WARM_UP:
            for _ in range(steps):
                self._step()
            return
        with torch.cuda.device(self.device):
            if self.graph is None:
                side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(_WARM_UP):
                        self._step()
                torch.cuda.current_stream().wait_stream(side)
                steps -= _WARM_UP
                self.graph = torch.cuda.CUDAGraph()
                # Up to 2.13 torch has to be told; from 2.14 it finds out by itself, and this only warns
                # (pytorch#176753).
                self.graph.register_generator_state(self.first.generator)
                with torch.cuda.graph(self.graph):
                    self._step()
            for _ in range(steps):
                self.graph.replay()

    def _step(self) -> None:
        recipe, images, members, now = self.recipe, self.images, len(self.members), self.schedule["step"]
        chosen = self.schedule["order"].index_select(0, now)[0]
        pixels = images.pixels[chosen].float().div_(255)  # (members * batch, channels, rows, columns)
        if "maps" in self.schedule:
            maps = self.schedule["maps"].index_select(0, now)[0]
            grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
            pixels = functional.grid_sample(pixels, grid, align_corners=False)
        each_image = normalised(pixels, images.mean, images.deviation)
        grouped = each_image.view(members, recipe.batch_size, *pixels.shape[1:]).transpose(0, 1)
        batch = grouped.flatten(1, 2)  # (batch, members * channels, rows, columns)
        with autocast(self.first):
            logits = self.network(batch.contiguous())
        # (batch, members * classes) -> a row an image and member, members first
        rows = logits.float().view(recipe.batch_size, members, -1).transpose(0, 1).flatten(0, 1)
        labels, smoothing = images.labels[chosen], recipe.label_smoothing
        losses = functional.cross_entropy(rows, labels, label_smoothing=smoothing, reduction="none")
        if self.first.teacher is not None:
            with autocast(self.first):
                targets = soft_targets(self.first.teacher, each_image, recipe.distill_temperature)
            losses = torch.lerp(losses, soft_losses(rows, targets, recipe.distill_temperature), recipe.distill_weight)
        each = losses.view(members, -1).mean(1)
        gradients = list(torch.autograd.grad(each.sum(), self.parameters))
        with torch.no_grad():
            self._update(gradients)
            if recipe.average_decay:
                share = self.schedule["shares"].index_select(0, now)
                for kept, value in zip(self.average, self.parts[0], strict=True):
                    kept.add_(share * (value - kept))
            self.schedule["loss"] += each.detach()
            now += 1

    def _update(self, gradients: list[Tensor]) -> None:
        recipe, now = self.recipe, self.schedule["step"]
        rate = self.schedule["rates"].index_select(0, now)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if decay := decay_of(recipe, kernel=parameter.ndim > 1):
                gradient.add_(parameter, alpha=decay)
        if recipe.optimizer == "adam":
            first, second = self.memories
            torch._foreach_lerp_(first, gradients, 1 - recipe.momentum)
            torch._foreach_mul_(second, 0.999)
            torch._foreach_addcmul_(second, gradients, gradients, 1 - 0.999)
            corrections = self.schedule["corrections"].index_select(0, now)[0]
            for parameter, mean, square in zip(self.parameters, first, second, strict=True):
                parameter.sub_(rate / corrections[0] * mean / (square.sqrt() / corrections[1] + 1e-8))
            return
        (momenta,) = self.memories
        torch._foreach_mul_(momenta, recipe.momentum)
        torch._foreach_add_(momenta, gradients)
        directions = torch._foreach_add(gradients, momenta, alpha=recipe.momentum) if recipe.nesterov else momenta
        for parameter, move in zip(self.parameters, directions, strict=True):
            parameter.sub_(rate * move)

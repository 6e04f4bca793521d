"""The training loop: trains a network with a recipe, images and a seed, and keeps the history of epochs.

With equal device, version of torch and number of threads, equal seeds give equal bits. After each epoch the torch
network and its optimizer hold the entire state, so the engine of a run may change.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.data.datasets import Dataset
from harness.spaces.integer_plan import integer_plan
from harness.spaces.network import Architecture, Task
from harness.system import clock
from harness.training import integer, torch_network
from harness.training.native import driver
from harness.training.native.driver import FlatState, NativeProgram
from harness.training.native.engine import Engine
from harness.training.recipe import Precision, Recipe, StepSettings, check_network
from harness.training.result import Epoch, finite
from harness.training.step_graph import StepGraph
from harness.training.torch_network import Images, TorchNetwork, augment, normalised, state_tensors
from harness.training.user_modules.execution import SeededModule

_EVALUATION_BATCH = 500  # images per forward pass
# Images for the final BN statistics: the standard error of a mean is a hundredth of a standard deviation.
_STATISTICS_IMAGES = 10_000
# Fewer images before the last epoch, as more would take up to the time of an epoch.
_PASSING_STATISTICS_IMAGES = 2_000
_SOFT_ERROR_DECIMALS = 6  # stored decimals of soft errors and losses; further decimals differ between processors


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Errors and loss on labelled images.

    Attributes:
        errors: Number of misclassified images.
        soft_errors: Sum over the images of 1 - p, with the softmax probability p of the true class; None if not
            finite, as with a logit that is not a number.
        loss: Mean of -log(p), natural logarithm; None if not finite.
    """

    errors: int
    soft_errors: float | None
    loss: float | None

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Evaluation:
        """Return the evaluation of logits, (n, classes), with labels, int64 (n,); sums in float64."""
        errors = int((logits.argmax(1) != labels).sum())
        # On the CPU, so that equal logits give equal numbers on all devices.
        log_chances = logits.cpu().double().log_softmax(1).gather(1, labels.cpu()[:, None])
        sums = (abs(float(log_chances.expm1().sum())), abs(float(log_chances.mean())))
        soft_errors, loss = (finite(round(number, _SOFT_ERROR_DECIMALS)) for number in sums)
        return cls(errors, soft_errors, loss)


@dataclass(slots=True, eq=False)
class Training:
    """A run in progress: all state on which the next step depends, and the history."""

    architecture: Architecture
    task: Task
    network: TorchNetwork
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # of the order of images, augmentation and dropout, on ``device``
    recipe: Recipe
    device: torch.device
    state: list[Tensor]  # of the network itself, not copies (``state_tensors``)
    rounded_kernels: list[Tensor]  # rounded by each step (``rounded_kernels``)
    step: int = 0  # training steps so far
    seconds: float = 0.0  # so far, without evaluation
    engine: Engine | None = None  # None if torch trains
    native: NativeProgram | None = None  # made at first use
    step_graph: StepGraph | None = None  # recorded on a GPU
    step_graph_of: Images | None = None
    average: list[Tensor] | None = None  # exponential moving average of ``state``; None before averaging begins
    # ``average``, or else ``state``, with rounded weights and recomputed BN statistics; None until ``finish_average``.
    finished_average: list[Tensor] | None = None
    map_scales: Tensor | None = None  # None except at the end of an ``int8`` run
    has_diverged: bool = False  # a loss was not finite, which ends the run
    history: list[Epoch] = field(default_factory=list)

    @property
    def last_loss(self) -> float:
        """Training loss of the last epoch; infinite if the run diverged."""
        loss = self.history[-1].train_loss
        return math.inf if loss is None else loss

    def train(self, images: Images, epochs: int = 1) -> Epoch:
        """Train for a number of epochs, each a pass over ``images``; return the last epoch.

        A loss that is not finite ends the run: ``has_diverged`` is set and the loss of the epoch is None.

        Raises:
            ContentError: There are fewer images than a batch needs.
        """
        recipe = self.recipe
        recipe.check_batch(len(images))
        assert self.task == images.task, "a network trains on images of its task"
        steps = len(images) // recipe.batch_size
        began_seconds = clock.now()
        self.network.train()
        flat = None
        if self.engine is not None:
            native = self._native(self.engine, images)
            # In the number format of the engine: recorded runs must stay reproducible bit for bit.
            recipe = replace(recipe, average_decay=torch.tensor(recipe.average_decay, dtype=native.number_type).item())
            flat = FlatState.of(self.network, self.optimizer, self.average, native.number_type)
            ranges = driver.rounded_ranges(self.network, self.rounded_kernels)
        last_epoch = len(self.history) + epochs
        while len(self.history) < last_epoch and not self.has_diverged:
            order = torch.randperm(len(images), generator=self.generator, device=self.device)
            settings = recipe.epoch_steps(self.step, steps)
            if flat is None:
                loss_sum = self._train_steps(images, order, settings)
            else:
                loss_sum = self._native_steps(images, flat, ranges, order, settings)
            self.end_epoch(loss_sum / steps, settings.rates[-1], clock.now() - began_seconds)
            began_seconds = clock.now()
        if flat is not None:
            flat.restore(self.network, self.optimizer, self.step)
            if self.step >= recipe.first_averaged_step(steps):
                self.average = flat.restored_average(self.network)
        return self.history[-1]

    def end_epoch(self, loss: float, rate: float, seconds: float) -> None:
        """Append an epoch with a mean loss, which may be infinite or not a number, and set ``has_diverged``.

        ``rate`` is the learning rate of the last step, ``seconds`` the training time of the epoch.
        """
        self.seconds += seconds
        self.finished_average = None
        self.has_diverged = not math.isfinite(loss)
        self.history.append(Epoch(len(self.history) + 1, rate, None if self.has_diverged else loss, self.seconds))

    def _native(self, engine: Engine, images: Images) -> NativeProgram:
        # The normalisation is known only with the images.
        if self.native is None:
            self.native = NativeProgram(engine, self.architecture, self.recipe, images)
        return self.native

    def _native_steps(
        self, images: Images, flat: FlatState, ranges: Tensor, order: Tensor, settings: StepSettings
    ) -> float:
        """Train in the native engine, and return the sum of the losses.

        ``flat`` is updated and stays in the engine during several epochs: a copy to the torch network after each epoch
        would take longer than an epoch of a few steps. A step takes the next ``batch_size`` indices of ``order``.
        """
        affine_maps = torch_network.epoch_maps(self.recipe, self.generator, len(settings.rates), self.task)
        assert self.native is not None, "the program of the run has been made"
        self.native.seed_masks(self.generator)
        loss_sum = self.native.train(flat, images, order, affine_maps, settings, self.step, ranges)
        self.step += len(settings.rates)
        return loss_sum

    def _train_steps(self, images: Images, order: Tensor, settings: StepSettings) -> float:
        loss_sum = torch.zeros((), device=self.device)
        size = self.recipe.batch_size
        # Operators of a user's module may wait for the device.
        has_graph = self.device.type == "cuda" and self.architecture.user_module is None
        train_step: Callable[[Tensor, float], Tensor] = partial(self._train_step, images)
        if has_graph:
            train_step = self._step_graph(images)
        for step, (rate, share) in enumerate(zip(settings.rates, settings.shares, strict=True)):
            loss_sum += train_step(order[step * size : (step + 1) * size], rate)
            self.step += 1
            if self.average is not None:
                torch._foreach_lerp_(self.average, self.state, share)
            elif self.step >= settings.first_averaged_step:
                self.average = [tensor.clone() for tensor in self.state]
        # Waits for the device.
        return float(loss_sum)

    def _train_step(self, images: Images, indices: Tensor, rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self._descend(images, indices)

    def _step_graph(self, images: Images) -> StepGraph:
        if self.step_graph is None or self.step_graph_of is not images:
            step = partial(self._descend, images)
            self.step_graph = StepGraph(step, self.optimizer, self.generator, self.recipe.batch_size)
            self.step_graph_of = images
        return self.step_graph

    def _descend(self, images: Images, indices: Tensor) -> Tensor:
        """Do a step of the optimizer on the images at ``indices``; return the loss, a scalar on the device.

        No operation here may wait for the device or copy to the device, because a GPU records this function.
        """
        batch = _batch(images, indices, self.recipe, self.generator)
        labels = images.labels[indices]
        self.optimizer.zero_grad(set_to_none=True)
        with self._rounded_weights():
            with self._autocast():
                logits = self.network(batch)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer.step()
        return loss.detach()

    @contextlib.contextmanager
    def _rounded_weights(self) -> Iterator[None]:
        originals = [weights.detach().clone() for weights in self.rounded_kernels]
        for weights in self.rounded_kernels:
            integer.round_weights(weights, self.recipe.weight_bits)
        try:
            yield
        finally:
            with torch.no_grad():
                for weights, original in zip(self.rounded_kernels, originals, strict=True):
                    weights.copy_(original)

    def finish_average(self, images: Images) -> None:
        """Round the weights and recompute the BN statistics of the average; call before evaluation.

        The statistics come from a sample of the training images, augmented as in the last epoch. The call does not
        affect further training. Without an average yet, only weights of fewer than 8 bits are rounded.
        """
        recomputes_statistics = self.average is not None and self.recipe.average_statistics == "recomputed"
        if self.finished_average is not None or not (recomputes_statistics or self.rounded_kernels):
            return
        with self._holding(self.average or self.state), self._rounded_weights():
            self.finished_average = [tensor.clone() for tensor in self.state]
        if not recomputes_statistics:
            return
        # Evaluation must not affect further training.
        generator = torch.Generator(device=self.device).manual_seed(self.step)
        count = _STATISTICS_IMAGES if len(self.history) == self.recipe.epochs else _PASSING_STATISTICS_IMAGES
        sample = torch.randperm(len(images), generator=generator, device=self.device)[:count]
        index_batches = torch.split(sample, _EVALUATION_BATCH)
        if len(index_batches[-1]) == 1:
            # A batch of one image has no variance if maps are 1x1.
            index_batches = torch.tensor_split(sample, len(index_batches))
        batches = (_batch(images, indices, self.recipe, generator) for indices in index_batches)
        with self._holding(self.finished_average), self._autocast():
            torch_network.recompute_statistics(self.network, batches)
            self.finished_average = [tensor.clone() for tensor in self.state]

    def finish_integers(self, images: Images) -> None:
        """Compute the scales of the integer network from training images, at the end of an ``int8`` run."""
        has_ended = len(self.history) == self.recipe.epochs and not self.has_diverged
        if self.recipe.precision == "int8" and has_ended:
            plan = integer_plan(self.architecture.ops, self.task.input_shape, self.recipe.weight_bits)
            with self._holding(self._predicting_state()):
                self.map_scales = integer.map_scales(self.network.eval(), plan, images).cpu()

    def predictions(self, images: Images) -> Tensor:
        """Return the predicted class of each image, int64 (n,); rules as for ``logits``."""
        return self.logits(images).argmax(1)

    def logits(self, images: Images) -> Tensor:
        """Return the logits of each image, (n, classes), by the averaged weights if the recipe averages.

        An ``int8`` run predicts in fp32 before its end. ``finish_average`` must be called first, and
        ``finish_integers`` at the end.
        """
        if self.map_scales is not None:
            network = integer.integers_of(self.final_network(), self.architecture, images)
            logits = network.logit_scale * integer.integer_logits(network, images.pixels.cpu().numpy())
            return torch.from_numpy(logits).to(images.pixels.device)
        if self.engine is not None:
            return self._native(self.engine, images).predict(self.network, self._predicting_state(), images.pixels)
        batches = []
        with self._holding(self._predicting_state()), torch.inference_mode():
            self.network.eval()
            for first in range(0, len(images), _EVALUATION_BATCH):
                batch = _batch(images, slice(first, first + _EVALUATION_BATCH))
                with self._autocast():
                    batches.append(self.network(batch).float())
        return torch.cat(batches)

    def evaluation(self, images: Images) -> Evaluation:
        """Return the errors and the loss on ``images``; rules as for ``logits``."""
        return Evaluation.of(self.logits(images), images.labels)

    def _predicting_state(self) -> list[Tensor]:
        is_recomputed = self.average is not None and self.recipe.average_statistics == "recomputed"
        is_unfinished = self.finished_average is None and (self.rounded_kernels or is_recomputed)
        assert not is_unfinished, "finish_average must be called before predictions"
        return self.finished_average or self.average or self.state

    def final_network(self) -> TorchNetwork:
        """Return a copy of the network with the weights for predictions, in evaluation mode."""
        with torch.random.fork_rng(devices=[]), self._holding(self._predicting_state()):
            network = torch_network.build(self.architecture, self.task)
            network.load_state_dict(self.network.state_dict())
        if self.map_scales is not None:
            network.register_buffer(integer.MAP_SCALES, self.map_scales)
            if self.rounded_kernels:
                # Only real buffers enter digests and files of weights.
                network.register_buffer(integer.WEIGHT_BITS, torch.tensor(float(self.recipe.weight_bits)))
        return network.eval()

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights and BN statistics for predictions, as 64 hex digits."""
        digest = hashlib.sha256()
        # Evaluation mode may change buffers of a user's module.
        for tensor in state_tensors(self.final_network()):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def checkpoint(self) -> dict[str, Any]:
        """Return the state needed to continue the run, for ``torch.save``."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
            "diverged": self.has_diverged,
            "history": [[getattr(epoch, name) for name in Epoch.__slots__] for epoch in self.history],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Restore the state of ``checkpoint`` in a run that was just made by ``start``."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.average = None if state["average"] is None else [tensor.to(self.device) for tensor in state["average"]]
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.has_diverged = state["diverged"]
        self.history = [Epoch(*values) for values in state["history"]]

    @contextlib.contextmanager
    def _holding(self, state: list[Tensor]) -> Iterator[None]:
        if state is self.state:
            yield
            return
        for module in self.network.ops:
            if isinstance(module, SeededModule):
                module.keep_buffers()
        originals = [tensor.clone() for tensor in self.state]
        with torch.no_grad():
            torch._foreach_copy_(self.state, state)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.state, originals)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.recipe.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def start(
    architecture: Architecture,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    engine: Engine | None = None,
    *,
    task: Task,
) -> Training:
    """Return a new run, independent of the global generator of torch.

    First weights, order of the images and augmentation are the same with and without the native engine; dropout masks
    differ.

    Args:
        engine: Native engine; None to train with torch.

    Raises:
        ContentError, OtherCode, UsageError: The recipe cannot train the network (``check_network``).
    """
    check_network(recipe, architecture, task)
    generator = torch.Generator(device=device).manual_seed(seed)
    network = torch_network.network_on(architecture, task, device, seed=seed, recipe=recipe, generator=generator)
    kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": parameters, "weight_decay": recipe.decay(kernel=parameters is kernels)}
        for parameters in (kernels, vectors)
        if parameters
    ]
    rate = recipe.learning_rate
    momentum = recipe.momentum
    optimizer: torch.optim.Optimizer
    # A fused kernel does the whole step; ``StepGraph`` replaces the learning rate by a tensor.
    is_fused = device.type == "cuda"
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, rate, (momentum, 0.999), foreach=not is_fused, fused=is_fused)
    else:
        nesterov = recipe.nesterov
        optimizer = torch.optim.SGD(groups, rate, momentum, nesterov=nesterov, foreach=not is_fused, fused=is_fused)
    state = state_tensors(network)
    tensors: list[Tensor] = []
    if recipe.precision == "int8":
        tensors = integer.rounded_kernels(network, integer_plan(architecture.ops, task.input_shape, recipe.weight_bits))
    return Training(architecture, task, network, optimizer, generator, recipe, device, state, tensors, engine=engine)


def best_start(first_start: Training, new_start: Callable[[int], Training], images: Images) -> Training:
    """Return the best start of a run by successive halving on the training loss (arXiv 1502.07943).

    The training time of all dropped starts is added to the best start at its last epoch.

    Args:
        first_start: Start 0, untrained.
        new_start: Makes the start with a number from 1 to ``recipe.starts - 1``.

    Raises:
        ContentError: There are fewer images than a batch needs.
    """
    recipe = first_start.recipe
    runs = [first_start, *(new_start(number) for number in range(1, recipe.starts))]
    overhead = 0.0
    # The program holds no state of a run.
    native = None
    for stage in recipe.start_stages(recipe.epochs):
        for run in runs:
            run.native = native
            run.train(images, stage.epochs - len(run.history))
            native = run.native
        runs.sort(key=lambda run: run.last_loss)
        overhead += sum(run.seconds for run in runs[stage.survivors :])
        runs = runs[: stage.survivors]
    best_run = runs[0]
    best_run.seconds += overhead
    best_run.history[-1] = replace(best_run.history[-1], train_seconds=best_run.seconds)
    return best_run


def class_probabilities(
    network: TorchNetwork, architecture: Architecture, pixels: Tensor, images: Images | Dataset, precision: Precision
) -> Tensor:
    """Return the class probabilities of each image, float32 (n, classes), computed by torch on the CPU.

    Args:
        pixels: Images, uint8 (n, channels, rows, columns).
        images: Their mean and standard deviation normalise the pixels.
    """
    if precision == "int8":
        integers = integer.integers_of(network, architecture, images)
        logits = integers.logit_scale * integer.integer_logits(integers, pixels.numpy())
        return torch.from_numpy(logits).float().softmax(1)
    deviation = images.deviation if isinstance(images, Images) else images.std
    parts = torch.split(pixels, _EVALUATION_BATCH)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        outputs = [network(normalised(part.float().div_(255), images.mean, deviation)).float() for part in parts]
    return torch.cat(outputs).softmax(1)


def _batch(
    images: Images, indices: Tensor | slice, recipe: Recipe | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Images are float32 (batch, channels, rows, columns), and augmented if recipe and generator are set."""
    pixels = images.pixels[indices].float().div_(255)
    if recipe is not None and generator is not None:
        pixels = augment(pixels, recipe, generator)
    return normalised(pixels, images.mean, images.deviation).contiguous(memory_format=torch.channels_last)

"""The one training loop: network, recipe, images and seed in; a trained network, its history and its file out.

Nothing here splits data, chooses networks or reads the test set. The same code runs on a CPU and on a GPU; on
one device, with the same torch and the same number of threads, the same seed gives the same bits.

The native engine takes the state of a torch network and some hundreds of steps in one call, and gives the state back.
Between epochs everything lives in the torch network and its optimizer, so that predictions, checkpoints and digests
are the same code whichever engine trains, and a run may change engines at any epoch. It trusts its caller with every
address, so tensors are checked before: a fault there is our own mistake.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import time
import weakref
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from harness.training.integer import MAP_SCALES, integer_logits, integers_of, map_scales
from harness.training.modules import (
    Images,
    Network,
    Teacher,
    augment,
    build,
    epoch_maps,
    network_on,
    normalised,
    recompute_statistics,
    soft_losses,
    soft_targets,
)
from harness.training.native.instruction import Program, program
from harness.training.native.native import Engine, TeacherRow, load, training_row
from harness.training.recipe import Recipe, Steps, check_batch, check_network, decay_of, epoch_steps, recipe_of_epoch
from harness.training.result import Epoch
from search_spaces.deployment import integer_plan
from search_spaces.network import Architecture, Task

_EVALUATION_BATCH = 500
# Steps a call of the native engine: long enough that calls cost nothing, short enough that Ctrl-C does not wait.
_CHUNK = 100
# From these BN statistics are recomputed: they are then known to a hundredth of a deviation. Looks before the end make
# do with fewer, for a look at all of them takes up to an epoch's time.
_STATISTICS_IMAGES = 10_000
_PASSING_STATISTICS_IMAGES = 2_000


@dataclass(slots=True, eq=False)
class Training:
    """A run in progress: everything that the next step depends on."""

    architecture: Architecture
    task: Task
    network: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    recipe: Recipe
    device: torch.device
    state: list[Tensor]
    step: int = 0
    seconds: float = 0.0
    engine: Engine | None = None  # the native engine where it trains
    native: _NativeProgram | None = None  # the network's program there, made at first use
    teacher: Teacher | None = None  # the teacher of the recipe, None where it has none
    average: list[Tensor] | None = None  # exponential, of ``state``; None before it begins
    finished_average: list[Tensor] | None = None  # with BN statistics of its own, where the recipe recomputes them
    map_scales: Tensor | None = None  # of the integers that the run ends with, where the recipe asks for them
    diverged: bool = False  # a loss was not finite; the run is over
    history: list[Epoch] = field(default_factory=list)


def start(
    architecture: Architecture,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    engine: Engine | None = None,
    teacher: Teacher | None = None,
    *,
    task: Task,
) -> Training:
    """Return a run at its beginning; torch's global generator has no part in it.

    With an engine the steps are the native engine's; first weights, the order of the images and their moves are the
    same, masks of dropout are not.

    Raises:
        ContentError: a BN would be given one value a channel in a step.
    """
    check_network(recipe, architecture, task)
    assert (teacher is None) == (not recipe.teacher), "a recipe with a teacher trains with it, and no other one does"
    generator = torch.Generator(device=device).manual_seed(seed)
    network = network_on(architecture, task, device, seed=seed, recipe=recipe, generator=generator)
    kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": parameters, "weight_decay": decay_of(recipe, kernel=parameters is kernels)}
        for parameters in (kernels, others)
        if parameters
    ]
    rate, momentum = recipe.learning_rate, recipe.momentum
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, rate, (momentum, 0.999), foreach=True)
    else:
        optimizer = torch.optim.SGD(groups, rate, momentum, nesterov=recipe.nesterov, foreach=True)
    state = state_tensors(network)
    return Training(
        architecture, task, network, optimizer, generator, recipe, device, state, engine=engine, teacher=teacher
    )


def train_epoch(run: Training, images: Images) -> Epoch:
    """Train for one pass over ``images`` and append it to the history.

    A loss that is not finite ends the run: ``diverged`` is set and the epoch's loss is None.

    Raises:
        ContentError: there are fewer images than a batch takes.
    """
    recipe = run.recipe
    check_batch(recipe, len(images))
    assert run.task == images.task, "a network trains on images of its task"
    steps = len(images) // recipe.batch_size
    began = time.perf_counter()
    run.network.train()
    order = torch.randperm(len(images), generator=run.generator, device=run.device)
    if run.engine is None:
        moving = epoch_steps(recipe, run.step, steps)
        loss = _train_steps(run, images, order, moving)
    else:
        # The decay of the average as the engine's numbers hold it: its records were made so.
        decay = torch.tensor(recipe.average_decay, dtype=torch.float64 if run.engine.double else torch.float32).item()
        moving = epoch_steps(replace(recipe, average_decay=decay), run.step, steps)
        loss = _native(run, run.engine, images).train(run, images, order, moving)
    return end_epoch(run, loss / steps, moving.rates[-1], time.perf_counter() - began)


def end_epoch(run: Training, loss: float, rate: float, seconds: float) -> Epoch:
    """Append an epoch to the history: its mean loss, its last rate, the seconds that it took; return it."""
    run.seconds += seconds
    run.finished_average = None
    run.diverged = not math.isfinite(loss)
    run.history.append(Epoch(len(run.history) + 1, rate, None if run.diverged else loss, run.seconds))
    return run.history[-1]


def _native(run: Training, engine: Engine, images: Images) -> _NativeProgram:
    # Made at first use: only images know how they are normalised.
    if run.native is None:
        run.native = _NativeProgram(engine, run.architecture, run.recipe, images, run.teacher)
    return run.native


def _train_steps(run: Training, images: Images, order: Tensor, moving: Steps) -> float:
    total = torch.zeros((), device=run.device)
    size = run.recipe.batch_size
    temperature = run.recipe.distill_temperature
    moves = recipe_of_epoch(run.recipe, len(run.history))
    for step, (rate, share) in enumerate(zip(moving.rates, moving.shares, strict=True)):
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        indices = order[step * size : (step + 1) * size]
        batch = _batch(images, indices, moves, run.generator)
        labels = images.labels[indices]
        with _autocast(run):
            logits = run.network(batch)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=run.recipe.label_smoothing)
        if run.teacher is not None:
            with _autocast(run):
                targets = soft_targets(run.teacher, batch, temperature)
            soft = soft_losses(logits.float(), targets, temperature).mean()
            loss = torch.lerp(loss, soft, run.recipe.distill_weight)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        run.optimizer.step()
        total += loss.detach()
        run.step += 1
        if run.average is not None:
            torch._foreach_lerp_(run.average, run.state, share)
        elif run.step >= moving.first_averaged:
            run.average = [tensor.clone() for tensor in run.state]
    # Reading the sum waits for the device: once an epoch, not once a step.
    return float(total)


class _NativeProgram:
    # A network's program and its teachers', with the engine's buffers for a batch; they are freed with this object.

    def __init__(
        self, engine: Engine, architecture: Architecture, recipe: Recipe, images: Images, teacher: Teacher | None = None
    ) -> None:
        self.engine = engine
        self.recipe = recipe
        self.task = images.task
        self.real = torch.float64 if engine.double else torch.float32
        self.program = program(architecture, self.task.input_shape)
        self.pointer = self._opened(self.program, images)
        adam = int(recipe.optimizer == "adam")
        nesterov = int(recipe.nesterov)
        self.row = training_row(double=engine.double)(adam, nesterov, recipe.momentum, recipe.label_smoothing)
        # L2 coefficients, (parameter_count,). A network may have no parameters.
        decays = [torch.full((size,), decay_of(recipe, kernel=kernel)) for size, kernel in self.program.parameters]
        self.decay = torch.cat([*decays, torch.empty(0)]).to(self.real)
        self.teacher: Any = None
        if teacher is not None:
            taught = self._opened(program(teacher.architecture, self.task.input_shape), images)
            # (teachers, state_size); kept, because the engine reads them at every step.
            self.taught = torch.stack([_flat(_engine_tensors(network), self.real) for network in teacher.networks])
            count, size = self.taught.shape
            shares = recipe.distill_weight, recipe.distill_temperature
            self.teacher = ctypes.byref(TeacherRow(taught, self.taught.data_ptr(), size, count, *shares))

    def _opened(self, flat: Program, images: Images) -> int:
        real = np.float64 if self.engine.double else np.float32
        mean, deviation = (np.array(values, dtype=real) for values in (images.mean, images.deviation))
        values = np.array([astuple(row) for row in flat.values], dtype=np.int32)
        instructions = np.array([astuple(row) for row in flat.instructions], dtype=np.int32)
        pointer: int | None = self.engine.library.engine_new(
            *(values.ctypes.data, len(values), instructions.ctypes.data, len(instructions)),
            *(self.recipe.batch_size, flat.state_size, flat.parameter_count),
            *(mean.ctypes.data, deviation.ctypes.data, int(self.recipe.precision == "bf16")),
        )
        if not pointer:
            raise MemoryError(f"no memory for a batch of {self.recipe.batch_size}")
        weakref.finalize(self, self.engine.library.engine_free, pointer)
        return pointer

    def train(self, run: Training, images: Images, order: Tensor, moving: Steps) -> float:
        """Take these steps of a run with the images in this order; return the sum of their losses."""
        batch = self.recipe.batch_size
        steps = len(moving.rates)
        library = self.engine.library
        _check_images(images.pixels, images.labels, self.task)
        _check("order", order[: steps * batch], torch.int64, (steps * batch,), len(images))
        maps = epoch_maps(recipe_of_epoch(self.recipe, len(run.history)), run.generator, steps, self.task)
        # A network without dropout draws nothing for its masks.
        if any(item.dropout for item in self.program.instructions):
            library.engine_seed(self.pointer, int(torch.randint(2**62, (), generator=run.generator, dtype=torch.int64)))
        # The engine changes them in place. SGD has one memory, and the engine then reads no second.
        parts = _flat_parts(run, self.real)
        state, average, *memories = parts
        assert state.numel() == self.program.state_size, "the network is not that of the program"
        rates, shares = torch.tensor([moving.rates, moving.shares], dtype=self.real)
        loss = 0.0
        for first in range(0, steps, _CHUNK):
            span = slice(first, min(first + _CHUNK, steps))
            positions = slice(first * batch, span.stop * batch)
            chunk_maps = None if maps is None else maps[positions]
            tensors = images.pixels, images.labels, order[positions], chunk_maps, rates[span], shares[span]
            loss += library.engine_train(
                self.pointer,
                *(None if each is None else each.data_ptr() for each in tensors),
                *(span.stop - first, run.step + first, ctypes.byref(self.row), self.decay.data_ptr()),
                self.program.state_size,
                *(each.data_ptr() for each in (state, memories[0], memories[-1], average)),
                self.teacher,
            )
        _restore(run, parts, moving)
        return loss

    def predict(self, network: nn.Module, tensors: list[Tensor], pixels: Tensor) -> Tensor:
        """Return the predicted class of each image, int64 (n,), with a state in the order of ``state_tensors``."""
        _check("pixels", pixels, torch.uint8, (len(pixels), *self.task.input_shape))
        state = _flat(_in_order(network, tensors), self.real)
        assert state.numel() == self.program.state_size, "the network is not that of the program"
        classes = torch.empty(len(pixels), dtype=torch.int64)
        addresses = state.data_ptr(), classes.data_ptr()
        self.engine.library.engine_predict(self.pointer, pixels.data_ptr(), len(pixels), *addresses)
        return classes


def measured_latency(architecture: Architecture, task: Task, repeats: int = 200) -> float:
    """Return the microseconds that the native engine takes for one image on one core, the least of so many.

    Weights are random; the image is too.

    Raises:
        EngineUnavailable: there is no engine here, or it has no kernel for an op.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, *task.input_shape), dtype=torch.uint8, generator=generator)
    even = (0.5,) * task.input_shape[0]
    images = Images(pixels, torch.zeros(1, dtype=torch.int64), even, even, task.classes)
    native = _NativeProgram(load(), architecture, Recipe(batch_size=1), images)
    state = torch.rand(native.program.state_size, generator=generator)
    classes = torch.empty(1, dtype=torch.int64)
    arguments = native.pointer, pixels.data_ptr(), 1, state.data_ptr(), classes.data_ptr()
    least = math.inf
    for _ in range(repeats):
        before = time.perf_counter()
        native.engine.library.engine_predict(*arguments)
        least = min(least, time.perf_counter() - before)
    return 1e6 * least


def _check(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...], limit: int | None = None) -> None:
    """Raise AssertionError unless a tensor lies as the engine reads it, with numbers from 0 to below the limit."""
    if tensor.dtype is not dtype or tensor.shape != shape or not tensor.is_contiguous() or tensor.device.type != "cpu":
        layout = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, contiguous {tensor.is_contiguous()}"
        raise AssertionError(f"the {name}: {layout}; the engine reads contiguous {dtype} {shape} on cpu")
    if limit is not None and (int(tensor.min()) < 0 or int(tensor.max()) >= limit):
        raise AssertionError(f"the {name}: numbers below 0 or from {limit} on; the engine reads none of them")


def _check_images(pixels: Tensor, labels: Tensor, task: Task) -> None:
    _check("pixels", pixels, torch.uint8, (len(labels), *task.input_shape))
    _check("labels", labels, torch.int64, (len(labels),), task.classes)


def _engine_tensors(network: nn.Module) -> list[Tensor]:
    # Parameters, each once, then means and variances, in the order of the engine's state.
    return [*network.parameters(), *(tensor for tensor in network.buffers() if tensor.is_floating_point())]


def _flat(tensors: list[Tensor], real: torch.dtype) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).to(real)


def _in_order(network: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    # What stands for ``state_tensors``, as averages do, in the order of ``_engine_tensors``.
    named = dict(zip((tensor.data_ptr() for tensor in state_tensors(network)), tensors, strict=True))
    return [named[tensor.data_ptr()] for tensor in _engine_tensors(network)]


def _memories(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    # What an optimizer remembers of each parameter, by torch's names.
    return ("exp_avg", "exp_avg_sq") if isinstance(optimizer, torch.optim.Adam) else ("momentum_buffer",)


def _flat_parts(run: Training, real: torch.dtype) -> list[Tensor]:
    """Return the state of a run, its average, (state_size,), and each memory of its optimizer, (parameter_count,).

    An average that has not begun is the state; memories are zeros before the first step.
    """
    parts = [_engine_tensors(run.network), _in_order(run.network, run.average or run.state)]
    for name in _memories(run.optimizer):
        pairs = [(each, run.optimizer.state.get(each, {}).get(name)) for each in run.network.parameters()]
        parts.append([torch.zeros_like(parameter) if value is None else value for parameter, value in pairs])
    return [_flat(part, real) for part in parts]


def _restore(run: Training, parts: list[Tensor], moving: Steps) -> None:
    """Copy ``_flat_parts`` back into a run that has taken these steps, as torch would have left it."""
    state, average, *memories = parts
    tensors, optimizer = _engine_tensors(run.network), run.optimizer
    sizes = [tensor.numel() for tensor in tensors]
    run.step += len(moving.rates)
    with torch.no_grad():
        for tensor, part in zip(tensors, torch.split(state, sizes), strict=True):
            tensor.copy_(part.view(tensor.shape))
    parameters = list(run.network.parameters())
    for name, memory in zip(_memories(optimizer), memories, strict=True):
        for parameter, part in zip(parameters, torch.split(memory, sizes[: len(parameters)]), strict=True):
            optimizer.state[parameter][name] = part.view(parameter.shape).to(parameter.dtype).clone()
    if isinstance(optimizer, torch.optim.Adam):
        for parameter in parameters:
            optimizer.state[parameter]["step"] = torch.tensor(float(run.step))
    if run.step >= moving.first_averaged:
        parts = [part.view(tensor.shape) for tensor, part in zip(tensors, torch.split(average, sizes), strict=True)]
        named = dict(zip((tensor.data_ptr() for tensor in tensors), parts, strict=True))
        run.average = [named[tensor.data_ptr()].to(tensor.dtype).clone() for tensor in run.state]


def state_tensors(network: nn.Module) -> list[Tensor]:
    """Return all floating tensors of a network's state; a tied kernel comes once a user."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def finish_average(run: Training, images: Images) -> None:
    """Make an average ready to predict, after training and before looking: nothing to do for most recipes.

    Where the recipe recomputes BN statistics, they are those of training images, moved as in the last epoch. What is
    trained further does not change by it.
    """
    recomputed = run.recipe.average_statistics == "recomputed"
    if run.average is None or run.finished_average is not None or not recomputed:
        return
    # A generator of its own: looking at a run must not change how it goes on.
    generator = torch.Generator(device=run.device).manual_seed(run.step)
    count = _STATISTICS_IMAGES if len(run.history) == run.recipe.epochs else _PASSING_STATISTICS_IMAGES
    chosen = torch.randperm(len(images), generator=generator, device=run.device)[:count]
    moves = recipe_of_epoch(run.recipe, len(run.history) - 1)
    parts = torch.split(chosen, _EVALUATION_BATCH)
    if len(parts[-1]) == 1:
        # One image has no variance where maps are 1x1.
        parts = torch.tensor_split(chosen, len(parts))
    batches = (_batch(images, part, moves, generator) for part in parts)
    with _holding(run, run.average), _autocast(run):
        recompute_statistics(run.network, batches)
        run.finished_average = [tensor.clone() for tensor in run.state]


def finish_integers(run: Training, images: Images) -> None:
    """Take the scales of the integers from training images, at the end of a run whose recipe asks for integers."""
    has_ended = len(run.history) == run.recipe.epochs and not run.diverged
    if run.recipe.precision == "int8" and has_ended:
        plan = integer_plan(run.architecture.ops, run.task.input_shape)
        with _holding(run, predicting_state(run)):
            run.map_scales = map_scales(run.network.eval(), plan, images).cpu()


def predictions(run: Training, images: Images) -> Tensor:
    """Return the predicted class of each image, int64 (n,), by the averaged weights where the recipe averages.

    One forward pass an image, without augmentation, in the recipe's precision; before the end of a run that ends with
    integers, in fp32.
    """
    if run.map_scales is not None:
        network = integers_of(final_network(run), run.architecture, images)
        return torch.from_numpy(integer_logits(network, images.pixels.cpu().numpy()).argmax(1)).to(images.pixels.device)
    if run.engine is not None:
        return _native(run, run.engine, images).predict(run.network, predicting_state(run), images.pixels)
    logits = []
    with _holding(run, predicting_state(run)), torch.inference_mode():
        run.network.eval()
        for first in range(0, len(images), _EVALUATION_BATCH):
            batch = _batch(images, slice(first, first + _EVALUATION_BATCH))
            with _autocast(run):
                logits.append(run.network(batch).float())
    return torch.cat(logits).argmax(1)


def count_errors(run: Training, images: Images) -> int:
    """Return how many of the images are classed wrongly."""
    return int((predictions(run, images) != images.labels).sum())


def predicting_state(run: Training) -> list[Tensor]:
    """Return the weights that predict, with BN statistics: the averaged ones where there are some."""
    averaged = run.recipe.average_statistics == "averaged"
    assert run.average is None or run.finished_average is not None or averaged, "finish_average comes before a look"
    return run.finished_average or run.average or run.state


def final_network(run: Training) -> Network:
    """Return a copy of the network that predicts, in evaluation mode: averaged where the recipe averages."""
    with torch.random.fork_rng(devices=[]), _holding(run, predicting_state(run)):
        network = build(run.architecture, run.task)
        network.load_state_dict(run.network.state_dict())
    if run.map_scales is not None:
        network.register_buffer(MAP_SCALES, run.map_scales)
    return network.eval()


def weights_digest(run: Training) -> str:
    """Return the SHA-256 of the weights that predict, with BN statistics, as 64 hex digits."""
    digest = hashlib.sha256()
    scales = [] if run.map_scales is None else [run.map_scales]
    for tensor in (*scales, *predicting_state(run)):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def checkpoint(run: Training) -> dict[str, Any]:
    """Return everything needed to go on from here, for ``torch.save``."""
    return {
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "generator": run.generator.get_state(),
        "average": run.average,
        "step": run.step,
        "seconds": run.seconds,
        "diverged": run.diverged,
        "history": [[getattr(epoch, name) for name in Epoch.__slots__] for epoch in run.history],
    }


def resume(run: Training, saved: dict[str, Any]) -> None:
    """Bring a run that ``start`` has just made to where ``checkpoint`` was taken."""
    run.network.load_state_dict(saved["network"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.generator.set_state(saved["generator"].cpu())
    run.average = None if saved["average"] is None else [tensor.to(run.device) for tensor in saved["average"]]
    run.step = saved["step"]
    run.seconds = saved["seconds"]
    run.diverged = saved["diverged"]
    run.history = [Epoch(*values) for values in saved["history"]]


def _batch(
    images: Images, chosen: Tensor | slice, moves: Recipe | None = None, generator: torch.Generator | None = None
) -> Tensor:
    pixels = images.pixels[chosen].float().div_(255)
    if moves is not None and generator is not None:
        pixels = augment(pixels, moves, generator)
    return normalised(pixels, images.mean, images.deviation).contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def _holding(run: Training, state: list[Tensor]) -> Iterator[None]:
    # It puts these weights and statistics into the network for the block.
    if state is run.state:
        yield
        return
    originals = [tensor.clone() for tensor in run.state]
    with torch.no_grad():
        torch._foreach_copy_(run.state, state)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(run.state, originals)


def _autocast(run: Training) -> contextlib.AbstractContextManager[object]:
    if run.recipe.precision != "bf16":
        return contextlib.nullcontext()
    return torch.autocast(run.device.type, dtype=torch.bfloat16)

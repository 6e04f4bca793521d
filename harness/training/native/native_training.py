"""Training on the native engine: the state of a torch network in, some hundreds of steps in one call, the state out.

Between epochs everything lives in the torch network and its optimizer, so that predictions, checkpoints and digests
are the same code whichever engine trains, and a run may change engines at any epoch.

The engine trusts its caller with every address, so tensors are checked before: a fault there is our own mistake.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.training.modules import Network
from harness.training.native.native import Engine, TeacherRow, training_row
from harness.training.native.program import Program, program, rows
from harness.training.recipe import Optimizer, Precision, Recipe, decay_of, first_averaged_step, recipe_of_epoch
from harness.training.steps import Images, Steps, Teacher, epoch_maps
from search_spaces.network import Architecture, Task

# Steps a call: long enough that calls cost nothing, short enough that Ctrl-C and a progress bar do not wait.
_CHUNK = 100


class _Trained(Protocol):
    # Of a ``Training``, which is declared above the engine.
    network: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int
    average: list[Tensor] | None

    @property
    def history(self) -> Sized:
        """The epochs that have ended."""


@dataclass(frozen=True, slots=True)
class NativeProgram:
    """A network's program with the engine's buffers; they are freed with this object.

    Attributes:
        row: what the engine reads of the recipe.
        decay: L2 coefficient of each parameter, (parameter_count,).
        teacher: what the engine reads of the teachers of the recipe, None where it has none; it points to ``kept``.
    """

    engine: Engine
    program: Program
    task: Task
    recipe: Recipe
    handle: _Handle
    row: ctypes.Structure
    decay: Tensor
    teacher: Any = None
    kept: tuple[object, ...] = ()


class _Handle:  # owns an object of the engine
    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self.pointer = pointer
        weakref.finalize(self, library.engine_free, pointer)


def open_program(
    engine: Engine, architecture: Architecture, recipe: Recipe, images: Images, teacher: Teacher | None = None
) -> NativeProgram:
    """Return the program of a network for these images and that of its teacher, their buffers allocated.

    Raises:
        MemoryError: the buffers of a batch do not fit into memory.
    """
    task, real = images.task, _real(engine)
    flat = program(architecture, task.input_shape)
    handle = _opened(engine, flat, recipe, images)
    adam, nesterov = int(recipe.optimizer is Optimizer.ADAM), int(recipe.nesterov)
    row = training_row(double=engine.double)(adam, nesterov, recipe.momentum, recipe.label_smoothing)
    # A network may have no parameters.
    decays = [torch.full((size,), decay_of(recipe, kernel=kernel)) for size, kernel in flat.parameters]
    decay = torch.cat([*decays, torch.empty(0)]).to(real)
    if teacher is None:
        return NativeProgram(engine, flat, task, recipe, handle, row, decay)
    taught = _opened(engine, program(teacher.architecture, task.input_shape), recipe, images)
    states = torch.stack([flat_state(network, real) for network in teacher.networks])  # (teachers, state_size)
    count, size = states.shape
    weight, temperature = recipe.distill_weight, recipe.distill_temperature
    teachers = ctypes.byref(TeacherRow(taught.pointer, states.data_ptr(), size, count, weight, temperature))
    return NativeProgram(engine, flat, task, recipe, handle, row, decay, teachers, (taught, states))


def _opened(engine: Engine, flat: Program, recipe: Recipe, images: Images) -> _Handle:
    real = np.float64 if engine.double else np.float32
    mean, deviation = (np.array(values, dtype=real) for values in (images.mean, images.deviation))
    values = np.array(rows(flat.values), dtype=np.int32)
    instructions = np.array(rows(flat.instructions), dtype=np.int32)
    code = values.ctypes.data, len(flat.values), instructions.ctypes.data, len(flat.instructions)
    sizes = recipe.batch_size, flat.state_size, flat.parameter_count
    in_pairs = int(recipe.precision is Precision.BF16)
    pointer = engine.library.engine_new(*code, *sizes, mean.ctypes.data, deviation.ctypes.data, in_pairs)
    if not pointer:
        raise MemoryError(f"no memory for a batch of {recipe.batch_size}")
    return _Handle(engine.library, pointer)


def train_steps(
    native: NativeProgram,
    run: _Trained,
    images: Images,
    order: Tensor,
    moving: Steps,
    on_step: Callable[[], None] | None = None,
) -> float:
    """Take these steps of a run and return the sum of their losses; the run's tensors hold what came of them.

    Args:
        order: indices of the images, at least steps * batch of them.
    """
    recipe, steps = native.recipe, len(moving.rates)
    _check_images(images.pixels, images.labels, native.task)
    _check("order", order[: steps * recipe.batch_size], torch.int64, (steps * recipe.batch_size,), len(images))
    maps = epoch_maps(recipe_of_epoch(recipe, len(run.history)), run.generator, steps, native.task)
    # A network without dropout draws nothing for its masks.
    if any(item.dropout for item in native.program.instructions):
        seed = torch.randint(2**62, (), generator=run.generator, dtype=torch.int64)
        native.engine.library.engine_seed(native.handle.pointer, int(seed))
    real = _real(native.engine)
    # Flat, in the engine's order; the engine changes them in place.
    state = flat_state(run.network, real)
    assert state.numel() == native.program.state_size, "the network is not that of the program"
    # SGD has one kind, and the engine then reads no second.
    memory = flat_optimizer_state(run.network, run.optimizer, real)
    # Of no meaning before averaging begins.
    averaged = torch.empty_like(state) if run.average is None else flat_of(run.network, run.average, real)
    rates, shares = torch.tensor([moving.rates, moving.shares], dtype=real)
    loss = 0.0
    for first in range(0, steps, _CHUNK):
        taken = slice(first, min(first + _CHUNK, steps))
        count = taken.stop - first
        chosen = slice(first * recipe.batch_size, taken.stop * recipe.batch_size)
        moved = None if maps is None else maps[chosen]
        read = images.pixels, images.labels, order[chosen], moved, rates[taken], shares[taken]
        changed = state, memory[0], memory[-1], averaged
        loss += native.engine.library.engine_train(
            native.handle.pointer,
            *(None if each is None else each.data_ptr() for each in read),
            *(count, run.step, ctypes.byref(native.row), native.decay.data_ptr(), native.program.state_size),
            *(each.data_ptr() for each in changed),
            native.teacher,
        )
        run.step += count
        if on_step is not None:
            for _ in range(count):
                on_step()
    restore(run.network, state)
    restore_optimizer(run.network, run.optimizer, memory, run.step)
    if recipe.average_decay > 0 and run.step >= max(1, first_averaged_step(recipe, steps)):
        run.average = average_tensors(run.network, averaged)
    return loss


def predict(native: NativeProgram, network: nn.Module, tensors: list[Tensor], pixels: Tensor) -> Tensor:
    """Return the class said for each image, int64 (n,), with a state in the order of ``state_tensors``."""
    _check("pixels", pixels, torch.uint8, (len(pixels), *native.task.input_shape))
    state = flat_of(network, tensors, _real(native.engine))
    assert state.numel() == native.program.state_size, "the network is not that of the program"
    predicted = torch.empty(len(pixels), dtype=torch.int64)
    into = len(pixels), state.data_ptr(), predicted.data_ptr()
    native.engine.library.engine_predict(native.handle.pointer, pixels.data_ptr(), *into)
    return predicted


def _real(engine: Engine) -> torch.dtype:
    return torch.float64 if engine.double else torch.float32


def _check(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...], limit: int | None = None) -> None:
    """Raise AssertionError unless a tensor lies as the engine reads it, with numbers from 0 to below the limit."""
    if tensor.dtype is not dtype or tensor.shape != shape or not tensor.is_contiguous() or tensor.device.type != "cpu":
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, contiguous {tensor.is_contiguous()}"
        raise AssertionError(f"the {name}: {found}; the engine reads contiguous {dtype} {shape} on cpu")
    if limit is not None and (int(tensor.min()) < 0 or int(tensor.max()) >= limit):
        raise AssertionError(f"the {name}: numbers below 0 or from {limit} on; the engine reads none of them")


def _check_images(pixels: Tensor, labels: Tensor, task: Task) -> None:
    _check("pixels", pixels, torch.uint8, (len(labels), *task.input_shape))
    _check("labels", labels, torch.int64, (len(labels),), task.classes)


def engine_tensors(network: nn.Module) -> list[Tensor]:
    """Return parameters, each once, then means and variances, in the order of the engine's state."""
    return [*network.parameters(), *(tensor for tensor in network.buffers() if tensor.is_floating_point())]


def flat_state(network: nn.Module, real: torch.dtype) -> Tensor:
    """Return a network's own state, (state_size,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in engine_tensors(network)]).to(real)


def _parts(network: nn.Module, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
    tensors = engine_tensors(network)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [(tensor, part.view(tensor.shape)) for tensor, part in zip(tensors, parts, strict=True)]


def restore(network: nn.Module, state: Tensor) -> None:
    """Copy a flat state back into the network."""
    with torch.no_grad():
        for tensor, part in _parts(network, state):
            tensor.copy_(part)


def flat_of(network: nn.Module, tensors: list[Tensor], real: torch.dtype) -> Tensor:
    """Return as a flat state the tensors that stand for those of ``state_tensors``, as averages do."""
    named = dict(zip((tensor.data_ptr() for tensor in state_tensors(network)), tensors, strict=True))
    return torch.cat([named[tensor.data_ptr()].reshape(-1) for tensor in engine_tensors(network)]).to(real)


def average_tensors(network: nn.Module, flat: Tensor) -> list[Tensor]:
    """Return the parts of a flat state in the order of ``state_tensors``, each a tensor of its own."""
    named = {tensor.data_ptr(): part for tensor, part in _parts(network, flat)}
    return [named[tensor.data_ptr()].to(tensor.dtype).clone() for tensor in state_tensors(network)]


def state_tensors(network: nn.Module) -> list[Tensor]:
    """Return all floating tensors of a network's state; a tied kernel comes once a user."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def memories_of(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Return what an optimizer remembers of each parameter, by torch's names."""
    return ("exp_avg", "exp_avg_sq") if isinstance(optimizer, torch.optim.Adam) else ("momentum_buffer",)


def flat_optimizer_state(network: nn.Module, optimizer: torch.optim.Optimizer, real: torch.dtype) -> list[Tensor]:
    """Return each kind of state that the optimizer keeps, flat, (parameter_count,); zeros before the first step."""
    found = []
    for name in memories_of(optimizer):
        kept = [(parameter, optimizer.state.get(parameter, {}).get(name)) for parameter in network.parameters()]
        parts = [torch.zeros_like(parameter) if value is None else value for parameter, value in kept]
        found.append(torch.cat([part.detach().reshape(-1) for part in parts]).to(real))
    return found


def restore_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer, memories: list[Tensor], steps: int) -> None:
    """Copy flat state back into the optimizer, as torch leaves it after so many steps."""
    parameters = list(network.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    for name, memory in zip(memories_of(optimizer), memories, strict=True):
        for parameter, part in zip(parameters, torch.split(memory, sizes), strict=True):
            optimizer.state[parameter][name] = part.view(parameter.shape).to(parameter.dtype).clone()
    if isinstance(optimizer, torch.optim.Adam):
        for parameter in parameters:
            optimizer.state[parameter]["step"] = torch.tensor(float(steps))

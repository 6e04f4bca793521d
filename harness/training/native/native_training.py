"""Training on the native engine: the state of a torch network in, some hundreds of steps in one call, the state out.

Between epochs everything lives in the torch network and its optimizer, so that predictions, checkpoints and digests
are the same code whichever engine trains, and a run may change engines at any epoch.

The engine trusts its caller with every address, so tensors are checked before: a fault there is our own mistake.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.training.modules import Images, Teacher, epoch_maps
from harness.training.native.instruction import Program, program
from harness.training.native.native import Engine, TeacherRow, training_row
from harness.training.recipe import Optimizer, Precision, Recipe, Steps, decay_of, recipe_of_epoch
from search_spaces.network import Architecture, Task

if TYPE_CHECKING:
    from harness.training.train import Training

# Steps a call: long enough that calls cost nothing, short enough that Ctrl-C does not wait.
_CHUNK = 100


class NativeProgram:
    """A network's program and its teachers', with the engine's buffers for a batch; they are freed with this object.

    Raises:
        MemoryError: the buffers of a batch do not fit into memory.
    """

    def __init__(
        self, engine: Engine, architecture: Architecture, recipe: Recipe, images: Images, teacher: Teacher | None = None
    ) -> None:
        self.engine, self.recipe, self.task = engine, recipe, images.task
        self.real = torch.float64 if engine.double else torch.float32
        self.program = program(architecture, self.task.input_shape)
        self.pointer = self._opened(self.program, images)
        adam, nesterov = int(recipe.optimizer is Optimizer.ADAM), int(recipe.nesterov)
        self.row = training_row(double=engine.double)(adam, nesterov, recipe.momentum, recipe.label_smoothing)
        # L2 coefficients, (parameter_count,). A network may have no parameters.
        decays = [torch.full((size,), decay_of(recipe, kernel=kernel)) for size, kernel in self.program.parameters]
        self.decay = torch.cat([*decays, torch.empty(0)]).to(self.real)
        self.teacher: Any = None
        if teacher is not None:
            taught = self._opened(program(teacher.architecture, self.task.input_shape), images)
            # (teachers, state_size); kept, because the engine reads them at every step.
            self.taught = torch.stack([_flat(engine_tensors(network), self.real) for network in teacher.networks])
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
            *(mean.ctypes.data, deviation.ctypes.data, int(self.recipe.precision is Precision.BF16)),
        )
        if not pointer:
            raise MemoryError(f"no memory for a batch of {self.recipe.batch_size}")
        weakref.finalize(self, self.engine.library.engine_free, pointer)
        return pointer

    def train(self, run: Training, images: Images, order: Tensor, moving: Steps) -> float:
        """Take these steps of a run and return the sum of their losses; the run's tensors hold what came of them.

        Args:
            order: indices of the images, at least steps * batch of them.
        """
        batch, steps, library = self.recipe.batch_size, len(moving.rates), self.engine.library
        _check_images(images.pixels, images.labels, self.task)
        _check("order", order[: steps * batch], torch.int64, (steps * batch,), len(images))
        maps = epoch_maps(recipe_of_epoch(self.recipe, len(run.history)), run.generator, steps, self.task)
        # A network without dropout draws nothing for its masks.
        if any(item.dropout for item in self.program.instructions):
            library.engine_seed(self.pointer, int(torch.randint(2**62, (), generator=run.generator, dtype=torch.int64)))
        # The engine changes them in place. SGD has one memory, and the engine then reads no second.
        parts = flat_parts(run, self.real)
        state, average, *memories = parts
        assert state.numel() == self.program.state_size, "the network is not that of the program"
        rates, shares = torch.tensor([moving.rates, moving.shares], dtype=self.real)
        loss = 0.0
        for first in range(0, steps, _CHUNK):
            taken = slice(first, min(first + _CHUNK, steps))
            chosen = slice(first * batch, taken.stop * batch)
            moved = None if maps is None else maps[chosen]
            read = images.pixels, images.labels, order[chosen], moved, rates[taken], shares[taken]
            loss += library.engine_train(
                self.pointer,
                *(None if each is None else each.data_ptr() for each in read),
                *(taken.stop - first, run.step + first, ctypes.byref(self.row), self.decay.data_ptr()),
                self.program.state_size,
                *(each.data_ptr() for each in (state, memories[0], memories[-1], average)),
                self.teacher,
            )
        restore(run, parts, moving)
        return loss

    def predict(self, network: nn.Module, tensors: list[Tensor], pixels: Tensor) -> Tensor:
        """Return the class said for each image, int64 (n,), with a state in the order of ``state_tensors``."""
        _check("pixels", pixels, torch.uint8, (len(pixels), *self.task.input_shape))
        state = _flat(_in_order(network, tensors), self.real)
        assert state.numel() == self.program.state_size, "the network is not that of the program"
        said = torch.empty(len(pixels), dtype=torch.int64)
        into = len(pixels), state.data_ptr(), said.data_ptr()
        self.engine.library.engine_predict(self.pointer, pixels.data_ptr(), *into)
        return said


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


def state_tensors(network: nn.Module) -> list[Tensor]:
    """Return all floating tensors of a network's state; a tied kernel comes once a user."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def _flat(tensors: list[Tensor], real: torch.dtype) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).to(real)


def _in_order(network: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    # What stands for ``state_tensors``, as averages do, in the order of ``engine_tensors``.
    named = dict(zip((tensor.data_ptr() for tensor in state_tensors(network)), tensors, strict=True))
    return [named[tensor.data_ptr()] for tensor in engine_tensors(network)]


def _memories(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    # What an optimizer remembers of each parameter, by torch's names.
    return ("exp_avg", "exp_avg_sq") if isinstance(optimizer, torch.optim.Adam) else ("momentum_buffer",)


def flat_parts(run: Training, real: torch.dtype) -> list[Tensor]:
    """Return the state of a run, its average, (state_size,), and each memory of its optimizer, (parameter_count,).

    An average that has not begun is the state; memories are zeros before the first step.
    """
    parts = [engine_tensors(run.network), _in_order(run.network, run.average or run.state)]
    for name in _memories(run.optimizer):
        kept = [(parameter, run.optimizer.state.get(parameter, {}).get(name)) for parameter in run.network.parameters()]
        parts.append([torch.zeros_like(parameter) if value is None else value for parameter, value in kept])
    return [_flat(part, real) for part in parts]


def restore(run: Training, parts: list[Tensor], moving: Steps) -> None:
    """Copy ``flat_parts`` back into a run that has taken these steps, as torch would have left it."""
    state, average, *memories = parts
    tensors, optimizer = engine_tensors(run.network), run.optimizer
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

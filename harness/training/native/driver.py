"""Driver of the native engine: programs of networks, training steps, predictions and conversion of the state.

The engine updates the state in place. The engine trusts all addresses, so tensors are checked here; a failed check is a
bug of the caller.
"""

from __future__ import annotations

import ctypes
import math
import time
import weakref
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harness.spaces.network import Architecture, Task
from harness.training.integer import largest_weight
from harness.training.native.engine import Engine, load
from harness.training.native.instruction import EngineProgram, program
from harness.training.recipe import Recipe, StepSettings
from harness.training.torch_network import Images, state_tensors

# Enough to make the overhead of calls negligible, few enough for a quick Ctrl-C.
_CHUNK = 100
_NO_KERNELS = torch.empty((0, 2), dtype=torch.int64)  # of no kernels (``rounded_ranges``)


@dataclass(frozen=True, slots=True)
class FlatState:
    """The state of a run in the layout of the engine, which updates the tensors in place.

    Attributes:
        state: Weights and BN statistics, (state_size,).
        average: Moving average of the state, equal to the state before averaging begins, (state_size,).
        memories: Optimizer state (momentum or Adam's moments), (parameter_count,) each; zeros before the first step.
    """

    state: Tensor
    average: Tensor
    memories: list[Tensor]

    @classmethod
    def of(
        cls,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: list[Tensor] | None,
        number_type: torch.dtype,
    ) -> FlatState:
        """Return a copy of the state of a run, whose optimizer is SGD or Adam.

        ``average`` is in the order of ``state_tensors``; None before averaging begins.
        """
        tensors = _engine_tensors(network)
        averages = tensors if average is None else _in_engine_order(network, average)
        memories = []
        for name in _memory_names(optimizer):
            memory = []
            for parameter in network.parameters():
                # Before the first step there is no state.
                value = optimizer.state.get(parameter, {}).get(name)
                memory.append(torch.zeros_like(parameter) if value is None else value)
            memories.append(_flat(memory, number_type))
        return cls(_flat(tensors, number_type), _flat(averages, number_type), memories)

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Copy the state into network and optimizer, as torch would leave both after ``step`` steps."""
        tensors = _engine_tensors(network)
        with torch.no_grad():
            for tensor, part in zip(tensors, _parts(self.state, tensors), strict=True):
                tensor.copy_(part)
        parameters = list(network.parameters())
        for name, memory in zip(_memory_names(optimizer), self.memories, strict=True):
            for parameter, part in zip(parameters, _parts(memory, parameters), strict=True):
                optimizer.state[parameter][name] = part.to(parameter.dtype).clone()
        if isinstance(optimizer, torch.optim.Adam):
            for parameter in parameters:
                optimizer.state[parameter]["step"] = torch.tensor(float(step))

    def restored_average(self, network: nn.Module) -> list[Tensor]:
        """Return the average in the order of ``state_tensors``."""
        tensors = _engine_tensors(network)
        addresses = (tensor.data_ptr() for tensor in tensors)
        parts = dict(zip(addresses, _parts(self.average, tensors), strict=True))
        return [parts[tensor.data_ptr()].to(tensor.dtype).clone() for tensor in state_tensors(network)]


class NativeProgram:
    """The engine's program of a network, with buffers for a batch; freed with this object.

    Attributes:
        number_type: Number format of weights and sums in the engine, float32 or float64.
        decay: L2 coefficient of each parameter, (parameter_count,).
    """

    def __init__(self, engine: Engine, architecture: Architecture, recipe: Recipe, images: Images) -> None:
        self.engine = engine
        self.recipe = recipe
        self.task = images.task
        self.number_type = torch.float64 if engine.is_double else torch.float32
        self.program = program(architecture, self.task.input_shape)
        self.pointer = self._opened(self.program, images)
        training_type = _training_type(is_double=engine.is_double)
        self.settings = training_type(
            adam=int(recipe.optimizer == "adam"),
            nesterov=int(recipe.nesterov),
            momentum=recipe.momentum,
            smoothing=recipe.label_smoothing,
            largest_weight=largest_weight(recipe.weight_bits),
        )
        # For networks without parameters.
        decays = [torch.full((size,), recipe.decay(kernel=kernel)) for size, kernel in self.program.parameters]
        self.decay = torch.cat([*decays, torch.empty(0)]).to(self.number_type)

    def _opened(self, flat: EngineProgram, images: Images) -> int:
        """Raise MemoryError if memory is not sufficient."""
        number_type = np.float64 if self.engine.is_double else np.float32
        mean = np.array(images.mean, dtype=number_type)
        deviation = np.array(images.deviation, dtype=number_type)
        values = np.array([astuple(row) for row in flat.values], dtype=np.int32)
        instructions = np.array([astuple(row) for row in flat.instructions], dtype=np.int32)
        pointer: int | None = self.engine.library.engine_new(
            values.ctypes.data,
            len(values),
            instructions.ctypes.data,
            len(instructions),
            self.recipe.batch_size,
            flat.state_size,
            flat.parameter_count,
            mean.ctypes.data,
            deviation.ctypes.data,
            int(self.recipe.precision == "bf16"),
        )
        if not pointer:
            raise MemoryError(f"not enough memory for a batch of {self.recipe.batch_size} images")
        weakref.finalize(self, self.engine.library.engine_free, pointer)
        return pointer

    def seed_masks(self, generator: torch.Generator) -> None:
        """Seed the dropout masks from the generator; no draw for a network without dropout."""
        if any(item.dropout for item in self.program.instructions):
            seed = torch.randint(2**62, (), generator=generator, dtype=torch.int64)
            self.engine.library.engine_seed(self.pointer, int(seed))

    def train(
        self,
        flat: FlatState,
        images: Images,
        order: Tensor,
        maps: Tensor | None,
        steps: StepSettings,
        first_step: int,
        rounding_table: Tensor = _NO_KERNELS,
    ) -> float:
        """Train for the steps in ``steps`` and return the sum of the losses.

        Args:
            order: Indices of the images, int64 (at least count * batch,).
            maps: Affine maps of the augmentation, float32 (count * batch, 2, 3); None without augmentation.
            steps: Learning rates and averaging weights of ``count`` steps.
            first_step: Number of steps of the run before this call.
            rounding_table: Offset and number of the weights of each kernel that each step rounds, int64 (kernels, 2).
        """
        batch = self.recipe.batch_size
        count = len(steps.rates)
        _check_images(images.pixels, images.labels, self.task)
        _check("order", order[: count * batch], torch.int64, (count * batch,), len(images))
        assert flat.state.numel() == self.program.state_size, "the state size of the network differs from the program"
        rates, shares = torch.tensor([steps.rates, steps.shares], dtype=self.number_type)
        if maps is not None:
            _check("maps", maps, torch.float32, (count * batch, 2, 3))
        loss_sum = 0.0
        for first in range(0, count, _CHUNK):
            span = slice(first, min(first + _CHUNK, count))
            positions = slice(first * batch, span.stop * batch)
            loss_sum += self.engine.library.engine_train(
                self.pointer,
                images.pixels.data_ptr(),
                images.labels.data_ptr(),
                order[positions].data_ptr(),
                None if maps is None else maps[positions].data_ptr(),
                rates[span].data_ptr(),
                shares[span].data_ptr(),
                span.stop - first,
                first_step + first,
                ctypes.byref(self.settings),
                self.decay.data_ptr(),
                rounding_table.data_ptr(),
                len(rounding_table),
                self.program.state_size,
                flat.state.data_ptr(),
                flat.memories[0].data_ptr(),
                flat.memories[-1].data_ptr(),  # SGD has a single memory
                flat.average.data_ptr(),
            )
        return loss_sum

    def predict(self, network: nn.Module, tensors: list[Tensor], pixels: Tensor) -> Tensor:
        """Return the logits of each image, (n, classes), in the number format of the engine.

        Args:
            network: Network of the program, for the order of its tensors.
            tensors: In the order of ``state_tensors``; may be an average.
            pixels: Images, uint8 (n, channels, rows, columns).
        """
        _check("pixels", pixels, torch.uint8, (len(pixels), *self.task.input_shape))
        state = _flat(_in_engine_order(network, tensors), self.number_type)
        assert state.numel() == self.program.state_size, "the state size of the network differs from the program"
        logits = torch.empty((len(pixels), self.task.classes), dtype=self.number_type)
        addresses = (state.data_ptr(), logits.data_ptr())
        self.engine.library.engine_predict(self.pointer, pixels.data_ptr(), len(pixels), *addresses)
        return logits


def _training_type(*, is_double: bool) -> type[ctypes.Structure]:
    """Return the structure of the fields that ``engine_train`` reads (``Training`` in engine.cpp)."""
    kind = ctypes.c_double if is_double else ctypes.c_float
    integers = [(name, ctypes.c_int) for name in ("adam", "nesterov")]
    numbers = [(name, kind) for name in ("momentum", "smoothing", "largest_weight")]
    return type("TrainingRow", (ctypes.Structure,), {"_fields_": [*integers, *numbers]})


def measured_latency(architecture: Architecture, task: Task, repeats: int = 200) -> float:
    """Return the microseconds of the native engine for an image, the minimum of ``repeats`` calls.

    Weights and image are random. The engine is single-threaded. All ops of the architecture must have kernels.

    Raises:
        EngineUnavailable: The engine cannot be built or loaded here.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, *task.input_shape), dtype=torch.uint8, generator=generator)
    halves = (0.5,) * task.input_shape[0]  # any mean and deviation
    images = Images(pixels, torch.zeros(1, dtype=torch.int64), halves, halves, task.classes)
    native = NativeProgram(load(), architecture, Recipe(batch_size=1), images)
    state = torch.rand(native.program.state_size, generator=generator, dtype=native.number_type)
    logits = torch.empty((1, task.classes), dtype=native.number_type)
    arguments = native.pointer, pixels.data_ptr(), 1, state.data_ptr(), logits.data_ptr()
    least_seconds = math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        native.engine.library.engine_predict(*arguments)
        least_seconds = min(least_seconds, time.perf_counter() - began)
    return 1e6 * least_seconds


def _check(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...], limit: int | None = None) -> None:
    """The engine reads this layout, with numbers in [0, limit)."""
    if tensor.dtype is not dtype or tensor.shape != shape or not tensor.is_contiguous() or tensor.device.type != "cpu":
        layout = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, contiguous {tensor.is_contiguous()}"
        raise AssertionError(f"the {name}: {layout}; the engine reads contiguous {dtype} {shape} on cpu")
    if limit is not None and (int(tensor.min()) < 0 or int(tensor.max()) >= limit):
        raise AssertionError(f"the {name}: numbers must lie between 0 and {limit - 1}")


def _check_images(pixels: Tensor, labels: Tensor, task: Task) -> None:
    _check("pixels", pixels, torch.uint8, (len(labels), *task.input_shape))
    _check("labels", labels, torch.int64, (len(labels),), task.classes)


# Two orders of a network's tensors: of the state of the engine (``_engine_tensors``), and of ``state_tensors``, in
# which averages, checkpoints and digests list the tensors for both engines.


def _engine_tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *(tensor for tensor in network.buffers() if tensor.is_floating_point())]


def _flat(tensors: list[Tensor], number_type: torch.dtype) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).to(number_type)


def _in_engine_order(network: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    by_address = dict(zip([tensor.data_ptr() for tensor in state_tensors(network)], tensors, strict=True))
    return [by_address[tensor.data_ptr()] for tensor in _engine_tensors(network)]


def _memory_names(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq") if isinstance(optimizer, torch.optim.Adam) else ("momentum_buffer",)


def rounded_ranges(network: nn.Module, weights: list[Tensor]) -> Tensor:
    """Return offset in the state of the engine and number of the weights of each kernel, int64 (kernels, 2)."""
    offset = 0
    offsets = {}
    for parameter in network.parameters():
        offsets[parameter.data_ptr()] = offset
        offset += parameter.numel()
    rows = [(offsets[kernel.data_ptr()], kernel.numel()) for kernel in weights]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 2)


def _parts(values: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(values, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for tensor, part in zip(tensors, parts, strict=True)]

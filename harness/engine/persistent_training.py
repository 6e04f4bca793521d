"""Different networks trained side by side by one kernel: a block of threads interprets the program of one network.

The kernel is in ``harness/engine/persistent``. A launch takes runs through a whole epoch, each with its own network,
recipe, order of images and moves; what comes of them lies in the same flat state as the native engine's, so runs may
change engines between epochs. This module knows neither CUDA nor compilers: it is given a ``Kernel``.
"""

from __future__ import annotations

import ctypes
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.engine.arena import Arena, MapRow, arena
from harness.engine.flat_state import average_tensors, flat_memories, flat_of, flat_state, remember, restore
from harness.engine.native_training import decay_of, moves_of
from harness.engine.program import Program, program, rows
from harness.errors import ContentError
from harness.training.recipe import Optimizer, Precision, Recipe, first_averaged_step, recipe_of_epoch
from harness.training.result import Epoch
from harness.training.schedule import adam_corrections, average_share, learning_rate
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from harness.training.train import Images, Training
from harness.engine.trusted import check_images, check_orders

SOURCES = Path(__file__).resolve().parent / "persistent"
MAP_ROW = np.dtype([("at", "i8"), ("channels", "i4"), ("height", "i4"), ("width", "i4"), ("margin", "i4")])

_POINTERS = (
    *("instructions", "maps", "gradients", "spreads", "memory", "statistics", "scratch", "packed"),
    *("state", "gradient", "first", "second", "averaged", "decay", "pixels", "labels", "order", "moves"),
    *("schedule", "loss", "seed"),
)
_INTEGERS = (
    *("instruction_count", "batch", "parameter_count", "state_size", "steps", "done"),
    *("adam", "nesterov", "averages"),
)
_REALS = ("momentum", "smoothing", "mean", "deviation")


class JobRow(ctypes.Structure):
    """One network in training, its fields in the order of ``Job`` in ``engine/persistent/program.h``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _INTEGERS),
        *((name, ctypes.c_double) for name in _REALS),
    )


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel, ready to be launched.

    Attributes:
        name: for results, with the digest of its sources and of what compiled them.
        real: its numbers, float32 or float64.
        fast_bytes: fast memory that a block may have, on a GPU its shared memory.
        launch: trains so many jobs, whose rows lie one after the other in a tensor of bytes, with this much fast memory
            each; it may return before they are trained.
    """

    name: str
    real: torch.dtype
    fast_bytes: int
    launch: Callable[[Tensor, int, int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a launch: its row, what the row points to, and how much fast memory it wants."""

    run: Training
    row: JobRow
    tensors: dict[str, Tensor | None]
    steps: int
    fast_bytes: int


# Asked before every epoch of every run, and a network's program takes a millisecond.
@functools.lru_cache(maxsize=1024)
def refusal(architecture: Architecture, recipe: Recipe, device: torch.device) -> str | None:
    """Return why the engine cannot train this network with this recipe on this device, None where it can."""
    if device.type != "cuda":
        return f"it runs on CUDA devices, not on {device.type}"
    if recipe.teacher:
        return "it knows no teachers, and the recipe has one"
    if recipe.precision is not Precision.FP32:
        return f"it computes in fp32, and the recipe asks for {recipe.precision}"
    if any(item.poses > 1 for item in program(architecture).instructions):
        return "it knows no poses, and the network has some"
    return None


def train_epoch_side_by_side(kernel: Kernel, runs: Sequence[Training], images: Images) -> list[Epoch]:
    """Train runs of any networks and recipes for one pass over the same images; append to their histories.

    All runs are on the device of the images and trained by nobody else meanwhile.

    Raises:
        ContentError: there are fewer images than a batch takes, or a network is too large for the kernel.
        DeviceError: the GPU refuses the launch.
    """
    began = time.perf_counter()
    check_images(images.pixels, images.labels, runs[0].device.type)
    parts = [_prepared(kernel, run, images) for run in runs]
    orders = [_tensor(part, "order") for part in parts]
    taken = [part.steps * part.run.recipe.batch_size for part in parts]
    check_orders(orders, taken, len(images), runs[0].device.type)
    table = torch.frombuffer(bytearray(b"".join(bytes(part.row) for part in parts)), dtype=torch.uint8)
    kernel.launch(table.to(images.pixels.device), len(parts), max(part.fast_bytes for part in parts))
    # Reading the losses waits for the device.
    losses = torch.cat([_tensor(part, "loss") for part in parts]).tolist()
    for part in parts:
        _take_back(part)
    seconds = (time.perf_counter() - began) / len(runs)
    return [_ended(part, loss / part.steps, seconds) for part, loss in zip(parts, losses, strict=True)]


def _ended(part: Part, loss: float, seconds: float) -> Epoch:
    run = part.run
    run.seconds += seconds
    run.diverged = not math.isfinite(loss)
    rate = learning_rate(run.recipe, run.step - 1, part.steps)
    epoch = Epoch(len(run.history) + 1, rate, None if run.diverged else loss, run.seconds)
    run.history.append(epoch)
    return epoch


def _prepared(kernel: Kernel, run: Training, images: Images) -> Part:
    """Lay out all that one epoch of a run reads and writes.

    The host reads none of it: each read would wait for the GPU, and runs are many.
    """
    # A tensor's device has a number, a run's may have none: what is kept for a device is kept for this one.
    recipe, device = run.recipe, images.pixels.device
    steps = len(images) // recipe.batch_size
    if steps == 0:
        raise ContentError(
            f"recipe: batch_size is {recipe.batch_size}, but there are only {len(images)} images to train on"
        )
    assert refusal(run.architecture, recipe, torch.device("cuda")) is None, "asked to train what it declines"
    flat, room = _laid_out(run.architecture, recipe.batch_size)
    order = torch.randperm(len(images), generator=run.generator, device=device)
    moves = moves_of(recipe_of_epoch(recipe, len(run.history)), run.generator, steps)
    dropped = any(item.dropout for item in flat.instructions)
    seed = torch.randint(2**62, (), generator=run.generator, dtype=torch.int64, device=device) if dropped else None
    fast_bytes = room.packed * kernel.real.itemsize
    tensors: dict[str, Tensor | None] = {
        **_program_tensors(run.architecture, recipe.batch_size, device),
        **_room(flat, room, kernel, device),
        **_state(run, kernel),
        "decay": _decay(run.architecture, recipe, device, kernel.real),
        "pixels": images.pixels,
        "labels": images.labels,
        "order": order,
        "moves": moves,
        "schedule": _schedule(recipe, run.step, steps, device, kernel.real),
        "seed": seed,
    }
    if fast_bytes <= kernel.fast_bytes:
        tensors["packed"] = None
    values = {
        **{name: None if tensor is None else tensor.data_ptr() for name, tensor in tensors.items()},
        "instruction_count": len(flat.instructions),
        "batch": recipe.batch_size,
        "parameter_count": flat.parameter_count,
        "state_size": flat.state_size,
        "steps": steps,
        "done": run.step,
        "adam": int(recipe.optimizer is Optimizer.ADAM),
        "nesterov": int(recipe.nesterov),
        "averages": int(recipe.average_decay > 0),
        "momentum": recipe.momentum,
        "smoothing": recipe.label_smoothing,
        "mean": images.mean,
        "deviation": images.deviation,
    }
    return Part(run, JobRow(**values), tensors, steps, fast_bytes if tensors["packed"] is None else 0)


@functools.lru_cache(maxsize=1024)
def _laid_out(architecture: Architecture, batch: int) -> tuple[Program, Arena]:
    flat = program(architecture)
    return flat, arena(flat, batch)


# What runs of one network share, and all their epochs: copied to a GPU once.
@functools.lru_cache(maxsize=1024)
def _program_tensors(architecture: Architecture, batch: int, device: torch.device) -> dict[str, Tensor]:
    flat, room = _laid_out(architecture, batch)
    instructions = np.array(rows(flat.instructions), dtype=np.int32)
    return {
        "instructions": torch.from_numpy(instructions).to(device),
        "maps": _map_rows(room.maps).to(device),
        "gradients": _map_rows(room.gradients).to(device),
        "spreads": _map_rows(room.spreads).to(device),
    }


def _map_rows(found: tuple[MapRow, ...]) -> Tensor:
    return torch.from_numpy(np.array([astuple(row) for row in found], dtype=MAP_ROW).view(np.uint8))


def _room(flat: Program, room: Arena, kernel: Kernel, device: torch.device) -> dict[str, Tensor]:
    """Return the memory of a network in training; its maps begin as zeros, which their margins stay."""

    def zeros(count: int) -> Tensor:
        return torch.zeros(count, dtype=kernel.real, device=device)

    return {
        "memory": zeros(room.size),
        "statistics": zeros(flat.state_size - flat.parameter_count),
        "scratch": zeros(room.scratch),
        "packed": zeros(room.packed),
        "gradient": zeros(flat.parameter_count),
        "loss": torch.zeros(1, dtype=torch.float64, device=device),
    }


def _state(run: Training, kernel: Kernel) -> dict[str, Tensor]:
    """Return copies of what the run remembers, which the kernel writes to."""
    state = flat_state(run.network, kernel.real)
    memories = [memory.to(run.device) for memory in flat_memories(run.network, run.optimizer, kernel.real)]
    averaged = state.clone() if run.average is None else flat_of(run.network, run.average, kernel.real)
    return {"state": state, "first": memories[0], "second": memories[1], "averaged": averaged}


@functools.lru_cache(maxsize=1024)
def _decay(architecture: Architecture, recipe: Recipe, device: torch.device, real: torch.dtype) -> Tensor:
    return decay_of(_laid_out(architecture, recipe.batch_size)[0], recipe).to(device, real)


# Runs of a launch mostly share recipe and step.
@functools.lru_cache(maxsize=16)
def _schedule(recipe: Recipe, done: int, steps: int, device: torch.device, real: torch.dtype) -> Tensor:
    """Return what changes from step to step, (steps, 4), its columns those of ``StepRow``."""
    first = first_averaged_step(recipe, steps)
    found = [
        (
            learning_rate(recipe, step, steps),
            *adam_corrections(recipe, step + 1),
            average_share(recipe, step + 1, first),
        )
        for step in range(done, done + steps)
    ]
    return torch.tensor(found, dtype=torch.float64).to(device, real)


def _take_back(part: Part) -> None:
    """Give the run back what became of it."""
    run, recipe = part.run, part.run.recipe
    run.settled = None
    run.step += part.steps
    restore(run.network, _tensor(part, "state"))
    remember(run.network, run.optimizer, [_tensor(part, "first"), _tensor(part, "second")], run.step)
    if recipe.average_decay > 0 and run.step >= max(1, first_averaged_step(recipe, part.steps)):
        run.average = average_tensors(run.network, _tensor(part, "averaged"))


def _tensor(part: Part, name: str) -> Tensor:
    found = part.tensors[name]
    assert found is not None
    return found

"""Chips of ``chips.toml``: limits of flash and RAM for a network, and the estimated time per image."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

from harness.spaces.cores import CORES, TABLES, Core
from harness.spaces.fast_kernels import Optimisation, fast_buffers
from harness.spaces.integer_plan import IntegerPlan
from harness.spaces.network import Analysis, Task
from harness.spaces.space import Condition, Metric
from harness.spaces.space_errors import UnknownNameError, counted, nearest
from harness.spaces.streaming import streamed

# ``Chip.limits`` does not know the network, and reserves the stack for the buffers of convolutions that network eab8ff
# needs (``chips.toml``).
_ALLOWED_BUFFER_BYTES = 588
# Further program and stack of a stream: the most of networks b0e868, ecbe65 and 561d35 on Cortex-M0 and RV32IMC, and of
# a small network on the ATmega328P.
_STREAM_PROGRAM_BYTES = 1_040
_STREAM_STACK_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A chip that runs only the exported network.

    ``file`` is the path of the user's chip file; empty for chips in ``chips.toml``.
    """

    name: str
    core: Core
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    title: str = ""
    source: str = ""
    file: str = ""

    def __post_init__(self) -> None:
        if min(self.flash_bytes, self.ram_bytes, self.clock_hz) <= 0:
            raise ValueError("flash_bytes, ram_bytes and clock_hz of a chip must be above 0")

    def __str__(self) -> str:
        return f"@{self.file}" if self.file else self.name

    def limits(self, task: Task) -> tuple[Condition, Condition]:
        """Return the limits of ``weight_bytes`` and ``ram_bytes`` for C optimised for size.

        A bound is negative if the chip is too small for program, stack and image.
        """
        flash_left = self.flash_bytes - self.core.program_bytes
        ram_left = self.ram_bytes - self.core.stack_bytes - _ALLOWED_BUFFER_BYTES - math.prod(task.input_shape)
        return Condition(Metric.WEIGHT_BYTES, "<=", flash_left), Condition(Metric.RAM_BYTES, "<=", ram_left)


@dataclass(frozen=True, slots=True)
class Fit:
    """Resources that a network needs on a chip, with program, image and stack; SPEED requires ``Core.speed``.

    With ``stream``, the image is a row.
    """

    chip: Chip
    analysis: Analysis
    optimise: Optimisation = Optimisation.SIZE
    stream: bool = False

    @property
    def _costs(self) -> Core:
        return self.chip.core.costs(self.optimise)

    @property
    def _plan(self) -> IntegerPlan:
        return streamed(self.analysis.plan) if self.stream else self.analysis.plan

    @property
    def total_flash_bytes(self) -> int:
        """Bytes of flash for the program and for all constants of the network."""
        program_bytes = self._costs.program_bytes + self.stream * _STREAM_PROGRAM_BYTES
        return program_bytes + self._plan.constant_bytes

    @property
    def total_ram_bytes(self) -> int:
        """Bytes of RAM for maps, image and stack."""
        plan = self._plan
        buffers = fast_buffers(plan) if self.optimise is Optimisation.SPEED else plan.buffers
        stack_bytes = self._costs.stack_bytes + buffers.size + self.stream * _STREAM_STACK_BYTES
        image = plan.maps[0]
        return stack_bytes + (image.row_bytes if self.stream else image.size) + plan.arena_bytes

    @property
    def milliseconds(self) -> float:
        """Estimated time per image; raises ValueError if the costs of ``optimise`` are unknown."""
        cycles = self.chip.core.cycles_per_image(self.analysis.plan, self.analysis.macs, self.optimise)
        return 1_000 * cycles / self.chip.clock_hz

    @property
    def lack(self) -> str:
        """Missing bytes of flash and RAM; empty if the network fits.

        Ops without an integer form count with assumed bytes, so a network that fits may not be exportable.
        """
        missing_bytes = {
            "flash": self.total_flash_bytes - self.chip.flash_bytes,
            "RAM": self.total_ram_bytes - self.chip.ram_bytes,
        }
        return " and ".join(f"{counted(size, 'byte')} of {name}" for name, size in missing_bytes.items() if size > 0)

    def document(self) -> dict[str, Any]:
        """Return the resources as JSON values; pairs are (needed, available) bytes."""
        return {
            "name": self.chip.name,
            "fits": not self.lack,
            "flash_bytes": [self.total_flash_bytes, self.chip.flash_bytes],
            "ram_bytes": [self.total_ram_bytes, self.chip.ram_bytes],
            "estimated_milliseconds": round(self.milliseconds, 1),
        }

    def __str__(self) -> str:
        # The estimated time is accurate to two digits at most.
        milliseconds = float(f"{self.milliseconds:.2g}")
        verdict = f"does not fit ({self.lack} too many)" if self.lack else "fits"
        flash = f"flash with program {self.total_flash_bytes:,} of {self.chip.flash_bytes:,} bytes"
        ram = f"RAM with image and stack {self.total_ram_bytes:,} of {self.chip.ram_bytes:,} bytes"
        time = f"estimated time per image: {milliseconds:,g} ms at {self.chip.clock_hz / 1e6:g} MHz"
        return f"{self.chip.name}: {verdict}; {flash}; {ram}; {time}"


# Chips of ``chips.toml``, by name.
CHIPS = {
    name: Chip(name=name, **figures | {"core": CORES[figures["core"]]}) for name, figures in TABLES["chips"].items()
}


def chip_named(name: str) -> Chip:
    """Return the chip of ``chips.toml`` with this name, ignoring case.

    Raises:
        UnknownNameError: No chip has this name.
    """
    for chip in CHIPS.values():
        if chip.name.lower() == name.lower():
            return chip
    hint = f"to read the file, write @{name}" if os.path.isfile(name) else nearest(name, CHIPS)
    raise UnknownNameError(f"unknown chip {name!r}; known chips: {', '.join(CHIPS)}, or @FILE.toml", hint=hint)


def fastest(fit: Fit) -> Fit:
    """Return the fit of code for speed if its costs are known and the network fits, else the fit of code for size."""
    if fit.chip.core.speed is None:
        return fit
    fast = replace(fit, optimise=Optimisation.SPEED)
    return fit if fast.lack else fast


def fitting(analysis: Analysis, optimise: Optimisation = Optimisation.SIZE) -> tuple[Chip, ...]:
    """Return the chips of ``chips.toml`` on which a network fits."""
    return tuple(chip for chip in CHIPS.values() if not Fit(chip, analysis, optimise).lack)
